"""A headless Chromium for tests: each module that needs it starts one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-sync", "hide-scrollbars"),
    *("disable-background-networking", "disable-component-update", "disable-dev-shm-usage"),
)


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Run a headless Chromium that looks for no network; its window is 1366 x 768.

    Where there is none the tests are skipped, except under CI=true: there they fail.
    """
    webdriver = _needed_module()
    options = webdriver.ChromeOptions()
    options.binary_location = _needed_program("chromium", "chromium-browser", "google-chrome")
    for flag in (*FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(_needed_program("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        resize(driver, 1366, 768)
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int) -> None:
    """Give the page a size, in CSS pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def emulate(driver: Any, medium: str = "") -> None:
    """Show the page as on "screen" or in "print"."""
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium})


def _needed_module() -> Any:
    try:
        from selenium import webdriver
    except ImportError:
        return _missing("selenium is not installed")
    return webdriver


def _needed_program(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    return found or _missing(f"no {names[0]} on this machine")


def _missing(what: str) -> Any:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}: CI tests in a real browser")
    pytest.skip(what)
