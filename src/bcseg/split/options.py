"""How to split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bcseg.errors import UsageError

TRAIN, VAL, TEST = "train", "val", "test"
_MOST_FOLDS = 100


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a patient may go: a part, and within train perhaps a fold (0, 1, ...)."""

    part: str
    fold: str = ""

    @property
    def title(self) -> str:
        """The name in tables."""
        return f"fold {self.fold}" if self.fold else self.part


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """How to split.

    `test`, `val`: shares of the pairs, 0 to 1; None: 0.15 each, or with `folds` none. `folds`: all
    that is not test is dealt into so many. `keep_published`: test sets of the archives stay test.
    `one_group`: pairs of unknown patients are one patient a dataset. `groups`: a table with
    dataset, record_id and group that says who belongs together. `earlier`: a splits.csv whose
    patients stay where they are; None: the one at the output, if there is one. `redo`: forget it.
    """

    test: float | None = None
    val: float | None = None
    folds: int = 0
    seed: int = 0
    keep_published: bool = False
    one_group: bool = False
    groups: Path | None = None
    earlier: Path | None = None
    out: Path | None = None
    redo: bool = False
    dry_run: bool = False

    def shares(self) -> dict[Place, float]:
        """Return every place with its share of the pairs, in the order of tables.

        Raises UsageError for shares that are none.
        """
        usual = 0.0 if self.folds else 0.15
        test = usual if self.test is None else self.test
        val = usual if self.val is None else self.val
        if self.folds and val:
            raise UsageError("--folds and --val exclude each other", hint="each fold is a val once")
        if self.folds == 1 or not 0 <= self.folds <= _MOST_FOLDS:
            raise UsageError(f"{self.folds} folds: 2 to {_MOST_FOLDS} can be made")
        if min(test, val) < 0 or test + val >= 1:
            raise UsageError(
                f"{test:g} for test and {val:g} for val leave nothing for train",
                hint="shares between 0 and 1, as --test 0.15 --val 0.15",
            )
        train = 1 - test - val
        places = {Place(TRAIN, str(n)): train / self.folds for n in range(self.folds)}
        places = places or {Place(TRAIN): train}
        places |= {Place(VAL): val} if val else {}
        return places | ({Place(TEST): test} if test or self.keep_published else {})
