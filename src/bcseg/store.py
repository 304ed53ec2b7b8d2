"""Files that are whole or not there: atomic writes, the journal of a run."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bcseg.cloud import CloudPath, is_cloud
from bcseg.errors import EXIT_FINDINGS, BcsegError, RecordError
from bcseg.interrupts import uninterrupted
from bcseg.lock import LOCK, PART, Lock

_JOURNAL = ".journal.jsonl"
PARTS = ".journal"  # on object storage, where nothing can be appended: a folder of its parts
JOURNALS = (_JOURNAL, PARTS)
_FIELDS = {"id", "fate", "key", "files", "stamps", "written"}  # of every line about a record
_SIDE_BY_SIDE = 16  # objects fetched at once
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
    if is_cloud(path):
        path.write_bytes(data)  # whole or not at all, by itself
        return
    with uninterrupted():
        _replace_file(path, data)


def _replace_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # workers of a killed run may live on for a moment, on whatever host: no two processes share a
    # temporary file, and process ids of two hosts may be equal
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before is what the user must know
            part.unlink(missing_ok=True)


def write_at_once(path: Path, data: bytes) -> None:
    """Write a few bytes without a temporary file: a kill leaves all or none of them.

    Raises OutputError.
    """
    with _refusals_of(path):
        path.write_bytes(data)


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
                elif path.name != LOCK:
                    path.unlink()
            yield part
            with uninterrupted(), _refusals_of(place):
                if place.is_dir():
                    place.rmdir()
                part.rename(place)
                (place / LOCK).unlink(missing_ok=True)
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
    """Remove temporary files and folders that a killed run left in a pairs folder."""
    if is_cloud(folder):
        return  # there are none
    for part in list(folder.rglob(f".*{PART}")):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # the next run tries again
                part.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder with everything in it, if it is there."""
    if isinstance(folder, CloudPath):
        folder.remove_below()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def files_below(folder: Path, *parts: str) -> Iterator[str]:
    """Yield the names, from `folder`, of all files below some folders in it."""
    for part in parts:
        if isinstance(folder, CloudPath):
            below = folder / part
            yield from (f"{part}/{name}" for name in below.objects())
            continue
        for place, _, names in os.walk(folder / part):
            relative = Path(place).relative_to(folder).as_posix()
            yield from (f"{relative}/{name}" for name in names)


def copy_files(folder: Path, names: Iterable[str], to: Path) -> None:
    """Copy files of a folder, by name, to another one on this disk, whose folders are there."""
    if not is_cloud(folder):
        for name in names:
            shutil.copyfile(folder / name, to / name)
        return

    def fetch(name: str) -> None:
        (to / name).write_bytes((folder / name).read_bytes())

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:  # what takes time is the way, not the work
        for _ in pool.map(fetch, names):
            pass


def file_sizes(folder: Path) -> Callable[[str], int]:
    """Return a function that tells the size of a file in a folder by its name, -1 for none.

    On object storage all sizes come from one listing, taken now: a question an object would take
    longer than making a small pair.
    """
    if isinstance(folder, CloudPath):
        listed = {name: int(info["size"]) for name, info in folder.objects().items()}
        return lambda name: listed.get(name, -1)

    place = str(folder)

    def size(name: str) -> int:
        try:
            status = os.stat(f"{place}/{name}")  # noqa: PTH116  # for each file of each pair
        except OSError:
            return -1
        return status.st_size if stat.S_ISREG(status.st_mode) else -1

    return size


def free_bytes(folder: Path) -> float:
    """Return how much room there is for a folder, made or not; object storage has no end."""
    if is_cloud(folder):
        return float("inf")
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(place).free


class Journal:
    """What a run has finished: one JSON line for each record, appended at once.

    The first line is the identity of the folder. A later line about a record replaces an earlier
    one; a torn last line is ignored. Only offsets stay in memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _JOURNAL
        self._offsets: dict[str, int] = {}
        self._end = 0  # of the sound lines: whatever follows is written over
        self.identity: dict[str, Any] | None = None

    def exists(self) -> bool:
        """Tell whether a run has begun here."""
        return self.path.is_file()

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
            file.flush()  # it counts once it is there, whole
            self._offsets[record_id] = self._end
            self._end = file.tell()

    def flush(self) -> None:
        """Do nothing: every line is on the disk already."""

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
        for _, line in self._sound_lines():
            entry = _entry(line)
            assert entry is not None
            yield entry

    def lines(self) -> Iterator[str]:
        """Yield the lines as they are, the torn last one of a run at work too."""
        if self.exists():
            with self.path.open(encoding="utf-8", errors="replace") as file:
                yield from file

    def rewrite(self) -> None:
        """Drop replaced lines, so that a folder that is run often does not grow."""
        with _refusals_of(self.path):
            self._write_lines(self.identity, self._sound_lines())

    def _sound_lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id of each record and its line, sorted by id; the file is closed at the end."""
        if not self._offsets:  # there may be no file
            return
        with self.path.open("rb") as file:
            for record_id in self.ids():
                file.seek(self._offsets[record_id])
                yield record_id, file.readline()

    def write(self, identity: dict[str, Any] | None, entries: Iterable[dict[str, Any]]) -> None:
        """Write the whole journal anew; the entries may come from its old file, or from others."""
        with _refusals_of(self.path):
            self._write_lines(identity, ((entry["id"], _line(entry)) for entry in entries))

    def _write_lines(
        self, identity: dict[str, Any] | None, lines: Iterable[tuple[str, bytes]]
    ) -> None:
        part = self.path.with_name(self.path.name + PART)
        offsets = {}
        part.parent.mkdir(parents=True, exist_ok=True)
        with uninterrupted():
            try:
                with part.open("wb") as file:
                    end = file.write(_line({"identity": identity}))
                    for record_id, line in lines:
                        offsets[record_id] = end
                        end += file.write(line)
                part.replace(self.path)
            finally:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
        self.identity, self._offsets, self._end = identity, offsets, end


def identity_of(folder: Path) -> dict[str, Any] | None:
    """Return the identity that the journal of a folder begins with; None if there is none."""
    try:
        with Journal(folder).path.open("rb") as file:
            identity = (_entry(file.readline()) or {}).get("identity")
    except OSError:
        return None
    return identity if isinstance(identity, dict) else None


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
