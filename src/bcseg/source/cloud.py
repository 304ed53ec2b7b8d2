"""A folder on object storage as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

from bcseg.cloud import CloudPath
from bcseg.cloud.path import version_of
from bcseg.limits import DEFAULT, Limits
from bcseg.source.base import reason, source_gone, too_many, unreadable


class CloudSource:
    """The objects below an address, listed in one sweep; sizes and versions come with the list.

    A copy in a worker has no list: it asks about an object when it reads it.
    """

    def __init__(self, location: CloudPath, limits: Limits = DEFAULT) -> None:
        self._location = location
        self._limits = limits
        self._files: dict[str, dict[str, Any]] | None = None
        self._refused: list[tuple[str, str]] = []
        self._asked: dict[str, dict[str, Any]] = {}  # the object asked about last, by name

    def __getstate__(self) -> tuple[CloudPath, Limits]:
        return self._location, self._limits

    def __setstate__(self, state: tuple[CloudPath, Limits]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # a fresh source on the same address

    @property
    def location(self) -> Path:
        """The address that the user named."""
        return self._location

    @property
    def limits(self) -> Limits:
        """How much of it is read."""
        return self._limits

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Names that cannot be those of files."""
        self._listing()
        return tuple(self._refused)

    def names(self) -> tuple[str, ...]:
        """Names of all objects, sorted."""
        return tuple(self._listing())

    def _listing(self) -> dict[str, dict[str, Any]]:
        if self._files is None:
            found = self._location.objects()
            if len(found) > self._limits.members:
                raise too_many(self._location, self._limits.members)
            self._refused = [(repr(n)[1:-1], "unsafe_name") for n in found if not _is_safe(n)]
            self._files = {name: info for name, info in found.items() if _is_safe(name)}
        return self._files

    def _info(self, name: str) -> dict[str, Any]:
        if self._files is not None and name in self._files:
            return self._files[name]
        try:
            self._asked = {name: self._object(name).about()}
        except OSError as error:
            raise unreadable(self, name, error) from error
        return self._asked[name]

    def _object(self, name: str) -> CloudPath:
        if not _is_safe(name):
            raise OSError(f"{name!r} is no name of an object")
        return self._location / name

    def size(self, name: str) -> int:
        """Size of an object in bytes, as it was when it was listed or asked about last."""
        return int((self._asked.get(name) or self._info(name))["size"])

    def stamp(self, name: str) -> str:
        """Size and ETag, or what the storage has instead."""
        return version_of(self._info(name))

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises RecordError if that cannot be done."""
        size = self.size(name)
        return cast(BinaryIO, self._object(name).reader(size))

    def check(self) -> None:
        """Raise SourceGone if nothing is left of the source, or the storage is out of reach."""
        try:
            if self._location.is_dir():
                return
        except OSError as error:
            gone = source_gone(self._location)
            gone.args = (f"{gone.args[0]}: {reason(error)}",)
            raise gone from error
        raise source_gone(self._location)


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(parts)
