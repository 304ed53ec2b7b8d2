"""Small pairs folders for reports, and what stands on a page."""

from __future__ import annotations

import csv
import html
import io
import json
import re

import numpy as np
from PIL import Image

from bcseg import pairs
from bcseg.pairs import LESION_COLUMNS, PROBLEM_COLUMNS, RECORD_COLUMNS, PairsFolder
from bcseg.report import Reporting, report
from bcseg.scores import COLUMNS

ONE = Reporting(jobs=1)
HEIGHT, WIDTH = 90, 60


def png(pixels):
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def breast():
    """Return an image, brighter to the right and below, on a dark ground."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = (1000 + 20 * rows + 10 * columns).astype(np.uint16)
    image[:, 45:] = 0
    return image


def dataset(root, names, name="mine", **document):
    """Make a pairs folder; the lesion of pair number n is n + 3 pixels wide and 8 high."""
    folder = root / name
    folder.mkdir(parents=True)
    records, lesions = [], []
    for number, record_id in enumerate(names):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[30:38, 10 : 13 + number] = 255
        for part, pixels in (("images", breast()), ("masks", mask)):
            path = folder / part / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(pixels))
        area = 8 * (number + 3)
        records.append(
            dict.fromkeys(RECORD_COLUMNS, "")
            | {"dataset": name, "record_id": record_id, "mask_pixels": str(area)}
            | {"image": f"images/{number}.png", "mask": f"masks/{number}.png"}
            | {"kinds": "mass", "n_lesions": "1", "height": str(HEIGHT), "width": str(WIDTH)}
            | {"laterality": "L", "view": "CC", "patient_id": f"person{number}", "birads": "4a"}
            | {"group": f"{name}:{number}", "bit_depth": "16", "annotation_sha256": f"hash{number}"}
            | {"mask_area_mm2": str(area / 100), "pathology": "benign"}
        )
        lesions.append(
            dict.fromkeys(LESION_COLUMNS, "")
            | {"dataset": name, "record_id": record_id, "lesion_id": "1", "in_mask": "1"}
            | {"kind": "mass", "area_px": str(area), "area_mm2": str(area / 100)}
            | {"bbox_x": "10", "bbox_y": "30", "bbox_w": str(number + 3), "bbox_h": "8"}
        )
    write(folder / pairs.RECORDS, RECORD_COLUMNS, records)
    write(folder / pairs.LESIONS, LESION_COLUMNS, lesions)
    write(folder / pairs.PROBLEMS, PROBLEM_COLUMNS, [])
    facts = {"dataset": name, "title": "Mine", "licence": "CC BY 4.0"} | document
    (folder / pairs.DATASET).write_text(json.dumps(facts))
    return PairsFolder(folder)


def write(path, columns, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def score(folder, rows):
    """Write scores.csv: record id, precision rank, flags, and one more number."""
    hashes = {row["record_id"]: row["annotation_sha256"] for row in folder.rows(pairs.RECORDS)}
    write(
        folder.path / "scores.csv",
        COLUMNS,
        [
            dict.fromkeys(COLUMNS, "")
            | {
                "dataset": folder.name,
                "record_id": i,
                "lesion_id": "1",
                "solidity": 1 - float(rank),
            }
            | {"annotation_sha256": hashes[i], "flags": flags, "precision_rank": rank}
            | {"shape_rank": rank, "source_shape": "polygon"}
            for i, rank, flags in rows
        ],
    )


def page(folders, tmp_path, how=ONE):
    out = tmp_path / "report.html"
    done = report(folders, out, how)
    return done, out.read_text(encoding="utf-8")


def cards(text):
    """Return the data of every card, in order."""
    found = re.findall(r'<article class="card" id="pair-\d+"[^>]*?(data-[^>]*)>', text)
    return [
        {name: html.unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', one)}
        for one in found
    ]
