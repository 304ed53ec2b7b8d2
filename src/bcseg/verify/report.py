"""What was checked and found: for programs, for people, and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.pairs import SCHEMA_VERSION, Row
from bcseg.text import counted
from bcseg.verify.findings import exit_code, new_findings

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked of one dataset; `recorded_sha256` is what its dataset.json says."""

    dataset: str
    folder: Path
    pairs: int
    bytes_read: int
    content_sha256: str
    recorded_sha256: str
    compared: int  # pairs made once more from the archive


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and found; `findings` are rows like those of problems.csv."""

    checked: tuple[Checked, ...]
    findings: tuple[Row, ...]
    known: frozenset[tuple[str, ...]]  # findings of the baseline
    fast: bool = False

    @property
    def new(self) -> tuple[Row, ...]:
        """The findings that the baseline does not know."""
        return new_findings(self.findings, self.known)

    @property
    def exit_code(self) -> int:
        """1 if anything failed that the baseline does not know."""
        return exit_code(self.new)

    def document(self) -> dict[str, Any]:
        """Return the report for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "fast": self.fast,
            "datasets": [
                {
                    "dataset": one.dataset,
                    "folder": str(one.folder),
                    "pairs": one.pairs,
                    "bytes_read": one.bytes_read,
                    "compared_with_source": one.compared,
                    "content_sha256": one.content_sha256,
                    "recorded_content_sha256": one.recorded_sha256,
                }
                for one in self.checked
            ],
            "counts": _counts(self.findings),
            "known": len(self.findings) - len(self.new),
            "findings": list(self.findings),
            "exit_code": self.exit_code,
        }

    def table(self) -> bytes:
        """Return all findings as CSV with the columns of problems.csv: a baseline, if wanted."""
        return pairs.table_bytes(pairs.PROBLEMS, self.findings)


def _counts(findings: Iterable[Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {word: Counter() for word in ("failed", "warning", "note")}
    for row in findings:
        counts[row["severity"]][row["code"]] += 1
    return {word: dict(sorted(codes.items())) for word, codes in counts.items()}


def render(report: Report) -> str:
    """Return a report as text: datasets, counts by code, the first findings, the verdict."""
    lines = []
    for one in report.checked:
        same = one.content_sha256 and one.content_sha256 == one.recorded_sha256
        lines.append(
            f"{one.dataset}: {counted(one.pairs, 'pair')} checked, "
            f"{one.bytes_read / 1e6:.1f} MB read"
            + (f", {one.compared} made once more from the archive" if one.compared else "")
        )
        lines.append(f"  content sha256 {one.content_sha256 or 'unknown'}")
        if not same:
            lines.append(f"  recorded       {one.recorded_sha256 or 'unknown'}: differs")
    for word, codes in _counts(report.findings).items():
        lines += [f"  {word:7} {count:6} {code}" for code, count in codes.items()]
    order = ("failed", "warning", "note")
    shown = sorted(report.new, key=lambda row: order.index(row["severity"]))
    for row in shown[:_SHOWN]:
        place = " ".join(word for word in (row["dataset"], row["record_id"], row["source"]) if word)
        lines.append(f"{row['severity']} {place}: {row['message']} [{row['code']}]")
    if len(shown) > _SHOWN:
        lines.append(f"... and {len(shown) - _SHOWN} more: --out FILE writes them all")
    return "\n".join([*lines, _verdict(report)])


def _verdict(report: Report) -> str:
    totals = Counter(row["severity"] for row in report.new)
    known = len(report.findings) - len(report.new)
    said = f"{counted(totals['warning'], 'warning')}, {counted(totals['note'], 'note')}"
    if totals["failed"]:
        said = f"{counted(totals['failed'], 'finding')}, {said}"
    elif any(row["severity"] == "failed" for row in report.findings):
        return f"nothing new: {counted(known, 'finding')} known from the baseline, {said}"
    else:
        what = "names, sizes and tables are" if report.fast else "everything is"
        said = f"{what} as recorded: {said}"
    return said + (f", {known} known from the baseline" if known else "")
