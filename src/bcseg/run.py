"""One run of a conversion: how to run, its state, what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bcseg.adapters.base import Info
from bcseg.errors import EXIT_FINDINGS, EXIT_OK
from bcseg.pairs import SCHEMA_VERSION, Row
from bcseg.records import Index, Record
from bcseg.settings import Settings
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
    dry_run: bool = False
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

    @property
    def exit_code(self) -> int:
        """1 if anything failed."""
        return EXIT_FINDINGS if self.failures else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the summary for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
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
    """A run at work."""

    info: Info
    source: Source
    index: Index
    folder: Path
    journal: Journal
    settings: Settings
    run: Run
    records: dict[str, Record]
    todo: list[Record] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # journalled pairs whose source is gone
    unreached: dict[str, str] = field(default_factory=dict)  # record id -> code
    fresh: int = 0
    logs: list[str] = field(default_factory=list)
