"""`bcseg why`: what became of a file, an id or a UID."""

from __future__ import annotations

from typing import Annotated

import typer

from bcseg.commands.options import Json, Root, root_of
from bcseg.console import out


def why(
    word: Annotated[
        str, typer.Argument(help="A record id, a file of the archive or of the pairs, a UID.")
    ],
    root: Root = None,
    as_json: Json = False,
) -> None:
    """What became of this DICOM, XML, PNG or id: fate, reason, lesions, partner files.

    [bold]Example:[/bold] bcseg why 20588334
    """
    from bcseg import pairs
    from bcseg.why import answers

    out.set(as_json=as_json)
    found = answers(pairs.open_root(root_of(root)), word)
    out.document({"schema_version": 1, "asked": word, "answers": [a.document() for a in found]})
    for answer in found:
        out.result(answer.text())
