"""A small logistic model of precise against corrupted masks, in numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcseg.scores import image, shape
from bcseg.scores.rank import TERMS, column, precision_terms
from bcseg.scores.shape import Scores

FEATURES = (*shape.NAMES, *image.NAMES)
_SIGNED = ("edge_offset", "edge_shift")  # their size counts too
NAMES = (*TERMS, *FEATURES, *(f"abs_{name}" for name in _SIGNED))
_PENALTY = 0.015  # of the squared difference of the weights from the plain rank's
_STEPS = 50
_FARTHEST = 4.0  # spreads

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Middle and spread of each feature over the precise masks of one dataset."""

    middle: Array
    spread: Array


def features(lesions: Sequence[Scores]) -> Array:
    """Return (lesions, features), NaN where a score is not defined.

    The first three are the terms of the plain rank; then come all shape and image scores.
    """
    found = [column(lesions, name) for name in FEATURES]
    tongue = FEATURES.index("tongue")
    found[tongue] = np.log(found[tongue] + 0.002)
    found += [np.abs(column(lesions, name)) for name in _SIGNED]
    return np.concatenate([precision_terms(lesions), np.stack(found, axis=1)], axis=1)


def scale_of(values: Array) -> Scale:
    """Return the scale of features; one that is never defined or constant becomes 0.

    `values`: those of masks most of which are precise.
    """
    middle, spread = np.zeros(values.shape[1]), np.full(values.shape[1], np.inf)
    spread[: len(TERMS)] = 1.0  # are in common units already
    for number in range(len(TERMS), values.shape[1]):
        known = values[~np.isnan(values[:, number]), number]
        if known.size:
            low, middle[number], high = np.quantile(known, [0.16, 0.5, 0.84])
            if high - low > 1e-9:
                spread[number] = (high - low) / 2
    return Scale(middle, spread)


def standardised(values: Array, scale: Scale) -> Array:
    """Return features in spreads from the middle; what is not defined is 0."""
    moved = np.nan_to_num((values - scale.middle) / scale.spread)
    moved[:, len(TERMS) :] = np.clip(moved[:, len(TERMS) :], -_FARTHEST, _FARTHEST)
    return moved


def fit(values: Array, precise: NDArray[np.bool_]) -> Array:
    """Return the weights (the last is the constant) of a logistic model with a quadratic penalty.

    What the data do not say is left as the plain rank has it: 1 for each of its terms, 0 for all
    else. Both classes count the same. Newton's method: the same data give the same weights.
    """
    design = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    target = precise.astype(np.float64)
    share = np.where(precise, 0.5 / max(precise.sum(), 1), 0.5 / max((~precise).sum(), 1))
    penalty = np.full(design.shape[1], 2 * _PENALTY)
    penalty[-1] = 1e-9
    plain, weights = np.zeros(design.shape[1]), np.zeros(design.shape[1])
    plain[: len(TERMS)] = 1.0
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (share * (probability - target)) + penalty * (weights - plain)
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
