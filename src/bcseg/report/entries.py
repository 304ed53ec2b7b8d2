"""From the tables of pairs folders to the pairs of a report: joined, ordered, chosen."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Sequence

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.names import nearest
from bcseg.pairs import PairsFolder, Row, checked_rows
from bcseg.report.data import (
    PRECISION,
    SIZES,
    Box,
    Entry,
    LesionEntry,
    Reporting,
    badness,
    number,
)
from bcseg.scores.table import KEYS, read_scores

_NO_SCORE = {*KEYS, "flags"}

_Key = tuple[str, str]  # record id, lesion id


def entries(folders: Sequence[PairsFolder], how: Reporting) -> tuple[list[Entry], list[str]]:
    """Return every pair, worst first, and notes; raises UsageError for a damaged table.

    Worst is the worst value of the score `how.sort` of any of its lesions; pairs without it come
    after, the smallest area first. Raises UsageError for a score that no lesion has.
    """
    found: list[Entry] = []
    notes: list[str] = []
    for folder in folders:
        here, note = _entries_of(folder, how.sort)
        found += here
        notes += [note] if note else []
    if how.sort != PRECISION:
        _refuse_unknown(how.sort, sorted({name for entry in found for name in entry.values}))
    return sorted(found, key=lambda entry: _order(entry, how.sort)), notes


def _refuse_unknown(name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = nearest(name, known)
        hint = f"--sort {near[0]}" if near else "bcseg score first: it makes them"
        raise UsageError(
            f"no lesion has the score {name!r}; there are {', '.join(known) or 'none'}", hint=hint
        )


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


def _order(entry: Entry, sort: str) -> tuple[bool, float, bool, float, str, str, str]:
    worst = entry.worst(sort)
    area = next((value for name in SIZES if (value := entry.worst(name)) is not None), None)
    return (
        worst is None,
        0.0 if worst is None else -badness(sort, worst),
        entry.worst(SIZES[0]) is None,
        area or 0.0,
        entry.dataset,
        entry.record_id,
        entry.folder.name,
    )


def _lot(entry: Entry) -> tuple[str, str]:
    name = f"{entry.dataset}/{entry.record_id}"
    return hashlib.sha256(name.encode(errors="replace")).hexdigest(), entry.folder.name


def _entries_of(folder: PairsFolder, sort: str) -> tuple[list[Entry], str]:
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
        of_record.sort(key=lambda one: _lesion_order(one, sort))
        found.append(
            Entry(folder.path, row["dataset"], row, tuple(of_record), tuple(problems[record_id]))
        )
    return found, note


def _lesion_order(lesion: LesionEntry, sort: str) -> tuple[bool, float, float]:
    value = lesion.scores.get(sort)
    badly = 0.0 if value is None else badness(sort, value)
    return value is None, -badly, -(number(lesion.row["area_px"]) or 0.0)


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
    name = folder.path.name
    everything = read_scores(folder, stale=True)
    if not everything:
        return {}, f"{name}: not scored yet: bcseg score gives each lesion scores, flags and a rank"
    rows = read_scores(folder)
    old = len(everything) - len(rows)
    note = (
        f"{name}: {old:,} of {len(everything):,} scores are of another contour and not shown: run "
        "bcseg score again"
    )
    return {(row["record_id"], row["lesion_id"]): row for row in rows}, note if old else ""
