"""The tables and plots of docs/performance.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from performance import plot

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
FILM = ("cbis", "bcdr")
LEAST_NAIVE = {"inbreast": 4.5, "cbis": 4.5, "bcdr": 6.0, "cdd": 3.5, "csaw": 3.0}
LIBRARIES = ("numpy", "opencv-python", "pydicom", "isal", "zlib-ng", "imagecodecs")

Found = Mapping[str, Any]


def text(found: Found) -> str:
    """Return everything that was measured, as Markdown."""
    parts = (
        _machine(found),
        _against_bare(found),
        _targets(found),
        _sizes(found),
        _breakdown(found),
        _many(found),
        _checks(found),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def write(document: Path, words: str, found: Found) -> None:
    """Write the tables between their markers, and the plots beside the document."""
    before = document.read_text(encoding="utf-8")
    head, _, rest = before.partition(BEGIN)
    tail = rest.partition(END)[2]
    document.write_text(f"{head}{BEGIN}\n{words}{END}{tail}", encoding="utf-8")
    bars = {d: _ratios(found, d) for d in found["contenders"]}
    document.with_name("performance-bare.svg").write_text(plot.bars(bars), encoding="utf-8")
    lines = {
        "CPU ms a pair": [(m["pairs"], 1000 * m["cpu"] / m["pairs"]) for m in found["many"]],
        "parent, MB": [(m["pairs"], m["peak"]) for m in found["many"]],
    }
    document.with_name("performance-many.svg").write_text(plot.lines(lines), encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    return [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _middle(found: Found, dataset: str, name: str, what: str) -> float:
    """Return the median over the rounds."""
    return float(median(run[what] for run in found["contenders"][dataset][name]))


def _ratio(found: Found, dataset: str, name: str, base: str, what: str = "cpu") -> float:
    """Return the median of the ratios of each round: what ran side by side is compared."""
    runs = found["contenders"][dataset]
    return float(median(a[what] / b[what] for a, b in zip(runs[name], runs[base], strict=True)))


def _ratios(found: Found, dataset: str) -> dict[str, float]:
    bare = "bare"
    return {
        "raw": _ratio(found, dataset, "raw", bare),
        "clean": _ratio(found, dataset, "clean", bare),
        "classic (8 bit)": _ratio(found, dataset, "classic", "bare 8 bit"),
        "OpenCV and pydicom": _ratio(found, dataset, "OpenCV and pydicom", bare),
        "naive (8 bit)": _ratio(found, dataset, "naive", "bare 8 bit"),
    }


def _machine(found: Found) -> list[str]:
    model = platform.processor() or platform.machine()
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = cpu.split("model name")[1].split(":")[1].split("\n")[0].strip()
        memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
        size = f", {int(memory) / 1e6:.0f} GB"
    except (OSError, IndexError):
        size = ""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    rounds = len(next(iter(next(iter(found["contenders"].values())).values())))
    rows = [
        (d, str(a["pairs"]), f"{a['megapixels']:.1f}", f"{a['rasters']:.1f}")
        for d, a in found["archives"].items()
    ]
    return [
        f"{model}, {os.cpu_count()} cores{size}; Python {platform.python_version()}, {versions}."
        f" Medians of {rounds} rounds.",
        "",
        *table(("archive", "pairs", "megapixels", "mask files an image"), rows),
    ]


def _against_bare(found: Found) -> list[str]:
    rows = []
    for dataset in found["contenders"]:
        ratios = _ratios(found, dataset)
        each = 1000 / found["archives"][dataset]["pairs"]
        bare = (f"{_middle(found, dataset, n, 'cpu') * each:.0f} ms" for n in _BARE)
        rows.append((dataset, *bare, *(f"{ratio:.2f}" for ratio in ratios.values())))
    names = _ratios(found, next(iter(found["contenders"])))
    peaks = [
        (d, *(f"{_middle(found, d, n, 'peak'):.0f}" for n in _MEMORY)) for d in found["contenders"]
    ]
    return [
        "### CPU time against the bare minimum",
        "",
        "One worker; 1.00 is bare at the depth that is written.",
        "",
        *table(("archive", "bare a pair", "bare 8 bit a pair", *names), rows),
        "",
        "![CPU time of each, bare = 1](performance-bare.svg)",
        "",
        "Peak memory of the process, MB:",
        "",
        *table(("archive", *_MEMORY), peaks),
    ]


_BARE = ("bare", "bare 8 bit")
_MEMORY = ("bare", "raw", "clean", "classic", "OpenCV and pydicom", "naive")


def _targets(found: Found) -> list[str]:
    """Compare with what was asked for."""
    rows: list[tuple[str, str, str, str]] = []

    def add(what: str, limit: float, value: float, *, least: bool = False, unit: str = "") -> None:
        met = value >= limit if least else value <= limit
        sign = "≥" if least else "≤"
        rows.append((what, f"{sign} {limit:g}{unit}", f"{value:.3g}{unit}", "yes" if met else "no"))

    for dataset in found["contenders"]:
        codecs = "OpenCV and pydicom"
        add(f"raw / bare, {dataset}", 1.15, _ratio(found, dataset, "raw", "bare"))
        limit = 1.45 if dataset in FILM else 1.25
        add(f"clean / bare, {dataset}", limit, _ratio(found, dataset, "clean", "bare"))
        classic = _ratio(found, dataset, "classic", "bare 8 bit")
        add(f"classic / bare 8 bit, {dataset}", 1.65, classic)
        slowest = max(_ratio(found, dataset, p, codecs) for p in ("raw", "clean", "classic"))
        add(f"slowest preset / OpenCV and pydicom, {dataset}", 1.0, slowest)
        naive = _ratio(found, dataset, "naive", "classic")
        add(f"naive / classic, {dataset}", LEAST_NAIVE[dataset], naive, least=True)
        for depth, kinds in found["encoders"][dataset].items():
            more = 100 * (kinds["bcseg"][1] / kinds["OpenCV, its default"][1] - 1)
            limit = 1.0 if depth.startswith("8") else 5.0
            add(f"larger than OpenCV's, {depth}, {dataset}", limit, more, unit=" %")
    add("two workers / one", 1.85, _speed_up(found), least=True)
    add("worker's memory, inbreast", 260, _worker_memory(found), unit=" MB")
    add("first pair on disk", 1.0, median(found["first"]), unit=" s")
    help_cpu = median(run["cpu"] for run in found["starts"]["bcseg --help"])
    add("`bcseg --help`, CPU", 0.25, help_cpu, unit=" s")
    last = found["many"][-1]
    add(f"{last['pairs']:,} finished pairs: nothing to do, CPU", 5.0, last["decided"], unit=" s")
    return ["### Targets", "", *table(("what", "target", "measured", "met"), rows)]


def _speed_up(found: Found) -> float:
    """Return the ratio of the rates of two workers and one, worker start left out."""
    one, two = (
        [_rate(run["times"]) for run in found["workers"][name]] for name in ("clean x1", "clean x2")
    )
    return float(median(b / a for a, b in zip(one, two, strict=True)))


def _rate(times: Sequence[float]) -> float:
    """Return records a second from the fourth on."""
    skipped = min(4, len(times) - 2)
    return (len(times) - 1 - skipped) / (times[-1] - times[skipped])


def _worker_memory(found: Found) -> float:
    return float(median(run["worker_peak"] for run in found["workers"]["clean x2"]))


def _sizes(found: Found) -> list[str]:
    rows = []
    for dataset, depths in found["encoders"].items():
        for depth, kinds in depths.items():
            time, size = kinds["OpenCV, its default"]
            cells = (f"{k[0] / time:.2f} / {k[1] / size:.3f}" for k in kinds.values())
            rows.append((dataset, depth, *cells))
    names = next(iter(next(iter(found["encoders"].values())).values()))
    return [
        "### PNG encoders",
        "",
        "CPU time / size of the image files, against OpenCV's default encoder on the same pixels.",
        "",
        *table(("archive", "image", *names), rows),
    ]


def _breakdown(found: Found) -> list[str]:
    rows = []
    for dataset, presets in found["breakdown"].items():
        for preset, steps in presets.items():
            total = sum(steps.values())
            rows.append((dataset, preset, *(f"{100 * s / total:.0f}" for s in steps.values())))
    names = next(iter(next(iter(found["breakdown"].values())).values()))
    return [
        "### Where the time goes",
        "",
        "Per cent of the CPU time of one worker, by a profile (which makes small calls look larger"
        " than they are).",
        "",
        *table(("archive", "preset", *names), rows),
    ]


def _many(found: Found) -> list[str]:
    rows = [
        (
            f"{m['pairs']:,}",
            f"{1000 * m['cpu'] / m['pairs']:.2f}",
            f"{m['peak']:.0f}",
            f"{m['decided']:.2f}",
            f"{m['resumed']:.2f}",
        )
        for m in found["many"]
    ]
    head = (
        "pairs",
        "CPU ms a pair",
        "parent's peak, MB",
        "second run: decided, CPU s",
        "second run: finished, CPU s",
    )
    return [
        "### Many pairs",
        "",
        "Images of a tenth of CDD-CESM's sides; cost by one worker, memory of a parent of two.",
        "",
        *table(head, rows),
        "",
        "![Cost of a pair and memory of the parent](performance-many.svg)",
    ]


def _checks(found: Found) -> list[str]:
    rows = []
    for name, check in found["checks"].items():
        cpu, wall = (median(run[what] for run in check["runs"]) for what in ("cpu", "wall"))
        size = check["bytes"] / 1e6
        rows.append((f"`{name}`", f"{size:.0f}", f"{size / wall:.0f}", f"{size / cpu:.0f}"))
    bare = median(run["cpu"] for run in found["starts"]["python -c pass"])
    shown = median(run["cpu"] for run in found["starts"]["bcseg --help"])
    return [
        "### Looking and checking",
        "",
        "inbreast, as a command, start included; read from the page cache.",
        "",
        *table(("command", "MB", "MB/s (wall)", "MB for each CPU second"), rows),
        "",
        f"`bcseg --help` takes {shown:.2f} s of CPU, `python -c pass` {bare:.2f} s.",
    ]
