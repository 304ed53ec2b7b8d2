"""The tables of a selection: those of the pairs, cut down, and the manifest as understood."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import Row, checked_rows, problem_row
from bcseg.scores.table import SCORES, read_scores
from bcseg.scores.table import table_bytes as scores_bytes
from bcseg.select.catalogue import Pair
from bcseg.select.manifest import OWN_COLUMNS
from bcseg.select.matching import Choice
from bcseg.select.plan import Part, Plan
from bcseg.store import write_atomic


def write_tables(part: Part, to: Path, manifest_sha256: str) -> str:
    """Write the tables, restricted to the kept records; return the content hash."""
    ids = {row["record_id"] for row in part.kept}

    def kept(table: str) -> list[Row]:
        return [row for row in checked_rows(part.folder, table) if row["record_id"] in ids]

    lesions, problems = kept(pairs.LESIONS), kept(pairs.PROBLEMS)
    tables = {
        pairs.RECORDS: part.kept,
        pairs.LESIONS: lesions,
        pairs.PROBLEMS: problems,
        pairs.LEFT_OUT: _left_out_rows(part),
    }
    for name, rows in tables.items():
        write_atomic(to / name, pairs.table_bytes(name, rows))
    write_atomic(to / pairs.ARCHIVE, _archive(part, ids))
    scores = [row for row in read_scores(part.folder) if row["record_id"] in ids]
    if scores:
        write_atomic(to / SCORES, scores_bytes(scores))
    licence = part.folder.path / pairs.LICENCE
    if licence.is_file():
        write_atomic(to / pairs.LICENCE, licence.read_bytes())
    content = pairs.content_sha256(to)
    changed = {
        "records": len(ids),
        "lesions_in_masks": sum(row["in_mask"] == "1" for row in lesions),
        "problems": dict(sorted(Counter(row["code"] for row in problems).items())),
        "selection": _section(part, manifest_sha256),
        "content_sha256": content,
    }
    rest = {key: value for key, value in part.document.items() if key not in changed}
    pairs.write_document(to / pairs.DATASET, rest | changed)
    return content


def _archive(part: Part, ids: set[str]) -> bytes:
    try:
        return pairs.archive_bytes(
            line for line in part.folder.archive() if line["record_id"] in ids
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{pairs.ARCHIVE} is damaged", where=str(part.folder.path)) from error


def _section(part: Part, manifest_sha256: str) -> dict[str, Any]:
    """Return what dataset.json says about the selection; one made of a selection keeps both."""
    earlier = part.document.get("selection")
    return {
        "manifest_sha256": manifest_sha256,
        "source_content_sha256": part.content,
        "source_records": len(part.records),
        "decisions": part.decisions,
        "left_out": part.left_out(),
    } | ({"earlier": earlier} if earlier else {})


def _left_out_rows(part: Part) -> list[Row]:
    return [
        problem_row(
            part.dataset,
            row["record_id"],
            "left_out",
            part.codes[row["record_id"]],
            part.messages[row["record_id"]],
            row["source_image"],
        )
        for row in sorted(part.records, key=lambda row: row["record_id"])
        if part.codes[row["record_id"]]
    ]


def selection_table(plan: Plan) -> bytes:
    """Return every row of the manifest with what it meant: itself a manifest of the same pairs.

    `taken` is 1 where the pair was taken; all other columns are carried through.
    """
    others = [name for name in plan.manifest.columns if name not in (*OWN_COLUMNS, "taken")]
    taken = {
        (part.dataset, row["record_id"]) for part in plan.parts for row in part.kept
    }  # fmt: skip
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*OWN_COLUMNS, "taken", *others])
    for choice in sorted(plan.choices, key=_table_order):
        row = choice.row
        dataset, record_id = choice.pair or (row.cell("dataset"), row.cell("record_id"))
        writer.writerow(
            [
                dataset,
                record_id,
                choice.lesion_id or row.cell("lesion_id"),
                choice.decision,
                row.cell("annotation_sha256"),
                int(choice.pair in taken),
                *(row.cells.get(name, "") for name in others),
            ]
        )
    return text.getvalue().encode()


def _table_order(choice: Choice) -> tuple[bool, Pair, str, int]:
    return choice.pair is None, choice.pair or ("", ""), choice.lesion_id, choice.row.number
