"""What a check of an archive found: for programs, for people, and as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.pairs import SCHEMA_VERSION, Row
from bcseg.verify.findings import exit_code, new_findings

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Spread:
    """Relative deviations of what bcseg finds from what the archive stores."""

    title: str
    count: int
    median: float
    quartiles: tuple[float, float]
    outer: tuple[float, float]  # the 5 and 95 % points
    worst: tuple[tuple[str, float], ...]  # item and deviation, largest first


@dataclass(frozen=True, slots=True)
class Fit:
    """How well one reading of the coordinates gives the grey values that the archive stores.

    `difference`: mean of |mean found - mean stored| over the regions, in grey levels; `exact`:
    regions whose least and greatest value are both the stored ones; `points` and `hits`: regions
    of one point, and those whose pixel has the stored value.
    """

    reading: str
    regions: int
    difference: float
    exact: int
    points: int
    hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """What the archive says about itself and whether it is so; `findings` as in problems.csv."""

    dataset: str
    location: Path
    checked: str
    spreads: tuple[Spread, ...] = ()
    fits: tuple[Fit, ...] = ()
    verdicts: tuple[str, ...] = ()
    best: str = ""  # the reading that fits best, "" if nothing tells
    findings: tuple[Row, ...] = ()
    known: frozenset[tuple[str, ...]] = frozenset()  # findings of the baseline

    @property
    def exit_code(self) -> int:
        """1 if a record failed that the baseline does not know."""
        return exit_code(new_findings(self.findings, self.known))

    def document(self) -> dict[str, Any]:
        """Return the check for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            "source": str(self.location),
            "checked": self.checked,
            "distributions": [
                {
                    "title": one.title,
                    "n": one.count,
                    "median": one.median,
                    "quartiles": list(one.quartiles),
                    "5_and_95_percent": list(one.outer),
                    "worst": [{"item": item, "deviation": value} for item, value in one.worst],
                }
                for one in self.spreads
            ],
            "readings": [
                {
                    "reading": one.reading,
                    "regions": one.regions,
                    "mean_difference": None if math.isnan(one.difference) else one.difference,
                    "exact": one.exact,
                    "points": one.points,
                    "hits": one.hits,
                }
                for one in self.fits
            ],
            "best_reading": self.best,
            "verdicts": list(self.verdicts),
            "findings": list(self.findings),
            "exit_code": self.exit_code,
        }

    def table(self) -> bytes:
        """Return what is off as CSV with the columns of problems.csv."""
        return pairs.table_bytes(pairs.PROBLEMS, self.findings)

    def text(self) -> str:
        """Return the check for people: distributions, readings, verdicts, what is off."""
        lines = [f"{self.dataset}: {self.checked}"]
        if self.spreads:
            lines.append(f"  {'deviation':34}{'n':>6}{'median':>9}{'quartiles':>18}{'5, 95 %':>18}")
        for one in self.spreads:
            lines.append(
                f"  {one.title:34}{one.count:6}{_percent(one.median):>9}"
                f"{_percents(one.quartiles):>18}{_percents(one.outer):>18}"
            )
            lines += [f"      worst {_percent(value):>8}  {item}" for item, value in one.worst]
        if self.fits:
            lines.append(f"  {'grey values':34}{'mean off by':>15}{'exact':>15}{'points':>12}")
        for fit in self.fits:
            off = "" if math.isnan(fit.difference) else f"{fit.difference:.2f}"
            lines.append(
                f"  {fit.reading:34}{off:>15}{f'{fit.exact} of {fit.regions}':>15}"
                f"{f'{fit.hits} of {fit.points}':>12}"
            )
        lines += [f"  {verdict}" for verdict in self.verdicts]
        lines += [
            f"  {row['severity']} {row['record_id']} {row['source']}: {row['message']}"
            f" [{row['code']}]"
            for row in self.findings[:_SHOWN]
        ]
        if len(self.findings) > _SHOWN:
            lines.append(f"  ... and {len(self.findings) - _SHOWN} more: --out FILE has them all")
        elif not self.findings:
            lines.append("  no record is off")
        return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{value:+.2%}"


def _percents(values: tuple[float, float]) -> str:
    return f"{_percent(values[0])} {_percent(values[1])}"
