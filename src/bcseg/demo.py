"""The two-minute tour: five synthetic archives, refactored, selected, checked."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import adapters, pairs, synth
from bcseg.contact import save_sheet
from bcseg.conversion import Run, refactor
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, UsageError
from bcseg.select import Selecting, select_pairs
from bcseg.settings import Settings
from bcseg.store import write_atomic

_MARK = ".bcseg-demo"
_DATASETS = ("bcdr", "cbis", "cdd", "csaw", "inbreast")  # those of segmentation, not boxes
_IMAGES, _SCALE = 8, 0.25
_ON_SHEET = 2  # pairs a dataset


@dataclass(frozen=True, slots=True)
class Tour:
    """What the tour made, and the checks that did not hold."""

    folder: Path
    sheet: Path
    pairs: int
    selected: int
    wrong: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 if a count was not as built."""
        return EXIT_FINDINGS if self.wrong else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the tour for --json."""
        return {
            "schema_version": pairs.SCHEMA_VERSION,
            "folder": str(self.folder),
            "contact_sheet": str(self.sheet),
            "pairs": self.pairs,
            "selected": self.selected,
            "wrong": list(self.wrong),
        }


def tour(folder: Path, *, jobs: int, say: Callable[[str], None]) -> Tour:
    """Take the tour in a new folder, or in that of an earlier tour, which is emptied.

    Raises UsageError for a folder that holds something else.
    """
    _clear(folder)
    root, chosen = folder / "bcseg-data", folder / "bcseg-selected"
    wrong: list[str] = []
    for name in _DATASETS:
        source = folder / "original" / name
        built = synth.build(name, source, images=_IMAGES, scale=_SCALE)
        say(f"$ bcseg refactor {name} {source} -o {root}")
        summary = refactor(name, source, root, Settings(), Run(jobs=jobs))
        say(f"  {built.images} images: {summary.pairs} pairs, {len(summary.failures)} failed")
        wrong += _check(name, built, root)
    rows = [(one, row) for one in pairs.open_root(root) for row in one.rows(pairs.RECORDS)]
    manifest = folder / "selected.csv"
    write_atomic(manifest, _manifest([row for _, row in rows]))
    say(f"$ bcseg select {root} --manifest {manifest} -o {chosen}")
    select_pairs(root, manifest, chosen, Selecting())
    picked = [(one, row) for one in pairs.open_root(chosen) for row in one.rows(pairs.RECORDS)]
    say(f"  {len(picked)} of {len(rows)} pairs taken")
    sheet = folder / "contact-sheet.png"
    save_sheet(_sample(picked), sheet, columns=2)
    for line in wrong:
        say(f"WRONG: {line}")
    say("every count is as it was built" if not wrong else f"{len(wrong)} counts are wrong")
    say(f"look at {sheet}")
    return Tour(folder, sheet, len(rows), len(picked), tuple(wrong))


def _clear(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise UsageError(
                "the folder is not empty and holds no earlier tour",
                where=str(folder),
                hint="name a new one: bcseg demo ./somewhere",
            )
        shutil.rmtree(folder)
    synth.empty_folder(folder)
    write_atomic(folder / _MARK, b"")


def _check(name: str, built: synth.Built, root: Path) -> list[str]:
    """Compare what was written with what the archive was built from: records and lesions."""
    info = adapters.ADAPTERS[name].INFO
    kinds = set(info.default_kinds)
    expected = {
        (truth.record, truth.lesion_id)
        for truth in built.truths
        if truth.kind in kinds and truth.annotator in ("", "1") and "_CM_" not in truth.record
    }
    (one,) = [each for each in pairs.open_root(root) if each.name == name]
    found = {
        (row["record_id"], row["lesion_id"])
        for row in one.rows(pairs.LESIONS)
        if row["in_mask"] == "1"
    }
    lines = [f"{name}: lesion {pair} is missing" for pair in sorted(expected - found)]
    return lines + [f"{name}: lesion {pair} was never built" for pair in sorted(found - expected)]


def _manifest(rows: list[pairs.Row]) -> bytes:
    """Return a manifest that accepts all but the smallest mask of each dataset."""
    smallest: dict[str, pairs.Row] = {}
    for row in rows:
        other = smallest.setdefault(row["dataset"], row)
        if int(row["mask_pixels"]) < int(other["mask_pixels"]):
            smallest[row["dataset"]] = row
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "record_id", "decision", "annotation_sha256"])
    for row in rows:
        decision = "reject" if row is smallest[row["dataset"]] else "accept"
        writer.writerow([row["dataset"], row["record_id"], decision, row["annotation_sha256"]])
    return text.getvalue().encode()


def _sample(
    picked: list[tuple[pairs.PairsFolder, pairs.Row]],
) -> list[tuple[pairs.PairsFolder, pairs.Row]]:
    """Return the first pairs of each dataset."""
    seen: dict[str, int] = {}
    sample = []
    for one, row in picked:
        seen[row["dataset"]] = seen.get(row["dataset"], 0) + 1
        if seen[row["dataset"]] <= _ON_SHEET:
            sample.append((one, row))
    return sample
