"""Points from columns of coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

from bcseg.record import Point


def points_of(xs: Iterable[float | str], ys: Iterable[float | str]) -> tuple[Point, ...]:
    """Return (x, y) of each pair. Raises ValueError for one that is no finite number."""
    try:
        points = tuple(zip(map(float, xs), map(float, ys), strict=True))
    except OverflowError as error:  # an integer of hundreds of digits
        raise ValueError("a number without end") from error
    if not all(map(math.isfinite, chain.from_iterable(points))):
        raise ValueError("a number without end")
    return points
