"""Manifests: which pairs somebody chose, by id or by file name, as people write them down.

A manifest is a table with the columns `dataset` and `record_id`, or with a column of file names,
or a plain list of names.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bcseg.errors import UsageError

DECISIONS = ("accept", "reject", "unsure", "flag")
NAME_COLUMNS = ("record_id", "file", "image_file", "image", "mask_file", "mask")
OWN_COLUMNS = ("dataset", "record_id", "lesion_id", "decision", "annotation_sha256")
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row as written; `number` as a spreadsheet counts, `cells` by column name."""

    number: int
    cells: Mapping[str, str]

    def cell(self, column: str) -> str:
        """Return a cell without blanks and spreadsheet apostrophes; empty if it is not there."""
        return self.cells.get(column, "").strip().removeprefix("'").strip('"\u00a0 ')

    @property
    def name(self) -> str:
        """The record id or the file name, whichever is given first in the order of NAME_COLUMNS."""
        return next(filter(None, map(self.cell, NAME_COLUMNS)), "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as read; `sha256` of the file, `columns` as spelled in NAME_COLUMNS."""

    sha256: str
    columns: tuple[str, ...]
    rows: tuple[ManifestRow, ...]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; raises UsageError if it is no table or list of names, or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the manifest cannot be read: {error.strerror}", where=str(path)
        ) from error
    return manifest_of(data, path)


def manifest_of(data: bytes, path: Path) -> Manifest:
    """Read the bytes of a manifest; `path` is where the message of an error says they are."""
    text = _decode(data, path)
    delimiter = _table_delimiter(text)
    try:
        columns, rows = _table(text, delimiter, path) if delimiter else _list(text, path)
    except csv.Error as error:
        raise UsageError(f"the manifest is no readable CSV: {error}", where=str(path)) from error
    if not rows:
        raise UsageError("the manifest is empty: it has no row", where=str(path))
    return Manifest(hashlib.sha256(data).hexdigest(), columns, tuple(rows))


def _decode(data: bytes, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    if "\0" in text or data.startswith(b"PK\x03\x04"):
        raise UsageError(
            "the manifest is not a text file", where=str(path), hint="save it as CSV (UTF-8)"
        )
    # "sep=;" is what a spreadsheet puts first for its like; a blank keeps the count of lines
    return re.sub(r"\Asep=.(?=\r?\n)", "", text, flags=re.IGNORECASE)


def _column(word: str) -> str:
    return re.sub(r"[\s-]+", "_", word.strip().strip('"').strip().lower())


def _table_delimiter(text: str) -> str:
    """Return the delimiter with which the first line is a header; empty for a plain list."""
    first = next((line for line in text.splitlines() if line.strip(_DELIMITERS + " ")), "")
    for delimiter in _DELIMITERS:
        if {_column(word) for word in first.split(delimiter)} & {*NAME_COLUMNS}:
            return delimiter
    return ""


def _table(text: str, delimiter: str, path: Path) -> tuple[tuple[str, ...], list[ManifestRow]]:
    columns: tuple[str, ...] = ()
    rows: list[ManifestRow] = []
    too_long: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for number, cells in enumerate(reader, 1):
        if not any(cell.strip() for cell in cells):
            continue
        if not columns:
            columns = _columns(cells, path)
            continue
        if any(cell.strip() for cell in cells[len(columns) :]):
            too_long.append(number)
        rows.append(ManifestRow(number, dict(zip(columns, cells, strict=False))))
    if too_long:
        raise UsageError(
            f"row {too_long[0]} has more cells than the header ({len(too_long)} such rows)",
            where=str(path),
            hint='a cell that holds the delimiter must be in quotes: "a, b"',
        )
    return columns, rows


def _columns(cells: Sequence[str], path: Path) -> tuple[str, ...]:
    """Return the names of the columns; unnamed ones at the end are dropped."""
    known = (*OWN_COLUMNS, *NAME_COLUMNS)
    names = [_column(cell) if _column(cell) in known else cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"two columns are called {twice[0]!r}", where=str(path))
    return tuple(names)


def _list(text: str, path: Path) -> tuple[tuple[str, ...], list[ManifestRow]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip().strip(_DELIMITERS).strip()
        if not name or name.startswith("#"):
            continue
        if re.search(r"[,;\t]", name):
            raise UsageError(
                f"the first line of a table must name a column record_id or file; line {number} "
                f"is {name!r}",
                where=str(path),
                hint="a header such as: dataset,record_id,decision",
            )
        rows.append(ManifestRow(number, {"file": name}))
    return ("file",), rows
