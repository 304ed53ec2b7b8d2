"""CDD-CESM: low-energy (DM) and subtracted (CM) JPEGs, one VIA table of hand-drawn regions.

Layout, as TCIA delivers it:

    PKG - CDD-CESM/CDD-CESM/Low energy images of CDD-CESM/P1_L_DM_MLO.jpg
                            Subtracted images of CDD-CESM/P1_L_CM_MLO.jpg
    Radiology_hand_drawn_segmentations_v2.csv      one row a region, shape as JSON
    Radiology-manual-annotations.xlsx              sheet `all`: one row an image
    Medical reports for cases/P1.docx              not read

The regions carry no class. Users put both image folders into one: the names do not collide.
Images, workbook and table spell some names with a trailing blank: stripped names are compared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from bcseg.adapters.base import (
    Info,
    ReadOptions,
    counted,
    ending,
    highest_birads,
    layout_of,
    leaf,
    listed_lesions,
    pathology_word,
    shape_or_unreadable,
    sound_rows,
    stem,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.tables import Row, Table, read_csv, read_xlsx, whole_number
from bcseg.formats.via import read_shape
from bcseg.record import (
    Failed,
    Index,
    LeftOut,
    Lesion,
    Record,
    Shape,
    Unreadable,
    Warned,
)
from bcseg.source import Source, read

INFO = Info(
    name="cdd",
    title="CDD-CESM (Categorized Digital Database for Contrast Enhanced Mammography)",
    url="https://doi.org/10.7937/29kw-ae92",
    licence="CC BY 4.0 (TCIA page); the authors' code repository states CC BY-NC 4.0",
    citation=(
        "Khaled R, Helal M, Alfarghaly O, et al. Categorized contrast enhanced mammography dataset"
        " for diagnostic and artificial intelligence research. Scientific Data 9, 122 (2022)."
        " doi:10.7937/29kw-ae92"
    ),
    restricted=False,
    layout=(
        "PKG - CDD-CESM/CDD-CESM/Low energy images of CDD-CESM/P1_L_DM_MLO.jpg\n"
        "PKG - CDD-CESM/CDD-CESM/Subtracted images of CDD-CESM/P1_L_CM_MLO.jpg\n"
        "Radiology_hand_drawn_segmentations_v2.csv\n"
        "Radiology-manual-annotations.xlsx"
    ),
    # counted in the annotation workbook and in the region table, version 2
    published={"images": 2006, "patients": 326, "regions": 2971, "images_with_regions": 1233},
    default_kinds=("finding",),
    aliases=("cdd-cesm", "cesm"),
    options=("image_type",),
)

_IMAGE = re.compile(r"(P\d+)_([LR])_(DM|CM)_(CC|MLO)(_\d+)?", re.IGNORECASE)
_TABLE = re.compile(r"radiology.?hand.?drawn.?segmentations(?:_v(\d+))?.*\.csv", re.IGNORECASE)
_BOOK = re.compile(r"radiology.?manual.?annotations.*\.xlsx", re.IGNORECASE)
_ENDINGS = (".jpg", ".jpeg", ".png")

# columns of the sheet `all` that may be kept: none of them identifies a person
_KEPT = {"findings": "findings", "machine": "machine", "birads": "birads_as_published"}

# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {
    "as published: two image folders": r"(low.energy|subtracted).images",
    "flat: both kinds of image in one folder": r"\.jpe?g$",
}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like CDD-CESM's own."""
    return sum(bool(_image_id(name)) or bool(_TABLE.fullmatch(leaf(name))) for name in names)


lesions = listed_lesions


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of the archive; raises ArchiveError if it has no image or no regions."""
    names = source.names()
    images: dict[str, str] = {}
    left_out = []
    for name in names:
        image_id = _image_id(name)
        if not image_id:
            continue
        if image_id in images:
            message = f"the same image as {images[image_id]}"
            left_out.append(LeftOut("duplicate_image", message, (name,), image_id))
        else:
            images[image_id] = name
    if not images:
        raise ArchiveError("no image named like P1_L_DM_MLO.jpg", where=str(source.location))
    table, warnings = _regions_table(source, names)
    book, more = _workbook(source, names)
    warnings += more
    regions, failed = _by_image(table)
    warnings += _other_files(source, images, regions)
    facts, bad_rows = _facts(book)
    failed += bad_rows
    records = tuple(
        _record(image_id, images.get(image_id, ""), regions[image_id], facts[image_id], options)
        for image_id in sorted(images.keys() | regions.keys() | facts.keys())
    )
    tables = {table.name: len(table.rows)} | ({book.name: len(book.rows)} if book else {})
    documents = [name for name in names if _is_document(name)]
    return Index(
        records=records,
        layout=layout_of(records, _LAYOUTS),
        tables=tables,
        documents=tuple(documents),
        left_out=tuple(left_out),
        failed=tuple(failed),
        warnings=tuple(warnings),
        notes=_notes(records),
    )


def _notes(records: Iterable[Record]) -> tuple[str, ...]:
    """Say how many images are called normal and have regions: 8, as published."""
    odd = sum(bool(one.image and one.lesions and one.pathology == "normal") for one in records)
    return (f"{counted(odd, 'image')} with regions, called normal by the workbook",) if odd else ()


def _image_id(name: str) -> str:
    """Return the id that all spellings of an image name share, "" if it is no such name."""
    if ending(name) not in _ENDINGS:
        return ""
    match = _IMAGE.fullmatch(stem(name))
    return match[0].upper() if match else ""


def _is_document(name: str) -> bool:
    known = any(pattern.fullmatch(leaf(name)) for pattern in (_TABLE, _BOOK))
    return known or ending(name) == ".docx"


def _regions_table(source: Source, names: Sequence[str]) -> tuple[Table, list[Warned]]:
    """Return the table of regions: of several, that of the highest version."""
    found = sorted((int(m[1] or 1), n) for n in names if (m := _TABLE.fullmatch(leaf(n))))
    if not found:
        raise ArchiveError(
            "no table of regions (Radiology_hand_drawn_segmentations_v2.csv)",
            where=str(source.location),
            hint="it is a separate download of the collection; put it beside the images",
        )
    *others, (_, name) = found
    try:
        table = read_csv(read(source, name), name)
    except RecordError as error:
        raise ArchiveError(
            f"the table of regions cannot be read: {error.args[0]}", where=name
        ) from error
    missing = {"filename", "region_shape_attributes", "region_id"} - set(table.headers)
    if missing:
        raise ArchiveError(
            f"the table of regions has no column {', '.join(sorted(missing))}", where=name
        )
    message = f"not read: the regions are those of {name}"
    return table, [Warned("table_not_read", message, other) for _, other in others]


def _other_files(
    source: Source, images: Mapping[str, str], regions: Mapping[str, list[Row]]
) -> list[Warned]:
    """Warn of images of another size in bytes than those that the regions were drawn on."""
    drawn_on = {i: whole_number(rows[0].get("file_size")) for i, rows in regions.items()}
    known = [i for i in sorted(images) if drawn_on.get(i) is not None]
    other = [i for i in known if source.size(images[i]) != drawn_on[i]]
    if not other:
        return []
    message = (
        f"{len(other)} of {len(known)} images are not the files that the regions were drawn on"
        f" (another size in bytes, first {other[0]}): if they were resized, the masks are wrong"
    )
    return [Warned("image_changed", message, images[other[0]])]


def _workbook(source: Source, names: Sequence[str]) -> tuple[Table | None, list[Warned]]:
    found = [name for name in names if _BOOK.fullmatch(leaf(name))]
    if not found:
        message = "no Radiology-manual-annotations.xlsx: BI-RADS, density and pathology unknown"
        return None, [Warned("table_missing", message)]
    try:
        book = read_xlsx(read(source, found[0]), found[0], "all")
    except RecordError as error:
        return None, [Warned(error.code, str(error.args[0]), found[0])]
    if "image_name" not in book.headers:
        message = "its sheet `all` has no column Image_name"
        return None, [Warned("unreadable_table", message, found[0])]
    return book, []


def _by_image(table: Table) -> tuple[defaultdict[str, list[Row]], list[Failed]]:
    failed: list[Failed] = []
    regions: defaultdict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        image_id = _image_id(row.raw("filename"))
        if image_id:
            regions[image_id].append(row)
        else:
            message = row.damage or "filename is not an image name of this dataset"
            failed.append(Failed("unreadable_row", message, (row.item,)))
    return regions, failed


def _facts(book: Table | None) -> tuple[defaultdict[str, list[Row]], list[Failed]]:
    facts: defaultdict[str, list[Row]] = defaultdict(list)
    if book is None:
        return facts, []
    good, failed = sound_rows(book)
    for row in good:
        name = row.raw("image_name")
        image_id = _image_id(name) or _image_id(f"{name}.jpg")
        if image_id:
            facts[image_id].append(row)
        else:
            message = "Image_name is not an image name of this dataset"
            failed.append(Failed("unreadable_row", message, (row.item,)))
    return facts, failed


def _record(
    image_id: str, image: str, regions: list[Row], facts: list[Row], options: ReadOptions
) -> Record:
    match = _IMAGE.fullmatch(image_id)
    assert match is not None
    patient, laterality, image_type, view = (part.upper() for part in match.groups()[:4])
    row = facts[0] if facts else Row("", {})
    pathology = pathology_word(row.get("pathology_classification_follow_up"))
    birads = row.get("birads")
    attributes = {"image_type": image_type} | {
        key: row.get(column) for column, key in _KEPT.items() if row.get(column)
    }
    left_out = "" if image else "no_image"
    if image and options.image_type not in ("all", image_type.lower()):
        left_out = "image_type_not_chosen"
    shapes = [(region, _shape(region, options)) for region in regions]
    marked = [(region, shape) for region, shape in shapes if shape is not None]
    blank = [region.item for region, shape in shapes if shape is None]
    suspicious = {}
    if not marked and pathology not in ("normal", ""):
        suspicious["*"] = f"the workbook says {pathology}"
    return Record(
        record_id=image_id,
        image=image,
        patient_id=patient,
        group=f"cdd:{patient}",
        laterality="L" if laterality == "L" else "R",
        view=view,
        age=row.get("age"),
        birads=highest_birads(birads.split("$")),
        density=row.get("breast_density_(acr)", "acr"),
        pathology=pathology,
        lesions=tuple(_lesion(row, shape, pathology) for row, shape in marked) + _lost(regions),
        rows=(*(fact.item for fact in facts), *blank),
        left_out=left_out,
        free_of=("*",) if pathology == "normal" or suspicious else (),
        suspicious=suspicious,
        attributes=attributes,
    )


def _shape(row: Row, options: ReadOptions) -> Shape | None:
    """Return the shape of a region; None for a row that only says that there is none ("{}")."""
    if row.damage:
        return Unreadable("unreadable_row", row.damage)
    text = row.raw("region_shape_attributes")
    if not text and row.get("region_count") != "0":
        return Unreadable("unreadable_contour", "the region has no shape")
    return shape_or_unreadable(partial(read_shape, text, row.item, options.limits))


def _lesion(row: Row, shape: Shape, pathology: str) -> Lesion:
    return Lesion(
        lesion_id=row.raw("region_id") or "row" + row.item.rsplit("#", 1)[1],
        kind="finding",
        label="",
        shape=shape,
        source=row.item,
        pathology=pathology,
    )


def _lost(regions: list[Row]) -> tuple[Lesion, ...]:
    """Return an unreadable lesion if the rows of an image are fewer than their region_count."""
    most = max((whole_number(row.get("region_count")) or 0 for row in regions), default=0)
    if most <= len(regions):
        return ()
    message = f"the table announces {most} regions of this image and holds {len(regions)}"
    shape = Unreadable("unreadable_contour", message)
    return (
        Lesion(lesion_id="lost", kind="finding", label="", shape=shape, source=regions[0].item),
    )
