"""The files of all pairs of a folder: heads in threads, pixels in worker processes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bcseg import executors, pairs
from bcseg.pairs import Row
from bcseg.verify import workers
from bcseg.verify.findings import Findings
from bcseg.verify.heads import check_heads
from bcseg.verify.lesion_archive import LesionArchive
from bcseg.verify.options import Verifying
from bcseg.verify.pair import Context, Pair, Seen
from bcseg.verify.pixels import check_pair
from bcseg.verify.tables import Tables

_THREADS = 16  # of --fast, which waits for the disk


def check_files(
    tables: Tables, records: Sequence[Row], context: Context, found: Findings, how: Verifying
) -> int:
    """Check the files of all pairs; return how many bytes were read."""
    owners: dict[str, str] = {}
    for row in records:
        owners.setdefault(row["image_sha256"], row["image"])
        owners.setdefault(row["mask_sha256"], row["mask"])
    read = 0
    if how.fast:
        looks = _look_at_heads(tables, records, context, how)
    else:
        looks = _look_at_pixels(tables, records, context, found, how)
    for done, seen in enumerate(looks, 1):
        for row in seen.findings:
            owner = owners.get(seen.hashes.get(row["source"], ""), "")
            if row["code"] == "altered" and owner not in ("", row["source"]):
                row["message"] += f": they are those of {owner}"
        found.rows += seen.findings
        read += seen.bytes_read
        how.progress(done, len(records))
    return read


def _look_at_heads(
    tables: Tables, records: Sequence[Row], context: Context, how: Verifying
) -> Iterator[Seen]:
    with ThreadPoolExecutor(how.jobs or _THREADS) as pool:
        todo = [Pair(row, tuple(tables.lesions.get(row["record_id"], ())), None) for row in records]
        yield from pool.map(functools.partial(check_heads, context), todo)


def _look_at_pixels(
    tables: Tables, records: Sequence[Row], context: Context, found: Findings, how: Verifying
) -> Iterator[Seen]:
    archive = LesionArchive(context.folder, found)

    def todo() -> Iterator[Pair]:
        for row in sorted(records, key=lambda row: row["record_id"]):
            record_id = row["record_id"]
            lesions = tuple(tables.lesions.get(record_id, ()))
            lines = archive.of(record_id)
            yield Pair(row, lesions, None if pairs.LESIONS in tables.damaged else lines)
        if pairs.RECORDS not in tables.damaged:
            archive.close()

    yield from executors.run(
        check_pair,
        todo(),
        workers=workers.how_many(how.jobs, len(records), each=4),
        prepare=workers.prepare,
        context=context,
        died=functools.partial(_died, context.dataset),
    )


def _died(dataset: str, pair: Pair) -> Seen:
    return Seen([workers.death_row(dataset, pair.row["record_id"], pair.row["image"])])
