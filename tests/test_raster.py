"""Exact masks: against slow references in whole numbers, and in pictures."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bcseg.errors import RecordError
from bcseg.raster import (
    Drawing,
    Patch,
    draw,
    paint,
    patch_from_rle,
    patch_of,
    rle_counts,
    union_sha256,
)
from bcseg.record import Circle, CornerLine, Dots, Ellipse, Polygon, Polyline, Spline

SIZE = (7, 11)
Points = Sequence[tuple[float, float]]


def polygon(points: Points, size: tuple[int, int] = SIZE) -> Drawing:
    return draw(Polygon(tuple(points)), size)


def mask(drawing: Drawing, size: tuple[int, int] = SIZE) -> np.ndarray:
    return paint([drawing.patch], size) > 0


def picture(drawing: Drawing, size: tuple[int, int] = SIZE) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in mask(drawing, size)]


def read_picture(lines: Sequence[str]) -> np.ndarray:
    return np.array([[mark == "#" for mark in line] for line in lines])


def winding_reference(points: Points, rows: range, columns: range) -> np.ndarray:
    """Nonzero winding at each pixel centre, by the side of each edge, in whole numbers.

    An edge counts in row i if ymin <= i < ymax, and for column j if j is not left of it.
    """
    exact = [(Fraction(x), Fraction(y)) for x, y in points]
    scale = math.lcm(*(number.denominator for point in exact for number in point))
    whole = [(int(x * scale), int(y * scale)) for x, y in exact]
    edges = [
        (a, b, 1) if a[1] <= b[1] else (b, a, -1)
        for a, b in zip(whole, whole[1:] + whole[:1], strict=True)
    ]
    inside = np.zeros((len(rows), len(columns)), bool)
    for i, row in enumerate(rows):
        y = row * scale
        met = [edge for edge in edges if edge[0][1] <= y < edge[1][1]]
        for j, column in enumerate(columns):
            x = column * scale
            winding = sum(
                turn
                for (x0, y0), (x1, y1), turn in met
                if (x1 - x0) * (y - y0) <= (x - x0) * (y1 - y0)
            )
            inside[i, j] = winding != 0
    return inside


def check_contour(points: Points) -> None:
    """Compare a drawing with the reference on the image and on a border round it."""
    assume(len(set(points)) > 2)
    drawing = polygon(points)
    rows, columns = range(-6, SIZE[0] + 8), range(-6, SIZE[1] + 6)
    expected = winding_reference(points, rows, columns)
    inside = expected[6 : 6 + SIZE[0], 6 : 6 + SIZE[1]]
    if expected.any():
        np.testing.assert_array_equal(mask(drawing), inside)
        assert drawing.outside == expected.sum() - inside.sum()
    else:
        assert drawing.patch.area + drawing.outside == 1


ONE_STEP = st.tuples(st.integers(-5, 14), st.integers(-2, 2)).map(
    lambda pair: pair[0] + pair[1] * math.ulp(pair[0] or 1.0)
)
COORDINATES = {
    "whole": st.integers(-5, 14).map(float),
    "halves": st.integers(-10, 28).map(lambda n: n / 2),
    "thirds": st.integers(-15, 42).map(lambda n: n / 3),
    "tenths": st.integers(-50, 140).map(lambda n: n / 10),
    "one step beside whole": ONE_STEP,
    "any float": st.floats(-5, 14),
}


@pytest.mark.parametrize("kind", COORDINATES)
def test_every_pixel_is_that_of_rational_arithmetic(kind: str) -> None:
    number = COORDINATES[kind]

    @given(st.lists(st.tuples(number, number), min_size=3, max_size=12))
    @settings(max_examples=250, deadline=None)
    def check(points: list[tuple[float, float]]) -> None:
        check_contour(points)

    check()


@given(st.lists(st.sampled_from(list(COORDINATES)), min_size=24, max_size=24), st.data())
@settings(max_examples=100, deadline=None)
def test_mixed_coordinates_are_exact_too(kinds: list[str], data: st.DataObject) -> None:
    numbers = [data.draw(COORDINATES[kind]) for kind in kinds]
    check_contour(list(zip(numbers[:12], numbers[12:], strict=True)))


HUGE = st.one_of(
    st.integers(-5, 14).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e300, -1e300, 1.7e308, -1.7e308, 2.0**53, -(2.0**62), 1e16, 5e-324, -1e-310]),
)


@given(st.lists(st.tuples(HUGE, HUGE), min_size=3, max_size=8))
@example([(-1.7e308, -1.7e308), (1.7e308, 1.7e308), (5.0, 1e300)])
@example([(-1e300, 3.0), (1e300, 3.0), (1e300, 1e300), (-1e300, 1e300)])
@example([(0.3, -1.7e308), (10.6, 1.7e308), (-5.0, 1.7e308)])  # the height overflows
@example([(0.0, -(2.0**41)), (2.0**42, 2.0**41), (-(2.0**40), 3.0)])  # whole, and beyond int64
@example([(-5e-324, 0.0), (5e-324, 3.0), (8.0, 3.0), (8.0, 0.0)])  # the product underflows
@settings(max_examples=200, deadline=None)
def test_huge_coordinates_are_exact_inside_the_image(points: list[tuple[float, float]]) -> None:
    assume(len(set(points)) > 2)
    drawing = polygon(points)
    expected = winding_reference(points, range(SIZE[0]), range(SIZE[1]))
    if expected.any() or drawing.patch.area != 1:  # one pixel may stand for a tiny contour
        np.testing.assert_array_equal(mask(drawing), expected)
    if max(abs(number) for point in points for number in point) > 2000:
        assert drawing.outside > 0


@pytest.mark.parametrize("step", [1.0, 0.5, 1 / 3, 0.0])
def test_thousands_of_points_that_cross_each_other(step: float) -> None:
    size = (60, 83)
    random = np.random.default_rng(5)
    points = np.cumsum(random.normal(0, 1.5, (3000, 2)), axis=0) % [90, 70] - 4
    if step:
        points = np.rint(points / step) * step
    winding = np.zeros(size, int)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        turn = 1
        if y0 > y1:
            x0, y0, x1, y1, turn = x1, y1, x0, y0, -1
        for row in range(max(math.ceil(y0), 0), min(math.ceil(y1), size[0])):
            slope = (Fraction(x1) - Fraction(x0)) / (Fraction(y1) - Fraction(y0))
            first = math.ceil(Fraction(x0) + (row - Fraction(y0)) * slope)
            winding[row, max(first, 0) :] += turn
    drawing = polygon([tuple(point) for point in points.tolist()], size)
    np.testing.assert_array_equal(mask(drawing, size), winding != 0)
    assert drawing.self_intersecting


def test_a_box_has_its_left_and_top_edges_but_not_the_others() -> None:
    drawing = polygon([(2, 1), (8, 1), (8, 4), (2, 4)])
    assert picture(drawing) == [
        "...........",
        "..######...",
        "..######...",
        "..######...",
        "...........",
        "...........",
        "...........",
    ]
    assert (drawing.geometry, drawing.outside, drawing.n_points) == ("box", 0, 4)
    assert (drawing.patch.top, drawing.patch.left, drawing.patch.area) == (1, 2, 18)
    assert (drawing.patch.bottom, drawing.patch.right) == (4, 8)


@pytest.mark.parametrize(
    "points",
    [
        [(2, 1), (8, 1), (8, 4), (3, 4)],
        [(5, 0), (8, 3), (5, 6), (2, 3)],
        [(2, 1), (2, 4), (2, 6), (2, 2)],
        [(2, 1), (8, 1), (2, 1), (8, 4)],
        [(2, 1), (8, 1), (8, 4)],
    ],
)
def test_other_quadrilaterals_are_polygons(points: Points) -> None:
    assert polygon(points).geometry == "polygon"


def test_a_triangle_with_edges_through_pixel_centres() -> None:
    assert picture(polygon([(1, 1), (9, 1), (5, 5)])) == [
        "...........",
        ".########..",
        "..######...",
        "...####....",
        "....##.....",
        "...........",
        "...........",
    ]


def test_neighbours_share_no_pixel_and_leave_none_between() -> None:
    left = polygon([(0, 0), (5.5, 0), (3, 6.25), (0, 7)])
    right = polygon([(5.5, 0), (11, 0), (11, 7), (0, 7), (3, 6.25)])
    assert np.all(mask(left) ^ mask(right))


def test_a_doubly_wound_part_is_inside() -> None:
    star = [(5.0 + 5 * math.sin(k * 4 * math.pi / 5), 3.2 - 3.5 * math.cos(k * 4 * math.pi / 5))
            for k in range(5)]  # fmt: skip
    drawing = polygon(star)
    assert mask(drawing)[3, 5]
    assert drawing.self_intersecting
    assert not polygon([(1, 1), (9, 1), (5, 5)]).self_intersecting


@pytest.mark.parametrize("whole", [True, False])
def test_areas_are_unbiased(whole: bool) -> None:
    random = np.random.default_rng(11)
    size = (260, 300)
    drawn = stored = 0.0
    for _ in range(400):
        angle = np.sort(random.random(40)) * 2 * math.pi
        radius = random.uniform(15, 90) * random.uniform(0.9, 1.1, 40)
        centre = random.uniform(110, 130, 2)
        points = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if whole:
            points = np.rint(points)
        x, y = points.T
        stored += abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        drawn += polygon([tuple(point) for point in points.tolist()], size).patch.area
    assert abs(drawn / stored - 1) < 0.0005


# ---------------------------------------------------------------------------------- clipping


def test_what_lies_outside_the_image_is_clipped_and_counted() -> None:
    drawing = polygon([(-3, 2), (4, 2), (4, 9), (-3, 9)])
    assert picture(drawing)[1:3] == ["...........", "####......."]
    assert drawing.patch.area == 4 * 5
    assert drawing.outside == 7 * 7 - 4 * 5


@pytest.mark.parametrize("shift", [(-20, 0), (0, -20), (40, 0), (0, 40), (-5000, 0), (0, 1e200)])
def test_a_contour_wholly_outside_marks_nothing(shift: tuple[float, float]) -> None:
    points = [(x + shift[0], y + shift[1]) for x, y in [(1, 1), (4, 1), (4, 3), (1, 3)]]
    drawing = polygon(points)
    assert drawing.patch.pixels.shape == (0, 0)
    assert drawing.outside >= 1


def test_outside_is_counted_up_to_a_border_of_1024_pixels() -> None:
    drawing = polygon([(2, 3), (1e9, 3), (1e9, 5), (2, 5)])
    assert drawing.patch.area == 2 * 9
    assert drawing.outside == 2 * 1024


# ---------------------------------------------------------------------------------- tiny shapes


@pytest.mark.parametrize(
    ("points", "pixel"),
    [
        ([(4.1, 2.2), (4.8, 2.2), (4.8, 2.9)], (2, 5)),
        ([(4.1, 2.2), (4.3, 2.2), (4.3, 2.4)], (2, 4)),
        ([(3.2, 1.5), (5.6, 1.5), (8.1, 1.5)], (2, 6)),  # a line: the mean of its points
        ([(3.0, 1.25), (3.0, 1.5), (3.0, 2.25)], (2, 3)),  # row 1.667, and row 2 is on the line
        ([(3.2, 1.9), (3.2, 1.1), (9.9, 1.5)], (2, 5)),  # a sliver: the centroid of its area
    ],
)
def test_a_contour_without_a_pixel_centre_marks_the_nearest(
    points: Points, pixel: tuple[int, int]
) -> None:
    drawing = polygon(points)
    assert np.argwhere(mask(drawing)).tolist() == [list(pixel)]
    assert drawing.outside == 0


def test_a_tiny_contour_outside_the_image_is_gone_and_counted() -> None:
    drawing = polygon([(11.1, 2.1), (11.4, 2.1), (11.4, 2.4)])
    assert (drawing.patch.area, drawing.outside) == (0, 1)


def test_a_long_sliver_marks_one_pixel_and_is_clipped() -> None:
    drawing = polygon([(-1500.0, 3.3), (1510.0, 3.3), (5.0, 3.4)])
    assert np.argwhere(mask(drawing)).tolist() == [[3, 5]]
    assert drawing.outside == 1


def test_a_crossing_tiny_contour_marks_a_pixel_beside_it() -> None:
    drawing = polygon([(4.1, 2.1), (4.4, 2.4), (4.4, 2.1), (4.1, 2.41)])
    assert np.argwhere(mask(drawing)).tolist() == [[2, 4]]


# ---------------------------------------------------------------------------------- points


def test_points_mark_the_pixel_that_holds_them() -> None:
    dots = Dots(((0.0, 0.0), (3.5, 1.49), (9.51, 5.5), (0.49999999999999994, 4.0)))
    drawing = draw(dots, SIZE)
    assert np.argwhere(mask(drawing)).tolist() == [[0, 0], [1, 4], [4, 0], [6, 10]]
    assert (drawing.geometry, drawing.n_points, drawing.closed) == ("points", 4, False)


@pytest.mark.parametrize(
    "shape",
    [
        Polygon(((2.2, 3.9), (7.0, 1.0))),
        Polygon(((2.2, 3.9), (7.0, 1.0), (2.2, 3.9))),
        Polyline(((2.2, 3.9), (7.0, 1.0))),
        Spline(((2.2, 3.9), (7.0, 1.0), (7.0, 1.0)), 0.1),
    ],
)
def test_a_contour_of_two_points_is_two_pixels(shape: Polygon | Polyline | Spline) -> None:
    drawing = draw(shape, SIZE, spacing_mm=(0.07, 0.07))
    assert np.argwhere(mask(drawing)).tolist() == [[1, 7], [4, 2]]
    assert (drawing.geometry, drawing.area_deviation) == ("points", None)


def test_points_outside_are_counted_once_for_each_pixel() -> None:
    drawing = draw(Dots(((-1.0, 2.0), (-0.9, 2.1), (5.0, 7.0), (1e300, 3.0), (2.0, 2.0))), SIZE)
    assert (drawing.patch.area, drawing.outside) == (1, 3)


@given(
    st.lists(st.tuples(st.floats(-3, 13), st.floats(-3, 9)), min_size=1, max_size=4),
    st.sampled_from([0.25, 0.5, 1.0, 2.5, 3.7]),
)
@settings(max_examples=60, deadline=None)
def test_points_widen_to_discs(points: list[tuple[float, float]], radius: float) -> None:
    expected = np.zeros((20, 26), bool)
    for x, y in points:
        for row in range(20):
            for column in range(26):
                away = (Fraction(x) - (column - 7)) ** 2 + (Fraction(y) - (row - 7)) ** 2
                expected[row, column] |= away <= Fraction(radius) ** 2
        own = (
            (Fraction(y) + Fraction(15, 2)).__floor__(),
            (Fraction(x) + Fraction(15, 2)).__floor__(),
        )
        expected[own] = True
    drawing = draw(Dots(tuple(points)), SIZE, point_radius=radius)
    inside = expected[7:14, 7:18]
    np.testing.assert_array_equal(mask(drawing), inside)
    assert drawing.outside == expected.sum() - inside.sum()


# ---------------------------------------------------------------------------------- open lines


def test_an_open_outline_is_closed_by_a_straight_segment() -> None:
    points = ((1.0, 1.0), (9.0, 1.0), (9.0, 5.0), (5.0, 5.0))
    closed = draw(Polygon(points), SIZE)
    as_polygon = draw(Polygon(points, closed=False), SIZE)
    as_line = draw(Polyline(points), SIZE)
    assert picture(as_polygon) == picture(as_line) == picture(closed)
    assert (as_polygon.closed, as_line.closed, closed.closed) == (False, False, True)
    assert (as_polygon.geometry, as_line.geometry) == ("polygon", "polyline")


def test_a_repeated_last_point_closes_and_changes_no_pixel() -> None:
    points = ((1.0, 1.0), (9.0, 1.0), (6.0, 5.0))
    repeated = draw(Polygon((*points, points[0]), closed=False), SIZE)
    assert picture(repeated) == picture(polygon(points))
    assert (repeated.closed, repeated.self_intersecting, repeated.n_points) == (True, False, 4)
    assert draw(Polyline((*points, points[0])), SIZE).closed


@pytest.mark.parametrize("backwards", [False, True])
def test_a_corner_line_fills_up_to_both_borders(backwards: bool) -> None:
    line = ((5.5, 0.6), (4.5, 3.5), (0.75, 5.25))
    expected = [
        "######.....",
        "######.....",
        "######.....",
        "#####......",
        "####.......",
        "##.........",
        "...........",
    ]
    points = line[::-1] if backwards else line
    left = draw(CornerLine(points, "L"), SIZE)
    assert picture(left) == expected
    right = draw(CornerLine(tuple((10 - x, y) for x, y in points), "R"), SIZE)
    assert picture(right) == [row[::-1] for row in expected]
    for drawing in (left, right):
        assert (drawing.geometry, drawing.closed, drawing.outside) == ("polyline", False, 0)
        assert not drawing.self_intersecting


def test_a_corner_line_may_be_a_single_segment() -> None:
    assert picture(draw(CornerLine(((3.2, -0.5), (-0.5, 3.2)), "L"), SIZE))[:4] == [
        "###........",
        "##.........",
        "#..........",
        "...........",
    ]


def test_a_corner_line_that_overshoots_the_border_is_cut_there() -> None:
    stops = draw(CornerLine(((6.0, -0.5), (6.0, 4.5), (10.5, 4.5)), "R"), SIZE)
    beyond = draw(CornerLine(((6.0, -1.4), (6.0, 4.5), (12.9, 4.5)), "R"), SIZE)
    assert picture(stops) == picture(beyond)
    assert stops.patch.area == 5 * 5
    assert not beyond.self_intersecting


# ---------------------------------------------------------------------------------- splines


def ring(n: int, radius: float, centre: tuple[float, float] = (60.3, 48.7)) -> Points:
    return [
        (
            centre[0] + radius * math.cos(2 * math.pi * k / n),
            centre[1] + radius * math.sin(2 * math.pi * k / n),
        )
        for k in range(n)
    ]


def test_a_spline_through_few_points_of_a_circle_has_the_area_of_the_circle() -> None:
    size = (100, 130)
    points = tuple(ring(8, 30))
    curve = draw(Spline(points), size)
    truth = math.pi * 30**2
    assert abs(curve.patch.area / truth - 1) < 0.01
    assert draw(Polygon(points), size).patch.area < 0.91 * truth
    assert (curve.geometry, curve.closed, curve.area_deviation) == ("spline", True, None)
    assert curve.n_points == 8


@pytest.mark.parametrize(
    ("stored_px", "geometry", "deviation"),
    [(math.pi * 900, "spline", -0.0027), (8 / 2 * 900 * math.sin(math.pi / 4), "polygon", 0.0)],
)
def test_the_stored_area_decides_between_spline_and_polygon(
    stored_px: float, geometry: str, deviation: float
) -> None:
    spacing = (0.1, 0.07)
    points = tuple(ring(8, 30))
    spline = Spline(points, stored_px * 0.1 * 0.07 / 100)
    drawing = draw(spline, (100, 130), spacing_mm=spacing)
    assert drawing.geometry == geometry
    assert drawing.area_deviation == pytest.approx(deviation, abs=2e-3)
    reference = Polygon(points) if geometry == "polygon" else Spline(points)
    assert drawing.patch.area == draw(reference, (100, 130)).patch.area


def test_without_spacing_or_area_the_spline_is_taken() -> None:
    points = tuple(ring(8, 30))
    area_cm2 = 8 / 2 * 900 * math.sin(math.pi / 4) * 0.07**2 / 100
    assert draw(Spline(points, area_cm2), (100, 130)).geometry == "spline"
    assert draw(Spline(points, 0.0), (100, 130), spacing_mm=(0.07, 0.07)).geometry == "spline"


def test_a_spline_says_whether_its_control_polygon_crosses_itself() -> None:
    assert draw(Spline(((1, 1), (9, 5), (9, 1), (1, 5.5))), SIZE).self_intersecting
    assert not draw(Spline(((1, 1), (9, 1), (9, 5), (1, 5.5))), SIZE).self_intersecting


# ---------------------------------------------------------------------------------- ellipses


def ellipse_reference(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """The formula in whole numbers, on the image and 15 pixels round it."""
    exact = [Fraction(number) for number in (cx, cy, rx, ry)]
    scale = math.lcm(*(number.denominator for number in exact))
    cx, cy, rx, ry = (int(number * scale) for number in exact)
    rows, columns = range(-15, SIZE[0] + 15), range(-15, SIZE[1] + 15)
    return np.array(
        [
            [
                ((column * scale - cx) * ry) ** 2 + ((row * scale - cy) * rx) ** 2 <= (rx * ry) ** 2
                for column in columns
            ]
            for row in rows
        ]
    )


@pytest.mark.parametrize("kind", ["whole", "halves", "thirds", "any float"])
def test_ellipses_are_those_of_the_formula(kind: str) -> None:
    number = COORDINATES[kind]

    @given(number, number, number.map(abs), number.map(abs))
    @settings(max_examples=40, deadline=None)
    def check(cx: float, cy: float, rx: float, ry: float) -> None:
        rx, ry = min(rx, 6.0), min(ry, 6.0)
        assume(rx > 0 and ry > 0)
        expected = ellipse_reference(cx, cy, rx, ry)
        inside = expected[15:22, 15:26]
        drawing = draw(Ellipse(cx, cy, rx, ry), SIZE)
        if expected.any():
            np.testing.assert_array_equal(mask(drawing), inside)
            assert drawing.outside == expected.sum() - inside.sum()
        else:
            assert drawing.patch.area + drawing.outside == 1

    check()


def test_a_circle_in_pixels() -> None:
    drawing = draw(Circle(5, 3, 3), SIZE)
    assert picture(drawing) == [
        ".....#.....",
        "...#####...",
        "...#####...",
        "..#######..",
        "...#####...",
        "...#####...",
        ".....#.....",
    ]
    assert (drawing.geometry, drawing.closed, drawing.n_points) == ("circle", True, 0)


def test_radii_too_large_for_int64_products_stay_exact() -> None:
    radius = 5 * 10**9  # (3, 4, 5): the centre of pixel (0, 0) lies exactly on the circle
    assert mask(draw(Circle(3 * 10**9, -4 * 10**9, radius), SIZE))[0, 0]
    assert not mask(draw(Circle(3 * 10**9 + 1, -4 * 10**9, radius), SIZE))[0, 0]


@pytest.mark.parametrize("theta", [0.3, -1.1, math.pi / 2, 2.5, 7.0])
@pytest.mark.parametrize("radii", [(40.0, 12.5), (7.25, 31.0), (20.0, 20.0)])
def test_theta_turns_from_x_towards_y(theta: float, radii: tuple[float, float]) -> None:
    size = (90, 110)
    cx, cy, (rx, ry) = 52.3, 41.9, radii
    row, column = np.mgrid[: size[0], : size[1]]
    along = (column - cx) * math.cos(theta) + (row - cy) * math.sin(theta)
    across = (row - cy) * math.cos(theta) - (column - cx) * math.sin(theta)
    level = (along / rx) ** 2 + (across / ry) ** 2
    drawing = draw(Ellipse(cx, cy, rx, ry, theta), size)
    sure = np.abs(level - 1) > 1e-9
    np.testing.assert_array_equal(mask(drawing, size)[sure], (level <= 1)[sure])
    assert drawing.outside == 0


def test_theta_is_seen_in_pixels() -> None:
    drawing = draw(Ellipse(3.0, 3.0, 4.0, 0.9, math.pi / 4), SIZE)
    assert mask(drawing)[5, 5]
    assert not mask(drawing)[1, 5]


@pytest.mark.parametrize("shape", [Circle(4.4, 2.4, 0.3), Ellipse(4.4, 2.4, 0.3, 0.0, 1.0)])
def test_an_ellipse_without_a_pixel_centre_marks_the_nearest(shape: Circle | Ellipse) -> None:
    assert np.argwhere(mask(draw(shape, SIZE))).tolist() == [[2, 4]]


def test_a_huge_or_distant_ellipse_is_clipped() -> None:
    drawing = draw(Ellipse(5.0, 3.0, 1e300, 1e300, 0.5), SIZE)
    assert drawing.patch.area == 77
    assert drawing.outside == (7 + 2048) * (11 + 2048) - 77
    assert draw(Circle(1e300, 3.0, 2.0), SIZE).outside >= 1
    assert draw(Ellipse(-3000.0, 3.0, 2.0, 1.0, 0.1), SIZE).patch.area == 0


# ---------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "shape",
    [
        Polygon(((1.0, 1.0), (math.nan, 2.0), (3.0, 3.0))),
        Polyline(((1.0, 1.0), (math.inf, 2.0), (3.0, 3.0))),
        Dots(((-math.inf, 0.0),)),
        Dots(()),
        Polygon(()),
        Polygon(((10**400, 1.0), (2.0, 2.0), (3.0, 5.0))),
        CornerLine(((math.nan, 0.0), (1.0, 1.0)), "L"),
        Spline(((1.7e308, 0.0), (-1.7e308, 0.0), (0.0, 1.7e308))),
        Ellipse(math.nan, 1.0, 2.0, 3.0),
        Ellipse(1.0, 1.0, 2.0, 3.0, math.inf),
        Ellipse(1.0, 1.0, -2.0, 3.0),
        Circle(1.0, 1.0, -1.0),
    ],
)
def test_impossible_coordinates_fail_by_name(shape: Polygon) -> None:
    with pytest.raises(RecordError) as caught:
        draw(shape, SIZE)
    assert caught.value.code == "bad_points"


# ---------------------------------------------------------------------------------- unions


def test_overlapping_lesions_do_not_cancel() -> None:
    one = polygon([(1, 1), (6, 1), (6, 5), (1, 5)])
    two = polygon([(3, 2), (9, 2), (9, 6), (3, 6)])
    painted = paint([one.patch, two.patch], SIZE)
    assert painted.dtype == np.uint8
    assert set(np.unique(painted)) == {0, 255}
    assert (
        read_picture(
            [
                "...........",
                ".#####.....",
                ".########..",
                ".########..",
                ".########..",
                "...######..",
                "...........",
            ]
        ).tolist()
        == (painted > 0).tolist()
    )


def test_a_patch_is_cropped_and_independent_of_the_mask() -> None:
    marked = read_picture(["......", "..#...", "..###.", "......"])
    patch = patch_of(marked, top=10, left=20)
    marked[:] = False
    assert (patch.top, patch.left, patch.bottom, patch.right) == (11, 22, 13, 25)
    assert patch.pixels.tolist() == [[True, False, False], [True, True, True]]
    assert (patch.area, patch.pixels.flags.c_contiguous) == (4, True)
    assert patch_of(marked, top=10, left=20).pixels.shape == (0, 0)


@pytest.mark.parametrize(("top", "left"), [(-1, 0), (0, -1), (6, 0), (0, 10)])
def test_a_patch_of_another_image_is_refused(top: int, left: int) -> None:
    patch = Patch(top, left, np.ones((2, 2), dtype=np.bool_))
    with pytest.raises(ValueError, match="inside"):
        paint([patch], SIZE)
    with pytest.raises(ValueError, match="inside"):
        rle_counts(patch, SIZE)
    with pytest.raises(ValueError, match="inside"):
        union_sha256([patch], SIZE)


MASKS = st.tuples(st.integers(1, 9), st.integers(1, 8)).flatmap(
    lambda size: st.lists(
        st.lists(st.booleans(), min_size=size[1], max_size=size[1]),
        min_size=size[0],
        max_size=size[0],
    ).map(lambda rows: np.array(rows, dtype=np.bool_))
)


def runs_hash(marked: np.ndarray) -> str:
    """The hash by its definition, run by run."""
    content = struct.pack("<2i", *marked.shape)
    for row, pixels in enumerate(marked.tolist()):
        column = 0
        while column < len(pixels):
            start = column
            while column < len(pixels) and pixels[column]:
                column += 1
            if column > start:
                content += struct.pack("<3i", row, start, column)
            column += 1
    return hashlib.sha256(content).hexdigest()


@given(MASKS, st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_the_hash_is_that_of_the_union_however_divided(marked: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = [marked & (random.random(marked.shape) < 0.6) for _ in range(3)]
    parts.append(marked & ~np.logical_or.reduce(parts))
    patches = [patch_of(part) for part in parts]
    whole = union_sha256([patch_of(marked)], marked.shape)
    assert union_sha256(patches, marked.shape) == whole == runs_hash(marked)
    assert union_sha256(reversed(patches), marked.shape) == whole
    np.testing.assert_array_equal(paint(patches, marked.shape), marked * np.uint8(255))


def test_the_hash_sees_place_and_image_size() -> None:
    patch = Patch(1, 2, np.ones((1, 1), dtype=np.bool_))
    moved = Patch(1, 3, np.ones((1, 1), dtype=np.bool_))
    hashes = {
        union_sha256([patch], (7, 11)),
        union_sha256([moved], (7, 11)),
        union_sha256([patch], (11, 7)),
        union_sha256([], (7, 11)),
        union_sha256([], (11, 7)),
    }
    assert len(hashes) == 5


# ---------------------------------------------------------------------------------- run lengths


def counts_reference(marked: np.ndarray) -> list[int]:
    counts, value = [0], False
    for pixel in marked.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@given(MASKS)
@example(np.ones((3, 4), dtype=np.bool_))
@example(np.zeros((3, 4), dtype=np.bool_))
@example(np.array([[0, 1, 1, 0]] * 3, dtype=np.bool_))
@settings(max_examples=200, deadline=None)
def test_run_lengths_are_those_of_coco_and_come_back(marked: np.ndarray) -> None:
    patch = patch_of(marked)
    counts = rle_counts(patch, marked.shape)
    assert counts == counts_reference(marked)
    back = patch_from_rle(counts, marked.shape)
    assert (back.top, back.left) == (patch.top, patch.left)
    np.testing.assert_array_equal(back.pixels, patch.pixels)


def test_run_lengths_with_empty_runs_are_understood() -> None:
    patch = patch_from_rle([0, 0, 3, 1, 0, 2, 6], (3, 4))
    assert (patch.top, patch.left, patch.pixels.tolist()) == (0, 1, [[True], [True], [True]])


@pytest.mark.parametrize("counts", [[], [5], [13], [20, -8]])
def test_run_lengths_of_another_image_fail(counts: list[int]) -> None:
    with pytest.raises(RecordError) as caught:
        patch_from_rle(counts, (3, 4))
    assert caught.value.code == "bad_rle"
