"""`bcseg refactor`: a raw archive to a folder of pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from bcseg.cloud import place
from bcseg.commands.options import (
    DryRun,
    Json,
    MaxFileMb,
    MaxMembers,
    MaxPixels,
    MaxPoints,
    MaxRatio,
    NoColor,
    Quiet,
    Verbose,
    root_of,
)
from bcseg.commands.summary import show
from bcseg.console import Progress, out
from bcseg.errors import UsageError
from bcseg.limits import DEFAULT, Limits

MASK, PIXELS, RUN = "What the mask holds", "How images are treated", "How to run"


def refactor(
    dataset: Annotated[
        str,
        typer.Argument(
            help="bcdr, cbis, cdd, csaw, ddsm, inbreast, mias, vindr, or a Python file."
        ),
    ],
    source: Annotated[
        Path,
        typer.Argument(
            parser=place,
            metavar="SOURCE",
            help="The raw archive: its folder, .zip or .tar, here or on s3://.",
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=place,
            metavar="ROOT",
            help="Root to write to: else BCSEG_DATA, else ./bcseg-data.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="Kind in the mask, repeatable; 'lesions' is every lesion kind. Default: mass, "
            "cancer (CSAW-S), finding (CDD-CESM).",
            rich_help_panel=MASK,
        ),
    ] = None,
    with_empty: Annotated[
        Literal["", "normal", "force"],
        typer.Option(
            "--with-empty",
            metavar="[=force]",
            help="Add images that the archive calls free of the chosen kinds, with an empty mask; "
            "=force: all without one.",
            rich_help_panel=MASK,
            show_default=False,
        ),
    ] = "",
    masks: Annotated[
        Literal["union", "lesion"],
        typer.Option(help="lesion: one more mask for each lesion.", rich_help_panel=MASK),
    ] = "union",
    image_type: Annotated[
        Literal["dm", "cm", "all"],
        typer.Option(help="CDD-CESM: low energy, subtracted.", rich_help_panel=MASK),
    ] = "dm",
    annotator: Annotated[
        Literal["1", "2", "3", "all", "majority"],
        typer.Option(help="CSAW-S: whose masks.", rich_help_panel=MASK),
    ] = "1",
    osirix_origin: Annotated[
        Literal["corner", "centre"],
        typer.Option(help="INbreast: where pixel (0, 0) of a contour is.", rich_help_panel=MASK),
    ] = "corner",
    merge_twins: Annotated[
        bool,
        typer.Option(
            "--merge-twins",
            help="CBIS-DDSM: one pair of a film that is stored twice, with the lesions of both.",
            rich_help_panel=MASK,
        ),
    ] = False,
    point_radius: Annotated[
        float, typer.Option(min=0, help="Widen single points, in pixels.", rich_help_panel=MASK)
    ] = 0,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Leave a lesion that cannot be read away, instead of failing its record.",
            rich_help_panel=MASK,
        ),
    ] = False,
    preset: Annotated[
        Literal["clean", "classic", "raw"],
        typer.Option(help="How images are treated.", rich_help_panel=PIXELS),
    ] = "clean",
    depth: Annotated[
        Literal["auto", "8", "16"], typer.Option(help="Bits of the images.", rich_help_panel=PIXELS)
    ] = "auto",
    window: Annotated[
        str,
        typer.Option(
            help="LOW,HIGH grey values for 8 bits; else 0.1 to 99.9 percentile of the breast.",
            rich_help_panel=PIXELS,
            show_default=False,
        ),
    ] = "",
    size: Annotated[
        int | None, typer.Option(min=16, help="Longest side, in pixels.", rich_help_panel=PIXELS)
    ] = None,
    pad: Annotated[
        bool, typer.Option("--pad", help="Pad to a square.", rich_help_panel=PIXELS)
    ] = False,
    spacing: Annotated[
        float | None, typer.Option(help="Resample to this pixel size, mm.", rich_help_panel=PIXELS)
    ] = None,
    assume_spacing: Annotated[
        float | None,
        typer.Option(help="Pixel size where the archive gives none, mm.", rich_help_panel=PIXELS),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Turn every breast to the left.", rich_help_panel=PIXELS)
    ] = False,
    crop: Annotated[
        Literal["", "breast"],
        typer.Option(
            help="breast: crop to it.", metavar="breast", rich_help_panel=PIXELS, show_default=False
        ),
    ] = "",
    clahe: Annotated[
        bool, typer.Option("--clahe", help="Equalise contrast locally.", rich_help_panel=PIXELS)
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.", rich_help_panel=RUN)
    ] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many pairs.", rich_help_panel=RUN)
    ] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Start over.", rich_help_panel=RUN)] = False,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Compare contents, not times.", rich_help_panel=RUN),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Delete pairs whose source is gone.", rich_help_panel=RUN),
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Only part I of N, from 1/N to N/N, in runs of their own; then `bcseg merge`.",
            rich_help_panel=RUN,
            show_default=False,
        ),
    ] = "",
    dask: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Work on this Dask cluster: its address, or its scheduler file.",
            rich_help_panel=RUN,
            show_default=False,
        ),
    ] = "",
    like: Annotated[
        Path | None,
        typer.Option(
            parser=place,
            metavar="FILE",
            help="dataset.json of an earlier run: do it again, and say whether it is identical.",
            rich_help_panel=RUN,
        ),
    ] = None,
    max_pixels: MaxPixels = DEFAULT.pixels,
    max_points: MaxPoints = DEFAULT.points,
    max_members: MaxMembers = DEFAULT.members,
    max_ratio: MaxRatio = DEFAULT.ratio,
    max_file_mb: MaxFileMb = DEFAULT.file_bytes >> 20,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Turn a raw archive into a folder of image/mask pairs; run again to continue.

    [bold]Example:[/bold] bcseg refactor inbreast ./original
    """
    from bcseg import conversion as work
    from bcseg.adapters.base import ReadOptions
    from bcseg.like import Earlier
    from bcseg.preprocessing import Options
    from bcseg.settings import Settings, chosen_kinds
    from bcseg.shards import shard_of

    out.set(as_json=as_json, quiet=quiet, no_color=no_color)
    settings = Settings(
        read=ReadOptions(
            kinds=chosen_kinds(kind or ()),
            image_type=image_type,
            annotator=annotator,
            osirix_origin=osirix_origin,
            merge_twins=merge_twins,
        ),
        pixels=Options(
            preset=preset,
            depth=depth,
            window=_window(window),
            size=size,
            pad=pad,
            spacing_mm=spacing,
            assume_spacing_mm=assume_spacing,
            flip=flip,
            crop=crop,
            clahe=clahe,
        ),
        masks=masks,
        with_empty=with_empty,
        partial=partial,
        point_radius=point_radius,
    )
    again = None
    if like:
        if settings != Settings():
            raise UsageError("--like brings its own options", hint="leave the others out")
        again = Earlier.of(like, dataset)
        settings = again.settings
    limits = Limits(
        pixels=max_pixels,
        points=max_points,
        members=max_members,
        ratio=max_ratio,
        file_bytes=max_file_mb << 20,
    )
    with Progress(dataset) as progress:
        run = work.Run(
            jobs=jobs,
            limit=limit,
            redo=redo,
            rehash=rehash,
            prune=prune,
            shard=shard_of(shard) if shard else None,
            dask=dask,
            dry_run=dry_run,
            limits=limits,
            progress=progress.update,
            say=out.say,
            command=("bcseg", *sys.argv[1:]),
        )
        summary = work.refactor(dataset, source, root_of(root), settings, run)
    whole = not (dry_run or summary.shard)
    likeness = again.compare(summary.folder) if again and whole else None
    out.document(summary.document() | (likeness.document() if likeness else {}))
    show(summary, dry_run=dry_run, verbose=verbose)
    if summary.shard and not dry_run:
        out.say(f"when all shards are done: bcseg merge {root_of(root)}")
    if likeness:
        out.result(likeness.text())
    raise typer.Exit(max(summary.exit_code, likeness.exit_code if likeness else 0))


def _window(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--window {text!r} is not LOW,HIGH", hint="--window 100,3500") from None
    return low, high
