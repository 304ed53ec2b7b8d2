"""Every dependency is pinned for development, and its licence is listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def requirements() -> dict[str, list[str]]:
    """Return the lines of pyproject.toml: of the core, and of each extra."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"core": project["dependencies"]} | project["optional-dependencies"]


_APART = {"fuzz", "peers"}  # extras of their own make targets: not part of `dev`, nor of its lock


def declared(*, pinned: bool = False) -> set[str]:
    groups = requirements()
    names = groups.keys() - (_APART if pinned else set())
    lines = [line for name in names for line in groups[name]]
    return {re.match(r"[\w-]+", line)[0].lower() for line in lines} - {"bcseg"}


def test_every_dependency_has_a_licence_that_is_listed():
    page = (PROJECT / "docs/licences.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE))
    assert declared() <= listed.keys(), "run `make licences`"
    assert all(text.strip() for text in listed.values())


def test_every_dependency_is_pinned_with_its_hashes():
    lock = (PROJECT / "requirements-dev.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9-]+)==[^ ]+(?: ; [^\\]+)? \\\n    --hash=sha256:", lock, re.M)
    assert declared(pinned=True) <= set(pinned), "run `make lock`"
    assert len(re.findall(r"^[a-z]", lock, re.M)) == len(pinned)


def test_every_dependency_of_users_has_a_lowest_version():
    lines = [line for name, group in requirements().items() if name != "dev" for line in group]
    own = [line for line in lines if not line.startswith("bcseg[")]
    assert [line for line in own if ">=" not in line] == []
