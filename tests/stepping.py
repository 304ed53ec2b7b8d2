"""Bring a run to grief at each of its steps on the disk in turn: killed, interrupted, disk full.

As a script: a fault, a kind of scene (or "commands"), which steps; prints what came of each as
JSON. A run is a forked child of a process that has everything loaded: a step costs only its work.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from running import hear_interrupts
from watched import changed

SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}
MAKING = ("open", "os.mkdir", "os.link")  # what is removed or renamed needs no room
ANY = (*MAKING, "os.rename", "os.remove", "os.rmdir", "os.utime")
REFUSALS = {"full": (errno.ENOSPC, MAKING), "denied": (errno.EACCES, ANY)}
FAULTS = (*SIGNALS, *REFUSALS)
_CODES = {"kill": {-signal.SIGKILL}, "interrupt": {130}, "terminate": {130}}
_ENDED = 97  # exit code of a run that ended before it came to the step


class Steps:
    """An audit hook that counts changes below a folder: at one of them comes a signal, or from
    that one on the disk refuses.
    """

    def __init__(self, below: Path, at: int, fault: str, *, reading: bool = False) -> None:
        self._reading = reading  # what is opened for reading is a step, too
        self._below = os.path.realpath(below)
        self._at, self._fault = at, fault
        self._count = 0
        self.struck = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        names = [args[0]] if event == "open" and self._reading else changed(event, args)
        for name in names[:1]:
            if not isinstance(name, str):
                continue
            path = os.path.abspath(name)  # noqa: PTH100  # asks no disk
            if path == self._below or path.startswith(self._below + os.sep):
                self._count += 1
                if self._count >= self._at:
                    self._strike(event, path)

    def _strike(self, event: str, path: str) -> None:
        if self._fault in SIGNALS:
            if not self.struck:
                self.struck = True
                os.kill(os.getpid(), SIGNALS[self._fault])
            return
        number, events = REFUSALS[self._fault]
        if event in events:
            self.struck = True
            raise OSError(number, os.strerror(number), path)


def run(
    words: list[str], out: Path, at: int, fault: str, *, reading: bool = False
) -> tuple[int, str]:
    """Run a command with a fault at a step; return its exit code and its messages."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            code = 3
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                code = _child(words, Steps(out, at, fault, reading=reading))
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode()


def _child(words: list[str], steps: Steps) -> int:
    from bcseg.cli import main

    code = 0
    try:
        main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    return code if steps.struck else _ENDED


def each_step(scene: Any, out: Path, fault: str, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Let a scene's run come to grief at some of its steps; return what was wrong then."""
    from crashing import after_all, broken_promises, finished_pairs, seen, traces

    told = []
    for number in numbers:
        scene.lay(out)
        code, said = run(scene.words(out, "-j", 1), out, number, fault)
        if code == _ENDED:
            break
        faults = broken_promises(scene, out)
        at = seen(scene, out)
        whole = (
            {0} if at.endswith("the end") else set()
        )  # no more than its lock could not be removed
        if code not in _CODES.get(fault, {1, 2} | whole):
            faults.append(f"exit code {code}: {said}")
        if "Traceback" in said or "a bug" in said:
            faults.append(said)
        if fault in ("interrupt", "terminate", "full"):
            faults += [f"{name} was left behind" for name in traces(out)]
        before = finished_pairs(scene, out)
        again, said = run(scene.again(out, "-j", 1, "--json"), out, sys.maxsize, fault)
        if again != _ENDED:
            faults.append(f"again: exit code {again}: {said}")
        else:
            document = said[said.index("\n{") + 1 : said.rindex("\n}") + 2]
            faults += after_all(scene, out, before, json.loads(document)["fresh"])
        told.append({"scene": scene.kind, "step": number, "seen": at, "faults": faults})
    return told


def commands(root: Path, out: Path) -> list[list[str]]:
    """Return commands that read a root and write something, each of which may be interrupted."""
    words = [
        ["select", root, "--where", "area_px > 0", "-o", out / "selected"],
        ["verify", root, "-j", "1", "-o", out / "found.csv"],
        ["score", root, "-j", "1"],
        ["report", root, "-j", "1"],
        ["export", "nnunet", root, "-o", out / "export"],
        ["split", root, "--unknown-patient", "one-group"],
    ]
    return [[str(word) for word in command] for command in words]


def each_command(place: Path, scene: Any, fault: str, numbers: range) -> list[dict[str, Any]]:
    """Interrupt commands at some of the files that they open; return what was wrong then.

    What a command makes is whole in the end, or not there.
    """
    from crashing import differences, traces

    def files() -> dict[str, bytes]:
        found = [path for path in place.rglob("*.*") if path.is_file() and "logs" not in path.parts]
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in found}

    told = []
    shutil.rmtree(place, ignore_errors=True)
    for words in commands(place / "root", place / "out"):
        shutil.copytree(scene.before, place / "root")
        (place / "out").mkdir()
        before = files()
        code, said = run(words, place, sys.maxsize, fault, reading=True)
        assert code == _ENDED, said
        after = files()
        for number in numbers:
            shutil.rmtree(place)
            shutil.copytree(scene.before, place / "root")
            (place / "out").mkdir()
            code, said = run(words, place, number, fault, reading=True)
            if code == _ENDED:
                break
            faults = [] if code == 130 else [f"exit code {code}: {said}"]
            if "Traceback" in said:
                faults.append(said)
            faults += [f"{name} was left behind" for name in traces(place)]
            if differences(files(), after):
                faults += differences(files(), before)
            told.append({"scene": words[0], "step": number, "seen": "", "faults": faults})
        shutil.rmtree(place)
    return told


def stepped(fault: str, *kinds: str, first: int = 1, every: int = 1) -> list[dict[str, Any]]:
    """Do it in a process of its own; return scene, step and faults of each."""
    words = [sys.executable, __file__, fault, *kinds, "--first", str(first), "--every", str(every)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def _main() -> None:
    from crashing import KINDS, own_scenes

    hear_interrupts()
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("kinds", nargs="+", choices=(*KINDS, "commands"))
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes = own_scenes(folder)
        numbers = range(asked.first, sys.maxsize, asked.every)
        told = []
        for kind in asked.kinds:
            if kind == "commands":
                told += each_command(folder / "place", scenes["redo"], asked.fault, numbers)
            else:
                told += each_step(scenes[kind], folder / "out", asked.fault, numbers)
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    _main()
