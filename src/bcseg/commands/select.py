"""`bcseg select`: a new root with just the pairs chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.cloud import place
from bcseg.commands.options import DryRun, Json, Quiet, Root, root_of
from bcseg.console import out
from bcseg.errors import UsageError


def select(
    root: Root = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            "-m",
            parser=place,
            metavar="FILE",
            help="CSV with dataset and record_id, or file names.",
        ),
    ] = None,
    to: Annotated[
        Path, typer.Option("--out", "-o", parser=place, metavar="ROOT", help="New root.")
    ] = Path("bcseg-selected"),
    link: Annotated[bool, typer.Option("--link", help="Hard links instead of copies.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Rows that match nothing are warnings.")
    ] = False,
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Take contours that changed since the decision.")
    ] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Replace an earlier selection.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep the pairs that a manifest names, as a new root of the same shape.

    [bold]Example:[/bold] bcseg select --manifest selected.csv
    """
    from bcseg.select import Selecting, select_pairs

    out.set(as_json=as_json, quiet=quiet)
    if manifest is None:
        raise UsageError("no manifest", hint="bcseg select --manifest selected.csv")
    result = select_pairs(
        root_of(root),
        manifest,
        to,
        Selecting(
            link=link,
            allow_missing=allow_missing,
            allow_changed=allow_changed,
            redo=redo,
            dry_run=dry_run,
        ),
    )
    out.document(result.document())
    out.result(result.text())
    for warning in result.warnings:
        out.say(f"warning: {warning}")
