"""What is peculiar to CSAW-S: masks by class and annotator, two parts with the same numbers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bcseg.record import KINDS, Raster
from test_adapters import (
    archive,
    convert,
    copy_of,
    index_of,
    moved,
    read_png,
    records_of,
)

TOP = "CsawS"
TEST = f"{TOP}/test_data"


def truths(factory, record, label="cancer"):
    """Return the masks of the annotators of one image."""
    found = archive(factory, "csaw").truths
    return {t.annotator: t.mask for t in found if (t.record, t.label) == (record, label)}


def write_mask(root, name, mask, value=255):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask.astype(np.uint8) * np.uint8(value))


# ------------------------------------------------------------------------------ ids, parts


def test_ids_groups_and_parts(tmp_path_factory):
    records = records_of("csaw", archive(tmp_path_factory, "csaw").root)
    told = {key: (r.group, r.patient_id, r.split, r.annotator) for key, r in records.items()}
    assert told == {
        "test_001_0": ("csaw:test_001", "001", "test", "1"),
        "test_011_1": ("csaw:test_011", "011", "test", "1"),
        "test_012_0": ("csaw:test_012", "012", "test", "1"),
        "train_001_10": ("csaw:train_001", "001", "train", "1"),  # n may have two digits
        "train_012_0": ("csaw:train_012", "012", "train", "1"),
        "train_012_1": ("csaw:train_012", "012", "train", "1"),
    }
    for key, record in records.items():
        assert record.image.startswith(TEST) == key.startswith("test")
        for lesion in record.lesions:
            assert isinstance(lesion.shape, Raster)
            assert all(
                name.startswith(TEST) == key.startswith("test") for name in lesion.shape.files
            )


def test_records_are_in_the_order_of_their_ids(tmp_path):
    for patient in ("1", "10", "2"):
        for number in (0, 2, 10):
            (tmp_path / f"a/{patient}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"a/{patient}/{patient}_{number}.png").touch()
            (tmp_path / f"a/{patient}/{patient}_{number}_skin.png").touch()
    ids = [record.record_id for record in index_of("csaw", tmp_path).records]
    assert ids == sorted(ids)
    assert len(ids) == 9


def inside_test_data(name):
    """The user names the folder test_data itself."""
    return name.removeprefix(f"{TEST}/") if name.startswith(TEST) else f"../other/{name}"


def renamed_test_data(name):
    return name.replace("test_data/", "Testing set/")


def spelled_otherwise(name):
    return name.replace("test_data", "Test Data").replace("annotator_", "Annotator-")


@pytest.mark.parametrize("rename", [renamed_test_data, spelled_otherwise])
def test_the_test_part_is_known_by_its_annotators(rename, tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    after = records_of("csaw", moved(root, tmp_path / "moved", rename))
    before = records_of("csaw", root)
    assert list(after) == list(before)
    assert [len(r.lesions) for r in after.values()] == [len(r.lesions) for r in before.values()]


def test_the_folder_of_the_test_part_alone(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    moved(root, tmp_path / "moved", inside_test_data)
    assert list(records_of("csaw", tmp_path / "moved")) == [
        "test_001_0",
        "test_011_1",
        "test_012_0",
    ]


# ------------------------------------------------------------------------------ classes


CLASSES = [
    ("cancer", "cancer"),
    ("calcifications", "calcification"),
    ("axillary_lymph_nodes", "lymph_node"),
    ("thick_vessels", "thick_vessel"),
    ("foreign_object", "foreign_object"),
    ("skin", "skin"),
    ("nipple", "nipple"),
    ("text", "text"),
    ("non-mammary_tissue", "non_mammary_tissue"),
    ("pectoral_muscle", "pectoral_muscle"),
    ("mammary_gland", "mammary_gland"),
    ("unclassified", "unclassified"),
]


@pytest.mark.parametrize(("word", "kind"), [*CLASSES, ("non_mammary_tissue", "non_mammary_tissue")])
def test_the_class_is_all_behind_the_second_underscore(word, kind, tmp_path):
    folder = tmp_path / "anonymized_dataset" / "012"
    folder.mkdir(parents=True)
    for name in ("012_0.png", f"012_0_{word}.png"):
        (folder / name).touch()
    (record,) = index_of("csaw", tmp_path).records
    (lesion,) = record.lesions
    assert lesion.kind == kind
    assert lesion.lesion_id == {known: written for written, known in CLASSES}[kind]


def test_variants_and_unknown_classes_are_left_out_with_their_reason(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    folder = root / TOP / "anonymized_dataset" / "012"
    for name in ("012_0_8bit.png", "012_0_implant.png"):
        (folder / name).write_bytes((folder / "012_0.png").read_bytes())
    record = records_of("csaw", root)["train_012_0"]
    assert record.image == f"{TOP}/anonymized_dataset/012/012_0.png"
    assert dict(record.others) == {
        f"{TOP}/anonymized_dataset/012/012_0_8bit.png": "image_variant",
        f"{TOP}/anonymized_dataset/012/012_0_implant.png": "unknown_class",
    }


def test_only_what_is_chosen_is_read(tmp_path_factory):
    root = archive(tmp_path_factory, "csaw").root
    chosen = frozenset({"cancer", "skin"})
    record = records_of("csaw", root, kinds=chosen)["train_012_0"]
    kinds = {lesion.kind for lesion in record.lesions}
    assert kinds == {"cancer", "calcification", "skin"}  # other lesions are kept in the archive
    reasons = {why for name, why in record.others}
    assert reasons == {"kind_not_chosen"}


def test_classes_may_overlap(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    folder = root / TOP / "anonymized_dataset" / "012"
    cancer = read_png(folder / "012_0_cancer.png") > 0
    write_mask(folder, "012_0_skin.png", cancer)
    kinds = ("--kind", "cancer", "--kind", "skin", "--masks", "lesion")
    done = convert("csaw", root, tmp_path / "out", *kinds)
    assert np.array_equal(done.mask("train_012_0"), cancer)
    assert done.records["train_012_0"]["kinds"] == "cancer skin"
    assert done.lesions["train_012_0", "skin"]["area_px"] == str(cancer.sum())


# ------------------------------------------------------------------------------ masks


@pytest.mark.parametrize("value", [1, 7, 255])
def test_any_value_above_zero_is_marked(value, tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    (expected,) = truths(tmp_path_factory, "train_012_0").values()
    write_mask(root, f"{TOP}/anonymized_dataset/012/012_0_cancer.png", expected, value)
    done = convert("csaw", root, tmp_path / "out")
    assert np.array_equal(done.mask("train_012_0"), expected)


def test_a_blank_mask_and_a_missing_one_say_the_same(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    cancer = root / TOP / "anonymized_dataset" / "012" / "012_0_cancer.png"
    write_mask(cancer.parent, cancer.name, np.zeros_like(read_png(cancer)))
    blank = convert("csaw", root, tmp_path / "blank")
    blank_empty = convert("csaw", root, tmp_path / "blank-empty", "--with-empty")
    cancer.unlink()
    none = convert("csaw", root, tmp_path / "none")
    none_empty = convert("csaw", root, tmp_path / "none-empty", "--with-empty")
    for done in (blank, none):
        assert (done.code, "train_012_0" in done.records) == (0, False)
    for done in (blank_empty, none_empty):
        assert done.records["train_012_0"]["mask_pixels"] == "0"


def test_a_mask_of_another_size_fails_its_image(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    (expected,) = truths(tmp_path_factory, "train_012_0").values()
    write_mask(root, f"{TOP}/anonymized_dataset/012/012_0_cancer.png", expected[:-9])
    done = convert("csaw", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {"train_012_0": "mask_size"})
    assert "train_012_1" in done.records


def test_a_mask_twice_as_large_is_resized_and_told(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    (expected,) = truths(tmp_path_factory, "train_012_0").values()
    twice = np.kron(expected, np.ones((2, 2)))
    write_mask(root, f"{TOP}/anonymized_dataset/012/012_0_cancer.png", twice)
    done = convert("csaw", root, tmp_path / "out")
    assert np.array_equal(done.mask("train_012_0"), expected)
    assert "mask_resized" in done.codes()


def test_coloured_and_16_bit_images_become_one_grey_channel(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    colour = read_png(root / TOP / "anonymized_dataset/012/012_1.png")
    deep = read_png(root / TOP / "anonymized_dataset/012/012_0.png")
    assert (colour.ndim, deep.dtype) == (3, np.uint16)
    done = convert("csaw", root, tmp_path / "out")
    assert np.array_equal(done.image("train_012_1"), colour[:, :, 0])
    assert np.array_equal(done.image("train_012_0"), deep)


# ------------------------------------------------------------------------------ annotators


def test_the_first_annotator_is_taken_unless_another_is_named(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    masks = truths(tmp_path_factory, "test_011_1")
    assert len(masks) == 3
    for options, reader in ((), "1"), (("--annotator", 2), "2"), (("--annotator", 3), "3"):
        done = convert("csaw", root, tmp_path / reader, *options)
        assert np.array_equal(done.mask("test_011_1"), masks[reader])
        assert done.records["test_011_1"]["annotator"] == reader


def test_all_annotators_have_a_record_each(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    records = records_of("csaw", root, annotator="all")
    assert set(records) == {
        *(f"test_{image}_a{n}" for image in ("001_0", "011_1", "012_0") for n in "123"),
        "train_001_10_a1",
        "train_012_0_a1",
        "train_012_1_a1",
    }
    done = convert("csaw", root, tmp_path / "out", "--annotator", "all")
    masks = truths(tmp_path_factory, "test_012_0")
    assert set(masks) == {"1", "2"}  # the third has no mask of a cancer there
    for reader, mask in masks.items():
        assert np.array_equal(done.mask(f"test_012_0_a{reader}"), mask)
    assert "test_012_0_a3" not in done.records
    assert {row["group"] for key, row in done.records.items() if "012_0_a" in key} == {
        "csaw:test_012",
        "csaw:train_012",
    }
    assert done.code == 0


def test_the_majority_marks_what_more_than_half_of_the_annotators_do(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    done = convert("csaw", root, tmp_path / "out", "--annotator", "majority")
    for record in ("test_011_1", "test_012_0", "test_001_0", "train_012_0"):
        masks = truths(tmp_path_factory, record)
        needed = 1 if record.startswith("train") else 2
        expected = np.sum(list(masks.values()), axis=0) >= needed
        assert np.array_equal(done.mask(record), expected)
        assert done.records[record]["annotator"] == "majority"


def test_training_images_have_the_first_annotator_only(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    done = convert("csaw", root, tmp_path / "out", "--annotator", 2)
    assert {key.split("_")[0] for key in done.records} == {"test"}
    assert "no_such_annotator" in done.left_out["train_012_0"]
    assert done.code == 0


def test_masks_of_the_others_are_counted_as_such(tmp_path_factory):
    root = archive(tmp_path_factory, "csaw").root
    record = records_of("csaw", root)["test_011_1"]
    others = {name.split("/")[2] for name, why in record.others if why == "other_annotator"}
    assert others == {"annotator_2", "annotator_3"}


def test_an_image_that_another_annotator_marked_is_not_believed_empty(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "csaw").root
    # annotator 1 has no cancer in test_001_0, 2 and 3 have; nobody has one in train_001_10
    done = convert("csaw", root, tmp_path / "out", "--with-empty")
    assert "unmarked_positive" in done.left_out["test_001_0"]
    assert done.records["train_001_10"]["mask_pixels"] == "0"
    assert "2, 3" in next(
        row["message"] for row in done.rows("left_out.csv") if row["code"] == "unmarked_positive"
    )


def test_an_image_without_any_mask_is_not_called_free(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    folder = root / TOP / "anonymized_dataset" / "099"
    folder.mkdir()
    (folder / "099_0.png").write_bytes(
        (root / TOP / "anonymized_dataset/012/012_0.png").read_bytes()
    )
    done = convert("csaw", root, tmp_path / "out", "--with-empty")
    assert "not_called_free" in done.left_out["train_099_0"]


# ------------------------------------------------------------------------------ others


def test_a_mask_without_its_image_is_left_out(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    write_mask(root, f"{TOP}/anonymized_dataset/099/099_0_cancer.png", np.ones((9, 7)))
    done = convert("csaw", root, tmp_path / "out")
    assert done.code == 0
    assert done.left_out["train_099_0"] == {"no_image"}


def test_the_same_image_twice_is_one_record(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "csaw", tmp_path / "copy")
    other = root / TOP / "zopy" / "012"
    other.mkdir(parents=True)
    (other / "012_0.png").write_bytes(
        (root / TOP / "anonymized_dataset/012/012_0.png").read_bytes()
    )
    record = records_of("csaw", root)["train_012_0"]
    assert record.image == f"{TOP}/anonymized_dataset/012/012_0.png"
    assert record.others == ((f"{TOP}/zopy/012/012_0.png", "duplicate_file"),)


def test_running_numbers_of_the_older_collection_exist_for_the_whole_archive_only(tmp_path):
    names = [f"CsawS/anonymized_dataset/{n:03d}/{n:03d}_0" for n in range(312)]
    names += [f"CsawS/test_data/anonymized_dataset/{n:03d}/{n:03d}_0" for n in range(26)]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.with_suffix(".png").touch()
    (path.parent / f"{path.name}_skin.png").touch()
    numbers = {
        key: record.attributes.get("collection_number")
        for key, record in records_of("csaw", tmp_path).items()
    }
    assert (numbers["test_000_0"], numbers["test_025_0"]) == ("1", "26")
    assert (numbers["train_000_0"], numbers["train_311_0"]) == ("27", "338")
    path.with_suffix(".png").unlink()
    assert records_of("csaw", tmp_path)["test_000_0"].attributes == {}


def test_documents_are_counted_as_such(tmp_path_factory):
    assert {kind for _, kind in CLASSES} <= set(KINDS)
    assert index_of("csaw", archive(tmp_path_factory, "csaw").root).documents == (
        f"{TOP}/training_random_splits.json",
    )
