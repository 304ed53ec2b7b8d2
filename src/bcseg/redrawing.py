"""Lesions on the raw grid, drawn once more from what lesions.jsonl.gz holds of their source.

A line holds the source's own geometry, or the pixels that its mask file marked on the raw grid.
So the pixels are those that were drawn when the pair was made, whatever was cropped, turned or
resampled after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bcseg import raster
from bcseg.errors import RecordError
from bcseg.raster import Patch
from bcseg.record import (
    Circle,
    CornerLine,
    Dots,
    Ellipse,
    Point,
    Polygon,
    Polyline,
    Size,
    Spline,
    VectorShape,
)

Line = Mapping[str, Any]


def raw_size(line: Line) -> Size:
    """Return rows and columns of the raw grid."""
    return _size(line["raw_size"])


def raw_patch(line: Line, radius: float) -> Patch:
    """Return the pixels of a line on the raw grid; `radius`: of points, as the pair was made."""
    if "raster" in line:
        return patch_of_runs(line["raster"])
    shape = _shape(line["shape"], line["geometry"])
    return raster.draw(shape, raw_size(line), point_radius=radius).patch


def annotation_sha256(lines: Sequence[Line], radius: float) -> str:
    """Return annotation_sha256 of the union of some lines of one record."""
    size = raw_size(lines[0])
    return raster.union_sha256([raw_patch(line, radius) for line in lines], size)


def patch_of_runs(values: Mapping[str, Any]) -> Patch:
    """Return the patch of run lengths with their size."""
    return raster.patch_from_rle([int(count) for count in values["counts"]], _size(values["size"]))


def written_patch(line: Line, size: Size | None = None) -> Patch:
    """Return the pixels of a line on the written grid; `size`: of the grid, where it is known.

    Raises RecordError (`bad_rle`) for a damaged line and for one of another size.
    """
    try:
        given = written_size(line)
        counts = [int(count) for count in line["rle"]["counts"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RecordError("the contour is damaged", code="bad_rle") from error
    if size not in (None, given):
        raise RecordError("the contour is of another image size", code="bad_rle")
    return raster.patch_from_rle(counts, given)


def written_size(line: Line) -> Size:
    """Return rows and columns of the written grid, as a line has them."""
    rows, columns = line["rle"]["size"]
    return int(rows), int(columns)


def _shape(values: Mapping[str, Any], geometry: str) -> VectorShape:
    """Return the shape whose fields a line holds; the geometry tells what it was drawn as."""
    if "rx" in values:
        return Ellipse(**values)
    if "r" in values:
        return Circle(**values)
    points = tuple(_point(*point) for point in values["points"])
    if "side" in values:
        return CornerLine(points, values["side"])
    if "closed" in values:
        return Polygon(points, values["closed"])
    if "stored_area_cm2" in values:  # its polygon where that fits the stored area better
        return Spline(points) if geometry == "spline" else Polygon(points)
    return Dots(points) if geometry == "points" else Polyline(points)


def _point(x: float, y: float) -> Point:
    return float(x), float(y)


def _size(values: Sequence[Any]) -> Size:
    height, width = (int(side) for side in values)
    return height, width
