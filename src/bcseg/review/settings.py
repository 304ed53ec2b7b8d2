"""How somebody reviews: who, in which order, with which keys and question."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bcseg.errors import UsageError

Order = Literal["worst", "random", "id"]

FOLDER = "reviews"
QUESTION = "Is this contour drawn precisely along the border of the lesion?"
REASONS = (
    "oval",
    "loose",
    "tight",
    "shifted",
    "leak",
    "coarse",
    "wrong lesion",
    "artefact",
    "other",
)
KEYS: dict[str, tuple[str, ...]] = {
    "accept": ("a",),
    "reject": ("x",),
    "reject_typed": ("r",),
    **{f"reason_{number}": (str(number),) for number in range(1, len(REASONS) + 1)},
    "unsure": ("space",),
    "flag": ("f",),
    "undo": ("u", "Backspace"),
    "overlay": ("t",),
    "fill": ("o",),
    "zoom": ("z",),
    "closer": ("+", "="),
    "farther": ("-",),
    "other_view": ("c",),
    "invert": ("i",),
    "window": ("w",),
    "lights": ("l",),
    "next": ("ArrowRight", "ArrowDown"),
    "previous": ("ArrowLeft", "ArrowUp"),
    "lesion": ("Tab",),
    "jump": ("g",),
    "filter": ("/",),
    "help": ("?",),
}
_SAFE_REVIEWER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewing:
    """How somebody reviews. `repeat`: share of the pairs shown twice, 0 to 0.5.

    `keys`: other keys for actions, by the names of KEYS.
    """

    reviewer: str = ""
    order: Order = "worst"
    question: str = QUESTION
    blind: bool = False
    repeat: float = 0.0
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    table: Path | None = None


def reviewer_name(given: str) -> str:
    """Return the reviewer: as given, else the user, else "me"; raises UsageError if unsafe."""
    if given:
        if not _SAFE_REVIEWER.fullmatch(given):
            raise UsageError(
                f"{given!r} cannot be a reviewer: the name becomes that of a file",
                hint="letters, digits, dots, - and _",
            )
        return given
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "me"
    return user if _SAFE_REVIEWER.fullmatch(user) else "me"


def review_table(root: Path, reviewer: str, out: Path | None) -> Path:
    """Return the table that a review writes."""
    return out or root / FOLDER / f"{reviewer}.csv"


def repeat_share(text: str) -> float:
    """Return "5%" or "0.05" as 0.05; raises UsageError."""
    word = text.strip()
    try:
        share = float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
    except ValueError:
        share = -1
    if not 0 <= share <= 0.5:
        raise UsageError(f"--repeat {text} is not a share", hint="0% to 50%, such as 5%")
    return share


def read_keys(path: Path) -> dict[str, tuple[str, ...]]:
    """Read other keys: {"accept": "k", "undo": ["u", "z"]}; raises UsageError.

    Keys are as the browser names them (KeyboardEvent.key), and "space".
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the keys cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the keys are no JSON: {error}", where=str(path)) from error
    if not isinstance(given, dict):
        raise UsageError("the keys are no JSON object", where=str(path), hint='{"accept": "k"}')
    keys: dict[str, tuple[str, ...]] = {}
    for action, words in given.items():
        if action not in KEYS:
            hint = f"one of {', '.join(KEYS)}"
            raise UsageError(f"no action is called {action!r}", where=str(path), hint=hint)
        keys[action] = _key_words(action, words, path)
    _refuse_shared(KEYS | keys, path)
    return keys


def _key_words(action: str, words: object, path: Path) -> tuple[str, ...]:
    listed: list[object] = words if isinstance(words, list) else [words]
    keys = []
    for word in listed:
        if not isinstance(word, str) or not 1 <= len(word) <= 20:
            raise UsageError(f"{action}: {word!r} is not a key", where=str(path))
        keys.append("space" if word == " " else word)
    return tuple(keys)


def _refuse_shared(keys: Mapping[str, tuple[str, ...]], path: Path) -> None:
    owner: dict[str, str] = {}
    for action, words in keys.items():
        for word in words:
            if owner.setdefault(word, action) != action:
                raise UsageError(
                    f"the key {word!r} is both {owner[word]} and {action}",
                    where=str(path),
                    hint="give the other action another key too",
                )
