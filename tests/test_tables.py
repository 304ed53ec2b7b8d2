"""Tables as people save them: CSV of every dialect, sheets of workbooks old and new."""

from __future__ import annotations

import io
import random
import re
import struct
import warnings
import zipfile

import openpyxl
import pytest

from bcseg.errors import RecordError
from bcseg.formats.tables import (
    decode_text,
    normalise_header,
    read_csv,
    read_words,
    read_xls,
    read_xlsx,
)


def cells(table):
    return [row.cells for row in table.rows]


# ------------------------------------------------------------------------------ headers, text


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("Bi-Rads", "bi_rads"),
        ("Mass ", "mass"),
        ("breast density", "breast_density"),
        ("breast_density", "breast_density"),
        ("#filename", "filename"),
        ("\ufeffpatient_id", "patient_id"),
        ("Pathology Classification/ Follow up", "pathology_classification_follow_up"),
        ("Breast density (ACR)", "breast_density_(acr)"),
        ("ROI mask file path", "roi_mask_file_path"),
    ],
)
def test_headers_are_spelled_in_one_way(header, word):
    assert normalise_header(header) == word


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_text_of_every_usual_encoding(encoding):
    text = "relatório;heterogénea\n"
    assert decode_text(text.encode(encoding), "a.txt") == text


def test_bytes_that_no_encoding_has_are_text_still():
    assert decode_text(b"caf\xe9\x81", "a.txt") == "caf\xe9\x81"


def test_a_binary_file_is_no_table():
    with pytest.raises(RecordError, match="binary") as caught:
        read_csv(b"PK\x00\x00", "a.csv")
    assert (caught.value.code, caught.value.where) == ("unreadable_table", "a.csv")


# ------------------------------------------------------------------------------ CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("blank", ["", " ", "  "])
def test_delimiters_line_ends_and_blanks(delimiter, end, blank):
    lines = [["File Name", "Bi-Rads"], ["1", "4a"], ["2", "x y"]]
    text = end.join(f"{delimiter}{blank}".join(line) + blank for line in lines) + end
    table = read_csv(text.encode(), "t.csv")
    assert table.headers == ("file_name", "bi_rads")
    assert cells(table) == [
        {"file_name": "1", "bi_rads": "4a"},
        {"file_name": "2", "bi_rads": "x y"},
    ]
    assert [row.item for row in table.rows] == ["t.csv#1", "t.csv#2"]
    assert [row.damage for row in table.rows] == ["", ""]


def test_a_quoted_cell_may_follow_a_blank():
    (row,) = read_csv(b'a, b, c\n1, "x, y", 3\n', "t.csv").rows
    assert (row.raw("b"), row.raw("c"), row.damage) == ("x, y", "3", "")


def test_a_cell_of_blanks_says_nothing():
    table = read_csv(b"a;b\r\n1;" + b" " * 193 + b"\r\n", "t.csv")
    assert (table.rows[0].get("b"), table.rows[0].raw("b")) == ("", "")


def test_a_newline_within_quotes_belongs_to_the_cell_and_is_stripped_at_its_end():
    table = read_csv(b'a,b\n1,"x/y.dcm\n"\n2,"p\nq"\n', "t.csv")
    assert [row.raw("b") for row in table.rows] == ["x/y.dcm", "p\nq"]
    assert table.rows[1].item == "t.csv#2"


@pytest.mark.parametrize("text", ["", "  ", "NaN", "nan", "N/A", "none", "removed", "_", "null"])
def test_words_for_unknown(text):
    table = read_csv(f"a,b\n{text},1\n".encode(), "t.csv")
    assert table.rows[0].get("a") == ""
    assert table.rows[0].get("missing", "a", "b") == "1"


@pytest.mark.parametrize("text", ["0", "1", "4a", "no", "Negative"])
def test_words_that_say_something(text):
    assert read_csv(f"a\n{text}\n".encode(), "t.csv").rows[0].get("a") == text


def test_empty_lines_are_no_rows():
    table = read_csv(b"a,b\n\n1,2\n,\n   \n3,4\n\n", "t.csv")
    assert [(row.item, row.raw("a")) for row in table.rows] == [("t.csv#1", "1"), ("t.csv#2", "3")]


def test_a_row_with_too_many_cells_is_damaged_unless_they_are_blank():
    table = read_csv(b"a,b\n1,2,3\n4,5,\n", "t.csv")
    assert [row.damage for row in table.rows] == ["the row has 3 cells, the header 2", ""]


def test_a_row_that_was_cut_off_is_damaged():
    table = read_csv(b"a,b,c\n1,2,3\n4,5", "t.csv")
    assert [row.damage for row in table.rows] == ["", "the row has 2 cells, the header 3"]


def test_a_header_with_a_delimiter_at_its_end_needs_no_cell_for_it():
    table = read_csv(b"a,b,\n1,2\n3,4,\n", "t.csv")
    assert [row.damage for row in table.rows] == ["", ""]


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b" , \n1,2\n", b'a,b\n1,"unclosed\n2,3\n', b'a,b\n"x"y,2\n']
)
def test_what_is_no_table_is_said_to_be_none(data):
    with pytest.raises(RecordError) as caught:
        read_csv(data, "t.csv")
    assert caught.value.code == "unreadable_table"
    assert caught.value.where == "t.csv"


def test_a_cell_as_long_as_an_outline_is_read_and_one_as_long_as_a_bomb_is_not():
    assert len(read_csv(b"a,b\n1," + b"7 " * 100_000 + b"\n", "t.csv").rows[0].raw("b")) > 190_000
    with pytest.raises(RecordError, match="field larger than field limit"):
        read_csv(b"a,b\n1," + b"7" * (1 << 24) + b"7\n", "t.csv")


# ------------------------------------------------------------------------------ .xlsx


def workbook(**sheets):
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, lines in sheets.items():
        sheet = book.create_sheet(title.replace("_", " "))
        for line in lines:
            sheet.append(line)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def test_a_sheet_is_chosen_by_its_name_whatever_case_and_blanks():
    data = workbook(other=[["x"], [1]], ALL_=[["Image_name", "BIRADS"], ["P1 ", 4], ["P2", "3$2"]])
    table = read_xlsx(data, "book.xlsx", "all")
    assert table.name == "book.xlsx[all]"
    assert [row.item for row in table.rows] == ["book.xlsx[all]#1", "book.xlsx[all]#2"]
    assert cells(table) == [
        {"image_name": "P1", "birads": "4"},
        {"image_name": "P2", "birads": "3$2"},
    ]


def test_numbers_of_a_workbook_become_the_text_one_would_type():
    table = read_xlsx(workbook(all=[["a", "b", "c"], [22678622.0, 68.7781, None]]), "b.xlsx", "all")
    assert cells(table) == [{"a": "22678622", "b": "68.7781", "c": ""}]
    assert table.rows[0].damage == ""


def test_a_missing_sheet_names_those_that_are_there():
    with pytest.raises(RecordError, match=r"no sheet named 'all'.*first, second") as caught:
        read_xlsx(workbook(first=[["a"]], second=[["b"]]), "book.xlsx", "all")
    assert caught.value.code == "unreadable_table"


def test_a_workbook_that_openpyxl_warns_about_gives_no_warning():
    data = workbook(all=[["a"], [1]])
    parts = {}
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    parts["xl/styles.xml"] = (
        b'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>'
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as book:
        for name, content in parts.items():
            book.writestr(name, content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cells(read_xlsx(buffer.getvalue(), "b.xlsx", "all")) == [{"a": "1"}]
    assert caught == []


def damaged(data, number):
    """Return a file with a few wrong bytes, sometimes cut off."""
    rng = random.Random(number)
    content = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content[: rng.randrange(len(content))]) if rng.random() < 0.3 else bytes(content)


def test_a_damaged_workbook_is_an_error_that_names_it():
    data = workbook(all=[["Image_name", "Age"], *([f"P{n}", n] for n in range(40))])
    errors = []
    for number in range(300):
        try:
            read_xlsx(damaged(data, number), "book.xlsx", "all")
        except RecordError as error:
            errors.append((error.code, error.where))
    assert len(errors) > 100
    # a workbook holds the time at which it was made: where the damage hits differs from run to run,
    # and a size that it enlarges is too large
    assert {("unreadable_table", "book.xlsx")} <= set(errors)
    assert set(errors) <= {("unreadable_table", "book.xlsx"), ("too_large", "book.xlsx")}


# ------------------------------------------------------------------------------ .xls


def biff(lines):
    """Return an old Excel worksheet (BIFF 2): numbers and text."""

    def record(kind, body):
        return struct.pack("<HH", kind, len(body)) + body

    parts = [record(0x0009, struct.pack("<HH", 2, 0x10))]
    for row, line in enumerate(lines):
        for column, value in enumerate(line):
            place = struct.pack("<HH3x", row, column)
            if isinstance(value, str):
                text = value.encode("cp1252")
                parts.append(record(0x0004, place + bytes([len(text)]) + text))
            elif value is not None:
                parts.append(record(0x0003, place + struct.pack("<d", value)))
    return b"".join(parts) + record(0x000A, b"")


def test_an_old_workbook_is_read_as_text():
    data = biff([["Mass ", "File Name", "Bi-Rads"], ["X", 22678622.0, "4a"], [28.0]])
    table = read_xls(data, "INbreast.xls")
    assert cells(table) == [
        {"mass": "X", "file_name": "22678622", "bi_rads": "4a"},
        {"mass": "28", "file_name": "", "bi_rads": ""},
    ]
    assert [row.item for row in table.rows] == ["INbreast.xls#1", "INbreast.xls#2"]


def test_a_damaged_old_workbook_is_an_error_that_names_it():
    data = biff([["File Name", "Bi-Rads"], *([20_000_000.0 + n, "4a"] for n in range(20))])
    errors = []
    for number in range(300):
        try:
            read_xls(damaged(data, number), "INbreast.xls")
        except RecordError as error:
            errors.append((error.code, error.where))
    assert len(errors) > 100
    assert set(errors) == {("unreadable_table", "INbreast.xls")}


def test_without_its_package_an_old_workbook_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xlrd", None)
    with pytest.raises(RecordError, match="xlrd") as caught:
        read_xls(b"", "INbreast.xls")
    assert caught.value.code == "missing_extra"
    assert "pip install" in caught.value.hint


def test_cells_apart_by_blanks():
    data = b"Title line\nKEY A B\n\nx1 1  2\r\nx2\tonly\n* x3\nx4 1 2 3\n"
    found = read_words(data, "t.txt", ("key", "a", "b"), re.compile(r"x\d"))
    assert [(row.item, row.cells) for row in found.rows] == [
        ("t.txt#1", {"key": "x1", "a": "1", "b": "2"}),
        ("t.txt#2", {"key": "x2", "a": "only"}),
        ("t.txt#3", {"key": "x4", "a": "1", "b": "2"}),
    ]
    assert found.rows[1].raw("b") == ""
