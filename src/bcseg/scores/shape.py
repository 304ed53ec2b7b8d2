"""Scores of a lesion's shape alone; every one may be undefined (None) for tiny lesions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.scores.contour import Contour
from bcseg.scores.neighbourhood import Mask, Neighbourhood

Scores = dict[str, float | None]

_TOLERANCE = 0.012  # of d: Douglas-Peucker
_LONG = 0.25  # of d: a straight segment
_AXIS = 0.03  # radians from an axis direction
_CURVATURE = 24.0  # in 1 / d: bins of the entropy reach so far to both sides
_BINS = 36
_DETAIL = (17, 33)  # harmonics of the contour: the first, and the one after the last
_CORNERS = 16  # of the polygon that polygon_residual compares with
_HALVINGS = 9  # of the search for that polygon's tolerance, from 0.5 d on: to 0.001 d
# the disc that covers the body of a lesion, for thin, usual and wide tongues: its radius as a share
# of the largest inscribed one, and at most in d; what a tongue counts: wide ones are often real
_BODIES = ((0.25, 0.07, 2.0), (0.4, 0.12, 1.0), (0.6, 0.18, 0.36))
_LONGEST_TONGUE = 0.5  # of d

NAMES = (
    "ellipse_iou",
    "ellipse_rms",
    "dp_per_perim",
    "straight_share",
    "axis_share",
    "curv_entropy",
    "contour_detail",
    "polygon_residual",
    "median_bend",
    "solidity",
    "compactness",
    "tongue",
)


@dataclass(frozen=True, slots=True, eq=False)
class Tongue:
    """The foremost blunt tongue of a lesion; `score`: share of the area x length x its weight."""

    mask: Mask
    score: float


def shape_scores(lesion: Neighbourhood, contour: Contour, outgrowth: Tongue) -> Scores:
    """Return the shape scores of a lesion's largest part; None where they are not defined."""
    iou, rms = _ellipse(lesion.mask, contour)
    per_perimeter, straight = _polygon(contour, lesion.diameter)
    hull = cv2.convexHull(contour.points.astype(np.float32))
    area = abs(cv2.contourArea(contour.points.astype(np.float32))) / lesion.diameter**2
    hull_area = cv2.contourArea(hull) / lesion.diameter**2
    return {
        "ellipse_iou": iou,
        "ellipse_rms": rms,
        "dp_per_perim": per_perimeter,
        "straight_share": straight,
        "axis_share": _axis_share(contour),
        "curv_entropy": _entropy(contour.curvature),
        "contour_detail": _detail(contour, lesion.diameter),
        "polygon_residual": _residual(contour, lesion.diameter),
        "median_bend": math.log10(float(np.median(np.abs(contour.curvature))) + 0.1),
        "solidity": min(area / hull_area, 1.0) if hull_area else None,
        "compactness": min(4 * math.pi * area / contour.perimeter**2, 1.0),
        "tongue": outgrowth.score,
    }


def _ellipse(mask: Mask, contour: Contour) -> tuple[float | None, float | None]:
    """Return the overlap with the ellipse of equal moments and area, and the rms distance to it."""
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    area = moments["m00"]
    cx, cy = moments["m10"] / area, moments["m01"] / area
    spread = (
        np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area
        + np.eye(2) / 12
    )
    values, vectors = np.linalg.eigh(spread)
    axes = 2 * np.sqrt(values)
    axes *= math.sqrt(area / (math.pi * axes[0] * axes[1]))
    rows, columns = mask.shape
    turn = vectors / axes
    x, y = np.arange(columns) - cx, np.arange(rows)[:, None] - cy
    inside = (x * turn[0, 0] + y * turn[1, 0]) ** 2 + (x * turn[0, 1] + y * turn[1, 1]) ** 2 <= 1
    iou = np.count_nonzero(inside & mask) / np.count_nonzero(inside | mask)
    radii = np.hypot(*((contour.points - (cx, cy)) @ turn).T)
    return iou, float(np.sqrt(np.mean((radii - 1) ** 2)))


def _polygon(contour: Contour, diameter: float) -> tuple[float, float]:
    """Return vertices for each d of perimeter, and the share of the perimeter in long segments."""
    line = contour.points.astype(np.float32)[:, None, :]
    vertices = cv2.approxPolyDP(line, _TOLERANCE * diameter, True)[:, 0, :] / diameter
    lengths = np.hypot(*(np.roll(vertices, -1, axis=0) - vertices).T)
    long = float(lengths[lengths > _LONG].sum() / lengths.sum())
    return len(vertices) / contour.perimeter, long


def _axis_share(contour: Contour) -> float:
    along = np.arctan2(contour.normals[:, 0], contour.normals[:, 1])
    off = np.abs((along + math.pi / 4) % (math.pi / 2) - math.pi / 4)
    return float(np.mean(off < _AXIS))


def _entropy(curvature: NDArray[np.float64]) -> float:
    clipped = np.clip(curvature, -_CURVATURE, _CURVATURE)
    counts, _ = np.histogram(clipped, bins=_BINS, range=(-_CURVATURE, _CURVATURE))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _detail(contour: Contour, diameter: float) -> float:
    """Return log10 of the rms size, in d, of harmonics 17 to 32 of the contour."""
    line = contour.points[:, 0] + 1j * contour.points[:, 1]
    power = np.abs(np.fft.fft(line) / (len(line) * diameter)) ** 2
    order = np.abs(np.fft.fftfreq(len(line)) * len(line))
    fine = (order >= _DETAIL[0]) & (order < _DETAIL[1])
    return math.log10(math.sqrt(float(power[fine].sum())) + 1e-5)


def _residual(contour: Contour, diameter: float) -> float:
    """Return log10 of the least tolerance of Douglas-Peucker, in d, that leaves 16 vertices."""
    line = contour.points.astype(np.float32)[:, None, :]
    low, high = 0.0, 0.5
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if len(cv2.approxPolyDP(line, middle * diameter, True)) > _CORNERS:
            low = middle
        else:
            high = middle
    return math.log10(high)


def tongue(lesion: Neighbourhood) -> Tongue:
    """Return the foremost blunt tongue of a lesion.

    The body of a lesion is what a disc covers inside it. A tongue is a part outside the body that
    a disc half as large can enter: thin spicules are none. Its length in d, at most 0.5, is
    counted from the body. Discs of three sizes find tongues of three widths; the one that counts
    most is returned.
    """
    mask = cv2.copyMakeBorder(lesion.mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_5)
    found = []
    for share, most, weight in _BODIES:
        radius = min(share * float(depth.max()), most * lesion.diameter)
        found.append(_tongue(mask, depth, radius, (lesion.diameter, weight)))
    return max(found, key=lambda one: one.score)


def _tongue(
    mask: NDArray[Any], depth: NDArray[Any], radius: float, unit: tuple[float, float]
) -> Tongue:
    """Return the longest tongue outside a body of one disc; `unit`: d, and what its score counts.

    `mask` and `depth`, the distance to the outside, have a border of one pixel.
    """
    diameter, weight = unit
    from_blunt, from_body = _from_disc(depth, radius / 2), _from_disc(depth, radius)
    blunt = (from_blunt <= radius / 2 + 1) & (mask > 0)
    rest = (blunt & (from_body > radius + 1)).view(np.uint8)
    _, parts, measures, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    if len(measures) < 2:
        return Tongue(np.zeros_like(mask[1:-1, 1:-1], dtype=np.bool_), 0.0)
    row, column = np.unravel_index(int(np.where(rest > 0, from_body, 0).argmax()), rest.shape)
    number = int(parts[row, column])
    length = min(float(from_body[row, column] - radius) / diameter, _LONGEST_TONGUE)
    share = float(measures[number, cv2.CC_STAT_AREA]) / np.count_nonzero(mask)
    return Tongue(np.equal(parts, number)[1:-1, 1:-1], weight * share * length)


def _from_disc(depth: NDArray[Any], radius: float) -> NDArray[Any]:
    """Return the distance to the nearest centre of a disc inside the mask.

    `depth`: distance to the outside of the mask.
    """
    centres = (depth > radius).view(np.uint8)
    if not centres.any():
        return np.full(depth.shape, 1e6, np.float32)
    return cv2.distanceTransform(1 - centres, cv2.DIST_L2, cv2.DIST_MASK_5)
