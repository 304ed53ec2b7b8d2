"""Mini-MIAS: PGM films of 1024 x 1024 pixels, one text table of circles.

Layout, as the Kaggle copy has it; the older tar file holds all in one folder:

    all-mias/mdb001.pgm                   8 bit, 0.2 mm a pixel; README and Licence.txt beside
    Info.txt                              one row a lesion: mdb001 G CIRC B 535 425 197

A row is film, background tissue, class, severity, x, y, radius; columns are apart by blanks, and
lines that name no film (titles, explanations) are no rows. Healthy films have three columns. The
origin of y is the bottom of the image. Circles enclose a lesion, of calcifications a cluster. Where
the radiologist saw them all over the breast there is no place: "*NOTE 3*", or nothing.

The readme says what cannot be seen in the files: even numbers are left, odd are right breasts, and
mdb001 and mdb002 one patient. All films are MLO.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

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
    stem,
    unreadable_row,
    worst_pathology,
)
from bcseg.errors import ArchiveError
from bcseg.formats.tables import Row, read_words
from bcseg.record import Circle, Index, Lesion, Record, Shape, Unreadable
from bcseg.source import Source, read

INFO = Info(
    name="mias",
    title="Mini-MIAS (Mammographic Image Analysis Society)",
    url="https://www.repository.cam.ac.uk/handle/1810/250394",
    # Licence.txt of the archive; the repository's page says CC BY 2.0 UK of version 1.21
    licence="MIAS licence agreement: for research only; may not be rented, leased or sold",
    citation=(
        "Suckling J, Parker J, Dance D, et al. The Mammographic Image Analysis Society digital"
        " mammogram database. Excerpta Medica, International Congress Series 1069, 375-378 (1994)."
    ),
    restricted=True,
    layout="all-mias/mdb001.pgm\nInfo.txt",
    # readme: films of 161 patients, in pairs
    published={"images": 322},
    default_kinds=("mass",),
    aliases=("mini-mias",),
)

_SIDE = 1024  # pixels (readme: "the size of all the images is 1024 pixels x 1024 pixels")
_SPACING_MM = 0.2  # readme: "reduced to 200 micron pixel edge"

_IMAGE = re.compile(r"mdb(\d{3})", re.IGNORECASE)
_TABLE = re.compile(r"(?:mini.?)?(?:mias.?)?info(?:rmation)?\.txt", re.IGNORECASE)
_ENDINGS = (".pgm", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
_COLUMNS = ("refnum", "bg", "class", "severity", "x", "y", "radius")

_TISSUE = {"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"}
_SEVERITY = {"B": "benign", "M": "malignant"}
_KINDS = {
    "CIRC": "mass",  # well-defined, circumscribed
    "SPIC": "mass",  # spiculated
    "MISC": "mass",  # "other, ill-defined masses"
    "CALC": "cluster",  # "apply to clusters rather than individual calcifications"
    "ARCH": "distortion",
    "ASYM": "asymmetry",
}

# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {
    "as published: PGM": r"\.pgm$",
    "converted images": r"\.(png|tiff?|jpe?g|bmp)$",
}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like Mini-MIAS's own; its table counts beside its images."""
    images = sum(bool(_film(name)) for name in names)
    return images + (bool(images) and any(_TABLE.fullmatch(leaf(name)) for name in names))


lesions = listed_lesions


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of the archive; raises ArchiveError without an image or a table."""
    names = source.names()
    images, left_out = images_by_id(names, _film, (".pgm",))
    tables = [name for name in names if _TABLE.fullmatch(leaf(name))]
    if not images:
        raise ArchiveError("no image named like mdb001.pgm", where=str(source.location))
    if not tables:
        raise ArchiveError(
            "no table of circles (Info.txt)",
            where=str(source.location),
            hint="put it beside the images: without it every film would seem to be normal",
        )
    table = read_words(read(source, tables[0]), tables[0], _COLUMNS, _IMAGE)
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        rows[row.raw("refnum").lower()].append(replace(row, damage=_damage(row)))
    films = sorted(images.keys() | rows.keys())
    records = tuple(_record(film, images.get(film, ""), rows[film]) for film in films)
    return Index(
        records=records,
        layout=layout_of(records, _LAYOUTS),
        tables={table.name: len(table.rows)},
        documents=tuple(n for n in names if _is_document(n)),
        left_out=tuple(left_out),
    )


def _film(name: str) -> str:
    """Return the number of the film as the table writes it, "" if the name is no film's."""
    match = _IMAGE.fullmatch(stem(name))
    return f"mdb{match[1]}" if match and ending(name) in _ENDINGS else ""


def _is_document(name: str) -> bool:
    plain = leaf(name).lower()
    return plain.startswith(("readme", "licen")) or ending(name) == ".txt"


def _damage(row: Row) -> str:
    """Return why a row cannot be used, "" if it can."""
    line = " ".join(row.cells.values())[:60]
    if row.raw("class") not in {"NORM", *_KINDS}:
        return f"the row names no class of lesion: {line!r}"
    if row.raw("class") != "NORM" and row.raw("severity") not in _SEVERITY:
        return f"the row does not say benign or malignant: {line!r}"
    return ""


def _record(film: str, image: str, rows: Sequence[Row]) -> Record:
    number = int(film.removeprefix("mdb"))
    pair = (number + 1) // 2
    good = [row for row in rows if not row.damage]
    normal = any(row.raw("class") == "NORM" for row in good)
    marked = [row for row in rows if row.damage or row.raw("class") != "NORM"]
    found = [_lesion(number, row) for number, row in enumerate(marked, start=1)]
    lesions = drawable(found)
    drawn = {one.source for one in lesions}
    return Record(
        record_id=film,
        image=image,
        patient_id=f"{2 * pair - 1:03d}-{2 * pair:03d}",
        group=f"mias:{2 * pair - 1:03d}-{2 * pair:03d}",
        laterality="R" if number % 2 else "L",
        view="MLO",
        density=next((_TISSUE.get(r.raw("bg"), "") for r in good), ""),
        pathology="normal" if normal else worst_pathology(one.pathology for one in found),
        film=True,
        pixel_spacing_mm=_SPACING_MM,
        expected_size=(_SIDE, _SIDE),
        lesions=lesions,
        rows=tuple(row.item for row in rows if row.item not in drawn),
        left_out="" if image else "no_image",
        free_of=("*",) if good else (),
        suspicious=doubts_of(found),
    )


def _lesion(number: int, row: Row) -> Lesion:
    if row.damage:
        return unreadable_row(row, str(number))
    return Lesion(
        lesion_id=str(number),
        kind=_KINDS[row.raw("class")],
        label=row.raw("class"),
        shape=_shape(row),
        source=row.item,
        pathology=_SEVERITY[row.raw("severity")],
    )


def _shape(row: Row) -> Shape:
    """Return the circle in pixels from the top left, or why there is none.

    The readme puts the origin into the bottom left corner and does not say whether pixels count
    from 0 or 1: they are taken to count from 0, so that y = 0 is the lowest row.
    """
    cells = [row.raw(column) for column in ("x", "y", "radius")]
    if not cells[0] or cells[0].startswith("*"):
        return Unreadable(NO_COORDINATES, "the table does not say where it is (note 3)")
    try:
        x, y, radius = (float(cell) for cell in cells)
    except ValueError:
        return Unreadable("unreadable_contour", f"not a circle: {' '.join(cells)[:40]!r}")
    if not (math.isfinite(x + y + radius) and radius > 0):
        return Unreadable("unreadable_contour", f"not a circle: {' '.join(cells)[:40]!r}")
    return Circle(x, _SIDE - 1 - y, radius)
