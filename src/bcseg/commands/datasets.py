"""`bcseg datasets`: which archives are known."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bcseg.commands.options import Json
from bcseg.console import out


def datasets(
    name: Annotated[str | None, typer.Argument(help="One dataset, in full.")] = None,
    as_json: Json = False,
) -> None:
    """Which archives are known: licence, citation, expected layout, published counts.

    [bold]Example:[/bold] bcseg datasets inbreast
    """
    from bcseg import adapters

    out.set(as_json=as_json)
    chosen = [adapters.get(name)] if name else list(adapters.ADAPTERS.values())
    infos = [adapter.INFO for adapter in chosen]
    out.document({"schema_version": 1, "datasets": [_info_document(info) for info in infos]})
    for info in infos:
        if name:
            counts = ", ".join(
                f"{key.replace('_', ' ')} {n:,}" for key, n in info.published.items()
            )
            layout = "\n".join(f"    {line}" for line in info.layout.splitlines())
            out.result(
                f"{info.name}: {info.title}\n  {info.url}\n  licence: {info.licence}\n"
                f"  cite: {info.citation}\n  published: {counts}\n"
                f"  default kinds: {', '.join(info.default_kinds)}\n  layout:\n{layout}"
            )
        else:
            out.result(f"{info.name:10} {info.title}\n{'':10} {info.licence}")


def _info_document(info: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(info)
