"""The help of the command line: plain text in groups.

Not typer's boxes: they import so much of rich that `--help` takes twice the time.
"""

from __future__ import annotations

import os
import re
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_BOLD = re.compile(r"\[bold\](.*?)\[/bold\]")


def _bold(text: str) -> str:
    """Return text for a heading; typer drops the colours where there is no terminal."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, bold=True)


def _paragraphs(command: Any) -> str:
    return _BOLD.sub(lambda found: _bold(found[1]), cleandoc(command.help or ""))


def _write_text(command: Any, formatter: Any) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(_paragraphs(command))


def _write_sections(formatter: Any, sections: dict[str, list[tuple[str, str]]]) -> None:
    for title, rows in sections.items():
        with formatter.section(_bold(title)):
            formatter.write_dl(rows)


def _write_parameters(command: Any, context: Any, formatter: Any) -> None:
    """Write arguments and options by the panel that they name."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        row = parameter.get_help_record(context)
        if row is not None:
            plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
            title = getattr(parameter, "rich_help_panel", None) or plain
            sections.setdefault(title, []).append(row)
    _write_sections(formatter, sections)


class GroupedCommand(TyperCommand):
    """A command whose help shows its options by panel."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does, its example at the end."""
        _write_text(self, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        _write_parameters(self, ctx, formatter)


class Groups(TyperGroup):
    """The program, whose help shows its commands by panel."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the program does."""
        _write_text(self, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options, then commands with the first paragraph of their help."""
        _write_parameters(self, ctx, formatter)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            said = " ".join(_paragraphs(command).partition("\n\n")[0].split())
            title = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(title, []).append((name, said))
        _write_sections(formatter, sections)
