"""The tables of a selection: those of the pairs, cut down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.ignoring import Reduced
from bcseg.pairs import Row, checked_rows, problem_row
from bcseg.scores.table import SCORES, read_scores
from bcseg.scores.table import table_bytes as scores_bytes
from bcseg.select.part import Part
from bcseg.select.plan import Plan
from bcseg.select.reducing import damage_named
from bcseg.store import write_atomic


def write_tables(part: Part, to: Path, plan: Plan, reduced: Mapping[str, Reduced]) -> str:
    """Write the tables, restricted to the kept records; return the content hash.

    `reduced`: records whose mask is not that of the source, by id.
    """
    ids = {row["record_id"] for row in part.kept}
    kept = _kept_rows(part, ids, reduced)
    tables = kept | {pairs.LEFT_OUT: _left_out_rows(part)}
    for name, rows in tables.items():
        write_atomic(to / name, pairs.table_bytes(name, rows))
    write_atomic(to / pairs.ARCHIVE, _archive(part, ids, reduced))
    scores = _scores(part, ids, reduced)
    if scores:
        write_atomic(to / SCORES, scores_bytes(scores))
    licence = part.folder.path / pairs.LICENCE
    if licence.is_file():
        write_atomic(to / pairs.LICENCE, licence.read_bytes())
    content = pairs.content_sha256(to)
    changed = {
        "records": len(ids),
        "lesions_in_masks": sum(row["in_mask"] == "1" for row in kept[pairs.LESIONS]),
        "problems": dict(sorted(Counter(row["code"] for row in kept[pairs.PROBLEMS]).items())),
        "selection": _section(part, plan),
        "content_sha256": content,
    }
    rest = {key: value for key, value in part.document.items() if key not in changed}
    pairs.write_document(to / pairs.DATASET, rest | changed)
    return content


def _kept_rows(part: Part, ids: set[str], reduced: Mapping[str, Reduced]) -> dict[str, list[Row]]:
    def kept(table: str) -> list[Row]:
        return [row for row in checked_rows(part.folder, table) if row["record_id"] in ids]

    new = {
        (record_id, row["lesion_id"]): row
        for record_id, pair in reduced.items()
        for row in pair.lesions
    }
    lesions = kept(pairs.LESIONS)
    return {
        pairs.RECORDS: [
            reduced[row["record_id"]].row if row["record_id"] in reduced else row
            for row in part.kept
        ],
        pairs.LESIONS: [new.get((row["record_id"], row["lesion_id"]), row) for row in lesions],
        pairs.PROBLEMS: kept(pairs.PROBLEMS),
    }


def _archive(part: Part, ids: set[str], reduced: Mapping[str, Reduced]) -> bytes:
    new = {
        (record_id, line["lesion_id"]): line
        for record_id, pair in reduced.items()
        for line in pair.lines
    }
    with damage_named(part.folder):
        return pairs.archive_bytes(
            new.get((line["record_id"], line["lesion_id"]), line)
            for line in part.folder.archive()
            if line["record_id"] in ids
        )


def _scores(part: Part, ids: set[str], reduced: Mapping[str, Reduced]) -> list[Row]:
    """Return the scores of the lesions that are left.

    A lesion without its neighbour is measured as it was; only the agreement of annotators is one
    of whole masks, and unknown now.
    """
    found = []
    for row in read_scores(part.folder):
        record_id = row["record_id"]
        if record_id not in ids or row["lesion_id"] in part.ignored.get(record_id, ()):
            continue
        if record_id in reduced:
            flags = " ".join(flag for flag in row["flags"].split() if flag != "disputed")
            changed = {"flags": flags, "annotator_dice": ""}
            row = row | changed | {"annotation_sha256": reduced[record_id].row["annotation_sha256"]}
        found.append(row)
    return found


def _section(part: Part, plan: Plan) -> dict[str, Any]:
    """Return what dataset.json says about the selection; one made of a selection keeps both."""
    earlier = part.document.get("selection")
    ignored = sum(map(len, part.ignored.values()))
    return (
        {
            "manifest_sha256": plan.manifest_sha256,
            "source_content_sha256": part.content,
            "source_records": len(part.records),
            "decisions": part.decisions,
            "left_out": part.left_out(),
        }
        | ({"criteria": plan.criteria} if plan.criteria else {})
        | ({"ignored_lesions": ignored} if ignored else {})
        | ({"earlier": earlier} if earlier else {})
    )


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
