"""The journal of a review: append-only lines, each on the disk before anybody is told.

No line that is whole is ever cut off or written over, whoever wrote it. What guards that: an
exclusive lock where the file system has one, append mode, and a check before each line that the
file ends where this process left it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcseg.errors import UsageError
from bcseg.review.entries import Entry, entry_of
from bcseg.store import OutputError

_HEAD = "bcseg_review"  # key of the first line; its value is the format
_FORMAT = 1


class Journal:
    """The entries of one reviewer, on the disk; `close` gives the file back.

    Raises UsageError if another process has it open or it is another reviewer's, OutputError if
    the disk refuses. Not for several threads at once.
    """

    def __init__(self, path: Path, reviewer: str) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._reviewer = reviewer
        self._end = 0  # bytes of whole lines
        self._refused = b""  # what the disk may hold a part of, beyond the end
        self._file = _opened(path)
        with contextlib.ExitStack() as undone:
            undone.callback(self.close)
            _claim(self._file, path)
            self._load()
            undone.pop_all()

    @property
    def last(self) -> int:
        """Number of the last entry, 0 if there is none."""
        return self.entries[-1].number if self.entries else 0

    def close(self) -> None:
        """Close the file, which gives the claim back."""
        self._file.close()

    def append(self, entry: Entry) -> Entry:
        """Put an entry on the disk and return it with its number; raises OutputError."""
        values = entry.document() | {"number": self.last + 1}
        added = entry_of(values, self.last)
        assert added is not None
        self._write({name: value for name, value in values.items() if value != ""})
        self.entries.append(added)
        return added

    def _load(self) -> None:
        """Read all lines; what a killed server left torn at the end is cut off."""
        data = self._file.read()
        for line in io.BytesIO(data):  # bytes.splitlines would part lines at \r too
            whole, values = line.endswith(b"\n"), _values(line)
            if not whole and values is None:
                break
            self._take(values or {})
            self._end += len(line)
        self._refused = data[self._end :]
        if not data[: self._end]:
            self._write({_HEAD: _FORMAT, "reviewer": self._reviewer})
        elif not data[: self._end].endswith(b"\n"):  # whole but for its end
            self._put(b"\n")

    def _take(self, values: Mapping[str, Any]) -> None:
        if _HEAD in values:
            self._check_head(values)
            return
        entry = entry_of(values, self.last)
        if entry is not None:
            self.entries.append(entry)

    def _check_head(self, head: Mapping[str, Any]) -> None:
        if head[_HEAD] != _FORMAT:
            raise UsageError("the journal is of another bcseg", where=str(self.path))
        if head.get("reviewer") != self._reviewer:
            raise UsageError(
                f"these are the decisions of {head.get('reviewer')}, not of {self._reviewer}",
                where=str(self.path),
                hint="--reviewer NAME, or another table with -o",
            )

    def _write(self, values: Mapping[str, Any]) -> None:
        self._put(json.dumps(values, separators=(",", ":")).encode() + b"\n")

    def _put(self, line: bytes) -> None:
        try:
            self._check_end()
            self._refused = line
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._check_end()
            raise refusal(self.path, error) from error
        self._refused = b""
        self._end += len(line)

    def _check_end(self) -> None:
        """Cut off what the disk took of a refused line; raise OSError for what others did."""
        here = os.fstat(self._file.fileno())
        if not os.path.samestat(here, self.path.stat()):
            raise OSError("it was replaced by somebody else; start the review again")
        if here.st_size == self._end:
            return
        self._file.seek(self._end)
        rest = self._file.read()
        if here.st_size < self._end or not self._refused.startswith(rest):
            raise OSError("somebody else wrote to it; start the review again")
        self._file.truncate(self._end)


def refusal(path: Path, error: OSError) -> OutputError:
    """Return what the disk says about a file as an error for the reviewer."""
    return OutputError(
        f"cannot write {path.name}: {error.strerror or error}",
        where=str(path.parent),
        hint="free some space: what was decided before is safe",
    )


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # a file system that knows no such thing
    finally:
        os.close(descriptor)


def _opened(path: Path) -> io.FileIO:
    """Open a journal, with its folder, so that neither is gone after a power cut."""
    made = [folder for folder in path.parents if not folder.exists()]
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        for folder in (path.parent, *(one.parent for one in made)):
            sync_folder(folder)
    except OSError as error:
        raise UsageError(
            f"cannot write here: {error.strerror or error}",
            where=str(path.parent),
            hint="name another table with -o",
        ) from error
    return file


def _claim(file: io.FileIO, path: Path) -> None:
    """Take the journal for this process; a killed process gives it back by itself."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            "another `bcseg review` has this table open",
            where=str(path),
            hint="open a second window of that one, or stop it, or take another --reviewer",
        ) from error
    except OSError:
        pass  # a file system without locks: each line is checked before it is written


def _values(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
