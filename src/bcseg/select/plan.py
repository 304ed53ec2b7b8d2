"""Decide which pairs are taken, before anything is written."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bcseg import pairs
from bcseg.cloud import place
from bcseg.convert import lesion_file
from bcseg.errors import UsageError
from bcseg.ignoring import ignore_file, ignored_lesions
from bcseg.pairs import FORMAT, PairsFolder, Row, checked_rows
from bcseg.scores.table import SCORES
from bcseg.select import classic
from bcseg.select.catalogue import Catalogue
from bcseg.select.classic import CLASSIC, Recovered
from bcseg.select.criteria import apply_criteria, refuse_senseless
from bcseg.select.fate import fate_of
from bcseg.select.manifest import DECISIONS, Manifest, read_manifest
from bcseg.select.matching import Choice, Trouble, match_rows
from bcseg.select.options import Selecting
from bcseg.select.part import Part
from bcseg.sizes import number_in
from bcseg.split.patients import key_of
from bcseg.split.tables import splits_of
from bcseg.store import file_sizes

SHOWN = 10  # bad rows or missing files that a message lists


@dataclass(slots=True)
class Plan:
    """Everything that will be written; `files`: what is copied, by dataset."""

    manifest: Manifest | None
    choices: list[Choice]
    parts: list[Part]
    warnings: list[str]
    criteria: dict[str, Any]
    scored: bool = False  # the criteria ask about scores.csv
    notes: list[str] = field(default_factory=list)
    recovered: tuple[Recovered, ...] = ()
    splits: bytes = b""  # splits.csv of what is taken
    files: dict[str, list[str]] = field(default_factory=dict)

    @property
    def manifest_sha256(self) -> str:
        """The hash of the manifest, empty without one."""
        return self.manifest.sha256 if self.manifest else ""

    def identity(self) -> dict[str, Any]:
        """Return what a selection is made from; the same gives the same selection."""
        found: dict[str, Any] = {
            "format": FORMAT,
            "manifest_sha256": self.manifest_sha256,
            "sources": {part.dataset: part.content for part in self.parts},
        }
        if self.criteria:
            found["criteria"] = self.criteria
        if self.scored:
            found["scores"] = {part.dataset: _scores_sha256(part.folder) for part in self.parts}
        if self.splits:
            found["splits"] = hashlib.sha256(self.splits).hexdigest()
        return found

    def compared(self) -> list[Part]:
        """Return the datasets whose dropped pairs are compared with the kept ones.

        A manifest may be about one dataset of many; criteria are about all.
        """
        return self.chosen() if self.manifest else self.parts

    def chosen(self) -> list[Part]:
        """Return the datasets of which something is taken."""
        return [part for part in self.parts if part.kept]


def _scores_sha256(folder: PairsFolder) -> str:
    path = folder.path / SCORES
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def make_plan(
    folders: Mapping[str, PairsFolder], given: Path | str | None, how: Selecting, root: Path
) -> Plan:
    """Return what is selected; raises UsageError if it has no meaning or takes nothing.

    `given`: the manifest, CLASSIC, or None.
    """
    refuse_senseless(how, manifest=given is not None)
    catalogue = Catalogue(folders)
    plan = Plan(None, [], [], [], how.criteria())
    if given == CLASSIC:
        _match_classic(plan, catalogue)
    elif given is not None:
        plan.manifest = read_manifest(place(given))
        plan.choices, troubles = match_rows(plan.manifest, catalogue)
        plan.warnings += _judge(troubles, catalogue, place(given), how)
    for dataset, folder in folders.items():
        document = folder.document()
        content = folder_content(folder.path, document)
        if content != document.get("content_sha256"):
            plan.warnings.append(f"the tables of {dataset} changed since they were written")
        records = [row for pair, row in catalogue.records.items() if pair[0] == dataset]
        part = Part(dataset, folder, document, content, records, {}, {}, {})
        if plan.manifest:
            _decide(part, catalogue, plan.choices, ignore_rejected=how.ignore_rejected)
        else:
            part.codes.update(dict.fromkeys((row["record_id"] for row in records), ""))
        plan.parts.append(part)
    applied = apply_criteria(plan.parts, how, root)
    plan.warnings += applied.warnings
    plan.notes += applied.notes
    plan.scored = applied.scored
    if not plan.chosen():
        counts = sum((Counter(part.left_out()) for part in plan.parts), Counter())
        reasons = ", ".join(f"{count} {code}" for code, count in counts.items())
        told = "".join(f"\n  {line}" for line in (*plan.notes, *plan.warnings))
        hint = "--ignore-rejected keeps a record that has an accepted lesion too"
        raise UsageError(
            f"the {'manifest' if given else 'choice'} selects nothing:"
            f" {reasons or 'the root holds no pair'}{told}",
            where=str(given or root),
            hint=hint if counts["lesion_rejected"] else "",
        )
    plan.files = {part.dataset: _files(part) for part in plan.chosen()}
    _take_splits(plan, root)
    return plan


def _take_splits(plan: Plan, root: Path) -> None:
    """Have the splits.csv of the root come along; a foreign one stays behind."""
    path = pairs.splits_path(plan.chosen()[0].folder.path, root)
    if path is None:
        return
    try:
        plan.splits = splits_of(path, {key_of(row) for part in plan.parts for row in part.kept})
    except UsageError as error:
        plan.warnings.append(f"{pairs.SPLITS} stays behind: {error.args[0]}")


def _match_classic(plan: Plan, catalogue: Catalogue) -> None:
    plan.manifest, plan.notes = classic.for_root(classic.read_classic(), catalogue)
    plan.choices, troubles = match_rows(plan.manifest, catalogue)
    plan.warnings += classic.missing_rows(troubles, plan.choices, catalogue)
    plan.recovered = classic.completeness(plan.choices, catalogue)
    if Path(CLASSIC).is_file():
        plan.notes.append(f"{CLASSIC} is the list that bcseg ships; the file here: ./{CLASSIC}")


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


def _decide(
    part: Part, catalogue: Catalogue, choices: Sequence[Choice], *, ignore_rejected: bool
) -> None:
    """Enter what the rows of the manifest say about the records of a dataset."""
    own = [choice for choice in choices if choice.pair and choice.pair[0] == part.dataset]
    by_record: dict[str, list[Choice]] = {}
    for choice in own:
        if choice.pair:
            by_record.setdefault(choice.pair[1], []).append(choice)
    for row in part.records:
        record_id = row["record_id"]
        lesions = catalogue.lesions.get((part.dataset, record_id), {})
        in_mask = [lesion_id for lesion_id, inside in lesions.items() if inside]
        fate = fate_of(by_record.get(record_id, []), in_mask, ignore_rejected=ignore_rejected)
        part.codes[record_id] = ""
        if fate.code:
            detail = f": lesion {', '.join(fate.lesions)}" if fate.lesions else ""
            part.leave_out(record_id, fate.code, detail)
        elif fate.ignored:
            part.ignore(record_id, fate.ignored)
    counts = Counter(choice.decision or "undecided" for choice in own)
    part.decisions.update((w, counts[w]) for w in (*DECISIONS, "undecided") if counts[w])


def _files(part: Part) -> list[str]:
    """Return the files of the kept pairs; raises UsageError if one is missing or empty.

    The mask of a pair that is taken without a lesion is not among them: it is drawn anew.
    """
    names: list[str] = []
    missing: list[str] = []
    lesion_masks = part.document.get("options", {}).get("masks") == "lesion"
    size_of = file_sizes(part.folder.path)
    lesions: dict[str, list[Row]] = {}
    for row in checked_rows(part.folder, pairs.LESIONS):
        lesions.setdefault(row["record_id"], []).append(row)
    for row in part.kept:
        record_id = row["record_id"]
        of_record = lesions.get(record_id, [])
        folder = part.folder.path / "lesions" / record_id
        singles = sorted(folder.glob("[!.]*.png"))
        if lesion_masks and len(singles) < number_in(row["n_lesions"]):
            missing.append(f"lesions/{record_id}/*.png")
        own = [row["image"], *(f"lesions/{record_id}/{path.name}" for path in singles)]
        if record_id in part.ignored:
            gone = set(part.ignored[record_id])
            of_gone = [one for one in of_record if one["lesion_id"] in gone]
            files = {lesion_file(record_id, one["lesion_id"], one["kind"]) for one in of_gone}
            own = [name for name in own if name not in files]
            drawn = (row["mask"], ignore_file(record_id))
            missing += [name for name in drawn if not _is_safe(name)]
        else:
            own.append(row["mask"])
            own += [ignore_file(record_id)] if ignored_lesions(of_record) else []
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
    return _is_safe(name) and size_of(name) > 0


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts
