"""`bcseg inspect`: which archive a source is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.cloud import place
from bcseg.commands.options import Json
from bcseg.console import out


def inspect(
    source: Annotated[
        Path,
        typer.Argument(
            parser=place,
            metavar="SOURCE",
            help="A raw archive: its folder, .zip or .tar, here or on s3://.",
        ),
    ],
    names: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=place,
            metavar="FILE",
            help="Write all missing, unreadable and unknown names here.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
) -> None:
    """Which archive is this, what is missing or damaged, what would refactor write.

    [bold]Example:[/bold] bcseg inspect ./original
    """
    from bcseg.inspect import inspect as look
    from bcseg.store import write_atomic

    out.set(as_json=as_json)
    found = look(source, jobs=jobs)
    if names:
        write_atomic(names, found.names().encode())
    out.document(found.document())
    out.result(found.text())
    raise typer.Exit(found.exit_code)
