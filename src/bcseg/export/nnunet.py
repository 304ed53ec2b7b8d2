"""nnU-Net v2 raw data: one channel, labels 0, 1, ..., folds as splits_final.json.

The format as nnU-Net 2.5 reads it (documentation/dataset_format.md): images `CASE_0000.png`, labels
`CASE.png` of one channel with consecutive whole numbers, `ignore` as the highest label.
"""

from __future__ import annotations

import json
import re
from typing import Any

from bcseg.errors import UsageError
from bcseg.export.base import (
    BACKGROUND,
    IGNORE,
    TEST,
    TRAIN,
    VAL,
    Job,
    class_map,
    ignored_pixels,
    licences,
    write_labels,
)
from bcseg.reading import Pair
from bcseg.store import write_atomic

TITLE = "nnU-Net v2"
CANNOT = (
    "pixel size (nnU-Net takes PNG as 1 x 1): it stays in records.csv",
    "lesions that overlap: of two classes the smaller is on top",
)


def write(job: Job) -> None:
    """Write nnUNet_raw/DatasetNNN_Name and, of a split, nnUNet_preprocessed/.../splits_final.json.

    Raises UsageError for a split that does not know every pair.
    """
    if not re.fullmatch(r"[A-Za-z0-9]+", job.how.name):
        raise UsageError(f"--name {job.how.name!r}: nnU-Net wants letters and digits only")
    name = f"Dataset{job.how.number:03d}_{job.how.name}"
    raw = job.out / "nnUNet_raw" / name
    classes = job.classes()
    overlaps: dict[str, int] = {}
    with_ignore = any(ignored_pixels(pair) is not None for pair in job.cases)

    def one(pair: Pair) -> None:
        part = "Ts" if pair.split == TEST else "Tr"
        labels, shared = class_map(pair, classes, ignored_pixels(pair))
        job.take(pair.path("image"), raw / f"images{part}" / f"{pair.case}_0000.png")
        write_labels(raw / f"labels{part}" / f"{pair.case}.png", labels)
        if shared:
            overlaps[pair.case] = shared

    done = job.each(one)
    training = [pair for pair in done if pair.split != TEST]
    numbers = {BACKGROUND: 0} | {kind: n for n, kind in enumerate(classes, start=1)}
    document = {
        "name": job.how.name,
        "licence": licences(job.folders),
        "channel_names": {"0": "mammogram"},
        "labels": numbers | ({IGNORE: len(numbers)} if with_ignore else {}),
        "numTraining": len(training),
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    write_atomic(raw / "dataset.json", _json(document))
    splits = _splits(training)
    if splits:
        path = job.out / "nnUNet_preprocessed" / name / "splits_final.json"
        write_atomic(path, _json(splits))
    else:
        job.result.notes.append(
            "no splits.csv: nnU-Net will split by image, and patients will be in train and val;"
            " `bcseg split --folds 5` first"
        )
    if overlaps:
        total, count = sum(overlaps.values()), len(overlaps)
        job.result.notes.append(f"{total} pixels of {count} pairs lie in lesions of two classes")
    _next(job)


def _splits(training: list[Pair]) -> list[dict[str, list[str]]]:
    """Return the folds as nnU-Net has them: by fold, or train against val; none without a split."""
    if not any(pair.split for pair in training):
        return []
    unknown = [pair.case for pair in training if not pair.split]
    if unknown:
        raise UsageError(
            f"{len(unknown)} pairs are not in splits.csv ({unknown[0]}, ...)",
            hint="run the same `bcseg split` again: it adds them",
        )
    folds = sorted({pair.fold for pair in training if pair.fold}, key=int)
    if folds:
        return [
            {
                TRAIN: [pair.case for pair in training if pair.fold != fold],
                VAL: [pair.case for pair in training if pair.fold == fold],
            }
            for fold in folds
        ]
    parts = {part: [pair.case for pair in training if pair.split == part] for part in (TRAIN, VAL)}
    return [parts] if parts[VAL] else []


def _next(job: Job) -> None:
    """Tell the three commands that come next."""
    number = job.how.number
    raw, preprocessed = (job.final / f"nnUNet_{word}" for word in ("raw", "preprocessed"))
    results = job.final / "nnUNet_results"
    job.result.next += [
        f"export nnUNet_raw={raw} nnUNet_preprocessed={preprocessed} nnUNet_results={results}",
        f"nnUNetv2_plan_and_preprocess -d {number} -c 2d --verify_dataset_integrity",
        f"nnUNetv2_train {number} 2d 0",
    ]


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
