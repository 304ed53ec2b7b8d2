"""Export the pairs of a root: a format fills a folder beside the output, moved there whole."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.export import coco, croissant, dicom_seg, hf, monai, nnunet, yolo
from bcseg.export.base import Exported, Exporting, Job, licences
from bcseg.names import nearest
from bcseg.reading import read
from bcseg.store import built_whole, write_atomic


class Format(Protocol):
    """What every format module provides."""

    @property
    def TITLE(self) -> str:
        """The name of the format."""

    @property
    def CANNOT(self) -> tuple[str, ...]:
        """What the format cannot carry."""

    def write(self, job: Job) -> None:
        """Write the cases of a job into its folder; raises UsageError."""


FORMATS: dict[str, Format] = {
    "coco": coco,
    "croissant": croissant,
    "dicom-seg": dicom_seg,
    "hf": hf,
    "monai": monai,
    "nnunet": nnunet,
    "yolo": yolo,
}


def export_pairs(name: str, root: Path, out: Path, how: Exporting) -> Exported:
    """Write the pairs of a root in a format, whole or not at all; bad pairs fail by name.

    Raises UsageError, with nothing written, for an unknown format, an output that is not free, a
    library that is not installed, and whatever the format refuses.
    """
    if name not in FORMATS:
        near = nearest(name, FORMATS)
        raise UsageError(
            f"the format {name!r} is not known" + (f": do you mean {near[0]}?" if near else ""),
            hint=f"one of {', '.join(FORMATS)}",
        )
    format_ = FORMATS[name]
    folders = pairs.open_root(root)
    cases = read(root)
    if not len(cases):
        raise UsageError("there is no pair to export", where=str(root))
    _refuse_output(out, root)
    result = Exported(name, out)
    with built_whole(out) as part:
        job = Job(folders, cases, part, out, how, result)
        write_atomic(part / ".gitignore", b"*\n")
        write_atomic(part / pairs.LICENCE, licences(folders).encode())
        format_.write(job)
    result.notes += [f"not carried by {format_.TITLE}: {line}" for line in format_.CANNOT]
    return result


def _refuse_output(out: Path, root: Path) -> None:
    place = out.resolve()
    if root.resolve() in (place, *place.parents):
        raise UsageError(
            "the output lies inside the root that is read", where=str(out), hint="another --out"
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            "the output is not empty", where=str(out), hint="name a new folder with --out"
        )
