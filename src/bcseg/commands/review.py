"""`bcseg review`: accept or reject in a page on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bcseg.commands.options import Json, Root, local_root_of
from bcseg.console import out


def review(
    root: Root = None,
    reviewer: Annotated[str, typer.Option(help="Who judges: each has a table.")] = "",
    order: Annotated[
        Literal["worst", "random", "id"], typer.Option(help="Worst rank first, or else.")
    ] = "worst",
    question: Annotated[str, typer.Option(help="The one-sentence task on the page.")] = "",
    blind: Annotated[bool, typer.Option("--blind", help="Hide the scores.")] = False,
    repeat: Annotated[str, typer.Option(help="Share shown twice, as 5%.")] = "",
    keys: Annotated[Path | None, typer.Option(help="JSON file with other keys.")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Table of decisions; else ROOT/reviews/REVIEWER.csv."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port on this machine.")] = None,
    agree: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Compare two tables: kappa, and the pairs in dispute."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Accept or reject pair after pair in a page on this machine, with the keyboard.

    [bold]Example:[/bold] bcseg review ./bcseg-data --reviewer ana
    """
    from bcseg.review.agreement import compare_files
    from bcseg.review.server import Address, open_session, serve
    from bcseg.review.settings import QUESTION, Reviewing, read_keys, repeat_share

    out.set(as_json=as_json)
    if agree:
        found = compare_files(*agree)
        out.document(found.document())
        out.result(found.text())
        return

    def say(address: Address) -> None:
        out.document({"schema_version": 1, "url": address.url, "tunnel": address.tunnel})
        out.result(f"open {address.url}\nfrom another machine, first: {address.tunnel}")
        out.say("every decision is on disk at once; Ctrl-C ends the review")

    how = Reviewing(
        reviewer=reviewer,
        order=order,
        question=question or QUESTION,
        blind=blind,
        repeat=repeat_share(repeat) if repeat else 0.0,
        keys=read_keys(keys) if keys else {},
        table=table,
    )
    with open_session(local_root_of(root, "review"), how) as session:
        for warning in session.warnings():
            out.say(f"warning: {warning}")
        serve(session, port, say)
        if how.repeat:
            out.say(session.own_agreement().text())
