"""A synthetic "INbreast Release 1.0": DICOM images and OsiriX contours in the raw layout.

OsiriX counts pixel corners: the centre of the top-left pixel is (0.5, 0.5) in the XML files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg.record import Size
from bcseg.synth.documents import old_workbook
from bcseg.synth.phantom import (
    Built,
    Mask,
    Points,
    Spot,
    Truth,
    View,
    as_pairs,
    ellipse,
    empty_folder,
    inside,
    mammogram,
    muscle_line,
    outline,
    quantised,
    random_for,
    save_dicom,
    scaled,
    shoelace,
    write_bytes,
)

_TOP = "INbreast Release 1.0"
_MUSCLE_XML = "PectoralMuscle/Pectoral Muscle XML"
_MUSCLE_ROI = "PectoralMuscle/Pectoral Muscle ROI"
_SPACING = 0.07  # mm
_CM2_PER_PIXEL = _SPACING**2 / 100
_LARGE, _SMALL = (4084, 3328), (3328, 2560)
_HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
_NOT_TYPED = " " * 193  # one ACR cell of the original is so

_PENCIL, _POINT, _OVAL, _OPEN_LINE = 15, 19, 9, 10
_GEOMETRY = {_PENCIL: "spline", _POINT: "points", _OVAL: "polygon"}
_KIND = {
    "Mass": "mass",
    "Calcification": "calcification",
    "Calcifications": "calcification",
    "Cluster": "cluster",
    "Assymetry": "asymmetry",
    "Asymmetry": "asymmetry",
    "Distortion": "distortion",
    "Spiculated region": "spiculated_region",
    "Spiculated Region": "spiculated_region",
    "Espiculated Region": "spiculated_region",
}


@dataclass(frozen=True, slots=True)
class _Roi:
    name: str | None  # None: the key is missing
    tool: int
    place: tuple[float, float]  # from the chest wall, from the top: fractions
    radius: float = 0.0  # pixels of a full-size image
    points: int = 1
    lost: bool = False  # the key Point_px is missing

    @property
    def kind(self) -> str:
        """Name to kind; without a telling name a point is a calcification."""
        other = "calcification" if self.tool == _POINT else "finding"
        return _KIND.get(self.name or "", other)


@dataclass(frozen=True, slots=True)
class _Plan:
    file_id: int
    patient: int
    side: str
    view: str  # as in the file name: CC, ML, FB
    acr: str
    birads: str
    rois: tuple[_Roi, ...] = ()
    muscle: str = ""  # "a": OsiriX export with Images, "b": export of a single ROI
    size: Size = _LARGE
    absent: bool = False  # the table lists an image that was not downloaded


def _calcs(name: str, x: float, y: float, points: int) -> tuple[_Roi, ...]:
    """Return three pencil calcifications beside each other."""
    steps = ((0.0, 0.0), (0.035, 0.02), (0.01, 0.045))
    return tuple(_Roi(name, _PENCIL, (x + dx, y + dy), 10, points) for dx, dy in steps)


_PLANS = (
    _Plan(
        53100101,
        0,
        "R",
        "CC",
        "2",
        "5",
        (
            _Roi("Mass", _PENCIL, (0.34, 0.46), 190, 48),
            _Roi("Espiculated Region", _OVAL, (0.34, 0.46), 300, 200),
        ),
    ),
    _Plan(
        53100127,
        0,
        "R",
        "ML",
        "2",
        "5",
        (
            _Roi("Mass", _PENCIL, (0.44, 0.58), 170, 37),
            *_calcs("Calcification", 0.26, 0.68, 7),
            _Roi("Calcification", _POINT, (0.56, 0.72)),
            _Roi("Point 1", _POINT, (0.59, 0.70)),
        ),
        "a",
    ),
    _Plan(
        53100153,
        1,
        "L",
        "ML",
        _NOT_TYPED,
        "4a",
        (
            _Roi("Assymetry", _PENCIL, (0.40, 0.66), 210, 30),
            _Roi("", _PENCIL, (0.52, 0.52), 90, 21),
            _Roi("Spiculated region", _OVAL, (0.24, 0.80), 130, 200),
        ),
        "b",
        _SMALL,
    ),
    _Plan(53100179, 2, "L", "CC", "1", "1", size=_SMALL),
    _Plan(
        53100205,
        3,
        "L",
        "CC",
        "3",
        "4c",
        (
            *_calcs("Calcifications", 0.28, 0.40, 10),
            _Roi("Cluster", _OVAL, (0.30, 0.42), 170, 200),
            _Roi("Unnamed", _POINT, (0.44, 0.60)),
            _Roi("Mass", _PENCIL, (0.40, 0.54), 110, 26),
        ),
        size=_SMALL,
    ),
    _Plan(
        53100231,
        4,
        "R",
        "CC",
        "4",
        "6",
        (
            _Roi("Distortion", _OVAL, (0.30, 0.60), 260, 200),
            _Roi("Mass", _PENCIL, (0.02, 0.40), 150, 33),  # runs over the border of the image
            _Roi(None, _PENCIL, (0.48, 0.46), 70, 16),
        ),
    ),
    _Plan(53100257, 4, "R", "FB", "4", "2", (*_calcs("Calcification", 0.36, 0.62, 6),)),
)

_QUIRKS = (
    _Plan(53200102, 20, "L", "ML", "3", "5", (
        _Roi("Mass", _PENCIL, (0.42, 0.60), 120, 31),
        _Roi("Spiculated Region", _OVAL, (0.42, 0.60), 200, 200),
        _Roi("Asymmetry", _PENCIL, (0.24, 0.74), 90, 19),
        _Roi("Point 3", _POINT, (0.55, 0.66)),
        _Roi("Calcification", _PENCIL, (0.30, 0.66), 12, 8, lost=True),
    ), "b", _SMALL),
    _Plan(53200128, 20, "L", "CC", "3", "2", size=_SMALL),  # a finding that nobody drew
    _Plan(53200154, 21, "R", "CC", "2", "1", size=_SMALL, absent=True),
)  # fmt: skip


def build(
    root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0, quirks: bool = False
) -> Built:
    """Write the archive; the first 6 images are always there, one of them normal.

    With `quirks` 7 and more, and INbreast.xls beside the CSV table.
    """
    empty_folder(root)
    top = root / _TOP
    plans = [_plan(number) for number in range(max(images, len(_PLANS) if quirks else 6))]
    plans += _QUIRKS if quirks else ()
    there = [plan for plan in plans if not plan.absent]
    truths = [truth for plan in there for truth in _image(top, plan, scale, seed)]
    _documents(top, plans, seed)
    if quirks:
        write_bytes(top / "INbreast.xls", old_workbook(_sheets(plans)))
        write_bytes(top / "AllDICOMs" / "readxml.m", b"% synthetic\n")
        second = top / "MedicalReports" / f"{_hash(plans[0], seed)}_2010_01.txt"
        write_bytes(second, "Sem alterações.\r\n".encode("latin-1"))
    return Built(root, len(there), tuple(truths), Counter(map(_fate, plans)))


def _fate(plan: _Plan) -> str:
    if plan.absent:
        return "left_out.no_image"
    if any(roi.kind == "mass" for roi in plan.rois):
        return "pairs"
    return "left_out.no_chosen_kind" if plan.rois else "left_out.no_lesion"


def _plan(number: int) -> _Plan:
    if number < len(_PLANS):
        return _PLANS[number]
    side, place = ("L", "R")[number % 2], ((0.36, 0.5), (0.42, 0.6))[number % 2]
    roi = _Roi("Mass", _PENCIL, place, 150, 40)
    view = ("CC", "ML")[number % 2]
    return _Plan(53100101 + 26 * number, number, side, view, "2", "3", (roi,), size=_SMALL)


def _hash(plan: _Plan, seed: int) -> str:
    return random_for(seed, "inbreast patient", plan.patient).bytes(8).hex()


def _image(top: Path, plan: _Plan, scale: float, seed: int) -> list[Truth]:
    """Write one image and its contours."""
    side: Any = plan.side
    view = View(scaled(plan.size, scale), side, "MLO" if plan.view == "ML" else "CC")
    rng = random_for(seed, "inbreast", plan.file_id)
    drawn = [(roi, _file_points(rng, view, roi, scale)) for roi in plan.rois]
    spots = [_spot(roi, _region(roi, points)) for roi, points in drawn]
    pixels = quantised(mammogram(rng, view, spots), 4095)
    name = f"{plan.file_id}_{_hash(plan, seed)}_MG_{plan.side}_{plan.view}_ANON.dcm"
    _dicom(top / "AllDICOMs" / name, plan, pixels)
    if drawn:
        rois = [_roi_lines(n, roi, points, pixels) for n, (roi, points) in enumerate(drawn)]
        write_bytes(top / f"AllXML/{plan.file_id}.xml", _plist(_images_lines(rois)))
        write_bytes(top / f"AllROI/{plan.file_id}.roi", _TYPED_STREAM)
    truths = [_truth(plan, n, *one) for n, one in enumerate(drawn) if not one[0].lost]
    return truths + (_muscle(top, plan, view, pixels) if plan.muscle else [])


def _truth(plan: _Plan, number: int, roi: _Roi, points: Points) -> Truth:
    return Truth(
        record=str(plan.file_id),
        lesion_id=str(number),
        kind=roi.kind,
        geometry=_GEOMETRY[roi.tool],
        label=roi.name or "",
        points=as_pairs(points),
        source=f"{_TOP}/AllXML/{plan.file_id}.xml",
    )


# --------------------------------------------------------------------------------- contours


def _file_points(rng: np.random.Generator, view: View, roi: _Roi, scale: float) -> Points:
    """Return the points of a ROI as they stand in the file: corner coordinates, float32."""
    centre = view.at(*roi.place)
    radius = max(4.0, roi.radius * scale)
    if roi.tool == _POINT:
        points = np.array([centre]) + rng.uniform(-0.4, 0.4, (1, 2))
    elif roi.tool == _OVAL:
        points = ellipse(centre, radius, 0.7 * radius, roi.points)
    else:
        points = outline(rng, centre, radius, irregular=0.45, points=roi.points)
    return _as_written(points + 0.5)


def _as_written(points: Points) -> Points:
    """Return points as OsiriX writes them: float32, six decimals."""
    single = points.astype(np.float32)
    return np.array([[round(float(x), 6), round(float(y), 6)] for x, y in single])


def _region(roi: _Roi, points: Points) -> Points:
    """Return the outline that OsiriX fills, in pixel-centre coordinates."""
    flat = closed_spline(points) if roi.tool == _PENCIL else points
    return np.asarray(flat - 0.5)


def _spot(roi: _Roi, region: Points) -> Spot:
    if roi.tool == _POINT:
        return Spot(ellipse((region[0, 0], region[0, 1]), 1.5, 1.5, 12), 0.45, 0.7)
    if roi.tool == _OVAL:
        return Spot(region, 0.05, max(1.0, 0.05 * float(np.ptp(region[:, 0]))))
    small = roi.kind == "calcification"
    return Spot(region, 0.40 if small else 0.22, max(0.8, 0.03 * float(np.ptp(region[:, 0]))))


def closed_spline(points: Points, steps: int = 64) -> Points:
    """Return the periodic cubic spline through the points, parametrised by chord length."""
    chord, slopes = _spline_slopes(points)
    t = (np.arange(steps) / steps)[None, :, None]
    h, after = chord[:, None, None], np.roll(points, -1, axis=0)
    curve = (
        (1 + 2 * t) * (1 - t) ** 2 * points[:, None]
        + t * (1 - t) ** 2 * h * slopes[:, None]
        + t**2 * (3 - 2 * t) * after[:, None]
        + t**2 * (t - 1) * h * np.roll(slopes, -1, axis=0)[:, None]
    )
    return np.asarray(curve.reshape(-1, 2))


def _spline_slopes(points: Points) -> tuple[NDArray[np.float64], Points]:
    """Return the chord lengths and the first derivatives (dx, dy) at the points.

    The second derivative is continuous at every point: a cyclic tridiagonal system.
    """
    count = len(points)
    step = np.roll(points, -1, axis=0) - points
    chord = np.sqrt((step**2).sum(axis=1))
    before = np.roll(chord, 1)
    index = np.arange(count)
    system = np.zeros((count, count))
    system[index, index] = 2 * (chord + before)
    system[index, index - 1] += chord
    system[index, (index + 1) % count] += before
    secant = step / chord[:, None]
    right = 3 * (before[:, None] * secant + chord[:, None] * np.roll(secant, 1, axis=0))
    return chord, np.asarray(np.linalg.solve(system, right), dtype=np.float64)


def _area_cm2(roi: _Roi, points: Points) -> float:
    if roi.tool == _POINT:
        return 0.0
    flat = closed_spline(points, 512) if roi.tool == _PENCIL else points
    return shoelace(flat) * _CM2_PER_PIXEL


def _covered(roi: _Roi, points: Points, size: Size) -> Mask:
    """Return the pixels that OsiriX counts: the centre inside, or the pixel of a point."""
    if roi.tool != _POINT:
        return inside(size, _region(roi, points))
    mask = np.zeros(size, dtype=np.bool_)
    mask[int(points[0, 1]), int(points[0, 0])] = True
    return mask


# ------------------------------------------------------------------------------ OsiriX plist

# The first bytes of an OsiriX .roi file (NSArchiver); the rest is not written.
_TYPED_STREAM = b"\x04\x0bstreamtyped\x81\xe8\x03\x84\x01@\x84\x84\x84\x0eNSMutableArray\x00"


def _real(value: float) -> str:
    """Return a number as OsiriX writes its float32: 17 digits, no point for a whole number."""
    single = float(np.float32(value))
    return "0.0" if single == 0 else f"{single:.17g}"


def _plist(lines: Iterable[str]) -> bytes:
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" '
        '"http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
        '<plist version="1.0">',
    )
    return "".join(f"{line}\n" for line in (*head, *lines, "</plist>")).encode()


def _images_lines(rois: Sequence[list[str]]) -> list[str]:
    body = ["<dict>", *_entry("ImageIndex", "integer", 0)]
    body += _entry("NumberOfROIs", "integer", len(rois))
    body += ["\t<key>ROIs</key>", "\t<array>"]
    body += [f"\t\t{line}" for roi in rois for line in roi]
    body += ["\t</array>", "</dict>"]
    return ["<dict>", "\t<key>Images</key>", "\t<array>", *(f"\t\t{line}" for line in body),
            "\t</array>", "</dict>"]  # fmt: skip


def _entry(key: str, kind: str, value: object) -> list[str]:
    return [f"\t<key>{key}</key>", f"\t<{kind}>{value}</{kind}>"]


def _strings(key: str, values: Iterable[str]) -> list[str]:
    rows = (f"\t\t<string>{value}</string>" for value in values)
    return [f"\t<key>{key}</key>", "\t<array>", *rows, "\t</array>"]


def _roi_lines(number: int, roi: _Roi, points: Points, pixels: NDArray[Any]) -> list[str]:
    """Return one ROI as a plist dict, its keys in the order of OsiriX."""
    rows, columns = pixels.shape
    grey = pixels[_covered(roi, points, (rows, columns))].astype(np.float64)
    zero = "(0.000000, 0.000000, 0.000000)"
    lines = ["<dict>", *_entry("Area", "real", _real(_area_cm2(roi, points)))]
    lines += _entry("Center", "string", zero)
    lines += _entry("Dev", "real", _real(grey.std()))
    lines += _entry("IndexInImage", "integer", number)
    lines += _entry("Max", "real", _real(grey.max()))
    lines += _entry("Mean", "real", _real(grey.mean()))
    lines += _entry("Min", "real", _real(grey.min()))
    if roi.name is not None:
        lines += _entry("Name", "string", roi.name)
    lines += _entry("NumberOfPoints", "integer", len(points))
    lines += _strings("Point_mm", [zero] * len(points))
    if not roi.lost:
        lines += _strings("Point_px", (f"({x:.6f}, {y:.6f})" for x, y in points))
    lines += _entry("Total", "real", _real(grey.sum()))
    lines += [*_entry("Type", "integer", roi.tool), "</dict>"]
    return lines


def _muscle(top: Path, plan: _Plan, view: View, pixels: NDArray[Any]) -> list[Truth]:
    """Write the edge of the pectoral muscle: an open line that ends just outside the image."""
    edge = muscle_line(view)
    line = np.vstack([edge[:-1:2], edge[-1:]]) + 0.5
    line[0, 1] = -0.958252
    line[-1, 0] += 0.185547 if view.side == "R" else -0.185547
    roi = _Roi("Pectoral Muscle", _OPEN_LINE, (0.0, 0.0))
    line = _as_written(line)
    if plan.muscle == "a":
        lines = _images_lines([_roi_lines(0, roi, line, pixels)])
    else:
        line = np.array([[float(f"{value:g}") for value in point] for point in line])
        lines = _single_lines(roi, line, pixels)
    source = f"{_MUSCLE_XML}/{plan.file_id}_muscle.xml"
    write_bytes(top / source, _plist(lines))
    write_bytes(top / _MUSCLE_ROI / f"{plan.file_id}_muscle.roi", _TYPED_STREAM)
    return [
        Truth(
            record=str(plan.file_id),
            lesion_id="muscle",
            kind="pectoral_muscle",
            geometry="polyline",
            label="Pectoral Muscle" if plan.muscle == "a" else "",
            points=as_pairs(line),
            source=f"{_TOP}/{source}",
        )
    ]


def _single_lines(roi: _Roi, points: Points, pixels: NDArray[Any]) -> list[str]:
    """Return the other export of OsiriX: one ROI, every grey value, braces, six digits."""
    rows, columns = pixels.shape
    grey = pixels[_covered(roi, points, (rows, columns))].astype(np.float64)
    summary = {
        "AreaCM2": _area_cm2(roi, points),
        "Dev": grey.std(),
        "Length": 0.0,
        "Max": grey.max(),
        "Mean": grey.mean(),
        "Min": grey.min(),
        "Total": grey.sum(),
    }
    inner = [line for key, value in summary.items() for line in _entry(key, "real", _real(value))]
    lines = ["<dict>", *_entry("Comments", "string", ""), "\t<key>DataSummary</key>", "\t<dict>"]
    lines += [*(f"\t{line}" for line in inner), "\t</dict>", "\t<key>DataValues</key>", "\t<array>"]
    lines += [f"\t\t<real>{_real(value)}</real>" for value in grey]
    lines += ["\t</array>", *_strings("ROIPoints", (f"{{{x:g}, {y:g}}}" for x, y in points))]
    return [*lines, "</dict>"]


# --------------------------------------------------------------------------- DICOM, documents


def _dicom(path: Path, plan: _Plan, pixels: NDArray[Any]) -> None:
    uid = f"1.2.826.0.1.3680043.8.498.{plan.file_id}"
    fields = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["DERIVED", "PRIMARY"],
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2",  # digital mammography, for presentation
        "SOPInstanceUID": f"{uid}.3",
        "StudyDate": "20100101",
        "AccessionNumber": "",
        "Modality": "MG",
        "PresentationIntentType": "FOR PRESENTATION",
        "Manufacturer": "SIEMENS",
        "PatientName": "removed",
        "PatientID": "removed",
        "PatientBirthDate": "",
        "PatientSex": "",
        "BodyPartExamined": "BREAST",
        "ManufacturerModelName": "MammoNovation DR",
        "ImagerPixelSpacing": [_SPACING, _SPACING],
        "StudyInstanceUID": f"{uid}.1",
        "SeriesInstanceUID": f"{uid}.2",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "ImageLaterality": plan.side,
        "PixelSpacing": [_SPACING, _SPACING],
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
    }
    save_dicom(path, fields, pixels, bits_stored=14)


def _documents(top: Path, plans: Sequence[_Plan], seed: int) -> None:
    lines = [_HEADER]
    for plan in plans:
        view = "MLO" if plan.view == "ML" else plan.view
        cells = ["removed", "removed", plan.side, view, "201001", str(plan.file_id)]
        lines.append(";".join([*cells, plan.acr, plan.birads]))
    write_bytes(top / "INbreast.csv", "".join(f"{line}\r\n" for line in lines).encode())
    write_bytes(top / "README.txt", b"Synthetic look-alike of the INbreast database: no patient.\n")
    write_bytes(top / "INbreast.pdf", b"%PDF-1.4\n%%EOF\n")
    for number, plan in enumerate({plan.patient: plan for plan in plans}.values()):
        period = "_2009_01" if number % 2 else ""
        text = (
            "Mamografia bilateral digital (relatório sintético).\r\n"
            "Não se observam adenopatias; parênquima com distribuição heterogénea.\r\n"
            f"Conclusão: BI-RADS {plan.birads}.\r\n"
        )
        report = top / "MedicalReports" / f"{_hash(plan, seed)}{period}.txt"
        write_bytes(report, text.encode("latin-1"))


_SHEET_HEADER = (
    "Patient ID",
    "Patient age",
    "Laterality",
    "View",
    "Acquisition date",
    "File Name",
    "ACR",
    "Bi-Rads",
    "Mass ",
    "Micros",
    "Distortion",
    "Asymmetry",
    "Findings Notes (in Portuguese)",
    "Other Notes",
    "Lesion Annotation Status",
    "Pectoral Muscle Annotation",
    "Other Annotations",
)


def _sheets(plans: Sequence[_Plan]) -> dict[str, list[Sequence[str | float]]]:
    """Return the sheets of INbreast.xls: file names as numbers, two rows more at its end.

    A header ends in a blank, a flag disagrees with the contours, and a second sheet holds columns
    that no reader should use.
    """
    rows: list[Sequence[str | float]] = [_SHEET_HEADER]
    wrong = next(plan for plan in plans if "Calcifications" in {roi.name for roi in plan.rois})
    for plan in plans:
        kinds = {roi.kind for roi in plan.rois}
        flags = [kind in kinds for kind in ("mass", "calcification", "distortion", "asymmetry")]
        flags[3] |= plan is wrong
        view = "MLO" if plan.view == "ML" else plan.view
        acr: str | float = float(plan.acr) if plan.acr.strip() else ""
        cells: list[str | float] = ["removed", "removed", plan.side, view, 201001.0]
        cells += [float(plan.file_id), acr]
        marks = ["X" if flag else "" for flag in flags]
        note = "" if plan.rois else "normal"
        status = "" if plan.rois else "No annotation (Normal)"
        muscle = "without muscle" if plan.view == "ML" and not plan.muscle else ""
        rows.append([*cells, plan.birads, *marks, note, "", status, muscle, ""])
    totals = [float(sum(row[column] == "X" for row in rows)) for column in range(8, 12)]
    rows += [[""] * 17, [""] * 8 + totals + [""] * 5]
    return {"Sheet1": rows, "Sheet2": [["Idade", "Data"], [50.0, "01/01/2010"]]}
