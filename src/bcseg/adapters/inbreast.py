"""INbreast: DICOM mammograms, one OsiriX XML for each image with an annotation.

Layout, as released ("INbreast Release 1.0"):

    AllDICOMs/20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm   <file>_<patient>_MG_<side>_<view>_ANON
    AllXML/20586908.xml                                    contours: none means no finding
    AllROI/20586908.roi                                    the same contours, binary: not read
    PectoralMuscle/Pectoral Muscle XML/20586960_muscle.xml read when the muscle is chosen
    INbreast.csv, INbreast.xls                             one row an image: BI-RADS, ACR density
    MedicalReports/*.txt                                   not read

Folder names are not needed: users rename them. File names say ML where the tables say MLO.
The patient is known from the hash in the file name only.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from bcseg.adapters.base import (
    Info,
    Read,
    ReadOptions,
    ending,
    folder,
    layout_of,
    leaf,
    same_content,
    side_of,
    sound_rows,
    spelling,
    stem,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.osirix import OPEN_LINE, PENCIL, Region, read_regions
from bcseg.formats.tables import Row, Table, read_csv, read_xls
from bcseg.record import (
    CornerLine,
    Dots,
    Failed,
    Index,
    LeftOut,
    Lesion,
    Point,
    Polygon,
    Record,
    Shape,
    Spline,
    Unreadable,
    Warned,
)
from bcseg.source import Source, read

INFO = Info(
    name="inbreast",
    title="INbreast",
    url="https://doi.org/10.1016/j.acra.2011.09.014",
    licence="By request to INESC Porto, for research; may not be passed on",
    citation=(
        "Moreira IC, Amaral I, Domingues I, et al. INbreast: toward a full-field digital"
        " mammographic database. Academic Radiology 19(2), 236-248 (2012)."
        " doi:10.1016/j.acra.2011.09.014"
    ),
    restricted=True,
    layout=(
        "INbreast Release 1.0/AllDICOMs/20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm\n"
        "INbreast Release 1.0/AllXML/20586908.xml\n"
        "INbreast Release 1.0/INbreast.csv"
    ),
    # the paper: 410 images, 116 masses in 107 images; INbreast.xls: 343 images with contours
    published={"images": 410, "contour_files": 343, "masses": 116, "images_with_mass": 107},
    default_kinds=("mass",),
    options=("osirix_origin",),
)

_IMAGE = re.compile(
    r"(\d{6,9})(?:_([0-9a-f]{8,32})_MG_([LR])_([A-Z]+)_ANON)?(?:\.dcm)?", re.IGNORECASE
)
_CONTOURS = re.compile(r"(\d{6,9})(?:[ _-]?muscle)?\.xml", re.IGNORECASE)

# ROI names enumerated in the full set, by their spelling without blanks and case
_KINDS = {
    "calcification": "calcification",
    "calcifications": "calcification",
    "mass": "mass",
    "cluster": "cluster",
    "spiculatedregion": "spiculated_region",
    "espiculatedregion": "spiculated_region",
    "asymmetry": "asymmetry",
    "assymetry": "asymmetry",
    "distortion": "distortion",
    "pectoralmuscle": "pectoral_muscle",
}
_NAMELESS = re.compile(r"unnamed|point\d*|roi\d*|")  # finding, or calcification when one point

# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {
    "PNG exports": r"\.png$",
    "as released": r"(^|/)(?-i:AllDICOMs)/[^/]+_ANON\.dcm$",
    "renamed folders": r"_ANON\.dcm$",
    "bare file numbers: patients unknown": r"(^|/)\d+\.dcm$",
}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like INbreast's own.

    A bare number counts where a contour file has it too: other archives number their files as well.
    """
    contours = {match[1] for name in names if (match := _CONTOURS.fullmatch(leaf(name)))}
    images = [match for name in names if (match := _image(name))]
    return len(contours) + sum(bool(match[2]) or match[1] in contours for match in images)


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of the archive; raises ArchiveError if it has no image or no contours."""
    names = source.names()
    images, left_out = _images(names)
    contours, same = _contour_files(source, [name for name in names if not _is_muscle(name)])
    muscles, same_muscles = _contour_files(source, [name for name in names if _is_muscle(name)])
    if not images:
        raise ArchiveError(
            "no image named like 20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm",
            where=str(source.location),
        )
    if not contours:
        raise ArchiveError(
            "no contour file named like 20586908.xml (folder AllXML)",
            where=str(source.location),
            hint="unpack the whole archive: without contours every image would seem to be normal",
        )
    tables, failed, warnings = _tables(source, names)
    rows, bad, blank = _rows_by_image(tables)
    files = _Files(images, contours, muscles, rows)
    file_ids = sorted(images.keys() | contours.keys() | muscles.keys() | rows.keys())
    records = tuple(_record(file_id, files, options) for file_id in file_ids)
    return Index(
        records=records,
        layout=layout_of(records, _LAYOUTS),
        tables={table.name: len(table.rows) for table in tables},
        documents=tuple(n for n in names if ending(n) in (".csv", ".xls", ".pdf", ".txt", ".m")),
        left_out=(*left_out, *same, *same_muscles, *blank),
        failed=(*failed, *bad),
        warnings=tuple(warnings),
    )


def lesions(record: Record, read: Read, options: ReadOptions) -> tuple[Lesion, ...]:
    """Return the regions of the contour files; raises RecordError if a file cannot be read."""
    found: list[Lesion] = []
    for name in record.annotations:
        muscle = _is_muscle(name)
        for region in read_regions(read(name), name, options.limits):
            found.append(_lesion(region, name, record, muscle, options))
    return tuple(found)


def _image(name: str) -> re.Match[str] | None:
    return _IMAGE.fullmatch(stem(name)) if ending(name) in (".dcm", ".dicom", ".png") else None


def _is_muscle(name: str) -> bool:
    return "muscle" in leaf(name).lower() or "pectoralmuscle" in spelling(folder(name))


def _contour_files(
    source: Source, names: Sequence[str]
) -> tuple[dict[str, list[str]], list[LeftOut]]:
    """Return the contour files of each image, without exact copies.

    Of two different ones neither is believed: their regions have the same ids, so that the
    record fails.
    """
    files: defaultdict[str, list[str]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for name in names:
        match = _CONTOURS.fullmatch(leaf(name))
        if match is None:
            continue
        first = next((one for one in files[match[1]] if same_content(source, one, name)), "")
        if first:
            message = f"the same contours as {first}"
            left_out.append(LeftOut("duplicate_contour", message, (name,), match[1], "contour"))
        else:
            files[match[1]].append(name)
    return dict(files), left_out


class _Files:
    """The files and rows of each image, by file id."""

    def __init__(
        self,
        images: dict[str, str],
        contours: dict[str, list[str]],
        muscles: dict[str, list[str]],
        rows: dict[str, list[Row]],
    ) -> None:
        self.images, self.contours, self.muscles, self.rows = images, contours, muscles, rows


def _images(names: Sequence[str]) -> tuple[dict[str, str], list[LeftOut]]:
    images: dict[str, str] = {}
    left_out: list[LeftOut] = []
    # a DICOM before a PNG export of it, a release name before a bare number
    for name in sorted(names, key=lambda name: (ending(name) == ".png", -len(stem(name)), name)):
        match = _image(name)
        if match is None:
            if ending(name) == ".roi":
                left_out.append(LeftOut("same_contours_binary", "read from the XML", (name,)))
        elif match[1] in images:
            message = f"the same image as {images[match[1]]}"
            left_out.append(LeftOut("duplicate_image", message, (name,), match[1]))
        else:
            images[match[1]] = name
    return images, left_out


def _tables(source: Source, names: Sequence[str]) -> tuple[list[Table], list[Failed], list[Warned]]:
    """Read INbreast.csv and INbreast.xls (they agree; the workbook names the normals too)."""
    tables: list[Table] = []
    failed: list[Failed] = []
    warnings: list[Warned] = []
    for name in names:
        if spelling(leaf(name)) not in ("inbreast.csv", "inbreast.xls"):
            continue
        try:
            data = read(source, name)
            tables.append(
                _checked(read_csv(data, name) if ending(name) == ".csv" else read_xls(data, name))
            )
        except RecordError as error:
            if error.code == "missing_extra":
                warnings.append(Warned(error.code, f"{error.args[0]}: {error.hint}", name))
            else:
                failed.append(Failed(error.code, str(error.args[0]), (name,)))
    if not tables:
        message = "no INbreast.csv: BI-RADS and density unknown"
        warnings.append(Warned("table_missing", message))
    return tables, failed, warnings


def _checked(table: Table) -> Table:
    if "file_name" not in table.headers:
        raise RecordError("the table has no column File Name", code="unreadable_table")
    return table


def _rows_by_image(
    tables: list[Table],
) -> tuple[dict[str, list[Row]], list[Failed], list[LeftOut]]:
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    failed: list[Failed] = []
    left_out: list[LeftOut] = []
    for table in tables:
        good, bad = sound_rows(table)
        failed += bad
        for row in good:
            file_name = row.get("file_name").removesuffix(".0")  # saved as a number by pandas
            if re.fullmatch(r"\d{6,9}", file_name):
                rows[file_name].append(row)
            elif file_name:
                message = "File Name is not a file number"
                failed.append(Failed("unreadable_row", message, (row.item,)))
            else:  # the two last rows of the workbook: blank, and totals
                left_out.append(LeftOut("not_an_image_row", "no file name", (row.item,)))
    return dict(rows), failed, left_out


def _record(file_id: str, files: _Files, options: ReadOptions) -> Record:
    image = files.images.get(file_id, "")
    match = _image(image)
    patient = (match[2] or "").lower() if match else ""
    rows = files.rows.get(file_id, [])
    annotations = list(files.contours.get(file_id, ()))
    free_of, suspicious = _verdict(bool(annotations), rows)
    others = []
    if "pectoral_muscle" in options.kinds:
        annotations += files.muscles.get(file_id, ())
    else:
        others = [(name, "kind_not_chosen") for name in files.muscles.get(file_id, ())]
    return Record(
        record_id=file_id,
        image=image,
        patient_id=patient,
        group=f"inbreast:{patient}" if patient else "",
        laterality=side_of((match[3] if match else "") or _first(rows, "laterality")),
        view=_view((match[4] if match else "") or _first(rows, "view")),
        birads=_first(rows, "bi_rads"),
        density=_first(rows, "acr"),
        annotations=tuple(annotations),
        rows=tuple(row.item for row in rows),
        others=tuple(others),
        left_out="" if image else "no_image",
        free_of=free_of,
        suspicious=suspicious,
        attributes=_attributes(rows),
    )


def _first(rows: list[Row], column: str) -> str:
    return next((row.get(column) for row in rows if row.get(column)), "")


def _view(text: str) -> str:
    return {"ML": "MLO"}.get(text.upper(), text.upper())


_FLAGS = {
    "mass": "mass",
    "micros": "calcification",
    "distortion": "distortion",
    "asymmetry": "asymmetry",
}  # columns of INbreast.xls that hold an X where the radiologist saw one


def _flags(rows: list[Row]) -> dict[str, str]:
    """Return the kinds that INbreast.xls flags, with its column; the contours may say otherwise."""
    return {kind: column for column, kind in _FLAGS.items() if any(row.get(column) for row in rows)}


def _attributes(rows: list[Row]) -> dict[str, str]:
    # the date is year and half of the year, as published: "200801"
    found = {"acquisition": _first(rows, "acquisition_date"), "flags": " ".join(_flags(rows))}
    return {key: text for key, text in found.items() if text}


def _verdict(contours: bool, rows: list[Row]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return which kinds the archive calls absent, and why that is not to be believed.

    BI-RADS 2 and above on an image without any contour says that something was seen there: its
    contour file may be missing from this copy.
    """
    flagged = {kind: f"INbreast.xls flags {column}" for kind, column in _flags(rows).items()}
    if contours:
        return ("*",), flagged
    birads = _first(rows, "bi_rads")
    if birads not in ("", "1"):
        return ("*",), flagged | {"*": f"no contour, but BI-RADS {birads}"}
    normal = any("normal" in row.get("lesion_annotation_status").lower() for row in rows)
    return ("*",) if normal or birads else (), flagged


def _lesion(
    region: Region, name: str, record: Record, muscle: bool, options: ReadOptions
) -> Lesion:
    return Lesion(
        # contours of the muscle file count apart: they are in another file
        lesion_id=f"m{region.index}" if muscle else str(region.index),
        kind=_kind(region, muscle),
        label=region.name,
        shape=_shape(region, record, muscle, options),
        source=f"{name}#{region.index}",
        birads=record.birads,
        attributes={} if region.type is None else {"type": str(region.type)},
    )


def _kind(region: Region, muscle: bool) -> str:
    if muscle:
        return "pectoral_muscle"
    word = spelling(region.name)
    if word in _KINDS:
        return _KINDS[word]
    if _NAMELESS.fullmatch(word) and len(region.points) == 1:
        return "calcification"
    return "finding"


def _shape(region: Region, record: Record, muscle: bool, options: ReadOptions) -> Shape:
    if region.damage:
        unnamed = _kind(region, muscle) == "finding"
        return Unreadable("unreadable_contour", region.damage, any_kind=unnamed)
    shift = 0.5 if options.osirix_origin == "corner" else 0.0
    points = tuple((x - shift, y - shift) for x, y in region.points)
    if len(points) < 3:
        return Dots(points)
    # the other format of muscle files has no type, and holds the same open lines
    if _kind(region, muscle) == "pectoral_muscle" and region.type in (OPEN_LINE, None):
        return CornerLine(points, record.laterality or _wall(points))
    if region.type in (PENCIL, None):
        return Spline(points, region.area_cm2)
    return Polygon(points, closed=region.type != OPEN_LINE)


def _wall(line: tuple[Point, ...]) -> Literal["L", "R"]:
    """Return the side of the chest wall, on which the lower end of a muscle's edge lies."""
    upper, lower = sorted((line[0], line[-1]), key=lambda point: point[1])
    return "L" if lower[0] < upper[0] else "R"
