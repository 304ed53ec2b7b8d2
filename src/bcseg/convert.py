"""One record to one pair: read, draw, preprocess, write. Runs in a worker, returns values."""

from __future__ import annotations

import functools
import hashlib
import re
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from bcseg import adapters, png, raster
from bcseg.adapters.base import highest_birads, worst_pathology
from bcseg.errors import RecordError, SourceGone
from bcseg.formats.images import decode
from bcseg.masks import read_raster
from bcseg.pairs import Row, json_cell, number
from bcseg.preprocess import Processed, preprocess
from bcseg.raster import Drawing, Patch
from bcseg.records import Image, Lesion, Raster, RasterAmong, Record, Unreadable
from bcseg.settings import Settings
from bcseg.source import Source, read
from bcseg.store import write_pair
from bcseg.transform import Resize

Fate = Literal["written", "left_out", "failed"]
Item = tuple[str, str, Fate, str]  # sort of item, name in the source, fate, code

RASTERS = (Raster, RasterAmong)
AREA_TOLERANCE = 0.05  # a contour whose area differs more from the stored one is worth a warning


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to convert any record of a run."""

    dataset: str  # name of a dataset, or path of an adapter
    source: Source
    folder: Path
    settings: Settings
    write: bool = True  # False: a dry run


@dataclass(slots=True)
class Outcome:
    """What became of a record: everything the tables will say about it, as JSON values."""

    record_id: str
    fate: Fate
    code: str = ""
    row: Row | None = None
    lesions: list[Row] = field(default_factory=list)
    archive: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # files read, with their SHA-256
    stamps: dict[str, str] = field(default_factory=dict)  # the same files, as they were then
    written: dict[str, int] = field(default_factory=dict)  # files of the pair, with their size
    log: str = ""

    def entry(self) -> dict[str, Any]:
        """Return the outcome as a line of the journal."""
        return asdict(self)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Outcome:
        """Return the outcome that a line of the journal holds."""
        values = {key: entry[key] for key in cls.__dataclass_fields__}
        return cls(**values | {"items": [tuple(item) for item in entry["items"]]})


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A lesion on the raw grid."""

    lesion: Lesion
    chosen: bool
    drawing: Drawing
    mask_file: str = ""


class _Work:
    """What is known so far about the record at hand; survives the error that ends it."""

    def __init__(self, record: Record, job: Job) -> None:
        self.record = record
        self.job = job
        self.info = adapters.get(job.dataset).INFO
        self.lesions: tuple[Lesion, ...] = ()
        self.fates: dict[str, tuple[Fate, str]] = {}  # of single lesions, by lesion id
        self.crops: list[str] = []
        self.problems: list[Row] = []
        self.hashes: dict[str, str] = {}
        self.stamps: dict[str, str] = {}
        self.written: dict[str, int] = {}
        self._content: dict[str, bytes] = {}

    def read(self, name: str) -> bytes:
        """Return the content of a source file, and remember its hash."""
        if name not in self._content:
            self.stamps[name] = self.job.source.stamp(name)
            data = read(self.job.source, name)
            self.hashes[name] = hashlib.sha256(data).hexdigest()
            self._content[name] = data
        return self._content[name]

    def release(self, name: str) -> None:
        """Forget the content of a file that is not needed again."""
        self._content.pop(name, None)

    def warn(self, code: str, message: str, source: str = "") -> None:
        """Note something that stops nothing."""
        self.problems.append(self.row("warning", code, message, source or self.record.image))

    def row(self, severity: str, code: str, message: str, source: str) -> Row:
        """Return a row of problems.csv or left_out.csv."""
        return {
            "dataset": self.info.name,
            "record_id": self.record.record_id,
            "severity": severity,
            "code": code,
            "message": " ".join(message.split()),
            "source": source,
        }

    def save(self, name: str, data: bytes) -> None:
        """Write a file of the pair, by its name in the pairs folder."""
        write_pair(self.job.folder / name, data)
        self.written[name] = len(data)


def convert(record: Record, job: Job) -> Outcome:
    """Turn one record into a pair on disk, or say why not. Never raises but for a lost source."""
    cv2.setNumThreads(1)
    work = _Work(record, job)
    try:
        return _convert(work)
    except RecordError as error:
        message = str(error.args[0])
        where = error.where or record.image
        return _failed(
            work, error.code, message + (f" ({error.hint})" if error.hint else ""), where
        )
    except SourceGone:
        raise
    except MemoryError:
        return _failed(work, "out_of_memory", "not enough memory: try --jobs 1", record.image)
    except Exception as error:  # a bug in one record must not end a run of hours
        outcome = _failed(work, "bug", f"a bug in bcseg: {type(error).__name__}", record.image)
        outcome.log = f"{record.record_id}\n{traceback.format_exc()}"
        return outcome


def died(record: Record, job: Job) -> Outcome:
    """Return the outcome of a record whose worker process was killed, twice."""
    message = "the worker process was killed, probably for want of memory: try --jobs 1"
    return _failed(_Work(record, job), "worker_died", message, record.image)


def _convert(work: _Work) -> Outcome:
    record, settings = work.record, work.job.settings
    adapter = adapters.get(work.job.dataset)
    for code, message in record.warnings:
        work.warn(code, message)
    if record.left_out:
        return _left_out_by_adapter(work)
    work.lesions = adapter.lesions(record, work.read, settings.read)
    _check_ids(work.lesions)
    chosen = [one for one in work.lesions if _is_chosen(one, settings)]
    if not chosen and not settings.with_empty:
        return _without_lesion(work)
    if not work.job.write:
        return _planned(work, bool(chosen))
    image = decode(work.read(record.image), record.image)
    work.release(record.image)
    drawn = _draw_all(work, image)
    if not any(one.chosen for one in drawn):
        verdict = _empty_verdict(work)
        if verdict:
            return _left_out(work, *verdict)
    return _write(work, image, drawn)


def _check_ids(lesions: tuple[Lesion, ...]) -> None:
    seen: set[str] = set()
    for lesion in lesions:
        if lesion.lesion_id in seen:
            raise RecordError(
                f"two different lesions have the id {lesion.lesion_id!r}",
                code="duplicate_lesion_id",
                where=lesion.source,
            )
        seen.add(lesion.lesion_id)


def _planned(work: _Work, chosen: bool) -> Outcome:
    """Return what a dry run can tell without decoding the image."""
    verdict = None if chosen else _empty_verdict(work)
    if verdict:
        return _left_out(work, *verdict)
    for lesion in work.lesions:
        if not _is_chosen(lesion, work.job.settings):
            work.fates[lesion.lesion_id] = ("left_out", "kind_not_chosen")
    return Outcome(work.record.record_id, "written", items=_items(work, "written", ""))


def _is_chosen(lesion: Lesion, settings: Settings) -> bool:
    shape = lesion.shape
    return lesion.kind in settings.read.kinds or (isinstance(shape, Unreadable) and shape.any_kind)


# ------------------------------------------------------------------------------- left out


_REASONS = {
    "no_image": "the image is not in the source",
    "image_type_not_chosen": "another --image-type",
    "no_such_annotator": "this annotator has no mask of the image",
}


def _left_out_by_adapter(work: _Work) -> Outcome:
    """Leave out a record that its adapter told to; its contours are counted if they can be read."""
    code = work.record.left_out
    adapter = adapters.get(work.job.dataset)
    try:
        work.lesions = adapter.lesions(work.record, work.read, work.job.settings.read)
    except RecordError as error:
        work.warn(error.code, str(error.args[0]), error.where)
    return _left_out(work, code, _REASONS.get(code, code.replace("_", " ")))


def _without_lesion(work: _Work) -> Outcome:
    kinds = sorted({lesion.kind for lesion in work.lesions})
    if kinds:
        return _left_out(work, "no_chosen_kind", f"only {', '.join(kinds)}")
    return _left_out(work, "no_lesion", "no lesion is marked")


def _empty_verdict(work: _Work) -> tuple[str, str] | None:
    """Return why an image without a chosen lesion stays out; None if it may have an empty mask."""
    record, settings = work.record, work.job.settings
    if not settings.with_empty:
        # reached only when the masks of the chosen kinds turned out to be blank
        return "no_lesion", "the masks of the chosen kinds are blank"
    if settings.with_empty == "force":
        return None
    for kind in ("*", *sorted(settings.read.kinds)):
        if kind in record.suspicious:
            return "unmarked_positive", record.suspicious[kind]
    if "*" in record.free_of or settings.read.kinds <= set(record.free_of):
        return None
    return "not_called_free", "the archive does not say that it is free of the chosen kinds"


def _left_out(work: _Work, code: str, message: str) -> Outcome:
    record = work.record
    source = record.image or (record.annotations or tuple(_sources(work.lesions)) or ("",))[0]
    return Outcome(
        record.record_id,
        "left_out",
        code,
        problems=work.problems,
        left_out=[work.row("left_out", code, message, source), *_others(work)],
        items=_items(work, "left_out", code),
        files=work.hashes,
        stamps=work.stamps,
    )


def _failed(work: _Work, code: str, message: str, source: str) -> Outcome:
    return Outcome(
        work.record.record_id,
        "failed",
        code,
        problems=[work.row("failed", code, message, source), *work.problems],
        left_out=_others(work),
        items=_items(work, "failed", code),
        files=work.hashes,
        stamps=work.stamps,
    )


def _others(work: _Work) -> list[Row]:
    """Return rows for files that belong to the record and are not used, one a reason."""
    by_code: defaultdict[str, list[str]] = defaultdict(list)
    for name, code in work.record.others:
        by_code[code].append(name)
    by_code["cropped_image"] += work.crops
    return [
        work.row("left_out", code, _counted(len(names), "file"), names[0])
        for code, names in sorted(by_code.items())
        if names
    ]


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" + ("s" if count != 1 else "")


def _sources(lesions: Iterable[Lesion]) -> list[str]:
    return [lesion.source for lesion in lesions]


def _items(work: _Work, fate: Fate, code: str) -> list[Item]:
    """Return what became of every item of the source that the record claims."""
    record = work.record
    items: list[Item] = [("image", record.image, fate, code)] if record.image else []
    items += [("row", name, fate, code) for name in record.rows]
    items += [("file", name, "left_out", why) for name, why in record.others]
    opened = set()
    for lesion in work.lesions:
        own_fate, own_code = work.fates.get(lesion.lesion_id, (fate, code))
        if isinstance(lesion.shape, RASTERS):
            for name in lesion.shape.files:
                crop = name in work.crops
                items.append(
                    ("file", name, "left_out", "cropped_image")
                    if crop
                    else ("mask", name, own_fate, own_code)
                )
        elif lesion.source not in record.rows:
            items.append(("contour", lesion.source, own_fate, own_code))
            opened.add(lesion.source.rsplit("#", 1)[0])
    for name in record.annotations:
        if name not in opened:  # unreadable, or without a region
            items.append(("contour", name, fate, code))
    return items


# ------------------------------------------------------------------------------- drawing


def _draw_all(work: _Work, image: Image) -> list[_Drawn]:
    """Draw all lesions on the raw grid; those that do not count get their fate in `work`.

    Raises RecordError for a chosen lesion that cannot be drawn, unless `--partial`.
    """
    settings = work.job.settings
    drawn = []
    for lesion in work.lesions:
        chosen = _is_chosen(lesion, settings)
        if not chosen:
            work.fates[lesion.lesion_id] = ("left_out", "kind_not_chosen")
        try:
            one = _draw(work, lesion, image)
        except RecordError as error:
            work.fates[lesion.lesion_id] = ("failed", error.code)
            if chosen and not settings.partial:
                raise
            message = f"{lesion.kind} {lesion.lesion_id} left away: {error.args[0]}"
            work.warn("lesion_left_away", message, error.where or lesion.source)
            continue
        if one.drawing.patch.area == 0 and isinstance(lesion.shape, RASTERS):
            work.fates[lesion.lesion_id] = ("left_out", "blank_mask")
            continue
        drawn.append(one)
    return drawn


def _draw(work: _Work, lesion: Lesion, image: Image) -> _Drawn:
    shape = lesion.shape
    chosen = _is_chosen(lesion, work.job.settings)
    if isinstance(shape, Unreadable):
        raise RecordError(shape.message, code=shape.code, where=lesion.source)
    if isinstance(shape, RASTERS):
        patch, name, note = read_raster(shape, image.size, work.read)
        for file in shape.files:
            work.release(file)
        if isinstance(shape, RasterAmong):
            work.crops += [file for file in shape.files if file != name]
        if note:
            work.warn("mask_resized", note, name)
        drawing = Drawing(patch, 0, "raster", 0, True, False, None)
        return _Drawn(lesion, chosen, drawing, name)
    drawing = raster.draw(
        shape,
        image.size,
        spacing_mm=_spacing(work.record, image),
        point_radius=work.job.settings.point_radius,
    )
    if drawing.patch.area == 0:
        raise RecordError(
            f"the {lesion.kind} lies wholly outside the image",
            code="lesion_outside",
            where=lesion.source,
        )
    if drawing.outside:
        message = f"{lesion.kind} {lesion.lesion_id}: {drawing.outside} pixels outside the image"
        work.warn("lesion_clipped", message, lesion.source)
    if drawing.area_deviation is not None and abs(drawing.area_deviation) > AREA_TOLERANCE:
        message = (
            f"{lesion.kind} {lesion.lesion_id}: area {drawing.area_deviation:+.1%} from stored"
        )
        work.warn("area_deviates", message, lesion.source)
    return _Drawn(lesion, chosen, drawing)


def _spacing(record: Record, image: Image) -> tuple[float, float] | None:
    if record.pixel_spacing_mm:
        return record.pixel_spacing_mm, record.pixel_spacing_mm
    return image.spacing_mm


# ------------------------------------------------------------------------------- writing


def _write(work: _Work, image: Image, drawn: list[_Drawn]) -> Outcome:
    record, settings = work.record, work.job.settings
    processed = preprocess(
        image, settings.pixels, film=record.film, spacing_mm=record.pixel_spacing_mm
    )
    placed = [(one, processed.transform.apply_patch(one.drawing.patch)) for one in drawn]
    in_mask = [(one, patch) for one, patch in placed if one.chosen]
    _warn_losses(work, processed, in_mask)
    size = (int(processed.pixels.shape[0]), int(processed.pixels.shape[1]))
    mask = raster.paint([patch for _, patch in in_mask], size)
    name = f"{record.record_id}.png"
    work.save(f"images/{name}", png.encode(processed.pixels))
    work.save(f"masks/{name}", png.encode(mask, mask=True))
    if settings.masks == "lesion":
        for one, patch in in_mask:
            file = f"lesions/{record.record_id}/{_lesion_file(one.lesion)}"
            work.save(file, png.encode(raster.paint([patch], size), mask=True))
    return Outcome(
        record.record_id,
        "written",
        row=_record_row(work, image, processed, mask, in_mask),
        lesions=[_lesion_row(work, one, patch, image) for one, patch in placed],
        archive=[_archive_line(work, one, patch, image, size) for one, patch in placed],
        problems=work.problems,
        left_out=_others(work) + _not_chosen(work),
        items=_items(work, "written", ""),
        files=work.hashes,
        stamps=work.stamps,
        written=work.written,
    )


def _lesion_file(lesion: Lesion) -> str:
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', lesion.lesion_id)}-{lesion.kind}.png"


def _warn_losses(work: _Work, processed: Processed, in_mask: list[tuple[_Drawn, Patch]]) -> None:
    """Say which lesion pixels the preprocessing took away."""
    for one, patch in in_mask:
        lost = processed.lost_pixels(one.drawing.patch)
        name = f"{one.lesion.kind} {one.lesion.lesion_id}"
        if lost:
            message = f"{name}: {lost} of {one.drawing.patch.area} pixels cropped or zeroed"
            work.warn("lesion_cropped", message, one.lesion.source)
        if patch.area == 0:
            work.warn("lesion_lost", f"{name}: nothing of it is in the mask", one.lesion.source)


def _not_chosen(work: _Work) -> list[Row]:
    """Return a row for each reason why contours of a written record are not in its mask."""
    by_code: defaultdict[str, list[Lesion]] = defaultdict(list)
    for lesion in work.lesions:
        fate, code = work.fates.get(lesion.lesion_id, ("written", ""))
        if fate == "left_out":
            by_code[code].append(lesion)
    rows = []
    for code, lesions in sorted(by_code.items()):
        kinds = sorted({lesion.kind for lesion in lesions})
        message = f"{_counted(len(lesions), 'lesion')}: {', '.join(kinds)}"
        rows.append(work.row("left_out", code, message, lesions[0].source))
    return rows


def _record_row(
    work: _Work,
    image: Image,
    processed: Processed,
    mask: np.ndarray[Any, Any],
    in_mask: list[tuple[_Drawn, Patch]],
) -> Row:
    record, info = work.record, work.info
    lesions = [one.lesion for one, _ in in_mask]
    pathologies = sorted({lesion.pathology for lesion in lesions if lesion.pathology})
    notes = [*record.notes, *processed.notes]
    if len(pathologies) > 1:
        notes.append(f"pathology mixed: {', '.join(pathologies)}")
    height, width = mask.shape
    spacing = _written_spacing(work, image, processed)
    mask_pixels = int(np.count_nonzero(mask))
    name = f"{record.record_id}.png"
    return {
        "dataset": info.name,
        "record_id": record.record_id,
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "patient_id": record.patient_id,
        "group": record.group,
        "laterality": record.laterality,
        "view": record.view,
        "split": record.split,
        "kinds": " ".join(sorted({lesion.kind for lesion in lesions})),
        "n_lesions": str(len(lesions)),
        "height": str(height),
        "width": str(width),
        "bit_depth": str(processed.pixels.dtype.itemsize * 8),
        "bits_stored": str(processed.bits_stored),
        "value_min": str(int(processed.pixels.min())),
        "value_max": str(int(processed.pixels.max())),
        "pixel_spacing_mm": _spacing_cell(spacing),
        "mask_pixels": str(mask_pixels),
        "mask_area_mm2": number(mask_pixels * spacing[0] * spacing[1]) if spacing else "",
        "age": record.age,
        "birads": highest_birads(lesion.birads for lesion in lesions) or record.birads,
        "density": record.density,
        "pathology": worst_pathology(pathologies) or record.pathology,
        "annotator": record.annotator,
        "source_image": record.image,
        "sop_instance_uid": image.sop_instance_uid,
        "source_sha256": work.hashes[record.image],
        "image_sha256": png.pixels_sha256(processed.pixels),
        "mask_sha256": png.pixels_sha256(mask),
        "annotation_sha256": raster.union_sha256(
            [one.drawing.patch for one, _ in in_mask], image.size
        ),
        "transform": processed.transform.to_json(),
        "attributes": json_cell(record.attributes),
        "notes": "; ".join(notes),
    }


def _written_spacing(work: _Work, image: Image, processed: Processed) -> tuple[float, float] | None:
    """Return the distance of pixel centres of the written image, (row, column) in mm."""
    options = work.job.settings.pixels
    assumed = options.assume_spacing_mm
    raw = _spacing(work.record, image) or ((assumed, assumed) if assumed else None)
    if raw is None:
        return None
    row, column = raw
    for step in processed.transform.steps:
        if isinstance(step, Resize):
            row *= step.from_height / step.height
            column *= step.from_width / step.width
    return row, column


def _spacing_cell(spacing: tuple[float, float] | None) -> str:
    if spacing is None:
        return ""
    row, column = (number(value) for value in spacing)
    return row if row == column else f"{row}x{column}"


def _lesion_row(work: _Work, one: _Drawn, patch: Patch, image: Image) -> Row:
    lesion, drawing = one.lesion, one.drawing
    spacing = _spacing(work.record, image)
    attributes = dict(lesion.attributes)
    if drawing.area_deviation is not None:
        attributes["area_deviation"] = number(drawing.area_deviation)
    height, width = patch.pixels.shape
    box = [patch.left, patch.top, width, height] if patch.area else ["", "", "", ""]
    source = one.mask_file or lesion.source
    return {
        "dataset": work.info.name,
        "record_id": work.record.record_id,
        "lesion_id": lesion.lesion_id,
        "in_mask": str(int(one.chosen)),
        "kind": lesion.kind,
        "label": lesion.label,
        "annotator": lesion.annotator,
        "geometry": drawing.geometry,
        "area_px": str(drawing.patch.area),
        "area_mm2": number(drawing.patch.area * spacing[0] * spacing[1]) if spacing else "",
        **dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), map(str, box), strict=True)),
        "n_points": str(drawing.n_points) if drawing.n_points else "",
        "closed": str(int(drawing.closed)),
        "self_intersecting": str(int(drawing.self_intersecting)),
        "clipped": str(int(drawing.outside > 0)),
        "pathology": lesion.pathology,
        "birads": lesion.birads,
        "source": source,
        "source_sha256": work.hashes.get(source.rsplit("#", 1)[0], ""),
        "attributes": json_cell(attributes),
    }


def _archive_line(
    work: _Work, one: _Drawn, patch: Patch, image: Image, size: tuple[int, int]
) -> dict[str, Any]:
    """Return a line of lesions.jsonl.gz: the source's own geometry, and RLE on the written grid.

    RLE is COCO's uncompressed one: counts by column, the first of zeros.
    """
    lesion = one.lesion
    line: dict[str, Any] = {
        "dataset": work.info.name,
        "record_id": work.record.record_id,
        "lesion_id": lesion.lesion_id,
        "kind": lesion.kind,
        "in_mask": one.chosen,
        "geometry": one.drawing.geometry,
        "raw_size": list(image.size),
        "rle": {"size": list(size), "counts": raster.rle_counts(patch, size)},
    }
    if isinstance(lesion.shape, RASTERS):
        counts = raster.rle_counts(one.drawing.patch, image.size)
        return line | {"raster": {"size": list(image.size), "counts": counts}}
    return line | {"shape": asdict(lesion.shape)}


@functools.cache
def worker_job() -> dict[str, Job]:
    """Return the place where a worker process keeps its job."""
    return {}


def start_worker(job: Job) -> None:
    """Prepare a worker process."""
    worker_job()["job"] = job


def work_on(record: Record) -> Outcome:
    """Convert a record in a worker process that `start_worker` prepared."""
    return convert(record, worker_job()["job"])
