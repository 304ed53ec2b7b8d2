"""What became of a file, an id or a UID."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.why import Answer, answers
from test_select import BCDR, CBIS, CDD, INBREAST, Archive, Case, archives, build_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = archives()
    csaw = next(one for one in chosen if one.dataset == "csaw")
    csaw.cases[1].lesions = (
        ("cancer", True, "CsawS/test_data/annotator_1/011/011_1_cancer.png"),
        ("calcifications", False, "CsawS/test_data/annotator_1/011/011_1_calcifications.png"),
    )
    csaw.left_out += [
        (
            "test_011_1",
            "other_annotator",
            "6 files",
            "CsawS/test_data/annotator_2/011/011_1_skin.png",
        ),
        ("test_012_0", "other_annotator", "3 files", "CsawS/annotator_2/012/012_0_skin.png"),
    ]
    root = build_root(tmp_path_factory.mktemp("why") / "data", chosen)
    items = [
        ["file", "CsawS/test_data/annotator_3/011/011_1_text.png", "left_out", "other_annotator"],
        ["image", "CsawS/test_data/anonymized_dataset/011/011_1.png", "written", ""],
    ]
    journal = (
        f'{{"identity": {{}}}}\n{json.dumps({"id": "test_011_1", "items": items})}\n{{"id": "t'
    )
    (root / "csaw/.journal.jsonl").write_text(journal)
    return root


def ask(root: Path, word: str) -> list[Answer]:
    return answers(pairs.open_root(root), word)


WRITTEN = [
    ("20588334", "20588334"),
    ("inbreast_20588334", "20588334"),
    ("INBREAST_20588334", "20588334"),
    ("1.2.840.20588334", "20588334"),
    ("20588334.xml", "20588334"),
    ("AllXML/20588334.xml", "20588334"),
    ("INbreast Release 1.0/AllXML/20588334.xml#1", "20588334"),
    ("/mnt/original/INbreast Release 1.0/AllXML/20588334.xml", "20588334"),
    (f"AllDICOMs/{INBREAST}.dcm", "20586908"),
    (f"{INBREAST}.dcm", "20586908"),
    (INBREAST, "20586908"),
    (f"{INBREAST.lower()}.DCM", "20586908"),
    (f"{INBREAST}___PRE.png", "20586908"),
    ("images/20588334.png", "20588334"),
    ("inbreast/masks/20588334.png", "20588334"),
    ("inbreast/lesions/20588334/1-mass.png", "20588334"),
    ("full images-1/1-1.dcm", CBIS),
    (f"{CBIS}_1/x/1-1.dcm", CBIS),
    (f"{CBIS}_MASK_1___PRE.png", CBIS),
    (f"{CBIS}_1", CBIS),
    (f"cbis_{CBIS}_1".lower(), CBIS),
    ("10-04-2016-DDSM-1", CBIS),
    (f"{CDD}_MASK.jpg", CDD),
    ("patient_105/study_143/img_105_143_1_RCC.tif", BCDR),
    ("011_1_cancer.png", "test_011_1"),
]


@pytest.mark.parametrize(("word", "record_id"), WRITTEN)
def test_all_that_leads_to_a_written_record(root: Path, word: str, record_id: str) -> None:
    found = ask(root, word)
    assert [(one.fate, one.record_id, one.file) for one in found] == [("written", record_id, "")]


def test_a_full_path_of_the_pairs_folder(root: Path) -> None:
    (answer,) = ask(root, str(root / "inbreast" / "masks" / "20588334.png"))
    assert answer.record_id == "20588334"


def test_a_written_record_with_all_that_belongs_to_it(root: Path) -> None:
    (answer,) = ask(root, "20588334")
    assert (answer.image, answer.mask) == ("images/20588334.png", "masks/20588334.png")
    assert answer.source_image.endswith("20588334_493155e17143edef_MG_L_ML_ANON.dcm")
    assert answer.sources == ("INbreast Release 1.0/AllXML/20588334.xml",)
    lesions = [(one["lesion_id"], one["kind"], one["in_mask"]) for one in answer.lesions]
    assert lesions == [("0", "mass", "1"), ("1", "mass", "1"), ("2", "mass", "0")]
    assert answer.warnings == (("lesion_clipped", "mass 1: 9 pixels"),)
    assert json.loads(json.dumps(answer.document()))["lesions"][2]["in_mask"] == "0"


def test_the_text_is_short_and_tells_it(root: Path) -> None:
    (answer,) = ask(root, "20588334")
    lines = answer.text().splitlines()
    assert lines[0] == "inbreast 20588334: written"
    assert "  mask     masks/20588334.png" in lines
    assert "  lesions  2 of 3 in the mask" in lines
    assert sum("not in the mask" in line for line in lines) == 1
    assert lines[-1] == "  warning  mass 1: 9 pixels [lesion_clipped]"
    assert len(lines) < 14


@pytest.mark.parametrize(
    ("word", "fate", "record_id", "code"),
    [
        ("22614097", "left_out", "22614097", "no_lesion"),
        ("22614097_x.dcm", "left_out", "22614097", "no_lesion"),
        ("22614097___PRE.png", "left_out", "22614097", "no_lesion"),
        ("P153_R_CM_MLO.jpg", "left_out", "P153_R_CM_MLO", "image_type_not_chosen"),
        ("test_012_0", "left_out", "test_012_0", "no_lesion"),
        ("24055445", "failed", "24055445", "no_contour"),
        ("AllXML/24055445.xml", "failed", "24055445", "no_contour"),
    ],
)
def test_records_that_were_not_written(
    root: Path, word: str, fate: str, record_id: str, code: str
) -> None:
    (answer,) = ask(root, word)
    assert (answer.fate, answer.record_id, answer.code) == (fate, record_id, code)
    assert answer.text().splitlines()[0].endswith(f"{answer.message} [{code}]")
    assert (answer.image, answer.lesions) == ("", ())


@pytest.mark.parametrize(
    ("word", "fate", "record_id", "code"),
    [
        # files with a fate of their own
        ("20588334.roi", "left_out", "", "same_contours_binary"),
        ("AllDICOMs/link.dcm", "warning", "", "link_outside"),
        ("AllXML/20588334.xml#2", "left_out", "20588334", "kind_not_chosen"),
        ("011_1_calcifications.png", "left_out", "test_011_1", "kind_not_chosen"),
        ("annotator_2/011/011_1_skin.png", "left_out", "test_011_1", "other_annotator"),
        ("annotator_2/012/012_0_skin.png", "left_out", "test_012_0", "other_annotator"),
        # a file that left_out.csv only counts: the journal knows it
        ("011_1_text.png", "left_out", "test_011_1", "other_annotator"),
    ],
)
def test_files_with_a_fate_of_their_own(
    root: Path, word: str, fate: str, record_id: str, code: str
) -> None:
    (answer,) = ask(root, word)
    assert (answer.fate, answer.record_id, answer.code) == (fate, record_id, code)
    assert answer.file.endswith(word.rsplit("/", 1)[-1])
    assert answer.file in answer.text()


def test_one_name_in_several_places_gets_several_answers(root: Path) -> None:
    found = ask(root, "012_0.png")
    assert [(one.record_id, one.fate) for one in found] == [
        ("test_012_0", "left_out"),
        ("train_012_0", "written"),
    ]


def test_a_table_answers_for_its_records_and_a_row_for_one(tmp_path: Path) -> None:
    lesions = (("5", True, "t/outlines.csv#5"), ("6", True, "t/outlines.csv#6"))
    cases = [
        Case("a", "i/a.tif", lesions),
        Case("b", "i/b.tif", (("7", True, "t/outlines.csv#7"),)),
    ]
    left_out = [("", "duplicate_contour", "drawn twice", "t/outlines.csv#8")]
    root = build_root(tmp_path / "data", [Archive("bcdr", cases, left_out)])
    assert [one.record_id for one in ask(root, "outlines.csv")] == ["", "a", "b"]
    (answer,) = ask(root, "outlines.csv#6")
    assert (answer.record_id, answer.fate) == ("a", "written")
    (answer,) = ask(root, "outlines.csv#8")
    assert (answer.fate, answer.code) == ("left_out", "duplicate_contour")


def test_a_written_pair_whose_source_is_gone_is_still_written(tmp_path: Path) -> None:
    problems = [("a", "failed", "source_gone", "its source is not there any more", "i/a.tif")]
    root = build_root(tmp_path / "data", [Archive("bcdr", [Case("a", "i/a.tif")], [], problems)])
    (answer,) = ask(root, "a")
    assert answer.fate == "written"
    assert answer.warnings == (("source_gone", "its source is not there any more"),)


def test_too_many_answers_ask_for_more(tmp_path: Path) -> None:
    cases = [Case(f"case{n}", f"series{n}/1-1.dcm") for n in range(30)]
    root = build_root(tmp_path / "data", [Archive("cbis", cases)])
    with pytest.raises(UsageError, match=r"'1-1\.dcm' names 30 things"):
        ask(root, "1-1.dcm")
    assert [one.record_id for one in ask(root, "series7/1-1.dcm")] == ["case7"]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("20588335", "20588334"),
        ("P153_R_DM_MLX.jpg", "P153_R_DM_MLO.jpg"),
        ("mass-test_p_00194_right_cx_FULL___PRE.png", CBIS),
        ("1.2.840.20588335", "1.2.840.20588334"),
    ],
)
def test_nothing_found_names_what_is_near(root: Path, word: str, near: str) -> None:
    with pytest.raises(UsageError, match="nothing here is called") as caught:
        ask(root, word)
    assert near in caught.value.hint


@pytest.mark.parametrize("word", ["", "/", "zzzz"])
def test_words_that_mean_nothing(root: Path, word: str) -> None:
    with pytest.raises(UsageError, match="nothing here is called") as caught:
        ask(root, word)
    assert "record id" in caught.value.hint


def test_one_of_several_counted_files_is_not_said_to_be_several(root: Path) -> None:
    (answer,) = ask(root, "CsawS/test_data/annotator_2/011/011_1_skin.png")
    assert (answer.fate, answer.code) == ("left_out", "other_annotator")
    assert answer.message == "other annotator"
    assert "files" not in answer.text()
