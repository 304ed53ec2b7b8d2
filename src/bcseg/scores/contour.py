"""The outer contour of a resampled lesion as points at equal distances along it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.scores.neighbourhood import Neighbourhood

STEP = 2.0  # resampled pixels between points, 1/64 d
_MOST = 2048  # points of a contour
_SMOOTH = 2.0  # resampled pixels: Gaussian that takes the steps of the pixels away
_BEND = 2.0  # points: Gaussian before the curvature is taken

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """Points (x, y) of the closed outer contour, anticlockwise as seen, at equal distances.

    `normals`: unit vectors outward. `curvature`: in units of 1 / d, positive where convex.
    `perimeter`: in units of d. `on_frame`: the point lies on the border of the written image.
    """

    points: Points
    normals: Points
    curvature: NDArray[np.float64]
    perimeter: float
    on_frame: NDArray[np.bool_]


def contour_of(lesion: Neighbourhood) -> Contour | None:
    """Return the contour; None for a lesion too small to have one (fewer than 8 points)."""
    padded = cv2.copyMakeBorder(lesion.mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    outlines, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)[:, 0, :].astype(np.float64) - 1
    if len(outline) < 8:
        return None
    points = _evenly(_smoothed(_evenly(outline, 1.0), _SMOOTH), STEP)
    if len(points) < 8:
        return None
    if _signed_area(points) < 0:
        points = points[::-1].copy()
    ahead, behind = np.roll(points, -1, axis=0), np.roll(points, 1, axis=0)
    tangent = (ahead - behind) / 2
    speed = np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)
    normals = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1) / speed[:, None]
    lengths = np.hypot(*(ahead - points).T)
    return Contour(
        points,
        normals,
        _curvature(_smoothed(points, _BEND)) * lesion.diameter,
        float(lengths.sum()) / lesion.diameter,
        _on_frame(points, lesion),
    )


def _curvature(points: Points) -> NDArray[np.float64]:
    ahead, behind = np.roll(points, -1, axis=0), np.roll(points, 1, axis=0)
    tangent, bend = (ahead - behind) / 2, ahead - 2 * points + behind
    speed = np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)
    curvature: NDArray[np.float64] = (
        tangent[:, 0] * bend[:, 1] - tangent[:, 1] * bend[:, 0]
    ) / speed**3
    return curvature


def _on_frame(points: Points, lesion: Neighbourhood) -> NDArray[np.bool_]:
    top, left, bottom, right = lesion.frame
    near = max(1.5, lesion.scale)
    x, y = points.T
    on_frame: NDArray[np.bool_] = (
        (x < left + near) | (x > right - near) | (y < top + near) | (y > bottom - near)
    )
    return on_frame


def _signed_area(points: Points) -> float:
    """Return the shoelace area, positive when x turns towards y."""
    x, y = (points - points.mean(axis=0)).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _evenly(points: Points, step: float) -> Points:
    """Return points of a closed polygon at equal distances along it, about `step` apart."""
    closed = np.concatenate([points, points[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    count = int(min(max(round(along[-1] / step), 1), _MOST))
    wanted = np.arange(count) * (along[-1] / count)
    return np.stack([np.interp(wanted, along, closed[:, axis]) for axis in (0, 1)], axis=1)


def _smoothed(points: Points, sigma: float) -> Points:
    return np.stack([smooth_round(points[:, axis], sigma) for axis in (0, 1)], axis=1)


def smooth_round(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return values on a closed line, smoothed with a Gaussian of `sigma` points."""
    reach = min(round(3 * sigma), len(values) - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    around = np.concatenate([values[len(values) - reach :], values, values[:reach]])
    smooth: NDArray[np.float64] = np.convolve(around, weights / weights.sum(), mode="valid")
    return smooth
