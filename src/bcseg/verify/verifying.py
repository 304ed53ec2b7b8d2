"""Verify pairs folders: each by its tables, files and archive, then all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bcseg import adapters, pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, Row
from bcseg.verify.against_source import compare_with_source
from bcseg.verify.duplicates import same_images
from bcseg.verify.files import check_files
from bcseg.verify.findings import Findings, read_baseline
from bcseg.verify.options import Verifying
from bcseg.verify.orphans import check_names
from bcseg.verify.pair import Context
from bcseg.verify.report import Checked, Report
from bcseg.verify.splits import made_splits, published_splits
from bcseg.verify.tables import check_content, check_tables, read_tables


def verify(folders: Sequence[PairsFolder], how: Verifying) -> Report:
    """Check pairs folders against their own tables and, where given, against their archives.

    Raises UsageError for a baseline that cannot be read, and for a source whose dataset is not
    among the folders; ArchiveError for a source that is no archive. All else is a finding.
    """
    known = read_baseline(how.baseline) if how.baseline else frozenset()
    names = [_name(folder) for folder in folders]
    sources = _sources_by_dataset(how.sources, names)
    checked: list[Checked] = []
    findings: list[Row] = []
    everything: list[Row] = []
    for folder, name in zip(folders, names, strict=True):
        one, found, records = _verify_folder(folder, name, sources.get(name), how)
        checked.append(one)
        findings += found.rows
        everything += records
    findings += same_images(everything)
    findings += published_splits(everything)
    places = {place for folder in folders for place in (folder.path, folder.path.parent)}
    for place in sorted(one / pairs.SPLITS for one in places):
        if place.is_file():
            findings += made_splits(place, everything)
    findings.sort(key=lambda row: (row["dataset"], row["record_id"], row["code"], row["source"]))
    return Report(tuple(checked), tuple(findings), known, how.fast)


def _name(folder: PairsFolder) -> str:
    try:
        return folder.name
    except UsageError:
        return folder.path.name


def _sources_by_dataset(
    sources: Mapping[str, Path], names: Sequence[str]
) -> dict[str, tuple[str, Path]]:
    """Return the adapter's name and the archive of each dataset."""
    found = {}
    for word, location in sources.items():
        name = adapters.get(word).INFO.name
        if name not in names:
            raise UsageError(
                f"there are no pairs of {name} here",
                hint=f"--source NAME=PATH with one of {', '.join(names)}",
            )
        found[name] = (word, location)
    return found


def _verify_folder(
    folder: PairsFolder, name: str, source: tuple[str, Path] | None, how: Verifying
) -> tuple[Checked, Findings, list[Row]]:
    found = Findings(name)
    document = _document(folder, found)
    tables = read_tables(folder, found)
    check_tables(tables, document, found)
    content = check_content(folder, document, found)
    context = Context(
        folder.path,
        name,
        lesion_masks=_option(document, "masks") == "lesion",
        with_empty=bool(_option(document, "with_empty")),
    )
    check_names(folder.path, tables, found, lesion_masks=context.lesion_masks)
    records = list({row["record_id"]: row for row in tables.records}.values())
    read = check_files(tables, records, context, found, how)
    compared = 0
    if source:
        compared = compare_with_source(folder, document, tables, source, found, how)
    recorded = str(document.get("content_sha256", ""))
    one = Checked(name, folder.path, len(records), read, content, recorded, compared)
    return one, found, records


def _document(folder: PairsFolder, found: Findings) -> dict[str, Any]:
    try:
        return folder.document()
    except UsageError as error:
        found.fail("unreadable_table", str(error.args[0]), pairs.DATASET)
        return {}


def _option(document: Mapping[str, Any], name: str) -> Any:
    options = document.get("options")
    return options.get(name) if isinstance(options, dict) else None
