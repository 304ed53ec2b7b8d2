"""Mask files: which file is the mask, which pixels it marks, on which grid."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from bcseg.errors import RecordError
from bcseg.masks import looks_binary, read_raster
from bcseg.raster import paint
from bcseg.record import Raster, RasterAmong

SIZE = (60, 90)


def disc(size=SIZE, centre=(20, 50), radius=9):
    row, column = np.ogrid[: size[0], : size[1]]
    return (row - centre[0]) ** 2 + (column - centre[1]) ** 2 <= radius**2


def grey(size=(23, 31), dtype=np.uint16, seed=0):
    """Return a crop of a film: all greys."""
    return np.random.default_rng(seed).integers(20, np.iinfo(dtype).max - 20, size).astype(dtype)


def png(pixels):
    return cv2.imencode(".png", np.asarray(pixels))[1].tobytes()


def jpeg(pixels, quality=75):
    return cv2.imencode(".jpg", np.asarray(pixels), (cv2.IMWRITE_JPEG_QUALITY, quality))[
        1
    ].tobytes()


def dicom(pixels):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated = data.BitsStored = bits = pixels.dtype.itemsize * 8
    data.HighBit = bits - 1
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


class Files(dict):
    """Files by name, and which of them were read."""

    def __init__(self, **content):
        super().__init__({name.replace("_", "."): data for name, data in content.items()})
        self.read = []

    def __call__(self, name):
        self.read.append(name)
        return self[name]


def among(files, size=SIZE):
    """Return the pixels that the chosen file marks, its name, and the note."""
    patch, name, note = read_raster(RasterAmong(tuple(files)), size, files)
    return paint([patch], size) > 0, name, note


def united(files, size=SIZE, **options):
    patch, _, note = read_raster(Raster(tuple(files), **options), size, files)
    return paint([patch], size) > 0, note


# ------------------------------------------------------------------------------ one of several


@pytest.mark.parametrize("first", ["crop", "mask"])
@pytest.mark.parametrize("encode", [png, dicom])
def test_the_mask_is_found_by_its_content_whatever_its_place(first, encode):
    mask, crop = encode(disc().astype(np.uint8) * 255), encode(grey())
    one, two = (crop, mask) if first == "crop" else (mask, crop)
    marked, name, note = among(Files(a_dcm=one, b_dcm=two))
    assert name == ("b.dcm" if first == "crop" else "a.dcm")
    assert np.array_equal(marked, disc())
    assert note == ""


def test_a_crop_as_large_as_the_image_is_not_taken_for_the_mask():
    files = Files(a_dcm=dicom(grey(SIZE)), b_dcm=dicom(disc().astype(np.uint8) * 255))
    assert among(files)[1] == "b.dcm"


def test_a_crop_of_8_bits_is_not_taken_for_the_mask():
    files = Files(a_png=png(grey(SIZE, np.uint8)), b_png=png(disc().astype(np.uint8) * 255))
    assert among(files)[1] == "b.png"


def test_a_mask_of_16_bits_is_found():
    files = Files(a_dcm=dicom(grey()), b_dcm=dicom(disc().astype(np.uint16) * 65535))
    marked, name, _ = among(files)
    assert name == "b.dcm"
    assert np.array_equal(marked, disc())


def test_where_the_headers_settle_it_the_crop_is_not_decoded():
    broken = dicom(grey())[:-200]  # its pixels are cut off, its header is whole
    marked, name, _ = among(Files(a_dcm=broken, b_dcm=dicom(disc().astype(np.uint8) * 255)))
    assert name == "b.dcm"
    assert np.array_equal(marked, disc())


def test_crops_alone_are_no_mask():
    with pytest.raises(RecordError, match="crops") as caught:
        among(Files(a_dcm=dicom(grey()), b_dcm=dicom(grey(seed=1))))
    assert caught.value.code == "mask_missing"
    assert caught.value.where == "a.dcm, b.dcm"


def test_two_different_masks_are_refused_and_two_equal_ones_are_not():
    mask = disc().astype(np.uint8) * 255
    other = disc(radius=11).astype(np.uint8) * 255
    with pytest.raises(RecordError, match="2 different masks") as caught:
        among(Files(a_png=png(mask), b_png=png(other)))
    assert caught.value.code == "ambiguous_mask"
    marked, name, _ = among(Files(a_png=png(mask), b_png=png(mask)))
    assert name == "a.png"
    assert np.array_equal(marked, disc())


def test_of_two_masks_the_one_on_the_grid_of_the_image_is_taken():
    small = disc((23, 31), (9, 15), 5).astype(np.uint8) * 255  # the crop of a mask
    files = Files(a_png=png(small), b_png=png(disc().astype(np.uint8) * 255))
    assert among(files)[1] == "b.png"


@pytest.mark.parametrize("high", [1, 2, 100, 255])
def test_a_mask_marks_what_is_above_half_of_its_maximum(high):
    files = Files(a_png=png(disc().astype(np.uint8) * np.uint8(high)))
    assert np.array_equal(among(files)[0], disc())


def test_a_few_other_greys_do_not_matter():
    pixels = disc().astype(np.uint8) * 255
    pixels[0, :7], pixels[20, 50] = (3, 60, 90, 127, 20, 1, 2), 254
    marked = among(Files(a_png=png(pixels)))[0]
    assert np.array_equal(marked, disc())


@pytest.mark.parametrize("quality", [60, 75, 95])
def test_a_lossy_mask_is_cut_at_half(quality):
    size = (240, 310)
    mask = disc(size, (90, 160), 45)
    data = jpeg(mask.astype(np.uint8) * 255, quality)
    assert len(np.unique(cv2.imdecode(np.frombuffer(data, np.uint8), 0))) > 5
    files = Files(a_jpg=jpeg(grey((95, 95), np.uint8), quality), b_jpg=data)
    marked, name, _ = among(files, size)
    assert name == "b.jpg"
    assert np.array_equal(marked, mask)


def test_a_mask_that_marks_nothing_is_an_error():
    with pytest.raises(RecordError) as caught:
        among(Files(a_png=png(np.zeros(SIZE, np.uint8))))
    assert (caught.value.code, caught.value.where) == ("mask_empty", "a.png")


def test_a_picture_of_all_greys_is_no_mask_and_a_blank_one_is():
    assert not looks_binary(grey(SIZE))
    assert looks_binary(np.zeros(SIZE, np.uint8))
    assert looks_binary(disc().astype(np.uint8))


# ------------------------------------------------------------------------------ another size


def test_a_mask_1_149_times_as_large_is_resized_to_the_image():
    image, mask = (67 * 4, 67 * 6), (77 * 4, 77 * 6)
    drawn = disc(mask, (120, 250), 60)
    marked, _, note = among(Files(a_png=png(drawn.astype(np.uint8) * 255)), image)
    assert note == "mask of 308 x 462 pixels resized to 268 x 402"
    assert abs(marked.sum() / drawn.sum() - (67 / 77) ** 2) < 0.005
    row, column = np.nonzero(marked)
    assert row.mean() == pytest.approx((120 + 0.5) * 67 / 77 - 0.5, abs=0.1)
    assert column.mean() == pytest.approx((250 + 0.5) * 67 / 77 - 0.5, abs=0.1)


def test_resizing_takes_the_nearest_pixel_centre():
    mask = np.zeros((2, 3), np.uint8)
    mask[0, 1] = mask[1, 2] = 255
    marked, _ = united(Files(a_png=png(mask)), (4, 6))
    assert np.array_equal(marked, np.kron(mask, np.ones((2, 2))) > 0)
    fine = np.arange(6 * 9).reshape(6, 9) % 2 == 0
    marked, _ = united(Files(a_png=png(fine.astype(np.uint8))), (2, 3))
    assert np.array_equal(marked, fine[1::3, 1::3])


@pytest.mark.parametrize("size", [(4386, 1789, 5041, 2056), (4373, 2155, 5026, 2476)])
def test_published_sizes_of_the_remade_masks_fit_on_one_scale(size):
    image, mask = size[:2], size[2:]
    pixels = np.zeros(mask, np.uint8)
    pixels[mask[0] // 2 :, :] = 255
    patch, _, note = read_raster(Raster(("a.png",)), image, lambda name: png(pixels))
    assert note
    assert (patch.top, patch.left) == (image[0] // 2, 0)


@pytest.mark.parametrize(
    ("mask", "image"), [((4688, 3088), (4624, 3056)), ((4624, 3080), (4640, 3072))]
)
def test_published_sizes_of_two_exchanged_masks_fit_on_none(mask, image):
    data = png(np.full(mask, 255, np.uint8))
    with pytest.raises(RecordError, match=f"{mask[0]} x {mask[1]} pixels, its image") as caught:
        read_raster(RasterAmong(("a.png",)), image, lambda name: data)
    assert (caught.value.code, caught.value.where) == ("mask_size", "a.png")


def test_a_turned_mask_does_not_fit():
    with pytest.raises(RecordError) as caught:
        united(Files(a_png=png(disc().T.astype(np.uint8) * 255)))
    assert caught.value.code == "mask_size"


# ------------------------------------------------------------------------------ several readers


@pytest.mark.parametrize("value", [1, 7, 255])
def test_any_value_above_zero_is_marked(value):
    pixels = disc().astype(np.uint8) * np.uint8(value)
    pixels[0, 0] = 255
    expected = disc()
    expected[0, 0] = True
    assert np.array_equal(united(Files(a_png=png(pixels)))[0], expected)


def test_half_of_the_maximum_where_that_is_asked_for():
    pixels = disc().astype(np.uint8) * 100
    pixels[0, 0] = 40
    assert np.array_equal(united(Files(a_png=png(pixels)), above="half")[0], disc())


@pytest.mark.parametrize("votes", [1, 2, 3])
def test_a_pixel_needs_enough_votes(votes):
    masks = [disc(centre=(20, 50)), disc(centre=(20, 53)), disc(centre=(23, 50))]
    files = Files(**{f"m{n}_png": png(m.astype(np.uint8) * 255) for n, m in enumerate(masks)})
    marked, _ = united(files, votes=votes)
    assert np.array_equal(marked, np.sum(masks, axis=0) >= votes)


def test_a_blank_mask_is_an_answer_where_that_is_allowed():
    files = Files(a_png=png(np.zeros(SIZE, np.uint8)))
    assert not united(files, blank_ok=True)[0].any()
    with pytest.raises(RecordError, match="marks no pixel"):
        united(files)


def test_fewer_files_than_votes_mark_nothing():
    files = Files(a_png=png(disc().astype(np.uint8)))
    assert not united(files, votes=2, blank_ok=True)[0].any()


def test_an_unreadable_mask_is_an_error_that_names_it():
    with pytest.raises(RecordError) as caught:
        united(Files(a_png=b"\x89PNG\r\n\x1a\nnothing"))
    assert caught.value.where == "a.png"
