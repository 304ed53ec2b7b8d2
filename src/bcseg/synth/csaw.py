"""A synthetic CSAW-S: images, and one mask file for each class, in the raw layout."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.record import Size
from bcseg.synth.phantom import (
    Built,
    Mask,
    Plane,
    Points,
    Spot,
    Truth,
    View,
    ellipse,
    empty_folder,
    encoded,
    inside,
    lettering,
    mammogram,
    muscle_region,
    outline,
    quantised,
    random_for,
    scaled,
    skin_line,
    stamp,
    write_bytes,
)

_TOP = "CsawS"
_LARGE, _SMALL = (4084, 3328), (3328, 2560)
# class as in the file name (one has a hyphen): kind
_KIND = {
    "cancer": "cancer",
    "calcifications": "calcification",
    "axillary_lymph_nodes": "lymph_node",
    "thick_vessels": "thick_vessel",
    "foreign_object": "foreign_object",
    "skin": "skin",
    "nipple": "nipple",
    "text": "text",
    "non-mammary_tissue": "non_mammary_tissue",
    "pectoral_muscle": "pectoral_muscle",
    "mammary_gland": "mammary_gland",
    "unclassified": "unclassified",
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """`cancers`: what each reader sees (place, radius as a fraction of the width, reader shift).

    `missing`: "reader/class" files that are not written. `one`: the cancer mask holds 1, not 255.
    `odd`: an 8-bit variant of the image and a mask of no known class lie beside it; the cancer
    mask has twice the size of the image, or lacks columns, so that no scale fits.
    """

    split: str
    patient: str
    number: int
    side: Literal["L", "R"]
    projection: str
    cancers: tuple[tuple[float, float, float], ...] = ()
    missing: tuple[str, ...] = ()
    size: Size = _LARGE
    coloured: bool = False
    one: bool = False
    odd: Literal["", "variant", "doubled", "cut"] = ""

    @property
    def stem(self) -> str:
        return f"{self.patient}_{self.number}"

    @property
    def readers(self) -> tuple[str, ...]:
        return ("1",) if self.split == "train" else ("1", "2", "3")

    @property
    def images(self) -> str:
        part = "" if self.split == "train" else "test_data/"
        return f"{_TOP}/{part}anonymized_dataset/{self.patient}"

    def masks(self, reader: str) -> str:
        """Return the folder of a reader's masks; those of the training part lie by the images."""
        if self.split == "train":
            return self.images
        return f"{_TOP}/test_data/annotator_{reader}/{self.patient}"


_PLANS = (
    _Plan("train", "012", 0, "R", "MLO", ((0.42, 0.58, 0.065),)),
    _Plan(
        "train", "012", 1, "R", "CC", ((0.34, 0.46, 0.06),), coloured=True, one=True, size=_SMALL
    ),
    _Plan("train", "001", 10, "L", "CC", missing=("1/cancer",), size=_SMALL),
    _Plan("test", "011", 1, "L", "MLO", ((0.46, 0.60, 0.07),)),
    _Plan(
        "test", "012", 0, "L", "CC", ((0.30, 0.55, 0.05), (0.46, 0.42, 0.04)), ("3/cancer",), _SMALL
    ),
    _Plan("test", "001", 0, "R", "CC", ((0.38, 0.52, 0.05),), ("1/cancer", "2/text"), _SMALL),
)

_QUIRKS = (
    _Plan("train", "020", 0, "L", "CC", ((0.4, 0.5, 0.06),), size=_SMALL, coloured=True,
          odd="variant"),
    _Plan("train", "021", 3, "R", "CC", ((0.4, 0.55, 0.06),), size=_SMALL, odd="doubled"),
    _Plan("train", "022", 0, "L", "MLO", ((0.4, 0.6, 0.06),), size=_SMALL, odd="cut"),
)  # fmt: skip
_CUT_COLUMNS = 9


def build(
    root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0, quirks: bool = False
) -> Built:
    """Write the archive; the first 6 images are always there, 3 of them in the test part.

    Images are 16-bit grey, one is 8-bit with three equal channels. Anything above 0 in a mask
    belongs to its class; a class without a file is empty.
    """
    empty_folder(root)
    plans = [_plan(number) for number in range(max(images, 6))]
    plans += _QUIRKS if quirks else ()
    truths = [truth for plan in plans for truth in _image(root, plan, scale, seed)]
    names = [plan.stem for plan in plans if plan.split == "train"]
    splits = {"0.5": {"0": names[: (len(names) + 1) // 2], "1": names[len(names) // 2 :]}}
    write_bytes(root / _TOP / "training_random_splits.json", json.dumps(splits).encode())
    return Built(root, len(plans), tuple(truths), Counter(map(_fate, plans)))


def _fate(plan: _Plan) -> str:
    """Return what becomes of a record; every image has calcifications at least."""
    if plan.odd == "cut":
        return "failed.mask_size"
    marked = plan.cancers and "1/cancer" not in plan.missing
    return "pairs" if marked else "left_out.no_chosen_kind"


def _plan(number: int) -> _Plan:
    if number < len(_PLANS):
        return _PLANS[number]
    side: Literal["L", "R"] = "L" if number % 2 else "R"
    cancers = ((0.4, 0.55, 0.055),)
    return _Plan(
        "train", f"{100 + number}", 0, side, "MLO" if number % 2 else "CC", cancers, size=_SMALL
    )


def _image(root: Path, plan: _Plan, scale: float, seed: int) -> list[Truth]:
    view = View(scaled(plan.size, scale), plan.side, plan.projection)
    rng = random_for(seed, "csaw", plan.split, plan.stem)
    cancers = [
        outline(rng, view.at(x, y), max(7.0, view.length(r)), irregular=0.45)
        for x, y, r in plan.cancers
    ]
    specks = [ellipse(view.at(x, 0.66), 2.6, 2.2, 24) for x in (0.30, 0.33, 0.35)]
    vessel = _vessel(view)
    spots = [Spot(points, rim=max(1.0, view.length(0.004))) for points in cancers]
    spots += [Spot(points, 0.4, 0.7) for points in specks] + [Spot(vessel, 0.10, 1.5)]
    image = mammogram(rng, view, spots)
    text = _marker(image, view)
    place = root / plan.images
    write_bytes(place / f"{plan.stem}.png", encoded(_stored(image, plan), ".png"))
    if plan.odd == "variant":
        grey = quantised(image, 255).astype(np.uint8)
        write_bytes(place / f"{plan.stem}_8bit.png", encoded(grey, ".png"))
        blot = text.astype(np.uint8) * np.uint8(255)
        write_bytes(place / f"{plan.stem}_scratch.png", encoded(blot, ".png"))
    anatomy = _anatomy(view, specks, vessel, text)
    truths = []
    for reader in plan.readers:
        marks = {"cancer": _cancer(view, cancers, int(reader)), **anatomy}
        truths += _reader(root, plan, reader, marks)
    return truths


def _stored(image: Plane, plan: _Plan) -> NDArray[Any]:
    if plan.coloured:
        return np.repeat(quantised(image, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    return quantised(image, 4095)


def _reader(root: Path, plan: _Plan, reader: str, marks: dict[str, Mask]) -> list[Truth]:
    """Write what one reader marked; a file without any mark is written for foreign_object."""
    truths = []
    for label, mask in marks.items():
        if f"{reader}/{label}" in plan.missing or not (mask.any() or label == "foreign_object"):
            continue
        value = 1 if plan.one and label == "cancer" else 255
        name = f"{plan.masks(reader)}/{plan.stem}_{label}.png"
        stored = mask.astype(np.uint8) * np.uint8(value)
        if label == "cancer" and plan.odd == "doubled":
            stored = stored.repeat(2, axis=0).repeat(2, axis=1)
        cut = label == "cancer" and plan.odd == "cut"
        write_bytes(root / name, encoded(stored[:, _CUT_COLUMNS:] if cut else stored, ".png"))
        if mask.any() and not cut:
            truths.append(_truth(plan, reader, label, mask, name))
    return truths


def _truth(plan: _Plan, reader: str, label: str, mask: Mask, source: str) -> Truth:
    return Truth(
        record=f"{plan.split}_{plan.stem}",
        lesion_id=label,
        kind=_KIND[label],
        geometry="raster",
        label=label,
        mask=mask,
        annotator=reader,
        source=source,
    )


def _cancer(view: View, cancers: Sequence[Points], reader: int) -> Mask:
    """Return all cancers of an image as one reader draws them: the second wide, the third beside.

    The first reader's outline is the true one.
    """
    mask = np.zeros(view.size, dtype=np.bool_)
    grow, shift = ((1.0, 0.0), (1.18, 0.0), (0.95, 2.0))[reader - 1]
    for points in cancers:
        centre = points.mean(axis=0)
        mask |= inside(view.size, centre + grow * (points - centre) + (shift, -shift))
    return mask


def _marker(image: Plane, view: View) -> Mask:
    """Write the projection into the far corner of the image, and return its pixels."""
    shape = lettering(f"{view.side} {view.projection}", max(8, round(view.length(0.03))))
    x, y = view.at(0.85, 0.05)
    return stamp(image, shape, (round(x) - shape.shape[1] // 2, round(y)), 0.95)


def _vessel(view: View) -> Points:
    """Return a bent band across the breast."""
    across = np.linspace(0.12, 0.5, 24)
    middle = 0.72 + 0.03 * np.sin(9 * across)
    band = [view.at(x, y - 0.004) for x, y in zip(across, middle, strict=True)]
    return np.array(
        band + [view.at(x, y + 0.004) for x, y in zip(across, middle, strict=True)][::-1]
    )


def _anatomy(view: View, specks: Sequence[Points], vessel: Points, text: Mask) -> dict[str, Mask]:
    """Return the masks on which all readers agree; classes may overlap."""
    breast = inside(view.size, skin_line(view))
    width = max(2.0, view.length(0.012))
    depth = cv2.distanceTransform(breast.astype(np.uint8), cv2.DIST_L2, 5)
    tip = skin_line(view)
    nipple = tip[np.argmax(tip[:, 0]) if view.side == "L" else np.argmin(tip[:, 0])]
    marks = {
        "calcifications": np.logical_or.reduce([inside(view.size, speck) for speck in specks]),
        "thick_vessels": inside(view.size, vessel),
        "skin": breast & (depth <= width),
        "nipple": inside(view.size, ellipse((nipple[0], nipple[1]), 2.0 * width, 2.0 * width)),
        "text": text,
        "non-mammary_tissue": np.zeros(view.size, dtype=np.bool_),
        "pectoral_muscle": np.zeros(view.size, dtype=np.bool_),
        "mammary_gland": np.asarray(depth > 5 * width),
        "foreign_object": np.zeros(view.size, dtype=np.bool_),
    }
    if view.projection == "MLO":
        muscle = inside(view.size, muscle_region(view)) & breast
        node = inside(view.size, ellipse(view.at(0.40, 0.10), view.length(0.02), view.length(0.03)))
        marks["pectoral_muscle"] = muscle
        marks["mammary_gland"] = marks["mammary_gland"] & ~muscle
        marks["axillary_lymph_nodes"] = node
        marks["unclassified"] = inside(view.size, ellipse(view.at(0.2, 0.84), 4.0, 3.0))
        marks["non-mammary_tissue"] = breast & ~inside(view.size, _below(view))
    return marks


def _below(view: View) -> Points:
    """Return the part of the image that can hold mammary tissue."""
    return np.array([view.at(0, 0.2), view.at(1, 0.2), view.at(1, 1), view.at(0, 1)])
