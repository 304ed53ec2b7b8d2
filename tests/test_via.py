"""Regions of the VGG Image Annotator."""

from __future__ import annotations

import json
import pickle
from array import array
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcseg import raster
from bcseg.errors import RecordError
from bcseg.formats.via import read_shape
from bcseg.limits import DEFAULT
from bcseg.record import Circle, Dots, Ellipse, Points, Polygon, Polyline


def shape(**cell):
    return read_shape(json.dumps(cell), "regions.csv#3")


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(numbers, numbers)), st.slices(5))
def test_points_are_a_tuple_of_points(pairs, cut):
    packed = Points(array("d", chain(*pairs)))
    assert packed == tuple(pairs)
    assert tuple(pairs) == packed
    assert packed != pairs
    assert hash(packed) == hash(tuple(pairs))
    assert repr(packed) == repr(tuple(pairs))  # of which the key of a record is made
    assert len(packed) == len(pairs)
    assert packed[cut] == tuple(pairs)[cut]
    assert [packed[place] for place in range(-len(pairs), len(pairs))] == pairs * 2
    assert np.array_equal(np.array(packed), np.array(pairs).reshape(-1, 2))
    assert pickle.loads(pickle.dumps(packed)) == packed
    with pytest.raises(IndexError):
        packed[len(pairs)]


def test_a_circle_as_the_published_table_has_it():
    text = '{"name":"circle","cx":693,"cy":814,"r":64}'
    assert read_shape(text, "") == Circle(693, 814, 64)


def test_an_ellipse_with_and_without_a_turn():
    assert shape(name="ellipse", cx=5, cy=-6, rx=7, ry=8.5) == Ellipse(5, -6, 7, 8.5, 0)
    assert shape(name="ellipse", cx=5, cy=6, rx=7, ry=8, theta=0.25) == Ellipse(5, 6, 7, 8, 0.25)


def test_the_turn_of_an_ellipse_reaches_the_mask():
    turned = shape(name="ellipse", cx=30, cy=20, rx=15, ry=3, theta=1.5707963267948966)
    patch = raster.draw(turned, (50, 70)).patch
    assert patch.pixels.shape[0] > 25
    assert patch.pixels.shape[1] < 10


def test_a_point_marks_one_pixel():
    assert shape(name="point", cx=11, cy=7) == Dots(((11, 7),))
    patch = raster.draw(shape(name="point", cx=11, cy=7), (20, 30)).patch
    assert (patch.left, patch.top, patch.area) == (11, 7, 1)


@pytest.mark.parametrize("end", [[], [1]])
def test_a_polygon_keeps_its_points_and_drops_the_repeated_last(end):
    cell = {
        "name": "polygon",
        "all_points_x": [1, 9, 5, *end],
        "all_points_y": [2, 2, -7, *[2 for _ in end]],
    }
    assert shape(**cell) == Polygon(((1, 2), (9, 2), (5, -7)))


def test_a_polyline_keeps_all_its_points():
    assert shape(name="polyline", all_points_x=[1, 9, 1], all_points_y=[2, 2, 2]) == Polyline(
        ((1, 2), (9, 2), (1, 2))
    )


def test_a_rectangle_covers_as_many_pixels_as_its_sides_say():
    drawn = raster.draw(shape(name="rect", x=4, y=5, width=6, height=3), (20, 30))
    assert drawn.geometry == "box"
    assert (drawn.patch.left, drawn.patch.top) == (4, 5)
    assert drawn.patch.pixels.shape == (3, 6)


@pytest.mark.parametrize("text", ["{}", "", "{ }"])
def test_no_region_is_none(text):
    assert read_shape(text, "x") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON"),
        ("[1]", "object"),
        ('"circle"', "object"),
        ('{"name":"spiral"}', "unknown shape"),
        ('{"cx":1,"cy":2,"r":3}', "unknown shape"),
        ('{"name":"circle","cx":1,"cy":2}', "'r'"),
        ('{"name":"circle","cx":1,"cy":2,"r":-3}', "radius"),
        ('{"name":"circle","cx":"1","cy":2,"r":3}', "coordinate"),
        ('{"name":"circle","cx":true,"cy":2,"r":3}', "coordinate"),
        ('{"name":"circle","cx":NaN,"cy":2,"r":3}', "coordinate"),
        ('{"name":"circle","cx":1e999,"cy":2,"r":3}', "coordinate"),
        ('{"name":"circle","cx":1' + "0" * 400 + ',"cy":2,"r":3}', "coordinate"),
        ('{"name":"circle","cx":1' + "0" * 5000 + ',"cy":2,"r":3}', "JSON"),
        ('{"name":"polygon","all_points_x":[1,2],"all_points_y":[1]}', "2 x and 1 y"),
        ('{"name":"polygon","all_points_x":[],"all_points_y":[]}', "no points"),
        ('{"name":"polygon","all_points_x":7,"all_points_y":[1]}', "no points"),
        ('{"name":"polyline"}', "no points"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_region_that_cannot_be_read_says_which_row_and_why(text, message):
    with pytest.raises(RecordError, match=message) as caught:
        read_shape(text, "regions.csv#3")
    assert caught.value.code == "unreadable_contour"
    assert caught.value.where == "regions.csv#3"


def test_a_million_points_are_refused():
    numbers = ",".join("1" for _ in range(DEFAULT.points + 1))
    text = f'{{"name":"polygon","all_points_x":[{numbers}],"all_points_y":[{numbers}]}}'
    with pytest.raises(RecordError, match=r"100,001 points, the limit is 100,000 \(--max-points\)"):
        read_shape(text, "x")
