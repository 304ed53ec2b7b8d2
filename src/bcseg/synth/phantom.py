"""A mammogram phantom with lesions of known outline, and what the archive builders share.

Points are (x, y) in pixels, the centre of the top-left pixel at (0, 0); arrays are indexed
[row, column]; brightness runs from 0 to 1 until a builder chooses its integers.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.errors import UsageError
from bcseg.record import Size

Points = NDArray[np.float64]  # (n, 2): x, y
Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

_COARSE = 1024  # longest side of the grid on which tissue is made before it is enlarged

# Skin line from the top of the chest wall to its bottom: fractions (across from the chest wall,
# down from the top).
_SKIN = {
    "CC": (
        (0.00, 0.10),
        (0.18, 0.13),
        (0.45, 0.24),
        (0.62, 0.40),
        (0.66, 0.50),
        (0.62, 0.61),
        (0.45, 0.77),
        (0.18, 0.88),
        (0.00, 0.91),
    ),
    "MLO": (
        (0.00, 0.00),
        (0.48, 0.00),
        (0.44, 0.14),
        (0.50, 0.28),
        (0.64, 0.44),
        (0.74, 0.60),
        (0.70, 0.74),
        (0.52, 0.86),
        (0.26, 0.92),
        (0.00, 0.95),
    ),
}
# The edge of the pectoral muscle, from the top border to the chest wall.
_MUSCLE = ((0.36, 0.00), (0.31, 0.11), (0.24, 0.23), (0.17, 0.34), (0.08, 0.45), (0.00, 0.53))


# ------------------------------------------------------------------------------- what is built


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the builder knows about one lesion that it wrote.

    `record`, `lesion_id`, `kind`, `geometry`: the words of records.csv and lesions.csv. `label`:
    the archive's own word. `mask`: the exact pixels on the image's grid where the archive itself
    holds a raster. `points`: (x, y) in the coordinates of the file, as they stand there; an
    ellipse is ((cx, cy), (rx, ry)), a circle ((cx, cy), (r, r)). `source`: the annotation file,
    from the root of the archive.
    """

    record: str
    lesion_id: str
    kind: str
    geometry: str
    label: str
    mask: Mask | None = None
    points: tuple[tuple[float, float], ...] | None = None
    annotator: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """A synthetic archive: where it is, how many image files it holds, what is drawn in them.

    `expected`: what a conversion without options makes of its records: how many become "pairs",
    how many fail ("failed.<code>") and are left out ("left_out.<code>"), by code.
    """

    root: Path
    images: int
    truths: tuple[Truth, ...]
    expected: Mapping[str, int] = field(default_factory=dict)


def empty_folder(root: Path) -> Path:
    """Create `root`, or raise UsageError if something is in it already."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(
            "a synthetic archive is written to an empty folder only",
            where=str(root),
            hint="name a folder that does not exist yet",
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write there: {error.strerror}", where=str(root), hint="name another folder"
        ) from error
    return root


def write_bytes(path: Path, content: bytes) -> Path:
    """Write one file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def random_for(seed: int, *names: object) -> np.random.Generator:
    """Return the generator of one item: the same whatever else is built beside it."""
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, names)).encode())])


def scaled(size: Size, scale: float) -> Size:
    """Return a real image size (rows, columns) made smaller."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


# ---------------------------------------------------------------------------------- geometry


@dataclass(frozen=True, slots=True)
class View:
    """One projection of one breast. Side "L" has its chest wall at column 0, "R" at the last."""

    size: Size
    side: Literal["L", "R"]
    projection: str  # CC, MLO

    def at(self, across: float, down: float) -> tuple[float, float]:
        """Return the (x, y) of fractions counted from the chest wall and from the top border."""
        rows, columns = self.size
        x = across * columns - 0.5
        return (x if self.side == "L" else columns - 1 - x), down * rows - 0.5

    def length(self, fraction: float) -> float:
        """Return a fraction of the image width in pixels."""
        return fraction * self.size[1]


def skin_line(view: View) -> Points:
    """Return the outline of the breast, closed along the chest wall."""
    shape = "CC" if view.projection == "CC" else "MLO"
    return _placed(view, _rounded(_SKIN[shape]))


def muscle_line(view: View) -> Points:
    """Return the edge of the pectoral muscle, from the top border to the chest wall (MLO)."""
    return _placed(view, _rounded(_MUSCLE))


def muscle_region(view: View) -> Points:
    """Return the outline of the pectoral muscle: its edge and the corner of the image."""
    return np.vstack([muscle_line(view), view.at(0.0, 0.0)])


def outline(
    rng: np.random.Generator,
    centre: tuple[float, float],
    radius: float,
    *,
    irregular: float = 0.25,
    points: int = 64,
) -> Points:
    """Return a star-shaped contour whose radius is a random Fourier series, not self-crossing."""
    angle = np.arange(points) * (2 * np.pi / points)
    waves = np.zeros(points)
    for order in range(2, 7):
        size, phase = irregular * rng.uniform(0.3, 1.0) / order, rng.uniform(0, 2 * np.pi)
        waves += size * np.cos(order * angle + phase)
    distance = radius * np.clip(1 + waves, 0.4, 1.6)
    return np.column_stack(
        [centre[0] + distance * np.cos(angle), centre[1] + distance * np.sin(angle)]
    )


def ellipse(centre: tuple[float, float], rx: float, ry: float, points: int = 200) -> Points:
    """Return `points` points on an upright ellipse."""
    angle = np.arange(points) * (2 * np.pi / points)
    return np.column_stack([centre[0] + rx * np.cos(angle), centre[1] + ry * np.sin(angle)])


def shoelace(points: Points) -> float:
    """Return the area that the closed polygon encloses, in square pixels."""
    x, y = points[:, 0], points[:, 1]
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def inside(size: Size, points: Points) -> Mask:
    """Return the pixels whose centre lies in the closed polygon (even-odd)."""
    mask = np.zeros(size, dtype=np.bool_)
    x0, y0 = points[:, 0], points[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    first = max(0, int(np.floor(y0.min())))
    last = min(size[0] - 1, int(np.ceil(y0.max())))
    rows = np.arange(first, last + 1)
    row, edge = np.nonzero((y0 <= rows[:, None]) != (y1 <= rows[:, None]))
    slope = (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    crossings = x0[edge] + (rows[row] - y0[edge]) * slope
    order = np.lexsort((crossings, row))  # each row is crossed an even number of times
    columns = np.clip(np.ceil(crossings[order]).astype(int), 0, size[1])
    steps = np.zeros((len(rows), size[1] + 1), dtype=np.int8)
    np.add.at(steps, (row[order[0::2]], columns[0::2]), 1)
    np.subtract.at(steps, (row[order[1::2]], columns[1::2]), 1)
    mask[rows] = np.cumsum(steps[:, :-1], axis=1, dtype=np.int8)
    return mask


def as_pairs(points: Points) -> tuple[tuple[float, float], ...]:
    """Return points as a tuple of (x, y)."""
    return tuple((float(x), float(y)) for x, y in points)


def _rounded(corners: Iterable[tuple[float, float]]) -> NDArray[np.float64]:
    """Cut the corners of an open line three times (Chaikin), its ends kept."""
    line = np.array(list(corners))
    for _ in range(3):
        near = 0.75 * line[:-1] + 0.25 * line[1:]
        far = 0.25 * line[:-1] + 0.75 * line[1:]
        cut = np.stack([near, far], axis=1).reshape(-1, 2)
        line = np.vstack([line[:1], cut, line[-1:]])
    return line


def _placed(view: View, fractions: NDArray[np.float64]) -> Points:
    return np.array([view.at(across, down) for across, down in fractions])


# ------------------------------------------------------------------------------------ tissue


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A bright region: its outline, how much brighter it is, how wide its rim is in pixels."""

    points: Points
    contrast: float = 0.22
    rim: float = 1.5


def mammogram(
    rng: np.random.Generator, view: View, spots: Iterable[Spot] = (), *, gland: float = 1.0
) -> Plane:
    """Return a digital mammogram, 0 to 1, exactly 0 outside the breast.

    `gland`: how much glandular tissue shows (0 = a subtracted contrast image).
    """
    rows, columns = view.size
    tissue = _tissue(rng, view, gland)
    enlarged = cv2.resize(tissue, (columns, rows), interpolation=cv2.INTER_LINEAR)
    image = np.asarray(enlarged, dtype=np.float32) * _grain(rng, view.size, 0.02, 1.0)
    for spot in spots:
        paint(image, spot)
    image[image < 0.02] = 0.0
    np.clip(image, 0.0, 1.0, out=image)
    return image


def paint(image: Plane, spot: Spot) -> None:
    """Brighten the inside of a contour, with a soft rim, and nothing outside the breast."""
    margin = int(np.ceil(3 * spot.rim)) + 2
    low = np.maximum(np.floor(spot.points.min(axis=0)).astype(int) - margin, 0)
    high = np.ceil(spot.points.max(axis=0)).astype(int) + margin + 1
    window = image[low[1] : high[1], low[0] : high[0]]
    if not window.size:
        return
    shape = inside((window.shape[0], window.shape[1]), spot.points - low).astype(np.float32)
    soft = cv2.GaussianBlur(shape, (0, 0), spot.rim)
    window += np.float32(spot.contrast) * soft * (window > 0.02)


def film(rng: np.random.Generator, image: Plane, view: View) -> Plane:
    """Return a mammogram as a scanned film: dark noise, a label, a white strip at the side."""
    columns = view.size[1]
    scan = image * np.float32(0.9)
    scan += np.abs(_grain(rng, view.size, 0.004, 0.012))
    strip = max(2, round(0.012 * columns))
    edge = slice(columns - strip, columns) if view.side == "L" else slice(0, strip)
    scan[:, edge] = np.float32(0.985)
    text = lettering(f"{view.side}{view.projection}", max(8, round(0.045 * columns)))
    text = np.rot90(text, k=1 if view.side == "L" else -1)
    x, y = view.at(0.86, 0.06)
    stamp(scan, text, (round(x) - text.shape[1] // 2, round(y)), 0.9)
    np.clip(scan, 0.0, 1.0, out=scan)
    return scan


def lettering(text: str, height: int) -> Mask:
    """Return block letters, about `height` pixels high."""
    (width, tall), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 3)
    canvas = np.zeros((tall + base + 4, width + 4), np.uint8)
    cv2.putText(canvas, text, (2, tall + 2), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 3)
    factor = height / tall
    small = cv2.resize(canvas, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small > 90, dtype=np.bool_)


def stamp(image: Plane, shape: Mask, corner: tuple[int, int], value: float) -> Mask:
    """Set the pixels of `shape`, its top left at corner (x, y), and return them in full size."""
    marked = np.zeros(image.shape, dtype=np.bool_)
    x, y = max(0, corner[0]), max(0, corner[1])
    window = marked[y : y + shape.shape[0], x : x + shape.shape[1]]
    window[:] = shape[: window.shape[0], : window.shape[1]]
    image[marked] = np.float32(value)
    return marked


def quantised(image: Plane, top: int) -> NDArray[np.uint16]:
    """Return brightness 0 to 1 as integers 0 to `top`."""
    return np.asarray(np.rint(image * np.float32(top)), dtype=np.uint16)


def _grain(rng: np.random.Generator, size: Size, spread: float, mean: float) -> Plane:
    grain: Plane = rng.standard_normal(size, dtype=np.float32)
    grain *= spread
    grain += mean
    return grain


def _tissue(rng: np.random.Generator, view: View, gland: float) -> Plane:
    factor = min(1.0, _COARSE / max(view.size))
    size = scaled(view.size, factor)
    breast = _filled(size, skin_line(view), factor)
    depth = cv2.distanceTransform(breast, cv2.DIST_L2, 5) / np.float32(0.30 * size[1])
    cloud, threads, patches = (_power_law(rng, size, beta) for beta in (3.2, 2.7, 3.6))
    ridges = np.clip(1.0 - np.abs(threads) * 2.2, 0.0, 1.0) ** 2
    thickness = np.sqrt(np.clip(depth / 0.16, 0.0, 1.0))
    core = _smooth_step(depth, 0.15, 0.75)
    fat = 0.20 + 0.025 * cloud + 0.05 * ridges
    dense = core * np.clip(0.16 + 0.12 * patches + 0.12 * ridges + 0.05 * cloud, 0.0, 0.6)
    value = thickness * (fat + np.float32(gland) * dense)
    if view.projection != "CC":
        muscle = cv2.GaussianBlur(
            _filled(size, muscle_region(view), factor).astype(np.float32),
            (0, 0),
            max(0.8, 0.006 * size[1]),
            borderType=cv2.BORDER_REPLICATE,
        )
        value = (1 - 0.8 * muscle) * value
        value += muscle * (np.float32(0.18 + 0.27 * gland) + 0.02 * cloud)
    skin = 0.07 * np.exp(-((depth - 0.02) ** 2) / 0.0003)
    return np.asarray(np.clip(value + skin, 0.04, 0.75) * breast, dtype=np.float32)


def _filled(size: Size, points: Points, factor: float) -> NDArray[np.uint8]:
    """Return a polygon of the full grid, filled on the coarse one."""
    return inside(size, (points + 0.5) * factor - 0.5).astype(np.uint8)


def _power_law(rng: np.random.Generator, size: Size, beta: float) -> Plane:
    """Return noise whose power falls with frequency**-beta (breast tissue: about 3), unit scale."""
    square = cv2.getOptimalDFTSize(max(size))
    spectrum = np.fft.rfft2(rng.standard_normal((square, square), dtype=np.float32))
    spectrum *= _falling(square, beta)
    field = np.fft.irfft2(spectrum, s=(square, square))[: size[0], : size[1]]
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


@functools.lru_cache(maxsize=12)  # three for each size of image
def _falling(square: int, beta: float) -> NDArray[np.float64]:
    """Return frequency**(-beta / 2) for each element of a real spectrum."""
    down = np.fft.fftfreq(square)[:, None]
    across = np.fft.rfftfreq(square)[None, :]
    weights: NDArray[np.float64] = (down**2 + across**2 + (3.0 / square) ** 2) ** (-beta / 4)
    return weights


def _smooth_step(value: Plane, low: float, high: float) -> Plane:
    part = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part), dtype=np.float32)


# ------------------------------------------------------------------------------------- files


def encoded(pixels: NDArray[Any], suffix: str, options: Iterable[int] = ()) -> bytes:
    """Return pixels as a PNG or JPEG file."""
    _, buffer = cv2.imencode(suffix, pixels, list(options))
    return buffer.tobytes()


_TRANSFER = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "rle": "1.2.840.10008.1.2.5",
}


def save_dicom(
    path: Path,
    fields: dict[str, object],
    pixels: NDArray[Any],
    *,
    bits_stored: int = 0,
    transfer: Literal["explicit", "implicit", "rle"] = "explicit",
) -> None:
    """Write a one-frame MONOCHROME2 DICOM file of unsigned integers.

    `fields`: keywords and values of all elements but those that describe the pixels; among them
    SOPClassUID and SOPInstanceUID. They are written as they are, valid or not. Little endian.
    """
    from pydicom.config import IGNORE
    from pydicom.datadict import dictionary_VR
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.tag import Tag
    from pydicom.uid import UID

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = UID(str(fields["SOPClassUID"]))
    data.file_meta.MediaStorageSOPInstanceUID = UID(str(fields["SOPInstanceUID"]))
    data.file_meta.TransferSyntaxUID = UID(_TRANSFER[transfer])
    for keyword, value in (fields | pixel_fields(pixels, bits_stored)).items():
        tag, representation = Tag(keyword), dictionary_VR(keyword)
        if representation == "US or SS":
            representation = "US"
        data.add(DataElement(tag, representation, value, validation_mode=IGNORE))
    content = _pixel_data(pixels, compressed=transfer == "rle")
    representation = (
        "OB"
        if transfer == "rle" or (pixels.dtype.itemsize == 1 and transfer == "explicit")
        else "OW"
    )
    data.add_new("PixelData", representation, content)
    data["PixelData"].is_undefined_length = transfer == "rle"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def pixel_fields(pixels: NDArray[Any], bits_stored: int = 0) -> dict[str, object]:
    """Return the elements of a DICOM header that describe the pixels."""
    bits = pixels.dtype.itemsize * 8
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits_stored or bits,
        "HighBit": (bits_stored or bits) - 1,
        "PixelRepresentation": 0,
        "SmallestImagePixelValue": int(pixels.min()),
        "LargestImagePixelValue": int(pixels.max()),
    }


def _pixel_data(pixels: NDArray[Any], *, compressed: bool) -> bytes:
    """Return little-endian pixels of even length, or as one frame of run lengths."""
    content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    if not compressed:
        return content.ljust(len(content) + len(content) % 2, b"\0")
    from pydicom.encaps import encapsulate
    from rle.utils import encode_pixel_data

    shape = {"rows": pixels.shape[0], "columns": pixels.shape[1], "samples_per_pixel": 1}
    bits = pixels.dtype.itemsize * 8
    frame = encode_pixel_data(content, byteorder="<", bits_allocated=bits, **shape)
    return bytes(encapsulate([frame]))
