"""The pairs of a selection that are taken without some lesions: drawn anew from their archive."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bcseg import pairs, png
from bcseg.errors import RecordError, UsageError
from bcseg.ignoring import Reduced, ignore_file, without
from bcseg.pairs import PairsFolder, Row, checked_rows
from bcseg.select.part import Part
from bcseg.store import write_pair

_NOTHING = np.zeros((0, 0), np.uint8)


@contextmanager
def damage_named(folder: PairsFolder) -> Generator[None, None, None]:
    """Turn what reading lesions.jsonl.gz can raise into a UsageError."""
    try:
        yield
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
        raise UsageError(
            f"{pairs.ARCHIVE} is damaged",
            where=str(folder.path),
            hint="run the same `bcseg refactor` again: it writes the tables anew",
        ) from error


def write_reduced(part: Part, to: Path) -> tuple[dict[str, Reduced], dict[str, int]]:
    """Write masks/ and ignore/ of the pairs that are taken without some lesions.

    Return their rows and lines by record (the masks are on disk and gone from memory), and the
    size of each file. Raises UsageError where lesions.jsonl.gz does not give the mask it should.
    """
    if not part.ignored:
        return {}, {}
    options = part.document.get("options")
    radius = options.get("point_radius") if isinstance(options, dict) else None
    lesions: dict[str, list[Row]] = {}
    for row in checked_rows(part.folder, pairs.LESIONS):
        lesions.setdefault(row["record_id"], []).append(row)
    rows = {row["record_id"]: row for row in part.kept}
    done: dict[str, Reduced] = {}
    sizes: dict[str, int] = {}
    for record_id, lines in _lines(part):
        try:
            pair = without(
                rows[record_id],
                lesions[record_id],
                lines,
                part.ignored[record_id],
                radius=float(radius or 0.0),
            )
        except RecordError as error:
            raise UsageError(
                f"{part.dataset} {record_id}: {error.args[0]}",
                where=str(part.folder.path),
                hint="`bcseg verify` tells more; the same `bcseg refactor` again makes it anew",
            ) from error
        for name, pixels in ((pair.row["mask"], pair.mask), (ignore_file(record_id), pair.ignore)):
            data = png.encode(pixels, mask=True)
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            write_pair(to / name, data)
            sizes[name] = len(data)
        done[record_id] = replace(pair, mask=_NOTHING, ignore=_NOTHING)
    lost = sorted(part.ignored.keys() - done.keys())
    if lost:
        raise UsageError(
            f"{pairs.ARCHIVE} lacks the lesions of {lost[0]}", where=str(part.folder.path)
        )
    return done, sizes


def _lines(part: Part) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the lines of lesions.jsonl.gz of the records that are taken without some lesions."""
    with damage_named(part.folder):
        grouped = itertools.groupby(part.folder.archive(), key=lambda line: str(line["record_id"]))
        return [(name, list(lines)) for name, lines in grouped if name in part.ignored]
