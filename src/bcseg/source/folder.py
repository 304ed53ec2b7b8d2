"""A folder as a source."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from bcseg.errors import ArchiveError, RecordError
from bcseg.limits import DEFAULT, DEPTH, Limits
from bcseg.source.base import printable, reason, source_gone, too_many, unreadable

_Status = tuple[int, int]  # size in bytes, modification time in nanoseconds


class FolderSource:
    """The files below a folder. Links that lead out of it are refused, not followed.

    `refused`: what was refused before, when the folder was unpacked from an archive.
    """

    def __init__(
        self,
        location: Path,
        refused: tuple[tuple[str, str], ...] = (),
        limits: Limits = DEFAULT,
    ) -> None:
        self._location = location.absolute()
        self._resolved: Path | None = None  # the location without links
        self._checked = ""  # the last name that was found to lie inside
        self._limits = limits
        self._files: dict[str, _Status] | None = None
        self._refused = list(refused)

    def __getstate__(self) -> tuple[Path, Limits]:
        return self._location, self._limits  # a worker opens files by name and needs no listing

    def __setstate__(self, state: tuple[Path, Limits]) -> None:
        location, limits = state
        self.__init__(location, limits=limits)  # type: ignore[misc]  # fresh, on the same folder

    @property
    def location(self) -> Path:
        """The folder that the user named."""
        return self._location

    @property
    def limits(self) -> Limits:
        """How much of the folder is read."""
        return self._limits

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Links out of the folder, and what is neither file nor folder."""
        self._listing()
        return tuple(self._refused)

    def names(self) -> tuple[str, ...]:
        """Names of all regular files, sorted."""
        return tuple(self._listing())

    def _listing(self) -> dict[str, _Status]:
        if self._files is None:
            try:
                files = dict(islice(self._walk(), self._limits.members + 1))
            except OSError as error:
                raise ArchiveError(
                    f"a folder cannot be listed ({reason(error)})",
                    where=str(error.filename or self._location),
                    hint="make it readable, or give a source without it",
                ) from error
            if len(files) > self._limits.members:
                raise too_many(self._location, self._limits.members)
            self._files = dict(sorted(files.items()))
            self._refused.sort()
        return self._files

    def _walk(self) -> Iterator[tuple[str, _Status]]:
        """Yield the files of all folders; what is not read goes to `_refused`."""
        folders = [""]
        while folders:
            prefix = folders.pop()
            with os.scandir(self._location / prefix) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    reason = self._refuse(entry, name)
                    if reason:
                        self._refused.append((printable(name), reason))
                    elif entry.is_dir():
                        folders.append(name + "/")
                    else:
                        yield name, _status(entry.stat())
                    if len(self._refused) > self._limits.members:
                        raise too_many(self._location, self._limits.members)

    def _refuse(self, entry: os.DirEntry[str], name: str) -> str:
        """Return why a file or folder is not read, "" if it is."""
        if not entry.name.isprintable() or "\\" in entry.name or name.count("/") > DEPTH:
            return "unsafe_name"
        if entry.is_symlink():
            if not self._inside(Path(entry.path)):
                return "link_out_of_source" if _exists(Path(entry.path)) else "broken_link"
            if entry.is_dir():
                return "link_to_folder"  # the folder itself is listed anyway
        return "" if entry.is_dir() or entry.is_file() else "not_a_file"

    def _inside(self, path: Path) -> bool:
        try:
            self._resolved = self._resolved or self._location.resolve()
            return path.resolve(strict=True).is_relative_to(self._resolved)
        except (OSError, RuntimeError):
            return False

    def _path(self, name: str) -> Path:
        """Return where a file lies; raises RecordError for a name that leads out of the folder."""
        path = self._location / name
        if name != self._checked and path.exists():  # stamp, open, stamp: three times the same one
            if not self._inside(path):
                raise RecordError(
                    "the name leads out of the source", code="unsafe_name", where=name
                )
            self._checked = name
        return path

    def _stat(self, name: str) -> _Status:
        if self._files is not None and name in self._files:
            return self._files[name]
        try:
            return _status(self._path(name).stat())
        except OSError as error:
            raise unreadable(self, name, error) from error

    def size(self, name: str) -> int:
        """Size of a file in bytes."""
        return self._stat(name)[0]

    def stamp(self, name: str) -> str:
        """Size and modification time in nanoseconds."""
        size, modified = self._stat(name)
        return f"{size}:{modified}"

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; raises RecordError if that cannot be done."""
        try:
            path = self._path(name)
            if not stat.S_ISREG(path.stat().st_mode):
                raise RecordError("not a regular file", where=name)
            return path.open("rb")
        except OSError as error:
            raise unreadable(self, name, error) from error

    def check(self) -> None:
        """Raise SourceGone if the folder is not there, or empty."""
        try:
            with os.scandir(self._location) as entries:
                if next(entries, None) is not None:
                    return
        except OSError:
            pass
        raise source_gone(self._location)


def _status(found: os.stat_result) -> _Status:
    return found.st_size, found.st_mtime_ns  # the rest would take 600 bytes a file


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the link names what no file can be called
        return False
