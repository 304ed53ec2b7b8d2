"""Which archive is this, what is missing or damaged, what would `refactor` write.

Reads names, tables, contours and the heads of images. Decodes no pixel, writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bcseg import adapters, executors, plan, published
from bcseg.adapters.base import Adapter, Info, packed_hint
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, ArchiveError, RecordError
from bcseg.formats.identity import identifiable_tags
from bcseg.formats.images import image_size
from bcseg.outcome import Job
from bcseg.pairs import SCHEMA_VERSION
from bcseg.records import Record, Unreadable
from bcseg.refactor import survey
from bcseg.run import Run, State
from bcseg.settings import Settings
from bcseg.source import Source, open_source
from bcseg.text import aligned

_FIRST = 3  # names shown of a list
_THREADS = 8  # heads read at once: what is slow is the disk or the network
_RIVAL = 0.2  # a second dataset with so large a share of the best one's files makes it ambiguous

Verdict = Literal["complete", "partial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One sort of file: how many are expected (None: nobody knows), found, and what is wrong."""

    what: str
    expected: int | None
    found: int
    missing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def lacking(self) -> int:
        """How many are missing, by name or by count."""
        by_count = (self.expected or 0) - self.found
        return max(len(self.missing), by_count, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a source is."""

    info: Info
    layout: str
    lines: tuple[Line, ...]
    pairs: int
    bytes_written: int
    minutes: float
    left_out: dict[str, int]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Complete, or partial."""
        return "partial" if any(line.lacking for line in self.lines) else "complete"

    @property
    def exit_code(self) -> int:
        """1 with unreadable or unknown files."""
        bad = any(line.unreadable or line.unknown for line in self.lines)
        return EXIT_FINDINGS if bad else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the inspection for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.info.name,
            "title": self.info.title,
            "layout": self.layout,
            "verdict": self.verdict,
            "lines": [
                {
                    "what": line.what,
                    "expected": line.expected,
                    "found": line.found,
                    "lacking": line.lacking,
                    "missing": list(line.missing),
                    "unreadable": list(line.unreadable),
                    "unknown": list(line.unknown),
                }
                for line in self.lines
            ],
            "would_write": {
                "pairs": self.pairs,
                "bytes": self.bytes_written,
                "minutes": round(self.minutes, 1),
                "left_out": self.left_out,
            },
            "notes": list(self.notes),
            "exit_code": self.exit_code,
        }

    def text(self) -> str:
        """Return the inspection for a terminal."""
        rows = [("", "expected", "found", "missing", "unreadable", "unknown")]
        rows += [
            (
                line.what,
                "?" if line.expected is None else f"{line.expected:,}",
                f"{line.found:,}",
                f"{line.lacking:,}",
                f"{len(line.unreadable):,}",
                f"{len(line.unknown):,}",
            )
            for line in self.lines
        ]
        names = [
            f"  {word} {line.what}: {_listed(getattr(line, word))}"
            for line in self.lines
            for word in ("missing", "unreadable", "unknown")
            if getattr(line, word)
        ]
        lacking = [f"{line.lacking:,} {line.what}" for line in self.lines if line.lacking]
        verdict = f"partial: {', '.join(lacking)} missing" if lacking else "complete"
        reasons = ", ".join(f"{count} {code}" for code, count in self.left_out.items())
        return "\n".join(
            [
                f"{self.info.title}: {verdict}",
                f"layout: {self.layout}",
                aligned(rows),
                *names,
                f"bcseg refactor {self.info.name} would write up to {self.pairs:,} pairs, about "
                f"{self.bytes_written / 1e9:.2g} GB in {max(1, round(self.minutes))} min"
                + (f" (images left out: {reasons})" if reasons else ""),
                *(f"note: {note}" for note in self.notes),
            ]
        )

    def names(self) -> str:
        """Return all names that are missing, unreadable or unknown, one a line."""
        return "".join(
            f"{word}\t{line.what}\t{name}\n"
            for line in self.lines
            for word in ("missing", "unreadable", "unknown")
            for name in getattr(line, word)
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FIRST:,} more" if len(names) > _FIRST else ""
    return ", ".join(names[:_FIRST]) + more


def inspect(location: Path, *, jobs: int = 0) -> Inspection:
    """Return what the source at `location` is.

    Raises ArchiveError if it is no archive that bcseg knows, or could be more than one.
    """
    source = open_source(location)
    adapter = recognise(source)
    settings = Settings().for_dataset(adapter.INFO)
    index = plan.read_index(adapter, source, settings)
    state = State.on(adapter.INFO, source, index, settings, Run(jobs=jobs))
    unreadable = _unreadable_heads(source, [r.image for r in index.records if r.image])
    job = Job(adapter.INFO.name, source, Path(), settings, state.copies, write=False)
    tables = survey(state, job)
    wanted = [state.records[row["record_id"]] for row in tables.records]
    size, seconds = plan.expected(state, wanted)
    failures = [row for row in tables.problems if row["severity"] == "failed"]
    unknown = tuple(
        name for name, (*_, code) in tables.ledger.items.items() if code == "unknown_file"
    )
    return Inspection(
        info=adapter.INFO,
        layout=index.layout or "none that is known by name",
        lines=_lines(state, unreadable, failures, unknown),
        pairs=len(wanted),
        bytes_written=size,
        minutes=seconds / 60,
        left_out=tables.ledger.reasons().get("images", {}).get("left_out", {}),
        notes=(*index.notes, *_warnings(state), *_privacy(source, index.records)),
    )


def recognise(source: Source) -> Adapter:
    """Return the adapter whose archive the source is.

    Raises ArchiveError for none, and for two that both could claim it.
    """
    claims = adapters.resembles(source.names())
    if not claims:
        known = ", ".join(adapters.ADAPTERS)
        raise ArchiveError(
            "not an archive that bcseg knows: none of its files is named like one of theirs",
            where=str(source.location),
            hint=packed_hint(source.names())
            or f"known are {known}: `bcseg datasets NAME` shows how each looks",
        )
    (best, most), *others = claims.items()
    rivals = [f"{name} ({count} files)" for name, count in others if count >= _RIVAL * most]
    if rivals:
        raise ArchiveError(
            f"could be {best} ({most} files) or {', '.join(rivals)}: their files lie together",
            where=str(source.location),
            hint="name the folder of one archive, or say which: bcseg refactor DATASET SOURCE",
        )
    return adapters.get(best)


def _unreadable_heads(source: Source, names: Sequence[str]) -> dict[str, str]:
    """Return images whose head cannot be read, with the reason. Heads are read side by side."""

    def reason(name: str) -> str:
        try:
            with source.open(name) as file:
                image_size(file, name)
        except RecordError as error:
            return str(error.args[0])
        return ""

    with ThreadPoolExecutor(_THREADS * max(1, executors.usable_cpus() // 2)) as pool:
        reasons = dict(zip(names, pool.map(reason, names), strict=True))
    return {name: why for name, why in reasons.items() if why}


def _lines(
    state: State,
    unreadable: dict[str, str],
    failures: list[dict[str, str]],
    unknown: tuple[str, ...],
) -> tuple[Line, ...]:
    index = state.index
    images = [record for record in index.records if record.image]
    listed = [record for record in index.records if not record.image]
    bad = {row["source"]: row["message"] for row in failures if row["code"] != "mask_missing"}
    names = {record.image for record in images}
    contours, lost = _contours(index.records)
    return (
        Line(
            what="images",
            expected=_expected_images(state.info, len(index.records)),
            found=len(images),
            missing=tuple(record.record_id for record in listed),
            unreadable=tuple(f"{name} ({why})" for name, why in sorted(unreadable.items())),
        ),
        Line(
            what="contours",
            expected=_expected_contours(state.info, contours + len(lost)),
            found=contours,
            missing=tuple(lost),
            unreadable=tuple(
                f"{name} ({why})" for name, why in sorted(bad.items()) if name not in names
            ),
        ),
        Line(what="tables", expected=None, found=len(index.tables)),
        Line(
            what="other files",
            expected=None,
            found=len(index.documents) + len(unknown),
            unknown=unknown,
        ),
    )


def _expected_images(info: Info, listed: int) -> int | None:
    """Return the larger of what was published and what the archive's own tables list."""
    figures = {figure.name: figure.value for figure in published.figures(info.name)}
    return max(figures.get("images", 0), listed) or None


def _expected_contours(info: Info, listed: int) -> int | None:
    figures = {figure.name: figure.value for figure in published.figures(info.name)}
    known = figures.get("contour_files") or figures.get("regions") or figures.get("abnormalities")
    return max(known, listed) if known else listed or None


def _contours(records: Sequence[Record]) -> tuple[int, list[str]]:
    """Return how many contours or contour files are there, and those that a table misses."""
    found, lost = 0, []
    for record in records:
        found += len(record.annotations)
        for lesion in record.lesions:
            if isinstance(lesion.shape, Unreadable) and lesion.shape.code == "mask_missing":
                lost.append(f"{record.record_id} {lesion.lesion_id}")
            else:
                found += 1
        if "*" in record.suspicious and record.image and not record.lesions:
            lost.append(f"{record.record_id} ({record.suspicious['*']})")
    return found, lost


def _warnings(state: State) -> list[str]:
    return [warned.message for warned in state.index.warnings]


def _privacy(source: Source, records: Sequence[Record]) -> list[str]:
    """Return notes about what may identify a person: tags of a few headers, burnt-in text."""
    dicoms = [record.image for record in records if record.image.lower().endswith(".dcm")]
    tags: set[str] = set()
    for name in dicoms[:: max(1, len(dicoms) // 20)]:
        try:
            with source.open(name) as file:
                tags |= identifiable_tags(file)
        except RecordError:
            continue  # listed as unreadable
    notes = []
    if tags:
        words = ", ".join(sorted(tags))
        notes.append(f"DICOM headers hold tags that may identify a person: {words} (never copied)")
    return notes
