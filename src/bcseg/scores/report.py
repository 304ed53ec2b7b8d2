"""What was scored: for programs and for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg.errors import EXIT_FINDINGS, EXIT_OK
from bcseg.pairs import SCHEMA_VERSION, Row

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ScoredFolder:
    """One dataset: its rows of scores.csv, and (record id, code, message) of what failed."""

    dataset: str
    folder: Path
    rows: tuple[Row, ...]
    failures: tuple[tuple[str, str, str], ...]

    @property
    def flags(self) -> dict[str, int]:
        """How many lesions raise each flag, most first."""
        counts = Counter(flag for row in self.rows for flag in row["flags"].split())
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def least_precise(self) -> list[Row]:
        """Return the rows, lowest rank first."""
        return sorted(self.rows, key=lambda row: (float(row["precision_rank"]), row["record_id"]))


@dataclass(frozen=True, slots=True)
class Scored:
    """What was scored; `model`: what the ranks come from with a calibration, else None."""

    folders: tuple[ScoredFolder, ...]
    model: Mapping[str, Any] | None = None
    dry_run: bool = False

    @property
    def exit_code(self) -> int:
        """1 if a record could not be scored."""
        return EXIT_FINDINGS if any(one.failures for one in self.folders) else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the counts for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "ranked_by": "calibration" if self.model else "scores",
            "calibration": dict(self.model) if self.model else None,
            "dry_run": self.dry_run,
            "datasets": [
                {
                    "dataset": one.dataset,
                    "folder": str(one.folder),
                    "lesions": len(one.rows),
                    "flagged": sum(bool(row["flags"]) for row in one.rows),
                    "flags": one.flags,
                    "least_precise": [
                        {key: row[key] for key in ("record_id", "lesion_id", "flags")}
                        | {"precision_rank": float(row["precision_rank"])}
                        for row in one.least_precise()[:_SHOWN]
                    ],
                    "failures": [
                        dict(zip(("record_id", "code", "message"), failure, strict=True))
                        for failure in one.failures
                    ],
                }
                for one in self.folders
            ],
            "exit_code": self.exit_code,
        }

    def text(self) -> str:
        """Return the counts, the flags and the least precise lesions as text."""
        lines = []
        if self.model:
            lines.append(
                f"ranked by a model of {self.model['accepted_lesions']} accepted lesions and"
                f" {self.model['corrupted_copies']} corrupted copies of them"
            )
        for one in self.folders:
            lines += _folder_lines(one, dry_run=self.dry_run)
        return "\n".join(lines)


def _folder_lines(one: ScoredFolder, *, dry_run: bool) -> list[str]:
    flagged = sum(bool(row["flags"]) for row in one.rows)
    place = "nothing written" if dry_run else str(one.folder / "scores.csv")
    lines = [f"{one.dataset}: {len(one.rows)} lesions scored, {flagged} with a flag: {place}"]
    if one.flags:
        lines.append("  " + ", ".join(f"{count} {flag}" for flag, count in one.flags.items()))
    if one.rows:
        lines.append("  to look at first:")
    for row in one.least_precise()[:_SHOWN]:
        name = f"{row['record_id']} {row['lesion_id']}"
        lines.append(f"    {float(row['precision_rank']):.3f} {name} {row['flags']}".rstrip())
    lines += [
        f"  failed {record_id}: {message} [{code}]"
        for record_id, code, message in one.failures[:_SHOWN]
    ]
    if len(one.failures) > _SHOWN:
        lines.append(f"  ... and {len(one.failures) - _SHOWN} more")
    return lines
