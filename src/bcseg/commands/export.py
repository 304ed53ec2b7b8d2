"""`bcseg export`: the layouts of training frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcseg.commands.options import Json, Quiet, Root, root_of
from bcseg.console import Progress, out


def export(
    format_: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="coco, croissant, dicom-seg, hf, monai, nnunet or yolo."
        ),
    ],
    root: Root = None,
    to: Annotated[Path, typer.Option("--out", "-o", help="New folder.")] = Path("bcseg-export"),
    name: Annotated[str, typer.Option(help="Name of the dataset.")] = "Lesions",
    number: Annotated[
        int, typer.Option("--id", min=1, max=999, help="nnunet: number of the dataset.")
    ] = 501,
    one_class: Annotated[
        bool, typer.Option("--one-class", help="All kinds are one class, lesion.")
    ] = False,
    polygons: Annotated[
        bool, typer.Option("--polygons", help="coco: polygons instead of run lengths.")
    ] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="hf: Parquet files with the images in them.")
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", metavar="NAME=PATH", help="dicom-seg: archive of the images, repeatable."
        ),
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Hard links instead of copies.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write pairs as a training framework reads them, with patient-level splits where there are.

    [bold]Example:[/bold] bcseg export nnunet ./bcseg-selected -o ./nnunet --id 501 --name Mass
    """
    from bcseg.checks import sources
    from bcseg.export import Exporting, export_pairs
    from bcseg.export.report import document, text

    out.set(as_json=as_json, quiet=quiet)
    with Progress("export") as progress:
        how = Exporting(
            name=name,
            number=number,
            one_class=one_class,
            polygons=polygons,
            parquet=parquet,
            sources=sources(source or ()),
            link=link,
            progress=progress.update,
        )
        result = export_pairs(format_, root_of(root), to, how)
    found = document(result)
    out.document(found)
    out.result(text(result))
    for note in result.notes:
        out.say(f"note: {note}")
    raise typer.Exit(found["exit_code"])
