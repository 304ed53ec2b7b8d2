"""Small synthetic archives of the five datasets, each in its exact raw layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bcseg.errors import UsageError
from bcseg.synth import bcdr, cbis, cdd, csaw, inbreast
from bcseg.synth.phantom import Built, Truth

__all__ = ["BUILDERS", "Built", "Truth", "build"]

BUILDERS: dict[str, Callable[..., Built]] = {
    "bcdr": bcdr.build,
    "cbis": cbis.build,
    "cdd": cdd.build,
    "csaw": csaw.build,
    "inbreast": inbreast.build,
}


def build(
    dataset: str, root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0
) -> Built:
    """Write a synthetic archive of `dataset` into the empty folder `root`.

    `images`: at least 6, which the peculiarities of the archives need; fewer are made 6. `scale`: 1
    for the real image sizes. The same seed gives the same bytes, and an image does not depend on
    how many are built with it. Raises UsageError for an unknown dataset, a folder with
    something in it, a scale outside 0.1 to 1, a negative seed.
    """
    if dataset not in BUILDERS:
        raise UsageError(f"unknown dataset {dataset!r}", hint=", ".join(BUILDERS))
    if not 0.1 <= scale <= 1.0:
        raise UsageError(f"scale {scale} is not between 0.1 and 1")
    if images < 1:
        raise UsageError(f"{images} images cannot be built", hint="6 or more")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative")
    return BUILDERS[dataset](root, images=images, scale=scale, seed=seed)
