"""VinDr-Mammo: DICOM mammograms, one table of boxes round what needs a further examination.

Layout, as PhysioNet delivers it:

    images/<study_id>/<image_id>.dicom           four views an examination; ids are 32 hex digits
    finding_annotations.csv                      one row a box; an image without one has a row too
    breast-level_annotations.csv                 one row an image: BI-RADS and density of the breast
    metadata.csv, LICENSE.txt, SHA256SUMS.txt    not read

A row of findings holds its categories as a Python list: "['Mass', 'Suspicious Calcification']".
Boxes are drawn round findings of BI-RADS 3 and above only, so that a breast of BI-RADS 2 has
lesions without a box. Corners are fractions of pixels and may lie outside the image. Patients are
not told: an examination stands for one.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bcseg.adapters.base import (
    NO_COORDINATES,
    Info,
    ReadOptions,
    doubts_of,
    drawable,
    ending,
    images_by_id,
    layout_of,
    leaf,
    listed_lesions,
    side_of,
    stem,
    unreadable_row,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.tables import Row, Table, read_csv
from bcseg.record import (
    Failed,
    Index,
    Lesion,
    Polygon,
    Record,
    Shape,
    Size,
    Unreadable,
    Warned,
)
from bcseg.source import Source, read

INFO = Info(
    name="vindr",
    title="VinDr-Mammo",
    url="https://doi.org/10.13026/br2v-7517",
    licence=(
        "PhysioNet Restricted Health Data License 1.5.0: credentialed users only; may not be"
        " passed on"
    ),
    citation=(
        "Nguyen HT, Nguyen HQ, Pham HH, et al. VinDr-Mammo: A large-scale benchmark dataset for"
        " computer-aided diagnosis in full-field digital mammography. Scientific Data 10, 277"
        " (2023). doi:10.1038/s41597-023-02100-7"
    ),
    restricted=True,
    layout=(
        "images/48575a27b7c992427041a82fa750d3fa/4e3a578fe535ea4f5258d3f7f4419db8.dicom\n"
        "finding_annotations.csv\n"
        "breast-level_annotations.csv"
    ),
    # the paper: 5,000 examinations of four views; boxes: rows with corners in the table of findings
    published={"images": 20000, "examinations": 5000, "boxes": 2254},
    default_kinds=("mass",),
    aliases=("vindr-mammo",),
)

_IMAGE = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_FINDINGS = re.compile(r"finding[_-]annotations.*\.csv", re.IGNORECASE)
_BREASTS = re.compile(r"breast[_-]level[_-]annotations.*\.csv", re.IGNORECASE)
_OTHERS = re.compile(r"metadata.*\.csv|licen[cs]e.*|sha256sums.*|readme.*|index\.html", re.I)
_DICOM = (".dicom", ".dcm")
_ENDINGS = (*_DICOM, ".png", ".jpg", ".jpeg", ".tif", ".tiff")
_QUOTED = re.compile(r"""(['"])(.*?)\1""")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NOTHING = "no finding"

# Categories in the order in which one box of several takes its kind: lesions before signs at the
# skin, that which is outlined most often before that which is vague.
_KINDS = {
    "mass": "mass",
    "suspicious calcification": "calcification",
    "architectural distortion": "distortion",
    "focal asymmetry": "asymmetry",
    "global asymmetry": "asymmetry",
    "asymmetry": "asymmetry",
    "suspicious lymph node": "adenopathy",
    "skin thickening": "skin",
    "skin retraction": "skin",
    "nipple retraction": "nipple",
}

# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {
    "as published: DICOM": r"\.(dicom|dcm)$",
    "converted images": r"\.(png|jpe?g|tiff?)$",
}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like VinDr-Mammo's own: hex digits in a folder of hex digits."""
    tables = (_FINDINGS, _BREASTS)
    return sum(
        bool(_image_id(name) and _IMAGE.fullmatch(_study(name)))
        or any(pattern.fullmatch(leaf(name)) for pattern in tables)
        for name in names
    )


lesions = listed_lesions


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of the archive; raises ArchiveError if it has no image or no boxes."""
    names = source.names()
    images, left_out = images_by_id(names, _image_id, _DICOM)
    if not images:
        raise ArchiveError(
            "no image named like images/<study_id>/<image_id>.dicom", where=str(source.location)
        )
    findings = _findings_table(source, names)
    breasts, warnings = _breasts_table(source, names)
    rows, failed = _by_image(findings)
    facts, bad = _by_image(breasts)
    image_ids = sorted(images.keys() | rows.keys() | facts.keys())
    records = tuple(_record(i, images.get(i, ""), rows[i], facts[i]) for i in image_ids)
    tables = [table for table in (findings, breasts) if table is not None]
    return Index(
        records=records,
        layout=layout_of(records, _LAYOUTS),
        tables={table.name: len(table.rows) for table in tables},
        documents=tuple(name for name in names if _is_document(leaf(name))),
        left_out=tuple(left_out),
        failed=(*failed, *bad),
        warnings=tuple(warnings),
    )


def _image_id(name: str) -> str:
    """Return the id of the image, "" if the name is no image's."""
    found = ending(name) in _ENDINGS and _IMAGE.fullmatch(stem(name))
    return stem(name).lower() if found else ""


def _study(name: str) -> str:
    """Return the folder that holds a file, without the folders above."""
    return name.split("/")[-2] if "/" in name else ""


def _is_document(plain: str) -> bool:
    return any(pattern.fullmatch(plain) for pattern in (_FINDINGS, _BREASTS, _OTHERS))


def _findings_table(source: Source, names: Sequence[str]) -> Table:
    found = [name for name in names if _FINDINGS.fullmatch(leaf(name))]
    if not found:
        raise ArchiveError(
            "no table of boxes (finding_annotations.csv)",
            where=str(source.location),
            hint="put it beside the images: without it every image would seem to be healthy",
        )
    table = read_csv(read(source, found[0]), found[0])
    missing = {"image_id", "finding_categories", *_CORNERS} - set(table.headers)
    if missing:
        words = ", ".join(sorted(missing))
        raise ArchiveError(f"the table of boxes has no column {words}", where=found[0])
    return table


def _breasts_table(source: Source, names: Sequence[str]) -> tuple[Table | None, list[Warned]]:
    found = [name for name in names if _BREASTS.fullmatch(leaf(name))]
    if not found:
        return None, []  # the table of boxes repeats all that it says
    try:
        table = read_csv(read(source, found[0]), found[0])
    except RecordError as error:
        return None, [Warned(error.code, str(error.args[0]), found[0])]
    if "image_id" not in table.headers:
        return None, [Warned("unreadable_table", "the table has no column image_id", found[0])]
    return table, []


def _by_image(table: Table | None) -> tuple[defaultdict[str, list[Row]], list[Failed]]:
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    failed = []
    for row in table.rows if table else ():
        image_id = row.raw("image_id").lower()
        if _IMAGE.fullmatch(image_id):
            rows[image_id].append(row)
        else:
            message = row.damage or f"{image_id[:40]!r} is not the id of an image"
            failed.append(Failed("unreadable_row", message, (row.item,)))
    return rows, failed


def _record(image_id: str, image: str, rows: Sequence[Row], facts: Sequence[Row]) -> Record:
    told = [row for row in (*rows, *facts) if not row.damage]
    study = _first(told, "study_id") or (_study(image) if image else "")
    birads = _first(told, "breast_birads").removeprefix("BI-RADS").strip()
    marked = [row for row in rows if row.damage or _categories(row) != [_NOTHING]]
    found = [_lesion(number, row) for number, row in enumerate(marked, start=1)]
    lesions = drawable(found)
    drawn = {one.source for one in lesions}
    return Record(
        record_id=image_id,
        image=image,
        patient_id=study,
        group=f"vindr:{study}" if study else "",
        laterality=side_of(_first(told, "laterality")),
        view=_first(told, "view_position").upper(),
        split=_first(told, "split"),
        birads=birads,
        density=re.sub(r"(?i)^density\s*", "", _first(told, "breast_density")),
        expected_size=_size(told),
        lesions=lesions,
        rows=tuple(row.item for row in (*rows, *facts) if row.item not in drawn),
        left_out="" if image else "no_image",
        free_of=("*",) if rows and not found and birads == "1" else (),
        suspicious=_doubts(found, birads),
    )


def _first(rows: Iterable[Row], column: str) -> str:
    return next((text for row in rows if (text := row.get(column))), "")


def _size(rows: Iterable[Row]) -> Size | None:
    """Return (rows, columns) of the image as the tables give them."""
    sides = [_first(rows, column).removesuffix(".0") for column in ("height", "width")]
    known = all(re.fullmatch(r"[0-9]{1,6}", side) for side in sides)
    return (int(sides[0]), int(sides[1])) if known else None


def _categories(row: Row) -> list[str]:
    """Return the categories of a row, in lower case; the cell is a Python list, or one word."""
    text = row.raw("finding_categories")
    quoted = [word for _, word in _QUOTED.findall(text)] if text.startswith("[") else []
    cleaned = [" ".join(word.split()).lower() for word in quoted or [text.strip("[]")]]
    return [word for word in cleaned if word] or [_NOTHING]


def _lesion(number: int, row: Row) -> Lesion:
    if row.damage:
        return unreadable_row(row, str(number))
    words = _categories(row)
    kind = next((_KINDS[word] for word in _KINDS if word in words), "finding")
    return Lesion(
        lesion_id=str(number),
        kind=kind,
        label=", ".join(word.title() for word in words),
        shape=_box(row),
        source=row.item,
        birads=row.get("finding_birads").removeprefix("BI-RADS").strip(),
        attributes={"categories": ", ".join(words)},
    )


def _box(row: Row) -> Shape:
    """Return the box of a row, its coordinates as they are: their origin is told nowhere."""
    cells = [row.get(column) for column in _CORNERS]
    if not any(cells):
        return Unreadable(NO_COORDINATES, "the table gives no box")
    try:
        left, top, right, bottom = (float(cell) for cell in cells)
    except ValueError:
        return Unreadable("unreadable_contour", f"not a box: {', '.join(cells)[:60]}")
    if not (math.isfinite(left + top + right + bottom) and left < right and top < bottom):
        return Unreadable("unreadable_contour", f"not a box: {', '.join(cells)[:60]}")
    return Polygon(((left, top), (right, top), (right, bottom), (left, bottom)))


def _doubts(found: Sequence[Lesion], birads: str) -> Mapping[str, str]:
    """Return why an image is not to be believed free of kinds that have no box in it.

    Below BI-RADS 3 nothing is drawn, which says nothing about a breast of BI-RADS 2.
    """
    if not found and birads not in ("", "1", "2"):
        return {"*": f"no box, but BI-RADS {birads}"}
    return doubts_of(found)
