from __future__ import annotations

import hashlib
import io
import struct
import sys
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bcseg import png


def read_by_cv2(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def read_by_pillow(data: bytes) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(data)) as image:
        image.load()
        pixels = np.asarray(image)
        return pixels.astype(np.uint16) if image.mode == "I" else pixels  # 16 bit, older Pillow


def noise(rows: int, columns: int, dtype: str) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(rows * columns).integers(0, top, (rows, columns), dtype, True)


def assert_reads_back(data: bytes, pixels: np.ndarray) -> None:
    for read in (read_by_cv2, read_by_pillow):
        again = read(data)
        assert again.dtype == pixels.dtype
        np.testing.assert_array_equal(again, pixels)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert checksum == zlib.crc32(kind + body)
        found.append((kind, body))
        position += 12 + length
    return found


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (1, 7), (7, 1), (3, 5), (128, 31), (129, 64), (300, 257)]
)
def test_reads_back_in_two_libraries(rows: int, columns: int, dtype: str) -> None:
    pixels = noise(rows, columns, dtype)
    assert_reads_back(png.encode(pixels), pixels)


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 513])
def test_mask_reads_back(rows: int) -> None:
    mask = np.zeros((rows, 201), np.uint8)
    mask[rows // 3 : rows // 2 + 1, 17:93] = 255
    assert_reads_back(png.encode(mask, mask=True), mask)


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "<u2", ">u2"]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
    ),
    st.sampled_from([(1, 1), (2, 1), (1, 3), (-1, 1), (1, -1), (-2, -3)]),
    st.booleans(),
)
def test_any_strides_and_byte_order(pixels: np.ndarray, steps: tuple[int, int], turn: bool) -> None:
    view = (pixels.T if turn else pixels)[:: steps[0], :: steps[1]]
    native = np.array(view, dtype=view.dtype.newbyteorder("="), order="C")
    data = png.encode(view)
    np.testing.assert_array_equal(read_by_pillow(data), native)
    assert data == png.encode(native)
    assert png.pixels_sha256(view) == png.pixels_sha256(native)


def test_a_whole_mammogram_reads_back() -> None:
    rows, columns = 2294, 1914
    ramp = np.linspace(0, 4000, columns)
    pixels = (noise(rows, columns, "uint16") % 60 + ramp).astype(np.uint16)
    pixels[:, 1200:] = 0
    np.testing.assert_array_equal(read_by_cv2(png.encode(pixels)), pixels)


@pytest.mark.parametrize(("dtype", "mask"), [("uint8", True), ("uint16", False)])
def test_isa_l_packs_all_rows_in_one_call(dtype, mask, monkeypatch) -> None:
    """Its object for streams gives other bytes at some addresses: once in thousands of images."""
    isal_zlib = pytest.importorskip("isal.isal_zlib")

    def refused(*_: object) -> None:
        raise AssertionError("a stream")

    monkeypatch.setattr(isal_zlib, "compressobj", refused)
    pixels = noise(300, 257, dtype)
    np.testing.assert_array_equal(read_by_cv2(png.encode(pixels, mask=mask)), pixels)


def test_compresses() -> None:
    flat = np.full((400, 300), 1234, np.uint16)
    assert len(png.encode(flat)) < 0.02 * flat.nbytes


@pytest.mark.parametrize("hidden", [("isal",), ("zlib_ng",), ("isal", "zlib_ng")])
def test_works_without_the_fast_libraries(
    hidden: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in hidden:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(png, "_crc32", png._crc32.__wrapped__)
    for dtype in ("uint8", "uint16"):
        pixels = noise(150, 41, dtype)
        assert_reads_back(png.encode(pixels), pixels)
    mask = np.zeros((150, 41), np.uint8)
    mask[20:90, 3:17] = 255
    assert_reads_back(png.encode(mask, mask=True), mask)


def test_spacing_is_written_across_before_down() -> None:
    pixels = noise(4, 6, "uint8")
    found = dict(chunks(png.encode(pixels, spacing_mm=(0.1, 0.05))))
    assert struct.unpack(">IIB", found[b"pHYs"]) == (20_000, 10_000, 1)


@pytest.mark.parametrize("spacing", [None, (0.0, 0.07), (float("nan"), 1.0), (1e-9, 1e-9)])
def test_no_spacing_no_chunk(spacing: tuple[float, float] | None) -> None:
    data = png.encode(noise(4, 6, "uint8"), spacing_mm=spacing)
    kinds = [kind for kind, _ in chunks(data)]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert b"pHYs" not in kinds


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((3, 4), np.int16),
        np.zeros((3, 4), np.uint32),
        np.zeros((3, 4), bool),
        np.zeros((3, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_refuses_what_is_no_grey_image(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        png.encode(pixels)


def test_refuses_a_16_bit_mask() -> None:
    with pytest.raises(ValueError, match="mask"):
        png.encode(np.zeros((3, 4), np.uint16), mask=True)


def test_pixel_hash_is_what_it_says() -> None:
    pixels = np.array([[1, 2, 3], [4, 5, 60000]], np.uint16)
    text = b"<u2 2 3\n" + struct.pack("<6H", 1, 2, 3, 4, 5, 60000)
    assert png.pixels_sha256(pixels) == hashlib.sha256(text).hexdigest()
    small = np.array([[1], [2]], np.uint8)
    assert png.pixels_sha256(small) == hashlib.sha256(b"|u1 2 1\n\1\2").hexdigest()


def test_pixel_hash_depends_on_dtype_shape_and_values() -> None:
    zeros = np.zeros((2, 6), np.uint8)
    others = [zeros.reshape(3, 4), zeros.reshape(6, 2), zeros.astype(np.uint16), zeros + 1]
    hashes = {png.pixels_sha256(pixels) for pixels in [zeros, *others]}
    assert len(hashes) == 5
