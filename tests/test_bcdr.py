"""What is peculiar to BCDR: sets, outlines of open chains, words and flags of its tables."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from bcseg import pairs
from bcseg.errors import ArchiveError
from bcseg.record import Polygon, Unreadable
from test_adapters import (
    archive,
    convert,
    copy_of,
    delete,
    every_kind,
    index_of,
    moved,
    records_of,
    replace_in,
)

HEADER = (
    "patient_id,study_id,series,lesion_id,segmentation_id,image_view,image_filename,"
    "lw_x_points,lw_y_points,mammography_type,mammography_nodule,mammography_calcification,"
    "mammography_microcalcification,mammography_axillary_adenopathy,"
    "mammography_architectural_distortion,mammography_stroma_distortion,age,density,classification"
)
X, Y = "10 11 12 13 14 14 14 13", "10 10 10 10 11 12 13 14"
ONE = "patient_3_study_4_img_3_4_1_LO"


def row(**cells: str) -> str:
    """Return a row of the outlines table, written as BCDR does."""
    plain = {
        "patient_id": "3",
        "study_id": "4",
        "series": "1",
        "lesion_id": "7",
        "segmentation_id": "10",
        "image_view": "4",
        "image_filename": "patient_3/study_4/img_3_4_1_LO.tif",
        "lw_x_points": X,
        "lw_y_points": Y,
        "mammography_type": "1",
        "mammography_nodule": "1",
        "age": "62",
        "density": "2",
        "classification": "Benign",
    } | cells
    return ", ".join(plain.get(column, "0") for column in HEADER.split(","))


def small(root, *rows: str, header: str = HEADER, images=("patient_3/study_4/img_3_4_1_LO.tif",)):
    """Write a set D01 of a few small images."""
    folder = root / "BCDR-D01_dataset"
    for number, name in enumerate(images):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 9999, (40, 60), dtype=np.uint16)
        tifffile.imwrite(path, pixels, photometric="minisblack")
    lines = "".join(f"{line}\n" for line in (header, *rows))
    (folder / "bcdr_d01_outlines.csv").write_text(lines, encoding="utf-8")
    return root


def only(root):
    (record,) = index_of("bcdr", root).records
    return record


# ------------------------------------------------------------------------------ ids and sets


def test_ids_groups_and_sets(tmp_path_factory):
    records = records_of("bcdr", archive(tmp_path_factory, "bcdr").root)
    told = {
        key: (record.group, record.patient_id, record.film, record.attributes["set"])
        for key, record in records.items()
    }
    assert told == {
        "F01_patient_101_study_120_img_101_120_1_LCC": ("bcdr:F01_101", "101", True, "F01"),
        "F01_patient_102_study_121_img_102_121_1_RO": ("bcdr:F01_102", "102", True, "F01"),
        "F03_patient_182_study_188_img_182_188_LCC": ("bcdr:F03_182", "182", True, "F03"),
        "patient_3_study_4_img_3_4_1_LCC": ("bcdr:3", "3", False, "D01"),
        "patient_3_study_4_img_3_4_1_LO": ("bcdr:3", "3", False, "D01"),
        "patient_40_study_51_img_40_51_1_RCC": ("bcdr:40", "40", False, "DN01"),
        "patient_8_study_15_img_8_15_1_RO": ("bcdr:8", "8", False, "D01"),
    }


@pytest.mark.parametrize(
    ("code", "side", "view"),
    [
        ("RCC", "R", "CC"),
        ("LCC", "L", "CC"),
        ("RO", "R", "MLO"),
        ("LO", "L", "MLO"),
        ("RMLO", "R", "MLO"),
        ("LML", "L", "MLO"),
        ("PR-MLO", "R", "MLO"),
        ("LF-CC", "L", "CC"),
    ],
)
def test_side_and_view_come_from_the_file_name(code, side, view, tmp_path):
    name = f"patient_3/study_4/img_3_4_1_{code}.tif"
    # the columns about the view count from 1 here and from 0 there: neither is looked at
    record = only(small(tmp_path, row(image_filename=name, image_view="1"), images=[name]))
    assert (record.laterality, record.view) == (side, view)
    assert record.record_id == f"patient_3_study_4_img_3_4_1_{code}"


def test_an_image_in_two_sets_is_one_record_with_the_outlines_of_both(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "bcdr").root
    index = index_of("bcdr", root)
    record = next(record for record in index.records if record.record_id == ONE)
    assert record.image == "BCDR-D01_dataset/patient_3/study_4/img_3_4_1_LO.tif"
    assert {lesion.lesion_id: lesion.source.split("/")[0] for lesion in record.lesions} == {
        "11": "BCDR-D01_dataset",
        "12": "BCDR-D01_dataset",
        "15": "BCDR-D02_dataset",
    }
    assert [(item.code, item.items, item.record_id) for item in index.left_out] == [
        ("duplicate_image", ("BCDR-D02_dataset/patient_3/study_4/img_3_4_1_LO.tif",), ONE),
        ("duplicate_contour", ("BCDR-D02_dataset/bcdr_d02_outlines.csv#1",), ONE),
    ]
    done = convert("bcdr", root, tmp_path / "out", *every_kind())
    assert (done.code, done.records[ONE]["n_lesions"]) == (0, "3")
    assert done.items()["contours"]["found"] == 9


def test_without_the_first_set_the_second_still_has_its_own(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "bcdr", tmp_path / "copy")
    delete(root, "^BCDR-D01_dataset")
    record = records_of("bcdr", root)[ONE]
    assert record.image.startswith("BCDR-D02_dataset")
    assert [lesion.lesion_id for lesion in record.lesions] == ["12", "15"]


def test_one_segmentation_with_other_points_in_the_other_set_fails_its_record(
    tmp_path_factory, tmp_path
):
    root = copy_of(tmp_path_factory, "bcdr", tmp_path / "copy")
    table = root / "BCDR-D02_dataset" / "bcdr_d02_outlines.csv"
    first = table.read_text().splitlines()[1].split(", ")
    replace_in(table, first[7], " ".join(first[7].split()[:-1]))
    replace_in(table, first[8], " ".join(first[8].split()[:-1]))
    done = convert("bcdr", root, tmp_path / "out")
    assert done.code == 1
    assert done.failed == {ONE: "duplicate_lesion_id"}
    assert "patient_3_study_4_img_3_4_1_LCC" in done.records


def test_blanks_between_the_points_make_no_other_outline(tmp_path):
    rows = [row(), row(lw_x_points=X.replace(" ", "  "))]
    assert len(only(small(tmp_path, *rows)).lesions) == 1


def test_f03_has_no_series_and_no_list_of_images(tmp_path_factory):
    root = archive(tmp_path_factory, "bcdr").root
    assert not (root / "BCDR-F03_dataset" / "BCDR-F03" / "bcdr_f03_img.csv").exists()
    record = records_of("bcdr", root)["F03_patient_182_study_188_img_182_188_LCC"]
    assert record.image == "BCDR-F03_dataset/BCDR-F03/patient_182/study_188/img_182_188_LCC.tif"
    assert record.age == "68.7781"
    assert [lesion.kind for lesion in record.lesions] == ["mass"]
    assert record.rows == ("BCDR-F03_dataset/BCDR-F03/bcdr_f03_features.csv#1",)


def flat_f03(name):
    return name.replace("BCDR-F03_dataset/BCDR-F03/", "BCDR-F03/")


def flat(name):
    """A mirror: the tables in one folder, the images renamed into another."""
    *folders, leaf = name.split("/")
    if leaf.endswith(".csv"):
        return f"csv/{leaf}"
    return f"TIF/{folders[-2]}_{folders[-1]}_{leaf}"


def no_sets(name):
    """All tables and patients in one folder: only the tables tell the sets."""
    return name[name.index("patient_") :] if "patient_" in name else name.rsplit("/", 1)[-1]


@pytest.mark.parametrize("rename", [flat_f03, flat, no_sets])
def test_other_layouts_give_the_same_records(rename, tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "bcdr").root
    after = records_of("bcdr", moved(root, tmp_path / "moved", rename))
    before = records_of("bcdr", root)
    assert list(after) == list(before)
    for key, record in after.items():
        assert (record.group, record.film) == (before[key].group, before[key].film)
        assert record.image
        assert [lesion.shape for lesion in record.lesions] == [
            lesion.shape for lesion in before[key].lesions
        ]


def test_where_nothing_tells_the_set_nothing_is_said(tmp_path_factory, tmp_path):
    root = moved(archive(tmp_path_factory, "bcdr").root, tmp_path / "moved", no_sets)
    stray = root / "patient_99/study_98/img_99_98_1_LCC.tif"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(next(root.rglob("img_8_15_1_RO.tif")).read_bytes())
    record = records_of("bcdr", root)["patient_99_study_98_img_99_98_1_LCC"]
    assert (record.attributes, record.free_of, record.film) == ({}, (), False)
    assert records_of("bcdr", root)["patient_8_study_15_img_8_15_1_RO"].free_of == ("*",)


def test_a_set_is_known_by_the_table_beside_its_images(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "bcdr").root
    inner = moved(
        root,
        tmp_path / "moved",
        lambda name: name.replace("BCDR-F01_dataset", "BCDR-D01_dataset/film"),
    )
    record = records_of("bcdr", inner)["F01_patient_101_study_120_img_101_120_1_LCC"]
    assert record.image.startswith("BCDR-D01_dataset/film")
    assert record.film


def test_a_tiff_goes_before_a_png_of_it(tmp_path):
    root = small(tmp_path, row())
    tif = root / "BCDR-D01_dataset/patient_3/study_4/img_3_4_1_LO.tif"
    tif.with_suffix(".png").write_bytes(b"")
    index = index_of("bcdr", root)
    assert index.records[0].image.endswith(".tif")
    assert [(one.code, one.items[0][-4:]) for one in index.left_out] == [
        ("duplicate_image", ".png")
    ]


def test_a_mask_beside_an_image_is_no_image(tmp_path):
    root = small(tmp_path, row())
    folder = root / "BCDR-D01_dataset/patient_3/study_4"
    (folder / "img_3_4_1_LO_mask_binary_poly2mask.png").write_bytes(b"")
    (folder / "img_3_4_1_LO_mask.png").write_bytes(b"")
    index = index_of("bcdr", root)
    assert len(index.records) == 1
    assert index.left_out == ()


# ------------------------------------------------------------------------------ rows


FLAGS = HEADER.split(",")[10:16]


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("100000", "mass"),
        ("111111", "mass"),
        ("010000", "calcification"),
        ("001000", "calcification"),
        ("011000", "calcification"),
        ("000100", "adenopathy"),
        ("000110", "adenopathy"),
        ("000010", "distortion"),
        ("000001", "distortion"),
        ("000000", "finding"),
    ],
)
@pytest.mark.parametrize("written", ["{}", "{}.0"])
def test_the_kind_is_the_first_flag_that_is_set(flags, kind, written, tmp_path):
    cells = {name: written.format(flag) for name, flag in zip(FLAGS, flags, strict=True)}
    (lesion,) = only(small(tmp_path, row(**cells))).lesions
    assert lesion.kind == kind
    words = [n.removeprefix("mammography_") for n, f in zip(FLAGS, flags, strict=True) if f == "1"]
    assert lesion.label == " ".join(words)
    assert {name: lesion.attributes[name] for name in FLAGS} == cells


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ("Malign", "malignant"),
        ("Malign ", "malignant"),
        ("MALIGNANT", "malignant"),
        ("Benign", "benign"),
        ("benign ", "benign"),
        ("Suspect", "suspect"),
        ("NaN", ""),
    ],
)
def test_the_classification_is_in_one_vocabulary(cell, word, tmp_path):
    record = only(small(tmp_path, row(classification=cell)))
    assert record.lesions[0].pathology == record.pathology == word


def test_the_worst_of_two_lesions_is_the_image_s(tmp_path):
    rows = [row(), row(segmentation_id="11", classification="Malign", lw_x_points="1 9 9 1")]
    rows[1] = rows[1].replace(Y, "1 1 9 9")
    assert only(small(tmp_path, *rows)).pathology == "malignant"


@pytest.mark.parametrize(("cell", "density"), [("2", "2"), ("NaN", ""), (" NaN ", ""), ("", "")])
def test_an_unknown_density_is_empty(cell, density, tmp_path):
    record = only(small(tmp_path, row(density=cell, age="68.7781")))
    assert (record.density, record.age) == (density, "68.7781")


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("end", ["", " ", "\r"])
def test_cells_may_be_set_apart_by_blanks_or_not(tight, end, tmp_path):
    line = row().replace(", ", "," if tight else ", ") + end
    record = only(small(tmp_path, line))
    assert record.record_id == ONE
    assert record.lesions[0].pathology == "benign"
    assert record.lesions[0].shape.points[0] == (10.0, 10.0)
    assert len(record.lesions[0].shape.points) == 8


def test_a_lesion_without_ids_has_the_number_of_its_row(tmp_path):
    rows = [row(lesion_id="", segmentation_id=""), row(lesion_id="NaN", segmentation_id="2")]
    first, second = only(small(tmp_path, *rows)).lesions
    assert (first.lesion_id, second.lesion_id) == ("D01_row1", "2")
    assert "lesion" not in first.attributes
    assert "lesion" not in second.attributes


def test_backslashes_in_paths(tmp_path):
    line = row(image_filename=r"patient_3\study_4\img_3_4_1_LO.tif")
    assert only(small(tmp_path, line)).image.endswith("img_3_4_1_LO.tif")


# ------------------------------------------------------------------------------ geometry


def test_the_outline_is_open_taken_as_it_is_and_closed_by_a_straight_line(tmp_path):
    # a chain of whole pixels that ends far from its start
    record = only(small(tmp_path, row(lw_x_points="10 10 11 20 30", lw_y_points="10 11 12 30 10")))
    assert record.lesions[0].shape == Polygon(
        ((10, 10), (10, 11), (11, 12), (20, 30), (30, 10)), closed=False
    )
    done = convert("bcdr", tmp_path, tmp_path.parent / f"{tmp_path.name}-out")
    assert done.lesions[ONE, "10"]["closed"] == "0"
    mask = done.mask(ONE)
    assert mask[10, 10:30].all()  # the closing line is the top edge
    assert not mask[9].any()


def test_areas_are_those_of_the_closed_polygon(tmp_path_factory, tmp_path):
    """Fills that paint the outline too are 5 to 20 % too large here."""
    root = archive(tmp_path_factory, "bcdr").root
    done = convert("bcdr", root, tmp_path / "out", *every_kind())
    published = drawn = 0.0
    for truth in archive(tmp_path_factory, "bcdr").truths:
        x, y = np.array(truth.points).T
        published += 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
        drawn += int(done.lesions[truth.record, truth.lesion_id]["area_px"])
    assert drawn == pytest.approx(published, rel=0.01)


def test_an_outline_outside_the_image_is_clipped_and_told(tmp_path):
    root = small(tmp_path / "a", row(lw_x_points="50 70 70 50", lw_y_points="5 5 20 20"))
    done = convert("bcdr", root, tmp_path / "out")
    assert (done.code, done.lesions[ONE, "10"]["clipped"]) == (0, "1")
    assert "lesion_clipped" in done.codes()
    assert done.mask(ONE)[5:20, 50:60].all()


# ------------------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"lw_x_points": X + " 12"}, "unreadable_contour"),
        ({"lw_x_points": "", "lw_y_points": ""}, "unreadable_contour"),
        ({"lw_x_points": X.replace("12", "1z")}, "unreadable_contour"),
        ({"lw_x_points": X.replace("12", "nan")}, "unreadable_contour"),
        ({"lw_x_points": X.replace("12", "1e999")}, "unreadable_contour"),
        ({"classification": "Benign, 1, 2"}, "unreadable_row"),
    ],
)
def test_an_outline_that_cannot_be_read_fails_its_image_and_names_its_row(cells, code, tmp_path):
    other = "patient_8/study_9/img_8_9_1_RCC.tif"
    root = small(
        tmp_path / "a",
        row(**cells),
        row(image_filename=other, segmentation_id="11"),
        images=("patient_3/study_4/img_3_4_1_LO.tif", other),
    )
    done = convert("bcdr", root, tmp_path / "out")
    assert done.code == 1
    assert done.failed == {ONE: code}
    (problem,) = [line for line in done.rows("problems.csv") if line["severity"] == "failed"]
    assert problem["source"] == "BCDR-D01_dataset/bcdr_d01_outlines.csv#1"
    assert list(done.records) == ["patient_8_study_9_img_8_9_1_RCC"]


def test_a_row_cut_off_within_its_points_fails_its_image(tmp_path):
    cut = row()[: row().index(Y) + 12]  # its class is lost too
    root = small(tmp_path / "a", cut)
    (lesion,) = only(root).lesions
    assert isinstance(lesion.shape, Unreadable)
    assert lesion.shape.any_kind
    done = convert("bcdr", root, tmp_path / "out", "--kind", "calcification")
    assert (done.code, done.failed) == (1, {ONE: "unreadable_row"})


def test_a_row_without_a_readable_image_name_fails_alone(tmp_path):
    root = small(tmp_path / "a", row(), row(image_filename="thumbs.db"))
    done = convert("bcdr", root, tmp_path / "out")
    assert done.code == 1
    assert done.codes() == {"unreadable_row"}
    assert list(done.records) == [ONE]


@pytest.mark.parametrize("column", ["image_filename", "lw_x_points", "lw_y_points"])
def test_a_table_without_a_needed_column_is_refused(column, tmp_path):
    root = small(tmp_path, row(), header=HEADER.replace(column, "other"))
    with pytest.raises(ArchiveError, match=f"no column {column}"):
        index_of("bcdr", root)


def test_an_unreadable_table_of_outlines_is_refused(tmp_path):
    root = small(tmp_path)
    (root / "BCDR-D01_dataset" / "bcdr_d01_outlines.csv").write_bytes(b"")
    with pytest.raises(ArchiveError, match="outlines cannot be read"):
        index_of("bcdr", root)


def test_a_row_whose_image_is_not_there_is_left_out(tmp_path):
    other = row(image_filename="patient_9/study_9/img_9_9_1_RO.tif", segmentation_id="99")
    done = convert("bcdr", small(tmp_path / "a", row(), other), tmp_path / "out")
    assert done.code == 0
    assert done.left_out == {"patient_9_study_9_img_9_9_1_RO": {"no_image"}}
    assert done.items()["contours"] == {"found": 2, "written": 1, "left_out": 1, "failed": 0}


def test_a_features_row_without_an_outline_is_left_out(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "bcdr", tmp_path / "copy")
    table = root / "BCDR-F01_dataset" / "bcdr_f01_features.csv"
    replace_in(table, ", 500, ", ", 599, ")
    done = convert("bcdr", root, tmp_path / "out")
    assert done.code == 0
    assert "orphan_row" in done.codes("left_out.csv")


# ------------------------------------------------------------------------------ empty images


def test_images_that_the_tables_call_free_get_an_empty_mask(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "bcdr").root
    plain = convert("bcdr", root, tmp_path / "plain")
    free = {"patient_8_study_15_img_8_15_1_RO", "patient_40_study_51_img_40_51_1_RCC"}
    calcs = "F01_patient_101_study_120_img_101_120_1_LCC"
    assert {key for key, codes in plain.left_out.items() if codes == {"no_lesion"}} == free
    assert "no_chosen_kind" in plain.left_out[calcs]
    done = convert("bcdr", root, tmp_path / "out", "--with-empty")
    assert {key for key, line in done.records.items() if line["n_lesions"] == "0"} == {*free, calcs}
    assert not any(done.mask(key).any() for key in free)


def test_a_set_without_a_table_of_outlines_is_told_and_calls_nothing_free(
    tmp_path_factory, tmp_path
):
    root = copy_of(tmp_path_factory, "bcdr", tmp_path / "copy")
    delete(root, r"bcdr_f01_.*\.csv")
    warnings = index_of("bcdr", root).warnings
    assert [(one.code, "F01" in one.message) for one in warnings] == [("table_missing", True)]
    done = convert("bcdr", root, tmp_path / "out", "--with-empty")
    assert "not_called_free" in done.left_out["F01_patient_101_study_120_img_101_120_1_LCC"]


def test_a_set_of_normals_needs_no_outlines(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "bcdr", tmp_path / "copy")
    delete(root, "^(?!BCDR-DN01)")
    (record,) = index_of("bcdr", root).records
    assert record.free_of == ("*",)


def test_an_outline_without_a_class_is_no_proof_of_a_free_image(tmp_path):
    none = dict.fromkeys(FLAGS, "0")
    root = small(tmp_path / "a", row(**none))
    done = convert("bcdr", root, tmp_path / "out", "--with-empty")
    assert "unmarked_positive" in done.left_out[ONE]
    assert done.code == 0


def test_an_outline_of_an_unknown_image_casts_doubt_on_all_of_its_set(tmp_path):
    images = ("patient_3/study_4/img_3_4_1_LO.tif", "patient_8/study_9/img_8_9_1_RCC.tif")
    root = small(tmp_path / "a", row(), row(image_filename="?"), images=images)
    done = convert("bcdr", root, tmp_path / "out", "--with-empty")
    assert "not_called_free" in done.left_out["patient_8_study_9_img_8_9_1_RCC"]


def test_a_damaged_table_fails_the_images_of_its_own_set_only(tmp_path, tmp_path_factory, run):
    root = copy_of(tmp_path_factory, "bcdr", tmp_path / "copy")
    (table,) = root.rglob("bcdr_f01_outlines.csv")
    table.write_bytes(b'"' + table.read_bytes())
    code, _, err = run("refactor", "bcdr", root, "-o", tmp_path / "out")
    folder = pairs.PairsFolder(tmp_path / "out" / "bcdr")
    assert code == 1
    assert "the outlines of set F01 cannot be read" in err
    failed = {r["record_id"] for r in folder.rows(pairs.PROBLEMS) if r["severity"] == "failed"}
    assert failed
    assert all(record_id.startswith("F01_") for record_id in failed)
    written = {row["record_id"] for row in folder.rows(pairs.RECORDS)}
    assert any(record_id.startswith("patient_") for record_id in written)
    assert not written & failed
