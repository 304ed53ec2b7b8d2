"""A MONAI datalist (Decathlon JSON): pairs with their folds, read by load_decathlon_datalist."""

from __future__ import annotations

import json
from typing import Any

from bcseg.export.base import (
    BACKGROUND,
    TEST,
    TRAIN,
    VAL,
    Job,
    class_map,
    licences,
    write_labels,
)
from bcseg.reading import Pair
from bcseg.store import write_atomic

TITLE = "MONAI datalist"
CANNOT = (
    "array axes: MONAI's PNG reader gives (x, y), image and label alike; transpose what you save",
    "lesions that overlap: of two classes the smaller is on top",
)
DATALIST = "datalist.json"


def write(job: Job) -> None:
    """Write images, labels (0, 1, ...) and datalist.json with training, validation and test."""
    classes = job.classes()

    def one(pair: Pair) -> None:
        labels, _ = class_map(pair, classes)
        job.take(pair.path("image"), job.out / "images" / f"{pair.case}.png")
        write_labels(job.out / "labels" / f"{pair.case}.png", labels)

    done = job.each(one)
    parts: dict[str, list[Any]] = {"training": [], "validation": [], "test": []}
    keys = {TRAIN: "training", VAL: "validation", TEST: "test", "": "training"}
    for pair in done:
        parts[keys.get(pair.split, "training")].append(_item(pair))
    document = {
        "name": job.how.name,
        "licence": licences(job.folders),
        "modality": {"0": "MG"},
        "labels": {"0": BACKGROUND} | {str(n): kind for n, kind in enumerate(classes, start=1)},
        "numTraining": len(parts["training"]),
        "numTest": len(parts["test"]),
    }
    text = json.dumps(document | parts, indent=2, ensure_ascii=False) + "\n"
    write_atomic(job.out / DATALIST, text.encode())
    if not any(pair.split for pair in done):
        job.result.notes.append("no splits.csv: all pairs are in training; `bcseg split` first")
    job.result.next.append(
        f'load_decathlon_datalist("{job.final / DATALIST}", True, "training")  # monai.data'
    )


def _item(pair: Pair) -> dict[str, Any]:
    item = {
        "image": f"images/{pair.case}.png",
        "label": f"labels/{pair.case}.png",
        "case": pair.case,
        "group": pair.row["group"],
        "kinds": pair.row["kinds"],
        "pathology": pair.row["pathology"],
    }
    return item | ({"fold": int(pair.fold)} if pair.fold else {})
