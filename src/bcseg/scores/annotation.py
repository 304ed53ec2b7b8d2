"""Scores of the annotation as its source has it: what no mask can tell any more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg.scores.shape import Scores
from bcseg.spline import without_repeats

NAMES = ("source_points", "points_per_mm", "longest_run", "spacing_variation", "grid_share")

_STRAIGHT = 0.05  # radians that a straight run may turn at a vertex
_FEWEST = 8  # points: with fewer, equal outlines may be chance
_FEWEST_PIXELS = 64  # the same for rasters

Points = NDArray[np.float64]


def annotation_scores(line: Mapping[str, Any], spacing_mm: float | None) -> Scores:
    """Return the scores of a line of lesions.jsonl.gz; `spacing_mm` of the source's pixels.

    Undefined for rasters, ellipses and circles, and all but `source_points` for fewer than three
    different points.
    """
    scores: Scores = dict.fromkeys(NAMES)
    points = _points(line)
    if points is None:
        return scores
    scores["source_points"] = float(len(points))
    ring = without_repeats(points)
    if len(ring) < 3:
        return scores
    steps = np.roll(ring, -1, axis=0) - ring
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    perimeter = float(lengths.sum())
    drawn = lengths[:-1]  # the last closes the outline, and nobody drew it
    return scores | {
        "points_per_mm": len(ring) / (perimeter * spacing_mm) if spacing_mm else None,
        "longest_run": _longest_run(steps, lengths) / perimeter,
        "spacing_variation": float(drawn.std() / drawn.mean()),
        "grid_share": float(np.mean((ring * 2 == np.rint(ring * 2)).all(axis=1))),
    }


def _points(line: Mapping[str, Any]) -> Points | None:
    shape = line.get("shape")
    points = shape.get("points") if isinstance(shape, Mapping) else None
    if not isinstance(points, list) or not points:
        return None
    found = np.array(points, dtype=np.float64)
    return found if found.ndim == 2 and np.isfinite(found).all() else None


def _longest_run(steps: Points, lengths: NDArray[np.float64]) -> float:
    """Return the length of the longest run of edges that turns by less than 0.05 at each vertex."""
    ahead = np.roll(steps, -1, axis=0)
    cross = steps[:, 0] * ahead[:, 1] - steps[:, 1] * ahead[:, 0]
    turn = np.abs(np.arctan2(cross, (steps * ahead).sum(axis=1)))
    corners = np.flatnonzero(turn > _STRAIGHT)
    if not corners.size:
        return float(lengths.sum())
    turned = np.roll(lengths, -int(corners[0]) - 1)
    starts = np.concatenate([[0], (corners - corners[0])[1:]])
    return float(np.add.reduceat(turned, starts).max())


def outline_sha256(line: Mapping[str, Any]) -> str:
    """Return a hash of the outline's form wherever it lies; empty if it has too little of one.

    Two hand-drawn outlines of 8 points or 64 pixels are never equal by chance.
    """
    points = _points(line)
    if points is not None:
        ring = without_repeats(points)
        if len(ring) < _FEWEST:
            return ""
        form = np.rint((ring - ring[0]) * 16).astype("<i8")
        return hashlib.sha256(form.tobytes()).hexdigest()
    raster = line.get("raster")
    if not isinstance(raster, Mapping):
        return ""
    counts, height = [int(count) for count in raster["counts"]], int(raster["size"][0])
    if sum(counts[1::2]) < _FEWEST_PIXELS:
        return ""
    borders = np.cumsum(counts)
    starts, stops = borders[:-1:2], borders[1::2]
    starts = starts[: len(stops)]
    rows = np.concatenate([starts % height, (stops - 1) % height]).min()
    first = starts[0] // height * height + rows
    form = np.concatenate([starts - first, stops - starts]).astype("<i8")
    return hashlib.sha256(form.tobytes() + str(height).encode()).hexdigest()
