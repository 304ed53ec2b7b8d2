"""Small synthetic archives of the datasets, each in its exact raw layout."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from bcseg.errors import UsageError
from bcseg.synth import bcdr, cbis, cdd, csaw, ddsm, inbreast, mias, vindr
from bcseg.synth.documents import tar_folder, zip_folder
from bcseg.synth.layouts import LAYOUTS, is_moved, rearrange
from bcseg.synth.phantom import Built, Truth, empty_folder

__all__ = ["BUILDERS", "LAYOUTS", "Built", "Packed", "Truth", "build", "empty_folder"]

Packed = Literal["", "zip", "tar.gz"]

BUILDERS: dict[str, Callable[..., Built]] = {
    "bcdr": bcdr.build,
    "cbis": cbis.build,
    "cdd": cdd.build,
    "csaw": csaw.build,
    "ddsm": ddsm.build,
    "inbreast": inbreast.build,
    "mias": mias.build,
    "vindr": vindr.build,
}


def build(  # noqa: PLR0913  (the options of one command)
    dataset: str,
    root: Path,
    *,
    images: int = 6,
    scale: float = 0.125,
    seed: int = 0,
    layout: str = "",
    quirks: bool = False,
    packed: Packed = "",
) -> Built:
    """Write a synthetic archive of `dataset` into the empty folder `root`.

    `images`: at least 6, which the peculiarities of the archives need; fewer are made 6. `scale`: 1
    for the real image sizes (Mini-MIAS has square images of one size, its film is scaled).
    `layout`: one of LAYOUTS, empty for the first. `quirks`: add every
    irregularity of the real archive that can lie on a disk. `packed`: `root` then holds one file,
    <dataset>.zip or .tar.gz, and is the `root` that is returned; layout "zip" of CSAW-S
    is packed anyway. The same arguments give the same bytes, and an image does not depend on how
    many are built with it. Record ids are the same in every layout; what is lost is the patient in
    layout "bare" of INbreast, and the tables' words (density, BI-RADS) in layout "E" of CBIS-DDSM.
    Raises UsageError for an unknown dataset or layout, a folder with something in it, a
    scale outside 0.1 to 1, a negative seed.
    """
    _check(dataset, images, scale, seed)
    layout = layout or LAYOUTS[dataset][0]
    if layout not in LAYOUTS[dataset]:
        hint = ", ".join(LAYOUTS[dataset])
        raise UsageError(f"unknown layout {layout!r} of {dataset}", hint=hint)
    options: dict[str, Any] = {"images": images, "scale": scale, "seed": seed, "quirks": quirks}
    if dataset in ("cbis", "ddsm"):
        options["layout"] = layout
    packed = "zip" if layout == "zip" and not packed else packed
    if not packed:
        return _built(dataset, root, layout, options)
    target = empty_folder(root) / f"{dataset}.{packed}"
    with tempfile.TemporaryDirectory(dir=root, prefix=".") as scratch:
        built = _built(dataset, Path(scratch), layout, options)
        (zip_folder if packed == "zip" else tar_folder)(built.root, target)
    return replace(built, root=target)


def _check(dataset: str, images: int, scale: float, seed: int) -> None:
    if dataset not in BUILDERS:
        raise UsageError(f"unknown dataset {dataset!r}", hint=", ".join(BUILDERS))
    if not 0.1 <= scale <= 1.0:
        raise UsageError(f"scale {scale} is not between 0.1 and 1")
    if images < 1:
        raise UsageError(f"{images} images cannot be built", hint="6 or more")
    if seed < 0:
        raise UsageError(f"seed {seed} is negative")


def _built(dataset: str, root: Path, layout: str, options: dict[str, Any]) -> Built:
    built = BUILDERS[dataset](root, **options)
    return rearrange(dataset, layout, built) if is_moved(dataset, layout) else built
