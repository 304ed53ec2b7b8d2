"""The two text formats of a DDSM case: the .ics file about its films, the .OVERLAY of one film.

An overlay lists abnormalities, each with a boundary and perhaps cores inside it, as chain codes:
column and row of the first pixel, then a direction for each next pixel until "#":

    7 0 1
    6 . 2
    5 4 3

The first pixel of an image is taken to be column 0, row 0: the documentation does not say, and
readers in C and Python take it so, MATLAB's count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bcseg.errors import RecordError
from bcseg.formats.tables import decode_text
from bcseg.limits import CONTOUR_BYTES, DEFAULT, Limits
from bcseg.record import Point, Size

_STEPS = ((0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))
_MICRONS = (10.0, 400.0)  # scanners of film
_FILM = re.compile(
    r"(?P<film>(?:LEFT|RIGHT)_(?:CC|MLO))\s+LINES\s+(?P<rows>\d{1,6})"
    r"\s+PIXELS_PER_LINE\s+(?P<columns>\d{1,6})(?:\s+BITS_PER_PIXEL\s+(?P<bits>\d{1,3}))?"
    r"(?:\s+RESOLUTION\s+(?P<microns>\d{1,6}(?:\.\d{1,6})?))?\s*(?P<overlay>(?:NON_)?OVERLAY)?\s*"
)
_ABNORMALITY = re.compile(r"^\s*ABNORMALITY\s+(\d{1,6})\s*$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,6}")
_OUTLINE = re.compile(r"\b(BOUNDARY|CORE)\b([^#A-Za-z]*)(#?)")


@dataclass(frozen=True, slots=True)
class FilmFacts:
    """What an .ics file says about one film: "LEFT_CC LINES 4720 PIXELS_PER_LINE 3128 ...".

    `overlay`: whether it has outlines, None if the line does not say.
    """

    film: str
    size: Size
    bits: int
    spacing_mm: float | None
    overlay: bool | None


@dataclass(frozen=True, slots=True)
class Case:
    """An .ics file: its films in order, and its other lines by their first word."""

    films: tuple[FilmFacts, ...]
    words: Mapping[str, str]


def read_case(data: bytes, name: str) -> Case:
    """Read an .ics file; raises RecordError (unreadable_table) if it lists no film."""
    _check_bytes(data, name)
    films: list[FilmFacts] = []
    words: dict[str, str] = {}
    for line in decode_text(data, name).splitlines():
        match = _FILM.fullmatch(line.strip())
        if match:
            films.append(_facts(match))
        else:
            key, _, rest = line.strip().partition(" ")
            words.setdefault(key.upper(), rest.strip())
    if not films:
        message = "no line about a film (LEFT_CC LINES ... PIXELS_PER_LINE ...)"
        raise RecordError(message, code="unreadable_table", where=name)
    return Case(tuple(films), words)


def _check_bytes(data: bytes, name: str) -> None:
    if len(data) > CONTOUR_BYTES:
        raise RecordError(
            f"{len(data):,} bytes are too many for a text file of a case",
            code="too_large",
            where=name,
        )


def _facts(match: re.Match[str]) -> FilmFacts:
    microns = float(match["microns"] or 0)
    return FilmFacts(
        film=match["film"],
        size=(int(match["rows"]), int(match["columns"])),
        bits=int(match["bits"] or 0),
        spacing_mm=microns / 1000 if _MICRONS[0] <= microns <= _MICRONS[1] else None,
        overlay=None if match["overlay"] is None else match["overlay"] == "OVERLAY",
    )


@dataclass(frozen=True, slots=True)
class Abnormality:
    """One abnormality of an overlay.

    `types`: the rest of each LESION_TYPE line. `fields`: the other lines by their first word.
    `boundary`: its outline, closed if its ends touch; `cores`: how many outlines lie inside.
    `damage`: why there is no boundary.
    """

    number: int
    types: tuple[str, ...]
    fields: Mapping[str, str]
    boundary: tuple[Point, ...]
    closed: bool
    cores: int
    damage: str = ""


def read_overlay(data: bytes, name: str, limits: Limits = DEFAULT) -> tuple[Abnormality, ...]:
    """Return the abnormalities of an .OVERLAY file, those too that cannot be drawn.

    Raises RecordError (unreadable_contour) if there are fewer than it announces.
    """
    _check_bytes(data, name)
    text = decode_text(data, name)
    announced = re.search(r"TOTAL_ABNORMALITIES\s+(\d{1,6})\b", text)
    parts = _ABNORMALITY.split(text)[1:]  # number, text, number, text, ...
    pairs = zip(parts[::2], parts[1::2], strict=True)
    found = tuple(_abnormality(int(number), part, limits) for number, part in pairs)
    if announced is None or len(found) < int(announced[1]):
        said = "no number of abnormalities" if announced is None else f"{announced[1]} of them"
        raise RecordError(
            f"the overlay holds {len(found)} abnormalities and announces {said}",
            code="unreadable_contour",
            where=name,
        )
    return found


def _abnormality(number: int, text: str, limits: Limits) -> Abnormality:
    types: list[str] = []
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, rest = line.strip().partition(" ")
        if key == "LESION_TYPE":
            types.append(" ".join(rest.split()))
        elif key.isupper():
            fields.setdefault(key, " ".join(rest.split()))
    outlines = _OUTLINE.findall(text)
    boundary: tuple[Point, ...] = ()
    damage = "the abnormality has no boundary"
    for word, chain, end in outlines:
        if word == "BOUNDARY":
            boundary, damage = _chain(chain, end, limits)
            break
    cores = sum(word == "CORE" for word, _, _ in outlines)
    closed = _touch(boundary)
    return Abnormality(number, tuple(types), fields, boundary, closed, cores, damage)


def _touch(points: tuple[Point, ...]) -> bool:
    """Tell whether the last pixel of a chain is the first, or lies beside it."""
    if not points:
        return False
    (x0, y0), (x1, y1) = points[0], points[-1]
    return max(abs(x0 - x1), abs(y0 - y1)) <= 1


def _chain(chain: str, end: str, limits: Limits) -> tuple[tuple[Point, ...], str]:
    """Return the pixels of a chain code, or why it is none."""
    words = chain.split()
    if not end:
        return (), "the chain code is cut off: no # at its end"
    if len(words) < 2 or not all(_NUMBER.fullmatch(word) for word in words):
        return (), "the chain code is damaged"
    if len(words) > limits.points:
        return (), f"{len(words):,} points, the limit is {limits.points:,} (--max-points)"
    x, y, *steps = (int(word) for word in words)
    if max(steps, default=0) > 7:
        return (), "the chain code holds a direction above 7"
    points = [(float(x), float(y))]
    for step in steps:
        x, y = x + _STEPS[step][0], y + _STEPS[step][1]
        points.append((float(x), float(y)))
    return tuple(points), ""
