"""Decisions of one reviewer: the journal, and the table that `select` takes.

The journal is the truth: a decision is in it, on the disk, before anybody is told. The table is
made from it, and replaced as a whole. Both belong to one process at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import threading
import time
from pathlib import Path
from types import TracebackType

from bcseg.lock import PART
from bcseg.review.entries import Entry, Key, current_entries
from bcseg.review.journal import Journal, refusal
from bcseg.review.table import entries_of_table, table_bytes


class Decisions:
    """The journal and the table of one reviewer, open for writing; use as a context manager.

    `table`: the CSV; the journal lies beside it. Raises UsageError if another process has them
    open, if they are another reviewer's, or if the table is none of a review; OutputError if the
    disk refuses. Methods may be called from any thread.
    """

    def __init__(self, table: Path, reviewer: str) -> None:
        self.table = table
        self.reviewer = reviewer
        self.warning = ""
        self.notice = ""  # what was taken over from a table that was changed by hand
        self._kept = ""  # what was said about a table changed under this process
        self._stamp: tuple[int, int, int] | None = None  # of the table as this process left it
        self._marks: dict[str, Entry] = {}
        self._written = ""  # hash of the table on the disk
        self._guard = threading.Lock()
        self._open_journal: Journal | None = None

    def __enter__(self) -> Decisions:
        with contextlib.ExitStack() as undone:
            self._open_journal = Journal(journal_path(self.table), self.reviewer)
            undone.callback(self._open_journal.close)
            self._take_up()
            undone.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._journal.close()

    @property
    def _journal(self) -> Journal:
        assert self._open_journal is not None
        return self._open_journal

    def add(self, entry: Entry) -> Entry:
        """Put a decision on the disk, then return it with its number; raises OutputError.

        An entry whose mark is known already is not added again.
        """
        with self._guard:
            known = self._marks.get(entry.mark) if entry.mark else None
            if known is not None:
                return known
            added = self._append(entry)
            self._write_table()
            return added

    def since(self, number: int) -> list[Entry]:
        """Return the entries after the one with this number."""
        with self._guard:
            entries = self._journal.entries
            first = len(entries)
            while first and entries[first - 1].number > number:
                first -= 1
            return entries[first:]

    def _append(self, entry: Entry) -> Entry:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        added = self._journal.append(dataclasses.replace(entry, time=now, table=self._written))
        if added.mark:
            self._marks[added.mark] = added
        return added

    def _take_up(self) -> None:
        """Continue what is there: journal, table, and what was changed in the table by hand."""
        entries = self._journal.entries
        self._marks = {entry.mark: entry for entry in entries if entry.mark}
        on_disk = self._table_on_disk()
        known = entries[-1].table if entries else ""
        self._written = _short_hash(on_disk) if on_disk is not None else ""
        new = _short_hash(self._table_bytes())
        if on_disk is not None and self._written not in (known, new):
            self._take_over()
        if self._journal.entries:
            self._write_table()

    def _take_over(self) -> None:
        """Enter what somebody changed in the table by hand, and what stands there alone."""
        looks = [current_entries(self._journal.entries, repeat=again) for again in (False, True)]
        there: set[tuple[bool, Key]] = set()
        changed: set[tuple[bool, Key]] = set()
        for entry in entries_of_table(self.table):
            there.add((entry.repeat, entry.key))
            whole = (entry.repeat, (entry.dataset, entry.record_id, ""))
            known = looks[entry.repeat].get(entry.key)
            if whole in changed or known is None or _judgement(known) != _judgement(entry):
                changed.add((entry.repeat, entry.key))
                self._append(entry)
        lost = [
            Entry(number=0, dataset=key[0], record_id=key[1], lesion_id=key[2], repeat=bool(again))
            for again, look in enumerate(looks)
            for key in sorted(look.keys() - {k for a, k in there if a == again})
        ]
        for gone in lost:
            self._append(gone)
        self.notice = (
            f"{self.table.name} was changed by hand: {len(changed)} decisions taken over from it,"
            f" {len(lost)} withdrawn because their rows are gone"
            f" ({self._journal.path.name} has them)"
        )

    def _write_table(self) -> None:
        """Replace the table; if the disk refuses, the journal has the decision all the same."""
        data = self._table_bytes()
        try:
            self._keep_what_others_wrote()
            _replace(self.table, data)
            self._stamp = _stamp(self.table)
        except OSError as error:
            self.warning = (
                f"{self.table.name} could not be written ({error.strerror or error}); the decisions"
                f" are safe in {self._journal.path.name}"
            )
        else:
            self.warning = self._kept
            self._written = _short_hash(data)

    def _keep_what_others_wrote(self) -> None:
        """Keep a table that somebody saved since this process wrote it: it would be replaced."""
        now = _stamp(self.table)
        if self._stamp is None or now in (None, self._stamp):
            return
        data = self.table.read_bytes()
        if _short_hash(data) == self._written:
            return
        copy = self.table.with_name(f"{self.table.stem}.changed.csv")
        _replace(copy, data)
        self._kept = (
            f"{self.table.name} was changed by somebody else while the review runs: that version is"
            f" kept as {copy.name}, and does not count"
        )

    def _table_bytes(self) -> bytes:
        return table_bytes(self._journal.entries, self.reviewer)

    def _table_on_disk(self) -> bytes | None:
        try:
            return self.table.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refusal(self.table, error) from error


def journal_path(table: Path) -> Path:
    """Return where the journal of a table lies: beside it."""
    return table.with_name(f"{table.stem}.journal.jsonl")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        here = path.stat()
    except FileNotFoundError:
        return None
    return here.st_mtime_ns, here.st_size, here.st_ino


def _judgement(entry: Entry) -> tuple[str, ...]:
    return entry.decision, entry.reason, entry.note, entry.annotation_sha256


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _replace(path: Path, data: bytes) -> None:
    """Replace a file as a whole: before a power cut and after it, one of its states is there."""
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
