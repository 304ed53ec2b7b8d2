"""One run of a conversion: how to run, its state, what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bcseg.adapters.base import Info
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, ArchiveError
from bcseg.ledger import Rest
from bcseg.limits import DEFAULT, Limits
from bcseg.pairs import SCHEMA_VERSION, Row
from bcseg.record import Index, Record
from bcseg.remote import journal_of
from bcseg.settings import Settings
from bcseg.shards import Shard
from bcseg.source import Source
from bcseg.store import Journal

Progress = Callable[[int, int], None]  # records done, records in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How to run; none of it changes a pixel or a table."""

    jobs: int = 0  # 0: the CPUs that this process may use
    limit: int | None = None
    redo: bool = False
    rehash: bool = False
    prune: bool = False
    shard: Shard | None = None
    dask: str = ""  # address or scheduler file of a cluster
    dry_run: bool = False
    limits: Limits = DEFAULT
    progress: Progress = lambda done, total: None
    say: Callable[[str], None] = lambda line: None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did; `failures` and `warnings` are rows of problems.csv."""

    dataset: str
    folder: Path
    pairs: int
    fresh: int
    counts: dict[str, dict[str, int]]
    reasons: dict[str, dict[str, dict[str, int]]]
    failures: list[Row]
    warnings: list[Row]
    notes: tuple[str, ...]
    content_sha256: str = ""
    log: str = ""
    shard: str = ""  # "3/8"

    @property
    def exit_code(self) -> int:
        """1 if anything failed."""
        return EXIT_FINDINGS if self.failures else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            **({"shard": self.shard} if self.shard else {}),
            "folder": str(self.folder),
            "pairs": self.pairs,
            "fresh": self.fresh,
            "items": self.counts,
            "reasons": self.reasons,
            "failed": self.failures,
            "warnings": self.warnings,
            "notes": list(self.notes),
            "content_sha256": self.content_sha256,
            "exit_code": self.exit_code,
        }


@dataclass(slots=True)
class State:
    """A run at work.

    Pairs go to `folder`. Of a shard, `records` are only its own.
    """

    info: Info
    source: Source
    index: Index
    folder: Path
    journal: Journal
    settings: Settings
    run: Run
    records: dict[str, Record]  # by id, sorted
    copies: dict[str, tuple[str, ...]]  # record id -> files that should hold the same image
    todo: list[Record] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # journalled pairs whose source is gone
    pruned: list[str] = field(default_factory=list)  # the same, where they are to be deleted
    touched: dict[str, dict[str, str]] = field(default_factory=dict)  # new stamps, equal content
    table_hashes: dict[str, str] = field(default_factory=dict)  # SHA-256 of tables, by name
    discarded: list[str] = field(default_factory=list)  # journalled pairs that --redo throws away
    old_bytes: int = 0  # of these pairs
    stale: dict[str, Any] = field(default_factory=dict)  # id -> failure of what was a pair before
    unreached: dict[str, str] = field(default_factory=dict)  # record id -> code
    fresh: int = 0
    logs: list[str] = field(default_factory=list)

    @classmethod
    def on(
        cls,
        info: Info,
        source: Source,
        index: Index,
        settings: Settings,
        run: Run,
        folder: Path = Path(),
    ) -> State:
        """Return the state before anything is decided; raises ArchiveError as `by_id` does."""
        shard = run.shard
        books = shard.books(folder) if shard else folder
        records = by_id(index.records)
        if shard:
            records = {key: record for key, record in records.items() if shard.holds(key)}
        return cls(
            info, source, index, folder, journal_of(books), settings, run, records, copies(index)
        )

    @property
    def books(self) -> Path:
        """Where journal, lock and tables are: the folder itself, or the place of the shard."""
        return self.run.shard.books(self.folder) if self.run.shard else self.folder

    @property
    def rest(self) -> Rest:
        """What belongs to no record."""
        index = replace(self.index, records=())
        return Rest(index, self.source.names(), self.source.refused)

    @property
    def title(self) -> str:
        """What the user is told that runs."""
        return self.info.name + (f", shard {self.run.shard}" if self.run.shard else "")


def by_id(records: tuple[Record, ...]) -> dict[str, Record]:
    """Return records by id, sorted; raises ArchiveError for two of one id (a bug in an adapter)."""
    by_id: dict[str, Record] = {}
    spellings: dict[str, str] = {}  # not every file system tells "a.png" from "A.png"
    for record in sorted(records, key=lambda record: record.record_id):
        other = spellings.setdefault(record.record_id.casefold(), record.record_id)
        if other in by_id:
            raise ArchiveError(
                f"two images have the record id {record.record_id}",
                where=f"{by_id[other].image}, {record.image}",
                hint="take one of the two away",
            )
        by_id[record.record_id] = record
    return by_id


def copies(index: Index) -> dict[str, tuple[str, ...]]:
    """Return for record ids the files that should hold the same image as the one that is read."""
    found: dict[str, tuple[str, ...]] = {}
    for group in index.left_out:
        if group.code == "duplicate_image" and group.record_id:
            found[group.record_id] = found.get(group.record_id, ()) + group.items
    return found
