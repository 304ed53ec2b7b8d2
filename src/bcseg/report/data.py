"""What a report is made of: how to make it, the pairs on it, their pictures, what was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bcseg.errors import EXIT_FINDINGS, EXIT_OK
from bcseg.pairs import SCHEMA_VERSION, PairsFolder, Row
from bcseg.run import Progress
from bcseg.scores.table import LESS_IS_PRECISE
from bcseg.stats import Statistics

PRECISION = "precision_rank"
RANKS = (PRECISION, "shape_rank", "image_rank")  # 0 to 1 within a dataset, 1 = most precise
SIZES = ("mask_area_mm2", "mask_pixels")  # of a pair, in records.csv

UNITS = 4  # of SVG coordinates in a pixel of a picture

Box = tuple[int, int, int, int]  # x, y, width, height on the written image


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """How to report.

    `sort`: the score (or mask_area_mm2, mask_pixels) by which the worst stand first. `all`: every
    pair, however many there are. `worst`, `random`: how many of each are shown when there are more
    than both together.
    """

    sort: str = PRECISION
    all: bool = False
    worst: int = 200
    random: int = 100
    jobs: int = 0  # 0: the CPUs that this process may use
    progress: Progress = lambda done, total: None


@dataclass(frozen=True, slots=True)
class LesionEntry:
    """One lesion of a mask; `scores` and `flags` are empty where it was not scored."""

    lesion_id: str
    row: Row
    box: Box | None
    scores: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def rank(self) -> float | None:
        """The precision rank, if there is one."""
        return self.scores.get(PRECISION)


@dataclass(frozen=True, slots=True)
class Entry:
    """One pair of the report; its lesions stand worst first.

    `sample`: why it is shown where not all are. `problems`: its rows of problems.csv.
    """

    folder: Path
    dataset: str
    row: Row
    lesions: tuple[LesionEntry, ...]
    problems: tuple[Row, ...]
    sample: Literal["", "worst", "random"] = ""

    @property
    def record_id(self) -> str:
        """The record id."""
        return self.row["record_id"]

    @property
    def values(self) -> dict[str, list[float]]:
        """The numbers by which a pair can be sorted, one for each lesion that has it."""
        found: dict[str, list[float]] = {}
        for name in SIZES:
            value = number(self.row[name])
            found[name] = [] if value is None else [value]
        for lesion in self.lesions:
            for name, value in lesion.scores.items():
                found.setdefault(name, []).append(float(f"{value:.5g}"))
        return {name: numbers for name, numbers in found.items() if numbers}

    def worst(self, name: str) -> float | None:
        """Return the value of the lesion that is worst by a score, if any has it."""
        return max(self.values.get(name, ()), key=lambda value: badness(name, value), default=None)


def badness(name: str, value: float) -> float:
    """Return a score so that more is worse; the least first where no way is the precise one."""
    return value if name in LESS_IS_PRECISE else -value


def number(text: str | None) -> float | None:
    """Return a cell as a finite number; None for any other."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file for a page, and the outline of the mask on it.

    `outline`: SVG path data in quarters of a pixel (UNITS), (0, 0) = the top left corner.
    `pixelated`: so few pixels that each should be seen.
    """

    data: bytes
    width: int
    height: int
    outline: str
    pixelated: bool = False


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a pair: the whole, and one for each lesion shown; `failure`: why none.

    `frames`: where those of the lesions are on the whole, in quarters of its pixels.
    """

    whole: Picture | None = None
    crops: tuple[Picture, ...] = ()
    frames: tuple[Box, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """All that the page tells: folders, their statistics, every pair, those shown, notes.

    `sort`: the score by which they stand.
    """

    folders: Sequence[PairsFolder]
    statistics: Statistics
    everything: Sequence[Entry]
    shown: Sequence[tuple[Entry, Pictures]]
    sort: str
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Reported:
    """What was made.

    `unreadable`: "dataset/record id" of pairs whose pictures cannot be shown. `restricted`: titles
    of archives on the page that may not be passed on, or of which nothing is known.
    """

    path: Path
    pairs: int
    shown: int
    scored: int
    size: int  # bytes of the page
    unreadable: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if a pair cannot be shown."""
        return EXIT_FINDINGS if self.unreadable else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the outcome for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "path": str(self.path),
            "pairs": self.pairs,
            "shown": self.shown,
            "scored": self.scored,
            "bytes": self.size,
            "unreadable": list(self.unreadable),
            "restricted": list(self.restricted),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Return the outcome for a terminal."""
        shown = "all" if self.shown == self.pairs else f"{self.shown:,}"
        lines = [
            f"{self.path}: {shown} of {self.pairs:,} pairs, {self.size / 1e6:.1f} MB",
            *(f"  note: {note}" for note in self.notes),
            *([f"  may not be passed on: {', '.join(self.restricted)}"] if self.restricted else []),
            *(f"  cannot be shown: {name}" for name in self.unreadable[:20]),
        ]
        more = len(self.unreadable) - 20
        return "\n".join(lines + ([f"  ... and {more:,} more"] if more > 0 else []))
