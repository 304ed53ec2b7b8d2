"""VinDr-Mammo: boxes, lists in cells, what no box means."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest

from bcseg.record import Polygon, Unreadable
from test_adapters import archive, convert, copy_of, index_of

STUDY = "0" * 32
HEADER = [
    *("study_id", "series_id", "image_id", "laterality", "view_position", "height", "width"),
    *("breast_birads", "breast_density", "finding_categories", "finding_birads"),
    *("xmin", "ymin", "xmax", "ymax", "split"),
]
DEFAULTS = {
    "study_id": STUDY, "series_id": "1" * 32, "laterality": "L", "view_position": "MLO",
    "height": "60", "width": "40", "breast_birads": "BI-RADS 4", "breast_density": "DENSITY C",
    "finding_categories": "['Mass']", "finding_birads": "BI-RADS 4", "split": "training",
    "xmin": "10.5", "ymin": "20.25", "xmax": "20.5", "ymax": "40.75",
}  # fmt: skip


def image_id(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def images(tmp_path):
    """Return a function that writes PNG images and rows of findings; it returns their folder."""

    def write(*rows: dict[str, str], size=(60, 40)):
        root = tmp_path / "raw"
        for row in rows:
            path = root / f"images/{STUDY}/{row['image_id']}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full(size, 9, np.uint8))
        with (root / "finding_annotations.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(DEFAULTS | row for row in rows)
        return root

    return write


def row(number: int, **cells: str) -> dict[str, str]:
    return {"image_id": image_id(number)} | cells


NO_BOX = {"xmin": "", "ymin": "", "xmax": "", "ymax": "", "finding_birads": ""}


@pytest.mark.parametrize(
    ("cell", "kind", "label"),
    [
        ("['Mass']", "mass", "Mass"),
        ("['Suspicious Calcification']", "calcification", "Suspicious Calcification"),
        ("['Suspicious Calcification', 'Mass']", "mass", "Suspicious Calcification, Mass"),
        ("['Architectural Distortion', 'Asymmetry']", "distortion",
         "Architectural Distortion, Asymmetry"),
        ("['Focal Asymmetry']", "asymmetry", "Focal Asymmetry"),
        ("['Global Asymmetry']", "asymmetry", "Global Asymmetry"),
        ("['Suspicious Lymph Node']", "adenopathy", "Suspicious Lymph Node"),
        ("['Nipple Retraction', 'Skin Thickening']", "skin", "Nipple Retraction, Skin Thickening"),
        ("['Nipple Retraction']", "nipple", "Nipple Retraction"),
        ("['Something New']", "finding", "Something New"),
        ("Mass", "mass", "Mass"),
        ("['Mass'", "mass", "Mass"),
        ("[\"Mass\", 'Asymmetry']", "mass", "Mass, Asymmetry"),
    ],
)  # fmt: skip
def test_categories_and_kinds(images, cell, kind, label):
    (record,) = index_of("vindr", images(row(1, finding_categories=cell))).records
    (lesion,) = record.lesions
    assert (lesion.kind, lesion.label) == (kind, label)
    assert lesion.attributes == {"categories": label.lower()}


def test_a_box_is_filled_and_called_one(images, tmp_path):
    root = images(row(1))
    (record,) = index_of("vindr", root).records
    assert record.lesions[0].shape == Polygon(
        ((10.5, 20.25), (20.5, 20.25), (20.5, 40.75), (10.5, 40.75))
    )
    done = convert("vindr", root, tmp_path / "out")
    (lesion,) = done.lesions.values()
    assert (lesion["geometry"], lesion["area_px"]) == ("box", "200")
    rows, columns = np.nonzero(done.mask(image_id(1)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (21, 40, 11, 20)


def test_words_of_the_tables(images, tmp_path):
    root = images(row(1), row(2, finding_birads="", laterality="R", split="test"))
    first, second = index_of("vindr", root).records
    assert (first.birads, first.density, first.split) == ("4", "C", "training")
    assert (first.laterality, first.view, first.group) == ("L", "MLO", f"vindr:{STUDY}")
    assert (second.laterality, second.split) == ("R", "test")
    assert [one.birads for one in (*first.lesions, *second.lesions)] == ["4", ""]
    assert (first.expected_size, first.patient_id) == ((60, 40), STUDY)


def test_images_without_a_box(images, tmp_path):
    none = NO_BOX | {"finding_categories": "['No Finding']"}
    root = images(
        row(1),
        row(2, **none, breast_birads="BI-RADS 1"),
        row(3, **none, breast_birads="BI-RADS 2"),
        row(4, **none, breast_birads="BI-RADS 4"),
        row(5, finding_categories="['Asymmetry']"),
        row(6, **NO_BOX),
    )
    done = convert("vindr", root, tmp_path / "out", "--with-empty")
    assert (done.code, sorted(done.records)) == (0, [image_id(1), image_id(2)])
    assert done.left_out == {
        image_id(3): {"not_called_free"},
        image_id(4): {"unmarked_positive"},
        image_id(5): {"not_called_free"},
        image_id(6): {"unmarked_positive"},
    }


def test_a_row_without_a_box_beside_one_with(images, tmp_path):
    root = images(row(1), row(1, **NO_BOX))
    (record,) = index_of("vindr", root).records
    assert [type(one.shape) for one in record.lesions] == [Polygon, Unreadable]
    assert convert("vindr", root, tmp_path / "out").failed == {image_id(1): "no_coordinates"}


@pytest.mark.parametrize("corner", [{"xmax": "9"}, {"ymin": "x"}, {"ymax": "inf"}, {"xmin": ""}])
def test_corners_that_make_no_box_fail_the_image(images, corner, tmp_path):
    done = convert("vindr", images(row(1, **corner), row(2)), tmp_path / "out")
    assert done.failed == {image_id(1): "unreadable_contour"}
    assert list(done.records) == [image_id(2)]


def test_a_box_beyond_the_image_is_clipped(images, tmp_path):
    done = convert("vindr", images(row(1, xmin="-5.4943")), tmp_path / "out")
    assert (done.code, done.codes()) == (0, {"lesion_clipped"})
    assert done.mask(image_id(1))[:, 0].any()


def test_a_resized_copy_fails_by_name(images, tmp_path):
    done = convert("vindr", images(row(1), size=(30, 20)), tmp_path / "out")
    assert (done.code, done.failed) == (1, {image_id(1): "image_size"})


def test_the_table_of_breasts_is_not_needed(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "vindr", tmp_path / "copy")
    (root / "breast-level_annotations.csv").unlink()
    before = index_of("vindr", archive(tmp_path_factory, "vindr").root).records
    after = index_of("vindr", root).records
    assert [(r.birads, r.density, r.lesions) for r in after] == [
        (r.birads, r.density, r.lesions) for r in before
    ]


def test_a_converted_copy_beside_the_original_is_left_out(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "vindr", tmp_path / "copy")
    original = sorted(root.rglob("*.dicom"))[0]
    original.with_suffix(".png").write_bytes(b"")
    (left,) = index_of("vindr", root).left_out
    assert (left.code, left.record_id) == ("duplicate_image", original.stem)
