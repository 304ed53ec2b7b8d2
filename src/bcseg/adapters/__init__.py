"""The datasets that bcseg knows: one module each, listed here by hand."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import sys
from pathlib import Path

from bcseg.adapters import bcdr, cbis, cdd, csaw, ddsm, inbreast, mias, vindr
from bcseg.adapters.base import Adapter
from bcseg.errors import UsageError

ADAPTERS: dict[str, Adapter] = {
    "bcdr": bcdr,
    "cbis": cbis,
    "cdd": cdd,
    "csaw": csaw,
    "ddsm": ddsm,
    "inbreast": inbreast,
    "mias": mias,
    "vindr": vindr,
}
_CONTRACT = ("INFO", "claims", "index", "lesions")


def get(name: str) -> Adapter:
    """Return the adapter of a dataset, by its name, an alias, or the path of a Python file.

    Raises UsageError, with the nearest name, for anything else.
    """
    if name.endswith(".py"):
        return _from_file(Path(name).absolute())
    known = {alias: key for key, one in ADAPTERS.items() for alias in (key, *one.INFO.aliases)}
    if name.lower() in known:
        return ADAPTERS[known[name.lower()]]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    raise UsageError(
        f"no dataset is called {name!r}" + (f": do you mean {near[0]!r}?" if near else ""),
        hint=f"one of {', '.join(ADAPTERS)}, or the path of a Python file with an adapter",
    )


def resembles(names: list[str] | tuple[str, ...]) -> dict[str, int]:
    """Return how many of the file names each dataset claims, most first, without the zeros."""
    counts = {key: adapter.claims(names) for key, adapter in ADAPTERS.items()}
    return {key: n for key, n in sorted(counts.items(), key=lambda item: -item[1]) if n}


@functools.cache
def _from_file(path: Path) -> Adapter:
    if not path.is_file():
        raise UsageError("no such adapter file", where=str(path))
    name = f"bcseg_adapter_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"the adapter file cannot be loaded ({type(error).__name__}: {error})", where=str(path)
        ) from error
    missing = [word for word in _CONTRACT if not hasattr(module, word)]
    if missing:
        raise UsageError(
            f"the file is no adapter: it has no {', '.join(missing)}",
            where=str(path),
            hint="an adapter has INFO, claims, index and lesions: read bcseg/adapters/base.py",
        )
    adapter: Adapter = module  # its names were checked just now
    return adapter
