"""What the tables say about the lesions that `--where` and `--by` ask about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.names import nearest
from bcseg.pairs import PairsFolder, Row, checked_rows
from bcseg.scores.table import SCORES, read_scores
from bcseg.select.columns import Column, Facts, Table, number_in
from bcseg.select.expression import Expression

_SHOWN = 3  # lesions or words that a message lists


@dataclass(slots=True)
class Tables:
    """The tables of a dataset by record: its lesions in the mask, and their scores if asked for."""

    records: Mapping[str, Row]
    lesions: Mapping[str, Mapping[str, Row]]
    scores: Mapping[tuple[str, str], Row] = field(default_factory=dict)
    odd: set[Column] = field(default_factory=set)

    def of_lesion(self, record_id: str, lesion_id: str) -> Facts:
        """Return what is known about a lesion in the mask."""
        score = self.scores.get((record_id, lesion_id), {})
        rows: dict[Table, Row] = {
            "record": self.records[record_id],
            "lesion": self.lesions[record_id][lesion_id],
        }
        flags = frozenset(score.get("flags", "").split())
        if score:
            rows["score"] = score
        return Facts(rows, flags, self.odd)

    def of_record(self, record_id: str) -> Facts:
        """Return what is known about a record without lesions in its mask."""
        return Facts({"record": self.records[record_id]}, frozenset(), self.odd)


def tables_of(folder: PairsFolder, records: Iterable[Row], *, scored: bool) -> Tables:
    """Read the tables of a dataset; `scored`: with scores.csv."""
    lesions: defaultdict[str, dict[str, Row]] = defaultdict(dict)
    for row in checked_rows(folder, pairs.LESIONS):
        if row["in_mask"] == "1":
            lesions[row["record_id"]][row["lesion_id"]] = row
    by_id = {row["record_id"]: row for row in records}
    scores = read_scores(folder) if scored else []
    by_lesion = {(row["record_id"], row["lesion_id"]): row for row in scores}
    return Tables(by_id, defaultdict(dict, lesions), by_lesion)


def why_unscored(folder: PairsFolder, tables: Tables, wanted: Mapping[str, Sequence[str]]) -> str:
    """Return why not all of the `wanted` lesions (by record) have a score; "" if they have."""
    lacking = [
        (record_id, lesion_id)
        for record_id, lesions in wanted.items()
        for lesion_id in lesions
        if (record_id, lesion_id) not in tables.scores
    ]
    if not lacking:
        return ""
    if not (folder.path / SCORES).is_file():
        return f"{folder.name} was never scored"
    total = sum(map(len, wanted.values()))
    old = {(row["record_id"], row["lesion_id"]) for row in read_scores(folder, stale=True)}
    stale = [pair for pair in lacking if pair in old]
    named = ", ".join(f"{record_id} {lesion_id}" for record_id, lesion_id in lacking[:_SHOWN])
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    what = "have no score"
    if len(stale) == len(lacking):
        what = "changed their contour since they were scored"
    elif stale:
        what += f", or changed their contour since they were scored ({len(stale)})"
    return f"{len(lacking)} of {total} lesions of {folder.name} {what}: {named}{more}"


def refuse_unscored(reasons: Sequence[str], asked: Sequence[str], root: Path) -> None:
    """Raise UsageError where scores are asked about that are not there."""
    if reasons:
        names = ", ".join(asked[:_SHOWN]) + (", ..." if len(asked) > _SHOWN else "")
        listed = "".join(f"\n    {reason}" for reason in reasons)
        raise UsageError(
            f"the scores are not there that are asked about ({names}):{listed}",
            where=str(root),
            hint=f"bcseg score {root}",
        )


def absent_texts(expression: Expression, everything: Mapping[str, Tables]) -> list[str]:
    """Return warnings about text that no cell of its column is."""
    found = []
    for column, text in dict.fromkeys(expression.texts):
        known = {cell for tables in everything.values() for cell in _cells(tables, column)}
        if text in known:
            continue
        near = nearest(text, known)
        shown = sorted(known - {""})
        words = ", ".join(shown[: 2 * _SHOWN]) + (", ..." if len(shown) > 2 * _SHOWN else "")
        mean = f": do you mean {near[0]!r}?" if near else f" (there are: {words or 'none at all'})"
        found.append(f"no {column[1]} here is {text!r}{mean}")
    return found


def _cells(tables: Tables, column: Column) -> Iterable[str]:
    table, name = column
    if table == "record":
        return (row[name] for row in tables.records.values())
    if table == "score":
        return (row[name] for row in tables.scores.values())
    return (row[name] for lesions in tables.lesions.values() for row in lesions.values())


def odd_cells(everything: Mapping[str, Tables]) -> list[str]:
    """Return warnings about cells that are no number; raises UsageError where none is one."""
    found = []
    for column in sorted({column for tables in everything.values() for column in tables.odd}):
        cells = {cell for tables in everything.values() for cell in _cells(tables, column) if cell}
        odd = sorted(cell for cell in cells if number_in(column, cell) is None)
        shown = ", ".join(map(repr, odd[:_SHOWN])) + (", ..." if len(odd) > _SHOWN else "")
        if len(odd) == len(cells):
            raise UsageError(
                f"{column[1]} holds text ({shown}) and no number",
                hint=f"compare it with text in quotes: {column[1]} == {odd[0]!r}",
            )
        found.append(f"{column[1]}: {shown} is no number and counts as unknown")
    return found


def unknown_cells(expression: Expression, asked: Sequence[Facts], dataset: str) -> list[str]:
    """Return notes on columns that are unknown for some of the lesions that were asked about."""
    notes = []
    for column in sorted(expression.compared):
        unknown = sum(facts.cell(column) is None for facts in asked)
        if unknown:
            of = f"{unknown} of {len(asked)} lesions of {dataset}"
            notes.append(f"{column[1]} is unknown for {of}: no comparison with it holds there")
    return notes
