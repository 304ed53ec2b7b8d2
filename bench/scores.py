"""Measure how well the scores tell precise masks from the same masks corrupted on purpose.

    python bench/scores.py [--write docs/scores.md] [--limit N]

Phantoms are made here; the real images and contours are those of `cdd512` in BCSEG_REAL_DATA,
without which only the phantoms are measured and nothing is written. One core, some minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import raster
from bcseg.breast import breast_region
from bcseg.raster import Patch
from bcseg.records import Polygon
from bcseg.scores import logistic
from bcseg.scores.corruptions import CORRUPTIONS, OTHERS, diameter
from bcseg.scores.flags import FLAGS, flags_of
from bcseg.scores.measure import lesion_scores
from bcseg.scores.phantoms import phantom
from bcseg.scores.rank import column, percentiles, rank_lesions
from bcseg.scores.shape import Scores

Array = NDArray[np.float64]

PHANTOMS = 120
BOOTSTRAPS = 400
FEWEST_VERTICES = 16  # a polygon with fewer is not believed precise
SMALLEST = 24.0  # pixels of equivalent diameter
LEAST_SOLIDITY = 0.3  # below it the polygon is a ribbon along the skin, not a mass
BEGIN, END = "<!-- bench-scores: begin -->", "<!-- bench-scores: end -->"
BASELINE_SHAPE = {"curv_entropy": 1, "dp_per_perim": 1}
BASELINE_IMAGE = {
    "grad_align": 1,
    "edge_percentile": 1,
    "weak_share": -1,
    "edge_offset_abs": -1,
    "opt_margin": 1,
}


@dataclass(frozen=True)
class Mask:
    """A mask: whose it is, what was done to it ("clean"), and its scores."""

    patient: str
    corruption: str
    scores: Scores


def real_lesions(kind: str) -> list[tuple[str, NDArray[Any], Patch]]:
    """Return patient, image and contour: of each image the largest polygon believed precise."""
    folder = Path(os.environ.get("BCSEG_REAL_DATA", "")) / "cdd512"
    if not (folder / "regions.csv").is_file():
        sys.stdout.write(f"CDD {kind}: skipped, BCSEG_REAL_DATA has no cdd512\n")
        return []
    largest: dict[str, tuple[str, NDArray[Any], Patch]] = {}
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].split("_")[2] == kind]
    for row in rows:
        if row["shape"] != "polygon" or int(row["n_vertices"]) < FEWEST_VERTICES:
            continue
        image = cv2.imread(str(folder / "images" / row["file"]), cv2.IMREAD_GRAYSCALE)
        points = tuple((float(x), float(y)) for x, y in json.loads(row["points"]))
        patch = raster.draw(Polygon(points), (image.shape[0], image.shape[1])).patch
        other = largest.get(row["file"])
        hull = cv2.contourArea(cv2.convexHull(np.array(points, np.float32)))
        if hull * LEAST_SOLIDITY > patch.area:
            continue
        if diameter(patch) >= SMALLEST and (other is None or other[2].area < patch.area):
            largest[row["file"]] = (row["file"].split("_")[0], image, patch)
    return [largest[name] for name in sorted(largest)]


def phantom_lesions(count: int) -> list[tuple[str, NDArray[Any], Patch]]:
    """Return phantoms: each its own patient."""
    made = (phantom(number) for number in range(count))
    return [(one.name, one.image, one.mask) for one in made]


def measure(lesions: Sequence[tuple[str, NDArray[Any], Patch]]) -> tuple[list[Mask], float]:
    """Return the scores of all masks, clean and corrupted, and CPU ms a mask."""
    masks, spent, scored = [], 0.0, 0
    for number, (patient, image, patch) in enumerate(lesions):
        random = np.random.default_rng([number, 7])
        breast = breast_region(image)
        size = (image.shape[0], image.shape[1])
        made: dict[str, Patch | None] = {"clean": patch}
        for name, corrupt in (CORRUPTIONS | OTHERS).items():
            made[name] = corrupt(patch, image, random)
        start = time.process_time()
        for name, one in made.items():
            if one is not None:
                scored += 1
                masks.append(Mask(patient, name, lesion_scores(one, image, size, breast)))
        spent += time.process_time() - start
    return masks, 1000 * spent / max(scored, 1)


# ------------------------------------------------------------------------------- composites


def baseline(scores: Sequence[Scores]) -> Array:
    """Return the composite to beat: mean rank of two shape scores + mean rank of five of image."""

    def mean(weights: Mapping[str, int]) -> Array:
        ranks = [(percentiles(column(scores, name)), sign) for name, sign in weights.items()]
        known = [np.nan_to_num(rank if sign > 0 else 1 - rank, nan=0.5) for rank, sign in ranks]
        return np.mean(known, axis=0)

    return mean(BASELINE_SHAPE) + mean(BASELINE_IMAGE)


def by_scores(what: str) -> Callable[[Sequence[Scores]], Array]:
    """Return bcseg's own rank: shape, image or precision."""

    def ranked(scores: Sequence[Scores]) -> Array:
        found = [getattr(rank, what) for rank in rank_lesions(scores)]
        return np.array([0.5 if value is None else value for value in found])

    return ranked


def no_tongue(scores: Sequence[Scores]) -> Array:
    """Return the leak score alone, larger for no tongue."""
    return -np.nan_to_num(column(scores, "tongue"))


def learned(train: Mapping[str, Sequence[Mask]], test: Sequence[Mask]) -> Array:
    """Return what a model fitted to other sets says about a set, scaled by its own spread."""
    values, precise = [], []
    for masks in train.values():
        kept = [mask for mask in masks if mask.corruption not in OTHERS]
        found = logistic.features([mask.scores for mask in kept])
        values.append(logistic.standardised(found, logistic.scale_of(found)))
        precise.append(np.array([mask.corruption == "clean" for mask in kept]))
    weights = logistic.fit(np.concatenate(values), np.concatenate(precise))
    found = logistic.features([mask.scores for mask in test])
    return logistic.evidence(logistic.standardised(found, logistic.scale_of(found)), weights)


def learned_within(masks: Sequence[Mask]) -> Array:
    """Return what a model says that was fitted to other patients of the same set (5 folds)."""
    patients = np.array([mask.patient for mask in masks])
    found = logistic.features([mask.scores for mask in masks])
    usual = np.array([mask.corruption not in OTHERS for mask in masks])
    clean = np.array([mask.corruption == "clean" for mask in masks])
    result = np.zeros(len(masks))
    names = np.unique(patients)
    for fold in range(5):
        test = np.isin(patients, names[fold::5])
        train = ~test & usual
        scale = logistic.scale_of(found[train])
        weights = logistic.fit(logistic.standardised(found[train], scale), clean[train])
        result[test] = logistic.evidence(logistic.standardised(found[test], scale), weights)
    return result


# ------------------------------------------------------------------------------- comparisons


def auroc(
    measure: Array, masks: Sequence[Mask], corruption: str, *, bootstraps: int = BOOTSTRAPS
) -> tuple[float, float, float]:
    """Return P(clean above corrupted) over different patients, with a 95 % bootstrap interval."""
    kinds = np.array([mask.corruption for mask in masks])
    names, patients = np.unique([mask.patient for mask in masks], return_inverse=True)
    clean, spoilt = np.flatnonzero(kinds == "clean"), np.flatnonzero(kinds == corruption)
    if not spoilt.size:
        return (np.nan,) * 3
    above = np.sign(measure[clean][:, None] - measure[spoilt][None, :]) / 2 + 0.5
    apart = (patients[clean][:, None] != patients[spoilt][None, :]).astype(float)
    random = np.random.default_rng(1)

    def share(weights: Array) -> float:
        one, other = weights[patients[clean]], weights[patients[spoilt]]
        return float(one @ (above * apart) @ other / (one @ apart @ other))

    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=bootstraps)
    spread = [share(row.astype(float)) for row in drawn]
    low, high = np.quantile(spread, [0.025, 0.975])
    return share(np.ones(len(names))), float(low), float(high)


def review_list(
    masks: Sequence[Mask], composite: Callable[[Sequence[Scores]], Array]
) -> tuple[float, float]:
    """Corrupt 10 % at random; return the corrupted among the worst 10 %, and the AUROC."""
    by_lesion: dict[int, dict[str, Mask]] = {}
    number = -1
    for mask in masks:
        number += mask.corruption == "clean"
        by_lesion.setdefault(number, {})[mask.corruption] = mask
    random = np.random.default_rng(2)
    shares, areas = [], []
    for _ in range(60):
        spoilt = random.uniform(size=len(by_lesion)) < 0.1
        pool = []
        for bad, made in zip(spoilt, by_lesion.values(), strict=True):
            names = [name for name in made if name in CORRUPTIONS]
            pool.append(made[str(random.choice(names))] if bad else made["clean"])
        if not spoilt.any() or spoilt.all():
            continue
        value = composite([mask.scores for mask in pool])
        worst = np.argsort(value, kind="stable")[: int(spoilt.sum())]
        shares.append(spoilt[worst].mean())
        areas.append(np.mean(np.sign(value[~spoilt][:, None] - value[spoilt]) / 2 + 0.5))
    return float(np.mean(shares)), float(np.mean(areas))


# ------------------------------------------------------------------------------- report


def auroc_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return the table of every composite, corruption and set."""
    lines = []
    for name, masks in sets.items():
        scores = [mask.scores for mask in masks]
        usual = [n for n, mask in enumerate(masks) if mask.corruption not in OTHERS]
        kept = [masks[n] for n in usual]
        pool = [scores[n] for n in usual]
        patients = len({mask.patient for mask in masks})
        clean = sum(mask.corruption == "clean" for mask in masks)
        lines += ["", f"**{name}**: {clean} lesions of {patients} patients", ""]
        measures = {
            "baseline": baseline(pool),
            "precision_rank": by_scores("precision")(pool),
            "shape_rank": by_scores("shape")(pool),
            "image_rank": by_scores("image")(pool),
            "`tongue` alone": no_tongue(pool),
        }
        others = {other: sets[other] for other in sets if other != name}
        if others:
            measures["calibrated, other sets"] = learned(others, kept)
        measures["calibrated, same set"] = learned_within(kept)
        lines += ["| corruption | " + " | ".join(measures) + " |"]
        lines += ["|---" * (len(measures) + 1) + "|"]
        sums = dict.fromkeys(measures, 0.0)
        for corruption in CORRUPTIONS:
            cells = []
            worst = auroc(measures["baseline"], kept, corruption)[0]
            for label, value in measures.items():
                middle, low, high = auroc(value, kept, corruption)
                sums[label] += middle
                behind = label == "precision_rank" and middle < worst - 0.0005
                mark = " (below)" if behind else ""
                cells.append(f"{middle:.3f} [{low:.2f}, {high:.2f}]{mark}")
            lines.append(f"| {corruption} | " + " | ".join(cells) + " |")
        means = (f"{total / len(CORRUPTIONS):.3f}" for total in sums.values())
        lines.append("| mean | " + " | ".join(means) + " |")
        everything = by_scores("precision")(scores), baseline(scores)
        found = [
            f"{corruption}: {auroc(value, masks, corruption)[0]:.2f}"
            for corruption in OTHERS
            for value in everything[:1]
        ]
        lines += ["", "Outside the list, precision_rank: " + ", ".join(found) + "."]
    return lines


def list_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return what a review list finds when every tenth mask is corrupted."""
    composites = {
        "baseline": baseline,
        "precision_rank": by_scores("precision"),
        "shape_rank": by_scores("shape"),
        "image_rank": by_scores("image"),
    }
    lines = ["", "| set | " + " | ".join(composites) + " |", "|---" * (len(composites) + 1) + "|"]
    for name, masks in sets.items():
        found = [review_list(masks, composite) for composite in composites.values()]
        lines.append(f"| {name} | " + " | ".join(f"{s:.2f} ({a:.2f})" for s, a in found) + " |")
    return lines


def flag_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return for each flag that corruptions can raise how often it is raised, by set."""
    columns = ("clean", *CORRUPTIONS, *OTHERS)
    names = (
        "oval",
        "coarse",
        "box",
        "loose",
        "tight",
        "shifted",
        "leak",
        "outside_breast",
        "parts",
    )
    lines = ["", "| flag | set | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    assert {*names} <= FLAGS.keys()
    for flag in names:
        for name, masks in sets.items():
            cells = []
            for corruption in columns:
                raised = [flag in flags_of(m.scores) for m in masks if m.corruption == corruption]
                cells.append(f"{np.mean(raised):.2f}" if raised else "")
            lines.append(f"| {flag} | {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="document that holds the tables")
    parser.add_argument("--limit", type=int, default=0, help="lesions a set, for a quick look")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    lesions = {"CDD DM": real_lesions("DM"), "CDD CM": real_lesions("CM")}
    complete = all(lesions.values()) and not options.limit
    lesions["phantoms"] = phantom_lesions(PHANTOMS)
    sets, times = {}, []
    for name, found in lesions.items():
        step = max(1, len(found) // options.limit) if options.limit else 1
        if found:
            sets[name], spent = measure(found[::step])
            times.append(f"{name} {spent:.0f}")
    lines = [
        "## Measured",
        "",
        "P(a clean mask ranks above a corrupted one of another patient), 95 % bootstrap by patient."
        " `baseline`: mean percentile rank of curv_entropy and dp_per_perim + mean percentile rank"
        " of grad_align, edge_percentile, weak_share, edge_offset_abs and opt_margin.",
        *auroc_table(sets),
        "",
        "### Every tenth mask corrupted",
        "",
        "Share of corrupted masks among the worst-ranked tenth (chance: 0.10), and AUROC; ranks"
        " are taken within the pool, as `bcseg score` does.",
        *list_table(sets),
        "",
        "### Flags: share of masks that raise them",
        "",
        "`clean` is the rate of false flags; the rest are hits where the flag is about that fault.",
        *flag_table(sets),
        "",
        f"CPU time: {', '.join(times)} ms a mask, checks included.",
    ]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.write and complete:
        document = options.write.read_text(encoding="utf-8")
        head, _, rest = document.partition(BEGIN)
        tail = rest.partition(END)[2]
        options.write.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", encoding="utf-8")
    elif options.write:
        sys.stdout.write("nothing written: not all sets were measured in full\n")


if __name__ == "__main__":
    main()
