from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from bcseg.errors import RecordError
from bcseg.formats import images
from bcseg.formats.images import decode, image_size
from bcseg.record import Image

ROWS, COLUMNS = 53, 38


def pixels_of(dtype: str = "uint8") -> np.ndarray:
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(5).integers(0, top, (ROWS, COLUMNS), dtype, True)
    pixels[:, 30:] = 0
    return pixels


def smooth() -> np.ndarray:
    y, x = np.mgrid[:ROWS, :COLUMNS]
    return (100 + y + 2 * x).astype(np.uint8)


def by_cv2(extension: str, pixels: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(extension, pixels, options)
    assert done
    return data.tobytes()


def by_pillow(container: str, image: PIL.Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, container, **options)
    return stream.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(header: tuple[int, int, int, int], raw: bytes, *extra: bytes) -> bytes:
    """A PNG of (columns, rows, depth, colour type) from filtered rows, by the specification."""
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    idat = chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(extra) + idat + chunk(b"IEND", b"")


def refused(data: bytes, **options: int) -> RecordError:
    with pytest.raises(RecordError) as caught:
        decode(data, "scan/1.bin", **options)
    assert caught.value.where == "scan/1.bin"
    return caught.value


def assert_grey(image: Image, pixels: np.ndarray, bits: int) -> None:
    assert image.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.bits_stored == bits
    assert image.size == pixels.shape


# ---------------------------------------------------------------------------- what can be read


LOSSLESS: dict[str, Callable[[np.ndarray], bytes]] = {
    "png": lambda a: by_cv2(".png", a),
    "tiff": lambda a: tiff(a),
    "tiff big-endian": lambda a: tiff(a, byteorder=">"),
    "tiff lzw": lambda a: tiff(a, compression="lzw", rowsperstrip=8),
    "tiff lzw predictor": lambda a: tiff(a, compression="lzw", predictor=True, rowsperstrip=8),
    "tiff deflate": lambda a: tiff(a, compression="zlib"),
    "tiff tiles": lambda a: tiff(a, tile=(16, 16), compression="lzw"),
    "tiff strips": lambda a: tiff(a, rowsperstrip=7),
    "bigtiff": lambda a: tiff(a, bigtiff=True),
    "pgm": lambda a: by_cv2(".pgm", a),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("container", LOSSLESS)
def test_lossless_formats_give_the_stored_values(container: str, dtype: str) -> None:
    pixels = pixels_of(dtype)
    data = LOSSLESS[container](pixels)
    image = decode(data, "no_extension")
    assert_grey(image, pixels, 8 * pixels.itemsize)
    assert not image.monochrome1
    assert image_size(data, "x") == image_size(io.BytesIO(data), "x") == (ROWS, COLUMNS)


def test_bmp() -> None:
    data = by_cv2(".bmp", pixels_of())
    assert_grey(decode(data, "x"), pixels_of(), 8)
    assert image_size(data, "x") == (ROWS, COLUMNS)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_jpeg_gives_what_other_decoders_give(options: dict[str, bool]) -> None:
    data = by_pillow("JPEG", PIL.Image.fromarray(smooth()), quality=95, **options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert_grey(decode(data, "x.dcm"), expected, 8)
    assert image_size(data, "x") == (ROWS, COLUMNS)


def test_jpeg_with_restart_markers() -> None:
    data = by_cv2(".jpg", smooth(), cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    assert b"\xff\xd0" in data
    assert np.abs(decode(data, "x").pixels.astype(int) - smooth()).max() < 10


def test_jpeg_orientation_tag_is_not_applied() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    data = by_pillow("JPEG", PIL.Image.fromarray(smooth()), exif=exif)
    assert decode(data, "x").size == (ROWS, COLUMNS)


def test_jpeg_thumbnail_is_not_taken_for_the_end() -> None:
    thumbnail = by_cv2(".jpg", np.zeros((8, 8), np.uint8))
    data = by_cv2(".jpg", smooth())
    app1 = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = data[:2] + app1 + data[2:]
    assert decode(data, "x").size == (ROWS, COLUMNS)
    assert image_size(data, "x") == (ROWS, COLUMNS)
    assert refused(data[:-40]).code == "truncated"


def test_image_size_behind_a_long_header() -> None:
    filler = b"".join(b"\xff\xe2" + struct.pack(">H", 60_000) + bytes(59_998) for _ in range(3))
    data = by_cv2(".jpg", smooth())
    assert image_size(io.BytesIO(data[:2] + filler + data[2:]), "x") == (ROWS, COLUMNS)


def test_image_size_reads_only_the_head() -> None:
    data = by_cv2(".png", np.random.default_rng(0).integers(0, 255, (700, 600), np.uint8))
    stream = io.BytesIO(data)
    assert image_size(stream, "x") == (700, 600)
    assert stream.tell() < len(data) // 2


def test_min_is_white_is_flagged_and_not_inverted() -> None:
    data = tiff(pixels_of(), photometric="miniswhite")
    image = decode(data, "x")
    assert image.monochrome1
    assert_grey(image, pixels_of(), 8)


def test_one_bit_png_becomes_0_and_255() -> None:
    mask = pixels_of() > 128
    image = PIL.Image.fromarray(mask)
    assert image.mode == "1"
    assert_grey(decode(by_pillow("PNG", image), "x"), mask.astype(np.uint8) * 255, 8)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_bit_tiff_becomes_0_and_255(photometric: str) -> None:
    mask = pixels_of() > 128
    image = decode(tiff(mask, photometric=photometric), "x")
    assert_grey(image, mask.astype(np.uint8) * 255, 8)


def test_two_bit_png_becomes_grey_levels() -> None:
    data = png_of((4, 2, 2, 0), b"\0\x1b\0\xe4")
    np.testing.assert_array_equal(decode(data, "x").pixels, [[0, 85, 170, 255], [255, 170, 85, 0]])


def test_grey_palette_gives_the_grey_levels() -> None:
    image = PIL.Image.new("P", (2, 3))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.putpixel((1, 0), 1)
    expected = np.array([[0, 255], [0, 0], [0, 0]], np.uint8)
    assert_grey(decode(by_pillow("PNG", image), "x"), expected, 8)
    assert_grey(decode(by_pillow("TIFF", image), "x"), expected, 8)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [3, 4])
def test_equal_channels_become_one(channels: int, dtype: str) -> None:
    pixels = pixels_of(dtype)
    colour = np.dstack([pixels] * 3 + [pixels[::-1]] * (channels - 3))
    bits = 8 * pixels.itemsize
    assert_grey(decode(by_cv2(".png", colour), "x"), pixels, bits)
    assert_grey(decode(tiff(colour, photometric="rgb"), "x"), pixels, bits)
    planes = np.ascontiguousarray(np.moveaxis(colour, -1, 0))
    assert_grey(decode(tiff(planes, photometric="rgb", planarconfig=2), "x"), pixels, bits)


@pytest.mark.parametrize("depth", [8, 16])
def test_alpha_of_grey_is_ignored(depth: int) -> None:
    dtype = np.uint8 if depth == 8 else np.dtype(">u2")
    grey = np.array([[1, 2, 3], [9, 8, 7]], dtype)
    rows = np.dstack([grey, grey[::-1]]).reshape(2, -1).astype(dtype)
    data = png_of((3, 2, depth, 4), b"".join(b"\0" + row.tobytes() for row in rows))
    image = decode(data, "x")
    assert_grey(image, grey.astype(grey.dtype.newbyteorder("=")), depth)


def test_grey_jpeg_of_three_channels() -> None:
    colour = np.dstack([smooth()] * 3)
    image = decode(by_cv2(".jpg", colour, cv2.IMWRITE_JPEG_QUALITY, 95), "x")
    assert image.size == (ROWS, COLUMNS)
    assert np.abs(image.pixels.astype(int) - smooth()).max() <= 4


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_is_refused(dtype: str) -> None:
    colour = np.dstack([pixels_of(dtype)] * 3)
    colour[40, 20, 1] ^= 1
    for data in (by_cv2(".png", colour), tiff(colour, photometric="rgb")):
        error = refused(data)
        assert error.code == "colour_image"
        assert "up to 1" in str(error)


def test_colour_jpeg_is_refused() -> None:
    colour = np.dstack([smooth()] * 3)
    colour[10:30, 10:30] = (0, 0, 250)
    assert refused(by_cv2(".jpg", colour)).code == "colour_image"
    cmyk = PIL.Image.new("CMYK", (16, 8), (9, 200, 0, 0))
    assert refused(by_pillow("JPEG", cmyk)).code == "colour_image"


def test_colour_palette_is_refused() -> None:
    image = PIL.Image.new("P", (2, 3))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    assert refused(by_pillow("PNG", image)).code == "colour_image"
    assert refused(by_pillow("TIFF", image)).code == "colour_image"


def test_signed_tiff_keeps_its_sign() -> None:
    pixels = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)
    assert_grey(decode(tiff(pixels), "x"), pixels, 16)


def test_pgm_values_are_not_stretched() -> None:
    pixels = np.array([[0, 1, 4095], [7, 8, 9]], np.uint16)
    data = b"P5\n# scanner\n3 2\n4095\n" + pixels.astype(">u2").tobytes()
    assert_grey(decode(data, "x"), pixels, 16)


def test_gamma_and_unknown_chunks_change_nothing() -> None:
    plain = by_cv2(".png", pixels_of())
    extra = chunk(b"gAMA", struct.pack(">I", 20_000)) + chunk(b"prIv", b"abc")
    data = plain[:33] + extra + plain[33:]
    np.testing.assert_array_equal(decode(data, "x").pixels, pixels_of())


# ---------------------------------------------------------------------------- what is refused


def everything() -> dict[str, bytes]:
    files = {name: build(pixels_of("uint16")) for name, build in LOSSLESS.items()}
    files["bmp"] = by_cv2(".bmp", pixels_of())
    files["jpeg"] = by_cv2(".jpg", pixels_of())
    files["progressive jpeg"] = by_pillow(
        "JPEG", PIL.Image.fromarray(pixels_of()), progressive=True
    )
    files["colour png"] = by_cv2(".png", np.dstack([pixels_of("uint16")] * 3))
    files["tiff directory last"] = by_pillow("TIFF", PIL.Image.fromarray(pixels_of()))
    return files


FILES = everything()


def decoded_or_code(data: bytes) -> Image | str:
    try:
        return decode(data, "x", max_pixels=100_000)
    except RecordError as error:
        return error.code


@pytest.mark.parametrize("name", FILES)
def test_cut_files_are_refused_at_any_length(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = FILES[name]
    whole = decode(data, "x").pixels
    lengths = {*range(1, 60), *range(60, len(data), 97), *range(len(data) - 12, len(data))}
    for length in sorted(lengths):
        result = decoded_or_code(data[:length])
        if isinstance(result, Image):  # what was cut off was not needed
            np.testing.assert_array_equal(result.pixels, whole)
            assert name.startswith(("tiff", "bigtiff", "bmp"))
            assert len(data) - length < 16
        else:
            assert result in ("truncated", "unreadable")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff lzw", "tiff", "pgm", "bmp"])
def test_cut_in_the_middle_says_so(name: str) -> None:
    data = FILES[name]
    error = refused(data[: len(data) // 2])
    assert error.code in ("truncated", "unreadable")
    if name != "bmp":
        assert error.code == "truncated"
        assert "cut off" in str(error)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_never_raises_anything_else(name: str, hits: list[tuple[float, int]]) -> None:
    data = bytearray(FILES[name])
    for where, value in hits:
        data[min(int(where * 400), len(data) - 1)] = value
    result = decoded_or_code(bytes(data))
    if isinstance(result, Image):
        assert result.pixels.ndim == 2
        assert result.pixels.dtype in (np.uint8, np.uint16, np.int16)


def test_empty_file() -> None:
    assert refused(b"").code == "empty_file"
    with pytest.raises(RecordError, match="empty"):
        image_size(b"", "x")


@pytest.mark.parametrize("data", [b"x", b"<html><body>404</body></html>", b"\0" * 500, b"P2\n1 1"])
def test_other_files_are_named_by_how_they_begin(data: bytes) -> None:
    error = refused(data)
    assert error.code == "unreadable"
    assert data[:8].hex(" ") in str(error)


def test_git_lfs_pointer_gets_a_hint() -> None:
    assert "git lfs pull" in refused(b"version https://git-lfs.github.com/spec/v1\noid ...").hint


def test_damaged_png_names_the_chunk() -> None:
    data = bytearray(by_cv2(".png", pixels_of()))
    data[len(data) // 2] ^= 0x10
    error = refused(bytes(data))
    assert error.code == "unreadable"
    assert "IDAT" in str(error)


def test_png_with_too_few_rows_inside(capfd: pytest.CaptureFixture[str]) -> None:
    rows = b"".join(b"\0" + bytes(range(50)) for _ in range(20))
    assert refused(png_of((50, 40, 8, 0), rows)).code == "unreadable"
    assert capfd.readouterr() == ("", "")


def test_damaged_jpeg_writes_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(by_cv2(".jpg", pixels_of()))
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    decode(bytes(data), "x")
    assert capfd.readouterr() == ("", "")


def test_several_images_in_one_file() -> None:
    pages = np.stack([pixels_of()] * 3)
    assert refused(tiff(pages, photometric="minisblack")).code == "multi_frame"
    frames = [PIL.Image.fromarray(pixels_of()), PIL.Image.fromarray(pixels_of()[::-1])]
    animation = by_pillow("PNG", frames[0], save_all=True, append_images=frames[1:])
    assert refused(animation).code == "multi_frame"


@pytest.mark.parametrize("dtype", ["uint32", "float32"])
def test_depths_that_are_no_image(dtype: str) -> None:
    assert refused(tiff(np.ones((4, 5), dtype))).code == "unsupported_depth"


def bombs() -> dict[str, bytes]:
    jpeg = bytearray(by_cv2(".jpg", pixels_of()))
    sof = jpeg.index(b"\xff\xc0")
    jpeg[sof + 5 : sof + 9] = struct.pack(">HH", 60_000, 60_000)
    directory = bytearray(tiff(pixels_of()))
    with tifffile.TiffFile(io.BytesIO(bytes(directory))) as file:
        for tag in ("ImageWidth", "ImageLength"):
            at = file.pages[0].tags[tag].valueoffset
            directory[at : at + 2] = struct.pack("<H", 60_000)
    bmp = bytearray(by_cv2(".bmp", pixels_of()))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    return {
        "png": png_of((60_000, 60_000, 8, 0), bytes(1000)),
        "jpeg": bytes(jpeg),
        "tiff": bytes(directory),
        "bmp": bytes(bmp),
        "pgm": b"P5 60000 60000 255\n" + bytes(100),
    }


@pytest.mark.parametrize("name", bombs())
def test_claims_of_giant_images_are_refused_before_decoding(name: str) -> None:
    error = refused(bombs()[name])
    assert error.code == "too_large"
    assert "60000 x 60000" in str(error)


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff lzw", "pgm", "bmp"])
def test_the_limit_is_the_callers(name: str) -> None:
    assert decode(FILES[name], "x", max_pixels=ROWS * COLUMNS).size == (ROWS, COLUMNS)
    assert refused(FILES[name], max_pixels=ROWS * COLUMNS - 1).code == "too_large"


# ---------------------------------------------------------------------------- other installations

WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
import numpy as np
from bcseg.errors import RecordError
from bcseg.formats.images import decode
data = sys.stdin.buffer.read()
image = decode(data, "x")
np.save(sys.stdout.buffer, image.pixels)
sys.stdout.buffer.write(bytes([image.monochrome1]))
"""


@pytest.mark.parametrize(
    ("dtype", "photometric"), [("uint8", "minisblack"), ("uint8", "miniswhite"), ("uint16", None)]
)
def test_lzw_without_imagecodecs(dtype: str, photometric: str | None) -> None:
    pixels = pixels_of(dtype)
    data = tiff(pixels, compression="lzw", photometric=photometric, rowsperstrip=8)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_IMAGECODECS], input=data, capture_output=True, check=True
    )
    np.testing.assert_array_equal(np.load(io.BytesIO(done.stdout[:-1])), pixels)
    assert done.stdout[-1] == (photometric == "miniswhite")
    assert done.stderr == b""


def test_both_jpeg_decoders_agree_on_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imagecodecs")
    sound = by_cv2(".jpg", smooth())
    random = np.random.default_rng(7)
    outcomes = []
    for _ in range(300):
        data = bytearray(sound)
        for place in random.integers(20, len(data) - 2, random.integers(1, 9)):
            data[place] = random.integers(256)
        found = []
        for installed in (True, False):
            monkeypatch.setattr(images, "_has_imagecodecs", lambda installed=installed: installed)
            try:
                found.append(decode(bytes(data), "x").pixels.tobytes())
            except RecordError as error:
                found.append(error.code)
        assert found[0] == found[1]
        outcomes.append(isinstance(found[0], str))
    assert 0 < sum(outcomes) < len(outcomes)


NOISE = """
import sys
from bcseg.errors import RecordError
from bcseg.formats.images import decode
data = sys.stdin.buffer.read()
for length in range(1, len(data), 31):
    try:
        decode(data[:length], "x")
    except RecordError:
        pass
"""


@pytest.mark.parametrize("name", ["png", "tiff lzw", "tiff directory last", "jpeg"])
def test_a_plain_process_writes_nothing_about_cut_files(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOISE], input=FILES[name], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
