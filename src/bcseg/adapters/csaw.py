"""CSAW-S: PNG mammograms, one PNG mask for each class, three annotators for the test part.

Layout, as Zenodo delivers it (in the zip below CSAW-S/CSAW-S/):

    CsawS/anonymized_dataset/012/012_0.png               training image: <patient>_<n>.png
                                 012_0_cancer.png        its masks, by expert 1: <..>_<class>.png
          test_data/anonymized_dataset/011/011_1.png     test images
          test_data/annotator_1|2|3/011/011_1_cancer.png test masks of three annotators
          training_random_splits.json                    not needed

Any value above zero is marked. A mask that is missing, or blank, says that the class is not in
the image. Patient numbers of the two parts collide: they are different people.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bcseg.adapters.base import Info, ReadOptions, layout_of, leaf, listed_lesions, spelling
from bcseg.errors import ArchiveError
from bcseg.record import LESION_KINDS, Index, Lesion, Raster, Record
from bcseg.source import Source

INFO = Info(
    name="csaw",
    title="CSAW-S",
    url="https://doi.org/10.5281/zenodo.4030660",
    licence="CC BY-NC-ND 4.0: changed masks may not be passed on",
    citation=(
        "Matsoukas C, Hernandez AB, Liu Y, et al. Adding seemingly uninformative labels helps in"
        " low data regimes. ICML (2020). CSAW-S, Zenodo, doi:10.5281/zenodo.4030660"
    ),
    restricted=True,
    layout=(
        "CsawS/anonymized_dataset/012/012_0.png\n"
        "CsawS/anonymized_dataset/012/012_0_cancer.png\n"
        "CsawS/test_data/anonymized_dataset/011/011_1.png\n"
        "CsawS/test_data/annotator_1/011/011_1_cancer.png"
    ),
    # readme of the release: 312 training and 26 test images
    published={"images": 338, "patients": 172, "train_images": 312, "test_images": 26},
    default_kinds=("cancer",),
    aliases=("csaw-s",),
    options=("annotator",),
)

# word of the file name -> kind; the order is the one of the authors' code
_CLASSES = {
    "cancer": "cancer",
    "calcifications": "calcification",
    "axillary_lymph_nodes": "lymph_node",
    "thick_vessels": "thick_vessel",
    "foreign_object": "foreign_object",
    "skin": "skin",
    "nipple": "nipple",
    "text": "text",
    "non-mammary_tissue": "non_mammary_tissue",
    "pectoral_muscle": "pectoral_muscle",
    "mammary_gland": "mammary_gland",
    "unclassified": "unclassified",
}
_FILE = re.compile(r"(\d+)_(\d+)(?:_(.+))?\.png", re.IGNORECASE)
_WORDS = {spelling(word): word for word in _CLASSES}
_ANNOTATOR = re.compile(r"(?:^|(?<=/))annotator[_ -]?(\d)/", re.IGNORECASE)
_TEST = re.compile(r"(?:^|/)test[_ -]?data/", re.IGNORECASE)
_DOCUMENTS = (".json", ".md", ".txt", ".pdf", ".csv")


@dataclass(slots=True)
class _Film:
    """The files of one image: itself, its variants, and masks by annotator and class word."""

    image: str = ""
    masks: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    others: list[tuple[str, str]] = field(default_factory=list)


# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {"as published": r"anonymized_dataset/"}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like CSAW-S's own."""
    count = 0
    for name in names:
        match = _FILE.fullmatch(leaf(name))
        if match and name.split("/")[-2:-1] == [match[1]]:
            count += 1
    return count


lesions = listed_lesions


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of both parts; raises ArchiveError if there is no image."""
    films = _films(source.names())
    if not any(film.image for film in films.values()):
        raise ArchiveError(
            "no image named like anonymized_dataset/012/012_0.png", where=str(source.location)
        )
    if not any(film.masks for film in films.values()):
        raise ArchiveError(
            "no mask named like anonymized_dataset/012/012_0_cancer.png",
            where=str(source.location),
            hint="unpack the whole archive: without masks every image would seem to be healthy",
        )
    numbers = _collection_numbers(films)
    records = [
        record
        for key in films
        for record in _records(key, films[key], options, numbers.get(key, ""))
    ]
    documents = [name for name in source.names() if name.lower().endswith(_DOCUMENTS)]
    return Index(
        records=tuple(sorted(records, key=lambda record: record.record_id)),
        layout=layout_of(records, _LAYOUTS),
        documents=tuple(documents),
    )


_Key = tuple[str, str, str]  # part, patient, number of the image


def _films(names: Sequence[str]) -> dict[_Key, _Film]:
    films: defaultdict[_Key, _Film] = defaultdict(_Film)
    readers = {name: match for name in names if (match := _ANNOTATOR.search(name))}
    beside = {name[: match.start()] for name, match in readers.items()}
    for name in names:
        match = _FILE.fullmatch(leaf(name))
        if not match:
            continue
        reader = readers.get(name)
        part = "test" if reader or _is_test(name, beside) else "train"
        film = films[part, match[1], match[2]]
        given = (match[3] or "").strip().lower()
        word = _WORDS.get(spelling(given), given)
        if not word and not reader and not film.image:
            film.image = name
        elif word in _CLASSES and word not in film.masks[reader[1] if reader else "1"]:
            film.masks[reader[1] if reader else "1"][word] = name
        else:
            film.others.append((name, _why_unused(word)))
    return films


def _is_test(name: str, beside: set[str]) -> bool:
    """Tell a test image: in the folder test_data, or in one beside those of the annotators."""
    if _TEST.search(name):
        return True
    places = {root for root in beside if name.startswith(root)}
    return any(spelling(name[len(root) :]).startswith("anonymized") for root in places)


def _why_unused(word: str) -> str:
    if word == "8bit":
        return "image_variant"
    return "duplicate_file" if not word or word in _CLASSES else "unknown_class"


def _collection_numbers(films: Mapping[_Key, _Film]) -> dict[_Key, str]:
    """Return the running numbers of an older collection: test images first, then training.

    They exist only where all 338 images are there.
    """
    keys = sorted((key for key, film in films.items() if film.image), key=_test_first)
    if len(keys) != INFO.published["images"]:
        return {}
    return {key: str(number) for number, key in enumerate(keys, start=1)}


def _test_first(key: _Key) -> tuple[bool, str, str]:
    part, patient, number = key
    return part != "test", patient, f"{patient}_{number}.png"


def _records(key: _Key, film: _Film, options: ReadOptions, collection_number: str) -> list[Record]:
    if options.annotator == "all":
        readers = sorted(film.masks) or ["1"]
        return [
            _record(key, film, (reader,), options, f"_a{reader}", collection_number)
            for reader in readers
        ]
    readers = sorted(film.masks) if options.annotator == "majority" else [options.annotator]
    return [_record(key, film, tuple(readers), options, "", collection_number)]


def _record(
    key: _Key,
    film: _Film,
    readers: tuple[str, ...],
    options: ReadOptions,
    suffix: str,
    collection_number: str,
) -> Record:
    part, patient, number = key
    others = list(film.others)
    found: list[Lesion] = []
    read_kinds = options.kinds | set(LESION_KINDS)
    for word, kind in _CLASSES.items():
        files = tuple(film.masks[r][word] for r in readers if word in film.masks.get(r, {}))
        if kind in read_kinds and files:
            found.append(_lesion(word, kind, files, readers))
        else:
            others += [(name, "kind_not_chosen") for name in files]
    for reader in film.masks.keys() - set(readers):
        if options.annotator != "all":  # there each annotator has a record of its own
            others += [(name, "other_annotator") for name in film.masks[reader].values()]
    marked = any(film.masks.get(reader) for reader in readers)
    left_out = "" if marked or not film.masks else "no_such_annotator"
    return Record(
        record_id=f"{part}_{patient}_{number}{suffix}",
        image=film.image,
        patient_id=patient,
        group=f"csaw:{part}_{patient}",
        split=part,
        annotator="majority" if options.annotator == "majority" else readers[0] if readers else "",
        lesions=tuple(found),
        others=tuple(sorted(others)),
        left_out=left_out if film.image else "no_image",
        free_of=("*",) if marked else (),
        suspicious=_marked_by_others(film, readers[0]) if options.annotator in "123" else {},
        attributes={"collection_number": collection_number} if collection_number else {},
    )


def _marked_by_others(film: _Film, reader: str) -> dict[str, str]:
    """Return for each kind that only other annotators marked who did."""
    return {
        kind: f"not marked by annotator {reader}, but by {', '.join(others)}"
        for word, kind in _CLASSES.items()
        if word not in film.masks.get(reader, {})
        and (others := [one for one in sorted(film.masks) if word in film.masks[one]])
    }


def _lesion(word: str, kind: str, files: tuple[str, ...], readers: tuple[str, ...]) -> Lesion:
    votes = len(readers) // 2 + 1  # more than half of the annotators
    return Lesion(
        lesion_id=word,
        kind=kind,
        label=word,
        shape=Raster(files, above="zero", votes=votes, blank_ok=True),
        source=files[0],
        annotator=readers[0] if len(readers) == 1 else "majority",
    )
