"""The closed ledger: every item of a source ends as written, left out or failed, exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bcseg.errors import EXIT_FINDINGS, BcsegError
from bcseg.outcome import Fate, Item
from bcseg.records import Failed, Index, LeftOut, Record

SORTS = {
    "image": "images",
    "contour": "contours",
    "mask": "mask files",
    "row": "table rows",
    "file": "other files",
}
# an item that several records use (an image with three annotators) ends as its best fate
_PRECEDENCE: dict[Fate, int] = {"written": 2, "failed": 1, "left_out": 0}
_PICTURES = (".dcm", ".tif", ".tiff", ".png", ".jpg", ".jpeg")


class LedgerError(BcsegError):
    """The numbers do not add up: a bug in an adapter."""

    exit_code = EXIT_FINDINGS


@dataclass(slots=True)
class Ledger:
    """Items by sort and name, with fate and code."""

    items: dict[tuple[str, str], tuple[Fate, str]] = field(default_factory=dict)

    def add(self, items: Iterable[Item]) -> None:
        """Enter items; one that is there already keeps its better fate."""
        for sort, name, fate, code in items:
            old = self.items.get((sort, name))
            if old is None or _PRECEDENCE[fate] > _PRECEDENCE[old[0]]:
                self.items[sort, name] = (fate, code)

    def add_index(self, index: Index, refused: Iterable[tuple[str, str]]) -> None:
        """Enter what belongs to no record."""
        for group in index.left_out:
            self.add(_group_items(group, "left_out"))
        for failure in index.failed:
            self.add(_group_items(failure, "failed"))
        self.add(("file", name, "left_out", "document") for name in index.documents)
        self.add(("file", name, "left_out", reason) for name, reason in refused)

    def close(self, names: Iterable[str], tables: Mapping[str, int]) -> list[str]:
        """Check that every file and every table row is there; return files that nobody claimed.

        Such files are entered as left out. Raises LedgerError if a row is missing.
        """
        claimed = {name.rsplit("#", 1)[0] for _, name in self.items}
        claimed |= {name.split("[", 1)[0] for name in claimed if name.endswith("]")}
        unknown = [name for name in names if name not in claimed]
        self.add(("file", name, "left_out", "unknown_file") for name in unknown)
        there = {name for _, name in self.items}
        lost = [
            f"{table}#{number}"
            for table, rows in tables.items()
            for number in range(1, rows + 1)
            if f"{table}#{number}" not in there
        ]
        twice = [n for n, count in Counter(name for _, name in self.items).items() if count > 1]
        if lost or twice:
            raise LedgerError(
                f"the ledger does not add up: {len(lost)} table rows are unaccounted for, "
                f"{len(twice)} items are counted twice (first: {(lost + twice)[0]})",
                hint="this is a bug in the adapter: please report it",
            )
        return unknown

    def counts(self) -> dict[str, dict[str, int]]:
        """Return found, written, left_out and failed for each sort of item that occurs."""
        table: dict[str, dict[str, int]] = {}
        for sort, title in SORTS.items():
            fates = Counter(fate for (s, _), (fate, _) in self.items.items() if s == sort)
            if fates:
                by_fate = {fate: fates[fate] for fate in ("written", "left_out", "failed")}
                table[title] = {"found": sum(fates.values())} | by_fate
        return table

    def reasons(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return for each sort of item how many were left out and failed by each code."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for (sort, _), (fate, code) in sorted(self.items.items()):
            if fate != "written":
                codes = found.setdefault(SORTS[sort], {}).setdefault(fate, {})
                codes[code] = codes.get(code, 0) + 1
        return found


def _group_items(group: LeftOut | Failed, fate: Fate) -> list[Item]:
    return [(group.what or _sort(name), name, fate, group.code) for name in group.items]


def _sort(name: str) -> str:
    if "#" in name:
        return "row"
    return "image" if name.lower().endswith(_PICTURES) else "file"


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
