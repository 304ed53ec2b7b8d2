"""How to verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bcseg.run import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """How to verify.

    `fast`: names, sizes and tables only. `sources`: archives to read again, by dataset name (or
    path of an adapter). `baseline`: a list of findings that count no more, as `--out` writes it.
    """

    fast: bool = False
    jobs: int = 0  # 0: the CPUs that this process may use
    sources: Mapping[str, Path] = field(default_factory=dict)
    baseline: Path | None = None
    progress: Progress = lambda done, total: None
