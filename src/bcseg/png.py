"""Write grey PNG files fast, and hash pixels.

A mammogram is noise where there is tissue: effort beyond the cheapest deflate buys no size, so
the time goes into the filter (Sub, in numpy) and a fast deflate. Filters work in bands of rows,
which stay in the cache.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BAND_ROWS = 128
_FILTER_NONE, _FILTER_SUB = 0, 1
_PER_METRE = 1

Content = Literal["grey8", "grey16", "mask"]
CONTENTS: tuple[Content, ...] = get_args(Content)


class _Deflate(Protocol):
    """A zlib compression object of any of the three libraries."""

    def compress(self, data: Any, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _AtOnce:
    """ISA-L as a compression object that wants all rows in one call.

    Not `isal_zlib.compressobj`: it finds other matches in the same data, and gives other bytes,
    by where in memory it happens to lie (seen with isal 1.9.1, once in thousands of images).
    """

    def __init__(self, pack: Callable[[Any, int], bytes]) -> None:
        self._pack = pack

    def compress(self, data: Any, /) -> bytes:
        """Return the whole stream."""
        return self._pack(data, 1)

    def flush(self) -> bytes:
        """Return nothing more."""
        return b""


def encode(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    mask: bool = False,
    spacing_mm: tuple[float, float] | None = None,
) -> bytes:
    """Return a grey PNG of 8 or 16 bit.

    `pixels`: (rows, columns), any strides. `mask`: few values in large areas, 8 bit: compressed
    as such. `spacing_mm`: (row, column), written as pHYs. The same pixels give the same bytes,
    with the same libraries on the same CPU. Raises ValueError for any other array.
    """
    if pixels.ndim != 2 or pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        raise ValueError(f"cannot write {pixels.dtype} of shape {pixels.shape} as a grey PNG")
    if not pixels.size or (mask and pixels.dtype.itemsize != 1):
        raise ValueError(f"cannot write a mask or image of {pixels.dtype} {pixels.shape}")
    return b"".join(_parts(pixels, mask, spacing_mm))


def _parts(
    pixels: NDArray[Any], mask: bool, spacing_mm: tuple[float, float] | None
) -> Iterator[bytes]:
    rows, columns = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8 * pixels.itemsize, 0, 0, 0, 0)
    yield _SIGNATURE + _chunk(b"IHDR", header) + _physical_size(spacing_mm)
    content: Content = "mask" if mask else "grey16" if pixels.itemsize == 2 else "grey8"
    deflate = _deflate(content)
    filter_type = _FILTER_NONE if mask else _FILTER_SUB
    for data in _filtered(pixels, filter_type, at_once=isinstance(deflate, _AtOnce)):
        packed = deflate.compress(data)
        if packed:
            yield _chunk(b"IDAT", packed)
    rest = deflate.flush()
    if rest:
        yield _chunk(b"IDAT", rest)
    yield _chunk(b"IEND", b"")


def _filtered(pixels: NDArray[Any], filter_type: int, *, at_once: bool) -> Iterator[memoryview]:
    """Yield filtered rows (PNG 1.2, chapter 6): all of them, or bands that share their memory."""
    rows, columns = pixels.shape
    step = pixels.itemsize
    held = rows if at_once else min(_BAND_ROWS, rows)
    out = np.empty((held, 1 + columns * step), np.uint8)
    out[:, 0] = filter_type
    for top in range(0, rows, _BAND_ROWS):
        stored = pixels[top : top + _BAND_ROWS].astype(f">u{step}", order="C", copy=False)
        raw = stored.view(np.uint8)
        start = top if at_once else 0
        band = out[start : start + len(raw)]
        if filter_type == _FILTER_SUB:
            band[:, 1 : 1 + step] = raw[:, :step]
            np.subtract(raw[:, step:], raw[:, :-step], out=band[:, 1 + step :])
        else:
            band[:, 1:] = raw
        if not at_once:
            yield band.reshape(-1).data
    if at_once:
        yield out.reshape(-1).data


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = _crc32()(body, zlib.crc32(kind))
    return b"".join((struct.pack(">I4s", len(body), kind), body, struct.pack(">I", checksum)))


def _physical_size(spacing_mm: tuple[float, float] | None) -> bytes:
    """Return a pHYs chunk: whole pixels for a metre, x first."""
    if spacing_mm is None or not all(math.isfinite(mm) and mm > 0 for mm in spacing_mm):
        return b""
    down, across = (round(1000 / mm) for mm in spacing_mm)
    if not (0 < down < 2**31 and 0 < across < 2**31):
        return b""
    return _chunk(b"pHYs", struct.pack(">IIB", across, down, _PER_METRE))


def _deflate(content: Content) -> _Deflate:
    """Return the fastest deflate for what is written, by what is installed.

    ISA-L searches matches: best for masks and as good as run lengths for 16 bit, where it takes
    half the time; 8 bit images grow by 15 to 31 % with it, so those get zlib-ng's run lengths.
    """
    if content != "grey8":
        try:
            from isal import isal_zlib
        except ImportError:
            pass
        else:
            return _AtOnce(isal_zlib.compress)
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    run_lengths: _Deflate = zlib_ng.compressobj(1, zlib_ng.DEFLATED, 15, 9, zlib_ng.Z_RLE)
    return run_lengths


def deflate_library(content: Content) -> str:
    """Return the library that packs such pixels: isal_zlib, zlib_ng, or Python's own zlib."""
    deflate = _deflate(content)
    if isinstance(deflate, _AtOnce):
        return "isal_zlib"
    return type(deflate).__module__.partition(".")[0]


@functools.cache
def _crc32() -> Callable[[bytes, int], int]:
    """Return the fastest CRC-32 that is installed; zlib's own takes a tenth of the whole time."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.crc32
    crc: Callable[[bytes, int], int] = isal_zlib.crc32
    return crc


def pixels_sha256(pixels: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of an image: dtype, shape and values in C order, little-endian.

    It depends on neither strides nor byte order nor on how the file was compressed. What is
    hashed is the text "<u2 3328 2560\\n" (for 8 bit "|u1 ...") and then the values.
    """
    stored = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    shape = " ".join(str(side) for side in stored.shape)
    digest = hashlib.sha256(f"{stored.dtype.str} {shape}\n".encode("ascii"))
    digest.update(stored.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
