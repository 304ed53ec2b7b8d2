"""The command line: its commands in groups, and the door that users go through.

Each command is a file of `commands`. Heavy imports stand inside their functions, so that --help
answers at once.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.main

from bcseg import __version__
from bcseg.commands.datasets import datasets
from bcseg.commands.demo import demo
from bcseg.commands.export import export
from bcseg.commands.help import GroupedCommand, Groups
from bcseg.commands.inspect import inspect
from bcseg.commands.merge import merge
from bcseg.commands.refactor import refactor
from bcseg.commands.report import report
from bcseg.commands.restore import restore
from bcseg.commands.review import review
from bcseg.commands.score import score
from bcseg.commands.select import select
from bcseg.commands.split import split
from bcseg.commands.stats import stats
from bcseg.commands.synth import synth
from bcseg.commands.verify import verify
from bcseg.commands.why import why
from bcseg.console import Door, out
from bcseg.errors import UsageError

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: half its import time

EXIT_CODES = (
    "Exit codes: 0 all done; 1 done, but some records failed or a check found something; "
    "2 wrong usage or unrecognised input, nothing written; 3 a bug; 130 interrupted."
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=Groups,
    rich_markup_mode=None,  # see commands.help
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Raw archives of public mammography datasets to clean image/mask pairs, "
    "and the precise subset of them.",
    epilog=EXIT_CODES,
)


def _version(context: typer.Context, wanted: bool) -> None:
    if not wanted:
        return
    out.set(as_json=context.params["as_json"])
    if out.json:
        from bcseg.about import about

        out.document(about())
    out.result(f"bcseg {__version__}")
    raise typer.Exit


@app.callback()
def options(
    as_json: Annotated[
        bool,
        typer.Option("--json", is_eager=True, help="With --version: of all libraries, as JSON."),
    ] = False,  # eager, so that it is known before --version answers
    version: Annotated[
        bool, typer.Option("--version", callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Raw archives of public mammography datasets to clean image/mask pairs."""
    if as_json:
        raise UsageError(
            "--json before a command belongs to --version",
            hint="behind the command: bcseg stats --json",
        )


COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Look": (datasets, why, inspect, stats, verify, report),
    "Make": (refactor, select, split, export, restore, merge),
    "Judge": (score, review),
    "Try": (synth, demo),
}
for _panel, _functions in COMMANDS.items():
    for _function in _functions:
        app.command(cls=GroupedCommand, rich_help_panel=_panel)(_function)


@functools.cache
def _program() -> Any:
    """Return the program that typer builds of the commands; it takes a third of a short run."""
    return typer.main.get_command(app)


def main(argv: list[str] | None = None) -> None:
    """Run the command line: the door that users and tests go through."""
    words = sys.argv[1:] if argv is None else argv
    # an option with an optional value: `--with-empty` alone means "normal"
    words = ["--with-empty=normal" if word == "--with-empty" else word for word in words]
    with Door():
        _program()(args=words)
