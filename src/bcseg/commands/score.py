"""`bcseg score`: mask-quality scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.commands.options import DryRun, Json, Quiet, Root, root_of
from bcseg.console import Progress, out


def score(
    root: Root = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Manifest of pairs that you accepted: the ranks are learned from them."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score every mask: shape, edges, checks, named flags, and a rank for a review list.

    [bold]Example:[/bold] bcseg score ./bcseg-data
    """
    from bcseg import pairs
    from bcseg.scores import Scoring
    from bcseg.scores import score as judge

    out.set(as_json=as_json, quiet=quiet)
    with Progress("score") as progress:
        how = Scoring(jobs=jobs, calibrate=calibrate, dry_run=dry_run, progress=progress.update)
        result = judge(pairs.open_root(root_of(root)), how)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)
