"""A zip file as a source, read in place."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bcseg.cloud import is_cloud
from bcseg.errors import ArchiveError, RecordError, SourceGone
from bcseg.source.base import MAX_FILE_BYTES, READ_ERRORS, reason, source_gone, unreadable

# A zip bomb unpacks to more than this many bytes and times its packed size. A blank mask of
# honest size reaches the ratio too: deflate packs zeros 1030 to 1.
MAX_ZIP_BYTES, MAX_ZIP_RATIO = 256 << 20, 200


def is_zip(location: Path) -> bool:
    """Tell whether a file is a zip, by its content."""
    if is_cloud(location):
        return location.is_file() and zipfile.is_zipfile(location.open("rb"))
    return location.is_file() and zipfile.is_zipfile(location)


def open_zip(location: Path) -> zipfile.ZipFile:
    """Open a zip; on object storage only what is wanted of it is fetched."""
    return zipfile.ZipFile(location.open("rb") if is_cloud(location) else location)


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
                self._zip = open_zip(self._location)
            except (OSError, zipfile.BadZipFile, ValueError) as error:
                self.check()
                if self._in_worker:  # it could be opened when the run began
                    raise self._gone() from error
                raise ArchiveError(
                    f"the zip file cannot be opened ({reason(error)})",
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
        except READ_ERRORS as error:
            raise unreadable(self, name, error) from error

    def check(self) -> None:
        """Raise SourceGone if the zip file is not there any more."""
        if not self._location.is_file():
            raise self._gone()

    def _gone(self) -> SourceGone:
        return source_gone(self._location)


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
