"""What a conversion writes: files, tables, hashes, ledger; and what has no influence on it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from archives import (
    FIVE,
    annotation_sha256,
    archive,
    bcseg,
    codes,
    content,
    copy_of,
    decode_rle,
    document,
    everything,
    finished,
    original,
    pixels,
    pixels_sha256,
    rows,
)
from bcseg import adapters
from bcseg.transform import Transform

RECORDS = (
    "dataset,record_id,image,mask,patient_id,group,laterality,view,split,kinds,n_lesions,"
    "height,width,bit_depth,bits_stored,value_min,value_max,pixel_spacing_mm,mask_pixels,"
    "mask_area_mm2,age,birads,density,pathology,annotator,source_image,sop_instance_uid,"
    "source_sha256,image_sha256,mask_sha256,annotation_sha256,transform,attributes,notes"
)
LESIONS = (
    "dataset,record_id,lesion_id,in_mask,kind,label,annotator,geometry,area_px,area_mm2,"
    "bbox_x,bbox_y,bbox_w,bbox_h,n_points,closed,self_intersecting,clipped,pathology,birads,"
    "source,source_sha256,attributes"
)
PROBLEMS = "dataset,record_id,severity,code,message,source"
TABLES = {
    "records.csv": RECORDS,
    "lesions.csv": LESIONS,
    "problems.csv": PROBLEMS,
    "left_out.csv": PROBLEMS,
}

each_dataset = pytest.mark.parametrize("dataset", FIVE)


# ------------------------------------------------------------------------------ the folder


@each_dataset
def test_a_pairs_folder_holds_the_files_of_the_contract(dataset):
    folder = finished(dataset)
    ids = [row["record_id"] for row in rows(folder, "records.csv")]
    assert len(ids) >= 2
    assert set(content(folder)) == {
        *(f"images/{record_id}.png" for record_id in ids),
        *(f"masks/{record_id}.png" for record_id in ids),
        *TABLES,
        "lesions.jsonl.gz",
        "dataset.json",
        "LICENCE.txt",
    }
    assert [path.suffix for path in (folder / "logs").iterdir()] == [".log"]
    assert {path.name for path in folder.glob(".*")} == {".journal.jsonl"}
    assert (folder.parent / ".gitignore").read_bytes() == b"*\n"


@each_dataset
def test_tables_have_the_columns_and_the_order_of_the_contract(dataset):
    folder = finished(dataset)
    for name, header in TABLES.items():
        data = (folder / name).read_bytes()
        assert data.decode("utf-8").splitlines()[0] == header
        assert b"\r" not in data
        assert data.endswith(b"\n")
        found = rows(folder, name)
        assert [row["record_id"] for row in found] == sorted(row["record_id"] for row in found)
        assert {row["dataset"] for row in found} <= {dataset}
        for row in found:
            assert None not in row, "a row with more cells than the header"


@each_dataset
def test_paths_in_tables_are_relative_to_folder_and_source(dataset):
    folder, source = finished(dataset), original(dataset)
    for row in rows(folder, "records.csv"):
        assert row["image"] == f"images/{row['record_id']}.png"
        assert row["mask"] == f"masks/{row['record_id']}.png"
        assert (source / row["source_image"]).is_file()
    for name in ("lesions.csv", "problems.csv", "left_out.csv"):
        for row in rows(folder, name):
            assert (source / re.sub(r"#\d+$", "", row["source"])).is_file()


@each_dataset
def test_nothing_outside_logs_and_dot_files_tells_where_or_when(dataset):
    folder = finished(dataset)
    journal = (folder / ".journal.jsonl").read_bytes()
    written = content(folder) | {".journal.jsonl": journal}
    for name, data in written.items():
        assert str(folder.parent.parent).encode() not in data, name
        if not name.endswith((".png", ".gz")):
            assert not re.search(rb"\b20\d\d-\d\d-\d\dT", data), name


@each_dataset
def test_image_and_mask_are_one_grey_channel_of_one_size(dataset):
    folder = finished(dataset)
    for row in rows(folder, "records.csv"):
        image, mask = pixels(folder / row["image"]), pixels(folder / row["mask"])
        size = (int(row["height"]), int(row["width"]))
        assert image.shape == mask.shape == size
        assert image.dtype.itemsize * 8 == int(row["bit_depth"])
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
        assert np.count_nonzero(mask) == int(row["mask_pixels"])
        assert (image.min(), image.max()) == (int(row["value_min"]), int(row["value_max"]))
        assert image.max() < 2 ** int(row["bits_stored"])


# ------------------------------------------------------------------------------ hashes


@each_dataset
def test_hashes_are_those_of_the_files_and_pixels(dataset):
    folder, source = finished(dataset), original(dataset)
    for row in rows(folder, "records.csv"):
        assert row["image_sha256"] == pixels_sha256(pixels(folder / row["image"]))
        assert row["mask_sha256"] == pixels_sha256(pixels(folder / row["mask"]))
        assert row["source_sha256"] == file_sha256(source / row["source_image"])
    for row in rows(folder, "lesions.csv"):
        assert row["source_sha256"] == file_sha256(source / re.sub(r"#\d+$", "", row["source"]))


def file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@each_dataset
def test_annotation_hash_is_of_the_raw_grid_and_of_no_preset(dataset):
    raw = finished(dataset, "--preset", "raw")
    expected = {
        row["record_id"]: annotation_sha256(pixels(raw / row["mask"]))
        for row in rows(raw, "records.csv")
    }
    others = (finished(dataset), finished(dataset, "--preset", "classic", "--size", "100"))
    for folder in (raw, *others):
        found = {row["record_id"]: row["annotation_sha256"] for row in rows(folder, "records.csv")}
        assert found == expected
    assert len(set(expected.values())) == len(expected)


@each_dataset
def test_transform_leads_from_the_raw_grid_to_the_written_one(dataset):
    raw = finished(dataset, "--preset", "raw")
    classic = finished(dataset, "--preset", "classic", "--size", "100")
    for before, after in zip(rows(raw, "records.csv"), rows(classic, "records.csv"), strict=True):
        assert before["transform"] == "[]"
        transform = Transform.from_json(after["transform"])
        size = (int(before["height"]), int(before["width"]))
        assert transform.output_size(size) == (int(after["height"]), int(after["width"]))
        restored = transform.restore_mask(pixels(classic / after["mask"])) > 0
        mask = pixels(raw / before["mask"]) > 0
        overlap = np.count_nonzero(restored & mask) / np.count_nonzero(restored | mask)
        assert overlap > 0.5


def test_content_hash_covers_the_tables_and_is_printed(run, tmp_path):
    code, out, _ = run("refactor", "inbreast", original("inbreast"), "-o", tmp_path, "-j", 1)
    folder = tmp_path / "inbreast"
    digest = hashlib.sha256()
    for name in (*TABLES, "lesions.jsonl.gz"):
        data = (folder / name).read_bytes()
        if name.endswith(".gz"):
            data = gzip.decompress(data)
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    assert code == 0
    assert document(folder)["content_sha256"] == digest.hexdigest()
    assert digest.hexdigest() in out


# ------------------------------------------------------------------------------ lesions


@each_dataset
def test_archive_of_lesions_redraws_the_mask(dataset):
    folder = finished(dataset)
    lines = {(line["record_id"], line["lesion_id"]): line for line in archive(folder)}
    masks = {
        row["record_id"]: np.zeros_like(pixels(folder / row["mask"]))
        for row in rows(folder, "records.csv")
    }
    for row in rows(folder, "lesions.csv"):
        line = lines.pop((row["record_id"], row["lesion_id"]))
        patch = decode_rle(line["rle"])
        assert str(int(line["in_mask"])) == row["in_mask"]
        assert (line["kind"], line["geometry"]) == (row["kind"], row["geometry"])
        box = [int(row[f"bbox_{side}"]) for side in "xywh"]
        assert box == list(cv2.boundingRect(patch))
        if line["in_mask"]:
            masks[row["record_id"]] |= patch
    assert not lines
    for record_id, mask in masks.items():
        assert np.array_equal(mask, pixels(folder / f"masks/{record_id}.png"))


@each_dataset
def test_archive_of_lesions_keeps_the_geometry_of_the_source(dataset):
    raw = finished(dataset, "--preset", "raw")
    areas = {(r["record_id"], r["lesion_id"]): r["area_px"] for r in rows(raw, "lesions.csv")}
    for line in archive(raw):
        height, width = line["raw_size"]
        area = np.count_nonzero(decode_rle({"size": [height, width], **line["rle"]}))
        assert areas[line["record_id"], line["lesion_id"]] == str(area)
        if line["geometry"] == "raster":
            assert line["raster"] == line["rle"]
        else:
            assert line["shape"]


@each_dataset
def test_archive_of_lesions_has_neither_name_nor_time(dataset):
    head = (finished(dataset) / "lesions.jsonl.gz").read_bytes()[:10]
    assert head[:3] == b"\x1f\x8b\x08"
    assert head[3] == 0, "no name, no comment"
    assert head[4:8] == bytes(4), "no time"


@each_dataset
def test_a_row_sums_up_its_lesions(dataset):
    folder = finished(dataset)
    for row in rows(folder, "records.csv"):
        chosen = [
            lesion
            for lesion in rows(folder, "lesions.csv")
            if lesion["record_id"] == row["record_id"] and lesion["in_mask"] == "1"
        ]
        assert row["n_lesions"] == str(len(chosen))
        assert row["kinds"] == " ".join(sorted({lesion["kind"] for lesion in chosen}))


def test_one_mask_a_lesion_on_request():
    folder = finished("cbis", "--masks", "lesion")
    several = 0
    for row in rows(folder, "records.csv"):
        files = sorted((folder / "lesions" / row["record_id"]).iterdir())
        lesions = [r for r in rows(folder, "lesions.csv") if r["record_id"] == row["record_id"]]
        names = {
            f"{one['lesion_id']}-{one['kind']}.png" for one in lesions if one["in_mask"] == "1"
        }
        assert {path.name for path in files} == names
        union = np.bitwise_or.reduce([pixels(path) for path in files])
        assert np.array_equal(union, pixels(folder / row["mask"]))
        several += len(files) > 1
    assert several


# ------------------------------------------------------------------------------ documents


@each_dataset
def test_dataset_json_is_enough_to_do_it_again(dataset):
    found = document(finished(dataset))
    info = adapters.get(dataset).INFO
    assert found["dataset"] == dataset
    assert (found["licence"], found["citation"], found["url"]) == (
        info.licence,
        info.citation,
        info.url,
    )
    assert found["options"]["kinds"] == list(info.default_kinds)
    assert found["options"]["preset"] == "clean"
    assert found["records"] == len(rows(finished(dataset), "records.csv"))
    assert {"schema_version", "format", "bcseg"} <= found.keys()
    text = (finished(dataset) / "dataset.json").read_text(encoding="utf-8")
    for library in ("numpy", "opencv", "pydicom"):
        assert library not in text, "versions of libraries belong into logs"


@each_dataset
def test_licence_text_names_licence_and_citation(dataset):
    info = adapters.get(dataset).INFO
    text = (finished(dataset) / "LICENCE.txt").read_text(encoding="utf-8")
    assert info.licence in text
    assert info.citation in text


def test_a_root_that_holds_other_things_is_not_hidden_from_git(tmp_path):
    for name, text in ((".gitignore", "mine\n"), ("thesis.tex", "")):
        root = tmp_path / name.strip(".")
        root.mkdir()
        (root / name).write_text(text)
        assert bcseg("refactor", "cdd", original("cdd"), "-o", root, "-j", 1) == 0
        assert (root / name).read_text() == text
        assert (root / "cdd" / ".gitignore").read_bytes() == b"*\n"
        assert bcseg("refactor", "bcdr", original("bcdr"), "-o", root, "-j", 1) == 0
        assert {path.name for path in root.iterdir()} == {name, "bcdr", "cdd"}


# ------------------------------------------------------------------------------ ledger


def adds_up(folder: Path) -> dict[str, dict[str, int]]:
    items = document(folder)["items"]
    reasons = document(folder)["reasons"]
    for sort, n in items.items():
        assert n["found"] == n["written"] + n["left_out"] + n["failed"], sort
        for fate in ("left_out", "failed"):
            assert sum(reasons.get(sort, {}).get(fate, {}).values()) == n[fate], (sort, fate)
    return items


def files_of(items: dict[str, dict[str, int]], *, contour_files: int) -> int:
    """Return how many files the ledger found; contours are counted one by one."""
    sorts = ("images", "mask files", "other files")
    return contour_files + sum(items[sort]["found"] for sort in sorts if sort in items)


@pytest.mark.parametrize("option", [(), ("--kind", "lesions", "--with-empty=force")])
@each_dataset
def test_every_file_and_row_is_in_the_ledger(dataset, option):
    folder, source = finished(dataset, *option), original(dataset)
    items = adds_up(folder)
    names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    # only INbreast has files that hold nothing but contours; those of the muscle are not read
    contours = sum(bool(re.search(r"AllXML/\d+\.xml$", name)) for name in names)
    assert files_of(items, contour_files=contours) == len(names)
    assert items["images"]["written"] == document(folder)["records"]


def test_a_file_that_nobody_knows_is_listed(tmp_path):
    source = copy_of("cdd", tmp_path / "source")
    (source / "notes#1.bin").write_bytes(b"?")
    (source / "PKG - CDD-CESM" / "thumbs.db").write_bytes(b"?")
    assert bcseg("refactor", "cdd", source, "-o", tmp_path / "out", "-j", 1) == 0
    folder = tmp_path / "out" / "cdd"
    unknown = codes(folder, "left_out.csv")["unknown_file"]
    assert unknown == ["PKG - CDD-CESM/thumbs.db", "notes#1.bin"]
    before, after = document(finished("cdd"))["items"], adds_up(folder)
    assert after["other files"]["found"] == before["other files"]["found"] + 2


@each_dataset
def test_taking_away_any_one_file_changes_no_other_pair(dataset, tmp_path):
    """Pairs are made by key, never by order or count."""
    source = copy_of(dataset, tmp_path / "source")
    names = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    before = content(finished(dataset))
    whole = {row["record_id"]: row for row in rows(finished(dataset), "records.csv")}
    step = 1 if len(names) < 40 else 7
    missed = set()
    for number, name in enumerate(names[::step]):
        away = tmp_path / "away"
        (source / name).rename(away)
        root = tmp_path / f"out{number}"
        code = bcseg("refactor", dataset, source, "-o", root, "-j", 1)
        away.rename(source / name)
        if code == 2:  # the table without which the archive cannot be read
            assert name.suffix in (".csv", ".xlsx"), name
            assert not root.exists()
            continue
        folder = root / dataset
        adds_up(folder)
        lost = set()
        after = content(folder)
        for row in rows(folder, "records.csv"):
            record_id = row["record_id"]
            same = all(before[row[part]] == after[row[part]] for part in ("image", "mask"))
            if not same or row["annotation_sha256"] != whole[record_id]["annotation_sha256"]:
                lost.add(record_id)
        lost |= whole.keys() - {row["record_id"] for row in rows(folder, "records.csv")}
        is_table = name.suffix in (".csv", ".xls", ".xlsx")
        assert len(lost) <= (len(whole) if is_table else 1), (name, lost)
        missed |= lost
        shutil.rmtree(root)
    assert missed == whole.keys() or step > 1


# ------------------------------------------------------------------------------ no influence


@pytest.mark.parametrize("dataset", ["inbreast", "bcdr"])  # contours in files, and in a table
def test_number_of_workers_changes_nothing(dataset, tmp_path):
    code = bcseg("refactor", dataset, original(dataset), "-o", tmp_path, "-j", 2)
    assert code == 0
    assert content(tmp_path / dataset) == content(finished(dataset))


@each_dataset
def test_order_of_the_directory_changes_nothing(dataset, tmp_path, monkeypatch):
    scandir = os.scandir

    class Backwards:
        def __init__(self, path) -> None:
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_) -> None:
            pass

    monkeypatch.setattr("bcseg.source.folder.os.scandir", Backwards)
    code = bcseg("refactor", dataset, original(dataset), "-o", tmp_path, "-j", 1)
    monkeypatch.undo()
    assert code == 0
    assert content(tmp_path / dataset) == content(finished(dataset))


def test_hash_seed_clock_language_and_user_change_nothing(tmp_path):
    """Another process with another environment: the same bytes, and nothing is done twice."""
    environment = os.environ | {
        "PYTHONHASHSEED": "4711",
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "LANG": "C",
        "USER": "somebody",
        "HOSTNAME": "elsewhere",
    }
    command = [sys.executable, "-m", "bcseg", "refactor", "csaw", str(original("csaw")), "--json"]
    for fresh in (len(rows(finished("csaw"), "records.csv")), 0):
        seed = {"PYTHONHASHSEED": str(1000 + fresh)}
        done = subprocess.run(
            [*command, "-o", str(tmp_path), "-j", "1"],
            env=environment | seed,
            capture_output=True,
            check=True,
            timeout=120,
            umask=0o077,
        )
        assert json.loads(done.stdout)["fresh"] == fresh
        assert content(tmp_path / "csaw") == content(finished("csaw"))


@each_dataset
def test_a_zip_gives_the_same_as_its_folder(dataset, tmp_path):
    packed = tmp_path / "archive.zip"
    source = original(dataset)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for path in sorted(source.rglob("*"), reverse=True):
            archive_file.write(path, path.relative_to(source).as_posix())
    before = packed.stat()
    assert bcseg("refactor", dataset, packed, "-o", tmp_path / "out", "-j", 1) == 0
    assert content(tmp_path / "out" / dataset) == content(finished(dataset))
    assert packed.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.zip", "out"]


def test_workers_read_a_zip_too(tmp_path):
    packed = shutil.make_archive(str(tmp_path / "archive"), "zip", original("bcdr"))
    assert bcseg("refactor", "bcdr", packed, "-o", tmp_path / "out", "-j", 2) == 0
    assert content(tmp_path / "out" / "bcdr") == content(finished("bcdr"))


@each_dataset
def test_the_source_is_not_touched(dataset, tmp_path):
    source = copy_of(dataset, tmp_path / "source")
    before = everything(source)
    for path in sorted(source.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    source.chmod(0o555)
    out = tmp_path / "out"
    assert bcseg("refactor", dataset, source, "-o", out, "--dry-run") == 0
    assert bcseg("refactor", dataset, source, "-o", out, "-j", 1) == 0
    assert bcseg("refactor", dataset, source, "-o", out, "-j", 1, "--rehash") == 0
    source.chmod(0o755)
    for path in source.rglob("*"):
        path.chmod(0o755)
    assert everything(source) == before


# ------------------------------------------------------------------------------ options


def test_images_that_the_archive_calls_free_are_added_on_request():
    plain, normal = finished("inbreast"), finished("inbreast", "--with-empty")
    forced = finished("inbreast", "--with-empty=force")
    few, more, all_ = (
        {row["record_id"]: row for row in rows(folder, "records.csv")}
        for folder in (plain, normal, forced)
    )
    assert few.keys() < more.keys() <= all_.keys()
    assert len(all_) == 6
    for record_id in all_.keys() - few.keys():
        row = all_[record_id]
        assert (row["n_lesions"], row["kinds"], row["mask_pixels"]) == ("0", "", "0")
        assert not pixels(forced / row["mask"]).any()
    doubted = codes(normal, "left_out.csv").get("unmarked_positive", [])
    assert set(doubted) == all_.keys() - more.keys()
    for record_id, row in few.items():
        assert all_[record_id] == row


def test_every_lesion_kind_on_request():
    default, every = finished("inbreast"), finished("inbreast", "--kind", "lesions")
    assert {row["kinds"] for row in rows(default, "records.csv")} == {"mass"}
    kinds = {row["kind"] for row in rows(every, "lesions.csv") if row["in_mask"] == "1"}
    assert {"mass", "calcification", "cluster", "asymmetry"} <= kinds
    assert "pectoral_muscle" not in kinds


def test_anatomy_on_request():
    folder = finished("csaw", "--kind", "pectoral_muscle", "--kind", "nipple")
    kinds = {row["kind"] for row in rows(folder, "lesions.csv") if row["in_mask"] == "1"}
    assert kinds == {"pectoral_muscle", "nipple"}


def test_an_unknown_kind_is_met_with_the_nearest(run, tmp_path):
    arguments = ("refactor", "cdd", original("cdd"), "-o", tmp_path / "out")
    code, out, err = run(*arguments, "--kind", "calcifcation")
    assert (code, out) == (2, "")
    assert "do you mean 'calcification'?" in err
    assert not (tmp_path / "out").exists()


def test_an_option_of_another_dataset_is_refused(run, tmp_path):
    code, _, err = run("refactor", "cdd", original("cdd"), "-o", tmp_path, "--annotator", "2")
    assert code == 2
    assert "--annotator means nothing for cdd" in err


@pytest.mark.parametrize("dataset", ["bcdr", "cbis", "cdd", "inbreast"])
def test_a_dry_run_writes_nothing_and_counts_the_same(dataset, run, tmp_path):
    out = tmp_path / "out"
    code, text, _ = run("refactor", dataset, original(dataset), "-o", out, "-n", "--json")
    assert code == 0
    assert not out.exists()
    found = json.loads(text)
    assert found["items"]["images"] == document(finished(dataset))["items"]["images"]


def test_a_dry_run_knows_the_limit(run, tmp_path):
    arguments = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out", "--json")
    code, text, _ = run(*arguments, "-n", "--limit", 2)
    assert (code, json.loads(text)["pairs"]) == (0, 2)


def test_json_is_one_document_and_quiet_says_nothing(run, tmp_path):
    arguments = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path, "-j", 1)
    code, text, _ = run(*arguments, "--json", "--quiet")
    found = json.loads(text)
    assert code == found["exit_code"] == 0
    assert found["schema_version"] == 1
    assert (found["dataset"], found["pairs"], found["fresh"]) == ("inbreast", 4, 4)
    code, text, err = run(*arguments, "--quiet")
    assert (code, err) == (0, "")
    assert "content sha256" in text
    code, text, err = run(*arguments)
    assert "found" in text
    assert "found" not in err


# ------------------------------------------------------------------- what the user is told


def test_an_assumed_spacing_fills_sizes_and_areas_and_leaves_the_pixels(run, tmp_path):
    plain = finished("bcdr")
    code, _, _ = run(
        "refactor", "bcdr", original("bcdr"), "-o", tmp_path, "--assume-spacing", "0.07"
    )
    assumed = tmp_path / "bcdr"
    assert code == 0
    for before, after in zip(rows(plain, "records.csv"), rows(assumed, "records.csv"), strict=True):
        assert (before["pixel_spacing_mm"], after["pixel_spacing_mm"]) == ("", "0.07")
        assert float(after["mask_area_mm2"]) == pytest.approx(int(after["mask_pixels"]) * 0.0049)
        assert "pixel size of 0.07 mm assumed" in after["notes"]
        assert before["image_sha256"] == after["image_sha256"]
    for lesion in rows(assumed, "lesions.csv"):
        assert float(lesion["area_mm2"]) == pytest.approx(int(lesion["area_px"]) * 0.0049)


@pytest.mark.parametrize(("dataset", "bits"), [("bcdr", 14), ("csaw", 12), ("inbreast", 14)])
def test_files_that_look_black_are_said_to(run, tmp_path, dataset, bits):
    """PNG and TIFF cannot say how many of their 16 bits are used: the values do."""
    _, _, err = run("refactor", dataset, original(dataset), "-o", tmp_path)
    assert f"16-bit files with {bits} bits used look black" in err
    assert f"divide by {2**bits - 1}" in err


@pytest.mark.parametrize("dataset", ["cbis", "cdd"])
def test_files_that_do_not_look_black_are_not(run, tmp_path, dataset):
    _, _, err = run("refactor", dataset, original(dataset), "-o", tmp_path)
    assert "look black" not in err


def test_no_pair_at_all_is_said_with_the_kinds_asked_for(run, tmp_path):
    words = ("refactor", "inbreast", original("inbreast"), "--kind", "cancer", "-o", tmp_path)
    _, out, err = run(*words, "--dry-run")
    assert "inbreast: 0 pairs would be in" in out
    assert "no pair" not in run(*words[:3], "-o", tmp_path, "--dry-run")[2]
    code, out, err = run(*words)
    assert code == 0
    assert "note: no pair: no image here has a lesion of the kinds asked for (cancer)" in err


def test_one_pair_is_no_pairs(run, tmp_path):
    words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path)
    _, out, err = run(*words, "--limit", "1")
    assert out.startswith("inbreast: 1 pair in ")
    assert "up to 1 pair, about" in err
