"""The one geometric transform that an image and its mask go through, recorded and invertible.

A size is (rows, columns), an array is indexed [row, column]. Images are resampled by area or
linearly, masks by the nearest pixel centre, so that a mask holds no value that was not there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.errors import RecordError
from bcseg.raster import Patch, patch_of
from bcseg.record import Size

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Crop:
    """Keep `height` rows from `top` on and `width` columns from `left` on."""

    top: int
    left: int
    height: int
    width: int
    from_height: int
    from_width: int


@dataclass(frozen=True, slots=True)
class Flip:
    """Swap left and right of a grid of `width` columns."""

    width: int


@dataclass(frozen=True, slots=True)
class Pad:
    """Add zeros at the bottom and at the right up to `height` rows and `width` columns."""

    height: int
    width: int
    from_height: int
    from_width: int


@dataclass(frozen=True, slots=True)
class Resize:
    """Resample a grid of `from_height` x `from_width` to `height` x `width`."""

    height: int
    width: int
    from_height: int
    from_width: int


Step = Crop | Flip | Pad | Resize

_STEPS: dict[str, type[Step]] = {"crop": Crop, "flip": Flip, "pad": Pad, "resize": Resize}
_NAMES = {step: name for name, step in _STEPS.items()}


@dataclass(frozen=True, slots=True)
class Transform:
    """Geometric steps, first to last, from the grid of the source to the grid that is written.

    A step names the grid that it works on, so that all can be undone from the last grid alone.

    Every method raises RecordError (code `bad_transform`) for a grid that the steps do not fit.
    """

    steps: tuple[Step, ...] = ()

    def output_size(self, source_size: Size) -> Size:
        """Return the size of the written grid."""
        return self._sizes(source_size)[-1]

    def apply_image(self, pixels: Pixels) -> Pixels:
        """Return the image on the written grid, of the same dtype; a view where nothing changes.

        Shrinks by area (`cv2.INTER_AREA`), grows linearly; a side that grows while the other
        shrinks is resampled after it.
        """
        self._sizes(_size_of(pixels))
        for step in self.steps:
            pixels = _step_image(step, pixels)
        return pixels

    def apply_patch(self, patch: Patch) -> Patch:
        """Return a lesion on the written grid, resampled by the nearest pixel centre.

        Row i of a resized grid takes the row floor((i + 0.5) * from / to), in integers.
        """
        for step in self.steps:
            patch = _step_patch(step, patch)
        return patch

    def source_size(self, output_size: Size) -> Size:
        """Return the size of the grid of the source; the inverse of `output_size`."""
        size = output_size
        for step in reversed(self.steps):
            before = size if isinstance(step, Flip) else (step.from_height, step.from_width)
            if _step_size(step, before) != size:
                raise _misfit(f"{step} does not lead to a grid of {_written(size)}")
            size = before
        return size

    def restore_mask(self, mask: Pixels) -> Pixels:
        """Return a mask of the written grid on the grid of the source, by nearest pixel centres.

        What the steps cropped away is 0.
        """
        sizes = self._sizes(self.source_size(_size_of(mask)))
        for step, size in zip(reversed(self.steps), reversed(sizes[:-1]), strict=True):
            mask = _undo_step(step, mask, size)
        return mask

    def to_json(self) -> str:
        """Return the steps as compact JSON: a list of objects with sorted keys."""
        steps = [{"op": _NAMES[type(step)], **asdict(step)} for step in self.steps]
        return json.dumps(steps, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Transform:
        """Read what `to_json` wrote."""
        try:
            steps = json.loads(text)
        except ValueError as error:
            raise _misfit(f"the transform {text!r} is not JSON") from error
        if not isinstance(steps, list):
            raise _misfit(f"the transform {text!r} is not a list of steps")
        return cls(tuple(_read_step(step) for step in steps))

    def _sizes(self, source_size: Size) -> list[Size]:
        """Return the sizes before the first step and after each."""
        sizes = [source_size]
        for step in self.steps:
            sizes.append(_step_size(step, sizes[-1]))
        return sizes


# ------------------------------------------------------------------------------------ steps


def _step_size(step: Step, size: Size) -> Size:
    height, width = size
    if isinstance(step, Flip):
        fits, after = step.width == width, size
    else:
        fits, after = (step.from_height, step.from_width) == size, (step.height, step.width)
    if isinstance(step, Crop):
        fits = fits and step.top + step.height <= height and step.left + step.width <= width
    if isinstance(step, Pad):
        fits = fits and step.height >= height and step.width >= width
    if not fits:
        raise _misfit(f"{step} does not fit a grid of {_written(size)}")
    return after


def _step_image(step: Step, pixels: Pixels) -> Pixels:
    match step:
        case Crop():
            rows = slice(step.top, step.top + step.height)
            return pixels[rows, step.left : step.left + step.width]
        case Flip():
            return cv2.flip(pixels, 1)
        case Pad():
            height, width = _size_of(pixels)
            below, beside = step.height - height, step.width - width
            return cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=0.0)
        case Resize():
            return _resample(pixels, (step.height, step.width))


def _resample(pixels: Pixels, size: Size) -> Pixels:
    before = _size_of(pixels)
    smaller = min(before[0], size[0]), min(before[1], size[1])
    if smaller != before:
        pixels = cv2.resize(pixels, smaller[::-1], interpolation=cv2.INTER_AREA)
    if smaller != size:
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    return pixels


def _step_patch(step: Step, patch: Patch) -> Patch:
    if not patch.pixels.size:
        return patch
    match step:
        case Crop():
            top, left = max(step.top - patch.top, 0), max(step.left - patch.left, 0)
            bottom = max(step.top + step.height - patch.top, 0)
            right = max(step.left + step.width - patch.left, 0)
            kept = patch.pixels[top:bottom, left:right]
            return patch_of(kept, patch.top + top - step.top, patch.left + left - step.left)
        case Flip():
            return Patch(patch.top, step.width - patch.right, patch.pixels[:, ::-1])
        case Pad():
            return patch
        case Resize():
            top, rows = _covered(patch.top, patch.bottom, step.from_height, step.height)
            left, columns = _covered(patch.left, patch.right, step.from_width, step.width)
            return patch_of(patch.pixels[np.ix_(rows, columns)], top, left)


def _covered(start: int, stop: int, before: int, after: int) -> tuple[int, NDArray[np.int64]]:
    """Return which lines of a resized side show the lines `start` to `stop` - 1 of its source.

    The first of them, and for each of them the line of the source, counted from `start`.
    """
    first = max(_ceil_division(2 * after * start - before, 2 * before), 0)
    last = min(_ceil_division(2 * after * stop - before, 2 * before), after)
    return first, _nearest(np.arange(first, last), before, after) - start


def _nearest(lines: NDArray[np.int64], before: int, after: int) -> NDArray[np.int64]:
    """Return floor((line + 0.5) * before / after)."""
    return (2 * lines + 1) * before // (2 * after)


def _ceil_division(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _undo_step(step: Step, mask: Pixels, size: Size) -> Pixels:
    """Return the mask on the grid of `size` that it had before the step."""
    height, width = size
    match step:
        case Crop():
            whole = np.zeros(size, mask.dtype)
            whole[step.top : step.top + step.height, step.left : step.left + step.width] = mask
            return whole
        case Flip():
            return mask[:, ::-1]
        case Pad():
            return mask[:height, :width]
        case Resize():
            rows = _nearest(np.arange(height), step.height, height)
            columns = _nearest(np.arange(width), step.width, width)
            return mask[np.ix_(rows, columns)]


# ------------------------------------------------------------------------------------- JSON


def _read_step(entry: object) -> Step:
    kind = _STEPS.get(str(entry.get("op"))) if isinstance(entry, dict) else None
    if kind is None or not isinstance(entry, dict):
        raise _misfit(f"{entry!r} is no step of a transform")
    values = {name: value for name, value in entry.items() if name != "op"}
    if set(values) != {field.name for field in fields(kind)}:
        raise _misfit(f"{entry!r} has not the fields of a {entry['op']}")
    for name, value in values.items():
        least = 0 if name in ("top", "left") else 1
        if type(value) is not int or value < least:
            raise _misfit(f"{entry!r}: {name} is not a whole number from {least} on")
    return kind(**values)


def _size_of(pixels: Pixels) -> Size:
    return int(pixels.shape[0]), int(pixels.shape[1])


def _written(size: Size) -> str:
    return f"{size[0]} rows and {size[1]} columns"


def _misfit(message: str) -> RecordError:
    return RecordError(
        message,
        code="bad_transform",
        hint="use the transform of records.csv with the image that it was written for",
    )
