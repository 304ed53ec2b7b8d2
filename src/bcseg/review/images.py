"""Pixels and contours as the page draws them: 16 bits, in the orientation of the source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg.breast import breast_region
from bcseg.errors import RecordError
from bcseg.formats.images import decode
from bcseg.raster import Patch, patch_of

_LOW, _HIGH = 1.0, 99.0  # percentiles of the breast shown as black and white at first
_SAMPLE = 500_000  # pixels that percentiles are taken of


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image for the browser: `data` row by row, little-endian, 1 or 2 bytes a pixel.

    `low`, `high`: the grey values that are black and white at first.
    """

    data: bytes
    rows: int
    columns: int
    bits: int
    low: int
    high: int


def read_pixels(folder: Path, name: str, *, mirrored: bool = False) -> Pixels:
    """Read an image of a pairs folder by its name in records.csv; raises RecordError.

    `mirrored`: the image was flipped when it was written, and is flipped back.
    """
    pixels = _decoded(folder, name)
    low, high = first_window(pixels)
    if mirrored:
        pixels = pixels[:, ::-1]
    stored = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    rows, columns = stored.shape
    return Pixels(stored.tobytes(), rows, columns, 8 * stored.itemsize, low, high)


def first_window(pixels: NDArray[Any]) -> tuple[int, int]:
    """Return the 1st and 99th percentile of the breast; of everything where none is found."""
    region = breast_region(pixels)
    step = max(1, int((pixels.size / _SAMPLE) ** 0.5))
    sample = pixels[::step, ::step]
    inside = sample[region[::step, ::step]]
    values = inside if inside.size else sample
    low, high = (int(value) for value in np.percentile(values, (_LOW, _HIGH)))
    return low, max(high, low + 1)


def contour(patch: Patch, width: int, *, mirrored: bool = False) -> dict[str, Any]:
    """Return a lesion as the page draws it, in pixel corners: pixel (0, 0) reaches to (1, 1).

    `runs`: row, start, stop of each run of pixels, flat. `edges`: x0, y0, x1, y1 of each straight
    part of the border between marked and unmarked pixels, flat. `box`: left, top, right, bottom.
    `width`: of the image, for mirroring.
    """
    pixels, left = patch.pixels, patch.left
    if mirrored:
        pixels, left = pixels[:, ::-1], width - patch.right
    framed = np.pad(pixels, 1).astype(np.int8)
    runs = _segments(framed[1:-1], axis_of_runs=1)
    across = _segments(np.abs(np.diff(framed, axis=0)), axis_of_runs=1)  # borders between rows
    down = _segments(np.abs(np.diff(framed, axis=1)).T, axis_of_runs=1)
    origin = (left - 1, patch.top - 1)
    edges = np.concatenate(
        [
            np.stack([across[:, 1], across[:, 0] + 1, across[:, 2], across[:, 0] + 1], axis=1),
            np.stack([down[:, 0] + 1, down[:, 1], down[:, 0] + 1, down[:, 2]], axis=1),
        ]
    ) + np.array([*origin, *origin])
    runs = runs + np.array([patch.top, left - 1, left - 1])
    rows, columns = pixels.shape
    return {
        "runs": runs.ravel().tolist(),
        "edges": edges.ravel().tolist(),
        "box": [left, patch.top, left + columns, patch.top + rows] if patch.area else [],
    }


def _segments(lines: NDArray[np.int8], *, axis_of_runs: int) -> NDArray[np.int64]:
    """Return (line, start, stop) of the runs of ones along an axis, (n, 3)."""
    assert axis_of_runs == 1
    padded = np.pad(lines, ((0, 0), (1, 1)))
    steps = np.diff(padded, axis=1)
    line, start = np.nonzero(steps == 1)
    _, stop = np.nonzero(steps == -1)
    return np.stack([line, start, stop], axis=1).astype(np.int64)


def read_mask(folder: Path, name: str) -> Patch:
    """Return the marked pixels of a mask file; raises RecordError."""
    return patch_of(_decoded(folder, name) > 0)


def _decoded(folder: Path, name: str) -> NDArray[Any]:
    path = _inside(folder, name)
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror or error}"
        raise RecordError(message, code="unreadable", where=name) from error
    pixels = decode(data, name).pixels
    if pixels.dtype.kind != "u":
        raise RecordError("the image has negative values", code="unsupported_depth", where=name)
    return pixels


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a table names; raises RecordError if it lies elsewhere."""
    parts = PurePosixPath(name)
    path = (folder / name).resolve()
    if parts.is_absolute() or ".." in parts.parts or not path.is_relative_to(folder.resolve()):
        raise RecordError("the table names a file outside its folder", where=name)
    return path
