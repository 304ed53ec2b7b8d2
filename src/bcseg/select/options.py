"""How to select."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting:
    """How to select.

    `allow_missing`, `allow_changed`: rows that match nothing, or were decided on another contour,
    are warnings. `redo` replaces an earlier selection.
    """

    link: bool = False
    allow_missing: bool = False
    allow_changed: bool = False
    redo: bool = False
    dry_run: bool = False
