"""Kill real runs at random moments: the program or one of its workers, here and on a Dask cluster.

Then look whether anything that must always hold does not, run the plain command, and look again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archives import heard
from bcseg.errors import EXIT_INTERRUPTED
from cluster import Processes
from crashing import KINDS, TABLES, Scene, after_all, broken_promises, finished_pairs, seen, traces
from running import Running, all_ended, is_running, members, until

TARGETS = ("program", "program, 2 jobs", "worker", "program, Dask", "worker, Dask")
PHASES = ("start", "pairs", "pairs", "tables")  # as often as they stand here
# as kill(1) does; as a terminal does, to all processes of the group
SIGNALS = {
    "SIGKILL": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
    "Ctrl-C": signal.SIGINT,
}
_JITTER = 0.01  # seconds; a pair takes about as long


@dataclass(frozen=True)
class Kill:
    """Whom to kill, how, of which scene, and when: a phase, and how much of it is over."""

    target: str
    scene: str
    phase: str
    moment: float
    how: str = "SIGKILL"


@dataclass(frozen=True)
class Told:
    """What came of a kill; `faults` is empty when all was well.

    `seconds`: how long the program took to end.
    """

    kill: Kill
    seen: str
    kept: int  # pairs that were finished then
    seconds: float
    faults: list[str] = field(default_factory=list)


def some_kills(
    count: int,
    seed: int,
    targets: tuple[str, ...] = TARGETS,
    ways: tuple[str, ...] = ("SIGKILL",),
) -> list[Kill]:
    """Return kills at random moments; targets, phases, scenes and ways get an equal share."""
    chance = random.Random(seed)
    kinds = [(t, p, s, w) for t in targets for p in PHASES for s in KINDS for w in ways]
    chosen: list[tuple[str, str, str, str]] = []
    while len(chosen) < count:
        chosen += chance.sample(kinds, len(kinds))
    return [Kill(t, s, p, chance.random(), w) for t, p, s, w in chosen[:count]]


class Hangs(Exception):
    """A run that does not come to the moment in which it is to be killed."""


class Killer:
    """Runs to kill, of some scenes; how long they take is found out first."""

    def __init__(self, scenes: dict[str, Scene], out: Path) -> None:
        self.scenes = scenes
        self.out = out
        self._times: dict[tuple[str, str], tuple[float, float]] = {}
        self._chance = random.Random(0)
        self._cluster: Processes | None = None

    def end(self) -> None:
        """End the cluster, if there is one."""
        if self._cluster:
            self._cluster.end()

    def kill(self, kill: Kill) -> Told:
        """Kill a run, look, run the plain command, look again."""
        scene = self.scenes[kill.scene]
        cluster = self._cluster_workers(kill.target)
        durations = self._durations(kill.target, scene)
        watched = _Watched(scene, self.out, self._options(kill.target))
        running = watched.running
        try:
            watched.wait_for(kill, durations)
        except Hangs as error:
            return Told(kill, "never", 0, 0.0, [str(error)])
        ended = not self._strike(kill, running, cluster)
        late = watched.tables.count() == len(TABLES)
        at = _phase(watched.pairs.count(), scene)
        begin = time.monotonic()
        code, said = running.end()
        seconds = time.monotonic() - begin
        faults = [] if all_ended(members(running.pid)) else ["workers go on without their program"]
        if code not in _codes(kill, ended, late) or (code >= 0 and "Traceback" in said):
            faults.append(f"exit code {code}: {said}")
        if code == EXIT_INTERRUPTED:
            faults += [f"{name} was left behind" for name in traces(self.out)]
        faults += broken_promises(scene, self.out)
        if not kill.target.startswith("worker"):
            at = seen(scene, self.out)
        before = finished_pairs(scene, self.out)
        faults += _again(scene, self.out, before)
        return Told(kill, "after the end" if ended else at, len(before), seconds, faults)

    def _strike(self, kill: Kill, running: Running, cluster: list[int]) -> bool:
        """Send the signal; return whether there was anybody to send it to."""
        victims = [running.pid]
        if kill.target.startswith("worker"):
            victims = cluster or running.workers()
        victims = [pid for pid in victims if is_running(pid)]
        if not victims or running.process.poll() is not None:
            return False
        send = os.killpg if kill.how == "Ctrl-C" else os.kill
        send(self._chance.choice(victims), SIGNALS[kill.how])
        return True

    def _options(self, target: str) -> list[object]:
        if "Dask" in target:
            assert self._cluster
            return ["--dask", self._cluster.address]
        return ["-j", 1 if target == "program" else 2]

    def _cluster_workers(self, target: str) -> list[int]:
        """Return the workers of the cluster, which is started and mended as need be."""
        if "Dask" not in target:
            return []
        if not self._cluster:
            place = self.out.with_name("cluster")
            place.mkdir()
            self._cluster = Processes(place)
            self._cluster.schedule()
        self._cluster.fill_up(2)
        return [process.pid for process in self._cluster.workers]

    def _durations(self, target: str, scene: Scene) -> tuple[float, float]:
        """Return the seconds to the first pair, and from the last one to the first table."""
        key = (target.removeprefix("worker").removeprefix("program"), scene.kind)
        if key not in self._times:
            begin = time.monotonic()
            run = _Watched(scene, self.out, self._options(target))
            first = run.wait(run.pairs, 1)
            last = run.wait(run.pairs, scene.to_do)
            table = run.wait(run.tables, 1)
            code, said = run.running.end()
            assert code == 0, said
            self._times[key] = first - begin, table - last
        return self._times[key]


class _Fresh:
    """Files of a folder that are not those of before."""

    def __init__(self, folder: Path, names: tuple[str, ...] = ()) -> None:
        self._folder, self._names = folder, names
        self._before = set(self._there())

    def _there(self) -> Iterator[tuple[str, int, int]]:
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name in self._names if self._names else entry.name[0] != ".":
                        status = entry.stat()
                        yield entry.name, status.st_ino, status.st_mtime_ns
        except FileNotFoundError:
            return

    def count(self) -> int:
        """Return how many there are by now."""
        return sum(one not in self._before for one in self._there())


def _phase(count: int, scene: Scene) -> str:
    """Return how far a run has come that goes on."""
    if not count:
        return "before the pairs"
    return "among the pairs" if count < scene.to_do else "before the tables"


def _codes(kill: Kill, ended: bool, late: bool) -> set[int]:
    """Return the exit codes that a run may have after a kill; `late`: all was written by then."""
    if ended or kill.target.startswith("worker"):
        return {0}
    done = {0} if late else set()
    if kill.how == "SIGKILL":
        return {-signal.SIGKILL} | done
    codes = {EXIT_INTERRUPTED} | done
    if kill.phase == "start":  # Python itself was not ready yet, and nothing had begun
        codes |= {-signal.SIGINT, -signal.SIGTERM}
    return codes


def _again(scene: Scene, out: Path, before: dict[str, Any]) -> list[str]:
    """Run the plain command; return what is not as it should be then."""
    code, printed, said = heard(*scene.again(out, "-j", 1, "--json"))
    if code:
        return [f"again: exit code {code}: {said}"]
    return after_all(scene, out, before, json.loads(printed)["fresh"])


class _Watched:
    """A run whose files are watched; a wait ends with the run at the latest."""

    def __init__(self, scene: Scene, out: Path, options: list[object]) -> None:
        folder = scene.folder(out)
        scene.lay(out)
        self.to_do = scene.to_do
        self.pairs = _Fresh(folder / "masks")
        self.tables = _Fresh(folder, TABLES)
        self.running = Running(*scene.words(out, *options))

    def wait(self, files: _Fresh, count: int) -> float:
        """Wait until there are so many files; return when that was."""
        ended = self.running.process.poll
        try:
            until(lambda: files.count() >= count or ended() is not None, 120, 0.0003)
        except AssertionError as error:
            raise Hangs(
                f"hangs, with {files.count()} of {count}: {self.running.stuck()}"
            ) from error
        return time.monotonic()

    def wait_for(self, kill: Kill, durations: tuple[float, float]) -> None:
        """Wait for the moment of a kill."""
        start, end = durations
        if kill.phase == "start":
            time.sleep(kill.moment * start)
        elif kill.phase == "pairs":
            count, rest = divmod(kill.moment * (self.to_do - 1), 1)
            self.wait(self.pairs, 1 + int(count))
            time.sleep(rest * _JITTER)
        else:
            count, rest = divmod(kill.moment * (len(TABLES) + 1), 1)
            self.wait(self.pairs, self.to_do)
            self.wait(self.tables, int(count))
            time.sleep(rest * (_JITTER / 10 if count else end))


def kill_all(
    kills: list[Kill], scenes: dict[str, Scene], folder: Path, say: Callable[[Told], None]
) -> list[Told]:
    """Do some kills one after the other, telling of each at once."""
    killer = Killer(scenes, folder / "out")
    told = []
    try:
        for kill in kills:
            told.append(killer.kill(kill))
            say(told[-1])
    finally:
        killer.end()
        shutil.rmtree(folder / "out", ignore_errors=True)
    return told
