"""Mask-quality scores: `score` pairs folders, `read_scores` of one."""

from __future__ import annotations

from bcseg.scores.report import Scored, ScoredFolder
from bcseg.scores.scoring import Scoring, score
from bcseg.scores.table import COLUMNS, SCORES, read_scores

__all__ = ["COLUMNS", "SCORES", "Scored", "ScoredFolder", "Scoring", "read_scores", "score"]
