"""Tables of the archives: CSV as people really save it, and the sheets of a workbook.

Every cell is text without surrounding blanks; what archives write for "unknown" is empty.
"""

from __future__ import annotations

import csv
import io
import math
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bcseg.errors import RecordError
from bcseg.limits import (
    CELL_CHARACTERS,
    COLUMNS,
    ROW_CELLS,
    TABLE_BYTES,
    TABLE_CELLS,
    WORKBOOK_BYTES,
)

_DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_DIGITS = 20  # of a count; Python itself refuses thousands
_UNKNOWN = {"", "nan", "n/a", "na", "none", "null", "removed", "_", "-"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: cells by normalised header (lower case, "_" for blanks)."""

    item: str  # "INbreast.csv#12": file and number of the row, counted from 1 below the header
    cells: dict[str, str]
    damage: str = ""  # why the row cannot be used

    def get(self, *headers: str) -> str:
        """Return the first cell among `headers` that says something, else the empty string."""
        for header in headers:
            text = self.cells.get(header, "")
            if text.lower() not in _UNKNOWN:
                return text
        return ""

    def raw(self, header: str) -> str:
        """Return a cell as it stands."""
        return self.cells.get(header, "")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of an archive, whole."""

    name: str  # name in the source; "book.xlsx[all]" for a sheet
    headers: tuple[str, ...]
    rows: tuple[Row, ...]


def normalise_header(text: str) -> str:
    """Return a header as all copies of a table agree on it: "Bi-Rads " is "bi_rads"."""
    cleaned = text.strip().lstrip("\ufeff#").lower()
    return "_".join(cleaned.replace("-", " ").replace("/", " ").split())


def decode_text(data: bytes, name: str) -> str:
    """Return text that is UTF-8 (with or without BOM), UTF-16 with BOM, or else Windows-1252."""
    if b"\0" in data[:4] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise RecordError("a binary file, not a table", code="unreadable_table", where=name)
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def whole_number(cell: str) -> int | None:
    """Return a count; None for a cell that holds none (as "²", or digits by the thousand)."""
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < _MOST_DIGITS else None


def read_csv(data: bytes, name: str, *, delimiter: str = "") -> Table:
    """Read a CSV table. The delimiter is the one that the header line has most of.

    Raises RecordError (code "unreadable_table") for what is no table.
    """
    _check_bytes(len(data), TABLE_BYTES, name)
    text = decode_text(data, name)
    first = text.split("\n", 1)[0]
    delimiter = delimiter or max(",;\t", key=first.count)
    csv.field_size_limit(CELL_CHARACTERS)
    reader = csv.reader(_lines(text, name), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return _table(name, reader, whole_rows=True)
    except csv.Error as error:
        raise RecordError(
            f"row {reader.line_num} is not readable as CSV ({error})",
            code="unreadable_table",
            where=name,
        ) from error


def read_words(data: bytes, name: str, columns: Sequence[str], first: re.Pattern[str]) -> Table:
    """Read a table whose cells are apart by blanks, of lines whose first cell matches `first`.

    Cells beyond the last column are in none; a row may have fewer than there are columns.
    """
    _check_bytes(len(data), TABLE_BYTES, name)
    text = decode_text(data, name)
    lines = (cells for line in _lines(text, name) if (cells := line.split()))
    wanted = _counted((cells for cells in lines if first.fullmatch(cells[0])), name)
    rows = tuple(
        Row(f"{name}#{number}", dict(zip(columns, cells, strict=False)))
        for number, cells in enumerate(wanted, start=1)
    )
    return Table(name, tuple(columns), rows)


def _check_bytes(size: int, most: int, name: str) -> None:
    if size > most:
        raise RecordError(f"{size:,} bytes are too many for a table", code="too_large", where=name)


def _lines(text: str, name: str) -> Iterator[str]:
    """Yield the lines; raises RecordError for one that would be millions of cells."""
    for line in io.StringIO(text, newline=""):
        if len(line) > 2 * CELL_CHARACTERS:
            raise RecordError(
                f"a line of {len(line):,} characters is too long for a table",
                code="too_large",
                where=name,
            )
        yield line


def _table(name: str, lines: Iterable[Sequence[str]], *, whole_rows: bool = False) -> Table:
    """Return a table; `whole_rows`: a row with fewer cells than the header was cut off."""
    iterator = _counted(lines, name)
    headers = tuple(normalise_header(cell) for cell in next(iterator, ()))
    if not any(headers):
        raise RecordError("the table is empty", code="unreadable_table", where=name)
    rows = tuple(_rows(name, headers, iterator, whole_rows))
    return Table(name, headers, rows)


def _counted(lines: Iterable[Sequence[str]], name: str) -> Iterator[Sequence[str]]:
    """Yield the lines, as long as they can be those of an archive's table."""
    cells = 0
    for number, line in enumerate(lines):
        cells += len(line) + ROW_CELLS
        if cells > TABLE_CELLS or (number == 0 and len(line) > COLUMNS):
            raise RecordError(
                f"more than {TABLE_CELLS if number else COLUMNS:,} "
                f"{'cells' if number else 'columns'} are too many for a table",
                code="too_large",
                where=name,
            )
        yield line


def _rows(
    name: str, headers: tuple[str, ...], lines: Iterator[Sequence[str]], whole_rows: bool
) -> Iterator[Row]:
    number = 0
    least = 0 if not whole_rows else max(n for n, text in enumerate(headers, start=1) if text)
    for line in lines:
        if not any(cell.strip() for cell in line):
            continue  # an empty line is no row
        number += 1
        cells = [cell.strip() for cell in line]
        damage = ""
        if any(cells[len(headers) :]) or len(cells) < least:
            damage = f"the row has {len(cells)} cells, the header {len(headers)}"
        yield Row(f"{name}#{number}", dict(zip(headers, cells, strict=False)), damage)


def read_xlsx(data: bytes, name: str, sheet: str) -> Table:
    """Read one sheet of an Excel workbook (.xlsx), matched without regard to case and blanks."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    _check_bytes(len(data), WORKBOOK_BYTES, name)
    try:
        _check_parts(data, name)
        with warnings.catch_warnings():  # about styles and rules of the workbook, not its cells
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            names = {title.strip().lower(): title for title in book.sheetnames}
            if sheet.lower() not in names:
                raise RecordError(
                    f"no sheet named {sheet!r} (it has {', '.join(book.sheetnames)})",
                    code="unreadable_table",
                    where=name,
                )
            values = book[names[sheet.lower()]].iter_rows(values_only=True)
            lines = (list(map(_cell, line[:COLUMNS])) for line in values)
            return _table(f"{name}[{sheet}]", lines)
    # what openpyxl lets through on damaged files was found by feeding it some
    except (zipfile.BadZipFile, InvalidFileException, zlib.error, SyntaxError, ValueError,
            LookupError, TypeError, AttributeError, NotImplementedError, EOFError,
            OverflowError, RuntimeError, OSError) as error:  # fmt: skip
        raise RecordError(
            f"not a readable workbook ({str(error) or type(error).__name__})",
            code="unreadable_table",
            where=name,
        ) from error


def _check_parts(data: bytes, name: str) -> None:
    """Refuse a workbook that unpacks to too much, or whose XML declares entities."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        parts = book.infolist()
        if any(part.compress_type not in _PACKING for part in parts):
            raise NotImplementedError("packed in a way that no workbook is")
        _check_bytes(sum(part.file_size for part in parts), WORKBOOK_BYTES, name)
        for part in parts:
            if part.filename.lower().endswith((".xml", ".rels")):
                content = book.read(part).replace(b"\0", b"")  # UTF-16 too
                if _DECLARATION.search(content):
                    raise ValueError("its XML declares a document type or entities")


def read_xls(data: bytes, name: str, sheet: int = 0) -> Table:
    """Read one sheet of an old Excel workbook (.xls). Needs the extra `xls`."""
    try:
        import xlrd
    except ImportError as error:
        raise RecordError(
            "reading .xls needs the package xlrd",
            code="missing_extra",
            where=name,
            hint="pip install 'bcseg[xls]'",
        ) from error
    _check_bytes(len(data), WORKBOOK_BYTES, name)
    try:
        book = xlrd.open_workbook(file_contents=data, logfile=io.StringIO(), on_demand=True)
        cells = book.sheet_by_index(sheet)
        lines = ([_cell(value) for value in cells.row_values(i)] for i in range(cells.nrows))
        return _table(name, lines)
    # xlrd raises many kinds of error on a damaged file, its own and built-in ones
    except (xlrd.XLRDError, xlrd.compdoc.CompDocError, xlrd.formula.FormulaError, struct.error,
            LookupError, ValueError, TypeError, AttributeError, AssertionError, ArithmeticError,
            MemoryError, RuntimeError, OSError) as error:  # fmt: skip
        raise RecordError(
            f"not a readable workbook ({str(error) or type(error).__name__})",
            code="unreadable_table",
            where=name,
        ) from error


def _cell(value: Any) -> str:
    """Return a cell as text: whole numbers without ".0", nothing for an empty cell."""
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)
