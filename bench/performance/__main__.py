"""Measure bcseg against the bare minimum and against the script that people write.

    python bench/performance [--write docs/performance.md] [--quick]

Builds synthetic archives of real size (20 images of each dataset, kept between runs in a folder
that git ignores) and measures everything in fresh processes, interleaved. About a quarter of an
hour on a quiet machine; --quick takes a minute, on small images, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from performance import archives, report  # noqa: E402
from performance.contenders import PRESETS, SCRIPTS  # noqa: E402

# a third of its images are pairs, and small: what a run costs once would hide what a pair costs
_MORE = {"cdd": 6}
SCALING = "inbreast"  # the dataset of everything that is measured on one
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])),
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass
class Plan:
    """How much is measured."""

    data: Path
    repeats: int = 5
    images: int = 20
    scale: float = 1.0
    many: tuple[int, ...] = (100, 1000, 10_000)
    datasets: tuple[str, ...] = archives.DATASETS
    found: dict[str, Any] = field(default_factory=dict)

    def source(self, dataset: str) -> Path:
        """Return the archive of a dataset."""
        images = self.images * _MORE.get(dataset, 1)
        return archives.archive(self.data, dataset, images=images, scale=self.scale)


def case(kind: str, name: str, dataset: str, source: Path) -> Any:
    """Run one measurement in a fresh process."""
    words = [sys.executable, "-m", "performance.case", kind, name, dataset, str(source)]
    done = subprocess.run(words, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def command(*words: str) -> dict[str, float]:
    """Run a command in a fresh process; return CPU and wall seconds."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *words],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": time.perf_counter() - start}


def prepare(plan: Plan) -> None:
    """Build what is not there yet."""
    plan.data.mkdir(parents=True, exist_ok=True)
    for dataset in plan.datasets:
        for name, source in (
            (dataset, plan.source(dataset)),
            (archives.WARM_UP, archives.warm_up(plan.data, dataset)),
        ):
            say(f"{name}: {len(archives.pairs_of(source, dataset))} pairs")
    archives.warm_up(plan.data, "cdd")
    for count in plan.many:
        archives.many(plan.data, count)


def contenders(plan: Plan) -> None:
    """Measure everything on every dataset, interleaved."""
    names = (*SCRIPTS, *PRESETS)
    found: dict[str, dict[str, list[Any]]] = {d: {n: [] for n in names} for d in plan.datasets}
    for number in range(plan.repeats):
        for dataset in plan.datasets:
            for name in names:
                found[dataset][name].append(case("measure", name, dataset, plan.source(dataset)))
            say(f"round {number + 1} of {plan.repeats}: {dataset}")
    plan.found["contenders"] = found
    plan.found["archives"] = {
        d: archives.describe(archives.pairs_of(plan.source(d), d)) for d in plan.datasets
    }


def others(plan: Plan) -> None:
    """Measure what needs one dataset, or none."""
    source = plan.source(SCALING)
    workers: dict[str, list[Any]] = {"clean x1": [], "clean x2": []}
    starts: dict[str, list[Any]] = {"python -c pass": [], "bcseg --help": []}
    for _ in range(plan.repeats):
        for name, runs in workers.items():
            runs.append(case("measure", name, SCALING, source))
        starts["python -c pass"].append(command("-c", "pass"))
        starts["bcseg --help"].append(command("-m", "bcseg", "--help"))
    plan.found["workers"], plan.found["starts"] = workers, starts
    say("workers, --help")
    plan.found["first"] = [first_pair(plan, source) for _ in range(plan.repeats)]
    plan.found["checks"] = checks(plan, source)
    say("first pair, inspect, verify")
    plan.found["encoders"] = {d: case("encoders", "", d, plan.source(d)) for d in plan.datasets}
    plan.found["breakdown"] = {
        d: {p: case("breakdown", p, d, plan.source(d)) for p in PRESETS} for d in plan.datasets
    }
    say("encoders, breakdown")
    plan.found["many"] = [case("many", "", "cdd", archives.many(plan.data, n)) for n in plan.many]
    say("many small pairs")


def first_pair(plan: Plan, source: Path) -> float:
    """Return the seconds from the start of the program until the first pair is on disk."""
    with archives.scratch(plan.data) as output:
        words = ["-m", "bcseg", "refactor", SCALING, str(source), "-o", str(output), "--quiet"]
        start = time.perf_counter()
        with subprocess.Popen([sys.executable, *words], env=ENVIRONMENT) as process:
            while process.poll() is None and not any(output.glob("*/masks/[!.]*.png")):
                time.sleep(0.002)
            elapsed = time.perf_counter() - start
            process.send_signal(signal.SIGINT)  # it ends its workers
    return elapsed


def checks(plan: Plan, source: Path) -> dict[str, dict[str, Any]]:
    """Return the runs of inspect, verify and verify --fast, and how many bytes they are about."""
    found: dict[str, dict[str, Any]] = {}
    with archives.scratch(plan.data) as output:
        command("-m", "bcseg", "refactor", SCALING, str(source), "-o", str(output), "-j", "1")
        for name, words, folder in (
            ("inspect", ("inspect", str(source)), source),
            ("verify", ("verify", str(output)), output),
            ("verify --fast", ("verify", str(output), "--fast"), output),
        ):
            runs = [command("-m", "bcseg", *words) for _ in range(plan.repeats)]
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            found[name] = {"runs": runs, "bytes": size}
    return found


def say(line: str) -> None:
    """Print a message."""
    sys.stderr.write(line + "\n")


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(prog="performance", description=__doc__)
    parser.add_argument("--write", type=Path, help="document that holds the tables")
    parser.add_argument("--quick", action="store_true", help="small images, one round: a look")
    parser.add_argument("--data", type=Path, default=Path(".bench"), help="where archives are kept")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; figures are medians")
    options = parser.parse_args()
    plan = Plan(options.data.resolve(), options.repeats)
    if options.quick:
        plan = Plan(options.data.resolve(), 1, images=6, scale=0.25, many=(20, 60))
    prepare(plan)
    contenders(plan)
    others(plan)
    text = report.text(plan.found)
    sys.stdout.write(text)
    if options.write and not options.quick:
        report.write(options.write, text, plan.found)
    elif options.write:
        sys.stdout.write("nothing written: this was a quick look\n")


if __name__ == "__main__":
    main()
