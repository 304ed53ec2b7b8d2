"""Rank by the user's own accepted masks: corrupt them, and learn to tell them from the copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder
from bcseg.scores import logistic
from bcseg.scores.items import Measured
from bcseg.scores.logistic import Scale
from bcseg.scores.rank import TERMS
from bcseg.scores.shape import Scores
from bcseg.select.catalogue import Catalogue
from bcseg.select.manifest import read_manifest
from bcseg.select.matching import match_rows

FEWEST = 10  # accepted lesions: fewer say nothing
_SHOWN = 5

Accepted = Mapping[tuple[str, str], frozenset[str]]  # (dataset, record id): lesion ids


def read_accepted(path: Path, folders: Mapping[str, PairsFolder]) -> Accepted:
    """Return the lesions that a manifest accepts; raises UsageError if a row cannot be used."""
    catalogue = Catalogue(folders)
    choices, troubles = match_rows(read_manifest(path), catalogue)
    if troubles:
        listed = "; ".join(f"row {one.number}: {one.message}" for one in troubles[:_SHOWN])
        more = f"; and {len(troubles) - _SHOWN} more" if len(troubles) > _SHOWN else ""
        raise UsageError(f"the manifest cannot be used: {listed}{more}", where=str(path))
    accepted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    refused: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for choice in choices:
        if choice.pair is None:
            continue
        inside = {one for one, in_mask in catalogue.lesions[choice.pair].items() if in_mask}
        named = {choice.lesion_id} if choice.lesion_id else inside
        (accepted if choice.decision == "accept" else refused)[choice.pair] |= named & inside
    return {pair: frozenset(ids - refused[pair]) for pair, ids in accepted.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A fitted model; `scales` of the datasets that it was fitted on."""

    weights: NDArray[np.float64]
    scales: Mapping[str, Scale]
    accepted: int
    corrupted: int

    def document(self) -> dict[str, Any]:
        """Return what the model was made of, and its weights in spreads."""
        weights = zip(logistic.NAMES, self.weights.tolist(), strict=False)
        return {
            "accepted_lesions": self.accepted,
            "corrupted_copies": self.corrupted,
            "datasets": sorted(self.scales),
            "weights": {name: round(weight, 4) for name, weight in weights},
        }

    def precision(self, dataset: str, lesions: Sequence[Scores]) -> NDArray[np.float64]:
        """Return the log odds that each is precise; NaN where no score is defined.

        In a dataset with fewer than 10 accepted masks the scores are scaled by all that it has.
        """
        values = logistic.features(lesions)
        scale = self.scales.get(dataset) or logistic.scale_of(values)
        found = logistic.evidence(logistic.standardised(values, scale), self.weights)
        unknown = np.isnan(values[:, len(TERMS) :]).all(axis=1)
        return np.where(unknown, np.nan, found)


def fit_model(lesions: Mapping[str, Sequence[Measured]]) -> Model:
    """Fit the model to accepted lesions (those with corrupted copies) by dataset.

    Raises UsageError for fewer than 10.
    """
    parts, labels, scales = [], [], {}
    accepted = 0
    for dataset, measured in lesions.items():
        clean = [one.scores for one in measured if one.corrupted]
        spoilt = [scores for one in measured for scores in one.corrupted]
        if not clean:
            continue
        accepted += len(clean)
        values = logistic.features([*clean, *spoilt])
        scale = logistic.scale_of(values[: len(clean)])
        if len(clean) >= FEWEST:
            scales[dataset] = scale
        else:
            scale = logistic.scale_of(logistic.features([one.scores for one in measured]))
        parts.append(logistic.standardised(values, scale))
        labels.append(np.arange(len(values)) < len(clean))
    if accepted < FEWEST:
        raise UsageError(
            f"{accepted} accepted lesions are too few to learn from: at least {FEWEST}",
            hint="accept more in `bcseg review`, or rank without --calibrate",
        )
    values, precise = np.concatenate(parts), np.concatenate(labels)
    corrupted = int((~precise).sum())
    return Model(logistic.fit(values, precise), scales, accepted, corrupted)
