"""`bcseg export hf` and `croissant`: what the libraries load is what the pairs hold."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest

from archives import content, pixels
from bcseg.export import base
from bcseg.reading import read
from exporting import export, root_of, split_root

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

PARTS = {"train": "train", "val": "validation", "test": "test", "": "train"}
# of the libraries, not of what they read
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three datasets of 8 and 16 bits and several classes, split by patient."""
    return split_root(tmp_path_factory.mktemp("hub"), "cbis", "csaw", "inbreast")


def check_rows(loaded, root, classes):
    """Hold every row that `datasets` loads against its pair."""
    cases = {pair.case: pair for pair in read(root)}
    seen = set()
    for part, rows in loaded.items():
        for row in rows:
            pair = cases[row["case"]]
            assert PARTS[pair.split] == part
            np.testing.assert_array_equal(np.asarray(row["image"]), pair.image)
            mask = np.asarray(row["mask"])
            np.testing.assert_array_equal(mask > 0, pair.mask > 0)
            for lesion in pair.lesions:
                values = {classes[str(value)] for value in np.unique(mask[lesion.mask])}
                assert lesion.row["kind"] in values
            for column in ("record_id", "group", "density", "view", "pathology", "birads"):
                assert row[column] == pair.row[column]
            for column in ("height", "width", "bits_stored", "n_lesions", "mask_pixels"):
                assert row[column] == int(pair.row[column])
            seen.add(pair.case)
    assert seen == cases.keys()


@pytest.mark.parametrize("parquet", [False, True])
def test_datasets_loads_the_pairs(run, tmp_path, root, parquet, monkeypatch):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    if parquet:
        monkeypatch.setattr("bcseg.export.hf._SHARD_BYTES", 100_000)
    out = tmp_path / "out"
    text, _ = export(run, "hf", root, out, *(["--parquet"] if parquet else []))
    assert f'load_dataset("{out}")' in text
    classes = json.loads((out / "id2label.json").read_text())
    assert classes["0"] == "background"
    check_rows(datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache")), root, classes)
    if parquet:
        assert len([*(out / "data").glob("train-*.parquet")]) > 1
        return
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "c2"))
    check_rows(loaded, root, classes)


def test_the_card_begins_with_the_licence(run, tmp_path, root):
    export(run, "hf", root, tmp_path / "all", "--name", 'My: "set"')
    card = (tmp_path / "all/README.md").read_text()
    front = dict(line.split(": ", 1) for line in card.split("---\n")[1].splitlines())
    assert json.loads(front["license"]) == "other"
    assert json.loads(front["pretty_name"]) == 'My: "set"'
    files = json.loads(front["configs"])[0]["data_files"]
    assert {one["split"] for one in files} == {PARTS[pair.split] for pair in read(root)}
    for dataset in ("cbis", "csaw", "inbreast"):
        assert (root / dataset / "LICENCE.txt").read_text() in card
    export(run, "hf", root / "cbis", tmp_path / "cbis")
    assert 'license: "cc-by-3.0"\n' in (tmp_path / "cbis/README.md").read_text()


def test_ids_stay_words_and_a_column_has_one_type_in_all_parts(run, tmp_path):
    """`datasets` refuses a column that is empty in one part and text in another."""
    datasets = pytest.importorskip("datasets")
    root = split_root(tmp_path, "inbreast")
    cases = read(root)
    lines = (root / "splits.csv").read_text()
    assert len({pair.split for pair in cases}) > 1, lines
    table = root / "inbreast/records.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = {pair.record_id for pair in cases if pair.split == cases[0].split}
    for number, row in enumerate(rows):
        row["density"] = "" if row["record_id"] in first else "3"
        row["group"] = f"{number:04d}"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    export(run, "hf", root, tmp_path / "out")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache")
    )
    found = {row["case"]: row for part in loaded.values() for row in part}
    for pair in read(root):
        assert found[pair.case]["group"] == pair.row["group"]
        assert found[pair.case]["density"] == pair.row["density"]


def test_parquet_without_datasets_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    root = root_of(tmp_path, "inbreast")
    code, _, err = run("export", "hf", root, "-o", tmp_path / "out", "--parquet")
    assert (code, "bcseg[hf]" in err) == (2, True)
    _, err = export(run, "hf", root, tmp_path / "out")
    assert "no splits.csv" in err


@pytest.mark.parametrize("format_", ["hf", "croissant"])
def test_the_same_pairs_give_the_same_bytes(run, tmp_path, root, format_):
    for name in ("one", "two"):
        export(run, format_, root, tmp_path / name)
    one = content(tmp_path / "one")
    assert one == content(tmp_path / "two")
    assert len(one) > 2 * len(read(root))


# ----------------------------------------------------------------------------- croissant


def croissant_of(folder):
    library = pytest.importorskip("mlcroissant")
    return library.Dataset(jsonld=str(folder / "metadata.json"))


def text_of(record, column):
    value = record[column]
    return "" if value is None else value.decode() if isinstance(value, bytes) else str(value)


def test_croissant_is_valid_without_a_warning(run, tmp_path, root):
    pytest.importorskip("mlcroissant")
    export(run, "croissant", root, tmp_path / "out", "--name", "Lesions")
    metadata = croissant_of(tmp_path / "out").metadata
    issues = metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    document = json.loads((tmp_path / "out/metadata.json").read_text())
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert re.fullmatch(r"\d{4}-01-01", document["datePublished"])
    for pair in read(root):
        assert any(pair.dataset in licence for licence in document["license"])


def test_croissant_loads_image_and_mask_by_case(run, tmp_path, root):
    pytest.importorskip("mlcroissant")
    export(run, "croissant", root, tmp_path / "out")
    cases = {pair.case: pair for pair in read(root)}
    seen = set()
    for record in croissant_of(tmp_path / "out").records("pairs"):
        pair = cases[text_of(record, "pairs/case")]
        assert text_of(record, "pairs/file") == f"{pair.case}.png"
        mask = np.asarray(record["pairs/mask"])[..., 0]
        np.testing.assert_array_equal(mask > 0, pair.mask > 0)
        # mlcroissant cuts 16 bits to 8: the file has them
        image = np.asarray(record["pairs/image"])[..., 0]
        np.testing.assert_array_equal(image, np.minimum(pair.image, 255))
        file = tmp_path / "out/images" / text_of(record, "pairs/file")
        np.testing.assert_array_equal(pixels(file), pair.image)
        seen.add(pair.case)
    assert seen == cases.keys()


def test_croissant_tables_are_those_of_the_pairs(run, tmp_path, root):
    pytest.importorskip("mlcroissant")
    export(run, "croissant", root, tmp_path / "out")
    cases = {pair.case: pair for pair in read(root)}
    data = croissant_of(tmp_path / "out")
    records = {text_of(one, "records/case"): one for one in data.records("records")}
    assert records.keys() == cases.keys()
    for case, record in records.items():
        pair = cases[case]
        assert text_of(record, "records/part") == pair.split
        for column in ("record_id", "group", "view", "n_lesions", "height", "mask_sha256"):
            assert text_of(record, f"records/{column}") == pair.row[column]
    lesions = {text_of(one, "lesions/lesion"): one for one in data.records("lesions")}
    expected = {
        f"{pair.case}/{one.row['lesion_id']}": one
        for pair in cases.values()
        for one in pair.lesions
    }
    assert lesions.keys() == expected.keys()
    for name, record in lesions.items():
        for column in ("kind", "bbox_x", "bbox_y", "bbox_w", "bbox_h"):
            assert text_of(record, f"lesions/{column}") == expected[name].row[column]


def test_croissant_hashes_are_those_of_the_files(run, tmp_path, root):
    library = pytest.importorskip("mlcroissant")
    out = tmp_path / "out"
    export(run, "croissant", root, out)
    document = json.loads((out / "metadata.json").read_text())
    files = [one for one in document["distribution"] if one["@type"] == "cr:FileObject"]
    assert {one["contentUrl"] for one in files} == {"records.csv", "lesions.csv"}
    for one in files:
        data = (out / one["contentUrl"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(data).hexdigest()
        assert one["contentSize"] == f"{len(data)} B"
    shutil.copytree(out, tmp_path / "other")
    (tmp_path / "other/records.csv").write_bytes((out / "records.csv").read_bytes() + b"\n")
    with pytest.raises((ValueError, library.GenerationError), match="Download"):
        list(croissant_of(tmp_path / "other").records("records"))


@pytest.mark.parametrize(
    ("citation", "year"),
    [("Doe J. A set. Journal 1(2), 3-4 (2012). doi:10.1/2016", "2012"), ("", "1900")],
)
def test_the_year_is_that_of_the_citation(citation, year):
    assert base.year_of({"citation": citation}) == year
