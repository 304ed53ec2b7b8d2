"""Small synthetic archives and finished pairs folders, each made once a process."""

from __future__ import annotations

import atexit
import contextlib
import csv
import functools
import gzip
import hashlib
import io
import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from bcseg import synth
from bcseg.cli import main

DATASETS = ("bcdr", "cbis", "cdd", "csaw", "ddsm", "inbreast", "mias", "vindr")
FIVE = ("bcdr", "cbis", "cdd", "csaw", "inbreast")  # the first: costly tests take no more


@functools.cache
def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bcseg-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def original(dataset: str) -> Path:
    """Return a synthetic archive that no test may change."""
    folder = _scratch() / "original" / dataset
    synth.build(dataset, folder, images=6, scale=0.1)
    return folder


@functools.cache
def laid_out(dataset: str, layout: str, packed: synth.Packed = "") -> synth.Built:
    """Return a small archive in any layout, or packed; no test may change it."""
    folder = _scratch() / "laid-out" / f"{dataset}-{layout}-{packed}" / "x"
    return synth.build(dataset, folder, scale=0.1, layout=layout, packed=packed)


def copy_of(dataset: str, folder: Path) -> Path:
    """Copy an archive to a place where it may be changed; times are kept."""
    shutil.copytree(original(dataset), folder)
    return folder


@functools.cache
def finished(dataset: str, *options: str) -> Path:
    """Return the pairs folder of an archive, made with these options; no test may change it."""
    name = "_".join((dataset, *(word.strip("-") for word in options)))
    root = _scratch() / "finished" / name
    code = bcseg("refactor", dataset, original(dataset), "-o", root, "-j", 1, *options)
    assert code == 0, f"exit code {code}"
    return root / dataset


ADAPTER = """
import os
import time
from pathlib import Path

from bcseg.adapters.base import Info, listed_lesions
from bcseg.record import Failed, Index, Lesion, Polygon, Raster, Record

INFO = Info(
    name="mine", title="Mine", url="", licence="mine", citation="me", restricted=False,
    layout="10.png, 10_mask.png", published={}, default_kinds=("mass",),
)


def claims(names):
    return 0


def index(source, options):
    images = [name for name in source.names() if name.endswith("0.png")]
    return Index(records=tuple(record(name) for name in images))


def record(name):
    key = name.removesuffix(".png")
    mask = Raster((f"{key}_mask.png",))
    lesion = Lesion(lesion_id="1", kind="mass", label="", shape=mask, source=f"{key}_mask.png")
    return Record(record_id=key, image=name, lesions=(lesion,))


def lesions(record, read, options):
    if record.record_id == "30":
        BAD
    return record.lesions
"""


def own_dataset(folder: Path, bad: str = "pass", at: str = "30") -> tuple[Path, Path]:
    """Write an adapter that does something at one record, and its archive: 10, 20, ... 60."""
    source = folder / "mine"
    source.mkdir(exist_ok=True)
    for key in range(10, 70, 10):
        image = np.zeros((40, 30), np.uint8)
        image[5:35, :20] = key
        mask = np.zeros_like(image)
        mask[10:20, 5:10] = 255
        cv2.imwrite(str(source / f"{key}.png"), image)
        cv2.imwrite(str(source / f"{key}_mask.png"), mask)
    path = folder / "mine.py"
    path.write_text(ADAPTER.replace("BAD", bad).replace('"30"', f'"{at}"'))
    return path, source


def once(folder: Path, bad: str) -> str:
    """Return code for an adapter of one's own that does something bad the first time only."""
    mark = f"Path({str(folder / 'done')!r})"
    return f"if not {mark}.exists(): {mark}.touch(); {bad}"


def bcseg(*words: object) -> int:
    """Run a command, print nothing, return its exit code."""
    return heard(*words)[0]


def heard(*words: object) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it printed."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    """Return the rows of a table of a pairs folder."""
    with (folder / table).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def document(folder: Path) -> dict:
    """Return dataset.json."""
    return json.loads((folder / "dataset.json").read_text(encoding="utf-8"))


def archive(folder: Path) -> list[dict]:
    """Return the lines of lesions.jsonl.gz."""
    with gzip.open(folder / "lesions.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def codes(folder: Path, table: str = "problems.csv") -> dict[str, list[str]]:
    """Return the record ids (else the sources) of a table by code."""
    found: dict[str, list[str]] = {}
    for row in rows(folder, table):
        found.setdefault(row["code"], []).append(row["record_id"] or row["source"])
    return found


def content(folder: Path) -> dict[str, bytes]:
    """Return every file that the contract is about: not logs, not dot files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not hidden(path.relative_to(folder))
    }


def hidden(path: Path) -> bool:
    return path.parts[0] == "logs" or any(part.startswith(".") for part in path.parts)


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return all files and folders below a folder: modification time and content."""
    return {
        path.relative_to(folder).as_posix(): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def pixels(path: Path) -> np.ndarray:
    """Return the pixels of a PNG as they are stored."""
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None, path
    return found


def pixels_sha256(values: np.ndarray) -> str:
    """Hash dtype, shape and values, as the contract says."""
    little = values.astype(values.dtype.newbyteorder("<"))
    shape = " ".join(map(str, values.shape))
    return hashlib.sha256(f"{little.dtype.str} {shape}\n".encode() + little.tobytes()).hexdigest()


def annotation_sha256(mask: np.ndarray) -> str:
    """Hash image size and row runs of a mask on the raw grid, one int32 after the other."""
    numbers = list(mask.shape)
    for number, line in enumerate(mask > 0):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
        for start, stop in edges.reshape(-1, 2):
            numbers += [number, int(start), int(stop)]
    return hashlib.sha256(np.array(numbers, "<i4").tobytes()).hexdigest()


def decode_rle(rle: dict) -> np.ndarray:
    """Return the mask that uncompressed COCO run lengths describe."""
    height, width = rle["size"]
    values = np.zeros(height * width, np.uint8)
    place, value = 0, 0
    for count in rle["counts"]:
        values[place : place + count] = value
        place, value = place + count, 255 - value
    assert place == len(values)
    return values.reshape(width, height).T
