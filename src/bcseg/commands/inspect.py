"""`bcseg inspect`: which archive a source is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.cloud import place
from bcseg.commands.options import (
    Json,
    MaxFileMb,
    MaxMembers,
    MaxPixels,
    MaxPoints,
    MaxRatio,
)
from bcseg.console import out
from bcseg.limits import DEFAULT, Limits


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
    max_pixels: MaxPixels = DEFAULT.pixels,
    max_points: MaxPoints = DEFAULT.points,
    max_members: MaxMembers = DEFAULT.members,
    max_ratio: MaxRatio = DEFAULT.ratio,
    max_file_mb: MaxFileMb = DEFAULT.file_bytes >> 20,
    as_json: Json = False,
) -> None:
    """Which archive is this, what is missing or damaged, what would refactor write.

    [bold]Example:[/bold] bcseg inspect ./original
    """
    from bcseg.inspect import inspect as look
    from bcseg.store import write_atomic

    out.set(as_json=as_json)
    limits = Limits(
        pixels=max_pixels,
        points=max_points,
        members=max_members,
        ratio=max_ratio,
        file_bytes=max_file_mb << 20,
    )
    found = look(source, jobs=jobs, limits=limits)
    if names:
        write_atomic(names, found.names().encode())
    out.document(found.document())
    out.result(found.text())
    raise typer.Exit(found.exit_code)
