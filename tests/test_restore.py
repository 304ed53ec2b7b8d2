"""`bcseg restore`: masks of written images, back on the raw grid."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from archives import FIVE, finished
from bcseg import pairs


def rows(folder):
    return {row["record_id"]: row for row in pairs.PairsFolder(folder).rows(pairs.RECORDS)}


def pixels(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def kept(row):
    """Return which raw pixels the steps have not cropped, by pushing each through them."""
    raw = pixels(row["raw"])
    where = np.arange(1, raw.size + 1, dtype=np.float64).reshape(raw.shape)
    for step in json.loads(row["transform"]):
        if step["op"] == "crop":
            end = step["top"] + step["height"], step["left"] + step["width"]
            where = where[step["top"] : end[0], step["left"] : end[1]]
    return np.isin(np.arange(1, raw.size + 1).reshape(raw.shape), where)


@pytest.mark.parametrize("dataset", FIVE)
@pytest.mark.parametrize(
    "options",
    [
        ("--preset", "raw"),
        (),
        ("--preset", "classic"),
        ("--flip", "--pad", "--crop", "breast"),
    ],
)
def test_without_resampling_every_lesion_pixel_comes_back(run, tmp_path, dataset, options):
    folder = finished(dataset, *options)
    raw = finished(dataset, "--preset", "raw")
    code, out, err = run("restore", folder / "masks", folder.parent, "-o", tmp_path / "out")
    assert code == 0, out + err
    for record_id, row in rows(folder).items():
        expected = pixels(raw / "masks" / f"{record_id}.png")
        row["raw"] = raw / "masks" / f"{record_id}.png"
        restored = pixels(tmp_path / "out" / dataset / f"{record_id}.png")
        np.testing.assert_array_equal(restored, np.where(kept(row), expected, 0))


def test_workers_restore_the_same(run, tmp_path, monkeypatch):
    monkeypatch.setattr("bcseg.restore.restoring._WORTH_A_WORKER", 1)
    folder = finished("csaw")
    for jobs in (1, 2):
        words = (folder / "masks", folder.parent, "-o", tmp_path / str(jobs), "--jobs", jobs)
        code, _, err = run("restore", *words)
        assert code == 0, err
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / j / "csaw").iterdir()} for j in "12")
    assert one == two


def test_a_resampled_mask_covers_the_same_place(run, tmp_path):
    folder = finished("cbis", "--preset", "classic", "--size", "100")
    raw = finished("cbis", "--preset", "raw")
    assert run("restore", folder / "masks", folder, "-o", tmp_path / "out")[0] == 0
    for record_id in rows(folder):
        expected = pixels(raw / "masks" / f"{record_id}.png") > 0
        restored = pixels(tmp_path / "out/cbis" / f"{record_id}.png") > 0
        assert restored.shape == expected.shape
        assert np.count_nonzero(restored & expected) > np.count_nonzero(restored | expected) / 2


def test_an_empty_mask_comes_back_on_the_raw_grid(run, tmp_path):
    """Even where no lesion tells the size of the raw grid."""
    folder = finished("csaw", "--with-empty=force", "--preset", "classic")
    found = {name: row for name, row in rows(folder).items() if row["n_lesions"] == "0"}
    assert found
    raw = finished("csaw", "--with-empty=force", "--preset", "raw")
    assert run("restore", folder / "masks", folder, "-o", tmp_path / "out")[0] == 0
    for record_id in found:
        restored = pixels(tmp_path / "out/csaw" / f"{record_id}.png")
        assert restored.shape == pixels(raw / "images" / f"{record_id}.png").shape
        assert not restored.any()


@pytest.mark.parametrize("value", [1, 3, 1000])
def test_values_stay_as_they_are_under_the_name_of_an_export(run, tmp_path, value):
    folder = finished("inbreast", "--preset", "classic")
    record_id, row = next(iter(rows(folder).items()))
    mask = (pixels(folder / row["mask"]) > 0).astype(np.uint16 if value > 255 else np.uint8) * value
    (tmp_path / "given").mkdir()
    cv2.imwrite(str(tmp_path / f"given/inbreast_{record_id}.png"), mask.astype(mask.dtype))
    code, _, _ = run("restore", tmp_path / "given", folder.parent, "-o", tmp_path / "out")
    assert code == 0
    restored = pixels(tmp_path / "out/inbreast" / f"{record_id}.png")
    assert {*np.unique(restored)} == {0, value}
    with (tmp_path / "out/restored.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert (line["record_id"], line["values"]) == (record_id, str(value))
    assert int(line["pixels"]) == np.count_nonzero(restored)
    assert (int(line["height"]), int(line["width"])) == restored.shape


def test_bad_masks_fail_by_name_and_stop_no_other(run, tmp_path):
    folder = finished("inbreast")
    given = tmp_path / "given"
    shutil.copytree(folder / "masks", given)
    first, second, third, *rest = sorted(rows(folder))
    mask = pixels(given / f"{first}.png")
    cv2.imwrite(str(given / f"{first}.png"), np.ascontiguousarray(mask.T))
    cv2.imwrite(str(given / f"{second}.png"), mask[:50, :50])
    (given / f"{third}.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (given / "99999999.png").write_bytes((folder / "masks" / f"{first}.png").read_bytes())
    code, out, _ = run("restore", given, folder, "-o", tmp_path / "out")
    assert code == 1
    assert f"failed {first}.png: it has" in out
    assert "transpose it" in out
    assert "its pair" in out
    assert f"failed {third}.png" in out
    assert "'99999999.png' is no pair here" in out
    written = sorted(path.name for path in (tmp_path / "out/inbreast").iterdir())
    assert written == [f"{name}.png" for name in rest]


def test_two_masks_of_one_pair_are_not_mixed(run, tmp_path):
    folder = finished("inbreast")
    record_id = min(rows(folder))
    for place in ("a", "b"):
        (tmp_path / "given" / place).mkdir(parents=True)
        shutil.copy(folder / "masks" / f"{record_id}.png", tmp_path / "given" / place)
    code, out, _ = run("restore", tmp_path / "given", folder, "-o", tmp_path / "out")
    assert code == 1
    assert f"failed b/{record_id}.png: a/{record_id}.png is of the same pair" in out


def test_what_is_there_is_not_written_over(run, tmp_path):
    folder = finished("inbreast")
    out = tmp_path / "out"
    assert run("restore", folder / "masks", folder, "-o", out, "--dry-run")[0] == 0
    assert not out.exists()
    assert run("restore", folder / "masks", folder, "-o", out)[0] == 0
    code, _, err = run("restore", folder / "masks", folder, "-o", out)
    assert code == 2
    assert "--redo" in err
    assert run("restore", folder / "masks", folder, "-o", out, "--redo")[0] == 0
    code, _, err = run("restore", tmp_path / "nowhere", folder, "-o", out)
    assert (code, "no such file or folder" in err) == (2, True)
    code, _, err = run("restore", folder / "masks", folder, "-o", folder / "restored")
    assert (code, "inside what is read" in err) == (2, True)
