"""What chooses among the pairs that a manifest accepts: --where, then --per-patient, then --top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bcseg.errors import UsageError
from bcseg.select.columns import Facts
from bcseg.select.expression import Expression, parse
from bcseg.select.facts import (
    Tables,
    absent_texts,
    odd_cells,
    refuse_unscored,
    tables_of,
    unknown_cells,
    why_unscored,
)
from bcseg.select.options import Selecting
from bcseg.select.part import Part
from bcseg.select.ranking import DEFAULT, Order, best_first, order_of, too_many
from bcseg.text import counted, listed

_SHOWN = 5  # lesions that a message lists


@dataclass(slots=True)
class Applied:
    """What is to be said about the criteria; `scored`: they ask about scores.csv."""

    scored: bool = False
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def apply_criteria(parts: Sequence[Part], how: Selecting, root: Path) -> Applied:
    """Leave out what does not pass, and what is beyond a limit.

    Raises UsageError for an expression or a score that has no meaning, and for scores that are
    missing or were made of another contour.
    """
    expression = parse(how.where) if how.where else None
    order = order_of(how.by or DEFAULT) if how.by or how.top else None
    if not expression and not order and not how.per_patient:
        return Applied()
    asked = (*(expression.of_scores if expression else ()), *_scores_of(order))
    everything = {}
    reasons = []
    for part in parts:
        tables = tables_of(part.folder, part.records, scored=bool(asked))
        everything[part.dataset] = tables
        wanted = {row["record_id"]: _lesions(part, tables, row["record_id"]) for row in part.kept}
        reasons.append(why_unscored(part.folder, tables, wanted) if asked else "")
    refuse_unscored([reason for reason in reasons if reason], asked, root)
    applied = Applied(scored=bool(asked))
    if expression:
        for part in parts:
            facts = _filter(part, everything[part.dataset], expression, how)
            applied.notes += unknown_cells(expression, facts, part.dataset)
        applied.warnings += absent_texts(expression, everything)
    applied.warnings += _limit(parts, everything, order, how)
    applied.warnings += odd_cells(everything)
    return applied


def _scores_of(order: Order | None) -> tuple[str, ...]:
    return (order.name,) if order and order.column[0] == "score" else ()


def _lesions(part: Part, tables: Tables, record_id: str) -> list[str]:
    """Return the lesions that will be in the mask."""
    ignored = part.ignored.get(record_id, ())
    return [one for one in tables.lesions[record_id] if one not in ignored]


def _filter(part: Part, tables: Tables, expression: Expression, how: Selecting) -> list[Facts]:
    """Leave out the records that do not pass; return what was asked about."""
    asked = []
    for row in part.kept:
        record_id = row["record_id"]
        lesions = {
            one: tables.of_lesion(record_id, one) for one in _lesions(part, tables, record_id)
        }
        if not lesions:
            asked.append(tables.of_record(record_id))
            if not expression.test(asked[-1]):
                part.leave_out(record_id, "where_failed")
            continue
        asked += lesions.values()
        failed = [one for one, facts in lesions.items() if not expression.test(facts)]
        all_failed = len(failed) == len(lesions)
        if all_failed or (failed and not how.any and not how.ignore_rejected):
            part.leave_out(record_id, "where_failed", f": lesion {listed(failed, _SHOWN)}")
        elif failed and not how.any:
            part.ignore(record_id, failed)
    return asked


def _limit(
    parts: Sequence[Part], everything: Mapping[str, Tables], order: Order | None, how: Selecting
) -> list[str]:
    """Leave out what is beyond --per-patient, then --top; return warnings."""
    warnings = []
    for part in parts:
        tables = everything[part.dataset]
        ids = [row["record_id"] for row in part.kept]
        values = {
            one: order.value(tables, one, _lesions(part, tables, one)) if order else None
            for one in ids
        }
        ranked = best_first(values, ids)
        unknown = sum(values[one] is None for one in ids)
        if order and unknown:
            what = f"{order.name} of {counted(unknown, 'pair')} of {part.dataset} is unknown"
            warnings.append(f"{what}: ranked last")
        if how.per_patient:
            warnings += _per_patient(part, ranked, how.per_patient)
        kept = [one for one in ranked if not part.codes[one]]
        for place, record_id in enumerate(kept[how.top :] if how.top else (), how.top + 1):
            by = order.name if order else ""
            part.leave_out(record_id, "beyond_top", f": place {place} of {len(kept)} by {by}")
    return warnings


def _per_patient(part: Part, ranked: Sequence[str], limit: int) -> list[str]:
    groups = {row["record_id"]: row["group"] for row in part.records}
    for record_id in too_many([(one, groups[one]) for one in ranked], limit):
        part.leave_out(record_id, "beyond_per_patient")
    blank = sum(not groups[one] for one in ranked)
    if not blank:
        return []
    who = f"the patient of {counted(blank, 'pair')} of {part.dataset} is unknown"
    return [f"{who}: each counts as a patient of its own"]


def refuse_senseless(how: Selecting, *, manifest: bool) -> None:
    """Raise UsageError for options that do nothing without another."""
    if not (manifest or how.where or how.top or how.per_patient):
        raise UsageError(
            "nothing says what to select",
            hint="--manifest FILE, --where EXPRESSION, --top N or --per-patient N",
        )
    for given, needs, name, others in (
        (how.any, how.where, "--any", "--where"),
        (how.by, how.top or how.per_patient, "--by", "--top or --per-patient"),
        (how.ignore_rejected, manifest or how.where, "--ignore-rejected", "--manifest or --where"),
    ):
        if given and not needs:
            raise UsageError(f"{name} does nothing without {others}")
