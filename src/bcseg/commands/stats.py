"""`bcseg stats`: what is in the pairs."""

from __future__ import annotations

from bcseg.commands.options import Json, Root, root_of
from bcseg.console import out


def stats(root: Root = None, as_json: Json = False) -> None:
    """What is in the pairs, and does it agree with what was published.

    [bold]Example:[/bold] bcseg stats ./bcseg-data
    """
    import shutil

    from bcseg import pairs
    from bcseg.stats import stats as count

    out.set(as_json=as_json)
    result = count(pairs.open_root(root_of(root)))
    out.document(result.document())
    out.result(result.text(max(80, min(120, shutil.get_terminal_size((100, 24)).columns))))
