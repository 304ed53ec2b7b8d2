"""Images that are there twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from bcseg.pairs import Row
from bcseg.verify.findings import Findings, Severity


def same_images(records: Iterable[Row]) -> list[Row]:
    """List images that are there twice, by pixel hash, within a dataset and across."""
    by_hash: defaultdict[str, list[Row]] = defaultdict(list)
    for row in records:
        by_hash[row["image_sha256"]].append(row)
    rows = []
    for sha256, same in by_hash.items():
        first, *others = same
        for other in others if sha256 else ():
            severity, code, word = _verdict_on_twins(first, other)
            found = Findings(other["dataset"], other["record_id"])
            found.add(
                severity,
                code,
                f"the same pixels as {first['dataset']} {first['record_id']}{word}",
                other["image"],
            )
            rows += found.rows
    return rows


def _verdict_on_twins(first: Row, other: Row) -> tuple[Severity, str, str]:
    """Return how bad it is: a patient in two places under two names spoils every split."""
    if first["dataset"] == other["dataset"]:
        if first["source_image"] == other["source_image"]:
            return "note", "same_film", ", by another annotator"
        named = first["record_id"] in other["notes"] or other["record_id"] in first["notes"]
        if named and first["group"] == other["group"]:
            return "note", "same_film", ", as the archive has it"
        if first["group"] and first["group"] == other["group"]:
            return "warning", "same_image", ", of the same patient"
    return "failed", "same_image_other_patient", ", of another patient or of an unknown one"
