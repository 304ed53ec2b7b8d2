"""The three checks of `bcseg verify`: pairs, archives against themselves, tables and contours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import adapters, pairs
from bcseg.clinical import Finding, examine
from bcseg.cloud import place
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, UsageError
from bcseg.pairs import SCHEMA_VERSION, Row
from bcseg.selfcheck import self_check
from bcseg.source import open_source
from bcseg.store import write_atomic
from bcseg.verify import Verifying, finding_key, read_baseline, render, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Which check, and how."""

    fast: bool = False
    self_check: bool = False
    clinical: bool = False
    baseline: Path | None = None
    jobs: int = 0
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found: texts and documents to print, rows of all findings."""

    texts: tuple[str, ...]
    content: dict[str, Any]
    rows: tuple[Row, ...]
    exit_code: int

    def document(self) -> dict[str, Any]:
        """Return the findings for --json."""
        return {"schema_version": SCHEMA_VERSION} | self.content | {"exit_code": self.exit_code}

    def text(self) -> str:
        """Return the findings for a terminal."""
        return "\n".join(self.texts)


def sources(words: Sequence[str]) -> dict[str, Path]:
    """Return the archives of `--source NAME=PATH` by name; an alias counts as its dataset."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise UsageError(
                f"--source {word!r} is not NAME=PATH", hint="--source inbreast=./original"
            )
        dataset = name if name.endswith(".py") else adapters.get(name).INFO.name
        if dataset in found:
            raise UsageError(
                f"--source names two archives of {dataset}", hint="one archive of each dataset"
            )
        found[dataset] = place(path)
    return found


def run(root: Path, archives: Mapping[str, Path], how: How) -> Checked:
    """Run the check that `how` names. Raises UsageError if there is nothing to check."""
    if how.self_check and how.clinical:
        raise UsageError("--self-check and --clinical are two runs", hint="one after the other")
    if how.fast and (how.self_check or how.clinical):
        raise UsageError(
            "--fast is for pairs: --self-check and --clinical read archives", hint="leave it out"
        )
    if (how.self_check or how.clinical) and not archives:
        raise UsageError("no archive to check", hint="--source inbreast=./original")
    if how.self_check:
        return _self_checks(archives, how)
    if how.clinical:
        return _clinical(archives, how)
    return _pairs(root, archives, how)


def write_findings(path: Path, checked: Checked) -> None:
    """Write all findings as CSV; the list serves as a `--baseline`."""
    write_atomic(path, pairs.table_bytes(pairs.PROBLEMS, checked.rows))


def _pairs(root: Path, archives: Mapping[str, Path], how: How) -> Checked:
    verifying = Verifying(
        fast=how.fast,
        jobs=how.jobs,
        sources=dict(archives),
        baseline=how.baseline,
        progress=how.progress,
    )
    report = verify(pairs.open_root(root), verifying)
    return Checked(
        texts=(render(report),),
        content=report.document(),
        rows=tuple(report.findings),
        exit_code=report.exit_code,
    )


def _self_checks(archives: Mapping[str, Path], how: How) -> Checked:
    results = [
        self_check(name, path, jobs=how.jobs, baseline=how.baseline, progress=how.progress)
        for name, path in archives.items()
    ]
    return Checked(
        texts=tuple(result.text() for result in results),
        content={"checks": [result.document() for result in results]},
        rows=tuple(row for result in results for row in result.findings),
        exit_code=max(result.exit_code for result in results),
    )


def _clinical(archives: Mapping[str, Path], how: How) -> Checked:
    known = read_baseline(how.baseline) if how.baseline else frozenset()
    results = [examine(name, open_source(path)) for name, path in archives.items()]
    new = [
        finding
        for result in results
        for finding in result.unexpected
        if finding_key(_row(finding)) not in known
    ]
    return Checked(
        texts=tuple(result.text() for result in results),
        content={"clinical": [result.document() for result in results]},
        rows=tuple(_row(finding) for result in results for finding in result.findings),
        exit_code=EXIT_FINDINGS if new else EXIT_OK,
    )


def _row(finding: Finding) -> Row:
    """Return a row of findings; one that is not published about the archive counts as failed."""
    severity = "failed" if finding.severity == "finding" else finding.severity
    values = finding.document() | {"severity": severity}
    return {column: values[column] for column in pairs.PROBLEM_COLUMNS}
