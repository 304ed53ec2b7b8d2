"""What a restoration came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bcseg import cells
from bcseg.errors import EXIT_FINDINGS, EXIT_OK
from bcseg.pairs import SCHEMA_VERSION
from bcseg.text import counted

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredMask:
    """A mask on the grid of the source; `values`: those above zero; `problem`: why there is none.

    `mask`: its file below the output. `pixels`: how many are above zero.
    """

    given: str
    dataset: str = ""
    record_id: str = ""
    mask: str = ""
    source_image: str = ""
    sop_instance_uid: str = ""
    height: int = 0
    width: int = 0
    values: str = ""
    pixels: int = 0
    problem: str = ""


COLUMNS = (
    *("dataset", "record_id", "mask", "source_image", "sop_instance_uid"),
    *("height", "width", "values", "pixels", "given"),
)


def table_bytes(masks: Iterable[RestoredMask]) -> bytes:
    """Return restored.csv."""
    ordered = sorted(masks, key=lambda one: one.mask)
    rows = ({name: str(getattr(one, name)) for name in COLUMNS} for one in ordered)
    return cells.table_bytes(COLUMNS, rows)


@dataclass(frozen=True, slots=True)
class Restored:
    """Masks that are on the grid of the source now, and those that could not be brought there."""

    out: Path
    masks: tuple[RestoredMask, ...]
    failed: tuple[RestoredMask, ...]
    dry_run: bool

    @property
    def exit_code(self) -> int:
        """1 if a mask failed."""
        return EXIT_FINDINGS if self.failed else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the restoration for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.out),
            "restored": [asdict(one) for one in self.masks],
            "failed": [{"given": one.given, "message": one.problem} for one in self.failed],
            "dry_run": self.dry_run,
            "exit_code": self.exit_code,
        }

    def text(self) -> str:
        """Return the restoration for people."""
        would = "would be " if self.dry_run else ""
        lines = [f"{counted(len(self.masks), 'mask')} {would}restored in {self.out}"]
        blank = sum(not one.pixels for one in self.masks)
        if blank and not self.dry_run:
            lines.append(f"  {blank} of them without a pixel above zero")
        lines += [f"failed {one.given}: {one.problem}" for one in self.failed[:_SHOWN]]
        if len(self.failed) > _SHOWN:
            lines.append(f"... and {len(self.failed) - _SHOWN} more")
        return "\n".join(lines)
