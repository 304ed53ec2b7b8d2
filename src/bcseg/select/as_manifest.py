"""selection.csv: every row of the manifest and what it became, itself a manifest of the same pairs.

Without a manifest there is a row for every pair that was taken.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from bcseg.cells import plain_cell, safe_cell
from bcseg.select.catalogue import Pair
from bcseg.select.fate import OF_CRITERIA
from bcseg.select.manifest import OWN_COLUMNS
from bcseg.select.plan import Plan

GIVEN = "decision_given"  # what the manifest says, where the criteria decided otherwise


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the table; `given`: the decision of the manifest."""

    dataset: str
    record_id: str
    lesion_id: str
    decision: str
    annotation_sha256: str
    number: int = 0
    given: str = ""
    cells: Mapping[str, str] | None = None
    found: bool = True

    @property
    def order(self) -> tuple[bool, str, str, str, int]:
        return not self.found, self.dataset, self.record_id, self.lesion_id, self.number


def selection_table(plan: Plan) -> bytes:
    """Return selection.csv: `taken` is 1 where the pair was taken, other columns are carried.

    `decision` is what selects the same pairs once more: blank for an accepted pair that did not
    pass the criteria, reject for a lesion that went to ignore/. Then `decision_given` tells what
    the manifest said.
    """
    columns = plan.manifest.columns if plan.manifest else ()
    own = [*OWN_COLUMNS, "taken"]
    if plan.criteria and plan.manifest:
        own.append(GIVEN)
    others = [name for name in columns if name not in own]
    taken = {(part.dataset, row["record_id"]) for part in plan.parts for row in part.kept}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*own, *map(_carried, others)])
    for line in sorted((*_given(plan), *_added(plan)), key=lambda line: line.order):
        values = [line.dataset, line.record_id, line.lesion_id, line.decision]
        values += [line.annotation_sha256, str(int((line.dataset, line.record_id) in taken))]
        values += [line.given] if GIVEN in own else []
        values += [(line.cells or {}).get(name, "") for name in others]
        writer.writerow(map(_carried, values))
    return text.getvalue().encode(errors="backslashreplace")


def _carried(cell: str) -> str:
    """Return a cell of a manifest, safe in a spreadsheet whether it was so before or not."""
    return safe_cell(plain_cell(cell))


def _given(plan: Plan) -> list[_Line]:
    """Return the rows of the manifest."""
    ignored = _ignored(plan)
    failed: set[Pair] = {
        (part.dataset, record_id)
        for part in plan.parts
        for record_id, code in part.codes.items()
        if code in OF_CRITERIA
    }
    lines = []
    for choice in plan.choices:
        row = choice.row
        dataset, record_id = choice.pair or (row.cell("dataset"), row.cell("record_id"))
        lesion_id = choice.lesion_id or row.cell("lesion_id")
        decision = choice.decision
        if decision == "accept" and choice.pair in failed:
            decision = ""
        elif choice.pair and (*choice.pair, lesion_id) in ignored:
            decision = "reject"
        lines.append(
            _Line(
                dataset,
                record_id,
                lesion_id,
                decision,
                row.cell("annotation_sha256"),
                row.number,
                choice.decision,
                row.cells,
                choice.pair is not None,
            )
        )
    return lines


def _added(plan: Plan) -> list[_Line]:
    """Return a row for each pair without a manifest, and for each lesion that --where failed."""
    named = {(*choice.pair, choice.lesion_id) for choice in plan.choices if choice.pair}
    hashes = {
        (part.dataset, row["record_id"]): row["annotation_sha256"]
        for part in plan.parts
        for row in part.kept
    }
    lines = []
    if not plan.manifest:
        lines += [_Line(*pair, "", "accept", sha256) for pair, sha256 in hashes.items()]
    lines += [
        _Line(dataset, record_id, lesion_id, "reject", hashes[dataset, record_id])
        for dataset, record_id, lesion_id in sorted(_ignored(plan) - named)
    ]
    return lines


def _ignored(plan: Plan) -> set[tuple[str, str, str]]:
    return {
        (part.dataset, record_id, lesion_id)
        for part in plan.parts
        for record_id, lesions in part.ignored.items()
        for lesion_id in lesions
    }
