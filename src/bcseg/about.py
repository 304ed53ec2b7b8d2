"""What is installed, for bug reports: `bcseg --version --json`."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import Any

from bcseg import __version__, png

_OF_DEVELOPERS = {"dev", "docs", "fuzz", "peers"}
_HEADLESS = "opencv-python-headless"  # the same module as opencv-python, without libGL


def about() -> dict[str, Any]:
    """Return the versions of bcseg, Python, the platform, and all that bcseg asks pip for.

    What is not installed has no version (None).
    """
    core, extras = _required()
    if _version(_HEADLESS):
        core.append(_HEADLESS)
    return {
        "schema_version": 1,
        "bcseg": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "png_deflate": {content: png.deflate_library(content) for content in png.CONTENTS},
        "packages": {name: _version(name) for name in sorted(core)},
        "extras": {
            extra: {name: _version(name) for name in sorted(names)}
            for extra, names in sorted(extras.items())
        },
    }


def _version(name: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _required() -> tuple[list[str], dict[str, list[str]]]:
    """Return the names that the installed bcseg asks for: always, and by extra."""
    try:
        lines = metadata.requires("bcseg") or []
    except metadata.PackageNotFoundError:  # run from its source, never installed
        return [], {}
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in lines:
        requirement, _, condition = line.partition(";")
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)""", condition)
        if extra is None:
            core.append(name)
        elif extra[1] not in _OF_DEVELOPERS:
            extras.setdefault(extra[1], []).append(name)
    return core, extras
