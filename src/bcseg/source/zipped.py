"""A zip file as a source, read in place."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bcseg.cloud import is_cloud
from bcseg.errors import ArchiveError, RecordError, SourceGone
from bcseg.limits import DEFAULT, DEPTH, SMALL, Limits
from bcseg.source.base import (
    READ_ERRORS,
    printable,
    reason,
    source_gone,
    too_many,
    unreadable,
)

# zipfile bounds the memory of these; 4 kB of bzip2 become 4 GB at once, LZMA wants what it names
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# end records of a zip file: signature, where they say how long the directory is
_ENDS = ((b"PK\5\6", 12, "<I"), (b"PK\6\6", 40, "<Q"))
_END_REACH = (1 << 16) + 22 + 20 + 56  # bytes from the end in which the end records lie
_ENTRY = 46  # bytes of an entry of the directory, at least


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

    def __init__(self, location: Path, limits: Limits = DEFAULT) -> None:
        self._location = location.absolute()
        self._limits = limits
        self._in_worker = False
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._refused: list[tuple[str, str]] = []

    def __getstate__(self) -> tuple[Path, Limits]:
        return self._location, self._limits  # an open zip cannot be shared between processes

    def __setstate__(self, state: tuple[Path, Limits]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # opened again where it arrives
        self._in_worker = True

    @property
    def location(self) -> Path:
        """The zip file that the user named."""
        return self._location

    @property
    def limits(self) -> Limits:
        """How much of the zip file is read."""
        return self._limits

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Members that are not read, and why."""
        self._open()
        return tuple(self._refused)

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            try:
                self._refuse_directory()
                self._zip = open_zip(self._location)
            # what zipfile lets through on damaged files was found by feeding it some
            except (*READ_ERRORS, ValueError, LookupError, struct.error) as error:
                self.check()
                if self._in_worker:  # it could be opened when the run began
                    raise self._gone() from error
                raise ArchiveError(
                    f"the zip file cannot be opened ({reason(error)})",
                    where=str(self._location),
                    hint="download it again: it may be incomplete",
                ) from error
            self._members, self._refused = _sound_members(self._zip, self._limits)
        return self._zip

    def _refuse_directory(self) -> None:
        """Raise ArchiveError for a directory of too many members, before it is read into memory."""
        with self._location.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _END_REACH))
            entries = _directory_bytes(file.read(), size) // _ENTRY
        if entries > self._limits.members:
            raise too_many(self._location, self._limits.members)

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
            return io.BytesIO(self._open().read(info))  # no more bytes than the directory says
        except READ_ERRORS as error:
            raise unreadable(self, name, error) from error

    def check(self) -> None:
        """Raise SourceGone if the zip file is not there any more."""
        if not self._location.is_file():
            raise self._gone()

    def _gone(self) -> SourceGone:
        return source_gone(self._location)


def _directory_bytes(tail: bytes, most: int) -> int:
    """Return how long a zip file of `most` bytes says its directory is; `tail`: its last bytes.

    Of several end records, one may be a lure: the longest directory counts.
    """
    sizes = [0]
    for signature, offset, code in _ENDS:
        for found in re.finditer(re.escape(signature), tail):
            place = found.start() + offset
            if place + struct.calcsize(code) <= len(tail):
                sizes += struct.unpack_from(code, tail, place)
    return max(size for size in sizes if size <= most)


def _sound_members(
    archive: zipfile.ZipFile, limits: Limits
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
        reason = _refuse_member(info, limits)
        if reason:
            refused.append((printable(info.filename), reason))
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


def _refuse_member(info: zipfile.ZipInfo, limits: Limits) -> str:
    """Return why a member is not read, empty if it is."""
    name = info.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    unsafe = not parts or name.startswith("/") or ".." in parts or ":" in parts[0]
    if unsafe or not name.isprintable() or len(parts) > DEPTH:
        return "unsafe_name"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "link_out_of_source"
    if info.flag_bits & 1:
        return "encrypted_member"
    if info.compress_type not in _METHODS:
        return "unsupported_packing"
    packed = max(info.compress_size, 1)
    bomb = info.file_size > SMALL and info.file_size > limits.ratio * packed
    return "zip_bomb" if bomb or info.file_size > limits.file_bytes else ""
