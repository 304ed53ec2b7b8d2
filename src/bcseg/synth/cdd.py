"""A synthetic CDD-CESM: low-energy and subtracted JPEGs, VIA regions, the annotation workbook."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO, StringIO
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from bcseg.records import Size
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
_EARLY = datetime(2022, 1, 1)


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
    blank: bool = False  # a blank behind the name of the CM image

    def name(self, kind: str) -> str:
        return f"P{self.patient}_{self.side}_{kind}_{self.view}{self.suffix}"

    def stem(self, kind: str) -> str:
        """Return the name as it stands in the workbook and on the disk."""
        return self.name(kind) + (" " if self.blank and kind == "CM" else "")

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
    _Plan(3, "L", "CC", "Normal", "1", "Normal", blank=True),
    _Plan(4, "R", "CC", "Normal", "1", "Normal", (_Region("polygon", (0.4, 0.5), 0.06),)),
    _Plan(5, "L", "MLO", "Malignant", "6", "Non-mass enhancement"),
    _Plan(99, "L", "MLO", "Normal", "2", "Normal", suffix="_2"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A region as it is written: VIA's attributes, its points, where the image is brighter."""

    attributes: Mapping[str, object]
    points: tuple[tuple[float, float], ...]
    spot: Spot


def build(root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0) -> Built:
    """Write the archive; the first 6 images (three pairs DM, CM) are always there."""
    empty_folder(root)
    items = [(_plan(number // 2), ("DM", "CM")[number % 2]) for number in range(max(images, 6))]
    rows: dict[str, list[list[object]]] = {}
    truths: list[Truth] = []
    for plan, kind in items:
        drawn, size = _image(root, plan, kind, scale, seed)
        truths += [_truth(plan.name(kind), n, region) for n, region in enumerate(drawn)]
        rows[plan.name(kind)] = _region_rows(plan.name(kind), size, drawn)
    write_bytes(root / _REGIONS, _table(row for name in sorted(rows) for row in rows[name]))
    write_bytes(root / "Radiology-manual-annotations.xlsx", _workbook(items))
    reports = root / "Medical reports for cases"
    for patient in dict.fromkeys(plan.patient for plan, _ in items):
        write_bytes(reports / f"P{patient}.docx", _document(f"Synthetic report of P{patient}."))
    write_bytes(reports / "~$P54.docx", b"\x05Owner".ljust(162, b"\0"))
    return Built(root, len(items), tuple(truths))


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
    birads: object = int(plan.birads) if plan.birads.isdigit() else plan.birads
    start = [plan.stem(kind), plan.patient, plan.side, "DM" if kind == "DM" else "CESM"]
    density = "ABCD"[plan.patient % 4] if kind == "DM" else "_"
    end = [plan.view, plan.findings.lower(), 1 + plan.patient % 2, plan.pathology]
    return [*start, 40 + plan.patient % 30, density, birads, plan.findings, *end]


def _workbook(items: Sequence[tuple[_Plan, str]]) -> bytes:
    """Return the annotation workbook: all images, and a sheet for two of the findings."""
    from openpyxl import Workbook

    book = Workbook()
    book.properties.created = _EARLY
    book.remove(book.worksheets[0])
    others = ["ACR" if name.startswith("Breast density") else name for name in _COLUMNS]
    for title, columns, word in (
        ("all", _COLUMNS, ""),
        ("mass_description", others, "Mass"),
        ("calcifications", others, "Calcifications"),
    ):
        sheet = book.create_sheet(title)
        sheet.append(list(columns))
        for plan, kind in items:
            if word in plan.findings:
                sheet.append(_sheet_row(plan, kind))
    buffer = BytesIO()
    book.save(buffer)
    with zipfile.ZipFile(buffer) as saved:
        return _zipped({name: _undated(saved.read(name)) for name in saved.namelist()})


def _undated(content: bytes) -> bytes:
    """Replace the clock that openpyxl writes into the document's properties."""
    stamp = _EARLY.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    return re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + stamp, content)


def _document(text: str) -> bytes:
    """Return a Word document of one paragraph."""
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{types}"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{relations}"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{word}"><w:body><w:p><w:r>'
        f"<w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
    }
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    return _zipped({name: (head + part).encode() for name, part in parts.items()})


def _zipped(parts: Mapping[str, bytes]) -> bytes:
    """Return a zip file that holds no clock."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
