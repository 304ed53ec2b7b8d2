"""OsiriX region exports (Apple property lists in XML), as INbreast has them.

Two layouts exist: `Images` > `ROIs` with "(x, y)" points, and a single region with `ROIPoints`
of "{x, y}" (no name, no type, and a list of every pixel value, which is skipped).
Points count pixel **corners**: the centre of the top-left pixel is (0.5, 0.5). Known from the
open-source fork Horos, whose conversion to DICOM coordinates subtracts half a pixel to reach
centres, and from muscle lines that end at x = 2560.2 in an image of 2560 columns.
"""

from __future__ import annotations

import math
import plistlib
import re
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError

from bcseg.errors import RecordError
from bcseg.limits import CONTOUR_BYTES, DEFAULT, Limits
from bcseg.record import Point

PENCIL, OPEN_LINE, POINT = 15, 10, 19  # OsiriX tools; 9 is an oval, 11 a closed polygon

_NUMBER = r"\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*"
_POINT = re.compile(rf"[({{]{_NUMBER},{_NUMBER}[)}}]")
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Region:
    """One region as the file has it. Points are (x, y) in the file's own corner convention."""

    index: int
    name: str
    type: int | None
    points: tuple[Point, ...]
    area_cm2: float = 0.0
    mean: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    total: float | None = None  # sum of the grey values
    damage: str = ""  # why the region cannot be used; it then has no points


def read_regions(data: bytes, name: str, limits: Limits = DEFAULT) -> list[Region]:
    """Return the regions of an export, in file order.

    A damaged region says so in `damage`; a file that is no export raises RecordError.
    """
    document = _parse(data, name)
    if "ROIPoints" in document:
        entries = [document | {"Point_px": document["ROIPoints"]}]
    else:
        entries = _entries(document, name)
    regions = []
    for index, entry in enumerate(entries):
        try:
            regions.append(_region(index, entry, f"{name}#{index}", limits))
        except RecordError as error:
            label = _name(entry) if isinstance(entry, dict) else ""
            regions.append(Region(index, label, None, (), damage=str(error.args[0])))
    return regions


def _parse(data: bytes, name: str) -> dict[str, Any]:
    if not data.strip():
        raise RecordError("the contour file is empty", code="unreadable_contour", where=name)
    if len(data) > CONTOUR_BYTES:
        raise RecordError(
            f"{len(data):,} bytes are too many for a contour file", code="too_large", where=name
        )
    if _ENTITY.search(data):
        raise RecordError("entity declarations are not read", code="unreadable_contour", where=name)
    try:
        document = plistlib.loads(data, fmt=plistlib.FMT_XML)
    # what plistlib lets through on damaged files was found by feeding it some
    except (ValueError, ExpatError, KeyError, TypeError, AttributeError, IndexError, LookupError,
            OverflowError, RecursionError) as error:  # fmt: skip
        raise RecordError(
            f"not a readable OsiriX export ({error or type(error).__name__})",
            code="unreadable_contour",
            where=name,
        ) from error
    if not isinstance(document, dict):
        raise RecordError("not an OsiriX export", code="unreadable_contour", where=name)
    return document


def _entries(document: dict[str, Any], name: str) -> list[Any]:
    images = document.get("Images")
    if not isinstance(images, list):
        raise RecordError(
            "not an OsiriX export: it has neither `Images` nor `ROIPoints`",
            code="unreadable_contour",
            where=name,
        )
    entries: list[Any] = []
    for image in images:
        rois = image.get("ROIs") if isinstance(image, dict) else None
        if not isinstance(rois, list):
            raise RecordError("an image has no list `ROIs`", code="unreadable_contour", where=name)
        declared = image.get("NumberOfROIs")
        if isinstance(declared, int) and declared != len(rois):
            raise RecordError(
                f"it announces {declared} regions and holds {len(rois)}: damaged or cut off",
                code="unreadable_contour",
                where=name,
            )
        entries.extend(rois)
    return entries


def _region(index: int, entry: Any, where: str, limits: Limits) -> Region:
    if not isinstance(entry, dict) or not isinstance(entry.get("Point_px"), list):
        raise RecordError("the region has no points", code="unreadable_contour", where=where)
    texts = entry["Point_px"]
    declared = entry.get("NumberOfPoints")
    if not texts or (isinstance(declared, int) and declared != len(texts)):
        raise RecordError(
            f"the region announces {declared} points and holds {len(texts)}",
            code="unreadable_contour",
            where=where,
        )
    if len(texts) > limits.points:
        raise RecordError("the region has too many points", code="too_large", where=where)
    kind = entry.get("Type")
    return Region(
        index=index,
        name=_name(entry),
        type=kind if isinstance(kind, int) else None,
        points=tuple(_point(text, where) for text in texts),
        area_cm2=_number(entry.get("Area")) or 0.0,
        mean=_number(entry.get("Mean")),
        minimum=_number(entry.get("Min")),
        maximum=_number(entry.get("Max")),
        total=_number(entry.get("Total")),
    )


def _name(entry: dict[str, Any]) -> str:
    name = entry.get("Name")
    return name.strip() if isinstance(name, str) else ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _point(text: Any, where: str) -> Point:
    match = _POINT.fullmatch(text.strip()) if isinstance(text, str) else None
    try:
        if match is None:
            raise ValueError
        x, y = float(match[1]), float(match[2])
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError
        return x, y
    except ValueError:
        raise RecordError(
            "a text that is not a point",
            code="unreadable_contour",
            where=where,
        ) from None
