"""Decisions of one reviewer: an append-only journal, and the table that `select` takes.

The journal is the truth: a decision is in it, on the disk, before anybody is told. The table is
made from it, and replaced as a whole. Both belong to one process at a time.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bcseg.errors import UsageError
from bcseg.select.manifest import DECISIONS, ManifestRow, read_manifest
from bcseg.store import PART, OutputError

COLUMNS = tuple(
    """dataset record_id lesion_id decision reason note reviewer annotation_sha256 seconds repeat
    repeat_reason repeat_seconds""".split()  # noqa: SIM905
)
LONGEST_NOTE = 500  # characters of a note or a typed reason
LONGEST_LOOK = 86_400.0  # seconds

_HEAD = "bcseg_review"  # key of the journal's first line; its value is the format
_FORMAT = 1
_TEXTS = ("dataset", "record_id", "lesion_id", "decision", "reason", "note", "annotation_sha256")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")

Key = tuple[str, str, str]  # dataset, record id, lesion id (empty: the whole mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision as the journal has it, or the withdrawal of one.

    `number` counts the journal's entries from 1. `decision`: empty for "not decided after all".
    `undo`: the number of the entry that is withdrawn, 0 for a decision. `mark`: chosen by the
    window that sent it, so that the same message twice is one decision. `table`: begin of the hash
    of the table that was on the disk when this was added.
    """

    number: int
    dataset: str = ""
    record_id: str = ""
    lesion_id: str = ""
    decision: str = ""
    reason: str = ""
    note: str = ""
    annotation_sha256: str = ""
    seconds: float = 0.0
    repeat: bool = False
    undo: int = 0
    mark: str = ""
    time: str = ""
    table: str = ""

    @property
    def key(self) -> Key:
        """What was judged."""
        return self.dataset, self.record_id, self.lesion_id

    def document(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return dataclasses.asdict(self)


class Decisions:
    """The journal and the table of one reviewer, open for writing; use as a context manager.

    `table`: the CSV; the journal lies beside it. Raises UsageError if another process has them
    open, if they are another reviewer's, or if the table is none of a review; OutputError if the
    disk refuses. Methods may be called from any thread.
    """

    def __init__(self, table: Path, reviewer: str) -> None:
        self.table = table
        self.reviewer = reviewer
        self.path = journal_path(table)
        self.entries: list[Entry] = []
        self.warning = ""
        self._marks: dict[str, Entry] = {}
        self._end = 0
        self._written = ""  # hash of the table on the disk
        self._guard = threading.Lock()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Decisions:
        try:
            self.table.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise UsageError(
                f"cannot write here: {error.strerror or error}",
                where=str(self.table.parent),
                hint="name another table with -o",
            ) from error
        with contextlib.ExitStack() as undone:
            undone.callback(self._close)
            self._open(self._file)
            undone.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def add(self, entry: Entry) -> Entry:
        """Put a decision on the disk, then return it with its number; raises OutputError.

        An entry whose mark is known already is not added again.
        """
        with self._guard:
            if entry.mark and entry.mark in self._marks:
                return self._marks[entry.mark]
            added = self._append(entry)
            self._write_table()
            return added

    def since(self, number: int) -> list[Entry]:
        """Return the entries after the one with this number."""
        with self._guard:
            return self.entries[max(0, number) :]

    def _open(self, file: IO[bytes]) -> None:
        _claim(file, self.table)
        self._load(file)
        on_disk = self._table_on_disk()
        known = self.entries[-1].table if self.entries else ""
        self._written = _short_hash(on_disk) if on_disk is not None else ""
        if not self._end:
            self._write(_line({_HEAD: _FORMAT, "reviewer": self.reviewer}))
        new = _short_hash(self._table_bytes())
        if on_disk is not None and self._written not in (known, new):
            self._take_over()
        if self.entries:
            self._write_table()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()  # which gives the claim back
            self._file = None

    def _load(self, file: IO[bytes]) -> None:
        """Read the journal; what a killed server left torn at its end is cut off."""
        for line in iter(file.readline, b""):
            values = _values(line)
            if values is None and not line.endswith(b"\n"):
                break
            if values is not None and _HEAD in values:
                self._check_head(values)
            elif values is not None:
                self._remember(values)
            if not line.endswith(b"\n"):  # whole but for its end
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            self._end = file.tell()

    def _check_head(self, head: Mapping[str, Any]) -> None:
        if head[_HEAD] != _FORMAT:
            raise UsageError("the journal is of another bcseg", where=str(self.path))
        if head.get("reviewer") != self.reviewer:
            raise UsageError(
                f"these are the decisions of {head.get('reviewer')}, not of {self.reviewer}",
                where=str(self.table),
                hint="--reviewer NAME, or another table with -o",
            )

    def _remember(self, values: Mapping[str, Any]) -> Entry | None:
        entry = _entry(values, len(self.entries) + 1)
        if entry is not None:
            self.entries.append(entry)
            if entry.mark:
                self._marks[entry.mark] = entry
        return entry

    def _append(self, entry: Entry) -> Entry:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        number = len(self.entries) + 1
        entry = dataclasses.replace(entry, number=number, time=now, table=self._written)
        values = entry.document()
        self._write(_line({name: value for name, value in values.items() if value != ""}))
        added = self._remember(values)
        assert added is not None
        return added

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        try:
            if not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat()):
                raise OSError("it was replaced by somebody else; start the review again")
            self._file.seek(self._end)
            self._file.truncate()
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _refusal(self.path, error) from error
        self._end += len(line)

    def _write_table(self) -> None:
        """Replace the table; if the disk refuses, the journal has the decision all the same."""
        data = self._table_bytes()
        try:
            _replace(self.table, data)
        except OSError as error:
            self.warning = (
                f"{self.table.name} could not be written ({error.strerror or error}); the decisions"
                f" are safe in {self.path.name}"
            )
        else:
            self.warning = ""
            self._written = _short_hash(data)

    def _table_bytes(self) -> bytes:
        return table_bytes(self.entries, self.reviewer)

    def _table_on_disk(self) -> bytes | None:
        try:
            return self.table.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refusal(self.table, error) from error

    def _take_over(self) -> None:
        """Enter what somebody changed in the table by hand, and what stands there alone."""
        looks = [current_entries(self.entries, repeat=repeat) for repeat in (False, True)]
        there: set[tuple[bool, Key]] = set()
        for entry in _rows_of(self.table):
            there.add((entry.repeat, entry.key))
            known = looks[entry.repeat].get(entry.key)
            if known is None or _judgement(known) != _judgement(entry):
                self._append(entry)
        for repeat, look in enumerate(looks):
            for key in look.keys() - {key for again, key in there if again == bool(repeat)}:
                dataset, record_id, lesion_id = key
                gone = Entry(number=0, dataset=dataset, record_id=record_id, lesion_id=lesion_id)
                self._append(dataclasses.replace(gone, repeat=bool(repeat)))


def journal_path(table: Path) -> Path:
    """Return where the journal of a table lies: beside it."""
    return table.with_name(f"{table.stem}.journal.jsonl")


def current_entries(entries: Iterable[Entry], *, repeat: bool = False) -> dict[Key, Entry]:
    """Return the decision that counts for each thing judged; `repeat`: the second look's."""
    entries = list(entries)
    withdrawn = {entry.undo for entry in entries if entry.undo}
    current: dict[Key, Entry] = {}
    for entry in entries:
        if entry.undo or entry.number in withdrawn or entry.repeat != repeat:
            continue
        current[entry.key] = entry
    return {key: entry for key, entry in current.items() if entry.decision}


def table_bytes(entries: Iterable[Entry], reviewer: str) -> bytes:
    """Return the table: one row for each thing judged, sorted, cells safe in a spreadsheet."""
    entries = list(entries)
    first, second = current_entries(entries), current_entries(entries, repeat=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for key in sorted(first):
        row = _row(first[key], second.get(key)) | {"reviewer": reviewer}
        writer.writerow({name: _safe_cell(cell) for name, cell in row.items()})
    return text.getvalue().encode(errors="backslashreplace")


def _row(entry: Entry, again: Entry | None) -> dict[str, str]:
    row = {name: getattr(entry, name) for name in _TEXTS}
    return row | {
        "seconds": f"{entry.seconds:.1f}",
        "repeat": again.decision if again else "",
        "repeat_reason": again.reason if again else "",
        "repeat_seconds": f"{again.seconds:.1f}" if again else "",
    }


def plain_text(text: str) -> str:
    """Return what somebody typed as one line of limited length."""
    return _UNSEEN.sub(" ", text).strip()[:LONGEST_NOTE]


def _safe_cell(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula; `select` drops the apostrophe."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _judgement(entry: Entry) -> tuple[str, ...]:
    return entry.decision, entry.reason, entry.note, entry.annotation_sha256


def _rows_of(table: Path) -> Iterator[Entry]:
    """Yield the decisions of a table that somebody may have edited; raises UsageError."""
    if not table.read_bytes().strip():
        return
    header = table.read_bytes().decode("utf-8-sig", errors="replace").strip().splitlines()
    if len(header) == 1 and {"dataset", "record_id"} <= {*re.split("[,;\t]", header[0])}:
        return
    manifest = read_manifest(table)
    if not {"dataset", "record_id", "decision"} <= {*manifest.columns} or {*manifest.columns} - {
        *COLUMNS
    }:
        raise UsageError(
            "the table is not one of a review: it would be replaced",
            where=str(table),
            hint="name another one with -o",
        )
    for row in manifest.rows:
        entry = _entry_of_row(row, table)
        if entry.decision:
            yield entry
        if entry.decision and row.cell("repeat").lower() in DECISIONS:
            yield dataclasses.replace(
                entry,
                decision=row.cell("repeat").lower(),
                reason=plain_text(row.cell("repeat_reason")),
                note="",
                repeat=True,
                seconds=_seconds(row.cell("repeat_seconds")),
            )


def _entry_of_row(row: ManifestRow, table: Path) -> Entry:
    decision = row.cell("decision").lower()
    if decision and decision not in DECISIONS:
        raise UsageError(
            f"row {row.number}: the decision {row.cell('decision')!r} is not one of"
            f" {', '.join(DECISIONS)}",
            where=str(table),
        )
    texts: dict[str, Any] = {name: plain_text(row.cell(name)) for name in _TEXTS}
    texts["decision"] = decision
    return Entry(number=0, **texts, seconds=_seconds(row.cell("seconds")))


def _seconds(cell: str) -> float:
    text = cell.replace(",", ".")
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d*)?", text) else 0.0


def _entry(values: Mapping[str, Any], number: int) -> Entry | None:
    """Return what a line says, None if it is no entry."""
    undo, seconds = values.get("undo", 0), values.get("seconds", 0.0)
    names = (*_TEXTS, "mark", "time", "table")
    texts: dict[str, Any] = {name: values.get(name, "") for name in names}
    sound = (
        all(isinstance(text, str) for text in texts.values())
        and isinstance(undo, int)
        and isinstance(seconds, (int, float))
        and (texts["decision"] in ("", *DECISIONS))
        and bool(undo or texts["record_id"])
    )
    if not sound:
        return None
    repeat = values.get("repeat") is True
    return Entry(number=number, **texts, seconds=float(seconds), repeat=repeat, undo=undo)


def _values(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _replace(path: Path, data: bytes) -> None:
    """Replace a file as a whole; both states of it are valid, and the new one is on the disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _claim(file: IO[bytes], table: Path) -> None:
    """Take the journal for this process; a killed process gives it back by itself."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            "another `bcseg review` has this table open",
            where=str(table),
            hint="open a second window of that one, or stop it, or take another --reviewer",
        ) from error
    except OSError:
        pass  # a file system without locks


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path.name}: {error.strerror or error}",
        where=str(path.parent),
        hint="free some space: what was decided before is safe",
    )
