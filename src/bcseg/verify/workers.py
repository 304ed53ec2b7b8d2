"""Worker processes of the checks: what each keeps, how many there are, what the death of one is."""

from __future__ import annotations

import functools
from typing import Any

import cv2

from bcseg import executors
from bcseg.pairs import Row, problem_row


@functools.cache
def _kept() -> dict[str, Any]:
    return {}


def prepare(context: Any) -> None:
    """Give a worker process what all its items have in common."""
    cv2.setNumThreads(1)
    _kept()["context"] = context


def context() -> Any:
    """Return what `prepare` gave this worker."""
    return _kept()["context"]


def how_many(jobs: int, items: int, *, each: int) -> int:
    """Return how many workers to start; of their own accord only one for `each` items."""
    return jobs or min(executors.usable_cpus(), max(1, items // each))


def death_row(dataset: str, record_id: str, source: str) -> Row:
    """Return the finding about an item whose worker died twice."""
    message = "the worker process was killed, probably for want of memory: try --jobs 1"
    return problem_row(dataset, record_id, "failed", "worker_died", message, source)
