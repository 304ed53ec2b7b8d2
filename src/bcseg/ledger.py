"""The closed ledger: every item of a source ends as written, left out or failed, exactly once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bcseg.errors import EXIT_FINDINGS, BcsegError
from bcseg.outcome import Fate, Item
from bcseg.record import Failed, Index, LeftOut, Record
from bcseg.source import UNREAD

SORTS = {
    "image": "images",
    "contour": "contours",
    "mask": "mask files",
    "row": "table rows",
    "file": "other files",
}
# an item that several records use (an image with three annotators) ends as its best fate
_PRECEDENCE: dict[Fate, int] = {"written": 2, "failed": 1, "left_out": 0}
_PICTURES = (".dcm", ".dicom", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".pgm", ".ljpeg")
_ROW = re.compile(r"#\d+$")  # "table.csv#12"
NEEDED = ("image", "contour", "mask")  # sorts of items that a pair is made of


class LedgerError(BcsegError):
    """The numbers do not add up: a bug in an adapter."""

    exit_code = EXIT_FINDINGS


@dataclass(frozen=True, slots=True)
class Rest:
    """What belongs to no record: the index without its records, and the files of the source."""

    index: Index
    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]  # names that were not read, and why


@dataclass(slots=True)
class Ledger:
    """Items by name, each with its sort, fate and code."""

    items: dict[str, tuple[str, Fate, str]] = field(default_factory=dict)

    def add(self, items: Iterable[Item]) -> None:
        """Enter items; one that is there already keeps its better fate."""
        for sort, name, fate, code in items:
            old = self.items.get(name)
            if old is None or _PRECEDENCE[fate] > _PRECEDENCE[old[1]]:
                self.items[name] = (sort, fate, code)

    def add_index(self, index: Index, refused: Iterable[tuple[str, str]]) -> None:
        """Enter what belongs to no record."""
        for group in index.left_out:
            self.add(_group_items(group, "left_out"))
        for failure in index.failed:
            self.add(_group_items(failure, "failed"))
        self.add(("file", name, "left_out", "document") for name in index.documents)
        for name, reason in refused:
            fate: Fate = "failed" if reason in UNREAD else "left_out"
            self.add([("file", name, fate, reason)])

    def close(self, names: Iterable[str], tables: Mapping[str, int]) -> list[str]:
        """Check that every file and every table row is there; return files that nobody claimed.

        Such files are entered as left out. Raises LedgerError if a row is missing.
        """
        claimed = set(self.items) | {file_of(name) for name in self.items}
        unknown = [name for name in names if name not in claimed]
        self.add(("file", name, "left_out", "unknown_file") for name in unknown)
        lost = [
            f"{table}#{number}"
            for table, rows in tables.items()
            for number in range(1, rows + 1)
            if f"{table}#{number}" not in self.items
        ]
        if lost:
            raise LedgerError(
                f"the ledger does not add up: {len(lost)} table rows are unaccounted for"
                f" (first: {lost[0]})",
                hint="this is a bug in the adapter: please report it",
            )
        return unknown

    def names(self, code: str) -> list[str]:
        """Return the items that ended with a code."""
        return [name for name, (_, _, why) in self.items.items() if why == code]

    def is_left_out(self, name: str) -> bool:
        """Tell whether an item ended so; False for one that is not there."""
        return name in self.items and self.items[name][1] == "left_out"

    def counts(self) -> dict[str, dict[str, int]]:
        """Return found, written, left_out and failed for each sort of item that occurs."""
        table: dict[str, dict[str, int]] = {}
        for sort, title in SORTS.items():
            fates = Counter(fate for s, fate, _ in self.items.values() if s == sort)
            if fates:
                by_fate = {fate: fates[fate] for fate in ("written", "left_out", "failed")}
                table[title] = {"found": sum(fates.values())} | by_fate
        return table

    def reasons(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return for each sort of item how many were left out and failed by each code."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for sort, fate, code in sorted(self.items.values()):
            if fate != "written":
                codes = found.setdefault(SORTS[sort], {}).setdefault(fate, {})
                codes[code] = codes.get(code, 0) + 1
        return found


def _group_items(group: LeftOut | Failed, fate: Fate) -> list[Item]:
    return [(group.what or _sort(name), name, fate, group.code) for name in group.items]


def _sort(name: str) -> str:
    if _ROW.search(name):
        return "row"
    return "image" if name.lower().endswith(_PICTURES) else "file"


def file_of(name: str) -> str:
    """Return the file that holds an item: of "book.xlsx[sheet]#12", "book.xlsx"."""
    table = _ROW.sub("", name) if "#" in name else name
    return table.rsplit("[", 1)[0] if table != name and table.endswith("]") else table


def unprocessed_items(record: Record, fate: Fate, code: str) -> list[Item]:
    """Return the items of a record that was not converted (limit, source gone)."""
    items: list[Item] = [("image", record.image, fate, code)] if record.image else []
    items += [("row", name, fate, code) for name in record.rows]
    items += [("file", name, "left_out", why) for name, why in record.others]
    items += [("contour", name, fate, code) for name in record.annotations]
    for lesion in record.lesions:
        files = getattr(lesion.shape, "files", None)
        if files is not None:
            items += [("mask", name, fate, code) for name in files]
        elif lesion.source not in record.rows:
            items.append(("contour", lesion.source, fate, code))
    return items
