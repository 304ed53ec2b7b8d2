"""The code of docs/adding-a-dataset.md does, as it stands, what the page says."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from archives import codes, document, pixels, rows
from bcseg import adapters
from bcseg.ledger import Ledger, unprocessed_items
from bcseg.source import open_source
from test_format_docs import pattern_of

PAGE = Path(__file__).parent.parent / "docs" / "adding-a-dataset.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python file=(\S+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Save the files of the page into the working folder, and build its archive."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BCSEG_DATA", raising=False)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["build.py", "./original"])
    runpy.run_path("build.py", run_name="__main__")
    return tmp_path


def test_the_page_holds_a_builder_an_adapter_and_a_test():
    assert list(FILES) == ["build.py", "mias.py", "test_mias.py"]
    assert TEXT.count("```python") == len(FILES)


def test_the_sessions_of_the_page(here, run):
    found = re.findall(r"^\$ (bcseg .*)\n((?:(?!\$ |```).*\n)*)", TEXT, re.MULTILINE)
    assert [command.split()[1] for command, _ in found] == ["refactor", "refactor", "report"]
    for command, shown in found:
        code, printed, told = run(*command.split()[1:])
        assert code == 0, told
        lines = [line for line in shown.splitlines() if "up to 2 pairs" not in line]  # on stderr
        assert re.fullmatch(pattern_of(lines), printed), printed


def test_the_masks_are_the_circles_of_the_table(here, run, monkeypatch):
    options = ("--preset", "raw", "--kind", "lesions", "--masks", "lesion", "-j", 1)
    code, _, told = run("refactor", "./mias.py", "./original", *options)
    assert code == 0, told
    folder = here / "bcseg-data" / "mias"
    assert codes(folder, "left_out.csv")["no_lesion"] == ["mdb002"]
    down, across = np.mgrid[:1024, :1024]
    expected = {
        "mdb001/1-mass": (300, 700, 40),
        "mdb003/1-mass": (500, 100, 25),
        "mdb003/2-cluster": (600, 620, 30),
    }
    assert len(rows(folder, "lesions.csv")) == len(expected)
    for name, (x, y, radius) in expected.items():
        disc = (across - x) ** 2 + (down - (1023 - y)) ** 2 <= radius**2
        assert np.array_equal(pixels(folder / f"lesions/{name}.png") > 0, disc), name
    assert np.array_equal(
        pixels(folder / "images/mdb001.png").tobytes(),
        (here / "original/all-mias/mdb001.pgm").read_bytes()[-(1024**2) :],
    )
    monkeypatch.setattr(sys, "argv", ["test_mias.py", str(folder / "masks" / "mdb001.png")])
    runpy.run_path("test_mias.py")


def test_what_cannot_be_read_fails_by_name(here, run):
    table = here / "original" / "Info.txt"
    table.write_text(table.read_text() + "mdb003 F MISC B\nmdb009 G CIRC B 5 5 5\n")
    (here / "original" / "strange.txt").write_text("?")
    code, _, _ = run("refactor", "./mias.py", "./original", "-j", 1)
    folder = here / "bcseg-data" / "mias"
    assert code == 1
    assert codes(folder)["unreadable_contour"] == ["mdb003"]
    assert codes(folder, "left_out.csv")["no_image"] == ["mdb009"]
    items = document(folder)["items"]
    assert all(n["found"] == n["written"] + n["left_out"] + n["failed"] for n in items.values())


def test_every_row_and_file_is_claimed(here):
    adapter = adapters.get(str(here / "mias.py"))
    source = open_source(here / "original")
    index = adapter.index(source, None)
    ledger = Ledger()
    for record in index.records:
        ledger.add(unprocessed_items(record, "written", ""))
    ledger.add_index(index, source.refused)
    assert ledger.close(source.names(), index.tables) == []
    assert adapter.claims(adapter.INFO.layout.splitlines()) == 1


def test_another_folder_is_refused_with_the_layout(here, run):
    (here / "empty").mkdir()
    (here / "empty" / "x.txt").write_text("x")
    code, _, told = run("refactor", "./mias.py", "./empty", "-o", here / "out")
    assert code == 2
    assert "all-mias/mdb001.pgm" in told
    assert not (here / "out").exists()


def test_the_checklist_asks_for_what_nobody_else_can_know():
    asked = re.findall(r"^- \[ \] (?:\*\*(.*?)\*\*)?", TEXT, re.MULTILINE)
    assert {"Origin", "Size", "Licence", "Paper", "Layout", "Who ran the complete archive"} <= {
        *asked
    }
