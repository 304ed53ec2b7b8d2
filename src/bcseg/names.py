"""File and record names as people write them: known suffixes, paths, the nearest of many.

Names may be those of an older collection of the same archives:
`Mass-Test_P_00194_RIGHT_CC_MASK_1___PRE.png`, `CSAW-Image-101.png___PRE.png`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

_NEAR = 0.6  # difflib's ratio from which two names are alike
_ALIKE = 40  # names of a root that are compared letter by letter with one that is not in it
_ENDINGS = re.compile(r"\.(?:png|jpe?g|tiff?|dcm|dicom|bmp|xml)$", re.IGNORECASE)
_PREPARED = re.compile(r"_+PRE$", re.IGNORECASE)  # of the older collection
_ROLE = re.compile(r"_(?:FULL|MASK(?:_\d+)?)$", re.IGNORECASE)
_AS_FLOAT = re.compile(r"^(\d+)[.,]0+$")  # a whole number that went through a spreadsheet
_INBREAST = re.compile(r"(\d+)_[0-9a-f]+_MG_[LR]_[A-Z]+_ANON", re.IGNORECASE)


def spellings(name: str) -> Iterator[str]:
    """Yield a file name, then what is left of it as endings and known suffixes are taken away."""
    yield name
    while True:
        shorter = without_decimals(name)
        for known in (_ENDINGS, _PREPARED, _ROLE):
            if shorter == name:
                shorter = known.sub("", name)
        if shorter == name or not shorter:
            break
        name = shorter.strip()
        yield name
    match = _INBREAST.fullmatch(name)
    if match:
        yield match[1]


def without_ending(name: str) -> str:
    """Return a file name without the ending of an image or of a contour file."""
    return _ENDINGS.sub("", name)


def without_decimals(text: str) -> str:
    """Return "1" for the "1.0" or "1,0" of a spreadsheet, and any other text as it is."""
    return _AS_FLOAT.sub(r"\1", text)


def path_parts(text: str) -> list[str]:
    """Return the parts of a path in either system's writing, without "." and empty ones."""
    return [part for part in re.split(r"[/\\]", text.strip()) if part not in ("", ".")]


def nearest(word: str, words: Iterable[str], count: int = 1) -> list[str]:
    """Return the words most like one that is not among them; few enough are compared closely."""
    wanted = _trigrams(word)
    shared = ((len(wanted & _trigrams(other)), other) for other in words)
    alike = sorted(((n, other) for n, other in shared if n), key=lambda one: (-one[0], one[1]))
    by_lower = {other.lower(): other for _, other in reversed(alike[:_ALIKE])}
    close = difflib.get_close_matches(word.lower(), by_lower, n=count, cutoff=_NEAR)
    return [by_lower[one] for one in close]


def _trigrams(word: str) -> set[str]:
    word = f" {word.lower()} "
    return {word[i : i + 3] for i in range(len(word) - 2)}
