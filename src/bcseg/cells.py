"""Cells of the tables that bcseg writes: text of an archive that no spreadsheet may calculate.

A cell that begins with = + - @, a tab or a line break, and is no number, gets an apostrophe in
front: a spreadsheet shows the text and calculates nothing. bcseg takes it off again when it
reads a table. Numbers (-0.5) and ids are never changed: a lesion id that would need an apostrophe
fails its record instead.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

LONGEST_ID = 200  # characters
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula; `plain_cell` gives the text back."""
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def plain_cell(cell: str) -> str:
    """Return the text that `safe_cell` made a cell of."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def is_plain_id(text: str) -> bool:
    """Tell whether an id can stand in a table as it is: short, printable, no formula."""
    return 0 < len(text) <= LONGEST_ID and text.isprintable() and safe_cell(text) == text


def table_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> bytes:
    """Return rows as UTF-8 CSV with these columns, each cell safe in a spreadsheet."""
    table = io.BytesIO()
    # half a surrogate pair, which JSON can hold and UTF-8 cannot, is written as \\udXXX
    text = io.TextIOWrapper(table, "utf-8", "backslashreplace", newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({name: safe_cell(cell) for name, cell in row.items()} for row in rows)
    text.flush()
    return table.getvalue()
