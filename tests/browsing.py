"""A headless Chromium for tests that drive a page."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
)


def without(what: str) -> None:
    """Skip the tests, or fail them in CI, where nothing may be left untested."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must drive the pages", pytrace=False)
    pytest.skip(f"no {what} here: the tests that drive a page are left out")


@contextlib.contextmanager
def chromium(profile: Path, size: tuple[int, int] = (1366, 768)) -> Iterator[Any]:
    """Run a browser of its own, with nothing kept of it but its empty `profile` folder."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser, driver = (
        next(filter(None, map(shutil.which, names)), None),
        shutil.which("chromedriver"),
    )
    if not browser or not driver:
        without("chromium and chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        without("selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=driver)
    )
    try:
        window.set_window_size(*size)
        yield window
    finally:
        window.quit()


def complaints(driver: Any) -> list[str]:
    """Return what the page itself complained of: scripts that failed, policies that were broken."""
    severe = [line["message"] for line in driver.get_log("browser") if line["level"] == "SEVERE"]
    # what the browser itself says about an answer that is an error, or about none
    return [line for line in severe if "Failed to load resource" not in line]
