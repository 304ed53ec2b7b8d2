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
from collections.abc import Sequence
from functools import partial

from bcseg.adapters.base import (
    Info,
    ReadOptions,
    ending,
    highest_birads,
    listed_lesions,
    pathology_word,
    shape_or_unreadable,
    sound_rows,
    stem,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.tables import Row, Table, read_csv, read_xlsx
from bcseg.formats.via import read_shape
from bcseg.records import Failed, Index, LeftOut, Lesion, Record, Warned
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
_TABLE = re.compile(r"radiology.?hand.?drawn.?segmentations.*\.csv", re.IGNORECASE)
_BOOK = re.compile(r"radiology.?manual.?annotations.*\.xlsx", re.IGNORECASE)
_ENDINGS = (".jpg", ".jpeg", ".png")

# columns of the sheet `all` that may be kept: none of them identifies a person
_KEPT = {"findings": "findings", "machine": "machine", "birads": "birads_as_published"}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like CDD-CESM's own."""
    return sum(bool(_image_id(name)) or bool(_TABLE.fullmatch(_leaf(name))) for name in names)


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
            left_out.append(
                LeftOut("duplicate_image", f"the same image as {images[image_id]}", (name,))
            )
        else:
            images[image_id] = name
    if not images:
        raise ArchiveError("no image named like P1_L_DM_MLO.jpg", where=str(source.location))
    table = _regions_table(source, names)
    book, warnings = _workbook(source, names)
    regions, failed = _by_image(table)
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
        tables=tables,
        documents=tuple(documents),
        left_out=tuple(left_out),
        failed=tuple(failed),
        warnings=tuple(warnings),
    )


def _leaf(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _image_id(name: str) -> str:
    """Return the id that all spellings of an image name share, "" if it is no such name."""
    if ending(name) not in _ENDINGS:
        return ""
    match = _IMAGE.fullmatch(stem(name))
    return match[0].upper() if match else ""


def _is_document(name: str) -> bool:
    leaf = _leaf(name)
    return bool(_TABLE.fullmatch(leaf) or _BOOK.fullmatch(leaf)) or ending(name) == ".docx"


def _regions_table(source: Source, names: Sequence[str]) -> Table:
    found = [name for name in names if _TABLE.fullmatch(_leaf(name))]
    if not found:
        raise ArchiveError(
            "no table of regions (Radiology_hand_drawn_segmentations_v2.csv)",
            where=str(source.location),
            hint="it is a separate download on the page of the collection; put it beside the images",
        )
    return _checked(read_csv(read(source, found[0]), found[0]))


def _checked(table: Table) -> Table:
    missing = {"filename", "region_shape_attributes", "region_id"} - set(table.headers)
    if missing:
        raise ArchiveError(
            f"the table of regions has no column {', '.join(sorted(missing))}", where=table.name
        )
    return table


def _workbook(source: Source, names: Sequence[str]) -> tuple[Table | None, list[Warned]]:
    found = [
        name for name in names if _BOOK.fullmatch(_leaf(name)) and not _leaf(name).startswith("~$")
    ]
    if not found:
        message = "no Radiology-manual-annotations.xlsx: BI-RADS, density and pathology unknown"
        return None, [Warned("table_missing", message)]
    try:
        return read_xlsx(read(source, found[0]), found[0], "all"), []
    except RecordError as error:
        return None, [Warned(error.code, str(error.args[0]), found[0])]


def _by_image(table: Table) -> tuple[defaultdict[str, list[Row]], list[Failed]]:
    good, failed = sound_rows(table)
    regions: defaultdict[str, list[Row]] = defaultdict(list)
    for row in good:
        image_id = _image_id(row.raw("filename"))
        if image_id:
            regions[image_id].append(row)
        else:
            message = f"{row.raw('filename')[:60]!r} is not an image name of this dataset"
            failed.append(Failed("unreadable_row", message, (row.item,)))
    return regions, failed


def _facts(book: Table | None) -> tuple[defaultdict[str, list[Row]], list[Failed]]:
    facts: defaultdict[str, list[Row]] = defaultdict(list)
    if book is None:
        return facts, []
    good, failed = sound_rows(book)
    for row in good:
        match = _IMAGE.fullmatch(row.raw("image_name"))
        if match:
            facts[match[0].upper()].append(row)
        else:
            message = f"{row.raw('image_name')[:60]!r} is not an image name of this dataset"
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
    suspicious = {}
    if not regions and pathology not in ("normal", ""):
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
        lesions=tuple(_lesion(region, pathology) for region in regions if _has_shape(region)),
        rows=tuple([fact.item for fact in facts] + [r.item for r in regions if not _has_shape(r)]),
        left_out=left_out,
        free_of=("*",) if pathology == "normal" or suspicious else (),
        suspicious=suspicious,
        attributes=attributes,
    )


def _has_shape(row: Row) -> bool:
    """Tell a region from a row that only says that the image has none ("{}")."""
    return row.raw("region_shape_attributes") not in ("", "{}")


def _lesion(row: Row, pathology: str) -> Lesion:
    shape = shape_or_unreadable(partial(read_shape, row.raw("region_shape_attributes"), row.item))
    assert shape is not None
    return Lesion(
        lesion_id=row.raw("region_id"),
        kind="finding",
        label="",
        shape=shape,
        source=row.item,
        pathology=pathology,
    )
