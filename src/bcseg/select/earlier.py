"""What is at the output already: the same selection, another one, or foreign files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder
from bcseg.scores.table import SCORES
from bcseg.select.options import Selecting
from bcseg.select.plan import SHOWN, Plan, folder_content
from bcseg.select.writing import SELECTION, SELECTION_TABLE
from bcseg.store import file_sizes

_DERIVED = {pairs.REPORT, pairs.OVERLAYS}  # of the selection: `report` makes them again
_ROOT_FILES = {".gitignore", SELECTION, SELECTION_TABLE, *_DERIVED}
_FOLDER_FILES = {
    *_DERIVED,
    *("images", "masks", "lesions", "ignore", "logs", pairs.DATASET, pairs.ARCHIVE, pairs.LICENCE),
    *(*pairs.COLUMNS, SCORES),
}


def earlier_selection(to: Path) -> dict[str, Any] | None:
    """Return the identity of the selection that is at `to`; None if there is none."""
    identity = _document(to).get("identity")
    return identity if isinstance(identity, dict) else None


def _document(to: Path) -> dict[str, Any]:
    try:
        document = json.loads((to / SELECTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def is_complete(plan: Plan, to: Path) -> bool:
    """Tell whether all files are at `to`, of the right size, and the tables unchanged."""
    if not (to / SELECTION_TABLE).is_file():
        return False
    if plan.splits and not (to / pairs.SPLITS).is_file():
        return False
    drawn = _document(to).get("drawn", {})
    size_of = file_sizes(to)
    if any(size_of(name) != size for name, size in drawn.items()):
        return False
    for part in plan.chosen():
        folder = to / part.dataset
        here, there = file_sizes(folder), file_sizes(part.folder.path)
        if any(here(name) != there(name) for name in plan.files[part.dataset]):
            return False
        try:
            document = PairsFolder(folder).document()
            if folder_content(folder, document) != document.get("content_sha256"):
                return False
        except UsageError:
            return False
    return True


def refuse_replacing(to: Path, old: dict[str, Any] | None, how: Selecting, *, same: bool) -> None:
    """Refuse an output that is not free: foreign always, an earlier selection without --redo."""
    if old is not None:
        if not how.redo:
            state = (
                "this selection is there, but not complete or changed"
                if same
                else "another selection is there"
            )
            hint = "--redo to replace it, or --out for another place"
            raise UsageError(state, where=str(to), hint=hint)
        _refuse_foreign_files(to, old)
    elif to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise UsageError(
            "the output is not empty and holds no selection of bcseg",
            where=str(to),
            hint="name another place with --out",
        )


def _refuse_foreign_files(to: Path, old: Mapping[str, Any]) -> None:
    """Refuse to replace a selection in which somebody keeps files of their own."""
    folders = [to / name for name in old.get("sources", ()) if (to / name).is_dir()]
    ours = _ROOT_FILES | ({pairs.SPLITS} if _came_along(to / pairs.SPLITS, old) else set())
    foreign = [path for path in to.iterdir() if path.name not in ours and path not in folders]
    foreign += [path for one in folders for path in one.iterdir() if path.name not in _FOLDER_FILES]
    if foreign:
        names = sorted(str(path.relative_to(to)) for path in foreign)
        listed = ", ".join(names[:SHOWN])
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise UsageError(
            f"the selection holds files that select did not write: {listed}{more}",
            where=str(to),
            hint="move them away first, or name another place with --out",
        )


def _came_along(splits: Path, old: Mapping[str, Any]) -> bool:
    """Tell whether a splits.csv is the one of the source, not one that was made here."""
    if not splits.is_file():
        return False
    return hashlib.sha256(splits.read_bytes()).hexdigest() == old.get("splits")
