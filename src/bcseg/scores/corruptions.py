"""Ways in which masks are imprecise, done on purpose to masks that are believed precise.

Every corruption works on the written grid, as an imprecise annotation would; d is the equivalent
diameter 2 sqrt(A / pi) of the mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import raster
from bcseg.raster import Patch, patch_of
from bcseg.record import Ellipse, Polygon, Size

Corruption = Callable[[Patch, NDArray[Any], np.random.Generator], Patch | None]

_TIP = (0.3, 0.5)  # of d: how far from the mask the tip of a leak lies
_SMALLEST = 12  # pixels: a mask with fewer left is not made


def diameter(patch: Patch) -> float:
    """Return the equivalent diameter in pixels."""
    return 2 * math.sqrt(patch.area / math.pi)


def oval(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
    """Replace a mask by the ellipse of equal second moments and area."""
    if patch.area < _SMALLEST:
        return None
    rows, columns = np.nonzero(patch.pixels)
    values, vectors = np.linalg.eigh(np.cov(np.stack([columns, rows])) + np.eye(2) / 12)
    axes = 2 * np.sqrt(np.maximum(values, 1e-6))
    axes *= math.sqrt(patch.area / (math.pi * axes[0] * axes[1]))
    ellipse = Ellipse(
        patch.left + float(columns.mean()),
        patch.top + float(rows.mean()),
        float(axes[1]),
        float(axes[0]),
        math.atan2(vectors[1, 1], vectors[0, 1]),
    )
    return _usable(raster.draw(ellipse, _size(image)).patch)


def hull(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
    """Replace a mask by its convex hull."""
    return _polygon(cv2.convexHull(_outline(patch))[:, 0, :], image)


def grown(share: float) -> Corruption:
    """Return the dilation by `share` of d; negative: the erosion."""

    def grow(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
        distance = share * diameter(patch)
        margin = math.ceil(abs(distance)) + 2
        mask = np.pad(patch.pixels, margin).view(np.uint8)
        if share > 0:
            away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            marked = away <= distance
        else:
            marked = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > -distance
        return _inside(patch_of(marked, patch.top - margin, patch.left - margin), image)

    return grow


def shifted(share: float) -> Corruption:
    """Return the shift by `share` of d in a random direction."""

    def shift(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
        angle = random.uniform(0, 2 * math.pi)
        distance = share * diameter(patch)
        down, right = round(distance * math.sin(angle)), round(distance * math.cos(angle))
        return _inside(Patch(patch.top + down, patch.left + right, patch.pixels), image)

    return shift


def simplified(vertices: int) -> Corruption:
    """Return the outline simplified (Douglas-Peucker) to at most `vertices` vertices."""

    def simplify(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
        outline = _outline(patch)
        low, high = 0.0, diameter(patch)
        found: NDArray[Any] = outline[:3, 0, :]
        for _ in range(24):
            middle = (low + high) / 2
            line = cv2.approxPolyDP(outline, middle, True)[:, 0, :]
            if len(line) > vertices:
                low = middle
            else:
                high, found = middle, line
        return _polygon(found, image) if len(found) >= 3 else None

    return simplify


def leaking(area: float, tip: tuple[float, float] = _TIP, *, dark: bool = False) -> Corruption:
    """Return a leak: a tongue from the contour into the brightest (`dark`: darkest) neighbourhood.

    The brightest place at `tip` times d from the mask, on the image smoothed by 0.05 d, is joined
    to the nearest pixel of the mask. The tongue is 1.5 times as wide at one end as at the other,
    and so wide that the mask grows by `area` of its own.
    """

    def leak(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
        d = diameter(patch)
        margin = math.ceil((tip[1] + 0.4) * d) + 2
        top, left = patch.top - margin, patch.left - margin
        mask = np.pad(patch.pixels, margin).view(np.uint8)
        ends = _ends(mask, _cut_out(image, top, left, mask.shape), tip, d, dark=dark)
        taper = np.linspace(1.2, 0.8, 24)[:: 1 if random.uniform() < 0.5 else -1]
        if ends is None:
            return None
        low, high = 1.0, 0.6 * d
        for _ in range(10):
            width = (low + high) / 2
            marked = _tongue(mask, *ends, width * taper)
            if np.count_nonzero(marked) < (1 + area) * patch.area:
                low = width
            else:
                high = width
        return _inside(patch_of(marked > 0, top, left), image)

    return leak


def _ends(
    mask: NDArray[np.uint8],
    image: NDArray[np.float32],
    tip: tuple[float, float],
    d: float,
    *,
    dark: bool,
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return where a leak starts and ends (row, column); None without room for it."""
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    smooth = cv2.GaussianBlur(np.nan_to_num(image), (0, 0), max(0.05 * d, 0.5))
    allowed = (away >= tip[0] * d) & (away <= tip[1] * d) & np.isfinite(image)
    if not allowed.any():
        return None
    wanted = np.where(allowed, -smooth if dark else smooth, -np.inf)
    end = np.array(np.unravel_index(int(wanted.argmax()), mask.shape))
    near = np.argwhere(mask > 0)
    return near[int(((near - end) ** 2).sum(axis=1).argmin())], end


def _tongue(
    mask: NDArray[np.uint8], root: NDArray[Any], tip: NDArray[Any], widths: NDArray[np.float64]
) -> NDArray[np.uint8]:
    marked = mask.copy()
    fixed = 4  # binary places of OpenCV's coordinates
    for share, width in zip(np.linspace(0, 1, len(widths)), widths, strict=True):
        row, column = root + share * (tip - root)
        centre = (round(float(column) * 2**fixed), round(float(row) * 2**fixed))
        cv2.circle(marked, centre, round(float(width) * 2**fixed / 2), 1, cv2.FILLED, 8, fixed)
    return marked


def _cut_out(
    image: NDArray[Any], top: int, left: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return a part of an image; NaN beyond its border."""
    part = np.full(shape, np.nan, np.float32)
    row, column = max(-top, 0), max(-left, 0)
    inner = image[max(top, 0) : max(top + shape[0], 0), max(left, 0) : max(left + shape[1], 0)]
    part[row : row + inner.shape[0], column : column + inner.shape[1]] = inner
    return part


def box(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
    """Replace a mask by its bounding box."""
    return _usable(Patch(patch.top, patch.left, np.ones_like(patch.pixels)))


def wobble(patch: Patch, image: NDArray[Any], random: np.random.Generator) -> Patch | None:
    """Move the outline along its normal by a smooth random offset, 0.06 d rms."""
    d = diameter(patch)
    margin = math.ceil(0.3 * d) + 2
    mask = np.pad(patch.pixels, margin).view(np.uint8)
    inner = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outer = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    field = cv2.GaussianBlur(random.normal(size=mask.shape), (0, 0), max(0.1 * d, 1.0))
    marked = inner - outer + 0.06 * d * field / max(float(field.std()), 1e-9) > 0
    return _inside(patch_of(marked, patch.top - margin, patch.left - margin), image)


CORRUPTIONS: Mapping[str, Corruption] = {
    "oval": oval,
    "hull": hull,
    "dilate 5 %": grown(0.05),
    "dilate 10 %": grown(0.1),
    "dilate 20 %": grown(0.2),
    "erode 5 %": grown(-0.05),
    "erode 10 %": grown(-0.1),
    "erode 20 %": grown(-0.2),
    "shift 10 %": shifted(0.1),
    "6 vertices": simplified(6),
    "8 vertices": simplified(8),
    "10 vertices": simplified(10),
    "12 vertices": simplified(12),
    "leak": leaking(0.1),
}

# not part of a calibration: what flags name, and what shape scores take for precision
OTHERS: Mapping[str, Corruption] = {"box": box, "wobble": wobble}

# not part of a calibration either: leaks of other kinds than the one above
LEAKS: Mapping[str, Corruption] = {
    "into dark tissue": leaking(0.1, dark=True),
    "half as large": leaking(0.05),
    "twice as large": leaking(0.2),
    "thin": leaking(0.04, (0.4, 0.6)),
    "long": leaking(0.1, (0.6, 0.8)),
    "short and wide": leaking(0.15, (0.2, 0.3)),
}


def _size(image: NDArray[Any]) -> Size:
    return int(image.shape[0]), int(image.shape[1])


def _outline(patch: Patch) -> NDArray[np.int32]:
    """Return the outer contour of the largest part, (n, 1, 2), in pixels of the image."""
    padded = np.pad(patch.pixels, 1).view(np.uint8)
    outlines, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea)
    return np.asarray(largest + np.array([patch.left - 1, patch.top - 1]), np.int32)


def _polygon(points: NDArray[Any], image: NDArray[Any]) -> Patch | None:
    if len(points) < 3:
        return None
    shape = Polygon(tuple((float(x), float(y)) for x, y in points))
    return _usable(raster.draw(shape, _size(image)).patch)


def _inside(patch: Patch, image: NDArray[Any]) -> Patch | None:
    """Return the part of a patch inside the image."""
    rows, columns = _size(image)
    top, left = max(patch.top, 0), max(patch.left, 0)
    kept = patch.pixels[
        top - patch.top : max(rows - patch.top, 0), left - patch.left : max(columns - patch.left, 0)
    ]
    return _usable(patch_of(kept, top, left)) if kept.size else None


def _usable(patch: Patch) -> Patch | None:
    return patch if patch.area >= _SMALLEST else None
