"""Which archive is this, what is missing or damaged, what would `refactor` write.

Reads names, tables, contours and the heads of images and masks. Decodes no pixel, writes nothing.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from bcseg import adapters, plan, published
from bcseg.adapters.base import Adapter, Info, ending, packed_hint
from bcseg.closing import Tables
from bcseg.conversion import survey
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, ArchiveError, RecordError
from bcseg.formats.dicom import read_header
from bcseg.formats.identity import identifiable_tags
from bcseg.formats.images import image_size
from bcseg.limits import DEFAULT, Limits
from bcseg.masks import SCALE_TOLERANCE
from bcseg.outcome import Job
from bcseg.pairs import SCHEMA_VERSION
from bcseg.record import Raster, RasterAmong, Record, Size, Unreadable
from bcseg.run import Progress, Run, State
from bcseg.settings import Settings
from bcseg.source import Source, ZipSource, open_source
from bcseg.source.base import READ_ERRORS
from bcseg.source.zipped import open_zip
from bcseg.text import aligned, bytes_in_words, counted, counts, listed, minutes_in_words
from bcseg.work import is_chosen

_FIRST = 3  # names shown of a list
_THREADS = 16  # heads read at once: what is slow is the disk or the network
_STRAYS = 3  # so many files of another dataset may have strayed in
_RIVAL = 0.2  # but not with so large a share of what the best one claims
_ASKED = 20  # DICOM headers read where no file name tells the dataset
_HEADERS = 1000  # DICOM headers looked at for names of people, spread over the archive
_DICOM = (".dcm", ".dicom")
_OTHER_IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ljpeg")
_PICTURES = _DICOM + _OTHER_IMAGES
_UNKNOWN = ("unknown_file", "unknown_class")  # codes of files that nobody knows what to do with
# what file managers and operating systems leave behind
_TRACES = re.compile(
    r"(.*/)?(__MACOSX/.*|\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)", re.IGNORECASE
)
# published numbers of contours, as the lines count them, by the adapter's sort of contour
_CONTOURS = frozenset(
    {"contour_files", "regions", "abnormalities", "boxes"}
    | {"D01_outlines", "D02_outlines", "F01_outlines"}
)

Verdict = Literal["complete", "partial"]


# ------------------------------------------------------------------------- what is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One sort of file: how many are expected (None: nobody knows), found, and what is wrong.

    `parts`: published parts of the archive (training, test, ...) with expected and found.
    """

    what: str
    expected: int | None
    found: int
    missing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def lacking(self) -> int:
        """How many are missing, by name or by count."""
        by_count = (self.expected or 0) - self.found
        return max(len(self.missing), by_count, 0)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of the line and of its parts."""
        own = (len(self.unreadable), len(self.unknown))
        expected = "?" if self.expected is None else f"{self.expected:,}"
        rows = [(self.what, expected, *(f"{n:,}" for n in (self.found, self.lacking, *own)))]
        return rows + [
            (f"  {part}", f"{wanted:,}", f"{found:,}", f"{max(0, wanted - found):,}", "", "")
            for part, (wanted, found) in self.parts.items()
        ]

    def document(self) -> dict[str, Any]:
        """Return the line for --json."""
        return {
            "what": self.what,
            "expected": self.expected,
            "found": self.found,
            "lacking": self.lacking,
            "missing": list(self.missing),
            "unreadable": list(self.unreadable),
            "unknown": list(self.unknown),
            "parts": {
                part: {"expected": wanted, "found": found}
                for part, (wanted, found) in self.parts.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What `refactor` would write with its default options, as far as heads can tell."""

    pairs: int
    size: int  # bytes
    minutes: float
    jobs: int
    left_out: Mapping[str, int]  # images, by code
    failed: Mapping[str, int]  # images, by code

    def document(self) -> dict[str, Any]:
        """Return it for --json."""
        return {
            "pairs": self.pairs,
            "bytes": self.size,
            "minutes": round(self.minutes, 1),
            "jobs": self.jobs,
            "left_out": dict(self.left_out),
            "failed": dict(self.failed),
        }

    def text(self, dataset: str) -> str:
        """Return it as lines."""
        lines = [
            f"bcseg refactor {dataset} would write {counted(self.pairs, 'pair')}, "
            f"about {bytes_in_words(self.size)}, in {minutes_in_words(self.minutes)} "
            f"with {counted(self.jobs, 'job')}"
        ]
        if self.left_out:
            lines.append(f"  images left out: {counts(self.left_out)}")
        if self.failed:
            lines.append(f"  images that would fail: {counts(self.failed)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a source is."""

    info: Info
    layout: str
    lines: tuple[Line, ...]
    writing: Writing
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Complete, or partial."""
        return "partial" if any(line.lacking for line in self.lines) else "complete"

    @property
    def exit_code(self) -> int:
        """1 with unreadable or unknown files."""
        bad = any(line.unreadable or line.unknown for line in self.lines)
        return EXIT_FINDINGS if bad else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the inspection for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.info.name,
            "title": self.info.title,
            "layout": self.layout,
            "verdict": self.verdict,
            "lines": [line.document() for line in self.lines],
            "would_write": self.writing.document(),
            "notes": list(self.notes),
            "exit_code": self.exit_code,
        }

    def text(self) -> str:
        """Return the inspection for a terminal."""
        head = ("", "expected", "found", "missing", "unreadable", "unknown")
        names = [
            f"  {word} {line.what}: {listed(getattr(line, word), _FIRST)}"
            for line in self.lines
            for word in ("missing", "unreadable", "unknown")
            if getattr(line, word)
        ]
        return "\n".join(
            [
                f"{self.info.title}: {self._verdict_in_words()}",
                f"layout: {self.layout}",
                aligned([head, *(row for line in self.lines for row in line.rows())]),
                *names,
                self.writing.text(self.info.name),
                *(f"note: {note}" for note in self.notes),
            ]
        )

    def _verdict_in_words(self) -> str:
        lacking = [line for line in self.lines if line.lacking]
        if not lacking:
            return "complete"
        there = [
            f"{line.found:,} of {line.expected:,} {line.what}"
            if line.expected
            else f"{line.lacking:,} {line.what} missing"
            for line in lacking
        ]
        absent = [name for line in self.lines for name, (_, n) in line.parts.items() if not n]
        without = f", nothing of {', '.join(absent)}" if absent else ""
        return f"partial: {', '.join(there)}{without}"

    def names(self) -> str:
        """Return all names that are missing, unreadable or unknown, one a line."""
        return "".join(
            f"{word}\t{line.what}\t{name}\n"
            for line in self.lines
            for word in ("missing", "unreadable", "unknown")
            for name in getattr(line, word)
        )


# ------------------------------------------------------------------------- looking


def inspect(
    location: Path,
    *,
    jobs: int = 0,
    limits: Limits = DEFAULT,
    progress: Progress = lambda done, total: None,
) -> Inspection:
    """Return what the source at `location` is; `progress` counts heads of images and masks.

    Raises ArchiveError if it is no archive that bcseg knows, or could be more than one.
    """
    source = open_source(location, limits=limits)
    adapter = recognise(source)
    settings = Settings().for_dataset(adapter.INFO).within(limits)
    index = plan.read_index(adapter, source, settings)
    state = State.on(adapter.INFO, source, index, settings, Run(jobs=jobs))
    pictures = _pictures(state)
    heads = _heads(source, pictures, progress)
    job = Job(adapter.INFO.name, source, Path(), settings, state.copies, write=False)
    tables = survey(state, job)
    lines, notes = _lines(state, tables, pictures, heads)
    return Inspection(
        info=adapter.INFO,
        layout=index.layout or "none that is known by name",
        lines=lines,
        writing=_writing(state, tables, heads),
        notes=(
            *index.notes,
            *(warned.message for warned in index.warnings),
            *notes,
            *_privacy(index.records, heads),
        ),
    )


def recognise(source: Source) -> Adapter:
    """Return the adapter whose archive the source is.

    Raises ArchiveError for none, and for two that both could claim it.
    """
    names = source.names()
    claims = adapters.resembles(names) or adapters.resembles(_names_by_header(source))
    if not claims:
        known = ", ".join(adapters.ADAPTERS)
        raise ArchiveError(
            "not an archive that bcseg knows: none of its files is named like one of theirs"
            if names
            else "not an archive that bcseg knows: there is no file in it",
            where=str(source.location),
            hint=packed_hint(names)
            or f"known are {known}: `bcseg datasets NAME` shows how each looks",
        )
    (best, most), *others = claims.items()
    rivals = [name for name, count in others if count > _STRAYS or count >= _RIVAL * most]
    if rivals:
        words = " or ".join(
            f"{name} ({counted(claims[name], 'file')}{_place(names, name)})"
            for name in (best, *rivals)
        )
        raise ArchiveError(
            f"could be {words}: name the folder of one archive",
            where=str(source.location),
            hint="or say which it is, and leave the other out: bcseg refactor DATASET SOURCE",
        )
    return adapters.get(best)


def _names_by_header(source: Source) -> list[str]:
    """Return names for some DICOM files as their headers would have them: by series UID."""
    dicoms = [name for name in source.names() if name.lower().endswith(_DICOM)]
    found = []
    for name in dicoms[:: -(-len(dicoms) // _ASKED) or 1]:
        try:
            with source.open(name) as file:
                found.append(f"{read_header(file, name).series_instance_uid}/{name}")
        except RecordError:
            continue
    return found


def _place(names: Sequence[str], dataset: str) -> str:
    """Return the folder that holds all files that a dataset claims: " in a/b", "" for the top."""
    claims = adapters.get(dataset).claims
    most, place = claims(names), ""
    while True:
        below: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            below[name[len(place) :].partition("/")[0]].append(name)
        folder = next((f for f, some in below.items() if claims(some) == most), "")
        if not folder or below[folder] == [place + folder]:
            return f" in {place.rstrip('/')}" if place else ""
        place, names = f"{place}{folder}/", below[folder]


# ------------------------------------------------------------------------- heads


@dataclass(frozen=True, slots=True)
class _Head:
    """What the head of an image file says: (rows, columns), or why it cannot be read.

    `tags`: what may identify a person; None where nobody looked.
    """

    size: Size | None = None
    reason: str = ""
    tags: frozenset[str] | None = None


def _pictures(state: State) -> dict[str, str]:
    """Return the images, copies of them and masks to read, each with the line it counts in."""
    found: dict[str, str] = {}
    for record in state.records.values():
        found |= {name: "contours" for name, _ in record.others if ending(name) in _PICTURES}
        for lesion in record.lesions:
            if isinstance(lesion.shape, (Raster, RasterAmong)):
                found |= dict.fromkeys(lesion.shape.files, "contours")
    for names in state.copies.values():
        found |= dict.fromkeys(names, "images")
    return found | {record.image: "images" for record in state.records.values() if record.image}


def _heads(source: Source, names: Iterable[str], progress: Progress) -> dict[str, _Head]:
    """Return the heads of files, read side by side."""
    names = sorted(names)
    dicoms = [name for name in names if ending(name) not in _OTHER_IMAGES]
    looked_at = set(dicoms[:: -(-len(dicoms) // _HEADERS) or 1])
    opened = _opener(source)
    heads = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        read = pool.map(lambda name: _head(opened, name, name in looked_at), names)
        for done, (name, head) in enumerate(zip(names, read, strict=True), start=1):
            heads[name] = head
            progress(done, len(names))
    return heads


def _opener(source: Source) -> Callable[[str], BinaryIO]:
    """Return how files are opened for their heads: of a zip no more is unpacked than is read."""
    if not isinstance(source, ZipSource):
        return source.open
    archive = open_zip(source.location)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        members.setdefault(info.filename.replace("\\", "/"), info)
    return lambda name: cast(BinaryIO, archive.open(members[name]))


def _head(opened: Callable[[str], BinaryIO], name: str, tags: bool) -> _Head:
    try:
        with opened(name) as file:
            size = image_size(file, name)
            if not tags:
                return _Head(size)
            file.seek(0)
            return _Head(size, tags=frozenset(identifiable_tags(file)))
    except RecordError as error:
        return _Head(reason=str(error.args[0]))
    except READ_ERRORS as error:
        return _Head(reason=f"cannot be read: {type(error).__name__}")


# ------------------------------------------------------------------------- lines


def _lines(
    state: State, tables: Tables, pictures: Mapping[str, str], heads: Mapping[str, _Head]
) -> tuple[tuple[Line, ...], list[str]]:
    """Return the lines of the table, and notes about them."""
    index = state.index
    unreadable = _unreadable(tables, pictures, heads)
    unknown = [name for code in _UNKNOWN for name in tables.ledger.names(code)]
    unknown = sorted(name for name in unknown if not _TRACES.fullmatch(name))
    contours, notes = _contours(state, unreadable["contours"])
    others = len(index.documents) + len(unknown)
    return (
        _images(state, unreadable["images"]),
        contours,
        Line(
            what="tables",
            expected=None,
            found=len(index.tables),
            unreadable=unreadable["tables"],
        ),
        Line(
            what="other files",
            expected=None,
            found=others + len(unreadable["other files"]),
            unreadable=unreadable["other files"],
            unknown=tuple(unknown),
        ),
    ), notes


def _unreadable(
    tables: Tables, pictures: Mapping[str, str], heads: Mapping[str, _Head]
) -> dict[str, tuple[str, ...]]:
    """Return for each line the files and table rows that cannot be read, with the reason."""
    lines = {"image": "images", "contour": "contours", "mask": "contours", "row": "tables"}
    found: dict[str, dict[str, str]] = {name: {} for name in (*lines.values(), "other files")}
    for row in tables.problems:
        name = row["source"]
        if row["severity"] != "failed" or row["code"] == "mask_missing":
            continue
        sort = tables.ledger.items.get(name, ("contour",))[0]
        if sort == "file" and ending(name) in _PICTURES:
            sort = "image"
        found[pictures.get(name) or lines.get(sort, "other files")][name] = row["message"]
    for name, head in heads.items():
        if head.reason:
            found[pictures[name]][name] = head.reason
    return {
        what: tuple(f"{name} ({reason})" for name, reason in sorted(names.items()))
        for what, names in found.items()
    }


def _images(state: State, unreadable: tuple[str, ...]) -> Line:
    """Return the line of the images: what was published, or the archive's own tables list."""
    records = list(state.records.values())
    found = [record for record in records if record.image]
    listed_ids = {record.record_id for record in records}
    known = _published_ids(state.info.name)
    absent = sorted(known - listed_ids) if listed_ids <= known else []
    figures = [one for one in published.figures(state.info.name) if one.measure == "images"]
    total = next((one.value for one in figures if not one.part), 0)
    parts = {
        figure.part: (figure.value, len(_of_part(found, state.info.name, figure.part)))
        for figure in figures
        if figure.part and (total or _of_part(records, state.info.name, figure.part))
    }
    return Line(
        what="images",
        expected=max(total, _sum_of_parts(state, figures)) or None,
        found=len(found),
        missing=(*(record.record_id for record in records if not record.image), *absent),
        unreadable=unreadable,
        parts=parts,
    )


def _sum_of_parts(
    state: State,
    figures: Sequence[published.Figure],
    weight: Callable[[Record], int] = lambda record: 1,
) -> int:
    """Return how many are to be expected, of each part the larger of published and listed.

    Parts of which there is nothing do not count: sets of BCDR are archives of their own.
    """
    rest = dict(state.records)
    count = 0
    for figure in figures:
        some = _of_part(rest.values(), state.info.name, figure.part) if figure.part else []
        count += max(figure.value, sum(map(weight, some))) if some else 0
        for record in some:
            del rest[record.record_id]
    return count + sum(map(weight, rest.values()))


def _of_part(records: Iterable[Record], dataset: str, part: str) -> list[Record]:
    """Return the records of a published part of a dataset."""
    pattern = re.compile(published.archive(dataset).parts[part], re.IGNORECASE)
    return [
        record
        for record in records
        if pattern.search(
            f"{record.record_id} {record.image} set:{record.attributes.get('set', '')}"
        )
    ]


def _published_ids(dataset: str) -> set[str]:
    """Return the record ids of a complete archive, where tables that bcseg ships list them."""
    if dataset != "cbis":
        return set()
    from bcseg.adapters.cbis import shipped_tables

    rows = (row for table in shipped_tables() for row in table.rows)
    return {row.get("image_file_path").partition("/")[0] for row in rows}


def _contours(state: State, unreadable: tuple[str, ...]) -> tuple[Line, list[str]]:
    """Return the line of the contours, and a note on images that seem to want one.

    An image that its table calls abnormal and that has no contour lacks one, unless as many
    contours as were published are there: then it never had one.
    """
    found = sum(map(_contours_of, state.records.values()))
    lost = [name for record in state.records.values() for name in _masks_missing(record)]
    bare = [
        f"{record.record_id} ({record.suspicious['*']})"
        for record in state.records.values()
        if "*" in record.suspicious and record.image and not _annotated(record)
    ]
    figures = [one for one in published.figures(state.info.name) if one.name in _CONTOURS]
    total = next((one.value for one in figures if not one.part), 0)
    notes = []
    if total and found + len(lost) >= total and bare:
        notes.append(f"no contour is published for {listed(bare, _FIRST)}")
        bare = []
    missing = (*lost, *bare)
    expected = max(total, _sum_of_parts(state, figures, _contours_of) + len(missing))
    line = Line(
        what="contours",
        expected=expected or None,
        found=found,
        missing=missing,
        unreadable=unreadable,
    )
    return line, notes


def _annotated(record: Record) -> bool:
    return bool(record.lesions or record.annotations)


def _contours_of(record: Record) -> int:
    """Return how many contours, or files of contours, a record has."""
    return len(record.annotations) + len(record.lesions) - len(_masks_missing(record))


def _masks_missing(record: Record) -> list[str]:
    return [
        f"{record.record_id} {lesion.lesion_id}"
        for lesion in record.lesions
        if isinstance(lesion.shape, Unreadable) and lesion.shape.code == "mask_missing"
    ]


# ------------------------------------------------------------------------- what would be written


def _writing(state: State, tables: Tables, heads: Mapping[str, _Head]) -> Writing:
    failed = {
        row["record_id"]: row["code"]
        for row in tables.problems
        if row["severity"] == "failed" and row["record_id"] in state.records
    }
    wanted = []
    for record in (state.records[row["record_id"]] for row in tables.records):
        code = _fault(state, record, heads)
        if code:
            failed[record.record_id] = code
        else:
            wanted.append(record)
    size, seconds = plan.expected(state, wanted, plan.workers(state.run))
    return Writing(
        pairs=len(wanted),
        size=size,
        minutes=seconds / 60,
        jobs=plan.workers(state.run),
        left_out=tables.ledger.reasons().get("images", {}).get("left_out", {}),
        failed=dict(sorted(Counter(failed.values()).items())),
    )


def _fault(state: State, record: Record, heads: Mapping[str, _Head]) -> str:
    """Return why a record would fail, by the heads of what its pair is made of; "" if not."""
    copies = state.copies.get(record.record_id, ())
    needed = [record.image, *(c for c in copies if ending(c) == ending(record.image))]
    masks = [
        lesion.shape
        for lesion in record.lesions
        if isinstance(lesion.shape, (Raster, RasterAmong)) and is_chosen(lesion, state.settings)
    ]
    needed += [name for shape in masks for name in shape.files]
    if any(heads[name].size is None for name in needed):
        return "unreadable"
    image = heads[record.image].size
    if image and record.expected_size and sorted(image) != sorted(record.expected_size):
        return "image_size"
    fits = {name: _fits(heads[name].size, image) for name in needed}
    good = all(
        (any if isinstance(shape, RasterAmong) else all)(fits[name] for name in shape.files)
        for shape in masks
    )
    return "" if good else "mask_size"


def _fits(mask: Size | None, image: Size | None) -> bool:
    """Tell whether a mask has the size of its image, but for one scale."""
    assert mask is not None
    assert image is not None
    return abs((mask[0] / image[0]) / (mask[1] / image[1]) - 1) <= SCALE_TOLERANCE


# ------------------------------------------------------------------------- privacy


def _privacy(records: Iterable[Record], heads: Mapping[str, _Head]) -> list[str]:
    """Return notes about what may identify a person: tags of headers, labels on films."""
    looked_at = [head.tags for head in heads.values() if head.tags is not None]
    telling = [tags for tags in looked_at if tags]
    notes = []
    if telling:
        words = ", ".join(sorted(frozenset[str]().union(*telling)))
        notes.append(
            f"DICOM headers hold tags that may identify a person, in {len(telling):,} of "
            f"{len(looked_at):,} looked at: {words} (bcseg never copies them)"
        )
    if any(record.film and record.image for record in records):
        notes.append(
            "scanned films may show burnt-in labels with text: look at the pairs before passing "
            "them on (--preset clean blanks what is not connected to the breast)"
        )
    return notes
