"""Every cell of scores.csv is empty or a number in the range that docs/scores.md names."""

from __future__ import annotations

import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from bcseg.raster import Patch, patch_of
from bcseg.scores import COLUMNS, image, shape, table
from bcseg.scores.annotation import annotation_scores
from bcseg.scores.corruptions import CORRUPTIONS, LEAKS, OTHERS
from bcseg.scores.flags import DRAWN, FLAGS
from bcseg.scores.measure import lesion_scores
from bcseg.scores.phantoms import phantom
from bcseg.scores.rank import precision_of, rank_lesions

DOCUMENT = (Path(__file__).parents[1] / "docs" / "scores.md").read_text(encoding="utf-8")
SIZE = (120, 160)  # rows, columns
TINY = 1e-9


def documented() -> dict[str, str]:
    """Return the range that the document names for each column."""
    found = {}
    for line in DOCUMENT.partition("### Flags")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) >= 3:
            found |= dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[2])
    return found


RANGES = documented()


def within(value: float, what: str) -> bool:
    """Say whether a value lies in a range such as `0..1`, `0..`, `0, 1` or `any`."""
    if what == "any":
        return math.isfinite(value)
    if "," in what:
        return value in [float(one) for one in what.split(",")]
    low, high = what.split("..")
    return float(low or "-inf") - TINY <= value <= float(high or "inf") + TINY


def test_every_column_and_flag_is_documented():
    numbers = {*table.CHECKS, *table.SHAPE, *table.IMAGE, *table.ANNOTATION} - {"source_shape"}
    assert numbers <= RANGES.keys()
    assert {*COLUMNS} == {*table.KEYS, *numbers, "source_shape", *table.RANKS}
    for name in (*COLUMNS, *FLAGS, *DRAWN.values()):
        assert f"`{name}`" in DOCUMENT, name


def test_a_range_can_fail():
    assert within(1.0, "0..1")
    assert not within(1.1, "0..1")
    assert not within(-1.0, "0..")
    assert not within(0.5, "0, 1")
    assert not within(math.nan, "any")


def checked(scores: dict[str, float | None]) -> None:
    for name, value in scores.items():
        if value is not None:
            assert math.isfinite(value), name
            assert within(value, RANGES[name]), f"{name} = {value}, not in {RANGES[name]}"


def random_mask(number: int) -> Patch:
    """Return a mask of noise: from speckle to blobs, with parts and holes, often at the border."""
    random = np.random.default_rng(number)
    noise = random.normal(size=SIZE).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), float(random.choice([0.5, 1.5, 4, 12, 30])))
    return patch_of(smooth > np.quantile(smooth, random.choice([0.02, 0.5, 0.9, 0.99, 0.9999])))


@pytest.mark.parametrize("number", range(60))
def test_random_masks(number):
    random = np.random.default_rng([number, 1])
    pixels = {
        0: random.integers(0, 4096, SIZE).astype(np.uint16),
        1: cv2.GaussianBlur(random.normal(128, 60, SIZE), (0, 0), 5.0).astype(np.uint8),
        2: np.zeros(SIZE, np.uint8),
        3: np.where(np.arange(SIZE[1]) < 80, 0, 65535).astype(np.uint16) * np.ones(SIZE, np.uint16),
    }[number % 4]
    found = lesion_scores(random_mask(number), pixels, SIZE, pixels > 100)
    checked(found)
    assert not math.isnan(rank_lesions([found])[0].precision)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 6, 7, 9, 12])
@pytest.mark.parametrize("where", [(0, 0), (40, 60), (SIZE[0] - 12, SIZE[1] - 12)])
def test_small_masks(side, where):
    pixels = np.random.default_rng(side).integers(0, 4096, SIZE).astype(np.uint16)
    for mask in (np.ones((side, side)), np.ones((side, 12)), np.eye(side)):
        inside = mask[: SIZE[0] - where[0], : SIZE[1] - where[1]].astype(np.bool_)
        checked(lesion_scores(Patch(*where, inside), pixels, SIZE, np.ones(SIZE, np.bool_)))


@pytest.mark.parametrize("number", range(3))
def test_corrupted_masks(number):
    one = phantom(number)
    for name, corrupt in (CORRUPTIONS | OTHERS | LEAKS).items():
        spoilt = corrupt(one.mask, one.image, np.random.default_rng(1))
        found = lesion_scores(spoilt, one.image, one.image.shape, None)
        checked(found)
        undefined = {key for key in (*shape.NAMES, *image.NAMES) if found[key] is None}
        assert undefined <= {"tongue_step", "tongue_edge"}, name


@pytest.mark.parametrize("number", range(40))
def test_random_outlines(number):
    random = np.random.default_rng(number)
    points = random.normal(0, 10.0 ** random.uniform(-2, 3), (int(random.integers(1, 60)), 2))
    if number % 3 == 0:
        points = np.rint(points)
    if number % 5 == 0:
        points = np.repeat(points[:1], 5, axis=0)
    checked(annotation_scores({"shape": {"points": points.tolist()}}, 0.07))


def test_the_precision_is_0_at_most_and_falls_for_nobody():
    one = phantom(1)
    found = lesion_scores(one.mask, one.image, one.image.shape, None)
    nothing = lesion_scores(Patch(0, 0, np.zeros((0, 0), np.bool_)), None, SIZE, None)
    assert precision_of([found])[0] <= 0
    assert np.isnan(precision_of([nothing])[0])
    assert precision_of([]).shape == (0,)
