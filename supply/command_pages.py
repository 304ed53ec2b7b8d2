"""Write docs/commands/: a page for each command, from the declarations that make its help.

Usage: python supply/command_pages.py docs/commands. A test compares the pages with the help itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from bcseg.cli import COMMANDS, EXIT_CODES, options

MADE = "<!-- made by `make command-pages` from its help: do not edit -->\n"
_EXAMPLE = "[bold]Example:[/bold] "
MORE = {
    "datasets": ("the archives, one page each", "../datasets.md"),
    "why": ("codes of problems.csv and left_out.csv", "../problems.md"),
    "inspect": ("the archives, one page each", "../datasets.md"),
    "stats": ("the pairs folder", "../pairs-folder.md"),
    "verify": ("codes of `bcseg verify`", "../verify.md"),
    "report": ("the report", "../report.md"),
    "refactor": ("the pairs folder", "../pairs-folder.md"),
    "select": ("the choice, its order and its files", "../select.md"),
    "split": ("splits by patient", "../split.md"),
    "export": ("what each format carries, and what it cannot", "../export.md"),
    "restore": ("masks back on the raw grid", "../restore.md"),
    "merge": ("past one machine", "../scaling.md"),
    "score": ("mask-quality scores", "../scores.md"),
    "review": ("keys, tables, several reviewers", "../review.md"),
    "synth": ("the archives and their layouts, one page each", "../datasets.md"),
    "demo": ("quick start", "../quick-start.md"),
}


@dataclass(frozen=True)
class Parameter:
    """An argument or option as a command declares it (typer's own objects differ by version)."""

    name: str
    type: Any
    default: Any
    info: Any

    @property
    def is_argument(self) -> bool:
        """Return whether it is typed without a name."""
        return isinstance(self.info, ArgumentInfo)

    @property
    def required(self) -> bool:
        """Return whether the command needs it."""
        return self.default is signature(print).empty

    @property
    def panel(self) -> str:
        """Return its heading in the help."""
        return self.info.rich_help_panel or "Options"

    @property
    def typed(self) -> str:
        """Return how it is typed: ROOT, or `-o, --out ROOT`."""
        if self.is_argument:
            return self.info.metavar or self.name.strip("_").upper()
        first = self.info.default  # where typer keeps the first name of an Annotated option
        names = [*([first] if isinstance(first, str) else []), *(self.info.param_decls or ())]
        names = names or [f"--{self.name.replace('_', '-')}"]
        short_first = ", ".join(sorted(names, key=lambda one: one.startswith("--")))
        return short_first if self.type is bool else f"{short_first} {self._value}"

    @property
    def _value(self) -> str:
        if self.info.metavar:
            return str(self.info.metavar)
        inner = [one for one in get_args(self.type) if one is not type(None)]
        if "tuple[" in str(self.type):
            return "FILE FILE"
        if get_origin(self.type) is Literal:
            return "|".join(map(str, inner))
        plain = inner[0] if inner else self.type
        return {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}.get(plain, "TEXT")

    @property
    def said(self) -> str:
        """Return its help, its default, and whether it must be given."""
        text = self.info.help
        if self.required:
            return f"{text} Required."
        if self.info.show_default is True and self.default not in (None, False, ""):
            text += f" Default: `{self.default}`."
        repeatable = get_origin(self.type) is list or "list[" in str(self.type)
        return text + (" Repeatable." if repeatable and "repeatable" not in text else "")


def parameters(function: Callable[..., None]) -> list[Parameter]:
    """Return the arguments and options of a command, as declared."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, one in signature(function).parameters.items():
        kind, *infos = get_args(hints[name])
        found.append(Parameter(name, kind, one.default, infos[-1]))
    return found


def pages() -> dict[str, str]:
    """Return the text of every page, by file name."""
    functions = [function for group in COMMANDS.values() for function in group]
    return {"README.md": _overview()} | {f"{one.__name__}.md": _page(one) for one in functions}


def _overview() -> str:
    lines = ["# Commands", "", MADE, f"{EXIT_CODES} Every command has `--help`."]
    for group, functions in COMMANDS.items():
        lines += ["", f"## {group}", "", "| command | what it does |", "|---|---|"]
        for function in functions:
            name, said = function.__name__, _cell(_paragraphs(function)[0])
            lines.append(f"| [`bcseg {name}`]({name}.md) | {said} |")
    lines += ["", "## Without a command", "", *_table("option", parameters(options))]
    lines += [
        "| `--install-completion` | Install completion for the current shell. |",
        "| `-h, --help` | The help of bcseg, or of a command. |",
    ]
    return "\n".join(lines) + "\n"


def _page(function: Callable[..., None]) -> str:
    name = function.__name__
    paragraphs = _paragraphs(function)
    said = [one for one in paragraphs if not one.startswith(_EXAMPLE)]
    examples = [one.removeprefix(_EXAMPLE) for one in paragraphs if one.startswith(_EXAMPLE)]
    title, page = MORE[name]
    declared = parameters(function)
    arguments = [one for one in declared if one.is_argument]
    words = [one.typed if one.required else f"[{one.typed}]" for one in arguments]
    lines = [f"# `bcseg {name}`", "", MADE, *(line for one in said for line in (one, ""))]
    lines += ["```sh", " ".join([f"bcseg {name} [OPTIONS]", *words]), "```", "", "For example:", ""]
    lines += ["```sh", *examples, "```", ""]
    lines += [f"More: [{title}]({page}).", ""]
    if arguments:
        lines += ["## Arguments", "", *_table("argument", arguments), ""]
    chosen = [one for one in declared if not one.is_argument]
    for panel in dict.fromkeys(one.panel for one in chosen):
        rows = [one for one in chosen if one.panel == panel]
        lines += [f"## {panel}", "", *_table("option", rows), ""]
    return "\n".join(lines[:-1]) + "\n"


def _paragraphs(function: Callable[..., None]) -> list[str]:
    """Return the paragraphs of the help, examples last."""
    return [" ".join(one.split()) for one in cleandoc(function.__doc__ or "").split("\n\n")]


def _table(kind: str, rows: list[Parameter]) -> list[str]:
    shown = [f"| `{one.typed.replace('|', chr(92) + '|')}` | {_cell(one.said)} |" for one in rows]
    return [f"| {kind} | what it does |", "|---|---|", *shown]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def main(folder: Path) -> None:
    """Write all pages, and delete those of commands that are gone."""
    folder.mkdir(exist_ok=True)
    found = pages()
    for path in folder.glob("*.md"):
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
