"""Review: decisions that last, an order, agreement, and a server that lets nobody else in."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from archives import bcseg, finished, pixels, rows
from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.raster import patch_of
from bcseg.review import decisions, images, listing, session, settings
from bcseg.review.agreement import Judgement, cohen_kappa, compare, compare_files, kappa_interval
from bcseg.review.decisions import Decisions
from bcseg.review.entries import Entry, plain_text
from bcseg.review.settings import Reviewing
from bcseg.review.table import COLUMNS
from bcseg.store import OutputError
from reviewing import make_root, serving

PAGE = Path(session.__file__).parent / "page"
pytest.importorskip("uvicorn", reason="the extra `review` is not installed")
pytest.importorskip("starlette", reason="the extra `review` is not installed")


def entry(record_id: str = "r1", decision: str = "accept", **more) -> Entry:
    return Entry(
        number=0, **({"dataset": "d", "record_id": record_id, "decision": decision} | more)
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def words(path: Path) -> dict[str, str]:
    return {row["record_id"] + row["lesion_id"]: row["decision"] for row in table(path)}


# ------------------------------------------------------------------------------ decisions


def test_a_decision_is_in_journal_and_table_at_once(tmp_path):
    path = tmp_path / "reviews" / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(
            entry(decision="reject", reason="oval", seconds=2.25, annotation_sha256="ff")
        )
        (row,) = table(path)
        journal = (tmp_path / "reviews" / "ann.journal.jsonl").read_text().splitlines()
    assert tuple(row) == COLUMNS
    assert (row["decision"], row["reason"], row["reviewer"]) == ("reject", "oval", "ann")
    assert (row["annotation_sha256"], row["seconds"]) == ("ff", "2.2")
    assert json.loads(journal[0])["reviewer"] == "ann"
    assert json.loads(journal[1])["decision"] == "reject"


def test_later_decisions_replace_and_undo_brings_back(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry(decision="accept"))
        second = open_table.add(entry(decision="reject"))
        assert words(path) == {"r1": "reject"}
        open_table.add(Entry(number=0, undo=second.number))
        assert words(path) == {"r1": "accept"}
        open_table.add(Entry(number=0, undo=1))
        assert words(path) == {}


def test_the_same_message_twice_is_one_decision(tmp_path):
    with Decisions(tmp_path / "ann.csv", "ann") as open_table:
        first = open_table.add(entry(mark="0123456789"))
        assert open_table.add(entry(mark="0123456789")) == first
        assert len(open_table.since(0)) == 1


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_cut_off_and_the_rest_stays(tmp_path, cut):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        for number in range(3):
            open_table.add(entry(f"r{number}"))
    journal = decisions.journal_path(path)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r9"))
    lost = set() if cut == 1 else {"r2"}  # only the end of the line was missing
    # the table had r2: it was on the disk, so it is not lost even then
    assert {"r0", "r1", "r9"} <= {*words(path)}
    assert {"r0", "r1", "r2", "r9"} - {*words(path)} <= lost
    assert all(json.loads(line) for line in journal.read_bytes().splitlines())


def test_a_bad_line_in_the_middle_costs_nothing_else(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r0"))
        open_table.add(entry("r1"))
    journal = decisions.journal_path(path)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"\x00\xff garbage\n[1]\n" + b"".join(lines[1:]))
    with Decisions(path, "ann"):
        assert words(path) == {"r0": "accept", "r1": "accept"}


def test_a_bad_line_does_not_shift_what_an_undo_means(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        for number in range(3):
            open_table.add(entry(f"r{number}"))
        open_table.add(Entry(number=0, undo=3))  # r2
    path.unlink()
    journal = decisions.journal_path(path)
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = b'{"number": 1, "record_id": "r0"\r garbage}\n'  # r0 is gone
    journal.write_bytes(b"".join(lines))
    with Decisions(path, "ann") as open_table:
        assert words(path) == {"r1": "accept"}
        assert [one.number for one in open_table.since(2)] == [3, 4]
        assert open_table.add(entry("r5")).number == 5
    assert len(journal.read_bytes().splitlines(keepends=True)) > len(lines)


def test_the_last_word_counts_for_a_pair_and_its_lesions(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry(decision="unsure"))
        open_table.add(entry(decision="reject", lesion_id="2"))
        assert words(path) == {"r1": "unsure", "r12": "reject"}
        whole = open_table.add(entry(decision="accept"))
        assert words(path) == {"r1": "accept"}
        open_table.add(Entry(number=0, undo=whole.number))
        assert words(path) == {"r1": "unsure", "r12": "reject"}
    text = path.read_text().replace("unsure", "accept")
    path.write_text(text)  # by hand: both rows stay
    with Decisions(path, "ann"):
        assert words(path) == {"r1": "accept", "r12": "reject"}


def test_two_rows_that_contradict_each_other_are_named(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r1"))
    before = path.read_text() + "d,r1,,reject,oval,,ann,,1.0,,,\n"
    path.write_text(before)
    with pytest.raises(UsageError, match="r1 contradict"), Decisions(path, "ann"):
        pass
    assert path.read_text() == before


def test_what_another_process_wrote_is_never_cut_off(tmp_path, monkeypatch):
    """On a file system without locks two servers can have one journal open."""
    from bcseg.review import journal as module

    monkeypatch.setattr(module, "_claim", lambda *_: None)
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as one, Decisions(path, "ann") as two:
        one.add(entry("r1"))
        for late in ("r2", "r3"):
            with pytest.raises(OutputError, match="somebody else"):
                two.add(entry(late))
        one.add(entry("r4"))
    with Decisions(path, "ann"):
        assert words(path) == {"r1": "accept", "r4": "accept"}


def test_a_line_that_the_disk_took_in_part_is_cut_off(tmp_path, monkeypatch):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r1"))

        class Full:
            """A disk that takes ten bytes, and does not let them be cut off."""

            def __init__(self, file):
                self._file = file

            def write(self, line: bytes) -> int:
                return self._file.write(line[:10])

            def truncate(self, _: int) -> None:
                raise OSError(5, "Input/output error")

            def __getattr__(self, name):
                return getattr(self._file, name)

        journal = open_table._journal
        real = journal._file
        journal._file = Full(real)
        with pytest.raises(OutputError, match="No space left"):
            open_table.add(entry("r2"))
        journal._file = real
        open_table.add(entry("r3"))
    lines = decisions.journal_path(path).read_bytes().splitlines()
    assert [json.loads(line).get("record_id") for line in lines] == [None, "r1", "r3"]


def test_the_table_is_made_anew_where_it_was_lost(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry())
    path.unlink()
    with Decisions(path, "ann"):
        assert words(path) == {"r1": "accept"}


def test_a_kill_between_journal_and_table_is_no_edit_by_hand(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r1"))
        earlier = path.read_bytes()
        open_table.add(entry("r2", "reject"))
        open_table.add(entry("r1", "unsure"))
    for number in (1, 2):
        journal = decisions.journal_path(path)
        if number == 1:
            kept = journal.read_bytes()
            journal.write_bytes(b"".join(kept.splitlines(keepends=True)[:3]))
            path.write_bytes(earlier)
        with Decisions(path, "ann") as open_table:
            assert len(open_table.since(0)) == 2
            assert words(path) == {"r1": "accept", "r2": "reject"}


def test_what_was_changed_by_hand_in_the_table_counts(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        for number in range(3):
            open_table.add(entry(f"r{number}"))
    kept = [row for row in table(path) if row["record_id"] != "r1"]
    kept[1]["decision"] = "Reject"
    lines = [";".join(kept[0])] + [";".join(row.values()) for row in kept]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")  # as a spreadsheet
    with Decisions(path, "ann") as open_table:
        assert words(path) == {"r0": "accept", "r2": "reject"}
        assert len(open_table.since(0)) == 5
        assert "1 decisions taken over" in open_table.notice
        assert "1 withdrawn" in open_table.notice
    decisions.journal_path(path).unlink()  # only the table was passed on
    with Decisions(path, "ann"):
        assert words(path) == {"r0": "accept", "r2": "reject"}


def test_a_table_saved_by_somebody_else_under_the_server_is_kept_aside(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r1"))
        edited = path.read_text().replace("accept", "reject")
        path.write_text(edited)
        open_table.add(entry("r2"))
        assert "ann.changed.csv" in open_table.warning
        assert words(path) == {"r1": "accept", "r2": "accept"}
        assert (tmp_path / "ann.changed.csv").read_text() == edited
        open_table.add(entry("r3"))
        assert (tmp_path / "ann.changed.csv").read_text() == edited


def test_a_table_that_is_none_of_a_review_is_never_replaced(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("dataset,record_id,decision,colour\nd,r1,accept,blue\n")
    with pytest.raises(UsageError, match="not one of a review"), Decisions(path, "ann"):
        pass
    assert "blue" in path.read_text()


def test_two_processes_and_two_reviewers_are_kept_apart(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry())
        with pytest.raises(UsageError, match="has this table open"), Decisions(path, "ann"):
            pass
        open_table.add(entry("r2"))
    with pytest.raises(UsageError, match="decisions of ann"), Decisions(path, "bob"):
        pass
    assert words(path) == {"r1": "accept", "r2": "accept"}


def test_a_full_disk_is_said_and_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r1"))

        def refuse(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr(decisions.os, "fsync", refuse)
            with pytest.raises(OutputError, match="No space left"):
                open_table.add(entry("r2"))
        assert [one.record_id for one in open_table.since(0)] == ["r1"]
        open_table.add(entry("r3"))
    with Decisions(path, "ann"):
        assert words(path) == {"r1": "accept", "r3": "accept"}


def test_a_journal_deleted_under_the_server_is_noticed(tmp_path):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry("r1"))
        decisions.journal_path(path).unlink()
        with pytest.raises(OutputError):
            open_table.add(entry("r2"))


@pytest.mark.parametrize("note", ["=1+1", "+1+1", "-1+1", "@x", 'a,"b"', "  two\r\nlines\t"])
def test_cells_are_safe_in_a_spreadsheet(tmp_path, note):
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        open_table.add(entry(note=plain_text(note)))
    (row,) = table(path)
    assert not row["note"].startswith(("=", "+", "-", "@"))
    assert "\n" not in row["note"]
    decisions.journal_path(path).unlink()
    with Decisions(path, "ann") as open_table:  # and read back as it was typed
        assert open_table.since(0)[0].note == plain_text(note).strip('"')


# ------------------------------------------------------------------------------ order


@pytest.fixture
def root(tmp_path) -> Path:
    return make_root(tmp_path / "root", "inbreast", "cbis")


def write_scores(root: Path, dataset: str, ranks: dict[str, float]) -> None:
    lines = ["dataset,record_id,lesion_id,annotation_sha256,oval_iou,flags,precision_rank"]
    for row in rows(root / dataset, "records.csv"):
        rank = ranks.get(row["record_id"], 1.0)
        cells = (dataset, row["record_id"], "1", row["annotation_sha256"], "0.5", "oval leak", rank)
        lines.append(",".join(map(str, cells)))
    (root / dataset / "scores.csv").write_text("\n".join(lines) + "\n")


def test_the_worst_comes_first_and_a_patient_stays_together(root):
    records = rows(root / "cbis", "records.csv")
    groups: dict[str, list[str]] = {}
    for row in records:
        groups.setdefault(row["group"], []).append(row["record_id"])
    together = next(ids for ids in groups.values() if len(ids) > 1)
    alone = next(ids for ids in groups.values() if ids != together)
    write_scores(root, "cbis", {together[-1]: 0.1, alone[0]: 0.2, together[0]: 0.9})
    found = [p for p in listing.read_pairs(root, Reviewing()) if p.id[0] == "cbis"]
    ids = [pair.id[1] for pair in found]
    assert {*ids[: len(together)]} == {*together}
    assert ids[len(together)] == alone[0]
    assert found[0].all_flags == "leak oval"


def test_scores_of_another_contour_do_not_count(root):
    write_scores(root, "cbis", {})
    path = root / "cbis" / "scores.csv"
    sha = rows(root / "cbis", "records.csv")[0]["annotation_sha256"]
    path.write_text(path.read_text().replace(sha, "0" * 64))
    found = listing.read_pairs(root, Reviewing())
    assert any(pair.scores for pair in found)
    assert not any(pair.scores for pair in found if pair.row["annotation_sha256"] == sha)


def test_other_orders_are_the_same_each_time(root):
    by_id = [pair.id for pair in listing.read_pairs(root, Reviewing(order="id"))]
    assert by_id == sorted(by_id)
    first, second = (
        [pair.id for pair in listing.read_pairs(root, Reviewing(order="random", reviewer="ann"))]
        for _ in range(2)
    )
    other = [
        pair.id for pair in listing.read_pairs(root, Reviewing(order="random", reviewer="bob"))
    ]
    assert first == second
    assert sorted(first) == by_id
    assert by_id != first != other


def test_without_scores_the_smallest_comes_first_and_it_is_said(root):
    found = listing.read_pairs(root, Reviewing())
    first = next(pair for pair in found if pair.id[0] == "inbreast")
    areas = [int(row["mask_pixels"]) for row in rows(root / "inbreast", "records.csv")]
    group = [p for p in found if p.id[0] == "inbreast" and p.group == first.group]
    assert min(int(pair.row["mask_pixels"]) for pair in group) == min(areas)


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("0", 0)])
def test_repeat_is_a_share(text, share):
    assert settings.repeat_share(text) == pytest.approx(share)
    with pytest.raises(UsageError):
        settings.repeat_share("60%")
    with pytest.raises(UsageError):
        settings.repeat_share("nan")


def test_reviewers_become_file_names():
    assert settings.reviewer_name("ann.b-2") == "ann.b-2"
    assert settings.reviewer_name("")
    for bad in ("../ann", "a b", "a/b", ".ann", "ä", "a\n"):
        with pytest.raises(UsageError):
            settings.reviewer_name(bad)


def test_keys_can_be_given_and_clashes_are_named(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text('{"accept": "k", "undo": ["b", " "], "unsure": "m"}')
    keys = settings.read_keys(path)
    assert keys == {"accept": ("k",), "undo": ("b", "space"), "unsure": ("m",)}
    bad = ('{"acept": "k"}', '{"accept": "x"}', '{"accept": ""}', "[]", "{", '{"accept": 1}')
    for text in bad:
        path.write_text(text)
        with pytest.raises(UsageError):
            settings.read_keys(path)


def test_a_root_of_reduced_size_is_warned_about(tmp_path):
    small = make_root(tmp_path / "root", "inbreast")
    records = small / "inbreast" / "records.csv"
    all_rows = rows(small / "inbreast", "records.csv")
    step = {"op": "resize", "height": 10, "width": 7, "from_height": 20, "from_width": 14}
    all_rows[0]["transform"] = json.dumps([step])
    all_rows[1]["transform"] = json.dumps([{"op": "flip", "width": 7}])
    records.write_bytes(pairs.table_bytes("records.csv", all_rows))
    found = listing.read_pairs(small, Reviewing(order="id"))
    assert [pair.reduced for pair in found[:2]] == [True, False]
    assert [pair.mirrored for pair in found[:2]] == [False, True]
    with Decisions(tmp_path / "a.csv", "a") as open_table:
        warned = session.Session(small, found, open_table, Reviewing(order="id")).warnings()
    assert len(warned) == 1
    assert f"1 of {len(found)}" in warned[0]


# ------------------------------------------------------------------------------ images


def test_contours_are_the_runs_and_the_border_of_the_pixels():
    mask = np.zeros((9, 14), bool)
    mask[2, 3:6] = mask[3, 3:5] = mask[4, 8] = True
    for mirrored in (False, True):
        drawn = images.contour(patch_of(mask), 14, mirrored=mirrored)
        shown = mask[:, ::-1] if mirrored else mask
        painted = np.zeros_like(mask)
        for row, start, stop in np.reshape(drawn["runs"], (-1, 3)):
            painted[row, start:stop] = True
        assert np.array_equal(painted, shown)
        left, top, right, bottom = drawn["box"]
        assert shown[top:bottom, left:right].sum() == mask.sum()
        edges = np.reshape(drawn["edges"], (-1, 4))
        length = np.abs(edges[:, 2:] - edges[:, :2]).sum()
        framed = np.pad(shown.astype(int), 1)
        border = np.abs(np.diff(framed, axis=0)).sum() + np.abs(np.diff(framed, axis=1)).sum()
        assert length == border
        for x0, y0, x1, y1 in edges:  # every piece parts a marked pixel from an unmarked one
            if y0 == y1:
                assert framed[y0, x0 + 1] != framed[y0 + 1, x0 + 1]
            else:
                assert x0 == x1
                assert framed[y0 + 1, x0] != framed[y0 + 1, x0 + 1]


def test_an_empty_mask_has_a_contour_without_a_box():
    drawn = images.contour(patch_of(np.zeros((4, 7), bool)), 7)
    assert drawn == {"runs": [], "edges": [], "box": []}


def test_the_first_window_is_that_of_the_breast():
    image = np.zeros((400, 300), np.uint16)
    image[50:350, :200] = np.linspace(1000, 3000, 200).astype(np.uint16)
    low, high = images.first_window(image)
    assert 900 < low < 1200
    assert 2900 < high <= 3000


def test_each_lesion_has_its_own_scores_and_the_pair_those_of_its_worst(root):
    found = listing.read_pairs(root, Reviewing(order="id"))
    many = next(pair for pair in found if len(pair.lesions) > 1 and pair.id[0] == "cbis")
    sha = many.row["annotation_sha256"]
    lines = ["dataset,record_id,lesion_id,annotation_sha256,flags,precision_rank"]
    for rank, row in zip((0.75, 0.25), many.lesions, strict=False):
        lines.append(f"cbis,{many.id[1]},{row['lesion_id']},{sha},oval{rank},{rank}")
    (root / "cbis" / "scores.csv").write_text("\n".join(lines) + "\n")
    again = listing.read_pairs(root, Reviewing())
    shown = next(pair for pair in again if pair.id == many.id).document(blind=False)
    assert shown["scores"] == {"precision_rank": 0.25}
    assert shown["flags"] == "oval0.25 oval0.75"
    assert [one["scores"]["precision_rank"] for one in shown["lesions"][:2]] == [0.75, 0.25]


def test_decisions_about_another_contour_are_said(root, tmp_path):
    found = listing.read_pairs(root, Reviewing(order="id"))
    dataset, record_id = found[0].id
    with Decisions(tmp_path / "a.csv", "a") as open_table:
        one = session.Session(root, found, open_table, Reviewing(order="id"))
        assert one.warnings() == []
        judged = {"dataset": dataset, "record_id": record_id, "decision": "accept"}
        open_table.add(Entry(number=0, annotation_sha256="0" * 64, **judged))
        (warning,) = one.warnings()
    assert "1 decision" in warning


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", "images/../../x.png"])
def test_a_table_cannot_name_files_elsewhere(tmp_path, name):
    folder = tmp_path / "root" / "d"
    folder.mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"x")
    with pytest.raises(images.RecordError, match="outside"):
        images.read_pixels(folder, name)


# ------------------------------------------------------------------------------ agreement


def test_kappa_is_that_of_the_textbook():
    # Cohen's own example form: 20 both yes, 5 + 10 apart, 15 both no: po 0.7, pe 0.5, kappa 0.4
    counts = {
        ("accept", "accept"): 20,
        ("accept", "reject"): 5,
        ("reject", "accept"): 10,
        ("reject", "reject"): 15,
    }
    assert cohen_kappa(counts) == pytest.approx(0.4)
    error = (0.7 * 0.3 / 50) ** 0.5 / 0.5
    low, high = kappa_interval(counts)
    assert (low, high) == pytest.approx((0.4 - 1.959964 * error, 0.4 + 1.959964 * error))
    assert cohen_kappa({("accept", "accept"): 9}) is None
    assert cohen_kappa({}) is None
    three = {("accept", "accept"): 2, ("reject", "unsure"): 1, ("unsure", "reject"): 1}
    assert cohen_kappa(three) == pytest.approx((0.5 - 0.375) / 0.625)


def test_disputes_are_named_and_flags_and_other_contours_do_not_count():
    first = {
        ("d", "1", ""): Judgement("accept"),
        ("d", "2", ""): Judgement("reject", "oval"),
        ("d", "3", ""): Judgement("flag"),
        ("d", "4", ""): Judgement("accept", annotation_sha256="a"),
        ("d", "5", "1"): Judgement("accept"),
    }
    second = {
        ("d", "1", ""): Judgement("accept"),
        ("d", "2", ""): Judgement("accept"),
        ("d", "3", ""): Judgement("accept"),
        ("d", "4", ""): Judgement("accept", annotation_sha256="b"),
    }
    found = compare(first, second, ("A", "B"))
    assert (found.both, found.same, found.only, found.other_contour) == (2, 1, (1, 1), 1)
    assert [one.key for one in found.disputes] == [("d", "2", "")]
    assert found.kappa == pytest.approx(0.0)
    assert "d 2:" in found.text()
    assert "reject (oval) / accept" in found.text()


def test_two_tables_are_compared(tmp_path):
    for name, reject in (("ann", "r1"), ("bob", "r2")):
        with Decisions(tmp_path / f"{name}.csv", name) as open_table:
            for number in range(4):
                word = "reject" if f"r{number}" == reject else "accept"
                open_table.add(entry(f"r{number}", word))
    found = compare_files(tmp_path / "ann.csv", tmp_path / "bob.csv")
    assert found.names == ("ann", "bob")
    assert [one.key[1] for one in found.disputes] == ["r1", "r2"]
    assert found.document()["kappa"] == pytest.approx((0.5 - 0.625) / 0.375)
    (tmp_path / "x.csv").write_text("record_id\nr1\n")
    with pytest.raises(UsageError):
        compare_files(tmp_path / "ann.csv", tmp_path / "x.csv")


def test_second_looks_stay_apart_and_are_compared(root, tmp_path):
    how = Reviewing(order="id", repeat=0.5, reviewer="ann")
    found = listing.read_pairs(root, how)
    twice = [pair for pair in found if pair.repeat]
    assert 0 < len(twice) < len(found)
    path = tmp_path / "ann.csv"
    with Decisions(path, "ann") as open_table:
        one = session.Session(root, found, open_table, how)
        for number, pair in enumerate(twice):
            judged = {"annotation_sha256": pair.row["annotation_sha256"]}
            names = {"dataset": pair.id[0], "record_id": pair.id[1], "decision": "accept"}
            again = "reject" if number == 0 else "accept"
            first = one.decide(Entry(number=0, repeat=True, **names, **judged))
            assert not first.repeat  # there was no first look
            one.decide(Entry(number=0, repeat=True, **names | {"decision": again}, **judged))
        own = one.own_agreement()
    assert {row["decision"] for row in table(path)} == {"accept"}
    assert [row["repeat"] for row in table(path)].count("reject") == 1
    assert (own.both, len(own.disputes)) == (len(twice), 1)
    decisions.journal_path(path).unlink()
    before = path.read_bytes()
    with Decisions(path, "ann"):
        assert path.read_bytes() == before


# ------------------------------------------------------------------------------ the server


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server that no test decides much at."""
    root = make_root(tmp_path_factory.mktemp("shared") / "root", "inbreast", "cbis")
    write_scores(root, "cbis", {})
    with serving(root) as server:
        yield server, root


def test_the_page_gets_pixels_and_contours_as_they_are(shared):
    server, root = shared
    document = server.json("api/session")
    assert len(document["pairs"]) == sum(
        len(rows(root / name, "records.csv")) for name in ("inbreast", "cbis")
    )
    for pair in document["pairs"]:
        folder = root / pair["dataset"]
        name = f"{pair['dataset']}/{pair['record_id']}"
        status, headers, data = server.ask(f"api/pixels/{name}")
        assert status == 200
        stored = pixels(folder / "images" / f"{pair['record_id']}.png")
        sent = np.frombuffer(data, f"<u{int(headers['x-bits']) // 8}")
        shape = int(headers["x-rows"]), int(headers["x-columns"])
        assert np.array_equal(sent.reshape(shape), stored)
        assert int(headers["x-low"]) < int(headers["x-high"]) <= stored.max()
        painted = np.zeros(shape, bool)
        for one in server.json(f"api/contours/{name}")["contours"]:
            for row, start, stop in np.reshape(one["runs"], (-1, 3)):
                painted[row, start:stop] = True
        mask = pixels(folder / "masks" / f"{pair['record_id']}.png")
        assert np.array_equal(painted, mask > 0)
        assert pair["lesions"]


def test_every_answer_forbids_what_a_page_does_not_need(shared):
    server, _ = shared
    for path in ("", "main.js", "keys.js", "loader.js", "style.css", "api/session", "nothing"):
        _, headers, _ = server.ask(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store, private"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
    _, headers, page = server.ask("")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert b"http" not in page  # nothing from anywhere else
    assert b"style=" not in page
    scripts = sorted(PAGE.glob("*.js"))
    assert len(scripts) > 5
    forbidden = ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(")
    for one in scripts:
        status, headers, script = server.ask(one.name)
        assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        for word in (*forbidden, "http:", "https:", "//cdn", "localStorage", "document.cookie"):
            assert word.encode() not in script, one.name


@pytest.mark.parametrize("token", ["", "x", "api", "A" * 43])
def test_nothing_is_told_without_the_token(shared, token):
    server, _ = shared
    for path in ("", "main.js", "api/session", "api/changes?after=0"):
        status, headers, data = server.ask(path, token=token)
        assert status == 403
        assert b"pairs" not in data
        assert headers["x-content-type-options"] == "nosniff"
    status, _, _ = server.ask("api/decide", {}, token=server.token[:-1])
    assert status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "[::1]", "", "0.0.0.0"]
)
def test_a_foreign_host_is_refused(shared, host):
    server, _ = shared
    status, _, data = server.ask("api/session", headers={"Host": host})
    assert status in (400, 421)
    assert b"pairs" not in data


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:1", "LOCALHOST:80"])
def test_a_tunnel_with_another_port_works(shared, host):
    server, _ = shared
    assert server.ask("api/session", headers={"Host": host})[0] == 200
    before = server.json("api/session")["entries"]
    body = {"number": 99_999}
    status, _, data = server.ask(
        "api/undo", body, headers={"Host": host, "Origin": f"http://{host}"}
    )
    assert (status, b"no such decision" in data) == (409, True)
    assert server.json("api/session")["entries"] == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_a_write_from_elsewhere_is_refused(shared, headers):
    server, _ = shared
    pair = server.json("api/session")["pairs"][0]
    body = {name: pair[name] for name in ("dataset", "record_id", "annotation_sha256")}
    status, _, _ = server.ask("api/decide", body | {"decision": "accept"}, headers=headers)
    assert status in (403, 415)
    assert server.json("api/changes?after=0")["entries"] == []


def test_an_address_without_its_last_slash_is_sent_on(shared):
    server, _ = shared
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", f"/{server.token}")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("location")) == (307, f"/{server.token}/")
        assert answer.getheader("referrer-policy") == "no-referrer"


def test_a_question_from_another_origin_is_refused(shared):
    server, _ = shared
    assert server.ask("api/session", headers={"Origin": "http://evil.example"})[0] == 403
    own = f"http://127.0.0.1:{server.port}"
    assert server.ask("api/session", headers={"Origin": own})[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(shared, method):
    server, _ = shared
    assert server.ask("api/session", method=method)[0] == 405


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "inbreast/..%2f..%2frecords.csv",
        "inbreast/%2e%2e",
        "inbreast/records.csv",
        "inbreast/%00",
        "inbreast//etc/passwd",
        "..\\..\\x/y",
        "inbreast/" + "a" * 5000,
    ],
)
def test_only_pairs_by_id_are_served(shared, name):
    server, _ = shared
    for kind in ("pixels", "contours"):
        status, _, data = server.ask(f"api/{kind}/{name}")
        assert status in (400, 404)
        assert b"root:" not in data
        assert b"dataset" not in data
    for path in (
        "server.py",
        "page/page.html",
        "..%2fserver.py",
        "%2e%2e/main.js",
        "main.js/../server.py",
    ):
        assert server.ask(path)[0] == 404


def test_a_body_too_large_is_refused_before_it_is_read(shared):
    server, _ = shared
    assert server.ask("api/decide", b"x" * 20_000)[0] == 413
    assert server.ask("api/decide", b"[" * 16_000)[0] == 400


def test_a_body_without_a_length_is_cut_off(shared):
    server, _ = shared
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    host = f"127.0.0.1:{server.port}"
    headers = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"}
    where = f"/{server.token}/api/decide"
    parts = iter([b"x" * 10_000] * 3)
    connection.request("POST", where, parts, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        {"decision": "maybe"},
        {"decision": None},
        {"record_id": "nobody"},
        {"record_id": ["a"]},
        {"lesion_id": "nobody"},
        {"annotation_sha256": "0"},
        {"note": "x" * 501},
        {"reason": 3},
        {"seconds": "1"},
        {"seconds": 1e999},
        {"mark": "'"},
        {"after": "0"},
    ],
)
def test_what_is_not_understood_is_not_decided(shared, change):
    server, _ = shared
    pair = server.json("api/session")["pairs"][0]
    body = {name: pair[name] for name in ("dataset", "record_id", "annotation_sha256")}
    status, _, data = server.ask("api/decide", body | {"decision": "accept"} | change)
    assert status in (400, 409)
    assert json.loads(data)["error"]
    assert server.json("api/changes?after=0")["entries"] == []


def test_it_listens_on_this_machine_only(shared):
    server, _ = shared
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    port = f":{server.port:04X}"
    places = {line.split()[1] for line in lines if line.split()[3] == "0A"}
    assert {place for place in places if place.endswith(port)} == {f"0100007F{port}"}


def test_another_user_finds_the_token_nowhere(shared):
    """Arguments of a process can be read by all users, its environment by some; files too."""
    server, root = shared
    process = Path(f"/proc/{server.process.pid}")
    token = server.token.encode()
    assert token not in (process / "cmdline").read_bytes()
    assert token not in (process / "environ").read_bytes()
    server.json("api/session")
    for path in root.rglob("*"):
        assert not path.is_file() or token not in path.read_bytes(), path


def test_a_port_that_is_taken_is_said(shared, root):
    from bcseg.review.server import open_session, serve

    server, _ = shared
    with (
        open_session(root, Reviewing(reviewer="bob")) as one,
        pytest.raises(UsageError, match="cannot be used"),
    ):
        serve(one, server.port, lambda _: None)


# ------------------------------------------------------------------------------ whole reviews


def test_a_decision_that_was_answered_outlives_a_kill(tmp_path):
    root = make_root(tmp_path / "root", "inbreast", "cbis")
    expected = {}
    for start in range(3):
        with serving(root) as server:
            todo = server.json("api/session")["pairs"][start::3]
            for number, pair in enumerate(todo):
                word = ("accept", "reject", "unsure", "flag")[number % 4]
                server.decide(pair, word, reason="=oval" if word == "reject" else "")
                expected[pair["record_id"]] = word
                if number % 2:
                    assert words(root / "reviews" / "ann.csv") == expected
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(20)
        assert words(root / "reviews" / "ann.csv") == expected
    with serving(root) as server:
        kept = server.json("api/session")["entries"]
    assert {one["record_id"]: one["decision"] for one in kept} == expected


def test_two_windows_do_not_lose_each_others_decisions(tmp_path):
    root = make_root(tmp_path / "root", "inbreast", "cbis")
    with serving(root) as server:
        listed = server.json("api/session")["pairs"]
        one, two, three = listed[:3]
        assert server.decide(one, "accept", after=0)["number"] == 1
        told = server.decide(two, "reject", reason="oval", after=0)  # knows nothing of the first
        assert [entry["record_id"] for entry in told["entries"]] == [
            one["record_id"],
            two["record_id"],
        ]
        news = server.json("api/changes?after=1")["entries"]
        assert [(entry["decision"], entry["reason"]) for entry in news] == [("reject", "oval")]
        server.json("api/undo", {"number": 1, "after": 2})
        assert server.ask("api/undo", {"number": 1})[0] == 409
        server.decide(three, "unsure")
        found = words(root / "reviews" / "ann.csv")
    assert found == {two["record_id"]: "reject", three["record_id"]: "unsure"}


def test_many_at_once_are_all_kept(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    root = make_root(tmp_path / "root", "inbreast", "cbis")
    with serving(root) as server:
        listed = server.json("api/session")["pairs"]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda pair: server.decide(pair, "accept"), listed * 3))
        server.kill()
    assert words(root / "reviews" / "ann.csv") == {one["record_id"]: "accept" for one in listed}
    lines = (root / "reviews" / "ann.journal.jsonl").read_text().splitlines()
    numbers = [json.loads(line)["number"] for line in lines[1:]]
    assert numbers == list(range(1, 3 * len(listed) + 1))


def test_select_takes_the_table_as_it_is(tmp_path):
    root = make_root(tmp_path / "root", "inbreast", "cbis")
    with serving(root) as server:
        listed = server.json("api/session")["pairs"]
        for number, pair in enumerate(listed):
            server.decide(pair, ("reject", "accept", "flag", "accept")[number % 4], note="=cmd, x")
        many = next(pair for pair in listed if len(pair["lesions"]) > 1)
        accepted = {p["record_id"] for p in listed if words_of(server)[p["record_id"]] == "accept"}
        server.decide(many, "accept")
        lesion = many["lesions"][1]["lesion_id"]
        server.decide(many, "reject", lesion_id=lesion, reason="loose")
    to = tmp_path / "selected"
    assert bcseg("select", root, "--manifest", root / "reviews" / "ann.csv", "-o", to) == 0
    taken = {
        row["record_id"]
        for name in ("inbreast", "cbis")
        if (to / name).exists()
        for row in rows(to / name, "records.csv")
    }
    assert taken == accepted - {many["record_id"]}


def words_of(server) -> dict[str, str]:
    found = server.json("api/session")["entries"]
    return {entry["record_id"]: entry["decision"] for entry in found}


def test_a_blind_review_never_sends_scores(tmp_path):
    root = make_root(tmp_path / "root", "cbis")
    write_scores(root, "cbis", {})
    for blind in (True, False):
        with serving(root, blind=blind) as server:
            _, _, data = server.ask("api/session")
        assert (b"precision_rank" in data, b"oval leak" in data or b"leak oval" in data) == (
            not blind,
            not blind,
        )


def test_a_second_server_of_one_reviewer_is_refused(tmp_path):
    root = make_root(tmp_path / "root", "cbis")
    from bcseg.review.server import open_session

    with (
        serving(root),
        pytest.raises(UsageError, match="has this table open"),
        open_session(root, Reviewing(reviewer="ann")),
    ):
        pass
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # killed, it gives the table back
        with open_session(root, Reviewing(reviewer="ann")) as one:
            assert one.summary() == {}
            return


def test_a_damaged_image_is_said_by_name(tmp_path):
    root = make_root(tmp_path / "root", "cbis")
    first, second = rows(root / "cbis", "records.csv")[:2]
    (root / "cbis" / first["image"]).write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (root / "cbis" / second["image"]).unlink()
    with serving(root) as server:
        for row in (first, second):
            status, _, data = server.ask(f"api/pixels/cbis/{row['record_id']}")
            assert status == 422
            assert json.loads(data)["error"]
            assert str(root).encode() not in data


def test_the_source_pairs_stay_as_they_are(tmp_path):
    root = make_root(tmp_path / "root", "cbis")
    with serving(root) as server:
        server.decide(server.json("api/session")["pairs"][0], "accept")
    for path in sorted(finished("cbis").rglob("*")):
        copy = root / "cbis" / path.relative_to(finished("cbis"))
        if path.is_file():
            assert copy.read_bytes() == path.read_bytes()
    assert sorted(path.name for path in root.iterdir()) == ["cbis", "reviews"]
    names = sorted(path.name for path in (root / "reviews").iterdir())
    assert names == ["ann.csv", "ann.journal.jsonl"]
    assert bcseg("verify", root) == 0
