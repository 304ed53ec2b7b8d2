"""Regions as measured, record by record, in worker processes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcseg import executors, raster
from bcseg.errors import RecordError
from bcseg.pairs import Row, problem_row
from bcseg.record import Image, Record
from bcseg.selfcheck.archive import Archive
from bcseg.source import Source
from bcseg.verify import workers


class Grey(NamedTuple):
    """Mean, least and greatest grey value of a region."""

    mean: float
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One region: what the archive stores about it and what bcseg finds.

    `deviations`: relative, by title; `area_off`: more than rasterising explains; `readings`: by
    name of the reading.
    """

    record_id: str
    source: str
    point: bool = False
    deviations: Mapping[str, float] = field(default_factory=dict)
    area_off: str = ""
    stored: Grey | None = None
    readings: Mapping[str, Grey] = field(default_factory=dict)


Measure = Callable[[Record, Source], list[Measured]]


@dataclass(frozen=True, slots=True)
class _Context:
    """What a worker needs to measure any record: how, where, and the rows of a table for it."""

    measure: Measure
    source: Source
    dataset: str


def measure_all(
    archive: Archive, records: Sequence[Record], measure: Measure
) -> tuple[list[Measured], list[Row]]:
    """Measure the regions of some records; return them, and what could not be read."""
    measured: list[Measured] = []
    findings: list[Row] = []
    results = executors.run(
        _measure_record,
        records,
        workers=workers.how_many(archive.jobs, len(records), each=8),
        prepare=workers.prepare,
        context=_Context(measure, archive.source, archive.name),
        died=functools.partial(_died, archive.name),
    )
    for done, (regions, rows) in enumerate(results, 1):
        measured += regions
        findings += rows
        archive.progress(done, len(records))
    return measured, findings


def _measure_record(record: Record) -> tuple[list[Measured], list[Row]]:
    """Measure the regions of a record in a worker; what cannot be read is a finding."""
    context: _Context = workers.context()
    try:
        return context.measure(record, context.source), []
    except RecordError as error:
        where, message = error.where or record.image, str(error.args[0])
        row = problem_row(context.dataset, record.record_id, "failed", error.code, message, where)
        return [], [row]


def _died(dataset: str, record: Record) -> tuple[list[Measured], list[Row]]:
    return [], [workers.death_row(dataset, record.record_id, record.image)]


def grey_values(pixels: NDArray[Any], patch: raster.Patch, image: Image) -> Grey | None:
    """Return the grey values of a region, through the modality slope; None outside the image."""
    if not patch.area:
        return None
    box = pixels[patch.top : patch.bottom, patch.left : patch.right]
    values = box[patch.pixels].astype(np.float64) * image.slope + image.intercept
    return Grey(float(values.mean()), float(values.min()), float(values.max()))
