"""Write grey PNG files fast, and hash pixels.

A mammogram is noise where there is tissue: effort beyond the cheapest deflate buys no size, so
the time goes into the filter (Sub, in numpy) and a fast deflate. Filters work in bands of rows,
which stay in the cache.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BAND_ROWS = 128
_FILTER_NONE, _FILTER_SUB = 0, 1
_PER_METRE = 1

Content = Literal["grey8", "grey16", "mask"]
CONTENTS: tuple[Content, ...] = get_args(Content)


Pack = Callable[[Any], bytes]  # filtered rows to a zlib stream


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
    rows_of_bytes = _filtered(pixels, _FILTER_NONE if mask else _FILTER_SUB)
    yield _chunk(b"IDAT", _packer(content)[1](rows_of_bytes))
    yield _chunk(b"IEND", b"")


def _filtered(pixels: NDArray[Any], filter_type: int) -> NDArray[np.uint8]:
    """Return all filtered rows (PNG 1.2, chapter 6), each with its filter type before it."""
    rows, columns = pixels.shape
    step = pixels.itemsize
    out = np.empty((rows, 1 + columns * step), np.uint8)
    out[:, 0] = filter_type
    for top in range(0, rows, _BAND_ROWS):
        stored = pixels[top : top + _BAND_ROWS].astype(f">u{step}", order="C", copy=False)
        raw = stored.view(np.uint8)
        band = out[top : top + len(raw)]
        if filter_type == _FILTER_SUB:
            band[:, 1 : 1 + step] = raw[:, :step]
            np.subtract(raw[:, step:], raw[:, :-step], out=band[:, 1 + step :])
        else:
            band[:, 1:] = raw
    return out


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


def _packer(content: Content) -> tuple[str, Pack]:
    """Return name and deflate of the fastest library for what is written, by what is installed.

    ISA-L searches matches: best for masks and as good as run lengths for 16 bit, where it takes
    half the time; 8 bit images grow by 15 to 31 % with it, so those get zlib-ng's run lengths.
    ISA-L gets all rows in one call: its `compressobj` finds other matches in the same data, and
    gives other bytes, by where in memory it happens to lie (isal 1.9.1, once in thousands).
    """
    if content != "grey8":
        try:
            from isal import isal_zlib
        except ImportError:
            pass
        else:
            return "isal_zlib", lambda rows: isal_zlib.compress(rows, 1)
    library: Any = zlib
    with contextlib.suppress(ImportError):
        from zlib_ng import zlib_ng as library

    def run_lengths(rows: Any) -> bytes:
        deflate = library.compressobj(1, library.DEFLATED, 15, 9, library.Z_RLE)
        return b"".join((deflate.compress(rows), deflate.flush()))

    return library.__name__.rpartition(".")[2], run_lengths


def deflate_library(content: Content) -> str:
    """Return the library that packs such pixels: isal_zlib, zlib_ng, or Python's own zlib."""
    return _packer(content)[0]


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
