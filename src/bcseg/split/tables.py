"""splits.csv and splits-balance.csv: what is written, and what an earlier one says."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from bcseg.cells import safe_cell
from bcseg.errors import UsageError
from bcseg.pairs import UNREADABLE, Row, read_rows
from bcseg.split.options import Place
from bcseg.split.patients import Key, key_of

BALANCE = "splits-balance.csv"
COLUMNS = ("dataset", "record_id", "group", "split", "fold")
BALANCE_COLUMNS = ("dataset", "aspect", "value", "place", "pairs", "share", "wanted", "balanced")


def splits_bytes(records: Iterable[Row], places: Mapping[Key, tuple[str, Place]]) -> bytes:
    """Return splits.csv: every pair with its patient and its place, sorted."""
    rows = []
    for row in sorted(records, key=key_of):
        group, place = places[key_of(row)]
        rows.append((*key_of(row), group, place.part, place.fold))
    return _csv(COLUMNS, rows)


def splits_of(path: Path, kept: Container[Key]) -> bytes:
    """Return a splits.csv with the rows of some pairs, empty if it has none of them.

    Raises UsageError if it is none of bcseg's.
    """
    rows = [row for row in _rows(path) if key_of(row) in kept]
    return _csv(COLUMNS, [[row[name] or "" for name in COLUMNS] for row in rows]) if rows else b""


def balance_bytes(rows: Iterable[tuple[object, ...]]) -> bytes:
    """Return splits-balance.csv."""
    return _csv(BALANCE_COLUMNS, rows)


def _csv(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(str(cell)) for cell in row] for row in rows)
    return text.getvalue().encode(errors="backslashreplace")


def earlier_places(path: Path) -> dict[Key, Place]:
    """Return where each pair is in a splits.csv; raises UsageError if it is none of bcseg's."""
    return {key_of(row): Place(row["split"], row["fold"]) for row in _rows(path)}


def _rows(path: Path) -> list[Row]:
    try:
        rows = read_rows(path)
    except UNREADABLE as error:
        raise UsageError(f"the earlier split cannot be read ({error})", where=str(path)) from error
    if rows and not {*COLUMNS} <= rows[0].keys():
        raise UsageError(
            f"no split of bcseg: it has no column {', '.join(sorted({*COLUMNS} - rows[0].keys()))}",
            where=str(path),
            hint="--redo to replace it, or --out for another place",
        )
    return rows
