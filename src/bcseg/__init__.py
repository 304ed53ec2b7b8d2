"""Raw archives of public mammography datasets to paired image/mask PNGs.

Everything that the commands do can be done from Python; the functions below are the short way in
(docs/api.md has examples that are tested).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bcseg.api import preprocess, rasterise, records, refactor
    from bcseg.reading import read

__version__ = "0.1.0"
__all__ = ["preprocess", "rasterise", "read", "records", "refactor"]

_HOME = dict.fromkeys(__all__, "bcseg.api") | {"read": "bcseg.reading"}


def __getattr__(name: str) -> Any:
    """Import a function of the API when it is first asked for: numpy and all the rest is slow."""
    if name not in _HOME:
        raise AttributeError(f"module 'bcseg' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
