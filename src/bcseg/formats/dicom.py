"""Read DICOM: the pixels of one image, and the few header fields that identify it.

Only named elements are ever parsed, and `Header` holds only what cannot name a person: codes of
closed lists, UIDs and numbers. Nothing here can show a patient's name, birth date or free text.

References are to the DICOM standard: PS3.3 (information objects), PS3.5 (encoding), PS3.10 (files).
"""

from __future__ import annotations

import io
import itertools
import math
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.multival import MultiValue

from bcseg.errors import RecordError
from bcseg.formats.damage import DAMAGED
from bcseg.formats.images import (
    JPEG_COLOUR_TOLERANCE,
    MAX_PIXELS,
    check_size,
    jpeg_frame,
    one_channel,
    reading,
)
from bcseg.record import Image, Laterality

_DEFLATED = "1.2.840.10008.1.2.1.99"
_DEFLATED_META = re.compile(
    rb"\x02\x00\x10\x00UI..1\.2\.840\.10008\.1\.2\.1\.99[\x00 ]?", re.DOTALL
)
_RLE = "1.2.840.10008.1.2.5"
_JPEG = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70))
_JPEG_LS = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (80, 81))
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))

_BITS_STORED = 0x00280101
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # float, double, integer
_UNDEFINED = 0xFFFFFFFF
_HEADS = (1 << 14, 1 << 17, 1 << 20, 1 << 25)  # bytes tried for a header
_MOST_READS = 100_000  # of a parser; a header has a few hundred elements of two or three reads each
_MOST_FRAGMENTS = 100_000
_LONGEST_VALUE = 1 << 18  # bytes of an element; the largest is a LUT of 65,536 words
_MOST_UNPACKED = 430 << 20  # bytes of RLE data that are unpacked without counting them one by one

_LONGEST = np.r_[np.ones(129, np.float32), 257 - np.arange(129, 256, dtype=np.float32)]

_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_HEADER_TAGS = (
    0x00080016,  # SOPClassUID
    0x00080018,  # SOPInstanceUID
    0x00080060,  # Modality
    0x0008103E,  # SeriesDescription
    0x00100020,  # PatientID
    0x00181164,  # ImagerPixelSpacing
    0x00185101,  # ViewPosition
    0x0020000D,  # StudyInstanceUID
    0x0020000E,  # SeriesInstanceUID
    0x00200020,  # PatientOrientation
    0x00200060,  # Laterality
    0x00200062,  # ImageLaterality
    0x00280002,  # SamplesPerPixel
    0x00280004,  # PhotometricInterpretation
    0x00280010,  # Rows
    0x00280011,  # Columns
    0x00280030,  # PixelSpacing
    0x00280100,  # BitsAllocated
    _BITS_STORED,
)
_PIXEL_TAGS = (
    0x00080018,  # SOPInstanceUID
    0x00181164,  # ImagerPixelSpacing
    0x00280002,  # SamplesPerPixel
    0x00280004,  # PhotometricInterpretation
    0x00280006,  # PlanarConfiguration
    0x00280008,  # NumberOfFrames
    0x00280010,  # Rows
    0x00280011,  # Columns
    0x00280030,  # PixelSpacing
    0x00280100,  # BitsAllocated
    _BITS_STORED,
    0x00280102,  # HighBit
    0x00280103,  # PixelRepresentation
    0x00280120,  # PixelPaddingValue
    0x00280121,  # PixelPaddingRangeLimit
    0x00281052,  # RescaleIntercept
    0x00281053,  # RescaleSlope
    0x00283000,  # ModalityLUTSequence
    *((group << 16) + 0x0100 for group in _OVERLAY_GROUPS),  # OverlayBitsAllocated
)

_UID = re.compile(r"[0-9.]{1,64}")
_MODALITIES = ("MG", "DX", "CR", "RG", "OT", "SEG", "SR", "PR", "KO")
_DIRECTIONS = re.compile(r"CC|MLO|[APRLHF]{1,3}(\\[APRLHF]{1,3})?")
_CBIS_PATIENT_ID = re.compile(
    r"((Mass|Calc)-(Training|Test)_)?P_\d{5}_(LEFT|RIGHT)_(CC|MLO)(_\d+)?(\.dcm)?"
)
_CBIS_SERIES = ("full mammogram images", "ROI mask images", "cropped images")
_VIEWS = ("CC", "MLO", "ML", "LM", "LMO", "SIO", "ISO", "XCC", "XCCL", "XCCM", "FB", "CV", "AT")
_PHOTOMETRIC = (
    *("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR"),
    *("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a DICOM header says about its image; empty or 0 where it says nothing usable.

    `pixel_spacing`: (row, column) in mm, PixelSpacing, else ImagerPixelSpacing.
    `series_description` and `patient_id` are kept only where they are CBIS-DDSM's own words.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    modality: str = ""
    transfer_syntax_uid: str = ""
    rows: int = 0
    columns: int = 0
    bits_allocated: int = 0
    bits_stored: int = 0
    samples_per_pixel: int = 0
    photometric: str = ""
    laterality: Laterality = ""
    view: str = ""
    patient_orientation: str = ""
    pixel_spacing: tuple[float, float] | None = None
    series_description: str = ""
    patient_id: str = ""


def is_bare_dicom(data: bytes) -> bool:
    """Say whether data look like DICOM without the preamble of PS3.10 7.1."""
    if len(data) < 8:
        return False
    big_endian = data[:2] == b"\x00\x08"
    if not big_endian and data[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    return explicit or (not big_endian and int.from_bytes(data[4:8], "little") < 1 << 10)


# ---------------------------------------------------------------------------- the data set


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The elements asked for, and where the parser stopped (`tag` 0: at the end of the data).

    `data`: what `offset` (where the value of the last element begins) counts in: the file, or
    the inflated data set.
    """

    elements: Dataset
    transfer_syntax: str
    little_endian: bool
    data: bytes
    tag: int = 0
    vr: str = ""
    length: int = 0
    offset: int = 0


def _parse(data: bytes, name: str, tags: tuple[int, ...], last: int) -> _Parsed:
    """Parse the elements `tags` of what comes before the first element of `last` or above."""
    start = _deflated_from(data, name)
    if not start:
        return _parse_plain(data, tags, last)
    for limit in _HEADS:
        inflated = _inflate(data, start, limit)
        parsed = _parse_inflated(inflated, tags, last)
        if parsed.tag or len(inflated) < limit:
            break
    return parsed


class _Bytes(io.BytesIO):
    """Bytes of which a parser may read only so often: a header has no million elements."""

    left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read; raises ValueError when it was too often."""
        self.left -= 1
        if self.left < 0:
            raise ValueError("too many elements")
        return super().read(size)


def _parse_plain(data: bytes, tags: tuple[int, ...], last: int) -> _Parsed:
    stream = _Bytes(data)
    stop = _Stop(stream, last)
    elements = read_partial(stream, stop_when=stop, force=True, specific_tags=list(tags))
    _, little = elements.original_encoding
    syntax = _uid(elements.file_meta, "TransferSyntaxUID")
    return stop.add_to(_Parsed(elements, syntax, little is not False, data))


def _parse_inflated(data: bytes, tags: tuple[int, ...], last: int) -> _Parsed:
    stream = _Bytes(data)
    stop = _Stop(stream, last)
    elements = read_dataset(stream, False, True, stop_when=stop, specific_tags=list(tags))
    return stop.add_to(_Parsed(elements, _DEFLATED, True, data))


class _Stop:
    """The parser's question whether to stop at an element; remembers where it did."""

    def __init__(self, stream: io.BytesIO, last: int) -> None:
        self._stream = stream
        self._last = last
        self._found: tuple[int, str, int, int] | None = None

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        if tag < self._last:
            return False
        self._found = int(tag), vr or "", length, self._stream.tell()
        return True

    def add_to(self, parsed: _Parsed) -> _Parsed:
        if not self._found:
            return parsed
        tag, vr, length, offset = self._found
        return replace(parsed, tag=tag, vr=vr, length=length, offset=offset)


def _deflated_from(data: bytes, name: str) -> int:
    """Return where the deflated data set begins, or 0 if it is not deflated.

    The group length right behind "DICM" says where the file meta information ends (PS3.10 7.1).
    """
    if not _DEFLATED_META.search(data, 0, 1 << 12):
        return 0
    start = 132 if data[128:132] == b"DICM" else 0
    if data[start : start + 6] != b"\x02\x00\x00\x00UL":
        raise RecordError("the DICOM file is deflated, and does not say from where", where=name)
    return start + 12 + int.from_bytes(data[start + 8 : start + 12], "little")


def _inflate(data: bytes, start: int, limit: int) -> bytes:
    """Inflate at most `limit` bytes, so that a zip bomb stays small."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(memoryview(data)[start:], limit)


def _value(elements: Dataset, keyword: str) -> Any:
    """Return a value, or None where the element is missing, empty, broken or far too long."""
    try:
        raw = elements.get_item(keyword)
        if raw is not None and len(getattr(raw, "value", None) or b"") > _LONGEST_VALUE:
            return None
        return elements.get(keyword)
    except DAMAGED:  # the conversion of one broken element is no reason to lose the image
        return None


def _text(elements: Dataset, keyword: str) -> str:
    value = _value(elements, keyword)
    if isinstance(value, str):
        return value.strip(" \0")
    if isinstance(value, MultiValue):
        return "\\".join(str(part).strip(" \0") for part in value)
    return ""


def _word(elements: Dataset, keyword: str, allowed: re.Pattern[str] | tuple[str, ...]) -> str:
    """Return a text if it is one of the allowed ones, else nothing."""
    text = _text(elements, keyword)
    fits = allowed.fullmatch(text) if isinstance(allowed, re.Pattern) else text in allowed
    return text if fits else ""


def _uid(elements: Dataset, keyword: str) -> str:
    return _word(elements, keyword, _UID)


def _number(elements: Dataset, keyword: str) -> int | None:
    """Return a whole number, whatever VR it was written with; None if there is none."""
    value = _value(elements, keyword)
    if isinstance(value, bytes):
        return int.from_bytes(value, "little") if len(value) in (2, 4) else None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _positive(elements: Dataset, keyword: str) -> int:
    return max(0, _number(elements, keyword) or 0)


def _decimals(elements: Dataset, keyword: str) -> tuple[float, ...]:
    value = _value(elements, keyword)
    if value is None or isinstance(value, (bytes, str)):
        return ()
    try:
        return tuple(float(part) for part in (value if hasattr(value, "__len__") else (value,)))
    except (TypeError, ValueError):
        return ()


def _spacing(elements: Dataset) -> tuple[float, float] | None:
    """Return (row, column) in mm (PS3.3 10.7.1.3: row spacing first)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        sides = _decimals(elements, keyword)
        if len(sides) == 2 and all(math.isfinite(side) and side > 0 for side in sides):
            return sides[0], sides[1]
    return None


# ---------------------------------------------------------------------------- header


def read_header(file: BinaryIO | bytes, name: str) -> Header:
    """Read the identifying fields of a DICOM file, and of the file no more than its head.

    Raises RecordError: empty_file, unreadable.
    """
    parsed = _parse_head(file, name, _HEADER_TAGS, _BITS_STORED + 1)
    with reading(name, "DICOM", quote=False):
        return _header(parsed)


def filled_in(file: BinaryIO | bytes, name: str, tags: tuple[int, ...]) -> Dataset:
    """Return the elements of a header that have one of the (sorted) tags, unconverted.

    Raises RecordError as `read_header`. For callers that let no value out.
    """
    return _parse_head(file, name, tags, tags[-1] + 1).elements


def _parse_head(file: BinaryIO | bytes, name: str, tags: tuple[int, ...], last: int) -> _Parsed:
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    head = b""
    for limit in _HEADS:
        head += stream.read(limit - len(head))
        whole = limit == _HEADS[-1] or len(head) < limit
        _check_is_dicom(head, name)
        try:
            with reading(name, "DICOM", quote=False):
                parsed = _parse(head, name, tags, last)
                if parsed.tag or whole:
                    return parsed
        except RecordError:  # a head may end within an element
            if whole:
                raise
    raise AssertionError("the last head is enough")


def _check_is_dicom(data: bytes, name: str) -> None:
    if not data:
        raise RecordError("the file is empty", code="empty_file", where=name)
    if data[128:132] != b"DICM" and not is_bare_dicom(data):
        raise RecordError("not a DICOM file", where=name)


def _header(parsed: _Parsed) -> Header:
    of = parsed.elements
    side = _text(of, "ImageLaterality") or _text(of, "Laterality")
    laterality: Laterality = "L" if side == "L" else "R" if side == "R" else ""
    return Header(
        sop_class_uid=_uid(of, "SOPClassUID"),
        sop_instance_uid=_uid(of, "SOPInstanceUID"),
        series_instance_uid=_uid(of, "SeriesInstanceUID"),
        study_instance_uid=_uid(of, "StudyInstanceUID"),
        modality=_word(of, "Modality", _MODALITIES),
        transfer_syntax_uid=parsed.transfer_syntax,
        rows=_positive(of, "Rows"),
        columns=_positive(of, "Columns"),
        bits_allocated=_positive(of, "BitsAllocated"),
        bits_stored=_positive(of, "BitsStored"),
        samples_per_pixel=_positive(of, "SamplesPerPixel"),
        photometric=_word(of, "PhotometricInterpretation", _PHOTOMETRIC),
        laterality=laterality,
        view=_word(of, "ViewPosition", _VIEWS),
        patient_orientation=_word(of, "PatientOrientation", _DIRECTIONS),
        pixel_spacing=_spacing(of),
        series_description=_word(of, "SeriesDescription", _CBIS_SERIES),
        patient_id=_word(of, "PatientID", _CBIS_PATIENT_ID),
    )


# ---------------------------------------------------------------------------- pixels


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the pixels are stored (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    planar: bool
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    embedded_overlay: bool

    @property
    def size_in_bytes(self) -> int:
        return (self.rows * self.columns * self.samples * self.allocated + 7) // 8


def decode_dicom(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode the one grey image in a DICOM file, as stored; its pixels may be read-only.

    The modality LUT, padding and MONOCHROME1 are handed over, not applied. 1 bit images have the
    values 0 and 1. Raises RecordError: no_pixels, truncated, unreadable, too_large,
    unsupported_transfer_syntax, unsupported_depth, multi_frame, colour_image, empty_file.
    """
    _check_is_dicom(data, name)
    with reading(name, "DICOM", quote=False):
        parsed = _parse(data, name, _PIXEL_TAGS, _PIXELS[0])
        layout = _layout(parsed, name)
        check_size(
            layout.rows,
            layout.columns,
            max_pixels,
            name,
            sample_bytes=layout.samples * (layout.allocated + 7) // 8,
        )
        if parsed.transfer_syntax == _DEFLATED:
            end = parsed.offset + layout.size_in_bytes
            parsed = replace(parsed, data=_inflate(data, _deflated_from(data, name), end))
        compressed = parsed.length == _UNDEFINED
        pixels = (_encapsulated if compressed else _native)(parsed, layout, name)
        pixels = _one_grey(pixels, layout, parsed.transfer_syntax, name)
        return _image(parsed, layout, _stored_values(pixels, layout), name)


def _layout(parsed: _Parsed, name: str) -> _Layout:
    if parsed.tag not in _PIXELS:
        raise RecordError(
            "the DICOM file holds no pixel data: it is no image, or it is cut off before them",
            code="no_pixels",
            where=name,
        )
    of = parsed.elements
    frames = _number(of, "NumberOfFrames") or 1
    if frames > 1:
        raise RecordError(f"the DICOM file holds {frames} images", code="multi_frame", where=name)
    allocated = _positive(of, "BitsAllocated")
    if parsed.tag != _PIXELS[-1] or allocated not in (1, 8, 16):
        what = f"pixels of {allocated} bits" if allocated else "pixels of unknown depth"
        raise RecordError(
            f"the DICOM file has {what}: 1, 8 and 16 can be read",
            code="unsupported_depth",
            where=name,
        )
    samples = _positive(of, "SamplesPerPixel") or 1
    photometric = _word(of, "PhotometricInterpretation", _PHOTOMETRIC)
    if samples not in (1, 3) or photometric == "PALETTE COLOR":
        raise RecordError("the DICOM image is in colour", code="colour_image", where=name)
    stored = _positive(of, "BitsStored")
    if not 0 < stored <= allocated:
        stored = allocated
    high = _positive(of, "HighBit")
    return _Layout(
        rows=_positive(of, "Rows"),
        columns=_positive(of, "Columns"),
        samples=samples,
        planar=_number(of, "PlanarConfiguration") == 1,
        allocated=allocated,
        stored=stored,
        high=high if stored <= high + 1 <= allocated else stored - 1,
        signed=_number(of, "PixelRepresentation") == 1,
        photometric=photometric,
        embedded_overlay=_has_embedded_overlay(of),
    )


def _has_embedded_overlay(elements: Dataset) -> bool:
    """Say whether unused bits of the pixels hold an overlay.

    OverlayBitsAllocated is 1 for overlays of their own (PS3.3 C.9.2); in the form retired in 2004
    it equals BitsAllocated.
    """
    tags = ((group << 16) + 0x0100 for group in _OVERLAY_GROUPS)
    return any(tag in elements and elements[tag].value not in (None, "", 1) for tag in tags)


def _native(parsed: _Parsed, layout: _Layout, name: str) -> NDArray[Any]:
    """Return uncompressed pixels, without a copy where the byte order allows it."""
    data, needed = parsed.data, layout.size_in_bytes
    if parsed.transfer_syntax in (_RLE, *_JPEG, *_JPEG_LS, *_JPEG_2000):
        raise RecordError("compressed pixels are not in fragments (PS3.5 A.4)", where=name)
    available = min(parsed.length, len(data) - parsed.offset)
    if available < needed:
        raise RecordError(
            f"the pixel data are cut off: {max(0, available):,} of {needed:,} bytes",
            code="truncated",
            where=name,
        )
    count = layout.rows * layout.columns * layout.samples
    if layout.allocated == 1:
        packed = np.frombuffer(data, np.uint8, needed, parsed.offset)
        bits = np.unpackbits(packed, count=count, bitorder="little")  # PS3.5 8.1.1
        return _shaped(bits, layout, planar=layout.planar)
    # 8 bit pixels in 16 bit words are swapped pairs in a big-endian file (PS3.5 7.3)
    if layout.allocated == 16 or (parsed.vr == "OW" and not parsed.little_endian):
        order = "<" if parsed.little_endian else ">"
        stored = np.frombuffer(data, f"{order}u2", (needed + 1) // 2, parsed.offset)
        pixels: NDArray[Any] = stored.astype("<u2", copy=False)
        if layout.allocated == 8:
            pixels = pixels.view(np.uint8)[:count]
    else:
        pixels = np.frombuffer(data, np.uint8, count, parsed.offset)
    return _shaped(pixels, layout, planar=layout.planar)


def _shaped(pixels: NDArray[Any], layout: _Layout, *, planar: bool) -> NDArray[Any]:
    """Return (rows, columns), or (rows, columns, samples)."""
    size = (layout.rows, layout.columns)
    if layout.samples == 1:
        return pixels.reshape(size)
    if planar:
        return np.moveaxis(pixels.reshape(layout.samples, *size), 0, -1)
    return pixels.reshape(*size, layout.samples)


def _fragments(parsed: _Parsed, name: str) -> bytes:
    """Return the one compressed frame: the items behind the offset table, joined (PS3.5 A.4)."""
    data, position = parsed.data, parsed.offset
    fragments: list[bytes] = []
    while True:
        item = data[position : position + 8]
        tag, length = item[:4], int.from_bytes(item[4:], "little")
        if tag == b"\xfe\xff\xdd\xe0" and len(item) == 8:
            break
        end = position + 8 + length
        if len(item) < 8 or (tag == b"\xfe\xff\x00\xe0" and end > len(data)):
            raise RecordError(
                f"the compressed pixel data are cut off after {len(data):,} bytes of the file",
                code="truncated",
                where=name,
            )
        if tag != b"\xfe\xff\x00\xe0":
            raise RecordError("the fragments of the pixel data are damaged", where=name)
        fragments.append(data[position + 8 : end])
        position = end
        if len(fragments) > _MOST_FRAGMENTS:
            raise RecordError("the pixel data are in too many fragments", where=name)
    if len(fragments) < 2:  # the first item is the offset table, maybe empty
        raise RecordError("the pixel data are empty", code="no_pixels", where=name)
    return fragments[1] if len(fragments) == 2 else b"".join(fragments[1:])


def _encapsulated(parsed: _Parsed, layout: _Layout, name: str) -> NDArray[Any]:
    """Return decompressed pixels."""
    syntax = parsed.transfer_syntax
    decoder: Callable[[bytes, _Layout, str, str], NDArray[Any]]
    if syntax == _RLE:
        decoder = _decode_rle
    elif syntax in _JPEG or syntax in _JPEG_LS:
        decoder = _decode_jpeg
    elif syntax in _JPEG_2000:
        decoder = _decode_jpeg_2000
    else:
        raise _unsupported(syntax, name)
    frame = _fragments(parsed, name)
    with reading(name, "DICOM"):
        pixels = decoder(frame, layout, syntax, name)
    if pixels.shape[:2] != (layout.rows, layout.columns) or pixels.dtype.itemsize > 2:
        raise RecordError(
            f"the pixel data hold {pixels.shape} values of {pixels.dtype}", where=name
        )
    if layout.allocated == 16:
        pixels = pixels.astype(np.int16 if pixels.dtype.kind == "i" else np.uint16, copy=False)
    return pixels


def _unsupported(syntax: str, name: str) -> RecordError:
    uid = pydicom.uid.UID(syntax)
    words = f"{uid.name} ({syntax})" if syntax else "not named in the header"
    return RecordError(
        f"cannot decode the pixels: transfer syntax {words}",
        code="unsupported_transfer_syntax",
        where=name,
        hint="pip install bcseg[codecs]",
    )


def _decode_rle(frame: bytes, layout: _Layout, syntax: str, name: str) -> NDArray[Any]:
    """Decode RLE Lossless: a segment for each byte of a sample, high byte first (PS3.5 G).

    Segment by segment, because pylibjpeg-rle panics on a frame whose segments are too long, past
    any `except Exception`, and imagecodecs' decoder (2026.3) crashes the process on damaged ones.
    """
    from rle.rle import decode_segment

    if layout.size_in_bytes > 64 * len(frame):  # PackBits makes at most 128 bytes of 2
        raise RecordError(
            f"{len(frame):,} bytes of RLE data cannot hold {layout.rows} x {layout.columns} pixels",
            code="truncated",
            where=name,
        )
    count = layout.samples * layout.allocated // 8
    number, *offsets = struct.unpack_from("<16L", frame.ljust(64, b"\0"))
    edges = [*offsets[:count], len(frame)]
    if number != count or any(a >= b for a, b in itertools.pairwise([63, *edges])):
        raise RecordError("the RLE header of the pixel data is damaged", where=name)
    size = layout.rows * layout.columns
    planes: list[NDArray[Any]] = []
    for start, end in itertools.pairwise(edges):
        segment = frame[start:end]
        if len(segment) > 2 * size + 64:  # PackBits takes at most two bytes for one
            raise RecordError(f"an RLE segment is too long for {size:,} pixels", where=name)
        if _most_unpacked(segment) > _MOST_UNPACKED and _unpacked_size(segment, size) > size + 1:
            raise RecordError(f"an RLE segment holds more than {size:,} pixels", where=name)
        plane = np.frombuffer(decode_segment(segment), np.uint8)
        if not size <= len(plane) <= size + 1:  # one more: some writers fill up to an even number
            raise RecordError(
                f"an RLE segment holds {len(plane):,} bytes for {size:,} pixels", where=name
            )
        planes.append(plane[:size])
    if layout.allocated == 16:
        planes = [_word_of(*pair) for pair in zip(planes[::2], planes[1::2], strict=True)]
    stored = planes[0] if len(planes) == 1 else np.concatenate(planes)
    return _shaped(stored, layout, planar=True)


def _most_unpacked(segment: bytes) -> int:
    """Return a bound of what a PackBits segment unpacks to: as if each byte was the head of a run.

    decode_segment makes it all before anybody can ask, up to 64 times as many bytes, and holds
    them twice.
    """
    if 64 * len(segment) <= _MOST_UNPACKED:
        return 64 * len(segment)
    import cv2  # not above: many who read headers need no OpenCV

    counts = cv2.calcHist([np.frombuffer(segment, np.uint8)], [0], None, [256], [0, 256])
    return int(counts.ravel() @ _LONGEST)


def _unpacked_size(segment: bytes, expected: int) -> int:
    """Return how many bytes a PackBits segment unpacks to, counted until they are too many."""
    size, place, end = 0, 0, len(segment)
    while place < end and size <= expected + 1:
        head = segment[place]
        if head < 128:  # so many bytes and one follow
            size += head + 1
            place += head + 2
        else:  # the next byte is repeated; 128 does nothing
            size += 257 - head if head > 128 else 0
            place += 2 if head > 128 else 1
    return size


def _word_of(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    words = high.astype(np.uint16)
    words <<= 8
    words |= low
    return words


def _check_frame(inner: tuple[int, int, int], layout: _Layout, name: str) -> None:
    """Compare (rows, columns, samples) in the compressed data, which a decoder believes."""
    outer = (layout.rows, layout.columns, layout.samples)
    if inner != outer:
        raise RecordError(
            "the DICOM header says {} x {} pixels of {}, ".format(*outer)
            + "the compressed data {} x {} of {}".format(*inner),
            where=name,
        )


def _decode_jpeg(frame: bytes, layout: _Layout, syntax: str, name: str) -> NDArray[Any]:
    """Decode JPEG (baseline, extended, lossless) and JPEG-LS."""
    sof = jpeg_frame(frame, name)
    _check_frame((sof.rows, sof.columns, sof.components), layout, name)
    samples = layout.rows * layout.columns * sof.components
    if sof.process == 3 and samples > 8 * len(frame):  # each takes at least one bit (T.81 H.1.2)
        raise RecordError("the JPEG data are cut off", code="truncated", where=name)
    try:
        import imagecodecs
    except ImportError:
        return _decode_by_pydicom(frame, layout, syntax, name)
    if syntax in _JPEG_LS:
        pixels: NDArray[Any] = imagecodecs.jpegls_decode(frame)
        return pixels
    try:
        pixels = imagecodecs.jpeg8_decode(frame)
    except imagecodecs.Jpeg8Error:
        if sof.process != 3:
            raise
        pixels = imagecodecs.jpegsof3_decode(frame)
    return pixels


def _decode_by_pydicom(frame: bytes, layout: _Layout, syntax: str, name: str) -> NDArray[Any]:
    """Decode with whatever plug-in pydicom finds."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    decoder = get_decoder(pydicom.uid.UID(syntax))
    if not decoder.is_available:
        raise _unsupported(syntax, name)
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric or "MONOCHROME2",
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "planar_configuration": int(layout.planar),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    pixels, _ = decoder.as_array(encapsulate([frame]), index=0, **options)
    return pixels


def _decode_jpeg_2000(frame: bytes, layout: _Layout, syntax: str, name: str) -> NDArray[Any]:
    """Decode JPEG 2000 (ITU-T T.800), as a codestream or in a JP2 file."""
    from openjpeg.utils import decode

    start = frame.find(b"\xff\x4f\xff\x51")  # SOC, SIZ
    if start < 0 or len(frame) < start + 42:
        raise RecordError("the JPEG 2000 data have no header", where=name)
    frame, start = frame[start:], 0  # what is checked here is what will be decoded
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    _check_frame((bottom - top, right - left, components), layout, name)
    if frame.find(b"\xff\xd9", start) < 0:  # EOC: no packet holds a pair above FF8F
        raise RecordError("the JPEG 2000 data are cut off", code="truncated", where=name)
    pixels: NDArray[Any] = decode(frame)
    return pixels


def _one_grey(pixels: NDArray[Any], layout: _Layout, syntax: str, name: str) -> NDArray[Any]:
    """Reduce three equal samples for each pixel to one."""
    if layout.samples == 1:
        return pixels
    if syntax in (*_JPEG, *_JPEG_LS, *_JPEG_2000):  # the decoder has made RGB of it
        return one_channel(pixels, name, tolerance=JPEG_COLOUR_TOLERANCE)
    if not layout.photometric.startswith("YBR"):
        return one_channel(pixels, name)
    if (pixels[..., 1:] != 1 << (layout.stored - 1)).any():  # no colour: PS3.3 C.7.6.3.1.2
        raise RecordError("the DICOM image is in colour", code="colour_image", where=name)
    return np.ascontiguousarray(pixels[..., 0])


def _stored_values(pixels: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    """Return the values in the bits that are used, signed ones extended to int16.

    Bits outside BitsStored are cleared only where an overlay lies in them; without one the values
    stay as they are, because headers that claim too few bits are commoner than rubbish above
    them. A HighBit above BitsStored - 1 shifts the values down, unless the low bits are in use
    with no overlay to explain it: then HighBit is wrong.
    """
    if layout.allocated == 1 or pixels.dtype.kind == "i":
        return pixels.astype(np.int16, copy=False) if pixels.dtype.kind == "i" else pixels
    bits = 8 * pixels.dtype.itemsize
    shift = layout.high + 1 - layout.stored
    if shift and not layout.embedded_overlay and (pixels & ((1 << shift) - 1)).any():
        shift = 0
    if layout.signed:
        values: NDArray[np.integer[Any]] = pixels.view(np.int16 if bits == 16 else np.int8)
        above = max(0, bits - layout.stored - shift)
        if above or shift:
            values = (values << above) >> (above + shift)
        return values.astype(np.int16, copy=False)
    if shift:
        pixels = pixels >> shift
    return pixels & ((1 << layout.stored) - 1) if layout.embedded_overlay else pixels


def _image(parsed: _Parsed, layout: _Layout, pixels: NDArray[Any], name: str) -> Image:
    of = parsed.elements
    lut = _modality_lut(parsed, layout.signed, name)
    slope, intercept = (1.0, 0.0) if lut else _rescale(of)
    return Image(
        pixels=pixels,
        bits_stored=layout.stored,
        spacing_mm=_spacing(of),
        monochrome1=layout.photometric == "MONOCHROME1",
        slope=slope,
        intercept=intercept,
        lut=lut,
        padding=_padding(of, layout),
        sop_instance_uid=_uid(of, "SOPInstanceUID"),
    )


def _rescale(elements: Dataset) -> tuple[float, float]:
    """Return slope and intercept; a slope that is missing, 0 or no number is 1 (PS3.3 C.11.1)."""
    slope = (*_decimals(elements, "RescaleSlope"), 0.0)[0]
    intercept = (*_decimals(elements, "RescaleIntercept"), 0.0)[0]
    return (
        slope if slope and math.isfinite(slope) else 1.0,
        intercept if math.isfinite(intercept) else 0.0,
    )


def _padding(elements: Dataset, layout: _Layout) -> tuple[int, int] | None:
    """Return the inclusive range of padding (PS3.3 C.7.5.1.1.2).

    Its VR is US or SS, and writers choose the wrong one: the sign is that of the pixels.
    """
    first = _number(elements, "PixelPaddingValue")
    if first is None:
        return None
    last = _number(elements, "PixelPaddingRangeLimit")
    ends = [_as_pixel(end, layout.signed) for end in (first, first if last is None else last)]
    return min(ends), max(ends)


def _as_pixel(value: int, signed: bool) -> int:
    value &= 0xFFFF
    return value - 0x10000 if signed and value >= 0x8000 else value


def _modality_lut(
    parsed: _Parsed, signed: bool, name: str
) -> tuple[int, NDArray[np.uint16]] | None:
    """Return (first stored value mapped, values) of the modality LUT (PS3.3 C.11.1.1)."""
    sequence = _value(parsed.elements, "ModalityLUTSequence")
    if not sequence:
        return None
    descriptor = _words(sequence[0], "LUTDescriptor", parsed.little_endian)
    values = _words(sequence[0], "LUTData", parsed.little_endian)
    entries = (int(descriptor[0]) or 1 << 16) if len(descriptor) == 3 else 0
    if entries and len(values) == (entries + 1) // 2 and entries > 1:  # two of 8 bits in a word
        values = values.astype("<u2").view(np.uint8).astype(np.uint16)
    if not entries or len(values) < entries:
        raise RecordError("the modality LUT of the DICOM file is damaged", where=name)
    return _as_pixel(int(descriptor[1]), signed), values[:entries]


def _words(elements: Dataset, keyword: str, little_endian: bool) -> NDArray[np.uint16]:
    """Return the 16 bit words of an element of the VR US, SS or OW."""
    value = _value(elements, keyword)
    if isinstance(value, bytes):
        words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little_endian else ">u2")
        return words.astype(np.uint16)
    numbers = np.atleast_1d(np.array([] if value is None else value, dtype=np.int64))
    return (numbers & 0xFFFF).astype(np.uint16)
