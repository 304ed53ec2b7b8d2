"""Score all lesions of pairs folders and write scores.csv into each."""

from __future__ import annotations

import itertools
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bcseg import executors, pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, Row, checked_rows
from bcseg.run import Progress
from bcseg.scores import work
from bcseg.scores.agreement import Annotators, mark_pasted
from bcseg.scores.calibrate import Accepted, Model, fit_model, read_accepted
from bcseg.scores.flags import flags_of
from bcseg.scores.items import Item, Measured, Result
from bcseg.scores.rank import Ranks, rank_lesions, ranks_from
from bcseg.scores.report import Scored, ScoredFolder
from bcseg.scores.table import COLUMNS, SCORES, table_bytes
from bcseg.store import write_atomic

_EACH = 8  # records for which a worker process is worth its start


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How to score; `calibrate`: a manifest of accepted pairs to learn the ranks from."""

    jobs: int = 0  # 0: the CPUs that this process may use
    calibrate: Path | None = None
    dry_run: bool = False
    progress: Progress = lambda done, total: None


@dataclass(slots=True)
class _Dataset:
    """A dataset while it is scored."""

    name: str
    folder: PairsFolder
    records: dict[str, Row]
    lesions: dict[str, dict[str, Row]]
    annotators: Annotators
    measured: list[Measured]
    failures: list[tuple[str, str, str]]


def score(folders: Sequence[PairsFolder], how: Scoring) -> Scored:
    """Score the lesions in the masks of pairs folders; write scores.csv into each.

    Raises UsageError, with nothing written, for damaged tables and for a manifest to calibrate
    with that cannot be used.
    """
    datasets = [_opened(folder) for folder in folders]
    accepted: Accepted = {}
    if how.calibrate:
        accepted = read_accepted(how.calibrate, {one.name: one.folder for one in datasets})
    total = sum(row["n_lesions"] != "0" for one in datasets for row in one.records.values())
    done = 0
    for one in datasets:
        for record_id, result in _results(one, accepted, how):
            one.measured += result.lesions
            if result.problem:
                one.failures.append((record_id, *result.problem))
            done += 1
            how.progress(done, total)
        mark_pasted(one.measured, one.records)
        for lesion in one.measured:
            lesion.scores["annotator_dice"] = one.annotators.dice(lesion.record_id)
    model = fit_model({one.name: one.measured for one in datasets}) if how.calibrate else None
    scored = tuple(_ranked(one, model) for one in datasets)
    if not how.dry_run:
        for part in scored:
            write_atomic(part.folder / SCORES, table_bytes(part.rows))
    return Scored(scored, model.document() if model else None, how.dry_run)


def _opened(folder: PairsFolder) -> _Dataset:
    lesions: defaultdict[str, dict[str, Row]] = defaultdict(dict)
    for row in checked_rows(folder, pairs.LESIONS):
        lesions[row["record_id"]][row["lesion_id"]] = row
    records = {row["record_id"]: row for row in checked_rows(folder, pairs.RECORDS)}
    annotators = Annotators(records.values())
    return _Dataset(folder.name, folder, records, dict(lesions), annotators, [], [])


def _results(one: _Dataset, accepted: Accepted, how: Scoring) -> Iterator[tuple[str, Result]]:
    names: list[str] = []
    items = _named(_items(one, accepted), names)
    results = executors.run(
        work.score_record,
        items,
        workers=how.jobs or min(executors.usable_cpus(), max(1, len(one.records) // _EACH)),
        prepare=work.prepare,
        context=None,
        died=_died,
    )
    for number, result in enumerate(results):
        yield names[number], result


def _named(items: Iterable[Item], names: list[str]) -> Iterator[Item]:
    for item in items:
        names.append(item.row["record_id"])
        yield item


def _died(item: Item) -> Result:
    message = "the worker process was killed, probably for want of memory: try --jobs 1"
    return Result([], ("worker_died", message))


def _items(one: _Dataset, accepted: Accepted) -> Iterator[Item]:
    """Yield the records that have lesions in their mask, by the order of lesions.jsonl.gz."""
    path = one.folder.path / pairs.ARCHIVE
    try:
        grouped = itertools.groupby(one.folder.archive(), key=lambda line: line["record_id"])
        for record_id, group in grouped:
            lines = tuple(line for line in group if line["in_mask"])
            row = one.records.get(record_id)
            if row is None or not lines:
                continue
            one.annotators.add(record_id, lines)
            yield Item(
                one.folder.path,
                row,
                lines,
                one.lesions.get(record_id, {}),
                accepted.get((one.name, record_id), frozenset()),
            )
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
        raise UsageError(
            f"{pairs.ARCHIVE} is damaged",
            where=str(path),
            hint="run the same `bcseg refactor` again: it writes the tables anew",
        ) from error


def _ranked(one: _Dataset, model: Model | None) -> ScoredFolder:
    scores = [lesion.scores for lesion in one.measured]
    ranks = rank_lesions(scores)
    if model:
        ranks = ranks_from(scores, model.precision(one.name, scores))
    rows = [_row(one, lesion, rank) for lesion, rank in zip(one.measured, ranks, strict=True)]
    rows.sort(key=lambda row: (row["record_id"], row["lesion_id"]))
    return ScoredFolder(one.name, one.folder.path, tuple(rows), tuple(one.failures))


def _row(one: _Dataset, lesion: Measured, rank: Ranks) -> Row:
    record = one.records[lesion.record_id]
    cells = {
        "dataset": record["dataset"],
        "record_id": lesion.record_id,
        "lesion_id": lesion.lesion_id,
        "annotation_sha256": record["annotation_sha256"],
        "source_shape": lesion.geometry,
        "flags": " ".join(flags_of(lesion.scores, lesion.geometry)),
        "shape_rank": _cell(rank.shape),
        "image_rank": _cell(rank.image),
        "precision_rank": _cell(rank.precision),
    }
    return {
        name: cells[name] if name in cells else _cell(lesion.scores.get(name)) for name in COLUMNS
    }


def _cell(value: float | None) -> str:
    """Return a number with up to six digits behind the point; empty where it is not defined."""
    return "" if value is None or not math.isfinite(value) else pairs.number(value)
