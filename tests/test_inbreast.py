"""What is peculiar to INbreast: OsiriX regions, corner coordinates, muscles, renamed files."""

from __future__ import annotations

import plistlib
import shutil
import sys

import cv2
import numpy as np
import pytest

from bcseg.record import CornerLine, Dots, Polygon, Spline, Unreadable
from test_adapters import (
    archive,
    convert,
    copy_of,
    delete,
    every_kind,
    index_of,
    lesions_of,
    moved,
    records_of,
    replace_in,
)
from test_osirix import export, roi
from test_tables import biff

TOP = "INbreast Release 1.0"
NORMAL, CALCS, FB = "53100179", "53100205", "53100257"
MASS, MUSCLE_A, MUSCLE_B = "53100101", "53100127", "53100153"
SQUARE = ((20.0, 10.0), (44.0, 10.0), (44.0, 30.0), (20.0, 30.0))


def contours(root, file_id=NORMAL):
    return root / TOP / "AllXML" / f"{file_id}.xml"


def with_regions(factory, place, *rois, file_id=NORMAL):
    """Return a copy of the archive in which one image has other regions."""
    root = copy_of(factory, "inbreast", place)
    contours(root, file_id).write_bytes(export(*rois))
    return root


def only_lesion(factory, place, *rois, **options):
    root = with_regions(factory, place, *rois)
    record = records_of("inbreast", root)[NORMAL]
    (lesion,) = lesions_of("inbreast", root, record, **options).values()
    return lesion


# ------------------------------------------------------------------------------ ids, tables


def test_what_names_and_table_tell(tmp_path_factory):
    records = records_of("inbreast", archive(tmp_path_factory, "inbreast").root)
    told = {k: (r.laterality, r.view, r.birads, r.density) for k, r in records.items()}
    assert told == {
        "53100101": ("R", "CC", "5", "2"),
        "53100127": ("R", "MLO", "5", "2"),
        "53100153": ("L", "MLO", "4a", ""),  # its density is 193 blanks
        "53100179": ("L", "CC", "1", "1"),
        "53100205": ("L", "CC", "4c", "3"),
        "53100231": ("R", "CC", "6", "4"),
        "53100257": ("R", "FB", "2", "4"),
    }
    for record in records.values():
        assert record.patient_id in record.image
        assert record.group == f"inbreast:{record.patient_id}"
        assert record.attributes == {"acquisition": "201001"}
        assert not record.film
    assert records["53100101"].group == records["53100127"].group  # two views of one patient
    assert len({record.group for record in records.values()}) == 5


def test_files_renamed_to_their_number_keep_all_but_the_patient(tmp_path_factory, tmp_path):
    root = moved(
        archive(tmp_path_factory, "inbreast").root,
        tmp_path / "moved",
        lambda name: name.split("_")[0] + ".dcm" if name.endswith(".dcm") else name,
    )
    record = records_of("inbreast", root)[MUSCLE_B]
    assert record.image == f"{TOP}/AllDICOMs/{MUSCLE_B}.dcm"
    assert (record.laterality, record.view, record.birads) == ("L", "MLO", "4a")
    assert (record.group, record.patient_id) == ("", "")


def test_all_files_in_one_folder(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "inbreast").root
    flat = moved(root, tmp_path / "moved", lambda name: name.rsplit("/", 1)[-1])
    before, after = records_of("inbreast", root), records_of("inbreast", flat)
    assert list(after) == list(before)
    for key, record in after.items():
        assert record.image == before[key].image.rsplit("/", 1)[-1]
        found = lesions_of("inbreast", flat, record)
        known = lesions_of("inbreast", root, before[key])
        assert {k: (v.kind, v.shape) for k, v in found.items()} == {
            k: (v.kind, v.shape) for k, v in known.items()
        }


def test_a_png_export_beside_the_dicom_is_a_copy_and_alone_is_the_image(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    dicom = next((root / TOP / "AllDICOMs").glob(f"{MASS}_*.dcm"))
    pixels = np.zeros((408, 333), np.uint8)
    cv2.imwrite(str(dicom) + ".png", pixels)
    cv2.imwrite(str(dicom.parent / f"{MASS}.png"), pixels)
    index = index_of("inbreast", root)
    assert next(r for r in index.records if r.record_id == MASS).image.endswith(".dcm")
    assert {one.items[0][-8:] for one in index.left_out if one.code == "duplicate_image"} == {
        ".dcm.png",
        "3100101.png"[-8:],
    }
    dicom.unlink()
    record = records_of("inbreast", root)[MASS]
    assert record.image.endswith("_ANON.dcm.png")
    assert record.laterality == "R"


def test_the_table_may_be_missing(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    delete(root, r"INbreast\.csv")
    index = index_of("inbreast", root)
    assert [one.code for one in index.warnings] == ["table_missing"]
    assert {record.birads for record in index.records} == {""}
    assert convert("inbreast", root, tmp_path / "out").code == 0


def test_rows_of_a_table_saved_by_pandas_have_float_file_names(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    replace_in(root / TOP / "INbreast.csv", f";{MASS};", f";{MASS}.0;")
    assert records_of("inbreast", root)[MASS].birads == "5"


def test_a_table_without_file_names_is_said_to_be_unreadable(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    replace_in(root / TOP / "INbreast.csv", "File Name", "Other")
    done = convert("inbreast", root, tmp_path / "out")
    assert done.code == 1
    assert "unreadable_table" in done.codes()
    assert len(done.records) == 4


def test_a_row_of_an_image_that_is_not_there_is_left_out(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    table = root / TOP / "INbreast.csv"
    table.write_bytes(table.read_bytes() + b"removed;removed;L;CC;201001;53999999;1;1\r\n")
    done = convert("inbreast", root, tmp_path / "out")
    assert done.code == 0
    assert done.left_out["53999999"] == {"no_image"}


def test_contours_without_their_image_are_left_out_and_counted(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    delete(root, f"{MASS}_.*dcm$")
    done = convert("inbreast", root, tmp_path / "out")
    assert done.code == 0
    assert done.left_out[MASS] == {"no_image"}
    assert done.items()["contours"]["found"] == 23


# ------------------------------------------------------------------------------ INbreast.xls


SHEET = [
    *("Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name"),
    *("ACR", "Bi-Rads", "Mass ", "Micros", "Distortion", "Asymmetry", "Findings Notes"),
    *("Other Notes", "Lesion Annotation Status", "Pectoral Muscle Annotation"),
    "Other Annotations",
]


def sheet_row(file_id, birads="1", flag="", status=""):
    cells = dict.fromkeys(SHEET, None) | {
        "Patient ID": "removed",
        "Laterality": "L",
        "View": "CC",
        "File Name": float(file_id),
        "ACR": 1.0,
        "Bi-Rads": birads,
        "Lesion Annotation Status": status or None,
    }
    if flag:
        cells[flag] = "X"
    return list(cells.values())


def with_workbook(factory, place, *rows, table=True):
    root = copy_of(factory, "inbreast", place)
    (root / TOP / "INbreast.xls").write_bytes(biff([SHEET, *rows]))
    if not table:
        delete(root, r"INbreast\.csv")
    return root


def test_the_workbook_tells_what_the_table_tells_and_its_last_rows_are_no_images(
    tmp_path_factory, tmp_path
):
    totals = [None] * 8 + [28.0, 49.0, 108.0, 308.0]
    rows = [sheet_row(MASS, "4b"), totals]
    root = with_workbook(tmp_path_factory, tmp_path / "copy", *rows, table=False)
    index = index_of("inbreast", root)
    record = next(record for record in index.records if record.record_id == MASS)
    assert record.birads == "4b"
    assert record.rows == (f"{TOP}/INbreast.xls#1",)
    assert [(one.code, one.items) for one in index.left_out if "xls" in one.items[0]] == [
        ("not_an_image_row", (f"{TOP}/INbreast.xls#2",))
    ]
    done = convert("inbreast", root, tmp_path / "out")
    assert (done.code, done.items()["table rows"]["found"]) == (0, 2)


def test_without_the_package_for_old_workbooks_the_table_is_enough(
    tmp_path_factory, tmp_path, monkeypatch
):
    root = with_workbook(tmp_path_factory, tmp_path / "copy", sheet_row(MASS))
    monkeypatch.setitem(sys.modules, "xlrd", None)
    index = index_of("inbreast", root)
    assert [one.code for one in index.warnings] == ["missing_extra"]
    assert next(record for record in index.records if record.record_id == MASS).birads == "5"


@pytest.mark.parametrize(
    ("kind", "fate"), [("mass", "unmarked_positive"), ("distortion", "written")]
)
def test_a_flag_of_the_workbook_without_such_a_contour_is_not_believed_empty(
    kind, fate, tmp_path_factory, tmp_path
):
    root = with_workbook(tmp_path_factory, tmp_path / "copy", sheet_row(FB, "2", flag="Mass "))
    done = convert("inbreast", root, tmp_path / "out", "--with-empty", "--kind", kind)
    assert done.code == 0
    if fate == "written":
        assert done.records[FB]["mask_pixels"] == "0"
    else:
        assert fate in done.left_out[FB]


# ------------------------------------------------------------------------------ kinds, shapes


NAMES = [
    ("Mass", "mass"),
    ("mass ", "mass"),
    ("Calcification", "calcification"),
    ("Calcifications", "calcification"),
    ("Cluster", "cluster"),
    ("Spiculated Region", "spiculated_region"),
    ("Spiculated region", "spiculated_region"),
    ("Espiculated Region", "spiculated_region"),
    ("Asymmetry", "asymmetry"),
    ("Assymetry", "asymmetry"),
    ("Distortion", "distortion"),
    ("Pectoral Muscle", "pectoral_muscle"),
    ("Unnamed", "finding"),
    ("Point 1", "finding"),
    ("Point 3", "finding"),
    ("", "finding"),
    (None, "finding"),
    ("Lymph node", "finding"),
]


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_the_kind_of_a_contour(name, kind, tmp_path_factory, tmp_path):
    lesion = only_lesion(tmp_path_factory, tmp_path / "copy", roi(Name=name))
    assert lesion.kind == kind
    assert lesion.label == (name or "").strip()


@pytest.mark.parametrize("name", ["Unnamed", "Point 1", "Point 3", "", None, "Calcification"])
def test_a_single_point_without_a_telling_name_is_a_calcification(name, tmp_path_factory, tmp_path):
    region = roi(points=[(10.2, 7.9)], Name=name, Type=19, Area=0.0)
    assert only_lesion(tmp_path_factory, tmp_path / "copy", region).kind == "calcification"


def test_a_single_point_that_is_named_a_mass_is_one(tmp_path_factory, tmp_path):
    region = roi(points=[(10.2, 7.9)], Name="Mass", Type=19)
    assert only_lesion(tmp_path_factory, tmp_path / "copy", region).kind == "mass"


@pytest.mark.parametrize(
    ("tool", "shape"),
    [
        (15, Spline(tuple((x - 0.5, y - 0.5) for x, y in SQUARE), 0.125)),
        (None, Spline(tuple((x - 0.5, y - 0.5) for x, y in SQUARE), 0.125)),
        (9, Polygon(tuple((x - 0.5, y - 0.5) for x, y in SQUARE))),
        (11, Polygon(tuple((x - 0.5, y - 0.5) for x, y in SQUARE))),
        (6, Polygon(tuple((x - 0.5, y - 0.5) for x, y in SQUARE))),
        (10, Polygon(tuple((x - 0.5, y - 0.5) for x, y in SQUARE), closed=False)),
    ],
)
def test_the_tool_decides_the_shape(tool, shape, tmp_path_factory, tmp_path):
    lesion = only_lesion(tmp_path_factory, tmp_path / "copy", roi(points=SQUARE, Type=tool))
    assert lesion.shape == shape
    assert lesion.attributes == ({} if tool is None else {"type": str(tool)})


@pytest.mark.parametrize("points", [SQUARE[:1], SQUARE[:2]])
def test_one_or_two_points_are_points_whatever_the_tool(points, tmp_path_factory, tmp_path):
    lesion = only_lesion(tmp_path_factory, tmp_path / "copy", roi(points=points))
    assert lesion.shape == Dots(tuple((x - 0.5, y - 0.5) for x, y in points))


def test_a_line_that_is_no_muscle_is_not_closed_through_a_corner(tmp_path_factory, tmp_path):
    root = with_regions(tmp_path_factory, tmp_path / "copy", roi(points=SQUARE, Type=10))
    done = convert("inbreast", root, tmp_path / "out")
    assert int(done.records[NORMAL]["mask_pixels"]) == 24 * 20
    assert done.lesions[NORMAL, "0"]["closed"] == "0"


@pytest.mark.parametrize(("area", "geometry"), [("polygon", "polygon"), ("spline", "spline")])
def test_the_stored_area_tells_a_polygon_from_a_curve(area, geometry, tmp_path_factory, tmp_path):
    # the curve through four corners of a square is about 1.3 times as large as the square
    pixels = 24 * 20 * {"polygon": 1.0, "spline": 1.3}[area]
    region = roi(points=SQUARE, Area=pixels * 0.07**2 / 100)
    root = with_regions(tmp_path_factory, tmp_path / "copy", region)
    done = convert("inbreast", root, tmp_path / "out")
    assert done.lesions[NORMAL, "0"]["geometry"] == geometry
    assert "area_deviation" in done.lesions[NORMAL, "0"]["attributes"]


# ------------------------------------------------------------------------------ half a pixel


@pytest.mark.parametrize(("origin", "pixel"), [("corner", (10, 7)), ("centre", (10, 8))])
def test_a_point_lies_in_the_pixel_that_its_origin_says(origin, pixel, tmp_path_factory, tmp_path):
    region = roi(points=[(10.2, 7.9)], Name="Mass", Type=19)
    root = with_regions(tmp_path_factory, tmp_path / "copy", region)
    done = convert("inbreast", root, tmp_path / "out", "--osirix-origin", origin)
    row, column = np.nonzero(done.mask(NORMAL))
    assert (list(column), list(row)) == ([pixel[0]], [pixel[1]])


def test_a_square_from_corner_to_corner_covers_whole_pixels(tmp_path_factory, tmp_path):
    root = with_regions(tmp_path_factory, tmp_path / "copy", roi(points=SQUARE, Type=11))
    mask = convert("inbreast", root, tmp_path / "out").mask(NORMAL)
    assert mask.sum() == 24 * 20
    assert mask[10:30, 20:44].all()


def test_the_two_origins_are_half_a_pixel_apart(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "inbreast").root
    centres = []
    for origin in ("corner", "centre"):
        done = convert("inbreast", root, tmp_path / origin, "--osirix-origin", origin)
        row, column = np.nonzero(done.mask(MASS))
        centres.append((column.mean(), row.mean()))
    (x, y), (further_x, further_y) = centres
    assert further_x - x == pytest.approx(0.5, abs=0.15)
    assert further_y - y == pytest.approx(0.5, abs=0.15)


# ------------------------------------------------------------------------------ muscles


def muscle_of(factory, root, file_id, **options):
    record = records_of("inbreast", root, **options)[file_id]
    return lesions_of("inbreast", root, record, **options)["m0"]


@pytest.mark.parametrize(
    ("file_id", "side", "label"),
    [(MUSCLE_A, "R", "Pectoral Muscle"), (MUSCLE_B, "L", "")],
)
def test_both_formats_of_muscle_files_are_lines_to_the_corner(
    file_id, side, label, tmp_path_factory, tmp_path
):
    root = archive(tmp_path_factory, "inbreast").root
    muscle = muscle_of(tmp_path_factory, root, file_id)
    assert isinstance(muscle.shape, CornerLine)
    assert (muscle.shape.side, muscle.label) == (side, label)
    assert (muscle.kind, muscle.lesion_id) == ("pectoral_muscle", "m0")
    done = convert("inbreast", root, tmp_path / "out", "--kind", "pectoral_muscle")
    mask = done.mask(file_id)
    assert set(done.records) == {MUSCLE_A, MUSCLE_B}
    wall = 0 if side == "L" else mask.shape[1] - 1
    assert mask[0, wall]
    assert mask[: mask.shape[0] // 3, wall].all()
    assert not mask[-1].any()
    assert not mask[:, mask.shape[1] - 1 - wall].any()


def test_the_side_of_a_muscle_is_seen_where_nothing_tells_it(tmp_path_factory, tmp_path):
    root = moved(
        archive(tmp_path_factory, "inbreast").root,
        tmp_path / "moved",
        lambda name: name.split("_")[0] + ".dcm" if name.endswith(".dcm") else name,
    )
    delete(root, r"INbreast\.csv")
    assert {record.laterality for record in records_of("inbreast", root).values()} == {""}
    assert muscle_of(tmp_path_factory, root, MUSCLE_A).shape.side == "R"
    assert muscle_of(tmp_path_factory, root, MUSCLE_B).shape.side == "L"


def test_a_muscle_is_read_only_when_it_is_chosen(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    (muscle,) = root.rglob(f"{MUSCLE_A}_muscle.xml")
    muscle.write_bytes(b"nonsense")
    done = convert("inbreast", root, tmp_path / "out")
    assert (done.code, MUSCLE_A in done.records) == (0, True)
    kinds = every_kind("pectoral_muscle")
    done = convert("inbreast", root, tmp_path / "all", *kinds)
    assert (done.code, done.failed) == (1, {MUSCLE_A: "unreadable_contour"})


def test_muscle_files_without_their_suffix_are_known_by_their_folder(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "inbreast").root
    other = moved(root, tmp_path / "moved", lambda name: name.replace("_muscle.xml", ".xml"))
    for file_id in (MUSCLE_A, MUSCLE_B):
        assert (
            muscle_of(tmp_path_factory, other, file_id).shape
            == muscle_of(tmp_path_factory, root, file_id).shape
        )
    assert records_of("inbreast", other)[MUSCLE_A].annotations[0].endswith(f"AllXML/{MUSCLE_A}.xml")


# ------------------------------------------------------------------------------ normal images


def test_an_image_without_contours_is_normal_where_the_table_says_so(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "inbreast").root
    assert convert("inbreast", root, tmp_path / "plain").left_out[NORMAL] == {"no_lesion"}
    done = convert("inbreast", root, tmp_path / "out", "--with-empty")
    assert done.records[NORMAL]["mask_pixels"] == "0"
    assert done.records[FB]["mask_pixels"] == "0"  # it has contours, none of a mass


@pytest.mark.parametrize("birads", ["2", "3", "4a", "6", "0"])
def test_a_missing_contour_file_of_a_marked_image_is_not_taken_for_normal(
    birads, tmp_path_factory, tmp_path
):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    replace_in(root / TOP / "INbreast.csv", f"{NORMAL};1;1", f"{NORMAL};1;{birads}")
    done = convert("inbreast", root, tmp_path / "out", "--with-empty")
    assert "unmarked_positive" in done.left_out[NORMAL]
    assert done.code == 0
    forced = convert("inbreast", root, tmp_path / "force", "--with-empty=force")
    assert forced.records[NORMAL]["mask_pixels"] == "0"


def test_without_a_table_nothing_is_called_normal_but_by_the_workbook(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    delete(root, r"INbreast\.csv")
    done = convert("inbreast", root, tmp_path / "out", "--with-empty")
    assert "not_called_free" in done.left_out[NORMAL]
    row = sheet_row(NORMAL, "", status="No annotation (Normal)")
    root = with_workbook(tmp_path_factory, tmp_path / "book", row, table=False)
    done = convert("inbreast", root, tmp_path / "book-out", "--with-empty")
    assert done.records[NORMAL]["mask_pixels"] == "0"


# ------------------------------------------------------------------------------ damage


def test_a_contour_file_that_cannot_be_read_fails_its_image(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    data = contours(root, MASS).read_bytes()
    contours(root, MASS).write_bytes(data[: len(data) // 2])
    done = convert("inbreast", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {MASS: "unreadable_contour"})
    assert MUSCLE_A in done.records


@pytest.mark.parametrize(
    ("name", "fails"), [("Mass", True), ("", True), ("Unnamed", True), ("Calcification", False)]
)
def test_a_damaged_region_fails_its_image_if_it_may_be_of_a_chosen_kind(
    name, fails, tmp_path_factory, tmp_path
):
    broken = roi(Name=name, Point_px=["(1, 2)", "nothing", "(3, 4)"])
    root = with_regions(tmp_path_factory, tmp_path / "copy", roi(points=SQUARE, Type=11), broken)
    record = records_of("inbreast", root)[NORMAL]
    assert isinstance(lesions_of("inbreast", root, record)["1"].shape, Unreadable)
    done = convert("inbreast", root, tmp_path / "out")
    assert done.failed == ({NORMAL: "unreadable_contour"} if fails else {})
    partial = convert("inbreast", root, tmp_path / "partial", "--partial")
    assert partial.records[NORMAL]["mask_pixels"] == "480"
    assert partial.code == 0


def test_a_copy_of_a_contour_file_is_left_out_and_another_one_is_refused(
    tmp_path_factory, tmp_path
):
    root = copy_of(tmp_path_factory, "inbreast", tmp_path / "copy")
    (root / "XML").mkdir()
    copy = root / "XML" / f"{MASS}.xml"
    shutil.copyfile(contours(root, MASS), copy)
    done = convert("inbreast", root, tmp_path / "out")
    assert (done.code, MASS in done.records) == (0, True)
    assert "duplicate_contour" in done.codes("left_out.csv")
    copy.write_bytes(export(roi(points=SQUARE)))
    done = convert("inbreast", root, tmp_path / "other")
    assert (done.code, done.failed) == (1, {MASS: "duplicate_lesion_id"})


def test_regions_of_a_file_without_any_are_none(tmp_path_factory, tmp_path):
    root = with_regions(tmp_path_factory, tmp_path / "copy")
    done = convert("inbreast", root, tmp_path / "out", "--with-empty")
    assert done.records[NORMAL]["mask_pixels"] == "0"
    assert plistlib.loads(contours(root).read_bytes())["Images"][0]["ROIs"] == []


def test_files_that_are_not_read_are_left_out_with_their_reason(tmp_path_factory, tmp_path):
    done = convert("inbreast", archive(tmp_path_factory, "inbreast").root, tmp_path / "out")
    reasons = {
        row["source"].rsplit(".", 1)[-1]: row["code"]
        for row in done.rows("left_out.csv")
        if not row["record_id"] or row["code"] == "same_contours_binary"
    }
    assert reasons.get("roi") == "same_contours_binary"
    assert "unknown_file" not in done.codes("left_out.csv")
