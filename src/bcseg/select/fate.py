"""The fate of a pair: taken, or left out for one reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bcseg.select.matching import Choice

# why a pair was not taken: codes of left_out.csv
REASONS = {
    "not_selected": "no row of the manifest names it",
    "rejected": "rejected in the manifest",
    "unsure": "marked as unsure in the manifest",
    "flagged": "flagged in the manifest",
    "undecided": "named in the manifest without a decision",
    "lesion_rejected": "a rejected lesion would become background",
    "lesion_not_accepted": "not all lesions of its mask are accepted",
    "where_failed": "does not pass --where",
    "beyond_per_patient": "beyond --per-patient: better pairs of its patient are taken",
    "beyond_top": "beyond --top",
}
OF_CRITERIA = ("where_failed", "beyond_per_patient", "beyond_top")
_RECORD_CODES = {"reject": "rejected", "unsure": "unsure", "flag": "flagged"}


@dataclass(frozen=True, slots=True)
class Fate:
    """The code of a record that is left out, and the lesions at fault; empty: it is taken.

    `ignored`: lesions that it is taken without.
    """

    code: str = ""
    lesions: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def fate_of(
    choices: Sequence[Choice], in_mask: Sequence[str], *, ignore_rejected: bool = False
) -> Fate:
    """Return what the rows of a manifest say about a record.

    A decision about the record counts for its lesions that have no decision of their own. Lesions
    outside the mask do not count, unless the mask holds none. `ignore_rejected`: a record is taken
    without its rejected lesions if an accepted one is left.
    """
    whole = {c.decision for c in choices if not c.lesion_id and c.decision}
    single = {c.lesion_id: c.decision for c in choices if c.lesion_id and c.decision}
    if not choices:
        return Fate("not_selected")
    if not whole and not single:
        return Fate("undecided")
    for decision, code in _RECORD_CODES.items():
        if decision in whole:
            return Fate(code)
    default = "accept" if whole else ""
    decided = {one: single.get(one, default) for one in in_mask or single}
    rejected = tuple(one for one, decision in decided.items() if decision == "reject")
    others = tuple(one for one, word in decided.items() if word not in ("accept", "reject"))
    if ignore_rejected and in_mask and len(rejected) < len(decided):
        return Fate("lesion_not_accepted", others) if others else Fate(ignored=rejected)
    if rejected:
        return Fate("lesion_rejected", rejected)
    return Fate("lesion_not_accepted", others) if others else Fate()
