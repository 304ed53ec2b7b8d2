"""Deal patients into places so that every place gets its share of every stratum.

Greedy, then improved: patients with the rarest and most pairs go first, each to where the
deviation from the wanted counts grows least; then single patients move as long as that makes it
smaller (after Sechidis, Tsoumakas, Vlahavas 2011, "On the stratification of multi-label data", with
whole patients for examples). Chance decides nothing but the order of equals.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
from numpy.typing import NDArray

from bcseg.split.patients import shuffled
from bcseg.split.strata import ALL, Strata

Array = NDArray[np.float64]
_ROUNDS = 20  # of moves; a few are enough
_WEIGHT_OF_ALL = 4.0  # the number of pairs counts as much as so many values


def assign(
    strata: Strata,
    wanted: Array,
    fixed: Mapping[str, int],
    closed: Mapping[str, Set[int]],
    seed: int,
) -> dict[str, int]:
    """Return the place of each patient, as an index of the rows of `wanted`.

    `wanted`: pairs, float64 [place, stratum]. `fixed`: patients who have a place. `closed`: places
    that single patients must not go to; a place that wants nothing is closed to all.
    """
    order = {name: n for n, name in enumerate(strata.patients)}
    dealt = _Dealt(strata, wanted)
    for name, place in fixed.items():
        if name in order:
            dealt.put(order[name], place)
    for name, places in closed.items():
        dealt.close(order[name], places)
    free = [order[name] for name in shuffled(strata.patients, seed) if name not in fixed]
    rarity = strata.counts / np.maximum(strata.counts.sum(axis=0), 1)
    free.sort(key=lambda patient: -float(rarity[patient].sum()))  # stable: equals stay shuffled
    for patient in free:
        dealt.put(patient, int(np.argmin(dealt.costs(patient))))
    for _ in range(_ROUNDS):
        if not sum(dealt.improve(patient) for patient in free):
            break
    return {name: dealt.places[patient] for name, patient in order.items()}


class _Dealt:
    """What every place holds so far; the cost is the sum of (held - wanted)^2 / wanted."""

    def __init__(self, strata: Strata, wanted: Array) -> None:
        self._counts = strata.counts
        self._wanted = wanted
        weight = np.array([_WEIGHT_OF_ALL if one.aspect == ALL else 1.0 for one in strata.names])
        self._scale = np.where(wanted > 0, weight / np.maximum(wanted, 1e-9), 0.0)
        self._held = np.zeros_like(wanted)
        self._shut = np.where(wanted.any(axis=1), 0.0, np.inf) + np.zeros((len(self._counts), 1))
        self.places: dict[int, int] = {}

    def close(self, patient: int, places: Set[int]) -> None:
        """Keep a patient out of some places."""
        self._shut[patient, sorted(places)] = np.inf

    def put(self, patient: int, place: int) -> None:
        """Put a patient who is nowhere yet into a place."""
        self.places[patient] = place
        self._held[place] += self._counts[patient]

    def costs(self, patient: int) -> Array:
        """Return by how much each place would make the sum larger; the patient is nowhere now."""
        more = self._counts[patient]
        off = self._held - self._wanted
        grown = ((off + more) ** 2 - off**2) * self._scale
        return np.asarray(grown.sum(axis=1) + self._shut[patient])

    def improve(self, patient: int) -> bool:
        """Move a patient where that makes the sum smaller; say whether it did."""
        here = self.places[patient]
        self._held[here] -= self._counts[patient]
        costs = self.costs(patient)
        best = int(np.argmin(costs))
        moves = bool(costs[best] < costs[here] - 1e-9)
        self.put(patient, best if moves else here)
        return moves
