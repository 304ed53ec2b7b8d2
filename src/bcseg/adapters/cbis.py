"""CBIS-DDSM: DICOM films and DICOM masks, tied together by four tables.

The tables name each file as <folder>/<StudyInstanceUID>/<SeriesInstanceUID>/<file>. Downloads lay
the files out in many ways (NBIA Data Retriever old and new, Google and IDC, Kaggle JPEG), so that
only the **series UID** is believed: found in the path, in the retriever's metadata.csv, or in the
DICOM header. File names, their order and the table's column do not tell a mask from a crop of the
image: the content does (RasterAmong). 104 lesions have the two in different series.

One copy (Kaggle) has PNGs and no series: DATA/Mass/Train/MALIGNANT/<name>_FULL_1.png and
<name>_MASK_1.png, a pair for each lesion. There the names lead to a row, if a table has one.

The tables (CC BY 3.0) are a separate download that people forget: bcseg ships them.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources

from bcseg.adapters.base import (
    Info,
    ReadOptions,
    counted,
    duplicates_removed,
    ending,
    folder,
    highest_birads,
    layout_of,
    leaf,
    listed_lesions,
    pathology_word,
    sound_rows,
    worst_pathology,
)
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.dicom import read_header
from bcseg.formats.tables import Row, Table, read_csv
from bcseg.record import (
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
    options=("merge_twins",),
)

_TABLE = re.compile(r"(mass|calc)[-_ ]case[-_ ]description[-_ ](train|test)[-_ ]set.*\.csv", re.I)
_FOLDER = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d{5})_(LEFT|RIGHT)_(CC|MLO)")
_CLAIM = re.compile(r"(Mass|Calc)-(Training|Test)_P_\d{5}_|1\.3\.6\.1\.4\.1\.9590\.100\.1\.2\.\d+")
_PAIR = re.compile(
    r"(?:(?:Mass|Calc)-(?:Training|Test)_)?(P_\d{5}_(?:LEFT|RIGHT)_(?:CC|MLO))_(FULL|MASK)(?:_(\d+))?"
    r".*\.png"
)
_PLACE = re.compile(r"(?:^|/)(Mass|Calc)/(Train|Test)(?:ing)?/(MALIGNANT|BENIGN)/[^/]+", re.I)
_IMAGES = (".dcm", ".jpg", ".jpeg", ".png")
_BARE = re.compile(r"|\.\d+")  # "ending" of a DICOM file that is named by its UID
_DOCUMENTS = (".csv", ".tcia", ".txt", ".xlsx", ".pdf", ".md")
# column of the tables -> attribute of the lesion
_KEPT = ("mass_shape", "mass_margins", "calc_type", "calc_distribution", "subtlety", "assessment")

# what `bcseg inspect` calls the layout: pattern in the name of an image
_LAYOUTS = {
    "B: NBIA Data Retriever": r"/\d\d-\d\d-\d{4}-DDSM-NA-\d+/",
    "B': older NBIA Data Retriever": r"/\d\d-\d\d-\d{4}-DDSM-\d+/",
    "A: folders as the tables name them": r"_(CC|MLO)(_\d+)?/1\.3\.6[\d.]*/1\.3\.6[\d.]*/",
    "C: by UID (Google, IDC)": r"1\.3\.6[\d.]*/1\.3\.6[\d.]*/[^/]*\.dcm$",
    "D: Kaggle JPEG, by series UID": r"1\.3\.6[\d.]*/[^/]*\.jpe?g$",
    "E: Kaggle PNG, FULL and MASK": r"_FULL_[^/]*\.png$",
}


def claims(names: Sequence[str]) -> int:
    """Return how many names look like CBIS-DDSM's own."""
    return sum(
        bool(_CLAIM.search(name) or _TABLE.fullmatch(leaf(name)) or _pair(name)) for name in names
    )


lesions = listed_lesions


@dataclass(frozen=True, slots=True)
class _Case:
    """One row of a table: one abnormality in one view; an unreadable path gives no series."""

    row: Row
    own: bool  # the table lies in the source (else it is the one that bcseg ships)
    record_id: str
    image_series: str
    mask_series: tuple[str, ...]

    @property
    def series(self) -> tuple[str, ...]:
        return tuple(uid for uid in (self.image_series, *self.mask_series) if uid)


def index(source: Source, options: ReadOptions) -> Index:
    """Return the records of the archive; raises ArchiveError if no image of the tables is there."""
    names = source.names()
    own, shipped = _tables(source, names)
    cases, failed = _cases(own, True)
    cases += _cases(shipped, False)[0]
    series = {uid for case in cases for uid in case.series}
    files, unreadable = _files_by_series(source, names, series)
    left_out = _without_jpegs_of_dicoms(files)
    cases = _with_pairs(cases, names, files)
    _check_parts(source, cases, files)
    by_image: defaultdict[str, list[_Case]] = defaultdict(list)
    for case in cases:
        if case.own or any(files.get(uid) for uid in case.series):
            by_image[case.record_id].append(case)
    used = {c.row.item.split("#")[0] for found in by_image.values() for c in found if not c.own}
    used &= {table.name for table in shipped}
    found = {name: _record(by_image[name], files, left_out) for name in sorted(by_image)}
    found = _with_twins(found, _twins(case.record_id for case in cases))
    if options.merge_twins:
        found = _united(found, options.kinds, left_out)
    records = tuple(found.values())
    return Index(
        records=records,
        layout=layout_of(records, _LAYOUTS),
        tables={table.name: len(table.rows) for table in own},
        documents=tuple(name for name in names if ending(name) in _DOCUMENTS),
        left_out=tuple(left_out),
        failed=(*failed, *unreadable),
        warnings=_shipped_warning(used, bool(own)),
        notes=_notes(records),
    )


def _notes(records: Iterable[Record]) -> tuple[str, ...]:
    """Say how many patients are in both parts: 31, by the tables, as published."""
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        parts[record.patient_id].add(record.split)
    both = sum(len(splits) == 2 for splits in parts.values())
    if not both:
        return ()
    return (f"{counted(both, 'patient')} in both the training and the test part",)


def _check_parts(source: Source, cases: Iterable[_Case], files: Mapping[str, list[str]]) -> None:
    """Raise ArchiveError if there is no full mammogram, or nothing but full mammograms."""
    full = {case.image_series for case in cases if files.get(case.image_series)}
    if not full:
        raise ArchiveError(
            "no full mammogram of CBIS-DDSM: no file belongs to a series of its tables",
            where=str(source.location),
        )
    if not files.keys() - full:
        raise ArchiveError(
            "no ROI mask of CBIS-DDSM: all files are full mammograms",
            where=str(source.location),
            hint="download the ROI mask images too (folders that end in _1, _2, ...)",
        )


def _shipped_warning(used: set[str], some: bool) -> tuple[Warned, ...]:
    if not used:
        return ()
    missing = ", ".join(sorted(used)) if some else "any of the four tables"
    message = f"the source has not {missing}: bcseg's own copy is used (CC BY 3.0)"
    return (Warned("table_shipped", message),)


def _tables(source: Source, names: Sequence[str]) -> tuple[list[Table], list[Table]]:
    """Return the tables of the source, and bcseg's own copies of those that are not there."""
    own: dict[str, Table] = {}
    for name in names:
        match = _TABLE.fullmatch(leaf(name))
        if match and (key := _part(match)) not in own:
            try:
                own[key] = read_csv(read(source, name), name)
            except RecordError as error:
                raise ArchiveError(
                    f"the table cannot be read: {error.args[0]}",
                    where=name,
                    hint="download it again, or take it out: bcseg ships the four tables",
                ) from error
    if len(own) == 4:
        return list(own.values()), []
    shipped = {_part(m): t for t in shipped_tables() if (m := _TABLE.fullmatch(t.name))}
    return list(own.values()), [table for part, table in shipped.items() if part not in own]


def _part(match: re.Match[str]) -> str:
    return f"{match[1]}_{match[2]}".lower()


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
    """Return the rows with their series, and those that no image can be told for."""
    cases: list[_Case] = []
    for row in (row for table in tables for row in table.rows):
        record_id, image = _path(row, "image_file_path")
        roi_id, mask = _path(row, "roi_mask_file_path")
        crop_id, crop = _path(row, "cropped_image_file_path")
        series = duplicates_removed(uid for uid in (mask, crop) if uid)
        cases.append(_Case(row, own, record_id or roi_id or crop_id, image, series))
    known = {case.record_id for case in cases if case.image_series}
    failed = []
    for case in cases:
        if case.record_id not in known:
            message = case.row.damage or "the row has no readable path of its image"
            failed.append(Failed("unreadable_row", message, (case.row.item,)))
    return [case for case in cases if case.record_id in known], failed


def _path(row: Row, column: str) -> tuple[str, str]:
    """Return the image's name and the series UID that a path cell holds, else empty strings.

    The path is <folder>/<study UID>/<series UID>/<file>; some copies have more folders above.
    """
    parts = row.get(column).replace("\\", "/").split("/")
    for number, part in enumerate(parts[:-2]):
        match = _FOLDER.match(part)
        if match:
            return match[0], parts[number + 2].strip()
    return "", ""


def _files_by_series(
    source: Source, names: Sequence[str], series: set[str]
) -> tuple[dict[str, list[str]], list[Failed]]:
    """Return the image files of each series of the tables, and files that no way leads to."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    listed = _metadata(source, names)
    failed: list[Failed] = []
    for name in names:
        bare = bool(_BARE.fullmatch(ending(name)))
        if not (bare or ending(name) in _IMAGES) or leaf(name).startswith("._"):
            continue  # "._1-1.dcm" is a Finder note of macOS
        uid = next((part for part in name.split("/") if part in series), "")
        uid = uid or listed.get(_ends(folder(name)), "")
        if not uid and (bare or ending(name) == ".dcm"):
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


def _without_jpegs_of_dicoms(files: dict[str, list[str]]) -> list[LeftOut]:
    """Take out of `files` the JPEG copies of series that are there as DICOM too."""
    left_out = []
    for uid, names in files.items():
        copies = [name for name in names if ending(name) in _IMAGES[1:]]
        if copies and len(copies) < len(names):
            files[uid] = [name for name in names if name not in copies]
            message = f"the same series as {files[uid][0]}"
            left_out.append(LeftOut("duplicate_image", message, tuple(copies)))
    return left_out


def _pair(name: str) -> tuple[str, str, str, str] | None:
    """Return record id, "FULL" or "MASK", number, pathology of a PNG that is in no series."""
    pair, place = _PAIR.fullmatch(leaf(name)), _PLACE.search(name)
    if not pair or not place:
        return None
    part = "Training" if place[2].lower() == "train" else "Test"
    record_id = f"{place[1].capitalize()}-{part}_{pair[1]}"
    return record_id, pair[2], pair[3] or "1", place[3].upper()


def _with_pairs(
    cases: list[_Case], names: Sequence[str], files: dict[str, list[str]]
) -> list[_Case]:
    """Add the PNGs that are in no series to `files`, and return the cases led to them.

    Record and number stand for the series UIDs. A lesion that no table lists gets a case of its
    own, from an image without a mask too: it is missing. Where a series is there, it is taken.
    """
    there = {case.record_id for case in cases if files.get(case.image_series)}
    lesions: dict[tuple[str, str], Row] = {}
    for name in names:
        pair = _pair(name)
        if pair is None or pair[0] in there:
            continue
        record_id, what, number, pathology = pair
        key = f"{record_id}_{number}" if what == "MASK" else record_id
        files.setdefault(key, []).append(name)
        kind = "mass" if record_id.startswith("Mass") else "calcification"
        cells = {"abnormality_id": number, "abnormality_type": kind, "pathology": pathology}
        lesions.setdefault((record_id, number), Row(f"{name}#{number}", cells))
    paired = {record_id for record_id, _ in lesions}
    led = []
    for case in cases:
        if case.record_id in paired:
            number = case.row.get("abnormality_id")
            lesions.pop((case.record_id, number), None)
            masks = (f"{case.record_id}_{number}",)
            case = replace(case, image_series=case.record_id, mask_series=masks)
        led.append(case)
    for (record_id, number), row in lesions.items():
        led.append(_Case(row, False, record_id, record_id, (f"{record_id}_{number}",)))
    return led


def _metadata(source: Source, names: Sequence[str]) -> dict[str, str]:
    r"""Return the series UID of each folder that the retriever's metadata.csv lists.

    `File Location` begins with ".\" or "./" and is relative to the folder of the table.
    """
    listed: dict[str, str] = {}
    for name in names:
        if leaf(name).lower() != "metadata.csv":
            continue
        try:
            table = read_csv(read(source, name), name)
        except RecordError:
            continue  # the headers of the DICOM files say the same
        for row in sound_rows(table)[0]:
            place = row.get("file_location").replace("\\", "/").removeprefix("./").strip("/")
            if place:
                listed[_ends(place + "/")] = row.get("series_uid")
    return listed


def _ends(place: str) -> str:
    """Return the last three folders of a path: users move and rename what is above."""
    return "/".join(place.strip("/").split("/")[-3:])


def _twins(record_ids: Iterable[str]) -> dict[str, str]:
    """Return record -> the other record of the film: 71 films are in Mass and in Calc.

    A film is known by patient, side and view; 29 of the 71 are in Training and in Test.
    """
    films: defaultdict[str, set[str]] = defaultdict(set)
    for record_id in record_ids:
        films[record_id.split("_", 1)[1]].add(record_id)
    twins = {}
    for names in films.values():
        for name in names:
            others = [other for other in names if other[:4] != name[:4]]
            if others:
                twins[name] = min(others)
    return twins


def _with_twins(records: Mapping[str, Record], twins: Mapping[str, str]) -> dict[str, Record]:
    """Return the records; one whose film is there twice names the other, and doubts its background.

    The attribute `twin_image` lets a worker compare the pixels of the two.
    """
    return {name: _with_twin(record, records, twins) for name, record in records.items()}


def _with_twin(record: Record, records: Mapping[str, Record], twins: Mapping[str, str]) -> Record:
    twin = twins.get(record.record_id, "")
    if not twin:
        return record
    kind = "mass" if twin.startswith("Mass") else "calcification"
    image = records[twin].image if twin in records else ""
    return replace(
        record,
        suspicious={kind: f"the same film is {twin}"},
        attributes={"twin": twin, "twin_image": image} if image else {},
        notes=(f"the same film as {twin}",),
    )


def _united(
    records: Mapping[str, Record], kinds: frozenset[str], left_out: list[LeftOut]
) -> dict[str, Record]:
    """Return one record for each film of which both copies are there, and the others as they are.

    It is the copy among Mass, but among Calc where calcifications are chosen and masses are not.
    That the two are equal is for the worker to confirm.
    """
    first = "Calc" if "calcification" in kinds and "mass" not in kinds else "Mass"
    united = dict(records)
    for name, record in records.items():
        twin = records.get(record.attributes.get("twin", ""))
        if not name.startswith(first) or not twin or twin.attributes.get("twin") != name:
            continue
        united[name] = _merged(record, twin)
        del united[twin.record_id]
        for place, one in enumerate(left_out):
            if one.record_id == twin.record_id:  # more files of the film: to be compared with it
                left_out[place] = replace(one, record_id=name)
        message = f"the same film as {name}, merged with it"
        left_out.append(LeftOut("merged_twin", message, (twin.image,), twin.record_id))
    return united


def _merged(record: Record, twin: Record) -> Record:
    """Return a record with the lesions and the rows of its twin too.

    A lesion keeps its id, but for one of the twin that the record has as well: that is "Calc-1".
    """
    taken = {lesion.lesion_id for lesion in record.lesions}
    lesions = list(record.lesions)
    for lesion in twin.lesions:
        number = lesion.lesion_id
        name = f"{twin.record_id[:4]}-{number}" if number in taken else number
        lesions.append(replace(lesion, lesion_id=name))
    notes = record.notes
    if record.split != twin.split:
        notes += (f"published in {record.split} and, as {twin.record_id}, in {twin.split}",)
    return replace(
        record,
        birads=highest_birads((record.birads, twin.birads)),
        density=record.density or twin.density,
        pathology=worst_pathology((record.pathology, twin.pathology)),
        lesions=tuple(lesions),
        rows=(*record.rows, *twin.rows),
        suspicious={},
        attributes={**record.attributes, "merged": twin.record_id},
        notes=notes,
    )


def _record(
    cases: list[_Case],
    files: Mapping[str, list[str]],
    left_out: list[LeftOut],
) -> Record:
    record_id = cases[0].record_id
    match = _FOLDER.fullmatch(record_id)
    assert match is not None
    series = next((case.image_series for case in cases if case.image_series), "")
    images = files.get(series, [])
    if len(images) > 1:
        message = f"the same series as {images[0]}"
        left_out.append(LeftOut("duplicate_image", message, tuple(images[1:]), record_id))
    found = tuple(_lesion(case, files) for case in cases)
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
    )


def _lesion(case: _Case, files: Mapping[str, list[str]]) -> Lesion:
    row = case.row
    candidates = tuple(name for uid in case.mask_series for name in files.get(uid, []))
    shape: Shape = RasterAmong(candidates)
    if row.damage or not case.mask_series:
        message = row.damage or "the row has no readable path of mask or crop"
        shape = Unreadable("unreadable_row", message)
    elif not candidates:
        message = f"the mask of abnormality {row.get('abnormality_id')} is not in the source"
        shape = Unreadable("mask_missing", message)
    kind = row.get("abnormality_type").lower()
    return Lesion(
        lesion_id=row.get("abnormality_id"),
        kind="mass" if case.record_id.startswith("Mass") else "calcification",
        label=kind,
        shape=shape,
        source=candidates[0] if candidates else row.item,
        pathology=pathology_word(row.get("pathology")),
        birads=row.get("assessment"),
        attributes={key: row.get(key) for key in _KEPT if row.get(key)},
    )
