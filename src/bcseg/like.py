"""Do it again: the options of an earlier run, and whether the result is the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, UsageError
from bcseg.pairs import PairsFolder, Row
from bcseg.settings import Settings, settings_of

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Likeness:
    """How a folder differs from an earlier one: words by record id, or about the whole."""

    differences: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything differs."""
        return EXIT_FINDINGS if self.differences else EXIT_OK

    def text(self) -> str:
        """Return the likeness for a terminal."""
        if not self.differences:
            return "identical to the earlier run"
        more = len(self.differences) - _SHOWN
        lines = [f"  {line}" for line in self.differences[:_SHOWN]]
        lines += [f"  ... and {more} more"] if more > 0 else []
        return "\n".join(["differs from the earlier run:", *lines])


def earlier(path: Path, dataset: str) -> tuple[dict[str, Any], Settings]:
    """Return the document of an earlier run and its settings.

    Raises UsageError for a file that is no dataset.json, or one of another dataset.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        options = dict(document["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"not a dataset.json of an earlier run ({type(error).__name__})", where=str(path)
        ) from error
    if document.get("dataset") != dataset:
        raise UsageError(
            f"the earlier run was of {document.get('dataset')}, not of {dataset}", where=str(path)
        )
    if options.get("format") != pairs.FORMAT:
        raise UsageError(
            f"the earlier run wrote format {options.get('format')}, this bcseg writes"
            f" {pairs.FORMAT}",
            where=str(path),
            hint="the pixels or tables of the two formats differ: see CHANGELOG.md",
        )
    return document, settings_of(options)


def compare(document: dict[str, Any], old: Path, new: PairsFolder) -> Likeness:
    """Return how a new folder differs from the earlier one whose tables lie in `old`."""
    if new.document()["content_sha256"] == document.get("content_sha256"):
        return Likeness(())
    before = {row["record_id"]: row for row in PairsFolder(old).rows(pairs.RECORDS)}
    after = {row["record_id"]: row for row in new.rows(pairs.RECORDS)}
    if not before:
        return Likeness(("another content; the earlier tables are not beside the dataset.json",))
    found = [
        f"{record_id}: {_difference(before.get(record_id), after.get(record_id))}"
        for record_id in sorted(before.keys() | after.keys())
        if before.get(record_id) != after.get(record_id)
    ]
    return Likeness(tuple(found) or ("the records are the same, other tables differ",))


def _difference(before: Row | None, after: Row | None) -> str:
    if before is None:
        return "was not there"
    if after is None:
        return "is not there any more"
    return "another " + ", ".join(key for key in after if before.get(key) != after[key])
