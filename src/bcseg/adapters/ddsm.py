"""DDSM, the original Digital Database for Screening Mammography: four scanned films a case.

Layout, as the FTP server had it:

    cases/cancers/cancer_01/case3013/
      B-3013-1.ics                  the case: sizes of the films, scanner, age, density
      B_3013_1.RIGHT_MLO.LJPEG      one film, lossless JPEG
      B_3013_1.RIGHT_MLO.OVERLAY    its outlines, of abnormal films only
      TAPE_B_3013_1.COMB.16_PGM     a small picture of all four: not read

Folder names are not needed. Users convert the films: B_3013_1.RIGHT_MLO.png (or .LJPEG.png, .tif)
in the place of the LJPEG, on the same grid. CBIS-DDSM holds films of the same people under other
numbers: the two must not stand on both sides of a split.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bcseg.adapters.base import (
    Info,
    Read,
    ReadOptions,
    ending,
    images_by_id,
    layout_of,
    leaf,
    pathology_word,
    same_content,
    side_of,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.overlay import Abnormality, FilmFacts, read_case, read_overlay
from bcseg.record import Failed, Index, LeftOut, Lesion, Polygon, Record, Shape, Unreadable
from bcseg.source import Source, read

INFO = Info(
    name="ddsm",
    title="DDSM (Digital Database for Screening Mammography)",
    url="https://www.eng.usf.edu/cvprg/Mammography/Database.html",
    licence="No licence is stated; free for research with citation (University of South Florida)",
    citation=(
        "Heath M, Bowyer K, Kopans D, et al. The Digital Database for Screening Mammography."
        " Proceedings of the Fifth International Workshop on Digital Mammography, 212-218 (2001)."
        " Medical Physics Publishing, ISBN 1-930524-00-5"
    ),
    restricted=True,  # no licence is stated
    layout=(
        "cases/cancers/cancer_01/case3013/B-3013-1.ics\n"
        "cases/cancers/cancer_01/case3013/B_3013_1.RIGHT_MLO.LJPEG\n"
        "cases/cancers/cancer_01/case3013/B_3013_1.RIGHT_MLO.OVERLAY"
    ),
    # DDSM_README of August 2000: 2,620 cases of four films
    published={"images": 10480, "patients": 2620},
    default_kinds=("mass",),
    aliases=("ddsm-original",),
)

_FILM = re.compile(
    r"([A-D])[_-](\d{4})[_-](\d+)[._](LEFT|RIGHT)_(CC|MLO)((?:\.[A-Za-z0-9]+)+)", re.IGNORECASE
)
_CASE = re.compile(r"([A-D])[_-](\d{4})[_-](\d+)\.ics", re.IGNORECASE)
_OVERVIEW = re.compile(r"TAPE_.*\.(16_)?PGM", re.IGNORECASE)
_ORIGINAL = (".ljpeg",)
_ENDINGS = (*_ORIGINAL, ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".pgm", ".bmp")

# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {
    "as published: LJPEG": r"\.ljpeg$",
    "converted images": r"\.(png|tiff?|jpe?g|pgm|bmp)$",
}


@dataclass(slots=True)
class _Case:
    """What .ics files say: films by record id, and the words of their case."""

    films: dict[str, FilmFacts] = field(default_factory=dict)
    words: dict[str, Mapping[str, str]] = field(default_factory=dict)
    rows: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[str, int] = field(default_factory=dict)  # lines about films in each file
    failed: list[Failed] = field(default_factory=list)


def claims(names: Sequence[str]) -> int:
    """Return how many names look like DDSM's own."""
    return sum(bool(_FILM.fullmatch(leaf(n)) or _CASE.fullmatch(leaf(n))) for n in names)


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of the archive; raises ArchiveError if it has no image or no outlines."""
    names = source.names()
    images, left_out = images_by_id(names, _image_id, _ORIGINAL)
    if not images:
        raise ArchiveError(
            "no image named like B_3013_1.RIGHT_MLO.LJPEG (or .png)", where=str(source.location)
        )
    overlays, same = _overlays(source, names)
    cases = _cases(source, names)
    if not overlays and not cases.films:
        raise ArchiveError(
            "no outline named like B_3013_1.RIGHT_MLO.OVERLAY, and no .ics file",
            where=str(source.location),
            hint="put them beside the images: without them every film would seem to be normal",
        )
    raws = _raws(names)
    films = sorted(images.keys() | overlays.keys() | cases.films.keys() | raws.keys())
    records = tuple(
        _record(film, images.get(film, ""), overlays.get(film, []), raws[film], cases)
        for film in films
    )
    overviews = [
        LeftOut("image_variant", "a small picture of all four films", (name,))
        for name in names
        if _OVERVIEW.fullmatch(leaf(name))
    ]
    return Index(
        records=records,
        layout=layout_of(records, _LAYOUTS),
        tables=cases.sizes,
        documents=tuple(name for name in names if name in cases.sizes or _is_document(name)),
        left_out=(*left_out, *same, *overviews),
        failed=tuple(cases.failed),
    )


def lesions(record: Record, read: Read, options: ReadOptions) -> tuple[Lesion, ...]:
    """Return the abnormalities of the overlays; raises RecordError if one cannot be read."""
    return tuple(
        _lesion(one, name)
        for name in record.annotations
        for one in read_overlay(read(name), name, options.limits)
    )


def _film_id(name: str) -> str:
    """Return the record id of a film from the name of a file about it: "B_3013_1_RIGHT_MLO"."""
    match = _FILM.fullmatch(leaf(name))
    return "_".join(match.groups()[:5]).upper() if match else ""


def _image_id(name: str) -> str:
    return _film_id(name) if ending(name) in _ENDINGS else ""


def _is_document(name: str) -> bool:
    return "readme" in leaf(name).lower() or ending(name) in (".txt", ".html", ".pdf")


def _raws(names: Sequence[str]) -> defaultdict[str, list[str]]:
    """Return the films as the authors' program unpacks them: words without a header."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        if _film_id(name) and name.lower().endswith((".ljpeg.1", ".raw")):
            found[_film_id(name)].append(name)
    return found


def _overlays(source: Source, names: Sequence[str]) -> tuple[dict[str, list[str]], list[LeftOut]]:
    """Return the overlays of each film, without exact copies.

    Of two different ones neither is believed: their lesions have the same ids.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    left_out = []
    for name in names:
        film = _film_id(name) if ending(name) == ".overlay" else ""
        if not film:
            continue
        first = next((one for one in found[film] if same_content(source, one, name)), "")
        if first:
            message = f"the same outlines as {first}"
            left_out.append(LeftOut("duplicate_contour", message, (name,), film, "contour"))
        else:
            found[film].append(name)
    return dict(found), left_out


def _cases(source: Source, names: Sequence[str]) -> _Case:
    """Read all .ics files; of two about one film the first counts."""
    cases = _Case()
    for name in names:
        match = _CASE.fullmatch(leaf(name))
        if not match:
            continue
        try:
            case = read_case(read(source, name), name)
        except RecordError as error:
            cases.failed.append(Failed(error.code, str(error.args[0]), (name,)))
            continue
        cases.sizes[name] = len(case.films)
        for number, facts in enumerate(case.films, start=1):
            film = "_".join((*match.groups(), facts.film)).upper()
            cases.films.setdefault(film, facts)
            cases.words.setdefault(film, case.words)
            cases.rows[film].append(f"{name}#{number}")
    return cases


def _record(
    film: str, image: str, overlays: Sequence[str], raws: Sequence[str], cases: _Case
) -> Record:
    site, case, _, side, view = film.split("_")
    facts = cases.films.get(film)
    words = cases.words.get(film, {})
    suspicious = {}
    if facts and facts.overlay and not overlays:
        suspicious["*"] = "the .ics file announces an overlay"
    digitizer = words.get("DIGITIZER", "")
    return Record(
        record_id=film,
        image=image,
        patient_id=f"{site}_{case}",
        group=f"ddsm:{site}_{case}",
        laterality=side_of(side),
        view=view,
        age=_number(words.get("PATIENT_AGE", "")),
        density=_number(words.get("DENSITY", "")),
        film=True,
        pixel_spacing_mm=facts.spacing_mm if facts else None,
        expected_size=facts.size if facts else None,
        annotations=tuple(overlays),
        rows=tuple(cases.rows[film]),
        others=tuple((name, "image_variant") for name in raws),
        left_out="" if image else "no_image",
        free_of=("*",) if overlays or (facts and facts.overlay is False) else (),
        suspicious=suspicious,
        attributes={"digitizer": digitizer} if digitizer else {},
    )


def _number(text: str) -> str:
    """Return a whole number as text; "" for zeros, which mean that it is unknown."""
    return str(int(text)) if re.fullmatch(r"0*[1-9][0-9]{0,2}", text) else ""


def _lesion(one: Abnormality, name: str) -> Lesion:
    sorts = [words.split(" ", 1)[0] for words in one.types if words]
    shape: Shape = Polygon(one.boundary, closed=one.closed)
    if one.damage:
        shape = Unreadable("unreadable_contour", one.damage, any_kind=not sorts)
    announced = one.fields.get("TOTAL_OUTLINES", "")
    attributes = {
        "lesion_type": "; ".join(one.types),
        "subtlety": _number(one.fields.get("SUBTLETY", "")),
        "cores": str(one.cores) if one.cores else "",
        "outlines_announced": announced if announced != str(1 + one.cores) else "",
    }
    return Lesion(
        lesion_id=str(one.number),
        kind=_kind(sorts),
        label=", ".join(sorts),
        shape=shape,
        source=f"{name}#{one.number}",
        pathology=pathology_word(one.fields.get("PATHOLOGY", "")),
        birads=_number(one.fields.get("ASSESSMENT", "")),
        attributes={key: text for key, text in attributes.items() if text},
    )


def _kind(sorts: Sequence[str]) -> str:
    """Return the kind of an abnormality: one outline round a mass with calcifications is a mass."""
    if "MASS" in sorts:
        return "mass"
    return "calcification" if "CALCIFICATION" in sorts else "finding"
