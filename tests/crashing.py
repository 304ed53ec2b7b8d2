"""What must hold after a run that came to grief, and after the same command once more.

A scene is an archive, what lies in the output before, and what a run that nobody disturbs gives.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from archives import bcseg, content, own_dataset, pixels_sha256

TABLES = (
    *("records.csv", "lesions.csv", "problems.csv", "left_out.csv", "lesions.jsonl.gz"),
    *("dataset.json", "LICENCE.txt"),
)
JOURNAL = ".journal.jsonl"
PNG = b"\x89PNG"
KINDS = ("fresh", "grown", "changed", "redo")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A run to disturb: of `archive`, into a copy of `before`, which is None for nothing.

    fresh: into an empty place; grown: there are pairs of a part of the archive; changed: there are
    all pairs, made of a third other images; redo: all pairs, and `--redo`.
    """

    kind: str
    dataset: str
    archive: Path
    before: Path | None
    old: dict[str, bytes] = field(repr=False)
    new: dict[str, bytes] = field(repr=False)
    journal: bytes = field(repr=False)
    options: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        """How many pairs there are in the end."""
        return sum(name.startswith("masks/") for name in self.new)

    @property
    def to_do(self) -> int:
        """How many of them the run makes."""
        if self.kind in ("fresh", "redo"):
            return self.pairs
        return sum(
            name.startswith("images/") and self.old.get(name) != data
            for name, data in self.new.items()
        )

    def folder(self, out: Path) -> Path:
        """Return the pairs folder below a root."""
        return out / Path(self.dataset).stem

    def lay(self, out: Path) -> None:
        """Make the output what it was before."""
        shutil.rmtree(out, ignore_errors=True)
        if self.before:
            shutil.copytree(self.before, out)

    def words(self, out: Path, *options: object) -> list[str]:
        """Return the command to disturb."""
        return [*self.again(out, *options), *self.options]

    def again(self, out: Path, *options: object) -> list[str]:
        """Return the plain command, to be run afterwards."""
        words = ("refactor", self.dataset, self.archive, "-o", out, *options)
        return [str(word) for word in words]


def own_scenes(folder: Path) -> dict[str, Scene]:
    """Return the scenes of an archive of six tiny images, by kind."""
    adapter, source = own_dataset(folder)
    return scenes(str(adapter), source, folder)


def scenes(dataset: str, archive: Path, folder: Path) -> dict[str, Scene]:
    """Return the four scenes of an archive."""
    whole, part, other = folder / "whole", folder / "part", folder / "other"
    changed = folder / "changed"
    shutil.copytree(archive, changed)
    images = [path for path in sorted(changed.rglob("*")) if path.suffix in (".dcm", ".png")]
    for path in [path for path in images if "mask" not in path.name][::3]:
        _change(path)
    for source, out, options in ((archive, whole, ()), (changed, other, ())):
        assert bcseg("refactor", dataset, source, "-o", out, "-j", 1, *options) == 0
    pairs = len(list(whole.rglob("masks/*.png")))
    limit = ("--limit", pairs // 3)
    assert bcseg("refactor", dataset, archive, "-o", part, "-j", 1, *limit) == 0
    name = Path(dataset).stem
    new = content(whole / name)

    def scene(kind: str, before: Path | None = None, *options: str) -> Scene:
        return Scene(
            kind=kind,
            dataset=dataset,
            archive=archive,
            before=before,
            old=content(before / name) if before else {},
            new=new,
            journal=(whole / name / JOURNAL).read_bytes(),
            options=options,
        )

    return {
        "fresh": scene("fresh"),
        "grown": scene("grown", part),
        "changed": scene("changed", other),
        "redo": scene("redo", other, "--redo"),
    }


def _change(path: Path) -> None:
    if path.suffix == ".dcm":
        data = bytearray(path.read_bytes())
        data[-200] ^= 1
        path.write_bytes(data)
    else:
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.where(pixels > 0, pixels + 1, 0).astype(pixels.dtype))


# ------------------------------------------------------------------------------ at any moment


def broken_promises(scene: Scene, out: Path) -> list[str]:
    """Return what is not as it must be at every moment, also just after a kill."""
    folder = scene.folder(out)
    found = content(folder) if folder.is_dir() else {}
    faults = [
        f"{name} is neither the old one nor the new one{_of(data, scene.new.get(name, b''))}"
        for name, data in found.items()
        if name != ".gitignore" and data not in (scene.old.get(name), scene.new.get(name))
    ]
    if "records.csv" in found:
        for row in csv.DictReader(io.StringIO(found["records.csv"].decode())):
            for part in ("image", "mask"):
                data = found.get(row[part])
                if data is None or _pixels_sha256(data) != row[f"{part}_sha256"]:
                    faults.append(f"records.csv names {row[part]}, which is not as it says")
    if "dataset.json" in found:
        whole = scene.old if found["dataset.json"] == scene.old.get("dataset.json") else scene.new
        faults += [
            f"{name} is not of the same run as dataset.json"
            for name in TABLES
            if found.get(name) != whole[name]
        ]
    return faults


@functools.lru_cache(4096)
def _pixels_sha256(data: bytes) -> str:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return "" if pixels is None else pixels_sha256(pixels)


def seen(scene: Scene, out: Path) -> str:
    """Return in a word how far a run had come."""
    folder = scene.folder(out)
    found = content(folder) if folder.is_dir() else {}
    if "dataset.json" in found and found["dataset.json"] == scene.new["dataset.json"]:
        if not (folder / ".lock").exists() or found != scene.new:
            return "after the end" if found == scene.new else "before the pairs"
        return "at the end"
    done = len(finished_pairs(scene, out))
    if any(name in found and found[name] != scene.old.get(name) for name in TABLES):
        return "among the tables"
    if done == scene.pairs:
        return "before the tables"
    return "among the pairs" if done > scene.pairs - scene.to_do else "before the pairs"


# ------------------------------------------------------------------------------ once more


def finished_pairs(scene: Scene, out: Path) -> dict[str, Any]:
    """Return inode and time of the pictures of pairs that a journal calls done, by name.

    Done is what the journal of the undisturbed run says, too, and what is there as it says.
    """
    folder = scene.folder(out)
    finished = {}
    final = {line for line in scene.journal.splitlines() if b'"fate":"written"' in line}
    for line in _journal_lines(folder):
        if line not in final:
            continue
        entry = json.loads(line)
        written = {name: folder / name for name in entry["written"]}
        if all(p.is_file() and p.read_bytes() == scene.new[n] for n, p in written.items()):
            status = [path.stat() for path in written.values()]
            finished[entry["id"]] = tuple((one.st_ino, one.st_mtime_ns) for one in status)
    return finished


def _journal_lines(folder: Path) -> list[bytes]:
    """Return the last line of each record."""
    path = folder / JOURNAL
    lines: dict[str, bytes] = {}
    for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        if "id" in entry:
            lines[entry["id"]] = line.rstrip(b"\n")
    return list(lines.values())


def after_all(scene: Scene, out: Path, before: dict[str, Any], fresh: int) -> list[str]:
    """Return what is not as after an undisturbed run, once the command has been run again.

    `before`: the pairs that were finished then; `fresh`: how many the second run says it made.
    """
    folder = scene.folder(out)
    faults = differences(content(folder), scene.new)
    hidden = {path.relative_to(out).as_posix() for path in out.rglob(".*")}
    faults += [
        f"{name} was left behind"
        for name in sorted(hidden - {".gitignore", f"{folder.name}/{JOURNAL}"})
    ]
    if (folder / JOURNAL).read_bytes() != scene.journal:
        faults.append("the journal is another one")
    now = finished_pairs(scene, out)
    faults += [f"{name} was done again" for name in before if now.get(name) != before[name]]
    if fresh != scene.pairs - len(before):
        faults.append(f"{fresh} pairs made for {scene.pairs - len(before)} that were missing")
    return faults


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Return which files differ, are missing or too much, and by how much."""
    return [
        f"{name} is not as it should be{_of(found.get(name, b''), wanted.get(name, b''))}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]


def _of(data: bytes, wanted: bytes) -> str:
    """Return in words how two files differ; of pictures, whether in more than their packing."""
    said = f": {len(data)} bytes, not {len(wanted)}"
    if data.startswith(PNG) and wanted.startswith(PNG):
        equal = _pixels_sha256(data) == _pixels_sha256(wanted)
        said += f", pixels {'equal' if equal else 'differ'}, begins {data[:80].hex()}"
    return said


def traces(out: Path) -> list[str]:
    """Return locks and temporary files below a root."""
    return sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob(".*")
        if path.name == ".lock" or path.name.endswith(".part")
    )
