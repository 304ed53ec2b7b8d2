"""What `refactor` and `merge` tell at their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcseg.console import out
from bcseg.text import counted

if TYPE_CHECKING:
    from bcseg.run import Summary

_SHOWN = 20  # failures named on the terminal


def show(summary: Summary, *, dry_run: bool, verbose: bool) -> None:
    """Print what a run did: ledger, reasons, failures, where to look."""
    would = "would be " if dry_run else ""
    who = summary.dataset + (f", shard {summary.shard}" if summary.shard else "")
    out.result(f"{who}: {counted(summary.pairs, 'pair')} {would}in {summary.folder}")
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
    listed = "" if dry_run or summary.shard else f" in {summary.folder / 'problems.csv'}"
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
