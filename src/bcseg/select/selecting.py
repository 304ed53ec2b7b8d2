"""Select the pairs that a manifest names: a new root of the same shape, whole or not there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bcseg import pairs
from bcseg.cloud import is_cloud
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder
from bcseg.select.comparison import compare, shifts
from bcseg.select.earlier import earlier_selection, is_complete, refuse_replacing
from bcseg.select.options import Selecting
from bcseg.select.plan import folder_content, make_plan
from bcseg.select.report import Selection
from bcseg.select.writing import write


def select_pairs(root: Path, manifest: Path | str | None, to: Path, how: Selecting) -> Selection:
    """Write the pairs of `root` that are chosen as a new root `to`.

    `manifest`: a file, "classic" for the list that bcseg ships, or None where `how` says enough.
    Raises UsageError, with nothing written, for rows that cannot be used, for a choice that has no
    meaning or takes nothing, for files and scores that are missing, and for an output that is not
    free.
    """
    _refuse_storage(root, to, how)
    folders = _folders(root)
    _refuse_overlap(root, folders, to)
    plan = make_plan(folders, manifest, how, root)
    old = earlier_selection(to)
    contents = {part.dataset: "" for part in plan.parts}
    fresh = old != plan.identity() or not is_complete(plan, to)
    if fresh:
        refuse_replacing(to, old, how, same=old == plan.identity())
        if not how.dry_run:
            contents |= write(plan, to, how)
    else:
        contents |= {
            part.dataset: folder_content(
                to / part.dataset, PairsFolder(to / part.dataset).document()
            )
            for part in plan.chosen()
        }
    shares = compare(plan.compared())
    return Selection(
        to=to,
        manifest_sha256=plan.manifest_sha256,
        criteria=plan.criteria,
        datasets=tuple(part.taken(contents[part.dataset]) for part in plan.parts),
        recovered=plan.recovered,
        shares=tuple(shares),
        warnings=(*plan.warnings, *shifts(shares)),
        notes=tuple(plan.notes),
        fresh=fresh,
        dry_run=how.dry_run,
    )


def _refuse_storage(root: Path, to: Path, how: Selecting) -> None:
    """Refuse what object storage cannot do: links, and a folder that gets its name at once."""
    if how.link and is_cloud(root):
        raise UsageError(
            "--link cannot be done from object storage",
            where=str(root),
            hint="leave it out: copies are made",
        )
    if is_cloud(to):
        raise UsageError(
            "a selection is whole or not there, which object storage cannot promise of a folder",
            where=str(to),
            hint="--out on this machine, then copy it there (aws s3 sync)",
        )


def _folders(root: Path) -> dict[str, PairsFolder]:
    folders: dict[str, PairsFolder] = {}
    for folder in pairs.open_root(root):
        name = folder.name
        if name in folders:
            raise UsageError(
                f"two folders hold {name}: {folders[name].path.name} and {folder.path.name}",
                where=str(root),
                hint="name one of them instead of the root",
            )
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise UsageError(f"{name!r} cannot be the name of a dataset", where=str(folder.path))
        folders[name] = folder
    return folders


def _refuse_overlap(root: Path, folders: Mapping[str, PairsFolder], to: Path) -> None:
    output = to.resolve()
    for place in (root.resolve(), *(folder.path.resolve() for folder in folders.values())):
        if output == place or place in output.parents or output in place.parents:
            word = "lies inside" if place in output.parents else "lies around"
            raise UsageError(
                f"the output {'is' if output == place else word} the root that is read",
                where=str(to),
                hint="name another place with --out",
            )
