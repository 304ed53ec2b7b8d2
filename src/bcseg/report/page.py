"""The page: licences, summary, plots, problems and the pairs, in one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

from bcseg import __version__, adapters, pairs
from bcseg.pairs import PairsFolder, Row, checked_rows
from bcseg.report.cards import kinds, marks, quoted, tag, values
from bcseg.report.data import PRECISION, RANKS, Entry, Pictures
from bcseg.report.entries import number
from bcseg.report.plots import bars, boxes, histograms, short
from bcseg.stats import COLUMNS, DatasetStatistics, Statistics

_LISTED, _FEW = 300, 20  # problems that are listed one by one, and without being asked


@dataclass(frozen=True, slots=True)
class Content:
    """All that the page tells: folders, their statistics, every pair, those shown, notes."""

    folders: Sequence[PairsFolder]
    statistics: Statistics
    everything: Sequence[Entry]
    shown: Sequence[tuple[Entry, Pictures]]
    notes: Sequence[str]


def page(content: Content, cards: Iterable[str]) -> bytes:
    """Return the page as UTF-8."""
    style, script = _part("style.css"), _part("page.js")
    problems = [row for folder in content.folders for row in checked_rows(folder, pairs.PROBLEMS)]
    names = ", ".join(dict.fromkeys(_short_title(one.title) for one in content.statistics.datasets))
    text = Template(_part("template.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'",
        title=quoted(f"Pairs of {names}"),
        lead=_lead(content),
        licences=_licences(content),
        notes=_list((*content.statistics.notes, *content.notes)),
        summary=_summary(content),
        plots=_plots(content, problems),
        problems=_problems(content, problems),
        order=_order(content),
        controls=_controls(content),
        cards="\n".join(cards),
        version=quoted(__version__),
        contents=_contents(content),
        style=style,
        script=script,
    )
    return text.encode(errors="backslashreplace")


def _short_title(title: str) -> str:
    """Return "BCDR" for "BCDR (Breast Cancer Digital Repository)"."""
    return title.partition(" (")[0]


def _part(name: str) -> str:
    return resources.files("bcseg.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def _list(lines: Iterable[str]) -> str:
    entries = "".join(f"<li>{quoted(line)}</li>" for line in lines)
    return f'<ul class="notes">{entries}</ul>' if entries else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table of cells that are HTML already; a head that begins with "#" is of numbers."""
    numbers = [title.startswith("#") for title in head]
    style = [' class="number"' if one else "" for one in numbers]
    titles = "".join(
        f'<th scope="col"{s}>{quoted(title.lstrip("#"))}</th>'
        for title, s in zip(head, style, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{cell}</th>' if place == 0 else f"<td{style[place]}>{cell}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    named = f"<caption>{quoted(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{named}<thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


# ------------------------------------------------------------------------- the top


def _lead(content: Content) -> str:
    datasets = len(content.statistics.datasets)
    lesions = sum(len(entry.lesions) for entry in content.everything)
    return (
        f"{_many(len(content.everything), 'pair')} with {_many(lesions, 'lesion')} from "
        f"{_many(datasets, 'dataset')}. {_shown(content)}"
    )


def _shown(content: Content) -> str:
    total, shown = len(content.everything), len(content.shown)
    if shown == total:
        return "All pairs are shown."
    by_sample = Counter(entry.sample for entry, _ in content.shown)
    return (
        f"Shown are the {by_sample['worst']:,} worst and {by_sample['random']:,} of the others at "
        "random (<code>bcseg report --all</code> shows every pair)."
    )


def _licences(content: Content) -> str:
    """Return the licence of each dataset, those that may not be passed on first."""
    documents = {folder.name: folder.document() for folder in content.folders}
    closed = {name: d for name, d in documents.items() if _may_be_passed_on(d) is not True}
    rows = "".join(_licence(documents[name]) for name in dict.fromkeys((*closed, *documents)))
    cited = _list(
        ". ".join(str(d[key]).rstrip(".") for key in ("citation", "url") if d.get(key))
        for d in documents.values()
    )
    named = ", ".join(_short_title(_title(d)) for d in closed.values())
    warning = (
        "<strong>Keep this page to yourself: it may not be passed on.</strong>"
        f"<p>It shows images of {quoted(named)}.</p>"
        if closed
        else "<strong>Licences</strong>"
    )
    style = "licence restricted" if closed else "licence"
    return (
        f'<section class="{style}" aria-label="Licences">{warning}<dl>{rows}</dl>'
        f"<details><summary>How to cite</summary>{cited}</details></section>"
    )


def _licence(document: Mapping[str, Any]) -> str:
    allowed = _may_be_passed_on(document)
    words = {False: "may not be passed on", None: "not known to bcseg: read it"}.get(allowed, "")
    licence = quoted(document.get("licence") or "unknown")
    return (
        f"<dt>{quoted(_short_title(_title(document)))}</dt>"
        f"<dd>{licence} {tag(words, 'closed') if words else ''}</dd>"
    )


def _title(document: Mapping[str, Any]) -> str:
    return str(document.get("title") or document["dataset"])


def _may_be_passed_on(document: Mapping[str, Any]) -> bool | None:
    """Tell whether a dataset may be passed on; None where bcseg does not know it."""
    known = adapters.ADAPTERS.get(str(document["dataset"]))
    return None if known is None else not known.INFO.restricted


def _contents(content: Content) -> str:
    hashes = [
        f"{folder.name} {document['content_sha256']}"
        for folder in content.folders
        if (document := folder.document()).get("content_sha256")
    ]
    return "".join(f"<p>content sha256 {quoted(line)}</p>" for line in hashes)


# ------------------------------------------------------------------------- summary


def _summary(content: Content) -> str:
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
        quoted(_short_title(one.title)),
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
    title = quoted(_short_title(one.title))
    return f"<details><summary>{title}: published numbers</summary>{body}</details>"


# ------------------------------------------------------------------------- plots


def _plots(content: Content, problems: Sequence[Row]) -> str:
    lesions = [
        (entry.dataset, lesion)
        for entry in sorted(content.everything, key=lambda entry: entry.dataset)
        for lesion in entry.lesions
    ]
    square: dict[str, list[float]] = {}
    pixels: dict[str, list[float]] = {}
    scores: dict[str, dict[str, list[float]]] = {}
    flags: Counter[str] = Counter()
    for dataset, lesion in lesions:
        known, counted = number(lesion.row["area_mm2"]), number(lesion.row["area_px"])
        if known is not None:
            square.setdefault(dataset, []).append(known)
        elif counted is not None:
            pixels.setdefault(dataset, []).append(counted)
        for name, value in lesion.scores.items():
            scores.setdefault(name, {}).setdefault(dataset, []).append(value)
        flags.update(lesion.flags)
    total = content.statistics.total
    in_masks = {kind: n.in_mask for kind, n in total.kinds.items() if n.in_mask}
    plots = [
        histograms(square, "Lesion area", "mm² (the line is the median)"),
        histograms(pixels, "Lesion area, pixel size unknown", "pixels (the line is the median)"),
        bars(in_masks, "Lesions in masks, by kind"),
        *(bars(total.columns[name], _COUNTED[name]) for name in COLUMNS),
        bars(dict(flags.most_common()), "Flags of lesions"),
        bars(dict(Counter(row["code"] for row in problems).most_common()), "Problems, by code"),
    ]
    distributions = [
        boxes(rows, name) for name, rows in sorted(scores.items()) if name not in RANKS
    ]
    told = (
        '<h3>Scores</h3><p class="lead">Each box is the middle half of a dataset\'s lesions, the '
        "line in it their median; the thin line goes from the 5th to the 95th percentile.</p>"
        f'<div class="plots small">{"".join(distributions)}</div>'
        if distributions
        else ""
    )
    return f'<div class="plots">{"".join(plots)}</div>{told}'


_COUNTED = {
    "laterality": "Pairs, by side",
    "view": "Pairs, by view",
    "birads": "Pairs, by BI-RADS category",
    "density": "Pairs, by breast density",
    "pathology": "Pairs, by pathology",
    "split": "Pairs, by published part",
}


# ------------------------------------------------------------------------- problems


def _problems(content: Content, problems: Sequence[Row]) -> str:
    if not problems:
        return "<p>None: no record failed, nothing was warned about.</p>"
    counts = Counter((row["dataset"], row["severity"], row["code"]) for row in problems)
    rows = [
        (quoted(dataset), _colour(severity), quoted(code), f"{count:,}")
        for (dataset, severity, code), count in sorted(counts.items())
    ]
    listed = [
        (
            quoted(row["record_id"] or row["source"]),
            quoted(row["dataset"]),
            _colour(row["severity"]),
            quoted(row["code"]),
            quoted(row["message"]),
        )
        for row in problems[:_LISTED]
    ]
    more = len(problems) - len(listed)
    rest = f"<p>And {more:,} more in problems.csv.</p>" if more else ""
    one_by_one = table(("record", "dataset", "severity", "code", "message"), listed)
    return (
        f"{table(('dataset', 'severity', 'code', '#count'), rows)}"
        f"<details{' open' if len(problems) <= _FEW else ''}><summary>One by one</summary>"
        f"{one_by_one}{rest}</details>"
    )


def _colour(severity: str) -> str:
    style = severity if severity in ("failed", "warning") else "soft"
    return f'<span class="{style}">{quoted(severity)}</span>'


# ------------------------------------------------------------------------- finding pairs


def _order(content: Content) -> str:
    ranked = any(entry.rank is not None for entry, _ in content.shown)
    by = (
        "The least precise first (precision_rank: 0 to 1 within a dataset, 1 = most precise; of "
        "several lesions the worst)."
        if ranked
        else "The smallest mask first (bcseg score gives every lesion a precision rank)."
    )
    return (
        f"{by} The window of an image is the 1st to 99.8th percentile of the breast, that of a "
        "magnified lesion its own. The line runs along the edges of the mask's pixels."
    )


def _controls(content: Content) -> str:
    shown = content.shown
    names = dict.fromkeys(name for entry, _ in shown for name in values(entry))
    ranks = [name for name in RANKS if name in names]
    sizes = [name for name in ("mask_area_mm2", "mask_pixels") if name in names]
    others = sorted(names.keys() - {*ranks, *sizes})
    order = [PRECISION] if PRECISION in ranks else []
    order += [name for name in (*sizes, *ranks, *others) if name not in order]
    found = sorted({mark for entry, pictures in shown for mark in marks(entry, pictures)})
    fields = [
        _select("by", "Sort by", [(name, name) for name in order]),
        _select("direction", "Direction", [("", "lowest first"), ("falling", "highest first")]),
        _filter("dataset", "Dataset", sorted({entry.dataset for entry, _ in shown})),
        _filter("kind", "Kind", sorted({kind for entry, _ in shown for kind in kinds(entry)})),
        _filter("mark", "Flag or problem", found),
    ]
    if any(entry.sample for entry, _ in shown):
        fields.append(_filter("sample", "Sample", ["worst", "random"]))
    return (
        '<form id="controls" hidden aria-label="Sort and filter the pairs">'
        f"{''.join(fields)}"
        '<label>Text <input type="search" name="text" autocomplete="off" '
        'placeholder="id, patient, pathology"></label>'
        '<button type="reset">Reset</button>'
        '<span class="soft keys"><kbd>/</kbd> text <kbd>j</kbd> <kbd>k</kbd> step</span>'
        '<output name="count" aria-live="polite"></output></form>'
    )


def _filter(name: str, title: str, words: Iterable[str]) -> str:
    return _select(name, title, [("", "all"), *((word, word) for word in words)])


def _select(name: str, title: str, options: Iterable[tuple[str, str]]) -> str:
    listed = "".join(
        f'<option value="{quoted(value)}">{quoted(words)}</option>' for value, words in options
    )
    return f'<label>{title} <select name="{name}">{listed}</select></label>'
