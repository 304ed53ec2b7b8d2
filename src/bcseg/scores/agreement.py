"""What only several annotations together tell: do annotators agree, was an outline pasted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bcseg import raster
from bcseg.errors import RecordError
from bcseg.pairs import Row
from bcseg.raster import Patch
from bcseg.redrawing import written_patch
from bcseg.scores.items import Measured


class Annotators:
    """The masks of images that several annotators have marked, as records of their own."""

    def __init__(self, records: Iterable[Row]) -> None:
        films: defaultdict[str, set[str]] = defaultdict(set)
        for row in records:
            if row["annotator"]:
                films[row["source_image"]].add(row["record_id"])
        self._peers = {one: ids for ids in films.values() if len(ids) > 1 for one in ids}
        self._masks: dict[str, list[Patch]] = {}

    def add(self, record_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Keep the mask of a record, if its image has more than one."""
        if record_id not in self._peers:
            return
        try:
            self._masks[record_id] = [written_patch(line) for line in lines]
        except RecordError:
            self._masks.pop(record_id, None)  # its own score says that it is damaged

    def dice(self, record_id: str) -> float | None:
        """Return the mean Dice coefficient with the masks of the other annotators."""
        mine = self._masks.get(record_id)
        others = [
            self._masks[one]
            for one in sorted(self._peers.get(record_id, ()))
            if one != record_id and one in self._masks
        ]
        if mine is None or not others:
            return None
        return float(np.mean([_dice(mine, other) for other in others]))


def _dice(one: Sequence[Patch], other: Sequence[Patch]) -> float:
    """Return the Dice coefficient of two unions; two empty ones agree."""
    patches = [patch for patch in (*one, *other) if patch.area]
    if not patches:
        return 1.0
    size = max(patch.bottom for patch in patches), max(patch.right for patch in patches)
    first, second = (raster.paint(masks, size) > 0 for masks in (one, other))
    return 2 * int((first & second).sum()) / int(first.sum() + second.sum())


def mark_pasted(measured: Iterable[Measured], records: Mapping[str, Row]) -> None:
    """Set `same_outline`: on how many other films of the dataset the same outline lies.

    Films are told apart by patient, side and view: copies of one film share their outline by
    right, and so do low-energy and subtracted images.
    """
    lesions = list(measured)
    films: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for one in lesions:
        if one.outline:
            films[one.outline].add(_film(records[one.record_id]))
    for one in lesions:
        one.scores["same_outline"] = float(len(films[one.outline]) - 1) if one.outline else None


def _film(row: Row) -> tuple[str, ...]:
    if not row["group"] or not row["view"]:
        return (row["source_image"] or row["record_id"],)
    return row["group"], row["laterality"], row["view"]
