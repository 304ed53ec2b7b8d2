"""`bcseg demo`: the two-minute tour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.commands.options import Json, disk
from bcseg.console import out


def demo(
    folder: Annotated[
        Path, typer.Argument(parser=disk, metavar="FOLDER", help="Folder of the tour.")
    ] = Path("bcseg-demo"),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
) -> None:
    """Take the two-minute tour: synthetic archives of all five, refactored, selected, checked.

    [bold]Example:[/bold] bcseg demo
    """
    from bcseg.demo import tour

    out.set(as_json=as_json)
    result = tour(folder, jobs=jobs, say=out.result)
    out.document(result.document())
    raise typer.Exit(result.exit_code)
