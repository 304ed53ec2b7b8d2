"""A writer of lossless JPEG (ITU-T T.81 process 14, predictor 1), as the films of DDSM are packed.

One table of Huffman codes for all images: the sizes of differences that mammograms have most of
take 3 bits, rare ones 6 or 8.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

# sizes of differences in bits, by the length of their codes: shorter for the more frequent
_BY_LENGTH = {3: (2, 3, 4, 5, 6, 7, 8), 6: (0, 1, 9, 10, 11, 12, 13), 8: (14, 15, 16)}
_ROWS_AT_ONCE = 256


def encode(pixels: NDArray[np.uint16], precision: int) -> bytes:
    """Return one grey image as a lossless JPEG file of `precision` bits a sample."""
    rows, columns = pixels.shape
    frame = struct.pack(">BHHBBBB", precision, rows, columns, 1, 1, 0x11, 0)
    lengths = bytes(len(_BY_LENGTH.get(n, ())) for n in range(1, 17))
    table = b"\x00" + lengths + bytes(size for n in sorted(_BY_LENGTH) for size in _BY_LENGTH[n])
    scan = struct.pack(">BBBBBB", 1, 1, 0, 1, 0, 0)
    head = b"\xff\xd8" + b"".join(
        marker + struct.pack(">H", len(body) + 2) + body
        for marker, body in ((b"\xff\xc3", frame), (b"\xff\xc4", table), (b"\xff\xda", scan))
    )
    return head + _entropy_coded(pixels, precision) + b"\xff\xd9"


def _entropy_coded(pixels: NDArray[np.uint16], precision: int) -> bytes:
    differences = _differences(pixels, precision)
    code, length = _codes()
    parts = []
    rest = np.zeros(0, np.uint8)
    for start in range(0, len(differences), _ROWS_AT_ONCE):
        some = differences[start : start + _ROWS_AT_ONCE].ravel()
        size = _sizes(some)
        extra = np.where(size == 16, 0, size)
        low = np.where(some < 0, some + (1 << size) - 1, some) & ((1 << extra) - 1)
        bits = _bits((code[size] << extra) | low, length[size] + extra)
        bits = np.concatenate([rest, bits])
        whole = len(bits) // 8 * 8
        parts.append(np.packbits(bits[:whole]).tobytes())
        rest = bits[whole:]
    padding = np.ones(-len(rest) % 8, np.uint8)
    parts.append(np.packbits(np.concatenate([rest, padding])).tobytes())
    return b"".join(parts).replace(b"\xff", b"\xff\x00")


def _differences(pixels: NDArray[np.uint16], precision: int) -> NDArray[np.int64]:
    """Return each sample less the one on its left, the first of a row less the one above."""
    values = pixels.astype(np.int64)
    found = np.diff(values, axis=1, prepend=0)
    found[1:, 0] = values[1:, 0] - values[:-1, 0]
    found[0, 0] = values[0, 0] - (1 << (precision - 1))
    # T.81 H.1.2.1: modulo 2^16
    return np.asarray((found + 32768) % 65536 - 32768, dtype=np.int64)


def _sizes(differences: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many bits each difference takes (T.81 table H.2); -32768 stands for 32768."""
    sizes: NDArray[np.int64] = np.ceil(np.log2(np.abs(differences) + 1)).astype(np.int64)
    return sizes


def _codes() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the canonical code of each size and its length (T.81 annex C)."""
    code, length = np.zeros(17, np.int64), np.zeros(17, np.int64)
    next_code, last = 0, 0
    for bits in sorted(_BY_LENGTH):
        next_code <<= bits - last
        last = bits
        for size in _BY_LENGTH[bits]:
            code[size], length[size] = next_code, bits
            next_code += 1
    return code, length


def _bits(words: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the lowest `lengths` bits of each word, one after the other, highest first."""
    ends = np.cumsum(lengths)
    place = np.arange(int(ends[-1])) - np.repeat(ends - lengths, lengths)
    shift = np.repeat(lengths, lengths) - 1 - place
    return ((np.repeat(words, lengths) >> shift) & 1).astype(np.uint8)
