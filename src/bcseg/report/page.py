"""The page: licences, counts, plots, problems and the pairs, in one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from string import Template
from typing import Any

from bcseg import __version__, adapters, pairs
from bcseg.pairs import PairsFolder, checked_rows
from bcseg.report.cards import kinds, marks
from bcseg.report.charts import charts, scores
from bcseg.report.data import PRECISION, SIZES, Content
from bcseg.report.markup import listed, quoted, short_title, tag
from bcseg.report.summary import problems, summary
from bcseg.scores.table import COLUMNS, LESS_IS_PRECISE, MORE_IS_PRECISE, RANKS
from bcseg.text import counted


def page(content: Content, cards: Iterable[str]) -> bytes:
    """Return the page as UTF-8."""
    style, script = _part("style.css"), _part("page.js")
    rows = [row for folder in content.folders for row in checked_rows(folder, pairs.PROBLEMS)]
    names = ", ".join(dict.fromkeys(short_title(one.title) for one in content.statistics.datasets))
    text = Template(_part("template.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'",
        paper="closed" if restricted(content.folders) else "open",
        title=quoted(f"Pairs of {names}"),
        lead=_lead(content),
        licences=_licences(content),
        notes=listed((*content.statistics.notes, *content.notes)),
        summary=summary(content),
        plots=charts(content, rows),
        scores=scores(content),
        problems=problems(content, rows),
        order=_order(content),
        controls=_controls(content),
        cards="\n".join(cards),
        version=quoted(__version__),
        contents=_contents(content),
        style=style,
        script=script,
    )
    return text.encode(errors="backslashreplace")


def _part(name: str) -> str:
    return resources.files("bcseg.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


# ------------------------------------------------------------------------- the top


def _lead(content: Content) -> str:
    datasets = len(content.statistics.datasets)
    lesions = sum(len(entry.lesions) for entry in content.everything)
    return (
        f"{counted(len(content.everything), 'pair')} with {counted(lesions, 'lesion')} from "
        f"{counted(datasets, 'dataset')}. {_shown(content)}"
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
    cited = listed(
        ". ".join(str(d[key]).rstrip(".") for key in ("citation", "url") if d.get(key))
        for d in documents.values()
    )
    warning = (
        "<strong>Keep this page to yourself: it may not be passed on.</strong>"
        f"<p>It shows images of {quoted(', '.join(restricted(content.folders)))}.</p>"
        if closed
        else "<strong>Licences</strong>"
    )
    style = "licence restricted" if closed else "licence"
    return (
        f'<section class="{style}" aria-label="Licences">{warning}<dl>{rows}</dl>'
        f"<details><summary>How to cite</summary>{cited}</details></section>"
    )


def restricted(folders: Iterable[PairsFolder]) -> tuple[str, ...]:
    """Return the titles of datasets that may not be passed on, or of which bcseg knows nothing."""
    documents = [folder.document() for folder in folders]
    closed = (short_title(_title(d)) for d in documents if _may_be_passed_on(d) is not True)
    return tuple(dict.fromkeys(closed))


def _licence(document: Mapping[str, Any]) -> str:
    allowed = _may_be_passed_on(document)
    words = {False: "may not be passed on", None: "not known to bcseg: read it"}.get(allowed, "")
    licence = quoted(document.get("licence") or "unknown")
    return (
        f"<dt>{quoted(short_title(_title(document)))}</dt>"
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


# ------------------------------------------------------------------------- finding pairs


def _order(content: Content) -> str:
    ranked = any(entry.worst(content.sort) is not None for entry, _ in content.shown)
    if not ranked:
        by = "The smallest mask first (bcseg score gives every lesion a precision rank)."
    elif content.sort == PRECISION:
        by = (
            "The least precise first (precision_rank: 0 to 1 within a dataset, 1 = most precise; "
            "of several lesions the worst)."
        )
    else:
        which = "highest" if content.sort in LESS_IS_PRECISE else "lowest"
        by = f"The {which} {quoted(content.sort)} first; of several lesions the worst."
    return (
        f"{by} The window of an image is the 1st to 99th percentile of the breast, that of a "
        "magnified lesion its own. The line runs along the edges of the mask's pixels."
    )


def _controls(content: Content) -> str:
    shown = content.shown
    found = Counter(mark for entry, pictures in shown for mark in marks(entry, pictures))
    flags = {mark: count for mark, count in found.items() if ":" not in mark}
    unmarked = sum(not marks(entry, pictures) for entry, pictures in shown)
    groups = {
        "Flags": flags,
        "Problems": {mark: count for mark, count in found.items() if mark not in flags},
        "": {"none": unmarked},
    }
    fields = [
        _sorting(content),
        '<label>Direction <select name="direction"><option value="">worst first</option>'
        '<option value="best">best first</option></select></label>',
        _filter("dataset", "Dataset", {"": Counter(entry.dataset for entry, _ in shown)}),
        _filter("kind", "Kind", {"": Counter(kind for entry, _ in shown for kind in kinds(entry))}),
        _filter("mark", "Flag or problem", groups),
    ]
    if any(entry.sample for entry, _ in shown):
        fields.append(_filter("sample", "Sample", {"": Counter(e.sample for e, _ in shown)}))
    return (
        '<form id="controls" hidden autocomplete="off" aria-label="Sort and filter the pairs">'
        f"{''.join(fields)}"
        '<label>Text <input type="search" name="text" placeholder="id, patient, pathology"></label>'
        '<button type="reset">Reset</button>'
        '<span class="soft keys"><kbd>/</kbd> text <kbd>j</kbd> <kbd>k</kbd> step</span>'
        '<output name="count" aria-live="polite"></output></form>'
    )


def _sorting(content: Content) -> str:
    """Return the choice of a score; `data-worst`: which end of it is the worse, if one is."""
    found = {name for entry, _ in content.shown for name in entry.values}
    order = [*reversed(RANKS[1:]), *SIZES, *(name for name in COLUMNS if name not in RANKS)]
    order = [name for name in (*order, *sorted(found - {*order})) if name in found]
    chosen = content.sort if content.sort in order else next(iter(order), "")
    options = []
    for name in order:
        worst = "high" if name in LESS_IS_PRECISE else "low" if name in MORE_IS_PRECISE else ""
        selected = " selected" if name == chosen else ""
        options.append(
            f'<option value="{quoted(name)}" data-worst="{worst}"{selected}>{quoted(name)}</option>'
        )
    return f'<label>Sort by <select name="by">{"".join(options)}</select></label>'


def _filter(name: str, title: str, groups: Mapping[str, Mapping[str, int]]) -> str:
    """Return a choice among words, each with how many pairs it has; groups have a heading."""
    parts = ['<option value="">all</option>']
    for heading, words in groups.items():
        options = "".join(
            f'<option value="{quoted(word)}">{quoted(word.partition(":")[2] or word)} '
            f"({count:,})</option>"
            for word, count in sorted(words.items())
        )
        if heading and options:
            options = f'<optgroup label="{heading}">{options}</optgroup>'
        parts.append(options)
    return f'<label>{title} <select name="{name}">{"".join(parts)}</select></label>'
