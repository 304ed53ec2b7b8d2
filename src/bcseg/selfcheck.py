"""What archives say about themselves, held against what bcseg reads from them.

INbreast: `Area` of each region, and `Mean`, `Min`, `Max` of the grey values inside it, which prove
orientation and pixel origin. BCDR: `s_area` and `i_mean`, `i_minimum`, `i_maximum` of the features
table. CDD-CESM: `file_size` of the region table. Nothing is written.
"""

from __future__ import annotations

import functools
import math
import plistlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import adapters, executors, pairs, plan, raster
from bcseg.adapters.base import Adapter, ReadOptions
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, RecordError, UsageError
from bcseg.formats.images import decode
from bcseg.formats.osirix import Region, read_regions
from bcseg.formats.tables import Row as TableRow
from bcseg.formats.tables import Table, read_csv
from bcseg.pairs import SCHEMA_VERSION, Row
from bcseg.records import LESION_KINDS, Image, Index, Point, Polygon, Record, Unreadable
from bcseg.records import VectorShape as Vector
from bcseg.run import Progress
from bcseg.settings import Settings
from bcseg.source import Source, open_source, read
from bcseg.verify import finding_key, read_baseline

_WORST = 3  # named beside each distribution
_SHOWN = 20
_AREA_TOLERANCE = 0.05
_GREY_TOLERANCE = 0.1  # of the range of grey values that the archive stores for a region
_SMALLEST_GREY_STEP = 2.0  # grey levels below which no difference of a mean counts
_EXACT = 0.5  # grey levels: stored as float32


# ---------------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True)
class Spread:
    """Relative deviations of what bcseg finds from what the archive stores."""

    title: str
    count: int
    median: float
    quartiles: tuple[float, float]
    outer: tuple[float, float]  # the 5 and 95 % points
    worst: tuple[tuple[str, float], ...]  # item and deviation, largest first


@dataclass(frozen=True, slots=True)
class Fit:
    """How well one reading of the coordinates gives the grey values that the archive stores.

    `difference`: mean of |mean found - mean stored| over the regions, in grey levels; `exact`:
    regions whose least and greatest value are both the stored ones; `points` and `hits`: regions
    of one point, and those whose pixel has the stored value.
    """

    reading: str
    regions: int
    difference: float
    exact: int
    points: int
    hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """What the archive says about itself and whether it is so; `findings` as in problems.csv."""

    dataset: str
    location: Path
    checked: str
    spreads: tuple[Spread, ...] = ()
    fits: tuple[Fit, ...] = ()
    verdicts: tuple[str, ...] = ()
    best: str = ""  # the reading that fits best, "" if nothing tells
    findings: tuple[Row, ...] = ()
    known: frozenset[tuple[str, ...]] = frozenset()  # findings of the baseline

    @property
    def exit_code(self) -> int:
        """1 if a record failed that the baseline does not know."""
        new = (row for row in self.findings if finding_key(row) not in self.known)
        failed = any(row["severity"] == "failed" for row in new)
        return EXIT_FINDINGS if failed else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the check for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            "source": str(self.location),
            "checked": self.checked,
            "distributions": [
                {
                    "title": one.title,
                    "n": one.count,
                    "median": one.median,
                    "quartiles": list(one.quartiles),
                    "5_and_95_percent": list(one.outer),
                    "worst": [{"item": item, "deviation": value} for item, value in one.worst],
                }
                for one in self.spreads
            ],
            "readings": [
                {
                    "reading": one.reading,
                    "regions": one.regions,
                    "mean_difference": None if math.isnan(one.difference) else one.difference,
                    "exact": one.exact,
                    "points": one.points,
                    "hits": one.hits,
                }
                for one in self.fits
            ],
            "best_reading": self.best,
            "verdicts": list(self.verdicts),
            "findings": list(self.findings),
            "exit_code": self.exit_code,
        }

    def table(self) -> bytes:
        """Return what is off as CSV with the columns of problems.csv."""
        return pairs.table_bytes(pairs.PROBLEMS, self.findings)

    def text(self) -> str:
        """Return the check for people: distributions, readings, verdicts, what is off."""
        lines = [f"{self.dataset}: {self.checked}"]
        if self.spreads:
            lines.append(f"  {'deviation':34}{'n':>6}{'median':>9}{'quartiles':>18}{'5, 95 %':>18}")
        for one in self.spreads:
            lines.append(
                f"  {one.title:34}{one.count:6}{_percent(one.median):>9}"
                f"{_percents(one.quartiles):>18}{_percents(one.outer):>18}"
            )
            lines += [f"      worst {_percent(value):>8}  {item}" for item, value in one.worst]
        if self.fits:
            lines.append(f"  {'grey values':34}{'mean off by':>15}{'exact':>15}{'points':>12}")
        for fit in self.fits:
            off = "" if math.isnan(fit.difference) else f"{fit.difference:.2f}"
            lines.append(
                f"  {fit.reading:34}{off:>15}{f'{fit.exact} of {fit.regions}':>15}"
                f"{f'{fit.hits} of {fit.points}':>12}"
            )
        lines += [f"  {verdict}" for verdict in self.verdicts]
        lines += [
            f"  {row['severity']} {row['record_id']} {row['source']}: {row['message']}"
            f" [{row['code']}]"
            for row in self.findings[:_SHOWN]
        ]
        if len(self.findings) > _SHOWN:
            lines.append(f"  ... and {len(self.findings) - _SHOWN} more: --out FILE has them all")
        elif not self.findings:
            lines.append("  no record is off")
        return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{value:+.2%}"


def _percents(values: tuple[float, float]) -> str:
    return f"{_percent(values[0])} {_percent(values[1])}"


def _spread(title: str, values: Sequence[tuple[str, float]]) -> tuple[Spread, ...]:
    """Return the distribution of some deviations by item; nothing for none."""
    if not values:
        return ()
    numbers = np.array([value for _, value in values])
    low, first, median, third, high = (
        float(one) for one in np.percentile(numbers, (5, 25, 50, 75, 95))
    )
    worst = sorted(values, key=lambda one: (-abs(one[1]), one[0]))[:_WORST]
    return (Spread(title, len(values), median, (first, third), (low, high), tuple(worst)),)


def _finding(dataset: str, severity: str, code: str, message: str, where: tuple[str, str]) -> Row:
    """Return a row of problems.csv; `where` is record id and source."""
    return {
        "dataset": dataset,
        "record_id": where[0],
        "severity": severity,
        "code": code,
        "message": " ".join(message.split()),
        "source": where[1],
    }


# ---------------------------------------------------------------------------------- the door


def self_check(
    dataset: str,
    location: Path,
    *,
    jobs: int = 0,
    baseline: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> SelfCheck:
    """Compare what an archive says about itself with what bcseg reads from it.

    `baseline`: a list of findings that count no more. Raises UsageError for a dataset that says
    nothing of the sort and for a baseline that cannot be read, ArchiveError for a source that is
    not its archive.
    """
    known = read_baseline(baseline) if baseline else frozenset()
    adapter = adapters.get(dataset)
    name = adapter.INFO.name
    if name not in _CHECKS:
        raise UsageError(
            f"{name} stores nothing about its contours that could be compared",
            hint=f"--self-check is for {', '.join(_CHECKS)}",
        )
    source = open_source(location)
    index = plan.read_index(adapter, source, Settings(read=_options(adapter)))
    result = _CHECKS[name](_Archive(adapter, source, index, jobs, progress))
    return replace(result, known=known)


def _options(adapter: Adapter, **chosen: Any) -> ReadOptions:
    """Return options that read every lesion of every image."""
    if "image_type" in adapter.INFO.options:
        chosen["image_type"] = "all"
    return ReadOptions(kinds=frozenset(LESION_KINDS), **chosen)


@dataclass(frozen=True, slots=True)
class _Archive:
    """An archive at hand and how to work on it."""

    adapter: Adapter
    source: Source
    index: Index
    jobs: int
    progress: Progress

    @property
    def name(self) -> str:
        """The dataset."""
        return self.adapter.INFO.name


# ---------------------------------------------------------------------------------- grey values


class _Grey(NamedTuple):
    """Mean, least and greatest grey value of a region."""

    mean: float
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class _Measured:
    """One region: what the archive stores about it and what bcseg finds.

    `deviations`: relative, by title; `area_off`: more than rasterising explains; `readings`: by
    name of the reading.
    """

    record_id: str
    source: str
    point: bool = False
    deviations: Mapping[str, float] = field(default_factory=dict)
    area_off: str = ""
    stored: _Grey | None = None
    readings: Mapping[str, _Grey] = field(default_factory=dict)


_Measure = Callable[[Record, Source], list[_Measured]]


@dataclass(frozen=True, slots=True)
class _Context:
    """What a worker needs to measure any record: how, where, and the rows of a table for it."""

    measure: _Measure
    source: Source
    dataset: str


@functools.cache
def _worker() -> dict[str, _Context]:
    """Return the place where a worker process keeps its context."""
    return {}


def _start_worker(context: _Context) -> None:
    cv2.setNumThreads(1)
    _worker()["context"] = context


def _measure_record(record: Record) -> tuple[list[_Measured], list[Row]]:
    """Measure the regions of a record in a worker; what cannot be read is a finding."""
    context = _worker()["context"]
    try:
        return context.measure(record, context.source), []
    except RecordError as error:
        where = record.record_id, error.where or record.image
        row = _finding(context.dataset, "failed", error.code, str(error.args[0]), where)
        return [], [row]


def _died(dataset: str, record: Record) -> tuple[list[_Measured], list[Row]]:
    message = "the worker process was killed, probably for want of memory: try --jobs 1"
    where = record.record_id, record.image
    return [], [_finding(dataset, "failed", "worker_died", message, where)]


def _measure_all(
    archive: _Archive, records: Sequence[Record], measure: _Measure
) -> tuple[list[_Measured], list[Row]]:
    measured: list[_Measured] = []
    findings: list[Row] = []
    results = executors.run(
        _measure_record,
        records,
        workers=archive.jobs or min(executors.usable_cpus(), max(1, len(records) // 8)),
        prepare=_start_worker,
        context=_Context(measure, archive.source, archive.name),
        died=functools.partial(_died, archive.name),
    )
    for done, (regions, rows) in enumerate(results, 1):
        measured += regions
        findings += rows
        archive.progress(done, len(records))
    return measured, findings


def _grey(pixels: NDArray[Any], patch: raster.Patch, image: Image) -> _Grey | None:
    """Return the grey values of a region, through the modality slope; None outside the image."""
    if not patch.area:
        return None
    box = pixels[patch.top : patch.bottom, patch.left : patch.right]
    values = box[patch.pixels].astype(np.float64) * image.slope + image.intercept
    return _Grey(float(values.mean()), float(values.min()), float(values.max()))


def _fits(measured: Iterable[_Measured]) -> tuple[Fit, ...]:
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


def _best(fits: Sequence[Fit], measured: Sequence[_Measured]) -> tuple[str, str]:
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


def _is_near(reading: str, measured: Iterable[_Measured]) -> bool:
    """Tell whether most regions have the stored mean, within a tenth of their range."""
    near = [_is_off(one, reading) is None for one in measured if reading in one.readings]
    return sum(near) * 2 > len(near)


def _is_off(one: _Measured, reading: str) -> str | None:
    """Return in words how the grey values of a region are off; None if they are not."""
    found, stored = one.readings.get(reading), one.stored
    if found is None or stored is None:
        return None
    span = _GREY_TOLERANCE * abs(stored.greatest - stored.least)
    limit = _EXACT if one.point else max(span, _SMALLEST_GREY_STEP)
    if abs(found.mean - stored.mean) <= limit:
        return None
    return f"mean grey value {found.mean:.6g}, {stored.mean:.6g} stored"


def _off(dataset: str, measured: Iterable[_Measured], reading: str) -> list[Row]:
    """List the regions that are off, in area or (with the best reading) in grey values."""
    rows = []
    for one in measured:
        where = one.record_id, one.source
        if one.area_off:
            rows.append(_finding(dataset, "warning", "stored_area_off", one.area_off, where))
        grey = _is_off(one, reading)
        if grey:
            rows.append(_finding(dataset, "failed", "stored_grey_off", grey, where))
    return rows


def _spreads(measured: Iterable[_Measured]) -> tuple[Spread, ...]:
    by_title: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for one in measured:
        for title, value in one.deviations.items():
            by_title[title].append((one.source, value))
    return tuple(spread for title, values in by_title.items() for spread in _spread(title, values))


def _area_off(title: str, drawn: float, stored: float) -> str:
    """Return in words that an area in pixels is off, "" if rasterising explains it.

    The pixels of a shape differ from its area by about the square root of its outline.
    """
    scatter = math.sqrt(2 * math.sqrt(math.pi * stored))
    if abs(drawn - stored) <= _AREA_TOLERANCE * stored + scatter:
        return ""
    return f"{title} {drawn:.0f} pixels, {stored:.0f} stored ({drawn / stored - 1:+.1%})"


# ---------------------------------------------------------------------------------- INbreast


def _inbreast(archive: _Archive) -> SelfCheck:
    records = [one for one in archive.index.records if one.image and one.annotations]
    measured, findings = _measure_all(archive, records, _measure_inbreast)
    fits = _fits(measured)
    best, verdict = _best(fits, measured)
    used = ReadOptions().osirix_origin
    if best and best != used:
        verdict += f", and bcseg reads {used} unless told otherwise: --osirix-origin {best}"
    return SelfCheck(
        dataset=archive.name,
        location=archive.source.location,
        checked=f"{len(measured)} regions of {len(records)} images",
        spreads=_spreads(measured),
        fits=fits,
        verdicts=(f"pixel origin: {verdict}",),
        best=best,
        findings=tuple(findings + _off(archive.name, measured, best or used)),
    )


def _measure_inbreast(record: Record, source: Source) -> list[_Measured]:
    content = functools.cache(lambda name: read(source, name))
    adapter = adapters.get("inbreast")
    shapes: dict[str, dict[str, Any]] = {}
    for origin in ("corner", "centre"):
        options = _options(adapter, osirix_origin=origin)
        shapes[origin] = {
            lesion.source: lesion.shape for lesion in adapter.lesions(record, content, options)
        }
    image = decode(content(record.image), record.image)
    measured = []
    for name in record.annotations:
        totals = _totals(content(name))
        for region in read_regions(content(name), name):
            item = f"{name}#{region.index}"
            both = {origin: found[item] for origin, found in shapes.items() if item in found}
            if len(both) == 2 and not any(isinstance(one, Unreadable) for one in both.values()):
                total = totals.get(region.index)
                measured.append(_region(record, item, region, total, image, both))
    return measured


def _totals(data: bytes) -> dict[int, float]:
    """Return `Total`, the sum of the grey values, of each region of a file that can be read."""
    images = plistlib.loads(data, fmt=plistlib.FMT_XML).get("Images", ())
    entries = [entry for one in images for entry in one["ROIs"]]
    return {
        number: float(entry["Total"])
        for number, entry in enumerate(entries)
        if isinstance(entry, dict) and isinstance(entry.get("Total"), int | float)
    }


def _region(
    record: Record,
    item: str,
    region: Region,
    total: float | None,
    image: Image,
    shapes: Mapping[str, Vector],
) -> _Measured:
    """Measure one region under both origins, and once on the mirrored image."""
    point = len(region.points) == 1
    drawings = {
        origin: raster.draw(shape, image.size, spacing_mm=image.spacing_mm)
        for origin, shape in shapes.items()
    }
    readings = {
        origin: _grey(image.pixels, drawing.patch, image) for origin, drawing in drawings.items()
    }
    readings["corner, mirrored image"] = _grey(
        image.pixels[:, ::-1], drawings["corner"].patch, image
    )
    drawn = drawings["corner"]
    deviations: dict[str, float] = {}
    area_off = ""
    if region.area_cm2 > 0 and image.spacing_mm and not point:
        stored = region.area_cm2 * 100 / (image.spacing_mm[0] * image.spacing_mm[1])
        pixels = drawn.patch.area + drawn.outside
        deviations["area drawn / Area"] = pixels / stored - 1
        area_off = _area_off("drawn", pixels, stored)
    if total and region.mean and not point and not drawn.outside:
        deviations["pixels drawn / (Total / Mean)"] = drawn.patch.area * region.mean / total - 1
    grey = None
    if region.mean is not None and region.minimum is not None and region.maximum is not None:
        grey = _Grey(region.mean, region.minimum, region.maximum)
    seen = {name: found for name, found in readings.items() if found is not None}
    usable = seen if len(seen) == len(readings) else {}
    return _Measured(record.record_id, item, point, deviations, area_off, grey, usable)


# ---------------------------------------------------------------------------------- BCDR

_FROM_ZERO, _FROM_ONE = "counted from 0 (as read)", "counted from 1"
_SILENT_AREAS = "areas cannot tell whether outlines count from 0 or from 1: a shift changes no area"


def _bcdr(archive: _Archive) -> SelfCheck:
    features = _features(archive)
    records = [
        one
        for one in archive.index.records
        if any(_feature_key(lesion.source, lesion.lesion_id) in features for lesion in one.lesions)
    ]
    measure = functools.partial(_measure_bcdr, features=features)
    measured, findings = _measure_all(archive, records, measure)
    fits = _fits(measured)
    best, verdict = _best(fits, measured)
    return SelfCheck(
        dataset=archive.name,
        location=archive.source.location,
        checked=f"{len(measured)} outlines with a row of features, {len(features)} rows",
        spreads=_spreads(measured),
        fits=fits,
        verdicts=(_SILENT_AREAS, f"i_mean, i_minimum, i_maximum: {verdict}"),
        best=best,
        findings=tuple(findings + _off(archive.name, measured, best)),
    )


def _features(archive: _Archive) -> dict[str, dict[str, float]]:
    """Return the numbers of the features tables, by table of outlines and segmentation id."""
    found = {}
    for name in archive.index.tables:
        if "features" not in name.rsplit("/", 1)[-1].lower():
            continue
        for row in _table(archive.source, name).rows:
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


def _table(source: Source, name: str) -> Table:
    return read_csv(read(source, name), name)


def _float(row: TableRow, column: str) -> float | None:
    try:
        value = float(row.get(column))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _measure_bcdr(
    record: Record, source: Source, *, features: Mapping[str, Mapping[str, float]]
) -> list[_Measured]:
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
) -> _Measured:
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
        area_off = _area_off("outline", exact, stored) or _area_off("drawn", drawn, stored)
    grey = None
    if {"i_mean", "i_minimum", "i_maximum"} <= numbers.keys():
        grey = _Grey(numbers["i_mean"], numbers["i_minimum"], numbers["i_maximum"])
    readings: dict[str, _Grey] = {}
    if image is not None:
        shifted = Polygon(tuple((x - 1, y - 1) for x, y in shape.points), shape.closed)
        for name, one in ((_FROM_ZERO, shape), (_FROM_ONE, shifted)):
            found = _grey(image.pixels, raster.draw(one, image.size).patch, image)
            if found:
                readings[name] = found
    usable = readings if len(readings) == 2 else {}
    return _Measured(record_id, item, False, deviations, area_off, grey, usable)


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


# ---------------------------------------------------------------------------------- CDD-CESM


def _cdd(archive: _Archive) -> SelfCheck:
    """Compare the size of each JPEG with the one that the region table gives for it."""
    images = {one.record_id: one.image for one in archive.index.records if one.image}
    stored: dict[str, tuple[int, str]] = {}
    for name in archive.index.tables:
        if not name.lower().endswith(".csv"):
            continue
        for row in _table(archive.source, name).rows:
            image_id = row.raw("filename").rsplit(".", 1)[0].strip().upper()
            cell = row.get("file_size")
            if cell.isdigit() and image_id in images:
                stored.setdefault(image_id, (int(cell), row.item))
    deviations, findings = [], []
    for image_id, (size, item) in sorted(stored.items()):
        there = archive.source.size(images[image_id])
        deviations.append((images[image_id], there / max(size, 1) - 1))
        if there != size:
            message = f"{there} bytes, {size} when the regions were drawn ({item})"
            where = image_id, images[image_id]
            findings.append(_finding(archive.name, "failed", "file_size_differs", message, where))
    same = len(stored) - len(findings)
    return SelfCheck(
        dataset=archive.name,
        location=archive.source.location,
        checked=f"{len(stored)} images with a file_size, {len(images)} images",
        spreads=_spread("bytes of the file / file_size", deviations),
        verdicts=(f"{same} of {len(stored)} images are the files that the regions were drawn on",),
        findings=tuple(findings),
    )


_CHECKS: dict[str, Callable[[_Archive], SelfCheck]] = {
    "bcdr": _bcdr,
    "cdd": _cdd,
    "inbreast": _inbreast,
}
