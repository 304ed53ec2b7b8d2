"""The closed ledger: every item ends once, and the numbers add up or the run fails."""

from __future__ import annotations

import itertools

import pytest

from bcseg.ledger import Ledger, LedgerError, file_of, unprocessed_items
from bcseg.record import Failed, Index, LeftOut, Lesion, Polygon, Raster, Record


def outline(source: str, lesion_id: str = "1") -> Lesion:
    shape = Polygon(((1.0, 1.0), (5.0, 1.0), (5.0, 9.0)))
    return Lesion(lesion_id=lesion_id, kind="mass", label="", shape=shape, source=source)


def masked(*files: str) -> Lesion:
    return Lesion(lesion_id="1", kind="mass", label="", shape=Raster(files), source=files[0])


def record(**more: object) -> Record:
    return Record(**{"record_id": "r1", "image": "1.dcm"} | more)


# ------------------------------------------------------------------------------ counting


def test_items_are_counted_by_sort_and_fate():
    ledger = Ledger()
    ledger.add(
        [
            ("image", "1.dcm", "written", ""),
            ("image", "2.dcm", "failed", "truncated"),
            ("image", "3.dcm", "left_out", "no_lesion"),
            ("image", "4.dcm", "left_out", "no_lesion"),
            ("contour", "t.csv#1", "written", ""),
        ]
    )
    assert ledger.counts() == {
        "images": {"found": 4, "written": 1, "left_out": 2, "failed": 1},
        "contours": {"found": 1, "written": 1, "left_out": 0, "failed": 0},
    }
    assert ledger.reasons() == {
        "images": {"left_out": {"no_lesion": 2}, "failed": {"truncated": 1}}
    }


def test_an_item_of_several_records_ends_once_at_its_best():
    """An image with three annotators; a file that one record uses and another does not."""
    fates = [("left_out", "other_annotator"), ("written", ""), ("failed", "truncated")]
    for order in itertools.permutations(fates):
        ledger = Ledger()
        for sort, (fate, code) in zip(("mask", "file", "mask"), order, strict=True):
            ledger.add([(sort, "1.png", fate, code)])
        counts = list(ledger.counts().values())
        assert counts == [{"found": 1, "written": 1, "left_out": 0, "failed": 0}]


# ------------------------------------------------------------------------------ closing


def closed(ledger: Ledger, names: list[str], tables: dict[str, int] | None = None) -> list[str]:
    return ledger.close(names, tables or {})


def test_files_that_nobody_claims_are_unknown():
    ledger = Ledger()
    ledger.add([("image", "1.dcm", "written", ""), ("contour", "1.xml#0", "written", "")])
    assert closed(ledger, ["1.dcm", "1.xml", "Thumbs.db"]) == ["Thumbs.db"]
    assert ledger.names("unknown_file") == ["Thumbs.db"]
    assert ledger.counts()["other files"]["left_out"] == 1


@pytest.mark.parametrize("name", ["a#1.dcm", "a#b/c.dcm", "scan [2].dcm", "b[1]", "#1"])
def test_names_may_hold_the_signs_of_rows_and_sheets(name):
    ledger = Ledger()
    ledger.add([("image", name, "written", "")])
    assert closed(ledger, [name]) == []


def test_rows_of_a_sheet_claim_their_workbook():
    ledger = Ledger()
    ledger.add([("row", "book.xlsx[all]#1", "written", "")])
    assert closed(ledger, ["book.xlsx"], {"book.xlsx[all]": 1}) == []
    assert file_of("book.xlsx[all]#1") == "book.xlsx"
    assert file_of("a/t.csv#12") == "a/t.csv"
    assert file_of("a/t.csv") == "a/t.csv"
    assert file_of("scan [2]") == "scan [2]"


def test_a_row_that_nobody_claims_fails_the_run():
    ledger = Ledger()
    ledger.add([("row", "t.csv#1", "written", ""), ("row", "t.csv#3", "failed", "orphan_row")])
    with pytest.raises(LedgerError, match=r"1 table rows are unaccounted for \(first: t.csv#2\)"):
        closed(ledger, ["t.csv"], {"t.csv": 3})
    assert LedgerError("").exit_code == 1


def test_what_belongs_to_no_record_is_entered():
    index = Index(
        records=(),
        documents=("readme.txt",),
        left_out=(
            LeftOut("duplicate_contour", "again", ("t.csv#1",), what="contour"),
            LeftOut("duplicate_image", "again", ("2.TIF",)),
        ),
        failed=(Failed("unreadable_row", "?", ("t.csv#2",)),),
    )
    ledger = Ledger()
    ledger.add_index(index, [("link", "link_out_of_source"), ("Icon", "unsafe_name")])
    names = ["readme.txt", "2.TIF", "t.csv"]
    assert closed(ledger, names, {"t.csv": 2}) == []
    assert ledger.counts() == {
        "images": {"found": 1, "written": 0, "left_out": 1, "failed": 0},
        "contours": {"found": 1, "written": 0, "left_out": 1, "failed": 0},
        "table rows": {"found": 1, "written": 0, "left_out": 0, "failed": 1},
        "other files": {"found": 3, "written": 0, "left_out": 2, "failed": 1},
    }
    assert ledger.is_left_out("2.TIF")
    assert not ledger.is_left_out("t.csv#2")
    assert not ledger.is_left_out("nothing")


# ------------------------------------------------------------------------------ unprocessed


def test_items_of_a_record_that_was_not_reached():
    one = record(
        annotations=("1.xml",),
        rows=("t.csv#4",),
        others=(("1_crop.png", "cropped_image"),),
        lesions=(outline("u.csv#7"), masked("m1.png", "m2.png"), outline("t.csv#4")),
    )
    assert unprocessed_items(one, "failed", "not_reached") == [
        ("image", "1.dcm", "failed", "not_reached"),
        ("row", "t.csv#4", "failed", "not_reached"),
        ("file", "1_crop.png", "left_out", "cropped_image"),
        ("contour", "1.xml", "failed", "not_reached"),
        ("contour", "u.csv#7", "failed", "not_reached"),
        ("mask", "m1.png", "failed", "not_reached"),
        ("mask", "m2.png", "failed", "not_reached"),
    ]


def test_a_record_without_image_has_no_item_for_it():
    items = unprocessed_items(record(image="", lesions=(outline("u.csv#7"),)), "left_out", "limit")
    assert items == [("contour", "u.csv#7", "left_out", "limit")]
