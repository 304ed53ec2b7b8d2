"""The plots of a report: what is counted, areas, flags, and every score that tells something."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bcseg.pairs import Row
from bcseg.report.data import Content, LesionEntry, number
from bcseg.report.markup import quoted, table
from bcseg.report.plots import bars, boxes, histograms, short
from bcseg.scores.flags import DRAWN, FLAGS
from bcseg.scores.table import (
    ANNOTATION,
    CHECKS,
    IMAGE,
    LESS_IS_PRECISE,
    MORE_IS_PRECISE,
    RANKS,
    SHAPE,
)
from bcseg.stats import COLUMNS

_GROUPS = {
    "Shape": SHAPE,
    "Image": IMAGE,
    "Source annotation": ANNOTATION,
    "Checks": CHECKS,
}
_TOLD_BY_AREA = {"area_px", "area_mm2"}
_COUNTED = {
    "laterality": "Pairs, by side",
    "view": "Pairs, by view",
    "birads": "Pairs, by BI-RADS category",
    "density": "Pairs, by breast density",
    "pathology": "Pairs, by pathology",
    "split": "Pairs, by published part",
}

_Lesions = Sequence[tuple[str, LesionEntry]]  # dataset, lesion
_ByDataset = Mapping[str, Sequence[float]]


def charts(content: Content, problems: Sequence[Row]) -> str:
    """Return the plots of areas and counts."""
    lesions = lesions_of(content)
    square, pixels = _areas(lesions)
    total = content.statistics.total
    in_masks = {kind: n.in_mask for kind, n in total.kinds.items() if n.in_mask}
    codes = Counter(row["code"] for row in problems)
    plots = [
        histograms(square, "Lesion area", "mm² (the line is the median)"),
        histograms(pixels, "Lesion area, pixel size unknown", "pixels (the line is the median)"),
        bars(in_masks, "Lesions in masks, by kind"),
        *(bars(total.columns[name], _COUNTED[name]) for name in COLUMNS),
        bars(dict(codes.most_common()), "Problems, by code"),
    ]
    return f'<div class="plots">{"".join(plots)}</div>'


def lesions_of(content: Content) -> _Lesions:
    """Return every lesion in a mask with its dataset, dataset by dataset."""
    ordered = sorted(content.everything, key=lambda entry: entry.dataset)
    return [(entry.dataset, lesion) for entry in ordered for lesion in entry.lesions]


def _areas(lesions: _Lesions) -> tuple[_ByDataset, _ByDataset]:
    """Return the areas in mm2 where they are known, and in pixels where not."""
    square: defaultdict[str, list[float]] = defaultdict(list)
    pixels: defaultdict[str, list[float]] = defaultdict(list)
    for dataset, lesion in lesions:
        known, counted = number(lesion.row["area_mm2"]), number(lesion.row["area_px"])
        if known is not None:
            square[dataset].append(known)
        elif counted is not None:
            pixels[dataset].append(counted)
    return square, pixels


# ------------------------------------------------------------------------- scores


def scores(content: Content) -> str:
    """Return flags and distributions of scores; how to get them where there are none."""
    lesions = lesions_of(content)
    if not any(lesion.scores for _, lesion in lesions):
        return (
            "<p>None yet: <code>bcseg score</code> measures every lesion; a report made after it "
            "shows scores and flags, and has the least precise pairs first.</p>"
        )
    found: defaultdict[str, dict[str, list[float]]] = defaultdict(dict)
    for dataset, lesion in lesions:
        for name, value in lesion.scores.items():
            found[name].setdefault(dataset, []).append(value)
    named = {name for names in _GROUPS.values() for name in names} | {*RANKS}
    groups = {**_GROUPS, "Others": tuple(sorted(found.keys() - named))}
    return (
        f"{_flags(lesions)}"
        '<p class="lead">Below, a box is the middle half of a dataset\'s lesions, the line in it '
        "their median; the thin line goes from the 5th to the 95th percentile. Of few lesions, "
        "each is a dot.</p>"
        f"{''.join(_group(title, names, found) for title, names in groups.items())}"
    )


def _group(title: str, names: Iterable[str], found: Mapping[str, _ByDataset]) -> str:
    """Return the distributions of a group; of scores that are equal everywhere, a sentence."""
    shown = [name for name in names if name in found and name not in _TOLD_BY_AREA]
    same = {name: _only(found[name]) for name in shown}
    plots = [boxes(found[name], name, _meaning(name)) for name in shown if same[name] is None]
    words = [f"{name} {short(value)}" for name, value in same.items() if value is not None]
    told = f'<p class="soft">The same for all: {quoted(", ".join(words))}.</p>' if words else ""
    body = f'<div class="plots small">{"".join(plots)}</div>' if plots else ""
    return f"<h3>{title}</h3>{body}{told}" if shown else ""


def _only(rows: _ByDataset) -> float | None:
    """Return the value that all have; None if they differ."""
    values = {value for row in rows.values() for value in row}
    return values.pop() if len(values) == 1 else None


def _meaning(name: str) -> str:
    if name in MORE_IS_PRECISE:
        return "more precise →"
    return "← more precise" if name in LESS_IS_PRECISE else ""


def flag_meaning(flag: str) -> str:
    """Return when a flag is raised."""
    if flag in FLAGS:
        return FLAGS[flag][0]
    drawn = " or ".join(geometry for geometry, name in DRAWN.items() if name == flag)
    return f"the archive has {drawn} here" if drawn else ""


def _flags(lesions: _Lesions) -> str:
    """Return how many lesions of each dataset raise each flag."""
    scored = Counter(dataset for dataset, lesion in lesions if lesion.scores)
    counts = Counter((flag, dataset) for dataset, lesion in lesions for flag in lesion.flags)
    total = Counter(flag for _, lesion in lesions for flag in lesion.flags)
    if not total:
        return "<p>No lesion has a flag.</p>"
    rows = [
        (
            quoted(flag),
            quoted(flag_meaning(flag)),
            *(_share(counts[flag, dataset], scored[dataset]) for dataset in scored),
        )
        for flag, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    head = ("flag", "raised when", *(f"#{dataset}" for dataset in scored))
    return table(head, rows, "Lesions with a flag: it asks for a look and is no verdict")


def _share(count: int, of: int) -> str:
    if not count:
        return '<span class="soft">–</span>'
    return f'{count:,} <span class="soft">{count / max(of, 1):.0%}</span>'
