"""Manifests: which pairs somebody chose, by id or by file name, as people write them down.

A manifest is a table with the columns `dataset` and `record_id`, or with a column of file names,
or a plain list of names. Names may be those of an older collection of the same archives:
`Mass-Test_P_00194_RIGHT_CC_MASK_1___PRE.png`, `CSAW-Image-101.png___PRE.png`.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bcseg.adapters import ADAPTERS
from bcseg.errors import UsageError
from bcseg.pairs import COLUMNS, LEFT_OUT, LESIONS, PROBLEMS, RECORDS, PairsFolder, Row

DECISIONS = ("accept", "reject", "unsure", "flag")
NAME_COLUMNS = ("record_id", "file", "image_file", "image", "mask_file", "mask")
OWN_COLUMNS = ("dataset", "record_id", "lesion_id", "decision", "annotation_sha256")

Pair = tuple[str, str]  # dataset, record id

_DELIMITERS = ",;\t"
_NEAR = 0.6  # difflib's ratio from which two names are alike
_ALIKE = 40  # names of a root that are compared letter by letter with one that is not in it


# ------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row as written; `number` as a spreadsheet counts, `cells` by column name."""

    number: int
    cells: Mapping[str, str]

    def cell(self, column: str) -> str:
        """Return a cell without blanks and spreadsheet apostrophes; empty if it is not there."""
        return self.cells.get(column, "").strip().removeprefix("'").strip('"\u00a0 ')

    @property
    def name(self) -> str:
        """The record id or the file name, whichever is given first in the order of NAME_COLUMNS."""
        return next(filter(None, map(self.cell, NAME_COLUMNS)), "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as read; `sha256` of the file, `columns` as spelled in NAME_COLUMNS."""

    sha256: str
    columns: tuple[str, ...]
    rows: tuple[ManifestRow, ...]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; raises UsageError if it is no table or list of names, or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the manifest cannot be read: {error.strerror}", where=str(path)
        ) from error
    text = _decode(data, path)
    delimiter = _table_delimiter(text)
    try:
        columns, rows = _table(text, delimiter, path) if delimiter else _list(text, path)
    except csv.Error as error:
        raise UsageError(f"the manifest is no readable CSV: {error}", where=str(path)) from error
    if not rows:
        raise UsageError("the manifest is empty: it has no row", where=str(path))
    return Manifest(hashlib.sha256(data).hexdigest(), columns, tuple(rows))


def _decode(data: bytes, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    if "\0" in text or data.startswith(b"PK\x03\x04"):
        raise UsageError(
            "the manifest is not a text file", where=str(path), hint="save it as CSV (UTF-8)"
        )
    # "sep=;" is what a spreadsheet puts first for its like; a blank keeps the count of lines
    return re.sub(r"\Asep=.(?=\r?\n)", "", text, flags=re.IGNORECASE)


def _column(word: str) -> str:
    return re.sub(r"[\s-]+", "_", word.strip().strip('"').strip().lower())


def _table_delimiter(text: str) -> str:
    """Return the delimiter with which the first line is a header; empty for a plain list."""
    first = next((line for line in text.splitlines() if line.strip(_DELIMITERS + " ")), "")
    for delimiter in _DELIMITERS:
        if {_column(word) for word in first.split(delimiter)} & {*NAME_COLUMNS}:
            return delimiter
    return ""


def _table(text: str, delimiter: str, path: Path) -> tuple[tuple[str, ...], list[ManifestRow]]:
    columns: tuple[str, ...] = ()
    rows: list[ManifestRow] = []
    too_long: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for number, cells in enumerate(reader, 1):
        if not any(cell.strip() for cell in cells):
            continue
        if not columns:
            columns = _columns(cells, path)
            continue
        if any(cell.strip() for cell in cells[len(columns) :]):
            too_long.append(number)
        rows.append(ManifestRow(number, dict(zip(columns, cells, strict=False))))
    if too_long:
        raise UsageError(
            f"row {too_long[0]} has more cells than the header ({len(too_long)} such rows)",
            where=str(path),
            hint='a cell that holds the delimiter must be in quotes: "a, b"',
        )
    return columns, rows


def _columns(cells: Sequence[str], path: Path) -> tuple[str, ...]:
    """Return the names of the columns; unnamed ones at the end are dropped."""
    known = (*OWN_COLUMNS, *NAME_COLUMNS)
    names = [_column(cell) if _column(cell) in known else cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"two columns are called {twice[0]!r}", where=str(path))
    return tuple(names)


def _list(text: str, path: Path) -> tuple[tuple[str, ...], list[ManifestRow]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip().strip(_DELIMITERS).strip()
        if not name or name.startswith("#"):
            continue
        if re.search(r"[,;\t]", name):
            raise UsageError(
                f"the first line of a table must name a column record_id or file; line {number} "
                f"is {name!r}",
                where=str(path),
                hint="a header such as: dataset,record_id,decision",
            )
        rows.append(ManifestRow(number, {"file": name}))
    return ("file",), rows


# ------------------------------------------------------------------------------ spellings


_ENDINGS = re.compile(r"\.(?:png|jpe?g|tiff?|dcm|dicom|bmp|xml)$", re.IGNORECASE)
_PREPARED = re.compile(r"_+PRE$", re.IGNORECASE)  # of the older collection
_ROLE = re.compile(r"_(?:FULL|MASK(?:_\d+)?)$", re.IGNORECASE)
_AS_FLOAT = re.compile(r"^(\d+)\.0$")  # a whole number that went through a spreadsheet
_INBREAST = re.compile(r"(\d+)_[0-9a-f]+_MG_[LR]_[A-Z]+_ANON", re.IGNORECASE)
_NUMBERED = re.compile(r"([A-Za-z][A-Za-z-]*?)-(Image|Mask)-(\d+)", re.IGNORECASE)


def spellings(name: str) -> Iterator[str]:
    """Yield a file name, then what is left of it as endings and known suffixes are taken away."""
    yield name
    while True:
        shorter = _AS_FLOAT.sub(r"\1", name)
        for known in (_ENDINGS, _PREPARED, _ROLE):
            if shorter == name:
                shorter = known.sub("", name)
        if shorter == name or not shorter:
            break
        name = shorter.strip()
        yield name
    match = _INBREAST.fullmatch(name)
    if match:
        yield match[1]


def path_parts(text: str) -> list[str]:
    """Return the parts of a path in either system's writing, without "." and empty ones."""
    return [part for part in re.split(r"[/\\]", text.strip()) if part not in ("", ".")]


def nearest(word: str, words: Iterable[str], count: int = 1) -> list[str]:
    """Return the words most like one that is not among them; few enough are compared closely."""
    wanted = _trigrams(word)
    shared = ((len(wanted & _trigrams(other)), other) for other in words)
    alike = sorted(((n, other) for n, other in shared if n), key=lambda one: (-one[0], one[1]))
    by_lower = {other.lower(): other for _, other in reversed(alike[:_ALIKE])}
    close = difflib.get_close_matches(word.lower(), by_lower, n=count, cutoff=_NEAR)
    return [by_lower[one] for one in close]


def _trigrams(word: str) -> set[str]:
    word = f" {word.lower()} "
    return {word[i : i + 3] for i in range(len(word) - 2)}


# ------------------------------------------------------------------------------ records by name


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a row looks: one dataset, or all for an empty name; ids with a prefix, if there are."""

    dataset: str = ""
    prefix: str = ""


class NoMatch(Exception):
    """A row does not name exactly one pair; `missing`: it names none."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class Catalogue:
    """The records of a root, by everything that a manifest may call them.

    Records that `refactor` did not write are in it too: their names are not free for others, and
    the reason why they are not there can be told.
    """

    def __init__(self, folders: Mapping[str, PairsFolder]) -> None:
        self.records: dict[Pair, Row] = {}
        self.lesions: defaultdict[Pair, dict[str, bool]] = defaultdict(dict)  # id: in the mask
        self.datasets = tuple(folders)
        self._absent: dict[Pair, Row] = {}  # the row that tells why
        self._by_id: defaultdict[str, set[Pair]] = defaultdict(set)
        self._by_source: defaultdict[str, set[Pair]] = defaultdict(set)
        self._by_number: defaultdict[tuple[str, str], set[Pair]] = defaultdict(set)
        self._words = _dataset_words(folders)
        for dataset, folder in folders.items():
            for row in checked_rows(folder, RECORDS):
                self._add(dataset, row)
            for row in checked_rows(folder, LESIONS):
                lesions = self.lesions[dataset, row["record_id"]]
                lesions[row["lesion_id"]] = row["in_mask"] == "1"
            for table in (LEFT_OUT, PROBLEMS):
                for row in checked_rows(folder, table):
                    self._add_absent(dataset, row)

    def _add(self, dataset: str, row: Row) -> None:
        pair = (dataset, row["record_id"])
        self.records[pair] = row
        for name in (row["record_id"], path_parts(row["image"])[-1], path_parts(row["mask"])[-1]):
            self._add_id(pair, _ENDINGS.sub("", name) if name != row["record_id"] else name)
        self._add_source(pair, row["source_image"])
        if '"collection_number"' in row["attributes"]:
            self._by_number[dataset, _collection_number(row)].add(pair)

    def _add_absent(self, dataset: str, row: Row) -> None:
        pair = (dataset, row["record_id"])
        if not row["record_id"] or pair in self.records or row["severity"] == "warning":
            return
        self._absent[pair] = min(self._absent.get(pair, row), row, key=reason_order)
        self._add_id(pair, row["record_id"])
        self._add_source(pair, row["source"])

    def _add_id(self, pair: Pair, name: str) -> None:
        self._by_id[name.casefold()].add(pair)
        self._by_id[f"{pair[0]}_{name}".casefold()].add(pair)

    def _add_source(self, pair: Pair, source: str) -> None:
        """Enter the file name, alone and with up to three folders before it."""
        parts = path_parts(source)
        parts[-1:] = [_ENDINGS.sub("", part).strip() for part in parts[-1:]]
        for start in range(max(0, len(parts) - 4), len(parts)):
            self._by_source["_".join(parts[start:]).casefold()].add(pair)

    def scope(self, word: str) -> Scope | None:
        """Return where a word of the column `dataset` points; None for an unknown word.

        `BCDR-F01` is dataset `bcdr` and, where record ids begin so, prefix `F01_`.
        """
        word = re.sub(r"[\s_]+", "-", word.strip(" ?").lower())
        if not word:
            return Scope()
        if word in self._words:
            return Scope(self._words[word])
        head, _, tail = word.partition("-")
        if head not in self._words:
            return None
        prefix = f"{tail}_"
        there = any(d == self._words[head] and i.lower().startswith(prefix) for d, i in self._all())
        return Scope(self._words[head], prefix if there else "")

    def _all(self) -> Iterator[Pair]:
        yield from self.records
        yield from self._absent

    def find(self, name: str, scope: Scope) -> Pair:
        """Return the pair that a record id, case id or file name means; raises NoMatch."""
        parts = path_parts(name)
        scope = self._scope_of_folders(parts, scope)
        candidates = [
            candidate
            for start in range(len(parts))
            for candidate in spellings("_".join(parts[start:]))
        ]
        found = self._numbered(candidates[-1], scope) if candidates else set()
        for table in (self._by_id, self._by_source):
            for candidate in candidates:
                found = found or self._in_scope(table.get(candidate.casefold(), set()), scope)
        return self._only(found, name, scope, candidates)

    def _scope_of_folders(self, parts: Sequence[str], scope: Scope) -> Scope:
        """Return the scope that a path gives itself: inbreast/masks/20588334.png."""
        if not scope.dataset:
            for part in reversed(parts[-3:-1]):
                if part.lower() in self._words:
                    return Scope(self._words[part.lower()])
        return scope

    def _numbered(self, candidate: str, scope: Scope) -> set[Pair]:
        """Return what CSAW-Image-101 means: images counted by an older collection."""
        match = _NUMBERED.fullmatch(candidate)
        counted = self.scope(match[1]) if match else None
        if match is None or counted is None:
            return set()
        if match[2].lower() == "mask":
            raise NoMatch(
                "mask numbers of the older collection cannot be trusted (they were counted apart"
                " from the images): name the image instead"
            )
        if scope.dataset and scope.dataset != counted.dataset:
            return set()
        number = match[3].lstrip("0")
        if not any(dataset == counted.dataset for dataset, _ in self._by_number):
            raise NoMatch(
                f"image {number} cannot be found by its number in the older collection: the"
                f" numbers are known only where refactor had the complete archive of"
                f" {counted.dataset}",
                missing=True,
            )
        return self._by_number.get((counted.dataset, number), set())

    def _in_scope(self, found: set[Pair], scope: Scope) -> set[Pair]:
        return {
            (dataset, record_id)
            for dataset, record_id in found
            if scope.dataset in ("", dataset) and record_id.lower().startswith(scope.prefix)
        }

    def _only(
        self, found: set[Pair], name: str, scope: Scope, candidates: Sequence[str]
    ) -> Pair:  # fmt: skip
        if len(found) > 1:  # ids that differ in case only
            found = {pair for pair in found if pair[1] in candidates} or found
        if len(found) > 1:
            names = sorted(f"{dataset} {record_id}" for dataset, record_id in found)
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            raise NoMatch(
                f"{name!r} fits several records: {', '.join(names[:4])}{more}; give dataset and"
                " record_id"
            )
        for pair in found:
            if pair in self._absent:
                row = self._absent[pair]
                fate = "failed" if row["severity"] == "failed" else "was left out"
                reason = f"{pair[1]} {fate}: {row['message']} [{row['code']}]"
                raise NoMatch(f"{name!r}: {reason}", missing=True)
            return pair
        where = f"no pair of {scope.dataset} here" if scope.dataset else "no pair here"
        raise NoMatch(f"{name!r} is {where}", missing=True)

    def nearest(self, name: str, scope: Scope) -> str:
        """Return the written record id most like a name, with its dataset; empty if none is."""
        words = [record_id for _, record_id in self._in_scope(set(self.records), scope)]
        parts = path_parts(name)
        close = nearest([*spellings(parts[-1])][-1], words) if parts else []
        datasets = sorted(d for d, i in self._in_scope(set(self.records), scope) if i in close)
        return f"{datasets[0]} {close[0]}" if close else ""


def counts_files(row: Row) -> bool:
    """Tell whether a row of left_out.csv only counts what a record does not use ("6 files")."""
    return bool(re.match(r"\d+ (?:file|lesion)", row["message"]))


def reason_order(row: Row) -> tuple[bool, bool]:
    """Sort rows about a record so that the one that tells its fate is the first."""
    return row["severity"] != "failed", counts_files(row)


def checked_rows(folder: PairsFolder, table: str) -> list[Row]:
    """Return the rows of a table; raises UsageError if it is not as bcseg wrote it."""
    try:
        rows = folder.rows(table)
    except (OSError, ValueError, csv.Error) as error:
        raise _damaged(folder, table) from error
    columns = {*COLUMNS[table]}
    if any(None in row.values() or not columns <= row.keys() for row in rows):
        raise _damaged(folder, table)
    return rows


def _damaged(folder: PairsFolder, table: str) -> UsageError:
    return UsageError(
        f"{table} is damaged",
        where=str(folder.path),
        hint="run the same `bcseg refactor` again: it writes the tables anew",
    )


def _collection_number(row: Row) -> str:
    try:
        return str(json.loads(row["attributes"])["collection_number"])
    except (ValueError, KeyError, TypeError):
        return ""


def _dataset_words(names: Iterable[str]) -> dict[str, str]:
    """Return datasets by all their names, in lower case."""
    words: dict[str, str] = {}
    for name, adapter in ADAPTERS.items():
        info = adapter.INFO
        for word in (name, *info.aliases, info.title):
            words[re.sub(r"[\s_]+", "-", word.lower())] = name
    return words | {re.sub(r"[\s_]+", "-", name.lower()): name for name in names}


# ------------------------------------------------------------------------------ matching


Sort = Literal["error", "missing", "changed"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a row cannot be used; "missing" and "changed" can be allowed."""

    number: int
    sort: Sort
    message: str
    name: str = ""  # to look for the nearest id
    scope: Scope = field(default_factory=Scope)


@dataclass(frozen=True, slots=True)
class Choice:
    """A row and the pair that it names; None for a row that matches nothing."""

    row: ManifestRow
    pair: Pair | None
    lesion_id: str = ""
    decision: str = "accept"  # empty: not decided yet


def match_rows(manifest: Manifest, catalogue: Catalogue) -> tuple[list[Choice], list[Trouble]]:
    """Return what each row means, and the rows that cannot be used, by row number."""
    decided = "decision" in manifest.columns
    choices: list[Choice] = []
    troubles: list[Trouble] = []
    for row in manifest.rows:
        decision = row.cell("decision").lower() if decided else "accept"
        if decision and decision not in DECISIONS:
            near = difflib.get_close_matches(decision, DECISIONS, n=1)
            troubles.append(
                Trouble(
                    row.number,
                    "error",
                    f"the decision {row.cell('decision')!r} is not one of {', '.join(DECISIONS)}"
                    + (f": do you mean {near[0]!r}?" if near else ""),
                )
            )
        choices.append(_match(row, decision, catalogue, troubles))
    troubles += _contradictions(choices)
    return choices, sorted(troubles, key=lambda trouble: trouble.number)


def _match(
    row: ManifestRow, decision: str, catalogue: Catalogue, troubles: list[Trouble]
) -> Choice:
    name = row.name
    if not name:
        troubles.append(Trouble(row.number, "error", "names no record and no file"))
        return Choice(row, None, decision=decision)
    scope = catalogue.scope(row.cell("dataset"))
    if scope is None:
        message = f"no dataset is called {row.cell('dataset')!r}"
        troubles.append(Trouble(row.number, "error", message))
        return Choice(row, None, decision=decision)
    try:
        pair = catalogue.find(name, scope)
    except NoMatch as error:
        sort: Sort = "missing" if error.missing else "error"
        wanted = name if error.missing else ""
        troubles.append(Trouble(row.number, sort, str(error), wanted, scope))
        return Choice(row, None, decision=decision)
    lesion_id = _lesion(row, pair, catalogue, troubles)
    wanted_hash = row.cell("annotation_sha256").lower()
    if wanted_hash and wanted_hash != catalogue.records[pair]["annotation_sha256"]:
        message = f"{pair[0]} {pair[1]} was decided on another contour than it has now"
        troubles.append(Trouble(row.number, "changed", message))
    return Choice(row, pair, lesion_id, decision)


def _lesion(row: ManifestRow, pair: Pair, catalogue: Catalogue, troubles: list[Trouble]) -> str:
    """Return the archive's spelling of the row's lesion id; "1.0" may be a spreadsheet's 1."""
    given = row.cell("lesion_id")
    there = catalogue.lesions.get(pair, {})
    for lesion_id in (given, _AS_FLOAT.sub(r"\1", given)):
        if not lesion_id or lesion_id in there:
            return lesion_id
    known = f"it has {', '.join(sorted(there))}" if there else "it has none"
    message = f"{pair[0]} {pair[1]} has no lesion {given!r}: {known}"
    troubles.append(Trouble(row.number, "error", message))
    return given


def _contradictions(choices: Iterable[Choice]) -> list[Trouble]:
    """Return rows that decide otherwise than an earlier row about the same pair or lesion."""
    first: dict[tuple[Pair, str], Choice] = {}
    troubles = []
    for choice in choices:
        if choice.pair is None or not choice.decision:
            continue
        earlier = first.setdefault((choice.pair, choice.lesion_id), choice)
        if earlier.decision != choice.decision:
            lesion = f" lesion {choice.lesion_id}" if choice.lesion_id else ""
            message = (
                f"{choice.pair[0]} {choice.pair[1]}{lesion}: {choice.decision} here, but"
                f" {earlier.decision} in row {earlier.row.number}"
            )
            troubles.append(Trouble(choice.row.number, "error", message))
    return troubles
