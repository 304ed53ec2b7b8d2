"""INbreast: `Area`, `Mean`, `Min` and `Max` of each region prove orientation and pixel origin."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from bcseg import adapters, raster
from bcseg.adapters.base import ReadOptions
from bcseg.formats.images import decode
from bcseg.formats.osirix import Region, read_regions
from bcseg.record import Image, Record, Unreadable
from bcseg.record import VectorShape as Vector
from bcseg.selfcheck.archive import Archive, read_options
from bcseg.selfcheck.measuring import Grey, Measured, grey_values, measure_all
from bcseg.selfcheck.readings import best_reading, compare_readings, regions_off
from bcseg.selfcheck.report import SelfCheck
from bcseg.selfcheck.spread import area_message, spreads_of
from bcseg.source import Source, read


def check(archive: Archive) -> SelfCheck:
    """Compare areas and grey values of all regions, read with either origin."""
    records = [one for one in archive.index.records if one.image and one.annotations]
    measured, findings = measure_all(archive, records, _measure_inbreast)
    fits = compare_readings(measured)
    best, verdict = best_reading(fits, measured)
    used = ReadOptions().osirix_origin
    if best and best != used:
        verdict += f", and bcseg reads {used} unless told otherwise: --osirix-origin {best}"
    return SelfCheck(
        dataset=archive.name,
        location=archive.source.location,
        checked=f"{len(measured)} regions of {len(records)} images",
        spreads=spreads_of(measured),
        fits=fits,
        verdicts=(f"pixel origin: {verdict}",),
        best=best,
        findings=tuple(findings + regions_off(archive.name, measured, best or used)),
    )


def _measure_inbreast(record: Record, source: Source) -> list[Measured]:
    content = functools.cache(lambda name: read(source, name))
    adapter = adapters.get("inbreast")
    shapes: dict[str, dict[str, Any]] = {}
    for origin in ("corner", "centre"):
        options = read_options(adapter, osirix_origin=origin)
        shapes[origin] = {
            lesion.source: lesion.shape for lesion in adapter.lesions(record, content, options)
        }
    image = decode(content(record.image), record.image)
    measured = []
    for name in record.annotations:
        for region in read_regions(content(name), name):
            item = f"{name}#{region.index}"
            both = {origin: found[item] for origin, found in shapes.items() if item in found}
            if len(both) == 2 and not any(isinstance(one, Unreadable) for one in both.values()):
                measured.append(_region(record, item, region, image, both))
    return measured


def _region(
    record: Record, item: str, region: Region, image: Image, shapes: Mapping[str, Vector]
) -> Measured:
    """Measure one region under both origins, and once on the mirrored image."""
    point = len(region.points) == 1
    drawings = {
        origin: raster.draw(shape, image.size, spacing_mm=image.spacing_mm)
        for origin, shape in shapes.items()
    }
    readings = {
        origin: grey_values(image.pixels, drawing.patch, image)
        for origin, drawing in drawings.items()
    }
    readings["corner, mirrored image"] = grey_values(
        image.pixels[:, ::-1], drawings["corner"].patch, image
    )
    drawn = drawings["corner"]
    deviations: dict[str, float] = {}
    area_off = ""
    if region.area_cm2 > 0 and image.spacing_mm and not point:
        stored = region.area_cm2 * 100 / (image.spacing_mm[0] * image.spacing_mm[1])
        pixels = drawn.patch.area + drawn.outside
        deviations["area drawn / Area"] = pixels / stored - 1
        area_off = area_message("drawn", pixels, stored)
    if region.total and region.mean and not point and not drawn.outside:
        pixels = drawn.patch.area
        deviations["pixels drawn / (Total / Mean)"] = pixels * region.mean / region.total - 1
    grey = None
    if region.mean is not None and region.minimum is not None and region.maximum is not None:
        grey = Grey(region.mean, region.minimum, region.maximum)
    seen = {name: found for name, found in readings.items() if found is not None}
    usable = seen if len(seen) == len(readings) else {}
    return Measured(record.record_id, item, point, deviations, area_off, grey, usable)
