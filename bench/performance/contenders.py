"""What is compared: the bare minimum, the script that people write, and bcseg."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from performance.archives import Pair

from bcseg import png
from bcseg.memory import keep_freed_memory

Pixels = NDArray[Any]
_DICOM_PIXELS = b"\xe0\x7f\x10\x00"  # the tag, little endian


# ------------------------------------------------------------------------------------- bare


def bare(pair: Pair, folder: Path) -> None:
    """Decode, hash source, image and mask, encode, write: at the depth of the source."""
    _bare(pair, folder, _unchanged)


def bare_8_bit(pair: Pair, folder: Path) -> None:
    """Do the same with the image scaled to 8 bit."""
    _bare(pair, folder, _to_8_bit)


def _unchanged(pixels: Pixels) -> Pixels:
    return pixels


def _to_8_bit(pixels: Pixels) -> Pixels:
    if pixels.dtype == np.uint8:
        return pixels
    low, high, _, _ = cv2.minMaxLoc(pixels)
    levels = (np.arange(65_536) - low) * (255 / max(high - low, 1))
    table = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return cv2.LUT(pixels, table)


def _bare(pair: Pair, folder: Path, depth: Callable[[Pixels], Pixels]) -> None:
    keep_freed_memory()
    for path in pair.rasters:
        data = path.read_bytes()
        hashlib.sha256(data).digest()
        _decode(data)
    data = pair.image.read_bytes()
    hashlib.sha256(data).digest()
    pixels = depth(_decode(data))
    mask = pair.mask()
    for name, one, is_mask in (("images", pixels, False), ("masks", mask, True)):
        hashlib.sha256(one.data).digest()
        (folder / name / f"{pair.name}.png").write_bytes(png.encode(one, mask=is_mask))


def _decode(data: bytes) -> Pixels:
    """Decode with the fastest library for what the archives hold."""
    import imagecodecs

    if data[128:132] == b"DICM":
        return _decode_dicom(data)
    if data.startswith(b"\x89PNG"):
        pixels: Pixels = imagecodecs.png_decode(data)
    elif data.startswith(b"\xff\xd8"):
        pixels = imagecodecs.jpeg8_decode(data)
    else:
        import tifffile

        pixels = tifffile.imread(io.BytesIO(data))
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 0])


def _decode_dicom(data: bytes) -> Pixels:
    import pydicom

    header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    size = (header.Rows, header.Columns)
    dtype = np.uint16 if header.BitsAllocated == 16 else np.uint8
    if header.file_meta.TransferSyntaxUID.is_compressed:
        from rle.rle import decode_frame  # imagecodecs' decoder crashes on damaged data

        start = data.index(b"\xfe\xff\x00\xe0", data.rindex(_DICOM_PIXELS, 0, 1 << 14) + 8)
        start = data.index(b"\xfe\xff\x00\xe0", start + 4)
        planes = decode_frame(data[start + 8 :], size[0] * size[1], header.BitsAllocated, "<")
        return np.frombuffer(planes, dtype).reshape(size)
    start = data.rindex(_DICOM_PIXELS, 0, 1 << 14) + (
        8 if header.file_meta.TransferSyntaxUID.is_implicit_VR else 12
    )
    return np.frombuffer(data, dtype, size[0] * size[1], start).reshape(size)


# ------------------------------------------------------------------------------------ codecs


def codecs(pair: Pair, folder: Path) -> None:
    """Decode with pydicom and OpenCV, encode with OpenCV, and nothing else."""
    pixels = _read(pair.image)
    for path in pair.rasters:
        _read(path)
    cv2.imwrite(str(folder / "images" / f"{pair.name}.png"), pixels)
    cv2.imwrite(str(folder / "masks" / f"{pair.name}.png"), pair.mask())


def _read(path: Path) -> Pixels:
    if path.suffix.lower() == ".dcm":
        import pydicom

        return pydicom.dcmread(path).pixel_array
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return pixels if pixels.ndim == 2 else pixels[..., 0].copy()


# ------------------------------------------------------------------------------------- naive


def naive(pair: Pair, folder: Path) -> None:
    """Do what the script does that people write: every step on the whole image, in float64."""
    pixels = _read(pair.image)
    mask = np.zeros(pixels.shape, np.uint8)
    for one in pair.lesions:
        if one.chosen:
            mask = np.maximum(mask, _drawn(pair, one.file, one.shape))
    image, mask = _classic(pixels, mask)
    cv2.imwrite(str(folder / "images" / f"{pair.name}.png"), image)
    cv2.imwrite(str(folder / "masks" / f"{pair.name}.png"), mask)


def _drawn(pair: Pair, file: str, shape: Any) -> Pixels:
    """Return one lesion on a canvas of the size of the image."""
    if file:
        pixels = _read(pair.root / file)
        limit = pixels.max() / 2 if file.endswith(".dcm") else 0
        mask = np.where(pixels > limit, 255, 0).astype(np.uint8)
        return mask if mask.shape == pair.size else cv2.resize(mask, pair.size[::-1])
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (pair.size[1], pair.size[0]), 0)
    draw = ImageDraw.Draw(canvas)
    if "points" in shape:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        draw.polygon(points, fill=255) if len(points) > 1 else draw.point(points, fill=255)
    else:
        x, y = shape["cx"], shape["cy"]
        rx, ry = shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r"))
        draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=255)
    return np.array(canvas)


def _classic(pixels: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
    """Do the six steps of the preset `classic` as they are described."""
    height, width = pixels.shape
    box = np.s_[
        int(height * 0.04) : int(height * (1 - 0.04)), int(width * 0.01) : int(width * (1 - 0.01))
    ]
    image, mask = _stretched(pixels[box].astype(np.float64)), mask[box]
    square = np.ones((23, 23), np.uint8)
    binary = (image >= 0.1).astype(np.uint8)
    binary = cv2.dilate(cv2.morphologyEx(binary, cv2.MORPH_OPEN, square), square)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    region = np.zeros(binary.shape, np.uint8)
    if contours:
        cv2.drawContours(region, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    image = image * region
    middle = image.shape[1] // 2
    if region[:, :middle].sum() < region[:, middle:-1].sum():
        image, mask = np.fliplr(image), np.fliplr(mask)
    side = max(image.shape)
    padding = ((0, side - image.shape[0]), (0, side - image.shape[1]))
    image, mask = np.pad(image, padding), np.pad(mask, padding)
    return np.rint(_stretched(image) * 255).astype(np.uint8), mask


def _stretched(image: Pixels) -> Pixels:
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else np.zeros(image.shape)


SCRIPTS: dict[str, Callable[[Pair, Path], None]] = {
    "bare": bare,
    "bare 8 bit": bare_8_bit,
    "naive": naive,
    "OpenCV and pydicom": codecs,
}
PRESETS = ("raw", "classic", "clean")
