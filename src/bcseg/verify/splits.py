"""Patients in two parts of a split: of the published one, or of one that was made here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from bcseg.pairs import SPLITS, UNREADABLE, Row, read_rows
from bcseg.text import counted
from bcseg.verify.findings import Findings, reason

# the archive's own split has patients in both parts, and says so (CBIS-DDSM: 31 of them)
_PUBLISHED_IN_BOTH = frozenset({"cbis"})


def published_splits(records: Iterable[Row]) -> list[Row]:
    """List patients in two parts of the archive's own split."""
    parts: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in records:
        if row["group"] and row["split"]:
            parts[row["dataset"], row["group"]].add(row["split"])
    rows = []
    for (dataset, group), splits in sorted(parts.items()):
        if len(splits) > 1:
            found = Findings(dataset)
            message = f"{group} is in {' and '.join(sorted(splits))} of the published split"
            if dataset in _PUBLISHED_IN_BOTH:
                found.add("note", "published_in_two_splits", message, group)
            else:
                found.fail("patient_in_two_splits", message, group)
            rows += found.rows
    return rows


def made_splits(path: Path, records: Iterable[Row]) -> list[Row]:
    """List patients in two parts of a split that was made of these pairs.

    Patients are those of records.csv and, where it names others, of the split (column group). A
    row has `split` or `fold` or both. A record in several rows has one for each fold: there a
    patient may change from fold to fold, but not within one.
    """
    groups = {(row["dataset"], row["record_id"]): row["group"] for row in records}
    datasets = {dataset for dataset, _ in groups}
    odd = Findings("")
    try:
        rows = [row for row in read_rows(path) if row.get("dataset") in datasets]
    except UNREADABLE as error:
        odd.fail("unreadable_table", f"the table cannot be read ({reason(error)})", SPLITS)
        return odd.rows
    keys = [(row.get("dataset") or "", row.get("record_id") or "") for row in rows]
    repeated = len(set(keys)) < len(keys)
    parts: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for key, row in zip(keys, rows, strict=True):
        if key not in groups:
            odd.dataset = key[0]
            odd.fail("unknown_record", "not in records.csv", SPLITS, key[1])
            continue
        fold, split = row.get("fold") or "", row.get("split") or ""
        place, part = (fold, split) if repeated and split else ("", f"{split} {fold}".strip())
        for group in {groups[key], row.get("group") or ""} - {""}:
            parts[key[0], group, place].add(part)
    for dataset, count in sorted(Counter(d for d, _ in groups.keys() - {*keys}).items()):
        odd.dataset = dataset
        message = f"{counted(count, 'pair')} not in the split: run `bcseg split` again"
        odd.add("warning", "not_in_split", message, SPLITS)
    for (dataset, group, _), splits in sorted(parts.items()):
        if len(splits) > 1:
            odd.dataset = dataset
            message = f"{group} is in {' and '.join(sorted(splits))} of {SPLITS}"
            odd.fail("patient_in_two_splits", message, group)
    return odd.rows
