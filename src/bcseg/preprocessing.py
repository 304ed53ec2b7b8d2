"""What is done to the pixels and the grid of an image before it is written.

All of it is a function of the image and of what its file and archive say about it, never of its
label: a new image without one is treated alike. The geometry goes through one `Transform`.

Order of the preset "clean": grey values (modality LUT, padding, MONOCHROME1), border and loose
parts of scanned film, crop to the breast, flip, resampling to a pixel size, longest side, depth,
CLAHE, padding. "classic" is its six steps, then resampling, longest side, CLAHE, padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.breast import breast_region, film_parts, largest_outline
from bcseg.errors import RecordError, UsageError
from bcseg.morphology import eroded_dilated
from bcseg.raster import Patch
from bcseg.record import Image, Size
from bcseg.transform import Crop, Flip, Pad, Resize, Step, Transform

Pixels = NDArray[Any]
Preset = Literal["clean", "classic", "raw"]
Depth = Literal["auto", "8", "16"]
CropTo = Literal["", "breast"]

_SMALLEST_SIDE = 16
_LARGEST_SIDE = 32_000  # beyond it a size or a pixel spacing is a mistake
_CLASSIC_KERNEL = 23
_CLASSIC_THRESHOLD = 0.1
_WINDOW_SHARES = (0.001, 0.999)
_CLAHE_LIMIT = 2.0
_CLAHE_TILES = (8, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that changes the pixels or the grid of the images written.

    `window`: (low, high) of the displayed values, to 0..255. `size`: the longest side; a smaller
    image is never enlarged, but with `pad` its square is as large all the same. `spacing_mm`:
    pixel size to resample to; `assume_spacing_mm`: the one to take for a record that gives none.
    Raises UsageError for values and combinations that make no sense.
    """

    preset: Preset = "clean"
    depth: Depth = "auto"
    window: tuple[float, float] | None = None
    size: int | None = None
    pad: bool = False
    spacing_mm: float | None = None
    assume_spacing_mm: float | None = None
    flip: bool = False
    crop: CropTo = ""
    clahe: bool = False

    def __post_init__(self) -> None:
        """Check values and combinations."""
        self._check_values()
        for wrong, message, hint in self._combinations():
            if wrong:
                raise UsageError(message, hint=hint)

    def _check_values(self) -> None:
        choices = (("preset", Preset), ("depth", Depth), ("crop", CropTo))
        for name, known in choices:
            if getattr(self, name) not in get_args(known):
                names = ", ".join(repr(choice) for choice in get_args(known) if choice)
                message = f"--{name} {getattr(self, name)!r} is not known"
                raise UsageError(message, hint=f"one of {names}")
        if self.size is not None and not _SMALLEST_SIDE <= self.size <= _LARGEST_SIDE:
            message = f"--size {self.size} is not from {_SMALLEST_SIDE} to {_LARGEST_SIDE}"
            raise UsageError(message, hint="the longest side in pixels, such as 1024")
        for name in ("spacing_mm", "assume_spacing_mm"):
            millimetres = getattr(self, name)
            if millimetres is not None and not _is_spacing(millimetres):
                option = name.removesuffix("_mm").replace("_", "-")
                message = f"--{option} {millimetres} is not a pixel size"
                raise UsageError(message, hint="millimetres from pixel to pixel, such as 0.07")
        if self.window is not None and not -math.inf < self.window[0] < self.window[1] < math.inf:
            message = f"--window {self.window[0]:g},{self.window[1]:g} holds no grey value"
            raise UsageError(message, hint="the lower value first: --window 200,3800")

    def _changed(self) -> bool:
        """Return whether any option that touches pixels, the preset aside, is not its default."""
        others = ("preset", "assume_spacing_mm")
        options = (option for option in fields(self) if option.name not in others)
        return any(getattr(self, option.name) != option.default for option in options)

    def _combinations(self) -> tuple[tuple[bool, str, str], ...]:
        classic = self.preset == "classic"
        return (
            (
                self.preset == "raw" and self._changed(),
                "--preset raw writes pixels and grid of the source bit for bit",
                "--preset clean, which takes every other option",
            ),
            (
                classic and self.depth == "16",
                "--preset classic is always 8 bit",
                "--preset clean for 16 bit",
            ),
            (
                classic and self.window is not None,
                "--preset classic has its own grey scale: --window does nothing in it",
                "--preset clean --depth 8 --window LOW,HIGH",
            ),
            (
                classic and self.crop != "",
                "--preset classic has its own crop: --crop does nothing in it",
                "--preset clean --crop breast",
            ),
            (
                self.window is not None and self.depth != "8",
                "--window maps grey values to 8 bit",
                "--depth 8 with it",
            ),
            (
                self.size is not None and self.spacing_mm is not None,
                "--size and --spacing both set the grid: the pixel size would not hold",
                "one of the two",
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Zeroed:
    """Which pixels of the source were set to zero, in a box whose corner is at (top, left)."""

    top: int
    left: int
    pixels: NDArray[np.bool_]

    def on(self, size: Size) -> NDArray[np.bool_]:
        """Return them on a grid of that size, that of the source."""
        whole = np.zeros(size, np.bool_)
        height, width = self.pixels.shape
        whole[self.top : self.top + height, self.left : self.left + width] = self.pixels
        return whole

    def shared_with(self, patch: Patch) -> int:
        """Return how many pixels of a lesion are among them."""
        height, width = self.pixels.shape
        top, bottom = max(patch.top, self.top), min(patch.bottom, self.top + height)
        left, right = max(patch.left, self.left), min(patch.right, self.left + width)
        if top >= bottom or left >= right:
            return 0
        mine = self.pixels[top - self.top : bottom - self.top, left - self.left : right - self.left]
        others = patch.pixels[
            top - patch.top : bottom - patch.top, left - patch.left : right - patch.left
        ]
        return int(np.count_nonzero(mine & others))


@dataclass(frozen=True, slots=True, eq=False)
class Processed:
    """An image as it is written, and what was done to it.

    `pixels`: uint8 or uint16; may be a view of the pixels of the source. `zeroed`: the pixels of
    the source inside the crop that were set to zero (loose parts of a film; outside the region of
    "classic"), None if none were.
    `bits_stored`: bits that the values may use. `details` (JSON values): `window` [low, high],
    `offset` added to the values, `border` [top, left, bottom, right] and `zeroed` pixels of a
    film, `spacing_mm` [row, column] of the written grid where --spacing was asked.
    """

    pixels: Pixels
    transform: Transform
    zeroed: Zeroed | None
    bits_stored: int
    notes: tuple[str, ...]
    details: dict[str, object]

    def lost_pixels(self, patch: Patch) -> int:
        """Return how many pixels of a lesion on the grid of the source were cropped or zeroed."""
        crop = self.transform.steps[0] if self.transform.steps else None
        kept = Transform((crop,)).apply_patch(patch) if isinstance(crop, Crop) else patch
        lost = patch.area - kept.area
        if self.zeroed is None:
            return lost
        return lost + self.zeroed.shared_with(
            Patch(kept.top + crop.top, kept.left + crop.left, kept.pixels)
            if isinstance(crop, Crop)
            else kept
        )


def preprocess(
    image: Image, options: Options, *, film: bool = False, spacing_mm: float | None = None
) -> Processed:
    """Return the image as the options want it written.

    `film`: scanned film, of which "clean" crops the border of the scan and zeroes labels and tape.
    `spacing_mm`: the pixel size that the archive states, instead of the file's own.
    Raises RecordError: `negative_pixels`, `unknown_spacing`, `unsupported_pixels`, `too_small`,
    `bad_modality_lut`, `implausible_spacing`.
    """
    _check_pixels(image.pixels)
    draft = _Draft(image.pixels, image.bits_stored)
    if options.assume_spacing_mm is not None and options.spacing_mm is None:
        _spacing(draft, image, options, spacing_mm)  # for the note: areas will rest on it
    if options.preset == "raw":
        _raw(draft)
    elif options.preset == "classic":
        _classic(draft)
        _resample(draft, image, options, spacing_mm)
    else:
        _clean(draft, image, options, film)
        _resample(draft, image, options, spacing_mm)
        _to_depth(draft, options)
    if options.clahe:
        _equalise(draft)
    if options.pad:
        height, width = draft.size
        side = max(height, width, options.size or 0)
        draft.move(Pad(side, side, *draft.size))
    transform, notes = Transform(tuple(draft.steps)), tuple(draft.notes)
    return Processed(draft.pixels, transform, draft.zeroed, draft.bits, notes, draft.details)


@dataclass(slots=True, eq=False)
class _Draft:
    """An image on its way, and the account of it."""

    pixels: Pixels
    bits: int
    steps: list[Step] = field(default_factory=list)
    zeroed: Zeroed | None = None
    notes: list[str] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)
    window: tuple[float, float] | None = None

    @property
    def size(self) -> Size:
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def move(self, step: Step) -> None:
        """Apply a step, unless it would change nothing; two crops in a row become one."""
        if not isinstance(step, Flip) and (step.height, step.width) == self.size:
            return
        self.pixels = Transform((step,)).apply_image(self.pixels)
        last = self.steps[-1] if self.steps else None
        if isinstance(step, Crop) and isinstance(last, Crop):
            step = replace(
                last,
                top=last.top + step.top,
                left=last.left + step.left,
                height=step.height,
                width=step.width,
            )
            self.steps.pop()
        self.steps.append(step)


def _check_pixels(pixels: Pixels) -> None:
    if pixels.ndim != 2 or not pixels.size or pixels.dtype not in (np.uint8, np.uint16, np.int16):
        shape = " x ".join(map(str, pixels.shape))
        raise RecordError(
            f"pixels of type {pixels.dtype} and shape {shape} are no grey image",
            code="unsupported_pixels",
            hint="one channel of 8 or 16 bit",
        )


def _is_spacing(millimetres: float) -> bool:
    return math.isfinite(millimetres) and millimetres > 0


# -------------------------------------------------------------------------------------- raw


def _raw(draft: _Draft) -> None:
    """Take signed pixels as unsigned; they must not be negative."""
    if draft.pixels.dtype == np.int16:
        if int(draft.pixels.min()) < 0:
            raise RecordError(
                "the image has negative pixel values, which a PNG cannot hold",
                code="negative_pixels",
                hint="--preset clean, which shifts them",
            )
        draft.pixels = draft.pixels.view(np.uint16)


# ------------------------------------------------------------------------------------ clean


def _clean(draft: _Draft, image: Image, options: Options, film: bool) -> None:
    """Bring in the displayed grey values, tidy a film, find the window, crop and flip."""
    _to_displayed(draft, image)
    source_size = draft.size
    if film:
        _tidy_film(draft, source_size)
    automatic = options.depth == "8" and options.window is None
    draft.window = options.window
    if not (automatic or options.crop or options.flip):
        return
    region = breast_region(draft.pixels)
    if automatic:
        draft.window = _window_of(draft.pixels, region)
    box = _around(region)
    if options.crop and box is not None:
        draft.move(box)
        region = region[box.top : box.top + box.height, box.left : box.left + box.width]
    if options.flip and _lies_right(region, 0, region.shape[1]):
        draft.move(Flip(draft.size[1]))
    if box is None:
        draft.notes.append("no breast found")


def _to_displayed(draft: _Draft, image: Image) -> None:
    """Apply the modality LUT, set padding values to zero, invert MONOCHROME1.

    DICOM PS3.3 C.11.1 (modality LUT), C.7.5.1.1.2 (padding, meant before it) and C.7.6.3.1.2.
    """
    stored = _stored_values(image.pixels)
    levels, lowest, highest = _modality(image, stored)
    padded = np.zeros(stored.shape, np.bool_)
    if image.padding is not None:
        padded = (stored >= min(image.padding)) & (stored <= max(image.padding))
    if lowest < 0 and levels[_present(image.pixels) & ~padded].min(initial=0) < 0:
        levels, highest = levels - lowest, highest - lowest
        draft.details["offset"] = -lowest
        draft.notes.append(f"{-lowest} added so that no value is negative")
    highest = min(max(highest, 1), 65_535)
    levels = np.clip(levels, 0, 65_535)
    if image.monochrome1:
        levels = np.maximum(highest - levels, 0)
        draft.notes.append("MONOCHROME1 inverted")
    if image.padding is not None and levels[padded].any():
        levels[padded] = 0
        draft.notes.append(f"padding values {image.padding[0]} to {image.padding[1]} set to 0")
    if not _is_identity(image):
        draft.bits = highest.bit_length()
        draft.notes.append("modality LUT applied")
    if image.pixels.dtype == np.int16 or not np.array_equal(levels, stored):
        narrow = image.pixels.dtype == np.uint8 and int(levels.max()) <= 255
        draft.pixels = _look_up(image.pixels, levels.astype(np.uint8 if narrow else np.uint16))


def _is_identity(image: Image) -> bool:
    return image.lut is None and image.slope == 1.0 and image.intercept == 0.0


def _stored_values(pixels: Pixels) -> NDArray[np.int64]:
    """Return the stored value of each index of a look-up table (int16: two's complement)."""
    values = np.arange(256 if pixels.dtype == np.uint8 else 65_536)
    if pixels.dtype == np.int16:
        values[32_768:] -= 65_536
    return values


def _modality(image: Image, stored: NDArray[np.int64]) -> tuple[NDArray[np.int64], int, int]:
    """Return the level of each stored value, and the lowest and highest that the header allows."""
    if image.lut is not None:
        first, values = image.lut
        if not len(values):
            raise RecordError(
                "the modality LUT is empty",
                code="bad_modality_lut",
                hint="--preset raw, which does not apply it",
            )
        levels = values.astype(np.int64)[np.clip(stored - first, 0, len(values) - 1)]
        return levels, int(values.min()), int(values.max())
    if not math.isfinite(image.slope) or not math.isfinite(image.intercept) or not image.slope:
        raise RecordError(
            f"rescale slope {image.slope} and intercept {image.intercept} give no grey values",
            code="bad_modality_lut",
            hint="--preset raw, which does not apply them",
        )
    container = 8 if image.pixels.dtype == np.uint8 else 16
    bits = min(max(image.bits_stored, 1), container)
    span = (0, 2**bits - 1)
    if image.pixels.dtype == np.int16:
        span = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if _is_identity(image):
        return stored, *span
    ends = np.rint(np.array(span) * image.slope + image.intercept).clip(-(2.0**40), 2.0**40)
    levels = np.rint(stored * image.slope + image.intercept).clip(-(2.0**40), 2.0**40)
    return levels.astype(np.int64), int(ends.min()), int(ends.max())


def _present(pixels: Pixels) -> NDArray[np.bool_]:
    """Return which indices of a look-up table the pixels use."""
    return _histogram(pixels.view(np.uint16) if pixels.dtype == np.int16 else pixels) > 0


def _histogram(pixels: Pixels, region: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    levels = 256 if pixels.dtype == np.uint8 else 65_536
    mask = None if region is None else region.view(np.uint8)
    counts = cv2.calcHist([pixels], [0], mask, [levels], [0, levels])
    return counts.ravel().astype(np.float32, copy=False)


def _look_up(pixels: Pixels, table: Pixels) -> Pixels:
    """Return table[pixels]; int16 pixels index it by their bit pattern."""
    if pixels.dtype == np.int16:
        pixels = pixels.view(np.uint16)
    if pixels.dtype == np.uint8 or _opencv_takes_wide_tables():
        return cv2.LUT(pixels, table)
    return table[pixels]


@cache
def _opencv_takes_wide_tables() -> bool:
    """Return whether this OpenCV looks 16-bit values up (it does from 4.14 on)."""
    try:
        cv2.LUT(np.zeros((1, 1), np.uint16), np.zeros(65_536, np.uint8))
    except cv2.error:
        return False
    return True


def _tidy_film(draft: _Draft, source_size: Size) -> None:
    """Crop the border of the scan and zero what is bright and not connected to the breast."""
    (top, left, height, width), loose = film_parts(draft.pixels)
    bottom, right = source_size[0] - top - height, source_size[1] - left - width
    if top or left or bottom or right:
        draft.move(Crop(top, left, height, width, *source_size))
        draft.details["border"] = [top, left, bottom, right]
        draft.notes.append(
            f"film border cropped: top {top}, left {left}, bottom {bottom}, right {right}"
        )
    if loose is None:
        return
    first, start, marked = loose
    tidy = draft.pixels.copy()
    part = tidy[first : first + marked.shape[0], start : start + marked.shape[1]]
    zeroed = np.logical_and(marked, part)
    np.copyto(part, 0, where=marked)
    draft.pixels = tidy
    draft.zeroed = Zeroed(top + first, left + start, zeroed)
    count = int(np.count_nonzero(zeroed))
    draft.details["zeroed"] = count
    draft.notes.append(f"bright parts apart from the breast zeroed: {count} pixels")


def _around(region: NDArray[np.bool_]) -> Crop | None:
    """Return the bounding box of the region with 1/50 of the longest side around it."""
    left, top, width, height = cv2.boundingRect(region.view(np.uint8))
    if not width:
        return None
    margin = max(region.shape) // 50
    start, stop = max(top - margin, 0), min(top + height + margin, region.shape[0])
    first, last = max(left - margin, 0), min(left + width + margin, region.shape[1])
    return Crop(start, first, stop - start, last - first, *region.shape)


def _lies_right(region: NDArray[np.bool_], start: int, width: int) -> bool:
    """Return whether the breast lies at the right: fewer pixels left of the middle.

    `region`: columns from `start` on of an image of `width` columns. Columns 0 to w//2 - 1 against
    w//2 to w - 2: the last column is not counted.
    """
    marked = region.view(np.uint8)
    middle = max(width // 2 - start, 0)
    return _count(marked[:, :middle]) < _count(marked[:, middle : max(width - 1 - start, 0)])


def _count(marked: NDArray[np.uint8]) -> int:
    return cv2.countNonZero(marked) if marked.size else 0


def _window_of(pixels: Pixels, region: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the 0.1 and 99.9 percentile of the region, or of an image without one.

    The p-quantile of n values is the ceil(p n)-th smallest.
    """
    counts = _histogram(pixels, region if region.any() else None).astype(np.float64)
    cumulated = np.cumsum(counts)
    places = [math.ceil(share * cumulated[-1]) for share in _WINDOW_SHARES]
    low, high = (int(np.searchsorted(cumulated, max(place, 1))) for place in places)
    return float(low), float(max(high, low + 1))


def _to_depth(draft: _Draft, options: Options) -> None:
    """Bring the pixels to the depth wanted: through the window to 8 bit, else unchanged."""
    if draft.window is not None:
        low, high = draft.window
        levels = (_stored_values(draft.pixels) - low) / (high - low) * 255.0
        draft.pixels = _look_up(draft.pixels, np.rint(levels.clip(0.0, 255.0)).astype(np.uint8))
        draft.bits = 8
        draft.details["window"] = [low, high]
        draft.notes.append(f"grey values {low:g} to {high:g} to 0 to 255")
    elif options.depth == "16":
        draft.pixels = draft.pixels.astype(np.uint16, copy=False)
    elif draft.bits <= 8 and draft.pixels.dtype == np.uint16 and int(draft.pixels.max()) <= 255:
        draft.pixels = draft.pixels.astype(np.uint8)


# ---------------------------------------------------------------------------------- classic


def _classic(draft: _Draft) -> None:
    """Do the six steps of the collection that bcseg descends from, on the stored values.

    The float64 scalings are monotone functions of the grey level: they are done once for each
    level, and the threshold becomes the first level that reaches 0.1.
    """
    source_size = draft.size
    height, width = source_size
    rows = slice(int(0.04 * height), int(height * (1 - 0.04)))
    columns = slice(int(0.01 * width), int(width * (1 - 0.01)))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise RecordError(
            f"nothing is left of {height} rows and {width} columns after the classic crop",
            code="too_small",
            hint="--preset clean, which crops nothing",
        )
    kept = rows.stop - rows.start, columns.stop - columns.start
    draft.move(Crop(rows.start, columns.start, *kept, *source_size))
    region, box, table = _classic_region(draft.pixels)
    outside = np.ones(draft.size, np.bool_)
    outside[box] = region == 0
    draft.zeroed = Zeroed(rows.start, columns.start, outside)
    _classic_square(draft, region, box, table)


Boxed = tuple[slice, slice]
_NOWHERE = np.zeros((0, 0), np.uint8), (slice(0, 0), slice(0, 0)), np.zeros(0, np.uint8)


def _classic_region(pixels: Pixels) -> tuple[NDArray[np.uint8], Boxed, NDArray[np.uint8]]:
    """Return the breast region (0 and 255) in its box, that box, and the table of grey values."""
    low, high, _, _ = cv2.minMaxLoc(pixels)
    lowest, highest = int(low), int(high)
    if lowest == highest:
        return _NOWHERE
    shares = np.arange(highest - lowest + 1) / np.float64(highest - lowest)
    first = lowest + int(np.argmax(shares >= _CLASSIC_THRESHOLD))
    reached = np.greater_equal(pixels, pixels.dtype.type(first))
    # opening adds nothing, and the dilation after it half a kernel: the rest stays zero, left out
    around = _grown_box(reached.view(np.uint8), _CLASSIC_KERNEL // 2)
    # to open and then to dilate is to erode once and to dilate twice
    widened = eroded_dilated(reached[around], _CLASSIC_KERNEL // 2, 2 * (_CLASSIC_KERNEL // 2))
    outline = largest_outline(widened)
    if outline is None:
        return _NOWHERE
    left, top, width, height = cv2.boundingRect(outline)
    region = np.zeros((height, width), np.uint8)
    cv2.drawContours(region, [outline], -1, 255, cv2.FILLED, offset=(-left, -top))
    top, left = top + around[0].start, left + around[1].start
    box = slice(top, top + height), slice(left, left + width)
    _, brightest, _, _ = cv2.minMaxLoc(pixels[box], mask=region)
    grey = np.rint(shares / shares[int(brightest) - lowest] * 255.0).clip(0.0, 255.0)
    table = np.zeros(256 if pixels.dtype == np.uint8 else 65_536, np.uint8)
    table[np.arange(lowest, highest + 1) % table.size] = grey.astype(np.uint8)
    return region, box, table


def _grown_box(marked: NDArray[np.uint8], margin: int) -> Boxed:
    """Return the bounding box of the pixels that are not zero and a margin, within the image."""
    left, top, width, height = cv2.boundingRect(marked)
    rows = slice(max(top - margin, 0), min(top + height + margin, marked.shape[0]))
    return rows, slice(max(left - margin, 0), min(left + width + margin, marked.shape[1]))


def _classic_square(
    draft: _Draft, region: NDArray[np.uint8], box: Boxed, table: NDArray[np.uint8]
) -> None:
    """Scale to 0..255, zero outside the region, flip and pad: at once, where the region is."""
    height, width = draft.size
    rows, columns = box
    whole = np.zeros((max(height, width),) * 2, np.uint8)
    flip = _lies_right(region.view(np.bool_), columns.start, width)
    if region.size:
        breast = cv2.bitwise_and(_look_up(draft.pixels[box], table), region)
        if flip:
            breast = cv2.flip(breast, 1)
            columns = slice(width - columns.stop, width - columns.start)
        whole[rows, columns] = breast
    if flip:
        draft.steps.append(Flip(width))
    if height != width:
        draft.steps.append(Pad(*whole.shape, height, width))
    draft.pixels, draft.bits = whole, 8


# ----------------------------------------------------------------------- grid, CLAHE


def _resample(draft: _Draft, image: Image, options: Options, spacing_mm: float | None) -> None:
    """Resample to one pixel size, or shrink to a longest side."""
    height, width = draft.size
    if options.spacing_mm is not None:
        rows, columns = _spacing(draft, image, options, spacing_mm)
        after = (
            _resampled_side(height, rows, options.spacing_mm),
            _resampled_side(width, columns, options.spacing_mm),
        )
        draft.move(Resize(*after, height, width))
        draft.details["spacing_mm"] = [rows * height / after[0], columns * width / after[1]]
    elif options.size is not None and max(height, width) > options.size:
        longest = max(height, width)
        after_size = [max(_rounded(side * options.size, longest), 1) for side in (height, width)]
        draft.move(Resize(after_size[0], after_size[1], height, width))


def _spacing(
    draft: _Draft, image: Image, options: Options, spacing_mm: float | None
) -> tuple[float, float]:
    """Return the (row, column) pixel size: of the archive, of the file, or the one assumed."""
    if spacing_mm is not None and _is_spacing(spacing_mm):
        return spacing_mm, spacing_mm
    if image.spacing_mm is not None and all(map(_is_spacing, image.spacing_mm)):
        return image.spacing_mm
    if options.assume_spacing_mm is None:
        raise RecordError(
            "neither the file nor the archive says how large a pixel is",
            code="unknown_spacing",
            hint="--assume-spacing MM",
        )
    draft.notes.append(f"pixel size of {options.assume_spacing_mm:g} mm assumed")
    return options.assume_spacing_mm, options.assume_spacing_mm


def _resampled_side(side: int, before: float, after: float) -> int:
    length = side * before / after
    if not length < _LARGEST_SIDE:
        raise RecordError(
            f"{side} pixels of {before:g} mm are too many at {after:g} mm",
            code="implausible_spacing",
            hint="a larger --spacing",
        )
    return max(math.floor(length + 0.5), 1)


def _rounded(dividend: int, divisor: int) -> int:
    """Return the quotient rounded half up."""
    return (2 * dividend + divisor) // (2 * divisor)


def _equalise(draft: _Draft) -> None:
    """Equalise contrast locally: CLAHE, 8 x 8 tiles, slope at most twice that of the identity.

    16-bit values are first stretched to the full 16 bits, and the limit is raised by as much, so
    that it means the same for 12, 14 and 16 bits; the result uses all 16.
    """
    limit = _CLAHE_LIMIT
    if draft.pixels.dtype == np.uint16:
        unused = 16 - max(draft.bits, int(draft.pixels.max()).bit_length())
        draft.pixels = np.left_shift(draft.pixels, unused)
        limit, draft.bits = limit * 2**unused, 16
    draft.pixels = cv2.createCLAHE(limit, _CLAHE_TILES).apply(draft.pixels)
    draft.notes.append("CLAHE")
