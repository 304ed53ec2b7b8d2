"""The place of each lesion in its dataset, from shape, from image, and from both.

Ranks are never compared between datasets: the levels of all scores differ by modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcseg.scores.shape import Scores


@dataclass(frozen=True, slots=True)
class Term:
    """A score in a side: its median and half its 16 to 84 % range over precise masks.

    `weight`: below zero, a larger score is less precise.
    """

    middle: float
    spread: float
    weight: float


# of the clean masks of the half of bench/scores.py on which everything here was chosen
SHAPE_TERMS = {
    "contour_detail": Term(-2.10, 0.21, 1.0),
    "polygon_residual": Term(-1.37, 0.21, 1.0),
    "median_bend": Term(0.72, 0.16, 1.0),
}
IMAGE_TERMS = {
    "edge_peak": Term(1.65, 0.51, 2.0),
    "fall_rank": Term(0.71, 0.094, 2.0),
    "edge_percentile": Term(0.62, 0.088, 2.0),
    "opt_margin": Term(1.30, 0.52, 2.0),
    "edge_gain": Term(0.34, 0.53, -1.0),
}
TERMS = ("shape", "image", "leak")  # of the precision
_FARTHEST = 5.0  # spreads that a single score can be from the middle
_SHAPE_KNEE, _IMAGE_KNEE = 0.5, 1.0  # a side above it adds little more
_LEAK = 2.75  # what a whole leak costs
_LEAK_RAMP = (0.02, 0.03)  # of `tongue`: from no leak to a whole one
_SUPPORT_RAMP = (0.8, 0.95)  # of `tongue_edge`: from no edge round the tongue to a real tongue

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Percentile ranks in the dataset, 1 = most precise; None where no score is defined."""

    shape: float | None
    image: float | None
    precision: float


def rank_lesions(lesions: Sequence[Scores]) -> list[Ranks]:
    """Return the ranks of all lesions of a dataset; one without any score ranks lowest."""
    return ranks_from(lesions, precision_of(lesions))


def precision_of(lesions: Sequence[Scores]) -> Array:
    """Return what the precision of each is ranked by, 0 at most; NaN without any score.

    The sum of what shape, image and tongue speak against a mask: a side that is better than that
    of most precise masks does not make up for another that is worse. It depends on no other
    lesion. Without an image, its side counts as that of a precise mask in the middle.
    """
    sides = np.stack([side(lesions, terms) for terms in (SHAPE_TERMS, IMAGE_TERMS)])
    return np.where(np.isnan(sides).all(axis=0), np.nan, precision_terms(lesions).sum(axis=1))


def precision_terms(lesions: Sequence[Scores]) -> Array:
    """Return (lesions, 3), 0 at most: what shape, image and tongue speak against each mask."""
    shape = doubt(side(lesions, SHAPE_TERMS), _SHAPE_KNEE)
    image = doubt(side(lesions, IMAGE_TERMS), _IMAGE_KNEE)
    return -np.stack([shape, image, _LEAK * leak_evidence(lesions)], axis=1)


def doubt(values: Array, knee: float) -> Array:
    """Return log(1 + exp(knee - z)): near 0 above the knee, growing by 1 for each spread below."""
    found: Array = np.logaddexp(0.0, knee - np.nan_to_num(values))
    return found


def leak_evidence(lesions: Sequence[Scores]) -> Array:
    """Return from 0 to 1 how sure a lesion has a tongue that no edge supports."""
    tongue, support = column(lesions, "tongue"), column(lesions, "tongue_edge")
    unsupported = 1 - np.interp(np.nan_to_num(support), _SUPPORT_RAMP, (0.0, 1.0))
    found: Array = np.interp(np.nan_to_num(tongue), _LEAK_RAMP, (0.0, 1.0)) * unsupported
    return found


def ranks_from(lesions: Sequence[Scores], precision: Array) -> list[Ranks]:
    """Return ranks by any measure of precision; NaN ranks lowest."""
    shape = percentiles(side(lesions, SHAPE_TERMS))
    image = percentiles(side(lesions, IMAGE_TERMS))
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


def side(lesions: Sequence[Scores], terms: Mapping[str, Term]) -> Array:
    """Return the weighted mean of the defined scores in spreads; NaN where none is defined."""
    total, weight = np.zeros(len(lesions)), np.zeros(len(lesions))
    for name, term in terms.items():
        moved = (column(lesions, name) - term.middle) / term.spread
        known = ~np.isnan(moved)
        total[known] += term.weight * np.clip(moved[known], -_FARTHEST, _FARTHEST)
        weight[known] += abs(term.weight)
    mean: Array = np.where(weight > 0, total / np.maximum(weight, 1e-9), np.nan)
    return mean


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
