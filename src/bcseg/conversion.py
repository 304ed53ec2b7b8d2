"""A whole archive to a pairs folder: plan, convert what is not done yet, write the tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from bcseg import adapters, convert, dask_cluster, executors, plan
from bcseg.closing import (
    Tables,
    add_index_rows,
    finish,
    summarise,
    unreached,
    with_table_hash,
)
from bcseg.cloud import is_cloud
from bcseg.convert import check_source, start_worker, work_on
from bcseg.errors import RecordError, SourceGone
from bcseg.formats.images import decode
from bcseg.interrupts import stop_if_asked, uninterrupted
from bcseg.ledger import unprocessed_items
from bcseg.lock import lock_path
from bcseg.outcome import Job, Outcome
from bcseg.pairs import FORMAT, remove_pair
from bcseg.png import pixels_sha256
from bcseg.record import Record
from bcseg.run import Run, State, Summary
from bcseg.settings import Settings
from bcseg.shards import at_work
from bcseg.source import UNPACKED, open_source
from bcseg.store import file_sizes, remove_parts

__all__ = ["Run", "Summary", "refactor", "survey"]

_Cluster = dask_cluster.Cluster[Record, Outcome]


def refactor(
    dataset: str, location: Path, root: Path, settings: Settings, run: Run | None = None
) -> Summary:
    """Convert the archive at `location` into `root`/<dataset name>.

    Raises UsageError and ArchiveError before anything is written; bad records do not raise.
    """
    run = run or Run()
    adapter = adapters.get(dataset)
    settings = settings.for_dataset(adapter.INFO).within(run.limits)
    folder = root / adapter.INFO.name
    plan.refuse_overlap(location, root, folder)
    plan.refuse_foreign(root, folder)
    if run.shard:
        plan.refuse_for_shards(location, run)
    source = open_source(location, unpack_to=_unpack_to(root, run), limits=run.limits)
    index = plan.read_index(adapter, source, settings)
    state = State.on(adapter.INFO, source, index, settings, run, folder)
    # a source of its own, as every worker has: it looks at files anew when it reads them
    job = Job(dataset, copy(source), folder, settings, state.copies)
    identity = settings.identity(adapter.INFO) | {"format": FORMAT}
    if run.dry_run:
        _expect(state, identity, plan.workers(run))
        tables = survey(state, replace(job, write=False))
        return summarise(state, tables, "", "")
    with at_work(folder, run.shard), _cluster(state, job) as cluster:
        _expect(state, identity, cluster.threads if cluster else plan.workers(run))
        plan.begin(state, identity)
        try:
            _work(state, job, cluster)
        finally:
            with uninterrupted():
                state.journal.flush()
                remove_parts(state.books)  # of workers that were stopped
        return finish(state, identity)


def _unpack_to(root: Path, run: Run) -> Path | None:
    """Return where a tar is unpacked and kept; None for a folder that goes when the run ends."""
    return None if run.dry_run or is_cloud(root) else root / UNPACKED


def _expect(state: State, identity: dict[str, Any], workers: int) -> None:
    """Find out what there is to do, and refuse what cannot be done."""
    plan.check_identity(state, identity)
    plan.decide(state, identity)
    plan.announce(state, workers)


def _cluster(state: State, job: Job) -> AbstractContextManager[_Cluster | None]:
    """Return the Dask cluster of the run once it is entered, None if there is none to be."""
    if not state.run.dask:
        return nullcontext()
    # wherever a worker has its own current folder
    dataset = str(Path(job.dataset).absolute()) if job.dataset.endswith(".py") else job.dataset
    job = replace(job, folder=job.folder.absolute(), dataset=dataset)
    task = dask_cluster.Task(
        function=convert.convert,
        context=job,
        check=functools.partial(check_source, stamps=plan.some_stamps(state.source)),
        sign=lock_path(state.books.absolute()),
    )
    return dask_cluster.connected(state.run.dask, task, state.run.say)


def _work(state: State, job: Job, cluster: _Cluster | None) -> None:
    """Convert what is to do, in order, and journal each outcome at once."""
    with closing(_outcomes(state, job, cluster)) as outcomes:
        todo = iter(_up_to_limit(state))
        total = len(state.todo)
        for done, record in enumerate(todo, start=1):
            try:
                outcome = next(outcomes)
            except SourceGone as error:
                state.run.say(str(error))
                for rest in [record, *todo]:
                    state.unreached[rest.record_id] = "not_reached"
                break
            _journal(state, record, outcome)
            state.run.progress(done, total)
            stop_if_asked()
    _leave_unreached(state)


def _leave_unreached(state: State) -> None:
    """Keep earlier pairs of records that the source did not stay for; forget the others."""
    if not state.unreached:
        return
    size_of = file_sizes(state.folder)
    for record_id, code in state.unreached.items():
        if code == "not_reached" and _is_as_journalled(state, record_id, size_of):
            state.stale[record_id] = unreached(state, record_id, code)
            continue
        state.journal.forget(record_id)  # workers may have been ahead
        remove_pair(state.folder, record_id)


def _is_as_journalled(state: State, record_id: str, size_of: Callable[[str], int]) -> bool:
    """Tell whether an earlier run's pair is still there, untouched by workers that were ahead."""
    entry = state.journal.get(record_id)
    if entry is None or entry["fate"] != "written":
        return False
    row = entry["row"]
    if any(size_of(name) != size for name, size in entry["written"].items()):
        return False
    try:
        return all(
            pixels_sha256(decode((state.folder / row[part]).read_bytes(), part).pixels)
            == row[f"{part}_sha256"]
            for part in ("image", "mask")
        )
    except (OSError, RecordError):
        return False


def _up_to_limit(state: State) -> Iterator[Record]:
    """Yield what is to do until so many pairs, new or kept, are there in order of record id."""
    limit = state.run.limit
    if limit is None:
        yield from state.todo
        return
    todo = {record.record_id for record in state.todo}
    written = 0
    for record_id, record in state.records.items():
        if written >= limit:
            if record_id in todo:
                state.unreached[record_id] = "limit"
            continue
        if record_id in todo:
            yield record
        entry = state.journal.get(record_id)
        written += entry is not None and entry["fate"] == "written"


def _outcomes(state: State, job: Job, cluster: _Cluster | None) -> Generator[Outcome, None, None]:
    if cluster:
        return cluster.run(state.todo, died=lambda record: convert.died(record, job))
    return executors.run(
        work_on,
        state.todo,
        workers=min(plan.workers(state.run), max(1, len(state.todo))),
        prepare=start_worker,
        context=job,
        died=lambda record: convert.died(record, job),
    )


def _journal(state: State, record: Record, outcome: Outcome) -> None:
    old = state.journal.get(record.record_id)
    if outcome.log:
        state.logs.append(outcome.log)
    if outcome.fate == "failed" and old and old["fate"] == "written" and not outcome.written:
        state.stale[record.record_id] = outcome  # a source gone bad takes no finished pair along
        return
    if outcome.fate != "written":
        remove_pair(state.folder, record.record_id)  # of an earlier run, or half of one
    for name in (old or {"written": ()})["written"]:
        if name not in outcome.written:
            (state.folder / name).unlink(missing_ok=True)
    outcome.lesions = [with_table_hash(row, state.table_hashes) for row in outcome.lesions]
    state.journal.append(record.record_id, outcome.entry() | {"key": plan.key(state, record)})
    state.fresh += outcome.fate == "written"


def survey(state: State, job: Job) -> Tables:
    """Tell what a run would do, without decoding or writing anything.

    The tables hold the ledger, the problems, and a row with the record id of each pair.
    """
    tables = Tables()
    limit = state.run.limit
    start_worker(job)
    for done, (record_id, record) in enumerate(state.records.items(), start=1):
        if limit is not None and len(tables.records) >= limit:
            tables.ledger.add(unprocessed_items(record, "left_out", "limit"))
            continue
        outcome = work_on(record)
        tables.ledger.add(outcome.items)
        tables.problems += outcome.problems
        if outcome.fate == "written":
            tables.records.append({"record_id": record_id, "bit_depth": ""})
        state.run.progress(done, len(state.records))
    if not state.run.shard:
        rest = state.rest
        tables.ledger.add_index(rest.index, rest.refused)
        tables.ledger.close(rest.names, rest.index.tables)
        add_index_rows(tables, state.info.name, rest)
    return tables
