"""Pictures of pairs: the window, the box round a lesion, its outline, thumbnails, overlays."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcseg.breast import breast_region
from bcseg.errors import RecordError
from bcseg.formats.images import decode
from bcseg.report.data import UNITS, Box, Picture, Pictures

Grey = NDArray[np.uint8]
Outline = NDArray[np.float64]  # (points, 2): x, y from the top left corner of the image
Window = tuple[float, float]  # grey values shown as black and as white

CONTOUR = (255, 158, 27)  # legible on black, grey and white

_WINDOW = (1.0, 99.0)  # percentiles of the breast shown as black and white
_WINDOW_OF_PART = (1.0, 99.8)
_ENOUGH = 768  # pixels a side that tell the percentiles
_ROOM = 1.7  # side of the box round a lesion, in sides of the lesion
_SMALLEST_BOX = 48  # pixels
_NARROWEST = 0.25  # of the window of the image: that of a lesion
# longest sides of thumbnails, in pixels: the whole, the worst lesion, the others
_WHOLE, _WORST, _OTHER = 480, 448, 256
_FEW = 160  # pixels of a side below which each should be seen
_QUALITY_WHOLE, _QUALITY_CROP, _QUALITY_FEW = 70, 75, 95  # of WebP
_EFFORT = 2  # of WebP: 4 is a tenth smaller and takes twice as long
_FITTED = 1600  # pixels: longest side of an overlay


# ------------------------------------------------------------------------- parts


def window_of(image: NDArray[Any]) -> Window:
    """Return the grey values to show as black and white: percentiles of the breast."""
    step = max(1, max(image.shape) // _ENOUGH)
    sparse = np.ascontiguousarray(image[::step, ::step])
    inside = sparse[breast_region(sparse)]
    low, high = np.percentile(inside if inside.size else sparse, _WINDOW)
    return float(low), float(high)


def windowed(image: NDArray[Any], limits: Window) -> Grey:
    """Return an image as 8 bits."""
    low, high = limits
    scaled = (image.astype(np.float32) - low) * (255 / max(high - low, 1))
    grey: Grey = np.clip(scaled, 0, 255).astype(np.uint8)
    return grey


def window_of_part(part: NDArray[Any], limits: Window) -> Window:
    """Return the window of a part: its own, yet not so narrow that noise looks like tissue."""
    low, high = np.percentile(part, _WINDOW_OF_PART)
    lacking = max(0.0, (limits[1] - limits[0]) * _NARROWEST - float(high - low))
    return float(low) - lacking / 2, float(high) + lacking / 2


def reduced(image: NDArray[Any], longest: int) -> NDArray[Any]:
    """Return an image with at most `longest` pixels a side, by area; a smaller one as it is."""
    scale = longest / max(image.shape)
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def room_round(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of the square round a box, with room, as far as the image goes."""
    x, y, width, height = box
    side = max(_SMALLEST_BOX, round(max(width, height) * _ROOM))
    return (
        _span(y + height // 2, min(side, shape[0]), shape[0]),
        _span(x + width // 2, min(side, shape[1]), shape[1]),
    )


def _span(middle: int, length: int, end: int) -> slice:
    start = min(max(middle - length // 2, 0), end - length)
    return slice(start, start + length)


def largest_part(mask: NDArray[Any]) -> Box | None:
    """Return the box of the largest part of a mask; None for an empty one."""
    count, _, parts, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    if count < 2:
        return None
    x, y, width, height, _ = parts[1 + int(np.argmax(parts[1:, cv2.CC_STAT_AREA]))]
    return int(x), int(y), int(width), int(height)


def outlines(mask: NDArray[Any]) -> list[Outline]:
    """Return the exact outlines of a mask, which run along the edges of its pixels.

    On a lattice of pixel corners (even places) and pixel centres (odd ones), a closed pixel takes
    3 x 3 nodes, and the border nodes of a closed region lie on its outline. OpenCV goes round
    them, but diagonally past inner corners.
    """
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    lattice = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    lattice[1::2, 1::2] = mask[top : top + height, left : left + width] > 0
    closed = cv2.dilate(lattice, np.ones((3, 3), np.uint8))
    found, _ = cv2.findContours(closed, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return [_round_corners(line[:, 0]) / 2 + (left, top) for line in found]


def _round_corners(nodes: NDArray[Any]) -> NDArray[Any]:
    """Return a closed line of lattice nodes with its inner corners, and with nothing but corners.

    Of the two nodes beside a diagonal step one is even in x and y: the corner.
    """
    after = np.roll(nodes, -1, axis=0)
    across = np.stack((nodes[:, 0], after[:, 1]), axis=1)
    along = np.stack((after[:, 0], nodes[:, 1]), axis=1)
    corners = np.where((across % 2 == 0).all(axis=1, keepdims=True), across, along)
    diagonal = (nodes != after).all(axis=1)
    both = np.stack((nodes, corners), axis=1).reshape(-1, 2)
    line = both[np.stack((np.ones_like(diagonal), diagonal), axis=1).ravel()]
    back, forth = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    corner: NDArray[Any] = line[(np.sign(back) != np.sign(forth)).any(axis=1)]
    return corner


def drawn(picture: Grey, lines: list[Outline], scale: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a picture in colours with outlines; `scale`: its pixels in a pixel of the mask, x, y.

    The line is as thin as can be seen on the whole picture.
    """
    coloured = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    fine = 16  # parts of a pixel that OpenCV draws to: shift=4; its (0, 0) is a pixel's centre
    for line in lines:
        points = np.rint((line * scale - 0.5) * fine).astype(np.int32)
        thickness = max(1, round(max(picture.shape) / 1500))
        cv2.polylines(coloured, [points], True, CONTOUR, thickness, cv2.LINE_AA, shift=4)
    return coloured.astype(np.uint8, copy=False)


# ------------------------------------------------------------------------- of a pair


@dataclass(frozen=True, slots=True)
class Sitting:
    """What pictures are made of: the files of a pair, by folder and name; boxes of its lesions."""

    folder: Path
    image: str
    mask: str
    boxes: tuple[Box | None, ...]


def read_pair(folder: Path, image: str, mask: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return image and mask of a pair; raises RecordError if they are no pair."""
    pixels, marked = _pixels(folder, image), _pixels(folder, mask)
    if pixels.shape != marked.shape:
        raise RecordError(
            f"image and mask differ in size: {pixels.shape} and {marked.shape}", code="size"
        )
    return pixels, marked


def _pixels(folder: Path, name: str) -> NDArray[Any]:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:
        raise RecordError(f"{name!r} is no file of this folder", code="unreadable")
    try:
        data = (folder / name).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file name"
        raise RecordError(f"{name}: {reason}", code="unreadable") from error
    return decode(data, name).pixels


def pictures_of(sitting: Sitting) -> Pictures:
    """Return the thumbnails of a pair; a pair that cannot be read says why instead."""
    try:
        image, mask = read_pair(sitting.folder, sitting.image, sitting.mask)
    except RecordError as error:
        return Pictures(failure=str(error.args[0]))
    limits = window_of(image)
    lines = outlines(mask)
    whole = _picture(windowed(reduced(image, _WHOLE), limits), lines, image.shape, _QUALITY_WHOLE)
    scale = (whole.width / image.shape[1], whole.height / image.shape[0])
    spans = [room_round(box, mask.shape) for box in _boxes(sitting.boxes, mask) if box is not None]
    sides = (_WORST, *(_OTHER for _ in spans[1:]))
    crops = tuple(
        _crop(image, lines, span, limits, side) for span, side in zip(spans, sides, strict=False)
    )
    return Pictures(whole, crops, tuple(_frame(span, scale) for span in spans))


def _boxes(boxes: tuple[Box | None, ...], mask: NDArray[Any]) -> list[Box | None]:
    """Return the boxes of the lesions; for one that the tables do not give, the largest part."""
    return [
        box if box and _reaches(box, mask.shape) else largest_part(mask) for box in boxes or (None,)
    ]


def _frame(span: tuple[slice, slice], scale: tuple[float, float]) -> Box:
    rows, columns = span
    left, top = round(columns.start * scale[0] * UNITS), round(rows.start * scale[1] * UNITS)
    width = round((columns.stop - columns.start) * scale[0] * UNITS)
    return left, top, width, round((rows.stop - rows.start) * scale[1] * UNITS)


def _crop(
    image: NDArray[Any],
    lines: list[Outline],
    span: tuple[slice, slice],
    limits: Window,
    longest: int,
) -> Picture:
    rows, columns = span
    part = image[rows, columns]
    near = [line - (columns.start, rows.start) for line in lines]
    grey = windowed(reduced(part, longest), window_of_part(part, limits))
    return _picture(grey, near, part.shape, _QUALITY_CROP)


def _reaches(box: Box, shape: tuple[int, ...]) -> bool:
    """Tell whether a box of a table lies in the image."""
    x, y, width, height = box
    return width > 0 and height > 0 and x + width <= shape[1] and y + height <= shape[0]


def _picture(grey: Grey, lines: list[Outline], shape: tuple[int, ...], quality: int) -> Picture:
    height, width = grey.shape
    packed = io.BytesIO()
    pixelated = max(height, width) < _FEW
    quality = _QUALITY_FEW if pixelated else quality
    Image.fromarray(grey).save(packed, "WEBP", quality=quality, method=_EFFORT)
    path = svg_path(lines, shape, (width, height), exact=pixelated)
    return Picture(packed.getvalue(), width, height, path, pixelated)


def svg_path(
    lines: list[Outline], shape: tuple[int, ...], size: tuple[int, int], *, exact: bool = False
) -> str:
    """Return outlines as SVG path data in quarters of a pixel of a picture of (width, height).

    `shape`: (rows, columns) on which the outlines are. Lines that lie outside the picture are left
    away; points nearer than half a pixel to the straight line between their neighbours, too,
    unless it is to be `exact`.
    """
    end = np.array(size) * UNITS
    scale = end / (shape[1], shape[0])
    parts = []
    for line in lines:
        points = np.rint(line * scale).astype(np.int32)
        if (points.max(axis=0) < 0).any() or (points.min(axis=0) > end).any():
            continue
        short = points if exact else cv2.approxPolyDP(points[:, np.newaxis], UNITS / 2, True)[:, 0]
        steps = np.diff(short, axis=0)
        x, y = short[0]
        rest = " ".join(f"{dx} {dy}" for dx, dy in steps.tolist()).replace(" -", "-")
        parts.append(f"M{x} {y}l{rest}z" if rest else f"M{x} {y}h1v1h-1z")
    return "".join(parts)


def overlay(folder: Path, image: str, mask: str, *, full: bool = False) -> bytes:
    """Return a PNG of an image with the contour, fitted to a screen or at `full` resolution.

    Raises RecordError if the pair cannot be read.
    """
    pixels, marked = read_pair(folder, image, mask)
    shown = pixels if full else reduced(pixels, _FITTED)
    scale = (shown.shape[1] / pixels.shape[1], shown.shape[0] / pixels.shape[0])
    picture = drawn(windowed(shown, window_of(pixels)), outlines(marked), scale)
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "PNG")
    return packed.getvalue()
