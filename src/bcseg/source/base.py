"""What every source offers, and how files of it are read."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

from bcseg.errors import ArchiveError, RecordError, SourceGone
from bcseg.limits import Limits

# Reasons to refuse a name whose content may be wanted: the run ends with findings.
UNREAD = frozenset(
    {
        "link_out_of_source",
        "broken_link",
        "encrypted_member",
        "unsupported_packing",
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
    def limits(self) -> Limits:
        """How much of it is read."""

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
READ_ERRORS = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,  # a name before a member's data that is not the UTF-8 it says it is
    zlib.error,
    lzma.LZMAError,
    MemoryError,
)


def read(source: Source, name: str) -> bytes:
    """Return the content of a file; raises RecordError if it cannot be read."""
    most = source.limits.file_bytes
    size = source.size(name)
    if size > most:
        raise _too_large(name, size, most)
    try:
        with source.open(name) as file:
            # not up to `most`: that much memory would be fetched from the system
            data = file.read(size + 1)
            if len(data) > size:  # it has grown, or is larger than a zip file says
                data += file.read(most - size)
    except READ_ERRORS as error:
        raise unreadable(source, name, error) from error
    if len(data) > most:
        raise _too_large(name, len(data), most)
    return data


def _too_large(name: str, size: int, most: int) -> RecordError:
    return RecordError(
        f"the file has {size:,} bytes or more, the limit is {most:,}",
        code="too_large",
        where=name,
        hint="if it is what it should be: --max-file-mb",
    )


def printable(name: str) -> str:
    """Return a name as a message can show it: escaped where it is no text."""
    return name if name.isprintable() else repr(name)[1:-1]


def too_many(location: Path, most: int) -> ArchiveError:
    """Return the error of a source with more files than any archive."""
    return ArchiveError(
        f"there are more than {most:,} files in it",
        where=str(location),
        hint="is it the right folder? If it is: --max-members",
    )


def unreadable(source: Source, name: str, error: Exception) -> RecordError:
    """Return the error of a file that cannot be read; raises SourceGone if the source is gone."""
    source.check()
    return RecordError(f"the file cannot be read ({reason(error)})", code="unreadable", where=name)


def reason(error: Exception) -> str:
    """Return what went wrong without the absolute path that an OSError carries."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def source_gone(location: Path) -> SourceGone:
    """Return the error of a source that went away."""
    return SourceGone(
        "the source went away",
        where=str(location),
        hint="mount it again and run the same command: what is finished is kept",
    )
