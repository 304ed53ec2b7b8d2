"""What all exports share: the cases, the classes, the licence, the notes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bcseg import pairs, png
from bcseg.errors import BcsegError, UsageError
from bcseg.pairs import PairsFolder
from bcseg.reading import Pair, Pairs
from bcseg.record import KINDS
from bcseg.run import Progress
from bcseg.store import copy_file, write_pair

TRAIN, VAL, TEST = "train", "val", "test"
IGNORE = "ignore"
BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """How to export.

    `name`, `number`: of an nnU-Net dataset. `one_class`: all kinds are "lesion". `polygons`: COCO
    with polygons. `parquet`: Hugging Face with Parquet. `sources`: archives by dataset, for DICOM
    SEG. `link`: hard links where a file is taken as it is.
    """

    name: str = "Lesions"
    number: int = 501
    one_class: bool = False
    polygons: bool = False
    parquet: bool = False
    link: bool = False
    sources: Mapping[str, Path] = field(default_factory=dict)
    progress: Progress = lambda done, total: None


@dataclass(frozen=True, slots=True)
class Failure:
    """A pair that could not be exported, and why."""

    case: str
    message: str


@dataclass(slots=True)
class Exported:
    """What an export came to: how many pairs, failures, what it cannot carry, what to do next."""

    format: str
    folder: Path
    pairs: int = 0
    lesions: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    next: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Job:
    """An export at work: pairs to take, the folder that is being built, the account of it.

    `final`: where the folder will be when it is whole; what is told to the user names that.
    """

    folders: Sequence[PairsFolder]
    cases: Pairs
    out: Path
    final: Path
    how: Exporting
    result: Exported

    def each(self, work: Callable[[Pair], None]) -> list[Pair]:
        """Do something for every pair; return those for which it went well.

        A pair that cannot be read fails by name, and stops no other.
        """
        done = []
        for count, pair in enumerate(self.cases, start=1):
            try:
                work(pair)
            except BcsegError as error:
                self.result.failures.append(Failure(pair.case, str(error.args[0])))
            else:
                done.append(pair)
                self.result.lesions += int(pair.row["n_lesions"])
            self.how.progress(count, len(self.cases))
        self.result.pairs = len(done)
        return done

    def take(self, source: Path, to: Path) -> None:
        """Copy a file of a pair, or link it; raises RecordError if that cannot be done."""
        copy_file(source, to, link=self.how.link)

    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in the order of the kinds; the first is class 1."""
        if self.how.one_class:
            return ("lesion",)
        there = {kind for pair in self.cases for kind in pair.row["kinds"].split()}
        return tuple(kind for kind in KINDS if kind in there) or ("lesion",)


def class_map(
    pair: Pair, classes: Sequence[str], ignored: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint8], int]:
    """Return classes by pixel: uint8 (rows, columns), 0 for background; and how many were in two.

    Where lesions of two classes overlap, the smaller lesion is on top. `ignored`: pixels that get
    the highest class, unless a lesion lies there.
    """
    labels = np.zeros(pair.size, np.uint8)
    if ignored is not None:
        labels[ignored] = len(classes) + 1
    shared = 0
    for lesion in sorted(pair.lesions, key=lambda one: -one.patch.area):
        number = classes.index(lesion.row["kind"]) + 1 if len(classes) > 1 else 1
        patch = lesion.patch
        if not patch.area:
            continue
        region = labels[patch.top : patch.bottom, patch.left : patch.right]
        other = (region > 0) & (region <= len(classes)) & (region != number)
        shared += int(np.count_nonzero(other & patch.pixels))
        region[patch.pixels] = number
    return labels, shared


def ignored_pixels(pair: Pair) -> NDArray[np.bool_] | None:
    """Return the pixels of rejected lesions (`bcseg select --ignore-rejected`), None if none."""
    path = pair.folder / "ignore" / f"{pair.record_id}.png"
    if not path.is_file():
        return None
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.shape != pair.size:
        raise UsageError(f"ignore/{path.name} is damaged", where=str(pair.folder))
    return np.asarray(mask > 0)


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map as a PNG of one channel."""
    write_pair(path, png.encode(labels, mask=True))


def licences(folders: Iterable[PairsFolder]) -> str:
    """Return what the archives' licences say: every export begins with it."""
    texts = []
    for folder in folders:
        path = folder.path / pairs.LICENCE
        document = folder.document()
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        texts.append(text or f"{folder.name}\n\nLicence: {document.get('licence', 'unknown')}\n")
    return ("-" * 72 + "\n").join(texts)


def table_bytes(columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> bytes:
    """Return a table of an export as UTF-8 CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")


def facts(folder: PairsFolder) -> dict[str, Any]:
    """Return dataset.json's word on licence and citation."""
    document = folder.document()
    return {
        key: document.get(key, "") for key in ("dataset", "title", "licence", "citation", "url")
    }


def year_of(facts: Mapping[str, Any]) -> str:
    """Return the year in which an archive was published, by its citation; "1900" without one."""
    found = re.search(r"\((\d{4})\)", str(facts["citation"]))
    return found[1] if found else "1900"


Need = Literal["pycocotools", "datasets", "highdicom", "mlcroissant"]
EXTRAS: dict[Need, str] = {
    "pycocotools": "coco",
    "datasets": "hf",
    "highdicom": "dicom-seg",
    "mlcroissant": "croissant",
}


def missing(library: Need) -> UsageError:
    """Return the error for a library of an extra that is not installed."""
    return UsageError(f"{library} is not installed", hint=f"pip install 'bcseg[{EXTRAS[library]}]'")
