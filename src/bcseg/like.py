"""Do it again: the options of an earlier run, and whether the result is the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcseg import adapters, pairs
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

    def document(self) -> dict[str, Any]:
        """Return the likeness for --json."""
        return {"identical": not self.differences, "differences": list(self.differences)}

    def text(self) -> str:
        """Return the likeness for a terminal."""
        if not self.differences:
            return "identical to the earlier run"
        more = len(self.differences) - _SHOWN
        lines = [f"  {line}" for line in self.differences[:_SHOWN]]
        lines += [f"  ... and {more} more"] if more > 0 else []
        return "\n".join(["differs from the earlier run:", *lines])


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run: its dataset.json, the folder beside it, its settings."""

    document: dict[str, Any]
    folder: Path
    settings: Settings

    @classmethod
    def of(cls, path: Path, dataset: str) -> Earlier:
        """Return the run that a dataset.json tells of.

        Raises UsageError for a file that is none, of another dataset, or of another format.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            options = dict(document["options"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"not a dataset.json of an earlier run ({type(error).__name__})", where=str(path)
            ) from error
        name = adapters.get(dataset).INFO.name
        if document.get("dataset") != name:
            raise UsageError(
                f"the earlier run was of {document.get('dataset')}, not of {name}", where=str(path)
            )
        if options.get("format") != pairs.FORMAT:
            raise UsageError(
                f"the earlier run wrote format {options.get('format')}, this bcseg writes "
                f"{pairs.FORMAT}",
                where=str(path),
                hint="pixels or tables of the two formats differ: see CHANGELOG.md",
            )
        return cls(document, path.absolute().parent, settings_of(options))

    def compare(self, folder: Path) -> Likeness:
        """Return how a new pairs folder differs from the earlier one."""
        new = PairsFolder(folder)
        if new.document()["content_sha256"] == self.document.get("content_sha256"):
            return Likeness(())
        old = PairsFolder(self.folder)
        if not old.rows(pairs.RECORDS):
            return Likeness(("another content; the tables are not beside the dataset.json",))
        found: dict[str, str] = {}
        for table in (pairs.RECORDS, pairs.LESIONS):
            before, after = _by_id(old.rows(table)), _by_id(new.rows(table))
            for key in sorted(before.keys() | after.keys()):
                if before.get(key) != after.get(key):
                    lesion = f"lesion {key[1]} " if key[1] else ""
                    words = lesion + _difference(before.get(key), after.get(key))
                    found.setdefault(key[0], words)
        lines = [f"{record_id}: {words}" for record_id, words in sorted(found.items())]
        return Likeness(tuple(lines) or ("the pairs are the same, problems or left-out differ",))


def _by_id(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row["record_id"], row.get("lesion_id", "")): row for row in rows}


def _difference(before: Row | None, after: Row | None) -> str:
    if before is None:
        return "is new"
    if after is None:
        return "is not there any more"
    return "has another " + ", ".join(key for key in after if before.get(key) != after[key])
