"""The counts at the top of the page, beside the published ones, and the problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bcseg.pairs import PairsFolder, Row
from bcseg.report.data import Content
from bcseg.report.markup import quoted, short_title, table
from bcseg.report.plots import short
from bcseg.stats import DatasetStatistics

_LISTED, _FEW = 300, 20  # problems that are listed one by one, and without being asked


def summary(content: Content) -> str:
    """Return the counts of all pairs, of each dataset, and of every item of the archives."""
    counts = content.statistics.total
    lesions = [lesion for entry in content.everything for lesion in entry.lesions]
    figures = [
        ("pairs", counts.pairs),
        ("images", counts.images),
        ("patients", counts.patients),
        ("lesions in masks", len(lesions)),
        ("lesions scored", sum(bool(lesion.scores) for lesion in lesions)),
        ("lesions with a flag", sum(bool(lesion.flags) for lesion in lesions)),
        ("pairs with a problem", sum(bool(entry.problems) for entry in content.everything)),
        ("empty masks", counts.masks.empty),
    ]
    boxes_ = "".join(f"<div><dt>{name}</dt><dd>{count:,}</dd></div>" for name, count in figures)
    rows = [_dataset_row(one) for one in content.statistics.datasets]
    ledgers = [row for folder in content.folders for row in _ledger(folder)]
    ledger = table(
        ("dataset", "item", "#found", "#written", "#left out", "#failed", "reasons"), ledgers
    )
    published = "".join(_published(one) for one in content.statistics.datasets)
    return (
        f'<dl class="figures">{boxes_}</dl>{table(_HEAD, rows)}'
        f"<details><summary>What became of every item of the archives</summary>{ledger}</details>"
        f"{published}"
    )


_HEAD = (
    *("dataset", "#pairs", "#images", "#patients", "lesions in masks"),
    *("#area, median", "#middle half", "#clipped", "#at the border", "#crossing"),
)


def _dataset_row(one: DatasetStatistics) -> Sequence[str]:
    counts, masks = one.counts, one.counts.masks
    lesions = ", ".join(f"{kind}: {n.in_mask:,}" for kind, n in counts.kinds.items() if n.in_mask)
    unit = {"mm2": "mm²", "px": "px"}
    medians = "<br>".join(f"{short(a.median)} {unit[a.unit]}" for a in counts.areas)
    halves = "<br>".join(f"{short(a.quartile1)} to {short(a.quartile3)}" for a in counts.areas)
    numbers = (counts.pairs, counts.images, counts.patients)
    peculiar = (masks.clipped, masks.border, masks.self_intersecting)
    return (
        quoted(short_title(one.title)),
        *(f"{number:,}" for number in numbers),
        quoted(lesions),
        medians,
        halves,
        *(f"{number:,}" for number in peculiar),
    )


def _ledger(folder: PairsFolder) -> list[Sequence[str]]:
    """Return the ledger of a run; a selection has none of its own."""
    document = folder.document()
    rows: list[Sequence[str]] = []
    for sort, fates in (document.get("items") or {}).items():
        reasons = (document.get("reasons") or {}).get(sort, {})
        words = ", ".join(
            f"{count:,} {code}" for codes in reasons.values() for code, count in codes.items()
        )
        numbers = (f"{int(fates.get(k, 0)):,}" for k in ("found", "written", "left_out", "failed"))
        rows.append((quoted(document["dataset"]), quoted(sort), *numbers, quoted(words)))
    return rows


def _published(one: DatasetStatistics) -> str:
    rows = []
    for each in one.published:
        here = "?" if each.value is None else f"{each.value:,}"
        verdict = each.mark if each.explained else f"{each.mark}, no known reason"
        style = "equal" if each.mark == "equal" else "soft" if each.explained else "warning"
        told = "; ".join(each.reasons) if each.mark != "equal" else ""
        said = f'<span class="{style}">{verdict}</span>'
        rows.append((quoted(each.figure.title), here, f"{each.figure.value:,}", said, quoted(told)))
    if not rows:
        return ""
    body = table(("number", "#here", "#published", "", "why"), rows)
    title = quoted(short_title(one.title))
    return f"<details><summary>{title}: published numbers</summary>{body}</details>"


# ------------------------------------------------------------------------- problems


def problems(content: Content, rows: Sequence[Row]) -> str:
    """Return the rows of problems.csv: counted, and one by one; those of a pair lead to it."""
    if not rows:
        return "<p>None: no record failed, nothing was warned about.</p>"
    counts = Counter((row["dataset"], row["severity"], row["code"]) for row in rows)
    counted = [
        (quoted(dataset), _colour(severity), quoted(code), f"{count:,}")
        for (dataset, severity, code), count in sorted(counts.items())
    ]
    places = {
        (entry.dataset, entry.record_id): place for place, (entry, _) in enumerate(content.shown, 1)
    }
    one_by_one = table(
        ("record", "dataset", "severity", "code", "message"),
        (_problem(row, places) for row in rows[:_LISTED]),
    )
    more = len(rows) - _LISTED
    rest = f"<p>And {more:,} more in problems.csv.</p>" if more > 0 else ""
    return (
        f"{table(('dataset', 'severity', 'code', '#count'), counted)}"
        f"<details{' open' if len(rows) <= _FEW else ''}><summary>One by one</summary>"
        f"{one_by_one}{rest}</details>"
    )


def _problem(row: Row, places: Mapping[tuple[str, str], int]) -> Sequence[str]:
    place = places.get((row["dataset"], row["record_id"]))
    name = quoted(row["record_id"] or row["source"])
    return (
        f'<a href="#pair-{place}">{name}</a>' if place else name,
        quoted(row["dataset"]),
        _colour(row["severity"]),
        quoted(row["code"]),
        quoted(row["message"]),
    )


def _colour(severity: str) -> str:
    style = severity if severity in ("failed", "warning") else "soft"
    return f'<span class="{style}">{quoted(severity)}</span>'
