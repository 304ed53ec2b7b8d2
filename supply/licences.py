"""Write docs/licences.md: what every package that bcseg installs says about its own licence.

Usage: python supply/licences.py docs/licences.md, with everything of the extra `dev` installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
_LONGEST = 60  # characters: some put the whole text there
_HEAD = """# Licences of the packages that bcseg uses

Made by `make licences` from what the packages say themselves (`License-Expression`, else their
classifiers, else `License`). bcseg contains none of them: pip installs them beside it. "with" is
what asks for a package: the core, an extra of `pip install 'bcseg[...]'`, or another package.

| package | licence | with |
|---|---|---|
"""


def wanted() -> dict[str, list[Requirement]]:
    """Return the requirements of pyproject.toml: of the core, and of each extra."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"core": project["dependencies"]} | project["optional-dependencies"]
    found = {name: [Requirement(line) for line in lines] for name, lines in groups.items()}
    return {
        name: [one for one in lines if one.name != project["name"]] for name, lines in found.items()
    }


def licence(name: str) -> str:
    """Return the licence that an installed package declares, "" if it declares none."""
    about = metadata.metadata(name)
    text = about.get("License-Expression", "")
    if not text:
        classifiers = about.get_all("Classifier") or []
        words = [one.rsplit(" :: ", 1)[1] for one in classifiers if one.startswith("License :: ")]
        text = ", ".join(word for word in words if word != "OSI Approved")
    if not text:
        text = (about.get("License") or "").strip().split("\n")[0][:_LONGEST]
    return re.sub(r"\s+", " ", text).replace("|", "/")


def rows() -> dict[str, tuple[str, set[str]]]:
    """Return licence and reason of every package, direct or not, by its name."""
    found: dict[str, tuple[str, set[str]]] = {}
    todo = [(one, group) for group, lines in wanted().items() for one in lines]
    while todo:
        requirement, reason = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            found[name][1].add(reason)
            continue
        try:
            text = licence(name)
        except metadata.PackageNotFoundError:
            if reason in wanted():  # opencv-python, where its headless twin stands in for it
                found[name] = (_twin(name), {reason})
            continue
        found[name] = (text or "not declared", {reason})
        todo += [(one, name) for one in _requirements(name, requirement.extras)]
    return found


def _twin(name: str) -> str:
    try:
        return licence(f"{name}-headless")
    except metadata.PackageNotFoundError:
        return "not installed where this page was made"


def _requirements(name: str, extras: set[str]) -> list[Requirement]:
    lines = [Requirement(line) for line in metadata.requires(name) or []]
    chosen = extras or {""}
    return [
        one
        for one in lines
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in chosen)
    ]


def page() -> str:
    """Return the page."""
    direct = set(wanted())
    lines = []
    for name, (text, reasons) in sorted(rows().items()):
        own = sorted(reasons & direct) or sorted(reasons)[:3]
        lines.append(f"| {name} | {text} | {', '.join(own)} |\n")
    return _HEAD + "".join(lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
