"""What an adapter hands over: one record for each image, no pixel decoded yet.

A *point* is (x, y) in pixels of the stored image: x to the right, y down, and (0, 0) is the
**centre** of the top-left pixel. An *array* is indexed [row, column], a *size* is (rows, columns).
Nothing in bcseg uses any other convention: a format that does is converted where it is read.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from bcseg.errors import RecordError

Point = tuple[float, float]
Size = tuple[int, int]
Laterality = Literal["L", "R", ""]

LESION_KINDS = (
    "mass",
    "calcification",
    "cluster",
    "asymmetry",
    "distortion",
    "spiculated_region",
    "adenopathy",
    "cancer",
    "finding",
)
OTHER_KINDS = (
    "pectoral_muscle",
    "mammary_gland",
    "lymph_node",
    "skin",
    "nipple",
    "thick_vessel",
    "non_mammary_tissue",
    "foreign_object",
    "text",
    "unclassified",
)
KINDS = LESION_KINDS + OTHER_KINDS

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")


# ---------------------------------------------------------------------------------- shapes


class Points(Sequence[Point]):
    """A tuple of points in a sixth of its memory: an index may hold a million of them."""

    __slots__ = ("_coordinates",)

    def __init__(self, coordinates: array[float]) -> None:
        """Take x, y, x, y, ... as C doubles."""
        self._coordinates = coordinates

    def __len__(self) -> int:
        return len(self._coordinates) // 2

    @overload
    def __getitem__(self, place: int) -> Point: ...
    @overload
    def __getitem__(self, place: slice) -> Points: ...
    def __getitem__(self, place: int | slice) -> Point | Points:
        if isinstance(place, slice):
            return Points(array("d", chain.from_iterable(tuple(self)[place])))
        first = 2 * range(len(self))[place]
        return self._coordinates[first], self._coordinates[first + 1]

    def __iter__(self) -> Iterator[Point]:
        each = iter(self._coordinates)
        return zip(each, each, strict=True)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._coordinates, dtype).reshape(-1, 2)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Points | tuple):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


@dataclass(frozen=True, slots=True)
class Polygon:
    """An outline; the last point joins the first. `closed`: the source says that it is closed."""

    points: Sequence[Point]
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Spline:
    """Control points of a closed periodic cubic spline (OsiriX pencil).

    `stored_area_cm2`: the area that the source itself measured, in cm2 (0 if unknown): where the
    straight polygon fits it better, the polygon is meant.
    """

    points: Sequence[Point]
    stored_area_cm2: float = 0.0


@dataclass(frozen=True, slots=True)
class CornerLine:
    """An open line from the top border to the side border, closed through the top corner there.

    `side`: the image border on which the corner lies, "L" = column 0, "R" = the last column.
    """

    points: Sequence[Point]
    side: Literal["L", "R"]


@dataclass(frozen=True, slots=True)
class Polyline:
    """An open line; of three or more points it is closed by a straight segment and filled."""

    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse; `theta` in radians turns the rx axis from x towards y."""

    cx: float
    cy: float
    rx: float
    ry: float
    theta: float = 0.0


@dataclass(frozen=True, slots=True)
class Circle:
    """A disc."""

    cx: float
    cy: float
    r: float


@dataclass(frozen=True, slots=True)
class Dots:
    """Single points, each marking its pixel."""

    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Raster:
    """Mask files of the source; a pixel belongs if at least `votes` of them mark it.

    `above`: a file marks a pixel whose value is above "zero", or above "half" of its maximum.
    `blank_ok`: a file without a marked pixel says "there is none"; otherwise it is an error.
    """

    files: tuple[str, ...]
    above: Literal["zero", "half"] = "zero"
    votes: int = 1
    blank_ok: bool = False


@dataclass(frozen=True, slots=True)
class RasterAmong:
    """One of `files` is the mask, the others are crops of the image: the content decides."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An annotation that the source announces and that cannot be read.

    `any_kind`: its kind cannot be read either, so that it may be of the kinds that were chosen.
    """

    code: str
    message: str
    any_kind: bool = False


VectorShape = Polygon | Spline | CornerLine | Polyline | Ellipse | Circle | Dots
Shape = VectorShape | Raster | RasterAmong | Unreadable


# ---------------------------------------------------------------------------------- records


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One annotated region of one image, in the words of the archive and in bcseg's.

    `lesion_id` is the archive's own and independent of options. `source` is the file that holds
    the annotation. Empty string = unknown, everywhere.
    """

    lesion_id: str
    kind: str
    label: str
    shape: Shape
    source: str
    annotator: str = ""
    pathology: str = ""
    birads: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"lesion kind {self.kind!r} is not one of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image of one dataset, with what its source says about it.

    `lesions`: those that the tables of the archive already hold. `annotations`: files that the
    adapter's `lesions()` opens later, in a worker. `rows`: the table rows about this image
    ("INbreast.csv#12"). `others`: files of the source that belong to the record and are not used,
    with the reason ("cropped_image"). `left_out`: the adapter's own reason to leave the record
    out. `expected_size`: (rows, columns) that the archive's tables give, on which its coordinates
    rest. `free_of`: kinds that the archive itself says are absent ("*" for all lesions);
    `suspicious`: for a kind ("*" for all), why an image without such a lesion is not to be
    believed empty.
    """

    record_id: str
    image: str  # name in the source; empty: the annotation of an image that is not there
    patient_id: str = ""
    group: str = ""
    laterality: Laterality = ""
    view: str = ""
    split: str = ""
    age: str = ""
    birads: str = ""
    density: str = ""
    pathology: str = ""
    annotator: str = ""
    film: bool = False
    pixel_spacing_mm: float | None = None
    expected_size: Size | None = None
    lesions: tuple[Lesion, ...] = ()
    annotations: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    left_out: str = ""
    free_of: tuple[str, ...] = ()
    suspicious: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()  # (code, message)

    def __post_init__(self) -> None:
        if not _SAFE_NAME.fullmatch(self.record_id):
            raise RecordError(
                f"record id {self.record_id!r} cannot be a file name", code="unsafe_name"
            )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Items of the source that belong to no record, and why they were left out.

    `items`: names in the source, "table.csv#12" for the row 12 of a table. `what`: the sort of
    item where its name does not tell ("contour" for a row that is one).
    """

    code: str
    message: str
    items: tuple[str, ...]
    record_id: str = ""
    what: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Items of the source that could not be used, with the message the user will read."""

    code: str
    message: str
    items: tuple[str, ...]
    record_id: str = ""
    what: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a user should know and that stops nothing."""

    code: str
    message: str
    source: str = ""
    record_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """All that an adapter found in a source.

    `tables`: every table read and its number of rows: each row must be claimed by exactly one
    record, left-out or failed item. `documents`: files that describe the archive and hold no item
    (read me, PDF, the tables themselves). A file that nobody claims is left out as `unknown_file`.
    `layout`: which of the dataset's known layouts the source has.
    """

    records: tuple[Record, ...]
    tables: Mapping[str, int] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    failed: tuple[Failed, ...] = ()
    warnings: tuple[Warned, ...] = ()
    notes: tuple[str, ...] = ()
    layout: str = ""


# ---------------------------------------------------------------------------------- images


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Decoded pixels as they are stored, and what the file says about them.

    `pixels`: (rows, columns), uint8, uint16 or int16. `bits_stored`: bits that the file says are
    used. `spacing_mm`: (row, column) distance of pixel centres. `slope`, `intercept`, `lut`:
    the DICOM modality LUT (`lut` = first stored value mapped, values). `padding`: inclusive range
    of stored values that are no image (DICOM PS3.3 C.7.5.1.1.2).
    """

    pixels: NDArray[Any]
    bits_stored: int
    spacing_mm: tuple[float, float] | None = None
    monochrome1: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    lut: tuple[int, NDArray[np.uint16]] | None = None
    padding: tuple[int, int] | None = None
    sop_instance_uid: str = ""

    @property
    def size(self) -> Size:
        """(rows, columns)."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])
