"""Selecting pairs: what a manifest may say, what it means, what is written and what is refused."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bcseg import pairs
from bcseg import select as selecting
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder
from bcseg.select import Selecting, Selection, select_pairs

# ------------------------------------------------------------------------------ a small root


@dataclass
class Case:
    """A pair of the small root; `lesions`: (lesion id, in the mask, source)."""

    record_id: str
    source_image: str
    lesions: tuple[tuple[str, bool, str], ...] = (("1", True, "tables/outlines.csv#1"),)
    row: dict[str, str] = field(default_factory=dict)


@dataclass
class Archive:
    dataset: str
    cases: list[Case]
    left_out: list[tuple[str, str, str, str]] = field(default_factory=list)  # id code msg source
    problems: list[tuple[str, str, str, str, str]] = field(default_factory=list)  # + severity


RELEASE = "INbreast Release 1.0"
XML, DICOMS = f"{RELEASE}/AllXML", f"{RELEASE}/AllDICOMs"
INBREAST = "20586908_6c613a14b80a8591_MG_R_CC_ANON"
BCDR = "patient_105_study_143_img_105_143_1_RCC"
CBIS = "Mass-Test_P_00194_RIGHT_CC"
CDD = "P153_R_DM_MLO"


def archives() -> list[Archive]:
    return [
        Archive(
            "inbreast",
            [
                Case(
                    "20586908",
                    f"{DICOMS}/{INBREAST}.dcm",
                    row={"density": "2"},
                ),
                Case(
                    "20588334",
                    f"{DICOMS}/20588334_493155e17143edef_MG_L_ML_ANON.dcm",
                    lesions=(
                        ("0", True, f"{XML}/20588334.xml#0"),
                        ("1", True, f"{XML}/20588334.xml#1"),
                        ("2", False, f"{XML}/20588334.xml#2"),
                    ),
                    row={"sop_instance_uid": "1.2.840.20588334", "density": "3"},
                ),
                Case("20588680", f"{DICOMS}/20588680_4_MG_R_CC_ANON.dcm"),
            ],
            left_out=[
                (
                    "22614097",
                    "no_lesion",
                    "no lesion is marked",
                    f"{DICOMS}/22614097_x.dcm",
                ),
                (
                    "20588334",
                    "kind_not_chosen",
                    "1 lesion: calcification",
                    f"{XML}/20588334.xml#2",
                ),
                ("", "same_contours_binary", "read from the XML", f"{RELEASE}/AllROI/20588334.roi"),
            ],
            problems=[
                (
                    "24055445",
                    "failed",
                    "no_contour",
                    "the XML is damaged",
                    f"{XML}/24055445.xml",
                ),
                (
                    "20588334",
                    "warning",
                    "lesion_clipped",
                    "mass 1: 9 pixels",
                    f"{XML}/20588334.xml#1",
                ),
                (
                    "",
                    "warning",
                    "link_outside",
                    "refused: not read",
                    f"{DICOMS}/link.dcm",
                ),
            ],
        ),
        Archive(
            "bcdr",
            [
                Case(BCDR, "BCDR-D01_dataset/patient_105/study_143/img_105_143_1_RCC.tif"),
                Case(
                    "F01_patient_7_study_9_img_7_9_1_LO",
                    "BCDR-F01_dataset/patient_7/study_9/img_7_9_1_LO.tif",
                ),
                Case(
                    "patient_7_study_9_img_7_9_1_LO",
                    "BCDR-D02_dataset/patient_7/study_9/img_7_9_1_LO.tif",
                ),
            ],
        ),
        Archive(
            "cbis",
            [
                Case(
                    CBIS,
                    f"CBIS-DDSM/{CBIS}/10-04-2016-DDSM-1/1.000000-full images-1/1-1.dcm",
                    lesions=(("1", True, f"CBIS-DDSM/{CBIS}_1/x/1-1.dcm"),),
                    row={"pathology": "malignant"},
                ),
                Case(
                    "Mass-Training_P_00001_LEFT_MLO",
                    "CBIS-DDSM/Mass-Training_P_00001_LEFT_MLO/07-20-2016/1.0-full images-2/1-1.dcm",
                    row={"pathology": "benign"},
                ),
            ],
        ),
        Archive(
            "cdd",
            [Case(CDD, f"Low energy images of CDD-CESM/{CDD}.jpg")],
            left_out=[
                (
                    "P153_R_CM_MLO",
                    "image_type_not_chosen",
                    "another --image-type",
                    "Subtracted images of CDD-CESM/P153_R_CM_MLO.jpg",
                )
            ],
        ),
        Archive(
            "csaw",
            [
                Case(
                    "train_012_0",
                    "CsawS/anonymized_dataset/012/012_0.png",
                    row={"attributes": '{"collection_number":"101"}'},
                ),
                Case("test_011_1", "CsawS/test_data/anonymized_dataset/011/011_1.png"),
            ],
            left_out=[
                (
                    "test_012_0",
                    "kind_not_chosen",
                    "6 files",
                    "CsawS/annotator_1/012/012_0_skin.png",
                ),
                (
                    "test_012_0",
                    "no_lesion",
                    "no lesion is marked",
                    "CsawS/test_data/anonymized_dataset/012/012_0.png",
                ),
            ],
        ),
    ]


def build_root(root: Path, chosen: list[Archive] | None = None, *, masks: str = "union") -> Path:
    """Write real pairs folders, all images different and with unequal sides."""
    for archive in archives() if chosen is None else chosen:
        _build_folder(root / archive.dataset, archive, masks)
    return root


def _build_folder(folder: Path, archive: Archive, masks: str) -> None:
    records, lesions, lines = [], [], []
    for number, case in enumerate(sorted(archive.cases, key=lambda case: case.record_id)):
        records.append(_write_pair(folder, archive.dataset, case, number, masks))
        for lesion_id, in_mask, source in case.lesions:
            key = {"dataset": archive.dataset, "record_id": case.record_id, "lesion_id": lesion_id}
            lesions.append(
                key
                | {"in_mask": str(int(in_mask)), "kind": "mass", "area_px": "6", "source": source}
            )
            lines.append(key | {"kind": "mass", "rle": {"size": [5, 7], "counts": [3, 32]}})
    left_out = [_remark(archive, i, "left_out", c, m, s) for i, c, m, s in archive.left_out]
    problems = [_remark(archive, *row) for row in archive.problems]
    tables = {
        pairs.RECORDS: records,
        pairs.LESIONS: lesions,
        pairs.PROBLEMS: problems,
        pairs.LEFT_OUT: left_out,
    }
    for name, rows in tables.items():
        (folder / name).write_bytes(pairs.table_bytes(name, rows))
    (folder / pairs.ARCHIVE).write_bytes(pairs.archive_bytes(lines))
    (folder / pairs.LICENCE).write_text(f"licence of {archive.dataset}\n")
    document = {
        "schema_version": 1,
        "dataset": archive.dataset,
        "options": {"masks": masks},
        "records": len(records),
        "lesions_in_masks": sum(row["in_mask"] == "1" for row in lesions),
        "items": {"images": {"found": 99}},
        "problems": {"lesion_clipped": 7},
        "content_sha256": pairs.content_sha256(folder),
    }
    pairs.write_document(folder / pairs.DATASET, document)


def _remark(archive: Archive, record_id: str, severity: str, *rest: str) -> dict[str, str]:
    values = dict(zip(("code", "message", "source"), rest, strict=True))
    return {"dataset": archive.dataset, "record_id": record_id, "severity": severity} | values


def _write_pair(folder: Path, dataset: str, case: Case, number: int, masks: str) -> dict[str, str]:
    pixels = np.full((5, 7), number, np.uint8)
    mask = np.zeros((5, 7), np.uint8)
    mask[1:3, 2 : 3 + number % 4] = 255
    names = {"image": f"images/{case.record_id}.png", "mask": f"masks/{case.record_id}.png"}
    in_mask = [lesion_id for lesion_id, inside, _ in case.lesions if inside]
    files = {names["image"]: pixels, names["mask"]: mask}
    if masks == "lesion":
        files |= {f"lesions/{case.record_id}/{one}-mass.png": mask for one in in_mask}
    for name, array in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), array)
    return {
        "dataset": dataset,
        "record_id": case.record_id,
        **names,
        "n_lesions": str(len(in_mask)),
        "mask_pixels": str(int((mask > 0).sum())),
        "source_image": case.source_image,
        "annotation_sha256": hashlib.sha256(case.record_id.encode()).hexdigest(),
        "transform": '[{"op":"crop","left":1}]',
    } | case.row


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build_root(tmp_path / "data")


class Bench:
    """A root, a manifest and an output beside each other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = root.parent / "manifest.csv"
        self.to = root.parent / "selected"

    def select(self, text: str | bytes, **how: Any) -> Selection:
        data = text if isinstance(text, bytes) else text.encode()
        self.manifest.write_bytes(data)
        return select_pairs(self.root, self.manifest, self.to, Selecting(**how))

    def refuse(self, text: str | bytes, **how: Any) -> str:
        before = sorted(self.root.parent.rglob("*"))
        with pytest.raises(UsageError) as caught:
            self.select(text, **how)
        after = sorted(self.root.parent.rglob("*"))
        assert {p for p in after if p != self.manifest} == {p for p in before if p != self.manifest}
        return str(caught.value)

    def ids(self, dataset: str = "inbreast") -> list[str]:
        if not (self.to / dataset).exists():
            return []
        return [row["record_id"] for row in PairsFolder(self.to / dataset).rows(pairs.RECORDS)]

    def codes(self, dataset: str = "inbreast") -> dict[str, str]:
        rows = PairsFolder(self.to / dataset).rows(pairs.LEFT_OUT)
        return {row["record_id"]: row["code"] for row in rows}


@pytest.fixture
def bench(root: Path) -> Bench:
    return Bench(root)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ------------------------------------------------------------------------------ names

SPELLINGS = [
    # ours
    ("20588334", "inbreast", "20588334"),
    ("20588334.png", "inbreast", "20588334"),
    ("images/20588334.png", "inbreast", "20588334"),
    ("inbreast/masks/20588334.png", "inbreast", "20588334"),
    ("./bcseg-data/inbreast/images/20588334.png", "inbreast", "20588334"),
    (r"D:\bcseg-data\inbreast\masks\20588334.png", "inbreast", "20588334"),
    ("inbreast_20588334", "inbreast", "20588334"),
    ("inbreast_20588334.png", "inbreast", "20588334"),
    ("cbis_Mass-Test_P_00194_RIGHT_CC", "cbis", CBIS),
    ("mass-test_p_00194_right_cc", "cbis", CBIS),
    ("20588334.0", "inbreast", "20588334"),  # a spreadsheet made a number of it
    ("'20588334", "inbreast", "20588334"),
    # files of the archive
    (f"{INBREAST}.dcm", "inbreast", "20586908"),
    (f"AllDICOMs/{INBREAST}.dcm", "inbreast", "20586908"),
    ("patient_105/study_143/img_105_143_1_RCC.tif", "bcdr", BCDR),
    ("img_105_143_1_RCC.tif", "bcdr", BCDR),
    ("1.000000-full images-1/1-1.dcm", "cbis", CBIS),
    (f"{CDD}.jpg", "cdd", CDD),
    ("CsawS/anonymized_dataset/012/012_0.png", "csaw", "train_012_0"),
    ("011_1.png", "csaw", "test_011_1"),
    # the older collection
    ("20588334___PRE.png", "inbreast", "20588334"),
    (f"{INBREAST}___PRE.png", "inbreast", "20586908"),
    ("20588680_493155e17143edef_MG_R_CC_ANON___PRE.png", "inbreast", "20588680"),
    (f"{BCDR}___PRE.png", "bcdr", BCDR),
    (f"{BCDR}_MASK___PRE.png", "bcdr", BCDR),
    (f"{CBIS}_FULL___PRE.png", "cbis", CBIS),
    (f"{CBIS}_MASK___PRE.png", "cbis", CBIS),
    (f"{CBIS}_MASK_1___PRE.png", "cbis", CBIS),
    (f"{CBIS}_MASK_12___PRE.PNG", "cbis", CBIS),
    (f"/old/CBIS-DDSM/masks/{CBIS}_MASK_1___PRE.png", "cbis", CBIS),
    (f"{CDD}_MASK.jpg", "cdd", CDD),
    ("CSAW-Image-101.png___PRE.png", "csaw", "train_012_0"),
    ("old/CSAW-S/CSAW-Image-101.png___PRE.png", "csaw", "train_012_0"),
    ("csaw-image-0101", "csaw", "train_012_0"),
]


@pytest.mark.parametrize(("name", "dataset", "record_id"), SPELLINGS)
def test_a_name_in_any_spelling_means_its_record(
    bench: Bench, name: str, dataset: str, record_id: str
) -> None:
    result = bench.select(f"{name}\n")
    assert {one.dataset: one.taken for one in result.datasets if one.taken} == {dataset: 1}
    assert bench.ids(dataset) == [record_id]


@pytest.mark.parametrize("column", ["record_id", "file", "image_file", "mask"])
def test_a_column_of_names_reads_as_a_list_does(bench: Bench, column: str) -> None:
    bench.select(f"note,{column}\nx,{CBIS}_FULL___PRE.png\n")
    assert bench.ids("cbis") == [CBIS]


@pytest.mark.parametrize(
    ("word", "name", "dataset", "record_id"),
    [
        ("INbreast", "20588334", "inbreast", "20588334"),
        ("inbreast", "20588334", "inbreast", "20588334"),
        ("BCDR-D01", BCDR, "bcdr", BCDR),
        ("BCDR-D02?", "patient_7_study_9_img_7_9_1_LO", "bcdr", "patient_7_study_9_img_7_9_1_LO"),
        (
            "BCDR-F01",
            "patient_7_study_9_img_7_9_1_LO",
            "bcdr",
            "F01_patient_7_study_9_img_7_9_1_LO",
        ),
        ("bcdr-f01", "img_7_9_1_LO.tif", "bcdr", "F01_patient_7_study_9_img_7_9_1_LO"),
        ("CBIS-DDSM", CBIS, "cbis", CBIS),
        ("cbis ddsm", CBIS, "cbis", CBIS),
        ("CDD-CESM", CDD, "cdd", CDD),
        ("CSAW-S", "train_012_0", "csaw", "train_012_0"),
        ("CSAW_s", "CSAW-Image-101.png___PRE.png", "csaw", "train_012_0"),
    ],
)
def test_dataset_words(bench: Bench, word: str, name: str, dataset: str, record_id: str) -> None:
    bench.select(f"dataset,file\n{word},{name}\n")
    assert bench.ids(dataset) == [record_id]


def test_a_dataset_restricts_where_a_name_is_looked_for(bench: Bench) -> None:
    message = bench.refuse("dataset,record_id\ncbis,20588334\n")
    assert "row 2: '20588334' is no pair of cbis here" in message
    assert "no dataset is called 'ddr'" in bench.refuse("dataset,record_id\nddr,20588334\n")


def test_a_name_that_fits_several_datasets_is_refused(tmp_path: Path) -> None:
    twin = [Archive("inbreast", [Case("7", "a/7.dcm")]), Archive("csaw", [Case("7", "b/7.png")])]
    bench = Bench(build_root(tmp_path / "data", twin))
    message = bench.refuse("7\n")
    assert "row 1: '7' fits several records: csaw 7, inbreast 7" in message
    bench.select("dataset,record_id\ncsaw-s,7\n")
    assert bench.ids("csaw") == ["7"]
    assert not (bench.to / "inbreast").exists()


@pytest.mark.parametrize("name", ["1-1.dcm", "012_0.png", "img_7_9_1_LO.tif"])
def test_a_file_name_of_several_images_is_refused(bench: Bench, name: str) -> None:
    # 012_0.png: of its two images one was left out, its name is not free for the other
    assert "fits several records" in bench.refuse(f"{name}\n")


def test_numbers_of_the_older_collection(bench: Bench, tmp_path: Path) -> None:
    message = bench.refuse("CSAW-Mask-101.png___PRE.png\n", allow_missing=True)
    assert "cannot be trusted" in message
    assert "is no pair" in bench.refuse("CSAW-Image-102.png___PRE.png\n")
    unnumbered = [Archive("csaw", [Case("train_012_0", "a/012/012_0.png")])]
    partial = Bench(build_root(tmp_path / "partial" / "data", unnumbered))
    message = partial.refuse("CSAW-Image-101.png___PRE.png\n")
    assert "only where refactor had the complete archive of csaw" in message


def test_the_columns_of_the_old_lists_prefer_the_image(bench: Bench) -> None:
    bench.select(
        "dataset,source_image_id,image_file,mask_file,image_seen,mask_seen\n"
        "CSAW-S,CSAW-Image-101,CSAW-Image-101.png___PRE.png,CSAW-Mask-93.png___PRE.png,1,0\n"
    )
    assert bench.ids("csaw") == ["train_012_0"]


# ------------------------------------------------------------------------------ spreadsheets

TWO_ROWS = f"dataset,record_id,decision\ninbreast,20588334,accept\ncbis,{CBIS},reject\n"


@pytest.mark.parametrize(
    "data",
    [
        TWO_ROWS.encode(),
        b"\xef\xbb\xbf" + TWO_ROWS.encode(),
        TWO_ROWS.encode("utf-16"),
        TWO_ROWS.replace("\n", "\r\n").encode(),
        TWO_ROWS.replace("\n", "\r").encode(),
        TWO_ROWS.replace(",", ";").encode(),
        TWO_ROWS.replace(",", "\t").encode(),
        b"sep=;\r\n" + TWO_ROWS.replace(",", ";").replace("\n", "\r\n").encode(),
        TWO_ROWS.replace(",", " , ").replace("\n", "  \n").encode(),
        TWO_ROWS.replace("\n", "\n\n,,\n").encode(),
        TWO_ROWS.replace("\n", ",,\n").encode(),
        ("\n" + TWO_ROWS).encode(),
        TWO_ROWS.replace("dataset,record_id,decision", "Dataset,Record ID,DECISION").encode(),
        TWO_ROWS.replace("accept", '"Accept "').replace("record_id", '"record_id"').encode(),
        (TWO_ROWS.replace("\n", ",\u00fc\n")).replace("\u00fc", "n\u00f6te", 1).encode("cp1252"),
        (TWO_ROWS + "inbreast,20588334,accept\n").encode(),
        # Excel's "Unicode text", and its CSV in countries with a decimal comma
        TWO_ROWS.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
        "\ufeff".encode("utf-16-be") + TWO_ROWS.replace(",", "\t").encode("utf-16-be"),
        b"\xef\xbb\xbf"
        + TWO_ROWS.replace(",", ";")
        .replace("\n", ";0,5\r\n")
        .replace("decision;0,5", "decision;score")
        .replace("20588334", '"20588334,0"')
        .encode(),
        TWO_ROWS.replace("accept", "\u00a0accept\u00a0 ").encode(),
        TWO_ROWS.replace("inbreast", " InBreast ").replace("20588334", "20588334.00 ").encode(),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_spreadsheets_do_to_a_table(bench: Bench, data: bytes) -> None:
    result = bench.select(data)
    assert bench.ids() == ["20588334"]
    assert result.pairs == 1
    assert bench.codes() == {"20586908": "not_selected", "20588680": "not_selected"}
    assert next(one for one in result.datasets if one.dataset == "cbis").left_out == {
        "not_selected": 1,
        "rejected": 1,
    }


def test_a_number_that_a_spreadsheet_shortened_is_named(bench: Bench) -> None:
    message = bench.refuse(
        "record_id;decision\n2,06E+07;accept\n20588334;accept\n", allow_missing=True
    )
    assert "row 2: '2,06E+07' is a number that a spreadsheet shortened" in message


def test_a_lesion_id_with_a_decimal_comma(bench: Bench) -> None:
    bench.select('record_id;lesion_id;decision\n20588334;"0,0";accept\n20588334;1,0;accept\n')
    assert bench.ids() == ["20588334"]


def test_a_plain_list_with_comments_and_blank_lines(bench: Bench) -> None:
    bench.select(f'# mine\r\n20588334.png;\r\n\r\n"{CBIS}_FULL___PRE.png"\r\n')
    assert (bench.ids(), bench.ids("cbis")) == (["20588334"], [CBIS])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n\r\n", "is empty"),
        (b"dataset,record_id\n", "is empty"),
        (b"PK\x03\x04\x00\x00", "not a text file"),
        (b"case,chosen\n20588334,1\n", "must name a column record_id or file"),
        (b"record_id,record id\n1,2\n", "two columns are called 'record_id'"),
        (b"record_id,note\n20588334,a, b\n", "row 2 has more cells"),
        (b"record_id,note\n,hello\n", "row 2: names no record"),
    ],
)
def test_what_is_no_manifest_is_refused(bench: Bench, data: bytes, words: str) -> None:
    assert words in bench.refuse(data)


def test_a_manifest_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        select_pairs(bench.root, bench.root / "none.csv", bench.to, Selecting())


# ------------------------------------------------------------------------------ decisions


def test_only_accepted_rows_are_taken_and_the_others_counted(bench: Bench) -> None:
    bench.select(
        "record_id,decision\n20586908,unsure\n20588334, ACCEPT\n20588680,flag\n"
        f"{CBIS},accept\nMass-Training_P_00001_LEFT_MLO,\n"
    )
    assert bench.ids() == ["20588334"]
    assert bench.codes() == {"20586908": "unsure", "20588680": "flagged"}
    assert bench.codes("cbis") == {"Mass-Training_P_00001_LEFT_MLO": "undecided"}
    section = json.loads((bench.to / "inbreast/dataset.json").read_text())["selection"]
    assert section["decisions"] == {"accept": 1, "unsure": 1, "flag": 1}
    assert section["left_out"] == {"unsure": 1, "flagged": 1}


def test_any_other_word_is_an_error(bench: Bench) -> None:
    message = bench.refuse("record_id,decision\n20588334,acept\n20588680,maybe\n")
    assert "row 2: the decision 'acept'" in message
    assert "do you mean 'accept'?" in message
    assert "row 3: the decision 'maybe'" in message


def test_contradicting_rows_name_both_rows(bench: Bench) -> None:
    text = "record_id,decision\n20588334,accept\n20588680,accept\n20588334___PRE.png,reject\n"
    message = bench.refuse(text)
    assert "row 4: inbreast 20588334: reject here, but accept in row 2" in message
    lesions = "record_id,lesion_id,decision\n20588334,0,accept\n20588334,0,flag\n"
    assert "20588334 lesion 0: flag here, but accept in row 2" in bench.refuse(lesions)


def test_a_blank_decision_contradicts_nothing(bench: Bench) -> None:
    bench.select("record_id,decision\n20588334,\n20588334,accept\n")
    assert bench.ids() == ["20588334"]


@pytest.mark.parametrize(
    "text", ["record_id,decision\n20588334,reject\n", "record_id,decision\n20588334,\n"]
)
def test_a_manifest_that_selects_nothing_is_refused(bench: Bench, text: str) -> None:
    assert "selects nothing" in bench.refuse(text)


# lesions 0 and 1 of 20588334 are in the mask, 2 is not; 20588680 keeps the selection from empty
LESIONS = [
    ({"0": "accept", "1": "accept"}, ""),
    ({"0": "accept", "1": "accept", "2": "reject"}, ""),
    ({"": "accept"}, ""),
    ({"": "accept", "0": "accept"}, ""),
    ({"": "accept", "0": ""}, ""),
    ({"0": "accept"}, "lesion_not_accepted"),
    ({"0": "accept", "1": "unsure"}, "lesion_not_accepted"),
    ({"0": "accept", "1": ""}, "lesion_not_accepted"),
    ({"2": "accept"}, "lesion_not_accepted"),
    ({"": "accept", "1": "flag"}, "lesion_not_accepted"),
    ({"0": "accept", "1": "reject"}, "lesion_rejected"),
    ({"": "accept", "1": "reject"}, "lesion_rejected"),
    ({"0": "", "1": ""}, "undecided"),
    ({"": "reject", "0": "accept", "1": "accept"}, "rejected"),
]


@pytest.mark.parametrize(("decisions", "code"), LESIONS, ids=str)
def test_a_record_needs_all_lesions_of_its_mask(
    bench: Bench, decisions: dict[str, str], code: str
) -> None:
    rows = "".join(f"inbreast,20588334,{one},{word}\n" for one, word in decisions.items())
    bench.select(f"dataset,record_id,lesion_id,decision\ninbreast,20588680,,accept\n{rows}")
    assert ("20588334" in bench.ids()) is (code == "")
    assert bench.codes().get("20588334", "") == code


def test_the_reason_names_the_lesion(bench: Bench) -> None:
    bench.select("record_id,lesion_id,decision\n20588680,,accept\n20588334,1.0,reject\n")
    rows = PairsFolder(bench.to / "inbreast").rows(pairs.LEFT_OUT)
    row = next(row for row in rows if row["record_id"] == "20588334")
    assert row["message"].endswith("lesion 1")
    assert row["source"].endswith("20588334_493155e17143edef_MG_L_ML_ANON.dcm")


def test_a_lesion_that_the_record_does_not_have(bench: Bench) -> None:
    message = bench.refuse("record_id,lesion_id\n20588334,7\n", allow_missing=True)
    assert "row 2: inbreast 20588334 has no lesion '7': it has 0, 1, 2" in message


# ------------------------------------------------------------------------------ rows at fault


def test_all_bad_rows_are_told_at_once_with_the_nearest_id(bench: Bench) -> None:
    names = ["20588335", f"{CBIS[:-2]}CX_FULL___PRE.png", *(f"none{n}.png" for n in range(12))]
    message = bench.refuse("\n".join(["20588334", *names]))
    assert "14 rows of the manifest cannot be used" in message
    assert "row 2: '20588335' is no pair here; nearest: inbreast 20588334" in message
    assert f"nearest: cbis {CBIS}" in message
    assert "and 4 more" in message
    assert "--allow-missing" in message
    assert str(bench.manifest) in message


def test_what_refactor_left_out_is_told_with_its_reason(bench: Bench) -> None:
    message = bench.refuse("22614097.png\nP153_R_CM_MLO.jpg\n24055445___PRE.png\ncsaw_test_012_0\n")
    assert "22614097 was left out: no lesion is marked [no_lesion]" in message
    assert "P153_R_CM_MLO was left out: another --image-type" in message
    assert "test_012_0 was left out: no lesion is marked [no_lesion]" in message
    assert "24055445 failed: the XML is damaged [no_contour]" in message


def test_allow_missing_makes_warnings(bench: Bench) -> None:
    result = bench.select("20588334\nnothing.png\n22614097\n", allow_missing=True)
    assert bench.ids() == ["20588334"]
    assert sum(warning.startswith("row ") for warning in result.warnings) == 2
    assert "row 2: 'nothing.png'" in result.warnings[0]
    assert result.exit_code == 0
    both = "record_id,decision\nnothing,accept\n20588334,acept\n"
    bench.manifest.unlink()
    assert "1 row of the manifest" in Bench(bench.root).refuse(both, allow_missing=True)


def test_a_contour_that_changed_since_the_decision(bench: Bench) -> None:
    same = hashlib.sha256(b"20588334").hexdigest()
    text = f"record_id,annotation_sha256\n20588334,{same.upper()}\n20588680,{same}\n20586908,\n"
    message = bench.refuse(text)
    assert "1 row" in message
    assert "row 3: inbreast 20588680 was decided on another contour" in message
    assert "--allow-changed" in message
    result = bench.select(text, allow_changed=True)
    assert bench.ids() == ["20586908", "20588334", "20588680"]
    assert len(result.warnings) == 1


# ------------------------------------------------------------------------------ what is written


def test_the_new_root_has_the_shape_of_the_old(bench: Bench) -> None:
    result = bench.select(f"20588334\n{CBIS}\n")
    files = set(tree(bench.to))
    tables = {*pairs.COLUMNS, pairs.ARCHIVE, pairs.DATASET, pairs.LICENCE}
    assert files == {
        ".gitignore",
        "selection.json",
        "selection.csv",
        *(f"{dataset}/{name}" for dataset in ("inbreast", "cbis") for name in tables),
        *(f"inbreast/{part}/20588334.png" for part in ("images", "masks")),
        *(f"cbis/{part}/{CBIS}.png" for part in ("images", "masks")),
    }
    assert (bench.to / ".gitignore").read_text() == "*\n"
    assert [path.name for path in bench.to.parent.iterdir() if path.name.startswith(".")] == []
    for name in (f"cbis/images/{CBIS}.png", "inbreast/masks/20588334.png", "cbis/LICENCE.txt"):
        assert (bench.to / name).read_bytes() == (bench.root / name).read_bytes()
    assert [folder.name for folder in pairs.open_root(bench.to)] == ["cbis", "inbreast"]
    assert result.fresh


def test_a_split_comes_along_with_the_rows_of_what_is_taken(bench: Bench) -> None:
    head = "dataset,record_id,group,split,fold\n"
    row = "inbreast,20588334,inbreast:1,{},\n"
    splits = bench.root / "splits.csv"
    splits.write_text(head + row.format("train") + "inbreast,20588562,inbreast:2,val,\n")
    assert bench.select("20588334\n").fresh
    assert (bench.to / "splits.csv").read_text() == head + row.format("train")
    assert not bench.select("20588334\n").fresh
    splits.write_text(head + row.format("test"))
    assert bench.select("20588334\n", redo=True).fresh
    assert (bench.to / "splits.csv").read_text() == head + row.format("test")
    (bench.to / "splits.csv").unlink()
    with pytest.raises(UsageError, match="not complete"):
        bench.select("20588334\n")


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "dataset,record_id\nx,y\n"])
def test_a_foreign_split_stays_behind(bench: Bench, text: str) -> None:
    (bench.root / "splits.csv").write_text(text)
    warnings = " ".join(bench.select("20588334\n").warnings)
    assert "splits.csv stays behind: no split of bcseg" in warnings
    assert not (bench.to / "splits.csv").exists()


def test_a_split_comes_along_from_beside_a_dataset_too(bench: Bench) -> None:
    row = "dataset,record_id,group,split,fold\ninbreast,20588334,inbreast:1,train,\n"
    (bench.root / "splits.csv").write_text(row)
    bench.manifest.write_text("20588334\n")
    select_pairs(bench.root / "inbreast", bench.manifest, bench.to, Selecting())
    assert (bench.to / "splits.csv").read_text() == row


def test_tables_hold_the_rows_of_the_source(bench: Bench) -> None:
    bench.select("20588334\n")
    for name in (pairs.RECORDS, pairs.LESIONS):
        old = (bench.root / "inbreast" / name).read_bytes().splitlines(keepends=True)
        wanted = [line for line in old[1:] if line.startswith(b"inbreast,20588334,")]
        assert wanted
        assert (bench.to / "inbreast" / name).read_bytes() == b"".join([old[0], *wanted])
    problems = PairsFolder(bench.to / "inbreast").rows(pairs.PROBLEMS)
    assert [row["code"] for row in problems] == ["lesion_clipped"]
    old_lines = gzip.decompress((bench.root / "inbreast" / pairs.ARCHIVE).read_bytes()).splitlines()
    new_lines = gzip.decompress((bench.to / "inbreast" / pairs.ARCHIVE).read_bytes()).splitlines()
    assert new_lines == [line for line in old_lines if b'"20588334"' in line]
    assert len(new_lines) == 3


def test_dataset_json_counts_the_selection(bench: Bench) -> None:
    result = bench.select("20588334\n")
    old = json.loads((bench.root / "inbreast/dataset.json").read_text())
    new = json.loads((bench.to / "inbreast/dataset.json").read_text())
    assert (new["records"], new["lesions_in_masks"]) == (1, 2)
    assert new["problems"] == {"lesion_clipped": 1}
    assert new["options"] == old["options"]
    assert new["selection"] == {
        "manifest_sha256": hashlib.sha256(bench.manifest.read_bytes()).hexdigest(),
        "source_content_sha256": old["content_sha256"],
        "source_records": 3,
        "decisions": {"accept": 1},
        "left_out": {"not_selected": 2},
    }
    assert new["content_sha256"] == pairs.content_sha256(bench.to / "inbreast")
    assert result.document()["datasets"][-1]["content_sha256"] == new["content_sha256"]


def test_other_columns_are_carried_through(bench: Bench) -> None:
    bench.select(
        'reviewer,file,decision,reason,taken\nAda,20588680,reject,"edge, dim",\n'
        "Bo,20588334___PRE.png,accept,,\nCy,gone.png,accept,lost,\n",
        allow_missing=True,
    )
    assert (bench.to / "selection.csv").read_text() == (
        "dataset,record_id,lesion_id,decision,annotation_sha256,taken,reviewer,file,reason\n"
        "inbreast,20588334,,accept,,1,Bo,20588334___PRE.png,\n"
        'inbreast,20588680,,reject,,0,Ada,20588680,"edge, dim"\n'
        ",,,accept,,0,Cy,gone.png,lost\n"
    )


@pytest.mark.parametrize("text", ["20588334\n", "record_id,lesion_id\n20588334,0\n20588334,1\n"])
def test_the_written_table_is_a_manifest_of_the_same_pairs(bench: Bench, text: str) -> None:
    first = bench.select(text)
    again = bench.to.parent / "again"
    second = select_pairs(bench.root, bench.to / "selection.csv", again, Selecting())
    assert second.pairs == first.pairs == 1
    assert (again / "inbreast/records.csv").read_bytes() == (
        bench.to / "inbreast/records.csv"
    ).read_bytes()
    tables = [(place / "selection.csv").read_text() for place in (bench.to, again)]
    assert tables[0] == tables[1]


def test_records_csv_itself_is_a_manifest(bench: Bench) -> None:
    result = bench.select((bench.root / "inbreast/records.csv").read_bytes())
    assert bench.ids() == ["20586908", "20588334", "20588680"]
    assert "nothing was dropped" in result.text()


def test_equal_input_gives_equal_bytes_wherever_it_lies(tmp_path: Path) -> None:
    texts = []
    for place in ("here", "there/deeper"):
        bench = Bench(build_root(tmp_path / place / "data"))
        bench.select(f"20588334\n{CBIS}\n")
        texts.append(tree(bench.to))
    assert texts[0] == texts[1]
    assert not any(str(tmp_path).encode() in data for data in texts[0].values())


def test_lesion_masks_come_along_and_must_be_there(tmp_path: Path) -> None:
    bench = Bench(build_root(tmp_path / "data", masks="lesion"))
    bench.select("20588334\n")
    names = {name for name in tree(bench.to) if "/lesions/" in name}
    assert names == {f"inbreast/lesions/20588334/{one}-mass.png" for one in (0, 1)}
    (bench.root / "inbreast/lesions/20588680/1-mass.png").unlink()
    assert "lesions/20588680/*.png" in bench.refuse("20588680\n", redo=True)


def test_one_pairs_folder_makes_a_root_too(bench: Bench) -> None:
    bench.manifest.write_text("20588334\n")
    result = select_pairs(bench.root / "inbreast", bench.manifest, bench.to, Selecting())
    assert bench.ids() == ["20588334"]
    assert [one.dataset for one in result.datasets] == ["inbreast"]


def test_a_selection_of_a_selection_keeps_both(bench: Bench) -> None:
    bench.select("20588334\n20588680\n")
    bench.manifest.write_text("20588680\n")
    last = bench.to.parent / "last"
    select_pairs(bench.to, bench.manifest, last, Selecting())
    section = json.loads((last / "inbreast/dataset.json").read_text())["selection"]
    assert section["source_records"] == 2
    assert section["earlier"]["source_records"] == 3
    bench.manifest.write_text("20586908\n")
    with pytest.raises(UsageError, match=r"was left out: no row .* \[not_selected\]"):
        select_pairs(bench.to, bench.manifest, bench.to.parent / "x", Selecting())


def test_links_share_the_file(bench: Bench) -> None:
    bench.select("20588334\n", link=True)
    name = "inbreast/images/20588334.png"
    assert (bench.to / name).samefile(bench.root / name)
    assert not (bench.to / pairs.DATASET).exists()
    assert not (bench.to / "inbreast/records.csv").samefile(bench.root / "inbreast/records.csv")


def test_a_copy_is_a_file_of_its_own(bench: Bench) -> None:
    bench.select("20588334\n")
    name = "inbreast/images/20588334.png"
    assert not (bench.to / name).samefile(bench.root / name)


def test_a_file_system_without_links(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    message = bench.refuse("20588334\n", link=True)
    assert "cannot make hard links" in message
    assert "leave --link away" in message


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("place", ["data", "data/selected", "data/inbreast/selected", "."])
def test_an_output_in_or_around_the_root_is_refused(bench: Bench, place: str) -> None:
    bench.to = bench.root.parent / place
    assert "the root that is read" in bench.refuse("20588334\n", redo=True)


def test_an_output_through_a_link_into_the_root_is_refused(bench: Bench) -> None:
    (bench.root.parent / "door").symlink_to(bench.root, target_is_directory=True)
    bench.to = bench.root.parent / "door" / "new"
    assert "lies inside the root" in bench.refuse("20588334\n")


@pytest.mark.parametrize("redo", [False, True])
def test_a_foreign_folder_is_never_touched(bench: Bench, redo: bool) -> None:
    bench.to.mkdir()
    (bench.to / "thesis.txt").write_text("years of work")
    assert "holds no selection of bcseg" in bench.refuse("20588334\n", redo=redo)
    shutil.rmtree(bench.to)
    bench.to.write_text("a file")
    assert "holds no selection of bcseg" in bench.refuse("20588334\n", redo=redo)
    bench.to.unlink()
    build_root(bench.to, archives()[:1])  # pairs that refactor wrote
    assert "holds no selection of bcseg" in bench.refuse("20588334\n", redo=redo)


def test_an_empty_folder_is_taken(bench: Bench) -> None:
    bench.to.mkdir()
    bench.select("20588334\n")
    assert bench.ids() == ["20588334"]


@pytest.mark.parametrize("name", ["images/20588334.png", "masks/20588334.png"])
@pytest.mark.parametrize("damage", ["gone", "empty"])
def test_a_missing_file_of_a_chosen_pair_is_named(bench: Bench, name: str, damage: str) -> None:
    path = bench.root / "inbreast" / name
    path.unlink()
    if damage == "empty":
        path.touch()
    message = bench.refuse(f"20588334\n{CBIS}\n")
    assert name in message
    assert "1 files of the chosen pairs of inbreast are missing" in message
    bench.select("20588680\n")  # a pair that is not chosen may lack its file


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    evil = Archive("inbreast", [Case("7", "a/7.dcm", row={"image": "../../secret.png"})])
    bench = Bench(build_root(tmp_path / "data", [evil]))
    (tmp_path / "secret.png").write_bytes(b"x")
    assert "../../secret.png" in bench.refuse("7\n")


@pytest.mark.parametrize("table", [pairs.RECORDS, pairs.LEFT_OUT, pairs.LESIONS])
def test_a_table_that_a_spreadsheet_damaged(bench: Bench, table: str) -> None:
    path = bench.root / "inbreast" / table
    path.write_bytes(path.read_bytes().replace(b",", b";"))
    assert f"{table} is damaged" in bench.refuse("20588334\n")


def test_a_damaged_lesion_archive(bench: Bench) -> None:
    (bench.root / "inbreast" / pairs.ARCHIVE).write_bytes(b"\x1f\x8b\x08 torn")
    assert "cannot be read" in bench.refuse("20588334\n")
    (bench.root / "inbreast" / pairs.ARCHIVE).unlink()
    assert "cannot be read" in bench.refuse("20588334\n")


def test_two_folders_of_one_dataset(bench: Bench) -> None:
    shutil.copytree(bench.root / "inbreast", bench.root / "inbreast-16")
    assert "two folders hold inbreast" in bench.refuse("20588334\n")


def test_tables_that_changed_are_worth_a_warning(bench: Bench) -> None:
    path = bench.root / "inbreast/records.csv"
    path.write_bytes(path.read_bytes().replace(b"1.2.840.20588334", b"1.2.840.99999999"))
    result = bench.select("20588334\n")
    assert result.warnings[0] == "the tables of inbreast changed since they were written"
    assert all("the selection shifts" in warning for warning in result.warnings[1:])


def test_a_disk_that_is_too_small(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    small = shutil._ntuple_diskusage(100, 90, 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    message = bench.refuse("20588334\n")
    assert "the disk is too small" in message
    bench.select("20588334\n", link=True)


# ------------------------------------------------------------------------------ a second run


def test_the_same_selection_again_does_nothing(bench: Bench) -> None:
    first = bench.select("20588334\n")
    before = {p: p.stat().st_mtime_ns for p in bench.to.rglob("*")}
    second = bench.select("20588334\n")
    assert (first.fresh, second.fresh) == (True, False)
    assert "nothing to do" in second.text()
    assert second.document()["datasets"] == first.document()["datasets"]
    assert {p: p.stat().st_mtime_ns for p in bench.to.rglob("*")} == before


def test_another_selection_needs_redo(bench: Bench) -> None:
    bench.select("20588334\n")
    message = bench.refuse("20588680\n")
    assert "another selection is there" in message
    assert "--redo" in message
    assert bench.ids() == ["20588334"]
    assert bench.select("20588680\n", redo=True).fresh
    assert bench.ids() == ["20588680"]
    assert not (bench.to / "inbreast/images/20588334.png").exists()


def test_another_source_is_another_selection(bench: Bench) -> None:
    bench.select("20588334\n")
    shutil.rmtree(bench.root / "cdd")
    assert "another selection is there" in bench.refuse("20588334\n")


@pytest.mark.parametrize(
    "name",
    [
        "inbreast/masks/20588334.png",
        "inbreast/lesions.csv",
        "inbreast/dataset.json",
        "selection.csv",
    ],
)
@pytest.mark.parametrize("damage", ["gone", "longer"])
def test_a_damaged_selection_is_not_taken_for_done(bench: Bench, name: str, damage: str) -> None:
    bench.select("20588334\n")
    whole = tree(bench.to)
    (bench.to / name).unlink()
    if damage == "longer" and name != "selection.csv":
        (bench.to / name).write_bytes(whole[name] + b"x")
    assert "not complete" in bench.refuse("20588334\n")
    bench.select("20588334\n", redo=True)
    assert tree(bench.to) == whole


def test_redo_never_deletes_what_select_did_not_write(bench: Bench) -> None:
    bench.select("20588334\n")
    (bench.to / "inbreast" / "selected.csv").write_text("hours of review")
    assert "inbreast/selected.csv" in bench.refuse("20588680\n", redo=True)
    (bench.to / "inbreast" / "selected.csv").unlink()
    (bench.to / "weights").mkdir()
    assert "weights" in bench.refuse("20588680\n", redo=True)


def test_a_killed_run_leaves_nothing_behind(bench: Bench) -> None:
    part = bench.to.with_name(".selected.part")
    (part / "inbreast/images").mkdir(parents=True)
    (part / "inbreast/images/99.png").write_bytes(b"half")
    (part / ".lock").write_text('{"host": "')  # torn
    (bench.to.with_name(".selected.old") / "cbis").mkdir(parents=True)
    bench.select("20588334\n")
    assert not part.exists()
    assert not bench.to.with_name(".selected.old").exists()
    assert not [name for name in tree(bench.to) if "99.png" in name or ".lock" in name]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_interrupted_run_leaves_the_old_selection_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    bench.select("20588334\n")
    whole = tree(bench.to)
    copy = shutil.copyfile

    def stop(source: Path, to: Path) -> None:
        if "masks" in str(to):
            raise error
        copy(source, to)

    monkeypatch.setattr(shutil, "copyfile", stop)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else UsageError
    with pytest.raises(expected):
        bench.select("20588334\n20588680\n", redo=True)
    assert tree(bench.to) == whole
    assert not bench.to.with_name(".selected.part").exists()


def test_a_dry_run_tells_and_writes_nothing(bench: Bench) -> None:
    bench.manifest.write_text("")
    before = sorted(bench.root.parent.rglob("*"))
    result = bench.select("20588334\n", dry_run=True)
    assert sorted(bench.root.parent.rglob("*")) == before
    assert result.text().startswith(f"1 of 11 pairs would be taken into {bench.to}")
    assert result.document()["dry_run"] is True


# ------------------------------------------------------------------------------ comparison


def many(dataset: str, count: int, **columns: str) -> Archive:
    rows = [{"mask_pixels": str(10 * n), **columns} for n in range(count)]
    return Archive(
        dataset, [Case(f"{n:03}", f"a/{n:03}.png", row=row) for n, row in enumerate(rows)]
    )


def test_kept_against_dropped(tmp_path: Path) -> None:
    archive = many("inbreast", 10, pathology="benign")
    for case in archive.cases[4:]:
        case.row["pathology"] = "malignant"
    bench = Bench(build_root(tmp_path / "data", [archive]))
    result = bench.select("\n".join(f"{n:03}" for n in (0, 1, 2, 3, 4)))
    shares = {(one.aspect, one.value): one for one in result.shares}
    benign = shares["pathology", "benign"]
    assert (benign.kept, benign.dropped, benign.kept_share, benign.dropped_share) == (
        4,
        0,
        80.0,
        0.0,
    )
    assert benign.shifted
    assert not shares["density", "unknown"].shifted
    assert [one.value for one in result.shares if one.aspect == "size"] == [
        "empty",
        "small",
        "medium",
        "large",
    ]
    # nine masks that are not empty: three in each third
    sizes = [(one.kept, one.dropped) for one in result.shares if one.aspect == "size"]
    assert sizes == [(1, 0), (3, 0), (1, 2), (0, 3)]
    line = next(line for line in result.text().splitlines() if "malignant" in line)
    assert " ".join(line.split()) == "malignant 1 ( 20 %) 5 (100 %) * -80 points"
    unmarked = next(line for line in result.text().splitlines() if "unknown" in line)
    assert "*" not in unmarked


def test_a_share_that_shifts_by_ten_points_is_not_marked(tmp_path: Path) -> None:
    archive = many("inbreast", 20)
    for number in (0, 1, 2, 3, 4, 10, 11, 12, 13):
        archive.cases[number].row["density"] = "4"
    bench = Bench(build_root(tmp_path / "data", [archive]))
    result = bench.select("\n".join(f"{n:03}" for n in range(10)))
    dense = next(one for one in result.shares if (one.aspect, one.value) == ("density", "4"))
    assert (dense.kept_share, dense.dropped_share, dense.shifted) == (50.0, 40.0, False)


def test_sizes_are_compared_within_a_dataset_and_in_one_unit(tmp_path: Path) -> None:
    small, large = many("inbreast", 7), many("cbis", 7)
    for number, case in enumerate(small.cases):
        case.row |= {"mask_pixels": str(1 + number), "mask_area_mm2": f"{9 - number}.5"}
    for number, case in enumerate(large.cases):
        case.row |= {"mask_pixels": str(5000 + number)}
    large.cases[3].row["mask_area_mm2"] = "1.5"  # the only one that is known: not used
    bench = Bench(build_root(tmp_path / "data", [small, large]))
    rows = "inbreast,000\ninbreast,001\ncbis,005\ncbis,006\n"
    result = bench.select(f"dataset,record_id\n{rows}")
    sizes = {one.value: (one.kept, one.dropped) for one in result.shares if one.aspect == "size"}
    assert sizes == {"small": (0, 4), "medium": (0, 4), "large": (4, 2)}
    assert {one.value for one in result.shares if one.aspect == "dataset"} == {"cbis", "inbreast"}


def test_the_text_tells_what_was_left_out_and_why(bench: Bench) -> None:
    result = bench.select(f"record_id,decision\n20588334,accept\n20588680,reject\n{CBIS},flag\n")
    text = " ".join(result.text().split())
    assert f"1 of 11 pairs taken into {bench.to}" in text
    assert "inbreast 1 of 3 taken left out: 1 not_selected, 1 rejected" in text
    assert "cbis 0 of 2 taken left out: 1 not_selected, 1 flagged" in text
    assert json.loads(json.dumps(result.document()))["pairs"] == 1


# ------------------------------------------------------------------------------ speed


def test_ten_thousand_rows_are_matched(tmp_path: Path) -> None:
    folder = tmp_path / "data/cbis"
    ids = [f"Mass-Training_P_{n:05}_LEFT_CC" for n in range(10_000)]
    _build_folder(folder, Archive("cbis", [Case(ids[0], "CBIS-DDSM/x/1-1.dcm")]), "union")
    row = PairsFolder(folder).rows(pairs.RECORDS)[0]
    rows = [row | {"record_id": i, "source_image": f"CBIS-DDSM/{i}/1-1.dcm"} for i in ids]
    (folder / pairs.RECORDS).write_bytes(pairs.table_bytes(pairs.RECORDS, rows))
    manifest = tmp_path / "m.txt"
    manifest.write_text("\n".join(f"{i}_MASK_1___PRE.png" for i in ids))
    bad = tmp_path / "bad.txt"
    bad.write_text("\n".join(f"{i}X_MASK_1___PRE.png" for i in ids))
    result = select_pairs(tmp_path / "data", manifest, tmp_path / "to", Selecting(dry_run=True))
    with pytest.raises(UsageError, match="10000 rows"):
        select_pairs(tmp_path / "data", bad, tmp_path / "to", Selecting(dry_run=True))
    assert result.pairs == 10_000


def test_codes_of_left_out_pairs_are_all_explained() -> None:
    assert all(text and text[0].islower() for text in selecting.REASONS.values())
