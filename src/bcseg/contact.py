"""A contact sheet: pairs as pictures, the contour thin over the image, the lesion beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bcseg.formats.images import decode
from bcseg.pairs import PairsFolder, Row
from bcseg.store import write_atomic

_TILE = 360  # pixels of one picture
_TEXT = 44  # height of the lines under a pair
_GAP = 8
_CONTOUR = (255, 210, 0)
_LOW, _HIGH = 1.0, 99.8  # percentiles of the breast shown as black and white


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
    image = decode((folder.path / row["image"]).read_bytes(), row["image"]).pixels
    mask = decode((folder.path / row["mask"]).read_bytes(), row["mask"]).pixels
    grey = _grey(image)
    box = _box(mask)
    yield _fitted(grey, mask, outline=True)
    yield _fitted(grey[box], mask[box], outline=True)
    yield _fitted(grey[box], mask[box], outline=False)


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image as 8 bits, windowed to the percentiles of what is not background."""
    lit = image[image > 0]
    low, high = np.percentile(lit, (_LOW, _HIGH)) if lit.size else (0, 1)
    scaled = (image.astype(np.float32) - low) * (255 / max(high - low, 1))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _box(mask: NDArray[Any]) -> tuple[slice, slice]:
    """Return the square round the largest part of a mask, with room; the whole for an empty one."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    if count < 2:
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    x, y, w, h, _ = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
    side = min(max(24, round(max(w, h) * 1.7)), *mask.shape)
    top = int(np.clip(y + h // 2 - side // 2, 0, mask.shape[0] - side))
    left = int(np.clip(x + w // 2 - side // 2, 0, mask.shape[1] - side))
    return slice(top, top + side), slice(left, left + side)


def _fitted(grey: NDArray[np.uint8], mask: NDArray[Any], *, outline: bool) -> NDArray[np.uint8]:
    """Return a square colour picture of an image part, with or without the contour."""
    scale = _TILE / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    picture = cv2.cvtColor(cv2.resize(grey, size, interpolation=smaller), cv2.COLOR_GRAY2RGB)
    if outline:
        big = cv2.resize((mask > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        parts, _ = cv2.findContours(big, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, parts, -1, _CONTOUR, 1, cv2.LINE_8)
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    tile[: size[1], : size[0]] = picture
    return tile
