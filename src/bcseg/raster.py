"""Which pixels of an image belong to a lesion, decided exactly.

A pixel belongs to a contour if the winding number of the contour round the pixel's centre is not
zero. A centre exactly on an edge follows the half-open rule (left and top edges in, right and
bottom edges out), so that areas are unbiased and neighbours share no pixel. For row i that means:
an edge counts if ymin <= i < ymax, and it counts for column j if it crosses the row at x <= j. So
an edge is, in each row, one whole number (the first column that it counts for) and a direction.
These numbers are exact for all finite float64 vertices: crossings are computed in float64, and
those too close to a whole number to be sure are computed again in integers.

A *run* is a (row, start, stop) of consecutive pixels; runs are held as arrays (3, n), sorted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcseg.errors import RecordError
from bcseg.limits import Limits
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
from bcseg.spline import closed_spline, without_repeats

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_MARGIN = 1024  # pixels round the image in which what falls outside is still counted
_MOST_CROSSINGS = 1 << 22  # of the outlines of one image with its rows; a real one has thousands
_BATCH = 2**20  # crossings of edges with rows held in memory at a time
_GRID = 2**10  # coordinates that are multiples of 1/_GRID are handled in int64 throughout
_GRID_REACH = 2**29  # and their products stay below 2**61 while _GRID times them is below this


# ---------------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The pixels of one lesion in their bounding box, whose corner is at (top, left).

    The box is tight; an empty lesion has pixels of shape (0, 0).
    """

    top: int
    left: int
    pixels: NDArray[np.bool_]

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.top + int(self.pixels.shape[0])

    @property
    def right(self) -> int:
        """The column after the last."""
        return self.left + int(self.pixels.shape[1])

    @property
    def area(self) -> int:
        """Number of pixels that belong to the lesion."""
        return int(np.count_nonzero(self.pixels))


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A shape as pixels of an image, and what happened on the way.

    `outside`: pixels of the shape outside the image, counted up to 1024 pixels from its border;
    at least 1 if the shape reaches further. `geometry`: polygon, spline, ellipse, circle, box,
    points, polyline. `n_points`: points as the source lists them, 0 for ellipse and circle.
    `self_intersecting`: of a spline, whether the polygon of its control points crosses itself.
    `area_deviation`: (drawn area - area stored in the source) / stored area, splines only.
    """

    patch: Patch
    outside: int
    geometry: str
    n_points: int
    closed: bool
    self_intersecting: bool
    area_deviation: float | None


class _Frame(NamedTuple):
    """The part of the pixel grid that is looked at; `bottom` and `right` are excluded."""

    top: int
    bottom: int
    left: int
    right: int


class _Edges(NamedTuple):
    """Edges that cross rows, from their end of small y (x0, y0) to the other; `turn` is +-1."""

    x0: Floats
    y0: Floats
    x1: Floats
    y1: Floats
    turn: Integers


class _Outline(NamedTuple):
    """The closed contour that is filled, and what is to be said about it."""

    contour: Floats
    geometry: str
    closed: bool
    self_intersecting: bool
    area_deviation: float | None = None


# ---------------------------------------------------------------------------------- shapes


def draw(
    shape: VectorShape,
    size: Size,
    *,
    spacing_mm: tuple[float, float] | None = None,
    point_radius: float = 0.0,
) -> Drawing:
    """Draw one shape on the grid of an image.

    `spacing_mm` is (row, column). A contour that holds no pixel centre marks the pixel nearest to
    its centroid. Dots and contours of one or two points mark the pixel floor(x + 0.5),
    floor(y + 0.5) of each, and with `point_radius` all centres so near to the point (in pixels).
    Coordinates that are not finite, and contours without a point, raise RecordError `bad_points`.
    """
    if isinstance(shape, Ellipse):
        return _draw_ellipse(shape, "ellipse", size)
    if isinstance(shape, Circle):
        return _draw_ellipse(Ellipse(shape.cx, shape.cy, shape.r, shape.r), "circle", size)
    points = _finite(shape.points)
    distinct = len(set(shape.points))
    if isinstance(shape, Dots) or distinct == 1:
        return _draw_points(points, size, point_radius)
    if isinstance(shape, CornerLine):
        crosses = _crosses_itself(points, ring=False)
        contour = _through_corner(points, shape.side, size)
        outline = _Outline(contour, "polyline", False, crosses)
    elif distinct == 2:
        return _draw_points(points, size, point_radius)
    else:
        outline = _outline(shape, points, spacing_mm)
    patch, outside = _fill(outline.contour, size)
    return Drawing(patch, outside, outline.geometry, len(points), *outline[2:])


def refuse_too_much(shapes: Iterable[object], size: Size, limits: Limits) -> None:
    """Raise RecordError (code "too_large") for outlines that no reader draws on one image.

    Counted over all shapes: points, rows that their edges cross, pixels of their bounding boxes.
    A scribble of a few kilobytes can cross every row of the image thousands of times.
    """
    points = crossings = 0
    area = 0.0
    for shape in shapes:
        if isinstance(shape, Ellipse | Circle):
            area += size[0] * size[1]
        elif isinstance(shape, Polygon | Spline | CornerLine | Polyline | Dots):
            points += len(shape.points)
            if points <= limits.points:
                crossed, covered = _work_of(shape.points, size)
                crossings, area = crossings + crossed, area + covered
    for number, most, what in (
        (points, limits.points, "points"),
        (crossings, _MOST_CROSSINGS, "rows crossed"),
        (area, 2 * limits.pixels, "pixels covered"),
    ):
        if number > most:
            raise RecordError(
                f"the outlines of the image have {number:,.0f} {what}, the limit is {most:,}",
                code="too_large",
                hint="if they are what they should be: --max-points, --max-pixels",
            )


def _work_of(points: Sequence[Point], size: Size) -> tuple[int, float]:
    """Return how many rows the edges of an outline cross, and the pixels of its bounding box."""
    reach = (size[1] + _MARGIN, size[0] + _MARGIN)
    clipped = np.clip(np.array(points, dtype=np.float64), -_MARGIN, reach)
    steps = np.abs(np.diff(clipped[:, 1], append=clipped[:1, 1]))
    width, height = np.ptp(clipped, axis=0) + 1
    return int(steps.sum()), float(width * height)


def _finite(numbers: Sequence[float] | Sequence[Point]) -> Floats:
    try:
        checked = np.array(numbers, dtype=np.float64)
    except OverflowError as error:
        raise RecordError("a coordinate is too large for a number", code="bad_points") from error
    if not checked.size:
        raise RecordError("a contour without points", code="bad_points")
    if not np.isfinite(checked).all():
        raise RecordError("a coordinate of the annotation is not finite", code="bad_points")
    return checked


def _outline(
    shape: Polygon | Spline | Polyline, points: Floats, spacing_mm: tuple[float, float] | None
) -> _Outline:
    polygon = without_repeats(points)
    crosses = _crosses_itself(polygon, ring=True)
    repeats_first = shape.points[0] == shape.points[-1]
    match shape:
        case Spline():
            return _spline_or_polygon(shape, polygon, spacing_mm, crosses)
        case Polyline():
            return _Outline(polygon, "polyline", repeats_first, crosses)
        case Polygon():
            geometry = "box" if _is_box(polygon) else "polygon"
            return _Outline(polygon, geometry, shape.closed or repeats_first, crosses)


def _spline_or_polygon(
    shape: Spline, polygon: Floats, spacing_mm: tuple[float, float] | None, crosses: bool
) -> _Outline:
    """Choose the curve whose area is nearer to the one that the source measured itself."""
    with np.errstate(all="ignore"):
        curve = closed_spline(polygon)
    if not np.isfinite(curve).all():
        raise RecordError("the points of the spline are too far apart", code="bad_points")
    if spacing_mm is None or not 0 < shape.stored_area_cm2 < math.inf:
        return _Outline(curve, "spline", True, crosses)
    unit = spacing_mm[0] * spacing_mm[1] / (100 * shape.stored_area_cm2)  # 1 cm2 = 100 mm2
    smooth, straight = (_area(contour) * unit - 1 for contour in (curve, polygon))
    if abs(straight) < abs(smooth):
        return _Outline(polygon, "polygon", True, crosses, straight)
    return _Outline(curve, "spline", True, crosses, smooth)


def _area(contour: Floats) -> float:
    """Return the area in square pixels (shoelace formula, relative to the first point)."""
    with np.errstate(all="ignore"):
        x, y = (contour - contour[0]).T
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _is_box(polygon: Floats) -> bool:
    """Tell whether a contour is a rectangle along the axes."""
    if len(polygon) != 4 or len({tuple(point) for point in polygon.tolist()}) != 4:
        return False
    level = polygon == np.roll(polygon, -1, axis=0)  # (same x, same y) as the next point
    alternates = (level[2] == level[0]).all() and (level[1] != level[0]).all()
    return bool(level.sum() == 4 and alternates)


def _through_corner(line: Floats, side: str, size: Size) -> Floats:
    """Close a line from the top border to a side border through the image corner between them.

    The end at the top is prolonged straight up, the end at the side horizontally: the region
    reaches both borders even where the line stops short of them.
    """
    border = -0.5 if side == "L" else size[1] - 0.5
    with np.errstate(over="ignore"):
        short_of_top = np.abs(line[[0, -1], 1] + 0.5)
        short_of_side = np.abs(line[[-1, 0], 0] - border)
        as_drawn, reversed_line = short_of_top + short_of_side
    if reversed_line < as_drawn:
        line = line[::-1]
    corner = [(border, line[-1, 1]), (border, -0.5), (line[0, 0], -0.5)]
    return np.concatenate([line, np.array(corner)])


def _crosses_itself(points: Floats, *, ring: bool) -> bool:
    import shapely

    exponent = math.frexp(float(np.abs(points).max()))[1]
    scaled = np.ldexp(points, -exponent)  # a power of two: exact, and no product overflows
    line = shapely.LinearRing(scaled) if ring else shapely.LineString(scaled)
    with np.errstate(all="ignore"):
        return not bool(line.is_simple)


# ---------------------------------------------------------------------------------- contours


def _fill(contour: Floats, size: Size) -> tuple[Patch, int]:
    """Return the pixels inside a closed contour, and how many more lie outside the image."""
    frame = _frame(size)
    with np.errstate(all="ignore"):
        edges = _edges(contour)
        runs = _edge_runs(edges, frame, _on_grid(contour))
    if not runs.size:
        runs = _pixel_runs([_nearest_pixel(*_centroid(contour))], frame)
    (x_low, y_low), (x_high, y_high) = contour.min(axis=0), contour.max(axis=0)
    beyond = _beyond(frame, (x_low, x_high), (y_low, y_high))
    return _split(runs, size, beyond)


def _frame(size: Size) -> _Frame:
    return _Frame(-_MARGIN, size[0] + _MARGIN, -_MARGIN, size[1] + _MARGIN)


def _beyond(frame: _Frame, x: tuple[float, float], y: tuple[float, float]) -> bool:
    """Tell whether the ranges `x` and `y` reach out of the frame."""
    reach_x = x[0] < frame.left or x[1] > frame.right - 1
    return bool(reach_x or y[0] < frame.top or y[1] > frame.bottom - 1)


def _edges(contour: Floats) -> _Edges:
    x, y = contour.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    rows = np.ceil(y)
    crossing = rows != np.roll(rows, -1)
    x, y, next_x, next_y = x[crossing], y[crossing], next_x[crossing], next_y[crossing]
    down = y < next_y
    return _Edges(
        np.where(down, x, next_x),
        np.where(down, y, next_y),
        np.where(down, next_x, x),
        np.where(down, next_y, y),
        np.where(down, 1, -1),
    )


def _on_grid(contour: Floats) -> bool:
    scaled = contour * _GRID
    return bool(np.abs(scaled).max() < _GRID_REACH and (scaled == np.rint(scaled)).all())


def _edge_runs(edges: _Edges, frame: _Frame, on_grid: bool) -> Integers:
    """Return the runs of nonzero winding number in the frame, in batches of bounded memory."""
    first = np.clip(np.ceil(edges.y0), frame.top, frame.bottom).astype(np.int64)
    last = np.clip(np.ceil(edges.y1), frame.top, frame.bottom).astype(np.int64)
    count = last - first
    total = int(count.sum())
    if total > _BATCH and frame.bottom - frame.top > 1:
        middle = (frame.top + frame.bottom) // 2
        upper = _edge_runs(edges, frame._replace(bottom=middle), on_grid)
        lower = _edge_runs(edges, frame._replace(top=middle), on_grid)
        return np.concatenate([upper, lower], axis=1)
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(total) + np.repeat(first - (np.cumsum(count) - count), count)
    decide = _columns_on_grid if on_grid else _columns
    column = np.clip(decide(edges, edge, row, frame), frame.left, frame.right)
    return _runs_between(row, column, edges.turn[edge])


def _columns_on_grid(edges: _Edges, edge: Integers, row: Integers, frame: _Frame) -> Integers:
    """Return the first column at or right of each crossing, for edges on the grid, in int64."""
    x0, y0, x1, y1 = ((end * _GRID).astype(np.int64) for end in edges[:4])
    height = (y1 - y0)[edge]
    moved = (row * _GRID - y0[edge]) * (x1 - x0)[edge]
    columns: Integers = -((-x0[edge] * height - moved) // (_GRID * height))
    return columns


def _columns(edges: _Edges, edge: Integers, row: Integers, frame: _Frame) -> Integers:
    """Return the first column at or right of each crossing, for any finite edges.

    The float64 crossing takes six roundings of at most 2**-53, each of a term not larger than
    |x0| + |x1|: eight times 2**-52 of that is a safe bound. Where a difference overflows there is
    no bound, and what is beyond the frame need not be known more precisely.
    """
    x0, y0, x1, y1, _ = edges
    width, height = x1 - x0, y1 - y0
    known = np.isfinite(width) & np.isfinite(height)
    doubt = np.where(known, 2.0**-49 * (np.abs(x0) + np.abs(x1)) + 1e-300, np.inf)
    doubt[width == 0] = 0.0
    doubt = doubt[edge]
    crossing = x0[edge] + (row - y0[edge]) / height[edge] * width[edge]
    decided = (
        (np.abs(crossing - np.rint(crossing)) > doubt)
        | (crossing + doubt < frame.left)
        | (crossing - doubt > frame.right)
        | (doubt == 0)
    )
    columns = np.ceil(np.clip(np.where(decided, crossing, 0), frame.left, frame.right))
    exact: Integers = columns.astype(np.int64)
    unsure = np.flatnonzero(~decided)
    for number, group in groupby(unsure.tolist(), key=edge.__getitem__):
        ends = [float(end[number]) for end in edges[:4]]
        places = list(group)
        exact[places] = _columns_in_integers(ends, row[places].tolist(), frame)
    return exact


def _columns_in_integers(ends: list[float], rows: list[int], frame: _Frame) -> list[int]:
    """Return the first column at or right of an edge in some rows, in integers of any size."""
    scale, (x0, y0, x1, y1) = _in_integers(ends)
    divisor = scale * (y1 - y0)
    at_zero = x0 * (y1 - y0) - y0 * (x1 - x0)
    step = scale * (x1 - x0)
    columns = (-(-(at_zero + row * step) // divisor) for row in rows)
    return [min(max(column, frame.left), frame.right) for column in columns]


def _in_integers(numbers: Iterable[float]) -> tuple[int, list[int]]:
    """Return the smallest power of two that makes all numbers whole, and these whole numbers."""
    ratios = [float(number).as_integer_ratio() for number in numbers]
    scale = max(denominator for _, denominator in ratios)
    return scale, [numerator * (scale // denominator) for numerator, denominator in ratios]


def _centroid(contour: Floats) -> Point:
    """Return the centroid of the area, or the mean of the points where there is no area."""
    with np.errstate(all="ignore"):
        shifted = contour - contour[0]
        x, y = shifted.T
        width, height = np.ptp(shifted, axis=0)
        cross = x * np.roll(y, -1) - y * np.roll(x, -1)
        double_area = cross.sum()
        paired = shifted + np.roll(shifted, -1, axis=0)
        centre = contour[0] + cross @ paired / (3 * double_area)
        sound = abs(double_area) > 1e-12 * width * height
    inside = (contour.min(axis=0) <= centre) & (centre <= contour.max(axis=0))
    if not (sound and inside.all()):
        centre = (contour / len(contour)).sum(axis=0)
    return float(centre[0]), float(centre[1])


# ---------------------------------------------------------------------------------- ellipses


def _draw_ellipse(ellipse: Ellipse, geometry: str, size: Size) -> Drawing:
    _finite((ellipse.cx, ellipse.cy, ellipse.rx, ellipse.ry, ellipse.theta))
    if ellipse.rx < 0 or ellipse.ry < 0:
        raise RecordError(f"the {geometry} has a negative radius", code="bad_points")
    frame = _frame(size)
    runs = (_turned_ellipse_runs if ellipse.theta else _ellipse_runs)(ellipse, frame)
    if not runs.size:
        runs = _pixel_runs([_nearest_pixel(ellipse.cx, ellipse.cy)], frame)
    cosine, sine = math.cos(ellipse.theta), math.sin(ellipse.theta)
    half_width = math.hypot(ellipse.rx * cosine, ellipse.ry * sine)
    half_height = math.hypot(ellipse.ry * cosine, ellipse.rx * sine)
    x_range = ellipse.cx - half_width, ellipse.cx + half_width
    y_range = ellipse.cy - half_height, ellipse.cy + half_height
    patch, outside = _split(runs, size, _beyond(frame, x_range, y_range))
    return Drawing(patch, outside, geometry, 0, True, False, None)


def _ellipse_runs(ellipse: Ellipse, frame: _Frame) -> Integers:
    """Return the runs where (dx ry)^2 + (dy rx)^2 <= (rx ry)^2, in integers of any size."""
    scale, numbers = _in_integers((ellipse.cx, ellipse.cy, ellipse.rx, ellipse.ry))
    cx, cy, rx, ry = numbers
    top = max(-((ry - cy) // scale), frame.top)
    bottom = min((cy + ry) // scale + 1, frame.bottom)
    runs = []
    for row in range(top, bottom):
        square = ry * ry - (row * scale - cy) ** 2
        reach = math.isqrt(rx * rx * square) // ry if ry else rx
        start = max(-((reach - cx) // scale), frame.left)
        stop = min((cx + reach) // scale + 1, frame.right)
        if start < stop:
            runs.append((row, start, stop))
    return np.array(runs, dtype=np.int64).reshape(-1, 3).T


def _turned_ellipse_runs(ellipse: Ellipse, frame: _Frame) -> Integers:
    """Return the runs of an ellipse turned by theta, in float64.

    In each row the boundary is a quadratic in dx: a dx^2 + 2 b dx dy + c dy^2 = (rx ry)^2, with
    a c - b^2 = (rx ry)^2; everything is divided by the larger radius.
    """
    radius = max(ellipse.rx, ellipse.ry)
    if ellipse.rx == 0 or ellipse.ry == 0:
        return np.zeros((3, 0), np.int64)
    rx, ry = ellipse.rx / radius, ellipse.ry / radius
    cosine, sine = math.cos(ellipse.theta), math.sin(ellipse.theta)
    a = (ry * cosine) ** 2 + (rx * sine) ** 2
    b = cosine * sine * (ry - rx) * (ry + rx)
    row = np.arange(frame.top, frame.bottom)
    with np.errstate(all="ignore"):
        dy = (row - ellipse.cy) / radius
        hit = dy * dy <= a
        row, dy = row[hit], dy[hit]
        middle = ellipse.cx - b * dy / a * radius
        reach = rx * ry * np.sqrt(a - dy * dy) / a * radius
        start = np.clip(np.ceil(middle - reach), frame.left, frame.right).astype(np.int64)
        stop = np.clip(np.floor(middle + reach) + 1, frame.left, frame.right).astype(np.int64)
    hit = start < stop
    return np.stack([row[hit], start[hit], stop[hit]])


# ---------------------------------------------------------------------------------- points


def _draw_points(points: Floats, size: Size, radius: float) -> Drawing:
    if not 0 <= radius < math.inf:
        raise ValueError(f"the radius of points is {radius}")
    frame = _frame(size)
    dots = [(x, y) for x, y in points.tolist()]
    parts = [_pixel_runs([_nearest_pixel(x, y) for x, y in dots], frame)]
    if radius > 0:
        parts += [_ellipse_runs(Ellipse(x, y, radius, radius), frame) for x, y in dots]
    row, start, stop = np.concatenate(parts, axis=1)
    turn = np.repeat(np.array([1, -1]), len(row))
    runs = _runs_between(np.concatenate([row, row]), np.concatenate([start, stop]), turn)
    (x_low, y_low), (x_high, y_high) = points.min(axis=0) - radius, points.max(axis=0) + radius
    patch, outside = _split(runs, size, _beyond(frame, (x_low, x_high), (y_low, y_high)))
    return Drawing(patch, outside, "points", len(points), False, False, None)


def _nearest_pixel(x: float, y: float) -> tuple[int, int]:
    """Return (row, column) = (floor(y + 0.5), floor(x + 0.5)), without rounding before floor."""
    column, row = math.floor(x), math.floor(y)
    half = Fraction(1, 2)
    return row + (Fraction(y) - row >= half), column + (Fraction(x) - column >= half)


def _pixel_runs(pixels: Iterable[tuple[int, int]], frame: _Frame) -> Integers:
    """Return a run for each pixel; one beyond the frame is moved to its border."""
    rows, columns = zip(*pixels, strict=True)
    row = np.array([min(max(row, frame.top), frame.bottom - 1) for row in rows])
    column = np.array([min(max(column, frame.left), frame.right - 1) for column in columns])
    return np.stack([row, column, column + 1])


# ---------------------------------------------------------------------------------- runs


def _runs_between(row: Integers, column: Integers, turn: Integers) -> Integers:
    """Return the runs where the sum of the turns at or left of a pixel, in its row, is not zero.

    In each row the turns must add up to zero.
    """
    if not row.size:
        return np.zeros((3, 0), np.int64)
    top, left = row.min(), column.min()
    width = column.max() - left + 1
    code = ((row - top) * width + (column - left)) * 2 + (turn > 0)
    code.sort()
    place = code >> 1
    winding = np.cumsum((code & 1) * 2 - 1)
    last = np.append(place[1:] != place[:-1], True)
    place, inside = place[last], winding[last] != 0
    before = np.append(False, inside[:-1])
    start, stop = place[inside & ~before], place[before & ~inside]
    return np.stack([start // width + top, start % width + left, stop % width + left])


def _split(runs: Integers, size: Size, beyond: bool) -> tuple[Patch, int]:
    """Return the pixels inside the image, and the number of those outside."""
    row, start, stop = runs
    total = int((stop - start).sum())
    start, stop = np.maximum(start, 0), np.minimum(stop, size[1])
    inside = (row >= 0) & (row < size[0]) & (start < stop)
    row, start, stop = row[inside], start[inside], stop[inside]
    outside = max(total - int((stop - start).sum()), int(beyond))
    if not row.size:
        return _nothing(), outside
    top, left = int(row[0]), int(start.min())
    height, width = int(row[-1]) - top + 1, int(stop.max()) - left
    line = (row - top) * width - left
    pixels = _paint_runs(line + start, line + stop, height * width)
    return Patch(top, left, pixels.reshape(height, width)), outside


def _nothing() -> Patch:
    return Patch(0, 0, np.zeros((0, 0), dtype=np.bool_))


def _paint_runs(start: Integers, stop: Integers, length: int) -> NDArray[np.bool_]:
    """Return a flat array that is true in the sorted, disjoint runs."""
    borders = np.zeros(2 * len(start) + 2, np.int64)
    borders[1:-1:2], borders[2:-1:2], borders[-1] = start, stop, length
    values = np.arange(len(borders) - 1) % 2 == 1
    painted: NDArray[np.bool_] = np.repeat(values, np.diff(borders))
    return painted


def _runs_in(pixels: NDArray[np.bool_]) -> Integers:
    """Return the runs of true pixels in the rows of an array."""
    height, width = pixels.shape
    padded = np.zeros(height * (width + 1) + 1, dtype=np.bool_)
    padded[:-1].reshape(height, width + 1)[:, 1:] = pixels
    change = np.flatnonzero(padded[1:] != padded[:-1])
    start, stop = change[0::2], change[1::2]
    return np.stack([start // (width + 1), start % (width + 1), stop % (width + 1)])


# ---------------------------------------------------------------------------------- patches


def patch_of(marked: NDArray[np.bool_], top: int = 0, left: int = 0) -> Patch:
    """Crop a mask, whose corner lies at (top, left), to the bounding box of its pixels."""
    rows = np.flatnonzero(marked.any(axis=1))
    if not rows.size:
        return _nothing()
    first, last = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(marked[first:last].any(axis=0))
    start, stop = int(columns[0]), int(columns[-1]) + 1
    pixels = marked[first:last, start:stop].astype(np.bool_, order="C", copy=True)
    return Patch(top + first, left + start, pixels)


def paint(patches: Iterable[Patch], size: Size) -> NDArray[np.uint8]:
    """Return the union of the patches as a mask of 0 and 255."""
    mask = np.zeros(size, np.uint8)
    for patch in patches:
        _check_inside(patch, size)
        region = mask[patch.top : patch.bottom, patch.left : patch.right]
        region |= np.negative(patch.pixels.view(np.uint8))  # 1 becomes 255
    return mask


def _check_inside(patch: Patch, size: Size) -> None:
    inside = patch.top >= 0 and patch.bottom <= size[0]
    if not (inside and patch.left >= 0 and patch.right <= size[1]):
        raise ValueError(f"a patch does not lie inside the image of {size[0]} x {size[1]} pixels")


def union_sha256(patches: Iterable[Patch], size: Size) -> str:
    """Return the sha256 of the image size and of the row runs of the union.

    Hashed as little-endian int32: rows, columns, then (row, start, stop) of each run, top to
    bottom and left to right. How the union is divided into patches makes no difference.
    """
    union = _unite([patch for patch in patches if patch.pixels.size], size)
    runs = _runs_in(union.pixels)
    runs += np.array([[union.top], [union.left], [union.left]])
    digest = hashlib.sha256(np.array(size, dtype="<i4").tobytes())
    digest.update(runs.T.astype("<i4").tobytes())
    return digest.hexdigest()


def _unite(patches: Sequence[Patch], size: Size) -> Patch:
    """Return the union in the common bounding box of the patches."""
    for patch in patches:
        _check_inside(patch, size)
    if len(patches) < 2:
        return patches[0] if patches else _nothing()
    top, left = min(patch.top for patch in patches), min(patch.left for patch in patches)
    bottom, right = max(patch.bottom for patch in patches), max(patch.right for patch in patches)
    pixels = np.zeros((bottom - top, right - left), dtype=np.bool_)
    for patch in patches:
        rows = slice(patch.top - top, patch.bottom - top)
        pixels[rows, patch.left - left : patch.right - left] |= patch.pixels
    return Patch(top, left, pixels)


def rle_counts(patch: Patch, size: Size) -> list[int]:
    """Return the uncompressed COCO run lengths of a patch on the full grid.

    Column by column; the first count is of zeros, and a last count of zero is left out.
    """
    _check_inside(patch, size)
    column, start, stop = _runs_in(np.ascontiguousarray(patch.pixels.T))
    line = (column + patch.left) * size[0] + patch.top
    start, stop = line + start, line + stop
    apart = start[1:] != stop[:-1]  # full columns continue in the next
    borders = np.zeros(2 * int(apart.sum() + 1) + 2 if len(start) else 2, np.int64)
    borders[-1] = size[0] * size[1]
    if len(start):
        borders[1:-1:2] = start[np.append(True, apart)]
        borders[2:-1:2] = stop[np.append(apart, True)]
    counts: list[int] = np.diff(borders).tolist()
    return counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts


def patch_from_rle(counts: Sequence[int], size: Size) -> Patch:
    """Return the patch that uncompressed COCO run lengths describe.

    Counts that do not fill the image exactly raise RecordError `bad_rle`.
    """
    height, width = size
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise RecordError(
            f"the run lengths do not fill an image of {height} x {width} pixels", code="bad_rle"
        )
    borders = np.cumsum(np.array([0, *counts], dtype=np.int64))
    start, stop = borders[1:-1:2], borders[2::2]
    start, stop = start[start < stop], stop[start < stop]
    if not start.size:
        return _nothing()
    left, right = int(start[0]) // height, (int(stop[-1]) - 1) // height + 1
    offset = left * height
    flat = _paint_runs(start - offset, stop - offset, (right - left) * height)
    return patch_of(flat.reshape(right - left, height).T, 0, left)
