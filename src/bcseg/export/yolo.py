"""YOLO segmentation: a text file of polygons beside each image, 8 bit.

A line is `class x1 y1 x2 y2 ...` in shares of the sides. Points lie in their pixels at
(x + 0.25) / width: some frameworks cut x * width to a whole number, some round it (supervision),
and all fill with the border included, which gives the pixels back.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import png
from bcseg.export.base import TRAIN, Job, licences
from bcseg.export.outlines import overlap, polygons_of
from bcseg.reading import Pair, PairLesion
from bcseg.store import write_atomic, write_pair

TITLE = "YOLO segmentation"
CANNOT = (
    "holes: they are filled; a lesion of several parts is several objects",
    "parts of one or two pixels: they are drawn as triangles that mark the same pixels",
    "16 bits: images are written with 8, by the bits that are used",
)
_INTO_PIXEL = 0.25  # both cutting and rounding give the pixel; 0.5 is rounded to an even number
_WORST = 3  # pairs that are named


def write(job: Job) -> None:
    """Write images/PART, labels/PART and data.yaml."""
    classes = job.classes()
    overlaps: dict[str, float] = {}

    def one(pair: Pair) -> None:
        part = pair.split or TRAIN
        lines = []
        drawn = np.zeros(pair.size, np.uint8)
        for lesion in pair.lesions:
            number = 0 if job.how.one_class else classes.index(lesion.row["kind"])
            for outline in _outlines(lesion):
                lines.append(_line(number, outline, pair.size))
                cv2.fillPoly(drawn, [outline.astype(np.int32)], 1)
        overlaps[pair.case] = overlap(drawn > 0, pair.mask > 0)
        _image(job, pair, job.out / "images" / part / f"{pair.case}.png")
        text = "".join(f"{line}\n" for line in lines)
        write_atomic(job.out / "labels" / part / f"{pair.case}.txt", text.encode())

    done = job.each(one)
    parts = sorted({pair.split or TRAIN for pair in done})
    comment = "".join(f"# {line}\n" for line in licences(job.folders).splitlines())
    # JSON is YAML: names are quoted as they must be
    content = {"path": ".", **{part: f"images/{part}" for part in parts}}
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in content.items()]
    lines += ["names:\n", *(f"  {n}: {json.dumps(kind)}\n" for n, kind in enumerate(classes))]
    write_atomic(job.out / "data.yaml", (comment + "".join(lines)).encode())
    if overlaps:
        worst = sorted(overlaps, key=lambda case: (overlaps[case], case))[:_WORST]
        named = ", ".join(f"{case} {overlaps[case]:.3f}" for case in worst)
        mean = sum(overlaps.values()) / len(overlaps)
        job.result.notes.append(
            f"polygons against masks: IoU {mean:.4f} on average; least: {named}"
        )
    if parts == [TRAIN]:
        job.result.notes.append("no val part: YOLO wants one; `bcseg split` first")


def _outlines(lesion: PairLesion) -> list[NDArray[np.float64]]:
    """Return the outlines of a lesion; one or two points are a triangle of the same pixels."""
    found = []
    for outline in polygons_of(lesion.patch, least=1):
        few = 3 - len(outline)
        found.append(
            np.concatenate([outline, outline[-1:].repeat(few, axis=0)]) if few > 0 else outline
        )
    return found


def _line(number: int, outline: NDArray[np.float64], size: tuple[int, int]) -> str:
    shares = (outline + _INTO_PIXEL) / np.array([size[1], size[0]])
    return " ".join([str(number), *(f"{share:.8f}" for share in shares.ravel())])


def _image(job: Job, pair: Pair, path: Path) -> None:
    if pair.row["bit_depth"] == "8":
        job.take(pair.path("image"), path)
        return
    shift = max(0, int(pair.row["bits_stored"]) - 8)
    pixels = np.minimum(pair.image >> shift, 255).astype(np.uint8)
    write_pair(path, png.encode(pixels))
