"""The command line: parse, call, print. Only this module prints or exits.

Heavy imports stand inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bcseg import __version__
from bcseg.console import Door, Progress, out
from bcseg.errors import UsageError
from bcseg.text import counted

if TYPE_CHECKING:
    from bcseg.run import Summary

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: half its import time

EXIT_CODES = (
    "Exit codes: 0 all done; 1 done, but some records failed or a check found something; "
    "2 wrong usage or unrecognised input, nothing written; 3 a bug; 130 interrupted."
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Raw archives of public mammography datasets to clean image/mask pairs, "
    "and the precise subset of them.",
    epilog=EXIT_CODES,
)

LOOK, MAKE, JUDGE, TRY = "Look", "Make", "Judge", "Try"
_SHOWN = 20  # failures named on the terminal
MASK, PIXELS, RUN = "What the mask holds", "How images are treated", "How to run"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bcseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Raw archives of public mammography datasets to clean image/mask pairs."""


# ------------------------------------------------------------------------- shared options

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, only.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no messages.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (as NO_COLOR=1).")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Say what would be done, write nothing.")
]
Root = Annotated[
    Path | None,
    typer.Argument(
        help="Root with pairs folders, or one of them: else BCSEG_DATA, else ./bcseg-data.",
        show_default=False,
    ),
]


def _root(given: Path | None) -> Path:
    return given or Path(os.environ.get("BCSEG_DATA") or "bcseg-data")


# ------------------------------------------------------------------------- look


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=LOOK)
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
    found = answers(pairs.open_root(_root(root)), word)
    out.document({"schema_version": 1, "asked": word, "answers": [a.document() for a in found]})
    for answer in found:
        out.result(answer.text())


@app.command(rich_help_panel=LOOK)
def inspect(
    source: Annotated[Path, typer.Argument(help="A raw archive: its folder, .zip or .tar.")],
    names: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write all missing, unreadable and unknown names here."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
) -> None:
    """Which archive is this, what is missing or damaged, what would refactor write.

    [bold]Example:[/bold] bcseg inspect ./original
    """
    from bcseg.inspect import inspect as look
    from bcseg.store import write_atomic

    out.set(as_json=as_json)
    found = look(source, jobs=jobs)
    if names:
        write_atomic(names, found.names().encode())
    out.document(found.document())
    out.result(found.text())
    raise typer.Exit(found.exit_code)


@app.command(rich_help_panel=LOOK)
def stats(root: Root = None, as_json: Json = False) -> None:
    """What is in the pairs, and does it agree with what was published.

    [bold]Example:[/bold] bcseg stats ./bcseg-data
    """
    import shutil

    from bcseg import pairs
    from bcseg.stats import stats as count

    out.set(as_json=as_json)
    result = count(pairs.open_root(_root(root)))
    out.document(result.document())
    out.result(result.text(max(80, min(120, shutil.get_terminal_size((100, 24)).columns))))


@app.command(rich_help_panel=LOOK)
def verify(
    root: Root = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=PATH", help="Read this archive too, repeatable."),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Names, sizes and tables only.")] = False,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="Findings of this list count no more.")
    ] = None,
    self_check: Annotated[
        bool,
        typer.Option("--self-check", help="Hold archives (--source) against what they store."),
    ] = False,
    clinical: Annotated[
        bool,
        typer.Option("--clinical", help="Hold archives' tables (--source) against their contours."),
    ] = False,
    findings: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write all findings here, as CSV.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Is everything that the tables promise still there, unchanged, and does it make sense.

    [bold]Example:[/bold] bcseg verify ./bcseg-data --source inbreast=./original
    """
    from bcseg import checks

    out.set(as_json=as_json, quiet=quiet, no_color=no_color)
    if self_check and clinical:
        raise UsageError("--self-check and --clinical are two runs", hint="one after the other")
    with Progress("verify") as progress:
        result = checks.run(
            _root(root),
            checks.sources(source or ()),
            checks.How(
                fast=fast,
                baseline=baseline,
                self_check=self_check,
                clinical=clinical,
                jobs=jobs,
                progress=progress.update,
            ),
        )
    if findings:
        checks.write_findings(findings, result)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)


@app.command(rich_help_panel=LOOK)
def report(
    root: Root = None,
    page: Annotated[
        Path, typer.Option("--out", "-o", help="File to write; with --png, a folder.")
    ] = Path("report.html"),
    png: Annotated[
        list[str] | None,
        typer.Option("--png", help="Write an overlay of this record instead, repeatable."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every pair: else the 200 worst and 100 at random.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one self-contained HTML file to look at: counts, problems, every lesion magnified.

    [bold]Example:[/bold] bcseg report ./bcseg-data -o report.html
    """
    from bcseg import pairs
    from bcseg.report import Reporting, overlays
    from bcseg.report import report as write

    out.set(as_json=as_json, quiet=quiet)
    folders = pairs.open_root(_root(root))
    if png:
        place = page if page != Path("report.html") else Path()
        files = [str(path) for path in overlays(folders, png, place)]
        out.document({"schema_version": 1, "files": files})
        out.result("\n".join(files))
        return
    with Progress("report") as progress:
        how = Reporting(all=everything, jobs=jobs, progress=progress.update)
        result = write(folders, page, how)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)


# ------------------------------------------------------------------------- make


@app.command(rich_help_panel=MAKE)
def refactor(
    dataset: Annotated[
        str, typer.Argument(help="bcdr, cbis, cdd, csaw, inbreast, or a Python file.")
    ],
    source: Annotated[Path, typer.Argument(help="The raw archive: its folder, .zip or .tar.")],
    root: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
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
    like: Annotated[
        Path | None,
        typer.Option(
            help="dataset.json of an earlier run: do it again, and say whether it is identical.",
            rich_help_panel=RUN,
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name every warning, too.")
    ] = False,
    no_color: NoColor = False,
) -> None:
    """Turn a raw archive into a folder of image/mask pairs; run again to continue.

    [bold]Example:[/bold] bcseg refactor inbreast ./original
    """
    from bcseg import refactor as work
    from bcseg.adapters.base import ReadOptions
    from bcseg.like import Earlier
    from bcseg.preprocess import Options
    from bcseg.settings import Settings, chosen_kinds

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
    with Progress(dataset) as progress:
        run = work.Run(
            jobs=jobs,
            limit=limit,
            redo=redo,
            rehash=rehash,
            prune=prune,
            dry_run=dry_run,
            progress=progress.update,
            say=out.say,
            command=("bcseg", *sys.argv[1:]),
        )
        summary = work.refactor(dataset, source, _root(root), settings, run)
    likeness = again.compare(summary.folder) if again and not dry_run else None
    out.document(summary.document() | (likeness.document() if likeness else {}))
    _report(summary, dry_run, verbose)
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


def _report(summary: Summary, dry_run: bool, verbose: bool) -> None:
    """Print what a run did: ledger, reasons, failures, where to look."""
    would = "would be " if dry_run else ""
    out.result(f"{summary.dataset}: {counted(summary.pairs, 'pair')} {would}in {summary.folder}")
    width = max(map(len, summary.counts), default=0)
    for title, n in summary.counts.items():
        out.result(
            f"  {title:{width}}  {n['found']:6} found = {n['written']:6} {would}written"
            f" + {n['left_out']:6} left out + {n['failed']:6} failed"
        )
        reasons = [
            f"{count} {code}"
            for codes in summary.reasons.get(title, {}).values()
            for code, count in codes.items()
        ]
        if reasons:
            out.result(f"  {'':{width}}    {', '.join(reasons)}")
    if summary.content_sha256:
        out.result(f"  content sha256 {summary.content_sha256}")
    listed = "" if dry_run else f" in {summary.folder / 'problems.csv'}"
    for row in summary.failures[:_SHOWN]:
        out.say(f"failed {row['record_id'] or row['source']}: {row['message']} [{row['code']}]")
    if len(summary.failures) > _SHOWN:
        out.say(f"... and {len(summary.failures) - _SHOWN} more{listed}")
    for row in summary.warnings if verbose else ():
        about = row["record_id"] or row["source"]
        out.say(f"warning {about}: {row['message']} [{row['code']}]")
    if summary.warnings:
        count = len(summary.warnings)
        out.say(f"{count} warning{'s' if count > 1 else ''}{listed}")
    if any(row["code"] == "bug" for row in summary.failures):
        out.say(f"a bug in bcseg: please report it with {summary.log}")
    for note in summary.notes:
        out.say(f"note: {note}")


@app.command(rich_help_panel=MAKE)
def select(
    root: Root = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", "-m", help="CSV with dataset and record_id, or file names."),
    ] = None,
    to: Annotated[Path, typer.Option("--out", "-o", help="New root.")] = Path("bcseg-selected"),
    link: Annotated[bool, typer.Option("--link", help="Hard links instead of copies.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Rows that match nothing are warnings.")
    ] = False,
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Take contours that changed since the decision.")
    ] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Replace an earlier selection.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep the pairs that a manifest names, as a new root of the same shape.

    [bold]Example:[/bold] bcseg select --manifest selected.csv
    """
    from bcseg.select import Selecting, select_pairs

    out.set(as_json=as_json, quiet=quiet)
    if manifest is None:
        raise UsageError("no manifest", hint="bcseg select --manifest selected.csv")
    result = select_pairs(
        _root(root),
        manifest,
        to,
        Selecting(
            link=link,
            allow_missing=allow_missing,
            allow_changed=allow_changed,
            redo=redo,
            dry_run=dry_run,
        ),
    )
    out.document(result.document())
    out.result(result.text())
    for warning in result.warnings:
        out.say(f"warning: {warning}")


# ------------------------------------------------------------------------- judge


@app.command(rich_help_panel=JUDGE)
def score(
    root: Root = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Manifest of pairs that you accepted: the ranks are learned from them."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score every mask: shape, edges, checks, named flags, and a rank for a review list.

    [bold]Example:[/bold] bcseg score ./bcseg-data
    """
    from bcseg import pairs
    from bcseg.scores import Scoring
    from bcseg.scores import score as judge

    out.set(as_json=as_json, quiet=quiet)
    with Progress("score") as progress:
        how = Scoring(jobs=jobs, calibrate=calibrate, dry_run=dry_run, progress=progress.update)
        result = judge(pairs.open_root(_root(root)), how)
    out.document(result.document())
    out.result(result.text())
    raise typer.Exit(result.exit_code)


@app.command(rich_help_panel=JUDGE)
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
    from bcseg.review.session import QUESTION, Reviewing, read_keys, repeat_share

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
    with open_session(_root(root), how) as session:
        for warning in session.warnings():
            out.say(f"warning: {warning}")
        serve(session, port, say)
        if how.repeat:
            out.say(session.own_agreement().text())


# ------------------------------------------------------------------------- try


@app.command(rich_help_panel=TRY)
def synth(
    dataset: Annotated[str, typer.Argument(help="bcdr, cbis, cdd, csaw or inbreast.")],
    folder: Annotated[Path, typer.Argument(help="Empty or new folder.")],
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
            "release, zip; inbreast: release, renamed, bare, png. The first is the default.",
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


@app.command(rich_help_panel=TRY)
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the tour.")] = Path("bcseg-demo"),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers; 0: all CPUs.")] = 0,
    as_json: Json = False,
) -> None:
    """Take the two-minute tour: synthetic archives of all five, refactored, selected, checked.

    [bold]Example:[/bold] bcseg demo
    """
    from bcseg.demo import tour

    out.set(as_json=as_json)
    result = tour(folder, jobs=jobs, say=out.result)
    out.document(result.document())
    raise typer.Exit(result.exit_code)


# ------------------------------------------------------------------------- the door


def main(argv: list[str] | None = None) -> None:
    """Run the command line: the door that users and tests go through."""
    words = sys.argv[1:] if argv is None else argv
    # an option with an optional value: `--with-empty` alone means "normal"
    words = ["--with-empty=normal" if word == "--with-empty" else word for word in words]
    with Door():
        app(args=words)
