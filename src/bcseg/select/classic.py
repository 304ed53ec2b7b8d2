"""`--manifest classic`: the hand-picked subsets of the collection that bcseg descends from.

The list is shipped as bcseg/data/classic.csv: names of files, recovered from listings of that
collection's folders. It is not complete, and archives are converted in part: a row that matches
nothing is told and stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from bcseg.adapters import ADAPTERS
from bcseg.select.catalogue import Catalogue
from bcseg.select.manifest import Manifest, manifest_of
from bcseg.select.matching import Choice, Trouble
from bcseg.text import counted

CLASSIC = "classic"
# images that the collection's own readme counts; 0: it does not say
HAD = {"bcdr": 72, "cbis": 521, "cdd": 0, "csaw": 152, "inbreast": 64}
_SHOWN = 5  # rows that a warning lists


@dataclass(frozen=True, slots=True)
class Recovered:
    """How much of the collection's choice in a dataset is known, and how much of it is here.

    `had`: images that the collection had, None if it does not say; `listed`: of them in the list;
    `found`: of them pairs of this root.
    """

    dataset: str
    had: int | None
    listed: int
    found: int

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def text(self, width: int) -> str:
        """Return it for people; `width` of the dataset's name."""
        of = "the collection does not say of how many"
        if self.had is not None:
            of = f"of the {self.had} that the collection had"
        return f"{self.dataset:{width}}  {self.listed:5} listed ({of}), {self.found} found here"


def read_classic() -> Manifest:
    """Return the shipped list."""
    data = resources.files("bcseg.data").joinpath("classic.csv").read_bytes()
    return manifest_of(data, Path("classic.csv"))


def for_root(manifest: Manifest, catalogue: Catalogue) -> tuple[Manifest, list[str]]:
    """Return the rows about datasets that are here and can be matched, and notes on the others."""
    by_dataset: dict[str, list[Any]] = {}
    for row in manifest.rows:
        scope = catalogue.scope(row.cell("dataset"))
        by_dataset.setdefault(scope.dataset if scope else "", []).append(row)
    absent = [name for name in by_dataset if name not in catalogue.datasets]
    notes = []
    if absent:
        rows = sum(len(by_dataset.pop(name)) for name in absent)
        are = "is" if len(absent) == 1 else "are"
        notes.append(f"classic: {', '.join(absent)} {are} not in this root: {rows} rows skipped")
    if "csaw" in by_dataset and not catalogue.has_numbers("csaw"):
        rows = len(by_dataset.pop("csaw"))
        total = ADAPTERS["csaw"].INFO.published["images"]
        notes.append(
            f"classic: csaw is left out, {rows} rows: the collection numbered its images over the"
            f" whole archive, and refactor did not have all {total} images here"
        )
    unlisted = [name for name in catalogue.datasets if name not in HAD]
    if unlisted:
        notes.append(f"classic: the list has nothing of {', '.join(unlisted)}")
    rows_here = tuple(row for rows in by_dataset.values() for row in rows)
    return replace(manifest, rows=rows_here), notes


def missing_rows(
    troubles: Sequence[Trouble], choices: Sequence[Choice], catalogue: Catalogue
) -> list[str]:
    """Return a warning for each dataset that has rows which match no pair."""
    datasets = {one.row.number: catalogue.scope(one.row.cell("dataset")) for one in choices}
    by_dataset: dict[str, list[Trouble]] = {}
    for trouble in troubles:
        scope = datasets.get(trouble.number)
        by_dataset.setdefault(scope.dataset if scope else "", []).append(trouble)
    warnings = []
    for dataset, found in by_dataset.items():
        lines = "".join(f"\n    {trouble.message}" for trouble in found[:_SHOWN])
        more = f"\n    and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        what = f"classic: {counted(len(found), 'row')} of {dataset} cannot be taken:"
        warnings.append(f"{what}{lines}{more}")
    return warnings


def completeness(choices: Sequence[Choice], catalogue: Catalogue) -> tuple[Recovered, ...]:
    """Return how much of the collection is listed and found, for the datasets of the root."""
    listed = dict.fromkeys(HAD, 0)
    for row in read_classic().rows:
        scope = catalogue.scope(row.cell("dataset"))
        if scope:
            listed[scope.dataset] += 1
    found: dict[str, set[int]] = {name: set() for name in HAD}
    for choice in choices:
        if choice.pair:
            found[choice.pair[0]].add(choice.row.number)
    return tuple(
        Recovered(name, HAD[name] or None, listed[name], len(found[name]))
        for name in HAD
        if name in catalogue.datasets
    )
