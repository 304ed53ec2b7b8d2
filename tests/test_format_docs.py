"""The pages about the archives agree with the code, the known irregularities and the counts.

Tables that repeat data of the package are compared cell by cell: a failure shows what to write.
The console sessions of the pages are run, and a line "..." stands for any lines.
"""

from __future__ import annotations

import ast
import csv
import re
import shlex
from pathlib import Path

import pytest

from archives import DATASETS, laid_out
from bcseg import adapters, pairs, published, synth
from bcseg.adapters.base import ReadOptions
from bcseg.record import KINDS
from bcseg.source import open_source
from test_docs import codes_in_document, pattern_of, sessions

REPOSITORY = Path(__file__).parent.parent
QUIRKS = [Path(__file__).parent / "data" / name for name in ("quirks.csv", "quirks_more.csv")]
NAMES = {
    "bcdr": "BCDR",
    "cbis": "CBIS-DDSM",
    "cdd": "CDD-CESM",
    "csaw": "CSAW-S",
    "ddsm": "DDSM",
    "inbreast": "INbreast",
    "mias": "MIAS",
    "vindr": "VinDr-Mammo",
}
LAYOUTS = [(name, layout) for name in DATASETS for layout in synth.LAYOUTS[name]]
_LONGEST_LINE = 110

every_page = pytest.mark.parametrize("name", DATASETS)


def page(name: str) -> str:
    return (REPOSITORY / "docs" / "formats" / f"{name}.md").read_text(encoding="utf-8")


def table(name: str, first_header: str) -> list[list[str]]:
    """Return the cells of the table whose first header is so, without what Markdown escapes."""
    lines = page(name).splitlines()
    start = [n for n, line in enumerate(lines) if line.startswith(f"| {first_header} |")]
    assert len(start) == 1, f"{name}.md: {len(start)} tables begin with {first_header!r}"
    rows = []
    for line in lines[start[0] + 2 :]:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        rows.append([re.sub(r"\\([<|])", r"\1", cell).strip() for cell in cells])
    return rows


def words(text: str) -> str:
    return " ".join(text.split())


# ------------------------------------------------------------------------------ tables of data


def all_quirks() -> list[dict[str, str]]:
    found = []
    for path in QUIRKS:
        with path.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def quirks_of(name: str) -> list[dict[str, str]]:
    return [row for row in all_quirks() if row["dataset"] == NAMES[name]]


@every_page
def test_every_irregularity_is_in_the_page(name):
    expected = [row["quirk"] for row in quirks_of(name)]
    assert expected
    assert [row[0] for row in table(name, "quirk")] == expected


def test_every_irregularity_is_of_a_dataset_with_a_page():
    assert {row["dataset"] for row in all_quirks()} == set(NAMES.values())


@every_page
def test_the_page_says_what_is_done_about_an_irregularity_and_how_it_is_known(name):
    for row, (quirk, reaction, known) in zip(quirks_of(name), table(name, "quirk"), strict=True):
        assert len(reaction) > 5, quirk
        seen, said = ("SEEN" in row["evidence"], "SAID" in row["evidence"])
        assert known.startswith("real files") is seen, quirk
        assert known.removeprefix("real files") != "" or not said, quirk
        assert known == "real files" or said, quirk


@every_page
def test_every_published_figure_is_in_the_page(name):
    figures = published.figures(name)
    assert figures
    expected = [[one.title, f"{one.value:,}", one.source] for one in figures]
    assert table(name, "published figure") == expected


# ------------------------------------------------------------------------------ layouts


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_a_layout_is_recognised_as_its_page_says(name, layout):
    source = open_source(laid_out(name, layout).root)
    found = adapters.get(name).index(source, ReadOptions()).layout
    said = [row[0] for row in table(name, "`bcseg inspect` says") if f"`{layout}`" in row[2]]
    assert said == [found]


@every_page
def test_every_layout_is_in_the_page(name):
    rows = table(name, "`bcseg inspect` says")
    assert {row[0] for row in rows} == set(adapters.get(name)._LAYOUTS)
    named = {layout for row in rows for layout in re.findall(r"`([^`]*)`", row[2])}
    assert named == set(synth.LAYOUTS[name])


# ------------------------------------------------------------------------------ words of the code


def codes_of(name: str) -> set[str]:
    """Return the codes that the adapter's module speaks of."""
    text = Path(str(adapters.get(name).__file__)).read_text(encoding="utf-8")
    constants = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    return constants & codes_in_document()


@every_page
def test_every_code_of_the_adapter_is_in_the_page(name):
    codes = codes_of(name)
    assert codes
    assert {code for code in codes if f"`{code}`" not in page(name)} == set()


@every_page
def test_the_page_speaks_of_codes_that_exist(name):
    cells = [row[0] for row in table(name, "code")]
    codes = {code for cell in cells for code in re.findall(r"`([a-z_]+)`", cell)}
    assert codes
    assert codes - codes_in_document() == set()


@every_page
def test_the_page_speaks_of_columns_that_exist(name):
    known = {*pairs.RECORD_COLUMNS, *pairs.LESION_COLUMNS}
    columns = [re.findall(r"`([a-z_]+)`", row[0]) for row in table(name, "column")]
    assert all(columns)
    assert {column for row in columns for column in row} - known == set()
    told = {"laterality", "view", "age", "birads", "density", "pathology", "split", "annotator"}
    assert told | {"attributes", "lesion_id", "pixel_spacing_mm"} <= {
        column for row in columns for column in row
    }


@every_page
def test_the_page_names_options_kinds_licence_and_citation(name):
    info = adapters.get(name).INFO
    text = page(name)
    for option in info.options:
        assert f"`--{option.replace('_', '-')} " in text
    for other in {"image_type", "annotator", "osirix_origin"} - set(info.options):
        assert f"--{other.replace('_', '-')}" not in text
    assert all(f"`{kind}`" in text for kind in info.default_kinds)
    for fact in (info.licence, info.url, info.citation):
        assert words(fact) in words(text)


def test_the_pages_name_every_kind():
    text = "".join(page(name) for name in DATASETS)
    assert {kind for kind in KINDS if f"`{kind}`" not in text} == set()


@every_page
def test_lines_of_text_are_short(name):
    lines = page(name).splitlines()
    long = [line for line in lines if len(line) > _LONGEST_LINE and not line.startswith("|")]
    assert long == []


# ------------------------------------------------------------------------------ sessions


@every_page
def test_the_commands_of_the_page_print_what_it_shows(name, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BCSEG_DATA", raising=False)
    assert sessions(page(name))
    for command, lines in sessions(page(name)):
        program, *arguments = shlex.split(command)
        assert program == "bcseg"
        one_process = () if arguments[0] == "synth" else ("--jobs", 1)
        code, printed, _ = run(*arguments, *one_process)
        assert code in (0, 1), command
        assert re.fullmatch(pattern_of(lines), printed), f"$ {command}\n{printed}"
