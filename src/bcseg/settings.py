"""What a user may choose about a conversion: everything that changes pixels or tables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from bcseg.adapters.base import Info, ReadOptions
from bcseg.errors import UsageError
from bcseg.limits import Limits
from bcseg.preprocessing import Options
from bcseg.record import KINDS, LESION_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices of one conversion; a pairs folder holds pairs of one identity only.

    `masks`: "lesion" writes one mask a lesion too. `with_empty`: "normal" adds images that the
    archive itself calls free of the chosen kinds, "force" all without one. `partial`: a lesion
    that cannot be read is left away with a warning, instead of failing its record.
    `point_radius` in pixels widens single points.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    pixels: Options = field(default_factory=Options)
    masks: Literal["union", "lesion"] = "union"
    with_empty: Literal["", "normal", "force"] = ""
    partial: bool = False
    point_radius: float = 0.0

    def for_dataset(self, info: Info) -> Settings:
        """Return the settings with the dataset's default kinds filled in.

        Raises UsageError for an option that the dataset does not have.
        """
        plain = ReadOptions()
        for option in ("image_type", "annotator", "osirix_origin", "merge_twins"):
            if option not in info.options and getattr(self.read, option) != getattr(plain, option):
                raise UsageError(
                    f"--{option.replace('_', '-')} means nothing for {info.name}",
                    hint="leave it out: `bcseg datasets` tells which dataset has it",
                )
        kinds = self.read.kinds or frozenset(info.default_kinds)
        return replace(self, read=replace(self.read, kinds=kinds))

    def within(self, limits: Limits) -> Settings:
        """Return the settings with limits on what is read: no part of the identity."""
        return replace(self, read=replace(self.read, limits=limits))

    def identity(self, info: Info) -> dict[str, Any]:
        """Return everything that changes pixels or tables, as JSON values."""
        read = {option: getattr(self.read, option) for option in info.options}
        return {
            "dataset": info.name,
            "kinds": [kind for kind in KINDS if kind in self.read.kinds],
            **read,
            "masks": self.masks,
            "with_empty": self.with_empty,
            "partial": self.partial,
            "point_radius": self.point_radius,
            **{key: _plain(value) for key, value in asdict(self.pixels).items()},
        }


def settings_of(identity: Mapping[str, Any]) -> Settings:
    """Return the settings that an identity (the `options` of dataset.json) was made of.

    Raises UsageError for one that this version of bcseg does not understand.
    """
    known = {"dataset", "kinds", "format"}
    read: dict[str, Any] = {"kinds": frozenset(identity.get("kinds", ()))}
    own: dict[str, Any] = {}
    pixels: dict[str, Any] = {}
    for values, kind in ((read, ReadOptions), (pixels, Options), (own, Settings)):
        names = {one.name for one in fields(kind)} - known - {"read", "pixels", "limits"}
        values.update({name: _whole(identity[name]) for name in names & identity.keys()})
        known |= names
    unknown = sorted(identity.keys() - known)
    if unknown:
        raise UsageError(
            f"the options {', '.join(unknown)} are not known",
            hint="the pairs were made with another version of bcseg: use that one",
        )
    return Settings(read=ReadOptions(**read), pixels=Options(**pixels), **own)


def _whole(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def chosen_kinds(words: Iterable[str]) -> frozenset[str]:
    """Return the kinds that words of the command line name; "lesions" is every lesion kind."""
    kinds: set[str] = set()
    for word in words:
        if word == "lesions":
            kinds.update(LESION_KINDS)
        elif word in KINDS:
            kinds.add(word)
        else:
            near = difflib.get_close_matches(word, (*KINDS, "lesions"), n=1)
            raise UsageError(
                f"no kind is called {word!r}" + (f": do you mean {near[0]!r}?" if near else ""),
                hint=f"lesions, or of: {', '.join(KINDS)}",
            )
    return frozenset(kinds)


_NO_OPTIONS = ("dataset", "format")
_OPTION_NAMES = {"kinds": "kind", "spacing_mm": "spacing", "assume_spacing_mm": "assume-spacing"}


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return in words what differs between two identities, by the names of the options."""
    return [
        f"{_option(key)}: {_word(old.get(key))} there, {_word(new.get(key))} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _option(key: str) -> str:
    return key if key in _NO_OPTIONS else "--" + _OPTION_NAMES.get(key, key).replace("_", "-")


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)
