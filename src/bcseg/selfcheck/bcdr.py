"""BCDR: outlines against `s_area`, `i_mean`, `i_minimum` and `i_maximum` of the features."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from bcseg import raster
from bcseg.formats.images import decode
from bcseg.formats.tables import Row as TableRow
from bcseg.record import Image, Point, Polygon, Record
from bcseg.selfcheck.archive import Archive
from bcseg.selfcheck.measuring import Grey, Measured, grey_values, measure_all
from bcseg.selfcheck.readings import best_reading, compare_readings, regions_off
from bcseg.selfcheck.report import SelfCheck
from bcseg.selfcheck.spread import area_message, spreads_of
from bcseg.source import Source, read

_FROM_ZERO, _FROM_ONE = "counted from 0 (as read)", "counted from 1"
_SILENT_AREAS = "areas cannot tell whether outlines count from 0 or from 1: a shift changes no area"


def check(archive: Archive) -> SelfCheck:
    """Compare areas and grey values of the outlines that have a row of features."""
    features = _features(archive)
    records = [
        one
        for one in archive.index.records
        if any(_feature_key(lesion.source, lesion.lesion_id) in features for lesion in one.lesions)
    ]
    measure = functools.partial(_measure_bcdr, features=features)
    measured, findings = measure_all(archive, records, measure)
    fits = compare_readings(measured)
    best, verdict = best_reading(fits, measured)
    return SelfCheck(
        dataset=archive.name,
        location=archive.source.location,
        checked=f"{len(measured)} outlines with a row of features, {len(features)} rows",
        spreads=spreads_of(measured),
        fits=fits,
        verdicts=(_SILENT_AREAS, f"i_mean, i_minimum, i_maximum: {verdict}"),
        best=best,
        findings=tuple(findings + regions_off(archive.name, measured, best)),
    )


def _features(archive: Archive) -> dict[str, dict[str, float]]:
    """Return the numbers of the features tables, by table of outlines and segmentation id."""
    found = {}
    for name in archive.index.tables:
        if "features" not in name.rsplit("/", 1)[-1].lower():
            continue
        for row in archive.table(name).rows:
            key = _feature_key(row.item, row.get("segmentation_id"))
            numbers = {
                column: value
                for column in ("s_area", "i_mean", "i_minimum", "i_maximum")
                if (value := _float(row, column)) is not None
            }
            if row.get("segmentation_id") and not row.damage:
                found[key] = numbers
    return found


def _feature_key(item: str, segmentation: str) -> str:
    table = item.rsplit("#", 1)[0].lower().replace("features", "outlines")
    return f"{table}#{segmentation}"


def _float(row: TableRow, column: str) -> float | None:
    try:
        value = float(row.get(column))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _measure_bcdr(
    record: Record, source: Source, *, features: Mapping[str, Mapping[str, float]]
) -> list[Measured]:
    image = decode(read(source, record.image), record.image) if record.image else None
    measured = []
    for lesion in record.lesions:
        numbers = features.get(_feature_key(lesion.source, lesion.lesion_id))
        if numbers is not None and isinstance(lesion.shape, Polygon):
            item = f"{lesion.source} (segmentation {lesion.lesion_id})"
            measured.append(_outline(record.record_id, item, lesion.shape, numbers, image))
    return measured


def _outline(
    record_id: str, item: str, shape: Polygon, numbers: Mapping[str, float], image: Image | None
) -> Measured:
    deviations: dict[str, float] = {}
    area_off = ""
    stored = numbers.get("s_area", 0.0)
    if stored > 0:
        drawn = _pixels_of(shape)
        exact = _shoelace(shape.points)
        deviations = {
            "area of the outline / s_area": exact / stored - 1,
            "area drawn / s_area": drawn / stored - 1,
        }
        area_off = area_message("outline", exact, stored) or area_message("drawn", drawn, stored)
    grey = None
    if {"i_mean", "i_minimum", "i_maximum"} <= numbers.keys():
        grey = Grey(numbers["i_mean"], numbers["i_minimum"], numbers["i_maximum"])
    readings: dict[str, Grey] = {}
    if image is not None:
        shifted = Polygon(tuple((x - 1, y - 1) for x, y in shape.points), shape.closed)
        for name, one in ((_FROM_ZERO, shape), (_FROM_ONE, shifted)):
            found = grey_values(image.pixels, raster.draw(one, image.size).patch, image)
            if found:
                readings[name] = found
    usable = readings if len(readings) == 2 else {}
    return Measured(record_id, item, False, deviations, area_off, grey, usable)


def _pixels_of(shape: Polygon) -> int:
    """Return how many pixels an outline covers on a grid that is large enough."""
    size = (
        math.ceil(max(y for _, y in shape.points)) + 2,
        math.ceil(max(x for x, _ in shape.points)) + 2,
    )
    drawing = raster.draw(shape, (max(size[0], 1), max(size[1], 1)))
    return drawing.patch.area + drawing.outside


def _shoelace(points: Sequence[Point]) -> float:
    x, y = (np.array(points) - np.array(points[0])).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
