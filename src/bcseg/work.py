"""A record at work: what is known of it so far, and how it ends when it is not written."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bcseg import adapters, png
from bcseg.errors import RecordError
from bcseg.limits import Limits
from bcseg.outcome import Fate, Item, Job, Outcome
from bcseg.pairs import Row
from bcseg.raster import Drawing
from bcseg.record import Image, Lesion, Raster, RasterAmong, Record, Unreadable
from bcseg.settings import Settings
from bcseg.source import read
from bcseg.store import write_pair

RASTERS = (Raster, RasterAmong)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A lesion on the raw grid."""

    lesion: Lesion
    chosen: bool
    drawing: Drawing
    mask_file: str = ""


class Work:
    """What is known so far about the record at hand; survives the error that ends it."""

    def __init__(self, record: Record, job: Job) -> None:
        self.record = record
        self.job = job
        self.info = adapters.get(job.dataset).INFO
        self.lesions: tuple[Lesion, ...] = record.lesions
        self.copies = job.copies.get(record.record_id, ())
        self.fates: dict[str, tuple[Fate, str]] = {}  # of single lesions, by lesion id
        self.crops: list[str] = []
        self.problems: list[Row] = []
        self.hashes: dict[str, str] = {}
        self.stamps: dict[str, str] = {}
        self.written: dict[str, int] = {}
        self._content: dict[str, bytes] = {}

    @property
    def limits(self) -> Limits:
        """How much of one image is read."""
        return self.job.settings.read.limits

    def read(self, name: str) -> bytes:
        """Return the content of a source file, and remember its hash."""
        if name not in self._content:
            source = self.job.source
            self.stamps[name] = source.stamp(name)
            data = read(source, name)
            if source.stamp(name) != self.stamps[name]:
                raise RecordError(
                    "the file changed while it was read",
                    code="changed_while_read",
                    where=name,
                    hint="run again when nothing writes there",
                )
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

    def save(self, name: str, pixels: NDArray[Any], *, mask: bool = False) -> None:
        """Write a file of the pair, by its name in the pairs folder."""
        if not self.job.keep:
            return
        data = png.encode(pixels, mask=mask)
        write_pair(self.job.folder / name, data)
        self.written[name] = len(data)


def is_chosen(lesion: Lesion, settings: Settings) -> bool:
    """Tell whether a lesion belongs in the mask; a damaged one of unknown kind may."""
    shape = lesion.shape
    return lesion.kind in settings.read.kinds or (isinstance(shape, Unreadable) and shape.any_kind)


def raw_spacing(record: Record, image: Image) -> tuple[float, float] | None:
    """Return (row, column) distance of pixel centres in mm: the record's, else the file's."""
    if record.pixel_spacing_mm:
        return record.pixel_spacing_mm, record.pixel_spacing_mm
    return image.spacing_mm


def left_out(work: Work, code: str, message: str) -> Outcome:
    """Return the outcome of a record that was left out on purpose."""
    record = work.record
    source = record.image or (record.annotations or tuple(_sources(work.lesions)) or ("",))[0]
    return Outcome(
        record.record_id,
        "left_out",
        code,
        problems=work.problems,
        left_out=[work.row("left_out", code, message, source), *unused_rows(work)],
        items=items_of(work, "left_out", code),
        files=work.hashes,
        stamps=work.stamps,
    )


def failed(work: Work, code: str, message: str, source: str) -> Outcome:
    """Return the outcome of a record that could not be used."""
    return Outcome(
        work.record.record_id,
        "failed",
        code,
        problems=[work.row("failed", code, message, source), *work.problems],
        left_out=unused_rows(work),
        items=items_of(work, "failed", code) + _rivals(work, code),
        written=work.written,
        files=work.hashes,
        stamps=work.stamps,
    )


def _rivals(work: Work, code: str) -> list[Item]:
    """Return the other images that failed with a record: its merged twin, or those that differ."""
    names = list(work.copies) if code == "conflicting_images" else []
    if "merged" in work.record.attributes:
        names.append(work.record.attributes["twin_image"])
    return [("image", name, "failed", code) for name in names]


def unused_rows(work: Work) -> list[Row]:
    """Return rows for files that belong to the record and are not used, one a reason."""
    by_code: defaultdict[str, list[str]] = defaultdict(list)
    for name, code in work.record.others:
        by_code[code].append(name)
    by_code["cropped_image"] += work.crops
    return [
        work.row("left_out", code, counted(len(names), "file"), names[0])
        for code, names in sorted(by_code.items())
        if names
    ]


def counted(count: int, word: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{count} {word}" + ("s" if count != 1 else "")


def _sources(lesions: Iterable[Lesion]) -> list[str]:
    return [lesion.source for lesion in lesions]


def items_of(work: Work, fate: Fate, code: str) -> list[Item]:
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


def not_chosen_rows(work: Work) -> list[Row]:
    """Return a row for each reason why contours of a written record are not in its mask."""
    by_code: defaultdict[str, list[Lesion]] = defaultdict(list)
    for lesion in work.lesions:
        fate, code = work.fates.get(lesion.lesion_id, ("written", ""))
        if fate == "left_out":
            by_code[code].append(lesion)
    rows = []
    for code, lesions in sorted(by_code.items()):
        kinds = sorted({lesion.kind for lesion in lesions})
        message = f"{counted(len(lesions), 'lesion')}: {', '.join(kinds)}"
        rows.append(work.row("left_out", code, message, lesions[0].source))
    return rows
