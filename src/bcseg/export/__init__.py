"""Pairs in the layouts of training frameworks: one module a format, all in one dict."""

from __future__ import annotations

from bcseg.export.base import Exported, Exporting, Failure
from bcseg.export.exporting import FORMATS, export_pairs

__all__ = ["FORMATS", "Exported", "Exporting", "Failure", "export_pairs"]
