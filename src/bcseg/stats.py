"""What is in the pairs: counts and lesion sizes, beside what was published.

Everything is told by the tables of the pairs folders; no image is opened.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bcseg.pairs import SCHEMA_VERSION, PairsFolder, Row
from bcseg.published import (
    Comparison,
    Holdings,
    cell,
    compare,
    groups_in_both_parts,
    holdings,
)
from bcseg.record import KINDS

UNKNOWN = "unknown"
COLUMNS = ("laterality", "view", "birads", "density", "pathology", "split")
_WIDTH = 100  # columns of a terminal


@dataclass(frozen=True, slots=True)
class Areas:
    """The areas of some lesions, on the grid of the source; quartiles by linear interpolation."""

    unit: Literal["mm2", "px"]
    count: int
    minimum: float
    quartile1: float
    median: float
    quartile3: float
    maximum: float
    mean: float


@dataclass(frozen=True, slots=True)
class KindCount:
    """How many lesions of a kind, and how many of them are in a mask."""

    in_mask: int
    lesions: int


@dataclass(frozen=True, slots=True)
class MaskCounts:
    """How many masks are peculiar.

    `clipped`: a lesion reaches beyond the image of the source. `border`: a lesion touches the
    border of the written image.
    """

    empty: int
    several_lesions: int
    clipped: int
    border: int
    self_intersecting: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts over some pairs.

    `images`: different source images (a film that three people annotated is three pairs).
    `without_patient`: pairs whose patient is not known. `columns`: how often each word stands in
    a column of records.csv. `areas`: of the lesions in the masks, in mm2 where the spacing is
    known and in px of the others.
    """

    pairs: int
    images: int
    patients: int
    without_patient: int
    kinds: Mapping[str, KindCount]
    columns: Mapping[str, Mapping[str, int]]
    areas: tuple[Areas, ...]
    areas_by_kind: Mapping[str, tuple[Areas, ...]]
    masks: MaskCounts


@dataclass(frozen=True, slots=True)
class DatasetStatistics:
    """The statistics of one pairs folder; `both_parts`: groups in train and in test."""

    dataset: str
    title: str
    folder: Path
    kinds: tuple[str, ...]
    counts: Counts
    items: Mapping[str, Mapping[str, int]]
    published: tuple[Comparison, ...]
    both_parts: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the statistics for --json."""
        return {
            "dataset": self.dataset,
            "title": self.title,
            "folder": self.folder.name,
            "kinds": list(self.kinds),
            **_counts_document(self.counts),
            "items": {sort: dict(fates) for sort, fates in self.items.items()},
            "published": [one.document() for one in self.published],
            "patients_in_both_parts": list(self.both_parts),
        }


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of a root."""

    datasets: tuple[DatasetStatistics, ...]
    total: Counts
    notes: tuple[str, ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """Return the statistics for --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "datasets": [one.document() for one in self.datasets],
            "total": _counts_document(self.total),
            "notes": list(self.notes),
        }

    def text(self, width: int = _WIDTH) -> str:
        """Return the statistics for a terminal."""
        return render(self, width)


def _counts_document(counts: Counts) -> dict[str, Any]:
    document = asdict(counts)
    lesions = {"lesions": document.pop("kinds")}
    areas = {"lesion_areas": document.pop("areas"), "by_kind": document.pop("areas_by_kind")}
    return {key: document.pop(key) for key in ("pairs", "images", "patients")} | {
        "without_patient": document.pop("without_patient"),
        **lesions,
        **document.pop("columns"),
        "lesion_areas": areas.pop("lesion_areas"),
        "lesion_areas_by_kind": areas.pop("by_kind"),
        "masks": document.pop("masks"),
    }


# ------------------------------------------------------------------------- counting


def stats(folders: Sequence[PairsFolder]) -> Statistics:
    """Return the statistics of some pairs folders, one by one and together.

    Raises UsageError for a folder whose tables cannot be read.
    """
    datasets, records, lesions = [], [], []
    for number, folder in enumerate(folders):
        here = holdings(folder)
        datasets.append(_dataset(folder, here))
        # two folders may hold one dataset: the number keeps their equal ids apart
        records += [(number, row) for row in here.records]
        lesions += [(number, row) for row in here.lesions]
    names = Counter(one.dataset for one in datasets)
    notes = [
        f"{count} folders hold {name}: the total counts its images once, its pairs {count} times"
        for name, count in names.items()
        if count > 1
    ]
    for one in datasets:
        if one.both_parts:
            notes.append(
                f"{one.dataset}: {len(one.both_parts)} patients are in the published training "
                "part and in the test part: `bcseg split` keeps each patient on one side"
            )
    return Statistics(tuple(datasets), _counts(records, lesions), tuple(notes))


def _dataset(folder: PairsFolder, here: Holdings) -> DatasetStatistics:
    document = here.document
    name = str(document["dataset"])
    options = document.get("options") or {}
    return DatasetStatistics(
        dataset=name,
        title=str(document.get("title", name)),
        folder=folder.path,
        kinds=tuple(map(str, options.get("kinds", ()))),
        counts=_counts([(0, row) for row in here.records], [(0, row) for row in here.lesions]),
        items={} if "selection" in document else document.get("items", {}),
        published=compare(name, here),
        both_parts=groups_in_both_parts(here.records),
    )


_Numbered = Sequence[tuple[int, Row]]  # number of the folder, and the row


def _counts(records: _Numbered, lesions: _Numbered) -> Counts:
    rows = [row for _, row in records]
    groups = [cell(row, "group") for row in rows]
    in_mask = [row for _, row in lesions if cell(row, "in_mask") == "1"]
    return Counts(
        pairs=len(rows),
        images=len({(cell(row, "dataset"), cell(row, "source_image")) for row in rows}),
        patients=len(set(groups) - {""}),
        without_patient=groups.count(""),
        kinds=_by_kind([row for _, row in lesions]),
        columns={column: _words(rows, column) for column in COLUMNS},
        areas=_areas(in_mask),
        areas_by_kind={
            kind: _areas([row for row in in_mask if cell(row, "kind") == kind])
            for kind in _kinds_of(in_mask)
        },
        masks=_masks(records, lesions),
    )


def _kinds_of(lesions: Iterable[Row]) -> list[str]:
    """Return the kinds that occur, in the order of the vocabulary, then any other."""
    found = {cell(row, "kind") for row in lesions}
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(found, key=lambda kind: (order.get(kind, len(order)), kind))


def _by_kind(lesions: Sequence[Row]) -> dict[str, KindCount]:
    total = Counter(cell(row, "kind") for row in lesions)
    inside = Counter(cell(row, "kind") for row in lesions if cell(row, "in_mask") == "1")
    return {kind: KindCount(inside[kind], total[kind]) for kind in _kinds_of(lesions)}


def _words(rows: Iterable[Row], column: str) -> dict[str, int]:
    """Return how often each word stands in a column; the unknown ones at the end."""
    counts = Counter(cell(row, column) or UNKNOWN for row in rows)
    return {
        word: counts[word] for word in sorted(counts, key=lambda w: (w == UNKNOWN, _natural(w)))
    }


def _natural(word: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a key that sorts "2" before "10"."""
    parts = re.findall(r"\d+|\D+", word)
    return tuple((not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts)


def _number(row: Row, column: str) -> float | None:
    """Return a cell as a number; None for one that is empty or damaged: verify lists those."""
    try:
        return float(cell(row, column))
    except ValueError:
        return None


def _areas(lesions: Iterable[Row]) -> tuple[Areas, ...]:
    known, unknown = [], []
    for row in lesions:
        area = _number(row, "area_mm2")
        pixels = _number(row, "area_px")
        if area is not None:
            known.append(area)
        elif pixels is not None:
            unknown.append(pixels)
    return (*_quartiles("mm2", known), *_quartiles("px", unknown))


def _quartiles(unit: Literal["mm2", "px"], values: list[float]) -> tuple[Areas, ...]:
    if not values:
        return ()
    cuts = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    low, middle, high = (round(cut, 3) for cut in cuts)
    mean = round(statistics.fmean(values), 3)
    return (Areas(unit, len(values), min(values), low, middle, high, max(values), mean),)


def _masks(records: _Numbered, lesions: _Numbered) -> MaskCounts:
    sizes = {
        (number, cell(row, "record_id")): (_number(row, "width"), _number(row, "height"))
        for number, row in records
    }
    clipped, border, crossing = set(), set(), set()
    for number, row in lesions:
        pair = (number, cell(row, "record_id"))
        if pair not in sizes or cell(row, "in_mask") != "1":
            continue
        if cell(row, "clipped") == "1":
            clipped.add(pair)
        if cell(row, "self_intersecting") == "1":
            crossing.add(pair)
        if _touches_border(row, sizes[pair]):
            border.add(pair)
    rows = [row for _, row in records]
    return MaskCounts(
        empty=sum(_number(row, "mask_pixels") == 0 for row in rows),
        several_lesions=sum((_number(row, "n_lesions") or 0) > 1 for row in rows),
        clipped=len(clipped),
        border=len(border),
        self_intersecting=len(crossing),
    )


def _touches_border(row: Row, size: tuple[float | None, float | None]) -> bool:
    """Tell whether a lesion reaches the first or last row or column of the written image."""
    box = [_number(row, column) for column in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")]
    known = [value for value in (*box, *size) if value is not None]
    if len(known) < 6:
        return False  # nothing of the lesion is left in the written image
    x, y, box_width, box_height, width, height = known
    return x <= 0 or y <= 0 or x + box_width >= width or y + box_height >= height


# ------------------------------------------------------------------------- the terminal


def render(statistics_: Statistics, width: int = _WIDTH) -> str:
    """Return the statistics as plain text; `width` in columns of the terminal."""
    blocks = [_dataset_text(one, width) for one in statistics_.datasets]
    if len(statistics_.datasets) > 1:
        blocks.append(
            [_heading("all", "all datasets together"), *_counts_text(statistics_.total, width)]
        )
    lines = [line for block in blocks for line in (*block, "")]
    lines += [line for note in statistics_.notes for line in _wrapped("note: ", note, width)]
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _heading(name: str, title: str) -> str:
    return f"{name}  {title}"


def _dataset_text(one: DatasetStatistics, width: int) -> list[str]:
    title = one.title if one.folder.name == one.dataset else f"{one.title} ({one.folder.name})"
    lines = [_heading(one.dataset, title), *_counts_text(one.counts, width)]
    return lines + _published_text(one.published, width)


def _counts_text(counts: Counts, width: int) -> list[str]:
    patients = f"{counts.patients:,}"
    if counts.without_patient:
        patients += f", and {_of(counts.without_patient, 'pair')} whose patient is unknown"
    films = f" of {counts.images:,} images" if counts.images != counts.pairs else ""
    lesions = ", ".join(
        f"{kind}: {count.in_mask:,}"
        + (f" (of {count.lesions:,})" if count.lesions != count.in_mask else "")
        for kind, count in counts.kinds.items()
    )
    entries = [("pairs", f"{counts.pairs:,}{films}"), ("patients", patients)]
    entries.append(("lesions in masks", lesions or "none"))
    entries += [(column, _words_text(counts.columns[column])) for column in COLUMNS]
    entries.append(("masks", _masks_text(counts.masks)))
    lines = [line for name, text in entries for line in _wrapped(f"  {name:18}", text, width)]
    return lines + _areas_text(counts)


def _of(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("s" if count != 1 else "")


def _words_text(words: Mapping[str, int]) -> str:
    return ", ".join(f"{word}: {count:,}" for word, count in words.items()) or "none"


def _masks_text(masks: MaskCounts) -> str:
    return (
        f"{masks.empty:,} empty, {masks.several_lesions:,} with several lesions, {masks.clipped:,} "
        f"clipped, {masks.border:,} at the border, {masks.self_intersecting:,} crossing themselves"
    )


def _areas_text(counts: Counts) -> list[str]:
    entries = [("all", areas) for areas in counts.areas]
    if len(counts.areas_by_kind) > 1:
        entries += [(kind, a) for kind, both in counts.areas_by_kind.items() for a in both]
    if not entries:
        return []
    table = [_AREA_HEAD, *(_area_cells(name, areas) for name, areas in entries)]
    widths = [max(len(row[i]) for row in table) for i in range(len(_AREA_HEAD))]
    return [
        "  "
        + f"{row[0]:{max(widths[0], 17)}} {row[1]:{widths[1]}}"
        + "".join(f"  {text:>{size}}" for text, size in zip(row[2:], widths[2:], strict=True))
        for row in table
    ]


_AREA_HEAD = (
    *("lesion area", "", "lesions"),
    *("smallest", "25 %", "median", "75 %", "largest", "mean"),
)


def _area_cells(name: str, areas: Areas) -> tuple[str, ...]:
    quartiles = (areas.quartile1, areas.median, areas.quartile3)
    values = (areas.minimum, *quartiles, areas.maximum, areas.mean)
    unit = "mm²" if areas.unit == "mm2" else "px"
    return (name, unit, f"{areas.count:,}", *(_short(value, areas.unit) for value in values))


def _short(value: float, unit: str) -> str:
    """Return an area with the digits that mean something: tenths of mm2, whole pixels."""
    if unit == "px":
        return f"{value:,.0f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _published_text(published: Sequence[Comparison], width: int) -> list[str]:
    """Return the published numbers: a table, and reasons and sources as numbered lines below."""
    present = [one for one in published if one.reasons != _ABSENT]
    if not published:
        return []
    shown, folded = _without_partial(present)
    reasons = _Numbers("a")
    sources = _Numbers("1")
    title = max((len(_title(one)) for one in shown), default=0)
    lines = [f"  {'published':{title + 2}}{'here':>8}{'published':>11}"] if shown else []
    for one in shown:
        here = "?" if one.value is None else f"{one.value:,}"
        marks = "".join(f" ({reasons.of(reason)})" for reason in one.reasons)
        verdict = one.mark + (marks if one.explained else " (no known reason)")
        lines.append(
            f"    {_title(one):{title}}{here:>8}{one.figure.value:>11,}  "
            f"[{sources.of(one.figure.source)}] {verdict}{_others_text(folded, one)}"
        )
    absent = len(published) - len(present)
    if absent:
        lines.append(f"  {_of(absent, 'published number')} of parts that are not in the archive")
    for name, text in reasons.items():
        lines += _wrapped(f"    ({name}) ", text, width)
    for name, text in sources.items():
        lines += _wrapped(f"    [{name}] ", text, width)
    return lines


def _without_partial(
    published: Sequence[Comparison],
) -> tuple[list[Comparison], dict[str, int]]:
    """Return the numbers to list, and how many more of a part differ because it is not all here.

    Of such a part its number of images says it all.
    """
    images = {one.figure.part for one in published if one.figure.measure == "images"}
    shown, folded = [], Counter[str]()
    for one in published:
        part = one.figure.part if one.figure.part in images else ""
        if one.partial and one.figure.measure != "images" and part in images:
            folded[part] += 1
        else:
            shown.append(one)
    return shown, folded


def _others_text(folded: Mapping[str, int], one: Comparison) -> str:
    others = folded.get(one.figure.part, 0) if one.figure.measure == "images" else 0
    return f", so {_of(others, 'other number')} too" if others else ""


_ABSENT = ("no image of this part is in the archive",)


def _title(one: Comparison) -> str:
    return one.figure.title + (" ?" if one.figure.unsure else "")


class _Numbers:
    """Footnotes: the same text, the same mark; a, b, c ... or 1, 2, 3 ..."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._of: dict[str, str] = {}

    def of(self, text: str) -> str:
        """Return the mark of a text."""
        number = len(self._of)
        letters = "abcdefghijklmnopqrstuvwxyz"
        fresh = letters[number % 26] * (1 + number // 26) if self._first == "a" else str(number + 1)
        return self._of.setdefault(text, fresh)

    def items(self) -> list[tuple[str, str]]:
        """Return marks and texts, in order."""
        return [(mark, text) for text, mark in self._of.items()]


def _wrapped(start: str, text: str, width: int) -> list[str]:
    """Return a text behind a start, continued below itself."""
    import textwrap

    blank = " " * len(start)
    return textwrap.wrap(
        text,
        max(width, len(start) + 20),
        initial_indent=start,
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start]
