"""What became of a record, a file or a UID of an archive: read from the tables of its pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from bcseg.errors import UsageError
from bcseg.ignoring import is_ignored
from bcseg.names import nearest, path_parts, spellings
from bcseg.pairs import (
    LEFT_OUT,
    LESIONS,
    PROBLEMS,
    RECORDS,
    PairsFolder,
    Row,
    checked_rows,
    counts_files,
    reason_order,
)
from bcseg.remote import journal_of

_MOST = 20  # answers to one word; "1-1.dcm" is the name of thousands of files


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The fate of one record, or of one file of the archive.

    `fate`: written, left_out, failed or warning (something was noted, nothing else is known).
    `file`: the file that was asked for, where the fate is its own and not its record's.
    `lesions`: lesion_id, kind, in_mask, area_px, area_mm2, source, ignored (1: rejected by a
    selection). `warnings`: (code, message).
    """

    dataset: str
    fate: str
    record_id: str = ""
    file: str = ""
    code: str = ""
    message: str = ""
    lesions: tuple[Row, ...] = ()
    image: str = ""
    mask: str = ""
    source_image: str = ""
    sources: tuple[str, ...] = ()  # of the lesions
    sop_instance_uid: str = ""
    notes: str = ""
    warnings: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        warnings = [{"code": code, "message": message} for code, message in self.warnings]
        return values | {
            "lesions": list(self.lesions),
            "sources": list(self.sources),
            "warnings": warnings,
        }

    def text(self) -> str:
        """Return the answer for people: a line on the fate, then what belongs to it."""
        what = " ".join(filter(None, (self.dataset, self.file or self.record_id)))
        why = f": {self.message} [{self.code}]" if self.code else ""
        lines = [f"{what}: {self.fate.replace('_', ' ')}{why}"]
        if self.file and self.record_id:
            lines.append(f"  {'record':8} {self.record_id}")
        named = (
            ("image", self.image),
            ("mask", self.mask),
            ("source", self.source_image if self.source_image != self.file else ""),
            ("contours", ", ".join(self.sources)),
            ("uid", self.sop_instance_uid),
            ("notes", self.notes),
        )
        lines += [f"  {title:8} {value}" for title, value in named if value]
        lines += _lesion_lines(self.lesions)
        lines += [f"  {'warning':8} {message} [{code}]" for code, message in self.warnings]
        return "\n".join(lines)


def _lesion_lines(lesions: Sequence[Row]) -> list[str]:
    if not lesions:
        return []
    inside = sum(row["in_mask"] == "1" for row in lesions)
    lines = [f"  {'lesions':8} {inside} of {len(lesions)} in the mask"]
    for row in lesions:
        area = f"{row['area_px']} px" + (f", {row['area_mm2']} mm2" if row["area_mm2"] else "")
        place = "in the mask" if row["in_mask"] == "1" else "not in the mask"
        place = "rejected, in ignore/" if row["ignored"] else place
        lines.append(f"  {'':8} {row['lesion_id']} {row['kind']}, {area}, {place}, {row['source']}")
    return lines


def answers(folders: list[PairsFolder], word: str) -> list[Answer]:
    """Return what became of what `word` names, sorted by dataset and record.

    `word`: a record id, case id, SOP instance UID, record and lesion id ("..._LEFT_MLO_2", as
    CBIS-DDSM names its folders), a folder or a file of the archive or of the pairs (with or
    without its folders), a row of a table ("outlines.csv#12"), or a file name of the older
    collection. Raises UsageError, with the nearest known words, if nothing is called so.
    """
    books = [_Book(folder) for folder in folders]
    for search in (_by_id, _by_lesion, _by_file, _by_journal, _by_folder, _by_stem):
        found = [answer for book in books for answer in search(book, word.strip())]
        if len(found) > _MOST:
            raise UsageError(
                f"{word!r} names {len(found)} things",
                hint="give more of it: the folders before a file name, or a record id",
            )
        if found:
            return sorted(found, key=lambda one: (one.dataset, one.record_id, one.file))
    known = {name for book in books for name in book.words()}
    last = (path_parts(word) or [word])[-1]
    near = nearest(last, known, count=3) or nearest([*spellings(last)][-1], known, count=3)
    raise UsageError(
        f"nothing here is called {word!r}",
        where=", ".join(str(folder.path) for folder in folders),
        hint=f"do you mean {' or '.join(near)}?" if near else "a record id, a file name, or a UID",
    )


# ------------------------------------------------------------------------------ the tables


@dataclass(slots=True)
class _Book:
    """The tables of a pairs folder, by record."""

    folder: PairsFolder
    name: str = ""
    records: dict[str, Row] = field(default_factory=dict)
    lesions: dict[str, list[Row]] = field(default_factory=dict)
    remarks: list[Row] = field(default_factory=list)  # rows of left_out.csv and problems.csv

    def __post_init__(self) -> None:
        self.name = self.folder.name
        self.records = {row["record_id"]: row for row in checked_rows(self.folder, RECORDS)}
        for row in checked_rows(self.folder, LESIONS):
            self.lesions.setdefault(row["record_id"], []).append(row)
        self.remarks = checked_rows(self.folder, PROBLEMS) + checked_rows(self.folder, LEFT_OUT)

    def ids(self) -> set[str]:
        """Return all record ids, written or not."""
        return {*self.records, *(row["record_id"] for row in self.remarks if row["record_id"])}

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield every file that the tables name, with its record id, which may be empty."""
        for record_id, row in self.records.items():
            for column in ("source_image", "image", "mask"):
                yield row[column], record_id
        for record_id, lesions in self.lesions.items():
            for row in lesions:
                yield row["source"], record_id
        for row in self.remarks:
            yield row["source"], row["record_id"]

    def words(self) -> Iterator[str]:
        """Yield everything that a user might have meant."""
        yield from self.ids()
        for source, _ in self.files():
            if source:
                yield PurePosixPath(source).name
        yield from (row["sop_instance_uid"] for row in self.records.values())


# ------------------------------------------------------------------------------ searches


def _by_id(book: _Book, word: str) -> list[Answer]:
    wanted = word.casefold()
    found = [
        record_id
        for record_id in book.ids()
        if wanted in (record_id.casefold(), f"{book.name}_{record_id}".casefold())
    ]
    found += [
        record_id for record_id, row in book.records.items() if row["sop_instance_uid"] == word
    ] * bool(word)
    return [_about_record(book, record_id) for record_id in dict.fromkeys(found)]


def _by_lesion(book: _Book, word: str) -> list[Answer]:
    """Return the record of a word that is a record id, "_" and the id of one of its lesions."""
    name, _, lesion_id = word.rpartition("_")
    wanted = (name.casefold(), name.casefold().removeprefix(f"{book.name}_"))
    found = [record_id for record_id in book.ids() if record_id.casefold() in wanted]
    return [
        _about_record(book, record_id)
        for record_id in found
        if any(row["lesion_id"] == lesion_id for row in book.lesions.get(record_id, ()))
    ]


def _by_folder(book: _Book, word: str) -> list[Answer]:
    """Return answers about the files in a folder of the archive, named without its parents."""
    wanted = word.strip("/").casefold()
    found = [
        (source, record_id)
        for source, record_id in book.files()
        if wanted in source.casefold().split("/")[:-1]
    ]
    return _about_files(book, found, exact_row=False)


def _by_file(book: _Book, word: str) -> list[Answer]:
    """Return answers about the files whose path ends as `word` does, or the other way round."""
    wanted = "/".join(path_parts(word)).casefold()
    own = "/".join(path_parts(str(book.folder.path.absolute()))).casefold()
    wanted = wanted.removeprefix(f"{own}/")
    lesion_mask = _lesion_mask(book, wanted)
    if lesion_mask:
        return [_about_record(book, lesion_mask)]
    found = [
        (source, record_id)
        for source, record_id in book.files()
        if source and _same_file(source.casefold(), wanted, book.name)
    ]
    return _about_files(book, found, exact_row="#" in word)


def _lesion_mask(book: _Book, wanted: str) -> str:
    """Return the record of lesions/20588334/1-mass.png."""
    parts = wanted.split("/")
    if len(parts) >= 3 and parts[-3] == "lesions":
        return next((one for one in book.records if one.casefold() == parts[-2]), "")
    return ""


def _same_file(source: str, wanted: str, dataset: str) -> bool:
    if "#" in source and "#" not in wanted:
        source = source.rsplit("#", 1)[0]
    return (
        source == wanted
        or source.endswith(f"/{wanted}")
        or ("/" in wanted and source.endswith(wanted))
        or wanted.endswith(f"/{source}")
        or wanted == f"{dataset}/{source}"
    )


def _by_stem(book: _Book, word: str) -> list[Answer]:
    """Return answers about a name without its ending or with suffixes of the older collection."""
    parts = path_parts(word)
    for wanted in spellings(parts[-1]) if parts else ():
        found = _by_id(book, wanted)
        if found:
            return found
        files = [
            (source, record_id)
            for source, record_id in book.files()
            if source and _stem(source) == wanted.casefold()
        ]
        if files:
            return _about_files(book, files, exact_row=False)
    return []


def _stem(source: str) -> str:
    return PurePosixPath(source.rsplit("#", 1)[0]).stem.casefold()


def _by_journal(book: _Book, word: str) -> list[Answer]:
    """Return answers about files that the tables only count ("6 files"): the journal names them."""
    wanted = "/".join(path_parts(word)).casefold()
    found: list[Answer] = []
    for line in journal_of(book.folder.path).lines():
        if wanted in line.casefold():
            found += _journalled(book, line, wanted)
    return found


def _journalled(book: _Book, line: str, wanted: str) -> Iterator[Answer]:
    try:
        entry = json.loads(line)
    except ValueError:  # the torn last line of a run at work
        return
    for _, name, fate, code in entry.get("items", ()):
        if _same_file(name.casefold(), wanted, book.name):
            message = str(code).replace("_", " ")
            yield Answer(
                dataset=book.name,
                fate=fate,
                record_id=entry["id"],
                file=name,
                code=code,
                message=message,
                source_image=book.records.get(entry["id"], {}).get("source_image", ""),
            )


# ------------------------------------------------------------------------------ answers

_NOT_CHOSEN: Row = {
    "severity": "left_out",
    "code": "kind_not_chosen",
    "message": "its kind was not chosen for the mask",
}
_REJECTED: Row = {
    "severity": "left_out",
    "code": "lesion_rejected",
    "message": "rejected by a selection: its pixels are in ignore/",
}


def _about_files(book: _Book, found: Iterable[tuple[str, str]], *, exact_row: bool) -> list[Answer]:
    """Return one answer for each record or file; a row of a table is one of many if not asked."""
    answers: dict[tuple[str, str], Answer] = {}
    for source, record_id in found:
        name = source if exact_row else source.rsplit("#", 1)[0]
        answer = _about_file(book, name, record_id)
        answers.setdefault((answer.record_id, answer.file), answer)
    return list(answers.values())


def _about_file(book: _Book, source: str, record_id: str) -> Answer:
    """Return the file's own fate where it differs from that of its record."""
    row = book.records.get(record_id)
    lesions = [one for one in book.lesions.get(record_id, ()) if _of(one["source"], source)]
    remarks = [one for one in book.remarks if one["record_id"] == record_id]
    own = [one for one in remarks if _of(one["source"], source)]
    if row and source in (row["source_image"], row["image"], row["mask"]):
        return _about_record(book, record_id)
    used = any(one["in_mask"] == "1" for one in lesions)
    final = [one for one in own if one["severity"] != "warning"]
    if record_id and (used or (not row and not _is_beside(own))):
        return _about_record(book, record_id)
    if not final and lesions:
        final = [_REJECTED if any(map(is_ignored, lesions)) else _NOT_CHOSEN]
    remark = (final or own)[0]
    counts = counts_files(remark)  # "6 files": of them this is one
    return Answer(
        dataset=book.name,
        fate=remark["severity"],
        record_id=record_id,
        file=source,
        code=remark["code"],
        message=remark["code"].replace("_", " ") if counts else remark["message"],
        lesions=tuple(map(_lesion, lesions)),
        image=row["image"] if row else "",
        mask=row["mask"] if row else "",
        source_image=row["source_image"] if row else "",
        warnings=tuple(_said(one) for one in own if one["severity"] == "warning" and final),
    )


def _of(item: str, source: str) -> bool:
    """Tell whether an item of the source is the file, or a row of the table, that was asked for."""
    return source in (item, item.rsplit("#", 1)[0])


def _is_beside(rows: Sequence[Row]) -> bool:
    """Tell whether rows are about files that a record does not use ("6 files")."""
    return bool(rows) and all(map(counts_files, rows))


def _about_record(book: _Book, record_id: str) -> Answer:
    row = book.records.get(record_id, {})
    lesions = book.lesions.get(record_id, [])
    remarks = [one for one in book.remarks if one["record_id"] == record_id]
    final = [one for one in remarks if one["severity"] != "warning"]
    final.sort(key=reason_order)
    reason = {} if row and final and final[0]["severity"] != "failed" else (final or [{}])[0]
    fate = "written" if row else reason.get("severity", "warning")
    sources = dict.fromkeys(one["source"].rsplit("#", 1)[0] for one in lesions)
    said = [one for one in remarks if one["severity"] == "warning" or (row and one is reason)]
    return Answer(
        dataset=book.name,
        fate=fate,
        record_id=record_id,
        code="" if row else reason.get("code", ""),
        message="" if row else reason.get("message", ""),
        lesions=tuple(map(_lesion, lesions)),
        image=row.get("image", ""),
        mask=row.get("mask", ""),
        source_image=row.get("source_image", "") or reason.get("source", ""),
        sources=tuple(sources),
        sop_instance_uid=row.get("sop_instance_uid", ""),
        notes=row.get("notes", ""),
        warnings=tuple(map(_said, said)),
    )


def _said(row: Row) -> tuple[str, str]:
    return row["code"], row["message"]


def _lesion(row: Row) -> Row:
    names = ("lesion_id", "kind", "in_mask", "area_px", "area_mm2", "source")
    return {name: row[name] for name in names} | {"ignored": "1" if is_ignored(row) else ""}
