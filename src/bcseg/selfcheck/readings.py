"""Readings of the coordinates: which gives the grey values that the archive stores."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from bcseg.pairs import Row, problem_row
from bcseg.selfcheck.measuring import Measured
from bcseg.selfcheck.report import Fit

_GREY_TOLERANCE = 0.1  # of the range of grey values that the archive stores for a region
_SMALLEST_GREY_STEP = 2.0  # grey levels below which no difference of a mean counts
_EXACT = 0.5  # grey levels: stored as float32


def compare_readings(measured: Iterable[Measured]) -> tuple[Fit, ...]:
    """Return how well each reading fits, over the regions that all readings see."""
    comparable = [one for one in measured if one.stored and one.readings]
    names = list(dict.fromkeys(name for one in comparable for name in one.readings))
    fits = []
    for name in names:
        differences, exact, points, hits = [], 0, 0, 0
        for one in comparable:
            stored, found = one.stored, one.readings.get(name)
            assert stored is not None
            if found is None:
                continue
            if one.point:
                points += 1
                hits += abs(found.mean - stored.mean) < _EXACT
                continue
            differences.append(abs(found.mean - stored.mean))
            exact += all(abs(a - b) < _EXACT for a, b in zip(found[1:], stored[1:], strict=True))
        mean = statistics.fmean(differences) if differences else math.nan
        fits.append(Fit(name, len(differences), mean, exact, points, hits))
    return tuple(fits)


def best_reading(fits: Sequence[Fit], measured: Sequence[Measured]) -> tuple[str, str]:
    """Return the reading that fits best, and the verdict in words.

    It must be no worse than any other in every measure, better in one, and near what is stored.
    """
    if not fits:
        return "", "no grey values to compare: nothing tells where the pixels are counted from"

    def no_worse(one: Fit, other: Fit) -> bool:
        nearer = math.isnan(one.difference) or one.difference <= other.difference
        return nearer and one.exact >= other.exact and one.hits >= other.hits

    def measures(one: Fit) -> tuple[object, ...]:
        return str(one.difference), one.exact, one.hits

    for fit in fits:
        others = [other for other in fits if other is not fit]
        if not all(no_worse(fit, other) for other in others):
            continue
        if any(measures(fit) == measures(other) for other in others):
            return "", "the readings fit equally well: the grey values cannot tell them apart"
        if not _is_near(fit.reading, measured):
            return "", "no reading gives the stored grey values: nothing is proved"
        return fit.reading, f"{fit.reading} fits best"
    return "", "the evidence is divided: no reading is best in every measure"


def _is_near(reading: str, measured: Iterable[Measured]) -> bool:
    """Tell whether most regions have the stored mean, within a tenth of their range."""
    near = [_is_off(one, reading) is None for one in measured if reading in one.readings]
    return sum(near) * 2 > len(near)


def _is_off(one: Measured, reading: str) -> str | None:
    """Return in words how the grey values of a region are off; None if they are not."""
    found, stored = one.readings.get(reading), one.stored
    if found is None or stored is None:
        return None
    span = _GREY_TOLERANCE * abs(stored.greatest - stored.least)
    limit = _EXACT if one.point else max(span, _SMALLEST_GREY_STEP)
    if abs(found.mean - stored.mean) <= limit:
        return None
    return f"mean grey value {found.mean:.6g}, {stored.mean:.6g} stored"


def regions_off(dataset: str, measured: Iterable[Measured], reading: str) -> list[Row]:
    """List the regions that are off, in area or (with the best reading) in grey values."""
    rows = []
    for one in measured:
        area, grey = one.area_off, _is_off(one, reading)
        record_id, source = one.record_id, one.source
        if area:
            rows.append(problem_row(dataset, record_id, "warning", "stored_area_off", area, source))
        if grey:
            rows.append(problem_row(dataset, record_id, "failed", "stored_grey_off", grey, source))
    return rows
