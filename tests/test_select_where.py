"""`bcseg select --where`, `--top`, `--per-patient`: what an expression means, what is chosen."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from archives import document, rows
from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder
from bcseg.scores.table import COLUMNS, DIRECTIONS, KEYS, SCORES, table_bytes
from bcseg.select import Selecting, select_pairs
from small_root import Root

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def few(tmp_path: Path) -> Root:
    """Records a to f: see the cells."""
    root = Root(tmp_path)
    root.record("a", {"flags": "oval", "edge_offset_abs": "0.05", "area_px": "100"}, density="1")
    root.record("b", {"flags": "", "edge_offset_abs": "0.07", "area_px": "200"}, density="2")
    root.record("c", {"flags": "drawn_oval", "edge_offset_abs": "0.2"}, density="3", birads="4a")
    root.record("d", {"flags": "parts", "edge_offset_abs": "", "parts": "3"}, pathology="benign")
    root.record(
        "e",
        {"flags": "oval", "edge_offset_abs": "0.01", "kind": "cluster", "parts": "1"},
        {"flags": "", "edge_offset_abs": "0.02", "parts": "1"},
        pathology="malignant",
        birads="5",
    )
    root.record("f", density="4", notes="a note", kinds="")
    root.write()
    return root


# what is kept, by expression
MEANINGS = [
    ("not oval and edge_offset_abs < 0.08", "b"),
    ("oval", "a"),
    ("oval or drawn_oval", "ac"),
    ("not (oval or drawn_oval)", "bdf"),
    ("edge_offset_abs < 0.08", "abe"),
    ("0.06 <= edge_offset_abs < 0.3", "bc"),
    ("edge_offset_abs * 2 + 0.1 > 0.2 - -0.2", "c"),
    ("abs(edge_offset_abs - 0.07) < 1e-9", "b"),
    ("edge_offset_abs / 0 > 0 or density == 1", "a"),
    # an unknown value: no comparison holds, so "not" of it does
    ("edge_offset_abs >= 0", "abce"),
    ("not edge_offset_abs >= 0", "df"),
    ("edge_offset_abs != 0.05", "bce"),
    ("edge_offset_abs is unknown", "df"),
    ("edge_offset_abs is not None", "abce"),
    ("density is unknown and not oval", "d"),
    ("density not in (1, 2)", "cf"),
    ("density in (1, 2)", "ab"),
    ("density in ['1', '4']", "af"),
    ("density == 1.0", "a"),
    ("density == '1'", "a"),
    ("density < 3", "ab"),
    ("birads == 4", "c"),
    ("birads == '4a'", "c"),
    ("birads >= 4", "ce"),
    ("pathology == 'malignant'", "e"),
    ("pathology != 'malignant'", "d"),
    ("record_id in ('a', 'f')", "af"),
    ("record_id == 'f'", "f"),
    # alone a flag, compared a column
    ("parts", "d"),
    ("parts == 1", "e"),
    ("'oval' in flags", "a"),
    ("'oval' not in flags", "bcd"),
    ("flags == ''", "b"),
    ("'note' in notes", "f"),
    ("notes == ''", "abcde"),
    ("kind == 'mass'", "abcd"),
    ("lesion.kind == 'mass' and lesion.area_px == 200", "b"),
    ("lesions.area_px == 200", "b"),
    ("record.density == 2", "b"),
    ("score.edge_offset_abs == 0.2", "c"),
    ("n_lesions == 0", "f"),
    ("\n  not oval\n and\tdensity==2 ", "b"),
    ("density < lesion.area_px", "ab"),
]


@pytest.mark.parametrize(("where", "kept"), MEANINGS)
def test_an_expression_keeps_what_it_says(few: Root, where: str, kept: str) -> None:
    assert "".join(few.ids(where=where)) == kept


@pytest.mark.parametrize(("where", "kept"), [("oval", "ae"), ("edge_offset_abs > 0.015", "abce")])
def test_any_lesion_is_enough_with_any(few: Root, where: str, kept: str) -> None:
    assert "".join(few.ids(where=where, any=True)) == kept
    assert few.select(where=where, any=True).datasets[0].ignored_lesions == 0


def test_the_lesions_at_fault_are_named(few: Root) -> None:
    few.select(where="not oval")
    assert few.left_out()["e"] == ("where_failed", "does not pass --where: lesion 0")


MEANINGLESS = [
    ("not ovl", "'ovl' is no column and no flag: do you mean oval?", 5),
    ("edge_ofset_abs < 1", "do you mean edge_offset_abs", 1),
    ("lesion.kindd == 'a'", "no column of lesion is called 'kindd': do you mean kind?", 1),
    ("kind == mass", "'mass' is no column", 9),
    ("é == 1", "'é' is no column", 1),
    ("record_id == 'é' and ovl", "do you mean oval?", 22),
    ("density", "density is a column and no flag", 1),
    ("oval == 1", "oval is a flag: it stands alone", 1),
    ("oval == True", "oval is a flag", 1),
    ("density == True", "a flag is asked for by its name", 12),
    ("density = 1", "'=' has no meaning here: write '=='", 9),
    ("oval && parts", "write 'and'", 6),
    ("!oval", "write 'not'", 1),
    ("density <> 1", "write '!='", 9),
    ("(oval", "was never closed", 1),
    ("'abc", "a quote is not closed", 1),
    ("oval parts", "not understood", 6),
    ("density == ''", "an empty cell is unknown", 12),
    ("density == unknown", "is unknown, is not unknown", 12),
    ("density is 3", "asks for an unknown value only", 12),
    ("3 is unknown", "only a column can be unknown", 1),
    ("flags is unknown", "never unknown", 1),
    ("density < '3'", "'3' is text and has no order: take the quotes away", 11),
    ("'ovall' in flags", "no flag is called 'ovall': do you mean oval?", 1),
    ("flags == 'ovall'", "no flag is called 'ovall'", 10),
    ("density + 1", "is a value and no condition", 1),
    ("5", "is a value and no condition", 1),
    ("density + 'a' > 1", "is text: it cannot be computed with", 11),
    ("density + 1 == 'a'", "a number is compared with text", 16),
    ("density in 3", "after 'in' stands a list", 12),
    ("density in ()", "the list is empty", 12),
    ("density in (birads, 2)", "numbers and quoted text only", 13),
    ("(oval and parts) == 1", "a condition stands where a value should", 2),
    ("density ** 9 > 1", "this has no meaning here", 1),
    ("density == 1e999", "the number is too large", 12),
    ("__import__('os').system('x')", "the only function is abs(x)", 1),
    ("abs(density, 2) > 1", "the only function is abs(x)", 1),
    ("record_id.__class__ == 1", "is no column", 1),
    ("[x for x in density] == 1", "this has no meaning here", 1),
    ("(lambda: 1)() == 1", "the only function is abs(x)", 1),
    ("f'{density}' == 'a'", "this has no meaning here", 1),
    ("(density := 3) == 3", "this has no meaning here", 2),
    ("b'a' == density", "this has no meaning here", 1),
    ("density[0] == 1", "this has no meaning here", 1),
    ("oval if parts else holes", "this has no meaning here", 1),
]


@pytest.mark.parametrize(("where", "message", "place"), MEANINGLESS)
def test_what_has_no_meaning_is_refused_with_its_place(
    few: Root, where: str, message: str, place: int
) -> None:
    told = few.refuse(where=where)
    assert message in told
    assert f"(at character {place})" in told
    expression, mark = told.splitlines()[1:3]
    assert mark.index("^") - 4 == place - 1
    assert expression.strip() == where


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("oval or " * 300 + "oval", "longer than 2,000 characters"),
        ("not " * 60 + "oval", "nested more than 40 levels"),
        ("(" * 900 + "oval" + ")" * 900, "--where"),
        ("oval\0", "--where"),
        ("   ", "--where is empty"),
    ],
    ids=["long", "deep", "brackets", "null", "blank"],
)
def test_an_expression_has_bounds(few: Root, where: str, message: str) -> None:
    assert message in few.refuse(where=where)


def test_text_that_no_cell_is_and_cells_that_are_no_number_are_told(few: Root) -> None:
    result = few.select(where="pathology != 'Malignant' or density > 0")
    assert "no pathology here is 'Malignant': do you mean 'malignant'?" in result.warnings
    few.records[0]["density"] = "B"
    few.write()
    result = few.select(where="density >= 2")
    assert "density: 'B' is no number and counts as unknown" in result.warnings
    assert "holds text ('benign', 'malignant') and no number" in few.refuse(where="pathology > 1")


def test_unknown_values_are_counted(few: Root) -> None:
    notes = few.select(where="edge_offset_abs < 1").notes
    assert notes == (
        "edge_offset_abs is unknown for 2 of 7 lesions of mine: no comparison with it holds there",
    )
    assert few.select(where="edge_offset_abs is unknown or density is unknown").notes == ()


# ------------------------------------------------------------------------------ scores


def test_a_root_that_was_never_scored(few: Root) -> None:
    (few.folder / SCORES).unlink()
    message = few.refuse(where="not oval and precision_rank > 0.5")
    assert "(oval, precision_rank):\n    mine was never scored" in message
    assert f"try: bcseg score {few.root}" in message
    assert "precision_rank" in few.refuse(top=2)
    assert few.ids(where="density == 2") == ["b"]
    assert few.ids(per_patient=1) == list("abcdef")


def test_stale_scores_are_refused(few: Root) -> None:
    few.records[1]["annotation_sha256"] = "b" * 64
    few.write()
    message = few.refuse(where="not oval")
    assert "1 of 6 lesions of mine changed their contour since they were scored: b 0" in message
    assert "bcseg score" in message
    few.scores = [row for row in few.scores if row["record_id"] != "e"]
    few.write()
    message = few.refuse(top=1)
    assert "3 of 6 lesions of mine have no score, or changed their contour" in message
    assert "b 0, e 0, e 1" in message


def test_scores_of_what_the_manifest_leaves_out_are_not_asked_for(
    few: Root, tmp_path: Path
) -> None:
    few.scores = [row for row in few.scores if row["record_id"] != "e"]
    few.write()
    manifest = tmp_path / "m.csv"
    manifest.write_text("record_id\na\nb\n")
    select_pairs(few.root, manifest, few.to, Selecting(where="not oval"))
    assert [row["record_id"] for row in rows(few.to / "mine", pairs.RECORDS)] == ["b"]
    assert few.left_out()["a"][0] == "where_failed"
    assert few.left_out()["e"][0] == "not_selected"


# ------------------------------------------------------------------------------ top, per patient


@pytest.fixture
def ranked(tmp_path: Path) -> Root:
    """Records a to f of three known patients and one unknown, by precision_rank."""
    root = Root(tmp_path)
    cells = [
        ("a", "p1", ["0.5"], "0.1"),
        ("b", "p1", ["0.9"], "0.2"),
        ("c", "p2", ["0.9", "0.1"], "0.3"),  # as good as its worst lesion
        ("d", "", ["0.7"], ""),
        ("e", "", ["0.8"], "0.05"),
        ("f", "p3", ["0.9"], "0.4"),
    ]
    for record_id, patient, ranks, offset in cells:
        lesions = [{"precision_rank": rank, "edge_offset_abs": offset} for rank in ranks]
        group = f"mine:{patient}" if patient else ""
        root.record(record_id, *lesions, group=group, mask_area_mm2=offset)
    root.write()
    return root


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({"top": 1}, "b"),  # equal ranks: by id
        ({"top": 2}, "bf"),
        ({"top": 4}, "bdef"),
        ({"top": 99}, "abcdef"),
        ({"top": 1, "by": "edge_offset_abs"}, "e"),  # here a small value is the better
        ({"top": 1, "by": "+edge_offset_abs"}, "f"),
        ({"top": 1, "by": "-precision_rank"}, "c"),
        ({"top": 5, "by": "edge_offset_abs"}, "abcef"),  # the unknown one is last
        ({"top": 2, "by": "-mask_area_mm2"}, "ae"),
        ({"per_patient": 1}, "acdef"),
        ({"per_patient": 1, "by": "precision_rank"}, "bcdef"),
        ({"per_patient": 2}, "abcdef"),
        ({"per_patient": 1, "top": 2}, "bf"),
        ({"per_patient": 1, "top": 3, "by": "edge_offset_abs"}, "ace"),  # b is no match for a
        ({"where": "precision_rank < 0.85", "per_patient": 1}, "ade"),
        ({"where": "precision_rank < 0.85", "top": 1}, "e"),
    ],
    ids=str,
)
def test_the_best_are_taken(ranked: Root, how: dict[str, object], kept: str) -> None:
    assert "".join(ranked.ids(**how)) == kept


def test_places_and_unknowns_are_told(ranked: Root) -> None:
    result = ranked.select(top=2, per_patient=1, by="edge_offset_abs")
    assert ranked.left_out()["b"][0] == "beyond_per_patient"
    assert ranked.left_out()["d"] == ("beyond_top", "beyond --top: place 5 of 5 by edge_offset_abs")
    assert result.warnings[:2] == (
        "edge_offset_abs of 1 pair of mine is unknown: ranked last",
        "the patient of 2 pairs of mine is unknown: each counts as a patient of its own",
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"top": 1, "by": "precison_rank"}, "do you mean precision_rank"),
        ({"top": 1, "by": "oval"}, "oval is a flag, and flags have no order"),
        ({"top": 1, "by": "edge_offset"}, "try: --by=+edge_offset for the largest first"),
        ({"top": 1, "by": "+record_id"}, "record_id holds text ('a', 'b', 'c', ...)"),
        ({"by": "contrast", "where": "oval"}, "--by does nothing without --top or --per-patient"),
        ({"any": True, "top": 1}, "--any does nothing without --where"),
        ({"ignore_rejected": True, "top": 1}, "--ignore-rejected does nothing without"),
        ({}, "nothing says what to select"),
        ({"where": "precision_rank > 5"}, "the choice selects nothing: 6 where_failed"),
    ],
    ids=str,
)
def test_senseless_options_are_refused(ranked: Root, how: dict[str, object], message: str) -> None:
    assert message in ranked.refuse(**how)


def test_the_order_does_not_depend_on_the_order_of_the_tables(ranked: Root) -> None:
    first = ranked.ids(top=3, per_patient=1)
    ranked.records.reverse()
    ranked.scores.reverse()
    ranked.write()
    assert sorted(ranked.ids(top=3, per_patient=1)) == first


def test_directions_are_those_of_the_documentation() -> None:
    text = (REPOSITORY / "docs/scores.md").read_text(encoding="utf-8")
    signs: dict[str, float] = {}
    for line in text[: text.index("### Flags")].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        sign = next((cell for cell in cells[1:] if cell in ("+", "-")), "")
        for name in re.findall(r"`(\w+)`", cells[0]) if line.startswith("|") else ():
            assert name in COLUMNS
            if sign:
                signs[name] = 1.0 if sign == "+" else -1.0
    ranks = dict.fromkeys(("shape_rank", "image_rank", "precision_rank"), 1.0)
    assert signs | ranks == DIRECTIONS
    assert not DIRECTIONS.keys() & {*KEYS, "flags"}


# ------------------------------------------------------------------------------ what is written


def test_what_was_chosen_by_is_recorded(few: Root) -> None:
    few.select(where="not oval", per_patient=2)
    criteria = {"where": "not oval", "per_patient": 2}
    assert document(few.to / "mine")["selection"]["criteria"] == criteria
    assert json.loads((few.to / "selection.json").read_text())["identity"]["criteria"] == criteria
    with (few.to / "selection.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["record_id"], row["decision"], row["taken"]) for row in table] == [
        (record_id, "accept", "1") for record_id in "bcdf"
    ]


def test_the_written_table_selects_the_same_pairs(few: Root, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("record_id,decision,who\na,accept,me\nb,accept,me\nc,reject,me\n")
    select_pairs(few.root, manifest, few.to, Selecting(where="not oval"))
    again = tmp_path / "again"
    table = few.to / "selection.csv"
    with table.open(newline="") as file:
        found = {row["record_id"]: row for row in csv.DictReader(file)}
    assert (found["a"]["decision"], found["a"]["decision_given"]) == ("", "accept")
    assert (found["c"]["decision"], found["c"]["decision_given"]) == ("reject", "reject")
    assert found["b"]["who"] == "me"
    select_pairs(few.root, table, again, Selecting())
    assert [row["record_id"] for row in rows(again / "mine", pairs.RECORDS)] == ["b"]


def test_other_criteria_or_scores_are_another_selection(few: Root) -> None:
    how = {"where": "not oval"}
    assert few.select(**how).fresh
    assert not select_pairs(few.root, None, few.to, Selecting(**how)).fresh
    with pytest.raises(UsageError, match="another selection is there"):
        select_pairs(few.root, None, few.to, Selecting(where="oval"))
    few.scores[1]["flags"] = "oval"
    (few.folder / SCORES).write_bytes(table_bytes(few.scores))
    with pytest.raises(UsageError, match="another selection is there"):
        select_pairs(few.root, None, few.to, Selecting(**how))
    assert select_pairs(few.root, None, few.to, Selecting(**how, redo=True)).fresh


def test_a_selection_of_a_selection(few: Root, tmp_path: Path) -> None:
    few.select(where="not oval")
    again = tmp_path / "again"
    select_pairs(few.to, None, again, Selecting(where="edge_offset_abs < 0.1"))
    assert [row["record_id"] for row in PairsFolder(again / "mine").rows(pairs.RECORDS)] == ["b"]
    assert document(again / "mine")["selection"]["earlier"]["criteria"] == {"where": "not oval"}


# ------------------------------------------------------------------------------ command line


def test_the_command_line_warns_of_a_shift(few: Root, run) -> None:
    args = ("select", few.root, "--where", "not oval", "-o", few.to)
    code, out, err = run(*args)
    assert code == 0
    assert out.startswith("4 of 6 pairs taken into")
    assert "left out: 2 where_failed" in out
    assert "warning: the selection shifts pathology by more than 10 points" in err
    code, out, err = run(*args, "--json")
    told = json.loads(out)
    assert any("shifts pathology" in warning for warning in told["warnings"])
    assert told["criteria"] == {"where": "not oval"}
    assert (told["fresh"], told["pairs"]) == (False, 4)


def test_the_command_line_takes_all_options_together(few: Root, run) -> None:
    few.records = [row | {"group": "mine:p"} for row in few.records]
    few.write()
    code, out, _ = run(
        *("select", few.root, "-w", "edge_offset_abs is not unknown", "--any"),
        *("--per-patient", 2, "--top", 1, "--by", "edge_offset_abs", "-o", few.to, "--json"),
    )
    assert code == 0
    assert json.loads(out)["datasets"][0]["left_out"] == {
        "where_failed": 2,
        "beyond_per_patient": 2,
        "beyond_top": 1,
    }
    assert [row["record_id"] for row in rows(few.to / "mine", pairs.RECORDS)] == ["e"]
    assert run("select", few.root, "--top", 0, "-o", few.to)[0] == 2
    assert run("select", few.root, "--where", "ovl", "-o", few.to)[0] == 2
