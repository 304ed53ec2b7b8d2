"""What a reviewer decided, entry after entry, and which of it counts in the end."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bcseg.select.manifest import DECISIONS

LONGEST_NOTE = 500  # characters of a note or a typed reason
TEXTS = ("dataset", "record_id", "lesion_id", "decision", "reason", "note", "annotation_sha256")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\s]+")

Key = tuple[str, str, str]  # dataset, record id, lesion id (empty: the whole mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision as the journal has it, or the withdrawal of one.

    `number` counts the journal's entries from 1. `decision`: empty for "not decided after all".
    `undo`: the number of the entry that is withdrawn, 0 for a decision. `mark`: chosen by the
    window that sent it, so that the same message twice is one decision. `table`: begin of the hash
    of the table that was on the disk when this was added.
    """

    number: int
    dataset: str = ""
    record_id: str = ""
    lesion_id: str = ""
    decision: str = ""
    reason: str = ""
    note: str = ""
    annotation_sha256: str = ""
    seconds: float = 0.0
    repeat: bool = False
    undo: int = 0
    mark: str = ""
    time: str = ""
    table: str = ""

    @property
    def key(self) -> Key:
        """What was judged."""
        return self.dataset, self.record_id, self.lesion_id

    def document(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return dataclasses.asdict(self)


def current_entries(entries: Iterable[Entry], *, repeat: bool = False) -> dict[Key, Entry]:
    """Return the decision that counts for each thing judged; `repeat`: the second look's.

    The last word counts: a decision about a whole mask also replaces those made earlier about its
    single lesions; one about a lesion that is made later stands beside it.
    """
    entries = list(entries)
    withdrawn = {entry.undo for entry in entries if entry.undo}
    current: dict[Key, Entry] = {}
    for entry in entries:
        if not entry.undo and entry.number not in withdrawn and entry.repeat == repeat:
            current[entry.key] = entry
    current = {key: entry for key, entry in current.items() if entry.decision}
    return {key: entry for key, entry in current.items() if not _replaced(entry, current)}


def _replaced(entry: Entry, current: Mapping[Key, Entry]) -> bool:
    whole = current.get((entry.dataset, entry.record_id, "")) if entry.lesion_id else None
    return whole is not None and whole.number > entry.number


def entry_of(values: Mapping[str, Any], last: int) -> Entry | None:
    """Return what a line of the journal says, None if it is no entry.

    `last`: number of the entry before it; a line without a number of its own gets the next one.
    """
    undo, seconds, number = (values.get(name, 0) for name in ("undo", "seconds", "number"))
    texts: dict[str, Any] = {name: values.get(name, "") for name in (*TEXTS, *_MARKS)}
    sound = (
        all(isinstance(text, str) for text in texts.values())
        and type(undo) is int
        and type(seconds) in (int, float)
        and math.isfinite(seconds)
        and (texts["decision"] in ("", *DECISIONS))
        and bool(undo or texts["record_id"])
    )
    if not sound:
        return None
    repeat = values.get("repeat") is True
    number = number if type(number) is int and number > last else last + 1
    return Entry(number=number, **texts, seconds=float(seconds), repeat=repeat, undo=undo)


_MARKS = ("mark", "time", "table")


def plain_text(text: str) -> str:
    """Return what somebody typed as one line of limited length, without invisible characters."""
    return _UNSEEN.sub(" ", text).strip()[:LONGEST_NOTE].strip()
