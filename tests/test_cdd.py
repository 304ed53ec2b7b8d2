"""What is peculiar to CDD-CESM: regions without a class, names with blanks, a workbook."""

from __future__ import annotations

import csv
import io
import json

import cv2
import numpy as np
import openpyxl
import pytest

from bcseg.errors import ArchiveError
from bcseg.record import Circle, Dots, Ellipse, Polygon, Polyline, Unreadable
from test_adapters import (
    archive,
    convert,
    copy_of,
    delete,
    index_of,
    moved,
    records_of,
    replace_in,
)

TABLE = "Radiology_hand_drawn_segmentations_v2.csv"
BOOK = "Radiology-manual-annotations.xlsx"
HEADER = (
    "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes"
)
COLUMNS = (
    *("Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS"),
    *("Findings", "View", "Tags", "Machine", "Pathology Classification/ Follow up"),
)
IMAGE = "P7_L_DM_MLO"
CIRCLE = {"name": "circle", "cx": 30, "cy": 20, "r": 6}


def region(shape=CIRCLE, *, image=IMAGE, number=0, count=1, size="", attributes="{}"):
    """Return the cells of a row of the regions table."""
    text = shape if isinstance(shape, str) else json.dumps(shape)
    return [f"{image}.jpg", size, "{}", count, number, text, attributes]


def small(root, *regions, images=(IMAGE,), book=(), ending=".jpg"):
    """Write an archive of small black images."""
    folder = root / "images"
    folder.mkdir(parents=True)
    data = cv2.imencode(".jpg", np.full((50, 80), 9, np.uint8))[1].tobytes()
    for name in images:
        (folder / f"{name}{ending}").write_bytes(data)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(regions)
    (root / TABLE).write_text(f"{HEADER}\n{buffer.getvalue()}", encoding="utf-8")
    if book:
        write_book(root / BOOK, *book)
    return root


def write_book(path, *rows, title="all", columns=COLUMNS):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in (columns, *rows):
        book.active.append(list(row))
    book.save(path)


def facts(name=IMAGE, pathology="Malignant", **others):
    cells = dict.fromkeys(COLUMNS, None) | {
        "Image_name": name,
        "Patient_ID": 7,
        "Type": "DM",
        "Age": 51,
        "Breast density (ACR)": "C",
        "BIRADS": 5,
        "Findings": "Mass$Calcifications",
        "Machine": 2,
        "Pathology Classification/ Follow up": pathology,
    }
    return list((cells | others).values())


def only(root, **options):
    (record,) = index_of("cdd", root, **options).records
    return record


# ------------------------------------------------------------------------------ ids, names


def test_ids_groups_types_and_what_the_workbook_tells(tmp_path_factory):
    records = records_of("cdd", archive(tmp_path_factory, "cdd").root, image_type="all")
    record = records["P2_R_CM_CC"]
    assert (record.patient_id, record.group) == ("P2", "cdd:P2")
    assert (record.laterality, record.view) == ("R", "CC")
    assert (record.birads, record.pathology, record.age) == ("3", "benign", "42")
    assert record.density == ""  # the workbook has "_"
    assert record.attributes == {
        "image_type": "CM",
        "findings": "Mass$Calcifications",
        "machine": "1",
        "birads_as_published": "3$2",
    }
    assert records["P2_R_DM_CC"].density == "C"
    assert all(record.rows for record in records.values())
    assert all("xlsx[all]#" in record.rows[0] for record in records.values())


def test_a_second_image_of_a_view_keeps_its_number(tmp_path_factory):
    records = records_of("cdd", archive(tmp_path_factory, "cdd").root)
    record = records["P99_L_DM_MLO_2"]
    assert (record.group, record.view, record.lesions) == ("cdd:P99", "MLO", ())
    assert record.pathology == "normal"


@pytest.mark.parametrize("on_disk", ["P7_L_DM_MLO", "P7_L_DM_MLO ", "p7_l_dm_mlo"])
@pytest.mark.parametrize("in_table", ["P7_L_DM_MLO", "P7_L_DM_MLO ", "P7_l_dm_mlo"])
@pytest.mark.parametrize("in_book", ["P7_L_DM_MLO", " P7_L_DM_MLO ", "P7_L_DM_MLO.jpg"])
def test_names_are_the_same_with_blanks_and_in_any_case(on_disk, in_table, in_book, tmp_path):
    root = small(tmp_path, region(image=in_table), images=[on_disk], book=[facts(in_book)])
    record = only(root)
    assert record.record_id == IMAGE
    assert record.image == f"images/{on_disk}.jpg"
    assert len(record.lesions) == 1
    assert record.pathology == "malignant"


@pytest.mark.parametrize("ending", [".jpg", ".JPG", ".jpeg", ".png", ".jpg "])
def test_endings(ending, tmp_path):
    assert only(small(tmp_path, region(), ending=ending)).image == f"images/{IMAGE}{ending}"


def test_both_folders_in_one(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "cdd").root
    flat = moved(
        root, tmp_path / "moved", lambda n: f"images/{n[n.rindex('/') + 1 :]}" if "/" in n else n
    )
    before, after = records_of("cdd", root), records_of("cdd", flat)
    assert list(after) == list(before)
    assert [r.lesions for r in after.values()] == [r.lesions for r in before.values()]


def test_the_same_image_in_two_folders_is_one_record(tmp_path):
    root = small(tmp_path, region())
    (root / "more").mkdir()
    (root / "more" / f"{IMAGE}.png").write_bytes(b"")
    index = index_of("cdd", root)
    assert len(index.records) == 1
    assert [(x.code, x.items, x.record_id) for x in index.left_out] == [
        ("duplicate_image", (f"more/{IMAGE}.png",), IMAGE)
    ]


# ------------------------------------------------------------------------------ image types


@pytest.mark.parametrize(("chosen", "types"), [("", "DM"), ("cm", "CM"), ("all", "DM CM")])
def test_low_energy_images_unless_others_are_chosen(chosen, types, tmp_path_factory, tmp_path):
    options = ("--image-type", chosen) if chosen else ()
    types = set(types.split())
    done = convert("cdd", archive(tmp_path_factory, "cdd").root, tmp_path / "out", *options)
    assert {key.split("_")[2] for key in done.records} == types
    other = {"DM", "CM"} - types
    assert {
        key.split("_")[2]
        for key, codes in done.left_out.items()
        if "image_type_not_chosen" in codes
    } == other
    assert done.code == 0


def test_the_workbook_says_cesm_where_names_say_cm(tmp_path):
    root = small(
        tmp_path, region(image="P7_L_CM_MLO"), images=["P7_L_CM_MLO"],
        book=[facts("P7_L_CM_MLO", Type="CESM")],
    )  # fmt: skip
    record = only(root, image_type="cm")
    assert (record.attributes["image_type"], record.left_out) == ("CM", "")
    assert record.pathology == "malignant"


# ------------------------------------------------------------------------------ regions


SHAPES = [
    (CIRCLE, Circle(30, 20, 6), "circle"),
    ({"name": "ellipse", "cx": 30, "cy": 20, "rx": 9, "ry": 4}, Ellipse(30, 20, 9, 4), "ellipse"),
    (
        {"name": "ellipse", "cx": 30, "cy": 20, "rx": 9, "ry": 4, "theta": 0.5},
        Ellipse(30, 20, 9, 4, 0.5),
        "ellipse",
    ),
    ({"name": "point", "cx": 30, "cy": 20}, Dots(((30, 20),)), "points"),
    (
        {"name": "polygon", "all_points_x": [5, 25, 9, 5], "all_points_y": [5, 8, 30, 5]},
        Polygon(((5, 5), (25, 8), (9, 30))),
        "polygon",
    ),
    (
        {"name": "polygon", "all_points_x": [5, 25, 9], "all_points_y": [5, 8, 30]},
        Polygon(((5, 5), (25, 8), (9, 30))),
        "polygon",
    ),
    (
        {"name": "polyline", "all_points_x": [5, 25, 9], "all_points_y": [5, 8, 30]},
        Polyline(((5, 5), (25, 8), (9, 30))),
        "polyline",
    ),
]


@pytest.mark.parametrize(("cell", "shape", "geometry"), SHAPES)
def test_every_shape_becomes_a_finding(cell, shape, geometry, tmp_path):
    root = small(tmp_path / "a", region(cell, number=3, count=1), book=[facts()])
    (lesion,) = only(root).lesions
    assert lesion.shape == shape
    assert (lesion.lesion_id, lesion.kind, lesion.label) == ("3", "finding", "")
    assert (lesion.source, lesion.pathology) == (f"{TABLE}#1", "malignant")
    done = convert("cdd", root, tmp_path / "out")
    row = done.lesions[IMAGE, "3"]
    assert row["geometry"] == geometry
    assert row["closed"] == ("0" if geometry in ("polyline", "points") else "1")
    assert int(row["area_px"]) >= 1


def test_points_mark_one_pixel_or_the_authors_disc(tmp_path):
    root = small(tmp_path / "a", region({"name": "point", "cx": 40, "cy": 20}))
    assert convert("cdd", root, tmp_path / "one").mask(IMAGE).sum() == 1
    mask = convert("cdd", root, tmp_path / "disc", "--point-radius", 25).mask(IMAGE)
    row, column = np.ogrid[:50, :80]
    assert np.array_equal(mask, (row - 20) ** 2 + (column - 40) ** 2 <= 25**2)


def test_negative_coordinates_are_clipped_and_told(tmp_path):
    cell = {"name": "polygon", "all_points_x": [-14, 20, 20, -14], "all_points_y": [-3, -3, 9, 9]}
    done = convert("cdd", small(tmp_path / "a", region(cell)), tmp_path / "out")
    assert done.code == 0
    assert done.lesions[IMAGE, "0"]["clipped"] == "1"
    assert "lesion_clipped" in done.codes()
    assert done.mask(IMAGE).sum() == 20 * 9
    assert done.mask(IMAGE)[:9, :20].all()


def test_a_region_wholly_outside_fails_its_image(tmp_path):
    cell = {"name": "circle", "cx": 300, "cy": 20, "r": 6}
    done = convert("cdd", small(tmp_path / "a", region(cell)), tmp_path / "out")
    assert (done.code, done.failed) == (1, {IMAGE: "lesion_outside"})


def test_many_regions_of_one_image_are_united(tmp_path):
    rows = [region(CIRCLE | {"cx": 10 + 3 * n}, number=n, count=15) for n in range(15)]
    done = convert("cdd", small(tmp_path / "a", *rows), tmp_path / "out")
    assert done.records[IMAGE]["n_lesions"] == "15"
    assert done.items()["contours"]["written"] == 15
    assert done.mask(IMAGE)[20, 10:52].all()


@pytest.mark.parametrize("text", ["{}", "{ }"])
def test_a_row_that_says_there_is_no_region_is_none(text, tmp_path):
    root = small(tmp_path / "a", region(text, count=0), book=[facts(pathology="Normal")])
    record = only(root)
    assert record.lesions == ()
    assert record.rows == (f"{BOOK}[all]#1", f"{TABLE}#1")
    done = convert("cdd", root, tmp_path / "out", "--with-empty")
    assert done.records[IMAGE]["mask_pixels"] == "0"
    assert done.items()["table rows"]["written"] == 2
    write_book(root / BOOK, facts(pathology="Malignant"))
    done = convert("cdd", root, tmp_path / "malignant", "--with-empty")
    assert done.left_out[IMAGE] == {"unmarked_positive"}


def test_an_empty_cell_is_no_region_only_where_none_is_announced(tmp_path):
    assert only(small(tmp_path / "a", region("", count=0))).lesions == ()
    (lesion,) = only(small(tmp_path / "b", region("", count=1))).lesions
    assert isinstance(lesion.shape, Unreadable)


DAMAGED = [
    (region('{"name":"circle","cx":30'), "unreadable_contour"),
    (region({"name": "spiral"}), "unreadable_contour"),
    (region(CIRCLE | {"r": -1}), "unreadable_contour"),
    (region(), ""),
    (region()[:5], "unreadable_row"),
    ([*region(), "one more"], "unreadable_row"),
]


@pytest.mark.parametrize(("row", "code"), DAMAGED)
def test_a_region_that_cannot_be_read_fails_its_image_and_names_its_row(row, code, tmp_path):
    other = "P8_R_DM_CC"
    root = small(tmp_path / "a", row, region(image=other), images=(IMAGE, other))
    done = convert("cdd", root, tmp_path / "out")
    assert other in done.records
    assert done.failed == ({IMAGE: code} if code else {})
    assert done.code == (1 if code else 0)
    if code:
        (problem,) = [x for x in done.rows("problems.csv") if x["severity"] == "failed"]
        assert problem["source"] == f"{TABLE}#1"


def test_fewer_rows_than_regions_announced_fail_the_image(tmp_path):
    rows = [region(number=n, count=9) for n in range(5)]
    root = small(tmp_path / "a", *rows)
    done = convert("cdd", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {IMAGE: "unreadable_contour"})
    (problem,) = [row for row in done.rows("problems.csv") if row["severity"] == "failed"]
    assert "announces 9 regions of this image and holds 5" in problem["message"]
    partial = convert("cdd", root, tmp_path / "partial", "--partial")
    assert (partial.code, partial.records[IMAGE]["n_lesions"]) == (0, "5")
    assert partial.items()["contours"] == {"found": 5, "written": 5, "left_out": 0, "failed": 0}


@pytest.mark.parametrize("odd", ["²", "9" * 5000, "-3", "x"])
def test_counts_that_are_none_are_passed_over(odd, tmp_path):
    root = small(tmp_path / "a", region(count=odd, size=odd))
    done = convert("cdd", root, tmp_path / "out")
    assert (done.code, set(done.records)) == (0, {IMAGE})


def test_two_regions_of_one_number_fail_the_image(tmp_path):
    root = small(tmp_path / "a", region(count=2), region(CIRCLE | {"r": 3}, count=2))
    done = convert("cdd", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {IMAGE: "duplicate_lesion_id"})


def test_regions_without_a_number_have_that_of_their_row(tmp_path):
    root = small(tmp_path, region(number="", count=2), region(number="", count=2))
    assert [lesion.lesion_id for lesion in only(root).lesions] == ["row1", "row2"]


def test_a_row_about_something_else_fails_alone(tmp_path):
    root = small(tmp_path / "a", region(), region(image="screenshot"))
    done = convert("cdd", root, tmp_path / "out")
    assert (done.code, list(done.records)) == (1, [IMAGE])
    assert done.codes() == {"unreadable_row", "table_missing"}


def test_regions_of_an_image_that_is_not_there_are_left_out(tmp_path):
    root = small(tmp_path / "a", region(), region(image="P8_R_DM_CC"))
    done = convert("cdd", root, tmp_path / "out")
    assert done.code == 0
    assert done.left_out == {"P8_R_DM_CC": {"no_image"}}


# ------------------------------------------------------------------------------ the table itself


@pytest.mark.parametrize("column", ["filename", "region_id", "region_shape_attributes"])
def test_a_table_without_a_needed_column_is_refused(column, tmp_path):
    root = small(tmp_path, region())
    replace_in(root / TABLE, column, "other")
    with pytest.raises(ArchiveError, match=f"no column {column}"):
        index_of("cdd", root)


def test_an_unreadable_table_is_refused(tmp_path):
    root = small(tmp_path, region())
    (root / TABLE).write_bytes(b"")
    with pytest.raises(ArchiveError, match="regions cannot be read"):
        index_of("cdd", root)


def test_of_two_tables_the_newer_version_is_read(tmp_path):
    root = small(tmp_path, region())
    old = root / TABLE.replace("_v2", "")
    old.write_text(f"{HEADER}\n", encoding="utf-8")
    index = index_of("cdd", root)
    assert len(index.records[0].lesions) == 1
    assert [(x.code, x.source) for x in index.warnings] == [
        ("table_not_read", old.name),
        ("table_missing", ""),
    ]


def test_images_that_were_changed_since_the_regions_were_drawn_are_told(tmp_path):
    others = ("P8_R_DM_CC", "P9_L_DM_CC")
    size = len(cv2.imencode(".jpg", np.full((50, 80), 9, np.uint8))[1])
    root = small(
        tmp_path,
        region(size=size),
        *(region(image=name, size=431295) for name in others),
        images=(IMAGE, *others),
        book=[facts()],
    )
    (warning,) = index_of("cdd", root).warnings
    assert warning.code == "image_changed"
    assert warning.message.startswith("2 of 3 images")
    assert warning.source == "images/P8_R_DM_CC.jpg"


def test_the_original_images_give_no_such_warning(tmp_path_factory):
    assert index_of("cdd", archive(tmp_path_factory, "cdd").root).warnings == ()


# ------------------------------------------------------------------------------ the workbook


def test_the_workbook_may_be_missing(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cdd", tmp_path / "copy")
    delete(root, r"\.xlsx$")
    index = index_of("cdd", root)
    assert [one.code for one in index.warnings] == ["table_missing"]
    assert {record.pathology for record in index.records} == {""}
    done = convert("cdd", root, tmp_path / "out", "--with-empty")
    assert done.code == 0
    assert "not_called_free" in done.left_out["P3_L_DM_CC"]


@pytest.mark.parametrize(
    "name", ["Radiology manual annotations.xlsx", "radiology_manual_annotations (1).xlsx"]
)
def test_other_names_of_the_workbook(name, tmp_path):
    root = small(tmp_path, region())
    write_book(root / name, facts())
    assert only(root).pathology == "malignant"
    assert name in index_of("cdd", root).documents


def test_the_lock_file_of_an_open_workbook_is_not_read(tmp_path):
    root = small(tmp_path, region(), book=[facts()])
    (root / f"~${BOOK}").write_bytes(b"\x05owner")
    (root / "~$P54.docx").write_bytes(b"\x05owner")
    index = index_of("cdd", root)
    assert (index.warnings, index.failed) == ((), ())
    assert only(root).pathology == "malignant"


@pytest.mark.parametrize("how", ["broken", "sheet", "column"])
def test_a_workbook_that_cannot_be_read_is_a_warning(how, tmp_path):
    root = small(tmp_path / "a", region())
    if how == "broken":
        (root / BOOK).write_bytes(b"PK\3\4 nothing")
    elif how == "sheet":
        write_book(root / BOOK, facts(), title="mass_description")
    else:
        write_book(root / BOOK, facts(), columns=("Name", *COLUMNS[1:]))
    assert [(x.code, x.source) for x in index_of("cdd", root).warnings] == [
        ("unreadable_table", BOOK)
    ]
    assert convert("cdd", root, tmp_path / "out").code == 0


@pytest.mark.parametrize(
    ("cell", "birads"),
    [(5, "5"), ("3$2", "3"), ("4$2", "4"), ("3$2$2", "3"), ("2$4", "4"), ("_", ""), (None, "")],
)
def test_several_birads_of_one_image(cell, birads, tmp_path):
    record = only(small(tmp_path, region(), book=[facts(BIRADS=cell)]))
    assert record.birads == birads


def test_a_workbook_row_about_something_else_fails_alone(tmp_path):
    root = small(tmp_path / "a", region(), book=[facts(), facts("totals")])
    done = convert("cdd", root, tmp_path / "out")
    assert (done.code, done.codes()) == (1, {"unreadable_row"})
    assert list(done.records) == [IMAGE]


def test_no_column_that_may_name_a_person_is_kept(tmp_path):
    columns = (*COLUMNS[:-1], "Patient name", COLUMNS[-1])
    row = facts()
    row.insert(-1, "Jane Roe")
    root = small(tmp_path / "a", region())
    write_book(root / BOOK, row, columns=columns)
    done = convert("cdd", root, tmp_path / "out")
    assert done.records[IMAGE]["pathology"] == "malignant"
    for path in done.folder.rglob("*"):
        if path.is_file():
            assert b"Jane Roe" not in path.read_bytes(), path


# ------------------------------------------------------------------------------ empty images


def test_only_normal_images_get_an_empty_mask(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "cdd").root
    done = convert("cdd", root, tmp_path / "out", "--with-empty")
    empty = {key for key, row in done.records.items() if row["n_lesions"] == "0"}
    assert empty == {"P3_L_DM_CC", "P99_L_DM_MLO_2"}
    # malignant, but nobody drew a region
    assert "unmarked_positive" in done.left_out["P5_L_DM_MLO"]
    forced = convert("cdd", root, tmp_path / "force", "--with-empty=force")
    assert forced.records["P5_L_DM_MLO"]["mask_pixels"] == "0"


def test_regions_of_a_normal_image_are_written(tmp_path_factory, tmp_path):
    done = convert("cdd", archive(tmp_path_factory, "cdd").root, tmp_path / "out")
    row = done.records["P4_R_DM_CC"]
    assert (row["pathology"], row["n_lesions"]) == ("normal", "1")


@pytest.mark.parametrize(
    ("pathology", "fate"),
    [
        ("Normal", "written"),
        ("normal ", "written"),
        ("Benign", "unmarked_positive"),
        ("Malignant", "unmarked_positive"),
        (None, "not_called_free"),
    ],
)
def test_what_the_workbook_says_of_an_image_without_regions(pathology, fate, tmp_path):
    root = small(
        tmp_path / "a", region(image="P8_R_DM_CC"), images=(IMAGE, "P8_R_DM_CC"),
        book=[facts(pathology=pathology)],
    )  # fmt: skip
    done = convert("cdd", root, tmp_path / "out", "--with-empty")
    if fate == "written":
        assert done.records[IMAGE]["mask_pixels"] == "0"
    else:
        assert fate in done.left_out[IMAGE]
