"""After a run: the tables from the journal, the ledger, dataset.json, the log."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from bcseg import __version__, pairs
from bcseg.adapters.base import Info
from bcseg.ledger import NEEDED, Ledger, file_of, unprocessed_items
from bcseg.outcome import Outcome
from bcseg.pairs import FORMAT, SCHEMA_VERSION, Row
from bcseg.run import State, Summary
from bcseg.source import UNREAD
from bcseg.store import write_atomic

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
    """Rows of the tables, collected from the journal."""

    records: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)


def finish(state: State, identity: dict[str, Any]) -> Summary:
    """Write the tables from the journal, check the ledger, sum up."""
    log = _write_log(state)
    tables = _collect(state, log)
    state.journal.rewrite()
    folder = state.folder
    write_atomic(folder / pairs.RECORDS, pairs.table_bytes(pairs.RECORDS, tables.records))
    write_atomic(folder / pairs.LESIONS, pairs.table_bytes(pairs.LESIONS, tables.lesions))
    lines = (line for entry in state.journal.entries() for line in entry["archive"])
    write_atomic(folder / pairs.ARCHIVE, pairs.archive_bytes(lines))
    write_atomic(folder / pairs.PROBLEMS, pairs.table_bytes(pairs.PROBLEMS, tables.problems))
    write_atomic(folder / pairs.LEFT_OUT, pairs.table_bytes(pairs.LEFT_OUT, tables.left_out))
    write_atomic(folder / pairs.LICENCE, _licence(state.info).encode())
    content = pairs.content_sha256(folder)
    summary = summarise(state, tables, content, log)
    document = _document(state, tables, identity, content)
    pairs.write_document(folder / pairs.DATASET, document)
    return summary


def _collect(state: State, log: str) -> Tables:
    tables = Tables()
    ledger = tables.ledger
    gone = set(state.gone)
    for entry in state.journal.entries():
        outcome = Outcome.of(entry)
        if outcome.row:
            tables.records.append(outcome.row)
        tables.problems += [_with_log(row, log) for row in outcome.problems]
        tables.left_out += outcome.left_out
        if entry["id"] in gone:
            tables.lesions += outcome.lesions
            _collect_gone(state, tables, outcome)
        elif entry["id"] in state.stale:
            tables.lesions += outcome.lesions
            failure = state.stale[entry["id"]]
            tables.problems += [_with_log(_kept(row), log) for row in failure.problems]
            ledger.add(failure.items)
        else:
            # a row elsewhere in the table may have changed since
            tables.lesions += [with_table_hash(row, state.table_hashes) for row in outcome.lesions]
            ledger.add(outcome.items)
    _collect_unprocessed(state, tables)
    ledger.add_index(state.index, state.source.refused)
    for name in ledger.close(state.source.names(), state.index.tables):
        tables.left_out.append(
            _row(state, "left_out", "unknown_file", "not part of the dataset", name)
        )
    add_index_rows(state, tables)
    tables.problems.sort(key=_problem_order)
    tables.left_out.sort(key=_problem_order)
    return tables


def _collect_gone(state: State, tables: Tables, outcome: Outcome) -> None:
    message = "a file it was made of is not in the source any more; the pair was kept"
    names = set(state.source.names())
    made_of = [file_of(name) for sort, name, _, _ in outcome.items if sort in NEEDED]
    lost = next((name for name in made_of if name not in names), "")
    row = _row(state, "failed", "source_gone", message, lost, outcome.record_id)
    tables.problems.append(row)
    if outcome.record_id in state.records:  # its table rows are still there
        record = state.records[outcome.record_id]
        tables.ledger.add(unprocessed_items(record, "failed", "source_gone"))


def _kept(row: Row) -> Row:
    """Say of a failure that the pair of an earlier run is still there."""
    if row["severity"] != "failed":
        return row
    return row | {"message": f"{row['message']}; the pair made from it before was kept"}


def _collect_unprocessed(state: State, tables: Tables) -> None:
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


def add_index_rows(state: State, tables: Tables) -> None:
    """Add the rows about items that belong to no record."""
    for name, reason in state.source.refused:
        severity = "failed" if reason in UNREAD else "warning"
        tables.problems.append(
            _row(state, severity, reason, "refused: not read from the source", name)
        )
    for group in state.index.left_out:
        for name in filter(tables.ledger.is_left_out, group.items):
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
    state: State, severity: str, code: str, message: str, source: str, record_id: str = ""
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


def with_table_hash(row: Row, hashes: Mapping[str, str]) -> Row:
    """Fill in the hash of the table that holds a contour."""
    value = hashes.get(file_of(row["source"]), "")
    return row | {"source_sha256": value} if value else row


def _with_log(row: Row, log: str) -> Row:
    if row["code"] != "bug":
        return row
    return row | {"message": f"{row['message']}: please report it, the traceback is in logs/"}


def _document(
    state: State, tables: Tables, identity: dict[str, Any], content: str
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


def summarise(state: State, tables: Tables, content: str, log: str) -> Summary:
    """Return what the user is told at the end."""
    notes = list(state.index.notes)
    bits = max((_bits_used(row) for row in tables.records if row["bit_depth"] == "16"), default=16)
    if bits < 16:
        notes.append(
            f"16-bit files with {bits} bits used look black in most viewers: load them with "
            f"cv2.imread(path, cv2.IMREAD_UNCHANGED) and divide by {2**bits - 1}"
        )
    nothing = not (tables.records or state.unreached or any(map(_is_failure, tables.problems)))
    if state.records and nothing:
        kinds = ", ".join(sorted(state.settings.read.kinds))
        notes.append(f"no pair: no image here has a lesion of the kinds asked for ({kinds})")
    return Summary(
        dataset=state.info.name,
        folder=state.folder,
        pairs=len(tables.records),
        fresh=state.fresh,
        counts=tables.ledger.counts(),
        reasons=tables.ledger.reasons(),
        failures=list(filter(_is_failure, tables.problems)),
        warnings=[row for row in tables.problems if row["severity"] == "warning"],
        notes=tuple(notes),
        content_sha256=content,
        log=log,
    )


def _is_failure(row: Row) -> bool:
    return row["severity"] == "failed"


def _bits_used(row: Row) -> int:
    """Return the bits of a 16-bit image: as its file says, else of its highest value.

    PNG and TIFF cannot say that of their 16 bits fewer are used.
    """
    stored = int(row["bits_stored"])
    return stored if stored < 16 else max(1, int(row["value_max"]).bit_length())


def _write_log(state: State) -> str:
    """Write who ran what and when, and the tracebacks of bugs: outside every hash."""
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"
    versions = {name: metadata.version(name) for name in _LIBRARIES if _installed(name)}
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
