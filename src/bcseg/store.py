"""Files that are whole or not there: atomic writes, the journal of a run, its lock."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bcseg.errors import RecordError, UsageError

PART = ".part"
_LOCK = ".lock"
_JOURNAL = ".journal.jsonl"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees a part of it; parent folders are made.

    The temporary file lies in the same folder, its name begins with a dot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}{PART}")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def write_pair(path: Path, data: bytes) -> None:
    """Write a file of a pair; raises RecordError (code "write_failed") if the disk refuses."""
    try:
        write_atomic(path, data)
    except OSError as error:
        raise RecordError(
            f"cannot write {path.name}: {error.strerror or error}",
            code="write_failed",
            hint="free some space, or give another place with --out, and run again",
        ) from error


def remove_parts(folder: Path) -> None:
    """Remove temporary files that a killed run left in a pairs folder."""
    for part in folder.rglob(f".*{PART}"):
        part.unlink(missing_ok=True)


class Lock:
    """The right to write to a pairs folder: one run at a time.

    The lock file names host and process. A lock whose process is gone on this host is taken over;
    one of another host is never broken.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _LOCK

    def __enter__(self) -> Lock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        mine = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()})
        for _ in range(2):
            try:
                with self._path.open("x", encoding="utf-8") as file:
                    file.write(mine)
                return self
            except FileExistsError:
                self._refuse_if_alive()
                self._path.unlink(missing_ok=True)
        raise UsageError("another bcseg run has just begun here", where=str(self._path.parent))

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)

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


def _alive(pid: int) -> bool:
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
        self.identity: dict[str, Any] | None = None

    def load(self) -> None:
        """Read which records the journal knows; cut off what a killed run left torn."""
        self._offsets.clear()
        self.identity = None
        if not self.path.is_file():
            return
        end = 0
        with self.path.open("rb") as file:
            for line in iter(file.readline, b""):
                entry = _entry(line)
                if entry is None:
                    break
                if "identity" in entry:
                    self.identity = entry["identity"]
                else:
                    self._offsets[entry["id"]] = end
                end = file.tell()
        if end < self.path.stat().st_size:
            with self.path.open("r+b") as file:
                file.truncate(end)

    def start(self, identity: dict[str, Any]) -> None:
        """Begin anew with an identity."""
        self._offsets.clear()
        self.identity = identity
        write_atomic(self.path, _line({"identity": identity}))

    def append(self, record_id: str, entry: dict[str, Any]) -> None:
        """Add what became of a record."""
        with self.path.open("ab") as file:
            self._offsets[record_id] = file.tell()
            file.write(_line({"id": record_id} | entry))

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
        with part.open("wb") as file:
            file.write(_line({"identity": self.identity}))
            offsets = {}
            for entry in self.entries():
                offsets[entry["id"]] = file.tell()
                file.write(_line(entry))
        part.replace(self.path)
        self._offsets = offsets


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and ("id" in entry or "identity" in entry) else None
