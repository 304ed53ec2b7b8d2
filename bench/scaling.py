"""Work out time, disk, memory and cost of a million images, from figures measured here.

    python bench/scaling.py [--write docs/scaling.md] [--images 4] [--keep FOLDER]

Full-size synthetic images of each dataset are converted by one worker, with the default options;
CPU time, bytes and peak memory of that process are measured, and multiplied. CPU seconds are
counted, not those on the clock, so that other work on the machine matters little. Prices and
cores are options: put in your own.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DATASETS = ("bcdr", "cbis", "cdd", "csaw", "inbreast")
BEGIN, END = "<!-- bench-scaling: begin -->", "<!-- bench-scaling: end -->"
BCSEG = (sys.executable, "-m", "bcseg")
PAIRS = ("images", "masks")
HOUR, GB, TB = 3600, 1e9, 1e12


@dataclass(frozen=True)
class Measured:
    """What one image of a dataset costs: CPU seconds, bytes read and written, peak memory."""

    dataset: str
    seconds: float
    read: float
    written: float
    books: float  # journal and tables
    memory: float


def measure(dataset: str, source: Path, out: Path, images: int) -> Measured:
    """Convert full-size synthetic images; the cost of starting is taken off by a second run."""
    if not source.is_dir():
        run("synth", dataset, source, "--images", images, "--full-size")
    all_done, memory = run("refactor", dataset, source, "-o", out, "-j", 1, "--with-empty=force")
    nothing_done, _ = run("refactor", dataset, source, "-o", out, "-j", 1, "--with-empty=force")
    pairs = len(list((out / dataset / "images").iterdir()))
    written = sum(size(path) for part in PAIRS for path in (out / dataset / part).iterdir())
    tables = [path for path in (out / dataset).iterdir() if path.is_file()]
    return Measured(
        dataset,
        max(0.0, all_done - nothing_done) / pairs,
        sum(map(size, source.rglob("*"))) / pairs,
        written / pairs,
        sum(map(size, tables)) / pairs,
        memory,
    )


def size(path: Path) -> int:
    """Return the bytes of a file, 0 for a folder."""
    return path.stat().st_size if path.is_file() else 0


def run(*words: object) -> tuple[float, float]:
    """Run bcseg; return its CPU seconds and its peak memory in bytes."""
    done = subprocess.Popen(
        [*BCSEG, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, used = os.wait4(done.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        assert done.stderr is not None
        sys.exit(done.stderr.read().decode())
    scale = 1 if sys.platform == "darwin" else 1024
    return used.ru_utime + used.ru_stime, used.ru_maxrss * scale


def table(found: list[Measured], options: argparse.Namespace) -> str:
    """Return the arithmetic as Markdown."""
    count, cores = options.count, options.cores
    lines = [
        f"Measured with {options.images} full-size synthetic images of each dataset, one worker, "
        f"default options, on {machine()}. Multiplied to {count:,} images, {cores} cores, storage "
        f"that reads and writes {options.storage:g} GB/s, {options.core_hour:g} for a core hour "
        f"and {options.tb_month:g} for a TB a month (any currency).",
        "",
        f"| dataset | CPU s an image | core hours | hours: {cores} cores | hours: storage | "
        "source TB | pairs TB | journal and tables GB | MB a worker | computing | "
        "storage a month |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        hours = one.seconds * count / HOUR
        moved, disk = one.read + one.written, one.read + one.written + one.books
        lines.append(
            f"| {one.dataset} | {one.seconds:.2f} | {hours:,.0f} | {hours / cores:,.1f} | "
            f"{moved * count / (options.storage * GB) / HOUR:,.1f} | "
            f"{one.read * count / TB:.1f} | {one.written * count / TB:.1f} | "
            f"{one.books * count / GB:.0f} | {one.memory / 1e6:,.0f} | "
            f"{hours * options.core_hour:,.0f} | {disk * count / TB * options.tb_month:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Return the name of the processor, and how many there are."""
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return f"{os.cpu_count()} x {name}"


def main() -> None:
    """Measure and print; with --write also into the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, help="document that holds the table")
    parser.add_argument("--images", type=int, default=4, help="full-size images of each dataset")
    parser.add_argument("--keep", type=Path, help="folder for the archives, kept between runs")
    parser.add_argument("--count", type=int, default=1_000_000, help="images to work it out for")
    parser.add_argument("--cores", type=int, default=64, help="cores at work at once")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core hour")
    parser.add_argument("--tb-month", type=float, default=20, help="price of a TB a month")
    parser.add_argument("--storage", type=float, default=2, help="GB/s of the shared storage")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bcseg-scaling-") as scratch:
        archives = options.keep or Path(scratch) / "archives"
        found = [
            measure(name, archives / name, Path(scratch) / "pairs", options.images)
            for name in DATASETS
        ]
    text = table(found, options)
    sys.stdout.write(text)
    if options.write:
        document = options.write.read_text(encoding="utf-8")
        head, rest = document.split(BEGIN, 1)
        tail = rest.split(END, 1)[1]
        options.write.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
