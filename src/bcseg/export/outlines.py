"""Outlines of the parts of a mask, through the centres of its border pixels or round them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.raster import Patch


def polygons_of(patch: Patch, *, least: int) -> list[NDArray[np.float64]]:
    """Return the outer outline of every part: float64 (points, 2), x and y of pixel centres.

    Parts of fewer than `least` points are left away. Filled with the border included, as OpenCV
    and the frameworks do, an outline gives its part back, holes filled.
    """
    if not patch.area:
        return []
    found, _ = cv2.findContours(
        patch.pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    corner = np.array([patch.left, patch.top], np.float64)
    return [line[:, 0, :] + corner for line in found if len(line) >= least]


def edges_of(patch: Patch) -> list[NDArray[np.float64]]:
    """Return the outer outline of every part along the edges of its pixels: float64 (points, 2).

    Pixel (0, 0) reaches from 0 to 1 here. Holes are filled.
    """
    if not patch.area:
        return []
    # in a mask of twice the size, a left or upper border is even, a right or lower one odd
    double = patch.pixels.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    found, _ = cv2.findContours(double, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    corner = np.array([patch.left, patch.top], np.float64)
    return [_without_middles((line[:, 0, :] + 1) // 2) + corner for line in found]


def _without_middles(points: NDArray[Any]) -> NDArray[np.float64]:
    """Return a closed line without repeated points and those on a straight run."""
    changed = (points != np.roll(points, 1, axis=0)).any(axis=1)
    line: NDArray[np.float64] = points[changed].astype(np.float64)
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(line[turns])


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks; 1 for two empty ones."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 1.0
