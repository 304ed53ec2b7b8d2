"""Decode an image file of any format that a mammography archive uses.

The content decides, never the extension. Before a decoder sees a byte, the structure of the file
is checked: its size in pixels, and that it goes on to its end, because decoders fill in what is
missing from a cut file without a word.

PNG and grey JPEG go through imagecodecs where that is installed, which is fastest and silent, else
through OpenCV and Pillow. (Not OpenCV for JPEG: it accepts damaged data and lets libjpeg write to
stderr; imagecodecs and Pillow agree on both.) Lossless JPEG needs imagecodecs.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.errors import RecordError
from bcseg.formats.damage import DAMAGED
from bcseg.record import Image, Size

if TYPE_CHECKING:
    import PIL.Image

MAX_PIXELS = 400_000_000
JPEG_COLOUR_TOLERANCE = 8  # grey levels between two channels that chroma rounding may leave

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAGIC = (
    (PNG_SIGNATURE, "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"P5", "PGM"),
)
# These log what they dislike about a file, then raise: the RecordError says it once.
for _library in ("tifffile", "PIL"):
    logging.getLogger(_library).addHandler(logging.NullHandler())

_HEADS = (1 << 16, 1 << 20, 1 << 24)  # bytes read to find an image size: most, many, all
_MOST_CHUNKS = 500_000  # of a PNG; segments of a JPEG
_MOST_SCANS = 100  # of a progressive JPEG: a decoder goes through all pixels for each
_TIFF_PACKED = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)  # plain, CCITT, LZW, JPEG, deflate, PackBits
_TIFF_JPEG = 7
_MOST_STRIPS = 1 << 16


def decode(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode the one grey image in a file; its pixels may be read-only.

    Colour images whose channels are equal become one channel (alpha is ignored). Raises
    RecordError: empty_file, truncated, unreadable, too_large, colour_image, multi_frame,
    unsupported_depth, and those of `dicom.decode_dicom`.
    """
    return _DECODERS[_container(data, name)](data, name, max_pixels)


def image_size(file: BinaryIO | bytes, name: str) -> Size:
    """Return (rows, columns) from the head of an image file, decoding nothing."""
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    head = b""
    for limit in _HEADS:
        head += stream.read(limit - len(head))
        whole = limit == _HEADS[-1] or len(head) < limit
        if _container(head, name) == "TIFF":  # its directory may be anywhere
            return _tiff_size(stream, name)
        try:
            return _size(head, name)
        except RecordError:
            if whole:
                raise
    raise AssertionError("the last head is enough")


def _size(head: bytes, name: str) -> Size:
    match _container(head, name):
        case "DICOM":
            from bcseg.formats.dicom import read_header

            header = read_header(head, name)
            if not header.rows or not header.columns:
                raise RecordError("the DICOM header gives no image size", where=name)
            return header.rows, header.columns
        case "PNG":
            ihdr = png_header(head, name)
            return ihdr.rows, ihdr.columns
        case "JPEG":
            for segment in _jpeg_segments(head, name):
                if segment.frame:
                    return segment.frame.rows, segment.frame.columns
            raise RecordError("the JPEG file has no frame header", where=name)
        case "PGM":
            columns, rows, _, _ = _pgm_header(head, name)
            return rows, columns
        case _:
            with reading(name, "BMP"), _pillow(head, "BMP") as image:
                return image.height, image.width


def _container(data: bytes, name: str) -> str:
    """Return what kind of file it is, by its first bytes."""
    if not data:
        raise RecordError("the file is empty", code="empty_file", where=name)
    if data[128:132] == b"DICM":
        return "DICOM"
    for magic, container in _MAGIC:
        if data.startswith(magic):
            return container
    from bcseg.formats.dicom import is_bare_dicom

    if is_bare_dicom(data):
        return "DICOM"
    hint = ""
    if data.startswith(b"version https://git-lfs"):
        hint = "this is a Git LFS pointer, not the file: run `git lfs pull` in the source"
    raise RecordError(
        f"not a DICOM, PNG, TIFF, JPEG, BMP or PGM file: it begins with {data[:8].hex(' ')}",
        where=name,
        hint=hint,
    )


# ---------------------------------------------------------------------------- shared with DICOM


@contextmanager
def reading(name: str, what: str, *, quote: bool = True) -> Iterator[None]:
    """Turn whatever a library raises about damaged bytes into a RecordError, its warnings off.

    `quote`: repeat the library's own words, which may hold values of the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RecordError:
        raise
    except DAMAGED as error:
        words = f"{type(error).__name__}: {error}" if quote else type(error).__name__
        message = f"the {what} file is damaged ({' '.join(words.split())[:160]})"
        raise RecordError(message, code="unreadable", where=name) from (error if quote else None)


def check_size(
    rows: int, columns: int, max_pixels: int, name: str, *, sample_bytes: int = 1
) -> None:
    """Refuse an image that has no pixels, or too many to be one.

    `sample_bytes`: of all samples of a pixel, as a decoder holds them; 3 are within the limit.
    """
    if rows < 1 or columns < 1:
        raise RecordError(f"the file claims {rows} x {columns} pixels", where=name)
    if rows * columns > max_pixels:
        raise RecordError(
            f"the file claims {rows} x {columns} pixels, more than {max_pixels:,}",
            code="too_large",
            where=name,
            hint="if it is what it should be: --max-pixels",
        )
    if rows * columns * sample_bytes > 3 * max_pixels:
        raise RecordError(
            f"the file claims {rows} x {columns} pixels of {sample_bytes} bytes, more than "
            f"{3 * max_pixels:,} bytes",
            code="too_large",
            where=name,
            hint="if it is what it should be: --max-pixels",
        )


def one_channel(colour: NDArray[Any], name: str, *, tolerance: int = 0) -> NDArray[Any]:
    """Return the grey image in (rows, columns, 3 or 4), of which a fourth channel is ignored.

    Raises RecordError (colour_image) if colour channels differ by more than `tolerance`.
    """
    red = np.ascontiguousarray(colour[..., 0])
    apart = 0
    for band in _bands(red.shape[0]):  # not all at once: the image may fill the memory
        others = (np.ascontiguousarray(colour[band, :, channel]) for channel in (1, 2))
        apart = max(apart, *(int(cv2.absdiff(red[band], other).max()) for other in others))
    if not apart:
        return red
    if apart > tolerance:
        raise RecordError(
            f"the image is in colour: its channels differ by up to {apart}",
            code="colour_image",
            where=name,
            hint="is it a rendering with marks drawn in, rather than the mammogram?",
        )
    grey = np.empty_like(red)
    for band in _bands(red.shape[0]):
        rgb = np.ascontiguousarray(colour[band, :, :3])
        grey[band] = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return grey


def _bands(rows: int) -> Iterator[slice]:
    for start in range(0, rows, 256):
        yield slice(start, start + 256)


# ---------------------------------------------------------------------------- Pillow


@contextmanager
def _pillow(data: bytes, container: str) -> Iterator[PIL.Image.Image]:
    """Open an image whose size will be checked, without Pillow's own lower limit on it."""
    import PIL.Image

    limit = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        with PIL.Image.open(io.BytesIO(data), formats=(container,)) as image:
            yield image
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit


def _pixels_of(image: PIL.Image.Image, name: str, *, tolerance: int = 0) -> NDArray[Any]:
    """Return the grey levels of an open image; 1 bit becomes 0 and 255."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "LA":
        return np.asarray(image)[..., 0]
    if image.mode.startswith("I"):  # "I;16", its byte orders, and "I" of older Pillow
        wide = np.asarray(image)
        if wide.dtype.itemsize <= 2 or (wide.min() >= 0 and wide.max() < 1 << 16):
            return wide.astype(np.uint16, copy=False)
    elif image.mode not in ("F", "CMYK"):
        return one_channel(np.asarray(image.convert("RGB")), name, tolerance=tolerance)
    if image.mode == "CMYK":
        raise RecordError("the image is in colour (CMYK)", code="colour_image", where=name)
    raise RecordError(
        f"pixels of mode {image.mode} do not fit 16 bits", code="unsupported_depth", where=name
    )


def _image(pixels: NDArray[Any]) -> Image:
    return Image(pixels=pixels, bits_stored=8 * pixels.dtype.itemsize)


# ---------------------------------------------------------------------------- PNG


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The header of a PNG file: grey is colour type 0, `depth` in bits."""

    rows: int
    columns: int
    depth: int
    colour_type: int


def png_header(data: bytes, name: str) -> PngHeader:
    """Return the header of a PNG file from its first 33 bytes; the signature is not looked at."""
    if len(data) < 33:
        raise RecordError("the PNG file ends in its header", code="truncated", where=name)
    length, kind, columns, rows, depth, colour_type = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13:
        raise RecordError("the PNG file does not begin with its header", where=name)
    return PngHeader(rows, columns, depth, colour_type)


def _png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of each chunk up to IEND, checksums compared."""
    view = memoryview(data)
    position = len(PNG_SIGNATURE)
    kind = b""
    count = 0
    while kind != b"IEND":
        start = position
        count += 1
        if count > _MOST_CHUNKS:
            raise RecordError(f"the PNG file has more than {_MOST_CHUNKS:,} chunks", where=name)
        body = start + 8
        length, kind = struct.unpack_from(">I4s", data, start) if body <= len(data) else (0, b"")
        position = body + length + 4
        if position > len(data):
            raise RecordError(
                f"the PNG file is cut off after {len(data):,} bytes", code="truncated", where=name
            )
        (expected,) = struct.unpack_from(">I", data, position - 4)
        if zlib.crc32(view[start + 4 : position - 4]) != expected:
            raise RecordError(
                f"the PNG file is damaged: wrong checksum of the {kind!r} chunk at byte {start:,}",
                where=name,
            )
        yield kind, start, position


def _decode_png(data: bytes, name: str, max_pixels: int) -> Image:
    header = png_header(data, name)
    samples = 1 if header.colour_type == 0 else 4 if header.colour_type & 4 else 3
    depth = 2 if header.depth == 16 else 1
    check_size(header.rows, header.columns, max_pixels, name, sample_bytes=samples * depth)
    chunks = list(_png_chunks(data, name))
    if any(kind == b"acTL" for kind, _, _ in chunks):
        raise RecordError("the PNG file is an animation", code="multi_frame", where=name)
    if any(kind[:1].islower() for kind, _, _ in chunks):
        # without the ancillary chunks: a decoder has no use for them, and is loud about their flaws
        data = PNG_SIGNATURE + b"".join(
            data[start:end] for kind, start, end in chunks if kind[:1].isupper()
        )
    with reading(name, "PNG"):
        return _image(_png_pixels(data, header, name))


def _png_pixels(data: bytes, header: PngHeader, name: str) -> NDArray[Any]:
    """Decode a PNG that is whole. Pillow is out: it fills in rows that the deflate stream lacks."""
    if header.colour_type == 0 and header.depth >= 8 and _has_imagecodecs():
        import imagecodecs

        grey: NDArray[Any] = imagecodecs.png_decode(data)
        return grey
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("not decodable")
    return pixels if pixels.ndim == 2 else one_channel(pixels, name)


# ---------------------------------------------------------------------------- JPEG


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """A frame header (SOFn) of JPEG or JPEG-LS; `process`: n, 3 = lossless, 55 = JPEG-LS."""

    rows: int
    columns: int
    components: int
    precision: int
    process: int


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    frame: JpegFrame | None = None
    predictor: int = 0  # of a scan of lossless JPEG: how a sample is foretold (T.81 table H.1)


# Entropy-coded data hold no such pair: JPEG stuffs 00 after FF, JPEG-LS a bit 0, and the restart
# markers D0 to D7 belong to them (ITU-T T.81 B.1.1.3, T.87 A.1).
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_SOI, _EOI, _SOS, _SOF55 = 0xD8, 0xD9, 0xDA, 0xF7
_SEQUENTIAL = (0, 1, 3, 55)  # baseline, extended, lossless, JPEG-LS
_NOT_SOF = (0xC4, 0xC8, 0xCC)
_LOSSLESS = 3  # process
# Predictors on whose first line the program that packed DDSM and today's decoders agree: its files
# of the others (2, 3, 6, 7) come out wrong by whole grey levels, in every line, without an error.
_AGREED_PREDICTORS = (1, 4, 5)


def _jpeg_segments(data: bytes, name: str) -> Iterator[_Segment]:
    """Yield the marker segments of a JPEG file up to its end marker."""
    position = 0
    while True:
        found = _JPEG_MARKER.search(data, position)
        if not found:
            raise RecordError(
                f"the JPEG data are cut off: no end marker in {len(data):,} bytes",
                code="truncated",
                where=name,
            )
        marker = data[found.start() + 1]
        position = found.end()
        if marker not in (_SOI, _EOI):
            length = int.from_bytes(data[position : position + 2], "big")
            body = data[position + 2 : position + length]
            if length < 2 or len(body) < length - 2:
                raise RecordError(
                    "the JPEG data are cut off in a header", code="truncated", where=name
                )
            position += length
            is_frame = marker == _SOF55 or (0xC0 <= marker <= 0xCF and marker not in _NOT_SOF)
            frame = _jpeg_frame(marker, body, name) if is_frame else None
            yield _Segment(marker, frame, _predictor(body) if marker == _SOS else 0)
        elif marker == _EOI:
            yield _Segment(marker)
            return


def _jpeg_frame(marker: int, body: bytes, name: str) -> JpegFrame:
    if len(body) < 6:
        raise RecordError("the JPEG frame header is damaged", where=name)
    precision, rows, columns, components = struct.unpack_from(">BHHB", body)
    return JpegFrame(rows, columns, components, precision, marker - 0xC0)


def _predictor(scan_header: bytes) -> int:
    """Return Ss of a scan header (T.81 B.2.3), which is the predictor where JPEG is lossless."""
    place = 1 + 2 * scan_header[0] if scan_header else 0
    return scan_header[place] if place < len(scan_header) else 0


def jpeg_frame(data: bytes, name: str) -> JpegFrame:
    """Return the frame header of JPEG data, having walked them to the end marker.

    Raises RecordError: truncated, unreadable.
    """
    frame = None
    scans = 0
    for count, segment in enumerate(_jpeg_segments(data, name)):
        if segment.frame and frame:  # decoders do not agree on which of two sizes counts
            raise RecordError("the JPEG data have two frame headers", where=name)
        frame = frame or segment.frame
        scans += segment.marker == _SOS
        if scans > _MOST_SCANS or count > _MOST_CHUNKS:
            raise RecordError("the JPEG data have too many scans or segments", where=name)
    if frame is None or not scans:
        raise RecordError("the JPEG data hold no image", where=name)
    return frame


def check_jpeg_size(frame: JpegFrame, max_pixels: int, name: str) -> None:
    """Refuse too many pixels.

    A progressive JPEG is held in coefficients of 16 bits as well; of colour Pillow makes four
    bytes, and one more copy.
    """
    progressive = frame.process not in _SEQUENTIAL
    each = (2 if frame.precision > 8 else 1) + 2 * progressive
    samples = each if frame.components == 1 else 2 * frame.components * each
    check_size(frame.rows, frame.columns, max_pixels, name, sample_bytes=samples)


def _decode_jpeg(data: bytes, name: str, max_pixels: int) -> Image:
    frame = jpeg_frame(data, name)
    check_jpeg_size(frame, max_pixels, name)
    if frame.process == _LOSSLESS:
        return _decode_lossless_jpeg(data, frame, name)
    if frame.components == 1 and frame.precision == 8 and _has_imagecodecs():
        import imagecodecs

        with reading(name, "JPEG"):
            pixels = imagecodecs.jpeg8_decode(data)
        return _image(_of_frame(pixels, frame, name))
    with reading(name, "JPEG"), _pillow(data, "JPEG") as image:
        return _image(_pixels_of(image, name, tolerance=JPEG_COLOUR_TOLERANCE))


def _decode_lossless_jpeg(data: bytes, frame: JpegFrame, name: str) -> Image:
    """Decode one grey image in a file of lossless JPEG (process 14), such as DDSM's .LJPEG."""
    predictors = {s.predictor for s in _jpeg_segments(data, name) if s.marker == _SOS}
    unsure = sorted(predictors.difference(_AGREED_PREDICTORS))
    if unsure or frame.components != 1:
        words = f"predictor {unsure[0]}" if unsure else f"{frame.components} components"
        raise RecordError(
            f"lossless JPEG with {words}, which cannot be decoded for certain",
            code="unsupported_pixels",
            where=name,
            hint="convert it to PNG with the program that the archive names",
        )
    if frame.rows * frame.columns > 8 * len(data):  # each takes at least one bit (T.81 H.1.2)
        raise RecordError("the JPEG data are cut off", code="truncated", where=name)
    try:
        import imagecodecs
    except ImportError as error:
        raise RecordError(
            "reading lossless JPEG needs the package imagecodecs",
            code="missing_extra",
            where=name,
            hint="pip install 'bcseg[codecs]'",
        ) from error
    with reading(name, "JPEG"):
        pixels = imagecodecs.jpegsof3_decode(data)
    return Image(pixels=_of_frame(pixels, frame, name), bits_stored=frame.precision)


def _of_frame(pixels: NDArray[Any], frame: JpegFrame, name: str) -> NDArray[Any]:
    """Return decoded pixels; raises RecordError if they are not as many as was announced."""
    if pixels.shape != (frame.rows, frame.columns):
        raise RecordError(f"the JPEG data hold {pixels.shape} values", where=name)
    return pixels


# ---------------------------------------------------------------------------- TIFF

_DTYPES = (np.uint8, np.uint16, np.int16)
_TIFF_WIDTH, _TIFF_LENGTH = 256, 257
_TIFF_WHOLE_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # types of a value, as struct calls them
_UNCOMPRESSED = 1
_MIN_IS_WHITE, _PALETTE, _YCBCR = 0, 3, 6


def _tiff_size(stream: BinaryIO, name: str) -> Size:
    """Return (rows, columns) from the first directory, wherever it lies (TIFF 6.0, section 2)."""
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:3] == b"+" or head[3:4] == b"+"
    place, count, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    sides: dict[int, int] = {}
    with reading(name, "TIFF"):
        (offset,) = struct.unpack_from(order + place, head, 8 if big else 4)
        stream.seek(offset)
        (entries,) = struct.unpack(order + count, stream.read(struct.calcsize(order + count)))
        size = struct.calcsize(order + entry)
        directory = stream.read(size * min(entries, 1 << 16))
        whole = directory[: len(directory) // size * size]
        for tag, kind, number, value in struct.iter_unpack(order + entry, whole):
            code = _TIFF_WHOLE_NUMBERS.get(kind, "")
            if tag in (_TIFF_WIDTH, _TIFF_LENGTH) and code and number == 1:
                # of two, the first: the one that tifffile takes
                sides.setdefault(tag, *struct.unpack_from(order + code, value))
        return sides[_TIFF_LENGTH], sides[_TIFF_WIDTH]


def _decode_tiff(data: bytes, name: str, max_pixels: int) -> Image:
    import tifffile

    with reading(name, "TIFF"), tifffile.TiffFile(io.BytesIO(data)) as tiff:
        if _has_second_page(tiff):
            raise RecordError(
                "the TIFF file holds more than one image", code="multi_frame", where=name
            )
        page: Any = tiff.pages[0]
        _check_tiff(page, data, max_pixels, name)
        pixels = _tiff_pixels(page, data, name)
        if pixels.shape != (page.imagelength, page.imagewidth) or pixels.dtype not in _DTYPES:
            raise RecordError(
                f"the TIFF file holds {pixels.shape} values of {pixels.dtype}", where=name
            )
        bits = 8 if pixels.dtype == np.uint8 else int(page.bitspersample)
        white_is_zero = page.photometric == _MIN_IS_WHITE
        return Image(pixels=pixels, bits_stored=bits, monochrome1=white_is_zero)


def _has_second_page(tiff: Any) -> bool:
    try:  # not len(pages), which would go through all of millions
        tiff.pages[1]
    except IndexError:
        return False
    return True


def _check_tiff(page: Any, data: bytes, max_pixels: int, name: str) -> None:
    """Refuse what a decoder should not be asked to make: bombs, and strips that are not there."""
    samples = int(page.samplesperpixel) * (2 if page.bitspersample > 8 else 1)
    check_size(page.imagelength, page.imagewidth, max_pixels, name, sample_bytes=samples)
    if page.is_tiled:
        check_size(page.tilelength, page.tilewidth, max_pixels, name, sample_bytes=samples)
    if page.compression not in _TIFF_PACKED:
        raise RecordError(
            f"the TIFF file is packed in a way that is not read ({page.compression})",
            code="unsupported_packing",
            where=name,
        )
    if len(page.dataoffsets) > _MOST_STRIPS:
        raise RecordError(f"the TIFF file has more than {_MOST_STRIPS:,} strips", where=name)
    if page.imagedepth != 1 or page.samplesperpixel > 4 or not page.dataoffsets:
        raise RecordError("the TIFF file holds something other than one image", where=name)
    if not 1 <= page.bitspersample <= 16 or page.sampleformat > 2:
        raise RecordError(
            f"the TIFF file has {page.bitspersample} bits a pixel, or real numbers",
            code="unsupported_depth",
            where=name,
        )
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        if not length or start + length > len(data):
            raise RecordError(
                f"the TIFF file is cut off: {len(data):,} bytes, pixels up to {start + length:,}",
                code="truncated",
                where=name,
            )
        if page.compression == _TIFF_JPEG:  # its own size is what a decoder believes
            frame = jpeg_frame(data[start : start + length], name)
            check_size(frame.rows, frame.columns, max_pixels, name, sample_bytes=samples)


def _tiff_pixels(page: Any, data: bytes, name: str) -> NDArray[Any]:
    plain = page.compression == _UNCOMPRESSED and page.is_contiguous and page.fillorder == 1
    if plain and page.axes == "YX" and page.bitspersample in (8, 16):
        count = page.imagelength * page.imagewidth
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        if count * dtype.itemsize > sum(page.databytecounts):
            raise RecordError("the TIFF file holds too few rows", code="truncated", where=name)
        stored = np.frombuffer(data, dtype, count, page.dataoffsets[0])
        pixels = stored.astype(dtype.newbyteorder("="), copy=False)
        pixels = pixels.reshape(page.imagelength, page.imagewidth)
    else:
        try:
            pixels = page.asarray()
        except DAMAGED:  # without imagecodecs tifffile cannot undo LZW, JPEG, ...
            if _has_imagecodecs():
                raise
            return _tiff_by_pillow(page, data, name)
    return _grey_of_tiff(page, pixels, name)


def _grey_of_tiff(page: Any, pixels: NDArray[Any], name: str) -> NDArray[Any]:
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if page.photometric == _PALETTE:
        pixels = _through_palette(pixels, np.asarray(page.colormap), name)
    elif pixels.ndim == 3 and pixels.shape[-1] >= 3:
        tolerance = JPEG_COLOUR_TOLERANCE if page.photometric == _YCBCR else 0
        pixels = one_channel(pixels, name, tolerance=tolerance)
    elif pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., 0])
    return pixels.astype(np.int16) if pixels.dtype == np.int8 else pixels


def _through_palette(
    index: NDArray[Any], palette: NDArray[np.uint16], name: str
) -> NDArray[np.uint8]:
    """Return the grey levels behind palette indices; the three rows of `palette` are 16 bit."""
    used = np.bincount(index.ravel(), minlength=palette.shape[1]) > 0
    colours = palette[:, used[: palette.shape[1]]].T[np.newaxis]
    one_channel(colours, name)
    grey: NDArray[np.uint8] = (palette[0] >> 8).astype(np.uint8)[index]
    return grey


def _tiff_by_pillow(page: Any, data: bytes, name: str) -> NDArray[Any]:
    with _pillow(data, "TIFF") as image:
        tolerance = JPEG_COLOUR_TOLERANCE if page.photometric == _YCBCR else 0
        pixels = _pixels_of(image, name, tolerance=tolerance)
    # Pillow inverts white-is-zero images of up to 8 bits: back to what is stored
    inverted = page.photometric == _MIN_IS_WHITE and pixels.dtype == np.uint8
    return np.invert(pixels) if inverted else pixels


def _has_imagecodecs() -> bool:
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        return False
    return True


# ---------------------------------------------------------------------------- PGM and BMP

_PGM_HEADER = re.compile(rb"P5(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,9})\s+(\d{1,9})\s+(\d{1,5})\s")


def _pgm_header(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Return (columns, rows, largest value, where the pixels begin)."""
    found = _PGM_HEADER.match(data[:4096])
    if not found:
        raise RecordError("the header of the PGM file is damaged", where=name)
    columns, rows, largest = (int(number) for number in found.groups())
    return columns, rows, largest, found.end()


def _decode_pgm(data: bytes, name: str, max_pixels: int) -> Image:
    columns, rows, largest, start = _pgm_header(data, name)
    check_size(rows, columns, max_pixels, name)
    if not 0 < largest < 1 << 16:
        raise RecordError(f"the PGM file claims values up to {largest}", where=name)
    dtype = np.dtype(np.uint8 if largest < 256 else ">u2")
    if start + rows * columns * dtype.itemsize > len(data):
        raise RecordError("the PGM file is cut off", code="truncated", where=name)
    stored = np.frombuffer(data, dtype, rows * columns, start).reshape(rows, columns)
    return _image(stored.astype(dtype.newbyteorder("="), copy=False))


def _decode_bmp(data: bytes, name: str, max_pixels: int) -> Image:
    with reading(name, "BMP"), _pillow(data, "BMP") as image:
        check_size(image.height, image.width, max_pixels, name, sample_bytes=len(image.mode))
        return _image(_pixels_of(image, name))


def _decode_dicom(data: bytes, name: str, max_pixels: int) -> Image:
    from bcseg.formats.dicom import decode_dicom

    return decode_dicom(data, name, max_pixels=max_pixels)


_DECODERS: dict[str, Callable[[bytes, str, int], Image]] = {
    "DICOM": _decode_dicom,
    "PNG": _decode_png,
    "JPEG": _decode_jpeg,
    "TIFF": _decode_tiff,
    "BMP": _decode_bmp,
    "PGM": _decode_pgm,
}
