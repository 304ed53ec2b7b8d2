"""One run as several: which records a shard has, where it keeps its books, who runs beside it.

Images and masks of all shards lie in the one pairs folder. Everything else that a run writes, a
shard writes below `.shards`, into a folder of its own, so that no two shards touch the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from bcseg.errors import UsageError
from bcseg.lock import refuse_running
from bcseg.pairs import SHARDS
from bcseg.remote import lock_of

_NAME = re.compile(r"([0-9]+)-of-([0-9]+)")


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """One of `count` parts of a dataset; `number` counts from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, record_id: str) -> bool:
        """Tell whether a record is of this shard: by its id alone, on every machine the same."""
        digest = hashlib.sha256(record_id.encode(errors="backslashreplace")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def books(self, folder: Path) -> Path:
        """Return where the shard keeps its journal, tables and lock."""
        return folder / SHARDS / f"{self.number}-of-{self.count}"


def shard_of(text: str) -> Shard:
    """Return the shard that "3/8" names; raises UsageError."""
    match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", text)
    if not match:
        raise UsageError(f"--shard {text!r} is not I/N", hint="--shard 1/8 to --shard 8/8")
    number, count = map(int, match.groups())
    if not 1 <= number <= count:
        last = max(count, 1)
        raise UsageError(
            f"there is no shard {number}/{count}: shards are counted from 1",
            hint=f"--shard 1/{last} to --shard {last}/{last}; with an index that begins with 0: "
            f"--shard $((INDEX + 1))/{last}",
        )
    return Shard(number, count)


def found(folder: Path) -> list[Shard]:
    """Return the shards that have books in a pairs folder, sorted."""
    place = folder / SHARDS
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    matches = filter(None, map(_NAME.fullmatch, names))
    return sorted(Shard(int(match[1]), int(match[2])) for match in matches)


@contextlib.contextmanager
def at_work(folder: Path, shard: Shard | None = None) -> Generator[None, None, None]:
    """Hold the right to write: alone in a pairs folder, or as one shard beside the others.

    Each side takes its own lock first and looks for the other's then, so that of two that begin
    at once at least one sees the other. Raises UsageError if the right cannot be had.
    """
    if shard is None:
        with lock_of(folder) as lock:
            lock.check()
            for other in found(folder):
                refuse_running(other.books(folder))
            yield
        return
    with lock_of(shard.books(folder)) as lock:
        refuse_running(folder)
        lock.check()  # a merge that ended just now has taken `.shards` away, lock and all
        refuse_other_count(folder, shard)
        yield


def refuse_other_count(folder: Path, shard: Shard) -> None:
    """Raise UsageError if the folder is divided into another number of shards."""
    counts = sorted({other.count for other in found(folder)} - {shard.count})
    if counts:
        raise UsageError(
            f"the folder is divided into {counts[0]} shards, not into {shard.count}",
            where=str(folder),
            hint=f"--shard I/{counts[0]}, and `bcseg merge` when all are done; or delete "
            f"{folder / SHARDS} and begin again",
        )
