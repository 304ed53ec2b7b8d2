"""A small logistic model of precise against corrupted masks, in numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcseg.scores import image, shape
from bcseg.scores.rank import column
from bcseg.scores.shape import Scores

FEATURES = (*shape.NAMES, *image.NAMES)
_SIGNED = ("edge_offset", "edge_shift")  # their size counts too
_PENALTY = 3e-3  # of the squared weights, for each observation
_STEPS = 50
_FARTHEST = 4.0  # standard deviations

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Mean and standard deviation of each feature in one dataset."""

    mean: Array
    deviation: Array


def features(lesions: Sequence[Scores]) -> Array:
    """Return (lesions, features), NaN where a score is not defined."""
    found = [column(lesions, name) for name in FEATURES]
    tongue = FEATURES.index("tongue")
    found[tongue] = np.log(found[tongue] + 0.002)
    found += [np.abs(column(lesions, name)) for name in _SIGNED]
    return np.stack(found, axis=1)


def scale_of(values: Array) -> Scale:
    """Return the scale of features; one that is never defined or constant becomes 0."""
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(axis=0) / count)
    return Scale(mean, np.where(spread > 1e-12, spread, np.inf))


def standardised(values: Array, scale: Scale) -> Array:
    """Return features in standard deviations from the mean; what is not defined is 0."""
    moved = (values - scale.mean) / scale.deviation
    return np.clip(np.nan_to_num(moved), -_FARTHEST, _FARTHEST)


def fit(values: Array, precise: NDArray[np.bool_]) -> Array:
    """Return the weights (the last is the constant) of a logistic model with a quadratic penalty.

    Both classes count the same. Newton's method: the same data give the same weights.
    """
    design = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    target = precise.astype(np.float64)
    share = np.where(precise, 0.5 / max(precise.sum(), 1), 0.5 / max((~precise).sum(), 1))
    penalty = np.full(design.shape[1], 2 * _PENALTY)
    penalty[-1] = 1e-9
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (share * (probability - target)) + penalty * weights
        bend = share * probability * (1 - probability)
        step = np.linalg.solve(design.T @ (bend[:, None] * design) + np.diag(penalty), slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def evidence(values: Array, weights: Array) -> Array:
    """Return the log odds that a mask is precise."""
    found: Array = values @ weights[:-1] + weights[-1]
    return found
