"""Region shapes of the VGG Image Annotator (VIA), as CDD-CESM has them in a CSV cell.

Shapes are polygon, ellipse, circle, polyline, point and rect, in pixels of the image, x to the
right and y down. VIA documents no pixel origin: coordinates are taken as they are.
"""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import Any

from bcseg.errors import RecordError
from bcseg.formats.points import points_of
from bcseg.limits import DEFAULT, Limits
from bcseg.record import Circle, Dots, Ellipse, Points, Polygon, Polyline, Shape


def read_shape(text: str, where: str, limits: Limits = DEFAULT) -> Shape | None:
    """Return the shape of a `region_shape_attributes` cell; None for "{}", which is no region.

    Raises RecordError (code "unreadable_contour") for anything else that is not a shape.
    """
    try:
        cell = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise _bad(f"not readable as JSON ({error})", where) from error
    if not isinstance(cell, dict):
        raise _bad("not a JSON object", where)
    if not cell:
        return None
    name = cell.get("name")
    match name:
        case "polygon":
            points = _points(cell, where, limits)
            closed = len(points) > 1 and points[0] == points[-1]
            return Polygon(points[:-1] if closed else points)
        case "polyline":
            return Polyline(_points(cell, where, limits))
        case "ellipse":
            cx, cy, rx, ry = (_number(cell, key, where) for key in ("cx", "cy", "rx", "ry"))
            theta = _number(cell, "theta", where) if "theta" in cell else 0.0
            return Ellipse(cx, cy, _radius(rx, where), _radius(ry, where), theta)
        case "circle":
            cx, cy, r = (_number(cell, key, where) for key in ("cx", "cy", "r"))
            return Circle(cx, cy, _radius(r, where))
        case "point":
            return Dots(((_number(cell, "cx", where), _number(cell, "cy", where)),))
        case "rect":
            x, y, w, h = (_number(cell, key, where) for key in ("x", "y", "width", "height"))
            return Polygon(((x, y), (x + w, y), (x + w, y + h), (x, y + h)))
        case _:
            raise _bad("unknown shape", where)


def _points(cell: dict[str, Any], where: str, limits: Limits) -> Points:
    xs, ys = cell.get("all_points_x"), cell.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list) or not xs:
        raise _bad("the shape has no points", where)
    if len(xs) != len(ys):
        raise _bad(f"{len(xs)} x and {len(ys)} y coordinates", where)
    if len(xs) > limits.points:
        raise _bad(f"{len(xs):,} points, the limit is {limits.points:,} (--max-points)", where)
    if not {int, float}.issuperset(map(type, chain(xs, ys))):  # true, null, text
        raise _bad("a coordinate is no number", where)
    try:
        return points_of(xs, ys)
    except ValueError:
        raise _bad("a coordinate is no number", where) from None


def _number(cell: dict[str, Any], key: str, where: str) -> float:
    if key not in cell:
        raise _bad(f"the shape has no {key!r}", where)
    return _finite(cell[key], where)


def _finite(value: Any, where: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer of hundreds of digits
        pass
    raise _bad("a coordinate is no number", where)


def _radius(value: float, where: str) -> float:
    if value < 0:
        raise _bad(f"a radius of {value}", where)
    return value


def _bad(what: str, where: str) -> RecordError:
    return RecordError(f"the region cannot be read: {what}", code="unreadable_contour", where=where)
