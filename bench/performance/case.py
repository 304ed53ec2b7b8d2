"""One measurement in a process of its own: prints CPU, wall, memory and sizes as JSON."""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from performance.archives import WARM_UP, pairs_of
from performance.contenders import PRESETS, SCRIPTS

from bcseg.preprocess import Options
from bcseg.refactor import Run, refactor
from bcseg.settings import Settings

Work = Callable[[Path, Path], None]  # source, output


def measure(name: str, dataset: str, source: Path, keep: Path | None = None) -> dict[str, Any]:
    """Measure one contender on one archive, after a warm-up on the tiny one.

    `name`: a script, or a preset of bcseg with its workers, such as "raw" or "classic x2".
    """
    cv2.setNumThreads(1)
    first: list[float] = []
    work = _work(name, dataset, first)
    scratch = source.parent
    with _folder(scratch) as output:
        work(source.parent / f"{WARM_UP}-{dataset}", output)
    first.clear()
    with _folder(scratch) as output:
        before, start = _cpu(), time.perf_counter()
        work(source, output)
        wall = time.perf_counter() - start
        cpu = _cpu() - before
        images, masks = _sizes(output)
        if keep:
            shutil.copytree(output, keep)
    peak = {
        "self": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "workers": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    times = [moment - start for moment in first]
    return {"cpu": cpu, "wall": wall, "peak": peak, "image_bytes": images, "mask_bytes": masks} | (
        {"times": times} if times else {}
    )


def _work(name: str, dataset: str, moments: list[float]) -> Work:
    if name in SCRIPTS:
        script = SCRIPTS[name]

        def run_script(source: Path, output: Path) -> None:
            for folder in ("images", "masks"):
                (output / folder).mkdir()
            for pair in pairs_of(source, dataset):
                script(pair, output)

        return run_script
    preset, _, jobs = name.partition(" x")
    assert preset in PRESETS
    settings = Settings(pixels=Options(preset=preset))  # type: ignore[arg-type]

    def progress(done: int, total: int) -> None:
        moments.append(time.perf_counter())

    def run_bcseg(source: Path, output: Path) -> None:
        refactor(dataset, source, output, settings, Run(jobs=int(jobs or 1), progress=progress))

    return run_bcseg


@contextmanager
def _folder(where: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=where, prefix="out-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _cpu() -> float:
    """Return the CPU seconds, user and system, of this process and of workers that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _sizes(output: Path) -> tuple[int, int]:
    images, masks = (
        sum(path.stat().st_size for path in output.rglob(f"{part}/*.png"))
        for part in ("images", "masks")
    )
    return images, masks


# ------------------------------------------------------------------------------- breakdown

STEPS = {
    "read and SHA-256 of the source": ("work.py:read",),
    "decode": ("images.py:decode",),
    "outlines": ("raster.py:draw",),
    "preset": ("preprocess.py:preprocess",),
    "SHA-256 of image and mask": ("png.py:pixels_sha256",),
    "PNG encoding": ("png.py:encode",),
    "write": ("store.py:write_pair",),
    "lowest and highest value, counts": ("rows.py:record_row",),
    "run lengths": ("rows.py:archive_line", "raster.py:union_sha256"),
    "adapter, reading outlines": ("lesions",),
}


def breakdown(name: str, dataset: str, source: Path) -> dict[str, float]:
    """Return the CPU seconds of each step of bcseg, by a profile of CPU time."""
    cv2.setNumThreads(1)
    work = _work(name, dataset, [])
    with _folder(source.parent) as output:
        work(source.parent / f"{WARM_UP}-{dataset}", output)
    profile = cProfile.Profile(time.process_time)
    with _folder(source.parent) as output:
        profile.runcall(work, source, output)
    return {f"{Path(f).name}:{n}": s[3] for (f, _, n), s in pstats.Stats(profile).stats.items()}  # type: ignore[attr-defined]


if __name__ == "__main__":
    kind, name, dataset, source = sys.argv[1:5]
    keep = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    found = (
        breakdown(name, dataset, Path(source))
        if kind == "breakdown"
        else measure(name, dataset, Path(source), keep)
    )
    json.dump(found, sys.stdout)
