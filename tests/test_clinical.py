"""The clinical table of an archive against its contours, file names and DICOM headers."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
from collections import Counter

import openpyxl
import pydicom
import pytest

from bcseg import synth
from bcseg.clinical import CODES, clinical, examine
from bcseg.source import open_source

_COLUMNS = """Image_name;Patient_ID;Side;Type;Age;Breast density (ACR);BIRADS;Findings;View;Tags
Machine;Pathology Classification/ Follow up""".replace("\n", ";").split(";")
_BOOK = "Radiology-manual-annotations.xlsx"


def found(dataset, root, code=""):
    findings = clinical(dataset, open_source(root))
    assert {one.code for one in findings} <= CODES.keys()
    return {(one.record_id, one.code): one for one in findings if code in ("", one.code)}


def archive(dataset, root, images=8):
    return synth.build(dataset, root, images=images, scale=0.1).root


# ------------------------------------------------------------------------- CDD-CESM


def change_book(root, name, **cells):
    path = root / _BOOK
    book = openpyxl.load_workbook(path)
    sheet = book["all"]
    heads = [str(cell.value).strip() for cell in sheet[1]]
    (line,) = [row for row in sheet.iter_rows(min_row=2) if str(row[0].value).strip() == name]
    for head, value in cells.items():
        (column,) = [n for n, text in enumerate(heads) if text.startswith(head)]
        line[column].value = value
    book.save(path)


def test_synthetic_cdd_has_a_normal_with_a_contour_and_a_malignant_without(tmp_path):
    findings = found("cdd", archive("cdd", tmp_path / "cdd", images=12))
    assert findings.keys() == {
        ("P4_R_DM_CC", "contour_on_normal"),
        ("P5_L_DM_MLO", "finding_without_contour"),
        ("P5_L_CM_MLO", "finding_without_contour"),
    }
    assert {one.severity for one in findings.values()} == {"note"}  # as published


def test_birads_1_with_a_mass_in_cdd(tmp_path):
    root = archive("cdd", tmp_path / "cdd")
    change_book(root, "P1_L_DM_MLO", BIRADS=1)
    one = found("cdd", root)["P1_L_DM_MLO", "birads_1_with_mass"]
    assert one.severity == "finding"
    assert one.pathology == "malignant"
    assert "finding 0, finding 1 are drawn" in one.message


def test_side_and_view_of_the_workbook_against_the_file_name(tmp_path):
    root = archive("cdd", tmp_path / "cdd")
    change_book(root, "P2_R_DM_CC", Side="L")
    change_book(root, "P1_L_CM_MLO", View="CC")
    findings = found("cdd", root)
    side = findings["P2_R_DM_CC", "laterality_disagrees"]
    assert re.fullmatch(
        r"R in the file name, L in Radiology-manual-annotations\.xlsx\[all\]#\d+", side.message
    )
    assert "MLO in the file name, CC in" in findings["P1_L_CM_MLO", "view_disagrees"].message
    others = {code for _, code in findings} - {"contour_on_normal"}
    assert others == {"laterality_disagrees", "view_disagrees"}


def write_cdd(root, regions_table, pathologies):
    """Write a CDD-CESM of real names and regions, with empty images and a made workbook."""
    root.mkdir()
    shutil.copy(regions_table, root / regions_table.name)
    (root / "images").mkdir()
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "all"
    sheet.append(_COLUMNS)
    for number, (name, pathology) in enumerate(sorted(pathologies.items())):
        patient, side, kind, view = name.split("_")[:4]
        (root / "images" / f"{name}.jpg").touch()
        written = f"{name} " if number % 400 == 7 else name  # five names have a trailing blank
        birads = "3$2" if number % 50 == 3 else 1 if pathology == "Normal" else 4
        start = [written, int(patient[1:]), side, "DM" if kind == "DM" else "CESM", 52, "_"]
        sheet.append([*start, birads, "", view, "", 1, pathology])
    book.save(root / _BOOK)


def cdd_pathologies(regions_table):
    """Return pathologies with the published counts: 8 normals with regions, 13 + 11 without."""
    with regions_table.open(newline="") as file:
        marked = sorted({row["#filename"].removesuffix(".jpg") for row in csv.DictReader(file)})
    assert len(marked) == 1233
    every = itertools.product(range(1, 400), "LR", ("DM", "CM"), ("CC", "MLO"))
    names = ("P{}_{}_{}_{}".format(*parts) for parts in every)
    unmarked = list(itertools.islice((n for n in names if n not in set(marked)), 773))
    with_regions = ["Normal"] * 8 + ["Benign"] * 574 + ["Malignant"] * 651
    without = ["Normal"] * 749 + ["Benign"] * 13 + ["Malignant"] * 11
    return dict(zip(marked, with_regions, strict=True)) | dict(zip(unmarked, without, strict=True))


def test_the_real_regions_of_cdd_show_the_published_disagreements(tmp_path, real_data):
    table = real_data / "cdd" / "Radiology_hand_drawn_segmentations_v2.csv"
    pathologies = cdd_pathologies(table)
    assert Counter(pathologies.values()) == {"Normal": 757, "Benign": 587, "Malignant": 662}
    write_cdd(tmp_path / "cdd", table, pathologies)
    result = examine("cdd", open_source(tmp_path / "cdd"))
    assert Counter((one.code, one.pathology) for one in result.findings) == {
        ("contour_on_normal", "normal"): 8,
        ("finding_without_contour", "benign"): 13,
        ("finding_without_contour", "malignant"): 11,
    }
    expected = {
        name
        for number, (name, word) in enumerate(pathologies.items())
        if (number < 1233) == (word == "Normal")
    }
    assert {one.record_id for one in result.findings} == expected
    assert result.unexpected == ()
    assert [(one.value, one.figure.value, one.mark) for one in result.published] == [
        (8, 8, "equal"),
        (13, 13, "equal"),
        (11, 11, "equal"),
    ]
    document = json.loads(json.dumps(result.document()))
    assert document["counts"] == {"contour_on_normal": 8, "finding_without_contour": 24}
    # one more than was published: none of its sort can be taken for known
    benign = next(name for name, word in pathologies.items() if word == "Benign")
    change_book(tmp_path / "cdd", benign, Pathology="Normal")
    again = examine("cdd", open_source(tmp_path / "cdd"))
    assert Counter((one.code, one.severity) for one in again.findings) == {
        ("contour_on_normal", "finding"): 9,
        ("finding_without_contour", "note"): 24,
    }
    assert len(again.unexpected) == 9


# ------------------------------------------------------------------------- INbreast


@pytest.fixture(scope="module")
def inbreast(tmp_path_factory):
    return archive("inbreast", tmp_path_factory.mktemp("made") / "inbreast")


def copied(root, to):
    return shutil.copytree(root, to / "copy")


def change_line(path, old, new):
    text = path.read_bytes().decode()
    assert text.count(old) == 1
    path.write_bytes(text.replace(old, new).encode())


def test_untouched_archives_agree(tmp_path, inbreast):
    assert found("inbreast", inbreast) == {}
    for dataset in ("bcdr", "cbis", "csaw"):
        root = archive(dataset, tmp_path / dataset)
        assert found(dataset, root) == {}
        assert examine(dataset, open_source(root)).text().endswith("tables and contours agree")


def test_a_lost_contour_file_and_birads_1_with_a_mass(tmp_path, inbreast):
    root = copied(inbreast, tmp_path)
    table = next(root.rglob("INbreast.csv"))
    next(root.rglob("53100205.xml")).unlink()
    change_line(table, ";53100101;2;5", ";53100101;2;1")
    change_line(table, ";53100257;4;2", ";53100257;4;1")  # a distortion, no mass
    findings = found("inbreast", root)
    assert findings.keys() == {
        ("53100101", "birads_1_with_mass"),
        ("53100205", "finding_without_contour"),
        ("53100257", "contour_on_normal"),
    }
    assert "BI-RADS 4c" in findings["53100205", "finding_without_contour"].message
    assert {one.severity for one in findings.values()} == {"finding"}


def test_images_that_are_not_in_the_source_are_not_looked_at(tmp_path, inbreast):
    root = copied(inbreast, tmp_path)
    for path in root.rglob("53100205*"):
        path.unlink()
    assert found("inbreast", root) == {}


def test_an_unreadable_contour_file_is_named(tmp_path, inbreast):
    root = copied(inbreast, tmp_path)
    next(root.rglob("53100101.xml")).write_bytes(b"<plist>")
    findings = found("inbreast", root)
    assert findings.keys() == {("53100101", "not_checked")}
    assert "53100101.xml" in findings["53100101", "not_checked"].message


def test_table_and_header_against_the_file_name_of_inbreast(tmp_path, inbreast):
    root = copied(inbreast, tmp_path)
    table = next(root.rglob("INbreast.csv"))
    change_line(table, "R;CC;201001;53100231", "R;MLO;201001;53100231")
    change_line(table, "R;MLO;201001;53100127", "L;MLO;201001;53100127")
    image = next(root.rglob("53100179*.dcm"))
    data = pydicom.dcmread(image)
    data.ImageLaterality = "R"
    data.save_as(image)
    findings = found("inbreast", root)
    assert findings.keys() == {
        ("53100231", "view_disagrees"),
        ("53100127", "laterality_disagrees"),
        ("53100179", "laterality_disagrees"),
    }
    message = findings["53100179", "laterality_disagrees"].message
    assert message == "L in the file name and INbreast.csv#4, R in the DICOM header"
    message = findings["53100127", "laterality_disagrees"].message
    assert message == "R in the file name and the DICOM header, L in INbreast.csv#2"


# ------------------------------------------------------------------------- CBIS-DDSM and BCDR


def test_a_mask_that_the_table_lists_and_the_source_lacks(tmp_path):
    root = archive("cbis", tmp_path / "cbis")
    lost = next(root.rglob("Mass-Training_P_90001_LEFT_MLO_2"))
    shutil.rmtree(lost)
    findings = found("cbis", root)
    assert findings.keys() == {("Mass-Training_P_90001_LEFT_MLO", "finding_without_contour")}
    (one,) = findings.values()
    assert "mass 2" in one.message


def test_a_table_row_of_cbis_against_its_folder_and_header(tmp_path):
    root = archive("cbis", tmp_path / "cbis")
    table = root / "mass_case_description_test_set.csv"
    change_line(table, "P_90145,2,RIGHT,CC,", "P_90145,2,LEFT,MLO,")
    findings = found("cbis", root)
    assert findings.keys() == {
        ("Mass-Test_P_90145_RIGHT_CC", "laterality_disagrees"),
        ("Mass-Test_P_90145_RIGHT_CC", "view_disagrees"),
    }
    message = findings["Mass-Test_P_90145_RIGHT_CC", "view_disagrees"].message
    assert "CC in the folder Mass-Test_P_90145_RIGHT_CC and the DICOM header" in message
    assert "MLO in mass_case_description_test_set.csv#1" in message


def test_the_numbered_view_of_bcdr_counts_from_1(tmp_path):
    root = archive("bcdr", tmp_path / "bcdr")
    table = root / "BCDR-D01_dataset" / "bcdr_d01_outlines.csv"
    change_line(table, "7, 10, 2, patient_3/", "7, 10, 3, patient_3/")  # LCC to RO
    findings = found("bcdr", root)
    assert {code for _, code in findings} == {"laterality_disagrees", "view_disagrees"}
    message = next(one.message for (_, code), one in findings.items() if code == "view_disagrees")
    assert re.match(r"CC in .*the file name.*, MLO in bcdr_d01_outlines.csv#1$", message)


# ------------------------------------------------------------------------- any adapter

_ADAPTER = '''
"""An adapter of a user: every image has a table row, with flags of what was seen."""
from bcseg.adapters.base import Info, listed_lesions
from bcseg.record import Dots, Index, Lesion, Record

INFO = Info(name="mine", title="Mine", url="", licence="", citation="", restricted=False,
            layout="", published={})
claims = len
lesions = listed_lesions

def record(name, kinds, flags, rows=("table.csv#1",), why="flagged {}", **cells):
    found = tuple(Lesion(lesion_id=str(n), kind=kind, label="", shape=Dots(((1.0, 2.0),)),
                         source="table.csv#1") for n, kind in enumerate(kinds))
    return Record(record_id=name, image=name + ".png", lesions=found, rows=rows,
                  suspicious={kind: why.format(kind) for kind in flags}, **cells)

def index(source, options):
    return Index(records=(
        record("answered", ("cluster",), ("calcification",)),
        record("other_kind", ("mass",), ("calcification", "distortion")),
        record("anything", ("mass",), ("*",)),
        record("nothing", (), ("*",)),
        record("no_table", (), ("*",), rows=()),
        record("Mass-Test_P_00001_LEFT_CC", ("mass",), ("calcification",),
               why="the same film is Calc-Test_P_00001_LEFT_CC"),
        record("muscle", ("pectoral_muscle",), (), pathology="normal"),
        record("many", ("calcification",) * 5, (), pathology="normal", birads="1"),
    ))
'''


def test_flags_of_the_table_by_kind_for_any_adapter(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(_ADAPTER)
    root = tmp_path / "original"
    root.mkdir()
    (root / "empty.txt").touch()
    findings = clinical(str(path), open_source(root))
    assert [(one.record_id, one.code) for one in findings] == [
        ("many", "contour_on_normal"),
        ("nothing", "finding_without_contour"),
        ("other_kind", "finding_without_contour"),
        ("other_kind", "finding_without_contour"),
    ]
    assert findings[0].message == (
        "normal in the table, but calcification 0, calcification 1, calcification 2 "
        "and 2 more are drawn"
    )
    assert "flagged calcification" in findings[2].message
    text = examine(str(path), open_source(root)).text()
    assert "    3 finding_without_contour: " in text
    assert "finding  nothing     flagged *, no such contour is drawn" in text
