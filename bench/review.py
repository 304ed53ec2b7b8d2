"""Measure how long a reviewer waits for the next pair, by driving the page in a real browser.

    PYTHONPATH=tests python bench/review.py [--pairs 100] [--size 1366x768] [--think 1.0]
    PYTHONPATH=tests python bench/review.py --picture docs/review.png

The pairs are synthetic, of the published size of INbreast (13.6 million pixels, 14 of 16 bits):
four made by `bcseg synth` and copied under other names. The wait begins when the key is pressed
and ends with the frame in which the next pair is on the screen, its decision on the disk. Between
two keys the reviewer looks for `--think` seconds. `--picture` writes the page as it looks instead.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from browser import chromium, resize  # of tests/

KEYS = "a1a2 "  # pressed in turn
BCSEG = (sys.executable, "-m", "bcseg")
STOPWATCH = """
window.waits = [];
let pressed = 0;
addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
new MutationObserver(() => {
  const since = pressed;
  requestAnimationFrame(() => setTimeout(() => window.waits.push(performance.now() - since)));
}).observe(document.body, { attributeFilter: ["data-shown"] });
"""


def main() -> None:
    """Measure, or take the picture."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pairs", type=int, default=100)
    options.add_argument("--size", default="1366x768")
    options.add_argument("--think", type=float, default=1.0, help="seconds between two keys")
    options.add_argument("--picture", type=Path)
    given = options.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as name, browser(Path(name), width, height) as window:
        folder = Path(name)
        if given.picture:
            take_picture(folder, window, given.picture)
        else:
            measure(many_pairs(folder, given.pairs), window, given.pairs, given.think)


@contextlib.contextmanager
def browser(folder: Path, width: int, height: int) -> Iterator[Any]:
    """Run a browser whose page is exactly this large."""
    with chromium(folder / "profile") as window:
        resize(window, width, height)
        yield window


def run(*words: object) -> None:
    """Run a command of bcseg."""
    subprocess.run([*BCSEG, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def make_root(folder: Path, *more: str) -> Path:
    """Make a scored root of synthetic INbreast pairs."""
    run("synth", "inbreast", folder / "original", *more)
    run("refactor", "inbreast", folder / "original", "-o", folder / "root", "--quiet")
    run("score", folder / "root", "--quiet")
    return folder / "root"


def many_pairs(folder: Path, wanted: int) -> Path:
    """Make a root of pairs of full size: a few made, and copies of them under other names."""
    made = make_root(folder, "--full-size") / "inbreast"
    to = folder / "many" / "inbreast"
    for name in ("images", "masks"):
        (to / name).mkdir(parents=True)
    shutil.copy(made / "dataset.json", to)
    rows = {name: read(made / name) for name in ("records.csv", "lesions.csv", "scores.csv")}
    with gzip.open(made / "lesions.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    ids = [row["record_id"] for row in rows["records.csv"]]
    names = [(one, f"{copy:03d}{one}") for copy in range(wanted) for one in ids][:wanted]
    for name, table in rows.items():
        write(to / name, [renamed(row, *pair) for pair in names for row in table])
    with gzip.open(to / "lesions.jsonl.gz", "wt") as file:
        for old, new in names:
            for line in lines:
                if line["record_id"] == old:
                    file.write(json.dumps(line | {"record_id": new}) + "\n")
    for old, new in names:
        for name in ("images", "masks"):
            shutil.copy(made / name / f"{old}.png", to / name / f"{new}.png")
    return to.parent


def read(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def renamed(row: dict[str, str], old: str, new: str) -> dict[str, str]:
    """Return a row of one record as that of its copy; empty if it is another's."""
    if row["record_id"] != old:
        return {}
    changed = {"record_id": new, "group": f"inbreast:{new}"}
    files = {name: f"{name}s/{new}.png" for name in ("image", "mask")}
    return {name: (changed | files).get(name, cell) for name, cell in row.items()}


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table, sorted by record."""
    rows = sorted(filter(None, rows), key=lambda row: row["record_id"])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextlib.contextmanager
def reviewing(root: Path, window: Any) -> Iterator[None]:
    """Open a review in the window."""
    command = [*BCSEG, "review", str(root), "--reviewer", "ann", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        window.get(server.stdout.readline().split()[-1])
        wait(window, "return document.body.dataset.started === 'yes'")
        yield
    finally:
        server.kill()
        server.wait()


def wait(window: Any, true: str) -> None:
    """Wait until a script says so."""
    end = time.monotonic() + 60
    while not window.execute_script(true):
        if time.monotonic() > end:
            raise TimeoutError(window.execute_script("return document.body.innerText"))
        time.sleep(0.01)


def press(window: Any, key: str) -> None:
    """Press a key."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(window).send_keys(key).perform()


def measure(root: Path, window: Any, pairs: int, think: float) -> None:
    """Judge all pairs but the last, and print how long each next one took."""
    with reviewing(root, window):
        window.execute_script(STOPWATCH)
        time.sleep(max(think, 2.0))  # the first pair is looked at, too
        began = time.monotonic()
        for number in range(pairs - 1):
            press(window, KEYS[number % len(KEYS)])
            wait(window, f"return window.waits.length > {number}")
            time.sleep(think)
        total = time.monotonic() - began
        waits = sorted(window.execute_script("return window.waits"))
    p95 = waits[int(0.95 * (len(waits) - 1))]
    soon = sum(one < 200 for one in waits) / len(waits)
    looked = think * len(waits)
    sys.stdout.write(
        f"{len(waits)} decisions: next pair on the screen after {statistics.median(waits):.0f} ms"
        f" (median), {p95:.0f} ms (95 %), {waits[-1]:.0f} ms (longest); {soon:.0%} under 200 ms\n"
        f"{total:.0f} s in all, {looked:.0f} s of them looking, {total - looked:.0f} s waiting\n"
    )


def palette() -> Any:
    """Return 80 greys of the images and the few colours of the page."""
    from PIL import Image

    greys = [(level, level, level) for level in (round(n * 255 / 79) for n in range(80))]
    page = ["#101216", "#1a1d23", "#2c313a", "#2b3038", "#e4e7eb", "#a0a8b4"]
    colours = ["#57c785", "#ff7b72", "#e3b341", "#79b8ff", "#ffd60a", "#b8990f", "#6e5f1c"]
    colours = [tuple(bytes.fromhex(one[1:])) for one in page + colours]
    image = Image.new("P", (1, 1))
    image.putpalette([value for colour in greys + colours for value in colour])
    return image


def take_picture(folder: Path, window: Any, to: Path) -> None:
    """Write the page with a synthetic pair and some decisions, in few colours."""
    import io

    from PIL import Image

    with reviewing(make_root(folder, "--images", "24", "--scale", "0.5"), window):
        for key in "a2a5 a1":
            before = window.execute_script("return document.body.dataset.shown")
            press(window, key)
            wait(window, f"return document.body.dataset.shown !== '{before}'")
        press(window, "w")
        time.sleep(0.3)
        shown = Image.open(io.BytesIO(window.get_screenshot_as_png())).convert("RGB")
    shown.quantize(palette=palette(), dither=Image.Dither.NONE).save(to, optimize=True)
    sys.stdout.write(f"{to}: {to.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
