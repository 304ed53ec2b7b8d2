"""Closed smooth curves through control points: what OsiriX draws for a pencil contour.

The curve is the periodic cubic spline parametrised by chord length: the parameter grows from one
control point to the next by their distance, and position, first and second derivative are
continuous everywhere, the seam included.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def without_repeats(points: Points) -> Points:
    """Drop every point that equals its successor; the successor of the last is the first."""
    kept: Points = points[np.any(points != np.roll(points, -1, axis=0), axis=1)]
    return kept if len(kept) else points[:1]


def closed_spline(points: Points, steps: int = 64) -> Points:
    """Flatten the periodic cubic spline through `points` to `steps` points for each interval.

    `points` is (n, 2); repeated consecutive points are dropped first. The result begins at a
    control point and does not repeat it at the end. Fewer than three points come back as they are.
    """
    knots = without_repeats(points)
    if len(knots) < 3:
        return knots
    ahead = np.roll(knots, -1, axis=0)
    chord = np.hypot(ahead[:, 0] - knots[:, 0], ahead[:, 1] - knots[:, 1])[:, None]
    tangent = _tangents((ahead - knots) / chord, chord[:, 0])
    # Cubic Hermite form: powers of the chord length never appear, so nothing overflows early.
    t = (np.arange(steps) / steps)[:, None]
    rest = 1 - t
    from_here = (1 + 2 * t) * rest**2
    curve: Points = (
        from_here * knots[:, None]
        + (t * t * (3 - 2 * t)) * ahead[:, None]
        + (t * rest**2) * (chord * tangent)[:, None]
        - (t * t * rest) * (chord * np.roll(tangent, -1, axis=0))[:, None]
    )
    return curve.reshape(-1, 2)


def _tangents(slope: Points, chord: NDArray[np.float64]) -> Points:
    """Return the derivative at each knot, by the continuity of the second derivative.

    With h the chord lengths and d the slopes of the intervals, it is for each knot
    a s[i-1] + 2 s[i] + b s[i+1] = 3 (a d[i-1] + b d[i]), a = h[i] / (h[i-1] + h[i]), b = 1 - a.
    """
    previous = np.roll(chord, 1)
    before = chord / (previous + chord)
    after = previous / (previous + chord)
    right = 3 * (before[:, None] * np.roll(slope, 1, axis=0) + after[:, None] * slope)
    return _solve_cyclic(before, after, right)


def _solve_cyclic(before: NDArray[np.float64], after: NDArray[np.float64], right: Points) -> Points:
    """Solve before[i] s[i-1] + 2 s[i] + after[i] s[i+1] = right[i], indices cyclic, in O(n).

    Sherman-Morrison: without its two corners the matrix is tridiagonal, and because
    before + after = 1 < 2 it needs no pivoting; `right` is (n, 2), n >= 3.
    """
    n = len(before)
    diagonal = np.full(n, 2.0)
    diagonal[0] = 4.0
    diagonal[-1] += before[0] * after[-1] / 2
    both = np.zeros((n, 3))
    both[:, :2] = right
    both[0, 2] = -2.0
    both[-1, 2] = after[-1]
    for i in range(1, n):
        factor = before[i] / diagonal[i - 1]
        diagonal[i] -= factor * after[i - 1]
        both[i] -= factor * both[i - 1]
    both[-1] /= diagonal[-1]
    for i in range(n - 2, -1, -1):
        both[i] = (both[i] - after[i] * both[i + 1]) / diagonal[i]
    corner = both[0] - both[-1] * (before[0] / 2)
    solution: Points = both[:, :2] - both[:, 2:] * (corner[:2] / (1 + corner[2]))
    return solution
