from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import plistlib
import re
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pydicom
import pytest
import tifffile
from PIL import Image
from scipy.interpolate import CubicSpline

from archives import laid_out, original
from bcseg import synth
from bcseg.errors import UsageError
from bcseg.record import KINDS
from bcseg.synth import cbis, phantom

DATASETS = ["bcdr", "cbis", "cdd", "csaw", "ddsm", "inbreast", "mias", "vindr"]


IMAGE = r"\.(tif|jpg|png|dcm|dicom|pgm|LJPEG)$"


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Every archive once, with all its peculiarities."""
    top = tmp_path_factory.mktemp("archives")
    return {name: synth.build(name, top / name, images=12) for name in DATASETS}


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def shoelace(x, y):
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


# ------------------------------------------------------------------------------ all archives


def test_the_registry_is_alphabetical_and_complete():
    assert list(synth.BUILDERS) == DATASETS


@pytest.mark.parametrize("name", DATASETS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_images(name, tmp_path):
    first, again, other = (
        {k: hashlib.sha256(v).hexdigest() for k, v in files(root).items()}
        for root in (
            original(name),
            synth.build(name, tmp_path / "b", seed=0, scale=0.1).root,
            synth.build(name, tmp_path / "c", seed=4, scale=0.1).root,
        )
    )
    assert first == again
    random = [
        path
        for path in first
        if re.search(r"\.(tif|jpg|dcm|dicom|pgm|LJPEG)$|/\d+_\d+(_cancer)?\.png$", path)
    ]
    assert len(random) >= 6
    assert not {first[path] for path in random} & set(other.values())


@pytest.mark.parametrize("name", DATASETS)
def test_more_images_leave_the_others_as_they_are(name, archives, tmp_path):
    few = files(synth.build(name, tmp_path / "few").root)
    many = files(archives[name].root)
    images = [path for path in few if re.search(IMAGE, path)]
    assert [path for path in images if few[path] != many[path]] == []
    assert len(many) > len(few)


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_with_something_in_it_is_refused_and_left_alone(name, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="empty folder"):
        synth.build(name, tmp_path)
    assert files(tmp_path) == {"mine.txt": b"mine"}


def test_an_empty_folder_and_a_missing_one_are_taken_a_file_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    synth.build("cdd", tmp_path / "empty")
    synth.build("cdd", tmp_path / "new" / "deep")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError):
        synth.build("cdd", tmp_path / "file")


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        ("ddsm-other", {}),
        ("cdd", {"scale": 0.0}),
        ("cdd", {"scale": 1.5}),
        ("cdd", {"images": 0}),
        ("cdd", {"seed": -1}),
        *((name, {"layout": "other"}) for name in DATASETS),
    ],
)
def test_wrong_arguments_are_usage_errors(dataset, options, tmp_path):
    with pytest.raises(UsageError):
        synth.build(dataset, tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", DATASETS)
def test_truths_are_unique_use_known_words_and_name_a_file(name, archives):
    built = archives[name]
    keys = [(t.record, t.lesion_id, t.annotator) for t in built.truths]
    assert len(keys) == len(set(keys))
    assert {t.kind for t in built.truths} <= set(KINDS)
    for truth in built.truths:
        assert (truth.mask is None) != (truth.points is None)
        assert name == "cbis" or (built.root / truth.source).is_file()


@pytest.mark.parametrize("name", DATASETS)
def test_images_is_the_number_of_images_and_at_least_six(name, archives, tmp_path):
    assert archives[name].images == 12
    built = synth.build(name, tmp_path / "one", images=1, scale=0.1)
    least = 8 if name == "ddsm" else 6  # whole cases, and there are two at least
    assert built.images == least
    pattern = {
        "bcdr": r".*\.tif",
        "cbis": r".*full mammogram images-\d+/1-1\.dcm",
        "cdd": r".*\.jpg",
        "csaw": r".*anonymized_dataset/\d+/\d+_\d+\.png",
        "ddsm": r".*\.LJPEG",
        "inbreast": r".*\.dcm",
        "mias": r".*\.pgm",
        "vindr": r".*\.dicom",
    }[name]
    assert sum(bool(re.fullmatch(pattern, path)) for path in files(built.root)) == least


def test_scale_one_has_the_real_sizes(tmp_path):
    synth.build("cdd", tmp_path / "cdd", scale=1.0)
    path = next((tmp_path / "cdd").rglob("P1_L_DM_MLO.jpg"))
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (2355, 1315)


# ---------------------------------------------------------------------------------- phantom


@pytest.mark.parametrize(("side", "wall"), [("L", 0), ("R", -1)])
@pytest.mark.parametrize("projection", ["CC", "MLO"])
def test_the_breast_stands_on_its_side_and_the_background_is_zero(side, wall, projection):
    view = phantom.View((300, 210), side, projection)
    image = phantom.mammogram(np.random.default_rng(1), view)
    assert image.shape == (300, 210)
    assert image.dtype == np.float32
    assert (image[100:200, wall] > 0.05).all()
    assert not image[:, -1 - wall].any()
    corner = image[:25, :20] if side == "L" else image[:25, -20:]
    assert bool(corner.any()) == (projection == "MLO")


def test_a_lesion_is_brighter_inside_its_outline_only():
    view = phantom.View((320, 250), "L", "CC")
    points = phantom.outline(np.random.default_rng(0), view.at(0.3, 0.5), 20)
    plain = phantom.mammogram(np.random.default_rng(1), view)
    marked = phantom.mammogram(np.random.default_rng(1), view, [phantom.Spot(points)])
    inside = phantom.inside(view.size, points)
    change = marked - plain
    assert change[inside].mean() > 0.15
    assert change[~cv2.dilate(inside.astype(np.uint8), np.ones((19, 19))).astype(bool)].max() == 0


def test_film_has_a_noisy_ground_a_bright_strip_and_a_label():
    view = phantom.View((400, 240), "R", "MLO")
    rng = np.random.default_rng(2)
    scan = phantom.film(rng, phantom.mammogram(rng, view), view)
    assert (scan[:, :2] > 0.95).all()
    ground = scan[200:380, 20:60]
    assert 0 < ground.std() < 0.02
    assert ground.max() < 0.05
    assert 30 < np.count_nonzero(scan[:120, 5:80] > 0.85) < 2500


def test_inside_counts_pixel_centres_of_unequal_sides():
    square = np.array([(2.0, 1.5), (7.0, 1.5), (7.0, 4.5), (2.0, 4.5)])
    mask = phantom.inside((6, 9), square)
    expected = np.zeros((6, 9), dtype=bool)
    expected[2:5, 2:7] = True
    np.testing.assert_array_equal(mask, expected)
    triangle = np.array([(-4.3, 0.2), (8.6, 2.1), (1.4, 9.7)])
    rows, columns = np.mgrid[0:8, 0:11]
    contour = triangle.astype(np.float32).reshape(-1, 1, 2)
    tested = [
        cv2.pointPolygonTest(contour, (float(x), float(y)), False) > 0
        for x, y in zip(columns.ravel(), rows.ravel(), strict=True)
    ]
    np.testing.assert_array_equal(
        phantom.inside((8, 11), triangle), np.array(tested).reshape(8, 11)
    )


# ------------------------------------------------------------------------------------- BCDR


def test_bcdr_layout(archives):
    paths = files(archives["bcdr"].root)
    for path in (
        "BCDR-D01_dataset/bcdr_d01_img.csv",
        "BCDR-D01_dataset/bcdr_d01_outlines.csv",
        "BCDR-D01_dataset/bcdr_d01_features.csv",
        "BCDR-D01_dataset/patient_3/study_4/img_3_4_1_LO.tif",
        "BCDR-D02_dataset/patient_3/study_4/img_3_4_1_LO.tif",
        "BCDR-DN01_dataset/bcdr_dn01_img.csv",
        "BCDR-F01_dataset/bcdr_f01_outlines.csv",
        "BCDR-F03_dataset/BCDR-F03/patient_182/study_188/img_182_188_LCC.tif",
    ):
        assert path in paths
    assert "BCDR-DN01_dataset/bcdr_dn01_outlines.csv" not in paths
    assert "BCDR-F03_dataset/BCDR-F03/bcdr_f03_img.csv" not in paths
    assert len({paths[path] for path in paths if path.endswith("img_3_4_1_LO.tif")}) == 1


def test_bcdr_tables_have_blanks_after_commas_in_rows_only(archives):
    for path, content in files(archives["bcdr"].root).items():
        if not path.endswith(".csv"):
            continue
        header, *rows = content.decode().splitlines(keepends=True)
        assert " " not in header
        columns = header.rstrip("\n").split(",")
        assert len(columns) == {"img": 8, "outlines": 19, "features": 44}[path[:-4].split("_")[-1]]
        for row in rows:
            assert row.endswith(" \n") == ("outlines" not in path)
            cells = row.rstrip("\n").split(", ")
            assert len(cells) == len(columns)
            assert not any("," in cell for cell in cells)


def _bcdr_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode()), skipinitialspace=True))


def test_bcdr_outlines_are_open_chains_with_the_published_area(archives):
    paths = files(archives["bcdr"].root)
    truths = {t.lesion_id: t for t in archives["bcdr"].truths}
    seen = set()
    for path in [path for path in paths if path.endswith("_outlines.csv")]:
        features = {
            row["segmentation_id"]: row
            for row in _bcdr_rows(paths[path.replace("outlines", "features")])
        }
        for row in _bcdr_rows(paths[path]):
            x = np.array(row["lw_x_points"].split(), dtype=int)
            y = np.array(row["lw_y_points"].split(), dtype=int)
            steps = np.maximum(abs(np.diff(x)), abs(np.diff(y)))
            assert steps.min() == steps.max() == 1
            assert np.hypot(x[-1] - x[0], y[-1] - y[0]) >= 7.6
            number = row["segmentation_id"]
            assert float(features[number]["s_area"]) == pytest.approx(shoelace(x, y), abs=0.5)
            assert truths[number].points == tuple(zip(x, y, strict=True))
            assert row["classification"] in ("Benign", "Malign")
            seen.add(number)
    assert seen == set(truths)


def test_bcdr_peculiarities(archives):
    paths = files(archives["bcdr"].root)
    d01 = _bcdr_rows(paths["BCDR-D01_dataset/bcdr_d01_outlines.csv"])
    assert max(Counter(row["image_filename"] for row in d01).values()) == 2
    assert {row["mammography_nodule"] for row in d01} == {"1"}
    assert "NaN" in {row["density"] for row in d01}
    images = _bcdr_rows(paths["BCDR-D01_dataset/bcdr_d01_img.csv"])
    assert {row["image_filename"] for row in images} > {row["image_filename"] for row in d01}
    for row in d01:
        assert row["image_view"] == str(1 + ["RCC", "LCC", "RO", "LO"].index(_suffix(row)))
    for row in images:
        assert row["image_type_id"] == str(["RCC", "LCC", "RO", "LO"].index(_suffix(row)))
    f01 = _bcdr_rows(paths["BCDR-F01_dataset/bcdr_f01_outlines.csv"])
    assert any(r["mammography_nodule"] == "0" < r["mammography_microcalcification"] for r in f01)
    assert any(row["lesion_id"] == "" for row in f01)
    d02 = _bcdr_rows(paths["BCDR-D02_dataset/bcdr_d02_outlines.csv"])
    shared = {row["segmentation_id"]: row["lw_x_points"] for row in d01 if row in d02}
    assert list(shared) == ["12"]
    f03 = _bcdr_rows(paths["BCDR-F03_dataset/BCDR-F03/bcdr_f03_outlines.csv"])
    assert f03[0]["age"] == "68.7781"
    kinds = {truth.lesion_id: truth.kind for truth in archives["bcdr"].truths}
    assert (kinds["500"], kinds["501"], kinds["502"]) == ("calcification", "mass", "finding")


def _suffix(row):
    return row["image_filename"].removesuffix(".tif").split("_")[-1]


def test_bcdr_images_are_14_bits_and_films_8(archives):
    root = archives["bcdr"].root
    digital = tifffile.imread(root / "BCDR-D01_dataset/patient_3/study_4/img_3_4_1_LCC.tif")
    film = tifffile.imread(next((root / "BCDR-F01_dataset").rglob("*.tif")))
    assert digital.dtype == np.uint16
    assert digital.shape == (510, 416)
    assert 4095 < digital.max() < 2**14
    assert film.dtype == np.uint8
    assert film.shape == (146, 90)
    truth = next(t for t in archives["bcdr"].truths if t.lesion_id == "10")
    assert _contrast(digital, phantom.inside(digital.shape, np.array(truth.points))) > 1.15


def _contrast(image, mask):
    """Mean inside over mean in a ring outside."""
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((13, 13))).astype(bool)
    return image[mask].mean() / image[wide & ~mask].mean()


# --------------------------------------------------------------------------------- INbreast

TOP = "INbreast Release 1.0"
KEYS = [
    "Area", "Center", "Dev", "IndexInImage", "Max", "Mean", "Min", "Name", "NumberOfPoints",
    "Point_mm", "Point_px", "Total", "Type",
]  # fmt: skip


def test_inbreast_layout(archives):
    paths = list(files(archives["inbreast"].root))
    for path in paths:
        assert re.fullmatch(
            rf"{TOP}/(AllDICOMs/\d{{8}}_[0-9a-f]{{16}}_MG_[RL]_(CC|ML|FB)_ANON\.dcm"
            r"|AllXML/\d{8}\.xml|AllROI/\d{8}\.roi"
            r"|PectoralMuscle/Pectoral Muscle (XML/\d{8}_muscle\.xml|ROI/\d{8}_muscle\.roi)"
            r"|MedicalReports/[0-9a-f]{16}(_\d{4}_\d\d)?\.txt"
            r"|INbreast\.csv|INbreast\.pdf|README\.txt)",
            path,
        ), path
    dicoms = [path for path in paths if path.endswith(".dcm")]
    assert {path.split("_")[4] for path in dicoms} == {"CC", "ML", "FB"}
    assert len([path for path in paths if "AllXML" in path]) == len(dicoms) - 1


def test_inbreast_table(archives):
    content = (archives["inbreast"].root / TOP / "INbreast.csv").read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") == 13
    header, *rows = content.decode().split("\r\n")[:-1]
    assert header == (
        "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
    )
    cells = [row.split(";") for row in rows]
    assert [cell[6] for cell in cells].count(" " * 193) == 1
    assert {"1", "4a", "4c"} <= {cell[7] for cell in cells}
    assert {cell[3] for cell in cells} == {"CC", "MLO", "FB"}
    normal = next(cell[5] for cell in cells if cell[7] == "1")
    assert not (archives["inbreast"].root / TOP / f"AllXML/{normal}.xml").exists()


def test_inbreast_dicom(archives):
    root = archives["inbreast"].root
    path = next(root.rglob("53100127_*.dcm"))
    data = pydicom.dcmread(path)
    assert data.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (data.Modality, data.PhotometricInterpretation) == ("MG", "MONOCHROME2")
    assert data.ImagerPixelSpacing == data.PixelSpacing == [0.07, 0.07]
    assert (data.PatientID, str(data.PatientName)) == ("removed", "removed")
    assert (data.Rows, data.Columns) == (510, 416)
    assert (data.BitsAllocated, data.BitsStored, data.PixelRepresentation) == (16, 14, 0)
    assert data.pixel_array.max() <= 4095


def _points(roi):
    return np.array([[float(n) for n in point.strip("()").split(",")] for point in roi["Point_px"]])


def _plists(archives):
    for path in sorted((archives["inbreast"].root / TOP / "AllXML").glob("*.xml")):
        yield path, path.read_text(encoding="utf-8"), plistlib.loads(path.read_bytes())


def test_inbreast_plist_text_is_that_of_osirix(archives):
    for _, text, document in _plists(archives):
        assert text.startswith(
            '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST '
            '1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">\n'
            "<dict>\n\t<key>Images</key>\n\t<array>\n\t\t<dict>\n\t\t\t<key>ImageIndex</key>\n"
        )
        (image,) = document["Images"]
        assert list(image) == ["ImageIndex", "NumberOfROIs", "ROIs"]
        assert image["NumberOfROIs"] == len(image["ROIs"])
        for number, roi in enumerate(image["ROIs"]):
            assert list(roi) == [key for key in KEYS if key != "Name" or "Name" in roi]
            assert roi["IndexInImage"] == number
            assert roi["NumberOfPoints"] == len(roi["Point_px"]) == len(roi["Point_mm"])
            assert set(roi["Point_mm"]) == {"(0.000000, 0.000000, 0.000000)"}
            for point in roi["Point_px"]:
                assert re.fullmatch(r"\(-?\d+\.\d{6}, -?\d+\.\d{6}\)", point)
        assert "<real>0</real>" not in text


def test_inbreast_area_is_that_of_the_spline_and_statistics_are_of_the_pixels(archives):
    root = archives["inbreast"].root
    checked = Counter()
    for path, _, document in _plists(archives):
        pixels = pydicom.dcmread(next(root.rglob(f"{path.stem}_*.dcm"))).pixel_array
        for roi in document["Images"][0]["ROIs"]:
            points = _points(roi)
            checked[roi["Type"]] += 1
            if roi["Type"] == 19:
                x, y = np.floor(points[0]).astype(int)
                assert roi["Mean"] == roi["Max"] == roi["Total"] == pixels[y, x]
                assert roi["Area"] == 0
                continue
            curve = _spline(points) if roi["Type"] == 15 else points
            area = shoelace(*curve.T)
            assert roi["Area"] == pytest.approx(area * 0.0049 / 100, rel=2e-4)
            count = roi["Total"] / roi["Mean"]
            assert count == pytest.approx(round(count), abs=1e-3)
            if curve.min() > 0 and curve[:, 0].max() < pixels.shape[1]:
                assert count == pytest.approx(area, rel=0.15)
            grey = pixels[phantom.inside(pixels.shape, curve - 0.5)]
            assert roi["Mean"] == pytest.approx(grey.mean(), rel=1e-3)
            assert roi["Min"] <= roi["Mean"] <= roi["Max"]
    assert set(checked) == {9, 15, 19}


def _spline(points):
    ring = np.vstack([points, points[:1]])
    chord = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    at = np.concatenate(
        [np.linspace(a, b, 64, endpoint=False) for a, b in itertools.pairwise(chord)]
    )
    return CubicSpline(chord, ring, bc_type="periodic")(at)


def test_inbreast_names_types_and_truths(archives):
    names, sizes = Counter(), {}
    truths = {(t.record, t.lesion_id): t for t in archives["inbreast"].truths}
    for path, _, document in _plists(archives):
        for roi in document["Images"][0]["ROIs"]:
            names[roi.get("Name")] += 1
            sizes.setdefault(roi["Type"], set()).add(roi["NumberOfPoints"])
            truth = truths[path.stem, str(roi["IndexInImage"])]
            assert truth.label == roi.get("Name", "")
            assert truth.geometry == {15: "spline", 19: "points", 9: "polygon"}[roi["Type"]]
            assert [f"({x:.6f}, {y:.6f})" for x, y in truth.points] == roi["Point_px"]
    assert set(names) >= {
        "Mass", "Calcification", "Calcifications", "Cluster", "Espiculated Region", "Distortion",
        "Spiculated region", "Assymetry", "Unnamed", "Point 1", "", None,
    }  # fmt: skip
    assert sizes[9] == {200}
    assert sizes[19] == {1}
    assert {6, 7, 10} <= sizes[15]


def test_inbreast_muscles_in_both_formats(archives):
    folder = archives["inbreast"].root / TOP / "PectoralMuscle/Pectoral Muscle XML"
    first = plistlib.loads((folder / "53100127_muscle.xml").read_bytes())
    (roi,) = first["Images"][0]["ROIs"]
    assert (roi["Name"], roi["Type"]) == ("Pectoral Muscle", 10)
    points = _points(roi)
    assert points[0][1] < 0
    assert points[-1][0] > 416
    assert roi["Area"] < 0.5 * points[-1][1] * (416 - points[0][0]) / 2 * 0.0049 / 100
    other = plistlib.loads((folder / "53100153_muscle.xml").read_bytes())
    assert list(other) == ["Comments", "DataSummary", "DataValues", "ROIPoints"]
    assert list(other["DataSummary"]) == ["AreaCM2", "Dev", "Length", "Max", "Mean", "Min", "Total"]
    assert len(other["DataValues"]) > 100
    assert sum(other["DataValues"]) == other["DataSummary"]["Total"]
    assert all(re.fullmatch(r"\{-?[\d.]+, -?[\d.]+\}", point) for point in other["ROIPoints"])
    truth = next(t for t in archives["inbreast"].truths if t.source.endswith("153_muscle.xml"))
    assert [f"{{{x:g}, {y:g}}}" for x, y in truth.points] == other["ROIPoints"]


def test_inbreast_reports_are_latin_1(archives):
    folder = archives["inbreast"].root / TOP / "MedicalReports"
    reports = [path.read_bytes() for path in folder.glob("*.txt")]
    for report in reports:
        assert "Conclusão: BI-RADS" in report.decode("latin-1")
        with pytest.raises(UnicodeDecodeError):
            report.decode("utf-8")
    assert any("_2009_01" in path.name for path in folder.iterdir())


# ----------------------------------------------------------------------------------- CSAW-S


def test_csaw_masks_are_the_truths(archives):
    root = archives["csaw"].root
    written = {path for path in files(root) if re.search(r"/\d+_\d+_[a-z_-]+\.png$", path)}
    for truth in archives["csaw"].truths:
        raw = cv2.imread(str(root / truth.source), cv2.IMREAD_UNCHANGED)
        assert raw.dtype == np.uint8
        assert raw.ndim == 2
        np.testing.assert_array_equal(raw > 0, truth.mask)
        written.remove(truth.source)
    assert {path.split("_", 1)[1] for path in written}
    assert all(path.endswith("foreign_object.png") for path in written)
    assert not any(cv2.imread(str(root / path), 0).any() for path in written)


def test_csaw_peculiarities(archives):
    root = archives["csaw"].root / "CsawS"
    train, test = root / "anonymized_dataset", root / "test_data"
    assert (train / "012/012_0.png").is_file()
    assert (test / "anonymized_dataset/012/012_0.png").is_file()
    assert (train / "001/001_10.png").is_file()
    assert not (train / "001/001_10_cancer.png").exists()
    assert (train / "012/012_0_non-mammary_tissue.png").is_file()
    assert np.unique(cv2.imread(str(train / "012/012_1_cancer.png"), -1)).tolist() == [0, 1]
    assert np.unique(cv2.imread(str(train / "012/012_0_cancer.png"), -1)).tolist() == [0, 255]
    grey = cv2.imread(str(train / "012/012_0.png"), cv2.IMREAD_UNCHANGED)
    assert grey.dtype == np.uint16
    assert grey.shape == (510, 416)
    coloured = cv2.imread(str(train / "012/012_1.png"), cv2.IMREAD_UNCHANGED)
    assert coloured.dtype == np.uint8
    assert coloured.shape == (416, 320, 3)
    assert (coloured == coloured[:, :, :1]).all()
    assert sorted(p.name for p in (test / "anonymized_dataset/011").iterdir()) == ["011_1.png"]
    assert not (test / "annotator_1/001/001_0_cancer.png").exists()
    assert (test / "annotator_2/001/001_0_cancer.png").is_file()
    assert isinstance(json.loads((root / "training_random_splits.json").read_text()), dict)


def test_csaw_readers_differ(archives):
    masks = {
        t.annotator: t.mask
        for t in archives["csaw"].truths
        if (t.record, t.kind) == ("test_011_1", "cancer")
    }
    assert list(masks) == ["1", "2", "3"]
    assert masks["1"].sum() < masks["2"].sum()
    assert (masks["1"] != masks["3"]).any()
    image = cv2.imread(
        str(archives["csaw"].root / "CsawS/test_data/anonymized_dataset/011/011_1.png"), -1
    )
    assert _contrast(image, masks["1"]) > 1.15


# -------------------------------------------------------------------------------- CBIS-DDSM


def _tables(root):
    return {path.name: path.read_bytes().decode() for path in sorted(root.glob("*.csv"))}


def _cbis_rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_cbis_tables(archives):
    tables = _tables(archives["cbis"].root)
    assert list(tables) == [
        f"{kind}_case_description_{part}_set.csv"
        for kind in ("calc", "mass")
        for part in ("test", "train")
    ]
    for name, text in tables.items():
        mass = name.startswith("mass")
        assert text.startswith(
            "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality "
            "type,mass shape,mass margins,assessment,pathology,subtlety,image file path,cropped "
            "image file path,ROI mask file path\n"
            if mass
            else "patient_id,breast density,left or right breast,image view,abnormality id,"
            "abnormality type,calc type,calc distribution,assessment,pathology,subtlety,"
            "image file path,cropped image file path,ROI mask file path\n"
        )
        assert "\r" not in text
        rows = _cbis_rows(text)
        assert rows
        assert text.count('"') == 2 * len(rows)
        assert text.count("\n") == 1 + 2 * len(rows)
        for row in rows:
            last = "ROI mask file path" if mass else "cropped image file path"
            assert [k for k, v in row.items() if v.endswith("\n")] == [last]
            assert row["image file path"].count("/") == 3
            for part in row["image file path"].split("/")[1:3]:
                assert re.fullmatch(r"1\.3\.6\.1\.4\.1\.9590\.100\.1\.2\.\d{39}", part)
    assert "N/A" in tables["mass_case_description_train_set.csv"]


def test_cbis_declared_file_numbers(archives):
    for name, text in _tables(archives["cbis"].root).items():
        for row in _cbis_rows(text):
            crop, mask = row["cropped image file path"].strip(), row["ROI mask file path"].strip()
            numbers = (crop[-10:-4], mask[-10:-4])
            if crop.split("/")[2] != mask.split("/")[2]:
                assert numbers == ("000000", "000000")
            else:
                mass = name.startswith("mass")
                assert numbers == (("000000", "000001") if mass else ("000001", "000000"))


def _headers(root):
    return {path: pydicom.dcmread(path) for path in sorted(root.rglob("*.dcm"))}


@pytest.mark.parametrize("layout", ["A", "B"])
def test_cbis_series_of_the_tables_are_on_disk(layout, archives, tmp_path):
    root = tmp_path / "a" if layout == "A" else archives["cbis"].root
    if layout == "A":
        cbis.build(root, layout="A")
    headers = _headers(root)
    series = {str(data.SeriesInstanceUID) for data in headers.values()}
    declared = set()
    for text in _tables(root).values():
        for row in _cbis_rows(text):
            for column in ("image", "cropped image", "ROI mask"):
                path = row[f"{column} file path"].strip()
                declared.add(path.split("/")[2])
                assert layout == "B" or (root / path).is_file()
    assert declared == series
    for path, data in headers.items():
        parts = path.relative_to(root).parts
        if layout == "A":
            assert parts[1:3] == (data.StudyInstanceUID, data.SeriesInstanceUID)
            assert re.fullmatch(r"00000[01]\.dcm", parts[3])
        else:
            assert re.fullmatch(r"manifest-\w+", parts[0])
            assert re.fullmatch(
                rf"\d\d-\d\d-\d{{4}}-DDSM-NA-{data.StudyInstanceUID[-5:]}", parts[3]
            )
            ends = data.SeriesInstanceUID[-5:]
            series = rf"1\.000000-(full mammogram|cropped|ROI mask) images-{ends}"
            assert re.fullmatch(series, parts[4])
            assert re.fullmatch(r"1-[12]\.dcm", parts[5])


def test_cbis_metadata_leads_to_every_series(archives):
    root = next(archives["cbis"].root.glob("manifest-*"))
    rows = _cbis_rows((root / "metadata.csv").read_bytes().decode())
    for row in rows:
        assert row["File Location"].startswith(".\\CBIS-DDSM\\")
        folder = root / row["File Location"].replace("\\", "/")
        found = sorted(folder.glob("*.dcm"))
        assert len(found) == int(row["Number of Images"])
        data = pydicom.dcmread(found[0], stop_before_pixels=True)
        assert (data.SeriesInstanceUID, data.StudyInstanceUID) == (
            row["Series UID"],
            row["Study UID"],
        )
    assert len(rows) == len({path.parent for path in root.rglob("*.dcm")})


def test_cbis_dicom_headers(archives):
    for path, data in _headers(archives["cbis"].root).items():
        raw = path.read_bytes()
        assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        assert "PixelSpacing" not in data
        assert "ViewPosition" not in data
        assert data.PatientOrientation in ("CC", "MLO")
        mask = data.BitsAllocated == 8
        subject = path.parts[-4]
        if subject.startswith("Calc-Test") and data.SeriesDescription != "cropped images":
            assert data.PatientID == subject.removeprefix("Calc-Test_") + ".dcm"
            assert data.SeriesDescription == data.Laterality == data.StudyDate == ""
            assert b"Right Breast" in raw
        else:
            assert data.PatientID == subject
            assert data.SeriesDescription in (
                {"ROI mask images"} if mask else {"full mammogram images", "cropped images"}
            )
        assert np.unique(data.pixel_array).tolist() == [0, 255] or not mask
        assert mask or data.BitsStored == 16
    uids = [str(data.SOPInstanceUID) for data in _headers(archives["cbis"].root).values()]
    assert len(uids) == len(set(uids))
    transfers = Counter(
        data.file_meta.TransferSyntaxUID.name for data in _headers(archives["cbis"].root).values()
    )
    assert transfers["RLE Lossless"] == 1
    assert set(transfers) == {"RLE Lossless", "Implicit VR Little Endian"}


def test_cbis_masks_are_the_truths_and_their_order_varies(archives):
    headers = _headers(archives["cbis"].root)
    orders, separate, scaled, views = set(), 0, 0, Counter()
    for truth in archives["cbis"].truths:
        group = {p: d for p, d in headers.items() if p.parts[-4] == truth.source}
        assert len(group) == 2
        ((path, data),) = [(p, d) for p, d in group.items() if d.BitsAllocated == 8]
        separate += len({p.parent for p in group}) == 2
        orders.add((len({p.parent for p in group}), path.name))
        mask = data.pixel_array
        if mask.shape != truth.mask.shape:
            scaled += 1
            ratio = np.divide(mask.shape, truth.mask.shape)
            assert ratio == pytest.approx([1.149, 1.149], abs=5e-4)
            assert abs(ratio[0] / ratio[1] - 1) < 1e-3
            assert data.SecondaryCaptureDeviceManufacturer == "The MathWorks"
            rows, columns = truth.mask.shape
            mask = np.asarray(
                Image.fromarray(mask).resize((columns, rows), Image.Resampling.NEAREST)
            )
        np.testing.assert_array_equal(mask > 127, truth.mask)
        full = next(d for p, d in headers.items() if p.parts[-4] == truth.record)
        assert full.pixel_array.shape == truth.mask.shape
        assert _contrast(full.pixel_array, truth.mask) > (1.1 if truth.kind == "mass" else 1.02)
        views[truth.record] += 1
    assert orders >= {(1, "1-1.dcm"), (1, "1-2.dcm"), (2, "1-1.dcm")}
    assert separate == 2
    assert scaled == 1
    assert max(views.values()) == 2


# --------------------------------------------------------------------------------- CDD-CESM


def _regions(root):
    text = (root / "Radiology_hand_drawn_segmentations_v2.csv").read_bytes().decode()
    return text, list(csv.DictReader(io.StringIO(text, newline="")))


def test_cdd_table_bytes(archives):
    text, rows = _regions(archives["cdd"].root)
    lines = text.split("\n")
    assert lines[0] == (
        "#filename,file_size,file_attributes,region_count,region_id,"
        "region_shape_attributes,region_attributes"
    )
    assert lines[-1] == ""
    assert "\r" not in text
    line = re.compile(
        r'P\d+_[LR]_(CM|DM)_(CC|MLO)(_\d+)?\.jpg,\d+,\{\},\d+,\d+,"\{""name"":""\w+""'
        r'(,""\w+"":(-?\d+|\[-?\d+(,-?\d+)*\]))+\}",\{\}'
    )
    assert all(line.fullmatch(row) for row in lines[1:-1])
    count = Counter(row["#filename"] for row in rows)
    for name, number in count.items():
        mine = [row for row in rows if row["#filename"] == name]
        assert [row["region_id"] for row in mine] == [str(n) for n in range(number)]
        assert {row["region_count"] for row in mine} == {str(number)}


def test_cdd_shapes_and_truths(archives):
    _, rows = _regions(archives["cdd"].root)
    truths = {(t.record, t.lesion_id): t for t in archives["cdd"].truths}
    shapes, closed, least = Counter(), set(), 0
    for row in rows:
        shape = json.loads(row["region_shape_attributes"])
        truth = truths.pop((row["#filename"][:-4], row["region_id"]))
        shapes[row["#filename"].split("_")[2], shape["name"]] += 1
        if "all_points_x" in shape:
            points = list(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
            least = min(least, *shape["all_points_x"])
            if shape["name"] == "polygon":
                closed.add(points[0] == points[-1])
            assert truth.points == tuple(points)
        else:
            assert truth.points[0] == (shape["cx"], shape["cy"])
            sizes = (shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r")))
            assert truth.points[1:] == (() if shape["name"] == "point" else (sizes,))
    assert not truths
    assert {name for kind, name in shapes if kind == "DM"} == {
        "polygon", "ellipse", "circle", "polyline", "point",
    }  # fmt: skip
    assert closed == {True, False}
    assert least < 0


def test_cdd_images(archives):
    root = archives["cdd"].root
    _, rows = _regions(root)
    sizes = {row["#filename"]: int(row["file_size"]) for row in rows}
    images = {path.name: path for path in root.rglob("*.jpg")}
    for name, size in sizes.items():
        assert images[name].stat().st_size == size
        kind = "Low energy" if "_DM_" in name else "Subtracted"
        assert images[name].parent.name == f"{kind} images of CDD-CESM"
        assert images[name].parents[1].relative_to(root).as_posix() == "PKG - CDD-CESM/CDD-CESM"
    assert "P3_L_CM_CC .jpg" in images
    with Image.open(images["P2_R_DM_CC.jpg"]) as picture:
        assert (picture.mode, picture.size) == ("L", (158, 287))


def test_cdd_workbook(archives):
    book = openpyxl.load_workbook(archives["cdd"].root / "Radiology-manual-annotations.xlsx")
    assert {"all", "mass_description"} <= set(book.sheetnames)
    header, *rows = book["all"].iter_rows(values_only=True)
    assert header == (
        "Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS",
        "Findings", "View", "Tags", "Machine", "Pathology Classification/ Follow up",
    )  # fmt: skip
    assert len(rows) == 12
    table = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert "P3_L_CM_CC " in table
    assert table["P2_R_CM_CC"]["Type"] == "CESM"
    assert table["P2_R_DM_CC"]["Type"] == "DM"
    assert table["P2_R_DM_CC"]["BIRADS"] == "3$2"
    assert table["P1_L_DM_MLO"]["BIRADS"] == 5
    assert table["P1_L_CM_MLO"]["Breast density (ACR)"] == "_"
    words = {row["Pathology Classification/ Follow up"] for row in table.values()}
    assert words == {"Normal", "Benign", "Malignant"}
    assert "P99_L_DM_MLO_2" in table
    assert "ACR" in next(book["mass_description"].iter_rows(values_only=True))
    marked = {truth.record for truth in archives["cdd"].truths}
    for name, row in table.items():
        if row["Pathology Classification/ Follow up"] == "Normal":
            assert (name.strip() in marked) == (name == "P4_R_DM_CC")


def test_cdd_reports_include_a_lock_file(archives):
    folder = archives["cdd"].root / "Medical reports for cases"
    assert zipfile.is_zipfile(folder / "P1.docx")
    lock = folder / "~$P54.docx"
    assert lock.stat().st_size == 162
    assert not zipfile.is_zipfile(lock)


# ---------------------------------------------------------------------------------- layouts

UID = r"1\.3\.6\.1\.4\.1\.9590\.100\.1\.2\.\d{39}"
CASE_TABLES = r"(mass|calc)_case_description_(train|test)_set\.csv"
SUBJECT = r"(Mass|Calc)-(Training|Test)_P_\d{5}_(LEFT|RIGHT)_(CC|MLO)(_\d)?"
CLASSES = r"(_(cancer|calcifications|axillary_lymph_nodes|thick_vessels|foreign_object|skin|nipple|text|non-mammary_tissue|pectoral_muscle|mammary_gland|unclassified))"  # noqa: E501
FILES = {
    ("bcdr", "flat"): r"BCDR/(bcdr_[df]n?0\d_(img|outlines|features)\.csv"
    r"|patient_(\d+)_study_(\d+)_img_\3_\4(_1)?_[RL](CC|O)\.tif)",
    ("bcdr", "png"): r"BCDR/(bcdr_[df]n?0\d_(img|outlines|features)\.csv"
    r"|AllPNGs/patient_(\d+)_study_(\d+)_img_\3_\4(_1)?_[RL](CC|O)\.png)",
    ("cbis", "A"): rf"{CASE_TABLES}|{SUBJECT}/{UID}/{UID}/00000[01]\.dcm",
    ("cbis", "B-old"): rf"{CASE_TABLES}|manifest-\w+/CBIS-DDSM/{SUBJECT}/\d\d-\d\d-\d{{4}}-DDSM-"
    r"\d{5}/1\.000000-(full mammogram|cropped|ROI mask) images-\d{5}/1-[12]\.dcm",
    ("cbis", "C"): rf"{CASE_TABLES}|dicom/{UID}/{UID}/{UID}\.dcm",
    ("cbis", "D"): rf"csv/({CASE_TABLES}|meta\.csv|dicom_info\.csv)|jpeg/{UID}/[12]-\d{{3}}\.jpg",
    ("cbis", "E"): rf"DATA/(Mass|Calc)/(Train|Test)/(MALIGNANT|BENIGN)/{SUBJECT}"
    r"_(FULL|MASK)_\d\.png",
    ("cdd", "flat"): r"images/P\d+_[LR]_(DM|CM)_(CC|MLO)(_2)? ?\.jpg|Radiology_hand.*\.csv"
    r"|Radiology-manual-annotations\.xlsx|Medical reports for cases/.*\.docx",
    ("csaw", "zip"): rf"CSAW-S/CSAW-S/CsawS/(training_random_splits\.json"
    rf"|anonymized_dataset/(\d{{3}})/\2_\d+{CLASSES}?\.png"
    rf"|test_data/(anonymized_dataset/(\d{{3}})/\6_\d+|annotator_[123]/(\d{{3}})/\7_\d+{CLASSES})"
    r"\.png)",
    ("ddsm", "png"): r"DDSM_README|cases/(cancer|benign|normal)s/\w+_\d\d/case(\d{4})/"
    r"([A-D]-\2-1\.ics|TAPE_[A-D]_\2_1\.COMB\.16_PGM"
    r"|[A-D]_\2_1\.(LEFT|RIGHT)_(CC|MLO)\.(png|OVERLAY))",
    ("mias", "flat"): r"MIAS/(mdb\d{3}\.pgm|Info\.txt|README|Licence\.txt)",
    ("mias", "png"): r"Info\.txt|all-mias/(mdb\d{3}\.png|README|Licence\.txt)",
    ("vindr", "png"): r"(finding|breast-level)_annotations\.csv|metadata\.csv|LICENSE\.txt"
    r"|images/[0-9a-f]{32}/[0-9a-f]{32}\.png",
    ("inbreast", "renamed"): r"inbreast_release_1\.0/(INbreast\.(csv|pdf)|README\.txt"
    r"|(alldicoms|allxml|allroi|medicalreports|pectoralmuscle/pectoral_muscle_(xml|roi))/\w+"
    r"\.(dcm|xml|roi|txt))",
    ("inbreast", "bare"): rf"{TOP}/(INbreast\.(csv|pdf)|README\.txt|AllDICOMs/\d{{8}}\.dcm"
    r"|(AllXML|AllROI|MedicalReports|PectoralMuscle/Pectoral Muscle (XML|ROI))/\w+\.(xml|roi|txt))",
    ("inbreast", "png"): rf"{TOP}/(INbreast\.(csv|pdf)|README\.txt"
    r"|AllPNGs/\d{8}_[0-9a-f]{16}_MG_[RL]_(CC|ML|FB)_ANON(\.dcm)?\.png"
    r"|(AllXML|AllROI|MedicalReports|PectoralMuscle/Pectoral Muscle (XML|ROI))/\w+\.(xml|roi|txt))",
}
OTHER_LAYOUTS = [(name, layout) for name, some in synth.LAYOUTS.items() for layout in some[1:]]
every_other_layout = pytest.mark.parametrize(("dataset", "layout"), OTHER_LAYOUTS)


def test_every_layout_is_described():
    assert list(synth.LAYOUTS) == DATASETS
    assert set(FILES) == set(OTHER_LAYOUTS)


@every_other_layout
def test_the_files_of_a_layout(dataset, layout):
    built = laid_out(dataset, layout)
    names = members(built.root) if layout == "zip" else list(files(built.root))
    wrong = [name for name in names if not re.fullmatch(FILES[dataset, layout], name)]
    assert wrong == []
    shown = {truth.source for truth in built.truths}
    assert dataset == "cbis" or shown <= set(names)
    if layout != "zip":
        folders = [path for path in built.root.rglob("*") if path.is_dir()]
        assert [path for path in folders if not any(path.iterdir())] == []


def members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UsageError) as error:
        synth.build("inbreast", tmp_path / "x", layout="flat")
    assert "release, renamed, bare, png" in str(error.value)
    with pytest.raises(UsageError, match="layout"):
        cbis.build(tmp_path / "x", layout="F")
    assert not (tmp_path / "x").exists()


def test_cbis_layout_c_is_named_by_the_headers_and_d_listed(tmp_path):
    built = synth.build("cbis", tmp_path / "c", scale=0.1, layout="C")
    for path, data in _headers(built.root).items():
        expected = (data.StudyInstanceUID, data.SeriesInstanceUID, f"{data.SOPInstanceUID}.dcm")
        assert path.relative_to(built.root / "dicom").parts == expected
    root = synth.build("cbis", tmp_path / "d", scale=0.1, layout="D").root
    infos = _cbis_rows((root / "csv/dicom_info.csv").read_text())
    listed = {row["image_path"].removeprefix("CBIS-DDSM/"): row for row in infos}
    assert set(listed) == {name for name in files(root) if name.endswith(".jpg")}
    values = set()
    for name, row in listed.items():
        with Image.open(root / name) as picture:
            assert picture.mode == "L"
            assert picture.size == (int(row["Columns"]), int(row["Rows"]))
            if row["BitsAllocated"] == "8":
                values |= set(np.unique(np.asarray(picture)).tolist())
    assert len(values) > 2  # lossy
    assert {"", "ROI mask images"} <= {row["SeriesDescription"] for row in infos}
    series = {row["SeriesInstanceUID"] for row in _cbis_rows((root / "csv/meta.csv").read_text())}
    assert series == {row["SeriesInstanceUID"] for row in infos}


# ---------------------------------------------------------------------------------- packed


@pytest.mark.parametrize(("packed", "dataset", "layout"), [
    ("zip", "cbis", "C"),
    ("zip", "bcdr", "sets"),
    ("tar.gz", "inbreast", "renamed"),
    ("tar.gz", "cdd", "release"),
])  # fmt: skip
def test_a_packed_archive_holds_the_files_of_the_folder(packed, dataset, layout, tmp_path):
    plain = files(laid_out(dataset, layout).root)
    again = laid_out(dataset, layout, packed)
    built = synth.build(dataset, tmp_path / "a", scale=0.1, layout=layout, packed=packed)
    assert built.root == tmp_path / "a" / f"{dataset}.{packed}"
    assert [path.name for path in (tmp_path / "a").iterdir()] == [built.root.name]
    assert built.root.read_bytes() == again.root.read_bytes()
    if packed == "zip":
        with zipfile.ZipFile(built.root) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
    else:
        with tarfile.open(built.root) as archive:
            found = {one.name: archive.extractfile(one).read() for one in archive.getmembers()}
    assert found == plain


def test_csaw_in_its_zip_may_be_a_tar_too(tmp_path):
    built = synth.build("csaw", tmp_path / "x", scale=0.1, layout="zip", packed="tar.gz")
    with tarfile.open(built.root) as archive:
        assert all(name.startswith("CSAW-S/CSAW-S/CsawS/") for name in archive.getnames())


# ---------------------------------------------------------------------------------- quirks


@pytest.fixture(scope="module")
def quirky(tmp_path_factory):
    """Every archive with every quirk."""
    top = tmp_path_factory.mktemp("quirks")
    return {name: synth.build(name, top / name, scale=0.1, quirks=True) for name in DATASETS}


@pytest.mark.parametrize("name", DATASETS)
def test_quirks_are_added_to_an_archive_and_change_no_image(name, quirky, tmp_path):
    plain = files(original(name))
    odd = files(quirky[name].root)
    images = [path for path in plain if re.search(IMAGE + r"|\.xml$", path)]
    assert [path for path in images if plain[path] != odd[path]] == []
    assert len(odd) > len(plain)
    again = files(synth.build(name, tmp_path / "again", scale=0.1, quirks=True).root)
    assert again == odd


def test_bcdr_quirks(quirky):
    paths = files(quirky["bcdr"].root)
    d01 = _bcdr_rows(paths["BCDR-D01_dataset/bcdr_d01_outlines.csv"])
    uneven = [row for row in d01 if row["lw_x_points"].count(" ") != row["lw_y_points"].count(" ")]
    assert [row["segmentation_id"] for row in uneven] == ["800"]
    assert {"Malign", "Malignant", "malign "} <= {row["classification"] for row in d01}
    absent = [row for row in d01 if f"BCDR-D01_dataset/{row['image_filename']}" not in paths]
    assert [row["patient_id"] for row in absent] == ["11"]
    tight = paths["BCDR-D02_dataset/bcdr_d02_outlines.csv"].decode().splitlines()[1]
    assert re.match(r"3,4,1,8,12,4, patient_3/", tight)
    assert {"BCDR-F02_dataset/bcdr_f02_outlines.csv", "BCDR-DN01_dataset/bcdr_dn01_img.csv"} <= {
        *paths
    }
    book = openpyxl.load_workbook(
        io.BytesIO(paths["BCDR-D01_dataset/BCDR_D01 Dataset Original.xlsx"])
    )
    header, first, *_ = book["Full Dataset Outlines"].iter_rows(values_only=True)
    mirror = dict(zip(header, first, strict=True))
    x, y = (np.array(mirror[f"lw_{axis}_points"].split(), dtype=int) for axis in "xy")
    assert mirror["segmentation_area"] > 2 * shoelace(x, y)
    assert mirror["classification"] == "Suspect"


def test_inbreast_quirks(quirky):
    root = quirky["inbreast"].root / TOP
    names, broken = set(), 0
    for path in (root / "AllXML").glob("*.xml"):
        for roi in plistlib.loads(path.read_bytes())["Images"][0]["ROIs"]:
            names.add(roi.get("Name"))
            broken += "Point_px" not in roi
    assert names >= {
        "Mass", "Calcification", "Calcifications", "Cluster", "Spiculated Region",
        "Spiculated region", "Espiculated Region", "Asymmetry", "Assymetry", "Distortion",
        "Unnamed", "Point 1", "Point 3", "", None,
    }  # fmt: skip
    assert broken == 1
    dicoms = {path.name.split("_")[0] for path in (root / "AllDICOMs").glob("*.dcm")}
    table = [line.split(";") for line in (root / "INbreast.csv").read_text().splitlines()[1:]]
    assert {row[5] for row in table} - dicoms == {"53200154"}
    unmarked = [row[7] for row in table if not (root / f"AllXML/{row[5]}.xml").exists()]
    assert set(unmarked) == {"1", "2"}
    assert {row[3] for row in table} == {"CC", "MLO", "FB"}
    reports = Counter(path.stem[:16] for path in (root / "MedicalReports").iterdir())
    assert max(reports.values()) == 2
    muscles = [path.read_bytes() for path in root.glob("PectoralMuscle/*XML/*.xml")]
    assert {b"<key>Images</key>" in muscle for muscle in muscles} == {True, False}


def test_inbreast_xls(quirky):
    xlrd = pytest.importorskip("xlrd")
    book = xlrd.open_workbook(str(quirky["inbreast"].root / TOP / "INbreast.xls"))
    assert book.sheet_names() == ["Sheet1", "Sheet2"]
    sheet = book.sheet_by_index(0)
    header = sheet.row_values(0)
    assert (len(header), header[8]) == (17, "Mass ")
    rows = [dict(zip(header, sheet.row_values(i), strict=True)) for i in range(1, sheet.nrows)]
    *images, blank, totals = rows
    assert not any(blank.values())
    assert totals["File Name"] == ""
    assert totals["Mass "] == sum(row["Mass "] == "X" for row in images)
    by_file = {row["File Name"]: row for row in images}
    assert by_file[53100205.0]["Asymmetry"] == "X"  # its contours know of none
    assert by_file[53100153.0]["ACR"] == ""
    assert by_file[53100179.0]["Lesion Annotation Status"] == "No annotation (Normal)"


def test_csaw_quirks(quirky):
    root = quirky["csaw"].root / "CsawS/anonymized_dataset"

    def read(name):
        return cv2.imread(str(root / name), cv2.IMREAD_UNCHANGED)

    assert read("020/020_0.png").ndim == 3
    assert read("020/020_0_8bit.png").ndim == 2
    assert (root / "020/020_0_scratch.png").is_file()
    image, mask = read("021/021_3.png"), read("021/021_3_cancer.png")
    assert mask.shape == tuple(2 * side for side in image.shape)
    truth = next(
        t for t in quirky["csaw"].truths if (t.record, t.kind) == ("train_021_3", "cancer")
    )
    np.testing.assert_array_equal(mask[::2, ::2] > 0, truth.mask)
    image, mask = read("022/022_0.png"), read("022/022_0_cancer.png")
    assert mask.shape == (image.shape[0], image.shape[1] - 9)
    assert (root / "001/001_10.png").is_file()


def test_cbis_quirks(quirky):
    root = quirky["cbis"].root
    tables = _tables(root)
    test = (root / "mass_case_description_test_set.csv").read_bytes()
    assert test.startswith(b"patient_id,breast_density,left_or_right_breast,image_view,")
    assert test.count(b"\r\n") == test.count(b"\n")
    assert b"/000000.dcm" not in test
    assert b"\\000000.dcm" in test
    rows = {name: _cbis_rows(text) for name, text in tables.items()}
    assert "0" in {row["breast density"] for row in rows["calc_case_description_test_set.csv"]}
    train = rows["mass_case_description_train_set.csv"]
    assert "0" in {row["subtlety"] for row in train}
    assert {"0", "4"} <= {row["assessment"] for row in train}
    twice = [row["pathology"] for row in train if row["patient_id"] == "P_90353"]
    assert twice == ["BENIGN", "MALIGNANT"]
    patients = {
        part: {row["patient_id"] for n, some in rows.items() if part in n for row in some}
        for part in ("train", "test")
    }
    assert "P_90001" in patients["train"] & patients["test"]
    headers = _headers(root)
    series = {str(data.SeriesInstanceUID) for data in headers.values()}
    lost = [row for row in train if row["ROI mask file path"].split("/")[2] not in series]
    assert [(row["patient_id"], row["abnormality id"]) for row in lost] == [("P_91563", "2")]
    subjects = {(path.parts[-4], data.BitsAllocated): data for path, data in headers.items()}

    def size(subject, bits):
        return subjects[f"Mass-Training_P_90353_LEFT_{subject}", bits].pixel_array.shape

    assert size("CC_1", 8) == size("MLO", 16) != size("CC", 16) == size("MLO_1", 8)
    soft = subjects["Mass-Test_P_90379_LEFT_CC_1", 8].pixel_array
    assert len(np.unique(soft)) == 9
    truth = next(t for t in quirky["cbis"].truths if "P_90379" in t.record)
    np.testing.assert_array_equal(soft > 127, truth.mask)


def test_cbis_twins_are_one_film_with_the_lesions_of_both(quirky):
    truths = {t.record: t.mask for t in quirky["cbis"].truths if "P_90007" in t.record}
    mass, calc = truths["Mass-Training_P_90007_LEFT_CC"], truths["Calc-Training_P_90007_LEFT_CC"]
    assert not (mass & calc).any()
    films = {
        path.parts[-4]: data
        for path, data in _headers(quirky["cbis"].root).items()
        if path.parts[-4] in truths
    }
    first, second = (films[name] for name in truths)
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    np.testing.assert_array_equal(first.pixel_array, second.pixel_array)
    assert _contrast(first.pixel_array, mass) > 1.1


def test_cdd_quirks(quirky):
    root = quirky["cdd"].root
    names = {path.name for path in root.rglob("*.jpg")}
    assert {"P3_L_CM_CC .jpg", "P10_R_DM_CC .jpg", "P99_L_DM_MLO_2.jpg"} <= names
    _, rows = _regions(root)
    empty = [row for row in rows if row["region_shape_attributes"] == "{}"]
    assert {row["#filename"] for row in empty} == {"P12_L_DM_CC.jpg", "P12_L_CM_CC.jpg"}
    assert {row["region_count"] for row in empty} == {"0"}
    assert "P10_R_DM_CC.jpg" in {row["#filename"] for row in rows}  # no blank in the table
    book = openpyxl.load_workbook(root / "Radiology-manual-annotations.xlsx")
    assert len(book.sheetnames) == 9
    assert book.sheetnames[0] != "all"
    header, *lines = book["all"].iter_rows(values_only=True)
    table = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert table["P10_R_DM_CC "]["BIRADS"] == "4$2"
    assert table["P11_R_DM_MLO"]["BIRADS"] == "3$2$2"
    marked = {row["#filename"][:-4] for row in rows if row not in empty}
    found = {name.strip() in marked: row for name, row in table.items()}
    assert set(found) == {True, False}
    words = {
        (row["Pathology Classification/ Follow up"], name.strip() in marked)
        for name, row in table.items()
    }
    assert {("Normal", True), ("Benign", False), ("Malignant", False)} <= words


# ------------------------------------------------------------------------ from end to end

_converted: dict[tuple[str, str, str], tuple[synth.Built, int, Path]] = {}


@pytest.fixture
def convert(run, tmp_path_factory):
    """Convert an archive with every quirk, once; return it, the exit code, the pairs folder."""

    def command(dataset: str, layout: str, packed: str = "") -> tuple[synth.Built, int, Path]:
        key = (dataset, layout, packed)
        if key not in _converted:
            top = tmp_path_factory.mktemp(dataset)
            built = synth.build(
                dataset, top / "raw", scale=0.1, layout=layout, quirks=True, packed=packed
            )
            code, _, printed = run("refactor", dataset, built.root, "-o", top / "out", "-j", 1)
            assert (top / "out" / dataset / "records.csv").is_file(), printed
            _converted[key] = (built, code, top / "out" / dataset)
        return _converted[key]

    return command


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fates(folder: Path) -> dict[str, int]:
    """Count what became of the records, as `Built.expected` does."""
    written = {row["record_id"] for row in table(folder, "records.csv")}
    ends = {f"failed.{row['code']}": set() for row in table(folder, "problems.csv")}
    for name in ("problems.csv", "left_out.csv"):
        for row in table(folder, name):
            if row["severity"] != "warning" and row["record_id"] not in {*written, ""}:
                ends.setdefault(f"{row['severity']}.{row['code']}", set()).add(row["record_id"])
    return {"pairs": len(written)} | {code: len(ids) for code, ids in ends.items() if ids}


@pytest.mark.parametrize(
    ("dataset", "layout"), [(name, layout) for name in DATASETS for layout in synth.LAYOUTS[name]]
)
def test_every_layout_gives_the_same_pairs(dataset, layout, convert):
    built, code, folder = convert(dataset, layout)
    _, _, standard = convert(dataset, synth.LAYOUTS[dataset][0])
    expected = {row["record_id"]: row for row in table(standard, "records.csv")}
    found = {row["record_id"]: row for row in table(folder, "records.csv")}
    assert list(found) == list(expected)
    assert len(found) >= 4
    same = ["annotation_sha256", "n_lesions", "laterality", "view", "split"]
    if (dataset, layout) not in {("cbis", "D"), ("cbis", "E")}:  # 8 bit, D lossy
        same.append("image_sha256")
    if (dataset, layout) != ("inbreast", "bare"):
        same.append("patient_id")
    for record_id, row in found.items():
        assert {key: row[key] for key in same} == {key: expected[record_id][key] for key in same}
    assert code == (1 if any(key.startswith("failed") for key in built.expected) else 0)


@pytest.mark.parametrize(
    ("dataset", "layout"), [(name, layout) for name in DATASETS for layout in synth.LAYOUTS[name]]
)
def test_every_record_ends_as_the_contract_says(dataset, layout, convert):
    built, _, folder = convert(dataset, layout)
    ends = fates(folder)
    assert {key: ends.get(key, 0) for key in built.expected} == dict(built.expected)
    failed = {key for key in ends if key.startswith("failed")}
    assert failed <= set(built.expected)
    drawn = {(t.record, t.lesion_id) for t in built.truths if t.annotator in ("", "1")}
    masks = [row for row in table(folder, "lesions.csv") if row["in_mask"] == "1"]
    assert {(row["record_id"], row["lesion_id"]) for row in masks} <= drawn


@pytest.mark.parametrize(("dataset", "layout"), [
    ("bcdr", "flat"), ("cbis", "C"), ("cbis", "D"), ("cdd", "flat"), ("inbreast", "renamed"),
])  # fmt: skip
def test_a_zip_of_a_layout_gives_the_same_pairs(dataset, layout, convert):
    _, _, folder = convert(dataset, layout)
    _, _, packed = convert(dataset, layout, "zip")
    assert table(packed, "records.csv") == table(folder, "records.csv")


def test_what_the_quirks_leave_behind_is_named(convert):
    def codes(dataset, name):
        folder = convert(dataset, synth.LAYOUTS[dataset][0])[2]
        return {row["code"] for row in table(folder, name)}

    assert {"mask_resized", "mask_size", "mask_missing"} <= codes("cbis", "problems.csv")
    assert {"mask_resized", "mask_size"} <= codes("csaw", "problems.csv")
    assert {"image_variant", "unknown_class"} <= codes("csaw", "left_out.csv")
    assert "duplicate_contour" in codes("bcdr", "left_out.csv")
    assert {"lesion_left_away", "lesion_clipped"} <= codes("inbreast", "problems.csv")
    assert {"not_an_image_row", "no_image"} <= codes("inbreast", "left_out.csv")
    assert "lesion_clipped" in codes("cdd", "problems.csv")


def test_what_a_layout_loses_is_blank(convert):
    bare = table(convert("inbreast", "bare")[2], "records.csv")
    assert {row["patient_id"] for row in bare} == {""}
    assert "" not in {
        row["patient_id"] for row in table(convert("inbreast", "release")[2], "records.csv")
    }
    pairs = table(convert("cbis", "E")[2], "records.csv")
    assert {row["density"] for row in pairs} == {""}
    assert {row["pathology"] for row in pairs} == {"malignant", "benign"}
    assert {row["split"] for row in pairs} == {"train", "test"}


def test_cbis_pairs_of_png_take_what_the_tables_say(tmp_path, run):
    """Layout E has no tables; users put them beside, and then every row counts."""
    pngs = synth.build("cbis", tmp_path / "e", scale=0.1, layout="E").root
    with_tables = synth.build("cbis", tmp_path / "b", scale=0.1).root
    for path in with_tables.glob("*.csv"):
        (pngs / path.name).write_bytes(path.read_bytes())
    code, _, printed = run("refactor", "cbis", pngs, "-o", tmp_path / "out", "-j", 1)
    assert code == 0, printed
    found = {row["record_id"]: row for row in table(tmp_path / "out/cbis", "records.csv")}
    two = found["Mass-Training_P_90001_LEFT_MLO"]
    assert (two["density"], two["birads"], two["n_lesions"]) == ("3", "4", "2")
    (pngs / "DATA/Mass/Train/BENIGN/Mass-Training_P_90001_LEFT_MLO_MASK_2.png").unlink()
    (pngs / "DATA/Mass/Train/BENIGN/Mass-Training_P_90001_LEFT_MLO_FULL_2.png").unlink()
    code, _, printed = run("refactor", "cbis", pngs, "-o", tmp_path / "less", "-j", 1)
    assert code == 1, printed
    failed = table(tmp_path / "less/cbis", "problems.csv")
    assert [(row["record_id"], row["code"]) for row in failed if row["severity"] == "failed"] == [
        ("Mass-Training_P_90001_LEFT_MLO", "mask_missing")
    ]


# ---------------------------------------------------------------------- beside the originals


@pytest.mark.real
@pytest.mark.skipif("BCSEG_REAL_DATA" not in os.environ, reason="BCSEG_REAL_DATA is not set")
def test_headers_are_those_of_the_published_tables(archives):
    real = Path(os.environ["BCSEG_REAL_DATA"])
    for name, text in _tables(archives["cbis"].root).items():
        with (real / "cbis" / name).open(newline="") as published:
            assert published.readline() == text.split("\n")[0] + "\n"
    name = "Radiology_hand_drawn_segmentations_v2.csv"
    with (real / "cdd" / name).open(newline="") as published:
        assert (
            published.readline() == (archives["cdd"].root / name).read_text().split("\n")[0] + "\n"
        )
