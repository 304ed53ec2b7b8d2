"""Every dependency is pinned for development, and its licence is listed."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

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


SKIPPED = {"name": "a", "skip_reason": "not found"}
SOUND = {"name": "b", "version": "1", "vulns": []}
FLAWED = {
    "name": "c",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}],
}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([SOUND, SOUND], 0, "2 packages, none with a known flaw"),
        ([SOUND, FLAWED], 1, "c 2: PYSEC-1, CVE-1 (mended in 3)"),
        ([SOUND, SKIPPED], 1, "not audited: a"),
        ([SKIPPED, SKIPPED], 0, "nothing audited"),
        ("ConnectionError", 0, "nothing was audited"),
        ("No module named pip_audit", 1, "the audit itself failed"),
        ([], 1, "not audited"),
    ],
)
def test_an_audit_says_what_it_found_and_when_it_could_not_ask(tmp_path, answer, code, said):
    text = f"import sys; sys.exit({answer!r})"
    if isinstance(answer, list):
        text = f"print({json.dumps({'dependencies': answer})!r})"
    (tmp_path / "pip_audit.py").write_text(text)
    done = subprocess.run(
        [sys.executable, PROJECT / "supply/audit.py", "requirements-dev.lock"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert said in done.stdout


# ------------------------------------------------------------------------------ packages


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return supply/packed.py, in a repository of four files."""
    spec = importlib.util.spec_from_file_location("packed", PROJECT / "supply" / "packed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = {"README.md", ".ci/run", "src/bcseg/__init__.py", "src/bcseg/data/published.json"}
    monkeypatch.setattr(module, "tracked", lambda: files)
    return module


def sdist_of(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(f"bcseg-0/{name}"), io.BytesIO())
    return path


def wheel_of(path: Path, names: list[str], text: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, text)
    return path


ALL = ["README.md", "src/bcseg/__init__.py", "src/bcseg/data/published.json"]
PACKAGE = ["bcseg/__init__.py", "bcseg/data/published.json"]


@pytest.mark.parametrize(
    ("sdist", "wheel", "text", "said"),
    [
        (ALL, PACKAGE, "", ""),
        (ALL[1:], PACKAGE, "", "not in the sdist: README.md"),
        (ALL, PACKAGE[:1], "", "not in the wheel: bcseg/data/published.json"),
        (ALL, PACKAGE, "changed", "the wheel out of the sdist is not that of the tree"),
    ],
)
def test_what_a_package_lacks_is_named(packed, tmp_path, sdist, wheel, text, said):
    found = packed.main(
        sdist_of(tmp_path / "a.tar.gz", sdist),
        wheel_of(tmp_path / "a.whl", wheel),
        wheel_of(tmp_path / "b.whl", PACKAGE, text),
    )
    assert found == said


def test_the_version_stands_in_one_place():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in settings["project"]["dynamic"]
    assert "version" not in settings["project"]
    assert settings["tool"]["hatch"]["version"]["path"] == "src/bcseg/__init__.py"
