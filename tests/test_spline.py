"""The closed spline: against scipy, and the properties that a smooth contour must have."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from bcseg.spline import closed_spline, without_repeats


def reference(points: np.ndarray, steps: int = 64) -> np.ndarray:
    """The same curve by scipy's solver."""
    ring = np.vstack([points, points[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    parts = [np.linspace(a, b, steps, endpoint=False) for a, b in pairwise(length)]
    return CubicSpline(length, ring, bc_type="periodic")(np.concatenate(parts))


def circle(n: int, radius: float = 10.0) -> np.ndarray:
    angle = np.arange(n) / n * 2 * math.pi
    return np.stack([50 + radius * np.cos(angle), 70 + radius * np.sin(angle)], axis=1)


def area(contour: np.ndarray) -> float:
    x, y = contour.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@pytest.mark.parametrize("n", [3, 4, 5, 8, 133, 700])
def test_it_equals_scipys_periodic_spline(n: int) -> None:
    random = np.random.default_rng(n)
    points = circle(n, 200.0) + random.normal(0, 200 / n, (n, 2))
    np.testing.assert_allclose(closed_spline(points), reference(points), rtol=1e-9)


@given(
    st.lists(
        st.tuples(st.integers(0, 4000), st.integers(0, 3000)), min_size=3, max_size=30, unique=True
    )
)
@settings(max_examples=150, deadline=None)
def test_it_equals_scipy_for_any_points(points: list[tuple[int, int]]) -> None:
    knots = np.array(points, dtype=np.float64)
    curve, expected = closed_spline(knots, 8), reference(knots, 8)
    assert np.abs(curve - expected).max() <= 1e-9 * max(np.abs(expected).max(), 1)


def test_it_passes_through_every_control_point_and_does_not_repeat_the_first() -> None:
    points = np.array([(3.25, 9.5), (40.0, 12.0), (37.5, 80.0), (1.0, 60.0)])
    curve = closed_spline(points, 16)
    assert curve.shape == (64, 2)
    assert np.array_equal(curve[::16], points)
    assert not np.array_equal(curve[-1], curve[0])


def test_repeated_points_change_nothing() -> None:
    points = np.array([(0.0, 0.0), (9.0, 1.0), (8.0, 7.0), (2.0, 5.0)])
    stuttered = points[[0, 0, 1, 2, 2, 2, 3, 3, 0]]
    np.testing.assert_array_equal(closed_spline(stuttered), closed_spline(points))


def test_the_seam_is_as_smooth_as_any_other_place() -> None:
    points = circle(7) + np.random.default_rng(1).normal(0, 2, (7, 2))
    turned = np.roll(closed_spline(np.roll(points, -3, axis=0)), 3 * 64, axis=0)
    np.testing.assert_allclose(turned, closed_spline(points), rtol=1e-12)


def test_it_scales_with_its_points_even_to_huge_ones() -> None:
    points = circle(6)
    np.testing.assert_allclose(closed_spline(points * 2.0**900) / 2.0**900, closed_spline(points))


@pytest.mark.parametrize(("n", "polygon_loses"), [(6, 0.15), (8, 0.09), (10, 0.06)])
def test_points_on_a_circle_give_its_area(n: int, polygon_loses: float) -> None:
    truth = math.pi * 100
    assert 1 - area(circle(n)) / truth > polygon_loses
    assert abs(area(closed_spline(circle(n))) / truth - 1) < 0.02


@pytest.mark.parametrize("points", [[(4.0, 5.0)], [(4.0, 5.0), (9.0, 1.0)]])
def test_fewer_than_three_points_come_back_as_they_are(points: list[tuple[float, float]]) -> None:
    np.testing.assert_array_equal(closed_spline(np.array(points)), points)


def test_without_repeats_keeps_the_order_and_one_of_all_equal_points() -> None:
    points = np.array([(1.0, 2.0), (1.0, 2.0), (3.0, 4.0), (1.0, 5.0), (1.0, 2.0)])
    assert without_repeats(points).tolist() == [[1, 2], [3, 4], [1, 5]]
    assert without_repeats(points[:2]).tolist() == [[1, 2]]
