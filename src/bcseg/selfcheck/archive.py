"""The archive under check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bcseg.adapters.base import Adapter, ReadOptions
from bcseg.formats.tables import Table, read_csv
from bcseg.record import LESION_KINDS, Index
from bcseg.run import Progress
from bcseg.source import Source, read


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive at hand and how to work on it."""

    adapter: Adapter
    source: Source
    index: Index
    jobs: int
    progress: Progress

    @property
    def name(self) -> str:
        """The dataset."""
        return self.adapter.INFO.name

    def table(self, name: str) -> Table:
        """Return a CSV table of the archive."""
        return read_csv(read(self.source, name), name)


def read_options(adapter: Adapter, **chosen: Any) -> ReadOptions:
    """Return options that read every lesion of every image."""
    if "image_type" in adapter.INFO.options:
        chosen["image_type"] = "all"
    return ReadOptions(kinds=frozenset(LESION_KINDS), **chosen)
