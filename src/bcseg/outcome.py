"""What crosses to a worker and back: the job of a run, the outcome of a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, Literal

from bcseg.pairs import Row
from bcseg.settings import Settings
from bcseg.source import Source

_OFTEN_THE_SAME = 24  # characters of a cell below which other rows are likely to have it too

Fate = Literal["written", "left_out", "failed"]
Item = tuple[str, str, Fate, str]  # sort of item, name in the source, fate, code


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to convert any record of a run.

    `copies`: for a record id, files that should hold the same image as the one that is read.
    """

    dataset: str  # name of a dataset, or path of an adapter
    source: Source
    folder: Path
    settings: Settings
    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    write: bool = True  # False: a dry run
    keep: bool = True  # False: convert in memory, leave no file


@dataclass(slots=True)
class Outcome:
    """What became of a record: everything the tables will say about it, as JSON values."""

    record_id: str
    fate: Fate
    code: str = ""
    row: Row | None = None
    lesions: list[Row] = field(default_factory=list)
    archive: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    left_out: list[Row] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # files read, with their SHA-256
    stamps: dict[str, str] = field(default_factory=dict)  # the same files, as they were then
    written: dict[str, int] = field(default_factory=dict)  # files of the pair, with their size
    log: str = ""

    def entry(self) -> dict[str, Any]:
        """Return the outcome as a line of the journal; lists and mappings are not copied."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Outcome:
        """Return the outcome that a line of the journal holds."""
        values = {key: entry[key] for key in cls.__dataclass_fields__}
        values["row"] = entry["row"] and _lean(entry["row"])
        for name in ("lesions", "problems", "left_out"):
            values[name] = list(map(_lean, entry[name]))
        values["items"] = [tuple(map(intern, item)) for item in entry["items"]]
        return cls(**values)


def _lean(row: Row) -> Row:
    """Return a row that shares its strings with other rows: they take a third of the memory."""
    return {
        intern(column): intern(cell) if len(cell) < _OFTEN_THE_SAME else cell
        for column, cell in row.items()
    }
