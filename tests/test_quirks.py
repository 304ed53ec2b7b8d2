"""Every known irregularity of the first five archives, one test each.

data/quirks.csv lists them, data/quirks_more.csv those of the later archives with their tests.
`expected` is the reaction that the list asks for; where bcseg does better by its own rules,
`instead` says how, and the test holds it to that.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pydicom
import pytest

import test_bcdr as bcdr
import test_cbis as cbis
import test_cdd as cdd
import test_csaw as csaw
import test_inbreast as inbreast
from bcseg.formats.osirix import read_regions
from bcseg.formats.tables import decode_text
from bcseg.record import Polygon
from test_adapters import (
    archive,
    convert,
    copy_of,
    delete,
    every_kind,
    index_of,
    lesions_of,
    moved,
    read_png,
    records_of,
)
from test_osirix import roi

TABLE = Path(__file__).parent / "data" / "quirks.csv"


@dataclass(frozen=True)
class Quirk:
    """`made`: how the input is made. `check(factory, place)` makes it and looks."""

    dataset: str
    quirk: str
    made: str
    expected: str
    instead: str
    check: Callable[..., None]


QUIRKS: list[Quirk] = []


def quirk(dataset: str, text: str, *, made: str, expected: str, instead: str = ""):
    """Enter a test into the list."""

    def enter(check: Callable[..., None]) -> Callable[..., None]:
        QUIRKS.append(Quirk(dataset, text, made, expected, instead, check))
        return check

    return enter


@quirk(
    "BCDR",
    "outlines/img/features rows use ', ' while header uses ','; rows may end with a blank",
    made="three tables of the synthetic archive, and a copy of them without a blank",
    expected="skipinitialspace=True and strip every cell; also accept tight commas",
)
def bcdr_blanks_after_commas(factory, place):
    root = archive(factory, "bcdr").root
    tight = copy_of(factory, "bcdr", place / "copy")
    for table in tight.rglob("*.csv"):
        lines = table.read_text().splitlines()
        assert ", " in lines[1]
        assert ", " not in lines[0]
        table.write_text("".join(line.replace(", ", ",").rstrip() + "\n" for line in lines))
    assert records_of("bcdr", tight) == records_of("bcdr", root)
    told = [record for record in records_of("bcdr", root).values() if record.lesions]
    assert all(record.age == record.age.strip() != "" for record in told)


@quirk(
    "BCDR",
    "outline is an open 8-connected chain; end-to-start gap 7.6..529 px",
    made="the chains of the synthetic archive, written with every kind",
    expected="close with a straight segment; never require first==last; never drop as invalid",
)
def bcdr_open_chains(factory, place):
    done = convert("bcdr", archive(factory, "bcdr").root, place / "out", *every_kind())
    assert (done.code, done.failed) == (0, {})
    for truth in archive(factory, "bcdr").truths:
        (x, y), (last_x, last_y) = truth.points[0], truth.points[-1]
        assert np.hypot(x - last_x, y - last_y) > 7
        line = done.lesions[truth.record, truth.lesion_id]
        assert (line["closed"], line["geometry"]) == ("0", "polygon")
        assert int(line["area_px"]) > len(truth.points)


@quirk(
    "BCDR",
    "ground-truth area = shoelace of closed polygon; cv2.fillPoly is 1-3 % larger",
    made="the area of the features table of the synthetic archive",
    expected="test against shoelace with ~1 % tolerance; document the raster rule",
)
def bcdr_shoelace_areas(factory, place):
    done = convert("bcdr", archive(factory, "bcdr").root, place / "out", *every_kind())
    ours = painted = published = 0.0
    for truth in archive(factory, "bcdr").truths:
        points = np.array(truth.points)
        x, y = points.T
        published += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        ours += int(done.lesions[truth.record, truth.lesion_id]["area_px"])
        canvas = cv2.fillPoly(np.zeros((500, 500), np.uint8), [points.astype(np.int32)], 1)
        painted += int(canvas.sum())
    assert ours == pytest.approx(published, rel=0.01)
    assert painted > 1.02 * published  # what paints the outline too would be seen here


@quirk(
    "BCDR",
    "image_view (outlines) is 1-based, image_type_id (img.csv) is 0-based",
    made="every number of both columns set to 9",
    expected="use the view text of the file name as truth; map each column with its own table",
)
def bcdr_two_codes_of_views(factory, place):
    root = copy_of(factory, "bcdr", place / "copy")
    for table, column in [("outlines", "image_view"), ("img", "image_type_id")]:
        for path in root.rglob(f"*_{table}.csv"):
            head, *lines = path.read_text().splitlines()
            assert head.split(",")[5] == column
            cells = [line.split(", ") for line in lines]
            rows = [", ".join([*row[:5], "9", *row[6:]]) for row in cells]
            path.write_text("".join(f"{line}\n" for line in (head, *rows)))
    told = {key: (r.laterality, r.view) for key, r in records_of("bcdr", root).items()}
    before = records_of("bcdr", archive(factory, "bcdr").root)
    assert told == {key: (r.laterality, r.view) for key, r in before.items()}
    assert {key[key.rindex("_") + 1 :]: view for key, view in told.items()} == {
        "RCC": ("R", "CC"),
        "LCC": ("L", "CC"),
        "RO": ("R", "MLO"),
        "LO": ("L", "MLO"),
    }


@quirk(
    "BCDR",
    "density is ' NaN' text in 11 outline rows, 23 image rows",
    made="an image whose density is ' NaN' in every table",
    expected="parse NaN/blank to None, keep column nullable",
)
def bcdr_density_nan(factory, place):
    root = archive(factory, "bcdr").root
    assert ", NaN" in (root / "BCDR-D01_dataset" / "bcdr_d01_outlines.csv").read_text()
    records = records_of("bcdr", root)
    assert records["patient_3_study_4_img_3_4_1_LO"].density == ""
    assert records["patient_3_study_4_img_3_4_1_LCC"].density == "1"


@quirk(
    "BCDR",
    "same segmentation occurs in D01 and D02",
    made="segmentation 12 in the tables of both sets of the synthetic archive",
    expected="deduplicate by segmentation_id when merging subsets; group splits by patient_id",
)
def bcdr_one_segmentation_in_two_sets(factory, place):
    root = archive(factory, "bcdr").root
    index = index_of("bcdr", root)
    record = next(r for r in index.records if r.record_id == "patient_3_study_4_img_3_4_1_LO")
    assert [lesion.lesion_id for lesion in record.lesions] == ["11", "12", "15"]
    assert {one.code for one in index.left_out} == {"duplicate_image", "duplicate_contour"}
    assert record.group == records_of("bcdr", root)["patient_3_study_4_img_3_4_1_LCC"].group


@quirk(
    "BCDR",
    "several outline rows per image (6 images with 2)",
    made="an image with two rows in one table and one in another",
    expected="group by image; keep instances; union only on request",
)
def bcdr_two_outlines_of_an_image(factory, place):
    options = ("--masks", "lesion", *every_kind())
    done = convert("bcdr", archive(factory, "bcdr").root, place / "out", *options)
    record = "patient_3_study_4_img_3_4_1_LO"
    parts = {path.stem: read_png(path) > 0 for path in (done.folder / "lesions" / record).iterdir()}
    assert set(parts) == {"11-mass", "12-mass", "15-calcification"}
    assert np.array_equal(done.mask(record), np.any(list(parts.values()), axis=0))


@quirk(
    "BCDR",
    (
        "F03 files img_<pid>_<sid>_<view>.tif have no series; ages are floats; extra folder "
        "level BCDR-F03_dataset/BCDR-F03"
    ),
    made="the set F03 of the synthetic archive",
    expected=(
        "search for *_outlines.csv recursively; resolve image_filename relative to the CSV "
        "folder; optional series"
    ),
)
def bcdr_f03_layout(factory, place):
    record = records_of("bcdr", archive(factory, "bcdr").root)[
        "F03_patient_182_study_188_img_182_188_LCC"
    ]
    assert record.image == "BCDR-F03_dataset/BCDR-F03/patient_182/study_188/img_182_188_LCC.tif"
    assert (record.age, record.group) == ("68.7781", "bcdr:F03_182")
    assert [lesion.lesion_id for lesion in record.lesions] == ["700"]


@quirk(
    "BCDR",
    "no *_img.csv for F03",
    made="an image in the folder of F03 that no table lists",
    expected="fall back to globbing *.tif",
)
def bcdr_f03_without_list(factory, place):
    root = copy_of(factory, "bcdr", place / "copy")
    image = root / "BCDR-F03_dataset/BCDR-F03/patient_9/study_8/img_9_8_RO.tif"
    image.parent.mkdir(parents=True)
    known = next(root.glob("BCDR-F03_dataset/**/*.tif"))
    image.write_bytes(known.read_bytes())
    assert not list(root.glob("BCDR-F03_dataset/**/*_img.csv"))
    record = records_of("bcdr", root)["F03_patient_9_study_8_img_9_8_RO"]
    assert (record.lesions, record.left_out) == ((), "")


@quirk(
    "BCDR",
    "classification 'Malign' or 'Malignant', any case, trailing blank",
    made="one outline with each spelling",
    expected="normalise by prefix malig/benign",
)
def bcdr_spellings_of_malign(factory, place):
    for number, word in enumerate(["Malign", "Malignant", "malign ", "MALIGN"]):
        root = bcdr.small(place / str(number), bcdr.row(classification=word))
        assert bcdr.only(root).lesions[0].pathology == "malignant"
    for number, word in enumerate(["Benign", "benign ", "BENIGN"]):
        root = bcdr.small(place / f"b{number}", bcdr.row(classification=word))
        assert bcdr.only(root).lesions[0].pathology == "benign"


@quirk(
    "BCDR",
    "lesion_id may be blank; a row may have all lesion flags 0",
    made="an outline of the synthetic archive without lesion_id and flags",
    expected="allow None; kind finding",
)
def bcdr_blank_lesion_id(factory, place):
    record = records_of("bcdr", archive(factory, "bcdr").root)[
        "F01_patient_102_study_121_img_102_121_1_RO"
    ]
    told = {x.lesion_id: (x.kind, x.attributes.get("lesion")) for x in record.lesions}
    assert told == {"501": ("mass", "21"), "502": ("finding", None)}


@quirk(
    "BCDR",
    "points in x,y are equal length in all D01 rows",
    made="an outline with one x more than y",
    expected="raise a clear error naming the row if not",
)
def bcdr_unequal_points(factory, place):
    root = bcdr.small(place / "a", bcdr.row(lw_x_points=bcdr.X + " 12"))
    done = convert("bcdr", root, place / "out")
    assert done.code == 1
    (problem,) = done.rows("problems.csv")
    assert problem["code"] == "unreadable_contour"
    assert problem["source"].endswith("bcdr_d01_outlines.csv#1")
    assert "9 x and 8 y" in problem["message"]


@quirk(
    "BCDR",
    "xlsx mirror has wrong areas (seg 27) and other class words (No/Suspect/Insufficient)",
    made="a workbook of the mirror beside the set, with other areas and words",
    expected="treat as separate optional source",
)
def bcdr_workbook_of_a_mirror(factory, place):
    root = copy_of(factory, "bcdr", place / "copy")
    before = records_of("bcdr", root)
    cdd.write_book(
        root / "BCDR-D01_dataset" / "BCDR_D01 Dataset Original.xlsx",
        ("27", "1", "Suspect"),
        title="Full Dataset Outlines",
        columns=("segmentation_id", "segmentation_area", "classification"),
    )
    assert records_of("bcdr", root) == before
    done = convert("bcdr", root, place / "out")
    unknown = [row["source"] for row in done.rows("left_out.csv") if row["code"] == "unknown_file"]
    assert (done.code, unknown) == (0, [])  # a document of the mirror


@quirk(
    "INbreast",
    (
        "ROI Name misspellings: Espiculated Region, Spiculated region, Assymetry, "
        "Calcifications; also Unnamed, Point 1, Point 3, blank/missing"
    ),
    made="a contour and a point of each name",
    expected=(
        "case-fold + alias table; unknown/blank -> finding (calcification when a single "
        "point), never crash; keep raw name"
    ),
)
def inbreast_names_of_regions(factory, place):
    areas = {name: kind for name, kind in inbreast.NAMES if kind != "pectoral_muscle"}
    points = dict.fromkeys(["Unnamed", "Point 1", "Point 3", "", None], "calcification")
    drawn = [roi(Name=name) for name in areas]
    drawn += [roi(points=[(30.2, 20.7)], Name=name, Type=19) for name in points]
    root = inbreast.with_regions(factory, place / "copy", *drawn)
    record = records_of("inbreast", root)[inbreast.NORMAL]
    found = lesions_of("inbreast", root, record).values()
    expected = [*areas.items(), *points.items()]
    assert [(x.label, x.kind) for x in found] == [((n or "").strip(), k) for n, k in expected]


@quirk(
    "INbreast",
    "1-point ROIs (Type 19, Area 0) for calcifications",
    made="one point of a calcification",
    expected="represent as points; rasterise as a pixel or set radius, user choice",
)
def inbreast_single_points(factory, place):
    point = roi(points=[(30.2, 20.7)], Name="Calcification", Type=19, Area=0.0)
    root = inbreast.with_regions(factory, place / "copy", point)
    options = ("--kind", "calcification")
    one = convert("inbreast", root, place / "one", *options)
    assert one.lesions[inbreast.NORMAL, "0"]["geometry"] == "points"
    assert one.mask(inbreast.NORMAL).sum() == 1
    assert one.mask(inbreast.NORMAL)[20, 30]
    wide = convert("inbreast", root, place / "wide", *options, "--point-radius", 3)
    assert wide.mask(inbreast.NORMAL).sum() == 29


@quirk(
    "INbreast",
    "Distortion/cluster/spiculated exported as 200-point ellipse polygons",
    made="the 200-point ovals of the synthetic archive",
    expected="treat as polygon; keep Type",
)
def inbreast_ovals_of_200_points(factory, place):
    root = archive(factory, "inbreast").root
    done = convert("inbreast", root, place / "out", *every_kind())
    ovals = [t for t in archive(factory, "inbreast").truths if t.geometry == "polygon"]
    assert {t.kind for t in ovals} == {"distortion", "cluster", "spiculated_region"}
    for truth in ovals:
        line = done.lesions[truth.record, truth.lesion_id]
        assert (line["geometry"], line["n_points"]) == ("polygon", "200")
        assert json.loads(line["attributes"])["type"] == "9"


@quirk(
    "INbreast",
    "spiculated mass has Mass + Spiculated Region ROIs",
    made="an image of the synthetic archive with both regions",
    expected="do not merge by default",
)
def inbreast_spiculated_masses(factory, place):
    root = archive(factory, "inbreast").root
    plain = convert("inbreast", root, place / "plain")
    both = convert("inbreast", root, place / "both", *every_kind())
    assert plain.lesions[inbreast.MASS, "1"]["kind"] == "spiculated_region"
    assert plain.lesions[inbreast.MASS, "1"]["in_mask"] == "0"
    assert plain.records[inbreast.MASS]["kinds"] == "mass"
    assert plain.mask(inbreast.MASS).sum() < both.mask(inbreast.MASS).sum()


@quirk(
    "INbreast",
    "Pectoral XML is an OPEN line (Type 10); Area is only a sliver",
    made="the muscle of the synthetic archive in the usual format",
    expected="close through the chest-wall/top corner; side from Laterality",
)
def inbreast_open_muscle_lines(factory, place):
    root = archive(factory, "inbreast").root
    done = convert("inbreast", root, place / "out", "--kind", "pectoral_muscle")
    mask = done.mask(inbreast.MUSCLE_A)
    assert done.records[inbreast.MUSCLE_A]["laterality"] == "R"
    assert mask[0, -1]
    truth = next(t for t in archive(factory, "inbreast").truths
                 if (t.record, t.lesion_id) == (inbreast.MUSCLE_A, "muscle"))  # fmt: skip
    x, y = np.array(truth.points).T
    sliver = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert mask.sum() > 3 * sliver


@quirk(
    "INbreast",
    "second pectoral plist format: no Images; ROIPoints '{x, y}'; 2.4 MB DataValues",
    made="the muscle of the synthetic archive in the other format",
    expected="detect by key; accept () and {}; skip DataValues",
)
def inbreast_other_muscle_format(factory, place):
    (path,) = archive(factory, "inbreast").root.rglob(f"{inbreast.MUSCLE_B}_muscle.xml")
    text = path.read_text()
    assert "<key>ROIPoints</key>" in text
    assert "<key>DataValues</key>" in text
    assert "<key>Images</key>" not in text
    (other,) = read_regions(path.read_bytes(), path.name)
    brackets = text.replace("{", "(").replace("}", ")")
    assert read_regions(brackets.encode(), path.name) == [other]
    assert len(other.points) == text.count("<string>{")
    done = convert("inbreast", archive(factory, "inbreast").root, place / "out",
                   "--kind", "pectoral_muscle")  # fmt: skip
    assert int(done.records[inbreast.MUSCLE_B]["mask_pixels"]) > 1000


@quirk(
    "INbreast",
    "points outside the image (y -0.958, x 2560.2 of 2560)",
    made="the muscles, and a mass that runs over the border",
    expected="clip at raster time, keep raw, warn",
)
def inbreast_points_outside(factory, place):
    root = archive(factory, "inbreast").root
    kinds = every_kind("pectoral_muscle")
    done = convert("inbreast", root, place / "out", *kinds)
    outside = {key for key, line in done.lesions.items() if line["clipped"] == "1"}
    assert ("53100231", "1") in outside
    assert inbreast.MUSCLE_A in done.records  # its line ends outside, and is cut at the border
    warned = [row for row in done.rows("problems.csv") if row["code"] == "lesion_clipped"]
    assert len(warned) == len(outside)
    with gzip.open(done.folder / "lesions.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = {(x["record_id"], x["lesion_id"]): x for x in map(json.loads, file)}
    points = np.array(lines[inbreast.MUSCLE_A, "m0"]["shape"]["points"])
    assert points.min() < -1  # as in the file, half a pixel off


@quirk(
    "INbreast",
    "Area (cm2) is 7-21 % above shoelace for tiny pencil ROIs, exact for large ones",
    made="a pencil contour of 7 points and one of 48, with the areas of their curves",
    expected="only check area for >50 points or >0.1 cm2",
    instead="every contour is checked: the area is that of the curve, in small contours too",
)
def inbreast_areas_of_small_contours(factory, place):
    root = archive(factory, "inbreast").root
    done = convert("inbreast", root, place / "out", *every_kind())
    curves = {key: line for key, line in done.lesions.items() if line["geometry"] == "spline"}
    points = {int(line["n_points"]) for line in curves.values()}
    assert min(points) < 11 < 40 < max(points)
    for line in curves.values():
        assert abs(float(json.loads(line["attributes"])["area_deviation"])) < 0.001, line
    assert "area_deviates" not in done.codes()


@quirk(
    "INbreast",
    "ROI Mean/Min/Max/Total are raw pixel statistics; Total/Mean = pixel count",
    made="the statistics of the masses of the synthetic archive",
    expected="use as self-check of orientation against the DICOM",
)
def inbreast_statistics_of_regions(factory, place):
    root = archive(factory, "inbreast").root
    done = convert("inbreast", root, place / "out")
    checked = 0
    for (record, lesion), line in done.lesions.items():
        if line["in_mask"] == "0" or done.records[record]["n_lesions"] != "1":
            continue
        (path,) = (root / inbreast.TOP / "AllXML").glob(f"{record}.xml")
        region = read_regions(path.read_bytes(), path.name)[int(lesion)]
        grey = done.image(record)[done.mask(record)]
        assert grey.mean() == pytest.approx(region.mean, rel=0.005)
        assert (grey.min(), grey.max()) == pytest.approx((region.minimum, region.maximum), rel=0.1)
        turned = done.image(record)[::-1, ::-1][done.mask(record)]
        assert turned.mean() != pytest.approx(region.mean, rel=0.05)
        checked += 1
    assert checked >= 3


@quirk(
    "INbreast",
    "67 DICOMs have no XML (normal); 343 XMLs",
    made="the image without contours of the synthetic archive",
    expected="no XML = no finding: left out and counted (empty mask with --with-empty)",
)
def inbreast_normal_images(factory, place):
    root = archive(factory, "inbreast").root
    plain = convert("inbreast", root, place / "plain")
    assert plain.left_out[inbreast.NORMAL] == {"no_lesion"}
    assert plain.code == 0
    empty = convert("inbreast", root, place / "empty", "--with-empty")
    assert empty.records[inbreast.NORMAL]["mask_pixels"] == "0"


@quirk(
    "INbreast",
    "INbreast.csv is ';' + CRLF; one ACR cell is 193 blanks; Bi-Rads '4a'",
    made="the table of the synthetic archive",
    expected="sep=';', strip, nullable int density, string BI-RADS",
)
def inbreast_table_dialect(factory, place):
    root = archive(factory, "inbreast").root
    data = (root / inbreast.TOP / "INbreast.csv").read_bytes()
    assert b";" + b" " * 193 + b";4a\r\n" in data
    records = records_of("inbreast", root)
    assert (records[inbreast.MUSCLE_B].density, records[inbreast.MUSCLE_B].birads) == ("", "4a")
    assert records[inbreast.MASS].density == "2"


@quirk(
    "INbreast",
    "View 'FB' (file 50994300)",
    made="an image named FB in the synthetic archive",
    expected="accept unknown view",
)
def inbreast_view_fb(factory, place):
    record = records_of("inbreast", archive(factory, "inbreast").root)[inbreast.FB]
    assert "_FB_" in record.image
    assert (record.view, record.left_out) == ("FB", "")


@quirk(
    "INbreast",
    "file name says ML where tables say MLO",
    made="an image named ML, whose table says MLO",
    expected="map ML->MLO; join on numeric file id only",
)
def inbreast_ml_and_mlo(factory, place):
    root = archive(factory, "inbreast").root
    record = records_of("inbreast", root)[inbreast.MUSCLE_A]
    assert "_R_ML_" in record.image
    assert f"R;MLO;201001;{inbreast.MUSCLE_A}" in (root / inbreast.TOP / "INbreast.csv").read_text()
    assert (record.view, record.birads) == ("MLO", "5")


@quirk(
    "INbreast",
    (
        "xls: 'Mass ' with trailing blank, totals footer, float File Name, Sheet2 with "
        "personal-looking columns"
    ),
    made="an old workbook with such headers and a row of totals",
    expected="strip headers; drop rows without File Name; int(); ignore Sheet2",
)
def inbreast_old_workbook(factory, place):
    totals = [None] * 8 + [28.0, 49.0, 108.0, 308.0]
    rows = [inbreast.sheet_row(inbreast.FB, "2", flag="Mass "), totals]
    root = inbreast.with_workbook(factory, place / "copy", *rows, table=False)
    index = index_of("inbreast", root)
    record = next(one for one in index.records if one.record_id == inbreast.FB)
    assert record.birads == "2"
    assert record.suspicious == {"mass": "INbreast.xls flags mass"}
    assert [one.code for one in index.left_out if "xls" in one.items[0]] == ["not_an_image_row"]
    assert index.failed == ()


@quirk(
    "INbreast",
    "xls flags disagree with XML (24065380 Asymmetry flag, 4 calcs in XML)",
    made="a workbook that flags an asymmetry of an image with calcifications",
    expected="labels from XML; expose xls flags separately",
)
def inbreast_flags_against_contours(factory, place):
    row = inbreast.sheet_row(inbreast.FB, "2", flag="Asymmetry")
    root = inbreast.with_workbook(factory, place / "copy", row)
    done = convert("inbreast", root, place / "out", *every_kind())
    line = done.records[inbreast.FB]
    assert (line["kinds"], line["n_lesions"]) == ("calcification", "3")
    assert json.loads(line["attributes"])["flags"] == "asymmetry"


@quirk(
    "INbreast",
    "patient only in file-name hash",
    made="two images of one patient in the synthetic archive",
    expected="group = second '_' field",
)
def inbreast_patients_by_hash(factory, place):
    records = records_of("inbreast", archive(factory, "inbreast").root)
    for record in records.values():
        second = record.image.rsplit("/", 1)[-1].split("_")[1]
        assert (record.patient_id, record.group) == (second, f"inbreast:{second}")
    assert records[inbreast.MASS].group == records[inbreast.MUSCLE_A].group


@quirk(
    "INbreast",
    "MedicalReports are Latin-1 Portuguese; 0-2 per patient with _YYYY_SS suffix",
    made="the reports of the synthetic archive",
    expected="decode utf-8 then cp1252",
)
def inbreast_reports_in_latin_1(factory, place):
    root = archive(factory, "inbreast").root
    reports = sorted((root / inbreast.TOP / "MedicalReports").iterdir())
    assert {len(path.stem.split("_")) for path in reports} == {1, 3}
    for path in reports:
        assert "parênquima" in decode_text(path.read_bytes(), path.name)
        assert decode_text("parênquima".encode(), path.name) == "parênquima"
    documents = index_of("inbreast", root).documents
    assert {f"{inbreast.TOP}/MedicalReports/{path.name}" for path in reports} <= set(documents)


@quirk(
    "INbreast",
    "folder names with spaces; users rename with underscores",
    made="the synthetic archive with its blanks replaced, and in capitals",
    expected="match folder names after removing space/underscore/case",
)
def inbreast_renamed_folders(factory, place):
    root = archive(factory, "inbreast").root
    known = {key: len(record.annotations) for key, record in records_of("inbreast", root).items()}
    for number, spell in enumerate([lambda n: n.replace(" ", "_"), str.upper]):
        other = moved(
            root, place / str(number),
            lambda n, spell=spell: f"{spell(n[: n.rindex('/')])}/{n[n.rindex('/') + 1 :]}",
        )  # fmt: skip
        records = records_of("inbreast", other)
        assert {key: len(record.annotations) for key, record in records.items()} == known


@quirk(
    "CSAW-S",
    "image vs mask only distinguishable by name; n may have two digits",
    made="an image with the number 10 in the synthetic archive",
    expected="regex ^(\\d+)_(\\d+)(?:_(.+))?\\.png$",
)
def csaw_names_of_images_and_masks(factory, place):
    records = records_of("csaw", archive(factory, "csaw").root)
    assert records["train_001_10"].image == "CsawS/anonymized_dataset/001/001_10.png"
    masks = {name for r in records.values() for x in r.lesions for name in x.shape.files}
    assert len({r.image for r in records.values()}) == len(records) == 6
    assert not masks & {r.image for r in records.values()}


@quirk(
    "CSAW-S",
    (
        "class suffix 'non-mammary_tissue' has a hyphen; extra 'unclassified'; maybe '_8bit' "
        "image twin"
    ),
    made="files of such names beside an image",
    expected=(
        "split at the first two '_' only; ignore unknown suffixes; treat 8bit as image variant"
    ),
)
def csaw_odd_class_words(factory, place):
    folder = place / "anonymized_dataset" / "012"
    folder.mkdir(parents=True)
    for word in ("", "_non-mammary_tissue", "_unclassified", "_8bit", "_scar_tissue"):
        (folder / f"012_0{word}.png").touch()
    (record,) = index_of("csaw", place).records
    assert record.image.endswith("/012_0.png")
    assert [x.kind for x in record.lesions] == ["non_mammary_tissue", "unclassified"]
    assert [(name[-8:], why) for name, why in record.others] == [
        ("8bit.png", "image_variant"),
        ("ssue.png", "unknown_class"),
    ]


@quirk(
    "CSAW-S",
    "missing class file means empty",
    made="an image without a file of its cancer in the synthetic archive",
    expected="class not marked: left out and counted (empty mask with --with-empty)",
)
def csaw_missing_class_files(factory, place):
    root = archive(factory, "csaw").root
    plain = convert("csaw", root, place / "plain")
    assert plain.code == 0
    assert "no_chosen_kind" in plain.left_out["train_001_10"]
    empty = convert("csaw", root, place / "empty", "--with-empty")
    assert empty.records["train_001_10"]["mask_pixels"] == "0"


@quirk(
    "CSAW-S",
    "foreground is any value >0",
    made="a mask of the synthetic archive that holds 1",
    expected="threshold >0, never ==255",
)
def csaw_any_value_above_zero(factory, place):
    built = archive(factory, "csaw")
    (truth,) = [t for t in built.truths if (t.record, t.label) == ("train_012_1", "cancer")]
    assert set(np.unique(read_png(built.root / truth.source))) == {0, 1}
    done = convert("csaw", built.root, place / "out")
    assert np.array_equal(done.mask("train_012_1"), truth.mask)


@quirk(
    "CSAW-S",
    "test and train patient numbers collide",
    made="image 0 of patient 012 in both parts of the synthetic archive",
    expected="prefix id with split",
)
def csaw_numbers_of_both_parts(factory, place):
    records = records_of("csaw", archive(factory, "csaw").root)
    train, test = records["train_012_0"], records["test_012_0"]
    assert (train.patient_id, train.group) == ("012", "csaw:train_012")
    assert (test.patient_id, test.group) == ("012", "csaw:test_012")
    assert train.image != test.image


@quirk(
    "CSAW-S",
    "masks of different size than the image occur",
    made="a mask nine rows too short, and one twice as large",
    expected="skip or resize with warning",
    instead="resized with a warning only where one scale fits both sides; else the record fails",
)
def csaw_masks_of_other_sizes(factory, place):
    root = copy_of(factory, "csaw", place / "copy")
    folder = "CsawS/anonymized_dataset/012"
    first, second = (read_png(root / folder / f"012_{n}_cancer.png") > 0 for n in (0, 1))
    csaw.write_mask(root, f"{folder}/012_0_cancer.png", first[:-9])
    csaw.write_mask(root, f"{folder}/012_1_cancer.png", np.kron(second, np.ones((2, 2))))
    done = convert("csaw", root, place / "out")
    assert (done.code, done.failed) == (1, {"train_012_0": "mask_size"})
    assert "mask_resized" in done.codes()
    assert np.array_equal(done.mask("train_012_1"), second)


@quirk(
    "CSAW-S",
    "three annotators for test, one for train",
    made="the annotators of the synthetic archive",
    expected="annotator argument, default 1; expose all",
)
def csaw_annotators(factory, place):
    root = archive(factory, "csaw").root
    assert {r.annotator for r in records_of("csaw", root).values()} == {"1"}
    assert {key for key in records_of("csaw", root, annotator="all") if "011_1" in key} == {
        "test_011_1_a1",
        "test_011_1_a2",
        "test_011_1_a3",
    }
    areas = set()
    for reader in "123":
        done = convert("csaw", root, place / reader, "--annotator", reader)
        areas.add(done.records["test_011_1"]["mask_pixels"])
    assert len(areas) == 3


@quirk(
    "CSAW-S",
    "overlapping classes; official order lets cancer win",
    made="the masks of skin and gland of the synthetic archive, which overlap",
    expected="multi-label masks; optional merge in official order",
    instead="several kinds are united and nothing cancels; --masks lesion keeps them apart",
)
def csaw_overlapping_classes(factory, place):
    root = copy_of(factory, "csaw", place / "copy")
    folder = root / "CsawS/anonymized_dataset/012"
    cancer = read_png(folder / "012_0_cancer.png") > 0
    csaw.write_mask(folder, "012_0_mammary_gland.png", np.ones_like(cancer))
    options = ("--kind", "cancer", "--kind", "mammary_gland", "--masks", "lesion")
    done = convert("csaw", root, place / "out", *options)
    parts = done.folder / "lesions" / "train_012_0"
    assert np.array_equal(read_png(parts / "cancer-cancer.png") > 0, cancer)
    assert (read_png(parts / "mammary_gland-mammary_gland.png") > 0).all()
    assert done.mask("train_012_0").all()


@quirk(
    "CSAW-S",
    "images may be RGB or 16 bit",
    made="a coloured image and one of 16 bits in the synthetic archive",
    expected="collapse equal channels; keep dtype",
)
def csaw_coloured_and_deep_images(factory, place):
    root = archive(factory, "csaw").root
    done = convert("csaw", root, place / "out")
    colour = read_png(root / "CsawS/anonymized_dataset/012/012_1.png")
    deep = read_png(root / "CsawS/anonymized_dataset/012/012_0.png")
    assert colour.shape[2:] == (3,)
    assert np.array_equal(done.image("train_012_1"), colour[:, :, 1])
    assert done.image("train_012_0").dtype == deep.dtype == np.uint16
    assert np.array_equal(done.image("train_012_0"), deep)


@quirk(
    "CBIS-DDSM",
    "crop/mask columns unreliable; order in series not fixed",
    made="both files of each lesion exchanged",
    expected="choose mask by BitsAllocated 8 / <=2 values / shape of full image",
)
def cbis_mask_or_crop(factory, place):
    root = copy_of(factory, "cbis", place / "copy")
    for path in root.rglob("1-1.dcm"):
        other = path.with_name("1-2.dcm")
        if other.exists():
            first = path.read_bytes()
            path.write_bytes(other.read_bytes())
            other.write_bytes(first)
    cbis.check_masks(factory, root, place / "out")
    cbis.check_masks(factory, archive(factory, "cbis").root, place / "unchanged")


@quirk(
    "CBIS-DDSM",
    "104 abnormalities have crop and mask in separate series",
    made="two lesions of the synthetic archive with mask and crop in two series",
    expected="look at both CSV paths",
)
def cbis_two_series(factory, place):
    records = records_of("cbis", archive(factory, "cbis").root)
    for key in (cbis.SEPARATE, cbis.ENLARGED):
        (lesion,) = records[key].lesions
        assert len({name.rsplit("/", 1)[0] for name in lesion.shape.files}) == 2
    done = convert("cbis", archive(factory, "cbis").root, place / "out")
    assert np.array_equal(done.mask(cbis.SEPARATE), cbis.truths(factory)[cbis.SEPARATE, "1"])


@quirk(
    "CBIS-DDSM",
    "newline inside last path cell of every row (mask cell in mass, crop cell in calc)",
    made="the tables of the synthetic archive",
    expected="csv module, strip",
)
def cbis_newlines_in_cells(factory, place):
    root = archive(factory, "cbis").root
    text = (root / "mass_case_description_train_set.csv").read_text()
    rows = index_of("cbis", root).tables["mass_case_description_train_set.csv"]
    assert (rows, len(text.splitlines())) == (4, 1 + 2 * 4)
    records = records_of("cbis", root)
    assert all(len(x.shape.files) == 2 for r in records.values() for x in r.lesions)


@quirk(
    "CBIS-DDSM",
    "header 'breast_density' (mass) vs 'breast density' (calc)",
    made="the tables of the synthetic archive",
    expected="normalise headers: lower, spaces->underscore",
)
def cbis_two_spellings_of_density(factory, place):
    root = archive(factory, "cbis").root
    tables = sorted(root.glob("*_train_set.csv"))
    heads = {path.name[:4]: path.read_text().splitlines()[0] for path in tables}
    assert "breast_density" in heads["mass"]
    assert "breast density" in heads["calc"]
    records = records_of("cbis", root)
    assert records["Mass-Training_P_90001_LEFT_CC"].density == "3"
    assert records["Calc-Training_P_90005_RIGHT_CC"].density == "1"


@quirk(
    "CBIS-DDSM",
    "N/A text, density 0, subtlety 0, assessment 0",
    made="a row with these values",
    expected="N/A -> None; keep 0 as given",
)
def cbis_zeros_and_not_available(factory, place):
    row = cbis.cells(breast_density="0", assessment="0", subtlety="0", a="N/A", b="ILL_DEFINED")
    record = cbis.only(cbis.listing(place, row))
    assert (record.density, record.birads) == ("0", "0")
    assert record.lesions[0].attributes == {
        "mass_margins": "ILL_DEFINED",
        "subtlety": "0",
        "assessment": "0",
    }


@quirk(
    "CBIS-DDSM",
    (
        "calc-test full+mask lack SeriesDescription/Laterality/dates, PatientID "
        "'P_02464_RIGHT_CC.dcm' in older copies"
    ),
    made="the calcification test part of the synthetic archive, in folders that tell nothing",
    expected="never filter on SeriesDescription; use SeriesInstanceUID from CSV",
)
def cbis_blank_headers(factory, place):
    root = cbis.laid_out(archive(factory, "cbis").root, place / "flat", cbis.numbered)
    record = records_of("cbis", root)[cbis.BLANK]
    header = pydicom.dcmread(root / record.image, stop_before_pixels=True)
    assert (header.SeriesDescription, header.Laterality, header.StudyDate) == ("", "", "")
    assert header.PatientID.endswith(".dcm")
    done = convert("cbis", root, place / "out", *every_kind())
    assert np.array_equal(done.mask(cbis.BLANK), cbis.truths(factory)[cbis.BLANK, "1"])


@quirk(
    "CBIS-DDSM",
    "mask size differs from image (factor 1.149 or a few px; P_00353 CC/MLO look exchanged)",
    made="a mask 1.149 times as large, and one a few pixels too small",
    expected=(
        "one scale within 0.1 % on both sides -> nearest resize + warning; else the record fails"
    ),
)
def cbis_enlarged_masks(factory, place):
    root = copy_of(factory, "cbis", place / "copy")
    path = cbis.mask_file(root, cbis.TWO)
    cbis.rewritten(path, np.ascontiguousarray(pydicom.dcmread(path).pixel_array[:-4, :-3]))
    done = convert("cbis", root, place / "out")
    assert (done.code, done.failed) == (1, {cbis.TWO: "mask_size"})
    assert np.array_equal(done.mask(cbis.ENLARGED), cbis.truths(factory)[cbis.ENLARGED, "1"])
    resized = [row for row in done.rows("problems.csv") if row["code"] == "mask_resized"]
    assert [row["record_id"] for row in resized] == [cbis.ENLARGED]


@quirk(
    "CBIS-DDSM",
    "masks with other than two grey values",
    made="a mask of 0, 200 and five others",
    expected="threshold above half of the maximum",
)
def cbis_masks_of_more_greys(factory, place):
    root = copy_of(factory, "cbis", place / "copy")
    path = cbis.mask_file(root, cbis.SEPARATE)
    pixels = pydicom.dcmread(path).pixel_array // 255 * np.uint8(200)
    pixels[0, :5] = (1, 60, 99, 13, 2)
    cbis.rewritten(path, pixels)
    done = convert("cbis", root, place / "out")
    assert np.array_equal(done.mask(cbis.SEPARATE), cbis.truths(factory)[cbis.SEPARATE, "1"])


@quirk(
    "CBIS-DDSM",
    "31 patients in both train and test (across calc/mass)",
    made="a patient of the synthetic archive in mass training and calcification test",
    expected="offer patient-safe split; warn when combining",
    instead="a published peculiarity is a note; `group` is what splits by patient",
)
def cbis_patients_of_both_parts(factory, place):
    index = index_of("cbis", archive(factory, "cbis").root)
    shared = [record for record in index.records if record.patient_id == "P_90001"]
    assert {record.record_id.split("_")[0] for record in shared} == {"Mass-Training", "Calc-Test"}
    assert {record.group for record in shared} == {"cbis:P_90001"}
    assert index.notes == ("1 patient in both the training and the test part",)


@quirk(
    "CBIS-DDSM",
    "PatientID is per image/abnormality (6,671 ids)",
    made="the headers of the synthetic archive",
    expected="patient = P_\\d{5}",
)
def cbis_patient_ids_of_headers(factory, place):
    root = archive(factory, "cbis").root
    ids = {str(pydicom.dcmread(p, stop_before_pixels=True).PatientID) for p in root.rglob("*.dcm")}
    records = records_of("cbis", root)
    assert len(ids) > 10
    patients = {record.patient_id for record in records.values()}
    assert patients == {"P_90001", "P_90005", "P_90092", "P_90145"}


@quirk(
    "CBIS-DDSM",
    "NBIA folders with dates, random suffixes, manifest-* root, metadata.csv with .\\ paths",
    made="the synthetic archive, and a copy without metadata.csv under another name",
    expected="index by SeriesInstanceUID (header or metadata.csv)",
)
def cbis_retriever_folders(factory, place):
    root = archive(factory, "cbis").root
    (listed,) = root.rglob("metadata.csv")
    assert ".\\CBIS-DDSM\\" in listed.read_text()
    other = moved(root, place / "moved", lambda n: n.replace("manifest-", "Downloads/manifest-9"))
    assert delete(other, "metadata.csv") == 1
    assert list(records_of("cbis", other)) == list(records_of("cbis", root))
    assert all(record.image for record in records_of("cbis", other).values())


@quirk(
    "CBIS-DDSM",
    "no PixelSpacing, view in PatientOrientation",
    made="a film of the synthetic archive",
    expected="spacing None; view/side from CSV",
)
def cbis_no_spacing(factory, place):
    root = archive(factory, "cbis").root
    done = convert("cbis", root, place / "out")
    for row in done.records.values():
        header = pydicom.dcmread(root / row["source_image"], stop_before_pixels=True)
        assert "PixelSpacing" not in header
        assert (row["pixel_spacing_mm"], row["mask_area_mm2"]) == ("", "")
        assert row["view"] == header.PatientOrientation
        assert row["laterality"] == row["record_id"].split("_")[3][0]


@quirk(
    "CBIS-DDSM",
    "Kaggle JPEG: jpeg/<SeriesUID>/1-ddd.jpg,2-ddd.jpg; one series missing; lossy masks",
    made="the synthetic archive as JPEG, one series taken away",
    expected="full series has 1 file; threshold 128; report P_01563_RIGHT_MLO_2 missing",
)
def cbis_jpeg_copy(factory, place):
    root = cbis.as_jpeg(archive(factory, "cbis").root, place / "original")
    records = records_of("cbis", root)
    second = records[cbis.TWO].lesions[1]
    shutil.rmtree((root / second.shape.files[0]).parent)
    done = convert("cbis", root, place / "out")
    assert (done.code, done.failed) == (1, {cbis.TWO: "mask_missing"})
    (problem,) = [row for row in done.rows("problems.csv") if row["severity"] == "failed"]
    assert "abnormality 2" in problem["message"]
    wrong = done.mask(cbis.SEPARATE) ^ cbis.truths(factory)[cbis.SEPARATE, "1"]
    assert wrong.sum() <= 0.01 * done.mask(cbis.SEPARATE).sum()


@quirk(
    "CBIS-DDSM",
    "mirror CSV with CRLF, renamed columns, backslash paths",
    made="a table with CRLF, underscores in its headers and backslashes in its paths",
    expected="accept aliases and both slashes",
)
def cbis_changed_tables(factory, place):
    row = {
        key: value.replace("/", "\\") if key.endswith("path") else value
        for key, value in cbis.cells().items()
    }
    root = cbis.listing(place, row, header=cbis.MASS.replace(" ", "_"))
    table = root / "mass_case_description_train_set.csv"
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    record = cbis.only(root)
    assert record.record_id == cbis.FILM
    assert record.image
    assert len(record.lesions[0].shape.files) == 2


@quirk(
    "CBIS-DDSM",
    "abnormality id is not the same lesion across views; pathology differs in 6",
    made="abnormality 1 of two views, of unlike pathology",
    expected="do not link views by id",
)
def cbis_abnormality_ids(factory, place):
    other = cbis.FILM.replace("_CC", "_MLO")
    rows = [cbis.cells(pathology="BENIGN"), cbis.cells(other, pathology="MALIGNANT")]
    records = records_of("cbis", cbis.listing(place, *rows))
    told = {key: (r.lesions[0].lesion_id, r.pathology) for key, r in records.items()}
    assert told == {cbis.FILM: ("1", "benign"), other: ("1", "malignant")}


@quirk(
    "CDD-CESM",
    "five shapes: polygon, ellipse, circle, polyline 10, point 4; no theta",
    made="one region of each shape, an ellipse with theta too",
    expected="support all; polygon-only readers lose 32 %; honour theta if present",
)
def cdd_five_shapes(factory, place):
    rows = [cdd.region(cell, number=n, count=7) for n, (cell, _, _) in enumerate(cdd.SHAPES)]
    root = cdd.small(place / "a", *rows)
    assert [x.shape for x in cdd.only(root).lesions] == [shape for _, shape, _ in cdd.SHAPES]
    done = convert("cdd", root, place / "out")
    assert [line["geometry"] for line in done.lesions.values()] == [g for _, _, g in cdd.SHAPES]
    areas = [int(line["area_px"]) for line in done.lesions.values()]
    assert min(areas) == 1
    assert done.items()["contours"]["written"] == 7


@quirk(
    "CDD-CESM",
    "points: authors paint radius 25; polylines ignored by authors",
    made="a point and a polyline of the synthetic archive",
    expected=(
        "one pixel for points, --point-radius 25 gives the authors' rule; polylines closed "
        "and filled"
    ),
)
def cdd_points_and_polylines(factory, place):
    root = archive(factory, "cdd").root
    one = convert("cdd", root, place / "one")
    disc = convert("cdd", root, place / "disc", "--point-radius", 25)
    point = next(key for key, line in one.lesions.items() if line["geometry"] == "points")
    line = next(key for key, line in one.lesions.items() if line["geometry"] == "polyline")
    assert one.lesions[point]["area_px"] == "1"
    assert int(disc.lesions[point]["area_px"]) > 1000
    assert int(one.lesions[line]["area_px"]) > 50
    assert one.lesions[line]["closed"] == "0"


@quirk(
    "CDD-CESM",
    "negative coordinates in 9 regions",
    made="a polygon over the left border in the synthetic archive",
    expected="clip",
)
def cdd_negative_coordinates(factory, place):
    built = archive(factory, "cdd")
    negative = [t for t in built.truths if np.array(t.points).min() < 0]
    done = convert("cdd", built.root, place / "out", "--image-type", "all")
    assert {(t.record, t.lesion_id) for t in negative} == {
        key for key, line in done.lesions.items() if line["clipped"] == "1"
    }
    assert "lesion_clipped" in done.codes()
    assert done.code == 0


@quirk(
    "CDD-CESM",
    "no class per region",
    made="a malignant image of the synthetic archive",
    expected="class from xlsx by image",
)
def cdd_no_class_of_regions(factory, place):
    record = records_of("cdd", archive(factory, "cdd").root)["P1_L_DM_MLO"]
    told = {(x.kind, x.label, x.pathology) for x in record.lesions}
    assert told == {("finding", "", "malignant")}
    assert (record.pathology, record.attributes["findings"]) == ("malignant", "Mass")


@quirk(
    "CDD-CESM",
    "Type CESM vs file code CM",
    made="a CM image of the synthetic archive, CESM in its workbook",
    expected="map CM<->CESM",
)
def cdd_cesm_is_cm(factory, place):
    record = records_of("cdd", archive(factory, "cdd").root, image_type="cm")["P1_L_CM_MLO"]
    assert (record.attributes["image_type"], record.left_out) == ("CM", "")
    assert record.pathology == "malignant"
    assert len(record.rows) == 1


@quirk(
    "CDD-CESM",
    "trailing blanks in Image_name and image stems",
    made="a blank behind a name of the synthetic archive, on disk and in the workbook",
    expected="compare stripped stems, on disk too",
)
def cdd_trailing_blanks(factory, place):
    root = archive(factory, "cdd").root
    (image,) = root.rglob("P3_L_CM_CC .jpg")
    record = records_of("cdd", root, image_type="all")["P3_L_CM_CC"]
    assert record.image.endswith(image.name)
    assert (record.pathology, record.left_out) == ("normal", "")


@quirk(
    "CDD-CESM",
    "P99_L_*_MLO_2 extra images",
    made="the two images of the synthetic archive",
    expected="regex with optional _\\d+",
)
def cdd_second_images(factory, place):
    records = records_of("cdd", archive(factory, "cdd").root, image_type="all")
    for key in ("P99_L_DM_MLO_2", "P99_L_CM_MLO_2"):
        assert (records[key].group, records[key].view) == ("cdd:P99", "MLO")
        assert records[key].left_out == ""


@quirk(
    "CDD-CESM",
    "BIRADS '3$2', density '_'",
    made="an image of the synthetic archive with these cells",
    expected="split on $, '_'->None",
)
def cdd_several_birads(factory, place):
    record = records_of("cdd", archive(factory, "cdd").root, image_type="cm")["P2_R_CM_CC"]
    assert (record.birads, record.density) == ("3", "")
    assert record.attributes["birads_as_published"] == "3$2"


@quirk(
    "CDD-CESM",
    "normal images with regions (8), abnormal without (24)",
    made="such images of the synthetic archive",
    expected=(
        "no region = left out and counted; --with-empty takes only the normals, the 24 "
        "abnormal ones are unmarked_positive"
    ),
)
def cdd_normals_with_regions(factory, place):
    root = archive(factory, "cdd").root
    plain = convert("cdd", root, place / "plain")
    assert plain.records["P4_R_DM_CC"]["pathology"] == "normal"
    assert plain.left_out["P5_L_DM_MLO"] == {"no_lesion"}
    empty = convert("cdd", root, place / "empty", "--with-empty")
    assert empty.records["P3_L_DM_CC"]["mask_pixels"] == "0"
    assert empty.left_out["P5_L_DM_MLO"] == {"unmarked_positive"}
    assert "1 image with regions, called normal" in index_of("cdd", root).notes[0]


@quirk(
    "CDD-CESM",
    "some polygons closed (2,016) some not (22)",
    made="a triangle, closed and not",
    expected="drop repeated last point",
)
def cdd_closed_and_open_polygons(factory, place):
    closed = {"name": "polygon", "all_points_x": [5, 25, 9, 5], "all_points_y": [5, 8, 30, 5]}
    still = {"name": "polygon", "all_points_x": [5, 25, 9], "all_points_y": [5, 8, 30]}
    root = cdd.small(place, cdd.region(closed, count=2), cdd.region(still, number=1, count=2))
    first, second = cdd.only(root).lesions
    assert first.shape == second.shape == Polygon(((5, 5), (25, 8), (9, 30)))


@quirk(
    "CDD-CESM",
    "region_count 0 / '{}' rows in other VIA exports",
    made="a row without a region beside one with",
    expected="skip '{}'",
)
def cdd_rows_without_region(factory, place):
    other = "P8_R_DM_CC"
    rows = [cdd.region("{}", count=0, number=""), cdd.region(image=other)]
    root = cdd.small(place / "a", *rows, images=(cdd.IMAGE, other))
    records = records_of("cdd", root)
    assert (records[cdd.IMAGE].lesions, len(records[other].lesions)) == ((), 1)
    done = convert("cdd", root, place / "out")
    assert (done.code, list(done.records)) == (0, [other])


@quirk(
    "CDD-CESM",
    "~$P54.docx lock file; sheet names with blanks and typos",
    made="a workbook whose sheet `all` has a blank and stands second, beside a lock file",
    expected="skip ~$*; select sheet 'all' by name",
)
def cdd_lock_files_and_sheets(factory, place):
    root = cdd.small(place, cdd.region())
    cdd.write_book(root / cdd.BOOK, cdd.facts(pathology="Benign"), title="mass_description")
    book = openpyxl.load_workbook(root / cdd.BOOK)
    sheet = book.create_sheet("All ")
    for line in (cdd.COLUMNS, cdd.facts()):
        sheet.append(list(line))
    book.save(root / cdd.BOOK)
    for name in (f"~${cdd.BOOK}", "~$P54.docx"):
        (root / name).write_bytes(b"\x05owner")
    index = index_of("cdd", root)
    assert (index.failed, index.warnings) == ((), ())
    assert index.records[0].pathology == "malignant"


# ------------------------------------------------------------------------------ the tests


def name_of(one: Quirk) -> str:
    return f"{one.dataset}: {re.sub(r'[^A-Za-z0-9]+', ' ', one.quirk)[:60].strip()}"


@pytest.mark.parametrize("one", QUIRKS, ids=name_of)
def test_quirk(one, tmp_path_factory, tmp_path):
    one.check(tmp_path_factory, tmp_path)


def listed(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["dataset"], row["quirk"], row["robust_reader_reaction"]) for row in rows]


def test_every_quirk_of_the_list_is_tested_row_for_row():
    assert [(one.dataset, one.quirk, one.expected) for one in QUIRKS] == listed(TABLE)
    assert len({one.check for one in QUIRKS}) == len(QUIRKS)
    assert all(one.made for one in QUIRKS)


def test_every_quirk_of_the_later_archives_names_its_test():
    with (TABLE.parent / "quirks_more.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        module, _, name = row["test"].partition("::")
        text = (TABLE.parent.parent / module).read_text(encoding="utf-8")
        assert f"\ndef {name}(" in text, row["test"]


def test_the_list_is_the_newest():
    newest = Path(os.environ.get("BCSEG_REAL_DATA", ".")).parent / "quirks.csv"
    if not os.environ.get("BCSEG_REAL_DATA") or not newest.is_file():
        pytest.skip("no newer list here")
    assert listed(newest) == listed(TABLE)
