"""A root of one dataset whose tables a test writes cell by cell; its files are one byte each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archives import rows
from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.scores.table import SCORES, table_bytes
from bcseg.select import Selecting, Selection, select_pairs


class Root:
    """One dataset in a root, and where a selection of it goes."""

    def __init__(self, folder: Path, dataset: str = "mine") -> None:
        self.root = folder / "data"
        self.to = folder / "selected"
        self.dataset = dataset
        self.folder = self.root / dataset
        self.records: list[dict[str, str]] = []
        self.lesions: list[dict[str, str]] = []
        self.scores: list[dict[str, str]] = []

    def record(self, record_id: str, *lesions: dict[str, str], **cells: str) -> None:
        """Add a record; a lesion has cells of lesions.csv and, in `score`, of scores.csv."""
        key = {"dataset": self.dataset, "record_id": record_id}
        names = {"image": f"images/{record_id}.png", "mask": f"masks/{record_id}.png"}
        row = {"n_lesions": str(len(lesions)), "mask_pixels": "9", "annotation_sha256": "a" * 64}
        self.records.append(key | names | row | cells)
        for number, cells in enumerate(lesions):
            own = key | {"lesion_id": str(number)}
            table = {name: cell for name, cell in cells.items() if name in pairs.LESION_COLUMNS}
            self.lesions.append(own | {"in_mask": "1", "kind": "mass"} | table)
            score = {name: cell for name, cell in cells.items() if name not in table}
            self.scores.append(own | {"annotation_sha256": "a" * 64} | score)

    def write(self, *, scored: bool = True, files_of: set[str] | None = None) -> Path:
        """Write the root, with the files of all its records or of some; return it."""
        for row in self.records:
            if files_of is not None and row["record_id"] not in files_of:
                continue
            for name in (row["image"], row["mask"]):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_bytes(b"x")
        tables = {pairs.RECORDS: self.records, pairs.LESIONS: self.lesions}
        for name in pairs.COLUMNS:
            data = pairs.table_bytes(name, tables.get(name, []))
            (self.folder / name).write_bytes(data)
        (self.folder / pairs.ARCHIVE).write_bytes(pairs.archive_bytes([]))
        content = pairs.content_sha256(self.folder)
        about = {"dataset": self.dataset, "options": {}, "content_sha256": content}
        pairs.write_document(self.folder / pairs.DATASET, about)
        if scored:
            (self.folder / SCORES).write_bytes(table_bytes(self.scores))
        return self.root

    def select(self, **how: object) -> Selection:
        """Select anew."""
        shutil.rmtree(self.to, ignore_errors=True)
        return select_pairs(self.root, None, self.to, Selecting(**how))  # type: ignore[arg-type]

    def ids(self, **how: object) -> list[str]:
        """Return the ids of what is selected."""
        self.select(**how)
        return [row["record_id"] for row in rows(self.to / self.dataset, pairs.RECORDS)]

    def left_out(self) -> dict[str, tuple[str, str]]:
        """Return code and message of what was left out, by id."""
        table = rows(self.to / self.dataset, pairs.LEFT_OUT)
        return {row["record_id"]: (row["code"], row["message"]) for row in table}

    def refuse(self, **how: object) -> str:
        """Return the message of a refusal; nothing may be written."""
        with pytest.raises(UsageError) as caught:
            self.select(**how)
        assert not self.to.exists()
        return str(caught.value)
