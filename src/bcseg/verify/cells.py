"""Cells of the tables: are they values of their columns."""

from __future__ import annotations

from pathlib import PurePosixPath


def is_sha256(cell: str) -> bool:
    """Tell whether a cell is a SHA-256 in hexadecimal."""
    return len(cell) == 64 and set(cell) <= set("0123456789abcdef")


def is_safe_name(name: str, folder: str) -> bool:
    """Tell whether a name is that of a PNG in the folder of its sort."""
    path = PurePosixPath(name)
    return path.parts[:-1] == (folder,) and path.suffix == ".png" and "\\" not in name
