"""Shards to one pairs folder: the journals joined, the tables written, the ledger checked over all.

Nothing is converted and the source is not needed. A merge that is killed leaves the shards as they
are, until everything is written: the next one does it again.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bcseg import __version__, pairs
from bcseg.closing import Tables, close, collect, summary, write_log, write_whole
from bcseg.cloud import is_cloud
from bcseg.errors import UsageError
from bcseg.lock import PART
from bcseg.outcome import Outcome
from bcseg.parts import Part, read_part, read_rest
from bcseg.remote import journal_of
from bcseg.run import Summary
from bcseg.settings import differences
from bcseg.shards import Shard, at_work, found
from bcseg.store import Journal, remove_parts, remove_tree

_NAMED = 8  # shards that a message names


def merge(root: Path, *, dry_run: bool = False, command: tuple[str, ...] = ()) -> list[Summary]:
    """Join the shards of every pairs folder of a root, or of the one that it is.

    Raises UsageError, and writes nothing, if any shard is missing or unlike the others; LedgerError
    if the whole does not add up.
    """
    folders = pairs.unmerged(root)
    if not folders:
        pairs.open_root(root)  # which raises if there is nothing at all
    with contextlib.ExitStack() as locks:
        if not dry_run:
            for folder in folders:
                locks.enter_context(at_work(folder))
        parts = [_checked_parts(folder) for folder in folders]
        both = zip(folders, parts, strict=True)
        return [_merge(folder, some, dry_run, command) for folder, some in both]


def _checked_parts(folder: Path) -> list[Part]:
    """Return what the shards of a folder said; raises UsageError if they do not make a whole."""
    shards = found(folder)
    counts = sorted({shard.count for shard in shards})
    faults = []
    if len(counts) != 1:
        faults.append(f"there are shards of {' and of '.join(map(str, counts)) or 'nothing'}")
        raise _refusal(folder, faults)
    every = [Shard(number, counts[0]) for number in range(1, counts[0] + 1)]
    parts = [read_part(shard.books(folder)) for shard in every]
    missing = [str(shard) for shard in every if shard not in shards]
    unfinished = [
        str(shard)
        for shard, part in zip(every, parts, strict=True)
        if shard in shards and not (part and part.reached)
    ]
    for words, some in (("missing", missing), ("not finished", unfinished)):
        if some:
            more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
            faults.append(f"{words}: shard {', '.join(some[:_NAMED])}{more}")
    there = [part for part in parts if part]
    faults += [fault for part in there[1:] for fault in _unlike(there[0], part)]
    if there and there[0].about["bcseg"] != __version__:
        faults.append(f"made with bcseg {there[0].about['bcseg']}, this is {__version__}")
    if faults:
        raise _refusal(folder, faults)
    return there


def _unlike(first: Part, part: Part) -> Iterator[str]:
    """Yield in words why two shards do not belong together."""
    who = f"shard {part.shard}"
    if part.about["bcseg"] != first.about["bcseg"]:
        yield (
            f"{who} was made with bcseg {part.about['bcseg']}, "
            f"shard {first.shard} with {first.about['bcseg']}"
        )
    for line in differences(first.about["options"], part.about["options"]):
        before, now = line.removesuffix(" now").split(" there, ")
        yield f"{who} was made with other options: {before} in shard {first.shard}, {now} in it"
    if part.source != first.source:
        yield f"{who} saw another source than shard {first.shard}: files, sizes or times differ"


def _refusal(folder: Path, faults: list[str]) -> UsageError:
    more = [f"... and {len(faults) - _NAMED} more"] if len(faults) > _NAMED else []
    lines = "\n".join(f"    {fault}" for fault in faults[:_NAMED] + more)
    return UsageError(
        f"the shards of {folder.name} do not make a whole:\n{lines}",
        where=str(folder),
        hint="run these shards again, with the same options on the same source: what is done is "
        "kept",
    )


def _merge(folder: Path, parts: list[Part], dry_run: bool, command: tuple[str, ...]) -> Summary:
    about = parts[0].about
    rest, licence = read_rest(parts[0].shard.books(folder))
    with _joined(folder, parts, dry_run) as journal:
        log = "" if dry_run else write_log(folder, [f"command: {' '.join(command)}"], "merge")
        tables = Tables()
        apart: dict[str, Outcome] = {}
        hashes: dict[str, str] = {}
        for part in parts:
            apart.update(part.apart)
            hashes.update(part.table_hashes)
        collect(tables, journal, apart, hashes, log)
        close(tables, about["dataset"], rest)
        content = ""
        if not dry_run:
            whole = journal_of(folder)
            whole.write(about["options"], journal.entries())
            content = write_whole(whole, tables, about, licence, rest.index.notes)
            _remove(folder)
    kinds = about["options"]["kinds"] if any(part.records for part in parts) else ()
    told = summary(about["dataset"], folder, tables, notes=rest.index.notes, kinds=sorted(kinds))
    return replace(told, content_sha256=content, log=log)


@contextlib.contextmanager
def _joined(folder: Path, parts: list[Part], elsewhere: bool) -> Generator[Journal, None, None]:
    """Yield the entries of all shards as one journal, for as long as it is needed."""
    with contextlib.ExitStack() as end:
        place = folder / pairs.SHARDS
        if elsewhere or is_cloud(folder):
            place = Path(end.enter_context(tempfile.TemporaryDirectory(prefix="bcseg-")))
        journal = Journal(place)
        end.callback(journal.path.unlink, missing_ok=True)
        journal.write(parts[0].about["options"], _entries(folder, parts))
        yield journal


def _entries(folder: Path, parts: list[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        journal = journal_of(part.shard.books(folder))
        journal.load()
        yield from journal.entries()


def _remove(folder: Path) -> None:
    """Remove the books of the shards, at once for everyone who looks."""
    if is_cloud(folder):
        remove_tree(folder / pairs.SHARDS)
        return
    gone = folder / (pairs.SHARDS + PART)
    shutil.rmtree(gone, ignore_errors=True)
    (folder / pairs.SHARDS).replace(gone)
    remove_parts(folder)  # with what killed shards left among the pairs
