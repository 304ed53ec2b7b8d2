"""Split the pairs of a root: patients, what is fixed, the rest dealt, tables written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.interrupts import uninterrupted
from bcseg.pairs import Row, checked_rows
from bcseg.split.assign import assign
from bcseg.split.options import TEST, TRAIN, VAL, Place, Splitting
from bcseg.split.patients import Key, key_of, patients_of, read_groups
from bcseg.split.report import Split, balance_of
from bcseg.split.strata import Strata, strata_of
from bcseg.split.tables import BALANCE, balance_bytes, earlier_places, splits_bytes
from bcseg.store import write_atomic
from bcseg.text import counted, listed

Array = NDArray[np.float64]
_SHOWN = 5


def split_pairs(root: Path, how: Splitting) -> Split:
    """Split the pairs of a root and write splits.csv and splits-balance.csv into it.

    Raises UsageError, with nothing written, for unknown patients, shares that are none, an
    earlier split with other places, and a patient who stands in two of its parts.
    """
    shares = how.shares()
    records = [row for one in pairs.open_root(root) for row in checked_rows(one, pairs.RECORDS)]
    if not records:
        raise UsageError("there is no pair to split", where=str(root))
    given = read_groups(how.groups) if how.groups else {}
    patients = patients_of(records, given, one_group=how.one_group)
    out = how.out or root
    fixed = _earlier(how, out, patients, shares)
    kept = len(fixed)
    published = Published.of(records, patients) if how.keep_published else Published()
    fixed |= {name: Place(TEST) for name in sorted(published.test) if name not in fixed}
    strata = strata_of(records, patients)
    places = list(shares)
    wanted = _wanted(strata, shares, published)
    closed = {places.index(Place(TEST))} if how.keep_published else set()
    dealt = assign(
        strata,
        wanted,
        {name: places.index(place) for name, place in fixed.items()},
        dict.fromkeys(published.train, closed),
        how.seed,
    )
    found = {key: (name, places[dealt[name]]) for key, name in patients.items()}
    balance = balance_of(strata, places, wanted, dealt)
    if not how.dry_run:
        with uninterrupted():  # one tells of the other
            write_atomic(out / pairs.SPLITS, splits_bytes(records, found))
            write_atomic(out / BALANCE, balance_bytes(row.cells() for row in balance))
    return Split(
        out=out,
        pairs=len(records),
        patients={place: _patients_in(dealt, n) for n, place in enumerate(places)},
        kept=kept,
        balance=tuple(balance),
        notes=_empty(places, dealt) + (published.notes() if how.keep_published else ()),
        dry_run=how.dry_run,
    )


def _empty(places: Sequence[Place], dealt: Mapping[str, int]) -> tuple[str, ...]:
    """Say which places hold nobody."""
    empty = [one.title for n, one in enumerate(places) if not _patients_in(dealt, n)]
    if not empty:
        return ()
    few = counted(len(dealt), "patient")
    return (f"nobody is in {' and '.join(empty)}: {few} cannot be divided into such shares",)


def _patients_in(dealt: Mapping[str, int], place: int) -> int:
    return sum(one == place for one in dealt.values())


def _earlier(
    how: Splitting, out: Path, patients: Mapping[Key, str], shares: Mapping[Place, float]
) -> dict[str, Place]:
    """Return the patients who have a place already."""
    path = how.earlier or out / pairs.SPLITS
    if how.redo or not (how.earlier or path.is_file()):
        return {}
    fixed: dict[str, Place] = {}
    for key, place in earlier_places(path).items():
        if place not in shares:
            raise UsageError(
                f"the earlier split has {place.title!r}, which these options do not make",
                where=str(path),
                hint="the options of the earlier split, or --redo to start over",
            )
        name = patients.get(key)
        if name and fixed.setdefault(name, place) != place:
            raise UsageError(
                f"{name} is in {fixed[name].title} and in {place.title} of the earlier split",
                where=str(path),
                hint="--redo to start over",
            )
    return fixed


@dataclass(frozen=True, slots=True)
class Published:
    """Patients of published test sets, those of published training sets alone, those of both."""

    datasets: frozenset[str] = frozenset()
    test: frozenset[str] = frozenset()
    train: frozenset[str] = frozenset()
    both: tuple[str, ...] = ()

    @classmethod
    def of(cls, records: Sequence[Row], patients: Mapping[Key, str]) -> Published:
        """Return what the archives' own splits say."""
        parts: defaultdict[str, set[str]] = defaultdict(set)
        for row in records:
            parts[patients[key_of(row)]].add(row["split"])
        test = frozenset(name for name, words in parts.items() if TEST in words)
        return cls(
            datasets=frozenset(row["dataset"] for row in records if row["split"] == TEST),
            test=test,
            train=frozenset(n for n, words in parts.items() if words & {TRAIN, VAL}) - test,
            both=tuple(sorted(name for name in test if TRAIN in parts[name])),
        )

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know."""
        if not self.test:
            return ("no dataset here has a published test set: nothing to keep",)
        if not self.both:
            return ()
        whom = listed(self.both, _SHOWN)
        stand = "stands" if len(self.both) == 1 else "stand"
        return (
            f"{counted(len(self.both), 'patient')} of published test sets {stand} in train as well"
            f" and went to test with all pairs: {whom}",
        )


def _wanted(strata: Strata, shares: Mapping[Place, float], published: Published) -> Array:
    """Return how many pairs of each stratum each place should have: float64 [place, stratum].

    Where a published test set is kept, test wants just that, and the others share the rest.
    """
    total = strata.counts.sum(axis=0)
    wanted: Array = np.outer(list(shares.values()), total)
    is_test = np.array([name in published.test for name in strata.patients], dtype=bool)
    in_test = strata.counts[is_test].sum(axis=0)
    test = shares.get(Place(TEST), 0.0)
    for column, stratum in enumerate(strata.names):
        if stratum.dataset in published.datasets:
            for n, (place, share) in enumerate(shares.items()):
                rest = share / (1 - test) * (total[column] - in_test[column])
                wanted[n, column] = in_test[column] if place == Place(TEST) else rest
    return wanted
