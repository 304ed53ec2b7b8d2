"""Real input: films of CBIS-DDSM, the tables of CBIS-DDSM and CDD-CESM."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

import real_cbis
from bcseg import pairs
from bcseg.adapters.cbis import shipped_tables


def rows(folder, table=pairs.RECORDS):
    return pairs.PairsFolder(folder).rows(table)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("cbis") / "original"
    return root, real_cbis.build(root)


def test_real_films_become_full_size_16_bit_pairs(films, tmp_path, run):
    source, masks = films
    code, _, err = run("refactor", "cbis", source, "-o", tmp_path / "out", "--preset", "raw")
    assert code == 0, err
    records = {row["record_id"]: row for row in rows(tmp_path / "out" / "cbis")}
    assert {record for record, _ in masks} == set(records)
    assert len(records) >= 4
    assert records["Mass-Test_P_00173_RIGHT_CC"]["n_lesions"] == "2"
    for record_id, row in records.items():
        film = pydicom.dcmread(source / row["source_image"]).pixel_array
        image = cv2.imread(str(tmp_path / "out/cbis" / row["image"]), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(tmp_path / "out/cbis" / row["mask"]), cv2.IMREAD_UNCHANGED)
        expected = np.any([m for (r, _), m in masks.items() if r == record_id], axis=0)
        assert image.dtype == np.uint16
        assert np.array_equal(image, film)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, expected * np.uint8(255))
        assert (row["laterality"], row["view"]) == (
            "L" if "LEFT" in record_id else "R",
            record_id.rsplit("_", 1)[1],
        )
        assert row["patient_id"] in ("P_00173", "P_00820")
        assert row["split"] == "test"


def test_clean_keeps_the_breast_of_real_films(films, tmp_path, run):
    source, masks = films
    code, _, err = run("refactor", "cbis", source, "-o", tmp_path / "out", "--limit", 2)
    assert code == 0, err
    for row in rows(tmp_path / "out" / "cbis"):
        film = pydicom.dcmread(source / row["source_image"]).pixel_array
        image = cv2.imread(str(tmp_path / "out/cbis" / row["image"]), cv2.IMREAD_UNCHANGED)
        steps = json.loads(row["transform"])
        crop = steps[0] if steps else {"top": 0, "left": 0}
        part = film[crop["top"] :, crop["left"] :][: image.shape[0], : image.shape[1]]
        changed = part != image
        assert np.all(image[changed] == 0)  # nothing but zeroing
        assert int(row["mask_pixels"]) == sum(
            int(m.sum()) for (record, _), m in masks.items() if record == row["record_id"]
        )


def test_the_older_collection_comes_back_from_real_films(films, tmp_path, run):
    source, masks = films
    data, kept = tmp_path / "data", tmp_path / "kept"
    code, _, err = run("refactor", "cbis", source, "-o", data, "--size", 256, "-q")
    assert code == 0, err
    code, out, err = run("select", data, "--manifest", "classic", "-o", kept)
    assert code == 0, err
    # four films of P_00820 were picked by hand, and none of P_00173
    films_here = {record for record, _ in masks}
    views = [f"{side}_{view}" for side in ("LEFT", "RIGHT") for view in ("CC", "MLO")]
    assert {row["record_id"] for row in rows(kept / "cbis")} == {
        f"Mass-Test_P_00820_{view}" for view in views
    } & films_here
    assert any("P_00173" in record for record in films_here)
    assert "found here" in out


def test_the_real_tables_of_cbis_parse_completely():
    tables = shipped_tables()
    assert sum(len(table.rows) for table in tables) == 3568
    assert not [row for table in tables for row in table.rows if row.damage]


def test_every_row_of_the_real_tables_of_cbis_becomes_a_lesion(tmp_path, real_data):
    from bcseg.adapters import cbis
    from bcseg.adapters.base import ReadOptions
    from bcseg.source import open_source

    root = tmp_path / "listing"
    with (real_data / "cbis" / "kaggle_jpeg_listing.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            path = root / "jpeg" / row["series_uid"] / row["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    index = cbis.index(open_source(root), ReadOptions(kinds=frozenset({"mass"})))
    lesions = [lesion for record in index.records for lesion in record.lesions]
    assert len(index.records) == 3103
    assert len(lesions) == 3568
    # the listing lacks one series: its lesion says so, and stays
    missing = [
        (record.record_id, lesion.lesion_id)
        for record in index.records
        for lesion in record.lesions
        if type(lesion.shape).__name__ == "Unreadable"
    ]
    assert missing == [("Calc-Training_P_01563_RIGHT_MLO", "2")]
    assert Counter(len(getattr(lesion.shape, "files", ())) for lesion in lesions) == {2: 3567, 0: 1}
    assert len({record.patient_id for record in index.records}) == 1566


def cdd_table(real_data, source):
    """Write the region table; return how many regions it has, and a side for each image."""
    table = real_data / "cdd" / "Radiology_hand_drawn_segmentations_v2.csv"
    (source / "images").mkdir(parents=True)
    (source / table.name).write_bytes(table.read_bytes())
    with table.open(newline="") as file:
        regions = list(csv.DictReader(file))
    extent: Counter[str] = Counter()
    for region in regions:
        shape = json.loads(region["region_shape_attributes"])
        numbers = [*shape.get("all_points_x", ()), *shape.get("all_points_y", ())]
        for centre in ("cx", "cy"):
            numbers.append(shape.get(centre, 0) + max(shape.get(r, 0) for r in ("r", "rx", "ry")))
        extent[region["#filename"]] = max(extent[region["#filename"]], *numbers)
    # a few sizes, so that few files are encoded
    return len(regions), {name: -(-(side + 2) // 256) * 256 for name, side in extent.items()}


GEOMETRIES = {"polygon": 2028, "ellipse": 598, "circle": 331, "polyline": 10, "points": 4}
CLIPPED = {"polygon": 9, "circle": 5}


def test_every_region_of_the_real_table_of_cdd_is_read_and_drawn(tmp_path, real_data):
    from bcseg import raster
    from bcseg.adapters import cdd
    from bcseg.adapters.base import ReadOptions
    from bcseg.source import open_source

    regions, sides = cdd_table(real_data, tmp_path)
    for name in sides:
        (tmp_path / "images" / name).touch()
    index = cdd.index(open_source(tmp_path), ReadOptions(image_type="all"))
    drawings = [
        raster.draw(lesion.shape, (sides[Path(record.image).name],) * 2)
        for record in index.records
        for lesion in record.lesions
    ]
    assert len(index.records) == len(sides) == 1233
    assert len(drawings) == regions == 2971
    assert all(drawing.patch.area > 0 for drawing in drawings)
    assert Counter(drawing.geometry for drawing in drawings) == GEOMETRIES
    assert Counter(drawing.geometry for drawing in drawings if drawing.outside) == CLIPPED
    assert all(d.patch.area > 1 for d in drawings if d.geometry == "polyline")


@pytest.mark.slow  # 1,233 images of full size, half a minute
def test_the_real_region_table_of_cdd_loses_no_region(tmp_path, real_data, run):
    source = tmp_path / "original"
    regions, sides = cdd_table(real_data, source)
    blanks = {}
    for name, side in sides.items():
        if side not in blanks:
            blanks[side] = tmp_path / f"{side}.jpg"
            cv2.imwrite(str(blanks[side]), np.zeros((side, side), np.uint8))
        os.link(blanks[side], source / "images" / name)
    out = tmp_path / "out"
    code, _, err = run("refactor", "cdd", source, "-o", out, "--image-type", "all", "-q")
    assert code == 0, err
    lesions = rows(out / "cdd", pairs.LESIONS)
    assert len(rows(out / "cdd")) == 1233
    assert len(lesions) == regions == 2971
    assert all(int(lesion["area_px"]) > 0 for lesion in lesions)
    assert Counter(lesion["geometry"] for lesion in lesions) == GEOMETRIES
    clipped = [lesion for lesion in lesions if lesion["clipped"] == "1"]
    assert Counter(lesion["geometry"] for lesion in clipped) == CLIPPED
    assert all(int(r["area_px"]) > 1 for r in lesions if r["geometry"] == "polyline")
    document = json.loads((out / "cdd" / "dataset.json").read_text())
    assert document["items"]["contours"] == {
        "found": 2971,
        "written": 2971,
        "left_out": 0,
        "failed": 0,
    }
