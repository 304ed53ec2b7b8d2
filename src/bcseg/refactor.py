"""A whole archive to a pairs folder: plan, convert what is not done yet, write the tables."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from bcseg import adapters, convert, executors, plan
from bcseg.closing import Tables, add_index_rows, finish, summarise
from bcseg.convert import start_worker, work_on
from bcseg.errors import SourceGone
from bcseg.outcome import Job, Outcome
from bcseg.pairs import FORMAT
from bcseg.records import Record
from bcseg.run import Run, State, Summary
from bcseg.settings import Settings
from bcseg.source import open_source
from bcseg.store import Journal, Lock

__all__ = ["Run", "Summary", "refactor"]


def refactor(
    dataset: str, location: Path, root: Path, settings: Settings, run: Run | None = None
) -> Summary:
    """Convert the archive at `location` into `root`/<dataset name>.

    Raises UsageError and ArchiveError before anything is written; bad records do not raise.
    """
    run = run or Run()
    adapter = adapters.get(dataset)
    settings = settings.for_dataset(adapter.INFO)
    folder = root / adapter.INFO.name
    plan.refuse_overlap(location, root)
    source = open_source(location)
    index = plan.read_index(adapter, source, settings)
    state = State(
        adapter.INFO,
        source,
        index,
        folder,
        Journal(folder),
        settings,
        run,
        plan.by_id(index.records),
    )
    job = Job(dataset, source, folder, settings)
    if run.dry_run:
        return _dry_run(state, replace(job, write=False))
    identity = settings.identity(adapter.INFO) | {"format": FORMAT}
    plan.check_folder(folder, identity, run)
    with Lock(folder):
        plan.begin(state, identity)
        plan.announce(state)
        _work(state, job)
        return finish(state, identity)


def _work(state: State, job: Job) -> None:
    """Convert what is to do, in order, and journal each outcome at once."""
    written = _pairs_kept(state)
    outcomes = _outcomes(state, job)
    todo = iter(state.todo)
    total = len(state.todo)
    for done, record in enumerate(todo):
        if state.run.limit is not None and written >= state.run.limit:
            _stop_at_limit(state, [record, *todo])
            break
        try:
            outcome = next(outcomes)
        except SourceGone as error:
            state.run.say(str(error))
            for rest in [record, *todo]:
                state.unreached[rest.record_id] = "not_reached"
            break
        _journal(state, record, outcome)
        written += outcome.fate == "written"
        state.run.progress(done + 1, total)
    outcomes.close()


def _pairs_kept(state: State) -> int:
    todo = {record.record_id for record in state.todo}
    entries = (state.journal.get(i) for i in state.journal.ids() if i not in todo)
    return sum(1 for entry in entries if entry and entry["fate"] == "written")


def _outcomes(state: State, job: Job) -> Generator[Outcome, None, None]:
    return executors.run(
        work_on,
        state.todo,
        workers=min(plan.workers(state.run), max(1, len(state.todo))),
        prepare=start_worker,
        context=job,
        died=lambda record: convert.died(record, job),
    )


def _stop_at_limit(state: State, rest: list[Record]) -> None:
    """Forget what workers did ahead of the limit."""
    for record in rest:
        state.unreached[record.record_id] = "limit"
        state.journal.forget(record.record_id)


def _journal(state: State, record: Record, outcome: Outcome) -> None:
    old = state.journal.get(record.record_id)
    if outcome.log:
        state.logs.append(outcome.log)
    for name in (old or {"written": ()})["written"]:
        if name not in outcome.written:
            (state.folder / name).unlink(missing_ok=True)
    state.journal.append(record.record_id, outcome.entry() | {"key": plan.key(record)})
    state.fresh += outcome.fate == "written"


def _dry_run(state: State, job: Job) -> Summary:
    """Tell what a run would do, without decoding or writing anything."""
    tables = Tables()
    records = sorted(state.records.values(), key=lambda record: record.record_id)
    start_worker(job)
    for done, record in enumerate(records):
        outcome = work_on(record)
        tables.ledger.add(outcome.items)
        tables.problems += outcome.problems
        if outcome.fate == "written":
            tables.records.append({"record_id": record.record_id, "bit_depth": ""})
        state.run.progress(done + 1, len(records))
    tables.ledger.add_index(state.index, state.source.refused)
    tables.ledger.close(state.source.names(), state.index.tables)
    add_index_rows(state, tables)
    return summarise(state, tables, "", "")
