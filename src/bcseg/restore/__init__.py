"""Masks or predictions made on written images, back on the grid of the source."""

from __future__ import annotations

from bcseg.restore.report import Restored, RestoredMask
from bcseg.restore.restoring import Restoring, restore_masks

__all__ = ["Restored", "RestoredMask", "Restoring", "restore_masks"]
