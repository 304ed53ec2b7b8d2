"""What is found, as rows of problems.csv, and what of it was known before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from bcseg.errors import EXIT_FINDINGS, EXIT_OK, UsageError
from bcseg.pairs import PROBLEM_COLUMNS, UNREADABLE, Row, problem_row, read_rows

Severity = Literal["failed", "warning", "note"]


class Findings:
    """Findings of one dataset, or of one record of it."""

    def __init__(self, dataset: str, record_id: str = "") -> None:
        self.dataset, self.record_id = dataset, record_id
        self.rows: list[Row] = []

    def add(
        self, severity: Severity, code: str, message: str, source: str = "", record_id: str = ""
    ) -> None:
        """Add one."""
        record_id = record_id or self.record_id
        self.rows.append(problem_row(self.dataset, record_id, severity, code, message, source))

    def fail(self, code: str, message: str, source: str = "", record_id: str = "") -> None:
        """Add one that makes the exit code 1."""
        self.add("failed", code, message, source, record_id)


def finding_key(row: Mapping[str, str]) -> tuple[str, ...]:
    """Return what makes two findings the same: messages may hold figures that change."""
    return row["dataset"], row["record_id"], row["code"], row["source"]


def new_findings(rows: Iterable[Row], known: frozenset[tuple[str, ...]]) -> tuple[Row, ...]:
    """Return the findings that a baseline does not know."""
    return tuple(row for row in rows if finding_key(row) not in known)


def exit_code(new: Iterable[Row]) -> int:
    """Return 1 if anything failed among new findings, else 0."""
    return EXIT_FINDINGS if any(row["severity"] == "failed" for row in new) else EXIT_OK


def read_baseline(path: Path) -> frozenset[tuple[str, ...]]:
    """Return the keys of the findings in a list; raises UsageError for a file that is none."""
    try:
        rows = read_rows(path, strict=True)
    except UNREADABLE as error:
        raise UsageError(f"the baseline cannot be read ({error})", where=str(path)) from error
    missing = {"dataset", "record_id", "code", "source"} - set(rows[0] if rows else PROBLEM_COLUMNS)
    if missing:
        raise UsageError(
            f"the baseline has no column {', '.join(sorted(missing))}",
            where=str(path),
            hint="`bcseg verify --out FILE` writes one",
        )
    return frozenset(finding_key(row) for row in rows)


def reason(error: Exception) -> str:
    """Return what went wrong, without the path that an OSError carries."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
