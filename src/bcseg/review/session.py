"""A review under way: the pairs to judge and the decisions about them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.review.agreement import Agreement, Judgement, own_agreement
from bcseg.review.decisions import Decisions
from bcseg.review.entries import Entry, Key, current_entries
from bcseg.review.listing import Pair
from bcseg.review.settings import KEYS, REASONS, Reviewing


class Session:
    """The pairs of a root in the order of review, and the decisions about them."""

    def __init__(
        self, root: Path, pairs_in_order: Sequence[Pair], decisions: Decisions, how: Reviewing
    ) -> None:
        self.root = root
        self.pairs = {pair.id: pair for pair in pairs_in_order}
        self.decisions = decisions
        self.how = how

    def document(self) -> dict[str, Any]:
        """Return everything the page starts with."""
        how = self.how
        return {
            "schema_version": pairs.SCHEMA_VERSION,
            "root": self.root.resolve().name,
            "table": self.decisions.table.name,
            "reviewer": how.reviewer,
            "question": how.question,
            "reasons": REASONS,
            "keys": KEYS | dict(how.keys),
            "blind": how.blind,
            "warnings": self.warnings(),
            "pairs": [pair.document(blind=how.blind) for pair in self.pairs.values()],
            "entries": [page_entry(entry) for entry in self.decisions.since(0)],
        }

    def warnings(self) -> list[str]:
        """Return what a reviewer must know before judging."""
        reduced = sum(pair.reduced for pair in self.pairs.values())
        found = [self.decisions.notice] if self.decisions.notice else []
        if reduced:
            found.append(
                f"{reduced} of {len(self.pairs)} images were written at reduced size: their"
                " contours cannot be judged at full resolution (write a root without --size)"
            )
        if self.how.order == "worst" and not any(pair.scores for pair in self.pairs.values()):
            found.append("no scores here, so the smallest contours come first (bcseg score)")
        other = sum(self._is_other_contour(entry) for entry in self._current().values())
        if other:
            found.append(
                f"contours that have changed since they were judged: {other} decisions of"
                f" {self.decisions.table.name} do not count here, their pairs come again"
            )
        return found

    def _is_other_contour(self, entry: Entry) -> bool:
        pair = self.pairs.get((entry.dataset, entry.record_id))
        return pair is not None and entry.annotation_sha256 != pair.row["annotation_sha256"]

    def _current(self) -> dict[Key, Entry]:
        return current_entries(self.decisions.since(0))

    def decide(self, entry: Entry) -> Entry:
        """Put a decision on the disk; raises UsageError for what cannot be judged."""
        pair = self.pairs.get((entry.dataset, entry.record_id))
        if pair is None:
            raise UsageError("no such pair")
        if entry.lesion_id and entry.lesion_id not in {row["lesion_id"] for row in pair.lesions}:
            raise UsageError("no such lesion")
        if entry.annotation_sha256 != pair.row["annotation_sha256"]:
            raise UsageError("the contour has changed since this window was opened: reload it")
        again = entry.repeat and pair.repeat and self._is_judged(entry)
        return self.decisions.add(dataclasses.replace(entry, repeat=again))

    def _is_judged(self, entry: Entry) -> bool:
        return entry.key in self._current()

    def undo(self, number: int, mark: str) -> Entry:
        """Withdraw a decision; raises UsageError if there is none of this number."""
        entries = self.decisions.since(0)
        decided = {entry.number for entry in entries if not entry.undo}
        if number not in decided - {entry.undo for entry in entries}:
            raise UsageError("there is no such decision to undo")
        return self.decisions.add(Entry(number=0, undo=number, mark=mark))

    def own_agreement(self) -> Agreement:
        """Return how far the reviewer agrees with himself on the pairs shown twice."""
        entries = self.decisions.since(0)
        first, second = current_entries(entries), current_entries(entries, repeat=True)
        looks = [
            (key, _judgement(first[key]), _judgement(second[key]))
            for key in sorted(first.keys() & second.keys())
        ]
        return own_agreement(looks, self.how.reviewer)

    def summary(self) -> dict[str, int]:
        """Return how many pairs of the root have which decision; lesions count for themselves."""
        counts: defaultdict[str, int] = defaultdict(int)
        for entry in self._current().values():
            counts[entry.decision] += (entry.dataset, entry.record_id) in self.pairs
        return dict(counts)


def page_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry as the page needs it."""
    values = entry.document()
    for name in ("time", "table", "mark"):
        values.pop(name)
    return {name: value for name, value in values.items() if value}


def _judgement(entry: Entry) -> Judgement:
    return Judgement(entry.decision, entry.reason, entry.annotation_sha256)
