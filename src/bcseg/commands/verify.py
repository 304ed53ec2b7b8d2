"""`bcseg verify`: is everything still there and unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.cloud import place
from bcseg.commands.options import Json, NoColor, Quiet, Root, root_of
from bcseg.console import Progress, out
from bcseg.errors import UsageError


def verify(
    root: Root = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=PATH", help="Read this archive too, repeatable."),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Names, sizes and tables only.")] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", parser=place, metavar="FILE", help="Findings of this list count no more."
        ),
    ] = None,
    self_check: Annotated[
        bool,
        typer.Option("--self-check", help="Hold archives (--source) against what they store."),
    ] = False,
    clinical: Annotated[
        bool,
        typer.Option("--clinical", help="Hold archives' tables (--source) against their contours."),
    ] = False,
    findings: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", parser=place, metavar="FILE", help="Write all findings here, as CSV."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Is everything that the tables promise still there, unchanged, and does it make sense.

    [bold]Example:[/bold] bcseg verify ./bcseg-data --source inbreast=./original
    """
    from bcseg import checks

    out.set(as_json=as_json, quiet=quiet, no_color=no_color)
    if self_check and clinical:
        raise UsageError("--self-check and --clinical are two runs", hint="one after the other")
    with Progress("verify") as progress:
        result = checks.run(
            root_of(root),
            checks.sources(source or ()),
            checks.How(
                fast=fast,
                baseline=baseline,
                self_check=self_check,
                clinical=clinical,
                jobs=jobs,
                progress=progress.update,
            ),
        )
    if findings:
        checks.write_findings(findings, result)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)
