"""What each row of a manifest means, and why a row cannot be used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from bcseg.names import without_decimals
from bcseg.select.catalogue import Catalogue, NoMatch, Pair, Scope
from bcseg.select.manifest import DECISIONS, Manifest, ManifestRow

_SHORTENED = re.compile(r"\d+(?:[.,]\d+)?E\+\d+", re.IGNORECASE)  # 2,06E+07

Sort = Literal["error", "missing", "changed"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a row cannot be used; "missing" and "changed" can be allowed."""

    number: int
    sort: Sort
    message: str
    name: str = ""  # to look for the nearest id
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, slots=True)
class Choice:
    """A row and the pair that it names; None for a row that matches nothing."""

    row: ManifestRow
    pair: Pair | None
    lesion_id: str = ""
    decision: str = "accept"  # empty: not decided yet


def match_rows(manifest: Manifest, catalogue: Catalogue) -> tuple[list[Choice], list[Trouble]]:
    """Return what each row means, and the rows that cannot be used, by row number."""
    decided = "decision" in manifest.columns
    choices: list[Choice] = []
    troubles: list[Trouble] = []
    for row in manifest.rows:
        decision = row.cell("decision").lower() if decided else "accept"
        if decision and decision not in DECISIONS:
            near = difflib.get_close_matches(decision, DECISIONS, n=1)
            troubles.append(
                Trouble(
                    row.number,
                    "error",
                    f"the decision {row.cell('decision')!r} is not one of {', '.join(DECISIONS)}"
                    + (f": do you mean {near[0]!r}?" if near else ""),
                )
            )
        choices += _match(row, decision, catalogue, troubles)
    troubles += _contradictions(choices)
    return choices, sorted(troubles, key=lambda trouble: trouble.number)


def _match(
    row: ManifestRow, decision: str, catalogue: Catalogue, troubles: list[Trouble]
) -> list[Choice]:
    name = row.name
    if not name:
        troubles.append(Trouble(row.number, "error", "names no record and no file"))
        return [Choice(row, None, decision=decision)]
    scope = catalogue.scope(row.cell("dataset"))
    if scope is None:
        message = f"no dataset is called {row.cell('dataset')!r}"
        troubles.append(Trouble(row.number, "error", message))
        return [Choice(row, None, decision=decision)]
    try:
        found = catalogue.find_all(name, scope)
    except NoMatch as error:
        if _SHORTENED.fullmatch(name):
            message = (
                f"{name!r} is a number that a spreadsheet shortened: format the column as text"
            )
            troubles.append(Trouble(row.number, "error", message))
        elif error.missing:
            troubles.append(Trouble(row.number, "missing", str(error), name, scope))
        else:
            troubles.append(Trouble(row.number, "error", str(error)))
        return [Choice(row, None, decision=decision)]
    return [_choice(row, pair, decision, catalogue, troubles) for pair in found]


def _choice(
    row: ManifestRow, pair: Pair, decision: str, catalogue: Catalogue, troubles: list[Trouble]
) -> Choice:
    lesion_id = _lesion(row, pair, catalogue, troubles)
    wanted_hash = row.cell("annotation_sha256").lower()
    if wanted_hash and wanted_hash != catalogue.records[pair]["annotation_sha256"]:
        message = f"{pair[0]} {pair[1]} was decided on another contour than it has now"
        troubles.append(Trouble(row.number, "changed", message))
    return Choice(row, pair, lesion_id, decision)


def _lesion(row: ManifestRow, pair: Pair, catalogue: Catalogue, troubles: list[Trouble]) -> str:
    """Return the archive's spelling of the row's lesion id; "1.0" may be a spreadsheet's 1."""
    given = row.cell("lesion_id")
    there = catalogue.lesions.get(pair, {})
    for lesion_id in (given, without_decimals(given)):
        if not lesion_id or lesion_id in there:
            return lesion_id
    known = f"it has {', '.join(sorted(there))}" if there else "it has none"
    message = f"{pair[0]} {pair[1]} has no lesion {given!r}: {known}"
    troubles.append(Trouble(row.number, "error", message))
    return given


def _contradictions(choices: Iterable[Choice]) -> list[Trouble]:
    """Return rows that decide otherwise than an earlier row about the same pair or lesion."""
    first: dict[tuple[Pair, str], Choice] = {}
    troubles = []
    for choice in choices:
        if choice.pair is None or not choice.decision:
            continue
        earlier = first.setdefault((choice.pair, choice.lesion_id), choice)
        if earlier.decision != choice.decision:
            lesion = f" lesion {choice.lesion_id}" if choice.lesion_id else ""
            message = (
                f"{choice.pair[0]} {choice.pair[1]}{lesion}: {choice.decision} here, but"
                f" {earlier.decision} in row {earlier.row.number}"
            )
            troubles.append(Trouble(choice.row.number, "error", message))
    return troubles
