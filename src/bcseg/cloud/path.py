"""Addresses of objects that answer as paths do, so that code written for paths serves both."""

from __future__ import annotations

import fnmatch
import io
import os
import re
import stat
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from bcseg.cloud.filesystem import asking, filesystem
from bcseg.cloud.reading import RangedReader

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
# what storages call the version of an object, best first
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "updated", "LastModified", "created")

if TYPE_CHECKING:
    _Base = Path  # the type checker holds every method against that of Path
else:
    _Base = PurePosixPath  # no method touches the disk that is not written here


def place(word: str | Path) -> Path:
    """Return the path that a word means: an address with "://" is one on object storage."""
    match = _ADDRESS.fullmatch(word) if isinstance(word, str) else None
    if match is None:
        return Path(word)
    protocol, rest = match.groups()
    if protocol.lower() in ("file", "local"):
        return Path(rest)
    return CloudPath(f"{protocol.lower()}:", *rest.split("/"))


def is_cloud(path: Path) -> bool:
    """Tell whether a path is an address on object storage."""
    return isinstance(path, CloudPath)


class CloudPath(_Base):
    """An address on object storage: what bcseg asks of a Path, answered by its storage.

    A folder is there as long as an object lies below it. An object is written whole or not at
    all. It holds no connection, so it survives pickling. Every method raises what Path raises,
    and StorageError where the storage refuses.
    """

    def __str__(self) -> str:
        protocol, *parts = self.parts or (".",)
        if not protocol.endswith(":"):  # what relative_to returns
            return "/".join((protocol, *parts))
        return f"{protocol}//{'/'.join(parts)}"

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is not on this disk")

    @property
    def key(self) -> str:
        """The address without its protocol: bucket and name, as fsspec has it."""
        return "/".join(self.parts[1:])

    @property
    def storage(self) -> Any:
        """The fsspec file system; raises UsageError if its library is not installed."""
        return filesystem(self.parts[0].removesuffix(":"))

    def absolute(self) -> CloudPath:
        """Return the address itself."""
        return self

    def resolve(self, strict: bool = False) -> CloudPath:
        """Return the address itself."""
        return self

    # -------------------------------------------------------------------------- questions

    def about(self) -> dict[str, Any]:
        """Return what the storage says about the object, asked anew."""
        with asking(str(self)):
            found: dict[str, Any] = self.storage.info(self.key)
            return found

    def _type(self) -> str:
        try:
            return str(self.about()["type"])
        except FileNotFoundError:
            return ""

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether an object is there, or any below it."""
        return bool(self._type())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether it is an object."""
        return self._type() == "file"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether an object lies below it."""
        return self._type() == "directory"

    def is_symlink(self) -> bool:
        """Tell that object storage has no links."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return size and, where the storage tells it, time of an object."""
        info = self.about()
        mode = stat.S_IFREG if info["type"] == "file" else stat.S_IFDIR
        changed = info.get("LastModified") or info.get("mtime")
        time = changed.timestamp() if isinstance(changed, datetime) else 0
        zeros = (0,) * 5
        return os.stat_result(
            (mode, *zeros, info.get("size") or 0, time, time, time),
            {"st_mtime_ns": int(time * 10**9)},
        )

    # -------------------------------------------------------------------------- listing

    def iterdir(self) -> Generator[CloudPath, None, None]:
        """Yield the objects and folders directly below, sorted."""
        with asking(str(self)):
            names = self.storage.ls(self.key, detail=False)
        keys = {name.strip("/") for name in names} - {self.key}  # a marker of the folder itself
        for key in sorted(keys):
            yield self / key.rsplit("/", 1)[-1]

    def glob(self, pattern: str, **options: Any) -> Iterator[CloudPath]:  # type: ignore[override]
        """Yield what matches a pattern (without "**"), sorted."""
        first, _, rest = pattern.partition("/")
        if not any(sign in first for sign in "*?["):
            found = [self / first] if rest or (self / first).exists() else []
        else:
            try:
                found = [one for one in self.iterdir() if fnmatch.fnmatchcase(one.name, first)]
            except FileNotFoundError:
                found = []
        for one in found:
            if rest:
                yield from one.glob(rest)
            else:
                yield one

    def objects(self) -> dict[str, dict[str, Any]]:
        """Return all objects below by their names from here, sorted: one sweep of the listing."""
        with asking(str(self)):
            found = self.storage.find(self.key, detail=True)
        start = len(self.key) + 1
        listed = {name.lstrip("/")[start:]: info for name, info in dict(found).items()}
        return {
            name: listed[name]
            for name in sorted(listed)
            if name and not name.endswith("/") and listed[name]["type"] == "file"
        }

    # -------------------------------------------------------------------------- content

    def open(  # type: ignore[override]
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open an object for reading."""
        if "r" not in mode or "+" in mode:
            raise io.UnsupportedOperation(f"{self} cannot be opened to be changed")
        return self.reader(self.about()["size"], mode, encoding, errors, newline)

    def reader(
        self,
        size: int,
        mode: str = "rb",
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open an object of known size: no byte is read before it is wanted."""
        binary = io.BufferedReader(RangedReader(self.read_range, size))
        if "b" in mode:
            return binary
        return io.TextIOWrapper(binary, encoding or "utf-8", errors, newline)

    def read_range(self, start: int, end: int | None) -> bytes:
        """Return some bytes of an object; all from `start` on if `end` is None."""
        with asking(str(self)):
            whole = start == 0 and end is None
            data: bytes = (
                self.storage.cat_file(self.key)
                if whole
                else self.storage.cat_file(self.key, start=start, end=end)
            )
        return data

    def read_bytes(self) -> bytes:
        """Return the content of an object."""
        return self.read_range(0, None)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the content of an object as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    # -------------------------------------------------------------------------- changes

    def write_bytes(self, data: Any) -> int:
        """Write an object: no reader ever sees a part of it."""
        with asking(str(self)):
            self.storage.pipe_file(self.key, bytes(data))
        return len(data)

    def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> int:
        """Write an object of text."""
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def create(self, data: bytes) -> None:
        """Write an object that is not there; raises FileExistsError if it is.

        Storages without conditional writes overwrite it: what is there must be read again.
        """
        with asking(str(self)):
            try:
                self.storage.pipe_file(self.key, data, mode="create")
            except (TypeError, NotImplementedError):  # a storage that cannot
                if self.exists():
                    raise FileExistsError from None
                self.storage.pipe_file(self.key, data)

    def upload(self, file: Path) -> None:
        """Write an object from a file on this disk, without holding it in memory."""
        with asking(str(self)):
            self.storage.put_file(str(file), self.key)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove an object; storages that do not tell need not say that there was none."""
        try:
            with asking(str(self)):
                self.storage.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_below(self) -> None:
        """Remove all objects below."""
        try:
            with asking(str(self)):
                self.storage.rm(self.key, recursive=True)
        except FileNotFoundError:
            pass

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders come with what lies in them."""

    def rmdir(self) -> None:
        """Do nothing: folders go with what lies in them."""


def version_of(info: dict[str, Any]) -> str:
    """Return size and version of an object: another text means that it may have changed."""
    version = next((info[name] for name in _VERSIONS if info.get(name)), "")
    return f"{info['size']}:{str(version).strip(chr(34))}"
