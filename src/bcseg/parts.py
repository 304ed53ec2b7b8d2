"""What a finished shard leaves for the merge, beside its journal.

`shard.json`: the options, what the source was, and what the tables tell otherwise than the journal.
The first shard also keeps `rest.json.gz`: everything that belongs to no record.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.ledger import Rest
from bcseg.outcome import Outcome
from bcseg.record import Failed, Index, LeftOut, Warned
from bcseg.run import State
from bcseg.shards import Shard
from bcseg.store import write_atomic

_REST = "rest.json.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a shard has to say at its end.

    `about`: versions, archive and options, as dataset.json has them. `source`: a hash of what the
    shard saw of the source as a whole. `apart`: records of which the tables tell otherwise than
    the journal. `reached`: whether it came to its end.
    """

    shard: Shard
    about: dict[str, Any]
    source: str
    records: int
    reached: bool
    apart: dict[str, Outcome]
    table_hashes: dict[str, str]

    def write(self, books: Path) -> None:
        """Write shard.json."""
        apart = [outcome.entry() for outcome in self.apart.values()]
        shard = {"number": self.shard.number, "count": self.shard.count}
        values = {name: getattr(self, name) for name in _PLAIN}
        pairs.write_document(books / pairs.SHARD, {"shard": shard, **values, "apart": apart})


_PLAIN = ("about", "source", "records", "reached", "table_hashes")


def read_part(books: Path) -> Part | None:
    """Return what a shard said at its end, None if it is not there yet."""
    try:
        values = json.loads((books / pairs.SHARD).read_text(encoding="utf-8"))
        apart = [Outcome.of(entry) for entry in values["apart"]]
        return Part(
            shard=Shard(**values["shard"]),
            apart={outcome.record_id: outcome for outcome in apart},
            **{name: values[name] for name in _PLAIN},
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def source_sha256(state: State) -> str:
    """Return a hash of the source as a whole: files, sizes and times, and what the adapter said."""
    digest = hashlib.sha256()
    source = state.source
    for name in source.names():
        digest.update(f"{name} {source.stamp(name)}\n".encode(errors="backslashreplace"))
    for said in (*source.refused, *state.index.records, _index_document(state.rest)):
        digest.update(repr(said).encode(errors="backslashreplace"))
    return digest.hexdigest()


def _index_document(rest: Rest) -> dict[str, Any]:
    return {key: value for key, value in asdict(rest.index).items() if key != "records"}


def write_rest(books: Path, rest: Rest, licence: str) -> None:
    """Write rest.json.gz."""
    document = {"names": rest.names, "refused": rest.refused, "licence": licence}
    text = json.dumps(document | {"index": _index_document(rest)})
    write_atomic(books / _REST, gzip.compress(text.encode(), compresslevel=6, mtime=0))


def read_rest(books: Path) -> tuple[Rest, str]:
    """Return what belongs to no record, and LICENCE.txt."""
    document = json.loads(gzip.decompress((books / _REST).read_bytes()))
    index = document["index"]
    sorts = {"left_out": LeftOut, "failed": Failed, "warnings": Warned}
    values: dict[str, Any] = {
        key: tuple(_made(sorts[key], one) for one in value) if key in sorts else _whole(value)
        for key, value in index.items()
    }
    rest = Rest(
        Index(records=(), **values),
        tuple(document["names"]),
        tuple((name, why) for name, why in document["refused"]),
    )
    return rest, str(document["licence"])


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    return kind(**{key: _whole(value) for key, value in values.items()})


def _whole(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
