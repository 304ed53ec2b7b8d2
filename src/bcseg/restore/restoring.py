"""Find the pair of each mask, undo the pair's geometric steps, write what comes out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg import executors, pairs, png
from bcseg.errors import RecordError, UsageError
from bcseg.formats.images import decode
from bcseg.pairs import PairsFolder, Row
from bcseg.restore.report import Restored, RestoredMask, table_bytes
from bcseg.run import Progress
from bcseg.select.catalogue import Catalogue, NoMatch
from bcseg.store import write_atomic, write_pair
from bcseg.transform import Transform

TABLE = "restored.csv"
_ENDINGS = {".png", ".tif", ".tiff", ".bmp", ".pgm"}
_SHOWN_VALUES = 20
_WORTH_A_WORKER = 4  # masks, below which starting one takes longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """How to restore; `redo` overwrites what is at the output."""

    jobs: int = 0  # 0: the CPUs that this process may use
    redo: bool = False
    dry_run: bool = False
    progress: Progress = lambda done, total: None


@dataclass(frozen=True, slots=True)
class _Task:
    """A mask file and the row of its pair."""

    path: Path
    row: Row
    found: RestoredMask


def restore_masks(masks: Path, root: Path, out: Path, how: Restoring) -> Restored:
    """Bring masks of the written images back to the grid of the source, below `out`.

    `masks`: a file or a folder, at any depth; a mask is named as its pair (record id, case id or
    file name) and has the size of the written image. Values stay as they are. Raises UsageError,
    with nothing written, for no mask, an output that is not free, and tables that are damaged.
    """
    files = _files(masks)
    folders = {one.name: one for one in pairs.open_root(root)}
    _refuse_output(out, masks, folders, how)
    tasks, failed = _matched(files, masks, Catalogue(folders))
    done: list[RestoredMask] = []
    for one in _results(tasks, out, how):
        (failed if one.problem else done).append(one)
        how.progress(len(done) + len(failed), len(files))
    if done and not how.dry_run:
        write_atomic(out / ".gitignore", b"*\n")
        write_atomic(out / TABLE, table_bytes(done))
    failed.sort(key=lambda one: one.given)
    return Restored(out, tuple(done), tuple(failed), how.dry_run)


def _files(masks: Path) -> list[Path]:
    if masks.is_file():
        return [masks]
    found = (path for path in masks.rglob("*") if path.suffix.lower() in _ENDINGS)
    files = sorted(path for path in found if path.is_file() and not path.name.startswith("."))
    if not files:
        raise UsageError(
            "no mask here" if masks.exists() else "no such file or folder",
            where=str(masks),
            hint=f"a folder of masks ({', '.join(sorted(_ENDINGS))}), named as their pairs",
        )
    return files


def _refuse_output(
    out: Path, masks: Path, folders: Mapping[str, PairsFolder], how: Restoring
) -> None:
    place = out.resolve()
    if masks.resolve() in (place, *place.parents) or any(
        one.path.resolve() in (place, *place.parents) for one in folders.values()
    ):
        raise UsageError(
            "the output lies inside what is read", where=str(out), hint="another --out"
        )
    if out.is_dir() and any(out.iterdir()) and not how.redo:
        raise UsageError(
            "the output is not empty", where=str(out), hint="--redo to write over it, or --out"
        )


def _matched(
    files: list[Path], masks: Path, catalogue: Catalogue
) -> tuple[list[_Task], list[RestoredMask]]:
    """Return the masks whose pair is known, and those that name none or one that is taken."""
    tasks: dict[str, _Task] = {}
    failed = []
    for path in files:
        given = path.relative_to(masks).as_posix() if path != masks else path.name
        everywhere = catalogue.scope("")
        assert everywhere is not None
        try:
            dataset, record_id = catalogue.find(given, everywhere)
        except NoMatch as error:
            near = catalogue.nearest(given, everywhere)
            problem = f"{error}; nearest: {near}" if near else str(error)
            failed.append(RestoredMask(given=given, problem=problem))
            continue
        row = catalogue.records[dataset, record_id]
        name = f"{dataset}/{record_id}.png"
        found = RestoredMask(
            given=given,
            dataset=dataset,
            record_id=record_id,
            mask=name,
            source_image=row["source_image"],
            sop_instance_uid=row["sop_instance_uid"],
        )
        if name in tasks:
            problem = f"{tasks[name].found.given} is of the same pair"
            failed.append(replace(found, problem=problem))
            continue
        tasks[name] = _Task(path, row, found)
    return [tasks[name] for name in sorted(tasks)], failed


def _results(tasks: list[_Task], out: Path, how: Restoring) -> Iterator[RestoredMask]:
    jobs = how.jobs or executors.usable_cpus()
    return executors.run(
        _work_on,
        tasks,
        workers=min(jobs, max(1, len(tasks) // _WORTH_A_WORKER)),
        prepare=_start,
        context=None if how.dry_run else out,
        died=lambda task: replace(task.found, problem="the worker process was killed, twice"),
    )


@functools.cache
def _place() -> dict[str, Path | None]:
    """Return where a worker process keeps its output."""
    return {}


def _start(out: Path | None) -> None:
    _place()["out"] = out


def _work_on(task: _Task) -> RestoredMask:
    try:
        mask = restored(_read(task), task.row)
        out = _place()["out"]
        if out is not None:
            write_pair(out / task.found.mask, png.encode(mask, mask=mask.dtype == np.uint8))
    except RecordError as error:
        return replace(task.found, problem=str(error.args[0]))
    values = np.unique(mask[mask > 0])
    listed = " ".join(map(str, values[:_SHOWN_VALUES])) + (" ..." if len(values) > 20 else "")
    return replace(
        task.found,
        height=int(mask.shape[0]),
        width=int(mask.shape[1]),
        values=listed,
        pixels=int(np.count_nonzero(mask)),
    )


def _read(task: _Task) -> NDArray[Any]:
    try:
        data = task.path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror}") from error
    pixels = decode(data, task.found.given).pixels
    if pixels.dtype not in (np.uint8, np.uint16):
        raise RecordError(f"its values are {pixels.dtype}: 8 or 16 bits without a sign are read")
    return pixels


def restored(mask: NDArray[Any], row: Row) -> NDArray[Any]:
    """Return a mask of a pair's written image on the grid of the source, same dtype and values.

    `row`: of records.csv. What was cropped away is 0; a resized mask is taken by the nearest pixel
    centre. Raises RecordError for a mask of another size than the written image.
    """
    size = int(row["height"]), int(row["width"])
    if mask.shape != size:
        turned = mask.shape == size[::-1]
        raise RecordError(
            f"it has {mask.shape[0]} x {mask.shape[1]} pixels, its pair {size[0]} x {size[1]}"
            + (": transpose it (a framework has swapped the axes)" if turned else ""),
            code="mask_size",
        )
    return np.ascontiguousarray(Transform.from_json(row["transform"]).restore_mask(mask))
