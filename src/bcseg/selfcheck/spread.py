"""Deviations of areas and sizes from what the archive stores, and their distribution."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from bcseg.selfcheck.measuring import Measured
from bcseg.selfcheck.report import Spread

_WORST = 3  # named beside each distribution
_AREA_TOLERANCE = 0.05


def spread_of(title: str, values: Sequence[tuple[str, float]]) -> tuple[Spread, ...]:
    """Return the distribution of some deviations by item; nothing for none."""
    if not values:
        return ()
    numbers = np.array([value for _, value in values])
    low, first, median, third, high = (
        float(one) for one in np.percentile(numbers, (5, 25, 50, 75, 95))
    )
    worst = sorted(values, key=lambda one: (-abs(one[1]), one[0]))[:_WORST]
    return (Spread(title, len(values), median, (first, third), (low, high), tuple(worst)),)


def spreads_of(measured: Iterable[Measured]) -> tuple[Spread, ...]:
    """Return the distributions of all deviations of some regions, by title."""
    by_title: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for one in measured:
        for title, value in one.deviations.items():
            by_title[title].append((one.source, value))
    return tuple(
        spread for title, values in by_title.items() for spread in spread_of(title, values)
    )


def area_message(title: str, drawn: float, stored: float) -> str:
    """Return in words that an area in pixels is off, "" if rasterising explains it.

    The pixels of a shape differ from its area by about the square root of its outline.
    """
    scatter = math.sqrt(2 * math.sqrt(math.pi * stored))
    if abs(drawn - stored) <= _AREA_TOLERANCE * stored + scatter:
        return ""
    return f"{title} {drawn:.0f} pixels, {stored:.0f} stored ({drawn / stored - 1:+.1%})"
