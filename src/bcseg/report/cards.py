"""A pair on the page: its pictures, its facts, its scores; everything from a table is escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bcseg.report.charts import flag_meaning
from bcseg.report.data import (
    PRECISION,
    RANKS,
    SIZES,
    UNITS,
    Box,
    Entry,
    LesionEntry,
    Picture,
    Pictures,
    number,
)
from bcseg.report.markup import quoted, tag
from bcseg.report.plots import short

CROPS = 4  # lesions of a pair that are shown magnified: the worst
_LARGEST_FRAME = 0.3  # of the picture: larger lesions need none
_LONGEST_LABEL = 4  # letters
_LOW = 0.2  # a rank below this is drawn in another colour
UNREADABLE = "picture_unreadable"
# what ranks and flags look at first: shown without being asked
_HEADLINE = (
    *("ellipse_iou", "straight_share", "dp_per_perim", "contour_detail", "tongue"),
    *("edge_offset", "edge_percentile", "weak_share", "edge_gain", "opt_margin"),
)


def marks(entry: Entry, pictures: Pictures) -> list[str]:
    """Return the words that a pair can be filtered by: its flags, the codes of its problems."""
    flags = {flag for lesion in entry.lesions for flag in lesion.flags}
    codes = {f"problem:{row['code']}" for row in entry.problems}
    codes |= {f"problem:{UNREADABLE}"} if pictures.failure else set()
    return [*sorted(flags), *sorted(codes)]


def card(entry: Entry, pictures: Pictures, place: int, sort: str = PRECISION) -> str:
    """Return a pair as an <article>; `place` counts from 1 in the order of the page, by `sort`."""
    data = {
        "place": place,
        "dataset": entry.dataset,
        "kinds": " ".join(kinds(entry)),
        "marks": " ".join(marks(entry, pictures)),
        "sample": entry.sample,
        "values": json.dumps(entry.values, separators=(",", ":")),
        "text": " ".join(_searched(entry, pictures)).lower(),
    }
    attributes = " ".join(f'data-{name}="{quoted(value)}"' for name, value in data.items())
    return (
        f'<article class="card" id="pair-{place}" aria-labelledby="name-{place}" {attributes}>\n'
        f"{_pictures(entry, pictures, place)}\n{_facts(entry, place, sort)}\n</article>"
    )


def kinds(entry: Entry) -> list[str]:
    """Return the kinds of the lesions in the mask."""
    return sorted({lesion.row["kind"] for lesion in entry.lesions} | {*entry.row["kinds"].split()})


def _searched(entry: Entry, pictures: Pictures) -> Iterator[str]:
    row = entry.row
    yield from (entry.dataset, f"{entry.dataset}_{entry.record_id}", entry.record_id)
    columns = ("patient_id", "laterality", "view", "split", "pathology", "annotator", "notes")
    yield from (row[column] for column in columns)
    yield f"birads:{row['birads']}" if row["birads"] else ""
    yield from kinds(entry)
    yield from marks(entry, pictures)
    yield from (problem["message"] for problem in entry.problems)
    yield pictures.failure


# ------------------------------------------------------------------------- pictures


def _pictures(entry: Entry, pictures: Pictures, place: int) -> str:
    if pictures.whole is None:
        return f'<p class="failure">This pair cannot be shown: {quoted(pictures.failure)}</p>'
    name = f"{entry.dataset} {entry.record_id}"
    label = f"{name}: the image with the contour of the mask"
    whole = _svg(pictures.whole, label, "", _frames(entry, pictures.whole, pictures.frames))
    lesions = [
        _lesion(entry, number, picture, f"{place}-{number}")
        for number, picture in enumerate(pictures.crops)
    ]
    first = "".join(lesions[:1]) or '<p class="soft">The mask is empty.</p>'
    others = f'<div class="others">{"".join(lesions[1:])}</div>' if lesions[1:] else ""
    rest = _not_magnified(entry.lesions[max(len(pictures.crops), 1) :])
    return f"<figure>{whole}</figure>\n<div>{first}{others}{rest}</div>"


def _frames(entry: Entry, whole: Picture, frames: Sequence[Box]) -> str:
    """Return where the magnified lesions are, as SVG; of several, with their ids."""
    most = whole.width * whole.height * UNITS**2 * _LARGEST_FRAME
    names = [lesion.lesion_id for lesion in entry.lesions] if len(frames) > 1 else []
    parts = []
    for number_, (x, y, width, height) in enumerate(frames):
        if width * height > most:
            continue
        parts.append(f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}"/>')
        name = names[number_] if number_ < len(names) else ""
        if 0 < len(name) <= _LONGEST_LABEL:
            parts.append(f'<text class="name" x="{x + 8}" y="{y - 10}">{quoted(name)}</text>')
    return "".join(parts)


def _not_magnified(lesions: Sequence[LesionEntry]) -> str:
    if not lesions:
        return ""
    listed = ", ".join(f"{one.lesion_id} ({one.row['kind']})" for one in lesions)
    return (
        f'<details class="soft"><summary>{len(lesions)} more, not magnified</summary>'
        f"{quoted(listed)}</details>"
    )


def _lesion(entry: Entry, number_: int, picture: Picture, key: str) -> str:
    """Return a lesion with its contour, without it, and what is known about it."""
    lesion = entry.lesions[number_] if number_ < len(entry.lesions) else None
    title = _title(lesion) if lesion else "lesion"
    name = f"{entry.record_id}: {title}, magnified"
    plain = (
        f'<svg class="picture" role="img" aria-label="{quoted(name)}, without contour" '
        f'viewBox="{_view(picture)}"><use href="#i{key}"/></svg>'
    )
    return (
        f'<figure class="lesion">{_svg(picture, f"{name}, with contour", f"i{key}")}{plain}'
        f"<figcaption>{_caption(title, lesion)}</figcaption>{_scores(lesion, number_)}</figure>"
    )


def _title(lesion: LesionEntry) -> str:
    kind = lesion.row["kind"]
    return f"lesion {lesion.lesion_id}" + (f" ({kind})" if kind != lesion.lesion_id else "")


def _svg(picture: Picture, label: str, key: str, over: str = "") -> str:
    source = base64.b64encode(picture.data).decode("ascii")
    style = ' class="pixelated"' if picture.pixelated else ""
    mark = f' id="{key}"' if key else ""
    return (
        f'<svg class="picture" role="img" aria-label="{quoted(label)}" viewBox="{_view(picture)}">'
        f'<image{mark}{style} width="{picture.width * UNITS}" height="{picture.height * UNITS}" '
        f'href="data:image/webp;base64,{source}"/>'
        f'<path class="outline" d="{picture.outline}"/>{over}</svg>'
    )


def _view(picture: Picture) -> str:
    return f"0 0 {picture.width * UNITS} {picture.height * UNITS}"


def _caption(title: str, lesion: LesionEntry | None) -> str:
    if lesion is None:
        return quoted(title)
    row = lesion.row
    parts = [f"<strong>{quoted(title)}</strong>"]
    words = [area(row["area_mm2"], row["area_px"])]
    words += [f"precision {lesion.rank:.2f}"] if lesion.rank is not None else []
    words += [f"BI-RADS {row['birads']}" if row["birads"] else "", row["pathology"]]
    words += [row["geometry"]]
    parts += [f"<span>{quoted(word)}</span>" for word in words if word]
    parts += [tag(flag, "flag", flag_meaning(flag)) for flag in lesion.flags]
    return " ".join(parts)


def area(square_mm: str, pixels: str) -> str:
    """Return an area in mm2 if it is known, and in pixels."""
    known, counted = number(square_mm), number(pixels)
    parts = [f"{short(known)} mm²"] if known is not None else []
    parts += [f"{counted:,.0f} px"] if counted is not None else []
    return ", ".join(parts) or "area unknown"


def _scores(lesion: LesionEntry | None, number_: int) -> str:
    """Return the scores of a lesion; of the first, those that matter most are open to view."""
    found = {n: v for n, v in lesion.scores.items() if n not in RANKS} if lesion else {}
    headline = {n: found[n] for n in _HEADLINE if n in found} if number_ == 0 else {}
    others = {n: v for n, v in found.items() if n not in headline}
    told = f'<dl class="scores">{_numbers(headline)}</dl>' if headline else ""
    if not others:
        return told
    words = f"{len(others)} more scores" if headline else f"{len(others)} scores"
    return (
        f"{told}<details><summary>{words}</summary>"
        f'<dl class="scores">{_numbers(others)}</dl></details>'
    )


def _numbers(scores: Mapping[str, float]) -> str:
    return "".join(
        f"<div><dt>{quoted(name)}</dt><dd>{short(value)}</dd></div>"
        for name, value in scores.items()
    )


# ------------------------------------------------------------------------- facts


def _facts(entry: Entry, place: int, sort: str) -> str:
    row = entry.row
    says = [
        f'<li class="{_severity(one)}">{quoted(one["code"])}: {quoted(one["message"])}</li>'
        for one in entry.problems
    ]
    says += [f'<li class="soft">{quoted(row["notes"])}</li>'] if row["notes"] else []
    said = f'<ul class="says">{"".join(says)}</ul>' if says else ""
    return (
        '<div class="facts">'
        f'<span class="place">{place}{f", {entry.sample}" if entry.sample else ""}</span>'
        f'<h3 id="name-{place}"><a href="#pair-{place}">{quoted(entry.record_id)}</a></h3>'
        f'<ul class="tags">{"".join(f"<li>{one}</li>" for one in _tags(entry))}</ul>'
        f"{_sorted_by(entry, sort)}{_ranks(entry)}<dl>{_terms(_about(entry))}</dl>{said}</div>"
    )


def _sorted_by(entry: Entry, sort: str) -> str:
    """Return the value by which a pair stands where it does, unless it is shown anyhow."""
    value = None if sort in (*RANKS, *SIZES) else entry.worst(sort)
    words = "" if value is None else f"{quoted(sort)} <strong>{short(value)}</strong>"
    return f'<p class="by"{"" if words else " hidden"}>{words}</p>'


def _severity(row: Mapping[str, str]) -> str:
    return "failed" if row["severity"] == "failed" else "warning"


def _tags(entry: Entry) -> list[str]:
    row = entry.row
    words = [entry.dataset, f"{row['laterality']} {row['view']}".strip(), *kinds(entry)]
    words += [f"BI-RADS {row['birads']}" if row["birads"] else "", row["pathology"]]
    flags = dict.fromkeys(flag for lesion in entry.lesions for flag in lesion.flags)
    codes = dict.fromkeys(one["code"] for one in entry.problems)
    return [
        *(tag(word) for word in words if word),
        *(tag(flag, "flag", flag_meaning(flag)) for flag in flags),
        *(tag(code, "bad") for code in codes),
    ]


def _ranks(entry: Entry) -> str:
    """Return the ranks of the worst lesion as bars."""
    known = [lesion for lesion in entry.lesions if lesion.rank is not None]
    worst = min(known, key=lambda lesion: lesion.rank or 0.0) if known else None
    ranks = [(name, worst.scores[name]) for name in RANKS if name in worst.scores] if worst else []
    if not ranks:
        return ""
    lines = []
    for name, value in ranks:
        width = round(min(max(value, 0.0), 1.0) * 100, 1)
        style = "fill low" if value < _LOW else "fill"
        title = "precision" if name == PRECISION else name.removesuffix("_rank")
        lines.append(
            f"<span>{title}</span>"
            '<svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="{style}" width="{width}" height="4"/></svg><span>{value:.2f}</span>'
        )
    return f'<div class="ranks">{"".join(lines)}</div>'


def _about(entry: Entry) -> Iterable[tuple[str, str]]:
    row = entry.row
    spacing = number(row["pixel_spacing_mm"])
    size = f"{row['width']} × {row['height']} px, {row['bit_depth']} bit"
    yield "mask", area(row["mask_area_mm2"], row["mask_pixels"])
    yield "lesions", row["n_lesions"]
    yield "image", size + (f", {short(spacing)} mm a pixel" if spacing else "")
    yield "patient", ", ".join(word for word in (row["patient_id"], _age(row["age"])) if word)
    yield "density", row["density"]
    yield "split", row["split"]
    yield "annotator", row["annotator"]
    yield "source", row["source_image"]


def _age(age: str) -> str:
    return f"age {age}" if age else ""


def _terms(terms: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<dt>{name}</dt><dd class="{name}">{quoted(words).replace("/", "/<wbr>")}</dd>'
        for name, words in terms
        if words
    )
