"""`bcseg report`: one HTML file to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.cloud import place
from bcseg.commands.options import Json, Quiet, Root, root_of
from bcseg.console import Progress, out


def report(
    root: Root = None,
    page: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=place, metavar="FILE", help="File to write; with --png, a folder."
        ),
    ] = Path("report.html"),
    png: Annotated[
        list[str] | None,
        typer.Option("--png", help="Write an overlay of this record instead, repeatable."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every pair: else the 200 worst and 100 at random.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one self-contained HTML file to look at: counts, problems, every lesion magnified.

    [bold]Example:[/bold] bcseg report ./bcseg-data -o report.html
    """
    from bcseg import pairs
    from bcseg.report import Reporting, overlays
    from bcseg.report import report as write

    out.set(as_json=as_json, quiet=quiet)
    folders = pairs.open_root(root_of(root))
    if png:
        place = page if page != Path("report.html") else Path()
        files = [str(path) for path in overlays(folders, png, place)]
        out.document({"schema_version": 1, "files": files})
        out.result("\n".join(files))
        return
    with Progress("report") as progress:
        how = Reporting(all=everything, jobs=jobs, progress=progress.update)
        result = write(folders, page, how)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)
