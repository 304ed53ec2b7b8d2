"""A synthetic BCDR: sets D01, DN01 and F01 (D02 and F03 from 7 images on) in the raw layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg.record import Size
from bcseg.synth.documents import workbook
from bcseg.synth.phantom import (
    Built,
    Plane,
    Points,
    Spot,
    Truth,
    View,
    as_pairs,
    empty_folder,
    film,
    inside,
    mammogram,
    outline,
    quantised,
    random_for,
    scaled,
    shoelace,
    write_bytes,
)

_OUTLINES = (
    "patient_id,study_id,series,lesion_id,segmentation_id,image_view,image_filename,"
    "lw_x_points,lw_y_points,mammography_type,mammography_nodule,mammography_calcification,"
    "mammography_microcalcification,mammography_axillary_adenopathy,"
    "mammography_architectural_distortion,mammography_stroma_distortion,age,density,classification"
)
_IMAGES = "patient_id,study_id,series,image_filename,image_type_name,image_type_id,age,density"
_FEATURES = (
    "patient_id,study_id,series,lesion_id,segmentation_id,image_view,mammography_type,"
    "mammography_nodule,mammography_calcification,mammography_microcalcification,"
    "mammography_axillary_adenopathy,mammography_architectural_distortion,"
    "mammography_stroma_distortion,age,density,i_mean,i_std_dev,i_maximum,i_minimum,i_kurtosis,"
    "i_skewness,s_area,s_perimeter,s_x_center_mass,s_y_center_mass,s_circularity,s_elongation,"
    "s_form,s_solidity,s_extent,t_energ,t_contr,t_corr,t_sosvh,t_homo,t_savgh,t_svarh,t_senth,"
    "t_entro,t_dvarh,t_denth,t_inf1h,t_inf2h,classification"
)
# outlines.csv counts the views from 1, img.csv from 0
_VIEWS = ("RCC", "LCC", "RO", "LO")
_FLAGS = (
    "nodule",
    "calcification",
    "microcalcification",
    "axillary_adenopathy",
    "architectural_distortion",
    "stroma_distortion",
)
_KIND = dict(
    zip(
        _FLAGS,
        ("mass", "calcification", "calcification", "adenopathy", "distortion", "distortion"),
        strict=True,
    )
)
_LARGE, _SMALL, _FILM = (4084, 3328), (3328, 2560), (1168, 720)


@dataclass(frozen=True, slots=True)
class _Lesion:
    lesion: str
    segmentation: int
    place: tuple[float, float]  # from the chest wall, from the top: fractions
    radius: float  # fraction of the width
    flags: tuple[str, ...] = ("nodule",)
    classification: str = "Benign"
    cut: bool = False  # the last y of its outline is missing in the table


@dataclass(frozen=True, slots=True)
class _Plan:
    subset: str
    patient: int
    study: int
    view: str
    age: str
    density: str
    lesions: tuple[_Lesion, ...] = ()
    size: Size = _LARGE
    series: int | None = 1
    absent: bool = False  # the tables list an image that was not downloaded

    @property
    def filename(self) -> str:
        parts = [self.patient, self.study, self.series, self.view]
        stem = "_".join(str(part) for part in parts if part is not None)
        return f"patient_{self.patient}/study_{self.study}/img_{stem}.tif"

    @property
    def folder(self) -> str:
        name = f"BCDR-{self.subset}_dataset"
        return f"{name}/BCDR-F03" if self.subset == "F03" else name

    @property
    def record(self) -> str:
        flat = self.filename.removesuffix(".tif").replace("/", "_")
        return f"{self.subset}_{flat}" if self.film else flat

    @property
    def film(self) -> bool:
        return self.subset.startswith("F")


_SHARED = _Lesion("8", 12, (0.22, 0.72), 0.045, ("nodule", "calcification"))
_PLANS = (
    _Plan(
        "D01",
        3,
        4,
        "LCC",
        "74",
        "1",
        (_Lesion("7", 10, (0.34, 0.44), 0.075, classification="Malign"),),
    ),
    _Plan(
        "D01",
        3,
        4,
        "LO",
        "74",
        "NaN",
        (_Lesion("7", 11, (0.46, 0.56), 0.07, classification="Malign"), _SHARED),
    ),
    _Plan("D01", 8, 15, "RO", "58", "2", size=_SMALL),
    _Plan("DN01", 40, 51, "RCC", "61", "3", size=_SMALL),
    _Plan(
        "F01",
        101,
        120,
        "LCC",
        "49",
        "2",
        (_Lesion("20", 500, (0.38, 0.55), 0.09, ("microcalcification",)),),
        _FILM,
    ),
    _Plan(
        "F01",
        102,
        121,
        "RO",
        "66",
        "NaN",
        (
            _Lesion("21", 501, (0.44, 0.58), 0.11, classification="Malign"),
            _Lesion("", 502, (0.24, 0.76), 0.08, ()),
        ),
        _FILM,
    ),
    _Plan(
        "D02",
        3,
        4,
        "LO",
        "74",
        "NaN",
        (_SHARED, _Lesion("9", 15, (0.56, 0.66), 0.03, ("microcalcification",))),
    ),
    _Plan(
        "F03",
        182,
        188,
        "LCC",
        "68.7781",
        "2",
        (_Lesion("31", 700, (0.33, 0.47), 0.12, classification="Malign"),),
        _FILM,
        None,
    ),
)

# what a --quirks archive holds besides
_QUIRKS = (
    _Plan("D01", 9, 16, "RCC", "55", "3", (
        _Lesion("50", 800, (0.36, 0.48), 0.06, cut=True),
    ), _SMALL),
    _Plan("D01", 10, 17, "LCC", "71", "4", (
        _Lesion("51", 801, (0.30, 0.46), 0.06, classification="Malignant"),
        _Lesion("52", 802, (0.44, 0.58), 0.05, classification="malign "),
    ), _SMALL),
    _Plan("D01", 11, 18, "RO", "47", "2", (_Lesion("53", 803, (0.4, 0.6), 0.05),), _SMALL,
          absent=True),
    _Plan("F02", 103, 122, "LO", "52", "3", (
        _Lesion("22", 510, (0.42, 0.60), 0.10, ("axillary_adenopathy",)),
    ), _FILM),
    _Plan("F03", 183, 189, "RCC", "45.2192", "1", (
        _Lesion("32", 701, (0.35, 0.50), 0.10, classification="MALIGN"),
    ), _FILM, None),
)  # fmt: skip
_COPY = "BCDR_D01 Dataset Original.xlsx"  # of the outlines, in a mirror, with errors of its own


def build(
    root: Path, *, images: int = 6, scale: float = 0.125, seed: int = 0, quirks: bool = False
) -> Built:
    """Write the archive; the first 6 images are always there, 8 and more with `quirks`.

    Film images are 8 bit, digital ones 14 bit in 16. Outlines are open 8-connected chains of
    whole pixels, the published area is that of the chain closed by a straight segment.
    """
    empty_folder(root)
    plans = [_plan(number) for number in range(max(images, len(_PLANS) if quirks else 6))]
    plans += _QUIRKS if quirks else ()
    truths: dict[tuple[str, int], Truth] = {}
    rows: dict[str, list[tuple[_Plan, _Lesion, Points, NDArray[Any]]]] = {}
    for plan in plans:
        chains = {item.segmentation: _chain(plan, item, scale, seed) for item in plan.lesions}
        pixels = _pixels(plan, scale, seed)
        if not plan.absent:
            write_bytes(root / plan.folder / plan.filename, _tiff(pixels))
        for item in plan.lesions:
            chain = chains[item.segmentation]
            rows.setdefault(plan.subset, []).append((plan, item, chain, pixels))
            if not (item.cut or plan.absent):
                truths.setdefault((plan.record, item.segmentation), _truth(plan, item, chain))
    for subset in dict.fromkeys(plan.subset for plan in plans):
        members = [plan for plan in plans if plan.subset == subset]
        _tables(root / members[0].folder, members, rows.get(subset, []), seed)
    if quirks:
        _retyped(root / "BCDR-D02_dataset" / "bcdr_d02_outlines.csv")
        write_bytes(root / "BCDR-D01_dataset" / _COPY, _mirrored(rows["D01"]))
    there = sum(not plan.absent for plan in plans)
    return Built(root, there, tuple(truths.values()), Counter(_fates(plans)))


def _fates(plans: Sequence[_Plan]) -> Iterable[str]:
    """Yield what becomes of each record: the same image in two sets is one."""
    records: dict[str, list[_Plan]] = {}
    for plan in plans:
        records.setdefault(plan.record, []).append(plan)
    for copies in records.values():
        lesions = [item for plan in copies for item in plan.lesions]
        masses = [item for item in lesions if "nodule" in item.flags]
        if all(plan.absent for plan in copies):
            yield "left_out.no_image"
        elif any(item.cut for item in masses):
            yield "failed.unreadable_contour"
        elif masses:
            yield "pairs"
        else:
            yield "left_out.no_chosen_kind" if lesions else "left_out.no_lesion"


def _plan(number: int) -> _Plan:
    if number < len(_PLANS):
        return _PLANS[number]
    view = _VIEWS[number % 4]
    place = (0.36, 0.5) if view.endswith("CC") else (0.42, 0.6)
    lesion = _Lesion(str(100 + number), 900 + number, place, 0.06)
    patient = 200 + number
    return _Plan("D01", patient, patient + 70, view, str(40 + number % 40), "2", (lesion,), _SMALL)


def _view(plan: _Plan, scale: float) -> View:
    projection = "CC" if plan.view.endswith("CC") else "MLO"
    return View(scaled(plan.size, scale), "L" if plan.view[0] == "L" else "R", projection)


def _contour(plan: _Plan, item: _Lesion, scale: float, seed: int) -> Points:
    view = _view(plan, scale)
    rng = random_for(seed, "bcdr", item.segmentation)
    radius = max(7.0, view.length(item.radius))
    return outline(rng, view.at(*item.place), radius, irregular=0.5, points=720)


def _chain(plan: _Plan, item: _Lesion, scale: float, seed: int) -> Points:
    """Return the contour as whole pixels, each beside the one before, its last part left open."""
    contour = np.rint(_contour(plan, item, scale, seed)).astype(int)
    chain = [contour[0]]
    for point in contour[1:]:
        while (point != chain[-1]).any():
            chain.append(chain[-1] + np.sign(point - chain[-1]))
    away = np.hypot(*(np.array(chain) - chain[0]).T)
    gap = max(8.0, 0.15 * float(away.max()))
    while away[len(chain) - 1] < gap:
        chain.pop()
    return np.array(chain, dtype=np.float64)


def _pixels(plan: _Plan, scale: float, seed: int) -> NDArray[Any]:
    """Return the image with the lesions of every subset in which it lies, built or not."""
    view = _view(plan, scale)
    name = plan.record
    lesions = {
        item.segmentation: item
        for other in (*_PLANS, plan)
        if other.record == name
        for item in other.lesions
    }
    contours = [_contour(plan, item, scale, seed) for item in lesions.values()]
    spots = [Spot(points, rim=max(1.0, 0.06 * view.length(0.06))) for points in contours]
    rng = random_for(seed, "bcdr", name)
    image: Plane = mammogram(rng, view, spots)
    if plan.film:
        return quantised(film(rng, image, view), 255).astype(np.uint8)
    return quantised(image, 2**14 - 1)


def _tiff(pixels: NDArray[Any]) -> bytes:
    import tifffile

    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack", metadata=None, software=False)
    return buffer.getvalue()


def _truth(plan: _Plan, item: _Lesion, chain: Points) -> Truth:
    label = item.flags[0] if item.flags else ""
    return Truth(
        record=plan.record,
        lesion_id=str(item.segmentation),
        kind=_KIND.get(label, "finding"),
        geometry="polygon",
        label=label,
        points=as_pairs(chain),
        source=f"{plan.folder}/bcdr_{plan.subset.lower()}_outlines.csv",
    )


# ------------------------------------------------------------------------------------ tables


def _tables(
    folder: Path,
    plans: Sequence[_Plan],
    rows: Sequence[tuple[_Plan, _Lesion, Points, NDArray[Any]]],
    seed: int,
) -> None:
    """Write the three tables: F03 has no img.csv, a set of normals neither of the others."""
    stem = f"bcdr_{plans[0].subset.lower()}"
    if plans[0].subset != "F03":
        _write(folder / f"{stem}_img.csv", _IMAGES, (_image_cells(plan) for plan in plans), " ")
    if rows:
        outlines = (_outline_cells(plan, item, chain) for plan, item, chain, _ in rows)
        _write(folder / f"{stem}_outlines.csv", _OUTLINES, outlines, "")
        features = (_feature_cells(*row, random_for(seed, row[1].segmentation)) for row in rows)
        _write(folder / f"{stem}_features.csv", _FEATURES, features, " ")


def _write(path: Path, header: str, rows: Iterable[Sequence[object]], end: str) -> None:
    """Write a table as BCDR does: commas in the header, comma and blank in the rows."""
    lines = [header, *(", ".join(map(str, row)) + end for row in rows)]
    write_bytes(path, "".join(line + "\n" for line in lines).encode())


def _image_cells(plan: _Plan) -> list[object]:
    kind = _VIEWS.index(plan.view)
    start = [plan.patient, plan.study, plan.series, plan.filename]
    return [*start, plan.view, kind, plan.age, plan.density]


def _key_cells(plan: _Plan, item: _Lesion) -> list[object]:
    series = 1 if plan.series is None else plan.series
    view = _VIEWS.index(plan.view) + 1
    return [plan.patient, plan.study, series, item.lesion, item.segmentation, view]


def _flag_cells(item: _Lesion) -> list[object]:
    return [1, *(int(flag in item.flags) for flag in _FLAGS)]


def _outline_cells(plan: _Plan, item: _Lesion, chain: Points) -> list[object]:
    points = (chain[:, 0], chain[:-1, 1] if item.cut else chain[:, 1])
    x, y = (" ".join(str(int(value)) for value in axis) for axis in points)
    end = [plan.age, plan.density, item.classification]
    return [*_key_cells(plan, item), plan.filename, x, y, *_flag_cells(item), *end]


def _feature_cells(
    plan: _Plan, item: _Lesion, chain: Points, pixels: NDArray[Any], rng: np.random.Generator
) -> list[object]:
    rows, columns = pixels.shape
    grey = pixels[inside((rows, columns), chain)].astype(np.float64)
    area, ring = shoelace(chain), np.vstack([chain, chain[:1]])
    perimeter = float(np.hypot(*np.diff(ring, axis=0).T).sum())
    centre = chain.mean(axis=0)
    hull = cv2.contourArea(cv2.convexHull(chain.astype(np.float32)))
    _, sides, _ = cv2.minAreaRect(chain.astype(np.float32))
    scores = (grey - grey.mean()) / max(grey.std(), 1e-9)
    intensity = [grey.mean(), grey.std(), grey.max(), grey.min()]
    shape = [
        centre[0] / columns,
        centre[1] / rows,
        4 * np.pi * area / perimeter**2,
        max(sides) / min(sides),
        perimeter / np.sqrt(area),
        area / hull,
        area / (sides[0] * sides[1]),
    ]
    numbers = [*intensity, (scores**4).mean(), (scores**3).mean(), round(area), perimeter, *shape]
    texture = rng.uniform(0.0, 1.0, 13)
    end = [plan.age, plan.density, *(f"{float(value):.6g}" for value in [*numbers, *texture])]
    return [*_key_cells(plan, item), *_flag_cells(item), *end, item.classification]


def _retyped(path: Path) -> None:
    """Take some of the blanks away, as in a copy that a user edited."""
    header, *rows = path.read_text(encoding="ascii").splitlines()
    rows = [row.replace(", ", ",", 5) for row in rows]
    write_bytes(path, "".join(f"{line}\n" for line in (header, *rows)).encode())


def _mirrored(rows: Sequence[tuple[_Plan, _Lesion, Points, NDArray[Any]]]) -> bytes:
    """Return the workbook of a mirror: its first area is wrong, its classes are other words."""
    words = ("Suspect", "Insufficient", "Malign", "Benign", "No")
    header = [*_OUTLINES.split(",")[:-1], "segmentation_area", "classification"]
    lines: list[Sequence[object]] = [header]
    for number, (plan, item, chain, _) in enumerate(rows):
        area = shoelace(chain) * (1 if number else 7)
        word = words[number % len(words)]
        lines.append([*_outline_cells(plan, item, chain)[:-1], round(area), word])
    return workbook({"Full Dataset Outlines": lines})
