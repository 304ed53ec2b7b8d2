"""A synthetic Mini-MIAS: films centred in 1024 x 1024 pixels, and the table of circles."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bcseg.record import Size
from bcseg.synth.phantom import (
    Built,
    Spot,
    Truth,
    View,
    ellipse,
    empty_folder,
    film,
    mammogram,
    quantised,
    random_for,
    scaled,
    write_bytes,
)

_SIDE = 1024  # pixels, at any scale: the film inside is scaled
_FILM: Size = (1024, 620)
_LARGER = 3.0  # than the scale says: a tenth of these films would be too small for a lesion
_KIND = {
    "CIRC": "mass",
    "SPIC": "mass",
    "MISC": "mass",
    "CALC": "cluster",
    "ARCH": "distortion",
    "ASYM": "asymmetry",
}
_README = """MAMMOGRAPHIC IMAGE ANALYSIS SOCIETY: this is a synthetic look-alike made by bcseg.

The list is arranged in pairs of films, left (even numbers) and right (odd numbers) of one patient.
"""


@dataclass(frozen=True, slots=True)
class _Circle:
    """`place`: fractions of the film, across from the chest wall and down; None: no place."""

    label: str
    severity: str
    place: tuple[float, float] | None
    radius: float = 0.1  # of the width of the film
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """`row`: what stands in the table instead of a circle's numbers. `image`: whether it exists."""

    number: int
    tissue: str
    circles: tuple[_Circle, ...] = ()
    row: str = ""
    image: bool = True
    fate: str = "pairs"

    @property
    def name(self) -> str:
        return f"mdb{self.number:03d}"


_PLANS = (
    _Plan(1, "G", (_Circle("CIRC", "B", (0.40, 0.55), 0.14),)),
    _Plan(2, "G", (_Circle("CIRC", "B", (0.32, 0.50)), _Circle("SPIC", "M", (0.45, 0.68), 0.08))),
    _Plan(3, "D", row="NORM", fate="left_out.no_lesion"),
    _Plan(4, "D", (_Circle("MISC", "M", (0.38, 0.60), 0.12),)),
    _Plan(5, "F", (_Circle("CALC", "M", (0.42, 0.52)), _Circle("CIRC", "B", (0.30, 0.70), 0.07))),
    _Plan(6, "F", (_Circle("SPIC", "M", (0.36, 0.58)), _Circle("ASYM", "B", (0.26, 0.42)),
                   _Circle("ARCH", "M", (0.46, 0.72), 0.09))),
)  # fmt: skip

_QUIRKS = (
    _Plan(311, "D", (_Circle("CALC", "M", None, note="*NOTE 3*"),), fate="left_out.no_lesion"),
    _Plan(312, "G", (_Circle("CALC", "B", (0.4, 0.5)), _Circle("CALC", "B", None),
                     _Circle("CIRC", "B", (0.3, 0.66), 0.08))),
    _Plan(313, "F", (_Circle("CIRC", "B", (0.4, 0.55)), _Circle("MISC", "B", None)),
          fate="failed.no_coordinates"),
    _Plan(314, "F", (_Circle("CIRC", "B", (0.4, 0.5)),), image=False, fate="left_out.no_image"),
    _Plan(315, "G", row="CIRC B 535 42x 30", fate="failed.unreadable_contour"),
    _Plan(316, "G", row="WHAT B 535 425 30", fate="failed.unreadable_row"),
    _Plan(317, "D", (_Circle("SPIC", "M", (0.0, 0.94), 0.9),)),
)  # fmt: skip


def build(
    root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0, quirks: bool = False
) -> Built:
    """Write the archive; the first 6 films are always there: three patients.

    Every image has 1024 x 1024 pixels of 8 bits, as the real ones: `scale` is that of the film
    inside. With `quirks` rows without coordinates, of a film that is not there, and damaged ones.
    """
    empty_folder(root)
    plans = [_plan(number) for number in range(1, max(images, 6) + 1)]
    plans += _QUIRKS if quirks else ()
    size = scaled(_FILM, min(1.0, _LARGER * scale))
    lines, truths = [], []
    for plan in plans:
        circles = [_in_pixels(plan, circle, size) for circle in plan.circles]
        truths += _truths(plan, circles)
        lines += _lines(plan, circles)
        if plan.image:
            pixels = _image(plan, circles, size, seed)
            head = f"P5\n{_SIDE} {_SIDE}\n255\n".encode()
            write_bytes(root / f"all-mias/{plan.name}.pgm", head + pixels.tobytes())
    title = ["REFNUM BG CLASS SEVERITY X Y RADIUS ", *([""] if quirks else [])]
    write_bytes(root / "Info.txt", "\n".join([*title, *lines, ""]).encode())
    write_bytes(root / "all-mias/README", _README.encode())
    write_bytes(root / "all-mias/Licence.txt", b"A synthetic look-alike: no rights are reserved.\n")
    count = sum(plan.image for plan in plans)
    return Built(root, count, tuple(truths), Counter(plan.fate for plan in plans))


def _plan(number: int) -> _Plan:
    if number <= len(_PLANS):
        return _PLANS[number - 1]
    severity = "M" if number % 3 == 0 else "B"
    return _Plan(number, "FGD"[number % 3], (_Circle("CIRC", severity, (0.38, 0.58)),))


def _view(plan: _Plan, size: Size) -> View:
    return View(size, "R" if plan.number % 2 else "L", "MLO")


def _in_pixels(plan: _Plan, circle: _Circle, size: Size) -> tuple[int, int, int] | None:
    """Return x, y from the bottom, and radius as the table has them; None without a place."""
    if circle.place is None:
        return None
    view = _view(plan, size)
    x, down = view.at(*circle.place)
    left, top = _corner(size)
    radius = max(4, round(view.length(circle.radius)))
    return round(left + x), _SIDE - 1 - round(top + down), radius


def _corner(size: Size) -> tuple[int, int]:
    """Return the (x, y) of the film's first pixel in the square."""
    return (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2


def _truths(plan: _Plan, circles: list[tuple[int, int, int] | None]) -> list[Truth]:
    return [
        Truth(
            record=plan.name,
            lesion_id=str(number),
            kind=_KIND[circle.label],
            geometry="circle",
            label=circle.label,
            points=((placed[0], placed[1]), (placed[2], placed[2])),
            source="Info.txt",
        )
        for number, (circle, placed) in enumerate(zip(plan.circles, circles, strict=True), start=1)
        if placed
    ]


def _lines(plan: _Plan, circles: list[tuple[int, int, int] | None]) -> list[str]:
    head = f"{plan.name} {plan.tissue}"
    if plan.row:
        return [f"{head} {plan.row} "]
    return [
        f"{head} {circle.label} {circle.severity} "
        + (" ".join(map(str, placed)) if placed else circle.note)
        for circle, placed in zip(plan.circles, circles, strict=True)
    ]


def _image(
    plan: _Plan, circles: list[tuple[int, int, int] | None], size: Size, seed: int
) -> NDArray[np.uint8]:
    """Return a film in the middle of a black square."""
    rng = random_for(seed, "mias", plan.name)
    view = _view(plan, size)
    left, top = _corner(size)
    spots = [
        Spot(ellipse((x - left, _SIDE - 1 - y - top), 0.8 * radius, 0.7 * radius), rim=2.0)
        for x, y, radius in filter(None, circles)
    ]
    scan = film(rng, mammogram(rng, view, spots), view)
    square = np.zeros((_SIDE, _SIDE), np.uint8)
    square[top : top + size[0], left : left + size[1]] = quantised(scan, 255)
    return square
