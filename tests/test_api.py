"""The Python interface, as docs/api.md shows it."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import bcseg
from archives import DATASETS, finished, original
from bcseg.errors import UsageError

PAGE = Path(__file__).parent.parent / "docs" / "api.md"


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    from bcseg import synth

    monkeypatch.chdir(tmp_path)
    synth.build("inbreast", tmp_path / "original", images=6, scale=0.125)
    bcseg.refactor("inbreast", "original", "bcseg-data", jobs=1)
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0


def test_every_function_of_the_table_exists():
    names = re.findall(r"`bcseg\.([\w.]+)\.(\w+)\(", PAGE.read_text(encoding="utf-8"))
    assert len(names) > 5
    for module, name in names:
        assert callable(getattr(import_module(f"bcseg.{module}"), name))


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_unlabelled_image_is_treated_as_those_of_the_folder(dataset):
    for options in ((), ("--preset", "classic", "--size", "100")):
        folder = finished(dataset, *options)
        with (folder / "dataset.json").open() as file:
            document = json.load(file)
        for pair in bcseg.read(folder):
            source = original(dataset) / pair.row["source_image"]
            film = True if pair.record_id.startswith("F") else None  # BCDR's film sets
            image = bcseg.preprocess(source, document, film=film)
            np.testing.assert_array_equal(image, pair.image)


@pytest.mark.parametrize("dataset", DATASETS)
def test_records_have_the_lesions_that_are_written(dataset):
    found = {one.record_id: one for one in bcseg.records(dataset, original(dataset))}
    for pair in bcseg.read(finished(dataset)):
        ids = {lesion.lesion_id for lesion in found[pair.record_id].lesions}
        assert {lesion.row["lesion_id"] for lesion in pair.lesions} <= ids


def test_refactor_is_the_command(tmp_path):
    summary = bcseg.refactor("cdd", original("cdd"), tmp_path, jobs=1, preset="classic")
    folder = finished("cdd", "--preset", "classic")
    document = json.loads((folder / "dataset.json").read_text())
    assert summary.content_sha256 == document["content_sha256"]


def test_an_unknown_option_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no option is called 'anotator': do you mean"):
        bcseg.refactor("csaw", original("csaw"), tmp_path, anotator="all")
    with pytest.raises(AttributeError, match="no attribute 'raed'"):
        _ = bcseg.raed


def test_rasterise_takes_points():
    mask = bcseg.rasterise([(1, 1), (4, 1), (4, 3), (1, 3)], (6, 7))
    assert mask.dtype == bool
    expected = np.zeros((6, 7), bool)
    expected[1:3, 1:4] = True  # the half-open rule on the edges
    np.testing.assert_array_equal(mask, expected)


def test_importing_bcseg_imports_nothing_heavy():
    code = "import sys, bcseg; print(*{'numpy', 'cv2', 'pydicom', 'pandas'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_bad_document_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(UsageError, match=r"no dataset\.json"):
        bcseg.preprocess(np.zeros((9, 9), np.uint8), tmp_path / "dataset.json")
