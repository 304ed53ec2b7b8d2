"""What a split came to: patients and pairs of every place, and what is out of balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg.errors import EXIT_OK
from bcseg.pairs import SCHEMA_VERSION
from bcseg.split.options import Place
from bcseg.split.strata import ALL, Strata, Stratum
from bcseg.text import aligned, counted

FAR = 0.10  # a share that is so far from the wanted one is worth a word
_SHOWN = 12  # strata named on the terminal


@dataclass(frozen=True, slots=True)
class Balance:
    """A stratum in a place: pairs, its share of the stratum, the share that was wanted."""

    stratum: Stratum
    place: Place
    pairs: int
    share: float
    wanted: float
    patients: int  # who have the stratum at all

    @property
    def balanced(self) -> bool:
        """Whether the share is near enough to what was wanted."""
        return abs(self.share - self.wanted) <= FAR

    def cells(self) -> tuple[object, ...]:
        """Return the row of splits-balance.csv."""
        one = self.stratum
        figures = (self.pairs, f"{self.share:.4f}", f"{self.wanted:.4f}", int(self.balanced))
        return (one.dataset, one.aspect, one.value, self.place.title, *figures)


def balance_of(
    strata: Strata,
    places: Sequence[Place],
    wanted: NDArray[np.float64],
    dealt: Mapping[str, int],
) -> list[Balance]:
    """Return every stratum in every place. `wanted`: pairs, float64 [place, stratum]."""
    where = np.array([dealt[name] for name in strata.patients])
    rows = []
    for column, stratum in enumerate(strata.names):
        counts = strata.counts[:, column]
        total = counts.sum()
        for n, place in enumerate(places):
            held = counts[where == n].sum()
            share = float(wanted[n, column] / total)
            few = int(np.count_nonzero(counts))
            rows.append(Balance(stratum, place, int(held), float(held / total), share, few))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split; `kept`: patients who were in the earlier one and stayed where they were."""

    out: Path
    pairs: int
    patients: Mapping[Place, int]
    kept: int
    balance: tuple[Balance, ...]
    notes: tuple[str, ...]
    dry_run: bool

    @property
    def exit_code(self) -> int:
        """0: a split that is not balanced is still one."""
        return EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the split for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.out),
            "pairs": self.pairs,
            "places": [
                {"place": place.title, "patients": n, "pairs": self._pairs(place)}
                for place, n in self.patients.items()
            ],
            "patients_kept": self.kept,
            "balance": [
                asdict(one.stratum)
                | {"place": one.place.title, "pairs": one.pairs, "balanced": one.balanced}
                | {"share": round(one.share, 4), "wanted": round(one.wanted, 4)}
                for one in self.balance
            ],
            "notes": list(self.notes),
            "dry_run": self.dry_run,
            "exit_code": self.exit_code,
        }

    def _pairs(self, place: Place) -> int:
        rows = (one for one in self.balance if one.place == place)
        return sum(one.pairs for one in rows if one.stratum.aspect == ALL)

    def text(self) -> str:
        """Return the split for people."""
        patients = sum(self.patients.values())
        would = "would be " if self.dry_run else ""
        stayed = f", {self.kept:,} of them where they were before" if self.kept else ""
        lines = [
            f"{counted(self.pairs, 'pair')} of {counted(patients, 'patient')}{stayed}:"
            f" {would}split in {self.out}"
        ]
        table = [("", "patients", "pairs", "share")]
        for place, n in self.patients.items():
            pairs = self._pairs(place)
            table.append((place.title, f"{n:,}", f"{pairs:,}", f"{pairs / self.pairs:.1%}"))
        return "\n".join([*lines, aligned(table), *self._unbalanced()])

    def _unbalanced(self) -> list[str]:
        by_stratum: dict[Stratum, list[Balance]] = {}
        for one in self.balance:
            by_stratum.setdefault(one.stratum, []).append(one)
        far = [rows for rows in by_stratum.values() if not all(one.balanced for one in rows)]
        if not far:
            return [f"every kind, pathology, BI-RADS, density and size is within {FAR:.0%}"]
        lines = [f"more than {100 * FAR:.0f} points from the wanted share:"]
        for rows in far[:_SHOWN]:
            of = rows[0].stratum
            name = " ".join(filter(None, (of.dataset, of.aspect, of.value)))
            held = ", ".join(
                f"{row.place.title} {row.share:.0%} (wanted {row.wanted:.0%})"
                for row in rows
                if not row.balanced
            )
            lines.append(f"  {name}, {counted(rows[0].patients, 'patient')}: {held}")
        if len(far) > _SHOWN:
            lines.append(f"  and {len(far) - _SHOWN} more in splits-balance.csv")
        return lines
