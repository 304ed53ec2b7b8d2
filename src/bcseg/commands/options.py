"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, only.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no messages.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (as NO_COLOR=1).")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Say what would be done, write nothing.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Name every warning, too.")]
Root = Annotated[
    Path | None,
    typer.Argument(
        help="Root with pairs folders, or one of them: else BCSEG_DATA, else ./bcseg-data.",
        show_default=False,
    ),
]


def root_of(given: Path | None) -> Path:
    """Return the root that a command works on."""
    return given or Path(os.environ.get("BCSEG_DATA") or "bcseg-data")
