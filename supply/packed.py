"""Say what a package lacks: python supply/packed.py SDIST WHEEL_OUT_OF_IT WHEEL_OF_THE_TREE."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
_NOT_SHIPPED = {".ci", ".gitignore"}  # of the repository, not of the program


def tracked() -> set[str]:
    """Return the files of the repository; none where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return {name for name in listed.stdout.split("\0") if name}


def in_sdist(path: Path) -> set[str]:
    """Return the files of an sdist, without its top folder."""
    with tarfile.open(path) as file:
        return {one.name.partition("/")[2] for one in file.getmembers() if one.isfile()}


def in_wheel(path: Path) -> dict[str, int]:
    """Return the files of a wheel, with their checksums."""
    with zipfile.ZipFile(path) as file:
        return {one.filename: one.CRC for one in file.infolist()}


def main(sdist: Path, wheel: Path, of_tree: Path) -> str:
    """Return what is wrong, "" if nothing."""
    files = tracked()
    wanted = {name for name in files if name.split("/")[0] not in _NOT_SHIPPED}
    lacking = sorted(wanted - in_sdist(sdist))
    if lacking:
        return f"not in the sdist: {', '.join(lacking)}"
    package = {name.removeprefix("src/") for name in files if name.startswith("src/bcseg/")}
    lacking = sorted(package - in_wheel(wheel).keys())
    if lacking:
        return f"not in the wheel: {', '.join(lacking)}"
    if in_wheel(wheel) != in_wheel(of_tree):
        return "the wheel out of the sdist is not that of the tree"
    return ""


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])) or None)
