"""What was published about the complete archives, and whether the pairs agree with it.

The numbers stand in data/published.json, each with its source. A figure says what it counts:

    measure   images, patients: of every image found, those without a pair too
              contours: of every contour found
              records, lesions, lesion_images, lesion_names, abnormalities, annotated_images,
              area_mm2, patients_in_both_parts: of the pairs
              clinical: of the table against the contours (bcseg.clinical)
    part      the records that count, by a pattern of the dataset
    kind, pathology, cells   the rows that count
    needs     options of the conversion without which the pairs cannot hold what was counted
    reason    why a complete archive may still give another number
    unsure    the number was quoted, not read at its source
"""

from __future__ import annotations

import functools
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from bcseg import pairs
from bcseg.adapters.base import worst_pathology
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, Row

Mark = Literal["equal", "different"]
Number = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One published number; the fields are explained at the top of the module."""

    dataset: str
    name: str
    title: str
    value: int
    measure: str
    source: str
    source_kind: str  # paper, readme, tables (counted in them), code (public code says so)
    part: str = ""
    kind: str = ""
    pathology: tuple[str, ...] = ()
    cells: Mapping[str, str] = field(default_factory=dict)
    statistic: str = ""
    finding: str = ""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str = ""
    unsure: bool = False


_PARTIAL = "partial archive"  # how the reason begins


@dataclass(frozen=True, slots=True)
class Archive:
    """The figures of one dataset, and how its record ids tell images, patients and parts.

    `patient`, `image`: patterns whose first group tells them apart; `parts`: patterns by name.
    They are searched in "<record id> <image in the source> set:<BCDR set>".
    """

    figures: tuple[Figure, ...] = ()
    patient: str = ""
    image: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published number beside the one that is here.

    `value`: None where the pairs cannot tell. `reasons`: why the two differ, as far as is known.
    """

    figure: Figure
    value: Number | None
    mark: Mark
    reasons: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Tell whether the numbers differ in an archive, or a part of it, that is not all here."""
        return any(reason.startswith(_PARTIAL) for reason in self.reasons)

    @property
    def explained(self) -> bool:
        """Tell whether the numbers agree, or a reason is known why they do not."""
        return self.mark == "equal" or bool(self.reasons)

    def document(self) -> dict[str, Any]:
        """Return the comparison for --json."""
        figure = self.figure
        return {
            "name": figure.name,
            "title": figure.title,
            "measure": figure.measure,
            "value": self.value,
            "published": figure.value,
            "source": figure.source,
            "source_kind": figure.source_kind,
            "unsure": figure.unsure,
            "mark": self.mark,
            "explained": self.explained,
            "reasons": list(self.reasons),
        }


@functools.cache
def _archives() -> dict[str, Archive]:
    text = resources.files("bcseg.data").joinpath("published.json").read_text(encoding="utf-8")
    document = json.loads(text)
    sources = document["sources"]
    return {
        name: Archive(
            tuple(_figure(name, entry, sources) for entry in part["figures"]),
            part["patient"],
            part["image"],
            part["parts"],
        )
        for name, part in document["datasets"].items()
    }


def _figure(
    dataset: str, entry: Mapping[str, Any], sources: Mapping[str, Mapping[str, str]]
) -> Figure:
    source = sources[entry["source"]]
    changed = {
        "source": source["text"],
        "source_kind": source["kind"],
        "pathology": tuple(entry.get("pathology", ())),
        "needs": {option: tuple(words) for option, words in entry.get("needs", {}).items()},
    }
    return Figure(dataset=dataset, **(dict(entry) | changed))


def archive(dataset: str) -> Archive:
    """Return what was published about a dataset; of one that bcseg does not know, nothing."""
    return _archives().get(dataset, Archive())


def figures(dataset: str) -> tuple[Figure, ...]:
    """Return the published numbers of a dataset."""
    return archive(dataset).figures


def value(dataset: str, name: str) -> int:
    """Return a published number by its name; raises KeyError if there is none."""
    return {figure.name: figure.value for figure in figures(dataset)}[name]


# ------------------------------------------------------------------------- what is here


@dataclass(frozen=True, slots=True)
class Holdings:
    """The tables of a pairs folder.

    `seen`: record id -> text to search for parts and patients, of every image that was found.
    `unwritten`: record id -> code, of those that have no pair ("failed" for all that failed).
    """

    document: Mapping[str, Any]
    records: tuple[Row, ...]
    lesions: tuple[Row, ...]
    seen: Mapping[str, str]
    unwritten: Mapping[str, str]


def cell(row: Mapping[str, str | None], column: str) -> str:
    """Return a cell, empty for one that a shortened row lacks."""
    return row.get(column) or ""


def json_values(text: str) -> dict[str, Any]:
    """Return the content of a JSON cell; nothing for one that is empty or damaged."""
    try:
        values = json.loads(text) if text else {}
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def holdings(folder: PairsFolder) -> Holdings:
    """Read the tables of a pairs folder; raises UsageError for one that cannot be read."""
    try:
        records = tuple(folder.rows(pairs.RECORDS))
        lesions = tuple(folder.rows(pairs.LESIONS))
        others = [*folder.rows(pairs.LEFT_OUT), *folder.rows(pairs.PROBLEMS)]
    except (OSError, ValueError) as error:
        raise UsageError(f"a table cannot be read: {error}", where=str(folder.path)) from error
    written = {cell(row, "record_id") for row in records}
    unwritten = _unwritten(others, written)
    sets = {cell(row, "record_id"): _set_of(row) for row in records}
    only = next(iter(sets.values())) if len(set(sets.values())) == 1 else ""
    seen = {
        cell(row, "record_id"): f"{cell(row, 'record_id')} {cell(row, 'source_image')} "
        f"set:{sets[cell(row, 'record_id')]}"
        for row in records
    } | {
        record_id: f"{record_id} {source} set:{_set_in(f'{source}/{record_id}') or only}"
        for record_id, (_, source) in unwritten.items()
    }
    codes = {record_id: code for record_id, (code, _) in unwritten.items()}
    return Holdings(folder.document(), records, lesions, seen, codes)


def _set_of(row: Row) -> str:
    return str(json_values(cell(row, "attributes")).get("set", "")) or _set_in(
        cell(row, "source_image")
    )


def _set_in(text: str) -> str:
    """Return the BCDR set that a path or a record id names."""
    found = re.findall(r"bcdr[-_ ]?([df]n?\d\d)|(?:^|/)(F\d\d)_", text, re.IGNORECASE)
    return next((part.upper() for pair in reversed(found) for part in pair if part), "")


def _unwritten(rows: Iterable[Row], written: set[str]) -> dict[str, tuple[str, str]]:
    """Return code and image of each record that has an image and no pair."""
    found: dict[str, tuple[str, str]] = {}
    absent = set()
    for row in rows:
        record_id, code = cell(row, "record_id"), cell(row, "code")
        severity = cell(row, "severity")
        if not record_id or record_id in written or severity == "warning" or code in _OF_A_FILE:
            continue
        if code == "no_image":
            absent.add(record_id)
        if severity == "left_out":
            found[record_id] = (code, cell(row, "source"))
        else:
            found.setdefault(record_id, ("failed", cell(row, "source")))
    return {record_id: found[record_id] for record_id in found.keys() - absent}


# codes of left_out.csv that are about a file or lesion of a record, not about its image
_OF_A_FILE = frozenset(
    """blank_mask cropped_image duplicate_contour duplicate_file duplicate_image image_variant
    kind_not_chosen lesion_left_away orphan_row other_annotator unknown_class""".split()  # noqa: SIM905
)


# ------------------------------------------------------------------------- measures


@dataclass(frozen=True, slots=True)
class _Scope:
    """The rows that a figure counts."""

    figure: Figure
    of: Archive
    here: Holdings

    def texts(self) -> list[str]:
        """Return the search texts of the images of the part."""
        pattern = re.compile(self.of.parts.get(self.figure.part, ""), re.IGNORECASE)
        return [text for text in self.here.seen.values() if pattern.search(text)]

    def ids(self) -> set[str]:
        return {text.split(" ", 1)[0] for text in self.texts()}

    def records(self) -> list[Row]:
        ids, cells = self.ids(), self.figure.cells
        return [
            row
            for row in self.here.records
            if cell(row, "record_id") in ids
            and all(cell(row, column).lower() == word.lower() for column, word in cells.items())
        ]

    def lesions(self) -> list[Row]:
        """Return the lesions of the part and kind; the pathology is the caller's to look at."""
        ids, figure = self.ids(), self.figure
        return [
            row
            for row in self.here.lesions
            if cell(row, "record_id") in ids
            and (not figure.kind or cell(row, "kind") == figure.kind)
            and all(cell(row, column) == word for column, word in figure.cells.items())
        ]

    def wanted(self, pathology: str) -> bool:
        return not self.figure.pathology or pathology in self.figure.pathology


def _distinct(pattern: str, texts: Iterable[str]) -> int:
    """Return how many different first groups a pattern finds; texts without one do not count."""
    if not pattern:
        return len(set(texts))
    matches = (re.search(pattern, text, re.IGNORECASE) for text in texts)
    return len({match[1] for match in matches if match})


def _found(scope: _Scope, sort: str, repeats: str) -> int | None:
    """Return how many items of a sort the conversion found, without repeats of one another."""
    document = scope.here.document
    count = document.get("items", {}).get(sort, {}).get("found")
    if count is None:
        return 0 if "items" in document else None
    left_out = document.get("reasons", {}).get(sort, {}).get("left_out", {})
    return int(count) - int(left_out.get(repeats, 0))


def _images(scope: _Scope) -> int | None:
    document = scope.here.document
    if not scope.figure.part and "items" in document and "selection" not in document:
        return _found(scope, "images", "duplicate_image")
    return _distinct(scope.of.image, scope.texts())


def _patients(scope: _Scope) -> int:
    if not scope.of.patient:
        return len({cell(row, "group") for row in scope.records()} - {""})
    return _distinct(scope.of.patient, scope.texts())


def _contours(scope: _Scope) -> int | None:
    return _found(scope, "contours", "duplicate_contour")


def _lesion_count(scope: _Scope) -> int:
    return sum(scope.wanted(cell(row, "pathology")) for row in scope.lesions())


def _lesion_images(scope: _Scope) -> int:
    return len({cell(row, "record_id") for row in scope.lesions()})


def _lesion_names(scope: _Scope) -> int:
    """Return how many lesions the outlines are of: BCDR names the lesion of each outline."""
    names = [json_values(cell(row, "attributes")).get("lesion") for row in scope.lesions()]
    return len({name for name in names if name})


def _abnormalities(scope: _Scope) -> int:
    """Return how many abnormalities: one patient, side and id in several views is one."""
    of = {cell(row, "record_id"): row for row in scope.here.records}
    pathologies: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in scope.lesions():
        record = of.get(cell(row, "record_id"), {})
        side = (cell(record, "patient_id"), cell(record, "laterality"))
        pathologies[*side, cell(row, "kind"), cell(row, "lesion_id")].append(cell(row, "pathology"))
    return sum(scope.wanted(worst_pathology(words)) for words in pathologies.values())


def _annotated_images(scope: _Scope) -> int:
    ids = scope.ids()
    marked = {cell(row, "record_id") for row in scope.here.lesions}
    others = {key for key, code in scope.here.unwritten.items() if code == "no_chosen_kind"}
    return len((marked | others) & ids)


def _area(scope: _Scope) -> int | None:
    areas = [float(cell(row, "area_mm2") or "nan") for row in scope.lesions()]
    areas = [area for area in areas if area == area]  # without NaN: of unknown spacing
    if not areas:
        return None
    by_name: dict[str, Callable[[list[float]], float]] = {
        "mean": statistics.fmean,
        "sd": lambda values: statistics.stdev(values) if len(values) > 1 else 0.0,
        "min": min,
        "max": max,
    }
    return round(by_name[scope.figure.statistic](areas))


def groups_in_both_parts(records: Iterable[Row]) -> tuple[str, ...]:
    """Return the patients (column group) with records in both published parts, train and test."""
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for row in records:
        if cell(row, "group"):
            parts[cell(row, "group")].add(cell(row, "split"))
    return tuple(sorted(group for group, names in parts.items() if {"train", "test"} <= names))


_MEASURES: dict[str, Callable[[_Scope], Number | None]] = {
    "images": _images,
    "patients": _patients,
    "contours": _contours,
    "records": lambda scope: len(scope.records()),
    "lesions": _lesion_count,
    "lesion_images": _lesion_images,
    "lesion_names": _lesion_names,
    "abnormalities": _abnormalities,
    "annotated_images": _annotated_images,
    "area_mm2": _area,
    "patients_in_both_parts": lambda scope: len(groups_in_both_parts(scope.records())),
}


# ------------------------------------------------------------------------- comparing


def compare(dataset: str, here: Holdings) -> tuple[Comparison, ...]:
    """Return every published number of a dataset beside the one that the pairs tell."""
    of = archive(dataset)
    return tuple(
        _comparison(_Scope(figure, of, here))
        for figure in of.figures
        if figure.measure in _MEASURES
    )


def _comparison(scope: _Scope) -> Comparison:
    try:
        found = _MEASURES[scope.figure.measure](scope)
    except ValueError:  # a damaged cell; verify lists it
        found = None
    if found == scope.figure.value:
        return Comparison(scope.figure, found, "equal")
    return Comparison(scope.figure, found, "different", tuple(_reasons(scope)))


def _reasons(scope: _Scope) -> list[str]:
    """Return why the number may differ from the published one, the most telling first."""
    figure, document = scope.figure, scope.here.document
    if figure.part and not scope.texts():
        return ["no image of this part is in the archive"]
    reasons = []
    if "selection" in document:
        reasons.append("the pairs are a selection")
    reasons += _unmet_needs(figure, document.get("options", {}))
    reasons += _incomplete(scope)
    return [*reasons, figure.reason] if figure.reason else reasons


def _unmet_needs(figure: Figure, options: Mapping[str, Any]) -> list[str]:
    reasons = []
    for option, words in figure.needs.items():
        if option == "kinds":
            chosen = options.get("kinds", [])
            if not set(words) <= set(chosen):
                kinds = ", ".join(map(str, chosen))
                reasons.append(
                    f"images without a lesion of the chosen kinds ({kinds}) have no pair"
                )
        elif option == "with_empty" and options.get(option) not in words:
            reasons.append("images without a chosen lesion have no pair (--with-empty=force)")
        elif options.get(option) not in words:
            name = option.replace("_", "-")
            reasons.append(f"converted with --{name} {options.get(option)}")
    return reasons


def _incomplete(scope: _Scope) -> list[str]:
    """Return what is not there: images of a partial archive, records that failed or were cut."""
    reasons = []
    total = _published_images(scope)
    if total is not None and "selection" not in scope.here.document:
        part = total.figure.part
        found = _images(total)
        if found is not None and found < total.figure.value:
            of = f" of {part.replace('_', ' ')}" if part else ""
            reasons.append(f"{_PARTIAL}: {found:,} of {total.figure.value:,} images{of} are there")
    ids = scope.ids()
    codes = [code for record_id, code in scope.here.unwritten.items() if record_id in ids]
    if scope.figure.measure in ("images", "patients"):
        return reasons  # these count images without a pair, too
    for code, words in (("failed", "failed"), ("limit", "left out by --limit")):
        if code in codes:
            images = "1 image" if codes.count(code) == 1 else f"{codes.count(code):,} images"
            reasons.append(f"{images} {words}")
    return reasons


def _published_images(scope: _Scope) -> _Scope | None:
    """Return the published number of images of the same part, else of the whole archive."""
    totals = {one.part: one for one in scope.of.figures if one.measure == "images"}
    figure = totals.get(scope.figure.part) or totals.get("")
    return _Scope(figure, scope.of, scope.here) if figure else None
