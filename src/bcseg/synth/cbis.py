"""A synthetic CBIS-DDSM: four tables and Secondary Capture DICOM files, in any of its layouts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.errors import UsageError
from bcseg.record import Size
from bcseg.synth import cbis_layouts as layouts
from bcseg.synth.cbis_layouts import Series
from bcseg.synth.phantom import (
    Built,
    Mask,
    Points,
    Spot,
    Truth,
    View,
    ellipse,
    empty_folder,
    encoded,
    film,
    inside,
    mammogram,
    outline,
    pixel_fields,
    quantised,
    random_for,
    save_dicom,
    scaled,
    write_bytes,
)

_MASS_HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,"
    "mass shape,mass margins,assessment,pathology,subtlety,image file path,"
    "cropped image file path,ROI mask file path"
)
_CALC_HEADER = _MASS_HEADER.replace("breast_density", "breast density").replace(
    "mass shape,mass margins", "calc type,calc distribution"
)
_UID = "1.3.6.1.4.1.9590.100.1.2."
# A mask of 77/67 = 1.149 times the image: both sides of the image are multiples of 67.
_SMALL_SIDE, _LARGE_SIDE = 67, 77
_FULL, _CROP, _MASK = "full mammogram images", "cropped images", "ROI mask images"


@dataclass(frozen=True, slots=True)
class _Lesion:
    """`order`: the files of the ROI series on disk, "c" crop, "m" mask; "c|m" two series; "" none.

    `mask_size`: of a mask that fits no image. `levels`: the mask holds nine grey values, not two.
    """

    place: tuple[float, float]  # from the chest wall, from the top: fractions
    radius: float  # fraction of the width
    words: tuple[str, str]  # shape and margins, or type and distribution
    assessment: str
    pathology: str
    subtlety: str
    order: str = "cm"
    mask_size: Size | None = None
    levels: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """`enlarged`: the mask is 1.149 times the image. `blank`: the tags of the older calc test.

    `twin`: the film stands among Mass and among Calc, and shows the lesions of both.
    """

    part: str  # Mass-Training, Mass-Test, Calc-Training, Calc-Test
    patient: str
    side: str
    view: str
    density: str
    lesions: tuple[_Lesion, ...]
    size: Size = (4616, 2776)
    enlarged: bool = False
    transfer: str = "implicit"
    twin: bool = False

    @property
    def record(self) -> str:
        return f"{self.part}_{self.patient}_{self.side}_{self.view}"

    @property
    def film(self) -> str:
        """The name of the film: what is drawn depends on it alone."""
        return self.record.split("_", 1)[1] if self.twin else self.record

    @property
    def mass(self) -> bool:
        return self.part.startswith("Mass")

    @property
    def blank(self) -> bool:
        return self.part == "Calc-Test"


_SPICULATED = ("IRREGULAR-ARCHITECTURAL_DISTORTION", "SPICULATED")
_PLANS = (
    _Plan("Mass-Training", "P_90001", "LEFT", "CC", "3", (
        _Lesion((0.34, 0.46), 0.07, _SPICULATED, "4", "MALIGNANT", "4"),
    ), transfer="rle"),
    _Plan("Mass-Training", "P_90001", "LEFT", "MLO", "3", (
        _Lesion((0.46, 0.58), 0.065, _SPICULATED, "4", "MALIGNANT", "4"),
        _Lesion((0.24, 0.74), 0.05, ("OVAL", "N/A"), "0", "BENIGN_WITHOUT_CALLBACK", "2", "mc"),
    ), (5296, 3120)),
    _Plan("Mass-Test", "P_90145", "RIGHT", "CC", "2", (
        _Lesion((0.38, 0.52), 0.08, ("LOBULATED", "OBSCURED"), "3", "BENIGN", "5", "c|m"),
    ), (4690, 2814), enlarged=True),
    _Plan("Calc-Training", "P_90005", "RIGHT", "CC", "1", (
        _Lesion((0.32, 0.42), 0.06, ("AMORPHOUS", "CLUSTERED"), "3", "MALIGNANT", "3", "mc"),
    )),
    _Plan("Calc-Test", "P_90001", "RIGHT", "MLO", "2", (
        _Lesion((0.40, 0.64), 0.06, ("PUNCTATE-PLEOMORPHIC", "N/A"), "4", "BENIGN", "2"),
    ), (4728, 2888)),
    _Plan("Mass-Training", "P_90092", "RIGHT", "MLO", "4", (
        _Lesion((0.48, 0.62), 0.06, ("ROUND", "CIRCUMSCRIBED"), "2", "BENIGN", "5", "c|m"),
    ), (4600, 2700)),
)  # fmt: skip


_QUIRKS = (
    # the masks of two views are exchanged, and one abnormality has two pathologies
    _Plan("Mass-Training", "P_90353", "LEFT", "CC", "2", (
        _Lesion((0.36, 0.48), 0.06, ("OVAL", "OBSCURED"), "4", "BENIGN", "3",
                mask_size=(4688, 3088)),
    ), (4624, 3056)),
    _Plan("Mass-Training", "P_90353", "LEFT", "MLO", "2", (
        _Lesion((0.44, 0.60), 0.06, ("OVAL", "OBSCURED"), "4", "MALIGNANT", "3",
                mask_size=(4624, 3056)),
    ), (4688, 3088)),
    _Plan("Mass-Training", "P_91563", "RIGHT", "MLO", "3", (
        _Lesion((0.46, 0.60), 0.05, ("ROUND", "N/A"), "4", "BENIGN", "0"),
        _Lesion((0.26, 0.72), 0.05, ("ROUND", "N/A"), "4", "BENIGN", "3", ""),
    )),
    _Plan("Mass-Test", "P_90379", "LEFT", "CC", "1", (
        _Lesion((0.38, 0.50), 0.06, ("ROUND", "SPICULATED"), "1", "MALIGNANT", "5", levels=True),
    )),
    _Plan("Mass-Training", "P_90007", "LEFT", "CC", "2", (
        _Lesion((0.30, 0.40), 0.05, ("OVAL", "ILL_DEFINED"), "4", "BENIGN", "3"),
    ), twin=True),
    _Plan("Calc-Training", "P_90007", "LEFT", "CC", "2", (
        _Lesion((0.42, 0.60), 0.05, ("PLEOMORPHIC-PLEOMORPHIC", "REGIONAL-REGIONAL"), "4",
                "MALIGNANT", "4"),
    ), twin=True),
    _Plan("Calc-Test", "P_90008", "LEFT", "CC", "0", (
        _Lesion((0.34, 0.50), 0.06, ("LUCENT_CENTERED", "N/A"), "2", "BENIGN", "3", "c|m"),
    )),
)  # fmt: skip
_TABLES = {
    "Mass-Training": "mass_case_description_train_set.csv",
    "Mass-Test": "mass_case_description_test_set.csv",
    "Calc-Training": "calc_case_description_train_set.csv",
    "Calc-Test": "calc_case_description_test_set.csv",
}


def build(
    root: Path,
    *,
    images: int = 6,
    scale: float = 0.125,
    seed: int = 0,
    layout: str = "B",
    quirks: bool = False,
) -> Built:
    """Write the archive; the first 6 images are always there.

    The truth of the enlarged mask is on the image's grid: enlarging it and reading it back with
    nearest neighbours by pixel centres is exact. With `quirks` one table is that of a mirror.
    Raises UsageError for an unknown layout.
    """
    if layout not in layouts.LAYOUTS:
        hint = ", ".join(layouts.LAYOUTS)
        raise UsageError(f"unknown layout {layout!r} of CBIS-DDSM", hint=hint)
    empty_folder(root)
    plans = [_plan(number) for number in range(max(images, 6))]
    plans += _QUIRKS if quirks else ()
    archive = _Archive(root, layout)
    truths = [truth for plan in plans for truth in _image(archive, plan, scale, seed)]
    _write_tables(archive, quirks)
    return Built(root, len(plans), tuple(truths), Counter(map(_fate, plans)))


def _fate(plan: _Plan) -> str:
    if not plan.mass:
        return "left_out.no_chosen_kind"
    if any(not lesion.order for lesion in plan.lesions):
        return "failed.mask_missing"
    fits = all(lesion.mask_size is None for lesion in plan.lesions)
    return "pairs" if fits else "failed.mask_size"


@dataclass(frozen=True, slots=True)
class _Archive:
    """Where files go, and the rows of the tables as they come up."""

    root: Path
    layout: str
    series: list[list[str]] = field(default_factory=list)  # metadata.csv, or meta.csv
    infos: list[list[str]] = field(default_factory=list)  # dicom_info.csv
    rows: dict[str, list[list[str]]] = field(default_factory=dict)


def _plan(number: int) -> _Plan:
    if number < len(_PLANS):
        return _PLANS[number]
    words = (("OVAL", "CIRCUMSCRIBED"), ("IRREGULAR", "ILL_DEFINED"))[number % 2]
    lesion = _Lesion((0.4, 0.55), 0.06, words, "4", ("BENIGN", "MALIGNANT")[number % 2], "4")
    side, view = ("LEFT", "RIGHT")[number % 2], ("CC", "MLO")[number // 2 % 2]
    return _Plan("Mass-Training", f"P_{91000 + number}", side, view, "2", (lesion,))


def _size(plan: _Plan, scale: float) -> Size:
    rows, columns = scaled(plan.size, scale)
    if not plan.enlarged:
        return rows, columns
    return (
        max(1, round(rows / _SMALL_SIDE)) * _SMALL_SIDE,
        max(1, round(columns / _SMALL_SIDE)) * _SMALL_SIDE,
    )


# ---------------------------------------------------------------------------------- images


def _image(archive: _Archive, plan: _Plan, scale: float, seed: int) -> list[Truth]:
    """Write one full image and the ROI series of its abnormalities."""
    view = View(_size(plan, scale), "L" if plan.side == "LEFT" else "R", plan.view)
    rng = random_for(seed, "cbis", plan.film)
    drawn = [(one, lesion, _contour(rng, view, lesion)) for one, lesion in _on_film(plan)]
    spots = [spot for one, _, points in drawn for spot in _spots(rng, one, points)]
    pixels = quantised(film(rng, mammogram(rng, view, spots), view), 65535)
    if plan.twin:
        rng = random_for(seed, "cbis series", plan.record)
    full = _new_series(rng, plan, plan.record, _FULL)
    if archive.layout != "E":
        _write(archive, plan, full, [(_FULL, pixels)], rng)
    truths = []
    own = [(lesion, points) for one, lesion, points in drawn if one is plan]
    for number, (lesion, points) in enumerate(own, start=1):
        mask = inside(view.size, points)
        rasters = _rasters(plan, lesion, mask, pixels, scale)
        if archive.layout == "E":
            _write_pair(archive, plan, number, pixels, rasters)
        else:
            paths = _roi(archive, plan, (number, lesion.order), rasters, rng)
            row = _row(plan, number, lesion, [full.path(0), *paths])
            archive.rows.setdefault(plan.part, []).append(row)
        if lesion.order and lesion.mask_size is None:
            truths.append(_truth(plan, number, mask))
    return truths


def _on_film(plan: _Plan) -> list[tuple[_Plan, _Lesion]]:
    """Return the lesions that the film shows, each with its record: those of a twin too."""
    records = [one for one in _QUIRKS if one.film == plan.film] if plan.twin else [plan]
    return [(one, lesion) for one in records for lesion in one.lesions]


def _write_pair(
    archive: _Archive,
    plan: _Plan,
    number: int,
    pixels: NDArray[Any],
    rasters: dict[str, NDArray[Any]],
) -> None:
    """Write image and mask of one lesion as layout E has them: 8-bit PNG."""
    lesion = plan.lesions[number - 1]
    image, mask = layouts.pair_names(plan.record, number, lesion.pathology)
    write_bytes(archive.root / image, encoded((pixels >> 8).astype(np.uint8), ".png"))
    if lesion.order:
        write_bytes(archive.root / mask, encoded(rasters["m"], ".png"))


def _contour(rng: np.random.Generator, view: View, lesion: _Lesion) -> Points:
    radius = max(7.0, view.length(lesion.radius))
    return outline(rng, view.at(*lesion.place), radius, irregular=0.45)


def _spots(rng: np.random.Generator, plan: _Plan, points: Points) -> list[Spot]:
    """Return a mass, or for calcifications a dozen specks in a faint region."""
    radius = 0.5 * float(np.ptp(points[:, 0]))
    if plan.mass:
        return [Spot(points, 0.2, max(1.0, 0.08 * radius))]
    centre = points.mean(axis=0)
    specks = [
        ellipse((x, y), max(1.5, 0.04 * radius), max(1.5, 0.05 * radius), 16)
        for x, y in centre + rng.uniform(-0.5, 0.5, (12, 2)) * radius
    ]
    return [
        Spot(points, 0.05, max(1.0, 0.15 * radius)),
        *(Spot(speck, 0.4, 0.8) for speck in specks),
    ]


def _rasters(
    plan: _Plan, lesion: _Lesion, mask: Mask, pixels: NDArray[Any], scale: float
) -> dict[str, NDArray[Any]]:
    """Return the crop around a lesion and its mask, as they are stored."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = 4
    crop = pixels[
        max(0, rows[0] - margin) : rows[-1] + margin + 1,
        max(0, columns[0] - margin) : columns[-1] + margin + 1,
    ]
    stored = mask.astype(np.uint8) * np.uint8(255)
    if plan.enlarged:
        stored = _enlarged(stored)
    if lesion.levels:
        stored = _softened(stored)
    if lesion.mask_size:
        other = np.zeros(scaled(lesion.mask_size, scale), np.uint8)
        height, width = (min(pair) for pair in zip(other.shape, stored.shape, strict=True))
        other[:height, :width] = stored[:height, :width]
        stored = other
    return {"c": np.ascontiguousarray(crop), "m": stored}


def _softened(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask of nine grey values: the lesion is what lies above half of the largest."""
    within, outside = (
        cv2.distanceTransform(part, cv2.DIST_L2, 3) for part in (mask, np.uint8(255) - mask)
    )
    soft = mask.copy()
    for distance, inner, outer in ((4, 255, 8), (3, 247, 32), (2, 231, 64), (1, 199, 96)):
        soft[(within > 0) & (within <= distance)] = inner
        soft[(outside > 0) & (outside <= distance)] = outer
    return soft


def _enlarged(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask 77/67 times as large, by nearest neighbours of the pixel centres."""
    rows, columns = (
        ((2 * np.arange(side // _SMALL_SIDE * _LARGE_SIDE) + 1) * _SMALL_SIDE) // (2 * _LARGE_SIDE)
        for side in mask.shape
    )
    return np.asarray(mask[np.ix_(rows, columns)], dtype=np.uint8)


def _truth(plan: _Plan, number: int, mask: Mask) -> Truth:
    kind = "mass" if plan.mass else "calcification"
    return Truth(
        record=plan.record,
        lesion_id=str(number),
        kind=kind,
        geometry="raster",
        label=kind,
        mask=mask,
        source=f"{plan.record}_{number}",
    )


# ---------------------------------------------------------------------------------- series


def _roi(
    archive: _Archive,
    plan: _Plan,
    which: tuple[int, str],
    rasters: dict[str, NDArray[Any]],
    rng: np.random.Generator,
) -> list[str]:
    """Write crop and mask of one abnormality; return the paths that the table gives to them.

    The table's numbers are those of the published tables, not the order on disk: in one series the
    mask is 000001 for masses and 000000 for calcifications, in two both are 000000.
    """
    number, order = which
    there, order = bool(order), order or "cm"
    subject = f"{plan.record}_{number}"
    words = {"c": _CROP, "m": _MASK}
    both = _CROP if plan.part == "Calc-Training" else _MASK
    paths: dict[str, str] = {}
    for part in order.split("|"):
        series = _new_series(rng, plan, subject, words.get(part, both))
        if there:
            _write(archive, plan, series, [(words[role], rasters[role]) for role in part], rng)
        alone = len(part) == 1
        for role in part:
            last = not alone and (role == "m") == plan.mass
            paths[role] = series.path(int(last))
    return [paths["c"], paths["m"]]


def _new_series(rng: np.random.Generator, plan: _Plan, subject: str, description: str) -> Series:
    date = {"Mass-Training": "20160720", "Mass-Test": "20161004"}.get(plan.part, "20170829")
    return Series(subject, _uid(rng), _uid(rng), description, date)


def _uid(rng: np.random.Generator) -> str:
    """Return a UID as MATLAB makes them: 39 more digits, 64 characters in all."""
    digits = rng.integers(0, 10, 38)
    return f"{_UID}{rng.integers(1, 5)}{''.join(map(str, digits))}"


def _write(
    archive: _Archive,
    plan: _Plan,
    series: Series,
    parts: Sequence[tuple[str, NDArray[Any]]],
    rng: np.random.Generator,
) -> None:
    """Write the files of one series in the order given."""
    size = 0
    for number, (description, pixels) in enumerate(parts):
        blank = plan.blank and description != _CROP
        fields = _fields(plan, series, description, (blank, number + 1))
        rle = plan.transfer == "rle" and description == _FULL
        fields["SOPInstanceUID"] = uid = _uid(rng)
        name = layouts.place(archive.layout, series, number, uid)
        path = archive.root / name
        if archive.layout == "D":
            write_bytes(path, _jpeg(pixels))
            infos = fields | pixel_fields(pixels)
            archive.infos.append(layouts.info_row(name, infos))
        else:
            save_dicom(path, fields, pixels, transfer="rle" if rle else "implicit")
        size += path.stat().st_size
    if archive.layout == "D":
        archive.series.append(layouts.meta_row(series, len(parts)))
    else:
        archive.series.append(layouts.listing_row(series, len(parts), size))


def _jpeg(pixels: NDArray[Any]) -> bytes:
    """Return the upper eight bits as a JPEG: what is black and white in a mask is no longer so."""
    shallow = pixels if pixels.itemsize == 1 else (pixels >> 8).astype(np.uint8)
    return encoded(shallow, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, 90))


def _fields(
    plan: _Plan, series: Series, description: str, which: tuple[bool, int]
) -> dict[str, object]:
    """Return the elements of the header.

    The full images and masks of the older calcification test part have no series description, no
    laterality and no study date, and a PatientID that ends in .dcm.
    """
    blank, number = which
    short = series.subject.removeprefix(f"{plan.part}_")
    remade = plan.enlarged and description == _MASK
    fields: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": layouts.SECONDARY_CAPTURE,
        "SOPInstanceUID": "",
        "StudyDate": "" if blank else series.date,
        "ContentDate": "20160601" if remade else "20160426",
        "StudyTime": "" if blank else "131756",
        "ContentTime": "105330.972000",
        "AccessionNumber": "",
        "Modality": "MG",
        "ConversionType": "WSD",
        "ReferringPhysicianName": "",
        "SeriesDescription": "" if blank else description,
        "PatientName": f"{plan.patient}^{plan.patient}" if blank else series.subject,
        "PatientID": f"{short}.dcm" if blank else series.subject,
        "PatientBirthDate": "",
        "PatientSex": "",
        "BodyPartExamined": f"{plan.side.capitalize()} Breast" if blank else "BREAST",
        "SecondaryCaptureDeviceManufacturer": "The MathWorks" if remade else "MathWorks",
        "SecondaryCaptureDeviceManufacturerModelName": "MATLAB",
        "StudyInstanceUID": series.study,
        "SeriesInstanceUID": series.uid,
        "StudyID": "DDSM",
        "SeriesNumber": 1,
        "InstanceNumber": number,
        "PatientOrientation": plan.view,
        "Laterality": "" if blank else plan.side[0],
    }
    return fields


# ---------------------------------------------------------------------------------- tables


def _row(plan: _Plan, number: int, lesion: _Lesion, paths: Sequence[str]) -> list[str]:
    """Return a row of a case table; its last written path (mask or crop) ends in a newline."""
    full, crop, mask = paths
    ends = (crop, f"{mask}\n") if plan.mass else (f"{crop}\n", mask)
    start = [plan.patient, plan.density, plan.side, plan.view, str(number)]
    middle = ["mass" if plan.mass else "calcification", *lesion.words]
    judged = [lesion.assessment, lesion.pathology, lesion.subtlety]
    return [*start, *middle, *judged, full, *ends]


def _write_tables(archive: _Archive, quirks: bool) -> None:
    """Write the four case tables, and the lists of series and files that a layout has."""
    for part, name in _TABLES.items():
        header = _MASS_HEADER if part.startswith("Mass") else _CALC_HEADER
        table = _table(header, archive.rows.get(part, []))
        if quirks and part == "Mass-Test":
            table = _mirrored(table)
        if place := layouts.case_table(archive.layout, name):
            write_bytes(archive.root / place, table)
    if archive.layout == "B":
        listing = archive.root / layouts.MANIFEST / "metadata.csv"
        write_bytes(listing, _table(layouts.METADATA, archive.series))
    if archive.layout == "D":
        write_bytes(archive.root / "csv/meta.csv", _table(layouts.META, archive.series))
        infos = _table(layouts.DICOM_INFO, archive.infos)
        write_bytes(archive.root / "csv/dicom_info.csv", infos)


def _mirrored(table: bytes) -> bytes:
    """Return a table as a mirror has it: CRLF, other headers, backslashes in the paths."""
    header, _, rows = table.partition(b"\n")
    lines = header.replace(b" ", b"_") + b"\n" + rows
    return lines.replace(b"/", b"\\").replace(b"N\\A", b"N/A").replace(b"\n", b"\r\n")


def _table(header: str, rows: Iterable[Sequence[str]]) -> bytes:
    """Return a CSV file: LF, a cell quoted only if it must be."""
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return f"{header}\n{buffer.getvalue()}".encode()
