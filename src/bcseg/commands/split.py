"""`bcseg split`: patient-level parts or folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bcseg.cloud import place
from bcseg.commands.options import DryRun, Json, Quiet, Root, root_of
from bcseg.console import out


def split(
    root: Root = None,
    test: Annotated[
        float | None,
        typer.Option(help="Share of test; else 0.15, with --folds 0.", show_default=False),
    ] = None,
    val: Annotated[
        float | None, typer.Option(help="Share of val; else 0.15.", show_default=False)
    ] = None,
    folds: Annotated[
        int, typer.Option(help="Deal all that is not test into so many folds.", show_default=False)
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another split.")] = 0,
    keep_published: Annotated[
        bool, typer.Option("--keep-published", help="Test sets of the archives stay test.")
    ] = False,
    unknown_patient: Annotated[
        Literal["error", "one-group"],
        typer.Option(help="one-group: pairs of unknown patients stay together, by dataset."),
    ] = "error",
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV with dataset, record_id, group: who belongs together."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="An earlier splits.csv: its patients stay; else the one at the output."),
    ] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Forget the earlier split.")] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", parser=place, metavar="FOLDER", help="Folder of the tables; else ROOT."
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Split by patient into train, val and test, or folds; run again when pairs were added.

    [bold]Example:[/bold] bcseg split ./bcseg-data --folds 5 --test 0.2
    """
    from bcseg.split import Splitting, split_pairs

    out.set(as_json=as_json, quiet=quiet)
    result = split_pairs(
        root_of(root),
        Splitting(
            test=test,
            val=val,
            folds=folds,
            seed=seed,
            keep_published=keep_published,
            one_group=unknown_patient == "one-group",
            groups=groups,
            earlier=like,
            out=to,
            redo=redo,
            dry_run=dry_run,
        ),
    )
    out.document(result.document())
    out.result(result.text())
    for note in result.notes:
        out.say(f"note: {note}")
