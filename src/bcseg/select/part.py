"""One dataset of the root that is selected from, and what becomes of its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bcseg.pairs import PairsFolder, Row
from bcseg.select.fate import REASONS
from bcseg.select.report import Taken


@dataclass(frozen=True, slots=True)
class Part:
    """One dataset of the root: its records, and why each is left out (empty: it is taken).

    `ignored`: for records that are taken, the lesions that go from the mask to ignore/.
    """

    dataset: str
    folder: PairsFolder
    document: dict[str, Any]
    content: str  # content_sha256 of the folder as it is
    records: list[Row]
    codes: dict[str, str]
    messages: dict[str, str]
    decisions: dict[str, int]
    ignored: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def kept(self) -> list[Row]:
        """The records that are taken."""
        return [row for row in self.records if not self.codes[row["record_id"]]]

    def leave_out(self, record_id: str, code: str, detail: str = "") -> None:
        """Leave a record out, for one of the REASONS."""
        self.codes[record_id] = code
        self.messages[record_id] = REASONS[code] + detail
        self.ignored.pop(record_id, None)

    def ignore(self, record_id: str, lesions: Sequence[str]) -> None:
        """Take a record without these lesions."""
        self.ignored[record_id] = (*self.ignored.get(record_id, ()), *lesions)

    def left_out(self) -> dict[str, int]:
        """Return how many pairs were left out, by code."""
        counts = Counter(code for code in self.codes.values() if code)
        return {code: counts[code] for code in REASONS if counts[code]}

    def taken(self, content: str = "") -> Taken:
        """Return the counts of the dataset."""
        return Taken(
            dataset=self.dataset,
            pairs=len(self.records),
            taken=len(self.kept),
            left_out=self.left_out(),
            decisions=self.decisions,
            ignored_lesions=sum(map(len, self.ignored.values())),
            content_sha256=content,
        )
