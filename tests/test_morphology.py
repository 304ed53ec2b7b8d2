"""Erosion and dilation on packed bits, against OpenCV's on bytes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bcseg.morphology import LARGEST_REACH, eroded_dilated

reaches = st.integers(0, LARGEST_REACH)
shapes = st.tuples(st.integers(1, 150), st.integers(1, 300))


def opencv(mask, erode_by, dilate_by):
    first, second = (np.ones((2 * reach + 1,) * 2, np.uint8) for reach in (erode_by, dilate_by))
    return cv2.dilate(cv2.erode(mask, first), second)


def check(mask, erode_by, dilate_by):
    found = eroded_dilated(mask, erode_by, dilate_by)
    assert found.dtype == np.uint8
    assert np.array_equal(found, opencv(mask, erode_by, dilate_by))


@given(hnp.arrays(np.uint8, shapes, elements=st.just(0), fill=st.just(1)), reaches, reaches)
def test_holes(mask, erode_by, dilate_by):
    check(mask, erode_by, dilate_by)


@given(shapes, st.integers(1, 40), st.floats(0.05, 0.95), st.integers(0, 2**32), reaches, reaches)
def test_blobs(shape, block, share, seed, erode_by, dilate_by):
    coarse = np.random.default_rng(seed).random([-(-side // block) for side in shape])
    mask = (cv2.resize(coarse, shape[::-1]) < share).astype(np.uint8)
    check(mask, erode_by, dilate_by)


@pytest.mark.parametrize("columns", [1, 40, 41, 42, 63, 64, 65, 128, 129])
def test_a_single_pixel_grows_to_a_square_at_any_place_in_a_word(columns):
    for place in (0, columns // 2, columns - 1):
        mask = np.zeros((60, columns), np.bool_)
        mask[30, place] = True
        grown = eroded_dilated(mask, 0, 22)
        expected = np.zeros_like(grown)
        expected[8:53, max(place - 22, 0) : place + 23] = 1
        assert np.array_equal(grown, expected)


@pytest.mark.parametrize("reach", [-1, 64])
def test_a_reach_beyond_a_word_is_refused(reach):
    with pytest.raises(ValueError, match="not from 0 to 63"):
        eroded_dilated(np.ones((3, 3), np.bool_), reach, 1)
