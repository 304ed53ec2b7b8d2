"""Kept against dropped pairs: what a selection shifts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from bcseg.pairs import Row
from bcseg.select.part import Part
from bcseg.select.report import Share
from bcseg.sizes import SIZES, thirds


def compare(parts: Sequence[Part]) -> list[Share]:
    """Compare kept with dropped pairs; nothing where all were kept."""
    rows = [(part, row, not part.codes[row["record_id"]]) for part in parts for row in part.records]
    if all(kept for _, _, kept in rows):
        return []
    third = {part.dataset: thirds(part.records) for part in parts}
    aspects: dict[str, Callable[[Part, Row], str]] = {
        "dataset": lambda part, row: part.dataset,
        "pathology": lambda part, row: row["pathology"] or "unknown",
        "size": lambda part, row: third[part.dataset](row),
        "density": lambda part, row: row["density"] or "unknown",
    }
    if len(parts) == 1:
        del aspects["dataset"]
    totals = Counter(kept for _, _, kept in rows)
    shares = []
    for aspect, value_of in aspects.items():
        counts = Counter((value_of(part, row), kept) for part, row, kept in rows)
        for value in sorted({value for value, _ in counts}, key=_value_order):
            kept, dropped = counts[value, True], counts[value, False]
            shares.append(
                Share(
                    aspect=aspect,
                    value=value,
                    kept=kept,
                    dropped=dropped,
                    kept_share=round(100 * kept / totals[True], 1),
                    dropped_share=round(100 * dropped / totals[False], 1),
                )
            )
    return shares


def shifts(shares: Sequence[Share]) -> list[str]:
    """Return a warning for each aspect in which kept and dropped pairs differ too much."""
    moved: dict[str, list[str]] = {}
    for share in shares:
        if share.shifted:
            points = f"{share.value} {share.kept_share - share.dropped_share:+.0f}"
            moved.setdefault(share.aspect, []).append(points)
    return [
        f"the selection shifts {aspect} by more than 10 points (kept minus dropped):"
        f" {', '.join(points)}"
        for aspect, points in moved.items()
    ]


def _value_order(value: str) -> tuple[bool, int, str]:
    return value == "unknown", SIZES.index(value) if value in SIZES else 0, value
