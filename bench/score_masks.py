"""Masks for bench/scores.py: precise ones, the same corrupted on purpose, and their scores."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import raster
from bcseg.breast import breast_region
from bcseg.raster import Patch
from bcseg.record import Polygon
from bcseg.scores.corruptions import CORRUPTIONS, LEAKS, OTHERS, diameter
from bcseg.scores.measure import lesion_scores
from bcseg.scores.phantoms import phantom
from bcseg.scores.shape import Scores

FEWEST_VERTICES = 16  # a polygon with fewer is not believed precise
SMALLEST = 24.0  # pixels of equivalent diameter
LEAST_SOLIDITY = 0.3  # below it the polygon is a ribbon along the skin, not a mass


@dataclass(frozen=True)
class Precise:
    """A mask that is believed precise: whose it is, and whether the rank was chosen on it."""

    patient: str
    chosen_on: bool
    image: NDArray[Any]
    patch: Patch
    ribbon: bool = False


@dataclass(frozen=True)
class Mask:
    """A mask: of which lesion, what was done to it ("clean"), and its scores."""

    of: Precise
    corruption: str
    scores: Scores

    @property
    def patient(self) -> str:
        """Whose it is."""
        return self.of.patient


def real_data(*parts: str) -> Path | None:
    """Return a file of BCSEG_REAL_DATA, None (and say so) without it."""
    path = Path(os.environ.get("BCSEG_REAL_DATA", "")).joinpath(*parts)
    if path.is_file():
        return path
    sys.stdout.write(f"{'/'.join(parts)}: skipped, not in BCSEG_REAL_DATA\n")
    return None


def real_lesions(kind: str) -> list[Precise]:
    """Return of each image the largest polygon believed precise; then the largest ribbons.

    Patients with an even half number (all their numbers are even) are those chosen on. A ribbon
    stands beside the other polygon of its image where that is the smaller one.
    """
    table = real_data("cdd512", "regions.csv")
    if table is None:
        return []
    largest: dict[tuple[bool, str], Precise] = {}
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].split("_")[2] == kind]
    for row in rows:
        if row["shape"] != "polygon" or int(row["n_vertices"]) < FEWEST_VERTICES:
            continue
        one = _polygon_lesion(row, table.parent / "images")
        other = largest.get((one.ribbon, row["file"]))
        if diameter(one.patch) >= SMALLEST and (other is None or other.patch.area < one.patch.area):
            largest[one.ribbon, row["file"]] = one
    return [
        largest[key]
        for key in sorted(largest)
        if not key[0] or _is_largest(largest[key], largest.get((False, key[1])))
    ]


def _is_largest(ribbon: Precise, other: Precise | None) -> bool:
    return other is None or other.patch.area < ribbon.patch.area


def _polygon_lesion(row: Mapping[str, str], images: Path) -> Precise:
    image = cv2.imread(str(images / row["file"]), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    points = tuple((float(x), float(y)) for x, y in json.loads(row["points"]))
    patch = raster.draw(Polygon(points), (image.shape[0], image.shape[1])).patch
    hull = cv2.contourArea(cv2.convexHull(np.array(points, np.float32)))
    patient = row["file"].split("_")[0]
    chosen_on = int(patient[1:]) // 2 % 2 == 0
    return Precise(patient, chosen_on, image, patch, hull * LEAST_SOLIDITY > patch.area)


def phantom_lesions(count: int, held_out: int) -> list[Precise]:
    """Return phantoms, each its own patient; the held out ones are of another seed."""
    made = [(phantom(number), True) for number in range(count)]
    made += [(phantom(number, seed=1), False) for number in range(held_out)]
    return [Precise(f"{one.name}-{used}", used, one.image, one.mask) for one, used in made]


def measure(lesions: Sequence[Precise]) -> tuple[list[Mask], float]:
    """Return the scores of all masks, clean and corrupted, and CPU ms a mask."""
    masks, spent = [], 0.0
    with ProcessPoolExecutor(initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for lesion, (scored, seconds) in zip(
            lesions, pool.map(scored_masks, lesions, range(len(lesions))), strict=True
        ):
            masks += [Mask(lesion, name, scores) for name, scores in scored.items()]
            spent += seconds
    return masks, 1000 * spent / max(len(masks), 1)


def scored_masks(lesion: Precise, number: int) -> tuple[dict[str, Scores], float]:
    """Return the scores of a mask, clean and corrupted, and the CPU seconds that they took."""
    image = lesion.image
    breast = breast_region(image)
    size = (image.shape[0], image.shape[1])
    made = corrupted(lesion, number)
    start = time.process_time()
    scored = {name: lesion_scores(one, image, size, breast) for name, one in made.items()}
    return scored, time.process_time() - start


def corrupted(lesion: Precise, number: int) -> dict[str, Patch]:
    """Return a mask as it is and corrupted in every way that can be done to it."""
    random = np.random.default_rng([number, 7])
    made: dict[str, Patch | None] = {"clean": lesion.patch}
    for name, corrupt in (CORRUPTIONS | OTHERS | LEAKS).items():
        made[name] = corrupt(lesion.patch, lesion.image, random)
    return {name: one for name, one in made.items() if one is not None}
