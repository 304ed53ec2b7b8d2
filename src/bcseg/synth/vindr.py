"""A synthetic VinDr-Mammo: DICOM files in folders of examinations, and tables of boxes."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bcseg.record import Size
from bcseg.synth.phantom import (
    Built,
    Spot,
    Truth,
    View,
    ellipse,
    empty_folder,
    mammogram,
    quantised,
    random_for,
    save_dicom,
    scaled,
    write_bytes,
)

_SIZES: tuple[Size, ...] = ((3518, 2800), (3580, 2812), (2812, 2012))
_KIND = {
    "Mass": "mass",
    "Suspicious Calcification": "calcification",
    "Architectural Distortion": "distortion",
    "Focal Asymmetry": "asymmetry",
    "Global Asymmetry": "asymmetry",
    "Asymmetry": "asymmetry",
    "Suspicious Lymph Node": "adenopathy",
    "Skin Thickening": "skin",
    "Skin Retraction": "skin",
    "Nipple Retraction": "nipple",
}
_FACTS = ("study_id", "series_id", "image_id", "laterality", "view_position", "height", "width",
          "breast_birads", "breast_density")  # fmt: skip
_FINDING = ("finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax")
_STORAGE = "1.2.840.10008.5.1.4.1.1.1.2"  # digital mammography, for presentation


@dataclass(frozen=True, slots=True)
class _Box:
    """`place`: middle of the box (fractions), None for a row without a box; `half`: its half side.

    `text`: what stands in the table in the place of the four corners.
    """

    categories: tuple[str, ...]
    place: tuple[float, float] | None
    half: float = 0.07
    birads: str = "4"
    text: tuple[str, str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """`file`: how the image is there: not at all, or smaller than the table says."""

    study: int
    side: Literal["L", "R"]
    projection: str
    birads: str
    boxes: tuple[_Box, ...] = ()
    size: Size = _SIZES[0]
    split: str = "training"
    file: Literal["", "none", "smaller"] = ""
    fate: str = "pairs"

    @property
    def study_id(self) -> str:
        return _hex("study", self.study)

    @property
    def image_id(self) -> str:
        return _hex("image", self.study, self.side, self.projection)


_PLANS = (
    _Plan(1, "L", "CC", "4", (_Box(("Mass",), (0.38, 0.52)),)),
    _Plan(1, "L", "MLO", "4", (_Box(("Suspicious Calcification", "Mass"), (0.40, 0.60)),
                               _Box(("Suspicious Lymph Node",), (0.42, 0.12), 0.05, "3"))),
    _Plan(1, "R", "CC", "1", fate="left_out.no_lesion"),
    _Plan(1, "R", "MLO", "2", fate="left_out.no_lesion"),
    _Plan(2, "L", "CC", "5", (_Box(("Mass",), (0.34, 0.44), birads="5"),
                              _Box(("Mass",), (0.48, 0.60), 0.05),
                              _Box(("Skin Thickening", "Nipple Retraction"), (0.62, 0.50), 0.05,
                                   birads="")), _SIZES[1], "test"),
    _Plan(2, "L", "MLO", "5", (_Box(("Mass", "Architectural Distortion"), (0.42, 0.58), 0.09),
                               _Box(("Global Asymmetry",), (0.3, 0.7))), _SIZES[1], "test"),
    _Plan(2, "R", "CC", "3", (_Box(("Focal Asymmetry",), (0.4, 0.5), birads="3"),), _SIZES[2],
          "test", fate="left_out.no_chosen_kind"),
    _Plan(2, "R", "MLO", "3", (_Box(("Suspicious Calcification",), (0.4, 0.6), birads="3"),),
          _SIZES[2], "test", fate="left_out.no_chosen_kind"),
)  # fmt: skip

_QUIRKS = (
    _Plan(91, "L", "CC", "4", (_Box(("Mass",), (0.0, 0.5), 0.1),)),
    _Plan(91, "L", "MLO", "4", (_Box(("Mass",), None),), fate="left_out.no_lesion"),
    _Plan(91, "R", "CC", "4", (_Box(("Mass",), (0.4, 0.5)), _Box(("Mass",), None)),
          fate="failed.no_coordinates"),
    _Plan(91, "R", "MLO", "4", (_Box(("Mass",), (0.4, 0.6), text=("800", "900", "700", "1000")),),
          fate="failed.unreadable_contour"),
    _Plan(92, "L", "CC", "4", (_Box(("Mass",), (0.4, 0.5)),), file="none",
          fate="left_out.no_image"),
    _Plan(92, "L", "MLO", "4", (_Box(("Mass",), (0.4, 0.6)),), file="smaller",
          fate="failed.image_size"),
)  # fmt: skip


def build(
    root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0, quirks: bool = False
) -> Built:
    """Write the archive; the first 6 images are always there, of two examinations.

    With `quirks` boxes that leave the image, rows without a box or with a wrong one, an image that
    is not there and one that was resized.
    """
    empty_folder(root)
    plans = [_plan(number) for number in range(max(images, 6))]
    plans += _QUIRKS if quirks else ()
    truths: list[Truth] = []
    findings: list[Sequence[object]] = []
    breasts: list[Sequence[object]] = []
    for plan in plans:
        view = View(scaled(plan.size, scale), plan.side, plan.projection)
        corners = [_corners(view, box) for box in plan.boxes]
        _write_image(root, plan, view, corners, seed)
        truths += _truths(plan, corners)
        facts = _facts(plan, view.size)
        findings += _finding_rows(plan, facts, corners)
        breasts.append([*facts, plan.split])
    tables: dict[str, tuple[Sequence[object], Iterable[Sequence[object]]]] = {
        "finding_annotations.csv": ([*_FACTS, *_FINDING, "split"], findings),
        "breast-level_annotations.csv": ([*_FACTS, "split"], breasts),
        "metadata.csv": (["SOP Instance UID", "Modality"], [[p.image_id, "MG"] for p in plans]),
    }
    for name, (header, rows) in tables.items():
        write_bytes(root / name, _table(header, rows))
    write_bytes(root / "LICENSE.txt", b"A synthetic look-alike: no rights are reserved.\n")
    count = sum(plan.file != "none" for plan in plans)
    return Built(root, count, tuple(truths), Counter(plan.fate for plan in plans))


def _hex(*words: object) -> str:
    """Return 32 hex digits, as all ids of the archive are."""
    return hashlib.md5("/".join(map(str, words)).encode(), usedforsecurity=False).hexdigest()


def _plan(number: int) -> _Plan:
    if number < len(_PLANS):
        return _PLANS[number]
    side: Literal["L", "R"] = "L" if number % 4 < 2 else "R"
    projection = "MLO" if number % 2 else "CC"
    return _Plan(number // 4 + 1, side, projection, "4", (_Box(("Mass",), (0.38, 0.56)),))


_Corners = tuple[float, float, float, float]


def _corners(view: View, box: _Box) -> _Corners | None:
    """Return xmin, ymin, xmax, ymax as the table has them, with fractions of pixels."""
    if box.place is None:
        return None
    x, y = view.at(*box.place)
    half = max(6.0, view.length(box.half))
    sides = (x - half, y - 0.8 * half, x + half, y + 0.8 * half)
    return tuple(round(side + 0.1234, 4) for side in sides)  # type: ignore[return-value]


def _facts(plan: _Plan, size: Size) -> list[object]:
    series = _hex("series", plan.image_id)
    density = "DENSITY " + "ABCD"[plan.study % 4]
    ids = [plan.study_id, series, plan.image_id]
    return [*ids, plan.side, plan.projection, *size, f"BI-RADS {plan.birads}", density]


def _finding_rows(
    plan: _Plan, facts: Sequence[object], corners: Sequence[_Corners | None]
) -> Iterable[list[object]]:
    if not plan.boxes:
        yield [*facts, "['No Finding']", "", "", "", "", "", plan.split]
    for box, found in zip(plan.boxes, corners, strict=True):
        birads = f"BI-RADS {box.birads}" if box.birads else ""
        cells = box.text or found or ("",) * 4
        yield [*facts, str(list(box.categories)), birads, *cells, plan.split]


def _truths(plan: _Plan, corners: Sequence[_Corners | None]) -> Iterable[Truth]:
    for number, (box, found) in enumerate(zip(plan.boxes, corners, strict=True), start=1):
        if found is None or box.text:
            continue
        left, top, right, bottom = found
        yield Truth(
            record=plan.image_id,
            lesion_id=str(number),
            kind=next(_KIND[one] for one in _KIND if one in box.categories),
            geometry="box",
            label=", ".join(box.categories),
            points=((left, top), (right, top), (right, bottom), (left, bottom)),
            source="finding_annotations.csv",
        )


def _write_image(
    root: Path, plan: _Plan, view: View, corners: Sequence[_Corners | None], seed: int
) -> None:
    if plan.file == "none":
        return
    rng = random_for(seed, "vindr", plan.image_id)
    spots = [
        Spot(ellipse(((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0) / 2.4, (y1 - y0) / 2.4), rim=2.0)
        for x0, y0, x1, y1 in filter(None, corners)
    ]
    pixels = quantised(mammogram(rng, view, spots), 4095)
    if plan.file == "smaller":
        pixels = pixels[::2, ::2]
    fields: dict[str, object] = {
        "SOPClassUID": _STORAGE,
        "SOPInstanceUID": f"2.25.{int(plan.image_id, 16)}",
        "Modality": "MG",
        "Laterality": plan.side,
        "ViewPosition": plan.projection,
        "ImagerPixelSpacing": [0.085, 0.085],
    }
    path = root / "images" / plan.study_id / f"{plan.image_id}.dicom"
    save_dicom(path, fields, pixels, bits_stored=12)


def _table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
