"""What is to be judged, in which order, and what the page needs to know about it."""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, Row, checked_rows
from bcseg.raster import Patch
from bcseg.records import Size
from bcseg.review.agreement import Agreement, Judgement, own_agreement
from bcseg.review.decisions import Decisions, Entry, current_entries
from bcseg.review.images import contour, patch_of_line, read_mask

Order = Literal["worst", "random", "id"]
PairId = tuple[str, str]  # dataset, record id

FOLDER = "reviews"
SCORES = "scores.csv"
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
    "next": ("ArrowRight", "ArrowDown"),
    "previous": ("ArrowLeft", "ArrowUp"),
    "lesion": ("Tab",),
    "jump": ("g",),
    "filter": ("/",),
    "help": ("?",),
}
_SAFE_REVIEWER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_SHOWN = tuple(
    """laterality view kinds birads density pathology annotator split height width
    pixel_spacing_mm mask_area_mm2 mask_pixels notes""".split()  # noqa: SIM905
)
_LESION_SHOWN = ("lesion_id", "kind", "label", "annotator", "geometry", "area_mm2", "area_px")
_NOT_SCORES = {"dataset", "record_id", "lesion_id", "annotation_sha256", "flags"}


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


@dataclass(slots=True)
class Pair:
    """One pair to judge. `scores`: of its worst lesion; `lines`: its lesions' archive lines."""

    folder: PairsFolder
    row: Row
    lesions: list[Row] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    flags: str = ""
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

    def contours(self) -> list[dict[str, Any]]:
        """Return the contours of its lesions; of the mask file where the archive has none."""
        found = []
        for lesion in self.lesions:
            line = self.lines.get(lesion["lesion_id"])
            if line is None:
                return [self._of_mask()]
            patch = patch_of_line(line, self.size)
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
        scores = {} if blind else {"scores": self.scores, "flags": self.flags}
        return {
            "dataset": dataset,
            "record_id": record_id,
            **known,
            "group": f"{dataset}:{self.group}",
            "annotation_sha256": self.row["annotation_sha256"],
            "mirrored": self.mirrored,
            "repeat": self.repeat,
            "lesions": [{name: one[name] for name in _LESION_SHOWN} for one in self.lesions],
            **scores,
        }


class Session:
    """The pairs of a root in the order of review, and the decisions about them."""

    def __init__(
        self, root: Path, pairs_in_order: Sequence[Pair], decisions: Decisions, how: Reviewing
    ) -> None:
        self.root = root
        self.pairs = {pair.id: pair for pair in pairs_in_order}
        self.decisions = decisions
        self.how = how

    def document(self) -> dict[str, Any]:
        """Return everything the page starts with."""
        how = self.how
        return {
            "schema_version": pairs.SCHEMA_VERSION,
            "root": self.root.resolve().name,
            "table": self.decisions.table.name,
            "reviewer": how.reviewer,
            "question": how.question,
            "reasons": REASONS,
            "keys": KEYS | dict(how.keys),
            "blind": how.blind,
            "order": how.order,
            "warnings": self.warnings(),
            "pairs": [pair.document(blind=how.blind) for pair in self.pairs.values()],
            "entries": [page_entry(entry) for entry in self.decisions.since(0)],
        }

    def warnings(self) -> list[str]:
        """Return what a reviewer must know before judging."""
        reduced = sum(pair.reduced for pair in self.pairs.values())
        found = []
        if reduced:
            found.append(
                f"{reduced} of {len(self.pairs)} images were written at reduced size: their"
                " contours cannot be judged at full resolution (write a root without --size)"
            )
        if self.how.order == "worst" and not any(pair.scores for pair in self.pairs.values()):
            found.append("no scores here, so the smallest contours come first (bcseg score)")
        return found

    def decide(self, entry: Entry) -> Entry:
        """Put a decision on the disk; raises UsageError for what cannot be judged."""
        pair = self.pairs.get((entry.dataset, entry.record_id))
        if pair is None:
            raise UsageError("no such pair")
        if entry.lesion_id and entry.lesion_id not in {row["lesion_id"] for row in pair.lesions}:
            raise UsageError("no such lesion")
        if entry.annotation_sha256 != pair.row["annotation_sha256"]:
            raise UsageError("the contour has changed since this window was opened: reload it")
        again = entry.repeat and pair.repeat and self._is_judged(entry)
        return self.decisions.add(dataclasses.replace(entry, repeat=again))

    def _is_judged(self, entry: Entry) -> bool:
        return entry.key in current_entries(self.decisions.since(0))

    def undo(self, number: int, mark: str) -> Entry:
        """Withdraw a decision; raises UsageError if there is none of this number."""
        entries = self.decisions.since(0)
        gone = {entry.undo for entry in entries}
        if not 1 <= number <= len(entries) or entries[number - 1].undo or number in gone:
            raise UsageError("there is no such decision to undo")
        return self.decisions.add(Entry(number=0, undo=number, mark=mark))

    def own_agreement(self) -> Agreement:
        """Return how far the reviewer agrees with himself on the pairs shown twice."""
        entries = self.decisions.since(0)
        first, second = current_entries(entries), current_entries(entries, repeat=True)
        looks = [
            (key, _judgement(first[key]), _judgement(second[key]))
            for key in sorted(first.keys() & second.keys())
        ]
        return own_agreement(looks, self.how.reviewer)

    def summary(self) -> dict[str, int]:
        """Return how many pairs of the root have which decision; lesions count for themselves."""
        counts: defaultdict[str, int] = defaultdict(int)
        for entry in current_entries(self.decisions.since(0)).values():
            counts[entry.decision] += (entry.dataset, entry.record_id) in self.pairs
        return dict(counts)


def page_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry as the page needs it."""
    values = entry.document()
    for name in ("time", "table", "mark"):
        values.pop(name)
    return {name: value for name, value in values.items() if value}


def _judgement(entry: Entry) -> Judgement:
    return Judgement(entry.decision, entry.reason, entry.annotation_sha256)


# ------------------------------------------------------------------------------------ options


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


# ------------------------------------------------------------------------------------ the pairs


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
    """Give each pair the scores of its lesion with the lowest precision rank."""
    try:
        rows = folder.rows(SCORES)
    except pairs.UNREADABLE as error:
        raise UsageError(
            f"{SCORES} cannot be read: {error}",
            where=str(folder.path),
            hint="`bcseg score` writes it anew",
        ) from error
    flags: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        pair = found.get(row.get("record_id") or "")
        judged = row.get("annotation_sha256") or ""
        if pair is None or judged not in ("", pair.row["annotation_sha256"]):
            continue
        scores = _numbers(row)
        if not pair.scores or _rank(scores) < _rank(pair.scores):
            pair.scores = scores
        flags[row["record_id"]] += re.split(r"[\s,;|]+", row.get("flags") or "")
    for record_id, words in flags.items():
        found[record_id].flags = " ".join(sorted({*filter(None, words)}))


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
        return min((_rank(pair.scores), pair.id) for pair in group)
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
