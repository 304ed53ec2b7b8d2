"""The order of `--by`: which pairs of a dataset, or of a patient, are the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bcseg.errors import UsageError
from bcseg.names import nearest
from bcseg.scores.table import DIRECTIONS
from bcseg.select.columns import COLUMNS, FLAG_NAMES, Column, column_of
from bcseg.select.facts import Tables

DEFAULT = "precision_rank"


@dataclass(frozen=True, slots=True)
class Order:
    """Pairs by a column: `sign` 1, the greatest come first; -1, the least.

    `better`: 1 where a greater value of a lesion is the better, -1 where a smaller one is.
    """

    column: Column
    sign: float
    better: float

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.column[1]

    def value(self, tables: Tables, record_id: str, lesions: Sequence[str]) -> float | None:
        """Return the value of a pair, the greatest first: that of its worst lesion.

        None where that of a lesion is unknown.
        """
        facts = [tables.of_lesion(record_id, one) for one in lesions]
        if self.column[0] == "record":
            facts = [tables.of_record(record_id)]
        values = [one.number(self.column) for one in facts]
        known = [self.better * value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        return self.sign * self.better * min(known)


def order_of(by: str) -> Order:
    """Return the order that `--by` asks for; raises UsageError for an unknown or undirected one.

    `by`: a column, with a + or - before it where the least or the greatest shall come first.
    """
    name = by.strip().lstrip("+-").strip()
    column = column_of(name)
    if column is None:
        near = nearest(name, {one for columns in COLUMNS.values() for one in columns}, count=2)
        flag = f"{name} is a flag, and flags have no order" if name in FLAG_NAMES else ""
        mean = f": do you mean {' or '.join(near)}?" if near and not flag else ""
        raise UsageError(
            f"--by: {flag or f'no column is called {name!r}{mean}'}",
            hint="a score of docs/scores.md, such as precision_rank, edge_offset_abs, contrast",
        )
    better = DIRECTIONS.get(column[1], 0.0) if column[0] == "score" else 0.0
    sign = {"+": 1.0, "-": -1.0}.get(by.strip()[:1]) or better
    if not sign:
        raise UsageError(
            f"--by: neither a large nor a small {name} is better in itself",
            hint=f"--by=+{name} for the largest first, --by=-{name} for the smallest",
        )
    return Order(column, sign, better or sign)


def best_first(values: dict[str, float | None], record_ids: Sequence[str]) -> list[str]:
    """Return record ids, the greatest value first; unknown ones last, equal ones by id."""
    return sorted(
        record_ids,
        key=lambda one: ((value := values.get(one)) is None, -(value or 0.0), one),
    )


def too_many(groups: Sequence[tuple[str, str]], limit: int) -> set[str]:
    """Return which records, given best first with their group, are beyond `limit` of a group.

    A blank group is an unknown patient: each such record counts as a patient of its own.
    """
    seen: Counter[str] = Counter()
    beyond = set()
    for record_id, group in groups:
        seen[group] += 1
        if group and seen[group] > limit:
            beyond.add(record_id)
    return beyond
