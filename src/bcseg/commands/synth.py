"""`bcseg synth`: a small synthetic archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bcseg.commands.options import Json, disk
from bcseg.console import out


def synth(
    dataset: Annotated[
        str, typer.Argument(help="bcdr, cbis, cdd, csaw, ddsm, inbreast, mias or vindr.")
    ],
    folder: Annotated[
        Path, typer.Argument(parser=disk, metavar="FOLDER", help="Empty or new folder.")
    ],
    images: Annotated[int, typer.Option(min=1, help="How many images, at least.")] = 6,
    scale: Annotated[float, typer.Option(min=0.1, max=1, help="1 = real size.")] = 0.125,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="The published pixel sizes: --scale 1.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other images.")] = 0,
    layout: Annotated[
        str,
        typer.Option(
            help="bcdr: sets, flat, png; cbis: B, A, B-old, C, D, E; cdd: release, flat; csaw: "
            "release, zip; ddsm: release, png; inbreast: release, renamed, bare, png; mias: "
            "kaggle, flat, png; vindr: release, png. The first is the default.",
            show_default=False,
        ),
    ] = "",
    quirks: Annotated[
        bool, typer.Option("--quirks", help="With every irregularity of the real archive.")
    ] = False,
    packed: Annotated[
        Literal["", "zip", "tar.gz"],
        typer.Option(help="One archive file in the folder, instead of files.", show_default=False),
    ] = "",
    as_json: Json = False,
) -> None:
    """Write a small synthetic archive in the exact layout of a real one.

    [bold]Example:[/bold] bcseg synth inbreast ./original
    """
    from bcseg import adapters
    from bcseg import synth as synthetic

    out.set(as_json=as_json)
    name = adapters.get(dataset).INFO.name
    built = synthetic.build(
        name,
        folder,
        images=images,
        scale=1.0 if full_size else scale,
        seed=seed,
        layout=layout,
        quirks=quirks,
        packed=packed,
    )
    facts = {"images": built.images, "expected": built.expected}
    out.document({"schema_version": 1, "dataset": name, "path": str(built.root)} | facts)
    out.result(f"{name}: {built.images} images in {built.root}")
