"""Scores of a lesion's contour against the image: is there an edge, and is it where it should be.

A *fall* is how much the image darkens outward along the contour's normal: a lesion is brighter
than what is round it. Offsets are in units of d along the outward normal: positive outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.scores.contour import Contour, smooth_round
from bcseg.scores.neighbourhood import Neighbourhood
from bcseg.scores.shape import Scores, Tongue

_REACH = 0.35  # of d: how far profiles reach to both sides
_STEPS = 35  # profile samples to each side: 0.01 d apart
_BAND = 20  # samples: the band of +-0.2 d of the edge scores
_SMOOTH = 0.015  # of d: Gaussian before gradients
_RING = 0.25  # of d: width of the ring that is compared with the lesion
_WEAK = 0.25  # of the best fall along the normal
_FEWEST = 0.25  # of the contour must lie inside the image
_NEAR = 4  # samples: an edge so near to the contour supports it
_WIDE = 0.03  # of d: a coarser Gaussian, under which texture makes fewer edges
_BESIDE = 0.12  # of d: what lies beside a tongue
_BY_TONGUE = 0.05  # of d: so near to a tongue, the contour is the tongue's
_SUPPORT = 3  # samples: an edge so near to a tongue's contour supports the tongue
_LEAST_TONGUE = 0.002  # score below which a tongue is not looked at

NAMES = (
    "grad_align",
    "edge_percentile",
    "edge_offset_abs",
    "edge_offset",
    "weak_share",
    "contrast",
    "opt_margin",
    "edge_shift",
    "edge_gain",
    "move",
    "edge_peak",
    "fall_rank",
    "gap_share",
    "tongue_step",
    "tongue_edge",
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """The image along the normals of a contour, in units of its own spread.

    `values`: (points, 2 * 35 + 1), smoothed grey values from 0.35 d inside to 0.35 d outside.
    `falls`: their decrease for each 0.01 d outward, one column less at both ends each half.
    """

    values: Array
    falls: Array


def image_scores(lesion: Neighbourhood, contour: Contour, outgrowth: Tongue) -> Scores:
    """Return the image scores; None where they are not defined (no image, flat, at the frame)."""
    if lesion.image is None:
        return dict.fromkeys(NAMES)
    asked = ~contour.on_frame
    smooth, wide = (_smoothed(lesion.image, size * lesion.diameter) for size in (_SMOOTH, _WIDE))
    if np.count_nonzero(asked) < max(8, _FEWEST * len(asked)) or smooth is None or wide is None:
        return dict.fromkeys(NAMES)
    profiles = _profiles(smooth, contour, lesion.diameter, asked)
    return {
        **_gradient_scores(smooth, contour, lesion.diameter, asked),
        **_edge_scores(profiles.falls),
        "contrast": _contrast(lesion),
        "opt_margin": _margin(profiles, contour.normals[asked]),
        **_movement(profiles, contour.normals[asked]),
        **_peak(_profiles(wide, contour, lesion.diameter, asked).falls),
        **_local(lesion, profiles, outgrowth),
        "tongue_edge": _tongue_edge(lesion, contour.points[asked], profiles.falls, outgrowth),
    }


def _smoothed(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32] | None:
    """Return the smoothed image in units of its own spread, its mean 0; None for a flat one."""
    smooth = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.5))
    spread = float(smooth.std())
    if spread <= 1e-6 * float(np.abs(smooth).max()):
        return None
    return np.asarray((smooth - float(smooth.mean())) / spread, np.float32)


def _profiles(
    smooth: NDArray[np.float32], contour: Contour, diameter: float, asked: NDArray[np.bool_]
) -> Profiles:
    offsets = np.arange(-_STEPS, _STEPS + 1) * (0.01 * diameter)
    points, normals = contour.points[asked], contour.normals[asked]
    where = points[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    x, y = where[..., 0].astype(np.float32), where[..., 1].astype(np.float32)
    found = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    values = found.astype(np.float64)
    return Profiles(values, (values[:, :-2] - values[:, 2:]) / 2)


def _gradient_scores(
    smooth: NDArray[np.float32],
    contour: Contour,
    diameter: float,
    asked: NDArray[np.bool_],
) -> Scores:
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125)
    points, normals = contour.points[asked], contour.normals[asked]
    offsets = np.arange(-_BAND, _BAND + 1, 2) * (0.01 * diameter)
    where = points[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    x, y = where[..., 0].astype(np.float32), where[..., 1].astype(np.float32)
    gx = cv2.remap(across, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gy = cv2.remap(down, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    size = np.hypot(gx, gy)
    on = len(offsets) // 2
    outward = gx[:, on] * normals[:, 0] + gy[:, on] * normals[:, 1]
    total = float(size[:, on].sum())
    ranks = np.searchsorted(np.sort(size, axis=None), size[:, on]) / size.size
    return {
        "grad_align": float(-outward.sum()) / total if total else None,
        "edge_percentile": float(ranks.mean()),
    }


def _edge_scores(falls: Array) -> Scores:
    middle = falls.shape[1] // 2
    band = falls[:, middle - _BAND : middle + _BAND + 1]
    best = band.argmax(axis=1) - _BAND
    steepest = band.max(axis=1)
    weak = (steepest <= 0) | (band[:, _BAND] < _WEAK * steepest)
    return {
        "edge_offset_abs": float(np.abs(best).mean()) / 100,
        "edge_offset": float(best.mean()) / 100,
        "weak_share": float(weak.mean()),
    }


def _peak(falls: Array) -> Scores:
    """Return how far the contour stands out among its parallels, and among places point by point.

    `edge_peak`: its mean fall above that of all parallels to +-0.2 d, in their standard
    deviations. `fall_rank`: the share of places along the normals with a lesser fall.
    """
    middle = falls.shape[1] // 2
    band = falls[:, middle - _BAND : middle + _BAND + 1]
    mean = band.mean(axis=0)
    deviation = float(mean.std())
    own = band[:, _BAND : _BAND + 1]
    return {
        "edge_peak": float(mean[_BAND] - mean.mean()) / deviation if deviation > 0 else None,
        "fall_rank": float((band < own).sum()) / (band.size - len(band)),
    }


def _contrast(lesion: Neighbourhood) -> float | None:
    assert lesion.image is not None
    mask = lesion.mask.view(np.uint8)
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_5)
    top, left, bottom, right = lesion.frame
    ring = (away > 0) & (away <= _RING * lesion.diameter)
    ring[: max(0, int(np.ceil(top)))] = False
    ring[int(np.floor(bottom)) + 1 :] = False
    ring[:, : max(0, int(np.ceil(left)))] = False
    ring[:, int(np.floor(right)) + 1 :] = False
    inside, outside = lesion.image[lesion.mask], lesion.image[ring]
    if inside.size < 2 or outside.size < 2:
        return None
    pooled = float(np.sqrt((inside.var() + outside.var()) / 2))
    return float(inside.mean() - outside.mean()) / pooled if pooled > 0 else None


_COPIES = np.array(
    [(a, 0.0, 0.0) for a in (-10, -5, 5, 10)]
    + [
        (0.0, r * np.cos(k * np.pi / 4), r * np.sin(k * np.pi / 4))
        for r in (5, 10)
        for k in range(8)
    ]
)


def _margin(profiles: Profiles, normals: Array) -> float | None:
    """Return how far the band contrast is above that of 20 copies, in their standard deviations."""
    sums = np.cumsum(profiles.values, axis=1)
    width = 10
    middle = _STEPS

    def contrast(shift: Array) -> Array:
        at = middle + np.rint(shift).astype(np.int64)
        rows = np.arange(len(sums))[:, None]
        inner = sums[rows, at] - sums[rows, at - width]
        outer = sums[rows, at + width] - sums[rows, at]
        band: Array = ((inner - outer) / width).mean(axis=0)
        return band

    moved = _COPIES[:, 0] + normals @ _COPIES[:, 1:].T
    copies = contrast(moved)
    own = contrast(np.zeros((len(sums), 1)))[0]
    deviation = float(copies.std())
    return float(own - copies.mean()) / deviation if deviation > 0 else None


_GROW = np.arange(-24, 25, 3)
_SHIFT = np.arange(-12, 13, 3)
_MOVES = np.array(
    [(g, x, y) for g in _GROW for x in _SHIFT for y in _SHIFT if x * x + y * y <= _SHIFT[-1] ** 2],
    dtype=np.float64,
)
_LENGTHS = np.sqrt((_MOVES**2).sum(axis=1)) / 100


def _movement(profiles: Profiles, normals: Array) -> Scores:
    """Return where the contour as a whole would meet the steepest fall."""
    falls = cv2.GaussianBlur(profiles.falls, (0, 0), sigmaX=3.0, sigmaY=1e-3)
    middle = falls.shape[1] // 2
    mean = falls.mean(axis=0)
    at = np.rint(_MOVES[:, 0] + normals @ _MOVES[:, 1:].T).astype(np.int64) + middle
    at = np.clip(at, 0, falls.shape[1] - 1)
    support = np.take_along_axis(falls, at, axis=1).mean(axis=0)
    best, deviation = float(support.max()), float(support.std())
    if deviation <= 0:
        return {"edge_shift": None, "edge_gain": None, "move": None}
    weights = np.exp((support - best) / (0.5 * deviation))
    weights /= weights.sum()
    return {
        "edge_shift": float(weights @ _MOVES[:, 0]) / 100,
        "edge_gain": (best - float(mean[middle])) / deviation,
        "move": float(weights @ _LENGTHS),
    }


def _local(lesion: Neighbourhood, profiles: Profiles, outgrowth: Tongue) -> Scores:
    """Return the longest stretch of contour without an edge, and how unlike a tongue is."""
    middle = profiles.falls.shape[1] // 2
    near = cv2.GaussianBlur(profiles.falls, (0, 0), sigmaX=2.0, sigmaY=1e-3)
    support = smooth_round(near[:, middle - _NEAR : middle + _NEAR + 1].max(axis=1), 4.0)
    level = float(np.median(support))
    gap = _longest(support < _WEAK * level) / len(support) if level > 0 else 1.0
    return {"gap_share": gap, "tongue_step": _tongue_step(lesion, outgrowth)}


def _tongue_step(lesion: Neighbourhood, outgrowth: Tongue) -> float | None:
    """Return how much darker the largest tongue is than the lesion beside it, in spreads."""
    assert lesion.image is not None
    part = outgrowth.mask
    if outgrowth.score < _LEAST_TONGUE:
        return None
    away = cv2.distanceTransform((~part).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    body = (away > 0) & (away <= _BESIDE * lesion.diameter) & lesion.mask
    spread = float(lesion.image.std())
    if not body.any() or spread <= 0:
        return None
    return float(lesion.image[body].mean() - lesion.image[part].mean()) / spread


def _tongue_edge(
    lesion: Neighbourhood, points: Array, falls: Array, outgrowth: Tongue
) -> float | None:
    """Return how well an edge supports the contour of the longest tongue; None without a tongue.

    At each point of the contour within 0.05 d of the tongue: the share of places along the normal
    (+-0.2 d) with a lesser fall than the best one within 0.03 d.
    """
    if outgrowth.score < _LEAST_TONGUE:
        return None
    away = cv2.distanceTransform((~outgrowth.mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    last = np.array(away.shape[::-1]) - 1
    columns, rows = np.clip(np.rint(points).astype(np.int64), 0, last).T
    beside = away[rows, columns] <= _BY_TONGUE * lesion.diameter
    if not beside.any():
        return None
    middle = falls.shape[1] // 2
    band = falls[beside, middle - _BAND : middle + _BAND + 1]
    best = band[:, _BAND - _SUPPORT : _BAND + _SUPPORT + 1].max(axis=1)
    return float((band < best[:, None]).mean())


def _longest(low: NDArray[np.bool_]) -> int:
    """Return the longest run of true values on a closed line."""
    if low.all():
        return len(low)
    start = int(np.argmin(low))
    turned = np.roll(low, -start)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], turned.view(np.int8), [0]])))
    return int((edges[1::2] - edges[0::2]).max()) if len(edges) else 0
