"""From the tables of pairs folders to the pairs of a report: joined, ordered, chosen."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import UNREADABLE, PairsFolder, Row, checked_rows
from bcseg.report.data import SCORES, Box, Entry, LesionEntry, Reporting

_NO_SCORE = {"dataset", "record_id", "lesion_id", "annotation_sha256", "flags"}

_Key = tuple[str, str]  # record id, lesion id


def entries(folders: Sequence[PairsFolder]) -> tuple[list[Entry], list[str]]:
    """Return every pair, worst first, and notes; raises UsageError for a damaged table.

    Worst is the lowest precision rank of any of its lesions; pairs without a rank come after,
    the smallest area first.
    """
    found: list[Entry] = []
    notes: list[str] = []
    for folder in folders:
        here, note = _entries_of(folder)
        found += here
        notes += [note] if note else []
    return sorted(found, key=_order), notes


def chosen(everything: Sequence[Entry], how: Reporting) -> list[Entry]:
    """Return the pairs to show of those ordered worst first: all, or the worst and some at random.

    Random is by the hash of the id: the same pairs today and tomorrow, here and elsewhere.
    """
    if how.all or len(everything) <= how.worst + how.random:
        return list(everything)
    worst, others = everything[: how.worst], everything[how.worst :]
    drawn = {id(one) for one in sorted(others, key=_lot)[: how.random]}
    return [dataclasses.replace(one, sample="worst") for one in worst] + [
        dataclasses.replace(one, sample="random") for one in others if id(one) in drawn
    ]


def number(text: str | None) -> float | None:
    """Return a cell as a finite number; None for any other."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _order(entry: Entry) -> tuple[bool, float, bool, float, str, str, str]:
    rank = entry.rank
    area = number(entry.row["mask_area_mm2"])
    size = number(entry.row["mask_pixels"]) if area is None else area
    return (
        rank is None,
        rank or 0.0,
        area is None,
        size or 0.0,
        entry.dataset,
        entry.record_id,
        entry.folder.name,
    )


def _lot(entry: Entry) -> tuple[str, str]:
    name = f"{entry.dataset}/{entry.record_id}"
    return hashlib.sha256(name.encode(errors="replace")).hexdigest(), entry.folder.name


def _entries_of(folder: PairsFolder) -> tuple[list[Entry], str]:
    scores, note = _scores(folder)
    lesions: defaultdict[str, list[Row]] = defaultdict(list)
    for row in checked_rows(folder, pairs.LESIONS):
        if row["in_mask"] == "1":
            lesions[row["record_id"]].append(row)
    problems: defaultdict[str, list[Row]] = defaultdict(list)
    for row in checked_rows(folder, pairs.PROBLEMS):
        problems[row["record_id"]].append(row)
    found = []
    for row in checked_rows(folder, pairs.RECORDS):
        record_id = row["record_id"]
        of_record = [_lesion(one, scores) for one in lesions[record_id]]
        of_record.sort(key=lambda one: (1.0 if one.rank is None else one.rank, -_pixels(one)))
        found.append(
            Entry(folder.path, row["dataset"], row, tuple(of_record), tuple(problems[record_id]))
        )
    return found, note


def _pixels(lesion: LesionEntry) -> float:
    return number(lesion.row["area_px"]) or 0.0


def _lesion(row: Row, scores: dict[_Key, Row]) -> LesionEntry:
    scored = scores.get((row["record_id"], row["lesion_id"]), {})
    values = {
        name: value
        for name, text in scored.items()
        if name not in _NO_SCORE and (value := number(text)) is not None
    }
    return LesionEntry(
        row["lesion_id"], row, _box(row), values, tuple((scored.get("flags") or "").split())
    )


def _box(row: Row) -> Box | None:
    values = [number(row[name]) for name in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")]
    known = [int(value) for value in values if value is not None]
    return (known[0], known[1], known[2], known[3]) if len(known) == 4 and min(known) >= 0 else None


def _scores(folder: PairsFolder) -> tuple[dict[_Key, Row], str]:
    """Return the scores by record and lesion, those of another contour left away and noted."""
    path = folder.path / SCORES
    if not path.is_file():
        return {}, f"{folder.path.name}: not scored yet (bcseg score)"
    rows = _score_rows(path)
    hashes = {
        row["record_id"]: row["annotation_sha256"] for row in checked_rows(folder, pairs.RECORDS)
    }
    good = [row for row in rows if _same(row.get("annotation_sha256"), hashes, row["record_id"])]
    old = len(rows) - len(good)
    if not old:
        return _by_lesion(good), ""
    of = f"{old:,} of {len(rows):,} scores are"
    return _by_lesion(good), (
        f"{folder.path.name}: {of} of another contour and not shown (run bcseg score again)"
    )


def _same(judged: str | None, hashes: dict[str, str], record_id: str) -> bool:
    """Tell whether a score is of the contour that is here; without a hash it is believed."""
    if record_id not in hashes:
        return False
    return not judged or not hashes[record_id] or judged == hashes[record_id]


def _by_lesion(rows: Iterable[Row]) -> dict[_Key, Row]:
    return {(row["record_id"], row["lesion_id"]): row for row in rows}


def _score_rows(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    except UNREADABLE:
        rows = [{}]
    if any(None in row or not {"record_id", "lesion_id"} <= row.keys() for row in rows):
        raise UsageError(
            f"{SCORES} is damaged", where=str(path.parent), hint="run bcseg score again"
        )
    return rows
