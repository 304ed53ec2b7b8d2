"""Where the breast is, and on scanned film what is not breast: the scan's border, labels, tape.

Everything here is a function of the image alone and works on block means (about 1/8 of the side of
a mammogram). Block means are exact: a power of two of pixels a side, so float32 sums do not round
and the result does not depend on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.record import Size

Pixels = NDArray[Any]
Outline = NDArray[Any]  # int32 points (n, 1, 2), as OpenCV has them
Box = tuple[int, int, int, int]  # top, left, height, width
Loose = tuple[int, int, NDArray[np.bool_]]  # top, left, and the pixels in their box

_SHORTEST_OVERVIEW = 400  # pixels of the longest side below which blocks are not made larger
_LARGEST_BLOCK = 16
_DEEPEST_BORDER = 10  # a border is at most 1/10 of the side
_SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Overview:
    """Block means of an image, and the grey levels that part it.

    `background`: level of the film or detector without breast. `bright`: level between it and
    the breast. `contrast`: from the background to the brightest hundredth.
    """

    means: Pixels
    block: int
    size: Size
    background: int
    bright: int
    contrast: int


def breast_region(pixels: Pixels) -> NDArray[np.bool_]:
    """Return the pixels of the breast: the largest bright part with its dim rim, holes filled.

    `pixels`: uint8 or uint16, the background dark. An image without a dark background is breast
    everywhere; a constant image has none.
    """
    overview = _overview(pixels)
    if overview is None:
        flat = pixels.size == 0 or int(pixels.min()) == int(pixels.max())
        return np.full(pixels.shape, not flat, dtype=np.bool_)
    breast = _breast_blocks(overview)
    opened = cv2.morphologyEx(breast, cv2.MORPH_OPEN, _SQUARE).view(np.uint8)
    region = largest_part(opened if opened.any() else breast)
    return _enlarge(region, overview)


def film_parts(pixels: Pixels) -> tuple[Box, Loose | None]:
    """Return what of a scanned film lies inside the border of the scan, and what is loose in it.

    The corner of the loose parts is counted from the corner of the box; see `_frame`, `_loose`.
    """
    overview = _overview(pixels)
    height, width = int(pixels.shape[0]), int(pixels.shape[1])
    if overview is None:
        return (0, 0, height, width), None
    top, left, rows, columns = box = _frame(pixels, overview)
    if (rows, columns) != (height, width):
        overview = _overview(pixels[top : top + rows, left : left + columns])
    return box, None if overview is None else _loose(overview)


def _frame(pixels: Pixels, overview: _Overview) -> Box:
    """Return the part of a scanned film inside the bright border of the scan.

    A side has a border if nine in ten of its lines of background begin bright, most of them for
    about the same distance, and then turn dark at once (fog, which fades slowly, is no border).
    The least of these distances goes, never more than a tenth of the side. Lines that meet the
    breast, and those at the (often rounded) corners, are not asked.
    """
    height, width = int(pixels.shape[0]), int(pixels.shape[1])
    top = _border_depth(pixels, overview)
    bottom = _border_depth(pixels[::-1], overview)
    left = _border_depth(pixels.T, overview)
    right = _border_depth(pixels.T[::-1], overview)
    return top, left, height - top - bottom, width - left - right


def _loose(overview: _Overview) -> Loose | None:
    """Return the bright pixels of a scanned film that are not connected to the breast, or None.

    Labels, tape, white strips, each with the glow around it. Fog stays: it has no sharp rim. A
    part a third as large as the breast stays too: which of the two is the breast is a guess.
    """
    breast = _breast_blocks(overview)
    shielded = cv2.dilate(breast, _SQUARE, iterations=2).view(np.uint8)
    level = max(overview.bright, overview.background + overview.contrast // 4)
    bright = np.greater(overview.means, level).astype(np.uint8)
    _, parts, measures, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    loose = measures[:, cv2.CC_STAT_AREA] * 3 < cv2.countNonZero(breast)
    steps = cv2.morphologyEx(overview.means, cv2.MORPH_GRADIENT, _SQUARE)
    sharp = np.zeros(loose.shape, np.bool_)
    sharp[parts[steps > overview.contrast // 8]] = True
    loose &= sharp
    loose[parts[shielded > 0]] = False
    loose[0] = False
    if not loose.any():
        return None
    grown = _with_glow(overview, loose[parts].astype(np.uint8)) & (1 - shielded)
    return _enlarged_box(grown, overview)


def largest_part(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the inside of `largest_outline`, 0 or 1."""
    filled = np.zeros(mask.shape, np.uint8)
    outline = largest_outline(mask)
    if outline is not None:
        cv2.drawContours(filled, [outline], -1, 1, cv2.FILLED)
    return filled


def largest_outline(mask: NDArray[np.uint8]) -> Outline | None:
    """Return the outer contour of the largest contour area, the first of equals; None if empty."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return max(contours, key=cv2.contourArea, default=None)


def _overview(pixels: Pixels) -> _Overview | None:
    """Return the overview, or None if there is no dark and even background to stand out from."""
    height, width = int(pixels.shape[0]), int(pixels.shape[1])
    if min(height, width) < 8:
        return None
    block = 1
    while (
        block < _LARGEST_BLOCK
        and max(height, width) // (2 * block) >= _SHORTEST_OVERVIEW
        and min(height, width) // (2 * block) >= 8
    ):
        block *= 2
    rows, columns = height // block, width // block
    means = pixels
    if block > 1:
        whole = pixels[: rows * block, : columns * block]
        means = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    lowest, highest = int(means.min()), _order_statistic(means, 0.99)
    if highest <= lowest:
        return None
    bright = _dividing_level(means, lowest, highest)
    dark = means[means <= bright]
    background = _most_frequent(dark, lowest, bright)
    contrast = highest - background
    bright = max(bright, background + contrast // 20)
    even = np.count_nonzero(np.abs(dark.astype(np.int32) - background) * 20 <= contrast)
    if even * 2 < dark.size or even * 20 < means.size:
        return None
    return _Overview(means, block, (height, width), background, bright, contrast)


def _dividing_level(means: Pixels, lowest: int, highest: int) -> int:
    """Return Otsu's level between dark and bright, found on square roots.

    The square root gives the fat and the skin, much darker than the rest, their weight.
    """
    share = np.clip((means.astype(np.float64) - lowest) / (highest - lowest), 0.0, 1.0)
    roots = np.floor(np.sqrt(share) * 255.0).astype(np.uint8)
    level, _ = cv2.threshold(roots, 0, 255, cv2.THRESH_OTSU)
    return lowest + int((level + 1) ** 2 * (highest - lowest) / 255.0**2)


def _most_frequent(values: Pixels, lowest: int, highest: int) -> int:
    """Return the median of the fullest of 32 equal classes from `lowest` to `highest`."""
    classes = (values.astype(np.int64) - lowest) * 32 // (highest - lowest + 1)
    fullest = int(np.bincount(classes, minlength=32).argmax())
    return _order_statistic(values[classes == fullest], 0.5)


def _order_statistic(values: Pixels, share: float) -> int:
    """Return the value below which about `share` of `values` lie, one of them."""
    place = int(share * (values.size - 1))
    # counted, not partitioned: most of these values are equal, which takes numpy ten times as long
    return int(np.searchsorted(np.cumsum(np.bincount(values.ravel())), place, side="right"))


def _breast_blocks(overview: _Overview) -> NDArray[np.uint8]:
    """Return the blocks of the breast, 0 or 1.

    The largest bright part, all that hangs together with it above the unevenness of the
    background (fog), and near it (1/20 of the longest side: skin, nipple) all above its noise.
    """
    means, background = overview.means, overview.background
    core = largest_part(np.greater(means, overview.bright).astype(np.uint8))
    dark = means[means <= overview.bright]
    fog = background + 3 * (_order_statistic(dark, 0.9) - background) // 2
    noise = background + 4 * (_order_statistic(dark, 0.75) - background)
    faintest = background + overview.contrast // 100
    fog = min(max(fog, background + overview.contrast // 50), overview.bright)
    noise = min(max(noise, faintest), fog)
    reach = 2 * (max(means.shape) // 20) + 1
    near = cv2.dilate(core, np.ones((reach, reach), np.uint8))
    body = np.greater(means, fog) | (np.greater(means, noise) & (near > 0)) | (core > 0)
    _, parts = cv2.connectedComponents(body.astype(np.uint8), connectivity=4)
    joined = np.zeros(int(parts.max()) + 1, np.uint8)
    joined[parts[core > 0]] = 1
    joined[0] = 0
    return largest_part(joined[parts])


def _enlarge(mask: NDArray[np.uint8], overview: _Overview) -> NDArray[np.bool_]:
    """Return a mask of blocks as a mask of pixels; the last blocks reach to the edge."""
    (height, width), block = overview.size, overview.block
    rows, columns = mask.shape
    enlarged = np.empty((height, width), np.uint8)
    if block == 1:
        enlarged[:] = mask
        return enlarged.view(np.bool_)
    whole = enlarged[: rows * block, : columns * block]
    shape = (columns * block, rows * block)
    whole[:] = cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST)
    enlarged[rows * block :] = enlarged[rows * block - 1]
    enlarged[:, columns * block :] = enlarged[:, columns * block - 1, None]
    return enlarged.view(np.bool_)


def _enlarged_box(mask: NDArray[np.uint8], overview: _Overview) -> Loose:
    """Return a mask of blocks as pixels, of their bounding box only; see `_enlarge`."""
    left, top, width, height = cv2.boundingRect(mask)
    block = overview.block
    part = mask[top : top + height, left : left + width]
    size = (height * block, width * block)
    pixels = cv2.resize(part, size[::-1], interpolation=cv2.INTER_NEAREST)
    rest = [
        side - count * block if last == count else 0
        for side, count, last in zip(
            overview.size, mask.shape, (top + height, left + width), strict=True
        )
    ]
    if any(rest):
        pixels = np.pad(pixels, ((0, rest[0]), (0, rest[1])), mode="edge")
    return top * block, left * block, pixels.view(np.bool_)


def _border_depth(pixels: Pixels, overview: _Overview) -> int:
    """Return how many rows at the top are a bright border (see `_frame`)."""
    deepest = pixels.shape[0] // _DEEPEST_BORDER
    if deepest < 2:
        return 0
    lines = slice(None, None, overview.block)
    inside = pixels[deepest : deepest + deepest // 2 : overview.block, lines]
    if not inside.size:
        return 0
    level = overview.background + overview.contrast // 5
    half = overview.background + overview.contrast // 10
    asked = np.median(inside, axis=0) < half
    corner = asked.size // _DEEPEST_BORDER
    asked[:corner] = asked[asked.size - corner :] = False
    if np.count_nonzero(asked) * 10 < asked.size:
        return 0
    band = pixels[:deepest, lines][:, asked]
    depths = np.logical_and.accumulate(band > level, axis=0).sum(axis=0)
    depth = _order_statistic(depths, 0.1)  # at a slant, the rest is left to `_loose`
    straight = depths <= depth + max(pixels.shape) // 200
    if depth == 0 or np.count_nonzero(straight) * 2 < straight.size:
        return 0
    beyond = np.minimum(depths + 2 * overview.block, deepest - 1)
    after = np.median(band[beyond, np.arange(beyond.size)][straight])
    strip = np.median(band[:depth, straight])
    sharp = 4 * (after - overview.background) < strip - overview.background
    return depth if sharp else 0


def _with_glow(overview: _Overview, seeds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the seeds with the glow around them that is a third as bright as the division."""
    level = overview.background + (overview.bright - overview.background) // 3
    around = cv2.dilate(seeds, _SQUARE, iterations=6).view(np.uint8)
    faint = np.greater(overview.means, level).astype(np.uint8) & around
    _, parts = cv2.connectedComponents(faint | seeds, connectivity=8)
    touched = np.zeros(int(parts.max()) + 1, np.uint8)
    touched[parts[seeds > 0]] = 1
    touched[0] = 0
    return cv2.dilate(touched[parts], _SQUARE).astype(np.uint8, copy=False)
