"""Draw docs/report.png: a report of synthetic pairs, as a browser shows it.

    python bench/report_picture.py docs/report.png

Needs Chromium and chromedriver. No image of any archive is in it.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver

from bcseg import pairs, synth
from bcseg.adapters import ADAPTERS
from bcseg.conversion import Run, refactor
from bcseg.report import Reporting, report
from bcseg.scores import Scoring, score
from bcseg.settings import Settings
from bcseg.store import write_atomic

WIDTH, HEIGHT = 1366, 900
COLOURS = 192  # enough for greys and a few accents
FIRST = "bcdr"  # the archive whose cards are shown: a pair of two lesions


def main(words: Sequence[str]) -> int:
    """Draw the picture and say how large it is."""
    (to,) = map(Path, words)
    with tempfile.TemporaryDirectory() as scratch:
        page = made_report(Path(scratch))
        picture = photographed(page)
    packed = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS).save(packed, "PNG", optimize=True)
    write_atomic(to, packed.getvalue())
    sys.stdout.write(f"{to}: {len(packed.getvalue()) / 1000:.0f} kB\n")
    return 0


def made_report(folder: Path) -> Path:
    """Return the report of synthetic archives of all datasets."""
    root = folder / "bcseg-data"
    for name in ADAPTERS:
        synth.build(name, folder / name, images=6, scale=0.5)
        refactor(name, folder / name, root, Settings(), Run(jobs=1))
    folders = pairs.open_root(root)
    score(folders, Scoring(jobs=1))
    report(folders, folder / "report.html", Reporting(jobs=1))
    return folder / "report.html"


def photographed(page: Path) -> Image.Image:
    """Return what a window shows of the pairs of one dataset."""
    options = webdriver.ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser: Any = webdriver.Chrome(options=options, service=service)
    try:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.as_uri())
        browser.execute_script(
            "const field = document.querySelector('[name=dataset]'); field.value = arguments[0];"
            "field.dispatchEvent(new Event('change', {bubbles: true}));"
            "document.getElementById('pairs').scrollIntoView();",
            FIRST,
        )
        browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 300))")
        data = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    finally:
        browser.quit()
    return Image.open(io.BytesIO(base64.b64decode(data)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
