"""Plain text for terminals: tables whose columns line up, lists, sizes, times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Return rows as lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        indent
        + "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def counted(number: int, word: str) -> str:
    """Return a number of things: "1 pair", "2,000 pairs"."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def listed(names: Sequence[str], first: int) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - first:,} more" if len(names) > first else ""
    return ", ".join(names[:first]) + more


def counts(numbers: Mapping[str, int]) -> str:
    """Return counts by word: "2 no_lesion, 1 limit"."""
    return ", ".join(f"{number:,} {word}" for word, number in numbers.items())


def bytes_in_words(size: float) -> str:
    """Return a size with two digits: "850 kB", "1.8 MB", "12 GB"."""
    units = iter(("bytes", "kB", "MB"))
    unit = next(units)
    while size >= 999.5 and unit != "GB":
        size, unit = size / 1000, next(units, "GB")
    return f"{size:.1f} {unit}" if size < 9.95 and unit != "bytes" else f"{size:,.0f} {unit}"


def minutes_in_words(minutes: float) -> str:
    """Return a duration: "less than a minute", "12 min", "3.5 h"."""
    if minutes < 1:
        return "less than a minute"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
