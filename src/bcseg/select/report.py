"""What a selection took and left: for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg.errors import EXIT_OK
from bcseg.pairs import SCHEMA_VERSION
from bcseg.select.classic import Recovered
from bcseg.text import counted

_SHIFT = 10.0  # points by which a share must shift to be marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Counts of one dataset: pairs left out by code, rows of the manifest by decision."""

    dataset: str
    pairs: int
    taken: int
    left_out: dict[str, int]
    decisions: dict[str, int]
    ignored_lesions: int = 0  # gone from masks/ to ignore/
    content_sha256: str = ""  # empty: nothing taken, or a dry run

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often a value of an aspect (pathology, size, ...) is among kept and dropped pairs.

    Shares in per cent; `shifted`: they differ by more than ten points.
    """

    aspect: str
    value: str
    kept: int
    dropped: int
    kept_share: float
    dropped_share: float

    @property
    def shifted(self) -> bool:
        """Whether the value is much rarer or more frequent among the kept pairs."""
        return abs(self.kept_share - self.dropped_share) > _SHIFT

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"shifted": self.shifted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a selection took and left. `fresh`: it was made now; False: it was there already."""

    to: Path
    manifest_sha256: str  # empty without a manifest
    criteria: Mapping[str, Any]
    datasets: tuple[Taken, ...]
    recovered: tuple[Recovered, ...]
    shares: tuple[Share, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    fresh: bool
    dry_run: bool

    @property
    def pairs(self) -> int:
        """Number of pairs taken."""
        return sum(one.taken for one in self.datasets)

    @property
    def exit_code(self) -> int:
        """0: warnings change nothing."""
        return EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the selection for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.to),
            "pairs": self.pairs,
            "fresh": self.fresh,
            "dry_run": self.dry_run,
            "manifest_sha256": self.manifest_sha256,
            "criteria": dict(self.criteria),
            "datasets": [one.document() for one in self.datasets],
            "classic": [one.document() for one in self.recovered],
            "kept_against_dropped": [share.document() for share in self.shares],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "exit_code": self.exit_code,
        }

    def text(self) -> str:
        """Return the selection for people."""
        total = sum(one.pairs for one in self.datasets)
        if not self.fresh:
            first = f"{self.pairs} of {total} pairs are in {self.to} already: nothing to do"
        else:
            would = "would be " if self.dry_run else ""
            first = f"{self.pairs} of {total} pairs {would}taken into {self.to}"
        lines = [first]
        width = max(len(one.dataset) for one in self.datasets)
        for one in self.datasets:
            lines.append(f"  {one.dataset:{width}}  {one.taken:5} of {one.pairs:5} taken")
            if one.left_out:
                reasons = ", ".join(f"{count} {code}" for code, count in one.left_out.items())
                lines.append(f"  {'':{width}}  left out: {reasons}")
            if one.ignored_lesions:
                lesions = counted(one.ignored_lesions, "lesion")
                lines.append(f"  {'':{width}}  rejected, in ignore/: {lesions}")
            if one.content_sha256:
                lines.append(f"  {'':{width}}  content sha256 {one.content_sha256}")
        if self.recovered:
            lines.append("classic: what is known of the collection's choice")
            lines += [f"  {one.text(width)}" for one in self.recovered]
        if not self.shares and any(one.left_out for one in self.datasets):
            lines.append("nothing was dropped within a dataset that was taken: nothing to compare")
        elif not self.shares:
            lines.append("nothing was dropped: nothing to compare")
        return "\n".join(lines + _shares_text(self.shares))


def _shares_text(shares: Sequence[Share]) -> list[str]:
    if not shares:
        return []
    width = max(len(share.value) for share in shares)
    lines = [f"{'kept against dropped':{width + 14}}  {'kept':>13}  {'dropped':>13}"]
    aspect = ""
    for share in shares:
        title = "" if share.aspect == aspect else share.aspect
        aspect = share.aspect
        mark = f"  * {share.kept_share - share.dropped_share:+.0f} points" if share.shifted else ""
        lines.append(
            f"  {title:10}  {share.value:{width}}  {share.kept:5} ({share.kept_share:3.0f} %)"
            f"  {share.dropped:5} ({share.dropped_share:3.0f} %){mark}"
        )
    return lines
