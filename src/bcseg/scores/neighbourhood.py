"""A lesion and what lies round it, resampled so that all lesions are equally large.

Lengths of all shape and image scores are in units of d, the equivalent diameter 2 sqrt(A / pi) of
the lesion's largest part, which is DIAMETER pixels after resampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.raster import Patch

DIAMETER = 128
_MARGIN = 0.6  # of d, kept round the lesion
_LONGEST = 1024  # resampled pixels of a side: a long thin lesion is resampled to a smaller d

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """The largest part of a lesion, its holes filled, and the image round it.

    `mask`: resampled. `image`: resampled grey values, None without an image; what lies beyond the
    border of the image repeats its last pixel. `diameter`: d in resampled pixels. `scale`:
    resampled pixels for one of the written image. `written`: d in pixels of the written image.
    `frame`: top, left, bottom, right of the written image in resampled pixel coordinates.
    """

    mask: Mask
    image: Floats | None
    diameter: float
    scale: float
    written: float
    frame: tuple[float, float, float, float]


def largest_part(patch: Patch) -> Patch:
    """Return the largest 8-connected part with its holes filled; an empty lesion as it is."""
    if not patch.area:
        return patch
    padded = cv2.copyMakeBorder(patch.pixels.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    _, parts, measures, _ = cv2.connectedComponentsWithStats(padded, connectivity=8)
    number = 1 + int(np.argmax(measures[1:, cv2.CC_STAT_AREA]))
    x, y, width, height = (int(value) for value in measures[number][:4])
    part = np.equal(parts, number)
    background = (~part).astype(np.uint8)
    _, outside = cv2.connectedComponents(background, connectivity=4)
    filled = outside != outside[0, 0]
    box = filled[y : y + height, x : x + width]
    return Patch(patch.top + y - 1, patch.left + x - 1, np.ascontiguousarray(box))


def neighbourhood(part: Patch, image: NDArray[Any] | None, size: tuple[int, int]) -> Neighbourhood:
    """Resample a lesion's largest part, which must not be empty; `size` of the written image."""
    written = 2 * math.sqrt(part.area / math.pi)
    margin = math.ceil(_MARGIN * written) + 2
    top, left = part.top - margin, part.left - margin
    height, width = (side + 2 * margin for side in part.pixels.shape)
    scale = min(DIAMETER / written, _LONGEST / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    mask = np.zeros((height, width), np.uint8)
    mask[margin : margin + part.pixels.shape[0], margin : margin + part.pixels.shape[1]] = 255
    mask[margin:-margin, margin:-margin] *= part.pixels.view(np.uint8)
    return Neighbourhood(
        mask=_resampled_mask(mask, shape, scale),
        image=None if image is None else _resampled_image(image, (top, left, height, width), shape),
        diameter=written * scale,
        scale=scale,
        written=written,
        frame=_frame(top, left, size, scale),
    )


def _resampled_mask(mask: NDArray[np.uint8], shape: tuple[int, int], scale: float) -> Mask:
    """Resample a mask of 0 and 255; enlarged, the steps of its pixels are smoothed away."""
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    soft = cv2.resize(mask, shape, interpolation=how)
    if scale > 1:
        soft = cv2.GaussianBlur(soft, (0, 0), 0.5 * scale)
    marked: Mask = soft > 127
    return marked if marked.any() else soft == soft.max()


def _resampled_image(
    image: NDArray[Any], box: tuple[int, int, int, int], shape: tuple[int, int]
) -> Floats:
    top, left, height, width = box
    rows, columns = image.shape
    inner = image[
        max(top, 0) : max(min(top + height, rows), 0),
        max(left, 0) : max(min(left + width, columns), 0),
    ]
    whole = cv2.copyMakeBorder(
        np.ascontiguousarray(inner).astype(np.float32),
        max(-top, 0),
        max(top + height - rows, 0),
        max(-left, 0),
        max(left + width - columns, 0),
        cv2.BORDER_REPLICATE,
    )
    how = cv2.INTER_AREA if shape[0] < width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(whole, shape, interpolation=how), np.float32)


def _frame(
    top: int, left: int, size: tuple[int, int], scale: float
) -> tuple[float, float, float, float]:
    """Return where the outermost pixel centres of the written image lie after resampling."""

    def placed(value: float, start: int) -> float:
        return (value - start + 0.5) * scale - 0.5

    return (
        placed(0, top),
        placed(0, left),
        placed(size[0] - 1, top),
        placed(size[1] - 1, left),
    )
