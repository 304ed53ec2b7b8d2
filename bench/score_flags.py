"""How often flags are raised: by corrupted masks, by cases made for them, by a real table."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from score_masks import Mask, Precise, real_data

from bcseg import raster
from bcseg.breast import breast_region
from bcseg.errors import RecordError
from bcseg.formats.via import read_shape
from bcseg.raster import Patch
from bcseg.record import Polygon
from bcseg.scores.annotation import annotation_scores
from bcseg.scores.corruptions import CORRUPTIONS, OTHERS, grown, shifted, wobble
from bcseg.scores.flags import DRAWN, FLAGS, flags_of
from bcseg.scores.measure import lesion_scores

NAMES = (
    *("oval", "coarse", "box", "ribbon", "loose", "tight", "shifted", "leak"),
    *("outside_breast", "touches_border", "huge", "parts", "holes"),
)
TABLE = ("cdd", "Radiology_hand_drawn_segmentations_v2.csv")
EACH = 3  # every third region of the real table
SIDE = 6000  # pixels: no image is larger; the table does not say how large each is
OUTLINE_POINTS = 40  # of outlines made by a tool


def corruption_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return for each flag that corruptions can raise how often it is raised, by set."""
    columns = ("clean", *CORRUPTIONS, *OTHERS)
    lines = ["", "| flag | set | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    assert {*NAMES} <= FLAGS.keys()
    for flag in NAMES:
        for name, masks in sets.items():
            cells = []
            for corruption in columns:
                raised = [flag in flags_of(m.scores) for m in masks if m.corruption == corruption]
                cells.append(f"{np.mean(raised):.2f}" if raised else "")
            lines.append(f"| {flag} | {name} | " + " | ".join(cells) + " |")
    return lines


def leak_hits(masks: Sequence[Mask], kind: str) -> float:
    """Return the share of leaks of a kind that raise `leak`."""
    return float(np.mean(["leak" in flags_of(m.scores) for m in masks if m.corruption == kind]))


# ------------------------------------------------------------------------------- made cases


def made_table(sets: Mapping[str, Sequence[Precise]]) -> list[str]:
    """Return hits of the flags that no corrupted mask can raise, on cases made for them."""
    lines = ["", "| flag | case | " + " | ".join(sets) + " |", "|---" * (len(sets) + 2) + "|"]
    cases = {
        ("huge", "the whole breast region as the mask"): _huge,
        ("even_points", f"{OUTLINE_POINTS} points at equal distances on the contour"): _even,
        ("even_points", "the same, each moved along it by 10 % of the distance"): _jittered,
        ("disputed", "two annotators, each off by a smooth wobble of 0.06 d"): _wobbling,
        ("disputed", "the other draws 20 % of d wider"): _wider,
        ("disputed", "the other draws 20 % of d wider and 20 % beside"): _beside,
    }
    for (flag, case), raised in cases.items():
        cells = []
        for lesions in sets.values():
            found = [raised(one, np.random.default_rng([n, 3])) for n, one in enumerate(lesions)]
            cells.append(f"{np.mean([one for one in found if one is not None]):.2f}")
        lines.append(f"| {flag} | {case} | " + " | ".join(cells) + " |")
    return lines


def _huge(one: Precise, random: np.random.Generator) -> bool | None:
    breast = breast_region(one.image)
    if not breast.any():
        return None
    size = (one.image.shape[0], one.image.shape[1])
    return "huge" in flags_of(lesion_scores(raster.patch_of(breast), None, size, breast))


def _even(one: Precise, random: np.random.Generator) -> bool:
    return _evenly_drawn(one, np.zeros(OUTLINE_POINTS))


def _jittered(one: Precise, random: np.random.Generator) -> bool:
    return _evenly_drawn(one, random.normal(0, 0.1, OUTLINE_POINTS))


def _evenly_drawn(one: Precise, moved: NDArray[Any]) -> bool:
    """Draw points along the contour, each `moved` by so much of their distance; ask the flag."""
    pixels = np.pad(one.patch.pixels, 1).view(np.uint8)
    outlines, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    line = max(outlines, key=cv2.contourArea)[:, 0, :].astype(np.float64)
    line = np.concatenate([line, line[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    wanted = np.sort((np.arange(OUTLINE_POINTS) + moved) / OUTLINE_POINTS % 1) * along[-1]
    points = [np.interp(wanted, along, line[:, axis]) for axis in (0, 1)]
    shape = {"shape": {"points": np.stack(points, axis=1).tolist()}}
    return "even_points" in flags_of(annotation_scores(shape, None))


def _wobbling(one: Precise, random: np.random.Generator) -> bool:
    return _disputed(*(wobble(one.patch, one.image, random) for _ in range(2)))


def _wider(one: Precise, random: np.random.Generator) -> bool:
    return _disputed(one.patch, grown(0.2)(one.patch, one.image, random))


def _beside(one: Precise, random: np.random.Generator) -> bool:
    wide = grown(0.2)(one.patch, one.image, random)
    return _disputed(one.patch, wide and shifted(0.15)(wide, one.image, random))


def _disputed(one: Patch | None, other: Patch | None) -> bool:
    """Ask the flag about a mask of an annotator, with that of the other."""
    assert one is not None
    assert other is not None
    size = max(one.bottom, other.bottom), max(one.right, other.right)
    first, second = raster.paint([one], size) > 0, raster.paint([other], size) > 0
    dice = 2 * int((first & second).sum()) / int(first.sum() + second.sum())
    return "disputed" in flags_of({"annotator_dice": dice, "area_px": 1.0})


# ------------------------------------------------------------------------------- a real table


def real_table() -> list[str]:
    """Return how often all regions of the CDD-CESM table raise what needs no image."""
    path = real_data(*TABLE)
    if path is None:
        return []
    raised: Counter[str] = Counter()
    regions = 0
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in itertools.islice(csv.DictReader(file), 0, None, EACH):
            found = _region_flags(row["region_shape_attributes"])
            if found is not None:
                regions += 1
                raised.update(found)
    names = (
        *("speck", "oval", "coarse", "box", "ribbon", "leak", "parts", "holes", "self_crossing"),
        *("few_points", "even_points", *sorted({*DRAWN.values()})),
    )
    lines = ["", f"{regions:,} regions:", "", "| flag | regions | share |", "|---|---|---|"]
    return lines + [f"| {one} | {raised[one]:,} | {raised[one] / regions:.3f} |" for one in names]


def _region_flags(cell: str) -> tuple[str, ...] | None:
    try:
        shape = read_shape(cell, "")
    except RecordError:
        return None
    if shape is None:
        return None
    drawing = raster.draw(shape, (SIDE, SIDE))
    scores = lesion_scores(drawing.patch, None, (SIDE, SIDE), None)
    if isinstance(shape, Polygon):
        scores |= annotation_scores({"shape": {"points": list(shape.points)}}, None)
    scores["self_crossing"] = float(drawing.self_intersecting)
    return flags_of(scores, drawing.geometry)
