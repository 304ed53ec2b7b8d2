"""The documents agree with the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer.main

import bcseg
from bcseg import pairs
from bcseg.cli import app

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
