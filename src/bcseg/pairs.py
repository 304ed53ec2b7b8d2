"""The pairs folder: names, tables and their columns. All commands after `refactor` read this."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bcseg import cells
from bcseg.cells import plain_cell
from bcseg.errors import UsageError
from bcseg.store import JOURNALS, remove_tree, write_atomic

FORMAT = 2  # of the pairs folder: raised by every change of pixels or tables
SCHEMA_VERSION = 1  # of JSON documents on stdout and of dataset.json

RECORDS, LESIONS, ARCHIVE = "records.csv", "lesions.csv", "lesions.jsonl.gz"
PROBLEMS, LEFT_OUT, DATASET = "problems.csv", "left_out.csv", "dataset.json"
LICENCE = "LICENCE.txt"
SHARDS = ".shards"  # where shards keep their books until they are merged
SHARD = "shard.json"  # among them: what a finished shard has to say beside its journal
# what other commands put beside the pairs, unless told to put it elsewhere
REPORT, OVERLAYS, SPLITS = "report.html", "overlays", "splits.csv"

RECORD_COLUMNS = tuple(
    """dataset record_id image mask patient_id group laterality view split kinds n_lesions height
    width bit_depth bits_stored value_min value_max pixel_spacing_mm mask_pixels mask_area_mm2
    age birads density pathology annotator source_image sop_instance_uid source_sha256
    image_sha256 mask_sha256 annotation_sha256 transform attributes notes""".split()  # noqa: SIM905
)
LESION_COLUMNS = tuple(
    """dataset record_id lesion_id in_mask kind label annotator geometry area_px area_mm2 bbox_x
    bbox_y bbox_w bbox_h n_points closed self_intersecting clipped pathology birads source
    source_sha256 attributes""".split()  # noqa: SIM905
)
PROBLEM_COLUMNS = ("dataset", "record_id", "severity", "code", "message", "source")
COLUMNS = {
    RECORDS: RECORD_COLUMNS,
    LESIONS: LESION_COLUMNS,
    PROBLEMS: PROBLEM_COLUMNS,
    LEFT_OUT: PROBLEM_COLUMNS,
}

UNREADABLE = (OSError, ValueError, csv.Error)  # what reading a table can raise

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class PairsFolder:
    """One dataset folder."""

    path: Path

    @property
    def name(self) -> str:
        """The dataset's name."""
        return str(self.document()["dataset"])

    def document(self) -> dict[str, Any]:
        """Return dataset.json; raises UsageError if there is none that can be read."""
        try:
            document = json.loads((self.path / DATASET).read_text(encoding="utf-8"))
            if isinstance(document, dict) and "dataset" in document:
                return document
        except (OSError, ValueError):
            pass
        raise UsageError(
            f"{DATASET} is missing or damaged",
            where=str(self.path),
            hint="run the same `bcseg refactor` again: it keeps the finished pairs",
        )

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table by its file name; an absent table has none."""
        path = self.path / table
        return read_rows(path) if path.is_file() else []

    def archive(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of lesions.jsonl.gz."""
        with open_archive(self.path) as file:
            for line in file:
                yield json.loads(line)


@contextlib.contextmanager
def open_archive(folder: Path) -> Generator[TextIO, None, None]:
    """Open lesions.jsonl.gz for reading, as text."""
    with (
        (folder / ARCHIVE).open("rb") as packed,
        gzip.open(packed, "rt", encoding="utf-8") as file,
    ):
        yield file


def read_rows(path: Path, *, strict: bool = False) -> list[Row]:
    """Return the rows of any CSV table; raises UNREADABLE. `strict`: quotes must be in order."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, strict=strict)
        return [
            {name: plain_cell(cell) if cell else cell for name, cell in row.items()} for row in rows
        ]


def checked_rows(folder: PairsFolder, table: str) -> list[Row]:
    """Return the rows of a table; raises UsageError if it is not as bcseg wrote it."""
    damaged = UsageError(
        f"{table} is damaged",
        where=str(folder.path),
        hint="run the same `bcseg refactor` again: it writes the tables anew",
    )
    try:
        rows = folder.rows(table)
    except UNREADABLE as error:
        raise damaged from error
    columns = {*COLUMNS[table]}
    if any(None in row.values() or not columns <= row.keys() for row in rows):
        raise damaged
    return rows


def problem_row(
    dataset: str, record_id: str, severity: str, code: str, message: str, source: str
) -> Row:
    """Return a row of problems.csv or left_out.csv; the message becomes one line."""
    message = " ".join(message.split())
    cells = (dataset, record_id, severity, code, message, source)
    return dict(zip(PROBLEM_COLUMNS, cells, strict=True))


def counts_files(row: Row) -> bool:
    """Tell whether a row of left_out.csv only counts what a record does not use ("6 files")."""
    return bool(re.match(r"\d+ (?:file|lesion)", row["message"]))


def reason_order(row: Row) -> tuple[bool, bool]:
    """Sort rows about a record so that the one that tells its fate is the first."""
    return row["severity"] != "failed", counts_files(row)


def splits_path(folder: Path, root: Path) -> Path | None:
    """Return the splits.csv that tells of a pairs folder, given by itself or by its root."""
    for place in (root, folder, folder.parent):
        if (place / SPLITS).is_file():
            return place / SPLITS
    return None


def open_root(root: Path) -> list[PairsFolder]:
    """Return the pairs folders of a root, or the one folder that `root` is; sorted by name.

    Raises UsageError if there is none, or if one of them is of a run that has not ended, or of
    shards that nobody has merged.
    """
    for folder in unmerged(root):
        raise UsageError(
            f"the shards of {folder.name} are not merged yet",
            where=str(folder),
            hint=f"when all of them are done: bcseg merge {root}",
        )
    if (root / DATASET).is_file():
        return [PairsFolder(root)]
    for folder in unfinished(root):
        raise UsageError(
            f"the run that makes {folder.name} has not ended",
            where=str(folder),
            hint="wait for it; if it was stopped, the same `bcseg refactor` again: it keeps the"
            " finished pairs; or name the folder of another dataset",
        )
    found = sorted(path.parent for path in root.glob(f"*/{DATASET}")) if root.is_dir() else []
    if not found:
        raise UsageError(
            "no pairs here" if root.exists() else "no such folder",
            where=str(root),
            hint="make some: bcseg refactor DATASET SOURCE; or name the root, or set BCSEG_DATA",
        )
    return [PairsFolder(path) for path in found]


def unmerged(root: Path) -> list[Path]:
    """Return the folders of a root, or the one folder that it is, that hold shards; sorted."""
    places = [root / SHARDS, *root.glob(f"*/{SHARDS}")]
    return sorted(place.parent for place in places if place.is_dir())


def unfinished(root: Path) -> list[Path]:
    """Return the folders of a root, or the one folder that it is, that have no tables yet."""
    begun = {path.parent for name in JOURNALS for path in (root / name, *root.glob(f"*/{name}"))}
    return sorted(
        folder
        for folder in begun
        if not (folder / DATASET).exists() and any((folder / name).exists() for name in JOURNALS)
    )


def table_bytes(table: str, rows: Iterable[Mapping[str, str]]) -> bytes:
    """Return a table as UTF-8 CSV with the columns of its contract."""
    return cells.table_bytes(COLUMNS[table], rows)


def archive_bytes(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Return lesions.jsonl.gz: no time and no name in it: equal lesions, equal bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=6) as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":"), sort_keys=True).encode() + b"\n")
    return packed.getvalue()


def remove_pair(folder: Path, record_id: str) -> None:
    """Remove every file of a pair, whether a table knows it or not."""
    for part in ("images", "masks"):
        (folder / part / f"{record_id}.png").unlink(missing_ok=True)
    remove_tree(folder / "lesions" / record_id)


def withdraw_tables(folder: Path) -> None:
    """Remove the tables, before they are no longer true; dataset.json, which vouches, first."""
    for name in (DATASET, *COLUMNS, ARCHIVE):
        (folder / name).unlink(missing_ok=True)


def write_tables(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the tables of one run; if any is another one now, dataset.json is to be written anew.

    So where dataset.json is, the tables belong together, whenever a run is killed.
    """
    if any(_bytes_of(folder / name) != data for name, data in files.items()):
        withdraw_tables(folder)
    for name, data in files.items():
        write_atomic(folder / name, data)


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def content_sha256(folder: Path) -> str:
    """Return the hash of a pairs folder's content: its tables, which hold the pixel hashes."""
    digest = hashlib.sha256()
    for name in (*COLUMNS, ARCHIVE):
        table = io.BytesIO((folder / name).read_bytes())
        with gzip.GzipFile(fileobj=table) if name == ARCHIVE else table as file:
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document for people and programs."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode())


def number(value: float) -> str:
    """Return a number as the tables have it: up to six digits behind the point, none needless."""
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def json_cell(values: Mapping[str, Any]) -> str:
    """Return a mapping as a JSON cell, empty for none."""
    return (
        json.dumps(values, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        if values
        else ""
    )
