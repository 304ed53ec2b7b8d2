"""The records of a root, by everything that a manifest may call them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bcseg.adapters import ADAPTERS
from bcseg.names import nearest, path_parts, spellings, without_ending
from bcseg.pairs import (
    LEFT_OUT,
    LESIONS,
    PROBLEMS,
    RECORDS,
    PairsFolder,
    Row,
    checked_rows,
    reason_order,
)

Pair = tuple[str, str]  # dataset, record id
_SET = re.compile(r"F\d\d_")  # prefix of the ids of BCDR's film sets, whose patients are others
_NUMBERED = re.compile(r"([A-Za-z][A-Za-z-]*?)-(Image|Mask)-(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a row looks: one dataset, or all for an empty name; ids with a prefix, if there are.

    `own_ids`: not in sets of the dataset that have a prefix of their own.
    """

    dataset: str = ""
    prefix: str = ""
    own_ids: bool = False

    def holds(self, pair: Pair) -> bool:
        """Tell whether a pair lies in it."""
        dataset, record_id = pair
        if self.dataset not in ("", dataset) or not record_id.lower().startswith(self.prefix):
            return False
        return not (self.own_ids and _SET.match(record_id))


class NoMatch(Exception):
    """A row does not name exactly one pair; `missing`: it names none."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class Catalogue:
    """The records of a root, by everything that a manifest may call them.

    Records that `refactor` did not write are in it too: their names are not free for others, and
    the reason why they are not there can be told.
    """

    def __init__(self, folders: Mapping[str, PairsFolder]) -> None:
        self.records: dict[Pair, Row] = {}
        self.lesions: defaultdict[Pair, dict[str, bool]] = defaultdict(dict)  # id: in the mask
        self.datasets = tuple(folders)
        self._absent: dict[Pair, Row] = {}  # the row that tells why
        self._by_id: defaultdict[str, set[Pair]] = defaultdict(set)
        self._by_source: defaultdict[str, set[Pair]] = defaultdict(set)
        self._by_number: defaultdict[tuple[str, str], set[Pair]] = defaultdict(set)
        self._words = _dataset_words(folders)
        for dataset, folder in folders.items():
            for row in checked_rows(folder, RECORDS):
                self._add(dataset, row)
            for row in checked_rows(folder, LESIONS):
                lesions = self.lesions[dataset, row["record_id"]]
                lesions[row["lesion_id"]] = row["in_mask"] == "1"
            for table in (LEFT_OUT, PROBLEMS):
                for row in checked_rows(folder, table):
                    self._add_absent(dataset, row)

    def _add(self, dataset: str, row: Row) -> None:
        pair = (dataset, row["record_id"])
        self.records[pair] = row
        for name in (row["record_id"], path_parts(row["image"])[-1], path_parts(row["mask"])[-1]):
            self._add_id(pair, without_ending(name) if name != row["record_id"] else name)
        self._add_source(pair, row["source_image"])
        if '"collection_number"' in row["attributes"]:
            self._by_number[dataset, _collection_number(row)].add(pair)

    def _add_absent(self, dataset: str, row: Row) -> None:
        pair = (dataset, row["record_id"])
        if not row["record_id"] or pair in self.records or row["severity"] == "warning":
            return
        self._absent[pair] = min(self._absent.get(pair, row), row, key=reason_order)
        self._add_id(pair, row["record_id"])
        self._add_source(pair, row["source"])

    def _add_id(self, pair: Pair, name: str) -> None:
        self._by_id[name.casefold()].add(pair)
        self._by_id[f"{pair[0]}_{name}".casefold()].add(pair)

    def _add_source(self, pair: Pair, source: str) -> None:
        """Enter the file name, alone and with up to three folders before it."""
        parts = path_parts(source)
        parts[-1:] = [without_ending(part).strip() for part in parts[-1:]]
        for start in range(max(0, len(parts) - 4), len(parts)):
            self._by_source["_".join(parts[start:]).casefold()].add(pair)

    def scope(self, word: str) -> Scope | None:
        """Return where a word of the column `dataset` points; None for an unknown word.

        `BCDR-F01` is dataset `bcdr` and, where record ids begin so, prefix `F01_`.
        """
        word = _dataset_word(word.strip(" ?"))
        if not word:
            return Scope()
        if word in self._words:
            return Scope(self._words[word])
        head, _, tail = word.partition("-")
        if head not in self._words:
            return None
        prefix = f"{tail}_"
        there = any(d == self._words[head] and i.lower().startswith(prefix) for d, i in self._all())
        return Scope(self._words[head], prefix if there else "", own_ids=not there)

    def has_numbers(self, dataset: str) -> bool:
        """Tell whether the images of a dataset have the numbers of the older collection."""
        return any(one == dataset for one, _ in self._by_number)

    def _all(self) -> Iterator[Pair]:
        yield from self.records
        yield from self._absent

    def find(self, name: str, scope: Scope) -> Pair:
        """Return the pair that a record id, case id or file name means; raises NoMatch."""
        return self._only(*self._found(name, scope))

    def find_all(self, name: str, scope: Scope) -> list[Pair]:
        """Return the pairs that a name means, as `find` does.

        They are several only for the number of an image that several people annotated.
        """
        found, name, scope, candidates = self._found(name, scope)
        numbered = bool(candidates) and found == self._numbered(candidates[-1], scope)
        written = sorted(pair for pair in found if pair in self.records)
        if numbered and written:
            return written
        return [self._only(found, name, scope, candidates)]

    def _found(self, name: str, scope: Scope) -> tuple[set[Pair], str, Scope, list[str]]:
        """Return the pairs that a name may mean, and what was looked for where."""
        parts = path_parts(name)
        scope = self._scope_of_folders(parts, scope)
        candidates = [
            candidate
            for start in range(len(parts))
            for candidate in spellings("_".join(parts[start:]))
        ]
        found = self._numbered(candidates[-1], scope) if candidates else set()
        for table in (self._by_id, self._by_source):
            for candidate in candidates:
                found = found or self._in_scope(table.get(candidate.casefold(), set()), scope)
        return found, name, scope, candidates

    def _scope_of_folders(self, parts: Sequence[str], scope: Scope) -> Scope:
        """Return the scope that a path gives itself: inbreast/masks/20588334.png."""
        if not scope.dataset:
            for part in reversed(parts[-3:-1]):
                if part.lower() in self._words:
                    return Scope(self._words[part.lower()])
        return scope

    def _numbered(self, candidate: str, scope: Scope) -> set[Pair]:
        """Return what CSAW-Image-101 means: images counted by an older collection."""
        match = _NUMBERED.fullmatch(candidate)
        counted = self.scope(match[1]) if match else None
        if match is None or counted is None:
            return set()
        if match[2].lower() == "mask":
            raise NoMatch(
                "mask numbers of the older collection cannot be trusted (they were counted apart"
                " from the images): name the image instead"
            )
        if scope.dataset and scope.dataset != counted.dataset:
            return set()
        number = match[3].lstrip("0")
        if not self.has_numbers(counted.dataset):
            raise NoMatch(
                f"image {number} cannot be found by its number in the older collection: the"
                f" numbers are known only where refactor had the complete archive of"
                f" {counted.dataset}",
                missing=True,
            )
        return self._by_number.get((counted.dataset, number), set())

    def _in_scope(self, found: set[Pair], scope: Scope) -> set[Pair]:
        return set(filter(scope.holds, found))

    def _only(
        self, found: set[Pair], name: str, scope: Scope, candidates: Sequence[str]
    ) -> Pair:  # fmt: skip
        if len(found) > 1:  # ids that differ in case only
            found = {pair for pair in found if pair[1] in candidates} or found
        if len(found) > 1:
            names = sorted(f"{dataset} {record_id}" for dataset, record_id in found)
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            raise NoMatch(
                f"{name!r} fits several records: {', '.join(names[:4])}{more}; give dataset and"
                " record_id"
            )
        for pair in found:
            if pair in self._absent:
                row = self._absent[pair]
                fate = "failed" if row["severity"] == "failed" else "was left out"
                reason = f"{pair[1]} {fate}: {row['message']} [{row['code']}]"
                raise NoMatch(f"{name!r}: {reason}", missing=True)
            return pair
        where = f"no pair of {scope.dataset} here" if scope.dataset else "no pair here"
        raise NoMatch(f"{name!r} is {where}", missing=True)

    def nearest(self, name: str, scope: Scope) -> str:
        """Return the written record id most like a name, with its dataset; empty if none is."""
        words = [record_id for _, record_id in self._in_scope(set(self.records), scope)]
        parts = path_parts(name)
        close = nearest([*spellings(parts[-1])][-1], words) if parts else []
        datasets = sorted(d for d, i in self._in_scope(set(self.records), scope) if i in close)
        return f"{datasets[0]} {close[0]}" if close else ""


def _collection_number(row: Row) -> str:
    try:
        return str(json.loads(row["attributes"])["collection_number"])
    except (ValueError, KeyError, TypeError):
        return ""


def _dataset_word(text: str) -> str:
    return re.sub(r"[\s_]+", "-", text.lower())


def _dataset_words(names: Iterable[str]) -> dict[str, str]:
    """Return datasets by all their names, in lower case."""
    words: dict[str, str] = {}
    for name, adapter in ADAPTERS.items():
        info = adapter.INFO
        for word in (name, *info.aliases, info.title):
            words[_dataset_word(word)] = name
    return words | {_dataset_word(name): name for name in names}
