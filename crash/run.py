"""Kill runs at random moments, interrupt them, and let each step on the disk fail; print tables.

`python crash/run.py [--kills 200] [--interrupts 60] [--seed N] [--no-steps]`: exit code 1 if
anything was lost, half written, left behind or done twice.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from archives import bcseg
from crashing import KINDS, scenes
from killing import TARGETS, Kill, Told, kill_all, some_kills
from stepping import FAULTS, stepped

SEEN = (
    *("before the pairs", "among the pairs", "before the tables", "among the tables"),
    *("at the end", "after the end"),
)
SOON = 2.0  # seconds: how fast a run ends that is interrupted
SCENES = (*KINDS, "commands")
LOCAL, WAYS = TARGETS[:2], ("SIGTERM", "SIGINT", "Ctrl-C")


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; all columns but the first hold numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *lines))


def by_target(told: list[Told]) -> str:
    """Return how many kills of whom were when, what was kept, what was wrong."""
    lines = []
    for target in dict.fromkeys(one.kill.target for one in told):
        own = [one for one in told if one.kill.target == target]
        counts = [sum(one.seen == word for one in own) for word in SEEN]
        lines.append((target, len(own), *counts, sum(map(bool, (one.faults for one in own)))))
    total = [sum(line[place] for line in lines) for place in range(1, len(SEEN) + 3)]
    return table(("killed", "kills", *SEEN, "faults"), [*lines, ("all", *total)])


def by_signal(told: list[Told]) -> str:
    """Return how many interrupts there were, how long the longest took, what was wrong."""
    lines = []
    for key in dict.fromkeys((one.kill.how, one.kill.target) for one in told):
        own = [one for one in told if (one.kill.how, one.kill.target) == key]
        seconds = sorted(one.seconds for one in own)
        middle, last = seconds[len(seconds) // 2], seconds[-1]
        faults = sum(map(bool, (one.faults for one in own)))
        lines.append((f"{key[0]}, {key[1]}", len(own), f"{middle:.2f}", f"{last:.2f}", faults))
    return table(("signal", "sent", "median s", "longest s", "faults"), lines)


def say(one: Told) -> None:
    """Print what was wrong, else a dot."""
    if one.faults:
        print(f"\n{one.kill}: seen {one.seen}")
        print("\n".join(f"    {fault}" for fault in one.faults), flush=True)
    else:
        print(".", end="", flush=True)


def killed(kills: list[Kill]) -> list[Told]:
    """Kill runs on a small archive, with images enough to be in the middle of."""
    with tempfile.TemporaryDirectory(prefix="bcseg-crash-") as name:
        folder = Path(name)
        archive = folder / "archive"
        assert bcseg("synth", "inbreast", archive, "--images", 24, "--scale", 0.1) == 0
        told = kill_all(kills, scenes("inbreast", archive, folder), folder, say)
    print()
    return told


def steps() -> tuple[str, int]:
    """Let a run come to grief at each step of its work on the disk; return a table, the faults."""
    lines, wrong = [], 0
    for fault in FAULTS:
        told = stepped(fault, *SCENES if fault in ("interrupt", "terminate") else KINDS)
        bad = [one for one in told if one["faults"]]
        for one in bad:
            print(fault, one)
        wrong += len(bad)
        counts = Counter(one["scene"] for one in told)
        others = sum(counts.values()) - sum(counts[kind] for kind in KINDS)
        lines.append((fault, *(counts[kind] for kind in KINDS), others, len(bad)))
    return table(("at each step", *KINDS, "other commands", "faults"), lines), wrong


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--interrupts", type=int, default=60)
    parser.add_argument("--no-steps", action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed} (--seed {asked.seed} gives the same moments)", flush=True)
    begin, wrong = time.monotonic(), 0
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if asked.kills:
        told = killed(some_kills(asked.kills, asked.seed))
        print("\n" + by_target(told))
        print(f"\n{sum(one.kept for one in told)} finished pairs were kept, none made again", "\n")
        wrong += sum(bool(one.faults) for one in told)
    if asked.interrupts:
        told = killed(some_kills(asked.interrupts, asked.seed, LOCAL, WAYS))
        late = sum(one.seconds > SOON for one in told)
        print("\n" + by_signal(told))
        print(f"\n{late} took longer than {SOON:.0f} s\n")
        wrong += late + sum(bool(one.faults) for one in told)
    if not asked.no_steps:
        text, bad = steps()
        print("\n" + text)
        wrong += bad
    print(f"\n{wrong} faults, {(time.monotonic() - begin) / 60:.0f} min")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
