"""`bcseg verify` and `bcseg stats` as a user runs them."""

from __future__ import annotations

import csv
import functools
import json
import shutil

import cv2
import pytest

from archives import FIVE, copy_of, finished, original
from bcseg import synth
from bcseg.pairs import PROBLEM_COLUMNS


@pytest.fixture
def root(tmp_path):
    """Return a root with the pairs of one dataset, to be changed."""
    shutil.copytree(finished("inbreast"), tmp_path / "pairs" / "inbreast")
    return tmp_path / "pairs"


@functools.cache
def quirky(dataset, folder):
    return synth.build(dataset, folder / dataset, scale=0.1, quirks=True).root


@pytest.fixture(scope="module")
def quirks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quirks")
    return lambda dataset: quirky(dataset, folder)


def change_a_mask(root):
    """Turn a mask upside down; return its record id."""
    path = sorted((root / "inbreast" / "masks").glob("*.png"))[0]
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), mask[::-1])
    return path.stem


def read_list(path):
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames) == PROBLEM_COLUMNS
        return list(reader)


# ------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize("fast", [False, True])
def test_a_clean_folder_ends_with_0(run, root, tmp_path, fast):
    options = ["--fast"] if fast else []
    code, text, _ = run("verify", root, "-j", 1, "--out", tmp_path / "list.csv", *options)
    assert code == 0
    assert "as recorded" in text
    assert {row["severity"] for row in read_list(tmp_path / "list.csv")} <= {"warning"}


def test_a_fault_ends_with_1_and_is_listed_until_the_baseline_has_it(run, root, tmp_path):
    record_id = change_a_mask(root)
    code, text, _ = run("verify", root, "-j", 1, "--out", tmp_path / "list.csv")
    assert code == 1
    assert record_id in text
    failed = [row for row in read_list(tmp_path / "list.csv") if row["severity"] == "failed"]
    assert {row["record_id"] for row in failed} == {record_id}
    code, text, _ = run("verify", root, "-j", 1, "--baseline", tmp_path / "list.csv")
    assert code == 0
    assert "known from the baseline" in text
    (root / "inbreast" / "masks" / f"{record_id}.png").unlink()
    assert run("verify", root, "-j", 1, "--baseline", tmp_path / "list.csv")[0] == 1


def test_fast_decodes_nothing(run, root):
    record_id = change_a_mask(root)
    assert run("verify", root, "--fast")[0] == 0
    (root / "inbreast" / "masks" / f"{record_id}.png").unlink()
    code, text, _ = run("verify", root, "--fast")
    assert code == 1
    assert record_id in text


def test_the_archive_is_read_again(run, root, tmp_path):
    raw = copy_of("inbreast", tmp_path / "raw")
    words = ("verify", root, "-j", 1, "--source", f"inbreast={raw}")
    code, text, _ = run(*words)
    assert code == 0
    assert "once more from the archive" in text
    written = {path.stem for path in (root / "inbreast" / "masks").iterdir()}
    contours = next(path for path in raw.rglob("AllXML/*.xml") if path.stem in written)
    changed = contours.read_text(encoding="utf-8").replace("(", "(1", 5)
    contours.write_text(changed, encoding="utf-8")
    code, text, _ = run(*words)
    assert code == 1
    assert contours.stem in text


def test_the_document_is_all_that_is_printed(run, root):
    change_a_mask(root)
    code, text, _ = run("verify", root, "-j", 1, "--json")
    document = json.loads(text)
    assert code == document["exit_code"] == 1
    assert document["schema_version"] == 1
    assert any(row["severity"] == "failed" for row in document["findings"])


# ------------------------------------------------------------------------------ archives


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ("inbreast", "corner fits best"),
        ("bcdr", "counted from 0 (as read) fits best"),
        ("cdd", "are the files that the regions were drawn on"),
    ],
)
def test_a_self_check_prints_the_distribution_of_the_errors(run, quirks, dataset, told):
    source = f"{dataset}={quirks(dataset)}"
    words = ("verify", "--self-check", "--source", source, "-j", 1)
    code, text, _ = run(*words)
    assert code == 0
    assert "quartiles" in text
    assert told in text
    code, text, _ = run(*words, "--json")
    document = json.loads(text)
    assert (code, document["exit_code"]) == (0, 0)
    assert [check["dataset"] for check in document["checks"]] == [dataset]


def test_a_self_check_of_two_archives_lists_what_is_off_in_one(run, tmp_path):
    raw = copy_of("cdd", tmp_path / "cdd")
    picture = next(raw.rglob("*_DM_*.jpg"))
    picture.write_bytes(picture.read_bytes() + bytes(50))
    words = ["verify", "--self-check", "-j", 1, "--source", f"cdd={raw}"]
    words += ["--source", f"inbreast={original('inbreast')}"]
    code, text, _ = run(*words, "--out", tmp_path / "off.csv")
    assert code == 1
    assert "inbreast: " in text
    (row,) = read_list(tmp_path / "off.csv")
    assert (row["dataset"], row["record_id"]) == ("cdd", picture.stem.strip())
    assert run(*words, "--baseline", tmp_path / "off.csv")[0] == 0


def test_the_table_of_cdd_against_its_regions(run, quirks, tmp_path):
    """Published peculiarities are notes, and no note ends with 1."""
    words = ("verify", "--clinical", "--source", f"cdd-cesm={quirks('cdd')}")
    code, text, _ = run(*words, "--out", tmp_path / "list.csv")
    assert code == 0
    assert "normal images with a region: 1 here, 8 published" in text
    found = {(row["record_id"], row["severity"]) for row in read_list(tmp_path / "list.csv")}
    assert ("P4_R_DM_CC", "note") in found
    assert {severity for _, severity in found} == {"note"}
    document = json.loads(run(*words, "--json")[1])
    assert [one["dataset"] for one in document["clinical"]] == ["cdd"]


def test_a_disagreement_that_nobody_published_counts(run, tmp_path):
    raw = copy_of("inbreast", tmp_path / "raw")
    (table,) = raw.rglob("INbreast.csv")
    lines = table.read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(";")
    cells[2] = "L" if cells[2] == "R" else "R"
    table.write_text("\n".join([lines[0], ";".join(cells), *lines[2:]]), encoding="utf-8")
    words = ("verify", "--clinical", "--source", f"inbreast={raw}")
    code, text, _ = run(*words, "--out", tmp_path / "list.csv")
    assert code == 1
    assert cells[5] in text
    assert "failed" in {row["severity"] for row in read_list(tmp_path / "list.csv")}
    assert run(*words, "--baseline", tmp_path / "list.csv")[0] == 0


# ------------------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", "x"], "not NAME=PATH"),
        (["--source", "=x"], "not NAME=PATH"),
        (["--source", "inbrest=x"], "do you mean 'inbreast'"),
        (["--source", "inbreast=x", "--source", "INbreast=y"], "two archives of inbreast"),
        (["--source", "inbreast=nowhere"], "no such folder"),
        (["--source", "cdd=."], "cdd"),
        (["--self-check"], "no archive to check"),
        (["--clinical"], "no archive to check"),
        (["--clinical", "--self-check", "--source", "cdd=x"], "two runs"),
        (["--clinical", "--fast", "--source", "cdd=x"], "--fast is for pairs"),
        (["--self-check", "--source", "csaw=x"], "bcdr, cdd, inbreast"),
        (["--baseline", "nowhere.csv"], "baseline"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what(run, root, words, said):
    code, text, told = run("verify", root, *words)
    assert (code, text) == (2, "")
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize("command", ["verify", "stats"])
def test_a_place_without_pairs_is_named(run, tmp_path, command):
    for place in (tmp_path, tmp_path / "nowhere"):
        code, text, told = run(command, place)
        assert (code, text) == (2, "")
        assert str(place) in told


# ------------------------------------------------------------------------------ stats


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Return a root with the pairs of all five datasets."""
    folder = tmp_path_factory.mktemp("five")
    for dataset in FIVE:
        shutil.copytree(finished(dataset), folder / dataset)
    return folder


@pytest.mark.parametrize("columns", [80, 120])
def test_the_statistics_of_five_datasets(run, five, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    code, text, _ = run("stats", five)
    assert code == 0
    heads = [line.split()[0] for line in text.splitlines() if line[:1].strip()]
    assert heads[:5] == list(FIVE)
    assert "published" in text
    assert "calc train: images" in text
    reasons = [line for line in text.splitlines() if line.startswith("    (")]
    assert reasons
    assert max(map(len, reasons)) <= columns


def test_the_statistics_as_a_document(run, five):
    code, text, _ = run("stats", five, "--json")
    document = json.loads(text)
    assert code == 0
    assert [one["dataset"] for one in document["datasets"]] == list(FIVE)
    for one in document["datasets"]:
        for figure in one["published"]:
            assert figure["source"]
            assert figure["mark"] in ("equal", "different")
    assert run("stats", five / "cdd")[0] == 0
