"""COCO instances: one annotation a lesion, as run lengths (exact) or as polygons.

Run lengths with `iscrowd` 0, since frameworks skip crowds in training; `area` and `bbox` are those
of pycocotools.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg.export.base import Job, facts, licences, missing
from bcseg.export.outlines import edges_of, overlap
from bcseg.reading import Pair, PairLesion
from bcseg.store import write_atomic

TITLE = "COCO instances"
CANNOT = (
    "holes, with --polygons: they are filled, and the overlap with the mask is told",
    "an empty mask as such: such a pair is an image without annotations",
)


def write(job: Job) -> None:
    """Write images and instances.json, of a split instances_train.json, ...; needs pycocotools."""
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise missing("pycocotools") from None
    classes = job.classes()
    annotations: dict[str, list[dict[str, Any]]] = {}
    overlaps: list[float] = []

    def one(pair: Pair) -> None:
        found = []
        for lesion in pair.lesions:
            mask = np.asfortranarray(lesion.mask.astype(np.uint8))
            rle = coco.encode(mask)
            kind = 1 if job.how.one_class else classes.index(lesion.row["kind"]) + 1
            annotation = {
                "category_id": kind,
                "segmentation": {"size": list(pair.size), "counts": rle["counts"].decode("ascii")},
                "area": int(coco.area(rle)),
                "bbox": [float(side) for side in coco.toBbox(rle)],
                "iscrowd": 0,
                "lesion_id": lesion.row["lesion_id"],
            }
            if job.how.polygons:
                annotation["segmentation"] = _polygons(coco, lesion, mask, overlaps)
            found.append(annotation)
        job.take(pair.path("image"), job.out / "images" / f"{pair.case}.png")
        annotations[pair.case] = found

    done = job.each(one)
    parts = sorted({pair.split for pair in done})
    for part in parts:
        cases = [pair for pair in done if pair.split == part]
        document = _document(job, cases, annotations, classes)
        name = f"instances_{part}.json" if part else "instances.json"
        text = json.dumps(document, ensure_ascii=False) + "\n"
        write_atomic(job.out / "annotations" / name, text.encode())
    if overlaps:
        mean, least = sum(overlaps) / len(overlaps), min(overlaps)
        job.result.notes.append(
            f"polygons against masks: IoU {mean:.4f} on average, least {least:.3f}"
        )


def _polygons(
    coco: Any, lesion: PairLesion, mask: NDArray[np.uint8], overlaps: list[float]
) -> list[list[float]]:
    """Return the outlines in COCO's frame, and note how well they cover the mask."""
    height, width = lesion.size
    outlines = [line.ravel().tolist() for line in edges_of(lesion.patch)]
    if outlines:
        merged = coco.merge(coco.frPyObjects(outlines, height, width))
        overlaps.append(overlap(coco.decode(merged) > 0, mask > 0))
    else:
        overlaps.append(0.0)
    return outlines


def _document(
    job: Job,
    cases: Sequence[Pair],
    annotations: dict[str, list[dict[str, Any]]],
    classes: Sequence[str],
) -> dict[str, Any]:
    folders = {folder.name: number for number, folder in enumerate(job.folders, start=1)}
    images: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, pair in enumerate(cases, start=1):
        height, width = pair.size
        images.append(
            {
                "id": number,
                "file_name": f"{pair.case}.png",
                "height": height,
                "width": width,
                "license": folders[pair.dataset],
                "patient": pair.row["group"],
                "fold": pair.fold,
            }
        )
        for annotation in annotations[pair.case]:
            found.append({"id": len(found) + 1, "image_id": number} | annotation)
    return {
        "info": {"description": job.how.name, "licence": licences(job.folders)},
        "licenses": [
            {
                "id": folders[folder.name],
                "name": facts(folder)["licence"],
                "url": facts(folder)["url"],
            }
            for folder in job.folders
        ],
        "images": images,
        "annotations": found,
        "categories": [
            {"id": n, "name": kind, "supercategory": "lesion"}
            for n, kind in enumerate(classes, start=1)
        ],
    }
