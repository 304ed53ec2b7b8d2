"""bcseg in a process of its own: watch its pairs, find its workers, see that all of them end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def until(is_so: Callable[[], object], seconds: float = 300, pause: float = 0.02) -> None:
    """Wait for something; fail when it does not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)


def hear_interrupts() -> None:
    """Have children that take SIGINT: those of a job in the background of a shell ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Running:
    """A command in a session of its own, so that signals to its group hit nothing else."""

    def __init__(self, *words: object) -> None:
        hear_interrupts()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bcseg", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONFAULTHANDLER": "1"},
        )

    @property
    def pid(self) -> int:
        """Its process, and process group."""
        return self.process.pid

    def wait_for_pairs(self, folder: Path, count: int) -> None:
        """Wait until so many masks are there, or the command has ended."""
        masks = folder / "masks"

        def there() -> bool:
            ended = self.process.poll() is not None
            return ended or (masks.is_dir() and len(list(masks.glob("[!.]*.png"))) >= count)

        until(there, 60, 0.002)

    def workers(self) -> list[int]:
        """Return the worker processes: children that run multiprocessing's own entry."""
        return [pid for pid in children(self.pid) if b"spawn_main" in command_of(pid)]

    def stuck(self) -> str:
        """End a run that hangs; return where it did."""
        self.process.send_signal(signal.SIGABRT)
        return self.end()[1]

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code, negative for a signal, and the messages."""
        _, err = self.process.communicate(timeout=120)
        return self.process.returncode, err


def _fields(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the third (state, parent, group) on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ["Z", "0", "0"]


def command_of(pid: int) -> bytes:
    """Return the command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def children(parent: int) -> list[int]:
    """Return the children of a process, dead ones that nobody has waited for too."""
    return [pid for pid in _processes() if _fields(pid)[1] == str(parent)]


def members(group: int) -> list[int]:
    """Return the running processes of a process group."""
    return [pid for pid in _processes() if _fields(pid)[2] == str(group) and is_running(pid)]


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    return _fields(pid)[0] != "Z"


def all_ended(pids: list[int]) -> bool:
    """Wait for the end of some processes; tell whether it came."""
    deadline = time.monotonic() + 30
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, pids))
