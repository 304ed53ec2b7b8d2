"""The clinical table of an archive against its contours: where the two disagree.

Looked at again in the archive, because most of what disagrees has no pair: images that a table
calls abnormal and nobody outlined, normal images with an outline. No pixel is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from bcseg import adapters, published
from bcseg.adapters.base import Adapter, ReadOptions, ending, leaf, stem
from bcseg.errors import RecordError
from bcseg.formats.dicom import read_header
from bcseg.formats.tables import Row, Table, read_csv, read_xls, read_xlsx
from bcseg.published import Comparison, Figure
from bcseg.record import LESION_KINDS, Index, Lesion, Record, Unreadable
from bcseg.source import Source, read

CODES = {
    "contour_on_normal": "a contour on an image that the table calls normal",
    "finding_without_contour": "the table lists a finding that nobody outlined",
    "birads_1_with_mass": "BI-RADS 1 (negative) with a mass",
    "laterality_disagrees": "file name, table and DICOM header name different sides",
    "view_disagrees": "file name, table and DICOM header name different views",
    "not_checked": "the contours of the image cannot be read",
}
_MASSES = ("mass", "cancer")
_SHOWN = 3  # lesions that a message names


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement; `severity` is "note" where just this is published about the archive.

    `pathology`: what the table says of the image. `source`: the image.
    """

    dataset: str
    record_id: str
    code: str
    message: str
    pathology: str = ""
    source: str = ""
    severity: Literal["finding", "note"] = "finding"

    def document(self) -> dict[str, str]:
        """Return the finding for --json."""
        return {
            "dataset": self.dataset,
            "record_id": self.record_id,
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "pathology": self.pathology,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Clinical:
    """The findings of one archive, beside the published numbers of them."""

    dataset: str
    findings: tuple[Finding, ...]
    published: tuple[Comparison, ...] = ()

    @property
    def unexpected(self) -> tuple[Finding, ...]:
        """The findings that are no published peculiarity of the archive."""
        return tuple(one for one in self.findings if one.severity == "finding")

    def document(self) -> dict[str, Any]:
        """Return the findings for --json."""
        return {
            "dataset": self.dataset,
            "counts": self.counts(),
            "findings": [one.document() for one in self.findings],
            "published": [one.document() for one in self.published],
        }

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each code."""
        codes = [one.code for one in self.findings]
        return {code: codes.count(code) for code in CODES if code in codes}

    def text(self) -> str:
        """Return the findings for a terminal."""
        if not self.findings:
            return f"{self.dataset}: tables and contours agree"
        lines = [f"{self.dataset}: tables and contours disagree"]
        lines += [f"  {count:5,} {code}: {CODES[code]}" for code, count in self.counts().items()]
        for known in self.published:
            reasons = f" ({'; '.join(known.reasons)})" if known.reasons else ""
            numbers = f"{known.value} here, {known.figure.value} published"
            lines.append(f"  {known.figure.title}: {numbers}: {known.mark}{reasons}")
        width = max(len(one.record_id) for one in self.findings)
        for one in self.findings:
            about = f" [{one.pathology}]" if one.pathology else ""
            lines.append(f"  {one.severity:8} {one.record_id:{width}}  {one.message}{about}")
        return "\n".join(lines)


def clinical(dataset: str, source: Source) -> list[Finding]:
    """Return where table, contours, file names and DICOM headers disagree, by record and code.

    Images that are not in the source are not looked at. Raises ArchiveError for a source that
    is not this dataset.
    """
    return list(examine(dataset, source).findings)


def examine(dataset: str, source: Source) -> Clinical:
    """Return what `clinical` finds, beside what was published about the complete archive."""
    adapter = adapters.get(dataset)
    options = ReadOptions(kinds=frozenset(LESION_KINDS), image_type="all")
    index = adapter.index(source, options)
    rows = _table_rows(source, index)
    records = sorted(
        (record for record in index.records if record.image), key=lambda record: record.record_id
    )
    found: list[Finding] = []
    for record in records:
        case = _Case(adapter, source, options, record, rows)
        found += (*_contour_findings(case), *_name_findings(case))
    name = adapter.INFO.name
    known = _published(name, found, len(records))
    return Clinical(name, tuple(_with_notes(found, known)), tuple(known))


@dataclass(frozen=True, slots=True)
class _Case:
    """One image with all that is known about it."""

    adapter: Adapter
    source: Source
    options: ReadOptions
    record: Record
    rows: Mapping[str, Row]

    def finding(self, code: str, message: str) -> Finding:
        record = self.record
        return Finding(
            self.adapter.INFO.name,
            record.record_id,
            code,
            message,
            record.pathology,
            record.image,
        )

    def lesions(self) -> tuple[Lesion, ...]:
        reader = partial(read, self.source)
        return self.adapter.lesions(self.record, reader, self.options)


# ------------------------------------------------------------------------- contours


def _contour_findings(case: _Case) -> Iterator[Finding]:
    record = case.record
    try:
        lesions = [one for one in case.lesions() if one.kind in LESION_KINDS]
    except RecordError as error:
        yield case.finding("not_checked", f"{error.args[0]} ({error.where or record.image})")
        return
    drawn = [one for one in lesions if not _is_missing(one)]
    for lesion in lesions:
        if _is_missing(lesion):
            message = f"the table lists {lesion.kind} {lesion.lesion_id}, it has no mask file"
            yield case.finding("finding_without_contour", message)
    masses = [one for one in drawn if one.kind in _MASSES]
    if drawn and record.pathology == "normal":
        yield case.finding("contour_on_normal", f"normal in the table, but {_listed(drawn)} drawn")
    elif drawn and record.birads == "1" and not masses:
        yield case.finding("contour_on_normal", f"BI-RADS 1 (negative), but {_listed(drawn)} drawn")
    if record.birads == "1" and (masses or (drawn and _mentions_mass(record))):
        yield case.finding(
            "birads_1_with_mass", f"BI-RADS 1 (negative), but {_listed(drawn)} drawn"
        )
    # without a table row, a doubt is another annotator's or another copy's, not a clinician's
    for kind, reason in sorted(record.suspicious.items()) if record.rows else ():
        if not _is_drawn(kind, drawn) and not _names_a_copy(record, reason):
            yield case.finding("finding_without_contour", f"{reason}, no such contour is drawn")


def _is_missing(lesion: Lesion) -> bool:
    return isinstance(lesion.shape, Unreadable) and lesion.shape.code == "mask_missing"


def _listed(lesions: list[Lesion]) -> str:
    """Return lesions in words: "mass 1, mass 2 and 4 more"."""
    words = ", ".join(f"{one.kind} {one.lesion_id}" for one in lesions[:_SHOWN])
    more = len(lesions) - _SHOWN
    if more > 0:
        return f"{words} and {more} more are"
    return f"{words} {'is' if len(lesions) == 1 else 'are'}"


def _mentions_mass(record: Record) -> bool:
    """Tell whether the table names a mass, for archives whose contours carry no class."""
    return bool(re.search(r"\bmass\b", record.attributes.get("findings", ""), re.IGNORECASE))


# a radiologist's flag is answered by any of these: a cluster is one of calcifications
_ANSWERS = {
    "calcification": ("calcification", "cluster"),
    "distortion": ("distortion", "spiculated_region"),
}


def _is_drawn(kind: str, lesions: Iterable[Lesion]) -> bool:
    kinds = {lesion.kind for lesion in lesions}
    return bool(kinds) if kind == "*" else bool(kinds & set(_ANSWERS.get(kind, (kind,))))


def _names_a_copy(record: Record, reason: str) -> bool:
    """Tell whether a doubt is about a second copy of the film: CBIS-DDSM names that by its id.

    The two ids differ in what stands before the patient: Mass-Test_P_00001_LEFT_CC.
    """
    same = record.record_id.partition("_")[2]
    return bool(same) and same in reason


# ------------------------------------------------------------------------- side and view


@dataclass(frozen=True, slots=True)
class _Said:
    """What one place says about an image; empty where it says nothing."""

    where: str
    side: str = ""
    view: str = ""


_SIDES = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
# ML in file names of INbreast, and O in those of BCDR, are the oblique view that tables call MLO
_VIEWS = {"ML": "MLO", "O": "MLO"}
_NAMED = re.compile(
    r"(?:^|_)(?P<side>LEFT|RIGHT|L|R)_(?:(?:DM|CM)_)?(?P<view>CC|MLO|ML|FB)(?=_|\.|$)",
    re.IGNORECASE,
)
_JOINED = re.compile(r"(?:^|_)(?P<side>[LR])(?P<view>CC|MLO|ML|O)$", re.IGNORECASE)
# image_view of BCDR's outlines, counted from 1 (the image list counts from 0, and names the view)
_NUMBERED = {"1": "RCC", "2": "LCC", "3": "RO", "4": "LO"}


def _name_findings(case: _Case) -> Iterator[Finding]:
    said = [*_names_say(case.record), *_tables_say(case), *_header_says(case)]
    for code, attribute in (("laterality_disagrees", "side"), ("view_disagrees", "view")):
        places: dict[str, list[str]] = {}
        for one in said:
            word = str(getattr(one, attribute))
            if word:
                places.setdefault(word, []).append(one.where)
        if len(places) > 1:
            words = ", ".join(f"{word} in {' and '.join(at)}" for word, at in places.items())
            yield case.finding(code, words)


def _said(where: str, side: str, view: str) -> _Said:
    side, view = side.strip().upper(), view.strip().upper()
    return _Said(where, _SIDES.get(side, ""), _VIEWS.get(view, view))


def _names_say(record: Record) -> Iterator[_Said]:
    """Yield what the image's path and the record id say."""
    for part in reversed(record.image.split("/")[:-1]):
        match = _NAMED.search(part)
        if match:
            yield _said(f"the folder {part}", match["side"], match["view"])
            break
    match = _NAMED.search(stem(record.image)) or _JOINED.search(stem(record.image))
    if match:
        yield _said("the file name", match["side"], match["view"])
    match = _NAMED.search(record.record_id)
    if match and record.record_id not in record.image:
        yield _said("the record id", match["side"], match["view"])


def _tables_say(case: _Case) -> Iterator[_Said]:
    """Yield what each table row about the image says; rows of its contours, too."""
    items = dict.fromkeys((*case.record.rows, *(one.source for one in case.record.lesions)))
    for item in items:
        row = case.rows.get(item)
        if row is not None and not row.damage:
            side = row.get("laterality", "side", "left_or_right_breast")
            view = row.get("view", "image_type_name", "image_view")
            joined = _JOINED.fullmatch(_NUMBERED.get(view, view))
            if joined:
                side, view = joined["side"], joined["view"]
            yield _said(leaf(item), side, "" if view.isdecimal() else view)


def _header_says(case: _Case) -> Iterator[_Said]:
    """Yield what a DICOM header says; CBIS-DDSM puts the view into PatientOrientation."""
    name = case.record.image
    if ending(name) in (".jpg", ".jpeg", ".png", ".tif", ".tiff"):
        return
    try:
        with case.source.open(name) as file:
            header = read_header(file, name)
    except RecordError:
        return  # refactor lists what cannot be read
    orientation = header.patient_orientation
    view = header.view or (orientation if orientation in ("CC", "MLO") else "")
    yield _said("the DICOM header", header.laterality, view)


def _table_rows(source: Source, index: Index) -> dict[str, Row]:
    """Return the rows of all tables of the source by their item, "INbreast.csv#12"."""
    rows: dict[str, Row] = {}
    for name in index.tables:
        try:
            table = _table(source, name)
        except RecordError:
            continue  # refactor lists what cannot be read
        rows |= {row.item: row for row in table.rows}
    return rows


def _table(source: Source, name: str) -> Table:
    """Read a table by the name that the adapter gave it: "book.xlsx[sheet]", "table.csv"."""
    book = re.fullmatch(r"(.*)\[(.*)\]", name)
    if book:
        return read_xlsx(read(source, book[1]), book[1], book[2])
    data = read(source, name)
    return read_xls(data, name) if ending(name) == ".xls" else read_csv(data, name)


# ------------------------------------------------------------------------- published


def _published(dataset: str, findings: list[Finding], images: int) -> list[Comparison]:
    """Return the published numbers of such disagreements beside those of `findings`."""
    figures = published.figures(dataset)
    total = next((one.value for one in figures if one.measure == "images" and not one.part), 0)
    partial_archive = (f"partial archive: {images:,} of {total:,} images are there",)
    comparisons = []
    for figure in figures:
        if figure.measure == "clinical":
            count = len({one.record_id for one in findings if _is_about(figure, one)})
            if count == figure.value:
                comparisons.append(Comparison(figure, count, "equal"))
            else:
                reasons = partial_archive if images < total else ()
                comparisons.append(Comparison(figure, count, "different", reasons))
    return comparisons


def _is_about(figure: Figure, finding: Finding) -> bool:
    wanted = not figure.pathology or finding.pathology in figure.pathology
    return finding.code == figure.finding and wanted


def _with_notes(findings: list[Finding], known: list[Comparison]) -> list[Finding]:
    """Turn findings that are published peculiarities of the archive into notes.

    Only as many as were published: one more, and all of that sort are findings.
    """
    within = [one.figure for one in known if (one.value or 0) <= one.figure.value]
    return [
        replace(finding, severity="note")
        if any(_is_about(figure, finding) for figure in within)
        else finding
        for finding in findings
    ]
