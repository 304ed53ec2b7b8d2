"""Small, medium, large: thirds of a dataset's masks by area."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bcseg.pairs import Row

SIZES = ("empty", "small", "medium", "large")


def number_in(cell: str) -> float:
    """Return the number in a cell, 0 if there is none."""
    try:
        return float(cell)
    except ValueError:
        return 0.0


def thirds(records: Sequence[Row]) -> Callable[[Row], str]:
    """Return the function that puts a mask into the small, middle or large third of its dataset.

    By area in mm2 where all masks have one, else by pixels: the two are never mixed.
    """
    column = "mask_area_mm2" if all(row["mask_area_mm2"] for row in records) else "mask_pixels"
    areas = sorted(area for row in records if (area := number_in(row[column])) > 0)
    limits = [areas[len(areas) * n // 3] for n in (1, 2)] if areas else []

    def third(row: Row) -> str:
        area = number_in(row[column])
        return "empty" if area <= 0 else SIZES[1 + sum(area >= limit for limit in limits)]

    return third
