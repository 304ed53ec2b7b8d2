"""The archive of lesions (lesions.jsonl.gz), record by record."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bcseg import pairs
from bcseg.record import Size
from bcseg.verify.findings import Findings, reason


class Line(NamedTuple):
    """A lesion in lesions.jsonl.gz: what is compared with the pair."""

    lesion_id: str
    in_mask: bool
    kind: str
    size: Size
    counts: list[int]


class LesionArchive:
    """The lines of lesions.jsonl.gz, record by record, never more than one in memory."""

    def __init__(self, folder: Path, found: Findings) -> None:
        self._folder, self._found = folder, found
        self.damaged = False
        self._groups = itertools.groupby(self._lines(), key=lambda line: line[0])
        self._ahead = self._next()

    def of(self, record_id: str) -> tuple[Line, ...] | None:
        """Return the lines of a record; to be asked in the order of the ids."""
        while self._ahead and self._ahead[0] < record_id:
            self._report_unknown(self._ahead[0])
            self._ahead = self._next()
        if self._ahead and self._ahead[0] == record_id:
            lines, self._ahead = self._ahead[1], self._next()
            return lines
        return None if self.damaged else ()

    def close(self) -> None:
        """Report the lines that nobody asked for."""
        while self._ahead:
            self._report_unknown(self._ahead[0])
            self._ahead = self._next()

    def _report_unknown(self, record_id: str) -> None:
        message = "not in records.csv, or out of order"
        self._found.fail("unknown_record", message, pairs.ARCHIVE, record_id)

    def _next(self) -> tuple[str, tuple[Line, ...]] | None:
        group = next(self._groups, None)
        return (group[0], tuple(line for _, line in group[1])) if group else None

    def _lines(self) -> Iterator[tuple[str, Line]]:
        try:
            with pairs.open_archive(self._folder) as file:
                for text in file:
                    yield _line(json.loads(text))
        except FileNotFoundError:
            self.damaged = True
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
            self.damaged = True
            message = f"the table cannot be read ({reason(error)})"
            self._found.fail("unreadable_table", message, pairs.ARCHIVE)


def _line(values: Mapping[str, Any]) -> tuple[str, Line]:
    rle = values["rle"]
    height, width = (int(side) for side in rle["size"])
    counts = [int(count) for count in rle["counts"]]
    line = Line(
        str(values["lesion_id"]),
        bool(values["in_mask"]),
        str(values["kind"]),
        (height, width),
        counts,
    )
    return str(values["record_id"]), line
