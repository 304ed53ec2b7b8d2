"""The pairs of a root in the order in which they are judged."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, Row, checked_rows
from bcseg.raster import Patch
from bcseg.record import Size
from bcseg.redrawing import written_patch
from bcseg.review.images import contour, read_mask
from bcseg.review.settings import Reviewing

PairId = tuple[str, str]  # dataset, record id

SCORES = "scores.csv"
_SHOWN = tuple(
    """laterality view kinds birads density pathology annotator split height width
    pixel_spacing_mm mask_area_mm2 mask_pixels""".split()  # noqa: SIM905
)
_LESION_SHOWN = ("lesion_id", "kind", "label", "annotator", "geometry", "area_mm2", "area_px")
_NOT_SCORES = {"dataset", "record_id", "lesion_id", "annotation_sha256", "flags"}


@dataclass(slots=True)
class Pair:
    """One pair to judge.

    `scores`, `flags`: of each lesion by its id; `lines`: its lesions' archive lines.
    """

    folder: PairsFolder
    row: Row
    lesions: list[Row] = field(default_factory=list)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    repeat: bool = False
    lines: dict[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> PairId:
        """Dataset and record id."""
        return self.row["dataset"], self.row["record_id"]

    @property
    def size(self) -> Size:
        """(rows, columns) of the written image."""
        return int(self.row["height"]), int(self.row["width"])

    @property
    def mirrored(self) -> bool:
        """Whether the image was flipped when it was written."""
        return [step.get("op") for step in _steps(self.row)].count("flip") % 2 == 1

    @property
    def reduced(self) -> bool:
        """Whether the image was written smaller than its source."""
        return any(
            step.get("op") == "resize" and bool(step.get("height", 0) < step.get("from_height", 0))
            for step in _steps(self.row)
        )

    @property
    def group(self) -> str:
        """The patient, or the record itself where the patient is unknown."""
        return self.row["group"] or self.row["patient_id"] or self.row["record_id"]

    @property
    def worst_scores(self) -> dict[str, float]:
        """The scores of its lesion with the lowest precision rank; empty where it has none."""
        return min(self.scores.values(), key=_rank, default={})

    @property
    def all_flags(self) -> str:
        """The flags of all its lesions."""
        return " ".join(sorted({word for words in self.flags.values() for word in words.split()}))

    def contours(self) -> list[dict[str, Any]]:
        """Return the contours of its lesions; of the mask file where the archive has none."""
        found = []
        for lesion in self.lesions:
            line = self.lines.get(lesion["lesion_id"])
            if line is None:
                return [self._of_mask()]
            patch = written_patch(json.loads(line), self.size)
            found.append({"lesion_id": lesion["lesion_id"]} | self._contour(patch))
        return found or [self._of_mask()]

    def _of_mask(self) -> dict[str, Any]:
        return {"lesion_id": ""} | self._contour(read_mask(self.folder.path, self.row["mask"]))

    def _contour(self, patch: Patch) -> dict[str, Any]:
        return contour(patch, self.size[1], mirrored=self.mirrored)

    def document(self, *, blind: bool) -> dict[str, Any]:
        """Return what the page shows of it."""
        dataset, record_id = self.id
        known = {name: self.row[name] for name in _SHOWN if self.row[name]}
        scores = {} if blind else {"scores": _short(self.worst_scores), "flags": self.all_flags}
        return {
            "dataset": dataset,
            "record_id": record_id,
            **known,
            "group": f"{dataset}:{self.group}",
            "annotation_sha256": self.row["annotation_sha256"],
            "mirrored": self.mirrored,
            "repeat": self.repeat,
            "lesions": [self._lesion(row, blind=blind) for row in self.lesions],
            **scores,
        }

    def _lesion(self, row: Row, *, blind: bool) -> dict[str, Any]:
        known = {name: row[name] for name in _LESION_SHOWN}
        name = row["lesion_id"]
        if blind or len(self.lesions) < 2:
            return known
        return known | {
            "scores": _short(self.scores.get(name, {})),
            "flags": self.flags.get(name, ""),
        }


def _short(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in scores.items()}


def read_pairs(root: Path, how: Reviewing) -> list[Pair]:
    """Return the pairs of a root in the order of review; raises UsageError if there are none."""
    found: list[Pair] = []
    for folder in pairs.open_root(root):
        found += _in_order(_of_folder(folder), how)
    if how.order == "random":
        found = sorted(found, key=lambda pair: _draw(how.reviewer, pair.id))
    if not found:
        raise UsageError("the root holds no pair to review", where=str(root))
    for pair in found:
        pair.repeat = _draw(f"repeat {how.reviewer}", pair.id) < how.repeat
    return found


def _of_folder(folder: PairsFolder) -> list[Pair]:
    name = folder.name
    found = {row["record_id"]: Pair(folder, row) for row in checked_rows(folder, pairs.RECORDS)}
    for pair in found.values():
        sides = (pair.row["height"], pair.row["width"])
        if pair.row["dataset"] != name or not all(re.fullmatch(r"\d{1,6}", s) for s in sides):
            raise UsageError(
                f"records.csv is damaged at {pair.row['record_id']}", where=str(folder.path)
            )
    for row in checked_rows(folder, pairs.LESIONS):
        if row["in_mask"] == "1" and row["record_id"] in found:
            found[row["record_id"]].lesions.append(row)
    _add_lines(folder, found)
    _add_scores(folder, found)
    return list(found.values())


def _add_lines(folder: PairsFolder, found: Mapping[str, Pair]) -> None:
    """Keep the archive's line of each lesion in a mask as bytes: parsed, it is ten times larger."""
    try:
        for line in folder.archive():
            pair = found.get(line.get("record_id", ""))
            if pair is not None and line.get("in_mask") and "rle" in line:
                kept = {"rle": line["rle"]}
                pair.lines[str(line["lesion_id"])] = json.dumps(kept).encode()
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return  # the masks are there; `bcseg verify` names the damage


def _add_scores(folder: PairsFolder, found: Mapping[str, Pair]) -> None:
    """Give each pair the scores and flags of its lesions, where they are of its contour."""
    try:
        rows = folder.rows(SCORES)
    except pairs.UNREADABLE as error:
        raise UsageError(
            f"{SCORES} cannot be read: {error}",
            where=str(folder.path),
            hint="`bcseg score` writes it anew",
        ) from error
    for row in rows:
        pair = found.get(row.get("record_id") or "")
        judged = row.get("annotation_sha256") or ""
        if pair is None or judged not in ("", pair.row["annotation_sha256"]):
            continue
        lesion_id = row.get("lesion_id") or ""
        pair.scores[lesion_id] = _numbers(row)
        words = re.split(r"[\s,;|]+", row.get("flags") or "")
        pair.flags[lesion_id] = " ".join(sorted({*filter(None, words)}))


def _numbers(row: Mapping[str, str | None]) -> dict[str, float]:
    found = {}
    for name, cell in row.items():
        if name in _NOT_SCORES or not isinstance(cell, str):
            continue
        if re.fullmatch(r"-?\d+(\.\d*)?([eE][-+]?\d+)?", cell.strip()):
            found[name] = float(cell)
    return found


def _rank(scores: Mapping[str, float]) -> float:
    return scores.get("precision_rank", 1.0)


def _in_order(found: Iterable[Pair], how: Reviewing) -> list[Pair]:
    """Return the pairs of one dataset: by id, or the worst patient first with all views."""
    by_id = sorted(found, key=lambda pair: pair.id)
    if how.order != "worst":
        return by_id
    scored = any(pair.scores for pair in by_id)
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in by_id:
        groups[pair.group].append(pair)
    for group in groups.values():
        group.sort(key=lambda pair: (pair.row["laterality"], pair.row["view"], pair.id))
    return [
        pair
        for group in sorted(groups.values(), key=lambda group: _worst(group, scored=scored))
        for pair in group
    ]


def _worst(group: Iterable[Pair], *, scored: bool) -> tuple[float, PairId]:
    if scored:
        return min((_rank(pair.worst_scores), pair.id) for pair in group)
    return min((_area(pair), pair.id) for pair in group)


def _area(pair: Pair) -> float:
    cell = pair.row["mask_pixels"]
    return float(cell) if cell.isdecimal() else 0.0


def _draw(salt: str, pair: PairId) -> float:
    """Return a number in [0, 1) that depends on its arguments alone."""
    digest = hashlib.sha256("\0".join((salt, *pair)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _steps(row: Row) -> list[dict[str, Any]]:
    try:
        steps = json.loads(row["transform"] or "[]")
    except (ValueError, RecursionError):
        return []
    if not isinstance(steps, list):
        return []
    return [step for step in steps if isinstance(step, dict)]
