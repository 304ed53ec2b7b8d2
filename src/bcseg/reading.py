"""Pairs as arrays: a sequence that training code can read without knowing the folders.

>>> pairs = read("bcseg-data", split="train", scale="unit")  # doctest: +SKIP
>>> len(pairs), pairs[0].image.dtype, pairs[0].row["view"]   # doctest: +SKIP
(172, dtype('float32'), 'MLO')
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from bcseg import pairs
from bcseg.errors import RecordError, UsageError
from bcseg.formats.images import decode
from bcseg.pairs import (
    SPLITS,
    UNREADABLE,
    PairsFolder,
    Row,
    checked_rows,
    read_rows,
    splits_path,
)
from bcseg.raster import Patch, paint
from bcseg.record import Size
from bcseg.redrawing import written_patch

Scale = Literal["unit"] | None


@dataclass(frozen=True, slots=True)
class PairLesion:
    """A lesion of a written pair: its row of lesions.csv, and its pixels.

    `line`: of lesions.jsonl.gz, with the geometry of the source.
    """

    row: Row
    patch: Patch
    size: Size
    line: Mapping[str, Any]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The lesion on the written grid: bool (rows, columns)."""
        return paint([self.patch], self.size) > 0


class Pair(Mapping[str, Any]):
    """An image and its mask; as a mapping `image`, `mask` and `case`, which frameworks batch.

    `row`: of records.csv. `split`, `fold`: of splits.csv, empty without one. Files are read when
    they are asked for; RecordError says what is wrong with one.
    """

    def __init__(
        self, table: LesionTable, row: Row, place: tuple[str, str] = ("", ""), scale: Scale = None
    ) -> None:
        self.row = row
        self.split, self.fold = place
        self._table = table
        self._scale = scale

    @property
    def folder(self) -> Path:
        """The pairs folder."""
        return self._table.folder

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return self.row["dataset"]

    @property
    def record_id(self) -> str:
        """The id within the dataset."""
        return self.row["record_id"]

    @property
    def case(self) -> str:
        """The id over all datasets: `inbreast_20588334`."""
        return f"{self.dataset}_{self.record_id}"

    @property
    def size(self) -> Size:
        """Rows and columns."""
        return int(self.row["height"]), int(self.row["width"])

    @property
    def image(self) -> NDArray[Any]:
        """The image: uint8 or uint16 (rows, columns), or float32 in 0..1 with `scale="unit"`."""
        pixels = self._decoded("image")
        return pixels if self._scale is None else _unit(pixels, self.row)

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The mask: uint8 (rows, columns), 0 and 1."""
        return (self._decoded("mask") > 0).astype(np.uint8)

    @property
    def lesions(self) -> tuple[PairLesion, ...]:
        """The lesions in the mask."""
        return self._table.of(self.record_id, self.size)

    def path(self, column: Literal["image", "mask"]) -> Path:
        """Return the path of a file of the pair."""
        return self.folder / self.row[column]

    def file(self, column: Literal["image", "mask"]) -> bytes:
        """Return the content of a file of the pair; raises RecordError if it cannot be read."""
        name = self.row[column]
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise RecordError(
                f"{name} cannot be read: {error.strerror or error}",
                code="unreadable",
                where=str(self.folder),
            ) from error

    def _decoded(self, column: Literal["image", "mask"]) -> NDArray[Any]:
        return decode(self.file(column), self.row[column]).pixels

    def __getitem__(self, key: str) -> Any:
        if key not in ("image", "mask", "case"):
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(("image", "mask", "case"))

    def __len__(self) -> int:
        return 3

    def __repr__(self) -> str:
        return f"Pair({self.case!r}, {self.size[0]} x {self.size[1]}, {self.row['kinds']!r})"


def _unit(pixels: NDArray[Any], row: Row) -> NDArray[np.float32]:
    """Return pixels as float32: 1 is the highest value that the stored bits can hold."""
    bits = int(row["bits_stored"] or 8 * pixels.dtype.itemsize)
    unit = pixels.astype(np.float32)
    unit /= 2**bits - 1
    return np.minimum(unit, np.float32(1), out=unit)


class Pairs(Sequence[Pair]):
    """The pairs of a root, sorted by dataset and record id; a slice is one of these, too."""

    def __init__(self, found: Sequence[Pair]) -> None:
        self._found = tuple(found)

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> Pairs: ...
    def __getitem__(self, index: int | slice) -> Pair | Pairs:
        if isinstance(index, slice):
            return Pairs(self._found[index])
        return self._found[index]


def read(
    root: str | Path,
    *,
    split: str | None = None,
    fold: int | str | None = None,
    scale: Scale = None,
) -> Pairs:
    """Return the pairs of a root or of one pairs folder.

    `split`: those of one part of splits.csv (train, val, test). `fold`: those of one fold. Raises
    UsageError if there is no pairs folder, a table is damaged, or no splits.csv where one is asked.
    """
    root = Path(root)
    found = []
    for folder in pairs.open_root(root):
        table, places = LesionTable(folder.path), _places(folder, root)
        if places is None and (split is not None or fold is not None):
            raise UsageError(f"there is no {SPLITS}", where=str(root), hint="bcseg split makes one")
        for row in sorted(checked_rows(folder, pairs.RECORDS), key=lambda row: row["record_id"]):
            place = (places or {}).get((row["dataset"], row["record_id"]), ("", ""))
            wanted = (split in (None, place[0]), fold is None or str(fold) == place[1])
            if all(wanted):
                found.append(Pair(table, row, place, scale))
    return Pairs(found)


def _places(folder: PairsFolder, root: Path) -> dict[tuple[str, str], tuple[str, str]] | None:
    """Return part and fold of each pair by the splits.csv of the root or of the folder."""
    path = splits_path(folder.path, root)
    if path is None:
        return None
    try:
        rows = read_rows(path)
        return {(row["dataset"], row["record_id"]): (row["split"], row["fold"]) for row in rows}
    except (*UNREADABLE, KeyError) as error:
        raise UsageError(
            f"{SPLITS} is damaged",
            where=str(path.parent),
            hint="`bcseg split --redo` makes it anew",
        ) from error


class LesionTable:
    """The lesions of a pairs folder by record; read once a process, when one is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _rows(self) -> dict[tuple[str, str], Row]:
        rows = checked_rows(PairsFolder(self.folder), pairs.LESIONS)
        return {(row["record_id"], row["lesion_id"]): row for row in rows}

    @cached_property
    def _lines(self) -> dict[str, list[bytes]]:
        lines: defaultdict[str, list[bytes]] = defaultdict(list)
        try:
            with gzip.open(self.folder / pairs.ARCHIVE) as file:
                for line in file:
                    lines[str(json.loads(line)["record_id"])].append(line)
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{pairs.ARCHIVE} is damaged",
                where=str(self.folder),
                hint="run the same `bcseg refactor` again: it writes the tables anew",
            ) from error
        return lines

    def of(self, record_id: str, size: Size) -> tuple[PairLesion, ...]:
        """Return the lesions in the mask of a record."""
        found = []
        for line in map(json.loads, self._lines.get(record_id, ())):
            row = self._rows.get((record_id, str(line.get("lesion_id"))))
            if row and row["in_mask"] == "1":
                found.append(PairLesion(row, written_patch(line, size), size, line))
        return tuple(found)

    def __reduce__(self) -> tuple[type[LesionTable], tuple[Path]]:
        return LesionTable, (self.folder,)  # another process reads for itself
