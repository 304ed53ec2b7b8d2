"""Pairs against their archive: made once more, in memory, and compared."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import adapters, executors, pairs, plan
from bcseg.convert import convert
from bcseg.ignoring import ignored_lesions, without
from bcseg.outcome import Job
from bcseg.pairs import FORMAT, PairsFolder, Row
from bcseg.record import Record
from bcseg.settings import settings_of
from bcseg.source import open_source
from bcseg.verify import workers
from bcseg.verify.findings import Findings
from bcseg.verify.options import Verifying
from bcseg.verify.tables import Tables

# columns of records.csv that have a code of their own when the source says otherwise
_SOURCE_CODES = {
    "source_sha256": ("source_changed", "the file of the archive is another one now"),
    "annotation_sha256": ("annotation_changed", "the archive draws the chosen lesions otherwise"),
    "image_sha256": ("image_differs", "the archive gives other pixels"),
    "mask_sha256": ("mask_differs", "the archive gives another mask"),
}


@dataclass(frozen=True, slots=True)
class _Task:
    """A pair to make once more, and what the tables say about it."""

    record: Record
    row: Row
    lesions: tuple[Row, ...]


def compare_with_source(
    folder: PairsFolder,
    document: Mapping[str, Any],
    tables: Tables,
    source: tuple[str, Path],
    found: Findings,
    how: Verifying,
) -> int:  # fmt: skip
    """Make the pairs once more from their archive, in memory; return how many were compared."""
    word, location = source
    options = document.get("options")
    if not isinstance(options, dict):
        return 0  # the finding about dataset.json is there already
    adapter = adapters.get(word)
    settings = settings_of(options).for_dataset(adapter.INFO)
    archive = open_source(location)
    index = plan.read_index(adapter, archive, settings)
    records = {one.record_id: one for one in index.records}
    if options.get("format") != FORMAT:
        message = f"the pairs have format {options.get('format')}, this version writes {FORMAT}"
        found.add("warning", "other_format", message, pairs.DATASET)
    tasks = []
    for row in tables.records:
        record = records.get(row["record_id"])
        if record is None or not record.image:
            message = "its source is not in the archive"
            found.fail("source_gone", message, row["source_image"], row["record_id"])
        else:
            lesions = tuple(tables.lesions.get(row["record_id"], ()))
            tasks.append(_Task(record, row, lesions))
    if "selection" not in document and "shard" not in document:
        _report_missing_pairs(records, tables, found)
    job = Job(word, archive, folder.path, settings, copies=plan.copies(index), keep=False)
    outcomes = executors.run(
        _convert_again,
        tasks,
        workers=workers.how_many(how.jobs, len(tasks), each=4),
        prepare=workers.prepare,
        context=job,
        died=functools.partial(_conversion_died, found.dataset),
    )
    for done, rows in enumerate(outcomes, 1):
        found.rows += rows
        how.progress(done, len(tasks))
    return len(tasks)


def _report_missing_pairs(records: Mapping[str, Record], tables: Tables, found: Findings) -> None:
    """List records of the archive that no table accounts for."""
    mentioned = {
        row["record_id"] for table in (tables.records, tables.problems, tables.left_out)
        for row in table
    }  # fmt: skip
    for record_id in sorted(records.keys() - mentioned):
        message = "the archive has this record, and no table says what became of it"
        found.fail("missing_pair", message, records[record_id].image, record_id)


def _conversion_died(dataset: str, task: _Task) -> list[Row]:
    return [workers.death_row(dataset, task.record.record_id, task.record.image)]


def _convert_again(task: _Task) -> list[Row]:
    job: Job = workers.context()
    outcome = convert(task.record, job)
    found = Findings(task.row["dataset"], task.record.record_id)
    if outcome.row is None:
        reasons = (*outcome.problems, *outcome.left_out)
        message = next((row["message"] for row in reasons if row["code"] == outcome.code), "")
        message = f"the archive gives no pair now: {message} ({outcome.code})"
        found.fail("source_fails", message, task.record.image)
        return found.rows
    row, lesions = outcome.row, outcome.lesions
    ignored = ignored_lesions(task.lesions)
    if ignored:  # by a selection: they are in the archive's mask
        radius = job.settings.point_radius
        reduced = without(row, lesions, outcome.archive, ignored, radius=radius)
        row, lesions = reduced.row, reduced.lesions
    _compare_rows(found, task, row)
    _compare_lesions(found, task, lesions)
    return found.rows


def _compare_rows(found: Findings, task: _Task, now: Row) -> None:
    different = [name for name in now if name in task.row and now[name] != task.row[name]]
    for name in different:
        if name in _SOURCE_CODES:
            code, message = _SOURCE_CODES[name]
            found.fail(code, message, task.row["source_image"])
    others = [name for name in different if name not in _SOURCE_CODES]
    if others:
        words = ", ".join(f"{name} {task.row[name]!r}, now {now[name]!r}" for name in others[:3])
        found.fail("row_differs", f"the archive gives other values: {words}", pairs.RECORDS)


def _compare_lesions(found: Findings, task: _Task, lesions: Sequence[Row]) -> None:
    then = {row["lesion_id"]: row for row in task.lesions}
    now = {row["lesion_id"]: row for row in lesions}
    odd = [f"{lesion_id} there" for lesion_id in sorted(now.keys() - then.keys())]
    odd += [f"{lesion_id} not there" for lesion_id in sorted(then.keys() - now.keys())]
    for lesion_id in sorted(then.keys() & now.keys()):
        old, new = then[lesion_id], now[lesion_id]
        names = [name for name in new if new[name] != old.get(name)]
        if not new["source_sha256"] and "source_sha256" in names:
            names.remove("source_sha256")  # of a table: filled in at the end of a run
        if names:
            odd.append(f"{lesion_id} has another {', '.join(names[:3])}")
    if odd:
        message = f"the archive gives other lesions: {'; '.join(odd[:3])}"
        found.fail("lesions_differ", message, pairs.LESIONS)
