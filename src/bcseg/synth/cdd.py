"""A synthetic CDD-CESM: low-energy and subtracted JPEGs, VIA regions, the annotation workbook."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from bcseg.record import Size
from bcseg.synth.documents import word_document, workbook
from bcseg.synth.phantom import (
    Built,
    Spot,
    Truth,
    View,
    ellipse,
    empty_folder,
    encoded,
    mammogram,
    outline,
    quantised,
    random_for,
    scaled,
    write_bytes,
)

_HEADER = (
    "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes"
)
_REGIONS = "Radiology_hand_drawn_segmentations_v2.csv"
_FOLDERS = {
    "DM": "PKG - CDD-CESM/CDD-CESM/Low energy images of CDD-CESM",
    "CM": "PKG - CDD-CESM/CDD-CESM/Subtracted images of CDD-CESM",
}
_COLUMNS = (
    "Image_name",
    "Patient_ID",
    "Side",
    "Type",
    "Age",
    "Breast density (ACR)",
    "BIRADS",
    "Findings",
    "View",
    "Tags",
    "Machine",
    "Pathology Classification/ Follow up",
)
# title of a sheet: the finding it lists
_SHEETS = {"mass_description": "Mass", "calcifications": "Calcifications"}
# titles of further sheets, as published
_MORE_SHEETS = {
    "distortion": "Distortion",
    "postoperative": "Postoperative",
    "postneoajuvant chemotherapy": "Post neoadjuvant",
    "asymmetry": "Asymmetry",
    "mass enhancement_description": "Mass enhancement",
    "nonmass enhancement_description": "Non-mass enhancement",
}


@dataclass(frozen=True, slots=True)
class _Region:
    shape: str  # as VIA calls it
    place: tuple[float, float]  # from the chest wall, from the top: fractions
    radius: float = 0.0  # fraction of the width
    closed: bool = True  # the first point of a polygon is repeated at its end


@dataclass(frozen=True, slots=True)
class _Plan:
    """One projection: a low-energy (DM) and a subtracted (CM) image of it, each with regions."""

    patient: int
    side: Literal["L", "R"]
    view: str
    pathology: str
    birads: str
    findings: str
    low: tuple[_Region, ...] = ()
    subtracted: tuple[_Region, ...] = ()
    size: Size = (2355, 1315)
    suffix: str = ""
    blanks: tuple[str, ...] = ()  # the images (CM, DM) with a blank behind their names
    empty_row: bool = False  # the table has a row that says "no region"

    def name(self, kind: str) -> str:
        return f"P{self.patient}_{self.side}_{kind}_{self.view}{self.suffix}"

    def stem(self, kind: str) -> str:
        """Return the name as it stands in the workbook and on the disk."""
        return self.name(kind) + (" " if kind in self.blanks else "")

    def regions(self, kind: str) -> tuple[_Region, ...]:
        return self.low if kind == "DM" else self.subtracted


_PLANS = (
    _Plan(1, "L", "MLO", "Malignant", "5", "Mass", (
        _Region("polygon", (0.06, 0.66), 0.10),  # runs over the left border: negative x
        _Region("ellipse", (0.46, 0.58), 0.09),
    ), (
        _Region("polygon", (0.06, 0.66), 0.10, False),
        _Region("circle", (0.46, 0.58), 0.08),
    )),
    _Plan(2, "R", "CC", "Benign", "3$2", "Mass$Calcifications", (
        _Region("circle", (0.34, 0.42), 0.07),
        _Region("polyline", (0.22, 0.62), 0.06),
        _Region("point", (0.46, 0.56)),
        _Region("polygon", (0.44, 0.38), 0.05, False),
    ), (
        _Region("ellipse", (0.34, 0.42), 0.08),
        _Region("polygon", (0.22, 0.62), 0.07),
    ), (2294, 1266)),
    _Plan(3, "L", "CC", "Normal", "1", "Normal", blanks=("CM",)),
    _Plan(4, "R", "CC", "Normal", "1", "Normal", (_Region("polygon", (0.4, 0.5), 0.06),)),
    _Plan(5, "L", "MLO", "Malignant", "6", "Non-mass enhancement"),
    _Plan(99, "L", "MLO", "Normal", "2", "Normal", suffix="_2"),
)  # fmt: skip
_QUIRKS = (
    _Plan(10, "R", "CC", "Benign", "4$2", "Mass", (_Region("circle", (0.4, 0.5), 0.07),),
          blanks=("DM",)),
    _Plan(11, "R", "MLO", "Benign", "3$2$2", "Mass enhancement"),
    _Plan(12, "L", "CC", "Normal", "1", "Normal", empty_row=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A region as it is written: VIA's attributes, its points, where the image is brighter."""

    attributes: Mapping[str, object]
    points: tuple[tuple[float, float], ...]
    spot: Spot


def build(
    root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0, quirks: bool = False
) -> Built:
    """Write the archive; the first 6 images (DM, CM) are always there, 12 and more with `quirks`.

    Regions have no class, so that the truths of subtracted images (CM) are findings too.
    """
    empty_folder(root)
    least = 2 * len(_PLANS) if quirks else 6
    items = [(_plan(number // 2), ("DM", "CM")[number % 2]) for number in range(max(images, least))]
    items += [(plan, kind) for plan in _QUIRKS for kind in ("DM", "CM")] if quirks else []
    rows: dict[str, list[list[object]]] = {}
    truths: list[Truth] = []
    for plan, kind in items:
        drawn, size = _image(root, plan, kind, scale, seed)
        truths += [_truth(plan.name(kind), n, region) for n, region in enumerate(drawn)]
        rows[plan.name(kind)] = _region_rows(plan.name(kind), size, drawn)
        if plan.empty_row:
            rows[plan.name(kind)] = [[f"{plan.name(kind)}.jpg", size, "{}", 0, 0, "{}", "{}"]]
    write_bytes(root / _REGIONS, _table(row for name in sorted(rows) for row in rows[name]))
    write_bytes(root / "Radiology-manual-annotations.xlsx", _workbook(items, quirks))
    reports = root / "Medical reports for cases"
    for patient in dict.fromkeys(plan.patient for plan, _ in items):
        write_bytes(reports / f"P{patient}.docx", word_document(f"Synthetic report of P{patient}."))
    write_bytes(reports / "~$P54.docx", b"\x05Owner".ljust(162, b"\0"))
    fates = Counter(_fate(plan, kind) for plan, kind in items)
    return Built(root, len(items), tuple(truths), fates)


def _fate(plan: _Plan, kind: str) -> str:
    if kind == "CM":
        return "left_out.image_type_not_chosen"
    return "pairs" if plan.low else "left_out.no_lesion"


def _plan(number: int) -> _Plan:
    if number < len(_PLANS):
        return _PLANS[number]
    side: Literal["L", "R"] = "L" if number % 2 else "R"
    region = (_Region("polygon", (0.4, 0.55), 0.07),)
    return _Plan(200 + number, side, "CC", "Benign", "4", "Mass", region, region)


# ---------------------------------------------------------------------------------- images


def _image(root: Path, plan: _Plan, kind: str, scale: float, seed: int) -> tuple[list[_Drawn], int]:
    """Write one JPEG; return its regions and the size of the file."""
    view = View(scaled(plan.size, scale), plan.side, plan.view)
    rng = random_for(seed, "cdd", plan.name(kind))
    drawn = [_drawn(rng, view, region) for region in plan.regions(kind)]
    gland = 1.0 if kind == "DM" else 0.15
    pixels = quantised(mammogram(rng, view, [region.spot for region in drawn], gland=gland), 255)
    content = encoded(pixels.astype(np.uint8), ".jpg", (cv2.IMWRITE_JPEG_QUALITY, 95))
    write_bytes(root / _FOLDERS[kind] / f"{plan.stem(kind)}.jpg", content)
    return drawn, len(content)


def _drawn(rng: np.random.Generator, view: View, region: _Region) -> _Drawn:
    """Return a region in whole pixels."""
    x, y = (round(value) for value in view.at(*region.place))
    radius = max(6, round(view.length(region.radius)))
    start: dict[str, object] = {"name": region.shape}
    rim = max(1.0, 0.06 * radius)
    if region.shape == "point":
        spot = Spot(ellipse((x, y), 2.0, 2.0, 16), 0.4, 0.7)
        return _Drawn({**start, "cx": x, "cy": y}, ((x, y),), spot)
    if region.shape in ("circle", "ellipse"):
        other = radius if region.shape == "circle" else round(0.7 * radius)
        names = {"r": radius} if region.shape == "circle" else {"rx": radius, "ry": other}
        spot = Spot(ellipse((x, y), radius, other), 0.2, rim)
        return _Drawn({**start, "cx": x, "cy": y, **names}, ((x, y), (radius, other)), spot)
    corners = np.rint(outline(rng, (x, y), radius, irregular=0.5, points=28)).astype(int)
    spot = Spot(corners.astype(np.float64), 0.2, rim)
    if region.shape == "polyline":
        corners = corners[:-3]  # nearly closed
    elif region.closed:
        corners = np.vstack([corners, corners[:1]])
    across, down = corners[:, 0].tolist(), corners[:, 1].tolist()
    attributes = {**start, "all_points_x": across, "all_points_y": down}
    return _Drawn(attributes, tuple(zip(across, down, strict=True)), spot)


def _truth(name: str, number: int, region: _Drawn) -> Truth:
    shape = str(region.attributes["name"])
    return Truth(
        record=name,
        lesion_id=str(number),
        kind="finding",
        geometry="points" if shape == "point" else shape,
        label="",
        points=region.points,
        source=_REGIONS,
    )


# ---------------------------------------------------------------------------------- tables


def _region_rows(name: str, size: int, drawn: Sequence[_Drawn]) -> list[list[object]]:
    shapes = (json.dumps(region.attributes, separators=(",", ":")) for region in drawn)
    return [
        [f"{name}.jpg", size, "{}", len(drawn), number, shape, "{}"]
        for number, shape in enumerate(shapes)
    ]


def _table(rows: Iterable[Sequence[object]]) -> bytes:
    """Return the CSV of VIA: LF, only the shapes quoted."""
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return f"{_HEADER}\n{buffer.getvalue()}".encode()


def _sheet_row(plan: _Plan, kind: str) -> list[object]:
    """Return a row of the workbook, where a CM image is called CESM."""
    birads: object = int(plan.birads) if plan.birads.isdecimal() else plan.birads
    start = [plan.stem(kind), plan.patient, plan.side, "DM" if kind == "DM" else "CESM"]
    density = "ABCD"[plan.patient % 4] if kind == "DM" else "_"
    end = [plan.view, plan.findings.lower(), 1 + plan.patient % 2, plan.pathology]
    return [*start, 40 + plan.patient % 30, density, birads, plan.findings, *end]


def _workbook(items: Sequence[tuple[_Plan, str]], quirks: bool) -> bytes:
    """Return the annotation workbook: all images, and sheets for some of the findings.

    With `quirks` all of its nine sheets, and the one to read is not the first.
    """
    others = ["ACR" if name.startswith("Breast density") else name for name in _COLUMNS]
    listed = _SHEETS | _MORE_SHEETS if quirks else _SHEETS
    sheets: dict[str, list[Sequence[object]]] = {"all": [_COLUMNS]}
    sheets |= {title: [others] for title in listed}
    for plan, kind in items:
        row = _sheet_row(plan, kind)
        sheets["all"].append(row)
        for title, word in listed.items():
            if word in plan.findings:
                sheets[title].append(row)
    if quirks:
        sheets["all"] = sheets.pop("all")
    return workbook(sheets)
