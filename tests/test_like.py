"""`refactor --like`: an earlier run again."""

from __future__ import annotations

import json

import pytest

from bcseg import synth


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return synth.build("inbreast", tmp_path_factory.mktemp("like") / "original", scale=0.1).root


@pytest.fixture
def first(source, tmp_path, run):
    options = ("--kind", "lesions", "--size", 200, "--pad", "--depth", 8, "--masks", "lesion")
    code, _, err = run("refactor", "inbreast", source, "-o", tmp_path / "one", *options)
    assert code == 0, err
    return tmp_path / "one" / "inbreast" / "dataset.json"


def test_the_same_archive_gives_the_same_content(source, first, tmp_path, run):
    code, out, _ = run("refactor", "inbreast", source, "-o", tmp_path / "two", "--like", first)
    assert code == 0
    assert out.endswith("identical to the earlier run\n")
    one, two = first.parent, tmp_path / "two" / "inbreast"
    assert (one / "dataset.json").read_bytes() == (two / "dataset.json").read_bytes()


def test_another_contour_is_named(source, first, tmp_path, run):
    import shutil

    changed = tmp_path / "changed"
    shutil.copytree(source, changed)
    xml = next(p for p in sorted(changed.rglob("*.xml")) if "muscle" not in p.name)
    text = xml.read_text()
    point = text.index("<string>(", text.index("<key>Point_px</key>")) + len("<string>(")
    x, comma = text[point:].split(",", 1)[0], text.index(",", point)
    xml.write_text(f"{text[:point]}{float(x) + 9:f}{text[comma:]}")
    code, out, _ = run(
        "refactor", "inbreast", changed, "-o", tmp_path / "two", "--like", first, "--json"
    )
    document = json.loads(out)
    assert code == 1
    assert document["identical"] is False
    assert [line.split(":")[0] for line in document["differences"]] == [xml.stem]


def test_other_options_beside_it_are_refused(source, first, tmp_path, run):
    code, _, err = run(
        "refactor", "inbreast", source, "-o", tmp_path / "two", "--like", first, "--clahe"
    )
    assert code == 2
    assert "--like brings its own options" in err


def test_what_is_no_earlier_run_is_refused(source, first, tmp_path, run):
    other = tmp_path / "other.json"
    other.write_text(first.read_text().replace('"inbreast"', '"cdd"'))
    for path, words in (
        (other, "was of cdd"),
        (first.parent / "records.csv", "not a dataset.json"),
    ):
        code, _, err = run("refactor", "inbreast", source, "-o", tmp_path / "x", "--like", path)
        assert code == 2
        assert words in err
        assert not (tmp_path / "x").exists()
