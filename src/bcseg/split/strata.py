"""What a split balances: how many pairs of each sort a patient has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcseg.pairs import Row
from bcseg.sizes import thirds
from bcseg.split.patients import Key, key_of

ASPECTS = ("kind", "pathology", "birads", "density", "size")
ALL = "pairs"


@dataclass(frozen=True, slots=True, order=True)
class Stratum:
    """Some pairs of a dataset: all of them (aspect `pairs`), or those with a value."""

    dataset: str
    aspect: str
    value: str


@dataclass(frozen=True, slots=True)
class Strata:
    """The strata, and the pairs of each patient in each: float64 [patient, stratum]."""

    names: tuple[Stratum, ...]
    patients: tuple[str, ...]
    counts: NDArray[np.float64]


def strata_of(records: Sequence[Row], patients: Mapping[Key, str]) -> Strata:
    """Return the strata of all pairs. Kinds are sets: "calcification mass" is a value."""
    by_dataset: defaultdict[str, list[Row]] = defaultdict(list)
    for row in records:
        by_dataset[row["dataset"]].append(row)
    size = {dataset: thirds(rows) for dataset, rows in by_dataset.items()}
    names: dict[Stratum, int] = {}
    order = {name: n for n, name in enumerate(sorted(set(patients.values())))}
    cells: defaultdict[tuple[int, Stratum], int] = defaultdict(int)
    for row in records:
        for stratum in _strata(row, size[row["dataset"]]):
            names[stratum] = 0
            cells[order[patients[key_of(row)]], stratum] += 1
    columns = {stratum: n for n, stratum in enumerate(sorted(names))}
    counts = np.zeros((len(order), len(columns)))
    for (patient, stratum), count in cells.items():
        counts[patient, columns[stratum]] = count
    return Strata(tuple(columns), tuple(order), counts)


def _strata(row: Row, size: Callable[[Row], str]) -> list[Stratum]:
    values = {
        "kind": row["kinds"] or "none",
        "pathology": row["pathology"],
        "birads": row["birads"],
        "density": row["density"],
        "size": size(row),
    }
    strata = [Stratum(row["dataset"], aspect, values[aspect] or "unknown") for aspect in ASPECTS]
    return [Stratum(row["dataset"], ALL, ""), *strata]
