"""Files that are whole or not there: atomic writes, the journal of a run, its lock."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from bcseg.errors import EXIT_FINDINGS, BcsegError, RecordError, UsageError

PART = ".part"
_LOCK = ".lock"
_JOURNAL = ".journal.jsonl"
_FIELDS = {"id", "fate", "key", "files", "stamps", "written"}  # of every line about a record
_FREE_SPACE = "free some space, or give another place with --out, and run again"


class OutputError(BcsegError):
    """The output cannot be written any more: the run stops, what is finished stays."""

    exit_code = EXIT_FINDINGS


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees a part of it; parent folders are made.

    The temporary file lies in the same folder, its name begins with a dot. Raises OutputError.
    """
    with _refusals_of(path):
        _replace(path, data)


def write_pair(path: Path, data: bytes) -> None:
    """Write a file of a pair; raises RecordError (code "write_failed") if the disk refuses."""
    try:
        _replace(path, data)
    except OSError as error:
        raise RecordError(
            f"cannot write {path.name}: {error.strerror or error}",
            code="write_failed",
            hint=_FREE_SPACE,
        ) from error


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # a killed run's workers may live on for a moment: no two processes share a temporary file
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def copy_file(source: Path, to: Path, *, link: bool = False) -> None:
    """Copy or hard-link a file of a pair; raises RecordError if the disk refuses."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        if link:
            os.link(source.resolve(), to)
        else:
            shutil.copyfile(source, to)
    except OSError as error:
        raise RecordError(
            f"cannot {'link' if link else 'copy'} {source.name}: {error.strerror or error}",
            code="write_failed",
            hint="without --link" if link else _FREE_SPACE,
        ) from error


@contextlib.contextmanager
def built_whole(place: Path) -> Generator[Path, None, None]:
    """Give a folder beside `place` to build in; it gets its name when all went well.

    After an error nothing is left of it. `place` is not there yet, or an empty folder.
    """
    place = place.resolve()
    part = place.with_name(f".{place.name}{PART}")
    with Lock(part):
        try:
            for path in part.iterdir():  # what a killed run left; the lock is ours
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()
            yield part
            with _refusals_of(place):
                if place.is_dir():
                    place.rmdir()
                part.rename(place)
                (place / _LOCK).unlink(missing_ok=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _refusals_of(path: Path) -> Generator[None, None, None]:
    """Turn what the disk says about a file into an error for the user."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path.name}: {error.strerror or error}",
            where=str(path.parent),
            hint=_FREE_SPACE,
        ) from error


def remove_parts(folder: Path) -> None:
    """Remove temporary files that a killed run left in a pairs folder."""
    for part in folder.rglob(f".*{PART}"):
        if part.is_file():
            part.unlink(missing_ok=True)


def is_trace(name: str) -> bool:
    """Tell whether a name is that of a lock or a temporary file: all that a killed start leaves."""
    return name == _LOCK or (name.startswith(".") and name.endswith(PART))


class Lock:
    """The right to write to a folder: one run at a time; folders that stay empty are removed.

    The lock file names host and process. A lock whose process is gone on this host is taken over;
    one of another host is never broken. Raises UsageError if the folder cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _LOCK
        self._made: list[Path] = []

    def __enter__(self) -> Lock:
        folder = self._path.parent
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._take()
        except OSError as error:
            self._remove_empty()
            raise UsageError(
                f"cannot write to the output folder: {error.strerror or error}",
                where=str(folder),
                hint="name another place with --out",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        self._remove_empty()

    def _take(self) -> None:
        mine = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()})
        part = self._path.with_name(f"{_LOCK}.{os.getpid()}{PART}")
        for _ in range(2):
            try:
                part.write_text(mine, encoding="utf-8")
                _link(part, self._path, mine)  # whole at once: nobody ever reads a part of it
                return
            except FileExistsError:
                self._refuse_if_alive()
                self._path.unlink(missing_ok=True)
            finally:
                part.unlink(missing_ok=True)
        raise UsageError("another bcseg run has just begun here", where=str(self._path.parent))

    def _remove_empty(self) -> None:
        for path in self._made:
            try:
                path.rmdir()
            except OSError:
                return  # in use, which is the rule

    def _refuse_if_alive(self) -> None:
        try:
            other = json.loads(self._path.read_text(encoding="utf-8"))
            host, pid = str(other["host"]), int(other["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # torn by a crash while it was written
        if host == socket.gethostname() and (pid == os.getpid() or not _alive(pid)):
            return
        raise UsageError(
            f"another bcseg run is writing here (process {pid} on {host})",
            where=str(self._path.parent),
            hint=f"wait for it; if it is dead for sure, delete {self._path}",
        )


def _link(part: Path, path: Path, text: str) -> None:
    """Make `path` of the finished `part`; raises FileExistsError if it is there."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with path.open("x", encoding="utf-8") as file:
            file.write(text)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # there signal 0 is Ctrl-C: nobody can be asked
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


class Journal:
    """What a run has finished: one JSON line for each record, appended at once.

    The first line is the identity of the folder. A later line about a record replaces an earlier
    one; a torn last line is ignored. Only offsets stay in memory.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _JOURNAL
        self._offsets: dict[str, int] = {}
        self._end = 0  # of the sound lines: whatever follows is written over
        self.identity: dict[str, Any] | None = None

    def load(self) -> None:
        """Read which records the journal knows; what a killed run left torn is ignored."""
        self._offsets.clear()
        self._end = 0
        self.identity = None
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            for line in iter(file.readline, b""):
                entry = _entry(line)
                if entry is None:
                    break
                if "identity" in entry:
                    self.identity = entry["identity"]
                else:
                    self._offsets[entry["id"]] = self._end
                self._end = file.tell()

    def start(self, identity: dict[str, Any]) -> None:
        """Begin anew with an identity."""
        self._offsets.clear()
        self.identity = identity
        line = _line({"identity": identity})
        write_atomic(self.path, line)
        self._end = len(line)

    def append(self, record_id: str, entry: dict[str, Any]) -> None:
        """Add what became of a record; raises OutputError if the disk refuses."""
        with _refusals_of(self.path), self.path.open("r+b") as file:
            file.seek(self._end)
            file.truncate()
            file.write(_line({"id": record_id} | entry))
            self._offsets[record_id] = self._end
            self._end = file.tell()

    def forget(self, record_id: str) -> None:
        """Drop a record from the list in memory (its line stays until the journal is rewritten)."""
        self._offsets.pop(record_id, None)

    def ids(self) -> list[str]:
        """Record ids, sorted."""
        return sorted(self._offsets)

    def get(self, record_id: str) -> dict[str, Any] | None:
        """Return the entry of a record, None if there is none."""
        offset = self._offsets.get(record_id)
        if offset is None:
            return None
        with self.path.open("rb") as file:
            file.seek(offset)
            return _entry(file.readline())

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield all entries, sorted by record id."""
        with self.path.open("rb") as file:
            for record_id in self.ids():
                file.seek(self._offsets[record_id])
                entry = _entry(file.readline())
                assert entry is not None
                yield entry

    def rewrite(self) -> None:
        """Drop replaced lines, so that a folder that is run often does not grow."""
        part = self.path.with_name(self.path.name + PART)
        with _refusals_of(self.path):
            with part.open("wb") as file:
                file.write(_line({"identity": self.identity}))
                offsets = {}
                for entry in self.entries():
                    offsets[entry["id"]] = file.tell()
                    file.write(_line(entry))
                end = file.tell()
            part.replace(self.path)
        self._offsets, self._end = offsets, end


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="backslashreplace") + b"\n"  # half a surrogate pair, as in JSON


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return what a line says, None if it is torn or not from a journal."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    known = isinstance(entry.get("identity"), dict) or entry.keys() >= _FIELDS
    return entry if known else None
