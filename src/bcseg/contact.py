"""A contact sheet: pairs as pictures, the contour thin over the image, the lesion beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bcseg.pairs import PairsFolder, Row
from bcseg.report.pictures import (
    Grey,
    Outline,
    drawn,
    largest_part,
    outlines,
    read_pair,
    room_round,
    window_of,
    windowed,
)
from bcseg.store import write_atomic

_TILE = 360  # pixels of one picture
_TEXT = 44  # height of the lines under a pair
_GAP = 8


def contact_sheet(pairs: Sequence[tuple[PairsFolder, Row]], columns: int = 3) -> Image.Image:
    """Return one picture of the pairs: whole image with contour, then the lesion with and without.

    `pairs`: folders and rows of records.csv.
    """
    width = 3 * _TILE + 2 * _GAP
    height = _TILE + _TEXT
    lines = -(-len(pairs) // columns)
    size = (columns * (width + 2 * _GAP), lines * (height + _GAP) + _GAP)
    sheet = Image.new("RGB", size, (16, 18, 22))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for number, (folder, row) in enumerate(pairs):
        left = (number % columns) * (width + 2 * _GAP) + _GAP
        top = (number // columns) * (height + _GAP) + _GAP
        for place, picture in enumerate(_pictures(folder, row)):
            sheet.paste(Image.fromarray(picture), (left + place * (_TILE + _GAP), top))
        pen.text((left, top + _TILE + 3), _caption(row), font=font, fill=(225, 228, 232))
        pen.text((left, top + _TILE + 22), _facts(row), font=font, fill=(150, 156, 165))
    return sheet


def save_sheet(pairs: Sequence[tuple[PairsFolder, Row]], path: Path, columns: int = 3) -> None:
    """Write a contact sheet as PNG."""
    import io

    packed = io.BytesIO()
    contact_sheet(pairs, columns).save(packed, "PNG")
    write_atomic(path, packed.getvalue())


def _caption(row: Row) -> str:
    return f"{row['dataset']}  {row['record_id']}"


def _facts(row: Row) -> str:
    area = f"{float(row['mask_area_mm2']):.0f} mm2" if row["mask_area_mm2"] else ""
    words = [
        f"{row['laterality']} {row['view']}",
        f"{row['n_lesions']} {row['kinds']}",
        f"BI-RADS {row['birads']}" if row["birads"] else "",
        row["pathology"],
        f"{row['mask_pixels']} px",
        area,
        f"{row['height']} x {row['width']}, {row['bit_depth']} bit",
    ]
    return "  ".join(word for word in words if word.strip())


def _pictures(folder: PairsFolder, row: Row) -> Iterable[NDArray[np.uint8]]:
    image, mask = read_pair(folder.path, row["image"], row["mask"])
    limits = window_of(image)
    lines = outlines(mask)
    whole = slice(0, mask.shape[0]), slice(0, mask.shape[1])
    box = largest_part(mask)
    near = room_round(box, mask.shape) if box else whole
    yield _tile(windowed(image, limits), lines, whole)
    yield _tile(windowed(image[near], limits), lines, near)
    yield _tile(windowed(image[near], limits), [], near)


def _tile(grey: Grey, lines: list[Outline], span: tuple[slice, slice]) -> NDArray[np.uint8]:
    """Return a square colour picture of an image part, with the outlines that are in it."""
    rows, columns = span
    scale = _TILE / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    fitted = cv2.resize(grey, size, interpolation=way).astype(np.uint8, copy=False)
    stretch = (size[0] / grey.shape[1], size[1] / grey.shape[0])
    near = [line - (columns.start, rows.start) for line in lines]
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    tile[: size[1], : size[0]] = drawn(fitted, near, stretch)
    return tile
