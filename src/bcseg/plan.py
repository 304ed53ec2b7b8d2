"""Before a run: is the source one, is the output free, what is done already, does it fit."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from bcseg import adapters, executors, pairs
from bcseg.adapters.base import Adapter
from bcseg.errors import ArchiveError, UsageError
from bcseg.records import Index, Record
from bcseg.run import Run, State
from bcseg.settings import Settings, differences
from bcseg.source import Source, read
from bcseg.store import Journal, remove_parts, write_atomic

# bytes written for each byte of a source image, by ending: measured on full-size images
_GROWTH = {".dcm": 0.8, ".tif": 0.8, ".tiff": 0.8, ".png": 1.05, ".jpg": 2.5, ".jpeg": 2.5}
_SECONDS_PER_MB, _SECONDS_PER_PAIR = 0.025, 0.03
_MARGIN = 1.05  # of the expected size must be free on the disk


def refuse_overlap(location: Path, root: Path) -> None:
    """Refuse an output inside the source or a source inside the output."""
    source, output = location.resolve(), root.resolve()
    if output == source or source in output.parents or output in source.parents:
        inside = (
            "inside the source" if output == source or source in output.parents else "around it"
        )
        raise UsageError(
            f"the output lies {inside}: {output}",
            where=str(location),
            hint="name another place with --out; archives are never written to",
        )


def read_index(adapter: Adapter, source: Source, settings: Settings) -> Index:
    """Return what the adapter finds.

    Raises ArchiveError, with the layout that it wants and the dataset that the source resembles.
    """
    try:
        return adapter.index(source, settings.read)
    except ArchiveError as error:
        info = adapter.INFO
        others = {k: n for k, n in adapters.resembles(source.names()).items() if k != info.name}
        lines = [f"{error.args[0]}: this is not a {info.title} archive that bcseg can read"]
        lines.append("  it should look like this, at any depth:")
        lines += [f"    {line}" for line in info.layout.splitlines()]
        if others:
            name, count = next(iter(others.items()))
            lines.append(f"  {count} of its files look like {name}: bcseg refactor {name} ...")
        raise ArchiveError("\n".join(lines), where=error.where, hint=error.hint) from error


def by_id(records: tuple[Record, ...]) -> dict[str, Record]:
    """Return records by id; raises ArchiveError for two of one id (a bug in an adapter)."""
    by_id: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.record_id):
        if record.record_id in by_id:
            raise ArchiveError(
                f"two images have the record id {record.record_id}",
                where=f"{by_id[record.record_id].image}, {record.image}",
                hint="take one of the two away",
            )
        by_id[record.record_id] = record
    return by_id


def check_folder(folder: Path, identity: dict[str, Any], run: Run) -> None:
    """Refuse a folder that holds something else; clear it with --redo."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    journal = Journal(folder)
    journal.load()
    old = journal.identity
    if old is None and (folder / pairs.DATASET).is_file():
        old = pairs.PairsFolder(folder).document().get("options")
    if old is None and not journal.path.exists() and not (folder / ".lock").exists():
        raise UsageError(
            "the output folder is not empty and holds no pairs of bcseg",
            where=str(folder),
            hint="name another place with --out",
        )
    if old is not None and old != identity and not run.redo:
        lines = "\n".join(f"    {line}" for line in differences(old, identity))
        raise UsageError(
            f"the folder holds pairs made with other options:\n{lines}",
            where=str(folder),
            hint="the same options to continue, --redo to start over, or --out for another place",
        )


def begin(state: State, identity: dict[str, Any]) -> None:
    """Decide which records are done already; the others are `state.todo`."""
    folder, journal = state.folder, state.journal
    if state.run.redo:
        _clear(folder, journal)
    remove_parts(folder)
    journal.load()
    if journal.identity != identity:
        journal.start(identity)
    write_atomic(folder.parent / ".gitignore", b"*\n")
    _find_gone(state)
    if state.run.prune:
        for record_id in state.gone:
            _remove_pair(state, record_id)
        state.gone.clear()
    gone = set(state.gone)
    state.todo = [
        record
        for record_id, record in state.records.items()
        if record_id not in gone and not _is_done(state, record)
    ]


def _clear(folder: Path, journal: Journal) -> None:
    """Remove what earlier runs wrote, and nothing else."""
    for name in ("images", "masks", "lesions"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (*pairs.COLUMNS, pairs.ARCHIVE, pairs.DATASET):
        (folder / name).unlink(missing_ok=True)
    journal.path.unlink(missing_ok=True)


def _find_gone(state: State) -> None:
    """List pairs whose image is not in the source any more; forget other records that are not."""
    for record_id in state.journal.ids():
        record = state.records.get(record_id)
        entry = state.journal.get(record_id)
        assert entry is not None
        if entry["fate"] == "written" and (record is None or not record.image):
            state.gone.append(record_id)
        elif record is None:
            state.journal.forget(record_id)


def _remove_pair(state: State, record_id: str) -> None:
    entry = state.journal.get(record_id)
    for name in entry["written"] if entry else ():
        (state.folder / name).unlink(missing_ok=True)
    state.journal.forget(record_id)


def _is_done(state: State, record: Record) -> bool:
    entry = state.journal.get(record.record_id)
    if entry is None or entry["fate"] == "failed" or entry["key"] != key(record):
        return False
    if state.run.rehash:
        same = all(sha256_of(state.source, n) == value for n, value in entry["files"].items())
    else:
        same = all(state.source.stamp(n) == value for n, value in entry["stamps"].items())
    return same and all(
        _size(state.folder / name) == size for name, size in entry["written"].items()
    )


def key(record: Record) -> str:
    """Return a hash of everything the adapter said about a record."""
    return hashlib.sha256(repr(record).encode()).hexdigest()


def sha256_of(source: Source, name: str) -> str:
    """Return the SHA-256 of a file of the source, in hex."""
    return hashlib.sha256(read(source, name)).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def announce(state: State) -> None:
    """Say what is expected; refuse when the disk is too small."""
    wanted = [record for record in state.todo if _may_be_written(record, state.settings)]
    if state.run.limit is not None:
        wanted = wanted[: state.run.limit]
    size = sum(_expected_bytes(state.source, record) for record in wanted)
    jobs = workers(state.run)
    seconds = (size / 1e6 * _SECONDS_PER_MB + len(wanted) * _SECONDS_PER_PAIR) / jobs
    done = len(state.records) - len(state.todo)
    kept = f", {done} records are done already" if done else ""
    state.run.say(
        f"{state.info.name}: up to {len(wanted)} pairs, about {size / 1e9:.2g} GB and "
        f"{max(1, round(seconds / 60))} min with {jobs} job{'s' if jobs > 1 else ''}{kept}"
    )
    free = shutil.disk_usage(state.folder).free
    if size * _MARGIN > free:
        raise UsageError(
            f"the disk is too small: about {size / 1e9:.2g} GB are needed, {free / 1e9:.2g} free",
            where=str(state.folder),
            hint="--out on another disk, --size for smaller images, or --limit",
        )


def _may_be_written(record: Record, settings: Settings) -> bool:
    if record.left_out:
        return False
    kinds = {lesion.kind for lesion in record.lesions}
    return bool(record.annotations or kinds & settings.read.kinds or settings.with_empty)


def _expected_bytes(source: Source, record: Record) -> int:
    suffix = os.path.splitext(record.image)[1].lower()  # noqa: PTH122 - a name, not a path
    return int(source.size(record.image) * _GROWTH.get(suffix, 1.0))


def workers(run: Run) -> int:
    """Return how many workers a run has."""
    return run.jobs or executors.usable_cpus()
