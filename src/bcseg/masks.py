"""Mask files of an archive: which file is the mask, which pixels it marks, on which grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.errors import RecordError
from bcseg.formats.dicom import read_header
from bcseg.formats.images import decode
from bcseg.limits import DEFAULT, Limits
from bcseg.raster import Patch, patch_of
from bcseg.record import Raster, RasterAmong, Size

SCALE_TOLERANCE = 0.001  # the re-made masks of CBIS-DDSM (scale 1.149) fit to 0.03 %
_NEAR_EXTREME = 0.12  # of the maximum: how far JPEG moves the values of a two-valued mask
_BINARY_SHARE = 0.99  # of the pixels of a mask are near an extreme

ReadFile = Callable[[str], bytes]
Pixels = NDArray[Any]
Above = Literal["zero", "half"]


def read_raster(
    shape: Raster | RasterAmong, size: Size, read: ReadFile, limits: Limits = DEFAULT
) -> tuple[Patch, str, str]:
    """Return the marked pixels on a grid of `size`, the mask's file, and a note ("" if none).

    Raises RecordError: code "mask_missing" (no file is a mask), "mask_empty" (nothing is marked),
    "mask_size" (no single scale fits both sides).
    """
    if isinstance(shape, RasterAmong):
        name, pixels = _choose(shape.files, size, read, limits)
        patch, note = _marked(pixels, "half", size, name)
    elif len(shape.files) == shape.votes == 1:
        name = shape.files[0]
        pixels = decode(read(name), name, max_pixels=limits.pixels).pixels
        patch, note = _marked(pixels, shape.above, size, name)
    else:
        name = shape.files[0]
        patch, note = _votes(shape, size, read, limits)
    blank_ok = isinstance(shape, Raster) and shape.blank_ok
    if patch.area == 0 and not blank_ok:
        raise RecordError("the mask marks no pixel", code="mask_empty", where=name)
    return patch, name, note


def _marked(pixels: Pixels, above: Above, size: Size, name: str) -> tuple[Patch, str]:
    """Return the pixels that one file marks, looking closely only where it is not zero."""
    if pixels.shape != size:
        marked, note = _fit(pixels > _limit(pixels, above), size, name)
        return patch_of(marked), note
    present = pixels if pixels.dtype == np.uint8 else (pixels != 0).view(np.uint8)
    left, top, width, height = cv2.boundingRect(present)
    if not width:
        return patch_of(np.zeros((0, 0), np.bool_)), ""
    inside = pixels[top : top + height, left : left + width]
    return patch_of(inside > _limit(inside, above), top, left), ""


def _limit(pixels: Pixels, above: Above) -> float:
    return float(pixels.max()) / 2 if above == "half" else 0


def _votes(shape: Raster, size: Size, read: ReadFile, limits: Limits) -> tuple[Patch, str]:
    """Return the pixels that enough of the files mark."""
    counts: NDArray[np.uint8] | None = None
    notes = ""
    for name in shape.files:
        pixels = decode(read(name), name, max_pixels=limits.pixels).pixels
        marked, note = _fit(pixels > _limit(pixels, shape.above), size, name)
        notes = notes or note
        counts = marked.view(np.uint8) if counts is None else counts + marked
    assert counts is not None
    return patch_of(counts >= shape.votes), notes


def _fit(marked: NDArray[np.bool_], size: Size, name: str) -> tuple[NDArray[np.bool_], str]:
    """Return a mask on the image's grid: as it is, or resized where one scale fits both sides."""
    height, width = marked.shape
    if (height, width) == size:
        return marked, ""
    if not _one_scale((height, width), size):
        raise RecordError(
            f"the mask has {height} x {width} pixels, its image {size[0]} x {size[1]}: no one"
            " scale fits both sides",
            code="mask_size",
            where=name,
        )
    rows = (2 * np.arange(size[0]) + 1) * height // (2 * size[0])  # nearest pixel centre
    columns = (2 * np.arange(size[1]) + 1) * width // (2 * size[1])
    note = f"mask of {height} x {width} pixels resized to {size[0]} x {size[1]}"
    return marked[rows[:, None], columns[None, :]], note


def _one_scale(mask: Size, image: Size) -> bool:
    ratio = (mask[0] / image[0]) / (mask[1] / image[1])
    return abs(ratio - 1) <= SCALE_TOLERANCE


def _choose(
    files: tuple[str, ...], size: Size, read: ReadFile, limits: Limits
) -> tuple[str, NDArray[np.uint8]]:
    """Return the one of `files` that is a mask: two-valued, of the size of the image.

    Where headers settle it (one file of 8 bits among 16-bit ones) the others are not decoded.
    """
    for names in (_eight_bit(files, read), files):
        masks = []
        for name in names:
            pixels = decode(read(name), name, max_pixels=limits.pixels).pixels
            if looks_binary(pixels):
                masks.append((name, pixels))
        if masks:
            return _best(masks, size)
    raise RecordError(
        "no file of this lesion is a mask: all are crops of the image",
        code="mask_missing",
        where=", ".join(files),
    )


def _eight_bit(files: tuple[str, ...], read: ReadFile) -> tuple[str, ...]:
    """Return the DICOM files whose header says 8 bits, if it says 16 for all the others."""
    if len(files) < 2:
        return ()
    bits = []
    for name in files:
        data = read(name)
        if data[128:132] != b"DICM":
            return ()
        bits.append(read_header(data, name).bits_allocated)
    return tuple(name for name, n in zip(files, bits, strict=True) if n == 8)


def _best(masks: list[tuple[str, NDArray[np.uint8]]], size: Size) -> tuple[str, NDArray[np.uint8]]:
    fitting = [(name, pixels) for name, pixels in masks if pixels.shape == size]
    fitting = fitting or [m for m in masks if _one_scale((m[1].shape[0], m[1].shape[1]), size)]
    fitting = fitting or masks
    name, pixels = fitting[0]
    if any(not np.array_equal(pixels, other) for _, other in fitting[1:]):
        raise RecordError(
            f"{len(fitting)} different masks for one lesion",
            code="ambiguous_mask",
            where=", ".join(name for name, _ in fitting),
        )
    return name, pixels


def looks_binary(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
    """Tell a mask from a crop of an image: nearly all its values are near zero or the maximum."""
    step = max(1, pixels.size // 500_000)
    sample = pixels.ravel()[::step].astype(np.float32)
    top = float(pixels.max())
    if top == 0:
        return True
    near = (sample <= _NEAR_EXTREME * top) | (sample >= (1 - _NEAR_EXTREME) * top)
    return bool(near.mean() >= _BINARY_SHARE)
