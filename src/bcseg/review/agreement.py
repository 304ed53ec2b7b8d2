"""How far two reviewers, or two looks of one, agree: Cohen's kappa and what is in dispute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg.errors import UsageError
from bcseg.pairs import SCHEMA_VERSION
from bcseg.select.manifest import DECISIONS, read_manifest
from bcseg.text import aligned

COUNTED = ("accept", "reject", "unsure")  # a flag is a question, not a judgement
_NORMAL_975 = 1.959964  # the normal deviate of a 95 % interval


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one reviewer said about one thing."""

    decision: str
    reason: str = ""
    annotation_sha256: str = ""


Key = tuple[str, str, str]  # dataset, record id, lesion id
Judgements = Mapping[Key, Judgement]


@dataclass(frozen=True, slots=True)
class Dispute:
    """A thing that was judged in two ways."""

    key: Key
    first: Judgement
    second: Judgement


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two sets of judgements compared.

    `counts`: (first's word, second's word) to the number of things. `kappa`: None where chance
    alone would agree always (both used one and the same word), or nothing was judged by both.
    `other_contour`: judged by both, on different contours: not compared.
    """

    names: tuple[str, str]
    counts: Mapping[tuple[str, str], int]
    kappa: float | None
    interval: tuple[float, float] | None
    disputes: tuple[Dispute, ...]
    only: tuple[int, int]
    other_contour: int

    @property
    def both(self) -> int:
        """Things that both judged."""
        return sum(self.counts.values())

    @property
    def same(self) -> int:
        """Things that both judged alike."""
        return sum(count for (one, two), count in self.counts.items() if one == two)

    def document(self) -> dict[str, Any]:
        """Return the comparison for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "reviewers": list(self.names),
            "both": self.both,
            "same": self.same,
            "kappa": self.kappa,
            "kappa_95": list(self.interval) if self.interval else None,
            "counts": [
                {"first": one, "second": two, "count": count}
                for (one, two), count in sorted(self.counts.items())
            ],
            "only_first": self.only[0],
            "only_second": self.only[1],
            "other_contour": self.other_contour,
            "disputes": [_dispute_document(one) for one in self.disputes],
        }

    def text(self) -> str:
        """Return the comparison for people."""
        first, second = self.names
        lines = [f"{first} and {second}: {self.both} judged by both, {self.same} alike"]
        if self.kappa is not None and self.interval:
            low, high = self.interval
            lines.append(f"Cohen's kappa {self.kappa:.2f} (95 % {low:.2f} to {high:.2f})")
        elif self.both:
            lines.append("Cohen's kappa is not defined: both always said the same word")
        if self.both:
            lines.append(self._table())
        lines.append(f"judged by {first} only: {self.only[0]}, by {second} only: {self.only[1]}")
        if self.other_contour:
            lines.append(f"judged on different contours, not compared: {self.other_contour}")
        if self.disputes:
            lines.append("in dispute:")
            rows = [_dispute_line(one) for one in self.disputes]
            lines.append(aligned([(f"{' '.join(filter(None, key))}:", w) for key, w in rows]))
        return "\n".join(lines)

    def _table(self) -> str:
        words = [word for word in COUNTED if any(word in pair for pair in self.counts)]
        head = [f"{self.names[0]} \\ {self.names[1]}", *words]
        body = [[one, *(str(self.counts.get((one, two), 0)) for two in words)] for one in words]
        return aligned([head, *body])


def cohen_kappa(counts: Mapping[tuple[str, str], int]) -> float | None:
    """Return Cohen's kappa of (first's word, second's word) counts; None where undefined.

    (po - pe) / (1 - pe), J. Cohen, Educ. Psychol. Meas. 20 (1960) 37-46.
    """
    shares = _shares(counts)
    if shares is None or shares[1] == 1:
        return None
    observed, expected = shares
    return (observed - expected) / (1 - expected)


def kappa_interval(counts: Mapping[tuple[str, str], int]) -> tuple[float, float] | None:
    """Return the 95 % interval of kappa from its large-sample error, sqrt(po (1-po) / n) / (1-pe).

    The error is Cohen's own (1960, formula 7).
    """
    kappa, shares = cohen_kappa(counts), _shares(counts)
    if kappa is None or shares is None:
        return None
    observed, expected = shares
    error = math.sqrt(observed * (1 - observed) / sum(counts.values())) / (1 - expected)
    return max(-1.0, kappa - _NORMAL_975 * error), min(1.0, kappa + _NORMAL_975 * error)


def _shares(counts: Mapping[tuple[str, str], int]) -> tuple[float, float] | None:
    """Return the shares of agreement, observed and expected by chance."""
    total = sum(counts.values())
    if not total:
        return None
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for (one, two), count in counts.items():
        first[one] += count
        second[two] += count
    expected = sum(first[word] * second[word] for word in first) / total**2
    return sum(n for (one, two), n in counts.items() if one == two) / total, expected


def compare(first: Judgements, second: Judgements, names: tuple[str, str]) -> Agreement:
    """Return how far two sets of judgements agree; only accept, reject and unsure count."""
    one = {key: value for key, value in first.items() if value.decision in COUNTED}
    two = {key: value for key, value in second.items() if value.decision in COUNTED}
    counts: Counter[tuple[str, str]] = Counter()
    disputes = []
    elsewhere = 0
    for key in sorted(one.keys() & two.keys()):
        hashes = {one[key].annotation_sha256, two[key].annotation_sha256} - {""}
        if len(hashes) > 1:
            elsewhere += 1
            continue
        counts[one[key].decision, two[key].decision] += 1
        if one[key].decision != two[key].decision:
            disputes.append(Dispute(key, one[key], two[key]))
    return Agreement(
        names=names,
        counts=dict(counts),
        kappa=cohen_kappa(counts),
        interval=kappa_interval(counts),
        disputes=tuple(disputes),
        only=(len(one.keys() - two.keys()), len(two.keys() - one.keys())),
        other_contour=elsewhere,
    )


def compare_files(first: Path, second: Path) -> Agreement:
    """Compare two tables of `bcseg review`; raises UsageError for what is none."""
    names = (first.stem, second.stem)
    if names[0] == names[1]:
        names = (str(first), str(second))
    return compare(_judgements(first), _judgements(second), names)


def own_agreement(looks: Iterable[tuple[Key, Judgement, Judgement]], name: str) -> Agreement:
    """Compare the first and the second look of one reviewer."""
    looks = list(looks)
    first = {key: one for key, one, _ in looks}
    second = {key: two for key, _, two in looks}
    return compare(first, second, (f"{name}, first look", f"{name}, second look"))


def _judgements(path: Path) -> dict[Key, Judgement]:
    manifest = read_manifest(path)
    if not {"dataset", "record_id", "decision"} <= {*manifest.columns}:
        raise UsageError(
            "the table has no columns dataset, record_id, decision",
            where=str(path),
            hint="give two tables of `bcseg review`",
        )
    found: dict[Key, Judgement] = {}
    for row in manifest.rows:
        decision = row.cell("decision").lower()
        key = (row.cell("dataset"), row.cell("record_id"), row.cell("lesion_id"))
        if decision and decision not in DECISIONS:
            message = f"row {row.number}: {decision!r} is not one of {', '.join(DECISIONS)}"
            raise UsageError(message, where=str(path))
        if not decision:
            continue
        judgement = Judgement(decision, row.cell("reason"), row.cell("annotation_sha256").lower())
        if found.setdefault(key, judgement).decision != decision:
            message = f"row {row.number}: {' '.join(key).strip()} has two different decisions"
            raise UsageError(message, where=str(path))
    return found


def _dispute_document(one: Dispute) -> dict[str, str]:
    names = ("dataset", "record_id", "lesion_id")
    return dict(zip(names, one.key, strict=True)) | {
        "first": one.first.decision,
        "first_reason": one.first.reason,
        "second": one.second.decision,
        "second_reason": one.second.reason,
    }


def _dispute_line(one: Dispute) -> tuple[Sequence[str], str]:
    words = [
        f"{look.decision} ({look.reason})" if look.reason else look.decision
        for look in (one.first, one.second)
    ]
    return one.key, " / ".join(words)
