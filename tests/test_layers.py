"""The direction of imports, and who may print, exit, or catch everything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bcseg

PACKAGE = Path(bcseg.__file__).parent

# a module imports from the lines above its own, or from an earlier module of its own line
LAYERS = """
errors interrupts text limits cells
record cloud source lock store remote executors dask_cluster png memory
formats spline morphology breast raster transform preprocessing
adapters
masks settings pairs
outcome
work rows convert
shards ledger run parts plan closing
conversion merge
"""
FLOOR = LAYERS.split()
PLACE = {name: line for line, names in enumerate(LAYERS.split("\n")) for name in names.split()}
DOORS = {"cli", "commands", "console", "__main__"}  # only these speak to the user
ADAPTERS_MAY = {"errors", "limits", "record", "formats", "source", "adapters.base"}


def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every module, by its name below the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


TREES = modules()


def imports(name: str, *, everywhere: bool = True) -> set[str]:
    """Return the modules of the package that a module imports, wherever or at its top."""
    tree = TREES[name]
    nodes = ast.walk(tree) if everywhere else top_level(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            base = node.module or ""
            for alias in node.names:
                below = f"{base}.{alias.name}".removeprefix("bcseg.")
                found.add(f"bcseg.{below}" if below in TREES else base)
    return {one.removeprefix("bcseg.") for one in found if one.startswith("bcseg.")}


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield statements that run at import; not those for the type checker alone."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node


def part(name: str) -> str:
    return name.split(".", 1)[0]


@pytest.mark.parametrize("name", [name for name in TREES if part(name) in PLACE])
def test_imports_go_one_way(name):
    for other in imports(name):
        if part(other) == part(name):
            continue  # formats among themselves, an adapter and its contract
        assert part(other) in PLACE, f"{name} imports {other}, which stands above it"
        here, there = FLOOR.index(part(name)), FLOOR.index(part(other))
        assert there < here, f"{name} imports {other}, which stands beside or above it"


@pytest.mark.parametrize("name", [name for name in TREES if part(name) not in {*PLACE, *DOORS}])
def test_commands_do_not_know_the_command_line(name):
    assert DOORS.isdisjoint(map(part, imports(name)))


def test_there_is_no_circle():
    state: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert state.get(name) != "open", " -> ".join((*trail, name))
        if name in state:
            return
        state[name] = "open"
        for other in imports(name, everywhere=False):
            visit(other, (*trail, name))
        state[name] = "done"

    for name in TREES:
        visit(name, ())


@pytest.mark.parametrize("name", [n for n in TREES if n.startswith("adapters.")])
def test_adapters_know_formats_and_their_contract_only(name):
    for other in imports(name):
        allowed = other in ADAPTERS_MAY or part(other) in ADAPTERS_MAY
        assert allowed, f"{name} imports {other}"
        assert not other.startswith("adapters.") or name != "adapters.base"


@pytest.mark.parametrize("name", [n for n in TREES if part(n) in ("formats", "synth")])
def test_formats_know_no_dataset_and_synthesis_no_reader(name):
    above = {"adapters", "conversion", "convert", "plan"}
    if part(name) == "synth":
        above |= {"formats"}
    assert above.isdisjoint(map(part, imports(name)))


# ------------------------------------------------------------------------------ manners


def calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("name", [name for name in TREES if part(name) not in DOORS])
def test_only_the_command_line_prints_or_exits(name):
    spoken = {"print", "input", "exit", "quit", "sys.exit", "breakpoint"} & set(calls(TREES[name]))
    assert not spoken
    text = ast.unparse(TREES[name])
    for word in ("sys.stdout", "sys.stderr", "SystemExit"):
        assert word not in text
    imported = {
        alias.name
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {n.module for n in ast.walk(TREES[name]) if isinstance(n, ast.ImportFrom)}
    assert imported.isdisjoint({"typer", "rich", "click"})


def catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(one) in ("Exception", "BaseException") for one in types)


def test_everything_is_caught_in_one_place_only():
    """A bug in one record fails that record; anywhere else it is to be seen."""
    found = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    ]
    assert found == ["convert"]


def test_heavy_libraries_are_imported_inside_commands():
    doors = [name for name in TREES if part(name) in DOORS]
    for name in (*doors, "", "errors"):
        for node in top_level(TREES[name]):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                words = ast.unparse(node)
                if words.startswith("from bcseg.commands."):
                    continue
                for heavy in ("numpy", "cv2", "pandas", "pydicom", "adapters", "conversion"):
                    assert heavy not in words, f"{name}: {words}"


def test_no_module_has_a_name_that_says_nothing():
    for name in TREES:
        assert not {"utils", "util", "helpers", "helper", "common", "misc", "manager"} & set(
            name.split(".")
        )
