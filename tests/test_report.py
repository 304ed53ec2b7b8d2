"""The report: one HTML file, and overlays; what is in it, and what must not be."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from archives import DATASETS, finished, original
from bcseg import pairs
from bcseg.adapters import ADAPTERS
from bcseg.errors import RecordError, UsageError
from bcseg.pairs import LESION_COLUMNS, PROBLEM_COLUMNS, RECORD_COLUMNS, PairsFolder
from bcseg.report import overlays, report
from bcseg.report.charts import flag_meaning
from bcseg.report.entries import chosen, entries
from bcseg.report.pictures import (
    outlines,
    overlay,
    room_round,
    svg_path,
    window_of,
    window_of_part,
    windowed,
)
from bcseg.report.plots import axis_of, bars, boxes, histograms, short
from bcseg.scores import COLUMNS
from bcseg.scores.flags import DRAWN, FLAGS
from bcseg.scores.table import LESS_IS_PRECISE, MORE_IS_PRECISE
from reporting import HEIGHT, ONE, WIDTH, breast, cards, dataset, page, png, score, write


class Elements(HTMLParser):
    """Collect the elements of a page, and whether they are closed in order."""

    VOID = frozenset({"meta", "input", "br", "link", "img", "wbr"})

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def elements(text):
    parser = Elements()
    parser.feed(text)
    assert parser.open == []
    return parser.found


# ------------------------------------------------------------------------- the page


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_has_its_report(tmp_path, name):
    folder = PairsFolder(finished(name))
    done, text = page([folder], tmp_path)
    records = folder.rows(pairs.RECORDS)
    assert done.shown == done.pairs == len(records) == len(cards(text))
    assert done.exit_code == 0
    assert done.size == len(text.encode())
    for row in records:
        assert f">{row['record_id']}</a></h3>" in text
    assert text.count('<path class="outline" d="M') == text.count('class="outline"')
    assert done.size / done.shown < 60_000  # 30 MB for 500 pairs
    top = text[: text.index("<nav")]
    assert html.escape(folder.document()["licence"], quote=True) in top
    assert ("Keep this page to yourself" in top) == ADAPTERS[name].INFO.restricted
    assert ('<body class="closed">' in text) == ADAPTERS[name].INFO.restricted


def test_the_page_is_whole_and_asks_for_nothing(tmp_path):
    folders = [PairsFolder(finished(name)) for name in ("inbreast", "cdd")]
    _, text = page(folders, tmp_path)
    for tag, attributes in elements(text):
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "action", "data", "srcset"):
            assert re.match(r"#|data:image/webp;base64,", attributes.get(name, "#")), attributes
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    assert "@import" not in text
    assert "url(" not in text
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', text)) <= set(ids)


def test_the_policy_allows_this_style_and_script_and_nothing_else(tmp_path):
    _, text = page([dataset(tmp_path, ["a"])], tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_nothing_from_a_table_becomes_markup(tmp_path):
    evil = """<script>alert("1")</script>'>&"""
    folder = dataset(tmp_path, ["a", "b"], title=evil, licence=evil, citation=evil, url=evil)
    rows = folder.rows(pairs.RECORDS)
    shown = {"record_id", "patient_id", "kinds", "laterality", "view", "birads", "pathology"}
    shown |= {"notes", "source_image", "split", "density", "age", "annotator", "bit_depth"}
    rows[0] |= dict.fromkeys(shown | {"n_lesions", "height", "width", "dataset"}, evil)
    write(folder.path / pairs.RECORDS, RECORD_COLUMNS, rows)
    lesions = folder.rows(pairs.LESIONS)
    words = ("record_id", "lesion_id", "kind", "birads", "pathology", "geometry")
    lesions[0] |= dict.fromkeys(words, evil)
    write(folder.path / pairs.LESIONS, LESION_COLUMNS, lesions)
    columns = dict.fromkeys(PROBLEM_COLUMNS, evil)
    write(folder.path / pairs.PROBLEMS, PROBLEM_COLUMNS, [columns])
    row = dict.fromkeys(COLUMNS, evil) | {"annotation_sha256": "hash0", evil: "0.5"}
    write(folder.path / "scores.csv", (*COLUMNS, evil), [row])
    _, text = page([folder], tmp_path)
    assert text.count("<script>") == 1  # the page's own
    assert text.count(html.escape(evil, quote=True)) > 20
    names = {name for _, attributes in elements(text) for name in attributes}
    assert names.isdisjoint({"alert", "1"})


def test_the_same_pairs_give_the_same_bytes_wherever_they_are(tmp_path):
    first, second = tmp_path / "one", tmp_path / "elsewhere" / "two"
    shutil.copytree(finished("csaw"), first / "csaw")
    shutil.copytree(finished("csaw"), second / "csaw")
    texts = [
        page(pairs.open_root(root), root, dataclasses.replace(ONE, jobs=jobs))[1]
        for root, jobs in ((first, 1), (second, 2))
    ]
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]


def test_the_outcome_is_told_to_people_and_programs(tmp_path):
    folder = dataset(tmp_path, ["a", "b"])
    (folder.path / "images" / "1.png").unlink()
    done, _ = page([folder], tmp_path)
    assert done.text().splitlines()[0].endswith("all of 2 pairs, 0.0 MB")
    assert "cannot be shown: mine/b" in done.text()
    document = done.document()
    assert (document["pairs"], document["shown"], document["bytes"]) == (2, 2, done.size)
    assert document["unreadable"] == ["mine/b"]
    json.dumps(document)


# ------------------------------------------------------------------------- licences


def test_an_unknown_dataset_is_not_taken_to_be_free(tmp_path):
    _, text = page([dataset(tmp_path, ["a"])], tmp_path)
    assert "not known to bcseg: read it" in text
    assert "Keep this page to yourself" in text


# ------------------------------------------------------------------------- order and choice


def test_without_scores_the_smallest_mask_comes_first(tmp_path):
    done, text = page([dataset(tmp_path, ["c", "b", "a"])], tmp_path)
    assert [one["text"].split()[2] for one in cards(text)] == ["c", "b", "a"]
    assert done.scored == 0
    assert "not scored yet" in done.notes[0]
    assert "Flags of lesions" not in text


def test_with_scores_the_least_precise_comes_first(tmp_path):
    folder = dataset(tmp_path, ["a", "b", "c", "d"])
    score(folder, [("a", "0.9", ""), ("b", "0.1", "oval loose"), ("c", "0.5", "oval")])
    done, text = page([folder], tmp_path)
    found = cards(text)
    assert [one["text"].split()[2] for one in found] == ["b", "c", "a", "d"]
    assert found[0]["marks"].split() == ["loose", "oval"]
    assert json.loads(found[0]["values"])["solidity"] == [0.9]
    assert "precision_rank" not in json.loads(found[3]["values"])
    assert done.scored == 3
    assert '<option value="solidity" data-worst="high">' in text
    assert '<option value="oval">' in text


def test_scores_of_another_contour_are_not_shown(tmp_path):
    folder = dataset(tmp_path, ["a", "b"])
    score(folder, [("a", "0.9", ""), ("b", "0.1", "oval")])
    rows = folder.rows(pairs.RECORDS)
    rows[1]["annotation_sha256"] = "another"
    write(folder.path / pairs.RECORDS, RECORD_COLUMNS, rows)
    done, text = page([folder], tmp_path)
    assert done.scored == 1
    assert "1 of 2 scores are of another contour" in " ".join(done.notes)
    assert '<option value="oval">' not in text


def test_scores_that_are_no_numbers_are_left_away(tmp_path):
    folder = dataset(tmp_path, ["a", "b", "c"])
    score(folder, [("a", "nan", ""), ("b", "1e999", ""), ("c", "0.3", "")])
    found = cards(page([folder], tmp_path)[1])
    assert "NaN" not in json.dumps(found)
    assert [one["text"].split()[2] for one in found] == ["c", "a", "b"]


def test_damaged_scores_are_an_error_with_a_hint(tmp_path):
    folder = dataset(tmp_path, ["a"])
    (folder.path / "scores.csv").write_bytes(b"\xff\xfe\x00broken")
    with pytest.raises(UsageError, match=r"scores.csv is damaged"):
        report([folder], tmp_path / "r.html", ONE)
    assert not (tmp_path / "r.html").exists()


def test_of_many_pairs_the_worst_and_some_at_random_are_shown(tmp_path):
    folder = dataset(tmp_path, [f"r{number:02}" for number in range(20)])
    how = dataclasses.replace(ONE, worst=4, random=3)
    done, text = page([folder], tmp_path, how)
    found = cards(text)
    assert [one["sample"] for one in found] == ["worst"] * 4 + ["random"] * 3
    assert (done.pairs, done.shown) == (20, 7)
    assert "the 4 worst and 3 of the others at random" in text
    assert "--all" in text
    assert page([folder], tmp_path, how)[1] == text
    everything, _ = entries([folder], how)
    fewer = chosen([e for e in everything if e.record_id != "r19"], how)
    kept = {e.record_id for e in chosen(everything, how)} - {"r19"}
    assert kept <= {e.record_id for e in fewer}  # a draw does not change with the others
    assert len(chosen(everything, dataclasses.replace(how, all=True))) == 20
    assert len(chosen(everything, dataclasses.replace(how, random=16))) == 20


def test_pairs_stand_by_any_score_without_a_script(tmp_path):
    folder = dataset(tmp_path, ["a", "b", "c", "d"])
    score(folder, [("a", "0.2", ""), ("b", "0.1", ""), ("c", "0.5", "")])
    rows = folder.rows("scores.csv")
    for row, tongue in zip(rows, ("0.01", "0.3", ""), strict=True):
        row["tongue"] = tongue
    write(folder.path / "scores.csv", COLUMNS, rows)
    _, text = page([folder], tmp_path, dataclasses.replace(ONE, sort="tongue"))
    assert [one["text"].split()[2] for one in cards(text)] == ["b", "a", "c", "d"]
    assert "The highest tongue first" in text
    assert '<p class="by">tongue <strong>0.3</strong></p>' in text
    assert '<option value="tongue" data-worst="high" selected>' in text
    how = dataclasses.replace(ONE, sort="tongue", worst=1, random=1)
    (worst, _) = cards(page([folder], tmp_path, how)[1])
    assert (worst["sample"], worst["text"].split()[2]) == ("worst", "b")


def test_of_several_lesions_the_worst_stands_first(tmp_path):
    folder = dataset(tmp_path, ["a"])
    (lesion,) = folder.rows(pairs.LESIONS)
    two = [lesion, lesion | {"lesion_id": "2"}]
    write(folder.path / pairs.LESIONS, LESION_COLUMNS, two)
    score(folder, [("a", "0.9", "oval")])
    (row,) = folder.rows("scores.csv")
    other = row | {"lesion_id": "2", "precision_rank": "0.4", "solidity": "0.02", "flags": "leak"}
    write(folder.path / "scores.csv", COLUMNS, [row, other])
    for sort, first in (("precision_rank", "2"), ("solidity", "1")):
        _, text = page([folder], tmp_path, dataclasses.replace(ONE, sort=sort))
        assert re.findall(r"<strong>lesion (\d) \(mass\)</strong>", text)[0] == first
        assert "precision</span>" in text
        assert "<span>0.40</span>" in text  # the bars are those of the least precise
        assert cards(text)[0]["marks"].split() == ["leak", "oval"]


# ------------------------------------------------------------------------- what scores tell


def test_scores_say_which_way_is_precise_as_their_document_does():
    text = (Path(__file__).parent.parent / "docs" / "scores.md").read_text(encoding="utf-8")
    more, less = set(), set()
    for names, direction in re.findall(r"^\| (`[^|]*`) \|.*\| ([+-]) \|", text, re.MULTILINE):
        (more if direction == "+" else less).update(re.findall(r"`(\w+)`", names))
    assert more == MORE_IS_PRECISE - {"shape_rank", "image_rank", "precision_rank"}
    assert less == LESS_IS_PRECISE
    assert {*COLUMNS} >= more | less


def test_every_flag_says_when_it_is_raised(tmp_path):
    for flag in (*FLAGS, *DRAWN.values()):
        assert flag_meaning(flag)
    assert flag_meaning("drawn_oval") == "the archive has ellipse or circle here"
    folder = dataset(tmp_path, ["a", "b"])
    score(folder, [("a", "0.9", "oval mine"), ("b", "0.1", "oval")])
    _, text = page([folder], tmp_path)
    assert '<th scope="row">oval</th><td>ellipse_iou &gt;= 0.97, from 24 px on</td>' in text
    assert '2 <span class="soft">100%</span>' in text
    assert '<th scope="row">mine</th><td></td>' in text  # a flag of another version


def test_scores_that_tell_nothing_are_a_sentence(tmp_path):
    folder = dataset(tmp_path, ["a", "b"])
    score(folder, [("a", "0.9", ""), ("b", "0.1", "")])
    rows = [row | {"holes": "0", "parts": "1", "mine": "7"} for row in folder.rows("scores.csv")]
    write(folder.path / "scores.csv", (*COLUMNS, "mine"), rows)
    _, text = page([folder], tmp_path)
    assert "The same for all: parts 1, holes 0." in text
    assert "The same for all: mine 7." in text
    assert "<figcaption>solidity</figcaption>" in text
    assert "<figcaption>holes</figcaption>" not in text


# ------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b"no picture"), "images/1.png|not"),
        (lambda path: path.write_bytes(png(breast()[:50])), "differ in size"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "cut|truncated|unreadable|end"),
    ],
)
def test_a_pair_that_cannot_be_read_is_named_and_the_others_shown(tmp_path, damage, reason):
    folder = dataset(tmp_path, ["a", "b", "c"])
    damage(folder.path / "images" / "1.png")
    done, text = page([folder], tmp_path)
    assert done.unreadable == ("mine/b",)
    assert done.exit_code == 1
    said = re.search(r"This pair cannot be shown: ([^<]*)<", text)[1]
    assert re.search(reason, said), said
    assert str(tmp_path) not in text
    assert cards(text)[1]["marks"] == "problem:picture_unreadable"
    assert text.count('class="outline"') == 4


def test_files_outside_the_folder_are_not_shown(tmp_path):
    folder = dataset(tmp_path, ["a", "b"])
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(breast()))
    rows = folder.rows(pairs.RECORDS)
    rows[0]["image"], rows[1]["image"] = "../secret.png", str(secret)
    write(folder.path / pairs.RECORDS, RECORD_COLUMNS, rows)
    done, _ = page([folder], tmp_path)
    assert len(done.unreadable) == 2


@pytest.mark.parametrize("mark", ["empty", "one", "all"])
def test_any_mask_can_be_shown(tmp_path, mark):
    folder = dataset(tmp_path, ["a"])
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[{"empty": np.s_[:0], "one": np.s_[89, 59], "all": np.s_[:]}[mark]] = 255
    (folder.path / "masks" / "0.png").write_bytes(png(mask))
    write(folder.path / pairs.LESIONS, LESION_COLUMNS, [])
    done, text = page([folder], tmp_path)
    assert done.unreadable == ()
    assert ("The mask is empty" in text) == (mark == "empty")
    elements(text)


def test_empty_masks_are_shown_as_such(tmp_path):
    folder = PairsFolder(finished("inbreast", "--with-empty"))
    empty = [row for row in folder.rows(pairs.RECORDS) if row["mask_pixels"] == "0"]
    done, text = page([folder], tmp_path)
    assert done.exit_code == 0
    assert text.count("The mask is empty.") == len(empty) > 0
    assert f"<div><dt>empty masks</dt><dd>{len(empty)}</dd></div>" in text


def test_each_annotator_has_a_card(tmp_path):
    folder = PairsFolder(finished("csaw", "--annotator", "all"))
    ids = {row["record_id"] for row in folder.rows(pairs.RECORDS)}
    _, text = page([folder], tmp_path)
    names = re.findall(r'<h3 id="name-\d+"><a href="#pair-\d+">([^<]*)</a>', text)
    assert {*names} == ids
    assert any(name.endswith("_a2") for name in names)
    assert '<dt>annotator</dt><dd class="annotator">2</dd>' in text


def test_a_folder_without_pairs_has_a_report(tmp_path):
    done, text = page([dataset(tmp_path, [])], tmp_path)
    assert (done.pairs, done.shown) == (0, 0)
    elements(text)


def test_damaged_tables_are_refused(tmp_path):
    folder = dataset(tmp_path, ["a"])
    (folder.path / pairs.LESIONS).write_text("dataset,record_id\nmine\n")
    with pytest.raises(UsageError, match=r"lesions.csv is damaged"):
        report([folder], tmp_path / "r.html", ONE)


# ------------------------------------------------------------------------- pictures


def filled(lines, shape):
    """Return which pixel centres lie inside outlines, by even-odd counting to the right."""
    inside = np.zeros(shape, bool)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    for line in lines:
        for (x0, y0), (x1, y1) in zip(line, np.roll(line, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            crosses = (rows > min(y0, y1)) & (rows < max(y0, y1))
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            inside ^= crosses & (columns < at)
    return inside


def test_outlines_run_exactly_along_the_edges_of_the_pixels():
    rng = np.random.default_rng(3)
    blob = cv2.GaussianBlur(rng.random((41, 67)), (0, 0), 2.5)
    mask = (blob > np.median(blob)).astype(np.uint8) * 255  # parts, holes, the border
    assert len(outlines(mask)) > 5
    assert np.array_equal(filled(outlines(mask), mask.shape), mask > 0)


def test_the_outline_of_a_pixel_is_its_square():
    mask = np.zeros((5, 9), np.uint8)
    mask[3, 7] = 255
    (line,) = outlines(mask)
    assert sorted(map(tuple, line.tolist())) == [(7, 3), (7, 4), (8, 3), (8, 4)]
    assert svg_path([line], (5, 9), (9, 5), exact=True).startswith("M28 12l")
    assert svg_path([line], (5, 9), (90, 50), exact=True).startswith("M280 120l")
    assert outlines(mask * 0) == []


def test_the_box_round_a_lesion_stays_in_the_image():
    rows, columns = room_round((2, 80, 40, 30), (100, 200))
    assert (rows.stop - rows.start, columns.stop - columns.start) == (68, 68)
    assert (rows.stop, columns.start) == (100, 0)
    rows, columns = room_round((100, 10, 90, 20), (60, 300))  # wider than the image is high
    assert (rows.start, rows.stop) == (0, 60)
    assert (columns.start, columns.stop) == (69, 222)


def test_the_window_is_that_of_the_breast():
    image = breast()
    low, high = window_of(image)
    assert 950 < low < 1150
    assert 3000 < high <= image.max()
    shown = windowed(image, (low, high))
    assert (shown.dtype, shown.min(), shown.max()) == (np.uint8, 0, 255)
    flat = np.full((20, 30), 2000, np.uint16)
    low, high = window_of_part(flat, (1000, 3000))
    assert (low, high) == (1750, 2250)  # not stretched to noise
    assert windowed(flat, window_of(flat)).shape == (20, 30)


def test_an_overlay_has_the_contour_where_the_mask_ends(tmp_path):
    folder = dataset(tmp_path, ["a"]).path
    picture = np.asarray(
        Image.open(io.BytesIO(overlay(folder, "images/0.png", "masks/0.png", full=True)))
    )
    assert picture.shape == (HEIGHT, WIDTH, 3)
    coloured = np.ptp(picture.astype(int), axis=2) > 20
    rows, columns = np.nonzero(coloured)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (29, 38, 9, 13)
    assert not coloured[31:37, 11].any()


def test_overlays_are_fitted_unless_told_otherwise(tmp_path):
    folder = dataset(tmp_path, ["a"])
    large = np.kron(breast(), np.ones((25, 25), np.uint16))
    mask = np.zeros(large.shape, np.uint8)
    mask[100:900, 200:1000] = 255
    (folder.path / "images" / "0.png").write_bytes(png(large))
    (folder.path / "masks" / "0.png").write_bytes(png(mask))
    (fitted,) = overlays([folder], ["a"], tmp_path / "out")
    (full,) = overlays([folder], ["mine_a"], tmp_path / "full", full=True)
    assert fitted.name == full.name == "mine_a.png"
    with Image.open(fitted) as small, Image.open(full) as big:
        assert (small.size, big.size) == ((1067, 1600), (1500, 2250))


def test_overlays_name_what_they_do_not_know(tmp_path):
    folder = dataset(tmp_path, ["P177_L", "P178_R"])
    with pytest.raises(UsageError, match="P177_L") as caught:
        overlays([folder], ["P178_R", "P177_Z"], tmp_path / "out")
    assert "P177_Z" in str(caught.value)
    assert not (tmp_path / "out").exists()
    (folder.path / "masks" / "0.png").unlink()
    with pytest.raises(RecordError, match="P177_L cannot be drawn"):
        overlays([folder], ["P177_L"], tmp_path / "out")


# ------------------------------------------------------------------------- plots


def test_axes_have_round_ticks():
    assert axis_of([0.2, 7300], logarithmic=True).ticks() == [1, 10, 100, 1000]
    assert axis_of([3, 8], logarithmic=True).ticks() == [5]
    assert axis_of([0.11, 0.78]).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert axis_of([-3, 17]).ticks() == [-5, 0, 5, 10, 15, 20]
    assert axis_of([5, 5]).place(5) == pytest.approx(0.5)
    assert axis_of([5.0]).ticks()
    assert axis_of([], logarithmic=True).ticks()


def test_plots_tell_their_numbers_in_words():
    plot = histograms({"one": [1, 10, 100], "none": []}, "Area", "mm²")
    assert 'aria-label="Area. one: 3 values, median 10 mm²"' in plot
    assert "none" not in plot
    few = boxes({"a": [3, 1, 2]}, "score")
    assert "a: 3 values, median 2, half from 1.5 to 2.5" in few
    assert few.count("<circle") == 3
    many = boxes({"a": list(range(100))}, "score", "more precise →")
    assert "<circle" not in many
    assert "more precise →</text>" in many
    assert 'aria-label="Views. CC: 3; MLO: 1"' in bars({"CC": 3, "MLO": 1}, "Views")
    many = bars({f"w{number:02}": number + 1 for number in range(30)}, "Words")
    assert "17 others: 153" in many
    for nothing in (histograms({}, "", ""), boxes({}, ""), bars({}, "")):
        assert nothing == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.123456, "0.123"), (12.345, "12.3"), (1234.6, "1,235"), (-0.5, "-0.5"), (3, "3")],
)
def test_numbers_are_short(value, text):
    assert short(value) == text


def test_numbers_that_are_tiny_or_whole_keep_their_digits():
    assert short(1e-9) == "0"
    assert short(100.0) == "100"
    assert short(0.0049) == "0.0049"


# ------------------------------------------------------------------------- the command line


@pytest.fixture
def root(tmp_path):
    """Return a root of two datasets that may be changed."""
    for name in ("cdd", "inbreast"):
        shutil.copytree(finished(name), tmp_path / "root" / name)
    (tmp_path / "root" / ".gitignore").write_text("*\n")
    return tmp_path / "root"


def test_the_page_lands_in_the_root_where_no_other_command_minds_it(run, root):
    code, said, _ = run("report", root, "--jobs", 1)
    assert code == 0
    assert f"{root / 'report.html'}: all of " in said
    assert "may not be passed on: INbreast" in said
    first = (root / "report.html").read_bytes()
    assert run("report", root, "--jobs", 1)[0] == 0
    assert (root / "report.html").read_bytes() == first
    assert run("report", root / "cdd", "--jobs", 1, "--png", "P1_L_DM_MLO")[0] == 0
    assert run("report", root / "cdd", "--jobs", 1)[0] == 0
    assert {"report.html", "overlays"} <= {path.name for path in (root / "cdd").iterdir()}
    code, said, _ = run("verify", root)
    assert code == 0
    assert "orphan" not in said


def test_a_page_in_the_root_does_not_uncover_it(run, root):
    (root / ".gitignore").unlink()
    shutil.rmtree(root / "inbreast")
    assert run("report", root, "--jobs", 1)[0] == 0
    assert run("report", root, "--png", "P1_L_DM_MLO")[0] == 0
    assert run("refactor", "csaw", original("csaw"), "-o", root, "-j", 1)[0] == 0
    assert (root / ".gitignore").read_text() == "*\n"


def test_a_selection_with_a_page_is_replaced(run, root, tmp_path):
    kept, chosen = tmp_path / "kept.csv", tmp_path / "chosen"
    for record_id in ("P1_L_DM_MLO", "P2_R_DM_CC"):
        kept.write_text(f"dataset,record_id\ncdd,{record_id}\n")
        assert run("select", root, "--manifest", kept, "-o", chosen, "--redo")[0] == 0
        assert run("report", chosen, "--jobs", 1)[0] == 0
        assert f">{record_id}</a></h3>" in (chosen / "report.html").read_text()


def test_who_publishes_with_git_is_warned(run, root, tmp_path):
    (tmp_path / ".git").mkdir()
    assert "git does not ignore" not in run("report", root, "--jobs", 1)[1]
    paper = tmp_path / "paper" / "report.html"
    assert "git does not ignore this place" in run("report", root, "--jobs", 1, "-o", paper)[1]
    assert "git does" not in run("report", root / "cdd", "--jobs", 1, "-o", paper)[1]


def test_overlays_are_written_into_a_folder(run, root, tmp_path):
    code, said, _ = run("report", root, "--png", "P1_L_DM_MLO", "--png", "cdd_P2_R_DM_CC")
    assert code == 0
    names = ["cdd_P1_L_DM_MLO.png", "cdd_P2_R_DM_CC.png"]
    assert said.split() == [str(root / "overlays" / name) for name in names]
    elsewhere = tmp_path / "figures"
    code, said, _ = run(
        *("report", root, "--png", "P1_L_DM_MLO", "--full", "-o", elsewhere, "--json")
    )
    assert json.loads(said)["files"] == [str(elsewhere / names[0])]
    with (
        Image.open(elsewhere / names[0]) as full,
        Image.open(root / "cdd/images/P1_L_DM_MLO.png") as image,
    ):
        assert full.size == image.size
    assert not (root / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-o", "."), "the page is one file, and this is a folder"),
        (("-o", "page"), "ends in .html"),
        (("-o", "records.csv"), "ends in .html"),
        (("-o", "file/report.html"), "cannot write the page there"),
        (("--png", "P1_L_DM_MLO", "-o", "report.html"), "--png writes PNG files into a folder"),
        (("--png", "P1_L_DM_MLX"), "P1_L_DM_MLO"),
        (("--full",), "--png RECORD"),
        (("--sort", "solidity"), "bcseg score"),
        (("--sort", "mask_area"), "--sort mask_area_mm2"),
    ],
)
def test_wrong_usage_writes_nothing(run, root, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code, said, error = run("report", root, "--jobs", 1, *words)
    assert (code, said) == (2, "")
    assert reason in error
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
