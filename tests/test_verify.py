"""Every fault that `verify` can name, planted in a small root and found."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from bcseg import pairs, png, synth
from bcseg.adapters.base import ReadOptions
from bcseg.conversion import Run, refactor
from bcseg.errors import UsageError
from bcseg.formats.images import decode
from bcseg.pairs import PairsFolder, open_root
from bcseg.settings import Settings, settings_of
from bcseg.verify import Verifying, against_source, files, render, verify
from bcseg.verify.pair import Pair

ONE, TWO = "53100101", "53100127"  # one lesion; a mass, pencil calcifications and points
SETTINGS = Settings(
    read=ReadOptions(kinds=frozenset({"mass", "asymmetry", "calcification"})), masks="lesion"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A raw archive and its pairs; tests copy them before they spoil anything."""
    top = tmp_path_factory.mktemp("verify")
    synth.build("inbreast", top / "raw", images=6)
    refactor("inbreast", top / "raw", top / "data", SETTINGS, Run(jobs=1))
    return top


@pytest.fixture
def root(built, tmp_path):
    shutil.copytree(built / "data", tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def folder(root):
    return root / "inbreast"


def check(root: Path, **how):
    return verify(open_root(root), Verifying(**{"jobs": 1} | how))


def codes(root: Path, severity: str = "failed", **how) -> set[str]:
    return {row["code"] for row in check(root, **how).findings if row["severity"] == severity}


def the_finding(root: Path, code: str, **how) -> dict[str, str]:
    (row,) = (row for row in check(root, **how).findings if row["code"] == code)
    return row


def seal(folder: Path) -> None:
    """Make dataset.json agree with the tables: then only the planted fault is left to find."""
    path = folder / "dataset.json"
    document = json.loads(path.read_text())
    one = PairsFolder(folder)
    document["content_sha256"] = pairs.content_sha256(folder)
    document["records"] = len(one.rows("records.csv"))
    inside = [row for row in one.rows("lesions.csv") if row["in_mask"] == "1"]
    document["lesions_in_masks"] = len(inside)
    path.write_text(json.dumps(document))


def rewrite(folder: Path, table: str, change) -> None:
    rows = PairsFolder(folder).rows(table)
    rows = change(rows) or rows
    (folder / table).write_bytes(pairs.table_bytes(table, rows))
    seal(folder)


def set_cells(folder: Path, table: str, record_id: str, **cells: str) -> None:
    def change(rows):
        row = next(row for row in rows if row["record_id"] == record_id)
        row.update(cells)

    rewrite(folder, table, change)


def rewrite_archive(folder: Path, change) -> None:
    lines = list(PairsFolder(folder).archive())
    lines = change(lines) or lines
    (folder / "lesions.jsonl.gz").write_bytes(pairs.archive_bytes(lines))
    seal(folder)


def pixels_of(folder: Path, name: str) -> np.ndarray:
    return decode((folder / name).read_bytes(), name).pixels.copy()


def put(folder: Path, name: str, pixels: np.ndarray, **cells: str) -> None:
    """Write other pixels; with cells, make the row agree."""
    (folder / name).write_bytes(png.encode(pixels))
    if cells:
        set_cells(folder, "records.csv", Path(name).stem, **cells)


# ------------------------------------------------------------------------------ nothing is wrong


@pytest.mark.parametrize("fast", [False, True])
def test_what_refactor_wrote_is_as_recorded(root, fast):
    report = check(root, fast=fast)
    assert [row for row in report.findings if row["severity"] == "failed"] == []
    assert report.exit_code == 0
    (one,) = report.checked
    assert one.pairs == 5
    assert one.content_sha256 == one.recorded_sha256 != ""
    assert one.bytes_read > (0 if fast else 100_000)
    assert "as recorded" in render(report)
    assert one.content_sha256 in render(report)


def test_the_clipped_lesion_is_a_warning_and_changes_no_exit_code(root):
    report = check(root)
    (row,) = report.findings
    assert (row["severity"], row["code"], row["record_id"]) == (
        "warning",
        "lesion_clipped",
        "53100231",
    )
    assert row["source"].endswith("53100231.xml#1")
    assert report.exit_code == 0


@pytest.mark.parametrize("dataset", ["bcdr", "cbis", "cdd", "csaw"])
def test_every_dataset_is_as_recorded_and_as_its_archive(tmp_path, dataset):
    synth.build(dataset, tmp_path / "raw", images=6)
    refactor(dataset, tmp_path / "raw", tmp_path / "data", Settings(), Run(jobs=1))
    report = check(tmp_path / "data", sources={dataset: tmp_path / "raw"})
    assert [row for row in report.findings if row["severity"] == "failed"] == []
    assert report.checked[0].compared == report.checked[0].pairs > 1


# ------------------------------------------------------------------------------ faults


def remove_image(folder):
    (folder / f"images/{ONE}.png").unlink()


def remove_lesion_mask(folder):
    (folder / f"lesions/{ONE}/0-mass.png").unlink()


def flip_a_bit(folder):
    path = folder / f"images/{ONE}.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(folder):
    path = folder / f"images/{ONE}.png"
    path.write_bytes(path.read_bytes()[:-2000])


def cut_to_nothing(folder):
    (folder / f"masks/{ONE}.png").write_bytes(b"")


def not_a_png(folder):
    (folder / f"masks/{ONE}.png").write_bytes(b"GIF89a" + bytes(100))


def swap_images(folder):
    one, two = folder / f"images/{ONE}.png", folder / f"images/{TWO}.png"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def change_a_pixel(folder):
    pixels = pixels_of(folder, f"images/{ONE}.png")
    pixels[3, 5] += 1
    put(folder, f"images/{ONE}.png", pixels)


def to_8_bit(folder):
    pixels = pixels_of(folder, f"images/{ONE}.png")
    put(folder, f"images/{ONE}.png", (pixels >> 8).astype(np.uint8))


def to_rgb(folder):
    pixels = pixels_of(folder, f"masks/{ONE}.png")
    _, data = cv2.imencode(".png", cv2.merge([pixels] * 3))
    (folder / f"masks/{ONE}.png").write_bytes(data.tobytes())


def mask_of_ones(folder):
    mask = pixels_of(folder, f"masks/{ONE}.png") // 255
    put(folder, f"masks/{ONE}.png", mask, mask_sha256=png.pixels_sha256(mask))


def smaller_mask(folder):
    mask = pixels_of(folder, f"masks/{ONE}.png")[:-1]
    put(folder, f"masks/{ONE}.png", mask)


def moved_mask(folder):
    mask = np.roll(pixels_of(folder, f"masks/{ONE}.png"), 1, axis=1)
    put(folder, f"masks/{ONE}.png", mask, mask_sha256=png.pixels_sha256(mask))


def emptied_mask(folder):
    mask = np.zeros_like(pixels_of(folder, f"masks/{ONE}.png"))
    sha256 = png.pixels_sha256(mask)
    put(folder, f"masks/{ONE}.png", mask, mask_sha256=sha256, mask_pixels="0")


def other_lesion_mask(folder):
    name = f"lesions/{ONE}/0-mass.png"
    put(folder, name, np.roll(pixels_of(folder, name), 2, axis=0))


def orphan(folder):
    (folder / "masks/20588334.png").write_bytes((folder / f"masks/{ONE}.png").read_bytes())


def other_cell(**cells):
    return lambda folder: set_cells(folder, "records.csv", ONE, **cells)


def other_lesion_cell(**cells):
    return lambda folder: set_cells(folder, "lesions.csv", ONE, **cells)


def unsealed_cell(folder):
    text = (folder / "records.csv").read_text()
    (folder / "records.csv").write_text(text.replace(",R,CC,", ",L,CC,", 1))


def record_twice(folder):
    rewrite(folder, "records.csv", lambda rows: [rows[0], *rows])


def unsorted(folder):
    rewrite(folder, "records.csv", lambda rows: rows[::-1])


def lesion_twice(folder):
    rewrite(folder, "lesions.csv", lambda rows: [rows[0], *rows])
    document = json.loads((folder / "dataset.json").read_text())
    assert document["lesions_in_masks"]


def record_gone(folder):
    rewrite(folder, "records.csv", lambda rows: rows[1:])


def no_table(folder):
    (folder / "lesions.csv").unlink()


def no_archive(folder):
    (folder / "lesions.jsonl.gz").unlink()


def broken_archive(folder):
    path = folder / "lesions.jsonl.gz"
    path.write_bytes(path.read_bytes()[:200])


def not_utf8(folder):
    (folder / "left_out.csv").write_bytes(b"dataset,\xff\xfe\n")


def column_gone(folder):
    path = folder / "problems.csv"
    path.write_text(path.read_text().replace("severity", "level", 1))


def column_moved(folder):
    path = folder / "problems.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[second, first, *rest] for first, second, *rest in rows])
    seal(folder)


def cell_too_many(folder):
    path = folder / "left_out.csv"
    path.write_text(path.read_text() + "inbreast,x,left_out,limit,beyond,name,more\n")
    seal(folder)


def other_count(folder):
    document = json.loads((folder / "dataset.json").read_text())
    document["items"]["images"]["written"] += 1
    (folder / "dataset.json").write_text(json.dumps(document))


def ledger_without_its_parts(folder):
    document = json.loads((folder / "dataset.json").read_text())
    document["items"]["images"] = {"found": 6}
    (folder / "dataset.json").write_text(json.dumps(document))


def archive_lesion_gone(folder):
    rewrite_archive(folder, lambda lines: [line for line in lines if line["lesion_id"] != "1"])


def archive_record_more(folder):
    rewrite_archive(folder, lambda lines: [*lines, lines[-1] | {"record_id": "99999999"}])


def other_run_length(folder):
    def change(lines):
        lines[0]["rle"]["counts"][0] += 1

    rewrite_archive(folder, change)


def other_grid(folder):
    def change(lines):
        rle = lines[0]["rle"]
        rle["size"] = rle["size"][::-1]

    rewrite_archive(folder, change)


# fault, the failed findings that it gives, those of them that --fast gives
FAULTS = [
    (remove_image, {"missing_file"}, {"missing_file"}),
    (remove_lesion_mask, {"missing_file"}, {"missing_file"}),
    (flip_a_bit, {"damaged_file"}, set()),
    (cut, {"truncated"}, {"truncated"}),
    (cut_to_nothing, {"truncated"}, {"truncated"}),
    (not_a_png, {"damaged_file"}, {"damaged_file"}),
    (swap_images, {"altered"}, set()),
    (change_a_pixel, {"altered"}, set()),
    (to_8_bit, {"wrong_depth"}, {"wrong_depth"}),
    (to_rgb, {"wrong_channels"}, {"wrong_channels"}),
    (mask_of_ones, {"mask_values"}, set()),
    (smaller_mask, {"wrong_size", "size_mismatch"}, {"wrong_size", "size_mismatch"}),
    (moved_mask, {"mask_not_union"}, set()),
    (emptied_mask, {"empty_mask", "mask_not_union"}, set()),
    (other_lesion_mask, {"altered"}, set()),
    (orphan, {"orphan_file"}, {"orphan_file"}),
    (other_cell(mask_pixels="7"), {"mask_pixels"}, set()),
    (other_cell(value_max="99"), {"value_range"}, set()),
    (other_cell(image_sha256="0" * 64), {"altered"}, set()),
    (other_cell(image_sha256="unknown"), {"bad_cell"}, {"bad_cell"}),
    (other_cell(height="many"), {"bad_cell", "bad_rle"}, {"bad_cell"}),
    (other_cell(n_lesions="3"), {"n_lesions"}, {"n_lesions"}),
    (other_cell(kinds="cancer"), {"kinds"}, {"kinds"}),
    (other_cell(dataset="bcdr"), {"wrong_dataset"}, {"wrong_dataset"}),
    (other_lesion_cell(bbox_x="1"), {"box_differs"}, set()),
    (unsealed_cell, {"content_differs"}, {"content_differs"}),
    (record_twice, {"duplicate_record"}, {"duplicate_record"}),
    (unsorted, {"not_sorted"}, {"not_sorted"}),
    (lesion_twice, {"duplicate_lesion", "n_lesions"}, {"duplicate_lesion", "n_lesions"}),
    (record_gone, {"unknown_record", "orphan_file"}, {"unknown_record", "orphan_file"}),
    (no_table, {"missing_table"}, {"missing_table"}),
    (no_archive, {"missing_table"}, {"missing_table"}),
    (broken_archive, {"unreadable_table"}, set()),
    (not_utf8, {"unreadable_table", "content_differs"}, {"unreadable_table", "content_differs"}),
    (column_gone, {"table_columns", "content_differs"}, {"table_columns", "content_differs"}),
    (column_moved, {"table_columns"}, {"table_columns"}),
    (cell_too_many, {"unreadable_row"}, {"unreadable_row"}),
    (other_count, {"count_differs"}, {"count_differs"}),
    (ledger_without_its_parts, {"count_differs"}, {"count_differs"}),
    (archive_lesion_gone, {"lesions_disagree", "mask_not_union"}, set()),
    (archive_record_more, {"unknown_record"}, set()),
    (other_run_length, {"bad_rle"}, set()),
    (other_grid, {"bad_rle"}, set()),
]


@pytest.mark.parametrize(
    ("plant", "found", "found_fast"),
    FAULTS,
    ids=[f"{i}-{plant.__name__}" for i, (plant, _, _) in enumerate(FAULTS)],
)
def test_a_planted_fault_is_found_and_named(folder, plant, found, found_fast):
    plant(folder)
    assert codes(folder) == found
    assert codes(folder, fast=True) == found_fast
    assert check(folder).exit_code == 1


def test_a_finding_names_record_and_file(folder):
    change_a_pixel(folder)
    row = the_finding(folder, "altered")
    assert (row["dataset"], row["record_id"]) == ("inbreast", ONE)
    assert (row["severity"], row["source"]) == ("failed", f"images/{ONE}.png")
    assert f"failed inbreast {ONE} images/{ONE}.png" in render(check(folder))


def test_swapped_images_are_told_by_their_pixels(folder):
    swap_images(folder)
    messages = {row["source"]: row["message"] for row in check(folder).findings}
    assert messages[f"images/{ONE}.png"].endswith(f"they are those of images/{TWO}.png")


def test_a_name_that_leads_out_of_the_folder_is_not_opened(folder, tmp_path):
    (tmp_path / "data/secret.png").write_bytes((folder / f"masks/{ONE}.png").read_bytes())
    set_cells(folder, "records.csv", ONE, mask="../secret.png")
    found = check(folder).findings
    assert {row["code"] for row in found if row["severity"] == "failed"} == {
        "bad_cell",
        "orphan_file",
    }
    assert not any("secret" in row["source"] for row in found)


def test_a_damaged_dataset_json_is_a_finding_beside_good_folders(root):
    shutil.copytree(root / "inbreast", root / "second")
    (root / "second/dataset.json").write_text("{")
    report = check(root)
    rows = [row for row in report.findings if row["severity"] == "failed"]
    assert ("second", "unreadable_table", "dataset.json") in {
        (row["dataset"], row["code"], row["source"]) for row in rows
    }


def test_temporary_files_are_notes(folder):
    (folder / f"images/.{ONE}.png.part").write_bytes(b"half")
    report = check(folder)
    assert report.exit_code == 0
    assert the_finding(folder, "temporary_file")["severity"] == "note"


def test_an_empty_mask_that_was_asked_for_is_right(tmp_path, built):
    kinds = ReadOptions(kinds=frozenset({"mass"}))
    settings = Settings(read=kinds, with_empty="normal")
    refactor("inbreast", built / "raw", tmp_path / "data", settings, Run(jobs=1))
    folder = tmp_path / "data/inbreast"
    empty = [row for row in PairsFolder(folder).rows("records.csv") if row["n_lesions"] == "0"]
    assert empty
    assert codes(folder) == set()
    document = json.loads((folder / "dataset.json").read_text())
    document["options"]["with_empty"] = ""
    (folder / "dataset.json").write_text(json.dumps(document))
    assert codes(folder) == {"empty_mask"}


# ------------------------------------------------------------------------------ outside the breast


def black_out(folder: Path, record_id: str, *, but: str = "") -> None:
    """Move the breast away: the lesions then lie on background, but for the one named."""
    name = f"images/{record_id}.png"
    pixels = np.zeros_like(pixels_of(folder, name))
    rows = pixels.shape[0]
    place = slice(rows - rows // 3, rows)
    if but:
        lesions = PairsFolder(folder).rows("lesions.csv")
        row = next(r for r in lesions if (r["record_id"], r["lesion_id"]) == (record_id, but))
        place = slice(int(row["bbox_y"]) + 2, rows)
    else:
        place = slice(0, rows // 5)
    pixels[place, pixels.shape[1] // 4 :] = 3000
    set_cells(
        folder,
        "records.csv",
        record_id,
        image_sha256=png.pixels_sha256(pixels),
        value_min="0",
        value_max="3000",
    )
    put(folder, name, pixels)


def test_a_mask_that_lies_wholly_outside_the_breast_fails(folder):
    black_out(folder, ONE)
    assert codes(folder) == {"mask_outside_breast"}
    assert the_finding(folder, "mask_outside_breast")["record_id"] == ONE


def test_one_lesion_outside_the_breast_is_a_warning(folder):
    lesions = [r for r in PairsFolder(folder).rows("lesions.csv") if r["record_id"] == TWO]
    lowest = max((r for r in lesions if r["in_mask"] == "1"), key=lambda r: int(r["bbox_y"]))
    black_out(folder, TWO, but=lowest["lesion_id"])
    report = check(folder)
    outside = [row for row in report.findings if row["code"] == "lesion_outside_breast"]
    assert 1 <= len(outside) < len([r for r in lesions if r["in_mask"] == "1"])
    assert {row["severity"] for row in outside} == {"warning"}
    assert report.exit_code == 0


# ------------------------------------------------------------------------------ twice


def copy_pair(folder: Path, record_id: str, new: str, **cells: str) -> None:
    """Add a second record with the same pixels, consistent in every table."""
    for part in ("images", "masks"):
        shutil.copyfile(folder / f"{part}/{record_id}.png", folder / f"{part}/{new}.png")
    shutil.copytree(folder / f"lesions/{record_id}", folder / f"lesions/{new}")
    files = {"image": f"images/{new}.png", "mask": f"masks/{new}.png"}

    def again(rows, more):
        same = [row | {"record_id": new} | more for row in rows if row["record_id"] == record_id]
        return sorted([*rows, *same], key=lambda row: row["record_id"])

    rewrite_archive(folder, lambda lines: again(lines, {}))
    rewrite(folder, "lesions.csv", lambda rows: again(rows, {}))
    rewrite(folder, "records.csv", lambda rows: again(rows, files | cells))


@pytest.mark.parametrize(
    ("cells", "severity", "code"),
    [
        ({"source_image": "other.dcm"}, "warning", "same_image"),
        (
            {"source_image": "other.dcm", "group": "inbreast:other"},
            "failed",
            "same_image_other_patient",
        ),
        ({"source_image": "other.dcm", "group": ""}, "failed", "same_image_other_patient"),
        (
            {"source_image": "other.dcm", "notes": f"the same film as {ONE}"},
            "note",
            "same_film",
        ),
        ({"annotator": "2"}, "note", "same_film"),
    ],
)
def test_the_same_image_twice_is_judged_by_what_is_known_of_it(folder, cells, severity, code):
    copy_pair(folder, ONE, "53100999", **cells)
    found = [row for row in check(folder).findings if row["code"] != "lesion_clipped"]
    assert [(row["severity"], row["code"], row["record_id"]) for row in found] == [
        (severity, code, "53100999")
    ]
    assert ONE in found[0]["message"]


def test_the_same_image_in_two_datasets_fails(root):
    shutil.copytree(root / "inbreast", root / "mine")
    for table in ("records.csv", "lesions.csv", "problems.csv", "left_out.csv"):
        rewrite(root / "mine", table, lambda rows: [row | {"dataset": "mine"} for row in rows])
    rewrite_archive(root / "mine", lambda lines: [line | {"dataset": "mine"} for line in lines])
    path = root / "mine/dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "mine"}))
    report = check(root)
    rows = [row for row in report.findings if row["code"] == "same_image_other_patient"]
    assert len(rows) == 5
    assert codes(root) == {"same_image_other_patient"}


def test_a_patient_in_both_published_parts_of_cbis_is_a_note_and_elsewhere_a_failure(
    folder, tmp_path
):
    synth.build("cbis", tmp_path / "raw", images=6)
    kinds = ReadOptions(kinds=frozenset({"mass", "calcification"}))
    refactor("cbis", tmp_path / "raw", tmp_path / "cbis", Settings(read=kinds), Run(jobs=1))
    report = check(tmp_path / "cbis")
    (row,) = (row for row in report.findings if row["code"] == "published_in_two_splits")
    assert (row["severity"], row["source"]) == ("note", "cbis:P_90001")
    assert report.exit_code == 0
    set_cells(folder, "records.csv", ONE, split="train")
    set_cells(folder, "records.csv", TWO, split="test")  # of the same patient
    assert codes(folder) == {"patient_in_two_splits"}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (["split", (ONE, "train"), (TWO, "train")], set()),
        (["split", (ONE, "train"), (TWO, "val")], {"patient_in_two_splits"}),
        (["fold", (ONE, "0"), (TWO, "1")], {"patient_in_two_splits"}),
        (["split", (ONE, "train"), ("1234567", "val")], {"unknown_record"}),
    ],
)
def test_a_split_made_of_the_pairs_keeps_patients_together(root, rows, found):
    column, *cells = rows
    lines = [f"dataset,record_id,{column}", *(f"inbreast,{i},{part}" for i, part in cells)]
    (root / "splits.csv").write_text("\n".join(lines) + "\n")
    assert codes(root) == found
    assert codes(root, fast=True) == found


def test_folds_may_change_from_one_to_the_next_but_not_within(root):
    def write(split_of_two_in_fold_1: str) -> None:
        lines = ["dataset,record_id,fold,split"]
        lines += [f"inbreast,{i},0,train" for i in (ONE, TWO)]
        lines += [f"inbreast,{ONE},1,val", f"inbreast,{TWO},1,{split_of_two_in_fold_1}"]
        (root / "splits.csv").write_text("\n".join(lines) + "\n")

    write("val")
    assert codes(root) == set()
    write("train")
    assert codes(root) == {"patient_in_two_splits"}


# ------------------------------------------------------------------------------ against the source


@pytest.fixture
def raw(built, tmp_path):
    shutil.copytree(built / "raw", tmp_path / "raw")
    return tmp_path / "raw"


def against(folder: Path, raw: Path) -> set[str]:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = codes(folder, sources={"inbreast": raw})
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before == after  # nothing is written
    return found


def dicom(raw: Path, record_id: str) -> Path:
    (path,) = raw.rglob(f"{record_id}_*.dcm")
    return path


def contours(raw: Path, record_id: str) -> Path:
    (path,) = raw.rglob(f"AllXML/{record_id}.xml")
    return path


def test_an_unchanged_archive_gives_the_same_pairs_with_any_number_of_workers(folder, raw):
    one = check(folder, sources={"inbreast": raw})
    two = check(folder, sources={"inbreast": raw}, jobs=2)
    assert one.exit_code == 0
    assert one.checked[0].compared == 5
    assert one.document() == two.document()


def test_a_changed_pixel_of_the_archive_is_found(folder, raw):
    path = dicom(raw, ONE)
    data = bytearray(path.read_bytes())
    data[-3000] ^= 1
    path.write_bytes(data)
    found = against(folder, raw)
    assert found - {"row_differs"} == {"source_changed", "image_differs"}


def test_a_moved_contour_of_the_archive_is_found(folder, raw):
    path = contours(raw, ONE)
    text = path.read_text()
    first = re.search(r"\((\d+)(\.\d+, [1-9])", text)  # the others are (0.000000, 0.000000
    assert first
    path.write_text(text.replace(first[0], f"({int(first[1]) - 9}{first[2]}", 1))
    found = against(folder, raw)
    assert {"annotation_changed", "mask_differs", "lesions_differ"} <= found
    assert not found & {"source_changed", "image_differs"}


def test_a_table_of_other_contents_than_the_archive_is_found(folder, raw):
    set_cells(folder, "records.csv", ONE, birads="2")
    assert against(folder, raw) == {"row_differs"}
    message = the_finding(folder, "row_differs", sources={"inbreast": raw})["message"]
    assert "birads '2', now '5'" in message


def test_an_image_gone_from_the_archive_is_found(folder, raw):
    dicom(raw, ONE).unlink()
    assert against(folder, raw) == {"source_gone"}


def test_an_image_of_the_archive_that_cannot_be_read_is_found(folder, raw):
    path = dicom(raw, ONE)
    path.write_bytes(path.read_bytes()[:-9000])
    assert against(folder, raw) == {"source_fails"}


def test_a_pair_that_is_missing_from_every_table_is_found(folder, raw):
    for table in ("records.csv", "lesions.csv", "left_out.csv"):
        rewrite(folder, table, lambda rows: [row for row in rows if row["record_id"] != ONE])
    rewrite_archive(folder, lambda lines: [line for line in lines if line["record_id"] != ONE])
    for path in (folder / f"images/{ONE}.png", folder / f"masks/{ONE}.png"):
        path.unlink()
    shutil.rmtree(folder / f"lesions/{ONE}")
    assert codes(folder) == set()
    assert against(folder, raw) == {"missing_pair"}


def test_another_format_is_a_warning(folder, raw):
    document = json.loads((folder / "dataset.json").read_text())
    document["options"]["format"] = 0
    (folder / "dataset.json").write_text(json.dumps(document))
    found = codes(folder, "warning", sources={"inbreast": raw})
    assert found == {"other_format", "lesion_clipped"}


def test_a_source_without_pairs_is_refused(root, raw):
    with pytest.raises(UsageError, match="no pairs of bcdr"):
        check(root, sources={"bcdr": raw})


def test_settings_come_back_from_their_identity(folder):
    options = json.loads((folder / "dataset.json").read_text())["options"]
    assert settings_of(options) == SETTINGS
    with pytest.raises(UsageError, match="sharpen"):
        settings_of(options | {"sharpen": True})


# ------------------------------------------------------------------------------ baseline, output


def test_a_baseline_makes_known_findings_count_no_more(folder, tmp_path):
    change_a_pixel(folder)
    report = check(folder)
    (tmp_path / "known.csv").write_bytes(report.table())
    again = check(folder, baseline=tmp_path / "known.csv")
    assert (report.exit_code, again.exit_code) == (1, 0)
    assert again.findings == report.findings
    last = render(again).splitlines()[-1]
    assert last.startswith(f"nothing new: {len(report.findings)} finding")
    assert "known from the baseline, 0 warnings" in last
    assert "as recorded" not in last
    swap_images(folder)
    new = check(folder, baseline=tmp_path / "known.csv")
    assert new.exit_code == 1
    assert {row["record_id"] for row in new.new} == {TWO}
    assert f"{len(report.findings)} known from the baseline" in render(new).splitlines()[-1]


def test_a_baseline_without_its_columns_is_refused(folder, tmp_path):
    (tmp_path / "known.csv").write_text("file\nx.png\n")
    with pytest.raises(UsageError, match="no column"):
        check(folder, baseline=tmp_path / "known.csv")


def test_the_document_says_all_that_the_text_says(folder):
    change_a_pixel(folder)
    document = check(folder).document()
    assert document["exit_code"] == 1
    assert document["counts"]["failed"] == {"altered": 1}
    assert document["datasets"][0]["dataset"] == "inbreast"
    assert list(document["findings"][0]) == list(pairs.PROBLEM_COLUMNS)
    assert json.loads(json.dumps(document)) == document


def test_the_list_of_findings_has_the_columns_of_problems(folder, tmp_path):
    remove_image(folder)
    (tmp_path / "list.csv").write_bytes(check(folder).table())
    with (tmp_path / "list.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == pairs.PROBLEM_COLUMNS
    assert "missing_file" in {row["code"] for row in rows}


def test_a_worker_that_dies_twice_is_a_finding():
    pair = Pair({"record_id": ONE, "image": f"images/{ONE}.png"}, (), ())
    (row,) = files._died("inbreast", pair).findings
    assert (row["severity"], row["code"], row["record_id"]) == ("failed", "worker_died", ONE)


def test_fast_reads_heads_and_ends_only(folder):
    report = check(folder, fast=True)
    files = 2 * 5 + len(list((folder / "lesions").rglob("*.png")))
    assert report.checked[0].bytes_read == files * (33 + 12)


def test_every_code_is_documented_and_every_documented_code_exists():
    package = Path(pairs.__file__).parent
    sources = [path for name in ("verify", "selfcheck") for path in (package / name).glob("*.py")]
    text = "".join(path.read_text() for path in sources)
    used = set(re.findall(r'\.fail\(\s*"(\w+)"', text))
    used |= set(re.findall(r'"(?:failed|warning|note)",\s*"(\w+)"', text)) - {"warning", "note"}
    used |= {code for code, _ in against_source._SOURCE_CODES.values()}
    used |= set(re.findall(r'code = "(\w+)" if .* else "\w+"', text))
    page = (Path(__file__).parent.parent / "docs/verify.md").read_text()
    told = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert used == told


def test_a_header_that_lies_about_its_size_is_found_by_fast(folder):
    path = folder / f"masks/{ONE}.png"
    data = bytearray(path.read_bytes())
    columns, rows = struct.unpack_from(">II", data, 16)
    data[16:24] = struct.pack(">II", rows, columns)
    path.write_bytes(data)
    assert {"wrong_size", "size_mismatch"} == codes(folder, fast=True)


def test_the_archive_of_lesions_may_be_packed_otherwise(folder):
    path = folder / "lesions.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    assert codes(folder) == set()
