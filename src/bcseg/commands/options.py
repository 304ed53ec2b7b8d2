"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bcseg.cloud import is_cloud, place
from bcseg.errors import UsageError

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
        parser=place,
        metavar="ROOT",
        help="Root with pairs folders, or one of them: else BCSEG_DATA, else ./bcseg-data.",
        show_default=False,
    ),
]
TOO_MUCH = "What is too much"
MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        min=1,
        help="Refuse images with more pixels.",
        rich_help_panel=TOO_MUCH,
    ),
]
MaxPoints = Annotated[
    int,
    typer.Option(
        "--max-points",
        min=1,
        help="Refuse images whose contours have more points.",
        rich_help_panel=TOO_MUCH,
    ),
]
MaxMembers = Annotated[
    int,
    typer.Option(
        "--max-members",
        min=1,
        help="Refuse sources with more files.",
        rich_help_panel=TOO_MUCH,
    ),
]
MaxRatio = Annotated[
    int,
    typer.Option(
        "--max-ratio",
        min=1,
        help="Refuse what unpacks to more times its size, from 256 MB.",
        rich_help_panel=TOO_MUCH,
    ),
]
MaxFileMb = Annotated[
    int,
    typer.Option(
        "--max-file-mb",
        min=1,
        help="Refuse files with more MB (2^20 bytes).",
        rich_help_panel=TOO_MUCH,
    ),
]


def disk(word: str | Path) -> Path:
    """Return a path of this machine; raises UsageError for an address on object storage."""
    path = place(word)
    if is_cloud(path):
        raise UsageError(
            "this command writes to a disk",
            where=str(path),
            hint="name a folder of this machine, then copy it there (aws s3 sync)",
        )
    return path


def root_of(given: Path | None) -> Path:
    """Return the root that a command works on."""
    return given or place(os.environ.get("BCSEG_DATA") or "bcseg-data")


def local_root_of(given: Path | None, command: str) -> Path:
    """Return the root of a command that needs a disk; raises UsageError for object storage."""
    root = root_of(given)
    if is_cloud(root):
        raise UsageError(
            f"{command} needs the pairs on this machine",
            where=str(root),
            hint="fetch them (aws s3 sync), or those you want (bcseg select), and name that folder",
        )
    return root
