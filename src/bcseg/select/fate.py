"""The fate of a pair: taken, or left out for one reason."""

from __future__ import annotations

from collections.abc import Sequence

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
}
_RECORD_CODES = {"reject": "rejected", "unsure": "unsure", "flag": "flagged"}


def fate_of(choices: Sequence[Choice], in_mask: Sequence[str]) -> tuple[str, str]:
    """Return the code of a record that is left out, and the lesions at fault; ("", "") if taken.

    A decision about the record counts for its lesions that have no decision of their own. Lesions
    outside the mask do not count, unless the mask holds none.
    """
    whole = {c.decision for c in choices if not c.lesion_id and c.decision}
    single = {c.lesion_id: c.decision for c in choices if c.lesion_id and c.decision}
    if not choices:
        return "not_selected", ""
    if not whole and not single:
        return "undecided", ""
    for decision, code in _RECORD_CODES.items():
        if decision in whole:
            return code, ""
    default = "accept" if whole else ""
    decided = {one: single.get(one, default) for one in in_mask or single}
    rejected = [one for one, decision in decided.items() if decision == "reject"]
    if rejected:
        return "lesion_rejected", ", ".join(rejected)
    others = [one for one, decision in decided.items() if decision != "accept"]
    return ("lesion_not_accepted", ", ".join(others)) if others else ("", "")
