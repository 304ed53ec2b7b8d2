"""`bcseg restore`: masks or predictions back on the grid of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.commands.options import DryRun, Json, Quiet, Root, disk, root_of
from bcseg.console import Progress, out


def restore(
    masks: Annotated[
        Path, typer.Argument(help="Masks or predictions on the written images: a folder or file.")
    ],
    root: Root = None,
    to: Annotated[
        Path, typer.Option("--out", "-o", parser=disk, metavar="FOLDER", help="Folder to write.")
    ] = Path("bcseg-restored"),
    redo: Annotated[bool, typer.Option("--redo", help="Write over an earlier output.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring masks made on the written images back to the pixel grid of the raw archive.

    [bold]Example:[/bold] bcseg restore ./predictions ./bcseg-data -o restored
    """
    from bcseg.restore import Restoring, restore_masks

    out.set(as_json=as_json, quiet=quiet)
    with Progress("restore") as progress:
        how = Restoring(jobs=jobs, redo=redo, dry_run=dry_run, progress=progress.update)
        result = restore_masks(masks, root_of(root), to, how)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)
