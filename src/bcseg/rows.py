"""The rows of a written record in the tables of the pairs folder."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import cv2
import numpy as np

from bcseg import png, raster
from bcseg.adapters.base import highest_birads, worst_pathology
from bcseg.pairs import Row, json_cell, number
from bcseg.preprocessing import Processed
from bcseg.raster import Patch
from bcseg.record import Image
from bcseg.transform import Resize
from bcseg.work import RASTERS, Drawn, Work, raw_spacing

_SQUARE = 0.005  # sides of a pixel that differ by less count as equal


def record_row(
    work: Work,
    image: Image,
    processed: Processed,
    mask: np.ndarray[Any, Any],
    in_mask: list[tuple[Drawn, Patch]],
) -> Row:
    """Return the row of records.csv; `mask` and `in_mask` are on the written grid."""
    record, info = work.record, work.info
    lesions = [one.lesion for one, _ in in_mask]
    pathologies = sorted({lesion.pathology for lesion in lesions if lesion.pathology})
    notes = [*record.notes, *processed.notes]
    if len(pathologies) > 1:
        notes.append(f"pathology mixed: {', '.join(pathologies)}")
    height, width = mask.shape
    spacing = _written_spacing(work, image, processed)
    mask_pixels = cv2.countNonZero(mask)
    lowest, highest, _, _ = cv2.minMaxLoc(processed.pixels)
    name = f"{record.record_id}.png"
    return {
        "dataset": info.name,
        "record_id": record.record_id,
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "patient_id": record.patient_id,
        "group": record.group,
        "laterality": record.laterality,
        "view": record.view,
        "split": record.split,
        "kinds": " ".join(sorted({lesion.kind for lesion in lesions})),
        "n_lesions": str(len(lesions)),
        "height": str(height),
        "width": str(width),
        "bit_depth": str(processed.pixels.dtype.itemsize * 8),
        "bits_stored": str(processed.bits_stored),
        "value_min": str(int(lowest)),
        "value_max": str(int(highest)),
        "pixel_spacing_mm": _spacing_cell(spacing),
        "mask_pixels": str(mask_pixels),
        "mask_area_mm2": number(mask_pixels * spacing[0] * spacing[1]) if spacing else "",
        "age": record.age,
        "birads": highest_birads(lesion.birads for lesion in lesions) or record.birads,
        "density": record.density,
        "pathology": worst_pathology(pathologies) or record.pathology,
        "annotator": record.annotator,
        "source_image": record.image,
        "sop_instance_uid": image.sop_instance_uid,
        "source_sha256": work.hashes[record.image],
        "image_sha256": png.pixels_sha256(processed.pixels),
        "mask_sha256": png.pixels_sha256(mask),
        "annotation_sha256": raster.union_sha256(
            [one.drawing.patch for one, _ in in_mask], image.size
        ),
        "transform": processed.transform.to_json(),
        "attributes": json_cell(record.attributes),
        "notes": "; ".join(notes),
    }


def _written_spacing(work: Work, image: Image, processed: Processed) -> tuple[float, float] | None:
    """Return the distance of pixel centres of the written image, (row, column) in mm."""
    raw = _known_or_assumed(work, image)
    if raw is None:
        return None
    row, column = raw
    for step in processed.transform.steps:
        if isinstance(step, Resize):
            row *= step.from_height / step.height
            column *= step.from_width / step.width
    return row, column


def _known_or_assumed(work: Work, image: Image) -> tuple[float, float] | None:
    """Return the distance of pixel centres of the raw image, (row, column) in mm."""
    assumed = work.job.settings.pixels.assume_spacing_mm
    return raw_spacing(work.record, image) or ((assumed, assumed) if assumed else None)


def _spacing_cell(spacing: tuple[float, float] | None) -> str:
    if spacing is None:
        return ""
    row, column = spacing
    if abs(row / column - 1) < _SQUARE:  # a resize rounds both sides to whole pixels
        return number(math.sqrt(row * column))
    return f"{number(row)}x{number(column)}"


def lesion_row(work: Work, one: Drawn, patch: Patch, image: Image) -> Row:
    """Return the row of lesions.csv; `patch` is the lesion on the written grid."""
    lesion, drawing = one.lesion, one.drawing
    spacing = _known_or_assumed(work, image)
    attributes = dict(lesion.attributes)
    if drawing.area_deviation is not None:
        attributes["area_deviation"] = number(drawing.area_deviation)
    height, width = patch.pixels.shape
    box = [patch.left, patch.top, width, height] if patch.area else ["", "", "", ""]
    source = one.mask_file or lesion.source
    return {
        "dataset": work.info.name,
        "record_id": work.record.record_id,
        "lesion_id": lesion.lesion_id,
        "in_mask": str(int(one.chosen)),
        "kind": lesion.kind,
        "label": lesion.label,
        "annotator": lesion.annotator,
        "geometry": drawing.geometry,
        "area_px": str(drawing.patch.area),
        "area_mm2": number(drawing.patch.area * spacing[0] * spacing[1]) if spacing else "",
        **dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), map(str, box), strict=True)),
        "n_points": str(drawing.n_points) if drawing.n_points else "",
        "closed": str(int(drawing.closed)),
        "self_intersecting": str(int(drawing.self_intersecting)),
        "clipped": str(int(drawing.outside > 0)),
        "pathology": lesion.pathology,
        "birads": lesion.birads,
        "source": source,
        "source_sha256": work.hashes.get(source.rsplit("#", 1)[0], ""),
        "attributes": json_cell(attributes),
    }


def archive_line(
    work: Work, one: Drawn, patch: Patch, image: Image, size: tuple[int, int]
) -> dict[str, Any]:
    """Return a line of lesions.jsonl.gz: the source's own geometry, and RLE on the written grid.

    RLE is COCO's uncompressed one: counts by column, the first of zeros.
    """
    lesion = one.lesion
    line: dict[str, Any] = {
        "dataset": work.info.name,
        "record_id": work.record.record_id,
        "lesion_id": lesion.lesion_id,
        "kind": lesion.kind,
        "in_mask": one.chosen,
        "geometry": one.drawing.geometry,
        "raw_size": list(image.size),
        "rle": {"size": list(size), "counts": raster.rle_counts(patch, size)},
    }
    if isinstance(lesion.shape, RASTERS):
        counts = raster.rle_counts(one.drawing.patch, image.size)
        return line | {"raster": {"size": list(image.size), "counts": counts}}
    # not `asdict`: it copies thousands of points one by one, a tenth of all the time of a pair
    shape = {part.name: getattr(lesion.shape, part.name) for part in fields(lesion.shape)}
    if "points" in shape:
        shape["points"] = list(shape["points"])
    return line | {"shape": shape}
