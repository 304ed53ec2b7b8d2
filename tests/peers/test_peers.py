"""The frameworks' own checks of what `bcseg export` writes: `make test-peers` installs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from archives import original
from bcseg.reading import read
from exporting import export, root_of, split_root

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("default"),  # theirs are not ours to mend
]
REASON = "a peer: make test-peers"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All five datasets, split by patient."""
    return split_root(tmp_path_factory.mktemp("peers"))


def test_nnunet_verifies_the_dataset(run, tmp_path, root, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / f"out/nnUNet_{name}"))
    check = pytest.importorskip(
        "nnunetv2.experiment_planning.verify_dataset_integrity", reason=REASON
    )
    export(run, "nnunet", root, tmp_path / "out", "--id", "501", "--name", "Mass")
    folder = tmp_path / "out/nnUNet_raw/Dataset501_Mass"
    check.verify_dataset_integrity(str(folder), num_processes=1)
    # it can fail, too: the labels of a mask file as people see it
    from cv2 import imwrite

    label = next(folder.glob("labelsTr/*.png"))
    case = next(pair for pair in read(root) if pair.case == label.stem)
    imwrite(str(label), (case.mask > 0).astype(np.uint8) * 255)
    with pytest.raises((AssertionError, RuntimeError)):
        check.verify_dataset_integrity(str(folder), num_processes=1)


def test_monai_loads_the_datalist(run, tmp_path, root):
    data = pytest.importorskip("monai.data", reason=REASON)
    from monai.data.decathlon_datalist import check_missing_files
    from monai.transforms import LoadImaged

    export(run, "monai", root, tmp_path / "out")
    cases = {pair.case: pair for pair in read(root)}
    load = LoadImaged(keys=["image", "label"], reader="PILReader")
    seen = set()
    for key, part in (("training", "train"), ("validation", "val"), ("test", "test")):
        items = data.load_decathlon_datalist(str(tmp_path / "out/datalist.json"), True, key)
        assert not check_missing_files(items, keys=["image", "label"])
        for item in items:
            pair = cases[item["case"]]
            assert pair.split == part
            loaded = load(item)
            np.testing.assert_array_equal(np.asarray(loaded["image"]).T, pair.image)
            np.testing.assert_array_equal(np.asarray(loaded["label"]).T > 0, pair.mask > 0)
            seen.add(pair.case)
    assert seen == cases.keys()


def test_supervision_reads_yolo(run, tmp_path, root):
    supervision = pytest.importorskip("supervision", reason=REASON)
    export(run, "yolo", root, tmp_path / "out")
    overlaps = []
    for part in ("train", "val", "test"):
        dataset = supervision.DetectionDataset.from_yolo(
            images_directory_path=str(tmp_path / "out/images" / part),
            annotations_directory_path=str(tmp_path / "out/labels" / part),
            data_yaml_path=str(tmp_path / "out/data.yaml"),
            force_masks=True,
        )
        cases = {pair.case: pair for pair in read(root, split=part)}
        assert {Path(path).stem for path in dataset.image_paths} == cases.keys()
        for path, _, found in dataset:
            pair = cases[Path(path).stem]
            mask = found.mask.any(axis=0) if len(found) else np.zeros(pair.size, bool)
            union = np.count_nonzero(mask | (pair.mask > 0))
            overlaps.append(np.count_nonzero(mask & (pair.mask > 0)) / union)
            kinds = {dataset.classes[number] for number in found.class_id}
            assert kinds == {*pair.row["kinds"].split()}
    assert len(overlaps) == len(read(root))
    # outlines through pixel centres: what is lost is holes, filled
    assert np.mean(overlaps) > 0.99
    assert min(overlaps) > 0.9


def test_mlcroissant_validates(run, tmp_path, root):
    pytest.importorskip("mlcroissant", reason=REASON)
    export(run, "croissant", root, tmp_path / "out")
    command = Path(sys.executable).with_name("mlcroissant")
    metadata = tmp_path / "out/metadata.json"
    done = subprocess.run(
        [command, "validate", "--jsonld", metadata], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


def test_dciodvfy_finds_no_error(run, tmp_path):
    pytest.importorskip("highdicom", reason=REASON)
    command = shutil.which("dciodvfy")
    if not command:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    datasets = ("cbis", "inbreast")
    root = root_of(tmp_path, *datasets)
    sources = [f"--source={name}={original(name)}" for name in datasets]
    export(run, "dicom-seg", root, tmp_path / "out", *sources)
    for path in sorted((tmp_path / "out/segmentations").iterdir()):
        done = subprocess.run([command, path], capture_output=True, text=True, check=False)
        assert "Error" not in done.stderr, f"{path.name}\n{done.stderr}"
