"""Every layout of every dataset gives the same pairs, packed or nested, as the released folder.

Folders of every layout, and some zips, are in test_synth: here are the other packings.
"""

from __future__ import annotations

import shutil
import zipfile

import pytest

from archives import DATASETS, bcseg, finished, laid_out, original, rows
from bcseg import synth

EVERY = [(dataset, layout) for dataset in DATASETS for layout in synth.LAYOUTS[dataset]]
# zips that test_synth converts, and the one that is a zip anyway
ELSEWHERE = {
    ("bcdr", "flat"),
    ("cbis", "C"),
    ("cbis", "D"),
    ("cdd", "flat"),
    ("csaw", "zip"),
    ("inbreast", "renamed"),
}
PACKED = [(*one, "tar.gz") for one in EVERY]
PACKED += [(*one, "zip") for one in EVERY if one not in ELSEWHERE]


def annotations(folder):
    """Return what identifies the mask of each pair."""
    return {row["record_id"]: row["annotation_sha256"] for row in rows(folder, "records.csv")}


@pytest.mark.parametrize(("dataset", "layout", "packed"), PACKED)
def test_a_packed_layout_gives_the_same_pairs(dataset, layout, packed, tmp_path):
    root = laid_out(dataset, layout, packed).root
    assert root.is_file()
    assert bcseg("refactor", dataset, root, "-o", tmp_path / "out", "-j", 1) == 0
    found = annotations(tmp_path / "out" / dataset)
    assert len(found) >= 2
    assert found == annotations(finished(dataset))


@pytest.mark.parametrize("dataset", DATASETS)
def test_folders_above_an_archive_change_nothing(dataset, tmp_path):
    shutil.copytree(original(dataset), tmp_path / "raw" / "My Downloads" / "données (2)" / "x")
    assert bcseg("refactor", dataset, tmp_path / "raw", "-o", tmp_path / "out", "-j", 1) == 0
    assert annotations(tmp_path / "out" / dataset) == annotations(finished(dataset))


def test_workers_open_a_nested_zip_each(tmp_path):
    root = original("inbreast")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, f"Downloads/{path.relative_to(root)}")
    code = bcseg("refactor", "inbreast", tmp_path / "all.zip", "-o", tmp_path / "out", "-j", 2)
    assert code == 0
    assert annotations(tmp_path / "out" / "inbreast") == annotations(finished("inbreast"))
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {".gitignore", "inbreast"}  # nothing was unpacked
