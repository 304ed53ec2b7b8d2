"""`bcseg export`: what frameworks read back is what the pairs hold."""

from __future__ import annotations

import csv
import json
import re

import cv2
import numpy as np
import pytest

from archives import FIVE, original, pixels
from bcseg import pairs
from bcseg.export import FORMATS
from bcseg.reading import read
from exporting import export, root_of, split_root

coco_library = pytest.importorskip("pycocotools.coco")
# of pycocotools with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All five datasets, split by patient."""
    return split_root(tmp_path_factory.mktemp("all"))


@pytest.mark.parametrize("format_", FORMATS)
def test_every_export_opens_with_the_licences_and_is_hidden_from_git(
    run, tmp_path, everything, format_
):
    root, datasets, options = everything, FIVE, ()
    if format_ == "dicom-seg":
        pytest.importorskip("highdicom")
        datasets = ("cbis", "inbreast")
        root = root_of(tmp_path, *datasets)
        options = [f"--source={name}={original(name)}" for name in datasets]
    _, err = export(run, format_, root, tmp_path / "out", *options)
    text = (tmp_path / "out/LICENCE.txt").read_text()
    for dataset in datasets:
        assert (root / dataset / "LICENCE.txt").read_text() in text
    assert (tmp_path / "out/.gitignore").read_text() == "*\n"
    assert f"not carried by {FORMATS[format_].TITLE}: " in err
    left = (tmp_path / "out").rglob(".*")
    assert [path.name for path in left] == [".gitignore"]


def test_nnunet_labels_are_small_numbers_of_one_channel(run, tmp_path, everything):
    text, _ = export(run, "nnunet", everything, tmp_path / "out", "--id", "7", "--name", "All")
    raw = tmp_path / "out/nnUNet_raw/Dataset007_All"
    document = json.loads((raw / "dataset.json").read_text())
    assert document["labels"]["background"] == 0
    assert sorted(document["labels"].values()) == list(range(len(document["labels"])))
    found = read(everything)
    assert document["numTraining"] == sum(pair.split != "test" for pair in found)
    assert len(list((raw / "imagesTr").iterdir())) == document["numTraining"]
    for pair in found:
        part = "Ts" if pair.split == "test" else "Tr"
        label = pixels(raw / f"labels{part}" / f"{pair.case}.png")
        assert label.dtype == np.uint8
        assert label.ndim == 2
        np.testing.assert_array_equal(label > 0, pair.mask > 0)
        for lesion in pair.lesions:
            number = document["labels"][lesion.row["kind"]]
            if len(pair.lesions) == 1:
                assert {*np.unique(label[lesion.mask])} == {number}
        image = pixels(raw / f"images{part}" / f"{pair.case}_0000.png")
        np.testing.assert_array_equal(image, pair.image)
    assert "nnUNetv2_plan_and_preprocess -d 7" in text
    assert str(tmp_path / "out" / "nnUNet_raw") in text


def test_nnunet_splits_are_those_of_the_patients(run, tmp_path):
    root = root_of(tmp_path, "cbis", "inbreast")
    assert run("split", root, "--folds", "3", "--unknown-patient", "one-group")[0] == 0
    export(run, "nnunet", root, tmp_path / "out", "--name", "Mass")
    path = tmp_path / "out/nnUNet_preprocessed/Dataset501_Mass/splits_final.json"
    splits = json.loads(path.read_text())
    cases = {pair.case: pair for pair in read(root)}
    assert len(splits) == 3
    for split in splits:
        assert not {*split["train"]} & {*split["val"]}
        assert {*split["train"], *split["val"]} == cases.keys()
        groups = [{cases[case].row["group"] for case in split[part]} for part in ("train", "val")]
        assert not groups[0] & groups[1]
    assert sorted(case for split in splits for case in split["val"]) == sorted(cases)


def test_nnunet_says_that_patients_leak_without_a_split(run, tmp_path):
    root = root_of(tmp_path, "inbreast")
    _, err = export(run, "nnunet", root, tmp_path / "out")
    assert "patients will be in train and val" in err
    assert not (tmp_path / "out/nnUNet_preprocessed").exists()
    code, _, err = run("export", "nnunet", root, "-o", tmp_path / "other", "--name", "a b/c")
    assert (code, "letters and digits" in err) == (2, True)
    assert not (tmp_path / "other").exists()


def test_a_pair_that_is_not_in_the_split_stops_nnunet(run, tmp_path):
    root = root_of(tmp_path, "inbreast")
    run("split", root, "--folds", "2", "--unknown-patient", "one-group")
    path = root / "splits.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    code, _, err = run("export", "nnunet", root, "-o", tmp_path / "out")
    assert (code, "1 pairs are not in splits.csv" in err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_coco_run_lengths_are_the_lesions(run, tmp_path, everything, capsys):
    export(run, "coco", everything, tmp_path / "out")
    seen = 0
    for path in sorted((tmp_path / "out/annotations").iterdir()):
        coco = coco_library.COCO(str(path))
        part = re.fullmatch(r"instances_(\w+)\.json", path.name)[1]
        cases = {f"{pair.case}.png": pair for pair in read(everything, split=part)}
        assert {image["file_name"] for image in coco.imgs.values()} == cases.keys()
        names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
        for image in coco.imgs.values():
            pair = cases[image["file_name"]]
            found = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]], iscrowd=False))
            assert len(found) == len(pair.lesions)
            for annotation, lesion in zip(found, pair.lesions, strict=True):
                np.testing.assert_array_equal(coco.annToMask(annotation) > 0, lesion.mask)
                assert annotation["area"] == lesion.patch.area
                assert names[annotation["category_id"]] == lesion.row["kind"]
                x, y, width, height = annotation["bbox"]
                cells = [lesion.row[f"bbox_{side}"] for side in "xywh"]
                assert [x, y, width, height] == [float(cell) for cell in cells]
                seen += 1
    assert seen == sum(len(pair.lesions) for pair in read(everything))
    assert capsys.readouterr()


def test_coco_polygons_come_with_their_overlap(run, tmp_path):
    root = root_of(tmp_path, "inbreast")
    _, err = export(run, "coco", root, tmp_path / "out", "--polygons")
    mean = float(re.search(r"IoU ([\d.]+) on average", err)[1])
    assert 0.97 < mean <= 1
    coco = coco_library.COCO(str(tmp_path / "out/annotations/instances.json"))
    lesions = [lesion for pair in read(root) for lesion in pair.lesions]
    for annotation, lesion in zip(coco.anns.values(), lesions, strict=True):
        assert isinstance(annotation["segmentation"], list)
        if np.array_equal(_without_holes(lesion.mask.astype(np.uint8)) > 0, lesion.mask):
            np.testing.assert_array_equal(coco.annToMask(annotation) > 0, lesion.mask)


@pytest.mark.parametrize("whole", [np.trunc, np.rint])
def test_yolo_polygons_drawn_as_frameworks_do_are_the_masks(run, tmp_path, everything, whole):
    _, err = export(run, "yolo", everything, tmp_path / "out")
    for pair in read(everything):
        image = pixels(tmp_path / f"out/images/{pair.split}/{pair.case}.png")
        assert image.dtype == np.uint8
        assert image.shape == pair.size
        drawn = np.zeros(pair.size, np.uint8)
        text = (tmp_path / f"out/labels/{pair.split}/{pair.case}.txt").read_text()
        for line in text.splitlines():
            shares = np.array([float(word) for word in line.split()[1:]]).reshape(-1, 2)
            assert len(shares) >= 3
            assert shares.min() >= 0
            assert shares.max() <= 1
            points = whole(shares * [pair.size[1], pair.size[0]]).astype(np.int32)
            cv2.fillPoly(drawn, [points], 1)
        filled = drawn.copy()
        filled[pair.mask > 0] = 1
        np.testing.assert_array_equal(drawn, filled)  # nothing of a mask is missing
        if np.array_equal(_without_holes(pair.mask), pair.mask):
            np.testing.assert_array_equal(drawn, pair.mask)
    assert "IoU" in err
    text = (tmp_path / "out/data.yaml").read_text()
    assert 'train: "images/train"' in text
    assert text.startswith("# ")


def _without_holes(mask):
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), found, -1, 1, cv2.FILLED)


def test_a_monai_datalist_names_files_that_are_there(run, tmp_path, everything):
    export(run, "monai", everything, tmp_path / "out")
    document = json.loads((tmp_path / "out/datalist.json").read_text())
    cases = {pair.case: pair for pair in read(everything)}
    parts = {"training": "train", "validation": "val", "test": "test"}
    seen = 0
    for key, part in parts.items():
        for item in document[key]:
            pair = cases[item["case"]]
            assert pair.split == part
            np.testing.assert_array_equal(pixels(tmp_path / "out" / item["image"]), pair.image)
            label = pixels(tmp_path / "out" / item["label"])
            np.testing.assert_array_equal(label > 0, pair.mask > 0)
            assert {str(value) for value in np.unique(label)} <= document["labels"].keys()
            seen += 1
    assert seen == len(cases)
    assert document["numTraining"] == len(document["training"])


def test_rejected_lesions_are_ignored_by_nnunet(run, tmp_path):
    root = root_of(tmp_path, "inbreast")
    pair = read(root)[0]
    (root / "inbreast/ignore").mkdir()
    ignore = np.zeros(pair.size, np.uint8)
    ignore[:9, :7] = 255
    cv2.imwrite(str(root / f"inbreast/ignore/{pair.record_id}.png"), ignore)
    export(run, "nnunet", root, tmp_path / "out")
    raw = tmp_path / "out/nnUNet_raw/Dataset501_Lesions"
    labels = json.loads((raw / "dataset.json").read_text())["labels"]
    assert labels["ignore"] == max(labels.values())
    label = pixels(raw / f"labelsTr/{pair.case}.png")
    expected = (ignore > 0) & (pair.mask == 0)
    np.testing.assert_array_equal(label == labels["ignore"], expected)


def test_one_class_for_all_kinds(run, tmp_path):
    root = root_of(tmp_path, "inbreast", "csaw")
    export(run, "coco", root, tmp_path / "coco", "--one-class")
    document = json.loads((tmp_path / "coco/annotations/instances.json").read_text())
    assert [one["name"] for one in document["categories"]] == ["lesion"]
    export(run, "nnunet", root, tmp_path / "nnunet", "--one-class")
    path = tmp_path / "nnunet/nnUNet_raw/Dataset501_Lesions/dataset.json"
    assert json.loads(path.read_text())["labels"] == {"background": 0, "lesion": 1}


def test_a_damaged_pair_fails_by_name_and_stops_no_other(run, tmp_path):
    root = root_of(tmp_path, "inbreast")
    first, *rest = read(root)
    first.path("image").unlink()
    code, out, _ = run("export", "monai", root, "-o", tmp_path / "out")
    assert code == 1
    assert f"failed {first.case}: " in out
    document = json.loads((tmp_path / "out/datalist.json").read_text())
    assert [item["case"] for item in document["training"]] == [pair.case for pair in rest]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("coko",), "do you mean coco?"),
        (("monai", "-o", "{root}/out"), "lies inside the root"),
        (("monai", "-o", "{full}"), "not empty"),
    ],
)
def test_wrong_usage_writes_nothing(run, tmp_path, words, message):
    root = root_of(tmp_path, "inbreast")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    format_, *options = (word.format(root=root, full=full) for word in words)
    options = options or ["-o", tmp_path / "out"]
    code, _, err = run("export", format_, root, *options)
    assert code == 2
    assert message in err
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    assert not (tmp_path / "out").exists()


def test_links_are_the_same_files(run, tmp_path):
    root = root_of(tmp_path, "csaw")
    export(run, "monai", root, tmp_path / "out", "--link")
    for pair in read(root):
        assert (tmp_path / f"out/images/{pair.case}.png").samefile(pair.path("image"))


# ------------------------------------------------------------------------------ reading


def test_pairs_are_read_as_arrays(everything):
    found = read(everything)
    with (everything / "inbreast/records.csv").open() as file:
        ids = sorted(row["record_id"] for row in csv.DictReader(file))
    assert [pair.record_id for pair in found if pair.dataset == "inbreast"] == ids
    for pair in found:
        assert pair.image.shape == pair.mask.shape == pair.size
        union = np.zeros(pair.size, bool)
        for lesion in pair.lesions:
            union |= lesion.mask
        np.testing.assert_array_equal(union, pair.mask > 0)
        assert {*pair} == {"image", "mask", "case"}
        assert pair["case"] == pair.case
    assert len(found[1:3]) == 2
    assert found[-1].case == found[len(found) - 1].case
    with pytest.raises(IndexError):
        found[len(found)]
    parts = [len(read(everything, split=part)) for part in ("train", "val", "test")]
    assert sum(parts) == len(found)


def test_unit_scale_is_float32_from_0_to_1(everything):
    for pair, plain in zip(read(everything, scale="unit"), read(everything), strict=True):
        assert pair.image.dtype == np.float32
        assert pair.image.min() >= 0
        assert pair.image.max() <= 1
        top = 2 ** int(pair.row["bits_stored"]) - 1
        np.testing.assert_allclose(pair.image * top, plain.image, atol=0.01)


def test_pairs_go_to_other_processes(everything):
    import pickle

    pair = read(everything)[0]
    assert pair.lesions
    again = pickle.loads(pickle.dumps(pair))
    np.testing.assert_array_equal(again.mask, pair.mask)
    assert len(again.lesions) == len(pair.lesions)


def test_a_split_is_asked_for_where_there_is_none(tmp_path):
    root = root_of(tmp_path, "inbreast")
    with pytest.raises(pairs.UsageError, match=r"no splits\.csv"):
        read(root, split="train")
