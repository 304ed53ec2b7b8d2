"""Check an archive against itself, by what its dataset stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bcseg import adapters, plan
from bcseg.errors import UsageError
from bcseg.run import Progress
from bcseg.selfcheck import bcdr, cdd, inbreast
from bcseg.selfcheck.archive import Archive, read_options
from bcseg.selfcheck.report import SelfCheck
from bcseg.settings import Settings
from bcseg.source import open_source
from bcseg.verify.findings import read_baseline

_CHECKS: dict[str, Callable[[Archive], SelfCheck]] = {
    "bcdr": bcdr.check,
    "cdd": cdd.check,
    "inbreast": inbreast.check,
}


def self_check(
    dataset: str,
    location: Path,
    *,
    jobs: int = 0,
    baseline: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> SelfCheck:
    """Compare what an archive says about itself with what bcseg reads from it.

    `baseline`: a list of findings that count no more. Raises UsageError for a dataset that says
    nothing of the sort and for a baseline that cannot be read, ArchiveError for a source that is
    not its archive.
    """
    known = read_baseline(baseline) if baseline else frozenset()
    adapter = adapters.get(dataset)
    name = adapter.INFO.name
    if name not in _CHECKS:
        raise UsageError(
            f"{name} stores nothing about its contours that could be compared",
            hint=f"--self-check is for {', '.join(_CHECKS)}",
        )
    source = open_source(location)
    index = plan.read_index(adapter, source, Settings(read=read_options(adapter)))
    result = _CHECKS[name](Archive(adapter, source, index, jobs, progress))
    return replace(result, known=known)
