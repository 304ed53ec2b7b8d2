"""A pair to check, what the tables promise about its files, and what was seen in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bcseg.convert import lesion_file
from bcseg.formats.tables import whole_number
from bcseg.ignoring import ignore_file, ignored_lesions
from bcseg.pairs import Row
from bcseg.verify.cells import is_safe_name, is_sha256
from bcseg.verify.lesion_archive import Line


@dataclass(frozen=True, slots=True)
class Context:
    """A folder of pairs, as far as the check of any pair needs it."""

    folder: Path
    dataset: str
    lesion_masks: bool
    with_empty: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair to check; `lines` is None where lesions.jsonl.gz cannot be read."""

    row: Row
    lesions: tuple[Row, ...]
    lines: tuple[Line, ...] | None


@dataclass(slots=True)
class Seen:
    """What was found in the files of a pair; `hashes` of the pixels of those that are altered."""

    findings: list[Row]
    bytes_read: int = 0
    hashes: dict[str, str] = field(default_factory=dict)


class Promise(NamedTuple):
    """What the tables say about a file; None or "" where they say nothing usable."""

    name: str
    rows: int | None
    columns: int | None
    depth: int | None
    sha256: str = ""


def promises_of(row: Row) -> list[Promise]:
    """Return the image and the mask of a record, without names that are not safe."""
    rows, columns = whole_number(row["height"]), whole_number(row["width"])
    image, mask = (
        cell if is_sha256(cell) else "" for cell in (row["image_sha256"], row["mask_sha256"])
    )
    both = (
        Promise(row["image"], rows, columns, whole_number(row["bit_depth"]), image),
        Promise(row["mask"], rows, columns, 8, mask),
    )
    return [
        one
        for one, part in zip(both, ("images", "masks"), strict=True)
        if is_safe_name(one.name, part)
    ]


def other_mask_names(context: Context, pair: Pair) -> list[str]:
    """Return the names of the masks beside masks/: of single lesions, of what is ignored."""
    record_id = pair.row["record_id"]
    names = [
        lesion_file(record_id, row["lesion_id"], row["kind"])
        for row in pair.lesions
        if context.lesion_masks and row["in_mask"] == "1"
    ]
    return names + ([ignore_file(record_id)] if ignored_lesions(pair.lesions) else [])
