"""`bcseg inspect`: which archive, which layout, what is missing or damaged, what comes of it."""

from __future__ import annotations

import csv
import io
import json
import os
import plistlib
import shutil
import zipfile

import cv2
import numpy as np
import pydicom
import pytest

from archives import DATASETS, bcseg, copy_of, laid_out, original, rows
from bcseg import synth
from bcseg.errors import ArchiveError
from bcseg.formats.identity import identifiable_tags
from bcseg.inspect import inspect

LAYOUTS = {
    ("bcdr", "sets"): "sets as published",
    ("bcdr", "flat"): "flat: renamed images in one folder",
    ("bcdr", "png"): "PNG exports",
    ("cbis", "A"): "A: folders as the tables name them",
    ("cbis", "B"): "B: NBIA Data Retriever",
    ("cbis", "B-old"): "B': older NBIA Data Retriever",
    ("cbis", "C"): "C: by UID (Google, IDC)",
    ("cbis", "D"): "D: Kaggle JPEG, by series UID",
    ("cbis", "E"): "E: Kaggle PNG, FULL and MASK",
    ("cdd", "release"): "as published: two image folders",
    ("cdd", "flat"): "flat: both kinds of image in one folder",
    ("csaw", "release"): "as published",
    ("csaw", "zip"): "as published",
    ("ddsm", "release"): "as published: LJPEG",
    ("ddsm", "png"): "converted images",
    ("mias", "kaggle"): "as published: PGM",
    ("mias", "flat"): "as published: PGM",
    ("mias", "png"): "converted images",
    ("vindr", "release"): "as published: DICOM",
    ("vindr", "png"): "converted images",
    ("inbreast", "release"): "as released",
    ("inbreast", "renamed"): "renamed folders",
    ("inbreast", "bare"): "bare file numbers: patients unknown",
    ("inbreast", "png"): "PNG exports",
}


def line(document, what):
    (found,) = (one for one in document["lines"] if one["what"] == what)
    return found


@pytest.fixture
def look(run):
    """Inspect a source; return the exit code and the document."""

    def command(source, *options):
        code, text, told = run("inspect", source, "--json", *options)
        assert text, told
        document = json.loads(text)
        assert document["exit_code"] == code
        return code, document

    return command


# ------------------------------------------------------------------------------ recognising


def test_every_layout_has_a_name():
    assert set(LAYOUTS) == {(name, layout) for name in DATASETS for layout in synth.LAYOUTS[name]}


@pytest.mark.parametrize(("dataset", "layout"), LAYOUTS)
def test_dataset_and_layout_are_recognised_without_being_told(dataset, layout):
    root = laid_out(dataset, layout).root
    found = inspect(root if root.is_file() else root.parent, jobs=1)
    assert (found.info.name, found.layout) == (dataset, LAYOUTS[dataset, layout])
    assert found.exit_code == 0
    assert found.verdict == "partial"  # of the published archive


@pytest.mark.parametrize("packed", ["zip", "tar.gz"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_packed_archive_is_told_like_its_folder(dataset, packed):
    root = laid_out(dataset, synth.LAYOUTS[dataset][0], packed).root
    there = inspect(root, jobs=1).document()
    assert there == inspect(original(dataset), jobs=1).document()


def test_a_series_is_told_by_its_header_where_no_name_tells(tmp_path):
    for number, path in enumerate(sorted(original("cbis").rglob("*.dcm"))):
        (tmp_path / "x").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "x" / f"{number}.dcm")
    tables = sorted(original("cbis").glob("*.csv"))
    for path in tables:
        shutil.copy(path, tmp_path)
    assert inspect(tmp_path).document()["would_write"]["pairs"] == 4
    for path in tables:
        (tmp_path / path.name).unlink()
    with pytest.raises(ArchiveError, match="CBIS-DDSM"):  # no real table lists these series
        inspect(tmp_path)


def test_two_archives_in_one_folder_are_an_error_that_says_where(run, tmp_path):
    shutil.copytree(original("inbreast"), tmp_path / "a" / "first")
    shutil.copytree(original("cdd"), tmp_path / "b" / "second")
    code, text, told = run("inspect", tmp_path)
    assert (code, text) == (2, "")
    assert "inbreast (11 files in a/first" in told
    assert "cdd (7 files in b/second" in told
    assert run("inspect", tmp_path / "a")[0] == 0


def test_a_stray_file_of_another_archive_is_unknown(look, tmp_path):
    raw = copy_of("csaw", tmp_path / "raw")
    stray = next(original("cdd").rglob("P*_DM_*.jpg"))
    shutil.copy(stray, raw / stray.name)
    code, document = look(raw)
    assert (code, document["dataset"]) == (1, "csaw")
    assert line(document, "other files")["unknown"] == [stray.name]


def test_what_is_no_archive_ends_with_2(run, tmp_path):
    (tmp_path / "empty").mkdir()
    holidays = tmp_path / "holidays" / "2024"
    holidays.mkdir(parents=True)
    picture = cv2.imencode(".jpg", np.zeros((30, 20), np.uint8))[1].tobytes()
    for name in ("IMG_0001.jpg", "20240811_120000.jpg", "1_1.jpg", "001_1.png", "P1.jpg"):
        (holidays / name).write_bytes(picture)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "INbreast.zip").write_bytes(b"PK")
    for place, said in (
        ("empty", "there is no file in it"),
        ("holidays", "none of its files is named like one of theirs"),
        ("packed", "it holds INbreast.zip: name that file itself"),
        ("nowhere", "no such folder or file"),
    ):
        code, text, told = run("inspect", tmp_path / place)
        assert (code, text) == (2, ""), place
        assert said in told
        assert "Traceback" not in told


# ------------------------------------------------------------------------------ the table


def dicom(path, rows=37, columns=23):
    """Write a tiny DICOM image."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.Rows, data.Columns, data.SamplesPerPixel = rows, columns, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = bytes(rows * columns * 2)
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def whole(tmp_path):
    """Write as many files as the complete INbreast has: 410 images, 343 with contours."""
    raw = tmp_path / "INbreast"
    for folder in ("AllDICOMs", "AllXML"):
        (raw / folder).mkdir(parents=True)
    dicom(tmp_path / "one.dcm")
    contour = plistlib.loads(next(original("inbreast").rglob("AllXML/*.xml")).read_bytes())
    for roi in contour["Images"][0]["ROIs"]:  # of few points: hundreds of them are read
        for points in ("Point_px", "Point_mm"):
            roi[points] = roi[points][:4]
        roi["NumberOfPoints"] = len(roi["Point_px"])
    lines = ["Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"]
    for number in range(20586000, 20586410):
        side, view = "LR"[number % 2], ("CC", "ML")[number // 2 % 2]
        name = f"{number}_{number // 4:016x}_MG_{side}_{view}_ANON.dcm"
        os.link(tmp_path / "one.dcm", raw / "AllDICOMs" / name)
        normal = number >= 20586343
        if not normal:
            (raw / "AllXML" / f"{number}.xml").write_bytes(plistlib.dumps(contour))
        view = view.replace("ML", "MLO")
        lines.append(f"removed;removed;{side};{view};201001;{number};2;{1 if normal else 4}")
    (raw / "INbreast.csv").write_text("\r\n".join(lines) + "\r\n")
    return raw


def test_the_complete_archive_is_complete(run, look, whole):
    code, document = look(whole)
    assert (code, document["verdict"]) == (0, "complete")
    images, contours = line(document, "images"), line(document, "contours")
    assert (images["expected"], images["found"], images["lacking"]) == (410, 410, 0)
    assert (contours["expected"], contours["found"], contours["lacking"]) == (343, 343, 0)
    assert document["would_write"]["left_out"] == {"no_lesion": 67}
    text = run("inspect", whole)[1]
    assert text.startswith("INbreast: complete\n")


def test_a_partial_archive_says_what_is_there_and_names_the_rest(run, look, whole, tmp_path):
    gone = sorted((whole / "AllDICOMs").iterdir())[3:9]
    for path in gone:
        path.unlink()
    (whole / "AllXML" / "20586100.xml").unlink()
    code, text, _ = run("inspect", whole, "--out", tmp_path / "names.tsv")
    assert code == 0
    assert text.startswith("INbreast: partial: 404 of 410 images, 342 of 343 contours")
    assert "missing images: 20586003, 20586004, 20586005 and 3 more" in text
    names = (tmp_path / "names.tsv").read_text().splitlines()
    assert [name for name in names if name.startswith("missing\timages")] == [
        f"missing\timages\t{path.name[:8]}" for path in gone
    ]
    assert any(name.startswith("missing\tcontours\t20586100 (no contour") for name in names)
    _, document = look(whole)
    assert document["verdict"] == "partial"
    assert len(line(document, "images")["missing"]) == 6


def test_an_image_that_never_had_a_contour_lacks_none(look, whole):
    """As many contours as published: what the table calls abnormal was never outlined."""
    table = whole / "INbreast.csv"
    table.write_text(table.read_text().replace("20586400;2;1", "20586400;2;5"))
    code, document = look(whole)
    assert (code, document["verdict"]) == (0, "complete")
    assert any("no contour is published for 20586400" in note for note in document["notes"])


def test_parts_of_an_archive_are_told_apart(run, tmp_path):
    raw = copy_of("cbis", tmp_path / "raw")
    for folder in raw.rglob("Calc-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for table in raw.rglob("calc_*.csv"):
        table.unlink()
    (raw / next(raw.rglob("metadata.csv"))).unlink()
    text = run("inspect", raw)[1]
    assert "nothing of calc_train, calc_test" in text.splitlines()[0]
    (row,) = (one for one in text.splitlines() if one.strip().startswith("mass_test"))
    assert row.split()[1] == "361"


def test_a_set_of_bcdr_alone_is_held_against_its_own_numbers(look, tmp_path):
    raw = copy_of("bcdr", tmp_path / "raw")
    for folder in raw.iterdir():
        if "D01" not in folder.name:
            shutil.rmtree(folder)
    _, document = look(raw)
    images = line(document, "images")
    assert list(images["parts"]) == ["D01"]
    assert images["expected"] == 260
    assert line(document, "contours")["expected"] == 143


def test_images_that_the_shipped_tables_list_are_missing_by_name(look, tmp_path):
    """One real series of CBIS-DDSM, as the JPEG copy names it, without the tables."""
    from bcseg.adapters.cbis import shipped_tables

    row = shipped_tables()[-1].rows[0]
    picture = cv2.imencode(".jpg", np.zeros((30, 20), np.uint8))[1].tobytes()
    for column in ("image_file_path", "roi_mask_file_path", "cropped_image_file_path"):
        folder = tmp_path / "jpeg" / row.get(column).split("/")[2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{len(list(folder.iterdir())) + 1}-001.jpg").write_bytes(picture)
    code, document = look(tmp_path)
    images = line(document, "images")
    assert (code, images["expected"], images["found"]) == (0, 3103, 1)
    assert len(images["missing"]) == images["lacking"] == 3102
    assert row.get("image_file_path").split("/")[0] not in images["missing"]


# ------------------------------------------------------------------------------ damage


def test_unreadable_heads_and_contours_are_counted_and_named(run, look, tmp_path):
    raw = copy_of("inbreast", tmp_path / "raw")
    first, second, third, *_ = sorted(raw.rglob("*.dcm"))
    first.write_bytes(first.read_bytes()[:300])
    second.write_bytes(b"")
    third.write_bytes(b"Dear colleague, the image is attached.")
    xml = sorted(raw.rglob("AllXML/*.xml"))[-1]
    xml.write_bytes(xml.read_bytes()[:200])
    code, document = look(raw)
    assert code == 1
    found = {name.split("/")[-1].split(" ")[0] for name in line(document, "images")["unreadable"]}
    assert found == {first.name, second.name, third.name}
    (contour,) = line(document, "contours")["unreadable"]
    assert xml.name in contour
    _, text, _ = run("inspect", raw, "--out", tmp_path / "names.tsv")
    assert "unreadable images: " in text
    assert (tmp_path / "names.tsv").read_text().count("unreadable\t") == 4


def test_masks_are_looked_at_too(look, tmp_path):
    raw = copy_of("csaw", tmp_path / "raw")
    before = look(raw)[1]["would_write"]["pairs"]
    cancer, other = (sorted(raw.rglob(f"*_{word}.png"))[0] for word in ("cancer", "nipple"))
    cancer.write_text("not a PNG")
    other.write_bytes(b"")
    code, document = look(raw)
    assert code == 1
    found = {name.split(" ")[0].split("/")[-1] for name in line(document, "contours")["unreadable"]}
    assert found == {cancer.name, other.name}
    assert document["would_write"]["pairs"] == before - 1
    assert document["would_write"]["failed"] == {"unreadable": 1}


def test_what_systems_leave_behind_is_not_unknown(look, tmp_path):
    raw = copy_of("cdd", tmp_path / "raw")
    (raw / ".DS_Store").write_bytes(b"x")
    (raw / "Thumbs.db").write_bytes(b"x")
    (raw / "__MACOSX").mkdir()
    (raw / "__MACOSX" / "._x").write_bytes(b"x")
    assert look(raw)[0] == 0
    (raw / "notes.odt").write_bytes(b"x")
    code, document = look(raw)
    assert code == 1
    assert line(document, "other files")["unknown"] == ["notes.odt"]


def test_only_the_heads_in_a_zip_are_read(look, tmp_path):
    """A member whose end is damaged is still told by its head."""
    raw = original("csaw")
    picture = sorted(raw.rglob("*_0.png"))[0]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(raw.rglob("*.png")):
            if path == picture:
                noise = np.random.default_rng(1).integers(0, 255, (400, 300), np.uint8)
                content = cv2.imencode(".png", noise)[1].tobytes()
            else:
                content = path.read_bytes()
            archive.writestr(str(path.relative_to(raw)), content)
        start = archive.getinfo(str(picture.relative_to(raw))).header_offset
    data = bytearray(packed.getvalue())
    data[start + 100_000] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(data)
    code, document = look(tmp_path / "x.zip")
    assert code == 0
    assert line(document, "images")["unreadable"] == []


# ------------------------------------------------------------------------------ what refactor does


@pytest.mark.parametrize("dataset", DATASETS)
def test_refactor_writes_what_was_said(dataset, look, tmp_path):
    """Archives with every quirk: heads tell all that fails there, masks of a wrong size too."""
    raw = synth.build(dataset, tmp_path / "raw", scale=0.1, quirks=True).root
    _, document = look(raw)
    said = document["would_write"]
    bcseg("refactor", dataset, raw, "-o", tmp_path / "out", "-j", 1)
    folder = tmp_path / "out" / dataset
    assert said["pairs"] == len(rows(folder, "records.csv")) >= 4
    failed = [row for row in rows(folder, "problems.csv") if row["severity"] == "failed"]
    assert sum(said["failed"].values()) == len({row["record_id"] for row in failed})
    assert set(said["failed"]) == {row["code"] for row in failed}
    written = sum(path.stat().st_size for path in folder.rglob("*.png"))
    most = 40 if dataset == "mias" else 4  # a small film in a black square of the real size
    assert written / 4 < said["bytes"] < written * most
    assert said["minutes"] >= 0


def test_the_time_is_told_for_the_jobs_that_are_asked_for(run):
    text = run("inspect", original("cdd"), "-j", 3)[1]
    assert "would write 2 pairs, about " in text
    assert "in less than a minute with 3 jobs" in text


def test_nothing_is_written_into_the_source(look, tmp_path):
    raw = copy_of("bcdr", tmp_path / "raw")
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    look(raw)
    assert {path: path.stat().st_mtime_ns for path in raw.rglob("*")} == before


# ------------------------------------------------------------------------------ privacy


def test_tags_that_may_identify_are_named_and_their_values_are_not(run, tmp_path):
    raw = copy_of("inbreast", tmp_path / "raw")
    assert "identify" not in run("inspect", raw)[1]
    path = sorted(raw.rglob("*.dcm"))[-1]
    data = pydicom.dcmread(path)
    data.PatientName, data.OperatorsName = "Doe^Jane", "Roe"
    data.PatientBirthDate = "19501224"
    data.save_as(path)
    for options in ((), ("--json",)):
        code, text, told = run("inspect", raw, *options)
        assert code == 0
        assert "OperatorsName, PatientBirthDate, PatientName" in text
        for value in ("Doe", "Jane", "Roe", "19501224"):
            assert value not in text + told


@pytest.mark.parametrize(
    ("tag", "value", "told"),
    [
        ("PatientName", "removed", False),
        ("PatientName", "Mass-Test_P_00194_RIGHT_CC", False),
        ("PatientName", "P_02464^P_02464", False),
        ("PatientID", "Calc-Training_P_00005_LEFT_CC_1", False),
        ("PatientID", "P_02464_RIGHT_CC.dcm", False),
        ("PatientID", "6968748e66837bc7", False),
        ("PatientID", "1948-22", True),
        ("PatientName", "Mass", True),
        ("OtherPatientIDs", ["removed", "4711"], True),
        ("AccessionNumber", "", False),
        ("InstitutionName", "Hospital de S. João", True),
        ("Manufacturer", "SIEMENS", False),
    ],
)
def test_what_counts_as_identifying(tmp_path, tag, value, told):
    dicom(tmp_path / "x.dcm")
    data = pydicom.dcmread(tmp_path / "x.dcm")
    data.SpecificCharacterSet = "ISO_IR 100"
    setattr(data, tag, value)
    data.save_as(tmp_path / "x.dcm")
    with (tmp_path / "x.dcm").open("rb") as file:
        assert identifiable_tags(file) == ({tag} if told else set())


def test_a_file_that_is_no_dicom_identifies_nobody():
    assert identifiable_tags(io.BytesIO(b"Doe^Jane" * 100)) == set()


@pytest.mark.parametrize("dataset", DATASETS)
def test_films_may_show_labels(dataset):
    notes = " ".join(inspect(original(dataset)).notes)
    assert ("burnt-in labels" in notes) == (dataset in ("bcdr", "cbis", "ddsm", "mias"))


# ------------------------------------------------------------------------------ the real listing


def test_the_real_listing_of_the_jpeg_copy(real_data, tmp_path, look):
    """10,237 files: one mask is not in the copy, as is known of it."""
    cv2.imwrite(str(tmp_path / "one.jpg"), np.zeros((30, 20), np.uint8))
    raw = tmp_path / "CBIS"
    with (real_data / "cbis" / "kaggle_jpeg_listing.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            folder = raw / "jpeg" / row["series_uid"]
            folder.mkdir(parents=True, exist_ok=True)
            os.link(tmp_path / "one.jpg", folder / row["filename"])
    code, document = look(raw)
    assert (code, document["dataset"], document["verdict"]) == (0, "cbis", "partial")
    images, contours = line(document, "images"), line(document, "contours")
    assert (images["found"], images["lacking"]) == (3103, 0)
    assert contours["missing"] == ["Calc-Training_P_01563_RIGHT_MLO 2"]
    assert {part: one["found"] for part, one in images["parts"].items()} == {
        "calc_train": 1227,
        "calc_test": 284,
        "mass_train": 1231,
        "mass_test": 361,
    }
