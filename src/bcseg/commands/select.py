"""`bcseg select`: a new root with just the pairs chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.cloud import place
from bcseg.commands.options import DryRun, Json, Quiet, Root, root_of
from bcseg.console import out


def select(
    root: Root = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            "--manifest",
            "-m",
            metavar="FILE",
            help="CSV with dataset and record_id, or file names; or the word classic:"
            " the hand-picked subsets of an older collection.",
        ),
    ] = None,
    where: Annotated[
        str,
        typer.Option(
            "--where",
            "-w",
            metavar="EXPRESSION",
            help='What all lesions of a record must pass: "not oval and edge_offset_abs < 0.08".',
        ),
    ] = "",
    any_: Annotated[
        bool, typer.Option("--any", help="One lesion that passes --where is enough.")
    ] = False,
    ignore_rejected: Annotated[
        bool,
        typer.Option(
            "--ignore-rejected",
            help="Keep a record without its rejected lesions: their pixels go to ignore/.",
        ),
    ] = False,
    per_patient: Annotated[
        int | None,
        typer.Option("--per-patient", min=1, help="At most so many pairs of each patient."),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="The best so many of each dataset.")
    ] = None,
    by: Annotated[
        str,
        typer.Option("--by", metavar="SCORE", help="What is best: else precision_rank."),
    ] = "",
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
    """Keep the pairs that are chosen, as a new root of the same shape.

    By manifest, then --where, --per-patient and --top, in this order.

    [bold]Example:[/bold] bcseg select --manifest selected.csv

    [bold]Example:[/bold] bcseg select --where "not oval and edge_offset_abs < 0.08" --top 200

    [bold]Example:[/bold] bcseg select --manifest classic -o bcseg-classic
    """
    from bcseg.select import Selecting, select_pairs

    out.set(as_json=as_json, quiet=quiet)
    how = Selecting(
        where=where,
        any=any_,
        ignore_rejected=ignore_rejected,
        per_patient=per_patient or 0,
        top=top or 0,
        by=by,
        link=link,
        allow_missing=allow_missing,
        allow_changed=allow_changed,
        redo=redo,
        dry_run=dry_run,
    )
    result = select_pairs(root_of(root), manifest, to, how)
    out.document(result.document())
    out.result(result.text())
    for note in result.notes:
        out.say(f"note: {note}")
    for warning in result.warnings:
        out.say(f"warning: {warning}")
