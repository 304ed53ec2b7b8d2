"""One measurement in a process of its own: prints what it found as JSON."""

from __future__ import annotations

import cProfile
import json
import pstats
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from performance.archives import WARM_UP, pairs_of, scratch
from performance.contenders import PRESETS, SCRIPTS

from bcseg import png
from bcseg.conversion import Run, refactor
from bcseg.formats.images import decode
from bcseg.memory import keep_freed_memory
from bcseg.preprocessing import Options, preprocess
from bcseg.settings import Settings

Work = Callable[[Path, Path], None]  # source, output


def measure(name: str, dataset: str, source: Path) -> dict[str, Any]:
    """Measure one contender on one archive, after a warm-up on the tiny one.

    `name`: a script, or a preset of bcseg with its workers, such as "raw" or "clean x2". CPU and
    wall in seconds, peak memory in MB (of this process and of the largest worker), sizes in bytes;
    `times`: seconds from the start until each record of bcseg was done.
    """
    moments: list[float] = []
    work = _work(name, dataset, moments)
    with scratch(source.parent) as output:
        work(source.parent / f"{WARM_UP}-{dataset}", output)
    moments.clear()
    with scratch(source.parent) as output:
        before, start = _cpu(), time.perf_counter()
        work(source, output)
        found = {"cpu": _cpu() - before, "wall": time.perf_counter() - start}
        sizes = {part: _size(output, part) for part in ("images", "masks")}
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return found | {
        "peak": _peak(),
        "worker_peak": workers,
        "times": [moment - start for moment in moments],
        **sizes,
    }


def _work(name: str, dataset: str, moments: list[float]) -> Work:
    cv2.setNumThreads(1)
    if name in SCRIPTS:
        script = SCRIPTS[name]

        def run_script(source: Path, output: Path) -> None:
            for folder in ("images", "masks"):
                (output / folder).mkdir()
            for pair in pairs_of(source, dataset):
                script(pair, output)

        return run_script
    preset, _, jobs = name.partition(" x")
    if preset not in PRESETS:
        raise ValueError(f"nothing is called {name!r}")
    settings = Settings(pixels=Options(preset=preset))  # type: ignore[arg-type]

    def progress(done: int, total: int) -> None:
        moments.append(time.perf_counter())

    def run_bcseg(source: Path, output: Path) -> None:
        refactor(dataset, source, output, settings, Run(jobs=int(jobs or 1), progress=progress))

    return run_bcseg


def _cpu() -> float:
    """Return the CPU seconds, user and system, of this process and of workers that ended."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)  # os.times counts in 1/100 s


def _peak() -> float:
    """Return the peak memory of this process in MB, not counting what it was forked from."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _size(output: Path, part: str) -> int:
    return sum(path.stat().st_size for path in output.rglob(f"{part}/*.png"))


# ------------------------------------------------------------------------------- breakdown

SHOWN = (
    ("PNG encoding", "png.py", "encode"),
    ("SHA-256 of image and mask", "png.py", "pixels_sha256"),
    ("reading the source, its SHA-256", "work.py", "read"),
    ("decoding", "images.py", "decode"),
    ("outlines drawn", "raster.py", "draw"),
    ("preset", "preprocessing.py", "preprocess"),
    ("writing the files", "store.py", "write_pair"),
    ("run lengths of lesions", "raster.py", "rle_counts"),
)  # what is shown, module, function: none is called inside another


def breakdown(name: str, dataset: str, source: Path) -> dict[str, float]:
    """Return the CPU seconds of each step of bcseg: its share of a profile of CPU time."""
    work = _work(name, dataset, [])
    with scratch(source.parent) as output:
        work(source.parent / f"{WARM_UP}-{dataset}", output)
    profile = cProfile.Profile(time.process_time)
    with scratch(source.parent) as output:
        profile.runcall(work, source, output)
    return _steps(pstats.Stats(profile).stats)  # type: ignore[attr-defined]


def _steps(stats: dict[tuple[str, int, str], Any]) -> dict[str, float]:
    total = sum(own for _, _, own, _, _ in stats.values())
    found = {
        label: sum(
            cumulated
            for (file, _, function), (_, _, _, cumulated, _) in stats.items()
            if Path(file).name == module and function == wanted and "bcseg" in file
        )
        for label, module, wanted in SHOWN
    }
    return found | {"everything else": total - sum(found.values())}


# ------------------------------------------------------------------------ encoders, many pairs


def encoders(dataset: str, source: Path) -> dict[str, dict[str, list[float]]]:
    """Return CPU seconds and bytes of each PNG encoder for the images of `raw` and `classic`."""
    import imagecodecs

    cv2.setNumThreads(1)
    keep_freed_memory()
    kinds: dict[str, Callable[[Any], Any]] = {
        "bcseg": png.encode,
        "OpenCV, its default": lambda pixels: cv2.imencode(".png", pixels)[1],
        "imagecodecs, level 1, run lengths": lambda pixels: imagecodecs.png_encode(
            pixels, level=1, strategy=3, filter=16
        ),
    }
    found: dict[str, dict[str, list[float]]] = {}
    for pair in pairs_of(source, dataset):
        image = decode(pair.image.read_bytes(), pair.name)
        for preset in ("raw", "classic"):
            pixels = preprocess(image, Options(preset=preset)).pixels  # type: ignore[arg-type]
            depth = f"{8 * pixels.itemsize} bit, {preset}"
            for kind, encode in kinds.items():
                start = time.process_time()
                size = len(encode(pixels))
                sums = found.setdefault(depth, {}).setdefault(kind, [0.0, 0.0])
                sums[0] += time.process_time() - start
                sums[1] += size
    return found


def many(dataset: str, source: Path) -> dict[str, float]:
    """Return what small pairs cost, and what a second run over the finished folder takes.

    Cost by one worker, which needs no start; memory of a parent of two.
    """
    settings = Settings()
    said: list[float] = []
    with scratch(source.parent) as output:
        refactor(dataset, source.parent / f"{WARM_UP}-{dataset}", output, settings, Run(jobs=1))
    with scratch(source.parent) as output:
        refactor(dataset, source, output, settings, Run(jobs=2))
        peak = _peak()
    with scratch(source.parent) as output:
        before = _cpu()
        done = refactor(dataset, source, output, settings, Run(jobs=1))
        cpu = _cpu() - before
        before = _cpu()
        again = Run(jobs=1, say=lambda _: said.append(_cpu() - before))
        refactor(dataset, source, output, settings, again)
        resumed = _cpu() - before
    return {
        "pairs": done.pairs,
        "cpu": cpu,
        "peak": peak,
        "decided": said[0],
        "resumed": resumed,
    }


def run(kind: str, name: str, dataset: str, source: Path) -> Any:
    """Run one measurement here."""
    match kind:
        case "measure":
            return measure(name, dataset, source)
        case "breakdown":
            return breakdown(name, dataset, source)
        case "encoders":
            return encoders(dataset, source)
        case "many":
            return many(dataset, source)
    raise ValueError(f"nothing is called {kind!r}")


if __name__ == "__main__":
    json.dump(run(*sys.argv[1:4], Path(sys.argv[4])), sys.stdout)
