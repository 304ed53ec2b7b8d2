"""Lock and journal of a pairs folder, wherever it lies: what object storage does otherwise.

There an object is written whole or not at all, and can be made on the condition that it is not
there; but nothing can be appended to it, and a question costs a journey.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bcseg import store
from bcseg.cloud import CloudPath, StorageError
from bcseg.errors import EXIT_FINDINGS
from bcseg.lock import Lock, holder, refuse_running
from bcseg.store import PARTS, Journal, OutputError

_WHOLE = "-whole"  # ends the name of a part that takes the place of all before it
EVERY = 10.0  # seconds of work that a killed run may lose
_MOST = 8 << 20  # bytes of a part


def lock_of(folder: Path) -> Lock:
    """Return the right to write to a folder."""
    return CloudLock(folder) if isinstance(folder, CloudPath) else Lock(folder)


def journal_of(folder: Path) -> Journal:
    """Return the journal of a folder."""
    return CloudJournal(folder) if isinstance(folder, CloudPath) else Journal(folder)


def identity_of(folder: Path) -> dict[str, Any] | None:
    """Return the identity that the journal of a folder begins with; None if there is none."""
    if isinstance(folder, CloudPath):
        return CloudJournal(folder).first()
    return store.identity_of(folder)


class CloudLock(Lock):
    """The right to write to a folder on object storage: an object made where there was none.

    Where the storage knows no conditional writes, it is read again: of two runs that begin in the
    same instant both may stop, and at worst both go on. A lock is read before it is removed, since
    the libraries of the storages know no removal on condition.
    """

    def __init__(self, folder: CloudPath) -> None:
        super().__init__(folder)
        self._object = folder / self._path.name

    def __enter__(self) -> Lock:
        try:
            self._take()
        except KeyboardInterrupt as error:  # what was taken by then is given back
            self.__exit__(None, error)
            raise
        self._heart.start()
        return self

    def _beat(self) -> None:
        self._object.write_bytes(self._mine.encode())

    def __exit__(self, *about: object) -> None:
        self._still()
        error = about[1]
        if isinstance(error, StorageError):
            error.exit_code = EXIT_FINDINGS  # something may be written by now
        try:
            self._remove(self._mine)
        except StorageError:
            if error is None:
                raise

    def _remove(self, text: str) -> None:
        """Remove the lock if it still says this: by now it may be another run's."""
        with contextlib.suppress(FileNotFoundError):
            if self._object.read_text(encoding="utf-8", errors="replace") == text:
                self._object.unlink()

    def _take(self) -> None:
        self._mine = json.dumps(holder(os.environ) | {"run": uuid.uuid4().hex})
        for _ in range(2):
            try:
                if self._object.exists():
                    raise FileExistsError
                self._object.create(self._mine.encode())
                self.check()
                return
            except FileExistsError:
                self._remove(refuse_running(self._path.parent))
        raise self._lost()


class CloudJournal(Journal):
    """A journal on object storage: a local file whose new lines are sent in parts.

    Parts are the objects `.journal/000012.jsonl`. A part is sent when the last one is ten seconds
    old, and when the work ends or is interrupted: a run that is killed loses what it finished
    since, and does it again. A part `-whole` takes the place of all before it.
    """

    def __init__(self, folder: CloudPath) -> None:
        local = Path(tempfile.mkdtemp(prefix="bcseg-journal-"))
        weakref.finalize(self, shutil.rmtree, local, ignore_errors=True)
        super().__init__(local)
        self.folder = folder
        self._parts = folder / PARTS
        self._number = 0  # of the last part
        self._sent, self._sent_at = 0, time.monotonic()  # bytes of the local file; when

    def exists(self) -> bool:
        """Tell whether a run has begun here."""
        return self._parts.is_dir()

    def load(self) -> None:
        """Fetch the parts and read which records they know."""
        names = sorted(self._parts.objects())
        self._number = max((int(name[:6]) for name in names), default=0)
        whole = [name for name in names if _WHOLE in name]
        with self.path.open("wb") as file:
            for name in names[names.index(whole[-1]) :] if whole else ():
                with (self._parts / name).open("rb") as part:
                    shutil.copyfileobj(part, file, _MOST)
        super().load()
        self._sent, self._sent_at = self._end, time.monotonic()

    def start(self, identity: dict[str, Any]) -> None:
        """Begin anew with an identity."""
        super().start(identity)
        self._send_whole()

    def append(self, record_id: str, entry: dict[str, Any]) -> None:
        """Add what became of a record; raises OutputError if the storage refuses."""
        super().append(record_id, entry)
        late = time.monotonic() - self._sent_at >= EVERY
        if late or self._end - self._sent >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Send what was added since the last part."""
        if self._end <= self._sent:
            return
        with self.path.open("rb") as file:
            file.seek(self._sent)
            lines = file.read(self._end - self._sent)
        try:
            (self._parts / f"{self._number + 1:06}.jsonl").write_bytes(lines)
        except OSError as error:
            raise self._refusal(error) from error
        self._number += 1
        self._sent, self._sent_at = self._end, time.monotonic()

    def lines(self) -> Iterator[str]:
        """Yield the lines as they are."""
        self.load()
        yield from super().lines()

    def _write_lines(
        self, identity: dict[str, Any] | None, lines: Iterable[tuple[str, bytes]]
    ) -> None:
        super()._write_lines(identity, lines)
        self._send_whole()  # as one part

    def first(self) -> dict[str, Any] | None:
        """Return the identity that the journal begins with, without the rest of it."""
        whole = [name for name in self._parts.objects() if _WHOLE in name]
        if not whole:
            return None
        with (self._parts / max(whole)).open("rb") as part:
            identity = json.loads(part.readline()).get("identity")
        return identity if isinstance(identity, dict) else None

    def _send_whole(self) -> None:
        try:
            before = self._parts.objects()
            self._number = max([self._number, *(int(name[:6]) for name in before)]) + 1
            (self._parts / f"{self._number:06}{_WHOLE}.jsonl").upload(self.path)
            for name in before:
                (self._parts / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._refusal(error) from error
        self._sent, self._sent_at = self._end, time.monotonic()

    def _refusal(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write the journal: {error.strerror or error}",
            where=str(self._parts.parent),
            hint="run the same command again: what is finished stays",
        )
