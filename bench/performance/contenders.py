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
    """Do what the script does that people write: every step on the whole image, in float64.

    Its steps do what the functions do that mammography repositories copy from each other, first in
    CleonWong/Can-You-Find-The-Tumour (`cropBorders`, `minMaxNormalise`, `globalBinarise`,
    `editMask`, `xLargestBlobs`, `applyMask`, `checkLRFlip`, `pad`), without CLAHE and a second
    scaling in float32.
    """
    pixels = _read(pair.image)
    mask = np.zeros(pixels.shape, np.uint8)
    for one in pair.lesions:
        if one.chosen:
            mask = np.maximum(mask, _drawn(pair, one.file, one.shape))
    image = _min_max(_without_border(pixels))
    region = _largest_blob(_opened(_binary(image)))
    image = _masked(image, region)
    mask = _without_border(mask)
    if _lies_right(region):
        image, mask = np.fliplr(image), np.fliplr(mask)
    image, mask = _min_max(_padded(image)), _padded(mask)
    image, mask = np.rint(image * 255).astype(np.uint8), mask.astype(np.uint8)
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


def _without_border(image: Pixels) -> Pixels:
    height, width = image.shape
    rows = slice(int(height * 0.04), int(height * (1 - 0.04)))
    return image[rows, int(width * 0.01) : int(width * (1 - 0.01))]


def _min_max(image: Pixels) -> Pixels:
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else np.zeros(image.shape)


def _binary(image: Pixels) -> Pixels:
    binary = np.zeros(image.shape, np.uint8)
    binary[image >= 0.1] = 1
    return binary


def _opened(binary: Pixels) -> Pixels:
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (23, 23))
    opened = cv2.morphologyEx(binary, cv2.MORPH_OPEN, kernel)
    return cv2.morphologyEx(opened, cv2.MORPH_DILATE, kernel)


def _largest_blob(binary: Pixels) -> Pixels:
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = sorted(contours, key=cv2.contourArea, reverse=True)[:1]
    return cv2.drawContours(np.zeros(binary.shape, np.uint8), largest, -1, 1, cv2.FILLED)


def _masked(image: Pixels, region: Pixels) -> Pixels:
    masked = image.copy()
    masked[region == 0] = 0
    return masked


def _lies_right(region: Pixels) -> bool:
    middle = region.shape[1] // 2
    columns = region.sum(axis=0)
    return sum(columns[:middle]) < sum(columns[middle:-1])


def _padded(image: Pixels) -> Pixels:
    height, width = image.shape
    padded = np.zeros((max(height, width),) * 2)
    padded[:height, :width] = image
    return padded


SCRIPTS: dict[str, Callable[[Pair, Path], None]] = {
    "bare": bare,
    "bare 8 bit": bare_8_bit,
    "naive": naive,
    "OpenCV and pydicom": codecs,
}
PRESETS = ("raw", "classic", "clean")
