"""The lock of a folder: one run at a time, which says who it is and that it is alive."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcseg.errors import UsageError
from bcseg.interrupts import uninterrupted
from bcseg.text import minutes_in_words

LOCK = ".lock"
PART = ".part"  # ends the name of a temporary file, which begins with a dot
HEARTBEAT = 30.0  # seconds between two signs of life of a run
_SILENT = 10 * HEARTBEAT  # seconds after which a run may well be dead
# what schedulers call a job, each with the name of its part of an array
_JOBS = (
    ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"),
    ("SLURM_JOB_ID", ""),
    ("PBS_JOBID", ""),
    ("LSB_JOBID", "LSB_JOBINDEX"),
    ("JOB_ID", "SGE_TASK_ID"),
)


def is_trace(name: str) -> bool:
    """Tell whether a name is that of a lock or a temporary file: all that a killed start leaves."""
    return name == LOCK or (name.startswith(".") and name.endswith(PART))


class Lock:
    """The right to write to a folder: one run at a time; folders that stay empty are removed.

    The lock file names host, process and job; its time is the last sign of life. A lock whose
    process is gone on this host is taken over; one of another host is never broken. Raises
    UsageError if the folder cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        self._path = lock_path(folder)
        self._mine = ""
        self._made: list[Path] = []
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._live, name="bcseg-heartbeat", daemon=True)

    def __enter__(self) -> Lock:
        try:
            with uninterrupted():
                self._enter()
        except KeyboardInterrupt:  # it has waited: give back what was taken meanwhile
            self.__exit__()
            raise
        return self

    def _enter(self) -> None:
        folder = self._path.parent
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._take()
        except OSError as error:
            self._remove_empty()
            raise UsageError(
                f"cannot write to the output folder: {error.strerror or error}",
                where=str(folder),
                hint="name another place with --out",
            ) from error
        atexit.register(self.__exit__)  # an interrupt may strike just before a `with` ends
        self._heart.start()

    def __exit__(self, *_: object) -> None:
        with uninterrupted():
            self._still()
            if self._is_mine():
                with contextlib.suppress(OSError):  # without this process it is a dead one's
                    self._path.unlink(missing_ok=True)
            self._remove_empty()
            atexit.unregister(self.__exit__)

    def _live(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with contextlib.suppress(OSError):  # no sign of life is no reason to end a run
                if self._is_mine():
                    self._beat()

    def _beat(self) -> None:
        os.utime(self._path)

    def _still(self) -> None:
        """End the heartbeat: from here on nobody touches the lock."""
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join()

    def _take(self) -> None:
        self._mine = json.dumps(holder(os.environ))
        part = self._path.with_name(f"{LOCK}.{secrets.token_hex(4)}{PART}")
        for _ in range(2):
            try:
                part.write_text(self._mine, encoding="utf-8")
                _link(part, self._path, self._mine)  # whole at once: nobody reads a part of it
                return
            except FileExistsError:
                self._bury(refuse_running(self._path.parent))
            finally:
                part.unlink(missing_ok=True)
        raise self._lost()

    def _bury(self, dead: str) -> None:
        """Take a dead lock away; one that somebody else has put in its place meanwhile stays."""
        grave = self._path.with_name(f"{LOCK}.{secrets.token_hex(4)}{PART}")
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(grave)
            if grave.read_text(encoding="utf-8", errors="replace") != dead:
                with contextlib.suppress(FileExistsError):
                    _link(grave, self._path, grave.read_text(encoding="utf-8"))
        grave.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise UsageError if the lock is not ours any more: its folder was moved away."""
        if not self._is_mine():
            raise self._lost()

    def _is_mine(self) -> bool:
        try:
            return self._path.read_text(encoding="utf-8") == self._mine
        except OSError:
            return False

    def _lost(self) -> UsageError:
        return UsageError(
            "another bcseg run has just begun here",
            where=str(self._path.parent),
            hint="the same command again",
        )

    def _remove_empty(self) -> None:
        for path in self._made:
            try:
                path.rmdir()
            except OSError:
                return  # in use, which is the rule


def lock_path(folder: Path) -> Path:
    """Return the lock file of a folder."""
    return folder / LOCK


def holder(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what a lock says about this process: where it runs, since when, and for which job."""
    me = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    more = {"job": _job(environment), "started": _started(os.getpid()), "machine": _machine()}
    return me | {name: text for name, text in more.items() if text}


def _job(environment: Mapping[str, str]) -> str:
    """Return the id that the scheduler of a cluster gave this job, "" without one."""
    for job, part in _JOBS:
        if environment.get(job):
            number = environment.get(part, "")
            # outside of arrays LSF counts 0, Grid Engine says "undefined"
            return environment[job] + (f"_{number}" if number not in ("", "0", "undefined") else "")
    return ""


def _machine() -> str:
    """Return what tells this boot and container from others of the same name; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the boot (proc(5), field 22); "" if unknown."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return status.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def refuse_running(folder: Path) -> str:
    """Raise UsageError if a run that may be alive holds the lock of a folder.

    Returns what stands in the lock of a dead one, "" if there is none.
    """
    path = lock_path(folder)
    text = ""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        other = json.loads(text)
        host, pid = str(other["host"]), int(other["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return text  # none, or torn by a crash while it was written
    silent = _silence(path)
    if host == socket.gethostname() and _is_dead(other, pid, silent):
        return text
    about = [f"process {pid} on {host}"]
    about += [f"job {other['job']}"] if other.get("job") else []
    about += [f"last alive {_in_words(silent)} ago"] if silent is not None else []
    dead = (
        f"it has been silent: see whether it still runs on {host}; if not"
        if silent is not None and silent > _SILENT
        else "wait for it; if it is dead for sure"
    )
    raise UsageError(
        f"another bcseg run is writing here ({', '.join(about)})",
        where=str(folder),
        hint=f"{dead}, delete {path}",
    )


def _silence(path: Path) -> float | None:
    """Return the seconds since the last sign of life of a lock; None if nobody can tell."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else minutes_in_words(seconds / 60)


def _is_dead(other: Mapping[str, Any], pid: int, silent: float | None) -> bool:
    """Tell whether the process that a lock of this host names is gone for sure."""
    machine = str(other.get("machine", ""))
    if machine and machine != _machine():
        # an earlier boot, or another container with this one's name: its processes are not seen
        return silent is not None and silent > _SILENT
    if pid == os.getpid() or not _alive(pid):
        return True
    started, now = str(other.get("started", "")), _started(pid)
    return bool(started and now and started != now)  # another process has got its number


def _link(part: Path, path: Path, text: str) -> None:
    """Make `path` of the finished `part`; raises FileExistsError if it is there."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with path.open("x", encoding="utf-8") as file:
            file.write(text)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # there signal 0 is Ctrl-C: nobody can be asked
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
