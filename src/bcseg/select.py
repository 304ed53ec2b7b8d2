"""Select the pairs that a manifest names: a new root of the same shape, whole or not there."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bcseg import __version__, pairs
from bcseg.errors import EXIT_OK, UsageError
from bcseg.manifest import (
    DECISIONS,
    OWN_COLUMNS,
    Catalogue,
    Choice,
    Manifest,
    Pair,
    Trouble,
    checked_rows,
    match_rows,
    read_manifest,
)
from bcseg.pairs import FORMAT, SCHEMA_VERSION, PairsFolder, Row
from bcseg.store import PART, Lock, write_atomic

SELECTION = "selection.json"  # at the root: what a selection was made from
SELECTION_TABLE = "selection.csv"  # at the root: every row of the manifest, and what it became

# why a pair was not taken: codes of left_out.csv
REASONS = {
    "not_selected": "no row of the manifest names it",
    "rejected": "rejected in the manifest",
    "unsure": "marked as unsure in the manifest",
    "flagged": "flagged in the manifest",
    "undecided": "named in the manifest without a decision",
    "lesion_rejected": "a rejected lesion would become background",
    "lesion_not_accepted": "not all lesions of its mask are accepted",
}
_RECORD_CODES = {"reject": "rejected", "unsure": "unsure", "flag": "flagged"}

_SHOWN = 10  # bad rows or missing files that a message lists
_SHIFT = 10.0  # points by which a share must shift to be marked
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting:
    """How to select.

    `allow_missing`, `allow_changed`: rows that match nothing, or were decided on another contour,
    are warnings. `redo` replaces an earlier selection.
    """

    link: bool = False
    allow_missing: bool = False
    allow_changed: bool = False
    redo: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Counts of one dataset: pairs left out by code, rows of the manifest by decision."""

    dataset: str
    pairs: int
    taken: int
    left_out: dict[str, int]
    decisions: dict[str, int]
    content_sha256: str = ""  # empty: nothing taken, or a dry run

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often a value of an aspect (pathology, size, ...) is among kept and dropped pairs.

    Shares in per cent; `shifted`: they differ by more than ten points.
    """

    aspect: str
    value: str
    kept: int
    dropped: int
    kept_share: float
    dropped_share: float

    @property
    def shifted(self) -> bool:
        """Whether the value is much rarer or more frequent among the kept pairs."""
        return abs(self.kept_share - self.dropped_share) > _SHIFT

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"shifted": self.shifted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a selection took and left. `fresh`: it was made now; False: it was there already."""

    to: Path
    manifest_sha256: str
    datasets: tuple[Taken, ...]
    shares: tuple[Share, ...]
    warnings: tuple[str, ...]
    fresh: bool
    dry_run: bool

    @property
    def pairs(self) -> int:
        """Number of pairs taken."""
        return sum(one.taken for one in self.datasets)

    @property
    def exit_code(self) -> int:
        """0: warnings change nothing."""
        return EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the selection for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.to),
            "pairs": self.pairs,
            "fresh": self.fresh,
            "dry_run": self.dry_run,
            "manifest_sha256": self.manifest_sha256,
            "datasets": [one.document() for one in self.datasets],
            "kept_against_dropped": [share.document() for share in self.shares],
            "warnings": list(self.warnings),
            "exit_code": self.exit_code,
        }

    def text(self) -> str:
        """Return the selection for people."""
        total = sum(one.pairs for one in self.datasets)
        if not self.fresh:
            first = f"{self.pairs} of {total} pairs are in {self.to} already: nothing to do"
        else:
            would = "would be " if self.dry_run else ""
            first = f"{self.pairs} of {total} pairs {would}taken into {self.to}"
        lines = [first]
        width = max(len(one.dataset) for one in self.datasets)
        for one in self.datasets:
            lines.append(f"  {one.dataset:{width}}  {one.taken:5} of {one.pairs:5} taken")
            if one.left_out:
                reasons = ", ".join(f"{count} {code}" for code, count in one.left_out.items())
                lines.append(f"  {'':{width}}  left out: {reasons}")
            if one.content_sha256:
                lines.append(f"  {'':{width}}  content sha256 {one.content_sha256}")
        return "\n".join(lines + _shares_text(self.shares))


def _shares_text(shares: Sequence[Share]) -> list[str]:
    if not shares:
        return ["nothing was dropped: nothing to compare"]
    width = max(len(share.value) for share in shares)
    lines = [f"{'kept against dropped':{width + 14}}  {'kept':>13}  {'dropped':>13}"]
    aspect = ""
    for share in shares:
        title = "" if share.aspect == aspect else share.aspect
        aspect = share.aspect
        mark = f"  * {share.kept_share - share.dropped_share:+.0f} points" if share.shifted else ""
        lines.append(
            f"  {title:10}  {share.value:{width}}  {share.kept:5} ({share.kept_share:3.0f} %)"
            f"  {share.dropped:5} ({share.dropped_share:3.0f} %){mark}"
        )
    return lines


# ------------------------------------------------------------------------------ the command


@dataclass(frozen=True, slots=True)
class _Part:
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
class _Plan:
    """Everything that will be written."""

    manifest: Manifest
    choices: list[Choice]
    parts: list[_Part]
    warnings: list[str]
    files: dict[str, list[str]] = field(default_factory=dict)  # dataset: files of its pairs

    def identity(self) -> dict[str, Any]:
        """Return what a selection is made from; the same gives the same selection."""
        return {
            "format": FORMAT,
            "manifest_sha256": self.manifest.sha256,
            "sources": {part.dataset: part.content for part in self.parts},
        }

    def chosen(self) -> list[_Part]:
        """Return the datasets of which something is taken."""
        return [part for part in self.parts if part.kept]


def select_pairs(root: Path, manifest: Path, to: Path, how: Selecting) -> Selection:
    """Write the pairs of `root` that a manifest accepts as a new root `to`.

    Raises UsageError, with nothing written, for rows that cannot be used, for a manifest that
    takes nothing, for files that are missing, and for an output that is not free.
    """
    folders = _folders(root)
    _refuse_overlap(root, folders, to)
    plan = _plan(folders, manifest, how)
    old = _earlier(to)
    contents = {part.dataset: "" for part in plan.parts}
    fresh = old != plan.identity() or not _is_complete(plan, to)
    if fresh:
        _refuse_replacing(to, old, how, same=old == plan.identity())
        if not how.dry_run:
            contents |= _write(plan, to, how)
    else:
        contents |= {
            part.dataset: _content(to / part.dataset, PairsFolder(to / part.dataset).document())
            for part in plan.chosen()
        }
    return Selection(
        to=to,
        manifest_sha256=plan.manifest.sha256,
        datasets=tuple(part.taken(contents[part.dataset]) for part in plan.parts),
        shares=tuple(_compare(plan.chosen())),
        warnings=tuple(plan.warnings),
        fresh=fresh,
        dry_run=how.dry_run,
    )


def _folders(root: Path) -> dict[str, PairsFolder]:
    folders: dict[str, PairsFolder] = {}
    for folder in pairs.open_root(root):
        name = folder.name
        if name in folders:
            raise UsageError(
                f"two folders hold {name}: {folders[name].path.name} and {folder.path.name}",
                where=str(root),
                hint="name one of them instead of the root",
            )
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise UsageError(f"{name!r} cannot be the name of a dataset", where=str(folder.path))
        folders[name] = folder
    return folders


def _refuse_overlap(root: Path, folders: Mapping[str, PairsFolder], to: Path) -> None:
    output = to.resolve()
    for place in (root.resolve(), *(folder.path.resolve() for folder in folders.values())):
        if output == place or place in output.parents or output in place.parents:
            word = "lies inside" if place in output.parents else "lies around"
            raise UsageError(
                f"the output {'is' if output == place else word} the root that is read",
                where=str(to),
                hint="name another place with --out",
            )


# ------------------------------------------------------------------------------ the plan


def _plan(folders: Mapping[str, PairsFolder], path: Path, how: Selecting) -> _Plan:
    manifest = read_manifest(path)
    catalogue = Catalogue(folders)
    choices, troubles = match_rows(manifest, catalogue)
    warnings = _judge(troubles, catalogue, path, how)
    parts = []
    for dataset, folder in folders.items():
        document = folder.document()
        content = _content(folder.path, document)
        if content != document.get("content_sha256"):
            warnings.append(f"the tables of {dataset} changed since they were written")
        parts.append(_part(dataset, folder, document, content, (catalogue, choices)))
    plan = _Plan(manifest, choices, parts, warnings)
    if not plan.chosen():
        counts = sum((Counter(part.left_out()) for part in parts), Counter())
        reasons = ", ".join(f"{count} {code}" for code, count in counts.items())
        raise UsageError(
            f"the manifest selects nothing: {reasons or 'the root holds no pair'}", where=str(path)
        )
    plan.files = {part.dataset: _files(part) for part in plan.chosen()}
    return plan


def _content(folder: Path, document: Mapping[str, Any]) -> str:
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
    for trouble in bad[:_SHOWN]:
        near = catalogue.nearest(trouble.name, trouble.scope) if trouble.name else ""
        lines.append(
            f"    row {trouble.number}: {trouble.message}" + (f"; nearest: {near}" if near else "")
        )
    if len(bad) > _SHOWN:
        lines.append(f"    and {len(bad) - _SHOWN} more")
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
) -> _Part:
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
        code, detail = _fate(by_record.get(record_id, []), in_mask)
        codes[record_id] = code
        messages[record_id] = REASONS.get(code, "") + (f": lesion {detail}" if detail else "")
    counts = Counter(choice.decision or "undecided" for choice in own)
    decisions = {word: counts[word] for word in (*DECISIONS, "undecided") if counts[word]}
    return _Part(dataset, folder, document, content, records, codes, messages, decisions)


def _fate(choices: Sequence[Choice], in_mask: Sequence[str]) -> tuple[str, str]:
    """Return the code of a record that is left out, and the lesions at fault; ("", "") if taken.

    A decision about the record counts for its lesions that have no decision of their own. Lesions
    outside the mask do not count, unless the mask holds none.
    """
    whole = {c.decision for c in choices if not c.lesion_id and c.decision}
    single = {c.lesion_id: c.decision for c in choices if c.lesion_id and c.decision}
    if not choices:
        return "not_selected", ""
    if not whole and not single:
        return "undecided", ""
    for decision, code in _RECORD_CODES.items():
        if decision in whole:
            return code, ""
    default = "accept" if whole else ""
    decided = {one: single.get(one, default) for one in in_mask or single}
    rejected = [one for one, decision in decided.items() if decision == "reject"]
    if rejected:
        return "lesion_rejected", ", ".join(rejected)
    others = [one for one, decision in decided.items() if decision != "accept"]
    return ("lesion_not_accepted", ", ".join(others)) if others else ("", "")


def _files(part: _Part) -> list[str]:
    """Return the files of the kept pairs; raises UsageError if one is missing or empty."""
    names: list[str] = []
    missing: list[str] = []
    lesion_masks = part.document.get("options", {}).get("masks") == "lesion"
    for row in part.kept:
        own = [row["image"], row["mask"]]
        folder = part.folder.path / "lesions" / row["record_id"]
        singles = sorted(folder.glob("[!.]*.png"))
        own += [f"lesions/{row['record_id']}/{path.name}" for path in singles]
        if lesion_masks and len(singles) < _number(row["n_lesions"]):
            missing.append(f"lesions/{row['record_id']}/*.png")
        missing += [name for name in own if not _is_there(part.folder.path, name)]
        names += own
    if missing:
        listed = "\n".join(f"    {name}" for name in missing[:_SHOWN])
        more = f"\n    and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UsageError(
            f"{len(missing)} files of the chosen pairs of {part.dataset} are missing:\n"
            f"{listed}{more}",
            where=str(part.folder.path),
            hint="`bcseg verify` tells all; the same `bcseg refactor` again makes them anew",
        )
    return names


def _is_there(folder: Path, name: str) -> bool:
    path = PurePosixPath(name)
    safe = bool(name) and not path.is_absolute() and ".." not in path.parts
    return safe and _size(folder / name) > 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


# ------------------------------------------------------------------------------ the output


def _earlier(to: Path) -> dict[str, Any] | None:
    """Return the identity of the selection that is at `to`; None if there is none."""
    try:
        document = json.loads((to / SELECTION).read_text(encoding="utf-8"))
        identity = document["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return identity if isinstance(identity, dict) else None


def _is_complete(plan: _Plan, to: Path) -> bool:
    """Tell whether all files are at `to`, of the right size, and the tables unchanged."""
    if not (to / SELECTION_TABLE).is_file():
        return False
    for part in plan.chosen():
        folder = to / part.dataset
        if any(_size(folder / n) != _size(part.folder.path / n) for n in plan.files[part.dataset]):
            return False
        try:
            document = PairsFolder(folder).document()
            if _content(folder, document) != document.get("content_sha256"):
                return False
        except UsageError:
            return False
    return True


def _refuse_replacing(to: Path, old: dict[str, Any] | None, how: Selecting, *, same: bool) -> None:
    """Refuse an output that is not free: foreign always, an earlier selection without --redo."""
    if old is not None:
        if not how.redo:
            state = (
                "this selection is there, but not complete or changed"
                if same
                else "another selection is there"
            )
            hint = "--redo to replace it, or --out for another place"
            raise UsageError(state, where=str(to), hint=hint)
        _refuse_foreign_files(to, old)
    elif to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise UsageError(
            "the output is not empty and holds no selection of bcseg",
            where=str(to),
            hint="name another place with --out",
        )


_ROOT_FILES = {".gitignore", SELECTION, SELECTION_TABLE}
_FOLDER_FILES = {
    *("images", "masks", "lesions", "logs", pairs.DATASET, pairs.ARCHIVE, pairs.LICENCE),
    *pairs.COLUMNS,
}


def _refuse_foreign_files(to: Path, old: Mapping[str, Any]) -> None:
    """Refuse to replace a selection in which somebody keeps files of their own."""
    folders = [to / name for name in old.get("sources", ()) if (to / name).is_dir()]
    foreign = [
        path for path in to.iterdir() if path.name not in _ROOT_FILES and path not in folders
    ]
    foreign += [path for one in folders for path in one.iterdir() if path.name not in _FOLDER_FILES]
    if foreign:
        names = sorted(str(path.relative_to(to)) for path in foreign)
        listed = ", ".join(names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UsageError(
            f"the selection holds files that select did not write: {listed}{more}",
            where=str(to),
            hint="move them away first, or name another place with --out",
        )


def _write(plan: _Plan, to: Path, how: Selecting) -> dict[str, str]:
    """Build the selection beside `to` and move it there whole; return the content hashes."""
    place = to.resolve()
    part = place.with_name(f".{place.name}{PART}")
    old = place.with_name(f".{place.name}.old")
    try:
        with Lock(part):
            done = False
            try:
                _clear(part)
                _refuse_small_disk(plan, part, how)
                contents = _build(plan, part, how)
                _put(part, place, old)
                done = True
            finally:
                if not done:
                    shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"cannot write the selection: {error.strerror or error}",
            where=str(error.filename or to),
        ) from error
    return contents


def _clear(part: Path) -> None:
    """Remove what a killed run left; the lock is ours."""
    for path in part.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _refuse_small_disk(plan: _Plan, part: Path, how: Selecting) -> None:
    if how.link:
        return
    sizes = (_size(one.folder.path / n) for one in plan.chosen() for n in plan.files[one.dataset])
    needed, free = sum(sizes), shutil.disk_usage(part).free
    if needed > free:
        raise UsageError(
            f"the disk is too small: {needed / 1e9:.2g} GB are needed, {free / 1e9:.2g} free",
            where=str(part.parent),
            hint="--out on another disk, or --link on the same one",
        )


def _put(part: Path, place: Path, old: Path) -> None:
    """Give the finished folder its name; an earlier selection goes only then."""
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    part.rename(place)
    (place / ".lock").unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def _build(plan: _Plan, place: Path, how: Selecting) -> dict[str, str]:
    write_atomic(place / ".gitignore", b"*\n")
    contents = {}
    for part in plan.chosen():
        _take(part, plan.files[part.dataset], place / part.dataset, link=how.link)
        contents[part.dataset] = _write_tables(part, place / part.dataset, plan.manifest.sha256)
    write_atomic(place / SELECTION_TABLE, _selection_table(plan))
    document = {
        "schema_version": SCHEMA_VERSION,
        "bcseg": __version__,
        "identity": plan.identity(),
        "datasets": [part.taken(contents.get(part.dataset, "")).document() for part in plan.parts],
    }
    pairs.write_document(place / SELECTION, document)
    return contents


def _take(part: _Part, names: Iterable[str], to: Path, *, link: bool) -> None:
    """Copy or hard-link the files of the kept pairs."""
    source = part.folder.path.resolve()
    for folder in {(to / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if link:
            _link((source / name).resolve(), to / name)
        else:
            shutil.copyfile(source / name, to / name)


def _link(source: Path, to: Path) -> None:
    try:
        os.link(source, to)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        raise UsageError(
            f"cannot make hard links from there to here: {error.strerror}",
            where=str(source),
            hint="leave --link away, or give an --out on the same file system",
        ) from error


def _write_tables(part: _Part, to: Path, manifest_sha256: str) -> str:
    """Write the tables, restricted to the kept records; return the content hash."""
    ids = {row["record_id"] for row in part.kept}

    def kept(table: str) -> list[Row]:
        return [row for row in checked_rows(part.folder, table) if row["record_id"] in ids]

    lesions, problems = kept(pairs.LESIONS), kept(pairs.PROBLEMS)
    tables = {
        pairs.RECORDS: part.kept,
        pairs.LESIONS: lesions,
        pairs.PROBLEMS: problems,
        pairs.LEFT_OUT: _left_out_rows(part),
    }
    for name, rows in tables.items():
        write_atomic(to / name, pairs.table_bytes(name, rows))
    write_atomic(to / pairs.ARCHIVE, _archive(part, ids))
    licence = part.folder.path / pairs.LICENCE
    if licence.is_file():
        shutil.copyfile(licence, to / pairs.LICENCE)
    content = pairs.content_sha256(to)
    changed = {
        "records": len(ids),
        "lesions_in_masks": sum(row["in_mask"] == "1" for row in lesions),
        "problems": dict(sorted(Counter(row["code"] for row in problems).items())),
        "selection": _section(part, manifest_sha256),
        "content_sha256": content,
    }
    rest = {key: value for key, value in part.document.items() if key not in changed}
    pairs.write_document(to / pairs.DATASET, rest | changed)
    return content


def _archive(part: _Part, ids: set[str]) -> bytes:
    try:
        return pairs.archive_bytes(
            line for line in part.folder.archive() if line["record_id"] in ids
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{pairs.ARCHIVE} is damaged", where=str(part.folder.path)) from error


def _section(part: _Part, manifest_sha256: str) -> dict[str, Any]:
    """Return what dataset.json says about the selection; one made of a selection keeps both."""
    earlier = part.document.get("selection")
    return {
        "manifest_sha256": manifest_sha256,
        "source_content_sha256": part.content,
        "source_records": len(part.records),
        "decisions": part.decisions,
        "left_out": part.left_out(),
    } | ({"earlier": earlier} if earlier else {})


def _left_out_rows(part: _Part) -> list[Row]:
    return [
        {
            "dataset": part.dataset,
            "record_id": row["record_id"],
            "severity": "left_out",
            "code": part.codes[row["record_id"]],
            "message": part.messages[row["record_id"]],
            "source": row["source_image"],
        }
        for row in sorted(part.records, key=lambda row: row["record_id"])
        if part.codes[row["record_id"]]
    ]


def _selection_table(plan: _Plan) -> bytes:
    """Return every row of the manifest with what it meant: itself a manifest of the same pairs.

    `taken` is 1 where the pair was taken; all other columns are carried through.
    """
    others = [name for name in plan.manifest.columns if name not in (*OWN_COLUMNS, "taken")]
    taken = {
        (part.dataset, row["record_id"]) for part in plan.parts for row in part.kept
    }  # fmt: skip
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*OWN_COLUMNS, "taken", *others])
    for choice in sorted(plan.choices, key=_table_order):
        row = choice.row
        dataset, record_id = choice.pair or (row.cell("dataset"), row.cell("record_id"))
        writer.writerow(
            [
                dataset,
                record_id,
                choice.lesion_id or row.cell("lesion_id"),
                choice.decision,
                row.cell("annotation_sha256"),
                int(choice.pair in taken),
                *(row.cells.get(name, "") for name in others),
            ]
        )
    return text.getvalue().encode()


def _table_order(choice: Choice) -> tuple[bool, Pair, str, int]:
    return choice.pair is None, choice.pair or ("", ""), choice.lesion_id, choice.row.number


# ------------------------------------------------------------------------------ comparison


def _compare(parts: Sequence[_Part]) -> list[Share]:
    """Compare kept with dropped pairs over the datasets of which something was taken."""
    rows = [(part, row, not part.codes[row["record_id"]]) for part in parts for row in part.records]
    if all(kept for _, _, kept in rows):
        return []
    thirds = {part.dataset: _thirds(part.records) for part in parts}
    aspects: dict[str, Callable[[_Part, Row], str]] = {
        "dataset": lambda part, row: part.dataset,
        "pathology": lambda part, row: row["pathology"] or "unknown",
        "size": lambda part, row: thirds[part.dataset](row),
        "density": lambda part, row: row["density"] or "unknown",
    }
    if len(parts) == 1:
        del aspects["dataset"]
    totals = Counter(kept for _, _, kept in rows)
    shares = []
    for aspect, value_of in aspects.items():
        counts = Counter((value_of(part, row), kept) for part, row, kept in rows)
        for value in sorted({value for value, _ in counts}, key=_value_order):
            kept, dropped = counts[value, True], counts[value, False]
            shares.append(
                Share(
                    aspect=aspect,
                    value=value,
                    kept=kept,
                    dropped=dropped,
                    kept_share=round(100 * kept / totals[True], 1),
                    dropped_share=round(100 * dropped / totals[False], 1),
                )
            )
    return shares


_SIZES = ("empty", "small", "medium", "large")


def _value_order(value: str) -> tuple[bool, int, str]:
    return value == "unknown", _SIZES.index(value) if value in _SIZES else 0, value


def _thirds(records: Sequence[Row]) -> Callable[[Row], str]:
    """Return the function that puts a mask into the small, middle or large third of its dataset.

    By area in mm2 where all masks have one, else by pixels: the two are never mixed.
    """
    column = "mask_area_mm2" if all(row["mask_area_mm2"] for row in records) else "mask_pixels"
    areas = sorted(area for row in records if (area := _number(row[column])) > 0)
    limits = [areas[len(areas) * n // 3] for n in (1, 2)] if areas else []

    def third(row: Row) -> str:
        area = _number(row[column])
        return "empty" if area <= 0 else _SIZES[1 + sum(area >= limit for limit in limits)]

    return third


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return 0.0
