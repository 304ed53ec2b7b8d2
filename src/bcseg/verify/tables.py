"""The tables of a pairs folder against their columns, each other and dataset.json."""

from __future__ import annotations

import csv
import io
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.cells import plain_cell
from bcseg.formats.tables import whole_number
from bcseg.pairs import UNREADABLE, PairsFolder, Row
from bcseg.verify.cells import is_safe_name, is_sha256
from bcseg.verify.findings import Findings, reason

_NUMBERS = ("height", "width", "bit_depth", "mask_pixels", "n_lesions")
_HASHES = ("source_sha256", "image_sha256", "mask_sha256", "annotation_sha256")


@dataclass(slots=True)
class Tables:
    """The tables of a folder; `lesions` by record id."""

    records: list[Row]
    lesions: dict[str, list[Row]]
    problems: list[Row]
    left_out: list[Row]
    damaged: set[str]  # names of the tables that could not be read


def read_tables(folder: PairsFolder, found: Findings) -> Tables:
    """Read all tables; those that cannot be used are findings."""
    read = {name: _read_table(folder.path, name, found) for name in pairs.COLUMNS}
    lesions: defaultdict[str, list[Row]] = defaultdict(list)
    for row in read[pairs.LESIONS] or ():
        lesions[row["record_id"]].append(row)
    return Tables(
        read[pairs.RECORDS] or [],
        dict(lesions),
        read[pairs.PROBLEMS] or [],
        read[pairs.LEFT_OUT] or [],
        {name for name, rows in read.items() if rows is None},
    )


def _read_table(folder: Path, name: str, found: Findings) -> list[Row] | None:
    """Return the rows of a table; None, with a finding, for one that cannot be used."""
    try:
        text = (folder / name).read_bytes().decode("utf-8")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [list(map(plain_cell, line)) for line in reader]
    except FileNotFoundError:
        found.fail("missing_table", "the table is not there", name)
        return None
    except UNREADABLE as error:
        found.fail("unreadable_table", f"the table cannot be read ({reason(error)})", name)
        return None
    columns = tuple(lines[0]) if lines else ()
    wanted = pairs.COLUMNS[name]
    if columns != wanted:
        lacking = ", ".join(column for column in wanted if column not in columns)
        surplus = ", ".join(column for column in columns if column not in wanted)
        message = f"missing: {lacking or 'none'}; unknown: {surplus or 'none'}"
        if not lacking and not surplus:
            message = "their order is another"
        found.fail("table_columns", f"not the columns of this table ({message})", name)
        if lacking:
            return None
    rows = []
    for number, cells in enumerate(lines[1:], 1):
        if len(cells) != len(columns):
            message = f"the row has {len(cells)} cells, the header {len(columns)}"
            found.fail("unreadable_row", message, f"{name}#{number}")
        else:
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def check_tables(tables: Tables, document: Mapping[str, Any], found: Findings) -> None:
    """Check cells, ids and order of the tables, and compare them with each other."""
    _check_rows(tables, found)
    if pairs.LESIONS not in tables.damaged:
        _check_lesion_rows(tables, found)
    _check_counts(tables, document, found)


def _check_rows(tables: Tables, found: Findings) -> None:
    lesion_rows = [row for rows in tables.lesions.values() for row in rows]
    for name, rows in (
        (pairs.RECORDS, tables.records),
        (pairs.LESIONS, lesion_rows),
        (pairs.PROBLEMS, tables.problems),
        (pairs.LEFT_OUT, tables.left_out),
    ):
        other = sorted({row["dataset"] for row in rows} - {found.dataset})
        if other:
            found.fail("wrong_dataset", f"rows of {', '.join(map(repr, other))}", name)
        ids = [row["record_id"] for row in rows]
        if ids != sorted(ids):
            found.fail("not_sorted", "the rows are not sorted by record id", name)
    for record_id, count in Counter(row["record_id"] for row in tables.records).items():
        if count > 1:
            found.fail("duplicate_record", f"{count} rows of one id", pairs.RECORDS, record_id)
    for row in tables.records:
        bad = [name for name in _NUMBERS if whole_number(row[name]) is None]
        bad += [name for name in _HASHES if not is_sha256(row[name])]
        bad += [name for name in ("image", "mask") if not is_safe_name(row[name], f"{name}s")]
        if bad:
            message = f"not a value of its column: {', '.join(bad)}"
            found.fail("bad_cell", message, pairs.RECORDS, row["record_id"])


def _check_lesion_rows(tables: Tables, found: Findings) -> None:
    known = {row["record_id"] for row in tables.records}
    if pairs.RECORDS not in tables.damaged:
        for record_id in sorted(tables.lesions.keys() - known):
            found.fail("unknown_record", "not in records.csv", pairs.LESIONS, record_id)
    for row in tables.records:
        record_id = row["record_id"]
        lesions = tables.lesions.get(record_id, [])
        inside = [lesion for lesion in lesions if lesion["in_mask"] == "1"]
        if whole_number(row["n_lesions"]) not in (None, len(inside)):
            message = f"{row['n_lesions']} in records.csv, {len(inside)} in lesions.csv"
            found.fail("n_lesions", message, pairs.RECORDS, record_id)
        kinds = " ".join(sorted({lesion["kind"] for lesion in inside}))
        if kinds != row["kinds"]:
            message = f"{row['kinds']!r} in records.csv, {kinds!r} in lesions.csv"
            found.fail("kinds", message, pairs.RECORDS, record_id)
        for lesion_id, count in Counter(lesion["lesion_id"] for lesion in lesions).items():
            if count > 1:
                message = f"{count} rows of lesion {lesion_id}"
                found.fail("duplicate_lesion", message, pairs.LESIONS, record_id)
        for lesion in inside:
            if lesion["clipped"] == "1":
                message = f"{lesion['kind']} {lesion['lesion_id']} reaches out of the image"
                found.add("warning", "lesion_clipped", message, lesion["source"], record_id)


def _check_counts(tables: Tables, document: Mapping[str, Any], found: Findings) -> None:
    """Compare the tables with what dataset.json counts, and its ledger with itself."""
    if not document:
        return
    inside = sum(row["in_mask"] == "1" for rows in tables.lesions.values() for row in rows)
    problems = dict(Counter(row["code"] for row in tables.problems))
    for name, key, count in (
        (pairs.RECORDS, "records", len(tables.records)),
        (pairs.LESIONS, "lesions_in_masks", inside),
        (pairs.PROBLEMS, "problems", problems),
    ):
        if name not in tables.damaged and document.get(key) != count:
            message = f"{key}: {document.get(key)} in dataset.json, {count} in the table"
            found.fail("count_differs", message, name)
    items = document.get("items")
    for title, counts in items.items() if isinstance(items, dict) else ():
        fates = [counts.get(fate) for fate in ("written", "left_out", "failed")]
        if None in fates or counts.get("found") != sum(fates):
            found.fail("count_differs", f"the ledger of {title} does not add up", pairs.DATASET)


def check_content(folder: PairsFolder, document: Mapping[str, Any], found: Findings) -> str:
    """Return the content hash, "" if a table is missing or damaged."""
    try:
        content = pairs.content_sha256(folder.path)
    except FileNotFoundError:
        return ""  # the finding `missing_table` says it
    except (OSError, EOFError, zlib.error):
        return ""
    if document and content != document.get("content_sha256"):
        message = "the tables are not those that dataset.json was written with"
        found.fail("content_differs", message, pairs.DATASET)
    return content
