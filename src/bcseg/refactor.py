"""A whole archive to a pairs folder: plan, convert what is not done yet, write the tables."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from bcseg import __version__, adapters, convert, executors, pairs
from bcseg.adapters.base import Adapter, Info
from bcseg.convert import Job, Outcome, start_worker, work_on
from bcseg.errors import (
    EXIT_FINDINGS,
    EXIT_OK,
    ArchiveError,
    SourceGone,
    UsageError,
)
from bcseg.ledger import Ledger, unprocessed_items
from bcseg.pairs import FORMAT, SCHEMA_VERSION, Row
from bcseg.records import Index, Record
from bcseg.settings import Settings, differences
from bcseg.source import Source, open_source, read
from bcseg.store import Journal, Lock, remove_parts, write_atomic

Progress = Callable[[int, int], None]  # records done, records in all

# bytes written for each byte of a source image, by ending: measured on full-size images
_GROWTH = {".dcm": 0.8, ".tif": 0.8, ".tiff": 0.8, ".png": 1.05, ".jpg": 2.5, ".jpeg": 2.5}
_SECONDS_PER_MB, _SECONDS_PER_PAIR = 0.025, 0.03
_MARGIN = 1.05  # of the expected size must be free on the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How to run; none of it changes a pixel or a table."""

    jobs: int = 0  # 0: the CPUs that this process may use
    limit: int | None = None
    redo: bool = False
    rehash: bool = False
    prune: bool = False
    dry_run: bool = False
    progress: Progress = lambda done, total: None
    say: Callable[[str], None] = lambda line: None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did; `failures` and `warnings` are rows of problems.csv."""

    dataset: str
    folder: Path
    pairs: int
    fresh: int
    counts: dict[str, dict[str, int]]
    reasons: dict[str, dict[str, dict[str, int]]]
    failures: list[Row]
    warnings: list[Row]
    notes: tuple[str, ...]
    content_sha256: str = ""
    log: str = ""

    @property
    def exit_code(self) -> int:
        """1 if anything failed."""
        return EXIT_FINDINGS if self.failures else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            "folder": str(self.folder),
            "pairs": self.pairs,
            "fresh": self.fresh,
            "items": self.counts,
            "reasons": self.reasons,
            "failed": self.failures,
            "warnings": self.warnings,
            "notes": list(self.notes),
            "content_sha256": self.content_sha256,
            "exit_code": self.exit_code,
        }


@dataclass(slots=True)
class _State:
    """A run at work."""

    info: Info
    source: Source
    index: Index
    folder: Path
    journal: Journal
    settings: Settings
    run: Run
    records: dict[str, Record]
    todo: list[Record] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # journalled pairs whose source is gone
    unreached: dict[str, str] = field(default_factory=dict)  # record id -> code
    fresh: int = 0
    logs: list[str] = field(default_factory=list)


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
    _refuse_overlap(location, root)
    source = open_source(location)
    index = _index(adapter, source, settings)
    state = _State(
        adapter.INFO,
        source,
        index,
        folder,
        Journal(folder),
        settings,
        run,
        _unique(index.records),
    )
    job = Job(dataset, source, folder, settings)
    if run.dry_run:
        return _dry_run(state, replace(job, write=False))
    identity = settings.identity(adapter.INFO) | {"format": FORMAT}
    _check_folder(folder, identity, run)
    with Lock(folder):
        _begin(state, identity)
        _announce(state)
        _work(state, job)
        return _finish(state, identity)


def _refuse_overlap(location: Path, root: Path) -> None:
    """Refuse an output inside the source or a source inside the output."""
    source, output = location.resolve(), root.resolve()
    if output == source or source in output.parents or output in source.parents:
        inside = (
            "inside the source" if output == source or source in output.parents else "around it"
        )
        raise UsageError(
            f"the output lies {inside}: {output}",
            where=str(location),
            hint="name another place with --out; archives are never written to",
        )


def _index(adapter: Adapter, source: Source, settings: Settings) -> Index:
    try:
        return adapter.index(source, settings.read)
    except ArchiveError as error:
        info = adapter.INFO
        others = {k: n for k, n in adapters.resembles(source.names()).items() if k != info.name}
        lines = [f"{error.args[0]}: this is not a {info.title} archive that bcseg can read"]
        lines.append("  it should look like this, at any depth:")
        lines += [f"    {line}" for line in info.layout.splitlines()]
        if others:
            name, count = next(iter(others.items()))
            lines.append(f"  {count} of its files look like {name}: bcseg refactor {name} ...")
        raise ArchiveError("\n".join(lines), where=error.where, hint=error.hint) from error


def _unique(records: tuple[Record, ...]) -> dict[str, Record]:
    """Return records by id; raises ArchiveError for two of one id (a bug in an adapter)."""
    by_id: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.record_id):
        if record.record_id in by_id:
            raise ArchiveError(
                f"two images have the record id {record.record_id}",
                where=f"{by_id[record.record_id].image}, {record.image}",
                hint="take one of the two away",
            )
        by_id[record.record_id] = record
    return by_id


# --------------------------------------------------------------------------------- plan


def _check_folder(folder: Path, identity: dict[str, Any], run: Run) -> None:
    """Refuse a folder that holds something else; clear it with --redo."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    journal = Journal(folder)
    journal.load()
    old = journal.identity
    if old is None and (folder / pairs.DATASET).is_file():
        old = pairs.PairsFolder(folder).document().get("options")
    if old is None and not journal.path.exists() and not (folder / ".lock").exists():
        raise UsageError(
            "the output folder is not empty and holds no pairs of bcseg",
            where=str(folder),
            hint="name another place with --out",
        )
    if old is not None and old != identity and not run.redo:
        lines = "\n".join(f"    {line}" for line in differences(old, identity))
        raise UsageError(
            f"the folder holds pairs made with other options:\n{lines}",
            where=str(folder),
            hint="the same options to continue, --redo to start over, or --out for another place",
        )


def _begin(state: _State, identity: dict[str, Any]) -> None:
    """Decide which records are done already."""
    folder, journal = state.folder, state.journal
    if state.run.redo:
        for name in ("images", "masks", "lesions"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in (*pairs.COLUMNS, pairs.ARCHIVE, pairs.DATASET):
            (folder / name).unlink(missing_ok=True)
        journal.path.unlink(missing_ok=True)
    remove_parts(folder)
    journal.load()
    if journal.identity != identity:
        journal.start(identity)
    write_atomic(folder.parent / ".gitignore", b"*\n")
    for record_id in journal.ids():
        record = state.records.get(record_id)
        entry = journal.get(record_id)
        assert entry is not None
        if entry["fate"] == "written" and (record is None or not record.image):
            state.gone.append(record_id)
        elif record is None:
            journal.forget(record_id)
    for record in state.records.values():
        if record.record_id not in state.gone and not _is_done(state, record):
            state.todo.append(record)
    if state.run.prune:
        for record_id in state.gone:
            _remove_pair(state, record_id)
        state.gone.clear()


def _is_done(state: _State, record: Record) -> bool:
    entry = state.journal.get(record.record_id)
    if entry is None or entry["fate"] == "failed" or entry["key"] != _key(record):
        return False
    if state.run.rehash:
        same = all(_sha256(state.source, n) == value for n, value in entry["files"].items())
    else:
        same = all(state.source.stamp(n) == value for n, value in entry["stamps"].items())
    return same and all(
        _size(state.folder / name) == size for name, size in entry["written"].items()
    )


def _key(record: Record) -> str:
    """Return a hash of everything the adapter said about a record."""
    return hashlib.sha256(repr(record).encode()).hexdigest()


def _sha256(source: Source, name: str) -> str:
    return hashlib.sha256(read(source, name)).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _announce(state: _State) -> None:
    """Say what is expected; refuse when the disk is too small."""
    wanted = [record for record in state.todo if _may_be_written(record, state.settings)]
    if state.run.limit is not None:
        wanted = wanted[: state.run.limit]
    size = sum(_expected_bytes(state.source, record) for record in wanted)
    jobs = _jobs(state.run)
    seconds = (size / 1e6 * _SECONDS_PER_MB + len(wanted) * _SECONDS_PER_PAIR) / jobs
    done = len(state.records) - len(state.todo)
    kept = f", {done} records are done already" if done else ""
    state.run.say(
        f"{state.info.name}: up to {len(wanted)} pairs, about {size / 1e9:.2g} GB and "
        f"{max(1, round(seconds / 60))} min with {jobs} job{'s' if jobs > 1 else ''}{kept}"
    )
    free = shutil.disk_usage(state.folder).free
    if size * _MARGIN > free:
        raise UsageError(
            f"the disk is too small: about {size / 1e9:.2g} GB are needed, {free / 1e9:.2g} free",
            where=str(state.folder),
            hint="--out on another disk, --size for smaller images, or --limit",
        )


def _may_be_written(record: Record, settings: Settings) -> bool:
    if record.left_out:
        return False
    kinds = {lesion.kind for lesion in record.lesions}
    return bool(record.annotations or kinds & settings.read.kinds or settings.with_empty)


def _expected_bytes(source: Source, record: Record) -> int:
    suffix = os.path.splitext(record.image)[1].lower()  # noqa: PTH122 - a name, not a path
    return int(source.size(record.image) * _GROWTH.get(suffix, 1.0))


def _jobs(run: Run) -> int:
    return run.jobs or executors.usable_cpus()


# --------------------------------------------------------------------------------- work


def _work(state: _State, job: Job) -> None:
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


def _pairs_kept(state: _State) -> int:
    todo = {record.record_id for record in state.todo}
    entries = (state.journal.get(i) for i in state.journal.ids() if i not in todo)
    return sum(1 for entry in entries if entry and entry["fate"] == "written")


def _outcomes(state: _State, job: Job) -> Generator[Outcome, None, None]:
    return executors.run(
        work_on,
        state.todo,
        workers=min(_jobs(state.run), max(1, len(state.todo))),
        prepare=start_worker,
        context=job,
        died=lambda record: convert.died(record, job),
    )


def _stop_at_limit(state: _State, rest: list[Record]) -> None:
    """Forget what workers did ahead of the limit."""
    for record in rest:
        state.unreached[record.record_id] = "limit"
        state.journal.forget(record.record_id)


def _journal(state: _State, record: Record, outcome: Outcome) -> None:
    old = state.journal.get(record.record_id)
    if outcome.log:
        state.logs.append(outcome.log)
    for name in (old or {"written": ()})["written"]:
        if name not in outcome.written:
            (state.folder / name).unlink(missing_ok=True)
    state.journal.append(record.record_id, outcome.entry() | {"key": _key(record)})
    state.fresh += outcome.fate == "written"


def _remove_pair(state: _State, record_id: str) -> None:
    entry = state.journal.get(record_id)
    for name in entry["written"] if entry else ():
        (state.folder / name).unlink(missing_ok=True)
    state.journal.forget(record_id)


# --------------------------------------------------------------------------------- finish


@dataclass(slots=True)
class _Tables:
    """Rows of all tables, collected from the journal."""

    records: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    archive: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)


def _finish(state: _State, identity: dict[str, Any]) -> Summary:
    """Write the tables from the journal, check the ledger, sum up."""
    log = _write_log(state)
    tables = _collect(state, log)
    _remove_overshoot(state, tables)
    state.journal.rewrite()
    folder = state.folder
    write_atomic(folder / pairs.RECORDS, pairs.table_bytes(pairs.RECORDS, tables.records))
    write_atomic(folder / pairs.LESIONS, pairs.table_bytes(pairs.LESIONS, tables.lesions))
    write_atomic(folder / pairs.ARCHIVE, pairs.archive_bytes(tables.archive))
    write_atomic(folder / pairs.PROBLEMS, pairs.table_bytes(pairs.PROBLEMS, tables.problems))
    write_atomic(folder / pairs.LEFT_OUT, pairs.table_bytes(pairs.LEFT_OUT, tables.left_out))
    write_atomic(folder / pairs.LICENCE, _licence(state.info).encode())
    content = pairs.content_sha256(folder)
    summary = _summary(state, tables, content, log)
    document = _document(state, tables, identity, content)
    pairs.write_document(folder / pairs.DATASET, document)
    return summary


def _collect(state: _State, log: str) -> _Tables:
    tables = _Tables()
    ledger = tables.ledger
    table_hashes: dict[str, str] = {}
    for entry in state.journal.entries():
        if entry["id"] in state.unreached:
            continue
        outcome = Outcome.of(entry)
        if outcome.row:
            tables.records.append(outcome.row)
        tables.lesions += [
            _with_table_hash(row, state.source, table_hashes) for row in outcome.lesions
        ]
        tables.archive += outcome.archive
        tables.problems += [_with_log(row, log) for row in outcome.problems]
        tables.left_out += outcome.left_out
        if entry["id"] in state.gone:
            message = "its source is not there any more; the pair was kept"
            source = (outcome.row or {}).get("source_image", "")
            tables.problems.append(
                _row(state, "failed", "source_gone", message, source, entry["id"])
            )
            if entry["id"] in state.records:  # its table rows are still there
                record = state.records[entry["id"]]
                ledger.add(unprocessed_items(record, "failed", "source_gone"))
        else:
            ledger.add(outcome.items)
    _collect_unprocessed(state, tables)
    ledger.add_index(state.index, state.source.refused)
    for name in ledger.close(state.source.names(), state.index.tables):
        tables.left_out.append(
            _row(state, "left_out", "unknown_file", "not part of the dataset", name)
        )
    _add_index_rows(state, tables)
    tables.problems.sort(key=_problem_order)
    tables.left_out.sort(key=_problem_order)
    return tables


def _collect_unprocessed(state: _State, tables: _Tables) -> None:
    for record_id, code in sorted(state.unreached.items()):
        record = state.records[record_id]
        if code == "limit":
            tables.ledger.add(unprocessed_items(record, "left_out", code))
            row = _row(state, "left_out", code, "beyond --limit", record.image, record_id)
            tables.left_out.append(row)
        else:
            tables.ledger.add(unprocessed_items(record, "failed", code))
            message = "the source went away before its turn"
            row = _row(state, "failed", code, message, record.image, record_id)
            tables.problems.append(row)


def _add_index_rows(state: _State, tables: _Tables) -> None:
    for name, reason in state.source.refused:
        tables.problems.append(
            _row(state, "warning", reason, "refused: not read from the source", name)
        )
    for group in state.index.left_out:
        for name in group.items:
            tables.left_out.append(
                _row(state, "left_out", group.code, group.message, name, group.record_id)
            )
    for failure in state.index.failed:
        for name in failure.items:
            tables.problems.append(
                _row(state, "failed", failure.code, failure.message, name, failure.record_id)
            )
    for warned in state.index.warnings:
        tables.problems.append(
            _row(state, "warning", warned.code, warned.message, warned.source, warned.record_id)
        )


def _row(
    state: _State, severity: str, code: str, message: str, source: str, record_id: str = ""
) -> Row:  # fmt: skip
    return {
        "dataset": state.info.name,
        "record_id": record_id,
        "severity": severity,
        "code": code,
        "message": " ".join(message.split()),
        "source": source,
    }


def _problem_order(row: Row) -> tuple[str, ...]:
    return row["record_id"], row["severity"], row["code"], row["source"], row["message"]


def _with_table_hash(row: Row, source: Source, known: dict[str, str]) -> Row:
    """Fill in the hash of a table that holds a contour: the parent reads it once for all."""
    name = row["source"].rsplit("#", 1)[0]
    if row["source_sha256"] or "#" not in row["source"]:
        return row
    if name not in known:
        known[name] = _sha256(source, name)
    return row | {"source_sha256": known[name]}


def _with_log(row: Row, log: str) -> Row:
    if row["code"] != "bug":
        return row
    return row | {"message": f"{row['message']}: please report it, the traceback is in logs/"}


def _remove_overshoot(state: _State, tables: _Tables) -> None:
    """Remove pairs that workers wrote beyond --limit."""
    known = {row["record_id"] for row in tables.records}
    for record_id, code in state.unreached.items():
        if code == "limit" and record_id not in known:
            for part in ("images", "masks"):
                (state.folder / part / f"{record_id}.png").unlink(missing_ok=True)
            shutil.rmtree(state.folder / "lesions" / record_id, ignore_errors=True)


def _document(
    state: _State, tables: _Tables, identity: dict[str, Any], content: str
) -> dict[str, Any]:
    info = state.info
    return {
        "schema_version": SCHEMA_VERSION,
        "format": FORMAT,
        "bcseg": __version__,
        "dataset": info.name,
        "title": info.title,
        "url": info.url,
        "licence": info.licence,
        "citation": info.citation,
        "options": identity,
        "records": len(tables.records),
        "lesions_in_masks": sum(row["in_mask"] == "1" for row in tables.lesions),
        "items": tables.ledger.counts(),
        "reasons": tables.ledger.reasons(),
        "problems": dict(sorted(Counter(row["code"] for row in tables.problems).items())),
        "notes": list(state.index.notes),
        "content_sha256": content,
    }


def _licence(info: Info) -> str:
    passing = (
        "The archive, and pairs made from it, may not be passed on.\n\n" if info.restricted else ""
    )
    return (
        f"{info.title}\n{info.url}\n\nLicence of the archive: {info.licence}\n\n{passing}"
        f"Please cite:\n{info.citation}\n"
    )


def _summary(state: _State, tables: _Tables, content: str, log: str) -> Summary:
    bits = [int(row["bits_stored"]) for row in tables.records if row["bit_depth"] == "16"]
    notes = list(state.index.notes)
    if bits and max(bits) < 16:
        notes.append(
            f"16-bit files with {max(bits)} bits used look black in most viewers: load them with "
            f"cv2.imread(path, cv2.IMREAD_UNCHANGED) and divide by {2 ** max(bits) - 1}"
        )
    return Summary(
        dataset=state.info.name,
        folder=state.folder,
        pairs=len(tables.records),
        fresh=state.fresh,
        counts=tables.ledger.counts(),
        reasons=tables.ledger.reasons(),
        failures=[row for row in tables.problems if row["severity"] == "failed"],
        warnings=[row for row in tables.problems if row["severity"] == "warning"],
        notes=tuple(notes),
        content_sha256=content,
        log=log,
    )


def _write_log(state: _State) -> str:
    """Write who ran what and when, and the tracebacks of bugs: outside every hash."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    versions = {
        name: metadata.version(name)
        for name in ("numpy", "opencv-python", "pydicom", "pillow", "isal", "zlib-ng")
        if _installed(name)
    }
    lines = [
        f"command: {' '.join(state.run.command)}",
        f"time: {stamp}",
        f"host: {socket.gethostname()} pid {os.getpid()}",
        f"bcseg {__version__}, Python {platform.python_version()} on {sys.platform}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"source: {state.source.location}",
        f"fresh pairs: {state.fresh}",
        *state.logs,
    ]
    path = state.folder / "logs" / f"refactor-{stamp}-{os.getpid()}.log"
    write_atomic(path, ("\n".join(lines) + "\n").encode())
    return str(path)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _dry_run(state: _State, job: Job) -> Summary:
    """Tell what a run would do, without decoding or writing anything."""
    tables = _Tables()
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
    _add_index_rows(state, tables)
    return _summary(state, tables, "", "")
