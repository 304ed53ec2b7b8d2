"""The table of a review: written for `select` and spreadsheets, read back after either."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bcseg import cells
from bcseg.errors import UsageError
from bcseg.review.entries import TEXTS, Entry, current_entries, plain_text
from bcseg.select.manifest import DECISIONS, ManifestRow, read_manifest

COLUMNS = tuple(
    """dataset record_id lesion_id decision reason note reviewer annotation_sha256 seconds repeat
    repeat_reason repeat_seconds""".split()  # noqa: SIM905
)


def table_bytes(entries: Iterable[Entry], reviewer: str) -> bytes:
    """Return the table: one row for each thing judged, sorted, cells safe in a spreadsheet."""
    entries = list(entries)
    first, second = current_entries(entries), current_entries(entries, repeat=True)
    rows = (_row(first[key], second.get(key)) | {"reviewer": reviewer} for key in sorted(first))
    return cells.table_bytes(COLUMNS, rows)


def _row(entry: Entry, again: Entry | None) -> dict[str, str]:
    row = {name: getattr(entry, name) for name in TEXTS}
    return row | {
        "seconds": f"{entry.seconds:.1f}",
        "repeat": again.decision if again else "",
        "repeat_reason": again.reason if again else "",
        "repeat_seconds": f"{again.seconds:.1f}" if again else "",
    }


def entries_of_table(table: Path) -> list[Entry]:
    """Return the decisions of a table that somebody may have edited, sorted as `table_bytes` does.

    Raises UsageError if it is none of a review, or if two of its rows contradict each other.
    """
    found: dict[tuple[Any, ...], Entry] = {}
    for entry in _rows_of(table):
        earlier = found.setdefault((entry.repeat, *entry.key), entry)
        if (earlier.decision, earlier.reason) != (entry.decision, entry.reason):
            raise UsageError(
                f"two rows about {' '.join(filter(None, entry.key))} contradict each other",
                where=str(table),
                hint="delete the wrong one",
            )
    return [found[key] for key in sorted(found)]


def _rows_of(table: Path) -> Iterator[Entry]:
    header = table.read_bytes().decode("utf-8-sig", errors="replace").strip().splitlines()
    if not header:
        return
    if len(header) == 1 and {"dataset", "record_id"} <= {*re.split("[,;\t]", header[0])}:
        return
    manifest = read_manifest(table)
    if not {"dataset", "record_id", "decision"} <= {*manifest.columns} or {*manifest.columns} - {
        *COLUMNS
    }:
        raise UsageError(
            "the table is not one of a review: it would be replaced",
            where=str(table),
            hint="name another one with -o",
        )
    for row in manifest.rows:
        yield from _entries_of_row(row, table)


def _entries_of_row(row: ManifestRow, table: Path) -> Iterator[Entry]:
    """Yield the decision of a row, and the second look's."""
    decision, again = row.cell("decision").lower(), row.cell("repeat").lower()
    for word in filter(None, (decision, again)):
        if word not in DECISIONS:
            message = f"row {row.number}: {word!r} is not one of {', '.join(DECISIONS)}"
            raise UsageError(message, where=str(table))
    if not decision:
        return
    texts: dict[str, Any] = {name: plain_text(row.cell(name)) for name in TEXTS}
    texts["decision"] = decision
    entry = Entry(number=0, **texts, seconds=_seconds(row.cell("seconds")))
    yield entry
    if again:
        yield dataclasses.replace(
            entry,
            decision=again,
            reason=plain_text(row.cell("repeat_reason")),
            note="",
            repeat=True,
            seconds=_seconds(row.cell("repeat_seconds")),
        )


def _seconds(cell: str) -> float:
    text = cell.replace(",", ".")
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d*)?", text) else 0.0
