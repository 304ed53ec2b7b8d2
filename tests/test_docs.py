"""The documents agree with the code."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import os
import re
import shlex
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer.main
import yaml

import bcseg
from bcseg import pairs
from bcseg.cli import app, main

REPOSITORY = Path(__file__).parent.parent
PACKAGE = Path(bcseg.__file__).parent
_CODE = re.compile(r"[a-z]+(_[a-z]+)*")
COMMANDS = sorted(typer.main.get_command(app).commands)

# words that are codes only as a value of the adapters' left_out, fates or file verdicts
_INDIRECT = {
    "no_image",
    "image_type_not_chosen",
    "no_such_annotator",
    "no_coordinates",
    "kind_not_chosen",
    "other_annotator",
    "cropped_image",
    "same_contours_binary",
    "unknown_class",
    "limit",
    "not_reached",
    "source_gone",
    "document",
    "blank_mask",
    "bug",
    "out_of_memory",
    "worker_died",
    "unknown_file",
    "link_to_folder",
    "not_a_file",
    "duplicate_member",
    "encrypted_member",
    "zip_bomb",
    "broken_link",
    "conflicting_members",
    "link_out_of_source",
    "unmarked_positive",
    "not_called_free",
    "no_lesion",
    "no_chosen_kind",
    "image_variant",
    "duplicate_file",
    "duplicate_image",
    "lesion_left_away",
    "table_shipped",
    "not_selected",
    "rejected",
    "unsure",
    "flagged",
    "undecided",
    "lesion_rejected",
    "lesion_not_accepted",
    "where_failed",
    "beyond_per_patient",
    "beyond_top",
}


def codes_in_source() -> set[str]:
    """Return every code that the package raises with `code=` or gives to a left-out item."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if {"synth", "verify", "review", "scores", "report"} & set(path.relative_to(PACKAGE).parts):
            continue  # these write no problems.csv: their findings have documents of their own
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            words = [k.value for k in node.keywords if k.arg == "code"]
            if name in ("LeftOut", "Failed", "Warned", "warn", "Unreadable", "failed", "left_out"):
                words += node.args[:2]
            for word in words:
                if isinstance(word, ast.Constant) and re.fullmatch(
                    r"[a-z]+(_[a-z]+)*", str(word.value)
                ):
                    found.add(word.value)
    return found


def codes_in_document() -> set[str]:
    text = (REPOSITORY / "docs" / "problems.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {code for cell in first_cells for code in re.findall(r"`([a-z_]+)`", cell)}


def test_every_code_is_explained():
    assert codes_in_source() - codes_in_document() == set()


def test_no_code_is_explained_that_does_not_exist():
    source = "\n".join(p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py"))
    unknown = codes_in_document() - codes_in_source() - _INDIRECT
    assert unknown == set()
    assert [code for code in _INDIRECT if f'"{code}"' not in source] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, run):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: bcseg {command}" in " ".join(out.split())
    assert "[/" not in out  # marks of bold


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert f"bcseg {command}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_every_column_is_explained():
    text = (REPOSITORY / "docs" / "pairs-folder.md").read_text(encoding="utf-8")
    columns = {*pairs.RECORD_COLUMNS, *pairs.LESION_COLUMNS}
    assert {column for column in columns if f"`{column}`" not in text} == set()


# ------------------------------------------------------------------------------ sessions


def sessions(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a page, in order, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def pattern_of(lines: list[str]) -> str:
    """Return a pattern of the text that these lines show; "..." stands for any lines."""
    return "".join("(.*\n)*" if line == "..." else re.escape(line) + "\n" for line in lines)


@pytest.mark.parametrize("page", ["README.md", "docs/quick-start.md", "docs/faq.md"])
def test_the_sessions_are_what_a_user_sees(page, tmp_path, monkeypatch):
    """Messages and results together, as on a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BCSEG_DATA", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)  # one process: fast
    shown = sessions((REPOSITORY / page).read_text(encoding="utf-8"))
    assert shown
    for command, lines in shown:
        program, *words = shlex.split(command)
        assert program == "bcseg"
        screen = io.StringIO()
        with (
            contextlib.redirect_stdout(screen),
            contextlib.redirect_stderr(screen),
            pytest.raises(SystemExit) as stop,
        ):
            main(words)
        assert stop.value.code in (0, 1, None), command
        printed = screen.getvalue()
        assert re.fullmatch(pattern_of(lines), printed), f"$ {command}\n{printed}"


# ------------------------------------------------------------------------------ pages and links


PAGES = ["README.md", *(str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("docs/**/*.md"))]


def without_code(text: str) -> str:
    """Return a page without its blocks and pieces of code."""
    return re.sub(
        r"`[^`\n]+`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub and MkDocs make them."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    path = REPOSITORY / page
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
        if page.startswith("docs/"):  # the site has nothing else
            assert target.is_relative_to(REPOSITORY / "docs"), link


def test_every_page_is_in_the_navigation_of_the_site():
    settings = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": (\S+\.md)$", settings, re.MULTILINE)
    assert sorted(f"docs/{one}" for one in listed) == sorted(set(PAGES) - {"README.md"})


def test_the_citation_is_of_this_version():
    found = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert found["version"] == bcseg.__version__
    assert (found["cff-version"], found["license"]) == ("1.2.0", "MIT")


def test_the_site_asks_the_network_for_no_fonts():
    assert "font: false" in (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------ a page a command


@pytest.fixture(scope="module")
def command_pages() -> dict[str, str]:
    path = REPOSITORY / "supply" / "command_pages.py"
    spec = importlib.util.spec_from_file_location("command_pages", path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look it up
        spec.loader.exec_module(module)
    return module.pages()


def test_the_pages_of_the_commands_are_those_of_the_help(command_pages):
    folder = REPOSITORY / "docs" / "commands"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert written == command_pages, "run `make command-pages`"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_the_options_that_the_help_has(command, command_pages, run):
    _, _, said = run(command, "--help")[1].partition("\n")
    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", said))
    page = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", command_pages[f"{command}.md"]))
    assert told - page == {"--help", "-h"}
    assert page - told == set()
