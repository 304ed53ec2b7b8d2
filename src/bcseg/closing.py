"""After a run: the tables from the journal, the ledger, dataset.json, the log."""

from __future__ import annotations

import functools
import os
import platform
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from bcseg import __version__, pairs
from bcseg.adapters.base import Info
from bcseg.ledger import NEEDED, Ledger, Rest, file_of, unprocessed_items
from bcseg.outcome import Fate, Outcome
from bcseg.pairs import FORMAT, SCHEMA_VERSION, Row, problem_row
from bcseg.parts import Part, source_sha256, write_rest
from bcseg.run import State, Summary
from bcseg.source import UNREAD
from bcseg.store import Journal, write_atomic

_LIBRARIES = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pydicom",
    "pillow",
    "isal",
    "zlib-ng",
)


@dataclass(slots=True)
class Tables:
    """Rows of the tables, and the ledger."""

    records: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    def add(self, outcome: Outcome, log: str) -> None:
        """Enter what became of a record."""
        if outcome.row:
            self.records.append(outcome.row)
        self.lesions += outcome.lesions
        self.problems += [_with_log(row, log) for row in outcome.problems]
        self.left_out += outcome.left_out
        self.ledger.add(outcome.items)

    def sort(self) -> None:
        """Bring the rows into the order of the contract."""
        self.records.sort(key=_id_order)
        self.lesions.sort(key=_id_order)  # of one record as they are
        self.problems.sort(key=_problem_order)
        self.left_out.sort(key=_problem_order)


def finish(state: State, identity: dict[str, Any]) -> Summary:
    """Write the tables from the journal, check the ledger, sum up.

    A shard writes its own tables, and what a merge has to know besides.
    """
    log = write_log(state.folder, _log_lines(state))
    apart = told_apart(state)
    tables = Tables()
    collect(tables, state.journal, apart, state.table_hashes, log)
    if state.run.shard:
        tables.sort()
        state.journal.rewrite()
        for name, rows in _csv(tables):
            write_atomic(state.books / name, pairs.table_bytes(name, rows))
        _write_part(state, identity, apart)
        return summarise(state, tables, "", log)
    close(tables, state.info.name, state.rest)
    state.journal.rewrite()
    about = about_of(state.info, identity)
    licence = licence_of(state.info)
    content = write_whole(state.journal, tables, about, licence, state.index.notes)
    return summarise(state, tables, content, log)


def _write_part(state: State, identity: dict[str, Any], apart: dict[str, Outcome]) -> None:
    shard = state.run.shard
    assert shard is not None
    if shard.number == 1:
        write_rest(state.books, state.rest, licence_of(state.info))
    Part(
        shard=shard,
        about=about_of(state.info, identity),
        source=source_sha256(state),
        records=len(state.records),
        reached=not state.unreached,
        apart=apart,
        table_hashes=state.table_hashes,
    ).write(state.books)


def write_whole(
    journal: Journal, tables: Tables, about: dict[str, Any], licence: str, notes: Iterable[str]
) -> str:
    """Write tables and documents beside their journal; return the hash of the content."""
    folder = journal.folder
    lines = (line for entry in journal.entries() for line in entry["archive"])
    files = {name: pairs.table_bytes(name, rows) for name, rows in _csv(tables)}
    pairs.write_tables(folder, files | {pairs.ARCHIVE: pairs.archive_bytes(lines)})
    write_atomic(folder / pairs.LICENCE, licence.encode())
    content = pairs.content_sha256(folder)
    counts = {
        "records": len(tables.records),
        "lesions_in_masks": sum(row["in_mask"] == "1" for row in tables.lesions),
        "items": tables.ledger.counts(),
        "reasons": tables.ledger.reasons(),
        "problems": dict(sorted(Counter(row["code"] for row in tables.problems).items())),
        "notes": list(notes),
        "content_sha256": content,
    }
    pairs.write_document(folder / pairs.DATASET, about | counts)
    return content


def _csv(tables: Tables) -> list[tuple[str, list[Row]]]:
    return [
        (pairs.RECORDS, tables.records),
        (pairs.LESIONS, tables.lesions),
        (pairs.PROBLEMS, tables.problems),
        (pairs.LEFT_OUT, tables.left_out),
    ]


def collect(
    tables: Tables,
    journal: Journal,
    apart: Mapping[str, Outcome],
    table_hashes: Mapping[str, str],
    log: str,
) -> None:
    """Enter what the journal tells of each record, but for those of which `apart` tells.

    In order of record id: of equal fates of one item the ledger keeps the first.
    """
    for entry in journal.entries():
        outcome = apart.get(entry["id"])
        if outcome is None:
            outcome = Outcome.of(entry)
            # a row elsewhere in the table may have changed since
            outcome.lesions = [with_table_hash(row, table_hashes) for row in outcome.lesions]
        tables.add(outcome, log)
    known = set(journal.ids())
    for record_id in sorted(apart.keys() - known):
        tables.add(apart[record_id], log)


def close(tables: Tables, dataset: str, rest: Rest) -> None:
    """Enter what belongs to no record, check that nothing is missing, sort."""
    ledger = tables.ledger
    ledger.add_index(rest.index, rest.refused)
    for name in ledger.close(rest.names, rest.index.tables):
        row = problem_row(dataset, "", "left_out", "unknown_file", "not part of the dataset", name)
        tables.left_out.append(row)
    add_index_rows(tables, dataset, rest)
    tables.sort()


def told_apart(state: State) -> dict[str, Outcome]:
    """Return by record id what the tables tell of records, where it is not what the journal says.

    These are pairs whose source is gone or has gone bad, and records that were not reached.
    """
    apart = {}
    for record_id in state.gone:
        apart[record_id] = _gone(state, _journalled(state, record_id))
    for record_id, failure in state.stale.items():
        outcome = _journalled(state, record_id)
        outcome.problems += [_kept(row) for row in failure.problems]
        outcome.items = failure.items
        apart[record_id] = outcome
    for record_id, code in state.unreached.items():
        if record_id not in state.stale:
            apart[record_id] = unreached(state, record_id, code)
    return apart


def _journalled(state: State, record_id: str) -> Outcome:
    entry = state.journal.get(record_id)
    assert entry is not None
    return Outcome.of(entry)


def _gone(state: State, outcome: Outcome) -> Outcome:
    message = "a file it was made of is not in the source any more; the pair was kept"
    names = set(state.source.names())
    made_of = [file_of(name) for sort, name, _, _ in outcome.items if sort in NEEDED]
    lost = next((name for name in made_of if name not in names), "")
    outcome.problems.append(
        problem_row(state.info.name, outcome.record_id, "failed", "source_gone", message, lost)
    )
    record = state.records.get(outcome.record_id)  # its table rows may still be there
    outcome.items = unprocessed_items(record, "failed", "source_gone") if record else []
    return outcome


def unreached(state: State, record_id: str, code: str) -> Outcome:
    """Return the outcome of a record whose turn did not come: `limit`, or `not_reached`."""
    record = state.records[record_id]
    fate: Fate = "left_out" if code == "limit" else "failed"
    outcome = Outcome(record_id, fate, code, items=unprocessed_items(record, fate, code))
    if code == "limit":
        message, rows = "beyond --limit", outcome.left_out
    else:
        message, rows = "the source went away before its turn", outcome.problems
    rows.append(problem_row(state.info.name, record_id, fate, code, message, record.image))
    return outcome


def _kept(row: Row) -> Row:
    """Say of a failure that the pair of an earlier run is still there."""
    if row["severity"] != "failed":
        return row
    return row | {"message": f"{row['message']}; the pair made from it before was kept"}


def add_index_rows(tables: Tables, dataset: str, rest: Rest) -> None:
    """Add the rows about items that belong to no record."""

    def row(severity: str, code: str, message: str, source: str, record_id: str = "") -> Row:
        return problem_row(dataset, record_id, severity, code, message, source)

    for name, reason in rest.refused:
        severity = "failed" if reason in UNREAD else "warning"
        tables.problems.append(row(severity, reason, "refused: not read from the source", name))
    for group in rest.index.left_out:
        for name in filter(tables.ledger.is_left_out, group.items):
            tables.left_out.append(
                row("left_out", group.code, group.message, name, group.record_id)
            )
    for failure in rest.index.failed:
        for name in failure.items:
            tables.problems.append(
                row("failed", failure.code, failure.message, name, failure.record_id)
            )
    for warned in rest.index.warnings:
        tables.problems.append(
            row("warning", warned.code, warned.message, warned.source, warned.record_id)
        )


def _id_order(row: Row) -> str:
    return row["record_id"]


def _problem_order(row: Row) -> tuple[str, ...]:
    return row["record_id"], row["severity"], row["code"], row["source"], row["message"]


def with_table_hash(row: Row, hashes: Mapping[str, str]) -> Row:
    """Fill in the hash of the table that holds a contour."""
    value = hashes.get(file_of(row["source"]), "")
    return row | {"source_sha256": value} if value else row


def _with_log(row: Row, log: str) -> Row:
    if row["code"] != "bug":
        return row
    return row | {"message": f"{row['message']}: please report it, the traceback is in logs/"}


def about_of(info: Info, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what dataset.json says of the archive and the options, before it counts."""
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
    }


def licence_of(info: Info) -> str:
    """Return LICENCE.txt."""
    passing = (
        "The archive, and pairs made from it, may not be passed on.\n\n" if info.restricted else ""
    )
    return (
        f"{info.title}\n{info.url}\n\nLicence of the archive: {info.licence}\n\n{passing}"
        f"Please cite:\n{info.citation}\n"
    )


def summarise(state: State, tables: Tables, content: str, log: str) -> Summary:
    """Return what the user is told at the end; of a shard, what concerns its own records."""
    notes = () if state.run.shard else state.index.notes
    some = bool(state.records) and not (state.unreached or state.run.shard)
    kinds = sorted(state.settings.read.kinds) if some else ()
    return replace(
        summary(state.info.name, state.folder, tables, notes=notes, kinds=kinds),
        fresh=state.fresh,
        content_sha256=content,
        log=log,
        shard=str(state.run.shard or ""),
    )


def summary(
    dataset: str, folder: Path, tables: Tables, *, notes: Iterable[str], kinds: Iterable[str]
) -> Summary:
    """Return what tables tell; `kinds`: those asked for, if there were records to have any."""
    notes = list(notes)
    bits = max((_bits_used(row) for row in tables.records if row["bit_depth"] == "16"), default=16)
    if bits < 16:
        notes.append(
            f"16-bit files with {bits} bits used look black in most viewers: load them with "
            f"cv2.imread(path, cv2.IMREAD_UNCHANGED) and divide by {2**bits - 1}"
        )
    kinds = ", ".join(kinds)
    if kinds and not (tables.records or any(map(_is_failure, tables.problems))):
        notes.append(f"no pair: no image here has a lesion of the kinds asked for ({kinds})")
    return Summary(
        dataset=dataset,
        folder=folder,
        pairs=len(tables.records),
        fresh=0,
        counts=tables.ledger.counts(),
        reasons=tables.ledger.reasons(),
        failures=list(filter(_is_failure, tables.problems)),
        warnings=[row for row in tables.problems if row["severity"] == "warning"],
        notes=tuple(notes),
    )


def _is_failure(row: Row) -> bool:
    return row["severity"] == "failed"


def _bits_used(row: Row) -> int:
    """Return the bits of a 16-bit image: as its file says, else of its highest value.

    PNG and TIFF cannot say that of their 16 bits fewer are used.
    """
    stored = int(row["bits_stored"])
    return stored if stored < 16 else max(1, int(row["value_max"]).bit_length())


def _log_lines(state: State) -> list[str]:
    return [
        f"command: {' '.join(state.run.command)}",
        f"source: {state.source.location}",
        f"fresh pairs: {state.fresh}",
        *state.logs,
    ]


def write_log(folder: Path, told: Iterable[str], name: str = "refactor") -> str:
    """Write who ran what and when, and the tracebacks of bugs: outside every hash."""
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"
    versions = {name: version for name in _LIBRARIES if (version := _version(name))}
    command, *rest = told
    lines = [
        command,
        f"time: {stamp}",
        f"host: {socket.gethostname()} pid {os.getpid()}",
        f"bcseg {__version__}, Python {platform.python_version()} on {sys.platform}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        *rest,
    ]
    path = folder / "logs" / f"{name}-{stamp}-{os.getpid()}.log"
    write_atomic(path, ("\n".join(lines) + "\n").encode())
    return str(path)


@functools.cache
def _version(name: str) -> str:
    """Return the version of an installed package, "" for one that is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
