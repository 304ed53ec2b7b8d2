"""Decide which pairs are taken, before anything is written."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import FORMAT, PairsFolder, Row
from bcseg.select.catalogue import Catalogue
from bcseg.select.fate import REASONS, fate_of
from bcseg.select.manifest import DECISIONS, Manifest, read_manifest
from bcseg.select.matching import Choice, Trouble, match_rows
from bcseg.select.options import Selecting
from bcseg.select.report import Taken
from bcseg.sizes import number_in
from bcseg.store import file_sizes

SHOWN = 10  # bad rows or missing files that a message lists


@dataclass(frozen=True, slots=True)
class Part:
    """One dataset of the root: its records, and why each is left out (empty: it is taken)."""

    dataset: str
    folder: PairsFolder
    document: dict[str, Any]
    content: str  # content_sha256 of the folder as it is
    records: list[Row]
    codes: dict[str, str]
    messages: dict[str, str]
    decisions: dict[str, int]

    @property
    def kept(self) -> list[Row]:
        """The records that are taken."""
        return [row for row in self.records if not self.codes[row["record_id"]]]

    def left_out(self) -> dict[str, int]:
        """Return how many pairs were left out, by code."""
        counts = Counter(code for code in self.codes.values() if code)
        return {code: counts[code] for code in REASONS if counts[code]}

    def taken(self, content: str = "") -> Taken:
        """Return the counts of the dataset."""
        return Taken(
            dataset=self.dataset,
            pairs=len(self.records),
            taken=len(self.kept),
            left_out=self.left_out(),
            decisions=self.decisions,
            content_sha256=content,
        )


@dataclass(slots=True)
class Plan:
    """Everything that will be written."""

    manifest: Manifest
    choices: list[Choice]
    parts: list[Part]
    warnings: list[str]
    files: dict[str, list[str]] = field(default_factory=dict)  # dataset: files of its pairs

    def identity(self) -> dict[str, Any]:
        """Return what a selection is made from; the same gives the same selection."""
        return {
            "format": FORMAT,
            "manifest_sha256": self.manifest.sha256,
            "sources": {part.dataset: part.content for part in self.parts},
        }

    def chosen(self) -> list[Part]:
        """Return the datasets of which something is taken."""
        return [part for part in self.parts if part.kept]


def make_plan(folders: Mapping[str, PairsFolder], path: Path, how: Selecting) -> Plan:
    """Return what a manifest selects; raises UsageError if it cannot be used or takes nothing."""
    manifest = read_manifest(path)
    catalogue = Catalogue(folders)
    choices, troubles = match_rows(manifest, catalogue)
    warnings = _judge(troubles, catalogue, path, how)
    parts = []
    for dataset, folder in folders.items():
        document = folder.document()
        content = folder_content(folder.path, document)
        if content != document.get("content_sha256"):
            warnings.append(f"the tables of {dataset} changed since they were written")
        parts.append(_part(dataset, folder, document, content, (catalogue, choices)))
    plan = Plan(manifest, choices, parts, warnings)
    if not plan.chosen():
        counts = sum((Counter(part.left_out()) for part in parts), Counter())
        reasons = ", ".join(f"{count} {code}" for code, count in counts.items())
        raise UsageError(
            f"the manifest selects nothing: {reasons or 'the root holds no pair'}", where=str(path)
        )
    plan.files = {part.dataset: _files(part) for part in plan.chosen()}
    return plan


def folder_content(folder: Path, document: Mapping[str, Any]) -> str:
    """Return the content hash of a pairs folder; raises UsageError if a table is gone."""
    try:
        return pairs.content_sha256(folder)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(
            f"a table of {document['dataset']} cannot be read: {error}",
            where=str(folder),
            hint="run the same `bcseg refactor` again: it writes the tables anew",
        ) from error


def _judge(
    troubles: Sequence[Trouble], catalogue: Catalogue, path: Path, how: Selecting
) -> list[str]:
    """Return what is allowed as warnings; raises UsageError for the rest."""
    allowed = {"missing": how.allow_missing, "changed": how.allow_changed}
    bad = [trouble for trouble in troubles if not allowed.get(trouble.sort, False)]
    if not bad:
        return [f"row {trouble.number}: {trouble.message}" for trouble in troubles]
    lines = []
    for trouble in bad[:SHOWN]:
        near = catalogue.nearest(trouble.name, trouble.scope) if trouble.name else ""
        lines.append(
            f"    row {trouble.number}: {trouble.message}" + (f"; nearest: {near}" if near else "")
        )
    if len(bad) > SHOWN:
        lines.append(f"    and {len(bad) - SHOWN} more")
    rows = len({trouble.number for trouble in bad})
    options = [f"--allow-{sort}" for sort in allowed if any(one.sort == sort for one in bad)]
    hint = "correct the manifest"
    if options and all(trouble.sort != "error" for trouble in bad):
        hint += f", or go on without it: {' '.join(options)}"
    plural = "s" if rows > 1 else ""
    message = f"{rows} row{plural} of the manifest cannot be used:\n" + "\n".join(lines)
    raise UsageError(message, where=str(path), hint=hint)


def _part(
    dataset: str,
    folder: PairsFolder,
    document: dict[str, Any],
    content: str,
    matched: tuple[Catalogue, Sequence[Choice]],
) -> Part:
    catalogue, choices = matched
    own = [choice for choice in choices if choice.pair and choice.pair[0] == dataset]
    by_record: dict[str, list[Choice]] = {}
    for choice in own:
        if choice.pair:
            by_record.setdefault(choice.pair[1], []).append(choice)
    records = [row for pair, row in catalogue.records.items() if pair[0] == dataset]
    codes, messages = {}, {}
    for row in records:
        record_id = row["record_id"]
        lesions = catalogue.lesions.get((dataset, record_id), {})
        in_mask = [lesion_id for lesion_id, inside in lesions.items() if inside]
        code, detail = fate_of(by_record.get(record_id, []), in_mask)
        codes[record_id] = code
        messages[record_id] = REASONS.get(code, "") + (f": lesion {detail}" if detail else "")
    counts = Counter(choice.decision or "undecided" for choice in own)
    decisions = {word: counts[word] for word in (*DECISIONS, "undecided") if counts[word]}
    return Part(dataset, folder, document, content, records, codes, messages, decisions)


def _files(part: Part) -> list[str]:
    """Return the files of the kept pairs; raises UsageError if one is missing or empty."""
    names: list[str] = []
    missing: list[str] = []
    lesion_masks = part.document.get("options", {}).get("masks") == "lesion"
    size_of = file_sizes(part.folder.path)
    for row in part.kept:
        own = [row["image"], row["mask"]]
        folder = part.folder.path / "lesions" / row["record_id"]
        singles = sorted(folder.glob("[!.]*.png"))
        own += [f"lesions/{row['record_id']}/{path.name}" for path in singles]
        if lesion_masks and len(singles) < number_in(row["n_lesions"]):
            missing.append(f"lesions/{row['record_id']}/*.png")
        missing += [name for name in own if not _is_there(name, size_of)]
        names += own
    if missing:
        listed = "\n".join(f"    {name}" for name in missing[:SHOWN])
        more = f"\n    and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UsageError(
            f"{len(missing)} files of the chosen pairs of {part.dataset} are missing:\n"
            f"{listed}{more}",
            where=str(part.folder.path),
            hint="`bcseg verify` tells all; the same `bcseg refactor` again makes them anew",
        )
    return names


def _is_there(name: str, size_of: Callable[[str], int]) -> bool:
    path = PurePosixPath(name)
    safe = bool(name) and not path.is_absolute() and ".." not in path.parts
    return safe and size_of(name) > 0
