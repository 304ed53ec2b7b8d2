"""Tar archives: unpacked once, safely, then read as a folder.

A packed tar can only be read from its beginning, so that reading single files from it would take
hours. Links, devices and names that lead elsewhere are refused by name, never written.
"""

from __future__ import annotations

import atexit
import gzip
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from bcseg.errors import ArchiveError, UsageError
from bcseg.limits import DEFAULT, DEPTH, SMALL, Limits
from bcseg.source.base import printable, reason, too_many
from bcseg.source.folder import FolderSource

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
UNPACKED = ".unpacked"  # folder beside the output
_FILES, _REFUSED = "files", "refused.json"  # in the folder of one archive
_CHUNK = 1 << 20
_HEADER_BYTES = 1 << 20  # of the extended header of a member: a name of 256 kB and more
_LONGEST_NAME, _LONGEST_PART = 1000, 255  # bytes of a path that most file systems take
_MARGIN = 1.02
_GZIP = b"\x1f\x8b"
# what tarfile lets through on damaged files was found by feeding it some
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, ValueError, LookupError, OverflowError)


def is_tar(location: Path) -> bool:
    """Tell whether a file is a tar archive, by its name."""
    return location.is_file() and location.name.lower().endswith(TAR_ENDINGS)


def unpacked(location: Path, place: Path | None, limits: Limits = DEFAULT) -> FolderSource:
    """Return the files of a tar archive, unpacked into a folder below `place`.

    Without a place they go to a temporary folder that is removed when the process ends. An
    archive that was unpacked there before, and has not changed since, is not unpacked again.
    Raises ArchiveError for a damaged archive or a bomb, UsageError if the disk is too small.
    """
    if place is None:
        place = Path(tempfile.mkdtemp(prefix="bcseg-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    status = location.stat()
    folder = place / f"{location.name[-100:]}-{status.st_size}-{status.st_mtime_ns}"
    if limits != DEFAULT:  # what was refused depends on them
        folder = folder.with_name(f"{folder.name}-{limits.file_bytes}-{limits.members}")
    if not folder.is_dir():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        (part / _FILES).mkdir(parents=True)
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, part, ignore_errors=True)
            refused = _Unpacking(location, part / _FILES, limits).run()
            (part / _REFUSED).write_text(json.dumps(refused), encoding="utf-8")
            part.replace(folder)
            undo.pop_all()
    listed = json.loads((folder / _REFUSED).read_text(encoding="utf-8"))
    refused = [(name, why) for name, why in listed]
    return FolderSource(folder / _FILES, refused=tuple(refused), limits=limits)


class _Bomb(Exception):
    """The archive unpacks to more than its limit."""


class _Stream:
    """The unpacked bytes of a tar, as far as `most`, of which `left` may be read just now.

    tarfile reads an extended header whole, and skips what is refused: either could be endless.
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most
        self.left = _HEADER_BYTES

    def read(self, size: int) -> bytes:
        """Read; raises ReadError where a header goes on and on."""
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)

    def tell(self) -> int:
        """Return the place in the unpacked bytes."""
        return self._file.tell()

    def seek(self, place: int) -> int:
        """Go to a place; raises _Bomb beyond the limit."""
        if place > self._most:
            raise _Bomb
        return self._file.seek(place)


@contextmanager
def _opened(location: Path, most: int) -> Iterator[tuple[tarfile.TarFile, _Stream]]:
    with location.open("rb") as file, ExitStack() as stack:
        packed = file.read(2) == _GZIP
        file.seek(0)
        plain: IO[bytes] = file
        if packed:
            plain = stack.enter_context(cast(IO[bytes], gzip.GzipFile(fileobj=file)))
        stream = _Stream(plain, most)
        yield stack.enter_context(tarfile.TarFile(fileobj=cast(BinaryIO, stream))), stream


class _Unpacking:
    """The unpacking of one tar archive into a folder."""

    def __init__(self, location: Path, folder: Path, limits: Limits) -> None:
        self._location, self._folder, self._limits = location, folder, limits
        self._most = max(SMALL, limits.ratio * location.stat().st_size)
        self._written = 0

    def run(self) -> list[tuple[str, str]]:
        """Write all members that are safe; return the names of the others with the reason."""
        try:
            with _opened(self._location, self._most) as (tar, stream):
                return list(self._refused(tar, stream))
        except _Bomb as error:
            raise ArchiveError(
                f"the tar archive unpacks to more than {self._most:,} bytes: a bomb",
                where=str(self._location),
                hint="if it is what it should be: --max-ratio",
            ) from error
        except _DAMAGED as error:
            raise self._cannot(type(error).__name__) from error
        except OSError as error:
            raise self._cannot(reason(error)) from error

    def _refused(self, tar: tarfile.TarFile, stream: _Stream) -> Iterator[tuple[str, str]]:
        for number, member in enumerate(tar):
            if number >= self._limits.members:
                raise too_many(self._location, self._limits.members)
            if member.size < 0:  # the next header would be this one, for ever
                raise tarfile.ReadError("a negative size")
            stream.left = _HEADER_BYTES + member.size
            why = "" if member.isdir() else self._member(tar, member)
            if why:
                yield printable(member.name), why
            cast(Any, tar).members.clear()  # it remembers all of them
            stream.left = _HEADER_BYTES

    def _cannot(self, why: str) -> ArchiveError:
        return ArchiveError(
            f"the tar archive cannot be unpacked ({why})",
            where=str(self._location),
            hint="download it again: it may be incomplete",
        )

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
        why = self._refuse(member)
        if why:
            return why
        self._written += member.size
        if self._written > self._most:
            raise _Bomb
        free = shutil.disk_usage(self._folder).free
        if member.size * _MARGIN > free:
            raise UsageError(
                f"the disk is too small to unpack the archive: {free / 1e9:.2g} GB are left",
                where=str(self._folder),
                hint="--out on another disk, or unpack it yourself and give the folder",
            )
        return self._write(tar, member)

    def _refuse(self, member: tarfile.TarInfo) -> str:
        """Return why a member is not unpacked, "" if it is."""
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            return "unsafe_name"
        if not path.parts or ":" in path.parts[0] or len(path.parts) > DEPTH:
            return "unsafe_name"
        if not member.name.isprintable() or _is_long(path):
            return "unsafe_name"
        if member.issym() or member.islnk():
            return "link_out_of_source"
        if not member.isreg():
            return "not_a_file"
        return "zip_bomb" if member.size > self._limits.file_bytes else ""

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
        """Unpack a member; return why not for one whose name was there before, else ""."""
        path = self._folder / member.name
        content = tar.extractfile(member)
        assert content is not None  # it is a regular file
        with content:
            if path.exists():
                same = path.is_file() and _equal(content, path)
                return "duplicate_member" if same else "conflicting_members"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = path.open("xb")
            except (FileExistsError, NotADirectoryError):  # a file has the name of the folder
                return "conflicting_members"
            with file:
                shutil.copyfileobj(content, file, _CHUNK)
        # the archive's own times: a second unpacking gives the same stamps
        seconds = member.mtime if 0 <= member.mtime < 1 << 33 else 0
        os.utime(path, ns=(int(seconds * 1e9),) * 2)
        return ""


def _is_long(path: PurePosixPath) -> bool:
    """Tell whether a path is longer than a file system takes, wherever the output is."""
    longest = max(len(part.encode()) for part in path.parts)
    return longest > _LONGEST_PART or len(str(path).encode()) > _LONGEST_NAME


def _equal(content: IO[bytes], path: Path) -> bool:
    with path.open("rb") as file:
        while chunk := content.read(_CHUNK):
            if chunk != file.read(len(chunk)):
                return False
        return not file.read(1)
