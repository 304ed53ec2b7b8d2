"""Score the lesions of one record: what worker processes do."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.breast import breast_region
from bcseg.errors import RecordError
from bcseg.formats.images import decode
from bcseg.pairs import Row
from bcseg.raster import Patch
from bcseg.record import Size
from bcseg.redrawing import written_patch, written_size
from bcseg.scores.annotation import annotation_scores, outline_sha256
from bcseg.scores.corruptions import CORRUPTIONS
from bcseg.scores.items import Item, Measured, Result
from bcseg.scores.measure import form_scores, lesion_scores
from bcseg.scores.shape import Scores


def prepare(_: None) -> None:
    """Prepare a worker process."""
    cv2.setNumThreads(1)


def score_record(item: Item) -> Result:
    """Score every lesion of a record that is in its mask."""
    problem: tuple[str, str] | None = None
    pixels: NDArray[Any] | None = None
    breast: NDArray[np.bool_] | None = None
    try:
        pixels = _image(item)
        breast = breast_region(pixels)
    except RecordError as error:
        problem = (error.code, str(error.args[0]))
    measured = []
    for line in item.lines:
        try:
            patch = written_patch(line)
            size = written_size(line)
            if pixels is not None and pixels.shape != size:
                raise RecordError("image and lesions differ in size", code="size_mismatch")
        except RecordError as error:
            problem = (error.code, str(error.args[0]))
            continue
        measured.append(_measured(item, line, patch, size, (pixels, breast)))
    return Result(measured, problem)


def _image(item: Item) -> NDArray[Any]:
    path = item.folder / item.row["image"]
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"the image cannot be read: {error.strerror or error}"
        raise RecordError(message, code="missing_file") from error
    return decode(data, item.row["image"]).pixels


def _measured(
    item: Item,
    line: Mapping[str, Any],
    patch: Patch,
    size: Size,
    seen: tuple[NDArray[Any] | None, NDArray[np.bool_] | None],
) -> Measured:
    pixels, breast = seen
    lesion_id = str(line["lesion_id"])
    lesion = item.lesions.get(lesion_id, {})
    scores = lesion_scores(patch, pixels, size, breast)
    scores |= annotation_scores(line, _raw_spacing(lesion))
    scores |= _in_units(scores, _written_spacing(item.row["pixel_spacing_mm"]))
    crossing = lesion.get("self_intersecting", "")
    scores["self_crossing"] = float(crossing) if crossing in ("0", "1") else None
    one = Measured(
        item.row["record_id"],
        lesion_id,
        scores,
        geometry=str(line.get("geometry", "")),
        outline=outline_sha256(line),
    )
    if lesion_id in item.accepted and pixels is not None and patch.area:
        one.corrupted = corrupted_scores(patch, pixels, f"{one.record_id}/{lesion_id}")
    return one


def corrupted_scores(patch: Patch, pixels: NDArray[Any], name: str) -> list[Scores]:
    """Return shape and image scores of a mask corrupted in every way; the same for a `name`."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    made = (corrupt(patch, pixels, random) for corrupt in CORRUPTIONS.values())
    return [form_scores(one, pixels, size) for one in made if one is not None]


def _in_units(scores: Scores, spacing: tuple[float, float] | None) -> Scores:
    """Return offsets in pixels of the written image and in mm, and the area in mm2."""
    diameter, area = scores["equivalent_diameter_px"], scores["area_px"]
    side = math.sqrt(spacing[0] * spacing[1]) if spacing else None
    found: Scores = {"area_mm2": area * side**2 if side and area is not None else None}
    for name in ("edge_offset", "edge_shift"):
        offset = scores[name]
        pixels = None if offset is None or diameter is None else offset * diameter
        found[f"{name}_px"] = pixels
        found[f"{name}_mm"] = pixels * side if pixels is not None and side else None
    return found


def _written_spacing(cell: str) -> tuple[float, float] | None:
    """Read pixel_spacing_mm: one number, or "ROWxCOLUMN"."""
    try:
        row, _, column = cell.partition("x")
        spacing = float(row), float(column or row)
    except ValueError:
        return None
    return spacing if min(spacing) > 0 and math.isfinite(sum(spacing)) else None


def _raw_spacing(lesion: Row | Mapping[str, str]) -> float | None:
    """Return the size of the source's pixels, from the area that lesions.csv has in both units."""
    try:
        pixels, area = float(lesion["area_px"]), float(lesion["area_mm2"])
    except (KeyError, ValueError):
        return None
    return math.sqrt(area / pixels) if pixels > 0 and area > 0 else None
