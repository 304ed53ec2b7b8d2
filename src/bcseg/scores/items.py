"""What a worker is given about a record, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bcseg.pairs import Row
from bcseg.scores.shape import Scores


@dataclass(frozen=True, slots=True)
class Item:
    """A record to score: its row, its lines of lesions.jsonl.gz in the mask, its lesions' rows.

    `accepted`: ids of lesions that are corrupted on purpose, for a calibration.
    """

    folder: Path
    row: Row
    lines: tuple[Mapping[str, Any], ...]
    lesions: Mapping[str, Row]
    accepted: frozenset[str] = frozenset()


@dataclass(slots=True)
class Measured:
    """One lesion: its scores, and those of corrupted copies of it; `outline`: hash of its form."""

    record_id: str
    lesion_id: str
    scores: Scores
    geometry: str = ""
    outline: str = ""
    corrupted: list[Scores] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """What came of a record; `problem`: code and message, or None."""

    lesions: list[Measured]
    problem: tuple[str, str] | None = None
