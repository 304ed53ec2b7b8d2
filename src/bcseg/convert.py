"""One record to one pair: read, draw, preprocess, write. Runs in a worker, returns values."""

from __future__ import annotations

import functools
import hashlib
import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import replace

import cv2
import numpy as np

from bcseg import adapters, raster
from bcseg.adapters.base import ending
from bcseg.cells import is_plain_id
from bcseg.errors import BcsegError, RecordError, SourceGone, UsageError
from bcseg.formats.images import decode
from bcseg.masks import read_raster
from bcseg.memory import keep_freed_memory
from bcseg.outcome import Job, Outcome
from bcseg.preprocessing import Processed, preprocess
from bcseg.raster import Drawing, Patch
from bcseg.record import Image, Lesion, RasterAmong, Record, Unreadable
from bcseg.rows import archive_line, lesion_row, record_row
from bcseg.work import (
    RASTERS,
    Drawn,
    Work,
    counted,
    failed,
    is_chosen,
    items_of,
    left_out,
    not_chosen_rows,
    raw_spacing,
    unused_rows,
)

_LONGEST_ID = 100  # characters of a lesion id in a file name
AREA_TOLERANCE = 0.05  # a contour whose area differs more from the stored one is worth a warning


def convert(record: Record, job: Job) -> Outcome:
    """Turn one record into a pair on disk, or say why not. Never raises but for a lost source."""
    cv2.setNumThreads(1)
    work = Work(record, job)
    try:
        return _convert(work)
    except RecordError as error:
        message = str(error.args[0])
        where = error.where or record.image
        return failed(work, error.code, message + (f" ({error.hint})" if error.hint else ""), where)
    except SourceGone:
        raise
    except Exception as error:  # a bug in one record must not end a run of hours
        if _lacks_memory(error):
            return failed(work, "out_of_memory", "not enough memory: try --jobs 1", record.image)
        outcome = failed(work, "bug", f"a bug in bcseg: {type(error).__name__}", record.image)
        outcome.log = f"{record.record_id}\n{traceback.format_exc()}"
        return outcome


def _lacks_memory(error: Exception) -> bool:
    """Tell an error of NumPy or OpenCV (Error::StsNoMem) that more memory would have avoided."""
    return isinstance(error, MemoryError) or getattr(error, "code", 0) == cv2.Error.StsNoMem


def died(record: Record, job: Job) -> Outcome:
    """Return the outcome of a record whose worker process was killed, twice."""
    message = "the worker process was killed, probably for want of memory: try --jobs 1"
    return failed(Work(record, job), "worker_died", message, record.image)


def _convert(work: Work) -> Outcome:
    record, settings = work.record, work.job.settings
    adapter = adapters.get(work.job.dataset)
    for code, message in record.warnings:
        work.warn(code, message)
    if record.left_out or not record.image:
        return _left_out_by_adapter(work)
    work.lesions = _checked(adapter.lesions(record, work.read, settings.read))
    chosen = [one for one in work.lesions if is_chosen(one, settings)]
    if not chosen and not settings.with_empty:
        return _without_lesion(work)
    if not work.job.write:
        return _planned(work, bool(chosen))
    image = _of_expected_size(work, _decoded(work, record.image))
    _compare_twin(work, image)
    _compare_copies(work, image)
    work.release(record.image)
    drawn = _draw_all(work, image)
    if not any(one.chosen for one in drawn):
        verdict = _empty_verdict(work)
        if verdict:
            return left_out(work, *verdict)
    return _write(work, image, drawn)


def _decoded(work: Work, name: str) -> Image:
    return decode(work.read(name), name, max_pixels=work.limits.pixels)


def _checked(lesions: Iterable[Lesion]) -> tuple[Lesion, ...]:
    """Return the lesions that an adapter gave.

    Raises RecordError for two of one id, and for an id that no table can hold as it stands.
    """
    seen: set[str] = set()
    lesions = tuple(lesions)
    for lesion in lesions:
        if not is_plain_id(lesion.lesion_id):
            raise RecordError(
                f"the lesion id {lesion.lesion_id[:40]!r} cannot stand in a table",
                code="unsafe_name",
                where=lesion.source,
            )
        if lesion.lesion_id in seen:
            raise RecordError(
                f"two different lesions have the id {lesion.lesion_id!r}",
                code="duplicate_lesion_id",
                where=lesion.source,
            )
        seen.add(lesion.lesion_id)
    return lesions


def _of_expected_size(work: Work, image: Image) -> Image:
    """Return an image of the size that the archive's tables give, if they give one.

    The pixels of an image whose header has rows and columns exchanged (DDSM) are put in their
    rows. Raises RecordError for any other size: coordinates would not fit a resized copy.
    """
    expected = work.record.expected_size
    if expected is None or image.size == expected:
        return image
    here, there = (f"{rows} x {columns}" for rows, columns in (image.size, expected))
    if image.size != expected[::-1]:
        raise RecordError(
            f"the image has {here} pixels, the archive's table says {there}: its coordinates"
            " would not fit",
            code="image_size",
            where=work.record.image,
            hint="take the original image, not a resized or cropped copy",
        )
    message = f"rows and columns are exchanged in the image's header: read as {there}"
    work.warn("sides_exchanged", message, work.record.image)
    return replace(image, pixels=image.pixels.reshape(expected))


def _compare_copies(work: Work, image: Image) -> None:
    """Raise RecordError if a copy of the image, in the same format, shows something else."""
    name = work.record.image
    for copy in work.copies:
        if ending(copy) != ending(name):
            continue  # an export: nobody expects the same values
        if work.read(copy) != work.read(name):
            pixels = _decoded(work, copy).pixels
            if not np.array_equal(pixels, image.pixels):
                raise RecordError(
                    f"two different images of one id: {name} and {copy}",
                    code="conflicting_images",
                    where=copy,
                    hint="take the wrong one away",
                )
        work.release(copy)


def _compare_twin(work: Work, image: Image) -> None:
    """Note whether the other copy of the same film (attributes `twin`, `twin_image`) is equal.

    Raises RecordError if it is not, and the record holds the lesions of both (`merged`).
    """
    name = work.record.attributes.get("twin_image", "")
    if not name:
        return
    try:
        verdict = _difference(image, _decoded(work, name))
    except RecordError as error:
        verdict = f"pixels not compared: {error.args[0]}"
        _refuse_merged(work, verdict, code=error.code)
    work.release(name)
    if verdict:
        _refuse_merged(work, verdict, code="twin_differs")
    said = f"the same film as {work.record.attributes['twin']}"
    notes = (note for note in work.record.notes if note != said)
    work.record = replace(work.record, notes=(f"{said} ({verdict or 'pixels equal'})", *notes))


def _refuse_merged(work: Work, verdict: str, *, code: str) -> None:
    """Raise RecordError if the record holds the lesions of both copies of its film."""
    twin = work.record.attributes.get("merged", "")
    if twin:
        raise RecordError(
            f"not surely the same film as {twin}: {verdict}",
            code=code,
            where=work.record.attributes["twin_image"],
            hint="run without --merge-twins",
        )


def _difference(image: Image, other: Image) -> str:
    """Return in words how the stored pixels of two images differ, "" if they are equal."""
    if image.size != other.size:
        here, there = (f"{rows} x {columns}" for rows, columns in (image.size, other.size))
        return f"pixels differ: {here} here, {there} there"
    count = int(np.count_nonzero(image.pixels != other.pixels))
    return f"pixels differ: {count} of {image.pixels.size} values" if count else ""


def _unreadable(lesion: Lesion, shape: Unreadable) -> RecordError:
    return RecordError(shape.message, code=shape.code, where=lesion.source)


def _planned(work: Work, chosen: bool) -> Outcome:
    """Return what a dry run can tell without decoding the image.

    Raises RecordError for a chosen lesion that is known to be unreadable, unless `--partial`.
    """
    verdict = None if chosen else _empty_verdict(work)
    if verdict:
        return left_out(work, *verdict)
    for lesion in work.lesions:
        if not is_chosen(lesion, work.job.settings):
            work.fates[lesion.lesion_id] = ("left_out", "kind_not_chosen")
        elif isinstance(lesion.shape, Unreadable) and not work.job.settings.partial:
            raise _unreadable(lesion, lesion.shape)
    return Outcome(work.record.record_id, "written", items=items_of(work, "written", ""))


# ------------------------------------------------------------------------------- left out


_REASONS = {
    "no_image": "the image is not in the source",
    "image_type_not_chosen": "another --image-type",
    "no_such_annotator": "this annotator has no mask of the image",
}


def _left_out_by_adapter(work: Work) -> Outcome:
    """Leave out a record that its adapter told to; its contours are counted if they can be read."""
    code = work.record.left_out or "no_image"
    adapter = adapters.get(work.job.dataset)
    try:
        work.lesions = _checked(adapter.lesions(work.record, work.read, work.job.settings.read))
    except RecordError as error:
        work.warn(error.code, str(error.args[0]), error.where)
    return left_out(work, code, _REASONS.get(code, code.replace("_", " ")))


def _without_lesion(work: Work) -> Outcome:
    kinds = sorted({lesion.kind for lesion in work.lesions})
    if kinds:
        return left_out(work, "no_chosen_kind", f"only {', '.join(kinds)}")
    if "*" in work.record.suspicious:
        reason = work.record.suspicious["*"]
        work.warn("unmarked_positive", f"no lesion is marked: {reason}")
    return left_out(work, "no_lesion", "no lesion is marked")


def _empty_verdict(work: Work) -> tuple[str, str] | None:
    """Return why an image without a chosen lesion stays out; None if it may have an empty mask."""
    record, settings = work.record, work.job.settings
    if not settings.with_empty:
        # reached only when the masks of the chosen kinds turned out to be blank
        return "no_lesion", "the masks of the chosen kinds are blank"
    if settings.with_empty == "force":
        return None
    unclear = [lesion for lesion in work.lesions if lesion.kind == "finding"]
    if unclear:  # of a class that the archive does not give: it may be a chosen one
        return "unmarked_positive", f"{counted(len(unclear), 'finding')} without a class"
    for kind in ("*", *sorted(settings.read.kinds)):
        if kind in record.suspicious:
            return "unmarked_positive", record.suspicious[kind]
    if "*" in record.free_of or settings.read.kinds <= set(record.free_of):
        return None
    return "not_called_free", "the archive does not say that it is free of the chosen kinds"


# ------------------------------------------------------------------------------- drawing


def _draw_all(work: Work, image: Image) -> list[Drawn]:
    """Draw all lesions on the raw grid; those that do not count get their fate in `work`.

    Raises RecordError for a chosen lesion that cannot be drawn, unless `--partial`.
    """
    drawn = []
    lost: RecordError | None = None
    raster.refuse_too_much((one.shape for one in work.lesions), image.size, work.limits)
    for lesion in work.lesions:
        chosen = is_chosen(lesion, work.job.settings)
        if not chosen:
            work.fates[lesion.lesion_id] = ("left_out", "kind_not_chosen")
        try:
            one = _draw(work, lesion, image)
        except RecordError as error:
            if chosen:
                if not work.job.settings.partial:
                    raise
                work.fates[lesion.lesion_id] = ("left_out", "lesion_left_away")
                lost = error
            message = f"{lesion.kind} {lesion.lesion_id} left away: {error.args[0]}"
            work.warn("lesion_left_away", message, error.where or lesion.source)
            continue
        if one.drawing.patch.area == 0 and isinstance(lesion.shape, RASTERS):
            work.fates[lesion.lesion_id] = ("left_out", "blank_mask")
            continue
        drawn.append(one)
    if lost and not any(one.chosen for one in drawn):
        raise lost  # not even --partial turns a record's only lesion into background
    return drawn


def _draw(work: Work, lesion: Lesion, image: Image) -> Drawn:
    shape = lesion.shape
    chosen = is_chosen(lesion, work.job.settings)
    if isinstance(shape, Unreadable):
        raise _unreadable(lesion, shape)
    if isinstance(shape, RASTERS):
        patch, name, note = read_raster(shape, image.size, work.read, work.limits)
        for file in shape.files:
            work.release(file)
        if isinstance(shape, RasterAmong):
            work.crops += [file for file in shape.files if file != name]
        if note:
            work.warn("mask_resized", note, name)
        drawing = Drawing(patch, 0, "raster", 0, True, False, None)
        return Drawn(lesion, chosen, drawing, name)
    try:
        drawing = raster.draw(
            shape,
            image.size,
            spacing_mm=raw_spacing(work.record, image),
            point_radius=work.job.settings.point_radius,
        )
    except RecordError as error:
        error.where = error.where or lesion.source
        raise
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
    return Drawn(lesion, chosen, drawing)


# ------------------------------------------------------------------------------- writing


def _write(work: Work, image: Image, drawn: list[Drawn]) -> Outcome:
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
    work.save(f"images/{name}", processed.pixels)
    work.save(f"masks/{name}", mask, mask=True)
    if settings.masks == "lesion":
        for one, patch in in_mask:
            file = lesion_file(record.record_id, one.lesion.lesion_id, one.lesion.kind)
            work.save(file, raster.paint([patch], size), mask=True)
    return Outcome(
        record.record_id,
        "written",
        row=record_row(work, image, processed, mask, in_mask),
        lesions=[lesion_row(work, one, patch, image) for one, patch in placed],
        archive=[archive_line(work, one, patch, image, size) for one, patch in placed],
        problems=work.problems,
        left_out=unused_rows(work) + not_chosen_rows(work),
        items=items_of(work, "written", ""),
        files=work.hashes,
        stamps=work.stamps,
        written=work.written,
    )


def lesion_file(record_id: str, lesion_id: str, kind: str) -> str:
    """Return the name in the pairs folder of the mask of one lesion."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", lesion_id)[:_LONGEST_ID]
    if name != lesion_id:  # two ids may have become one
        name += "-" + hashlib.sha256(lesion_id.encode()).hexdigest()[:8]
    return f"lesions/{record_id}/{name}-{kind}.png"


def _warn_losses(work: Work, processed: Processed, in_mask: list[tuple[Drawn, Patch]]) -> None:
    """Say which lesion pixels the preprocessing took away."""
    for one, patch in in_mask:
        lost = processed.lost_pixels(one.drawing.patch)
        name = f"{one.lesion.kind} {one.lesion.lesion_id}"
        if lost:
            message = f"{name}: {lost} of {one.drawing.patch.area} pixels cropped or zeroed"
            work.warn("lesion_cropped", message, one.lesion.source)
        if patch.area == 0:
            work.warn("lesion_lost", f"{name}: nothing of it is in the mask", one.lesion.source)


def check_source(job: Job, stamps: Mapping[str, str]) -> None:
    """Raise UsageError if this machine does not see the source that the stamps are of."""
    adapters.get(job.dataset)  # the file of an adapter may be missing here
    for name, stamp in stamps.items():
        try:
            found = job.source.stamp(name)
        except BcsegError:
            found = ""
        if found != stamp:
            raise UsageError("the source is not shared", where=str(job.source.location))


@functools.cache
def worker_job() -> dict[str, Job]:
    """Return the place where a worker process keeps its job."""
    return {}


def start_worker(job: Job) -> None:
    """Prepare a worker process."""
    keep_freed_memory()
    worker_job()["job"] = job


def work_on(record: Record) -> Outcome:
    """Convert a record in a worker process that `start_worker` prepared."""
    return convert(record, worker_job()["job"])
