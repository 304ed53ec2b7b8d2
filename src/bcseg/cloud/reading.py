"""Read an object piece by piece: the head alone where the head is wanted."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

_FIRST, _MOST = 64 << 10, 8 << 20  # bytes asked for at once: doubled while it is read on


class RangedReader(io.RawIOBase):
    """A file over `fetch(start, end)`; `readall` asks for the rest in one request."""

    def __init__(self, fetch: Callable[[int, int | None], bytes], size: int) -> None:
        super().__init__()
        self._fetch, self._size = fetch, size
        self._place = 0
        self._block, self._block_start = b"", 0
        self._step = _FIRST

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read in any order."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is fetched."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the block at hand reaches, or a new one."""
        view = memoryview(buffer).cast("B")
        if self._place >= self._size or not len(view):
            return 0
        end = self._block_start + len(self._block)
        if not self._block_start <= self._place < end:
            self._step = min(2 * self._step, _MOST) if self._place == end and end else _FIRST
            wanted = max(self._step, len(view))
            self._block = self._fetch(self._place, min(self._place + wanted, self._size))
            self._block_start = self._place
        offset = self._place - self._block_start
        piece = self._block[offset : offset + len(view)]
        view[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Return everything from here on."""
        if self._place >= self._size:
            return b""
        data = self._fetch(self._place, None)
        self._place += len(data)
        return data
