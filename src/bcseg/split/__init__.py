"""Split the pairs of a root by patient into train, val and test, or into folds."""

from __future__ import annotations

from bcseg.split.options import Splitting
from bcseg.split.report import Split
from bcseg.split.splitting import split_pairs

__all__ = ["Split", "Splitting", "split_pairs"]
