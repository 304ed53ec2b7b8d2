"""Before a run: is the source one, is the output free, what is done already, does it fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bcseg import adapters, executors, pairs
from bcseg.adapters.base import Adapter, packed_hint
from bcseg.errors import ArchiveError, RecordError, UsageError
from bcseg.ledger import NEEDED, file_of, unprocessed_items
from bcseg.lock import is_trace
from bcseg.record import Index, Record
from bcseg.remote import identity_of, journal_of
from bcseg.run import Run, State
from bcseg.run import copies as copies
from bcseg.settings import Settings, differences
from bcseg.shards import found, refuse_other_count
from bcseg.source import Source, is_tar, read
from bcseg.store import (
    file_sizes,
    free_bytes,
    remove_parts,
    remove_tree,
    write_at_once,
)
from bcseg.text import counted

# bytes written for each byte of a source image, by ending: measured on full-size images
_GROWTH = {
    **dict.fromkeys((".dcm", ".dicom", ".tif", ".tiff"), 0.8),
    **dict.fromkeys((".jpg", ".jpeg"), 2.5),
    ".png": 1.05,
    ".pgm": 0.4,
}
_SECONDS_PER_MB, _SECONDS_PER_PAIR = 0.025, 0.03
_IGNORE_ALL = b"*\n"
_MARGIN = 1.05  # of the expected size must be free on the disk


def refuse_overlap(location: Path, root: Path, folder: Path) -> None:
    """Refuse an output inside the source or a source inside the output."""
    source = location.resolve()
    for output in (root.resolve(), folder.resolve()):
        if output == source or source in output.parents:
            message = f"the output lies inside the source: {output}"
        elif output in source.parents:
            message = f"the source lies inside the output: {output}"
        else:
            continue
        raise UsageError(
            message,
            where=str(location),
            hint="name another place with --out; archives are never written to",
        )


def read_index(adapter: Adapter, source: Source, settings: Settings) -> Index:
    """Return what the adapter finds.

    Raises ArchiveError, with the layout that it wants and the dataset that the source resembles.
    """
    try:
        if not source.names():
            raise ArchiveError("there is no file in it", where=str(source.location))
        return adapter.index(source, settings.read)
    except ArchiveError as error:
        info = adapter.INFO
        others = {k: n for k, n in adapters.resembles(source.names()).items() if k != info.name}
        lines = [f"{error.args[0]}: this is no {info.title} archive that bcseg can read"]
        lines.append("  it should look like this, at any depth:")
        lines += [f"    {line}" for line in info.layout.splitlines()]
        if others:
            name, count = next(iter(others.items()))
            lines.append(f"  {count} of its files look like {name}: bcseg refactor {name} ...")
        hint = packed_hint(source.names()) or error.hint
        raise ArchiveError("\n".join(lines), where=error.where, hint=hint) from error


def refuse_foreign(root: Path, folder: Path) -> None:
    """Refuse a folder that bcseg did not make, and the folder of a dataset as a root."""
    for path in (root, folder):
        if path.exists() and not path.is_dir():
            raise UsageError("the output is a file", where=str(path), hint="name a folder: --out")
    if _is_pairs_folder(root):
        raise UsageError(
            "the output is the folder of one dataset",
            where=str(root),
            hint=f"name the root that holds it: --out {root.parent}",
        )
    if folder.is_dir() and not _is_pairs_folder(folder):
        others = [path.name for path in folder.iterdir() if not is_trace(path.name)]
        if others:
            raise UsageError(
                f"the output folder is not empty and holds no pairs of bcseg ({min(others)}, ...)",
                where=str(folder),
                hint="name another place with --out",
            )


def refuse_for_shards(location: Path, run: Run) -> None:
    """Refuse what shards cannot do."""
    if run.limit is not None:
        raise UsageError(
            "--limit means nothing for a shard: it does not know what the others write",
            hint="leave it out, or try the options without --shard first",
        )
    if is_tar(location):
        raise UsageError(
            "each shard would unpack the tar archive for itself",
            where=str(location),
            hint="unpack it once (tar -xf) and give the folder",
        )


def _is_pairs_folder(folder: Path) -> bool:
    if journal_of(folder).exists():
        return True
    return any((folder / name).exists() for name in (pairs.DATASET, pairs.SHARDS))


def check_identity(state: State, identity: dict[str, Any]) -> None:
    """Read the journal; refuse pairs of other options (`--redo` accepts) or another dataset."""
    state.journal.load()
    if state.run.shard:
        _check_beside(state, identity)
        _refuse_other(state, state.journal.identity, identity, redo=state.run.redo)
        return
    if (state.folder / pairs.SHARDS).exists() and not state.run.redo:
        raise UsageError(
            "the folder is divided into shards that are not merged yet",
            where=str(state.folder),
            hint=f"bcseg merge {state.folder.parent}; or --redo to start over",
        )
    old = state.journal.identity or _documented_identity(state.folder)
    _refuse_other(state, old, identity, redo=state.run.redo)


def _check_beside(state: State, identity: dict[str, Any]) -> None:
    """Refuse a shard among others of another kind; a new one takes over what the whole knows."""
    shard, folder = state.run.shard, state.folder
    assert shard is not None
    refuse_other_count(folder, shard)
    for other in found(folder):
        if other != shard:  # with --redo, the others may be started over later
            old = identity_of(other.books(folder))
            _refuse_other(state, old, identity, redo=state.run.redo)
    whole = identity_of(folder) or _documented_identity(folder)
    _refuse_other(state, whole, identity, redo=False)  # its tables would tell of other pairs
    if state.journal.identity is None and identity_of(folder) == identity:
        state.journal = journal_of(folder)
        state.journal.load()
        for record_id in state.journal.ids():
            if not shard.holds(record_id):
                state.journal.forget(record_id)


def _refuse_other(
    state: State, old: dict[str, Any] | None, identity: dict[str, Any], *, redo: bool
) -> None:
    if old is None or old == identity:
        return
    other_dataset = old.get("dataset") != identity["dataset"]
    if redo and not other_dataset:
        return
    lines = "\n".join(f"    {line}" for line in differences(old, identity))
    raise UsageError(
        f"the folder holds pairs of {old.get('dataset')}"
        if other_dataset
        else f"the folder holds pairs made with other options:\n{lines}",
        where=str(state.folder),
        hint="--out for another place"
        if other_dataset
        else "the same options to continue, --redo to start over, or --out for another place",
    )


def _documented_identity(folder: Path) -> dict[str, Any] | None:
    """Return the options that dataset.json tells; None if it is missing or damaged."""
    try:
        options = pairs.PairsFolder(folder).document().get("options")
    except UsageError:
        return None
    return options if isinstance(options, dict) else None


def decide(state: State, identity: dict[str, Any]) -> None:
    """Decide which records are done already; the others are `state.todo`. Writes nothing."""
    journal = state.journal
    if state.run.redo or journal.identity != identity:
        entries = (journal.get(record_id) for record_id in journal.ids())
        state.old_bytes = sum(sum(entry["written"].values()) for entry in entries if entry)
        state.discarded = journal.ids()
        for record_id in state.discarded:
            journal.forget(record_id)
    settled = _settled(state)
    if state.run.prune:
        state.pruned, state.gone = state.gone, []
        for record_id in state.pruned:
            journal.forget(record_id)
        settled.difference_update(state.pruned)  # what is left of them in the source has its say
    state.todo = [record for key, record in state.records.items() if key not in settled]
    state.table_hashes = _table_hashes(state)


def begin(state: State, identity: dict[str, Any]) -> None:
    """Make the folder ready for what `decide` decided."""
    folder, journal = state.folder, state.journal
    remove_parts(state.books)  # those of the pairs may be another shard's, at work just now
    (state.books / pairs.SHARD).unlink(missing_ok=True)  # unfinished from now on
    anew = state.run.redo or journal.identity != identity
    if anew or state.pruned or _changes_pairs(state):
        pairs.withdraw_tables(folder)  # they tell of pairs that are about to change
    if state.run.redo:
        _clear(state)
    if journal.path.parent != state.books:  # what the whole knows becomes the shard's own
        state.journal = journal_of(state.books)
        state.journal.write(identity, journal.entries())
        journal = state.journal
    elif anew:
        journal.start(identity)
    _hide_from_git(folder)
    for record_id in state.pruned:
        pairs.remove_pair(folder, record_id)
    for record_id, stamps in state.touched.items():
        entry = journal.get(record_id)
        assert entry is not None
        journal.append(record_id, entry | {"stamps": stamps})


def _changes_pairs(state: State) -> bool:
    """Tell whether pairs that are there may be made again."""
    entries = (state.journal.get(record.record_id) for record in state.todo)
    return any(entry is not None and entry["fate"] == "written" for entry in entries)


def _hide_from_git(folder: Path) -> None:
    """Keep pairs out of version control: the whole root, or the folder if the root holds more."""
    root = folder.parent
    ours = {folder.name, pairs.REPORT, pairs.OVERLAYS}
    shared = any(
        not (path.name.startswith(".") or path.name in ours or _is_pairs_folder(path))
        for path in root.iterdir()
    )
    ignore = root / ".gitignore"
    if shared or (ignore.exists() and ignore.read_bytes() not in (b"", _IGNORE_ALL)):
        ignore = folder / ".gitignore"
    if not (ignore.exists() and ignore.read_bytes()):  # a kill may leave it empty
        write_at_once(ignore, _IGNORE_ALL)


def _clear(state: State) -> None:
    """Remove what earlier runs wrote, and nothing else; of a shard, what is its own."""
    folder = state.folder
    if state.run.shard:
        for record_id in state.discarded:
            pairs.remove_pair(folder, record_id)
        return
    remove_tree(folder / pairs.SHARDS)
    for name in ("images", "masks", "lesions"):
        remove_tree(folder / name)


def _settled(state: State) -> set[str]:
    """Return the records of which nothing is to be done: they are done, or their source is gone.

    Lists the pairs whose source is gone; forgets other records that are not there any more.
    """
    names = set(state.source.names())
    size_of = file_sizes(state.folder)
    settled = set()
    for entry in state.journal.entries():
        record_id = entry["id"]
        record = state.records.get(record_id)
        if entry["fate"] == "written" and _is_gone(entry, record, names):
            state.gone.append(record_id)
            settled.add(record_id)
        elif record is None:
            state.journal.forget(record_id)
        elif _is_done(state, record, entry, size_of):
            settled.add(record_id)
    return settled


def _is_gone(entry: dict[str, Any], record: Record | None, names: set[str]) -> bool:
    """Tell whether a pair's image, or a contour or mask of it, is missing without replacement."""
    if record is None or not record.image:
        return True
    before = {name for _, name, _, _ in entry["items"]}
    needed = {file_of(name) for sort, name, _, _ in entry["items"] if sort in NEEDED}
    now = {file_of(i[1]) for i in unprocessed_items(record, "failed", "") if i[0] in NEEDED}
    return len(needed - names) > len(now - {file_of(name) for name in before})


def _is_done(
    state: State, record: Record, entry: Mapping[str, Any], size_of: Callable[[str], int]
) -> bool:
    if entry["fate"] == "failed" or entry["key"] != key(state, record):
        return False
    if any(size_of(name) != size for name, size in entry["written"].items()):
        return False
    try:
        stamps = {name: state.source.stamp(name) for name in entry["stamps"]}
        if not state.run.rehash:
            return bool(stamps == entry["stamps"])
        same = all(sha256_of(state.source, n) == value for n, value in entry["files"].items())
    except RecordError:  # not there, or not readable: the run will say so
        return False
    if same and stamps != entry["stamps"]:
        state.touched[record.record_id] = stamps
    return same


def key(state: State, record: Record) -> str:
    """Return a hash of everything the adapter said about a record."""
    said = (record, state.copies.get(record.record_id, ()))
    return hashlib.sha256(repr(said).encode(errors="backslashreplace")).hexdigest()


def _table_hashes(state: State) -> dict[str, str]:
    """Return the SHA-256 of each table that holds a contour: the parent reads it once for all."""
    lesions = (lesion for record in state.records.values() for lesion in record.lesions)
    tables = {
        file_of(lesion.source) for lesion in lesions if lesion.source != file_of(lesion.source)
    }
    hashes = {}
    for name in sorted(tables):
        try:
            hashes[name] = sha256_of(state.source, name)
        except RecordError:  # shipped with bcseg, or lost this very moment
            hashes[name] = ""
    return hashes


def sha256_of(source: Source, name: str) -> str:
    """Return the SHA-256 of a file of the source, in hex."""
    return hashlib.sha256(read(source, name)).hexdigest()


def some_stamps(source: Source) -> dict[str, str]:
    """Return the stamps of a few files, by which a source is known again elsewhere."""
    names = source.names()
    return {name: source.stamp(name) for name in names[:: max(1, len(names) // 3)]}


def announce(state: State, jobs: int) -> None:
    """Say what is expected; refuse when the disk is too small."""
    wanted = [record for record in state.todo if _may_be_written(record, state.settings)]
    if state.run.limit is not None:
        wanted = wanted[: state.run.limit]
    size, seconds = expected(state, wanted, jobs)
    done = len(state.records) - len(state.todo)
    kept = f", {counted(done, 'record')} done already" if done else ""
    state.run.say(
        f"{state.title}: up to {counted(len(wanted), 'pair')}, about {size / 1e9:.2g} GB and "
        f"{max(1, round(seconds / 60))} min with {counted(jobs, 'job')}{kept}"
    )
    free = free_bytes(state.folder) + state.old_bytes
    if size * _MARGIN > free:
        raise UsageError(
            f"the disk is too small: about {size / 1e9:.2g} GB are needed, {free / 1e9:.2g} free",
            where=str(state.folder),
            hint="--out on another disk, --size for smaller images, or --limit",
        )


def expected(state: State, wanted: Sequence[Record], jobs: int) -> tuple[int, float]:
    """Return how many bytes some pairs will have, and how many seconds they will take."""
    names = set(state.source.names())
    size = sum(_expected_bytes(state.source, one) for one in wanted if one.image in names)
    work = size / 1e6 * _SECONDS_PER_MB + len(wanted) * _SECONDS_PER_PAIR
    return size, work / jobs


def _may_be_written(record: Record, settings: Settings) -> bool:
    if record.left_out or not record.image:
        return False
    kinds = {lesion.kind for lesion in record.lesions}
    return bool(record.annotations or kinds & settings.read.kinds or settings.with_empty)


def _expected_bytes(source: Source, record: Record) -> int:
    suffix = os.path.splitext(record.image)[1].lower()  # noqa: PTH122 - a name, not a path
    return int(source.size(record.image) * _GROWTH.get(suffix, 1.0))


def workers(run: Run) -> int:
    """Return how many workers a run has."""
    return run.jobs or executors.usable_cpus()
