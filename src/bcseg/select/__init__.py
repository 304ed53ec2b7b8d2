"""Select the pairs that a manifest names: a new root of the same shape, whole or not there."""

from __future__ import annotations

from bcseg.select.fate import REASONS
from bcseg.select.options import Selecting
from bcseg.select.report import Selection, Share, Taken
from bcseg.select.selecting import select_pairs

__all__ = ["REASONS", "Selecting", "Selection", "Share", "Taken", "select_pairs"]
