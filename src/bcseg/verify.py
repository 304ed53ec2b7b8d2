"""Check pairs folders: is all that the tables promise there, unchanged, and does it make sense.

The parent reads the tables and compares them with each other; workers open the files of one pair
at a time. docs/verify.md explains every code.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import itertools
import json
import os
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import adapters, executors, pairs, plan, png, raster
from bcseg.breast import breast_region
from bcseg.convert import convert, lesion_file
from bcseg.errors import EXIT_FINDINGS, EXIT_OK, RecordError, UsageError
from bcseg.formats.images import decode
from bcseg.outcome import Job, Outcome
from bcseg.pairs import FORMAT, PROBLEM_COLUMNS, SCHEMA_VERSION, PairsFolder, Row
from bcseg.raster import Patch
from bcseg.records import LESION_KINDS, Record, Size
from bcseg.run import Progress
from bcseg.settings import settings_of
from bcseg.source import open_source
from bcseg.store import PART

Severity = Literal["failed", "warning", "note"]

SPLITS = "splits.csv"
_SHOWN = 20
_FILE_FOLDERS = ("images", "masks", "lesions")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 33  # signature and IHDR chunk
_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG
_GREY = 0  # PNG colour type
_THREADS = 16  # of --fast, which waits for the disk
# the archive's own split has patients in both parts, and says so (CBIS-DDSM: 31 of them)
_PUBLISHED_IN_BOTH = frozenset({"cbis"})
# columns of records.csv that have a code of their own when the source says otherwise
_SOURCE_CODES = {
    "source_sha256": ("source_changed", "the file of the archive is another one now"),
    "annotation_sha256": ("annotation_changed", "the archive draws the chosen lesions otherwise"),
    "image_sha256": ("image_differs", "the archive gives other pixels"),
    "mask_sha256": ("mask_differs", "the archive gives another mask"),
}


# ---------------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """How to verify.

    `fast`: names, sizes and tables only. `sources`: archives to read again, by dataset name (or
    path of an adapter). `baseline`: a list of findings that count no more, as `--out` writes it.
    """

    fast: bool = False
    jobs: int = 0  # 0: the CPUs that this process may use
    sources: Mapping[str, Path] = field(default_factory=dict)
    baseline: Path | None = None
    progress: Progress = lambda done, total: None


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked of one dataset; `recorded_sha256` is what its dataset.json says."""

    dataset: str
    folder: Path
    pairs: int
    bytes_read: int
    content_sha256: str
    recorded_sha256: str
    compared: int  # pairs made once more from the archive


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and found; `findings` are rows like those of problems.csv."""

    checked: tuple[Checked, ...]
    findings: tuple[Row, ...]
    known: frozenset[tuple[str, ...]]  # findings of the baseline
    fast: bool = False

    @property
    def new(self) -> tuple[Row, ...]:
        """The findings that the baseline does not know."""
        return tuple(row for row in self.findings if finding_key(row) not in self.known)

    @property
    def exit_code(self) -> int:
        """1 if anything failed that the baseline does not know."""
        failed = any(row["severity"] == "failed" for row in self.new)
        return EXIT_FINDINGS if failed else EXIT_OK

    def document(self) -> dict[str, Any]:
        """Return the report for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "fast": self.fast,
            "datasets": [
                {
                    "dataset": one.dataset,
                    "folder": str(one.folder),
                    "pairs": one.pairs,
                    "bytes_read": one.bytes_read,
                    "compared_with_source": one.compared,
                    "content_sha256": one.content_sha256,
                    "recorded_content_sha256": one.recorded_sha256,
                }
                for one in self.checked
            ],
            "counts": _counts(self.findings),
            "known": len(self.findings) - len(self.new),
            "findings": list(self.findings),
            "exit_code": self.exit_code,
        }

    def table(self) -> bytes:
        """Return all findings as CSV with the columns of problems.csv: a baseline, if wanted."""
        return pairs.table_bytes(pairs.PROBLEMS, self.findings)


def finding_key(row: Mapping[str, str]) -> tuple[str, ...]:
    """Return what makes two findings the same: messages may hold figures that change."""
    return row["dataset"], row["record_id"], row["code"], row["source"]


def _counts(findings: Iterable[Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {word: Counter() for word in ("failed", "warning", "note")}
    for row in findings:
        counts[row["severity"]][row["code"]] += 1
    return {word: dict(sorted(codes.items())) for word, codes in counts.items()}


def render(report: Report) -> str:
    """Return a report as text: datasets, counts by code, the first findings, the verdict."""
    lines = []
    for one in report.checked:
        same = one.content_sha256 and one.content_sha256 == one.recorded_sha256
        lines.append(
            f"{one.dataset}: {one.pairs} pairs checked, {one.bytes_read / 1e6:.1f} MB read"
            + (f", {one.compared} made once more from the archive" if one.compared else "")
        )
        lines.append(f"  content sha256 {one.content_sha256 or 'unknown'}")
        if not same:
            lines.append(f"  recorded       {one.recorded_sha256 or 'unknown'}: differs")
    for word, codes in _counts(report.findings).items():
        lines += [f"  {word:7} {count:6} {code}" for code, count in codes.items()]
    order = ("failed", "warning", "note")
    shown = sorted(report.new, key=lambda row: order.index(row["severity"]))
    for row in shown[:_SHOWN]:
        place = " ".join(word for word in (row["dataset"], row["record_id"], row["source"]) if word)
        lines.append(f"{row['severity']} {place}: {row['message']} [{row['code']}]")
    if len(shown) > _SHOWN:
        lines.append(f"... and {len(shown) - _SHOWN} more: --out FILE writes them all")
    return "\n".join([*lines, _verdict(report)])


def _verdict(report: Report) -> str:
    totals = Counter(row["severity"] for row in report.new)
    known = len(report.findings) - len(report.new)
    others = f", {known} known from the baseline" if known else ""
    if not totals["failed"]:
        what = "names, sizes and tables are" if report.fast else "everything is"
        verdict = f"{what} as recorded: {totals['warning']} warnings, {totals['note']} notes"
    else:
        verdict = (
            f"{totals['failed']} findings, {totals['warning']} warnings, {totals['note']} notes"
        )
    return verdict + others


class _Findings:
    """Findings of one dataset, or of one record of it."""

    def __init__(self, dataset: str, record_id: str = "") -> None:
        self.dataset, self.record_id = dataset, record_id
        self.rows: list[Row] = []

    def add(
        self, severity: Severity, code: str, message: str, source: str = "", record_id: str = ""
    ) -> None:
        """Add one."""
        cells = (
            self.dataset,
            record_id or self.record_id,
            severity,
            code,
            " ".join(message.split()),
            source,
        )
        self.rows.append(dict(zip(PROBLEM_COLUMNS, cells, strict=True)))

    def fail(self, code: str, message: str, source: str = "", record_id: str = "") -> None:
        """Add one that makes the exit code 1."""
        self.add("failed", code, message, source, record_id)


# ---------------------------------------------------------------------------------- verify


def verify(folders: Sequence[PairsFolder], how: Verifying) -> Report:
    """Check pairs folders against their own tables and, where given, against their archives.

    Raises UsageError for a baseline that cannot be read, and for a source whose dataset is not
    among the folders; ArchiveError for a source that is no archive. All else is a finding.
    """
    known = read_baseline(how.baseline) if how.baseline else frozenset()
    names = [_name(folder) for folder in folders]
    sources = _sources_by_dataset(how.sources, names)
    checked: list[Checked] = []
    findings: list[Row] = []
    everything: list[Row] = []
    for folder, name in zip(folders, names, strict=True):
        one, found, records = _verify_folder(folder, name, sources.get(name), how)
        checked.append(one)
        findings += found.rows
        everything += records
    findings += _same_images(everything)
    findings += _published_splits(everything)
    for place in sorted({p for f in folders for p in (f.path / SPLITS, f.path.parent / SPLITS)}):
        if place.is_file():
            findings += _made_splits(place, everything)
    findings.sort(key=lambda row: (row["dataset"], row["record_id"], row["code"], row["source"]))
    return Report(tuple(checked), tuple(findings), known, how.fast)


def _name(folder: PairsFolder) -> str:
    try:
        return folder.name
    except UsageError:
        return folder.path.name


def read_baseline(path: Path) -> frozenset[tuple[str, ...]]:
    """Return the keys of the findings in a list; raises UsageError for a file that is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the baseline cannot be read ({error})", where=str(path)) from error
    missing = {"dataset", "record_id", "code", "source"} - set(rows[0] if rows else PROBLEM_COLUMNS)
    if missing:
        raise UsageError(
            f"the baseline has no column {', '.join(sorted(missing))}",
            where=str(path),
            hint="`bcseg verify --out FILE` writes one",
        )
    return frozenset(finding_key(row) for row in rows)


def _sources_by_dataset(
    sources: Mapping[str, Path], names: Sequence[str]
) -> dict[str, tuple[str, Path]]:
    """Return the adapter's name and the archive of each dataset."""
    found = {}
    for word, location in sources.items():
        name = adapters.get(word).INFO.name
        if name not in names:
            raise UsageError(
                f"there are no pairs of {name} here",
                hint=f"--source NAME=PATH with one of {', '.join(names)}",
            )
        found[name] = (word, location)
    return found


def _verify_folder(
    folder: PairsFolder, name: str, source: tuple[str, Path] | None, how: Verifying
) -> tuple[Checked, _Findings, list[Row]]:
    found = _Findings(name)
    document = _document(folder, found)
    tables = _read_tables(folder, found)
    _check_tables(tables, document, found)
    content = _content(folder, document, found)
    _check_names(folder, tables, document, found)
    context = _Context(
        folder.path,
        name,
        lesion_masks=_option(document, "masks") == "lesion",
        with_empty=bool(_option(document, "with_empty")),
    )
    records = list({row["record_id"]: row for row in tables.records}.values())
    read = _check_files(folder, tables, records, context, found, how)
    compared = 0
    if source:
        compared = _compare(folder, document, tables, source, found, how)
    recorded = str(document.get("content_sha256", ""))
    one = Checked(name, folder.path, len(records), read, content, recorded, compared)
    return one, found, records


def _document(folder: PairsFolder, found: _Findings) -> dict[str, Any]:
    try:
        return folder.document()
    except UsageError as error:
        found.fail("unreadable_table", str(error.args[0]), pairs.DATASET)
        return {}


def _option(document: Mapping[str, Any], name: str) -> Any:
    options = document.get("options")
    return options.get(name) if isinstance(options, dict) else None


# ---------------------------------------------------------------------------------- tables


@dataclass(slots=True)
class _Tables:
    """The tables of a folder; `lesions` by record id."""

    records: list[Row]
    lesions: dict[str, list[Row]]
    problems: list[Row]
    left_out: list[Row]
    damaged: set[str]  # names of the tables that could not be read


def _read_tables(folder: PairsFolder, found: _Findings) -> _Tables:
    read = {name: _read_table(folder.path, name, found) for name in pairs.COLUMNS}
    lesions: defaultdict[str, list[Row]] = defaultdict(list)
    for row in read[pairs.LESIONS] or ():
        lesions[row["record_id"]].append(row)
    return _Tables(
        read[pairs.RECORDS] or [],
        dict(lesions),
        read[pairs.PROBLEMS] or [],
        read[pairs.LEFT_OUT] or [],
        {name for name, rows in read.items() if rows is None},
    )


def _read_table(folder: Path, name: str, found: _Findings) -> list[Row] | None:
    """Return the rows of a table; None, with a finding, for one that cannot be used."""
    try:
        text = (folder / name).read_bytes().decode("utf-8")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except FileNotFoundError:
        found.fail("missing_table", "the table is not there", name)
        return None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found.fail("unreadable_table", f"the table cannot be read ({_reason(error)})", name)
        return None
    columns = tuple(lines[0]) if lines else ()
    wanted = pairs.COLUMNS[name]
    if columns != wanted:
        lacking = ", ".join(column for column in wanted if column not in columns)
        surplus = ", ".join(column for column in columns if column not in wanted)
        message = f"missing: {lacking or 'none'}; unknown: {surplus or 'none'}"
        if not lacking and not surplus:
            message = "their order is another"
        found.fail("table_columns", f"not the columns of this table ({message})", name)
        if lacking:
            return None
    rows = []
    for number, cells in enumerate(lines[1:], 1):
        if len(cells) != len(columns):
            message = f"the row has {len(cells)} cells, the header {len(columns)}"
            found.fail("unreadable_row", message, f"{name}#{number}")
        else:
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def _reason(error: Exception) -> str:
    """Return what went wrong, without the path that an OSError carries."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__


def _check_tables(tables: _Tables, document: Mapping[str, Any], found: _Findings) -> None:
    _check_rows(tables, found)
    if pairs.LESIONS not in tables.damaged:
        _check_lesion_rows(tables, found)
    _check_counts(tables, document, found)


_NUMBERS = ("height", "width", "bit_depth", "mask_pixels", "n_lesions")
_HASHES = ("source_sha256", "image_sha256", "mask_sha256", "annotation_sha256")


def _check_rows(tables: _Tables, found: _Findings) -> None:
    lesion_rows = [row for rows in tables.lesions.values() for row in rows]
    for name, rows in (
        (pairs.RECORDS, tables.records),
        (pairs.LESIONS, lesion_rows),
        (pairs.PROBLEMS, tables.problems),
        (pairs.LEFT_OUT, tables.left_out),
    ):
        other = sorted({row["dataset"] for row in rows} - {found.dataset})
        if other:
            found.fail("wrong_dataset", f"rows of {', '.join(map(repr, other))}", name)
        ids = [row["record_id"] for row in rows]
        if ids != sorted(ids):
            found.fail("not_sorted", "the rows are not sorted by record id", name)
    for record_id, count in Counter(row["record_id"] for row in tables.records).items():
        if count > 1:
            found.fail("duplicate_record", f"{count} rows of one id", pairs.RECORDS, record_id)
    for row in tables.records:
        bad = [name for name in _NUMBERS if _whole(row[name]) is None]
        bad += [name for name in _HASHES if not _is_sha256(row[name])]
        bad += [name for name in ("image", "mask") if not _is_safe(row[name], f"{name}s")]
        if bad:
            message = f"not a value of its column: {', '.join(bad)}"
            found.fail("bad_cell", message, pairs.RECORDS, row["record_id"])


def _whole(cell: str) -> int | None:
    return int(cell) if cell.isascii() and cell.isdigit() else None


def _is_sha256(cell: str) -> bool:
    return len(cell) == 64 and set(cell) <= set("0123456789abcdef")


def _is_safe(name: str, folder: str) -> bool:
    """Tell whether a name is that of a PNG in the folder of its sort."""
    path = PurePosixPath(name)
    return path.parts[:-1] == (folder,) and path.suffix == ".png" and "\\" not in name


def _check_lesion_rows(tables: _Tables, found: _Findings) -> None:
    known = {row["record_id"] for row in tables.records}
    if pairs.RECORDS not in tables.damaged:
        for record_id in sorted(tables.lesions.keys() - known):
            found.fail("unknown_record", "not in records.csv", pairs.LESIONS, record_id)
    for row in tables.records:
        record_id = row["record_id"]
        lesions = tables.lesions.get(record_id, [])
        inside = [lesion for lesion in lesions if lesion["in_mask"] == "1"]
        if _whole(row["n_lesions"]) not in (None, len(inside)):
            message = f"{row['n_lesions']} in records.csv, {len(inside)} in lesions.csv"
            found.fail("n_lesions", message, pairs.RECORDS, record_id)
        kinds = " ".join(sorted({lesion["kind"] for lesion in inside}))
        if kinds != row["kinds"]:
            message = f"{row['kinds']!r} in records.csv, {kinds!r} in lesions.csv"
            found.fail("kinds", message, pairs.RECORDS, record_id)
        for lesion_id, count in Counter(lesion["lesion_id"] for lesion in lesions).items():
            if count > 1:
                message = f"{count} rows of lesion {lesion_id}"
                found.fail("duplicate_lesion", message, pairs.LESIONS, record_id)
        for lesion in inside:
            if lesion["clipped"] == "1":
                message = f"{lesion['kind']} {lesion['lesion_id']} reaches out of the image"
                found.add("warning", "lesion_clipped", message, lesion["source"], record_id)


def _check_counts(tables: _Tables, document: Mapping[str, Any], found: _Findings) -> None:
    """Compare the tables with what dataset.json counts, and its ledger with itself."""
    if not document:
        return
    inside = sum(row["in_mask"] == "1" for rows in tables.lesions.values() for row in rows)
    problems = dict(Counter(row["code"] for row in tables.problems))
    for name, key, count in (
        (pairs.RECORDS, "records", len(tables.records)),
        (pairs.LESIONS, "lesions_in_masks", inside),
        (pairs.PROBLEMS, "problems", problems),
    ):
        if name not in tables.damaged and document.get(key) != count:
            message = f"{key}: {document.get(key)} in dataset.json, {count} in the table"
            found.fail("count_differs", message, name)
    items = document.get("items")
    for title, counts in items.items() if isinstance(items, dict) else ():
        fates = [counts.get(fate) for fate in ("written", "left_out", "failed")]
        if None in fates or counts.get("found") != sum(fates):
            found.fail("count_differs", f"the ledger of {title} does not add up", pairs.DATASET)


def _content(folder: PairsFolder, document: Mapping[str, Any], found: _Findings) -> str:
    """Return the content hash, "" if a table is missing or damaged."""
    try:
        content = pairs.content_sha256(folder.path)
    except FileNotFoundError:
        return ""  # the finding `missing_table` says it
    except (OSError, EOFError, zlib.error):
        return ""
    if document and content != document.get("content_sha256"):
        message = "the tables are not those that dataset.json was written with"
        found.fail("content_differs", message, pairs.DATASET)
    return content


# ---------------------------------------------------------------------------------- names


def _check_names(
    folder: PairsFolder, tables: _Tables, document: Mapping[str, Any], found: _Findings
) -> None:
    """List files that no table names."""
    if not (folder.path / pairs.ARCHIVE).is_file():
        found.fail("missing_table", "the table is not there", pairs.ARCHIVE)
    promised = {row[column] for row in tables.records for column in ("image", "mask")}
    if _option(document, "masks") == "lesion":
        for record_id, lesions in tables.lesions.items():
            for row in lesions:
                if row["in_mask"] == "1":
                    promised.add(lesion_file(record_id, row["lesion_id"], row["kind"]))
    names = [name for part in _FILE_FOLDERS for name in _files_below(folder.path, part)]
    names += [path.name for path in folder.path.glob(f".*{PART}")]
    for name in sorted(names):
        if name.rsplit("/", 1)[-1].startswith("."):
            found.add("note", "temporary_file", "left by a run that was killed, or a system", name)
        elif name not in promised and not tables.damaged & {pairs.RECORDS, pairs.LESIONS}:
            found.fail("orphan_file", "no table names it", name)


def _files_below(folder: Path, part: str) -> Iterator[str]:
    for place, _, names in os.walk(folder / part):
        relative = Path(place).relative_to(folder).as_posix()
        yield from (f"{relative}/{name}" for name in names)


# ---------------------------------------------------------------------------------- pairs


class _Line(NamedTuple):
    """A lesion in lesions.jsonl.gz: what is compared with the pair."""

    lesion_id: str
    in_mask: bool
    kind: str
    size: Size
    counts: list[int]


@dataclass(frozen=True, slots=True)
class _Context:
    """What a worker needs to check any pair of a folder."""

    folder: Path
    dataset: str
    lesion_masks: bool
    with_empty: bool


@dataclass(frozen=True, slots=True)
class _Pair:
    """A pair to check; `lines` is None where lesions.jsonl.gz cannot be read."""

    row: Row
    lesions: tuple[Row, ...]
    lines: tuple[_Line, ...] | None


@dataclass(slots=True)
class _Seen:
    """What was found in the files of a pair; `hashes` of the pixels of those that are altered."""

    findings: list[Row]
    bytes_read: int = 0
    hashes: dict[str, str] = field(default_factory=dict)


class _Archive:
    """The lines of lesions.jsonl.gz, record by record, never more than one in memory."""

    def __init__(self, folder: PairsFolder, found: _Findings) -> None:
        self._folder, self._found = folder, found
        self.damaged = False
        self._groups = itertools.groupby(self._lines(), key=lambda line: line[0])
        self._ahead = self._next()

    def of(self, record_id: str) -> tuple[_Line, ...] | None:
        """Return the lines of a record; to be asked in the order of the ids."""
        while self._ahead and self._ahead[0] < record_id:
            self._report_unknown(self._ahead[0])
            self._ahead = self._next()
        if self._ahead and self._ahead[0] == record_id:
            lines, self._ahead = self._ahead[1], self._next()
            return lines
        return None if self.damaged else ()

    def close(self) -> None:
        """Report the lines that nobody asked for."""
        while self._ahead:
            self._report_unknown(self._ahead[0])
            self._ahead = self._next()

    def _report_unknown(self, record_id: str) -> None:
        message = "not in records.csv, or out of order"
        self._found.fail("unknown_record", message, pairs.ARCHIVE, record_id)

    def _next(self) -> tuple[str, tuple[_Line, ...]] | None:
        group = next(self._groups, None)
        return (group[0], tuple(line for _, line in group[1])) if group else None

    def _lines(self) -> Iterator[tuple[str, _Line]]:
        path = self._folder.path / pairs.ARCHIVE
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for text in file:
                    yield _line(json.loads(text))
        except FileNotFoundError:
            self.damaged = True
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
            self.damaged = True
            message = f"the table cannot be read ({_reason(error)})"
            self._found.fail("unreadable_table", message, pairs.ARCHIVE)


def _line(values: Mapping[str, Any]) -> tuple[str, _Line]:
    rle = values["rle"]
    height, width = (int(side) for side in rle["size"])
    counts = [int(count) for count in rle["counts"]]
    line = _Line(
        str(values["lesion_id"]),
        bool(values["in_mask"]),
        str(values["kind"]),
        (height, width),
        counts,
    )
    return str(values["record_id"]), line


def _check_files(
    folder: PairsFolder,
    tables: _Tables,
    records: Sequence[Row],
    context: _Context,
    found: _Findings,
    how: Verifying,
) -> int:  # fmt: skip
    """Check the files of all pairs; return how many bytes were read."""
    owners: dict[str, str] = {}
    for row in records:
        owners.setdefault(row["image_sha256"], row["image"])
        owners.setdefault(row["mask_sha256"], row["mask"])
    read = 0
    look = _look_at_heads if how.fast else _look_at_pixels
    for done, seen in enumerate(look(folder, tables, records, context, found, how), 1):
        for row in seen.findings:
            owner = owners.get(seen.hashes.get(row["source"], ""), "")
            if row["code"] == "altered" and owner not in ("", row["source"]):
                row["message"] += f": they are those of {owner}"
        found.rows += seen.findings
        read += seen.bytes_read
        how.progress(done, len(records))
    return read


def _look_at_heads(
    folder: PairsFolder,
    tables: _Tables,
    records: Sequence[Row],
    context: _Context,
    found: _Findings,
    how: Verifying,
) -> Iterator[_Seen]:  # fmt: skip
    with ThreadPoolExecutor(how.jobs or _THREADS) as pool:
        todo = [
            _Pair(row, tuple(tables.lesions.get(row["record_id"], ())), None) for row in records
        ]
        yield from pool.map(functools.partial(_check_heads, context), todo)


def _look_at_pixels(
    folder: PairsFolder,
    tables: _Tables,
    records: Sequence[Row],
    context: _Context,
    found: _Findings,
    how: Verifying,
) -> Iterator[_Seen]:  # fmt: skip
    archive = _Archive(folder, found)

    def todo() -> Iterator[_Pair]:
        for row in sorted(records, key=lambda row: row["record_id"]):
            record_id = row["record_id"]
            lesions = tuple(tables.lesions.get(record_id, ()))
            lines = archive.of(record_id)
            yield _Pair(row, lesions, None if pairs.LESIONS in tables.damaged else lines)
        if pairs.RECORDS not in tables.damaged:
            archive.close()

    yield from executors.run(
        _check_pair,
        todo(),
        workers=_workers(how, len(records)),
        prepare=_start_worker,
        context=context,
        died=functools.partial(_died, context.dataset),
    )


def _workers(how: Verifying, items: int) -> int:
    """Return how many workers to start: each costs as much as a few pairs."""
    return how.jobs or min(executors.usable_cpus(), max(1, items // 4))


def _died(dataset: str, pair: _Pair) -> _Seen:
    found = _Findings(dataset, pair.row["record_id"])
    message = "the worker process was killed, probably for want of memory: try --jobs 1"
    found.fail("worker_died", message, pair.row["image"])
    return _Seen(found.rows)


@functools.cache
def _worker() -> dict[str, Any]:
    """Return the place where a worker process keeps its context."""
    return {}


def _start_worker(context: _Context | Job) -> None:
    cv2.setNumThreads(1)
    _worker()["context"] = context


# ---------------------------------------------------------------------------------- one file


class _Header(NamedTuple):
    """The header of a PNG file."""

    rows: int
    columns: int
    depth: int
    colour: int


class _Promise(NamedTuple):
    """What the tables say about a file; None or "" where they say nothing usable."""

    name: str
    rows: int | None
    columns: int | None
    depth: int | None
    sha256: str = ""


def _promises(row: Row) -> list[_Promise]:
    """Return the image and the mask of a record, without names that are not safe."""
    rows, columns = _whole(row["height"]), _whole(row["width"])
    image, mask = (
        cell if _is_sha256(cell) else "" for cell in (row["image_sha256"], row["mask_sha256"])
    )
    both = (
        _Promise(row["image"], rows, columns, _whole(row["bit_depth"]), image),
        _Promise(row["mask"], rows, columns, 8, mask),
    )
    return [
        one for one, part in zip(both, ("images", "masks"), strict=True) if _is_safe(one.name, part)
    ]


def _lesion_masks(context: _Context, pair: _Pair) -> list[str]:
    """Return the names of the single lesions' masks that the folder should have."""
    record_id = pair.row["record_id"]
    return [
        lesion_file(record_id, row["lesion_id"], row["kind"])
        for row in pair.lesions
        if context.lesion_masks and row["in_mask"] == "1"
    ]


def _check_heads(context: _Context, pair: _Pair) -> _Seen:
    """Check that the files are there and whole as far as head and end tell."""
    found = _Findings(context.dataset, pair.row["record_id"])
    seen = _Seen(found.rows)
    headers = []
    promises = _promises(pair.row)
    promises += [
        _Promise(name, promises[0].rows, promises[0].columns, 8) if promises else
        _Promise(name, None, None, 8)
        for name in _lesion_masks(context, pair)
    ]  # fmt: skip
    for promise in promises:
        try:
            with (context.folder / promise.name).open("rb") as file:
                head = file.read(_HEAD_BYTES)
                file.seek(max(file.seek(0, os.SEEK_END) - len(_END), 0))
                end = file.read()
        except OSError as error:
            _report_unopened(found, promise.name, error)
            continue
        seen.bytes_read += len(head) + len(end)
        header = _check_header(found, head, promise)
        headers.append(header)
        if header and end != _END:
            found.fail("truncated", "the file does not end as a PNG does", promise.name)
    _check_same_size(found, headers[:2], pair.row["mask"])
    return seen


def _report_unopened(found: _Findings, name: str, error: OSError) -> None:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        found.fail("missing_file", "the file is not there", name)
    else:
        found.fail("damaged_file", f"the file cannot be read ({_reason(error)})", name)


def _check_header(found: _Findings, data: bytes, promise: _Promise) -> _Header | None:
    """Compare the header of a PNG with its promise; return it, None if it cannot be read."""
    name = promise.name
    if data and _SIGNATURE.startswith(data[: len(_SIGNATURE)]) and len(data) < _HEAD_BYTES:
        found.fail("truncated", f"the file ends after {len(data)} bytes", name)
        return None
    if not data:
        found.fail("truncated", "the file is empty", name)
        return None
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        found.fail("damaged_file", f"not a PNG file: it begins with {data[:8].hex(' ')}", name)
        return None
    columns, rows, depth, colour = struct.unpack_from(">IIBB", data, 16)
    header = _Header(rows, columns, depth, colour)
    if rows != (promise.rows or rows) or columns != (promise.columns or columns):
        message = f"{rows} x {columns} pixels, {promise.rows} x {promise.columns} in records.csv"
        found.fail("wrong_size", message, name)
    if colour != _GREY:
        found.fail("wrong_channels", f"not one grey channel (PNG colour type {colour})", name)
    if promise.depth and depth != promise.depth:
        found.fail("wrong_depth", f"{depth} bits, not {promise.depth}", name)
    return header


def _check_same_size(found: _Findings, headers: Sequence[_Header | None], mask: str) -> None:
    sizes = [(one.rows, one.columns) for one in headers if one]
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        message = "the image has {} x {} pixels, its mask {} x {}".format(*sizes[0], *sizes[1])
        found.fail("size_mismatch", message, mask)


class _Opened(NamedTuple):
    """A file of a pair: its header, and its pixels where they are worth a look."""

    header: _Header | None = None
    pixels: NDArray[Any] | None = None
    intact: bool = False  # the pixels are those that the tables promise


def _open(found: _Findings, seen: _Seen, folder: Path, promise: _Promise) -> _Opened:
    """Read, decode and compare one file."""
    name = promise.name
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        _report_unopened(found, name, error)
        return _Opened()
    seen.bytes_read += len(data)
    before = len(found.rows)
    header = _check_header(found, data[:_HEAD_BYTES], promise)
    if header is None or len(found.rows) > before:
        return _Opened(header)
    try:
        pixels = decode(data, name).pixels
    except RecordError as error:
        code = "truncated" if error.code == "truncated" else "damaged_file"
        found.fail(code, str(error.args[0]), name)
        return _Opened(header)
    if not promise.sha256:
        return _Opened(header, pixels, True)
    sha256 = png.pixels_sha256(pixels)
    if sha256 != promise.sha256:
        found.fail("altered", "the pixels are not those of records.csv", name)
        seen.hashes[name] = sha256
    return _Opened(header, pixels, sha256 == promise.sha256)


# ---------------------------------------------------------------------------------- one pair


def _check_pair(pair: _Pair) -> _Seen:
    """Check the files of a pair, pixel by pixel, in a worker that `_start_worker` prepared."""
    context: _Context = _worker()["context"]
    found = _Findings(context.dataset, pair.row["record_id"])
    seen = _Seen(found.rows)
    opened = {one.name: _open(found, seen, context.folder, one) for one in _promises(pair.row)}
    image, mask = (opened.get(pair.row[name], _Opened()) for name in ("image", "mask"))
    _check_same_size(found, [image.header, mask.header], pair.row["mask"])
    if image.pixels is not None and image.intact:
        _check_range(found, pair.row, image.pixels)
    if mask.pixels is not None:
        _check_mask(found, pair.row, mask, with_empty=context.with_empty)
    if pair.lines is None:
        return seen
    _check_lines(found, pair)
    patches = _patches(found, pair)
    if patches is None:
        return seen
    if mask.pixels is not None and mask.intact:
        _check_union(found, pair, mask.pixels, patches)
    if image.pixels is not None:
        _check_place(found, pair, image.pixels, patches)
    if context.lesion_masks:
        _check_lesion_masks(found, seen, context, pair, patches)
    return seen


def _check_range(found: _Findings, row: Row, pixels: NDArray[Any]) -> None:
    low, high = int(pixels.min()), int(pixels.max())
    if (row["value_min"], row["value_max"]) != (str(low), str(high)):
        message = f"{low} to {high}, {row['value_min']} to {row['value_max']} in records.csv"
        found.fail("value_range", message, row["image"])


def _check_mask(found: _Findings, row: Row, mask: _Opened, *, with_empty: bool) -> None:
    assert mask.pixels is not None
    _check_values(found, row["mask"], mask.pixels)
    count = int(np.count_nonzero(mask.pixels))
    if mask.intact and count != (_whole(row["mask_pixels"]) or 0):
        message = f"{count} pixels, {row['mask_pixels']} in records.csv"
        found.fail("mask_pixels", message, row["mask"])
    if count == 0 and (not with_empty or row["n_lesions"] != "0"):
        why = "its lesions left no pixel" if row["n_lesions"] != "0" else "none was asked for"
        found.fail("empty_mask", f"the mask is empty: {why}", row["mask"])


def _check_values(found: _Findings, name: str, pixels: NDArray[Any]) -> None:
    other = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)[1:255]) + 1
    if other.size:
        values = ", ".join(str(value) for value in other[:5])
        found.fail("mask_values", f"values other than 0 and 255: {values}", name)


def _check_lines(found: _Findings, pair: _Pair) -> None:
    """Compare a record's lesions in the table with those in the archive of lesions."""
    assert pair.lines is not None
    table = {(row["lesion_id"], row["in_mask"], row["kind"]) for row in pair.lesions}
    archive = {(line.lesion_id, str(int(line.in_mask)), line.kind) for line in pair.lines}
    if table != archive:
        odd = ", ".join(sorted({lesion_id for lesion_id, _, _ in table ^ archive}))
        message = f"lesions.csv and lesions.jsonl.gz differ in lesion {odd}"
        found.fail("lesions_disagree", message, pairs.ARCHIVE)


def _patches(found: _Findings, pair: _Pair) -> dict[str, Patch] | None:
    """Return the lesions of a record by id; None, with a finding, if a run length is damaged."""
    assert pair.lines is not None
    size = _whole(pair.row["height"]), _whole(pair.row["width"])
    boxes = {row["lesion_id"]: row for row in pair.lesions}
    patches = {}
    for line in pair.lines:
        try:
            if line.size != size:
                message = f"lesion {line.lesion_id} lies on a grid of {line.size}, not {size}"
                raise RecordError(message, code="bad_rle")
            patch = raster.patch_from_rle(line.counts, line.size)
        except RecordError as error:
            found.fail("bad_rle", str(error.args[0]), pairs.ARCHIVE)
            return None
        patches[line.lesion_id] = patch
        row = boxes.get(line.lesion_id)
        box = _box(patch)
        if row and box != tuple(row[f"bbox_{side}"] for side in "xywh"):
            message = f"lesion {line.lesion_id}: its box in lesions.csv is not that of its pixels"
            found.fail("box_differs", message, pairs.LESIONS)
    return patches


def _box(patch: Patch) -> tuple[str, ...]:
    """Return x, y, width and height as lesions.csv has them."""
    if not patch.area:
        return "", "", "", ""
    height, width = patch.pixels.shape
    return tuple(map(str, (patch.left, patch.top, width, height)))


def _in_mask(pair: _Pair, patches: Mapping[str, Patch]) -> list[tuple[_Line, Patch]]:
    return [(line, patches[line.lesion_id]) for line in pair.lines or () if line.in_mask]


def _check_union(
    found: _Findings, pair: _Pair, mask: NDArray[Any], patches: Mapping[str, Patch]
) -> None:
    size = int(mask.shape[0]), int(mask.shape[1])
    union = raster.paint([patch for _, patch in _in_mask(pair, patches)], size)
    differing = int(np.count_nonzero((union > 0) != (mask > 0)))
    if differing:
        message = f"{differing} pixels differ from the union of its lesions in lesions.jsonl.gz"
        found.fail("mask_not_union", message, pair.row["mask"])


def _check_place(
    found: _Findings, pair: _Pair, image: NDArray[Any], patches: Mapping[str, Patch]
) -> None:
    """Compare the lesions (not anatomy) of the mask with the breast region of the image."""
    lesions = [
        (line, patch)
        for line, patch in _in_mask(pair, patches)
        if line.kind in LESION_KINDS and patch.area and line.size == image.shape
    ]
    if not lesions:
        return
    region = breast_region(image)
    outside = [line for line, patch in lesions if not _touches(patch, region)]
    if len(outside) == len(lesions):
        message = "the whole mask lies outside the breast"
        found.fail("mask_outside_breast", message, pair.row["mask"])
        return
    for line in outside:
        message = f"{line.kind} {line.lesion_id} lies outside the breast"
        found.add("warning", "lesion_outside_breast", message, pair.row["mask"])


def _touches(patch: Patch, region: NDArray[np.bool_]) -> bool:
    box = region[patch.top : patch.bottom, patch.left : patch.right]
    return bool((box & patch.pixels).any())


def _check_lesion_masks(
    found: _Findings, seen: _Seen, context: _Context, pair: _Pair, patches: Mapping[str, Patch]
) -> None:
    rows, columns = _whole(pair.row["height"]), _whole(pair.row["width"])
    for line, patch in _in_mask(pair, patches):
        name = lesion_file(pair.row["record_id"], line.lesion_id, line.kind)
        opened = _open(found, seen, context.folder, _Promise(name, rows, columns, 8))
        if opened.pixels is None:
            continue
        _check_values(found, name, opened.pixels)
        if not np.array_equal(opened.pixels > 0, raster.paint([patch], line.size) > 0):
            found.fail("altered", "the pixels are not those of lesions.jsonl.gz", name)


# ---------------------------------------------------------------------------------- same image


def _same_images(records: Iterable[Row]) -> list[Row]:
    """List images that are there twice, by pixel hash, within a dataset and across."""
    by_hash: defaultdict[str, list[Row]] = defaultdict(list)
    for row in records:
        by_hash[row["image_sha256"]].append(row)
    rows = []
    for sha256, same in by_hash.items():
        first, *others = same
        for other in others if sha256 else ():
            severity, code, word = _verdict_on_twins(first, other)
            found = _Findings(other["dataset"], other["record_id"])
            found.add(
                severity,
                code,
                f"the same pixels as {first['dataset']} {first['record_id']}{word}",
                other["image"],
            )
            rows += found.rows
    return rows


def _verdict_on_twins(first: Row, other: Row) -> tuple[Severity, str, str]:
    """Return how bad it is: a patient in two places under two names spoils every split."""
    if first["dataset"] == other["dataset"]:
        if first["source_image"] == other["source_image"]:
            return "note", "same_film", ", by another annotator"
        named = first["record_id"] in other["notes"] or other["record_id"] in first["notes"]
        if named and first["group"] == other["group"]:
            return "note", "same_film", ", as the archive has it"
        if first["group"] and first["group"] == other["group"]:
            return "warning", "same_image", ", of the same patient"
    return "failed", "same_image_other_patient", ", of another patient or of an unknown one"


def _published_splits(records: Iterable[Row]) -> list[Row]:
    """List patients in two parts of the archive's own split."""
    parts: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in records:
        if row["group"] and row["split"]:
            parts[row["dataset"], row["group"]].add(row["split"])
    rows = []
    for (dataset, group), splits in sorted(parts.items()):
        if len(splits) > 1:
            found = _Findings(dataset)
            message = f"{group} is in {' and '.join(sorted(splits))} of the published split"
            if dataset in _PUBLISHED_IN_BOTH:
                found.add("note", "published_in_two_splits", message, group)
            else:
                found.fail("patient_in_two_splits", message, group)
            rows += found.rows
    return rows


def _made_splits(path: Path, records: Iterable[Row]) -> list[Row]:
    """List patients in two parts of a split that was made of these pairs.

    A row has `split` or `fold` or both. A record in several rows has one for each fold: there a
    patient may change from fold to fold, but not within one.
    """
    groups = {(row["dataset"], row["record_id"]): row["group"] for row in records}
    datasets = {dataset for dataset, _ in groups}
    odd = _Findings("")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("dataset") in datasets]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        odd.fail("unreadable_table", f"the table cannot be read ({_reason(error)})", SPLITS)
        return odd.rows
    keys = [(row.get("dataset") or "", row.get("record_id") or "") for row in rows]
    repeated = len(set(keys)) < len(keys)
    parts: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for key, row in zip(keys, rows, strict=True):
        if key not in groups:
            odd.dataset = key[0]
            odd.fail("unknown_record", "not in records.csv", SPLITS, key[1])
            continue
        fold, split = row.get("fold") or "", row.get("split") or ""
        place, part = (fold, split) if repeated and split else ("", f"{split} {fold}".strip())
        if groups[key]:
            parts[key[0], groups[key], place].add(part)
    for (dataset, group, _), splits in sorted(parts.items()):
        if len(splits) > 1:
            odd.dataset = dataset
            message = f"{group} is in {' and '.join(sorted(splits))} of {SPLITS}"
            odd.fail("patient_in_two_splits", message, group)
    return odd.rows


# ---------------------------------------------------------------------------------- the archive


@dataclass(frozen=True, slots=True)
class _Task:
    """A pair to make once more, and what the tables say about it."""

    record: Record
    row: Row
    lesions: tuple[Row, ...]


def _compare(
    folder: PairsFolder,
    document: Mapping[str, Any],
    tables: _Tables,
    source: tuple[str, Path],
    found: _Findings,
    how: Verifying,
) -> int:  # fmt: skip
    """Make the pairs once more from their archive, in memory; return how many were compared."""
    word, location = source
    options = document.get("options")
    if not isinstance(options, dict):
        return 0  # the finding about dataset.json is there already
    adapter = adapters.get(word)
    settings = settings_of(options).for_dataset(adapter.INFO)
    archive = open_source(location)
    index = plan.read_index(adapter, archive, settings)
    records = {one.record_id: one for one in index.records}
    if options.get("format") != FORMAT:
        message = f"the pairs have format {options.get('format')}, this version writes {FORMAT}"
        found.add("warning", "other_format", message, pairs.DATASET)
    tasks = []
    for row in tables.records:
        record = records.get(row["record_id"])
        if record is None or not record.image:
            message = "its source is not in the archive"
            found.fail("source_gone", message, row["source_image"], row["record_id"])
        else:
            lesions = tuple(tables.lesions.get(row["record_id"], ()))
            tasks.append(_Task(record, row, lesions))
    if "selection" not in document and "shard" not in document:
        _report_missing_pairs(records, tables, found)
    job = Job(word, archive, folder.path, settings, copies=plan.copies(index), keep=False)
    outcomes = executors.run(
        _convert_again,
        tasks,
        workers=_workers(how, len(tasks)),
        prepare=_start_worker,
        context=job,
        died=functools.partial(_conversion_died, found.dataset),
    )
    for done, rows in enumerate(outcomes, 1):
        found.rows += rows
        how.progress(done, len(tasks))
    return len(tasks)


def _report_missing_pairs(records: Mapping[str, Record], tables: _Tables, found: _Findings) -> None:
    """List records of the archive that no table accounts for."""
    mentioned = {
        row["record_id"] for table in (tables.records, tables.problems, tables.left_out)
        for row in table
    }  # fmt: skip
    for record_id in sorted(records.keys() - mentioned):
        message = "the archive has this record, and no table says what became of it"
        found.fail("missing_pair", message, records[record_id].image, record_id)


def _conversion_died(dataset: str, task: _Task) -> list[Row]:
    found = _Findings(dataset, task.record.record_id)
    message = "the worker process was killed, probably for want of memory: try --jobs 1"
    found.fail("worker_died", message, task.record.image)
    return found.rows


def _convert_again(task: _Task) -> list[Row]:
    job: Job = _worker()["context"]
    outcome = convert(task.record, job)
    found = _Findings(task.row["dataset"], task.record.record_id)
    if outcome.row is None:
        reasons = (*outcome.problems, *outcome.left_out)
        message = next((row["message"] for row in reasons if row["code"] == outcome.code), "")
        message = f"the archive gives no pair now: {message} ({outcome.code})"
        found.fail("source_fails", message, task.record.image)
        return found.rows
    _compare_rows(found, task, outcome.row)
    _compare_lesions(found, task, outcome)
    return found.rows


def _compare_rows(found: _Findings, task: _Task, now: Row) -> None:
    different = [name for name in now if name in task.row and now[name] != task.row[name]]
    for name in different:
        if name in _SOURCE_CODES:
            code, message = _SOURCE_CODES[name]
            found.fail(code, message, task.row["source_image"])
    others = [name for name in different if name not in _SOURCE_CODES]
    if others:
        words = ", ".join(f"{name} {task.row[name]!r}, now {now[name]!r}" for name in others[:3])
        found.fail("row_differs", f"the archive gives other values: {words}", pairs.RECORDS)


def _compare_lesions(found: _Findings, task: _Task, outcome: Outcome) -> None:
    then = {row["lesion_id"]: row for row in task.lesions}
    now = {row["lesion_id"]: row for row in outcome.lesions}
    odd = [f"{lesion_id} there" for lesion_id in sorted(now.keys() - then.keys())]
    odd += [f"{lesion_id} not there" for lesion_id in sorted(then.keys() - now.keys())]
    for lesion_id in sorted(then.keys() & now.keys()):
        old, new = then[lesion_id], now[lesion_id]
        names = [name for name in new if new[name] != old.get(name)]
        if not new["source_sha256"] and "source_sha256" in names:
            names.remove("source_sha256")  # of a table: filled in at the end of a run
        if names:
            odd.append(f"{lesion_id} has another {', '.join(names[:3])}")
    if odd:
        message = f"the archive gives other lesions: {'; '.join(odd[:3])}"
        found.fail("lesions_differ", message, pairs.LESIONS)
