"""Where a raw archive is read from: a folder, or a zip read in place. Never written to.

Adapters and format readers see a `Source` and names in it (relative, "/" between folders), never
a path, so that another kind of storage costs them no line.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from bcseg.errors import ArchiveError, RecordError, SourceGone

MAX_FILE_BYTES = 4 << 30  # one file of an archive; the largest real one is about 60 MB
# A zip bomb unpacks to more than this many bytes and times its packed size. A blank mask of
# honest size reaches the ratio too: deflate packs zeros 1030 to 1.
MAX_ZIP_BYTES, MAX_ZIP_RATIO = 256 << 20, 200

# Reasons to refuse a name whose content may be wanted: the run ends with findings.
UNREAD = frozenset(
    {
        "link_out_of_source",
        "broken_link",
        "encrypted_member",
        "zip_bomb",
        "conflicting_members",
    }
)


class Source(Protocol):
    """A read-only set of named files. Survives pickling, so that each worker opens its own."""

    @property
    def location(self) -> Path:
        """The folder or file that the user named."""

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Names that are not read, and why (links out of the source, unsafe names)."""

    def names(self) -> tuple[str, ...]:
        """Names of all regular files, sorted."""

    def size(self, name: str) -> int:
        """Size of a file in bytes."""

    def stamp(self, name: str) -> str:
        """Size and time of a file: another stamp means that its content may have changed."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; raises RecordError if that cannot be done."""

    def check(self) -> None:
        """Raise SourceGone if the source as a whole is not there any more."""


# what reading a file or a member of a zip may raise, damaged or not there
_READ_ERRORS = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
)


def open_source(location: Path) -> Source:
    """Return the source at `location`; raises ArchiveError if it is none that bcseg can read."""
    if location.is_dir():
        return FolderSource(location)
    if not location.exists():
        raise ArchiveError(
            "no such folder or file",
            where=str(location),
            hint="give the folder that holds the archive as you unpacked it, or its .zip",
        )
    if location.is_file() and zipfile.is_zipfile(location):
        return ZipSource(location)
    if location.suffix.lower() == ".zip":
        raise ArchiveError(
            "the zip file is damaged or incomplete",
            where=str(location),
            hint="download it again; a zip of several parts must be unpacked first",
        )
    raise ArchiveError(
        "neither a folder nor a zip file",
        where=str(location),
        hint="unpack it and give the folder; a .zip is read in place",
    )


def read(source: Source, name: str) -> bytes:
    """Return the content of a file; raises RecordError if it cannot be read."""
    size = source.size(name)
    if size > MAX_FILE_BYTES:
        raise RecordError(
            f"the file has {size:,} bytes, more than any file of these archives",
            code="too_large",
            where=name,
        )
    try:
        with source.open(name) as file:
            return file.read()
    except _READ_ERRORS as error:
        raise _unreadable(source, name, error) from error


def _unreadable(source: Source, name: str, error: Exception) -> RecordError:
    source.check()
    return RecordError(f"the file cannot be read ({_reason(error)})", code="unreadable", where=name)


def _reason(error: Exception) -> str:
    """Return what went wrong without the absolute path that an OSError carries."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class FolderSource:
    """The files below a folder. Links that lead out of it are refused, not followed."""

    def __init__(self, location: Path) -> None:
        self._location = location.absolute()
        self._files: dict[str, os.stat_result] | None = None
        self._refused: list[tuple[str, str]] = []

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
                    f"a folder cannot be listed ({_reason(error)})",
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
            return path.resolve(strict=True).is_relative_to(self._location.resolve())
        except (OSError, RuntimeError):
            return False

    def _path(self, name: str) -> Path:
        """Return where a file lies; raises RecordError for a name that leads out of the folder."""
        path = self._location / name
        if path.exists() and not self._inside(path):
            raise RecordError("the name leads out of the source", code="unsafe_name", where=name)
        return path

    def _stat(self, name: str) -> os.stat_result:
        if self._files is not None and name in self._files:
            return self._files[name]
        try:
            return self._path(name).stat()
        except OSError as error:
            raise _unreadable(self, name, error) from error

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
            raise _unreadable(self, name, error) from error

    def check(self) -> None:
        """Raise SourceGone if the folder is not there, or empty."""
        try:
            with os.scandir(self._location) as entries:
                if next(entries, None) is not None:
                    return
        except OSError:
            pass
        raise _source_gone(self._location)


class ZipSource:
    """The members of a zip file, read in place."""

    def __init__(self, location: Path) -> None:
        self._location = location.absolute()
        self._in_worker = False
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._refused: list[tuple[str, str]] = []

    def __getstate__(self) -> Path:
        return self._location  # an open zip cannot be shared between processes

    def __setstate__(self, location: Path) -> None:
        self.__init__(location)  # type: ignore[misc]  # opened again where it arrives
        self._in_worker = True

    @property
    def location(self) -> Path:
        """The zip file that the user named."""
        return self._location

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Members that are not read, and why."""
        self._open()
        return tuple(self._refused)

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            try:
                self._zip = zipfile.ZipFile(self._location)
            except (OSError, zipfile.BadZipFile, ValueError) as error:
                self.check()
                if self._in_worker:  # it could be opened when the run began
                    raise self._gone() from error
                raise ArchiveError(
                    f"the zip file cannot be opened ({_reason(error)})",
                    where=str(self._location),
                    hint="download it again: it may be incomplete",
                ) from error
            self._members, self._refused = _sound_members(self._zip)
        return self._zip

    def names(self) -> tuple[str, ...]:
        """Names of all regular members, sorted."""
        self._open()
        return tuple(self._members)

    def _info(self, name: str) -> zipfile.ZipInfo:
        self._open()
        try:
            return self._members[name]
        except KeyError:
            raise RecordError("not in the zip file", code="unreadable", where=name) from None

    def size(self, name: str) -> int:
        """Unpacked size of a member in bytes."""
        return self._info(name).file_size

    def stamp(self, name: str) -> str:
        """Size and CRC-32 of the content."""
        info = self._info(name)
        return f"{info.file_size}:{info.CRC:08x}"

    def open(self, name: str) -> BinaryIO:
        """Return the unpacked member, in memory; raises RecordError if that cannot be done."""
        info = self._info(name)
        try:
            return io.BytesIO(self._open().read(info))
        except _READ_ERRORS as error:
            raise _unreadable(self, name, error) from error

    def check(self) -> None:
        """Raise SourceGone if the zip file is not there any more."""
        if not self._location.is_file():
            raise self._gone()

    def _gone(self) -> SourceGone:
        return _source_gone(self._location)


def _source_gone(location: Path) -> SourceGone:
    return SourceGone(
        "the source went away",
        where=str(location),
        hint="mount it again and run the same command: what is finished is kept",
    )


def _sound_members(
    archive: zipfile.ZipFile,
) -> tuple[dict[str, zipfile.ZipInfo], list[tuple[str, str]]]:
    """Return the members that can be read, by name, and the names of the others with the reason.

    Of members of one name the first is read if they are equal, none if they are not.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    refused: list[tuple[str, str]] = []
    conflicts = set()
    for number, info in enumerate(archive.infolist(), start=1):
        name = info.filename.replace("\\", "/")
        if name.endswith("/"):
            continue
        reason = _refuse_member(info)
        if reason:
            refused.append((repr(info.filename)[1:-1], reason))
        elif name in members:
            first = members[name]
            if (first.file_size, first.CRC) == (info.file_size, info.CRC):
                refused.append((f"{name} (member {number})", "duplicate_member"))
            else:
                conflicts.add(name)
        else:
            members[name] = info
    refused += [(name, "conflicting_members") for name in conflicts]
    sound = {name: members[name] for name in sorted(members.keys() - conflicts)}
    return sound, sorted(refused)


def _refuse_member(info: zipfile.ZipInfo) -> str:
    """Return why a member is not read, empty if it is."""
    name = info.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    unsafe = not parts or name.startswith("/") or ".." in parts or ":" in parts[0]
    if unsafe or not name.isprintable():
        return "unsafe_name"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "link_out_of_source"
    if info.flag_bits & 1:
        return "encrypted_member"
    packed = max(info.compress_size, 1)
    if info.file_size > MAX_FILE_BYTES or (
        info.file_size > MAX_ZIP_BYTES and info.file_size > MAX_ZIP_RATIO * packed
    ):
        return "zip_bomb"
    return ""
