"""Who belongs together: the pairs of one patient, whatever table or dataset they stand in."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bcseg.errors import UsageError
from bcseg.pairs import UNREADABLE, Row, read_rows

Key = tuple[str, str]  # dataset, record id
_SHOWN = 3


def key_of(row: Row) -> Key:
    """Return dataset and record id of a row."""
    return row["dataset"], row["record_id"]


def read_groups(path: Path) -> dict[Key, str]:
    """Return the groups that a table gives; raises UsageError for a table without them."""
    try:
        rows = read_rows(path)
    except UNREADABLE as error:
        raise UsageError(f"the groups cannot be read ({error})", where=str(path)) from error
    if not rows or not {"dataset", "record_id", "group"} <= rows[0].keys():
        raise UsageError(
            "the groups need the columns dataset, record_id and group", where=str(path)
        )
    found: dict[Key, str] = {}
    for number, row in enumerate(rows, start=2):
        group = (row["group"] or "").strip()
        if group and found.setdefault(key_of(row), group) != group:
            raise UsageError(
                f"row {number}: {row['record_id']} is in {group} here, but in"
                f" {found[key_of(row)]} in an earlier row",
                where=str(path),
            )
    return found


def patients_of(
    records: Sequence[Row], given: Mapping[Key, str], *, one_group: bool
) -> dict[Key, str]:
    """Return the patient of each pair.

    Pairs whose images are equal pixel for pixel are of one patient, whatever their names are: the
    first name in order stands for all. Raises UsageError if a patient is not known.
    """
    groups: dict[Key, str] = {}
    for row in records:
        group = given.get(key_of(row)) or row["group"]
        groups[key_of(row)] = group or (f"{row['dataset']}:unknown" if one_group else "")
    _refuse_unknown(groups)
    joined = _Joined()
    by_image: dict[str, str] = {}
    for row in records:
        group = groups[key_of(row)]
        if row["image_sha256"]:
            joined.join(group, by_image.setdefault(row["image_sha256"], group))
    return {key: joined.name(group) for key, group in groups.items()}


def _refuse_unknown(groups: Mapping[Key, str]) -> None:
    unknown: defaultdict[str, list[str]] = defaultdict(list)
    for (dataset, record_id), group in groups.items():
        if not group:
            unknown[dataset].append(record_id)
    if not unknown:
        return
    totals = Counter(dataset for dataset, _ in groups)
    count = sum(map(len, unknown.values()))
    lines = [
        f"    {dataset}: {len(ids)} of {totals[dataset]} pairs ({', '.join(sorted(ids)[:_SHOWN])}"
        f"{', ...' if len(ids) > _SHOWN else ''}): neither its file names nor its tables or headers"
        " name the patient in this copy of the archive"
        for dataset, ids in sorted(unknown.items())
    ]
    raise UsageError(
        f"the patient of {count} pairs is not known, so that no split can be safe:\n"
        + "\n".join(lines),
        hint="--groups FILE (dataset, record_id, group) to say who belongs together, or"
        " --unknown-patient one-group to keep all of them in one part",
    )


class _Joined:
    """Names that mean the same; the first in order stands for all."""

    def __init__(self) -> None:
        self._same: dict[str, str] = {}

    def name(self, word: str) -> str:
        while self._same.get(word, word) != word:
            word = self._same[word]
        return word

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.name(one), self.name(other)))
        self._same[second] = first


def shuffled(patients: Iterable[str], seed: int) -> list[str]:
    """Return patients in an order that depends on their names and the seed alone."""
    return sorted(patients, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
