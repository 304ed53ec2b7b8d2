"""Tar archives: unpacked once, safely, then read as a folder.

A packed tar can only be read from its beginning, so that reading single files from it would take
hours. Links, devices and names that lead elsewhere are refused by name, never written.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from contextlib import ExitStack
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from bcseg.cloud import is_cloud
from bcseg.errors import ArchiveError, UsageError
from bcseg.source.base import MAX_FILE_BYTES
from bcseg.source.folder import FolderSource

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
UNPACKED = ".unpacked"  # folder beside the output
_FILES, _REFUSED = "files", "refused.json"  # in the folder of one archive
_CHUNK = 1 << 20
_MARGIN = 1.02
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, LZMAError, OSError)


def is_tar(location: Path) -> bool:
    """Tell whether a file is a tar archive, by its name."""
    return location.is_file() and location.name.lower().endswith(TAR_ENDINGS)


def unpacked(location: Path, place: Path | None) -> FolderSource:
    """Return the files of a tar archive, unpacked into a folder below `place`.

    Without a place they go to a temporary folder that is removed when the process ends. An
    archive that was unpacked there before, and has not changed since, is not unpacked again.
    Raises ArchiveError for a damaged archive, UsageError if the disk is too small.
    """
    if place is None:
        place = Path(tempfile.mkdtemp(prefix="bcseg-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    status = location.stat()
    folder = place / f"{location.name}-{status.st_size}-{status.st_mtime_ns}"
    if not folder.is_dir():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        (part / _FILES).mkdir(parents=True)
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, part, ignore_errors=True)
            refused = _unpack(location, part / _FILES)
            (part / _REFUSED).write_text(json.dumps(refused), encoding="utf-8")
            part.replace(folder)
            undo.pop_all()
    listed = json.loads((folder / _REFUSED).read_text(encoding="utf-8"))
    return FolderSource(folder / _FILES, refused=tuple((name, why) for name, why in listed))


def _unpack(location: Path, folder: Path) -> list[tuple[str, str]]:
    refused: list[tuple[str, str]] = []
    try:
        with _opened(location) as tar:
            for member in tar:
                reason = "" if member.isdir() else _refuse(member)
                if not reason and member.isreg():
                    reason = _write(tar, member, folder)
                if reason:
                    refused.append((repr(member.name)[1:-1], reason))
    except _DAMAGED as error:
        raise ArchiveError(
            f"the tar archive cannot be unpacked ({type(error).__name__})",
            where=str(location),
            hint="download it again: it may be incomplete",
        ) from error
    return refused


def _opened(location: Path) -> tarfile.TarFile:
    if is_cloud(location):
        return tarfile.open(fileobj=location.open("rb"), mode="r:*")
    return tarfile.open(location, "r:*")


def _refuse(member: tarfile.TarInfo) -> str:
    """Return why a member is not unpacked, "" if it is."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in path.parts[0]:
        return "unsafe_name"
    if not member.name.isprintable():
        return "unsafe_name"
    if member.issym() or member.islnk():
        return "link_out_of_source"
    if not member.isreg():
        return "not_a_file"
    return "zip_bomb" if member.size > MAX_FILE_BYTES else ""


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """Unpack a member; return why not for one whose name was there before, else ""."""
    free = shutil.disk_usage(folder).free
    if member.size * _MARGIN > free:
        raise UsageError(
            f"the disk is too small to unpack the archive: {free / 1e9:.2g} GB are left",
            where=str(folder),
            hint="--out on another disk, or unpack it yourself and give the folder",
        )
    path = folder / member.name
    content = tar.extractfile(member)
    assert content is not None  # it is a regular file
    with content:
        if path.exists():
            same = path.is_file() and content.read() == path.read_bytes()
            return "duplicate_member" if same else "conflicting_members"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
    # the archive's own times: a second unpacking gives the same stamps
    os.utime(path, ns=(int(member.mtime * 1e9),) * 2)
    return ""
