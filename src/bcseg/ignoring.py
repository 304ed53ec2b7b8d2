"""Lesions that were rejected and lie in ignore/ID.png: neither lesion nor background.

A pair that was taken without some lesions of its mask keeps their rows, with in_mask 0 and
`"ignored": "1"` among the attributes. masks/ID.png is the union of the lesions that are left;
ignore/ID.png that of the ignored ones, without the pixels of the mask. The row of records.csv
tells about the lesions that are left, as if the others had never been chosen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg import png, raster
from bcseg.adapters.base import highest_birads, worst_pathology
from bcseg.errors import RecordError
from bcseg.pairs import Row, json_cell, number
from bcseg.raster import Patch
from bcseg.record import Size
from bcseg.redrawing import Line, annotation_sha256, patch_of_runs

_ATTRIBUTE = "ignored"
_MIXED = "pathology mixed: "  # a note of refactor about all lesions of the mask
_NOTE = "rejected, in ignore/: "


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """A pair without some of its lesions: its rows, its lines of lesions.jsonl.gz, its masks."""

    row: Row
    lesions: list[Row]
    lines: list[dict[str, Any]]
    mask: NDArray[np.uint8]
    ignore: NDArray[np.uint8]


def ignore_file(record_id: str) -> str:
    """Return the name in the pairs folder of what is neither lesion nor background."""
    return f"ignore/{record_id}.png"


def ignored_lesions(lesions: Iterable[Row]) -> tuple[str, ...]:
    """Return the ids of the lesions that are marked as ignored."""
    return tuple(row["lesion_id"] for row in lesions if is_ignored(row))


def is_ignored(lesion: Row) -> bool:
    """Tell whether a row of lesions.csv is of a lesion that lies in ignore/."""
    return f'"{_ATTRIBUTE}"' in lesion["attributes"] and _ATTRIBUTE in _attributes(lesion)


def ignore_mask(mask: Iterable[Patch], ignored: Iterable[Patch], size: Size) -> NDArray[np.uint8]:
    """Return the pixels of ignored lesions that no lesion of the mask covers, as 0 and 255."""
    found = raster.paint(ignored, size)
    found[raster.paint(mask, size) > 0] = 0
    return found


def without(
    row: Row, lesions: Sequence[Row], lines: Sequence[Line], ids: Iterable[str], *, radius: float
) -> Reduced:
    """Return a pair without some of the lesions in its mask.

    `ids`: the lesions to ignore from now on; `radius`: of points, as the pair was made with.
    Raises RecordError where lesions.jsonl.gz is not what the mask and its hash were made from.
    """
    gone = {*ids}
    old = [line for line in lines if line["in_mask"]]
    kept = [line for line in old if line["lesion_id"] not in gone]
    ignored = gone | {*ignored_lesions(lesions)}
    size = int(row["height"]), int(row["width"])
    patches = {line["lesion_id"]: patch_of_runs(line["rle"]) for line in lines}
    _check(row, old, patches, size, radius)
    left = [patches[line["lesion_id"]] for line in kept]
    mask = raster.paint(left, size)
    new_lesions = [_lesion_row(one, ignored=one["lesion_id"] in ignored) for one in lesions]
    changed = _mask_cells(row, mask) | {
        "annotation_sha256": annotation_sha256(kept, radius),
        "notes": _notes(row, new_lesions),
        **_told_by_lesions(row, lesions, new_lesions),
    }
    return Reduced(
        row | changed,
        new_lesions,
        [
            dict(line) | {"in_mask": line["in_mask"] and line["lesion_id"] not in gone}
            for line in lines
        ],
        mask,
        ignore_mask(left, [patches[one] for one in patches if one in ignored], size),
    )


def _check(
    row: Row, lines: Sequence[Line], patches: Mapping[str, Patch], size: Size, radius: float
) -> None:
    """Refuse lines that do not give the mask, or the annotation, that the table has."""
    union = raster.paint([patches[line["lesion_id"]] for line in lines], size)
    for column, value in (
        ("mask_sha256", png.pixels_sha256(union)),
        ("annotation_sha256", annotation_sha256(lines, radius)),
    ):
        if row[column] != value:
            raise RecordError(
                f"its lesions in lesions.jsonl.gz do not give the {column} of records.csv"
            )


def _lesion_row(row: Row, *, ignored: bool) -> Row:
    if not ignored:
        return row
    attributes = _attributes(row) | {_ATTRIBUTE: "1"}
    return row | {"in_mask": "0", "attributes": json_cell(attributes)}


def _attributes(row: Row) -> dict[str, Any]:
    try:
        found = json.loads(row["attributes"] or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _mask_cells(row: Row, mask: NDArray[np.uint8]) -> Row:
    pixels = int(np.count_nonzero(mask))
    before = float(row["mask_pixels"])
    area = row["mask_area_mm2"]
    if area:  # more exact than the rounded pixel spacing
        area = number(float(area) * pixels / before) if before else ""
    return {
        "mask_pixels": str(pixels),
        "mask_area_mm2": area,
        "mask_sha256": png.pixels_sha256(mask),
    }


def _told_by_lesions(row: Row, before: Sequence[Row], after: Sequence[Row]) -> Row:
    """Return the cells that sum up the lesions of the mask.

    Pathology and BI-RADS stay where no lesion said anything: then they are the record's own.
    """
    old = [one for one in before if one["in_mask"] == "1"]
    new = [one for one in after if one["in_mask"] == "1"]
    cells = {"kinds": " ".join(sorted({one["kind"] for one in new})), "n_lesions": str(len(new))}
    if any(one["birads"] for one in old):
        cells["birads"] = highest_birads(one["birads"] for one in new)
    if any(one["pathology"] for one in old):
        cells["pathology"] = worst_pathology(one["pathology"] for one in new)
    return cells


def _notes(row: Row, after: Sequence[Row]) -> str:
    notes = [one for one in row["notes"].split("; ") if one]
    notes = [one for one in notes if not one.startswith((_MIXED, _NOTE))]
    words = sorted({one["pathology"] for one in after if one["in_mask"] == "1"} - {""})
    if len(words) > 1:
        notes.append(f"{_MIXED}{', '.join(words)}")
    notes.append(f"{_NOTE}lesion {', '.join(ignored_lesions(after))}")
    return "; ".join(notes)
