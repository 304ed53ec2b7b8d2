"""`bcseg merge`: the tables of `--shard` runs, joined."""

from __future__ import annotations

import sys

import typer

from bcseg.commands.options import DryRun, Json, NoColor, Quiet, Root, Verbose, root_of
from bcseg.commands.summary import show
from bcseg.console import out


def merge(
    root: Root = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Join what the shards of `refactor --shard I/N` have written.

    [bold]Example:[/bold] bcseg merge ./bcseg-data
    """
    from bcseg import merge as work
    from bcseg.pairs import SCHEMA_VERSION

    out.set(as_json=as_json, quiet=quiet, no_color=no_color)
    command = ("bcseg", *sys.argv[1:])
    merged = work.merge(root_of(root), dry_run=dry_run, command=command)
    code = max((one.exit_code for one in merged), default=0)
    documents = [one.document() for one in merged]
    out.document({"schema_version": SCHEMA_VERSION, "merged": documents, "exit_code": code})
    for one in merged:
        show(one, dry_run=dry_run, verbose=verbose)
    if not merged:
        out.result("nothing to merge: there are no shards here")
    raise typer.Exit(code)
