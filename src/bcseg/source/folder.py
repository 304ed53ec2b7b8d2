"""A folder as a source."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bcseg.errors import ArchiveError, RecordError
from bcseg.source.base import reason, source_gone, unreadable


class FolderSource:
    """The files below a folder. Links that lead out of it are refused, not followed.

    `refused`: what was refused before, when the folder was unpacked from an archive.
    """

    def __init__(self, location: Path, refused: tuple[tuple[str, str], ...] = ()) -> None:
        self._location = location.absolute()
        self._resolved: Path | None = None  # the location without links
        self._checked = ""  # the last name that was found to lie inside
        self._files: dict[str, os.stat_result] | None = None
        self._refused = list(refused)

    def __getstate__(self) -> Path:
        return self._location  # a worker opens files by name and needs no listing

    def __setstate__(self, location: Path) -> None:
        self.__init__(location)  # type: ignore[misc]  # a fresh source on the same folder

    @property
    def location(self) -> Path:
        """The folder that the user named."""
        return self._location

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Links out of the folder, and what is neither file nor folder."""
        self._listing()
        return tuple(self._refused)

    def names(self) -> tuple[str, ...]:
        """Names of all regular files, sorted."""
        return tuple(self._listing())

    def _listing(self) -> dict[str, os.stat_result]:
        if self._files is None:
            try:
                self._files = dict(sorted(self._walk(self._location, "")))
            except OSError as error:
                raise ArchiveError(
                    f"a folder cannot be listed ({reason(error)})",
                    where=str(error.filename or self._location),
                    hint="make it readable, or give a source without it",
                ) from error
            self._refused.sort()
        return self._files

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if not entry.name.isprintable() or "\\" in entry.name:
                    self._refused.append((repr(name)[1:-1], "unsafe_name"))
                elif entry.is_symlink() and not self._inside(Path(entry.path)):
                    there = Path(entry.path).exists()
                    self._refused.append((name, "link_out_of_source" if there else "broken_link"))
                elif entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path), name + "/")
                elif entry.is_dir():  # a link to a folder that is listed anyway
                    self._refused.append((name, "link_to_folder"))
                elif entry.is_file():
                    yield name, entry.stat()
                else:
                    self._refused.append((name, "not_a_file"))

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

    def _stat(self, name: str) -> os.stat_result:
        if self._files is not None and name in self._files:
            return self._files[name]
        try:
            return self._path(name).stat()
        except OSError as error:
            raise unreadable(self, name, error) from error

    def size(self, name: str) -> int:
        """Size of a file in bytes."""
        return self._stat(name).st_size

    def stamp(self, name: str) -> str:
        """Size and modification time in nanoseconds."""
        status = self._stat(name)
        return f"{status.st_size}:{status.st_mtime_ns}"

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
