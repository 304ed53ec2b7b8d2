"""Croissant 1.1: metadata.json (JSON-LD) that tells programs what images, masks and tables hold.

Written by hand, since mlcroissant takes a second to start; it checks and loads the result. Its
`validate` passes a wrong sha256, its `load` does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bcseg import __version__
from bcseg.export.base import Job, facts, table_bytes, year_of
from bcseg.reading import Pair
from bcseg.store import write_atomic

TITLE = "Croissant"
CANNOT = (
    "16 bits through mlcroissant, which cuts PNG to 8 when it loads them: open the files by name",
    "outlines: a mask is the union of all lesions, 0 and 255; lesions.csv has their boxes",
    "hashes of the image files: records.csv has those of the pixels",
)
METADATA = "metadata.json"
VERSION = "http://mlcommons.org/croissant/1.1"

_TEXT, _INTEGER, _IMAGE = "sc:Text", "sc:Integer", "sc:ImageObject"
RECORDS: Mapping[str, tuple[str, str]] = {
    "case": (_TEXT, "The pair over all datasets: DATASET_RECORD"),
    "file": (_TEXT, "The name of the image and of its mask"),
    "dataset": (_TEXT, "The archive"),
    "record_id": (_TEXT, "The archive's name of the image"),
    "group": (_TEXT, "One patient, unique over all datasets: what a split must not divide"),
    "part": (_TEXT, "train, val or test; empty without a split"),
    "fold": (_TEXT, "The fold of a training pair"),
    "laterality": (_TEXT, "L or R"),
    "view": (_TEXT, "CC, MLO, ..."),
    "kinds": (_TEXT, "Kinds of the lesions in the mask"),
    "n_lesions": (_INTEGER, "How many lesions are in the mask"),
    "height": (_INTEGER, "Rows"),
    "width": (_INTEGER, "Columns"),
    "bits_stored": (_INTEGER, "Bits of the image that are used"),
    "pixel_spacing_mm": (_TEXT, "Pixel size in mm, ROWxCOLUMN where not square"),
    "birads": (_TEXT, "The highest BI-RADS category of the lesions"),
    "density": (_TEXT, "Breast density"),
    "pathology": (_TEXT, "The worst of the lesions"),
    "mask_pixels": (_INTEGER, "Pixels of the mask"),
    "image_sha256": (_TEXT, "Of the decoded pixels: dtype, shape, values"),
    "mask_sha256": (_TEXT, "Of the decoded pixels: dtype, shape, values"),
}
LESIONS: Mapping[str, tuple[str, str]] = {
    "lesion": (_TEXT, "The lesion over all datasets: CASE/LESION"),
    "case": (_TEXT, "Its pair"),
    "lesion_id": (_TEXT, "The archive's name of the lesion"),
    "kind": (_TEXT, "mass, calcification, ..."),
    "label": (_TEXT, "The archive's word"),
    "geometry": (_TEXT, "How the archive draws it"),
    "bbox_x": (_INTEGER, "Left column of its box in the image"),
    "bbox_y": (_INTEGER, "Top row of its box in the image"),
    "bbox_w": (_INTEGER, "Columns of its box"),
    "bbox_h": (_INTEGER, "Rows of its box"),
    "pathology": (_TEXT, "benign, malignant, ..."),
    "birads": (_TEXT, "BI-RADS category"),
}


def write(job: Job) -> None:
    """Write images, masks, records.csv, lesions.csv, and metadata.json about them."""
    lesions: list[dict[str, str]] = []

    def one(pair: Pair) -> None:
        found = [_lesion_row(pair, lesion.row) for lesion in pair.lesions]
        for column in ("image", "mask"):
            job.take(pair.path(column), job.out / f"{column}s" / f"{pair.case}.png")
        lesions.extend(found)

    done = job.each(one)
    tables = {
        "records": (RECORDS, [_row(pair) for pair in done]),
        "lesions": (LESIONS, lesions),
    }
    files = [_file_set("image"), _file_set("mask")]
    sets = []
    for name, (columns, rows) in tables.items():
        content = table_bytes(columns, rows)
        write_atomic(job.out / f"{name}.csv", content)
        files.insert(0, _file(f"{name}.csv", content))
        sets.append(_table_set(name, columns))
    sets = [_masks(), _pairs(), *sets]
    text = json.dumps(_document(job, files, sets), indent=2, ensure_ascii=False) + "\n"
    write_atomic(job.out / METADATA, text.encode(errors="backslashreplace"))
    job.result.next.append(f"mlcroissant validate --jsonld {job.final / METADATA}")


def _row(pair: Pair) -> dict[str, str]:
    own = {"case": pair.case, "file": f"{pair.case}.png", "part": pair.split, "fold": pair.fold}
    return {name: own[name] if name in own else pair.row[name] for name in RECORDS}


def _lesion_row(pair: Pair, row: Mapping[str, str]) -> dict[str, str]:
    own = {"lesion": f"{pair.case}/{row['lesion_id']}", "case": pair.case}
    return {name: own[name] if name in own else row[name] for name in LESIONS}


# ----------------------------------------------------------------------------- JSON-LD


def _document(job: Job, files: list[dict[str, Any]], sets: list[dict[str, Any]]) -> dict[str, Any]:
    about = [facts(folder) for folder in job.folders]
    titles = ", ".join(str(one["title"] or one["dataset"]) for one in about)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": job.how.name,
        "description": f"Mammograms with a mask of their lesions, made by bcseg from {titles}.",
        "license": [f"{one['dataset']}: {one['licence']}" for one in about],
        "url": str(about[0]["url"]),
        "version": _version(job),
        "citeAs": " ".join(str(one["citation"]) for one in about),
        "datePublished": f"{max(map(year_of, about))}-01-01",
        "creator": {"@type": "sc:Organization", "name": f"bcseg {__version__}"},
        "distribution": files,
        "recordSet": sets,
    }


def _version(job: Job) -> str:
    """Return the version: that of bcseg, and what the pairs hold."""
    content = [str(folder.document().get("content_sha256", "")) for folder in job.folders]
    return f"{__version__}+{hashlib.sha256(' '.join(content).encode()).hexdigest()[:12]}"


def _file(name: str, content: bytes) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _file_set(column: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{column}-files",
        "name": f"{column}-files",
        "encodingFormat": "image/png",
        "includes": f"{column}s/*.png",
    }


def _table_set(name: str, columns: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the record set of a table; its first column is the key."""
    fields = []
    for column, (type_, description) in columns.items():
        source = {"fileObject": {"@id": f"{name}.csv"}, "extract": {"column": column}}
        fields.append(_field(f"{name}/{column}", type_, description, source))
    return _set(name, next(iter(columns)), fields)


def _masks() -> dict[str, Any]:
    """Return the record set of masks, which that of the pairs takes them from.

    Two file sets in one record set would both be `content`: mlcroissant then gives the image twice.
    """
    return _set(
        "masks",
        "file",
        [
            _file_field("masks/file", "mask-files", "filename", _TEXT, "The name of the mask"),
            _file_field("masks/mask", "mask-files", "content", _IMAGE, "The lesions: 255, else 0"),
        ],
    )


def _pairs() -> dict[str, Any]:
    """Return the record set of images with their masks: files of the same name.

    The tables are sets of their own, since mlcroissant joins two sources, not three.
    """
    about = "The name of the image and of its mask"
    file = _file_field("pairs/file", "image-files", "filename", _TEXT, about)
    case = _file_field("pairs/case", "image-files", "filename", _TEXT, "As in records and lesions")
    case["source"]["transform"] = {"regex": r"^(.+)\.png$"}
    image = _file_field("pairs/image", "image-files", "content", _IMAGE, "The image")
    mask = dict(image) | {"@id": "pairs/mask", "name": "pairs/mask", "description": "Its mask"}
    mask["source"] = {"field": {"@id": "masks/mask"}}
    joined = file | {"references": {"field": {"@id": "masks/file"}}}
    return _set("pairs", "file", [joined, case, image, mask])


def _file_field(
    name: str, files: str, property_: str, type_: str, description: str
) -> dict[str, Any]:
    source = {"fileSet": {"@id": files}, "extract": {"fileProperty": property_}}
    return _field(name, type_, description, source)


def _field(name: str, type_: str, description: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": description,
        "dataType": type_,
        "source": source,
    }


def _set(name: str, key: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/{key}"},
        "field": list(fields),
    }


# What every Croissant file begins with: its terms, and where they are defined
_TERMS = """arrayShape citeAs column containedIn equivalentProperty extract field fileProperty
    fileObject fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path
    recordSet references regex repeated replace samplingRate separator source subField transform"""
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
