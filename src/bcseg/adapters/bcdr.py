"""BCDR: TIFF mammograms and CSV outlines, in several sets (D01, D02, DN01, F01, F02, F03).

Layout of a set, as the repository delivers it:

    BCDR-D01_dataset/bcdr_d01_outlines.csv      one row an outline (a lesion in one view)
                     bcdr_d01_img.csv           all images, normals too (F03 has none)
                     bcdr_d01_features.csv      not needed
                     patient_3/study_4/img_3_4_1_LO.tif     img_<patient>_<study>_<series>_<view>

D sets are digital, F sets scanned film, DN01 holds normals only. F03 has one folder more and no
series in its file names. Cells are separated by ", ". Outlines are 8-connected chains of integer
pixels, not closed. Whether they count from 0 or 1 is not documented: taken as they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bcseg.adapters.base import (
    Info,
    ReadOptions,
    ending,
    folder,
    layout_of,
    leaf,
    listed_lesions,
    pathology_word,
    shape_or_unreadable,
    sound_rows,
    stem,
    worst_pathology,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.points import points_of
from bcseg.formats.tables import Row, Table, read_csv
from bcseg.record import (
    Failed,
    Index,
    Laterality,
    LeftOut,
    Lesion,
    Polygon,
    Record,
    Unreadable,
    Warned,
)
from bcseg.source import Source, read

INFO = Info(
    name="bcdr",
    title="BCDR (Breast Cancer Digital Repository)",
    url="https://bcdr.eu",
    licence=(
        "By registration with the BCDR consortium, for research; no right to pass it on is known"
    ),
    citation=(
        "Guevara Lopez MA, Gonzalez Posada N, Moura DC, et al. BCDR: a breast cancer digital"
        " repository. 15th International Conference on Experimental Mechanics (2012)."
    ),
    restricted=True,
    layout=(
        "BCDR-D01_dataset/bcdr_d01_outlines.csv\n"
        "BCDR-D01_dataset/bcdr_d01_img.csv\n"
        "BCDR-D01_dataset/patient_3/study_4/img_3_4_1_LO.tif\n"
        "BCDR-F03_dataset/BCDR-F03/bcdr_f03_outlines.csv\n"
        "BCDR-F03_dataset/BCDR-F03/patient_182/study_188/img_182_188_LCC.tif"
    ),
    # D01, counted in its tables: one set of several, each of which is a complete download
    published={"D01_images": 260, "D01_patients": 64, "D01_outlines": 143, "D01_lesions": 79},
    default_kinds=("mass",),
)

_IMAGE = re.compile(
    r"(?:patient_(?P<p>\d+)_study_(?P<s>\d+)_)?"
    r"(?P<img>img_(?P<patient>\d+)_(?P<study>\d+)(?:_\d+)?_(?P<view>[A-Z]+(?:-[A-Z]+)?))",
    re.IGNORECASE,
)
_TABLE = re.compile(r"bcdr[-_]?([dfn]+\d+)[-_](outlines|img|features)\.csv", re.IGNORECASE)
_SET = re.compile(r"bcdr[-_ ]?([DF]N?\d\d)", re.IGNORECASE)
_ENDINGS = (".tif", ".tiff", ".png")

# column of the outlines table -> kind, the first that is set decides
_FLAGS = (
    ("mammography_nodule", "mass"),
    ("mammography_calcification", "calcification"),
    ("mammography_microcalcification", "calcification"),
    ("mammography_axillary_adenopathy", "adenopathy"),
    ("mammography_architectural_distortion", "distortion"),
    ("mammography_stroma_distortion", "distortion"),
)
_NEEDED = ("image_filename", "lw_x_points", "lw_y_points")


@dataclass(frozen=True, slots=True)
class _Set:
    """One BCDR set in the source: its name ("D01") and its tables."""

    name: str
    root: str
    outlines: Table | None
    images: Table | None
    features: Table | None
    damage: Unreadable | None = None  # why its outlines cannot be read
    damaged: str = ""  # the table that is damaged


# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {
    "PNG exports": r"\.png$",
    "sets as published": r"patient_\d+/study_\d+/img_",
    "flat: renamed images in one folder": r"patient_\d+_study_\d+_img_",
}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like BCDR's own."""
    return sum(bool(_TABLE.fullmatch(leaf(n))) or _image_match(n) is not None for n in names)


lesions = listed_lesions


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of all sets; raises ArchiveError if there is no image or no outlines."""
    names = source.names()
    images = [name for name in names if _image_match(name)]
    if not images:
        raise ArchiveError("no image named like img_3_4_1_LO.tif", where=str(source.location))
    sets, failed = _sets(source, names)
    book = _Book(sets, failed)
    warnings = _missing_outlines(book, images, source)
    files: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(images, key=lambda name: (ending(name) == ".png", name)):
        files[book.record_id(name)].append(name)  # a TIFF before a PNG export of it
    left_out: list[LeftOut] = []
    records = []
    for record_id in sorted(files.keys() | book.outlines.keys() | book.facts.keys()):
        copies = files[record_id]
        if len(copies) > 1:
            message = f"the same image as {copies[0]}"
            left_out.append(LeftOut("duplicate_image", message, tuple(copies[1:]), record_id))
        records.append(_record(record_id, copies[0] if copies else "", book, left_out))
    return Index(
        records=tuple(records),
        layout=layout_of(records, _LAYOUTS),
        tables={table.name: len(table.rows) for s in sets for table in _tables(s)},
        documents=tuple(name for name in names if _is_document(name)),
        left_out=(*book.left_out, *left_out),
        failed=tuple(book.failed),
        warnings=tuple(warnings),
    )


def _is_document(name: str) -> bool:
    """Tell a table of a set, or the workbook that a mirror has beside it (some areas are wrong)."""
    return bool(_TABLE.fullmatch(leaf(name))) or ending(name) in (".xlsx", ".pdf", ".txt")


def _image_match(name: str) -> re.Match[str] | None:
    return _IMAGE.fullmatch(stem(name)) if ending(name) in _ENDINGS else None


def _tables(one: _Set) -> list[Table]:
    return [table for table in (one.outlines, one.images, one.features) if table]


def _sets(source: Source, names: Sequence[str]) -> tuple[list[_Set], list[Failed]]:
    found: defaultdict[tuple[str, str], dict[str, Table]] = defaultdict(dict)
    damaged: dict[tuple[str, str], tuple[str, RecordError]] = {}
    failed: list[Failed] = []
    for name in names:
        match = _TABLE.fullmatch(leaf(name))
        if not match:
            continue
        what = match[2].lower()
        key = folder(name), match[1].upper()
        tables = found[key]
        try:
            table = read_csv(read(source, name), name)
            tables[what] = _checked(table) if what == "outlines" else table
        except RecordError as error:
            if what == "outlines":
                damaged[key] = name, error
            else:
                failed.append(Failed(error.code, str(error.args[0]), (name,)))
    if damaged and not any("outlines" in tables for tables in found.values()):
        name, why = next(iter(damaged.values()))
        message = f"the table of outlines cannot be read: {why.args[0]}"
        raise ArchiveError(message, where=name) from why
    sets = []
    for (root, set_name), tables in sorted(found.items()):
        outlines = tables.get("outlines")
        name, damage = "", None
        if (root, set_name) in damaged:  # its images fail, those of other sets do not
            name, why = damaged[root, set_name]
            message = f"the outlines of set {set_name} cannot be read: {why.args[0]}"
            damage = Unreadable(why.code, message, any_kind=True)
        known = (tables.get("img"), tables.get("features"))
        sets.append(_Set(set_name, root, outlines, *known, damage, name))
    return sets, failed


def _checked(outlines: Table) -> Table:
    missing = [column for column in _NEEDED if column not in outlines.headers]
    if missing:
        raise RecordError(
            f"it has no column {', '.join(missing)}", code="unreadable_table", where=outlines.name
        )
    return outlines


def _missing_outlines(book: _Book, images: Sequence[str], source: Source) -> list[Warned]:
    """Return a warning for each set without a table of outlines; DN sets hold normals only.

    Raises ArchiveError if no set has one.
    """
    with_outlines = {one.name for one in book.sets if one.outlines or one.damage}
    without = {book.set_of(name) for name in images} | {one.name for one in book.sets}
    without = {name for name in without - with_outlines if not name.startswith("DN")}
    if without and not with_outlines:
        raise ArchiveError("no table of outlines (bcdr_*_outlines.csv)", where=str(source.location))
    messages = [f"set {name} has no table of outlines" for name in sorted(without) if name]
    return [Warned("table_missing", message) for message in messages]


class _Book:
    """The rows of all sets, by record id."""

    def __init__(self, sets: list[_Set], failed: list[Failed]) -> None:
        self.sets = sets
        self.failed = failed
        self.left_out: list[LeftOut] = []
        self.outlines: defaultdict[str, list[tuple[str, Row]]] = defaultdict(list)
        self.facts: defaultdict[str, list[Row]] = defaultdict(list)
        self.incomplete: set[str] = set()  # sets with an outline whose image cannot be told
        self._listed: defaultdict[str, set[str]] = defaultdict(set)  # id without set -> sets
        by_segmentation: dict[tuple[str, str, str], str] = {}
        for one in sets:
            for row in one.outlines.rows if one.outlines else ():
                record_id = self._row_record(one, row)
                if record_id:
                    self.outlines[record_id].append((one.name, row))
                    segmentation = row.get("segmentation_id")
                    by_segmentation[one.root, one.name, segmentation] = record_id
                else:
                    self.incomplete.add(one.name)
            for row in self._sound(one.images):
                record_id = self._row_record(one, row)
                if record_id:
                    self.facts[record_id].append(row)
        for one in sets:
            for row in self._sound(one.features):
                key = (one.root, one.name, row.get("segmentation_id"))
                if key in by_segmentation:
                    self.facts[by_segmentation[key]].append(row)
                else:  # features are not needed: nothing is lost
                    message = "no outline has this segmentation_id"
                    self.left_out.append(LeftOut("orphan_row", message, (row.item,)))

    def _sound(self, table: Table | None) -> list[Row]:
        if table is None:
            return []
        good, bad = sound_rows(table)
        self.failed += bad
        return good

    def _row_record(self, one: _Set, row: Row) -> str:
        """Return the record a row is about: its image_filename, relative to the table."""
        name = row.raw("image_filename").replace("\\", "/")
        if _image_match(name) is None:
            message = row.damage or "image_filename is not an image name of this dataset"
            self.failed.append(Failed("unreadable_row", message, (row.item,)))
            return ""
        self._listed[_plain_id(name)].add(one.name)
        return self.record_id(name, one.name)

    def record_id(self, name: str, set_name: str = "") -> str:
        """Return the record id of an image: path of the TIFF, "/" to "_"; F sets carry the set."""
        set_name = set_name or self.set_of(name)
        prefix = f"{set_name}_" if set_name.startswith("F") else ""
        return prefix + _plain_id(name)

    def set_of(self, name: str) -> str:
        """Return the set an image lies in, "" if nothing tells.

        The nearest above it tells: a folder's name, or the tables in a folder (where none is
        above, all tables); of several sets there, the one that lists the image.
        """
        nearest = max((len(one.root) for one in self.sets if name.startswith(one.root)), default=-1)
        mark = max(_SET.finditer(folder(name)), key=re.Match.end, default=None)
        marked = mark[1].upper() if mark else ""
        if mark and name.index("/", mark.end()) >= nearest:
            return marked
        here = {
            one.name
            for one in self.sets
            if nearest < 0 or (name.startswith(one.root) and len(one.root) == nearest)
        }
        listing = here & self._listed[_plain_id(name)]
        sets = listing or (here if len(here) == 1 else set())
        return marked if marked in sets else min(sets, default=marked)

    def lists_all(self, set_name: str) -> bool:
        """Tell whether an image without a row in this set's outlines has none."""
        if set_name in self.incomplete:
            return False
        with_outlines = {one.name for one in self.sets if one.outlines}
        return set_name in with_outlines or set_name.startswith("DN")


def _plain_id(name: str) -> str:
    match = _image_match(name)
    assert match is not None
    return (
        f"patient_{match['patient']}_study_{match['study']}_"
        f"img_{_numbers(match['img'])}_{match['view'].upper()}"
    )


def _numbers(img: str) -> str:
    return "_".join(part for part in img.split("_") if part.isdecimal())


def _record(record_id: str, image: str, book: _Book, left_out: list[LeftOut]) -> Record:
    match = _IMAGE.fullmatch(record_id.split("_", 1)[1] if record_id[0] == "F" else record_id)
    assert match is not None
    set_name = record_id.split("_", 1)[0] if record_id[0] == "F" else ""
    outlines = _without_repeats(record_id, book.outlines[record_id], left_out)
    facts = book.facts[record_id]
    described = [row for _, row in outlines] + facts
    lesions = [_lesion(set_name, row) for set_name, row in outlines]
    home = set_name or (book.set_of(image) if image else "")
    lesions += [_unread(one) for one in book.sets if one.name == home and one.damage]
    laterality, view = _view(match["view"].upper())
    unclassed = any(lesion.kind == "finding" for lesion in lesions)
    prefix = f"{set_name}_" if set_name else ""
    return Record(
        record_id=record_id,
        image=image,
        patient_id=match["patient"],
        group=f"bcdr:{prefix}{match['patient']}",
        laterality=laterality,
        view=view,
        age=_first(described, "age"),
        density=_first(described, "density"),
        pathology=worst_pathology(lesion.pathology for lesion in lesions),
        film=bool(set_name),
        lesions=tuple(lesions),
        rows=tuple(row.item for row in facts),
        left_out="" if image else "no_image",
        free_of=("*",) if book.lists_all(home) else (),
        suspicious={"*": "an outline whose class is not given"} if unclassed else {},
        attributes={"set": home} if home else {},
    )


def _unread(one: _Set) -> Lesion:
    """Return what stands for the outlines of an image whose table is damaged: it fails."""
    assert one.damage is not None
    return Lesion(
        lesion_id="outlines", kind="finding", label="", shape=one.damage, source=one.damaged
    )


def _first(rows: Sequence[Row], column: str) -> str:
    return next((row.get(column) for row in rows if row.get(column)), "")


def _view(code: str) -> tuple[Laterality, str]:
    """Return side and view of a view code: RCC, LCC, RO and LO (oblique, that is MLO), RML."""
    side: Laterality = "R" if "R" in code[:2] else "L" if "L" in code[:2] else ""
    if code.endswith("CC"):
        return side, "CC"
    if code.endswith(("O", "MLO", "ML")):
        return side, "MLO"
    return side, code


def _without_repeats(
    record_id: str, outlines: list[tuple[str, Row]], left_out: list[LeftOut]
) -> list[tuple[str, Row]]:
    """Drop outlines that another D set has too: same segmentation_id and same points."""
    first: dict[tuple[str, ...], Row] = {}
    kept = []
    for set_name, row in outlines:
        key = (row.get("segmentation_id"), *_geometry(row))
        other = first.setdefault(key, row)
        if other is row:
            kept.append((set_name, row))
        else:
            message = f"the same outline as {other.item}"
            left_out.append(
                LeftOut("duplicate_contour", message, (row.item,), record_id, "contour")
            )
    return kept


def _geometry(row: Row) -> tuple[str, str]:
    x, y = (" ".join(row.raw(column).split()) for column in ("lw_x_points", "lw_y_points"))
    return x, y


def _lesion(set_name: str, row: Row) -> Lesion:
    flags = {column: row.get(column) for column, _ in _FLAGS if row.get(column)}
    kind = next((kind for column, kind in _FLAGS if _is_set(flags, column)), "finding")
    words = [column.removeprefix("mammography_") for column, _ in _FLAGS if _is_set(flags, column)]
    shape = shape_or_unreadable(partial(_outline, row))
    assert shape is not None
    number = row.item.rsplit("#", 1)[1]
    return Lesion(
        lesion_id=row.get("segmentation_id") or f"{set_name}_row{number}",
        kind=kind,
        label=" ".join(words),
        shape=shape,
        source=row.item,
        pathology=pathology_word(row.get("classification")),
        attributes=flags | ({"lesion": row.get("lesion_id")} if row.get("lesion_id") else {}),
    )


def _is_set(flags: Mapping[str, str], column: str) -> bool:
    try:
        return float(flags.get(column, "0")) != 0
    except ValueError:
        return True


def _outline(row: Row) -> Polygon | Unreadable:
    if row.damage:  # the cells may have moved, those of the class too
        return Unreadable("unreadable_row", row.damage, any_kind=True)
    xs, ys = row.raw("lw_x_points").split(), row.raw("lw_y_points").split()
    if len(xs) != len(ys) or not xs:
        raise RecordError(
            f"the outline has {len(xs)} x and {len(ys)} y coordinates", code="unreadable_contour"
        )
    try:
        return Polygon(points_of(xs, ys), closed=False)
    except ValueError as error:
        raise RecordError(
            "the outline has a coordinate that is no number", code="unreadable_contour"
        ) from error
