"""Kill real runs at random moments: the program or one of its workers, here and on a Dask cluster.

Then look whether anything that must always hold does not, run the plain command, and look again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster import Processes
from crashing import KINDS, Scene, after_all, broken_promises, finished_pairs, seen
from running import Running, all_ended, is_running, until

TARGETS = ("program", "program, 2 jobs", "worker", "program, Dask", "worker, Dask")
PHASES = ("start", "pairs", "pairs", "tables")  # as often as they stand here
_JITTER = 0.01  # seconds; a pair takes about as long


@dataclass(frozen=True)
class Kill:
    """Whom to kill, of which scene, and when: a phase, and how much of it is over."""

    target: str
    scene: str
    phase: str
    moment: float


@dataclass(frozen=True)
class Told:
    """What came of a kill; `faults` is empty when all was well."""

    kill: Kill
    seen: str
    kept: int  # pairs that were finished then
    faults: list[str] = field(default_factory=list)


def some_kills(count: int, seed: int, targets: tuple[str, ...] = TARGETS) -> list[Kill]:
    """Return kills at random moments; targets, phases and scenes get an equal share."""
    chance = random.Random(seed)
    combinations = [(t, p, s) for t in targets for p in PHASES for s in KINDS]
    chance.shuffle(combinations)
    chosen = [combinations[number % len(combinations)] for number in range(count)]
    return [Kill(t, s, p, chance.random()) for t, p, s in chosen]


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
        workers = self._cluster_workers(kill.target)
        start, end = self._durations(kill.target, scene)
        scene.lay(self.out)
        done = _Fresh(scene.folder(self.out) / "masks")
        running = Running(*scene.words(self.out, *self._options(kill.target)))
        _wait(kill, scene, running, done, (start, end))
        victims, mine = self._victims(kill.target, running, workers)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        code, said = running.end()
        faults = [] if all_ended(mine) else ["workers go on without their program"]
        if not kill.target.startswith("worker"):
            faults += [f"exit code {code}: {said}"] if code not in (-signal.SIGKILL, 0) else []
        elif code:
            faults.append(f"exit code {code}: {said}")
        faults += broken_promises(scene, self.out)
        at = (
            "after the end" if not victims or (code == 0 and not victims) else seen(scene, self.out)
        )
        before = finished_pairs(scene, self.out)
        faults += self._again(scene, before)
        return Told(kill, at, len(before), faults)

    def _again(self, scene: Scene, before: dict[str, tuple[int, ...]]) -> list[str]:
        words = scene.again(self.out, "-j", 1, "--json")
        done = subprocess.run(
            [sys.executable, "-m", "bcseg", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return [f"again: exit code {done.returncode}: {done.stderr}"]
        return after_all(scene, self.out, before, json.loads(done.stdout)["fresh"])

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

    def _victims(
        self, target: str, running: Running, cluster: list[int]
    ) -> tuple[list[int], list[int]]:
        """Return whom to kill, and the local workers."""
        local = running.workers()
        if target.startswith("program"):
            return ([running.pid] if is_running(running.pid) else []), local
        there = [pid for pid in cluster or local if is_running(pid)]
        return ([self._chance.choice(there)] if there else []), local

    def _durations(self, target: str, scene: Scene) -> tuple[float, float]:
        """Return the seconds to the first pair, and from the last one to the end."""
        key = (target.removeprefix("worker").removeprefix("program"), scene.kind)
        if key not in self._times:
            scene.lay(self.out)
            done = _Fresh(scene.folder(self.out) / "masks")
            begin = time.monotonic()
            running = Running(*scene.words(self.out, *self._options(target)))
            until(lambda: done.count() >= 1 or running.process.poll() is not None, 60, 0.001)
            first = time.monotonic()
            until(
                lambda: done.count() >= scene.to_do or running.process.poll() is not None, 60, 0.001
            )
            last = time.monotonic()
            code, said = running.end()
            assert code == 0, said
            self._times[key] = first - begin, time.monotonic() - last
        return self._times[key]


class _Fresh:
    """The masks that are not those of before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = set(self._inodes())

    def _inodes(self) -> Iterator[tuple[str, int]]:
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        yield entry.name, entry.inode()
        except FileNotFoundError:
            return

    def count(self) -> int:
        """Return how many there are by now."""
        return sum(one not in self._before for one in self._inodes())


def _wait(
    kill: Kill, scene: Scene, running: Running, done: _Fresh, durations: tuple[float, float]
) -> None:
    """Wait for the moment of a kill, or the end of the run."""
    start, end = durations

    def has(count: int) -> Callable[[], bool]:
        return lambda: done.count() >= count or running.process.poll() is not None

    if kill.phase == "start":
        time.sleep(kill.moment * start)
    elif kill.phase == "pairs":
        place = kill.moment * (scene.to_do - 1)
        until(has(1 + int(place)), 60, 0.0005)
        time.sleep(place % 1 * _JITTER)
    else:
        until(has(scene.to_do), 60, 0.0002)
        time.sleep(kill.moment * end)


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
