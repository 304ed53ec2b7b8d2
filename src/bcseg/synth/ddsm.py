"""A synthetic DDSM: cases of four scanned films, their .ics files and overlays of chain codes."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bcseg.record import Size
from bcseg.synth.ljpeg import encode
from bcseg.synth.phantom import (
    Built,
    Points,
    Spot,
    Truth,
    View,
    ellipse,
    empty_folder,
    encoded,
    film,
    mammogram,
    outline,
    quantised,
    random_for,
    scaled,
    write_bytes,
)

LAYOUTS = ("release", "png")
_FILMS = ("LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO")
_SIZE: Size = (4696, 3024)
_MASS = "MASS SHAPE IRREGULAR MARGINS SPICULATED"
_OVAL = "MASS SHAPE OVAL MARGINS CIRCUMSCRIBED"
_CALC = "CALCIFICATION TYPE PLEOMORPHIC DISTRIBUTION CLUSTERED"
_STEPS = {(0, -1): 0, (1, -1): 1, (1, 0): 2, (1, 1): 3, (0, 1): 4, (-1, 1): 5, (-1, 0): 6,
          (-1, -1): 7}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Mark:
    """An abnormality: its types, place and radius (fractions), pathology, how many cores.

    `odd`: "cut", a chain code without its end; "more", more outlines announced than there are.
    """

    types: tuple[str, ...]
    place: tuple[float, float]
    radius: float = 0.06
    pathology: str = "MALIGNANT"
    cores: int = 0
    odd: Literal["", "cut", "more"] = ""

    @property
    def kind(self) -> str:
        words = [one.split()[0] for one in self.types]
        if "MASS" in words:
            return "mass"
        return "calcification" if "CALCIFICATION" in words else "finding"


@dataclass(frozen=True, slots=True)
class _Case:
    """`marks`: by film. `lost`: overlays that the .ics file announces and nobody kept.

    `turned`: the film's header has rows and columns exchanged. `resized`: it is a smaller copy.
    """

    name: str  # A-9001-1
    volume: str
    digitizer: str
    bits: int
    microns: str
    marks: tuple[tuple[str, tuple[_Mark, ...]], ...] = ()
    lost: tuple[str, ...] = ()
    turned: str = ""
    resized: str = ""
    extras: bool = False
    unknown: bool = False

    def record(self, film: str) -> str:
        return f"{self.name.replace('-', '_')}_{film}"


_CASES = (
    _Case("A-9001-1", "cancers/cancer_90", "DBA 21", 16, "42", (
        ("LEFT_CC", (_Mark((_MASS,), (0.36, 0.52), 0.08),)),
        ("LEFT_MLO", (_Mark((_MASS,), (0.40, 0.60), 0.08),)),
    )),
    _Case("B-9002-1", "benigns/benign_90", "LUMISYS LASER", 12, "50", (
        ("LEFT_CC", (_Mark((_OVAL,), (0.34, 0.46), pathology="BENIGN"),
                     _Mark((_CALC,), (0.44, 0.60), 0.05, "BENIGN"))),
        ("LEFT_MLO", (_Mark((_CALC, _MASS), (0.42, 0.62), 0.09, "BENIGN", cores=2),)),
        ("RIGHT_CC", (_Mark((_CALC,), (0.40, 0.52), 0.06, "BENIGN_WITHOUT_CALLBACK"),)),
    )),
    _Case("D-9003-1", "normals/normal_90", "HOWTEK 960", 12, "43.5"),
)  # fmt: skip

_QUIRKS = (
    _Case("C-9011-1", "cancers/cancer_91", "LUMISYS LASER", 12, "50", (
        ("LEFT_CC", (_Mark((_MASS,), (0.4, 0.5), odd="more"),)),
        ("LEFT_MLO", (_Mark((_MASS,), (0.4, 0.6), odd="cut"),)),
        ("RIGHT_CC", (_Mark((_OVAL,), (0.4, 0.55), pathology="UNPROVEN"),)),
    ), lost=("RIGHT_MLO",), turned="RIGHT_CC", unknown=True),
    _Case("A-9012-1", "cancers/cancer_91", "HOWTEK 960", 12, "43.5", (
        ("RIGHT_CC", (_Mark((_MASS,), (0.36, 0.55)),)),
        ("RIGHT_MLO", (_Mark((_MASS,), (0.0, 0.5), 0.12),)),
    ), resized="RIGHT_CC", extras=True),
)  # fmt: skip


def build(
    root: Path,
    *,
    images: int = 6,
    scale: float = 0.125,
    seed: int = 0,
    quirks: bool = False,
    layout: str = "release",
) -> Built:
    """Write the archive; cases are whole, so that there are 8 films at least, of two cases.

    Layout "png": the films as users convert them, in the place of the LJPEG files. With `quirks`
    damaged and missing outlines, exchanged sides, a resized film, unpacked films beside.
    """
    empty_folder(root)
    cases = [_case(number) for number in range(max(2, -(-images // 4)))]
    cases += _QUIRKS if quirks else ()
    truths: list[Truth] = []
    fates: Counter[str] = Counter()
    for case in cases:
        folder = f"cases/{case.volume}/case{case.name[2:6]}"
        size = scaled(_SIZE, scale)
        for film_name in _FILMS:
            truths += _film(root, folder, case, film_name, (size, seed, layout))
            fates[_fate(case, film_name)] += 1
        write_bytes(root / folder / f"{case.name}.ics", _ics(case, size))
        overview = f"TAPE_{case.name.replace('-', '_')}.COMB.16_PGM"
        write_bytes(root / folder / overview, b"P5\n4 2\n65535\n" + bytes(16))
    write_bytes(root / "DDSM_README", b"A synthetic look-alike of the database, made by bcseg.\n")
    return Built(root, 4 * len(cases), tuple(truths), fates)


def _case(number: int) -> _Case:
    if number < len(_CASES):
        return _CASES[number]
    marks = (("RIGHT_CC", (_Mark((_OVAL,), (0.38, 0.54), pathology="BENIGN"),)),)
    name = f"C-{9100 + number}-1"
    return _Case(name, "benigns/benign_92", "LUMISYS LASER", 12, "50", marks)


def _fate(case: _Case, film_name: str) -> str:
    marks = dict(case.marks).get(film_name, ())
    masses = [mark for mark in marks if mark.kind == "mass"]
    if film_name == case.resized:
        return "failed.image_size"
    if any(mark.odd == "cut" for mark in masses):
        return "failed.unreadable_contour"
    if masses:
        return "pairs"
    return "left_out.no_chosen_kind" if marks else "left_out.no_lesion"


def _ics(case: _Case, size: Size) -> bytes:
    lines = [
        "ics_version 1.0",
        f"filename {case.name}",
        "DATE_OF_STUDY 2 7 1995",
        f"PATIENT_AGE {'00' if case.unknown else 61}",
        "FILM ",
        "FILM_TYPE REGULAR",
        f"DENSITY {0 if case.unknown else 3}",
        "DATE_DIGITIZED 7 22 1997 ",
        f"DIGITIZER {case.digitizer}",
        "SELECTED" if case.unknown else "SEQUENCE",
    ]
    for film_name in _FILMS:
        marked = film_name in dict(case.marks) or film_name in case.lost
        lines.append(
            f"{film_name} LINES {size[0]} PIXELS_PER_LINE {size[1]} BITS_PER_PIXEL {case.bits}"
            f" RESOLUTION {case.microns} {'OVERLAY' if marked else 'NON_OVERLAY'}"
        )
    return "\n".join([*lines, ""]).encode()


def _film(
    root: Path, folder: str, case: _Case, film_name: str, how: tuple[Size, int, str]
) -> list[Truth]:
    """Write one film and its overlay."""
    size, seed, layout = how
    side: Literal["L", "R"] = "L" if film_name.startswith("LEFT") else "R"
    view = View(size, side, film_name.split("_")[1])
    rng = random_for(seed, "ddsm", case.name, film_name)
    marks = dict(case.marks).get(film_name, ())
    outlines = [
        outline(rng, view.at(*mark.place), max(8.0, view.length(mark.radius)), irregular=0.3)
        for mark in marks
    ]
    stem = f"{folder}/{case.name.replace('-', '_')}.{film_name}"
    scan = film(rng, mammogram(rng, view, [Spot(points, rim=2.0) for points in outlines]), view)
    _write_image(root, stem, case, film_name, (quantised(scan, (1 << case.bits) - 1), layout))
    if not marks:
        return []
    chains = [_chain(points) for points in outlines]
    text = _overlay(marks, chains)
    write_bytes(root / f"{stem}.OVERLAY", text.encode())
    return [
        Truth(
            record=case.record(film_name),
            lesion_id=str(number),
            kind=mark.kind,
            geometry="polygon",
            label=", ".join(one.split()[0] for one in mark.types),
            points=tuple((float(x), float(y)) for x, y in chain),
            source=f"{stem}.OVERLAY",
        )
        for number, (mark, chain) in enumerate(zip(marks, chains, strict=True), start=1)
        if mark.odd != "cut"
    ]


def _write_image(
    root: Path, stem: str, case: _Case, film_name: str, image: tuple[NDArray[np.uint16], str]
) -> None:
    pixels, layout = image
    if case.extras:
        write_bytes(root / f"{stem}.LJPEG.1", pixels.astype(">u2").tobytes())
    if film_name == case.resized:
        pixels = pixels[::2, ::2]
    if film_name == case.turned and layout == "release":
        pixels = pixels.reshape(pixels.shape[::-1])
    if layout == "png":
        write_bytes(root / f"{stem}.png", encoded(pixels, ".png"))
    else:
        write_bytes(root / f"{stem}.LJPEG", encode(pixels, case.bits))


def _chain(points: Points) -> list[tuple[int, int]]:
    """Return the 8-connected pixels along a closed outline, the last beside the first."""
    corners = [(round(float(x)), round(float(y))) for x, y in points]
    found = [corners[0]]
    for corner in (*corners[1:], corners[0]):
        while found[-1] != corner:
            (x, y), (to_x, to_y) = found[-1], corner
            found.append((x + (to_x > x) - (to_x < x), y + (to_y > y) - (to_y < y)))
    return found[:-1]


def _code(chain: list[tuple[int, int]]) -> str:
    steps = [str(_STEPS[x1 - x0, y1 - y0]) for (x0, y0), (x1, y1) in itertools.pairwise(chain)]
    return f"{chain[0][0]} {chain[0][1]} {' '.join(steps)} #"


def _overlay(marks: tuple[_Mark, ...], chains: list[list[tuple[int, int]]]) -> str:
    lines = [f"TOTAL_ABNORMALITIES {len(marks)}"]
    for number, (mark, chain) in enumerate(zip(marks, chains, strict=True), start=1):
        outlines = 3 if mark.odd == "more" else 1 + mark.cores
        lines += [f"ABNORMALITY {number}", *(f"LESION_TYPE {one}" for one in mark.types)]
        lines += ["ASSESSMENT 4", "SUBTLETY 3", f"PATHOLOGY {mark.pathology}"]
        code = _code(chain)
        lines += [f"TOTAL_OUTLINES {outlines} ", "BOUNDARY "]
        lines.append(code.removesuffix(" #") if mark.odd == "cut" else code)
        middle = np.mean(chain, axis=0)
        for core in range(mark.cores):
            inner = _chain(ellipse((middle[0] + 4 * core - 2, middle[1]), 3.0, 2.0, 16))
            lines += ["\tCORE ", _code(inner)]
    return "\n".join([*lines, ""])
