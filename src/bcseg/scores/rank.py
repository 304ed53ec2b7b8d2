"""The place of each lesion in its dataset, from shape, from image, and from both.

Ranks are never compared between datasets: the levels of all scores differ by modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcseg.scores.shape import Scores

# weights of the standardised scores; below zero, a larger score is less precise
SHAPE_WEIGHTS = {"contour_detail": 2.0, "dp_per_perim": 3.0}
IMAGE_WEIGHTS = {
    "opt_margin": 2.0,
    "edge_percentile": 1.0,
    "weak_share": -1.0,
    "edge_offset_abs": -1.0,
    "edge_gain": -1.0,
}
_LEAK_RAMP = (0.02, 0.03)  # of `tongue`: from no leak to a whole one
_LEAK_LEVELS = (5.0, 0.4)  # what they are worth: beyond doubt, and little above the middle
_SOFTNESS = 1.5  # of the minimum: 0 would be the least, infinity the mean
_FARTHEST = 3.0  # deviations that a single score can be from the median

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Percentile ranks in the dataset, 1 = most precise; None where no score is defined."""

    shape: float | None
    image: float | None
    precision: float


def rank_lesions(lesions: Sequence[Scores]) -> list[Ranks]:
    """Return the ranks of all lesions of a dataset; one without any score ranks lowest.

    A mask is as precise as its worst side: the precision is the soft minimum
    -1.5 log(sum(exp(-z / 1.5))) of what shape, image and the lack of a tongue say.
    """
    shape, image = side(lesions, SHAPE_WEIGHTS), side(lesions, IMAGE_WEIGHTS)
    low, high = _LEAK_RAMP
    leak = np.clip((np.nan_to_num(column(lesions, "tongue")) - low) / (high - low), 0, 1)
    sides = np.stack([shape, image, np.interp(leak, (0, 1), _LEAK_LEVELS)])
    sides[:2][:, np.isnan(shape) & np.isnan(image)] = -np.inf
    known = np.where(np.isnan(sides), np.inf, sides)
    precision = -_SOFTNESS * np.log(np.exp(-known / _SOFTNESS).sum(axis=0))
    return ranks_from(lesions, precision)


def ranks_from(lesions: Sequence[Scores], precision: Array) -> list[Ranks]:
    """Return ranks by any measure of precision; NaN ranks lowest."""
    shape = percentiles(side(lesions, SHAPE_WEIGHTS))
    image = percentiles(side(lesions, IMAGE_WEIGHTS))
    place = percentiles(np.where(np.isnan(precision), -np.inf, precision))
    return [
        Ranks(_cell(one), _cell(other), float(both))
        for one, other, both in zip(shape, image, place, strict=True)
    ]


def _cell(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def column(lesions: Sequence[Scores], name: str) -> Array:
    """Return one score of all lesions, NaN where it is not defined."""
    values = [lesion.get(name) for lesion in lesions]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def side(lesions: Sequence[Scores], weights: Mapping[str, float]) -> Array:
    """Return the weighted mean of standardised scores, standardised; NaN where none is defined."""
    total, weight = np.zeros(len(lesions)), np.zeros(len(lesions))
    for name, factor in weights.items():
        found = np.clip(_standardised(column(lesions, name)), -_FARTHEST, _FARTHEST)
        known = ~np.isnan(found)
        total[known] += factor * found[known]
        weight[known] += abs(factor)
    mean = np.where(weight > 0, total / np.maximum(weight, 1e-9), np.nan)
    return np.clip(_standardised(mean), -3 * _FARTHEST, 3 * _FARTHEST)


def _standardised(values: Array) -> Array:
    """Return values from their median in units of half their 16 to 84 % range; NaN stays."""
    known = values[~np.isnan(values)]
    if not known.size:
        return values
    low, middle, high = np.quantile(known, [0.16, 0.5, 0.84])
    spread = (high - low) / 2 or float(known.std()) or 1.0
    moved: Array = (values - middle) / spread
    return moved


def percentiles(values: Array) -> Array:
    """Return ranks from 0 (least) to 1 (greatest), equal values sharing theirs; NaN stays.

    A single value has rank 1.
    """
    ranks = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if known.size:
        ordered = np.sort(values[known])
        first = np.searchsorted(ordered, values[known], side="left")
        last = np.searchsorted(ordered, values[known], side="right") - 1
        ranks[known] = (first + last) / 2 / (known.size - 1) if known.size > 1 else 1.0
    return ranks
