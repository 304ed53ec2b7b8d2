"""Measure how well the scores tell precise masks from the same masks corrupted on purpose.

    python bench/scores.py [--write docs/scores.md] [--limit N]

Phantoms are made here; the real images and contours are those of `cdd512` in BCSEG_REAL_DATA,
without which only the phantoms are measured and nothing is written. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from score_flags import corruption_table, leak_hits, made_table, real_table
from score_masks import Mask, Precise, measure, phantom_lesions, real_lesions

from bcseg.scores import logistic
from bcseg.scores.corruptions import CORRUPTIONS, LEAKS, OTHERS
from bcseg.scores.rank import column, percentiles, rank_lesions
from bcseg.scores.shape import Scores

Array = NDArray[np.float64]
Composite = Callable[[Sequence[Scores]], Array]

PHANTOMS = 120, 60  # chosen on, held out
BOOTSTRAPS = 400
BEGIN, END = "<!-- bench-scores: begin -->", "<!-- bench-scores: end -->"
BASELINE_SHAPE = {"curv_entropy": 1, "dp_per_perim": 1}
BASELINE_IMAGE = {
    "grad_align": 1,
    "edge_percentile": 1,
    "weak_share": -1,
    "edge_offset_abs": -1,
    "opt_margin": 1,
}


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
    """Return what a model fitted to other sets says about a set, scaled by its clean masks."""
    values, precise = [], []
    for masks in train.values():
        kept = corrupted_once(masks)
        clean = np.array([mask.corruption == "clean" for mask in kept])
        found = logistic.features(scores_of(kept))
        values.append(logistic.standardised(found, logistic.scale_of(found[clean])))
        precise.append(clean)
    weights = logistic.fit(np.concatenate(values), np.concatenate(precise))
    found = logistic.features(scores_of(test))
    clean = np.array([mask.corruption == "clean" for mask in test])
    return logistic.evidence(logistic.standardised(found, logistic.scale_of(found[clean])), weights)


def learned_within(masks: Sequence[Mask]) -> Array:
    """Return what a model says that was fitted to other patients of the same set (5 folds)."""
    patients = np.array([mask.patient for mask in masks])
    found = logistic.features(scores_of(masks))
    clean = np.array([mask.corruption == "clean" for mask in masks])
    result = np.zeros(len(masks))
    names = np.unique(patients)
    for fold in range(5):
        test = np.isin(patients, names[fold::5])
        scale = logistic.scale_of(found[~test & clean])
        weights = logistic.fit(logistic.standardised(found[~test], scale), clean[~test])
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


def corrupted_once(masks: Sequence[Mask], kinds: Sequence[str] = tuple(CORRUPTIONS)) -> list[Mask]:
    """Return the clean masks and those corrupted in one of the ways named."""
    return [mask for mask in masks if mask.corruption in ("clean", *kinds)]


def scores_of(masks: Sequence[Mask]) -> list[Scores]:
    """Return the scores of masks."""
    return [mask.scores for mask in masks]


def counted(name: str, masks: Sequence[Mask]) -> str:
    """Return the name of a set with the number of its lesions and patients."""
    clean = sum(mask.corruption == "clean" for mask in masks)
    return f"**{name}**: {clean} lesions of {len({mask.patient for mask in masks})} patients"


def auroc_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return the table of every composite, corruption and set."""
    lines = []
    for name, masks in sets.items():
        kept = corrupted_once(masks)
        pool = scores_of(kept)
        lines += ["", counted(name, masks), ""]
        others = {other: sets[other] for other in sets if other != name}
        measures = {
            "baseline": baseline(pool),
            "precision_rank": by_scores("precision")(pool),
            "shape_rank": by_scores("shape")(pool),
            "image_rank": by_scores("image")(pool),
            "`tongue` alone": no_tongue(pool),
        }
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
        everything = corrupted_once(masks, (*CORRUPTIONS, *OTHERS))
        value = by_scores("precision")(scores_of(everything))
        found = [f"{one}: {auroc(value, everything, one)[0]:.2f}" for one in OTHERS]
        lines += ["", "Outside the list, precision_rank: " + ", ".join(found) + "."]
    return lines


def halves_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return the rank with the difference to the baseline, on what it was chosen and held out."""
    columns: dict[str, dict[str, str]] = {}
    for name, masks in sets.items():
        for chosen_on, what in ((True, "chosen on"), (False, "held out")):
            half = corrupted_once([mask for mask in masks if mask.of.chosen_on == chosen_on])
            clean = sum(mask.corruption == "clean" for mask in half)
            columns[f"{name}, {what} ({clean})"] = compared(half)
    lines = ["", "| corruption | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in (*CORRUPTIONS, "mean"):
        lines.append(f"| {row} | " + " | ".join(cells[row] for cells in columns.values()) + " |")
    return lines


def compared(masks: Sequence[Mask]) -> dict[str, str]:
    """Return for each corruption, and in the mean, the rank's AUROC and how far above baseline."""
    pool = scores_of(masks)
    ours, theirs = by_scores("precision")(pool), baseline(pool)
    found = {
        one: tuple(auroc(value, masks, one, bootstraps=1)[0] for value in (ours, theirs))
        for one in CORRUPTIONS
    }
    found["mean"] = tuple(np.mean(list(found.values()), axis=0))
    return {one: f"{own:.3f} ({own - other:+.3f})" for one, (own, other) in found.items()}


def leak_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return how leaks of other kinds are found, each kind ranked with all usual corruptions."""
    lines = ["", "| leak | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    for kind in ("leak", *LEAKS):
        cells = []
        for masks in sets.values():
            pool = corrupted_once(masks, (*CORRUPTIONS, kind))
            found = (
                auroc(composite(scores_of(pool)), pool, kind, bootstraps=1)[0]
                for composite in (by_scores("precision"), baseline)
            )
            cells.append("{:.2f} ({:.2f}), {:.2f}".format(*found, leak_hits(masks, kind)))
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
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


def ribbon_table(sets: Mapping[str, Sequence[Mask]]) -> list[str]:
    """Return the means with the ribbons that the other tables leave out."""
    lines = ["", "| set | lesions | baseline | precision_rank | leaks alone |", "|---" * 5 + "|"]
    for name, masks in sets.items():
        kept = corrupted_once(masks)
        ribbons = {id(mask.of) for mask in kept if mask.of.ribbon}
        if ribbons:
            found = compared(kept)
            own, difference = (float(part.strip("()")) for part in found["mean"].split())
            clean = sum(mask.corruption == "clean" for mask in kept)
            lines.append(
                f"| {name} | {clean}, {len(ribbons)} of them ribbons | {own - difference:.3f}"
                f" | {own:.3f} | {found['leak']} |"
            )
    return lines


SECTIONS = {
    "halves": (
        "### Held out",
        "AUROC of precision_rank, and in brackets how far it is above the baseline. Scores, terms"
        " and constants were chosen on the first half of each set alone. (The halves of DM and"
        " CM are the same patients, and earlier forms of the rank had been chosen on all.)",
    ),
    "leaks": (
        "### Leaks of other kinds",
        "AUROC of precision_rank (baseline), and the share that raises `leak`. `leak` is the kind"
        " of the tables above, a tenth of the area; *thin* and *half as large* have 4 and 5 %.",
    ),
    "ribbons": (
        "### With ribbons",
        "The same with the polygons of a solidity below 0.3, which the tables leave out; they"
        " stand in for the other polygon of their image where they are larger.",
    ),
    "list": (
        "### Every tenth mask corrupted",
        "Share of corrupted masks among the worst-ranked tenth (chance: 0.10), and AUROC; ranks"
        " are taken within the pool, as `bcseg score` does.",
    ),
    "flags": (
        "### Flags: share of masks that raise them",
        "`clean` is the rate of false flags; the rest are hits where the flag is about that fault.",
    ),
    "made": (
        "### Flags: cases made for them",
        "The first case of each flag is a hit; a wobble is not, nor what a hand draws.",
    ),
    "real": (
        "### Flags: a real table",
        "All regions of the original table of CDD-CESM, drawn at full size without the images:"
        " what radiologists' own outlines raise.",
    ),
}


def section(name: str, rows: Sequence[str]) -> list[str]:
    """Return a part of the document; nothing without rows."""
    return ["", SECTIONS[name][0], "", SECTIONS[name][1], *rows] if rows else []


def document(lesions: Mapping[str, Sequence[Precise]]) -> str:
    """Measure all sets and return the tables."""
    everything, times = {}, []
    for name, found in lesions.items():
        everything[name], spent = measure(found)
        times.append(f"{name} {spent:.0f}")
    sets = {name: [m for m in masks if not m.of.ribbon] for name, masks in everything.items()}
    usual = {name: [one for one in found if not one.ribbon] for name, found in lesions.items()}
    lines = [
        "## Measured",
        "",
        "P(a clean mask ranks above a corrupted one of another patient), 95 % bootstrap by patient."
        " `baseline`: mean percentile rank of curv_entropy and dp_per_perim + mean percentile rank"
        " of grad_align, edge_percentile, weak_share, edge_offset_abs and opt_margin.",
        *auroc_table(sets),
        *section("halves", halves_table(sets)),
        *section("leaks", leak_table(sets)),
        *section("ribbons", ribbon_table(everything)),
        *section("list", list_table(sets)),
        *section("flags", corruption_table(sets)),
        *section("made", made_table(usual)),
        *section("real", real_table()),
        "",
        f"CPU time: {', '.join(times)} ms a mask, checks included.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="document that holds the tables")
    parser.add_argument("--limit", type=int, default=0, help="lesions a set, for a quick look")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    lesions = {"CDD DM": real_lesions("DM"), "CDD CM": real_lesions("CM")}
    complete = all(lesions.values()) and not options.limit
    lesions["phantoms"] = phantom_lesions(*PHANTOMS)
    if options.limit:
        lesions = {
            name: found[:: max(1, len(found) // options.limit)] for name, found in lesions.items()
        }
    text = document({name: found for name, found in lesions.items() if found})
    sys.stdout.write(text)
    if options.write and complete:
        whole = options.write.read_text(encoding="utf-8")
        head, _, rest = whole.partition(BEGIN)
        tail = rest.partition(END)[2]
        options.write.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", encoding="utf-8")
    elif options.write:
        sys.stdout.write("nothing written: not all sets were measured in full\n")


if __name__ == "__main__":
    main()
