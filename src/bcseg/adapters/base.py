"""The contract of an adapter, and what several adapters share.

An adapter is a module with `INFO`, `claims`, `index` and `lesions`. It says where things lie in
an archive and what they mean. It decodes no pixel, rasterises nothing, names no output file,
prints nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bcseg.errors import RecordError
from bcseg.formats.tables import Row, Table
from bcseg.limits import DEFAULT, Limits
from bcseg.record import Failed, Index, Laterality, LeftOut, Lesion, Record, Shape, Unreadable
from bcseg.source import Source, read

Read = Callable[[str], bytes]  # content of a file of the source, by name


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about a dataset; in an adapter, each stands beside where it was read.

    `layout` shows the tree that users should have. `published` counts of the complete archive.
    `options`: which of ReadOptions concern this dataset. `restricted`: may not be passed on.
    """

    name: str
    title: str
    url: str
    licence: str
    citation: str
    restricted: bool
    layout: str
    published: dict[str, int]
    default_kinds: tuple[str, ...] = ("mass", "cancer")
    aliases: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a user may choose about reading an archive.

    `kinds`: the kinds of the mask (anatomy is read only when chosen). `image_type`: CDD-CESM.
    `annotator`: CSAW-S. `osirix_origin`: INbreast. `merge_twins`: CBIS-DDSM, one record of a film
    that is stored twice. `limits`: how much of one image is read; they change no pair.
    """

    kinds: frozenset[str] = field(default_factory=frozenset)
    image_type: Literal["dm", "cm", "all"] = "dm"
    annotator: Literal["1", "2", "3", "all", "majority"] = "1"
    osirix_origin: Literal["corner", "centre"] = "corner"
    merge_twins: bool = False
    limits: Limits = DEFAULT


class Adapter(Protocol):
    """What every adapter module provides."""

    @property
    def INFO(self) -> Info:
        """Facts about the dataset."""

    def claims(self, names: Sequence[str]) -> int:
        """Return how many of the file names look like this dataset's own."""

    def index(self, source: Source, options: ReadOptions) -> Index:
        """Return all records and all other items of the source. No pixel is read.

        Raises ArchiveError if there is no image of this dataset.
        """

    def lesions(self, record: Record, read: Read, options: ReadOptions) -> tuple[Lesion, ...]:
        """Return the lesions of a record: those of its tables, or read from its annotations."""


def listed_lesions(record: Record, read: Read, options: ReadOptions) -> tuple[Lesion, ...]:
    """Return the lesions that the tables or the file names already told: the usual `lesions`."""
    return record.lesions


def sound_rows(table: Table) -> tuple[list[Row], list[Failed]]:
    """Return the rows of a table that can be used, and the others as failed items."""
    good = [row for row in table.rows if not row.damage]
    bad = [Failed("unreadable_row", row.damage, (row.item,)) for row in table.rows if row.damage]
    return good, bad


def shape_or_unreadable(build: Callable[[], Shape | None]) -> Shape | None:
    """Return what `build` returns, or Unreadable with the message of its RecordError."""
    try:
        return build()
    except RecordError as error:
        return Unreadable(error.code, str(error.args[0]))


def unreadable_row(row: Row, lesion_id: str) -> Lesion:
    """Return the lesion of a damaged row; its kind cannot be read either."""
    shape = Unreadable("unreadable_row", row.damage, any_kind=True)
    return Lesion(lesion_id=lesion_id, kind="finding", label="", shape=shape, source=row.item)


NO_COORDINATES = "no_coordinates"  # a table lists a lesion and does not say where it is


def has_no_place(lesion: Lesion) -> bool:
    """Tell whether the archive lists a lesion without saying where it is."""
    return isinstance(lesion.shape, Unreadable) and lesion.shape.code == NO_COORDINATES


def drawable(found: Sequence[Lesion]) -> tuple[Lesion, ...]:
    """Return the lesions of an image without those that have no place.

    Beside others of their kind these stay, so that no mask passes for all of that kind.
    """
    placed = {one.kind for one in found if not has_no_place(one)}
    return tuple(one for one in found if not has_no_place(one) or one.kind in placed)


def doubts_of(found: Sequence[Lesion]) -> dict[str, str]:
    """Return for each kind that has no place in an image why the image is not free of it.

    "*" too, if no lesion of the image has a place.
    """
    lost = [one for one in found if has_no_place(one)]
    words = {one.kind: f"the table lists {one.label} and does not say where" for one in lost}
    return words | ({"*": words[lost[0].kind]} if found and len(lost) == len(found) else {})


def images_by_id(
    names: Iterable[str], id_of: Callable[[str], str], originals: tuple[str, ...]
) -> tuple[dict[str, str], list[LeftOut]]:
    """Return the image of each id, and the others of it, left out.

    `id_of`: "" for what is no image. `originals`: endings that go before converted copies.
    """
    images: dict[str, str] = {}
    left_out = []
    for name in sorted(names, key=lambda name: (ending(name) not in originals, name)):
        image_id = id_of(name)
        if image_id in images:
            message = f"the same image as {images[image_id]}"
            left_out.append(LeftOut("duplicate_image", message, (name,), image_id, "image"))
        elif image_id:
            images[image_id] = name
    return images, left_out


def same_content(source: Source, one: str, other: str) -> bool:
    """Tell whether two files of a source are equal."""
    return source.size(one) == source.size(other) and read(source, one) == read(source, other)


def side_of(text: str) -> Laterality:
    """Return the breast that an archive's word means: "LEFT", "r", ..."""
    return "L" if text[:1].upper() == "L" else "R" if text[:1].upper() == "R" else ""


def folder(name: str) -> str:
    """Return the folder of a file of a source, with "/" at its end; empty for the top."""
    return name[: name.rfind("/") + 1]


def leaf(name: str) -> str:
    """Return the file name without its folders."""
    return name.rsplit("/", 1)[-1]


def stem(name: str) -> str:
    """Return the file name without folder, ending and stray blanks."""
    return _parted(name)[0].strip()


def ending(name: str) -> str:
    """Return the lower-case ending of a file name, with its dot."""
    return _parted(name)[1].strip().lower()


def _parted(name: str) -> tuple[str, str]:
    """Return stem and suffix as pathlib has them, in a fraction of its time: indexes ask a lot."""
    last = leaf(name)
    dot = last.rfind(".")
    return (last[:dot], last[dot:]) if 0 < dot < len(last) - 1 else (last, "")


def spelling(part: str) -> str:
    """Return a folder name as all users' spellings of it agree: no blanks, "_", "-" or case."""
    return re.sub(r"[\s_\-]+", "", part).lower()


def pathology_word(text: str) -> str:
    """Return the field's word for an archive's: "Malign " is "malignant"."""
    word = "_".join(text.strip().lower().split())
    if word.startswith("malig"):
        return "malignant"
    if word.startswith("benign_without"):
        return "benign_without_callback"
    return "benign" if word.startswith("benign") else word


_PATHOLOGY_ORDER = (
    "malignant",
    "suspect",
    "suspicious",
    "benign",
    "benign_without_callback",
    "normal",
)


def worst_pathology(words: Iterable[str]) -> str:
    """Return the worst of some pathology words; unknown words count between suspect and benign."""
    known = {word: rank for rank, word in enumerate(_PATHOLOGY_ORDER)}
    return min((w for w in words if w), key=lambda w: (known.get(w, 2.5), w), default="")


def highest_birads(words: Iterable[str]) -> str:
    """Return the highest BI-RADS category: 4b above 4a above 4; 0 (incomplete) is the lowest."""
    return max((w for w in words if w), key=lambda w: (w[:1], w[1:].lower()), default="")


def counted(number: int, word: str) -> str:
    """Return a number of things: "1 patient", "2 patients"."""
    return f"{number} {word}" + ("" if number == 1 else "s")


def duplicates_removed(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in order, each once."""
    return tuple(dict.fromkeys(names))


def layout_of(records: Iterable[Record], layouts: Mapping[str, str]) -> str:
    """Return the name of the layout whose pattern most images match, "" where none matches.

    `layouts`: name -> regular expression, searched in the name of an image; the first wins.
    """
    counts: Counter[str] = Counter()
    for record in records:
        name = next((name for name, p in layouts.items() if re.search(p, record.image, re.I)), "")
        counts[name] += bool(record.image)
    return max(counts, key=lambda name: counts[name], default="")


PACKED = (".zip", ".tar", ".tar.gz", ".tgz")


def packed_hint(names: Iterable[str]) -> str:
    """Return what to try where a folder holds a packed archive, "" where it holds none."""
    packed = [name for name in names if name.lower().endswith(PACKED)]
    return f"it holds {packed[0]}: name that file itself" if packed else ""
