"""CBIS-DDSM: DICOM films and DICOM masks, tied together by four tables.

The tables name each file as <folder>/<StudyInstanceUID>/<SeriesInstanceUID>/<file>. Downloads lay
the files out in many ways (NBIA Data Retriever old and new, Google and IDC, Kaggle JPEG), so that
only the **series UID** is believed: found in the path, in the retriever's metadata.csv, or in the
DICOM header. File names, their order and the table's column do not tell a mask from a crop of the
image: the content does (RasterAmong). 104 lesions have the two in different series.

The tables (CC BY 3.0) are a separate download that people forget: bcseg ships them.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from bcseg.adapters.base import (
    Info,
    ReadOptions,
    duplicates_removed,
    ending,
    folder,
    highest_birads,
    listed_lesions,
    pathology_word,
    sound_rows,
    worst_pathology,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.dicom import read_header
from bcseg.formats.tables import Row, Table, read_csv
from bcseg.records import (
    Failed,
    Index,
    LeftOut,
    Lesion,
    RasterAmong,
    Record,
    Shape,
    Unreadable,
    Warned,
)
from bcseg.source import Source, read

INFO = Info(
    name="cbis",
    title="CBIS-DDSM (Curated Breast Imaging Subset of DDSM)",
    url="https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY",
    licence="CC BY 3.0",
    citation=(
        "Lee RS, Gimenez F, Hoogi A, et al. A curated mammography data set for use in"
        " computer-aided detection and diagnosis research. Scientific Data 4, 170177 (2017)."
        " Data: The Cancer Imaging Archive, doi:10.7937/K9/TCIA.2016.7O02S9CY"
    ),
    restricted=False,
    layout=(
        "manifest-*/CBIS-DDSM/Mass-Training_P_00001_LEFT_CC/<date>-DDSM-*/"
        "1.000000-full mammogram images-*/1-1.dcm\n"
        "manifest-*/CBIS-DDSM/Mass-Training_P_00001_LEFT_CC_1/<date>-DDSM-*/"
        "1.000000-ROI mask images-*/1-1.dcm, 1-2.dcm\n"
        "manifest-*/metadata.csv\n"
        "mass_case_description_train_set.csv (and the three others; bcseg ships them)"
    ),
    # counted in the four tables; patients over both lesion types
    published={"images": 3103, "patients": 1566, "abnormalities": 3568},
    default_kinds=("mass",),
    aliases=("cbis-ddsm", "cbisddsm"),
)

_TABLE = re.compile(r"(mass|calc)[-_ ]case[-_ ]description[-_ ](train|test)[-_ ]set.*\.csv", re.I)
_FOLDER = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d{5})_(LEFT|RIGHT)_(CC|MLO)")
_CLAIM = re.compile(r"(Mass|Calc)-(Training|Test)_P_\d{5}_|1\.3\.6\.1\.4\.1\.9590\.100\.1\.2\.\d+")
_IMAGES = (".dcm", ".jpg", ".jpeg", ".png", "")
_DOCUMENTS = (".csv", ".tcia", ".txt", ".xlsx", ".pdf", ".md")
# column of the tables -> attribute of the lesion
_KEPT = ("mass_shape", "mass_margins", "calc_type", "calc_distribution", "subtlety", "assessment")


def claims(names: Sequence[str]) -> int:
    """Return how many names look like CBIS-DDSM's own."""
    return sum(bool(_CLAIM.search(name) or _TABLE.fullmatch(_leaf(name))) for name in names)


lesions = listed_lesions


@dataclass(frozen=True, slots=True)
class _Case:
    """One row of a table: one abnormality in one view."""

    row: Row
    own: bool  # the table lies in the source (else it is the one that bcseg ships)
    record_id: str
    image_series: str
    mask_series: tuple[str, ...]


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of the archive; raises ArchiveError if no image of the tables is there."""
    names = source.names()
    tables, own, notes = _tables(source, names)
    cases, failed = _cases(tables, own)
    series = {uid for case in cases for uid in (case.image_series, *case.mask_series)}
    files, unreadable = _files_by_series(source, names, series)
    by_image: defaultdict[str, list[_Case]] = defaultdict(list)
    for case in cases:
        present = any(files.get(uid) for uid in (case.image_series, *case.mask_series))
        if own or present:
            by_image[case.record_id].append(case)
    if not any(files.get(case.image_series) for case in cases):
        raise ArchiveError(
            "no full mammogram of CBIS-DDSM: no file belongs to a series of its tables",
            where=str(source.location),
        )
    twins = _twins(cases)
    left_out: list[LeftOut] = []
    records = tuple(
        _record(by_image[record_id], files, twins, left_out) for record_id in sorted(by_image)
    )
    return Index(
        records=records,
        tables={table.name: len(table.rows) for table in tables} if own else {},
        documents=tuple(name for name in names if ending(name) in _DOCUMENTS),
        left_out=tuple(left_out),
        failed=(*failed, *unreadable),
        warnings=() if own else (Warned("table_shipped", notes[0]),),
        notes=notes,
    )


def _leaf(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _tables(source: Source, names: Sequence[str]) -> tuple[list[Table], bool, tuple[str, ...]]:
    own: dict[str, Table] = {}
    for name in names:
        match = _TABLE.fullmatch(_leaf(name))
        if match and (key := f"{match[1]}_{match[2]}".lower()) not in own:
            try:
                own[key] = read_csv(read(source, name), name)
            except RecordError as error:
                raise ArchiveError(
                    f"the table cannot be read: {error.args[0]}",
                    where=name,
                    hint="download it again, or take it out: bcseg ships the four tables",
                ) from error
    if own:
        missing = {"mass_train", "mass_test", "calc_train", "calc_test"} - own.keys()
        notes = (f"tables not in the source: {', '.join(sorted(missing))}",) if missing else ()
        return list(own.values()), True, notes
    note = "the source has none of the four tables: those that bcseg ships are used (CC BY 3.0)"
    return shipped_tables(), False, (note,)


def shipped_tables() -> list[Table]:
    """Return the four tables of CBIS-DDSM that the package carries (CC BY 3.0)."""
    tables = []
    for entry in sorted(
        resources.files("bcseg.data").joinpath("cbis").iterdir(), key=lambda e: e.name
    ):
        if entry.name.endswith(".csv.gz"):
            name = entry.name.removesuffix(".gz")
            tables.append(read_csv(gzip.decompress(entry.read_bytes()), name))
    return tables


def _cases(tables: Iterable[Table], own: bool) -> tuple[list[_Case], list[Failed]]:
    cases: list[_Case] = []
    failed: list[Failed] = []
    for table in tables:
        good, bad = sound_rows(table)
        failed += bad
        for row in good:
            image = _path(row, "image_file_path")
            match = _FOLDER.search(image[0]) if len(image) >= 3 else None
            crop = _path(row, "cropped_image_file_path")
            mask = _path(row, "roi_mask_file_path")
            if match is None or len(mask) < 3:
                message = "the row has no readable path of image and mask"
                failed.append(Failed("unreadable_row", message, (row.item,)))
                continue
            series = duplicates_removed(path[2] for path in (mask, crop) if len(path) >= 3)
            cases.append(_Case(row, own, match[0], image[2], series))
    return cases, failed if own else []


def _path(row: Row, column: str) -> list[str]:
    """Return the parts of a path cell: folder, study UID, series UID, file."""
    return [part for part in row.get(column).replace("\\", "/").split("/") if part.strip(". ")]


def _files_by_series(
    source: Source, names: Sequence[str], series: set[str]
) -> tuple[dict[str, list[str]], list[Failed]]:
    """Return the image files of each series of the tables, and files that no way leads to."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    listed = _metadata(source, names)
    failed: list[Failed] = []
    for name in names:
        if ending(name) not in _IMAGES:
            continue
        uid = next((part for part in name.split("/") if part in series), "")
        uid = uid or listed.get(_ends(folder(name)), "")
        if not uid and ending(name) in (".dcm", ""):
            try:
                with source.open(name) as file:
                    uid = read_header(file, name).series_instance_uid
            except RecordError as error:
                if ending(name) == ".dcm":
                    failed.append(Failed(error.code, str(error.args[0]), (name,)))
                continue
        if uid in series:
            files[uid].append(name)
    return files, failed


def _metadata(source: Source, names: Sequence[str]) -> dict[str, str]:
    r"""Return the series UID of each folder that the retriever's metadata.csv lists.

    `File Location` begins with ".\" or "./" and is relative to the folder of the table.
    """
    listed: dict[str, str] = {}
    for name in names:
        if _leaf(name).lower() != "metadata.csv":
            continue
        try:
            table = read_csv(read(source, name), name)
        except RecordError:
            continue  # the headers of the DICOM files say the same
        for row in table.rows:
            place = row.get("file_location").replace("\\", "/").removeprefix("./").strip("/")
            if place:
                listed[_ends(place + "/")] = row.get("series_uid")
    return listed


def _ends(place: str) -> str:
    """Return the last three folders of a path: users move and rename what is above."""
    return "/".join(place.strip("/").split("/")[-3:])


def _twins(cases: Iterable[_Case]) -> dict[tuple[str, str], str]:
    """Return (patient, side and view; type) -> record: 71 films are in Mass and in Calc."""
    return {
        (case.record_id.split("_", 1)[1], case.record_id.split("-", 1)[0]): case.record_id
        for case in cases
    }


def _record(
    cases: list[_Case],
    files: Mapping[str, list[str]],
    twins: Mapping[tuple[str, str], str],
    left_out: list[LeftOut],
) -> Record:
    record_id = cases[0].record_id
    match = _FOLDER.fullmatch(record_id)
    assert match is not None
    images = files.get(cases[0].image_series, [])
    if len(images) > 1:
        message = f"the same series as {images[0]}"
        left_out.append(LeftOut("duplicate_image", message, tuple(images[1:]), record_id))
    found = tuple(_lesion(case, files) for case in cases)
    other = "Calc" if match[1] == "Mass" else "Mass"
    twin = twins.get((record_id.split("_", 1)[1], other), "")
    kind = "calcification" if other == "Calc" else "mass"
    return Record(
        record_id=record_id,
        image=images[0] if images else "",
        patient_id=match[3],
        group=f"cbis:{match[3]}",
        laterality="L" if match[4] == "LEFT" else "R",
        view=match[5],
        split="train" if match[2] == "Training" else "test",
        birads=highest_birads(lesion.birads for lesion in found),
        density=next((d for case in cases if (d := case.row.get("breast_density"))), ""),
        pathology=worst_pathology(lesion.pathology for lesion in found),
        film=True,
        lesions=found,
        rows=tuple(case.row.item for case in cases if case.own),
        left_out="" if images else "no_image",
        free_of=("*",),
        suspicious={kind: f"the same film is {twin}"} if twin else {},
        notes=(f"the same film as {twin}",) if twin else (),
    )


def _lesion(case: _Case, files: Mapping[str, list[str]]) -> Lesion:
    row = case.row
    candidates = tuple(name for uid in case.mask_series for name in files.get(uid, []))
    shape: Shape = RasterAmong(candidates)
    if not candidates:
        message = f"the mask of abnormality {row.get('abnormality_id')} is not in the source"
        shape = Unreadable("mask_missing", message)
    kind = row.get("abnormality_type").lower()
    return Lesion(
        lesion_id=row.get("abnormality_id"),
        kind="mass" if kind.startswith("mass") else "calcification",
        label=kind,
        shape=shape,
        source=candidates[0] if candidates else row.item,
        pathology=pathology_word(row.get("pathology")),
        birads=row.get("assessment"),
        attributes={key: row.get(key) for key in _KEPT if row.get(key)},
    )
