"""Points from columns of coordinates."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from itertools import chain

from bcseg.record import Points


def points_of(xs: Iterable[float | str], ys: Iterable[float | str]) -> Points:
    """Return (x, y) of each pair. Raises ValueError for one that is no finite number."""
    try:
        pairs = zip(map(float, xs), map(float, ys), strict=True)
        coordinates = array("d", chain.from_iterable(pairs))
    except OverflowError as error:  # an integer of hundreds of digits
        raise ValueError("a number without end") from error
    if not all(map(math.isfinite, coordinates)):
        raise ValueError("a number without end")
    return Points(coordinates)
