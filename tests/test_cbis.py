"""What is peculiar to CBIS-DDSM: layouts without a key in common, tables, masks among crops."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from bcseg.adapters import cbis
from bcseg.adapters.base import ReadOptions
from bcseg.adapters.cbis import shipped_tables
from bcseg.errors import ArchiveError
from bcseg.record import RasterAmong, Unreadable
from bcseg.source import FolderSource, open_source
from bcseg.synth import cbis as builder
from test_adapters import (
    archive,
    convert,
    copy_of,
    delete,
    every_kind,
    index_of,
    moved,
    records_of,
    replace_in,
)

BLANK = "Calc-Test_P_90001_RIGHT_MLO"  # headers without description, side and date
ENLARGED = "Mass-Test_P_90145_RIGHT_CC"
TWO = "Mass-Training_P_90001_LEFT_MLO"
SEPARATE = "Mass-Training_P_90092_RIGHT_MLO"


def truths(factory):
    return {(t.record, t.lesion_id): t.mask for t in archive(factory, "cbis").truths}


# ------------------------------------------------------------------------------ layouts


def laid_out(root: Path, place: Path, name_of) -> Path:
    """Copy the archive; `name_of` names each DICOM file by its header and a running number."""
    for number, path in enumerate(sorted(root.rglob("*.dcm"))):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        target = place / name_of(header, number, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for table in root.glob("*.csv"):
        shutil.copyfile(table, place / table.name)
    return place


def google(header, number, path):
    return f"dicom/{header.StudyInstanceUID}/{header.SeriesInstanceUID}/{header.SOPInstanceUID}.dcm"


def bare(header, number, path):
    """Files named by their UID, without an ending; the folders tell nothing."""
    return f"all/{header.SOPInstanceUID}"


def numbered(header, number, path):
    return f"download/{number:06d}.dcm"


def older_retriever(header, number, path):
    date, series = path.parts[-3:-1]
    subject = path.parts[-4]
    return f"CBIS-DDSM/{subject}/{date.replace('-NA-', '-')}/{series}/{path.name}"


@pytest.mark.parametrize("name_of", [google, bare, numbered, older_retriever])
def test_dicom_layouts_without_a_list_of_the_retriever(name_of, tmp_path_factory, tmp_path):
    root = laid_out(archive(tmp_path_factory, "cbis").root, tmp_path / "original", name_of)
    check_masks(tmp_path_factory, root, tmp_path / "out")


def test_the_layout_of_the_tables(tmp_path_factory, tmp_path):
    builder.build(tmp_path / "original", scale=0.1, layout="A")
    assert (tmp_path / "original" / TWO).is_dir()
    check_masks(tmp_path_factory, tmp_path / "original", tmp_path / "out")


def check_masks(factory, root, out):
    done = convert("cbis", root, out, *every_kind(), "--masks", "lesion")
    assert (done.code, done.failed) == (0, {})
    expected = truths(factory)
    assert set(done.lesions) == set(expected)
    for record_id, row in done.records.items():
        masks = [mask for (record, _), mask in expected.items() if record == record_id]
        assert np.array_equal(done.mask(record_id), np.any(masks, axis=0))
        assert done.image(record_id).shape == masks[0].shape
        assert row["sop_instance_uid"]
    return done


def as_jpeg(root: Path, place: Path, *, quality: int = 92) -> Path:
    """Write the archive as Kaggle has it: jpeg/<series>/1-000.jpg; lossy, masks too."""
    for number, path in enumerate(sorted(root.rglob("*.dcm"))):
        data = pydicom.dcmread(path)
        pixels = data.pixel_array
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        series = place / "jpeg" / data.SeriesInstanceUID
        series.mkdir(parents=True, exist_ok=True)
        name = f"{len(list(series.iterdir())) + 1}-{number:03d}.jpg"
        cv2.imwrite(str(series / name), pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    (place / "csv").mkdir(exist_ok=True)
    for table in root.glob("*.csv"):
        shutil.copyfile(table, place / "csv" / table.name)
    (place / "csv" / "meta.csv").write_text("a,b\n1,2\n")
    (place / "csv" / "dicom_info.csv").write_text("file_path\nx\n")
    return place


def test_the_jpeg_copy_with_lossy_masks(tmp_path_factory, tmp_path):
    root = as_jpeg(archive(tmp_path_factory, "cbis").root, tmp_path / "original")
    grey = [
        len(np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))) for path in root.rglob("*.jpg")
    ]
    assert min(grey) > 2  # no mask is two-valued any more
    done = convert("cbis", root, tmp_path / "out", *every_kind())
    assert (done.code, done.failed) == (0, {})
    for record_id, row in done.records.items():
        masks = [mask for (r, _), mask in truths(tmp_path_factory).items() if r == record_id]
        wrong = np.count_nonzero(done.mask(record_id) ^ np.any(masks, axis=0))
        assert wrong <= 0.01 * int(row["mask_pixels"]), record_id


def test_one_series_missing_from_the_jpeg_copy_fails_its_image_only(tmp_path_factory, tmp_path):
    root = as_jpeg(archive(tmp_path_factory, "cbis").root, tmp_path / "original")
    record = records_of("cbis", root)[TWO]
    shutil.rmtree(root / record.lesions[1].shape.files[0].rsplit("/", 1)[0])
    done = convert("cbis", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {TWO: "mask_missing"})
    partial = convert("cbis", root, tmp_path / "partial", "--partial")
    assert partial.code == 0
    assert np.array_equal(partial.mask(TWO), truths(tmp_path_factory)[TWO, "1"])


def test_dicom_and_jpeg_of_one_series_are_not_two_masks(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "cbis").root
    both = as_jpeg(root, moved(root, tmp_path / "original", lambda name: f"z/{name}"))
    delete(both, "^z/.*csv$")
    index = index_of("cbis", both)
    assert all(record.image.endswith(".dcm") for record in index.records)
    assert Counter(one.code for one in index.left_out) == {"duplicate_image": 15}
    check_masks(tmp_path_factory, both, tmp_path / "out")


def test_a_download_that_was_done_twice(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    (manifest,) = root.glob("manifest-*")
    shutil.copytree(manifest, root / "manifest-2")
    check_masks(tmp_path_factory, root, tmp_path / "out")


class Counting(FolderSource):
    """A folder that counts the files opened."""

    opened = ()

    def open(self, name):
        self.opened = (*self.opened, name)
        return super().open(name)


def test_with_the_list_of_the_retriever_no_header_is_read(tmp_path_factory):
    source = Counting(archive(tmp_path_factory, "cbis").root)
    assert len(cbis.index(source, ReadOptions()).records) == 6
    assert {Path(name).suffix for name in source.opened} == {".csv"}


@pytest.mark.parametrize("before", [".\\", "./", ""])
@pytest.mark.parametrize("between", ["\\", "/"])
def test_the_list_of_the_retriever_in_every_spelling(before, between, tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    (table,) = root.rglob("metadata.csv")
    text = table.read_text().replace(".\\CBIS-DDSM", "CBIS-DDSM")
    lines = [
        re.sub(r"CBIS-DDSM\\[^,]*", lambda m: before + m[0].replace("\\", between), line)
        for line in text.splitlines()
    ]
    table.write_text("\n".join(lines))
    source = Counting(root)
    assert all(record.image for record in cbis.index(source, ReadOptions()).records)
    assert {Path(name).suffix for name in source.opened} == {".csv"}


def test_a_wrong_or_broken_list_of_the_retriever_is_no_harm(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    before = records_of("cbis", root)
    (table,) = root.rglob("metadata.csv")
    table.write_bytes(b'"')
    assert records_of("cbis", root) == before


def test_a_finder_note_in_a_series_is_no_image(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    before = records_of("cbis", root)
    for path in list(root.rglob("*.dcm")):
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert records_of("cbis", root) == before


def test_a_dicom_that_nothing_leads_to_fails_alone(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    (root / "lost").mkdir()
    (root / "lost" / "1-1.dcm").write_bytes(b"no DICOM")
    done = convert("cbis", root, tmp_path / "out")
    assert done.code == 1
    assert [row["source"] for row in done.rows("problems.csv") if row["severity"] == "failed"] == [
        "lost/1-1.dcm"
    ]
    assert len(done.records) == 4


# ------------------------------------------------------------------------------ which is the mask


def test_the_mask_is_found_whatever_order_name_and_column(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    for record in records_of("cbis", root).values():
        for lesion in record.lesions:
            if len({name.rsplit("/", 1)[0] for name in lesion.shape.files}) == 1:
                one, two = (root / name for name in lesion.shape.files)
                swapped = two.read_bytes()
                two.write_bytes(one.read_bytes())
                one.write_bytes(swapped)
    check_masks(tmp_path_factory, root, tmp_path / "out")


def test_the_columns_of_mask_and_crop_may_be_exchanged(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    for table in root.glob("*.csv"):
        text = table.read_text()
        pair = "cropped image file path,ROI mask file path"
        assert text.count(pair) == 1
        table.write_text(text.replace(pair, ",".join(reversed(pair.split(",")))))
    records = records_of("cbis", root)
    assert {len(lesion.shape.files) for r in records.values() for lesion in r.lesions} == {2}


def test_mask_and_crop_in_two_series(tmp_path_factory):
    root = archive(tmp_path_factory, "cbis").root
    for record_id in (SEPARATE, ENLARGED):
        (lesion,) = records_of("cbis", root)[record_id].lesions
        folders = {name.rsplit("/", 1)[0] for name in lesion.shape.files}
        assert (len(lesion.shape.files), len(folders)) == (2, 2)


def test_headers_without_a_description_lose_nothing(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "cbis").root
    record = records_of("cbis", laid_out(root, tmp_path / "flat", numbered))[BLANK]
    header = pydicom.dcmread(tmp_path / "flat" / record.image, stop_before_pixels=True)
    assert header.SeriesDescription == ""
    assert header.PatientID == "P_90001_RIGHT_MLO.dcm"
    assert (record.laterality, record.view, record.split) == ("R", "MLO", "test")
    assert isinstance(record.lesions[0].shape, RasterAmong)


def test_a_mask_1_149_times_as_large_is_resized_and_told(tmp_path_factory, tmp_path):
    done = convert("cbis", archive(tmp_path_factory, "cbis").root, tmp_path / "out")
    (warning,) = [row for row in done.rows("problems.csv") if row["code"] == "mask_resized"]
    assert warning["record_id"] == ENLARGED
    assert np.array_equal(done.mask(ENLARGED), truths(tmp_path_factory)[ENLARGED, "1"])


def rewritten(path: Path, pixels: np.ndarray) -> None:
    """Give a DICOM file other pixels."""
    data = pydicom.dcmread(path)
    data.Rows, data.Columns = pixels.shape
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data.save_as(path)


def mask_file(root: Path, record_id: str, lesion: int = 0) -> Path:
    files = records_of("cbis", root)[record_id].lesions[lesion].shape.files
    (found,) = [root / name for name in files if pydicom.dcmread(root / name).BitsAllocated == 8]
    return found


def test_a_mask_that_fits_on_no_scale_fails_its_image(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    path = mask_file(root, TWO)
    rewritten(path, np.ascontiguousarray(pydicom.dcmread(path).pixel_array[:-4, :-3]))
    done = convert("cbis", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {TWO: "mask_size"})


def test_a_mask_that_marks_nothing_fails_its_image(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    path = mask_file(root, TWO)
    rewritten(path, np.zeros_like(pydicom.dcmread(path).pixel_array))
    done = convert("cbis", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {TWO: "mask_empty"})


def test_a_mask_with_other_greys_is_cut_at_half_of_its_maximum(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    path = mask_file(root, TWO)
    pixels = pydicom.dcmread(path).pixel_array // 255 * np.uint8(200)
    pixels[0, :5] = (1, 60, 99, 13, 2)
    rewritten(path, pixels)
    done = convert("cbis", root, tmp_path / "out", "--masks", "lesion")
    check = np.any([truths(tmp_path_factory)[TWO, n] for n in "12"], axis=0)
    assert np.array_equal(done.mask(TWO), check)


@pytest.mark.parametrize("what", ["mask", "series"])
def test_a_lesion_without_its_mask_fails_its_image(what, tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "cbis", tmp_path / "copy")
    path = mask_file(root, TWO)
    if what == "mask":
        path.unlink()
    else:
        shutil.rmtree(path.parent)
    done = convert("cbis", root, tmp_path / "out")
    assert (done.code, done.failed) == (1, {TWO: "mask_missing"})
    assert len(done.records) == 3


# ------------------------------------------------------------------------------ tables

MASS = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,"
    "mass shape,mass margins,assessment,pathology,subtlety,image file path,"
    "cropped image file path,ROI mask file path"
)
CALC = MASS.replace("breast_density", "breast density").replace(
    "mass shape,mass margins", "calc type,calc distribution"
)
UID = "1.3.6.1.4.1.9590.100.1.2."
FILM = "Mass-Training_P_00001_LEFT_CC"


def cells(film=FILM, number=1, **others: str) -> dict[str, str]:
    """Return the cells of a row by a lower-case header, and the series of the film in `_`."""
    kind, patient = film.split("-")[0], film.split("_", 1)[1][:7]
    stamp = f"{sum(film.encode()):05d}"
    roi = f"{film}_{number}/{UID}7{stamp}{number}/{UID}8{stamp}{number}"
    _, _, side, view = film.rsplit("_", 3)
    return {
        "patient_id": patient,
        "breast_density": "3",
        "left or right breast": side,
        "image view": view,
        "abnormality id": str(number),
        "abnormality type": "mass" if kind == "Mass" else "calcification",
        "a": "OVAL",
        "b": "N/A",
        "assessment": "4",
        "pathology": "BENIGN",
        "subtlety": "4",
        "image file path": f"{film}/{UID}5{stamp}/{UID}6{stamp}/000000.dcm",
        "cropped image file path": f"{roi}/000000.dcm",
        "ROI mask file path": f"{roi}/000001.dcm\n",
    } | others


def listing(root: Path, *rows: dict[str, str], header: str = MASS, table: str = "") -> Path:
    """Write a table and an empty file for each of its paths."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(row.values() for row in rows)
    root.mkdir(parents=True, exist_ok=True)
    name = table or "mass_case_description_train_set.csv"
    (root / name).write_text(f"{header}\n{buffer.getvalue()}", newline="")
    for row in rows:
        for key, value in row.items():
            parts = value.replace("\\", "/").strip().split("/")
            if key.endswith("path") and len(parts) >= 4:
                path = root.joinpath("data", *parts[-4:])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    return root


def only(root):
    (record,) = index_of("cbis", root).records
    return record


def test_what_a_row_tells(tmp_path):
    record = only(listing(tmp_path, cells(number=1, **{"pathology": "BENIGN_WITHOUT_CALLBACK"})))
    assert record.record_id == FILM
    assert (record.patient_id, record.group) == ("P_00001", "cbis:P_00001")
    assert (record.laterality, record.view, record.split) == ("L", "CC", "train")
    assert (record.birads, record.density, record.pathology) == (
        "4",
        "3",
        "benign_without_callback",
    )
    assert record.film
    assert record.pixel_spacing_mm is None
    (lesion,) = record.lesions
    assert (lesion.lesion_id, lesion.kind, lesion.label) == ("1", "mass", "mass")
    assert lesion.attributes == {"mass_shape": "OVAL", "subtlety": "4", "assessment": "4"}
    assert record.rows == ("mass_case_description_train_set.csv#1",)


def test_several_abnormalities_of_one_film(tmp_path):
    rows = [
        cells(number=1, assessment="5", pathology="BENIGN"),
        cells(number=2, assessment="0", pathology="MALIGNANT"),
        cells(number=3, assessment="3", pathology="BENIGN"),
    ]
    record = only(listing(tmp_path, *rows))
    assert [(x.lesion_id, x.birads, x.pathology) for x in record.lesions] == [
        ("1", "5", "benign"),
        ("2", "0", "malignant"),
        ("3", "3", "benign"),
    ]
    assert (record.birads, record.pathology) == ("5", "malignant")
    assert len({lesion.shape.files for lesion in record.lesions}) == 3


def test_zeros_are_kept_and_not_available_is_not(tmp_path):
    row = cells(breast_density="0", assessment="0", subtlety="0", a="N/A", b="IRREGULAR-ROUND")
    record = only(listing(tmp_path, row))
    assert (record.density, record.birads) == ("0", "0")
    assert record.lesions[0].attributes == {
        "mass_margins": "IRREGULAR-ROUND",
        "subtlety": "0",
        "assessment": "0",
    }


@pytest.mark.parametrize("header", [MASS, MASS.replace(" ", "_"), MASS.upper(), CALC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_headers_and_line_ends_of_the_copies(header, end, tmp_path):
    root = listing(tmp_path, cells(), header=header)
    table = root / "mass_case_description_train_set.csv"
    table.write_bytes(table.read_bytes().replace(b"\n", end.encode()))
    record = only(root)
    assert record.image
    assert record.density == "3"
    assert len(record.lesions[0].shape.files) == 2


@pytest.mark.parametrize("before", ["", "CBIS-DDSM/", ".\\CBIS-DDSM\\", "C:\\data\\cbis\\"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_paths_with_folders_above_and_either_slash(before, slash, tmp_path):
    row = {
        key: before + value.replace("/", slash) if key.endswith("path") else value
        for key, value in cells().items()
    }
    record = only(listing(tmp_path, row))
    assert record.record_id == FILM
    assert record.image.endswith("/000000.dcm")
    assert len(record.lesions[0].shape.files) == 2


@pytest.mark.parametrize(
    "table",
    ["mass_case_description_train_set (1).csv", "Mass-Case-Description-Train-Set.csv"],
)
def test_names_of_tables_as_browsers_and_people_change_them(table, tmp_path):
    index = index_of("cbis", listing(tmp_path, cells(), table=table))
    assert index.tables == {table: 1}


OTHER = FILM.replace("00001", "00002")


@pytest.mark.parametrize(
    "row",
    [
        cells(OTHER) | {"image file path": ""},
        cells(OTHER) | {"image file path": "a/b/c"},
        {"one too many": "?"} | cells(OTHER),
    ],
)
def test_a_row_whose_image_cannot_be_told_fails_alone(row, tmp_path):
    root = listing(tmp_path, cells(), row)
    delete(root, "P_00002.*dcm")
    index = index_of("cbis", root)
    assert [(one.code, one.items) for one in index.failed] == [
        ("unreadable_row", ("mass_case_description_train_set.csv#2",))
    ]
    assert [record.record_id for record in index.records] == [FILM]


def test_a_row_without_readable_paths_of_its_mask_fails_its_image(tmp_path):
    broken = {"ROI mask file path": "x", "cropped image file path": ""}
    record = only(listing(tmp_path, cells(), cells(number=2) | broken))
    assert record.image
    first, second = record.lesions
    assert isinstance(first.shape, RasterAmong)
    assert isinstance(second.shape, Unreadable)
    assert second.shape.code == "unreadable_row"
    assert record.rows == tuple(f"mass_case_description_train_set.csv#{n}" for n in (1, 2))


@pytest.mark.parametrize(
    ("key", "files"),  # no file is made for a path that cannot be read
    [("image file path", 2), ("ROI mask file path", 1), ("cropped image file path", 1)],
)
def test_one_unreadable_path_of_a_row_loses_nothing(key, files, tmp_path):
    record = only(listing(tmp_path, cells(), cells(number=2) | {key: "x"}))
    assert record.image
    assert [len(lesion.shape.files) for lesion in record.lesions] == [2, files]


def test_a_row_whose_files_are_not_there_is_left_out(tmp_path):
    film = FILM.replace("00001", "00002")
    root = listing(tmp_path, cells(), cells(film))
    delete(root, "P_00002.*dcm")
    records = records_of("cbis", root)
    assert (records[film].left_out, records[film].image) == ("no_image", "")
    assert records[film].rows == ("mass_case_description_train_set.csv#2",)
    assert records[FILM].left_out == ""


def test_a_missing_mask_is_told_of_a_film_that_is_there(tmp_path):
    root = listing(tmp_path, cells(), cells(number=2))
    delete(root, "LEFT_CC_2/.*dcm")
    first, second = only(root).lesions
    assert isinstance(first.shape, RasterAmong)
    assert isinstance(second.shape, Unreadable)
    assert second.shape.code == "mask_missing"
    assert "abnormality 2" in second.shape.message


def test_an_unreadable_table_is_refused_with_what_to_do(tmp_path):
    root = listing(tmp_path, cells())
    (root / "calc_case_description_test_set.csv").write_bytes(b"")
    with pytest.raises(ArchiveError, match="cannot be read") as caught:
        index_of("cbis", root)
    assert "bcseg ships the four tables" in caught.value.hint


def test_a_patient_of_both_parts_is_one_group(tmp_path_factory):
    records = records_of("cbis", archive(tmp_path_factory, "cbis").root)
    shared = [record for record in records.values() if record.patient_id == "P_90001"]
    assert {record.split for record in shared} == {"train", "test"}
    assert {record.group for record in shared} == {"cbis:P_90001"}


# ------------------------------------------------------------------------------ one film, two sets


def both_sets(tmp_path):
    """Return an archive in which one film is in the mass part and in the calcification part."""
    root = listing(tmp_path / "a", cells(), cells(FILM.replace("00001", "00003")))
    twin = "Calc-Test_P_00001_LEFT_CC"
    table = "calc_case_description_test_set.csv"
    return listing(root, cells(twin), header=CALC, table=table), twin


def test_a_film_that_is_in_both_parts_is_not_believed_empty_of_the_other_kind(tmp_path):
    root, twin = both_sets(tmp_path)
    records = records_of("cbis", root)
    assert records[FILM].suspicious == {"calcification": f"the same film is {twin}"}
    assert records[twin].suspicious == {"mass": f"the same film is {FILM}"}
    assert records[FILM].notes == (f"the same film as {twin}",)
    other = records[FILM.replace("00001", "00003")]
    assert (other.suspicious, other.free_of) == ({}, ("*",))
    assert records[FILM].group == records[twin].group


def test_films_without_a_lesion_of_the_kind_may_be_empty(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "cbis").root
    done = convert("cbis", root, tmp_path / "out", "--with-empty")
    empty = {key for key, row in done.records.items() if row["n_lesions"] == "0"}
    assert empty == {BLANK, "Calc-Training_P_90005_RIGHT_CC"}


# ------------------------------------------------------------------------------ shipped tables


def real_case(part: str) -> tuple[str, list[str], str]:
    """Return id, series and table of the first row of a real table."""
    (table,) = [t for t in shipped_tables() if t.name.startswith(part)]
    row = table.rows[0]
    paths = [row.raw(key).split("/") for key in ("image_file_path", "roi_mask_file_path")]
    return paths[0][0], [path[2] for path in paths], table.name


def touch(root: Path, series: list[str]) -> None:
    for number, uid in enumerate(series):
        for file in range(1 + (number > 0)):
            path = root / "jpeg" / uid / f"{file + 1}-000.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def test_tables_that_people_forget_are_those_that_bcseg_ships(tmp_path):
    record_id, series, _ = real_case("mass_case_description_test")
    touch(tmp_path, series)
    index = index_of("cbis", tmp_path)
    assert [record.record_id for record in index.records] == [record_id]
    assert [(one.code, "any of the four" in one.message) for one in index.warnings] == [
        ("table_shipped", True)
    ]
    assert (index.tables, index.records[0].rows, index.failed) == ({}, (), ())


def test_one_forgotten_table_of_four_is_that_which_bcseg_ships(tmp_path):
    record_id, series, name = real_case("calc_case_description_train")
    root = listing(tmp_path, cells())
    assert index_of("cbis", root).warnings == ()  # nothing of the others is there
    touch(root, series)
    index = index_of("cbis", root)
    assert {record.record_id for record in index.records} >= {record_id, FILM}
    assert [(one.code, name in one.message) for one in index.warnings] == [("table_shipped", True)]
    assert index.tables == {"mass_case_description_train_set.csv": 1}


def test_the_shipped_tables_hold_what_was_published():
    cases, failed = cbis._cases(shipped_tables(), False)
    assert failed == []
    assert len(cases) == cbis.INFO.published["abnormalities"]
    assert len({case.record_id for case in cases}) == cbis.INFO.published["images"]
    assert len({case.image_series for case in cases}) == cbis.INFO.published["images"]
    assert sum(len(case.mask_series) == 2 for case in cases) == 104
    patients = {}
    for case in cases:
        part, rest = case.record_id.split("_", 1)
        patients.setdefault(rest[:7], set()).add(part.rsplit("-", 1)[1])
    assert len(patients) == cbis.INFO.published["patients"]
    assert sum(len(parts) == 2 for parts in patients.values()) == 31


# ------------------------------------------------------------------------------ size


def test_ten_thousand_files_are_listed_without_opening_one(tmp_path):
    class Listing(FolderSource):
        def names(self):
            return names

        def open(self, name):
            raise AssertionError(f"{name} was opened: its path tells its series")

    names = []
    for table in shipped_tables():
        for row in table.rows:
            for key in ("image_file_path", "cropped_image_file_path", "roi_mask_file_path"):
                series = row.raw(key).split("/")[2]
                names.append(f"jpeg/{series}/{len(names):05d}.jpg")
    assert len(names) > 10_000
    index = cbis.index(Listing(tmp_path), ReadOptions(kinds=frozenset({"mass"})))
    assert len(index.records) == 3103


def test_the_source_is_never_opened_for_pixels_by_the_index(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "cbis").root
    flat = laid_out(root, tmp_path / "flat", numbered)
    for path in flat.rglob("*.dcm"):  # headers are whole, pixels are cut off
        path.write_bytes(path.read_bytes()[:3000])
    assert len(cbis.index(open_source(flat), ReadOptions()).records) == 6
    replace_in(flat / "mass_case_description_test_set.csv", "P_90145", "P_90146", count=9)
    assert "Mass-Test_P_90146_RIGHT_CC" in records_of("cbis", flat)
