"""Erosion and dilation of a mask by squares, on packed bits: 64 pixels in each operation.

OpenCV works on bytes and in each direction takes time in proportion to the side of the square;
here a window is put together from windows of half its side, in an eighth of the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_BITS = 64
LARGEST_REACH = _BITS - 1  # a bit moves into the next word at most


def eroded_dilated(marked: NDArray[Any], erode_by: int, dilate_by: int) -> NDArray[np.uint8]:
    """Return a mask eroded, and then dilated, by squares that reach so far from their centres.

    `marked`: (rows, columns), set where it is not zero. Returns uint8 of the same shape, 0 or 1:
    what OpenCV's `erode` with a square of 2 * `erode_by` + 1 and then `dilate` with one of
    2 * `dilate_by` + 1 return with their default borders. Raises ValueError for a reach that is
    not from 0 to 63.
    """
    if not (0 <= erode_by <= LARGEST_REACH and 0 <= dilate_by <= LARGEST_REACH):
        raise ValueError(f"a reach of {erode_by} or {dilate_by} is not from 0 to {LARGEST_REACH}")
    columns = marked.shape[1]
    words = -(-(columns + max(erode_by, dilate_by)) // _BITS)
    # to erode is to dilate what is not set; beyond the border nothing is missing
    missing = _dilated(_inverted(_packed(marked, words), columns), erode_by)
    found = _dilated(_inverted(missing, columns), dilate_by)
    bits = found.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(bits, axis=1, count=columns, bitorder="little")


def _inverted(mask: Words, columns: int) -> Words:
    """Return what a mask of so many columns leaves out; what follows them becomes empty."""
    out = ~mask
    last, bits = divmod(columns, _BITS)
    out[:, last : last + 1] &= np.uint64((1 << bits) - 1)
    out[:, last + 1 :] = 0
    return out


def _packed(marked: NDArray[Any], words: int) -> Words:
    """Return each row as so many words; the lowest bit is the first column."""
    out = np.zeros((marked.shape[0], words * _BITS // 8), np.uint8)
    bits = np.packbits(marked, axis=1, bitorder="little")
    out[:, : bits.shape[1]] = bits
    return out.view("<u8")


def _dilated(mask: Words, reach: int) -> Words:
    """Return the mask, whose last `reach` columns are empty, dilated by a square.

    The rows are taken as one line of bits: what a window sees of the row before are its empty
    columns. The line is moved by `reach` and joined with all that follows within the window; then
    the same for rows. What the last `reach` columns of the result hold means nothing.
    """
    if not reach:
        return mask
    height, words = mask.shape
    rows = np.zeros((height + 2 * reach, words), np.uint64)
    line = rows[reach : reach + height].reshape(-1)
    np.left_shift(mask.reshape(-1), reach, out=line)
    line[1:] |= mask.reshape(-1)[:-1] >> (_BITS - reach)
    for step in _doublings(2 * reach + 1):
        further = line >> step
        further[:-1] |= line[1:] << (_BITS - step)
        line |= further
    for step in _doublings(2 * reach + 1):
        rows = rows[:-step] | rows[step:]
    return rows


def _doublings(side: int) -> Iterator[int]:
    """Yield by how much to move a window of 1, and what comes of it, until it has this side."""
    covered = 1
    while covered < side:
        step = min(covered, side - covered)
        yield step
        covered += step
