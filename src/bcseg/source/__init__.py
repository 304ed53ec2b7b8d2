"""Where a raw archive is read from: a folder, a zip in place, a tar; a disk or object storage.

Never written to.

Adapters and format readers see a `Source` and names in it (relative, "/" between folders), never
a path, so that another kind of storage costs them no line.
"""

from __future__ import annotations

from pathlib import Path

from bcseg.cloud import CloudPath
from bcseg.errors import ArchiveError
from bcseg.limits import DEFAULT, Limits
from bcseg.source.base import UNREAD, Source, read
from bcseg.source.cloud import CloudSource
from bcseg.source.folder import FolderSource
from bcseg.source.tar import UNPACKED, is_tar, unpacked
from bcseg.source.zipped import ZipSource, is_zip

__all__ = [
    "UNPACKED",
    "UNREAD",
    "CloudSource",
    "FolderSource",
    "Source",
    "ZipSource",
    "is_tar",
    "open_source",
    "read",
]


def open_source(
    location: Path, *, unpack_to: Path | None = None, limits: Limits = DEFAULT
) -> Source:
    """Return the source at `location`; raises ArchiveError if it is none that bcseg can read.

    A tar archive is unpacked below `unpack_to`, else into a temporary folder.
    """
    if location.is_dir():
        if isinstance(location, CloudPath):
            return CloudSource(location, limits)
        return FolderSource(location, limits=limits)
    if not location.exists():
        raise ArchiveError(
            "no such folder or file",
            where=str(location),
            hint="give the folder that holds the archive as you unpacked it, or its .zip or .tar",
        )
    if is_zip(location):
        return ZipSource(location, limits)
    if is_tar(location):
        return unpacked(location, unpack_to, limits)
    if location.suffix.lower() == ".zip":
        raise ArchiveError(
            "the zip file is damaged or incomplete",
            where=str(location),
            hint="download it again; a zip of several parts must be unpacked first",
        )
    raise ArchiveError(
        "neither a folder nor a zip or tar file",
        where=str(location),
        hint="unpack it and give the folder; .zip, .tar, .tar.gz and .tgz are read",
    )
