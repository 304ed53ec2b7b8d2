"""Write a selection beside its place and move it there whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from bcseg import __version__, pairs
from bcseg.errors import UsageError
from bcseg.interrupts import uninterrupted
from bcseg.lock import LOCK, PART, Lock
from bcseg.pairs import SCHEMA_VERSION
from bcseg.select.as_manifest import selection_table
from bcseg.select.options import Selecting
from bcseg.select.part import Part
from bcseg.select.plan import Plan
from bcseg.select.reducing import write_reduced
from bcseg.select.tables import write_tables
from bcseg.store import copy_files, file_sizes, write_atomic

SELECTION = "selection.json"  # at the root: what a selection was made from
SELECTION_TABLE = "selection.csv"  # at the root: every row of the manifest, and what it became
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


def write(plan: Plan, to: Path, how: Selecting) -> dict[str, str]:
    """Build the selection beside `to` and move it there whole; return the content hashes."""
    place = to.resolve()
    part = place.with_name(f".{place.name}{PART}")
    old = place.with_name(f".{place.name}.old")
    try:
        with Lock(part):
            done = False
            try:
                _clear(part)
                _refuse_small_disk(plan, part, how)
                contents = _build(plan, part, how)
                with uninterrupted():
                    _put(part, place, old)
                done = True
            finally:
                if not done:
                    shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"cannot write the selection: {error.strerror or error}",
            where=str(error.filename or to),
        ) from error
    return contents


def _clear(part: Path) -> None:
    """Remove what a killed run left; the lock is ours."""
    for path in part.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _refuse_small_disk(plan: Plan, part: Path, how: Selecting) -> None:
    if how.link:
        return
    needed = 0
    for one in plan.chosen():
        size_of = file_sizes(one.folder.path)
        needed += sum(size_of(name) for name in plan.files[one.dataset])
    free = shutil.disk_usage(part).free
    if needed > free:
        raise UsageError(
            f"the disk is too small: {needed / 1e9:.2g} GB are needed, {free / 1e9:.2g} free",
            where=str(part.parent),
            hint="--out on another disk, or --link on the same one",
        )


def _put(part: Path, place: Path, old: Path) -> None:
    """Give the finished folder its name; an earlier selection goes only then."""
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    part.rename(place)
    (place / LOCK).unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def _build(plan: Plan, place: Path, how: Selecting) -> dict[str, str]:
    write_atomic(place / ".gitignore", b"*\n")
    contents = {}
    drawn: dict[str, int] = {}
    for part in plan.chosen():
        folder = place / part.dataset
        _take(part, plan.files[part.dataset], folder, link=how.link)
        reduced, sizes = write_reduced(part, folder)
        drawn |= {f"{part.dataset}/{name}": size for name, size in sizes.items()}
        contents[part.dataset] = write_tables(part, folder, plan, reduced)
    write_atomic(place / SELECTION_TABLE, selection_table(plan))
    if plan.splits:
        write_atomic(place / pairs.SPLITS, plan.splits)
    document = {
        "schema_version": SCHEMA_VERSION,
        "bcseg": __version__,
        "identity": plan.identity(),
        "datasets": [part.taken(contents.get(part.dataset, "")).document() for part in plan.parts],
    }
    if drawn:
        document["drawn"] = drawn  # masks that no file of the source is: their bytes
    pairs.write_document(place / SELECTION, document)
    return contents


def _take(part: Part, names: Iterable[str], to: Path, *, link: bool) -> None:
    """Copy or hard-link the files of the kept pairs."""
    source = part.folder.path.resolve()
    for folder in {(to / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    if not link:
        copy_files(source, names, to)
        return
    for name in names:
        _link((source / name).resolve(), to / name)


def _link(source: Path, to: Path) -> None:
    try:
        os.link(source, to)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        raise UsageError(
            f"cannot make hard links from there to here: {error.strerror}",
            where=str(source),
            hint="leave --link away, or give an --out on the same file system",
        ) from error
