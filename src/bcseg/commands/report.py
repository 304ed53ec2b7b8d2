"""`bcseg report`: one HTML file to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcseg.cloud import place
from bcseg.commands.options import Json, Quiet, Root, root_of
from bcseg.console import Progress, out
from bcseg.errors import UsageError

if TYPE_CHECKING:
    from bcseg.pairs import PairsFolder

_ENDINGS = (".html", ".htm")


def report(
    root: Root = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=place,
            metavar="PATH",
            help="Page to write, else ROOT/report.html; with --png a folder, else ROOT/overlays.",
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="Score of which the worst stand first, or mask_area_mm2.")
    ] = "precision_rank",
    everything: Annotated[
        bool, typer.Option("--all", help="Every pair: else the 200 worst and 100 at random.")
    ] = False,
    png: Annotated[
        list[str] | None,
        typer.Option("--png", help="Write an overlay of this record instead, repeatable."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="With --png: at full resolution, not fitted.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one self-contained HTML file to look at: counts, problems, every lesion magnified.

    [bold]Example:[/bold] bcseg report ./bcseg-data -o report.html
    """
    from bcseg.pairs import OVERLAYS, REPORT, open_root
    from bcseg.report import Reporting
    from bcseg.report import report as write

    out.set(as_json=as_json, quiet=quiet)
    place = root_of(root)
    folders = open_root(place)
    if png:
        _write_overlays(folders, png, _folder(to, place / OVERLAYS), full=full)
        return
    if full:
        raise UsageError("--full is about overlays", hint="--png RECORD --full")
    with Progress("report") as progress:
        how = Reporting(sort=sort, all=everything, jobs=jobs, progress=progress.update)
        result = write(folders, _page(to, place / REPORT), how)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)


def _write_overlays(
    folders: list[PairsFolder], records: list[str], to: Path, *, full: bool
) -> None:
    from bcseg.pairs import SCHEMA_VERSION
    from bcseg.report import overlays

    files = [str(path) for path in overlays(folders, records, to, full=full)]
    out.document({"schema_version": SCHEMA_VERSION, "files": files})
    out.result("\n".join(files))


def _page(given: Path | None, otherwise: Path) -> Path:
    path = given or otherwise
    if path.is_dir():
        raise UsageError(
            "the page is one file, and this is a folder",
            where=str(path),
            hint=f"-o {path / otherwise.name}",
        )
    if path.suffix.lower() not in _ENDINGS:
        hint = f"-o {path.with_suffix('.html')}"
        raise UsageError("the page needs a name that ends in .html", where=str(path), hint=hint)
    return path


def _folder(given: Path | None, otherwise: Path) -> Path:
    path = given or otherwise
    if path.suffix.lower() in _ENDINGS or path.is_file():
        raise UsageError(
            "--png writes PNG files into a folder", where=str(path), hint="-o overlays"
        )
    return path
