"""Files of a pairs folder that no table names."""

from __future__ import annotations

from pathlib import Path

from bcseg import pairs
from bcseg.convert import lesion_file
from bcseg.ignoring import ignore_file, ignored_lesions
from bcseg.lock import PART
from bcseg.store import files_below
from bcseg.verify.findings import Findings
from bcseg.verify.tables import Tables

_FILE_FOLDERS = ("images", "masks", "lesions", "ignore")


def check_names(folder: Path, tables: Tables, found: Findings, *, lesion_masks: bool) -> None:
    """List files that no table names."""
    if not (folder / pairs.ARCHIVE).is_file():
        found.fail("missing_table", "the table is not there", pairs.ARCHIVE)
    promised = {row[column] for row in tables.records for column in ("image", "mask")}
    promised |= {
        ignore_file(record_id)
        for record_id, rows in tables.lesions.items()
        if ignored_lesions(rows)
    }
    if lesion_masks:
        for record_id, lesions in tables.lesions.items():
            for row in lesions:
                if row["in_mask"] == "1":
                    promised.add(lesion_file(record_id, row["lesion_id"], row["kind"]))
    names = [*files_below(folder, *_FILE_FOLDERS)]
    names += [path.name for path in folder.glob(f".*{PART}")]
    for name in sorted(names):
        if name.rsplit("/", 1)[-1].startswith("."):
            found.add("note", "temporary_file", "left by a run that was killed, or a system", name)
        elif name not in promised and not tables.damaged & {pairs.RECORDS, pairs.LESIONS}:
            found.fail("orphan_file", "no table names it", name)
