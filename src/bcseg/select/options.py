"""How to select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting:
    """How to select.

    `where`: an expression that lesions must pass; `any`: one of a record's lesions is enough.
    `ignore_rejected`: a rejected lesion goes to ignore/, its record stays. `top`: so many records
    of each dataset, the best `by` a score; `per_patient`: so many of each group. `allow_missing`,
    `allow_changed`: rows that match nothing, or were decided on another contour, are warnings.
    `redo` replaces an earlier selection.
    """

    where: str = ""
    any: bool = False
    ignore_rejected: bool = False
    top: int = 0  # 0: all
    by: str = ""
    per_patient: int = 0  # 0: all
    link: bool = False
    allow_missing: bool = False
    allow_changed: bool = False
    redo: bool = False
    dry_run: bool = False

    def criteria(self) -> dict[str, Any]:
        """Return what chooses among the pairs that the manifest accepts, as far as it is given."""
        names = ("where", "any", "ignore_rejected", "per_patient", "top", "by")
        return {name: getattr(self, name) for name in names if getattr(self, name)}
