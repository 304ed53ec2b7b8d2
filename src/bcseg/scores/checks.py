"""Scores of what a mask is and where it lies, without its shape or an edge."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.raster import Patch
from bcseg.record import Size
from bcseg.scores.shape import Scores

NAMES = (
    "area_px",
    "equivalent_diameter_px",
    "parts",
    "largest_part_share",
    "holes",
    "hole_share",
    "frame_contact",
    "outside_breast",
    "breast_share",
)


def check_scores(patch: Patch, part: Patch, size: Size, breast: NDArray[np.bool_] | None) -> Scores:
    """Return the checks of a lesion; `part`: its largest part with holes filled.

    `breast`: the breast region of the image, None without an image. Of an empty lesion only
    `area_px`, `parts` and `holes` are defined, and are 0.
    """
    area = patch.area
    empty: Scores = dict.fromkeys(NAMES)
    if not area:
        return empty | {"area_px": 0.0, "parts": 0.0, "holes": 0.0}
    parts, areas = _parts(patch.pixels)
    holes, hole_area = _holes(patch.pixels)
    region = None if breast is None else _within(breast, patch)
    breast_area = 0 if breast is None else int(np.count_nonzero(breast))
    return {
        "area_px": float(area),
        "equivalent_diameter_px": 2 * float(np.sqrt(part.area / np.pi)),
        "parts": float(parts),
        "largest_part_share": float(areas.max()) / area,
        "holes": float(holes),
        "hole_share": hole_area / (area + hole_area),
        "frame_contact": _frame_contact(patch, size),
        "outside_breast": None
        if region is None or not breast_area
        else float(np.count_nonzero(patch.pixels & ~region)) / area,
        "breast_share": area / breast_area if breast_area else None,
    }


def _parts(pixels: NDArray[np.bool_]) -> tuple[int, NDArray[Any]]:
    count, _, measures, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(pixels).view(np.uint8), connectivity=8
    )
    return count - 1, measures[1:, cv2.CC_STAT_AREA]


def _holes(pixels: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the number of holes and their pixels; a hole hangs together by its edges."""
    background = (~np.pad(pixels, 1)).view(np.uint8)
    count, parts, measures, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    inner = [number for number in range(1, count) if number != parts[0, 0]]
    return len(inner), int(measures[inner, cv2.CC_STAT_AREA].sum()) if inner else 0


def _within(breast: NDArray[np.bool_], patch: Patch) -> NDArray[np.bool_]:
    return breast[patch.top : patch.bottom, patch.left : patch.right]


def _frame_contact(patch: Patch, size: Size) -> float:
    """Return the share of the mask's border pixels that lie on the border of the image."""
    inner = cv2.erode(
        np.pad(patch.pixels, 1).view(np.uint8), np.ones((3, 3), np.uint8), borderValue=0
    )[1:-1, 1:-1]
    border = patch.pixels & (inner == 0)
    rows, columns = np.nonzero(border)
    rows, columns = rows + patch.top, columns + patch.left
    on = (rows == 0) | (columns == 0) | (rows == size[0] - 1) | (columns == size[1] - 1)
    return float(np.mean(on))
