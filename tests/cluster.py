"""A Dask cluster of processes on this machine, as someone would start it in a shell."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from running import until

HERE = Path(__file__).parent
QUIET = {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error"}


class Processes:
    """A scheduler and its workers, as someone would start them in a shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.workers: list[subprocess.Popen] = []
        self._all: list[subprocess.Popen] = []

    def start(self, *words: str, path: Path = HERE, **environment: str) -> subprocess.Popen:
        environment["PYTHONPATH"] = f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        log = (self.folder / f"{len(self._all)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *words, "--host", "127.0.0.1"],
            cwd=self.folder,
            stdout=log,
            stderr=log,
            env=os.environ | QUIET | environment,
        )
        log.close()
        self._all.append(process)
        return process

    def schedule(self) -> None:
        file = self.folder / "scheduler.json"
        self.start(
            *("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)),
            DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0",  # else a killer kills four
        )
        until(file.is_file)
        self.address = str(file)

    def work(self, **more: Path) -> subprocess.Popen:
        words = ("worker", "--scheduler-file", self.address, "--no-dashboard", "--no-nanny")
        limits = ("--nthreads", "1", "--memory-limit", "0", "--local-directory", str(self.folder))
        process = self.start(*words, *limits, **more)
        self.workers.append(process)
        return process

    def fill_up(self, count: int) -> None:
        """Have so many workers, new ones for those that died; wait until all are there."""
        self.workers = [process for process in self.workers if process.poll() is None]
        while len(self.workers) < count:
            self.work()
        until(lambda: self.there() == len(self.workers))

    def there(self) -> int:
        with client(self) as one:
            return len(one.nthreads())

    def end(self, processes: list[subprocess.Popen] | None = None) -> None:
        for process in processes or self._all:
            with contextlib.suppress(OSError):
                process.kill()
        for process in processes or self._all:
            process.wait()


@contextlib.contextmanager
def client(cluster: Processes) -> Iterator[Any]:
    import distributed

    one = distributed.Client(scheduler_file=cluster.address, set_as_default=False)
    try:
        yield one
    finally:
        one.close()
