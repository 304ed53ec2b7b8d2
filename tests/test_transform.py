from __future__ import annotations

import json
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcseg.errors import RecordError
from bcseg.raster import paint, patch_of
from bcseg.transform import Crop, Flip, Pad, Resize, Transform

SIDES = st.integers(1, 17)


@st.composite
def chains(draw, kinds=("crop", "flip", "pad", "resize")):
    """A source size and up to five steps that fit it."""
    source = height, width = draw(SIDES), draw(SIDES)
    steps = []
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=5)):
        if kind == "crop":
            top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
            rows, columns = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
            steps.append(Crop(top, left, rows, columns, height, width))
            height, width = rows, columns
        elif kind == "flip":
            steps.append(Flip(width))
        elif kind == "pad":
            before = height, width
            height, width = height + draw(st.integers(0, 6)), width + draw(st.integers(0, 6))
            steps.append(Pad(height, width, *before))
        else:
            rows, columns = draw(SIDES), draw(SIDES)
            steps.append(Resize(rows, columns, height, width))
            height, width = rows, columns
    return source, Transform(tuple(steps)), (height, width)


def random_mask(size, seed, share=0.3):
    return np.random.default_rng(seed).random(size) < share


# An independent transcription on whole arrays, pixel by pixel.


def nearest(index, before, after):
    return floor((Fraction(index) + Fraction(1, 2)) * before / after)


def forward(grid, step):
    height, width = grid.shape
    if isinstance(step, Crop):
        return grid[step.top : step.top + step.height, step.left : step.left + step.width]
    if isinstance(step, Flip):
        return np.array([[row[width - 1 - j] for j in range(width)] for row in grid])
    after = np.zeros((step.height, step.width), grid.dtype)
    for i in range(step.height):
        for j in range(step.width):
            if isinstance(step, Resize):
                after[i, j] = grid[nearest(i, height, step.height), nearest(j, width, step.width)]
            elif i < height and j < width:
                after[i, j] = grid[i, j]
    return after


def backward(grid, step, size):
    before = np.zeros(size, grid.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            if isinstance(step, Crop):
                row, column = i - step.top, j - step.left
            elif isinstance(step, Flip):
                row, column = i, size[1] - 1 - j
            elif isinstance(step, Pad):
                row, column = i, j
            else:
                row, column = nearest(i, step.height, size[0]), nearest(j, step.width, size[1])
            if 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]:
                before[i, j] = grid[row, column]
    return before


@settings(max_examples=300, deadline=None)
@given(chains(), st.integers(0, 2**32 - 1))
def test_a_patch_goes_where_its_pixels_go(chain, seed):
    source, transform, output = chain
    expected = random_mask(source, seed)
    patch = transform.apply_patch(patch_of(expected))
    for step in transform.steps:
        expected = forward(expected, step)
    assert transform.output_size(source) == expected.shape == output
    np.testing.assert_array_equal(paint([patch], output) == 255, expected)
    tight = patch_of(patch.pixels, patch.top, patch.left)
    assert (tight.pixels.shape, tight.area) == (patch.pixels.shape, patch.area)


@settings(max_examples=300, deadline=None)
@given(chains(), st.integers(0, 2**32 - 1))
def test_a_mask_is_restored_pixel_by_pixel(chain, seed):
    source, transform, output = chain
    mask = np.random.default_rng(seed).integers(0, 256, output).astype(np.uint8)
    sizes = [source]
    for step in transform.steps:
        sizes.append(forward(np.zeros(sizes[-1]), step).shape)
    expected = mask
    for step, size in zip(reversed(transform.steps), reversed(sizes[:-1]), strict=True):
        expected = backward(expected, step, size)
    assert transform.source_size(output) == source
    restored = transform.restore_mask(mask)
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, expected)


@settings(max_examples=200, deadline=None)
@given(chains(("crop", "flip", "pad")), st.integers(0, 2**32 - 1))
def test_without_resize_what_was_not_cropped_comes_back(chain, seed):
    source, transform, output = chain
    mask = random_mask(source, seed)
    kept = np.ones(source, bool)
    for step in transform.steps:
        kept = forward(kept, step)
    kept = transform.restore_mask(kept)
    written = paint([transform.apply_patch(patch_of(mask))], output)
    np.testing.assert_array_equal(transform.restore_mask(written) == 255, mask & kept)


@settings(max_examples=200, deadline=None)
@given(chains(("crop", "flip", "pad")), st.sampled_from([np.uint8, np.uint16, np.int16]))
def test_without_resize_the_image_goes_the_same_way(chain, dtype):
    source, transform, _ = chain
    image = expected = (np.arange(source[0] * source[1]).reshape(source) + 1).astype(dtype)
    for step in transform.steps:
        expected = forward(expected, step)
    moved = transform.apply_image(image)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved, expected)


@given(chains())
def test_json_round_trip(chain):
    _, transform, _ = chain
    text = transform.to_json()
    assert Transform.from_json(text) == transform
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_json_is_the_documented_one():
    transform = Transform(
        (Crop(3, 5, 40, 30, 50, 60), Flip(30), Resize(20, 15, 40, 30), Pad(20, 20, 20, 15))
    )
    assert transform.to_json() == (
        '[{"from_height":50,"from_width":60,"height":40,"left":5,"op":"crop","top":3,"width":30},'
        '{"op":"flip","width":30},'
        '{"from_height":40,"from_width":30,"height":20,"op":"resize","width":15},'
        '{"from_height":20,"from_width":15,"height":20,"op":"pad","width":20}]'
    )
    assert Transform().to_json() == "[]"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '[{"op":"turn"}]',
        '[{"op":["crop"]}]',
        '[{"op":"flip"}]',
        '[{"op":"flip","width":0}]',
        '[{"op":"flip","width":2.5}]',
        '[{"op":"flip","width":true}]',
        '[{"op":"flip","width":7,"height":3}]',
        '[{"op":"crop","top":-1,"left":0,"height":2,"width":2}]',
    ],
)
def test_json_that_is_no_transform_is_an_error(text):
    with pytest.raises(RecordError) as error:
        Transform.from_json(text)
    assert error.value.code == "bad_transform"


@pytest.mark.parametrize(
    "step",
    [
        Crop(0, 3, 5, 7, 5, 7),
        Crop(1, 0, 5, 7, 5, 7),
        Crop(0, 0, 2, 2, 7, 5),
        Flip(5),
        Pad(4, 9, 5, 7),
        Pad(9, 6, 5, 7),
        Pad(9, 9, 7, 5),
        Resize(2, 2, 7, 5),
    ],
)
def test_a_step_that_does_not_fit_the_image_is_an_error(step):
    with pytest.raises(RecordError, match="does not fit a grid of 5 rows and 7 columns"):
        Transform((step,)).apply_image(np.zeros((5, 7), np.uint8))


def test_a_mask_of_another_size_cannot_be_restored():
    transform = Transform((Pad(9, 9, 5, 7),))
    with pytest.raises(RecordError, match="does not lead to a grid of 9 rows and 8 columns"):
        transform.restore_mask(np.zeros((9, 8), np.uint8))


def test_a_crop_is_a_view():
    image = np.zeros((9, 7), np.uint16)
    assert np.shares_memory(Transform((Crop(1, 2, 5, 4, 9, 7),)).apply_image(image), image)


def test_an_image_shrinks_by_area():
    image = np.random.default_rng(5).integers(0, 60_000, (12, 20)).astype(np.uint16)
    small = Transform((Resize(3, 10, 12, 20),)).apply_image(image)
    means = image.reshape(3, 4, 10, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(small, means, atol=0.51)


def test_an_image_grows_linearly_between_pixel_centres():
    image = np.array([[0, 100], [0, 100], [0, 100]], np.uint8)
    large = Transform((Resize(3, 4, 3, 2),)).apply_image(image)
    np.testing.assert_array_equal(large, [[0, 25, 75, 100]] * 3)


def test_a_side_that_grows_and_one_that_shrinks_keep_their_own_rule():
    image = np.array([[0, 100], [40, 100], [80, 100], [0, 100]], np.uint8)
    mixed = Transform((Resize(2, 4, 4, 2),)).apply_image(image)
    np.testing.assert_array_equal(mixed, [[20, 40, 80, 100], [40, 55, 85, 100]])


def test_a_large_grid_costs_a_lesion_only_its_own_pixels():
    patch = patch_of(np.ones((3, 5), bool), 30_000, 20_000)
    transform = Transform((Resize(400_000, 200_000, 40_000, 50_000), Flip(200_000)))
    moved = transform.apply_patch(patch)
    assert (moved.top, moved.left, moved.pixels.shape) == (300_000, 119_980, (30, 20))


def test_an_empty_lesion_stays_empty():
    transform = Transform((Crop(2, 3, 5, 4, 9, 7), Flip(4), Resize(9, 8, 5, 4), Pad(12, 12, 9, 8)))
    assert transform.apply_patch(patch_of(np.zeros((9, 7), bool))).pixels.shape == (0, 0)
    outside = patch_of(np.ones((1, 2), bool))
    assert transform.apply_patch(outside).pixels.shape == (0, 0)
