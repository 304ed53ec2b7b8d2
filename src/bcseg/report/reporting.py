"""Make the report of pairs folders, and overlays of single pairs."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from bcseg import executors
from bcseg.cloud import is_cloud
from bcseg.errors import RecordError, UsageError
from bcseg.pairs import PairsFolder, Row
from bcseg.report.cards import CROPS, card
from bcseg.report.data import Content, Entry, Pictures, Reported, Reporting
from bcseg.report.entries import chosen, entries
from bcseg.report.page import page, restricted
from bcseg.report.pictures import Sitting, overlay, pictures_of
from bcseg.select.catalogue import Catalogue, NoMatch, Scope
from bcseg.stats import stats
from bcseg.store import write_atomic

_EACH = 8  # pairs that are worth a worker process


def report(folders: Sequence[PairsFolder], out: Path, how: Reporting) -> Reported:
    """Write one HTML file about pairs folders; it needs no other file and no network.

    Raises UsageError for a damaged table, a score that no lesion has and a place that cannot be
    written to, OutputError if the disk refuses. A pair whose files cannot be read is on the page
    with the reason, and in the result.
    """
    _refuse_unwritable(out)
    statistics = stats(folders)
    everything, notes = entries(folders, how)
    picked = chosen(everything, how)
    shown = list(zip(picked, _all_pictures(picked, how), strict=True))
    content = Content(folders, statistics, everything, shown, how.sort, notes)
    cards = (card(entry, seen, place, how.sort) for place, (entry, seen) in enumerate(shown, 1))
    data = page(content, cards)
    write_atomic(out, data)
    closed = restricted(folders)
    if closed and _in_version_control(out):
        notes.append("git does not ignore this place: keep the page out of commits")
    return Reported(
        path=out,
        pairs=len(everything),
        shown=len(shown),
        scored=sum(any(one.scores for one in entry.lesions) for entry in everything),
        size=len(data),
        unreadable=tuple(f"{e.dataset}/{e.record_id}" for e, seen in shown if seen.failure),
        restricted=closed,
        notes=tuple(notes),
    )


def _refuse_unwritable(out: Path) -> None:
    """Refuse a place before the work is done, not after it."""
    folder = next(path for path in out.absolute().parents if path.exists())
    if is_cloud(folder):
        return  # the storage itself says so
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            "cannot write the page there", where=str(folder), hint="-o report.html elsewhere"
        )


def _in_version_control(path: Path) -> bool:
    """Tell whether a file lies in a git repository in which no .gitignore above it hides all."""
    if is_cloud(path):
        return False
    for folder in path.absolute().parents:
        try:
            lines = (folder / ".gitignore").read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            lines = []
        if "*" in lines:
            return False
        if (folder / ".git").exists():
            return True
    return False


def _all_pictures(picked: Sequence[Entry], how: Reporting) -> Iterator[Pictures]:
    workers = how.jobs or min(executors.usable_cpus(), max(1, len(picked) // _EACH))
    found = executors.run(
        pictures_of,
        (_sitting(entry) for entry in picked),
        workers=workers,
        prepare=_prepare,
        context=None,
        died=_died,
    )
    for done, seen in enumerate(found, 1):
        yield seen
        how.progress(done, len(picked))


def _sitting(entry: Entry) -> Sitting:
    boxes = tuple(lesion.box for lesion in entry.lesions[:CROPS])
    return Sitting(entry.folder, entry.row["image"], entry.row["mask"], boxes)


def _prepare(_: None) -> None:
    cv2.setNumThreads(1)


def _died(_: Sitting) -> Pictures:
    return Pictures(
        failure="the worker process was killed, probably for want of memory: try --jobs 1"
    )


def overlays(
    folders: Sequence[PairsFolder], records: Sequence[str], out: Path, *, full: bool = False
) -> tuple[Path, ...]:
    """Write a PNG with the contour for each record named, at `full` resolution or fitted.

    A record is named by its id, case id (inbreast_20588334) or file name. Nothing is written when
    one is unknown: raises UsageError, with the nearest. Raises RecordError for an unreadable pair.
    """
    named: dict[str, PairsFolder] = {}
    for folder in folders:
        if named.setdefault(folder.name, folder) is not folder:
            raise UsageError(
                f"two folders hold {folder.name}: {folder.path.name} and "
                f"{named[folder.name].path.name}",
                hint="name one of them instead of the root",
            )
    catalogue = Catalogue(named)
    found = dict.fromkeys(_find(catalogue, word) for word in records)
    written = []
    for dataset, record_id in found:
        row: Row = catalogue.records[dataset, record_id]
        path = out / (re.sub(r"[^\w.-]", "_", f"{dataset}_{record_id}") + ".png")
        draw = functools.partial(overlay, named[dataset].path, row["image"], row["mask"])
        try:
            write_atomic(path, draw(full=full))
        except RecordError as error:
            raise RecordError(
                f"{dataset} {record_id} cannot be drawn: {error.args[0]}", code=error.code
            ) from error
        written.append(path)
    return tuple(written)


def _find(catalogue: Catalogue, word: str) -> tuple[str, str]:
    try:
        return catalogue.find(word, Scope())
    except NoMatch as error:
        near = catalogue.nearest(word, Scope())
        hint = f"do you mean {near}?" if near else "bcseg why tells what became of an image"
        raise UsageError(str(error), hint=hint) from error
