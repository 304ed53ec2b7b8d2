"""The columns and flags that `--where` and `--by` can name, and what a row says in them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bcseg.pairs import LESION_COLUMNS, RECORD_COLUMNS, Row
from bcseg.scores.flags import DRAWN, FLAGS
from bcseg.scores.table import COLUMNS as SCORE_COLUMNS
from bcseg.scores.table import KEYS as SCORE_KEYS

Table = Literal["record", "lesion", "score"]
Column = tuple[Table, str]

# a bare name means the first table that has it
COLUMNS: Mapping[Table, tuple[str, ...]] = {
    "record": RECORD_COLUMNS,
    "lesion": LESION_COLUMNS,
    "score": tuple(name for name in SCORE_COLUMNS if name not in SCORE_KEYS),
}
FLAG_NAMES = (*FLAGS, *dict.fromkeys(DRAWN.values()))
WORDS = ("flags", "kinds")  # columns that hold words divided by blanks
NEVER_UNKNOWN = (*WORDS, "notes", "attributes")  # empty: there is none
_BIRADS = re.compile(r"(\d)[a-c]?", re.IGNORECASE)
# not all that float() takes: the patient 105_143 is none
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE)


@dataclass(slots=True)
class Facts:
    """A lesion, or a record that has none, by its rows.

    `odd`: columns that were asked for a number and have cells that are none.
    """

    rows: Mapping[Table, Row]
    flags: frozenset[str]
    odd: set[Column] = field(default_factory=set)

    def cell(self, column: Column) -> str | None:
        """Return a cell as it is written; None for an empty one, which is unknown."""
        table, name = column
        row = self.rows.get(table)
        if row is None:
            return None
        return row[name] or ("" if name in NEVER_UNKNOWN else None)

    def number(self, column: Column) -> float | None:
        """Return a cell as a number; None where it is unknown, or none, which is noted."""
        cell = self.cell(column)
        value = number_in(column, cell) if cell else None
        if cell and value is None:
            self.odd.add(column)
        return value


def number_in(column: Column, cell: str) -> float | None:
    """Return the number in a cell of a column, None if it is none; BI-RADS 4b counts as 4."""
    if column[1] == "birads" and (match := _BIRADS.fullmatch(cell)):
        return float(match[1])
    return float(cell) if is_number(cell) else None


def column_of(name: str) -> Column | None:
    """Return the column that a name means: `birads`, `lesion.birads`; None if there is none."""
    table, _, column = name.rpartition(".")
    for known, columns in COLUMNS.items():
        if column in columns and table in ("", known, f"{known}s"):
            return known, column
    return None


def is_number(text: str) -> bool:
    """Tell whether a cell or a text is a number as tables have it."""
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))
