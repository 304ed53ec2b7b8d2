"""CDD-CESM: the size of each JPEG against `file_size` of the region table."""

from __future__ import annotations

from bcseg.formats.tables import whole_number
from bcseg.pairs import problem_row
from bcseg.selfcheck.archive import Archive
from bcseg.selfcheck.report import SelfCheck
from bcseg.selfcheck.spread import spread_of


def check(archive: Archive) -> SelfCheck:
    """Compare the size of each JPEG with the one that the region table gives for it."""
    images = {one.record_id: one.image for one in archive.index.records if one.image}
    stored: dict[str, tuple[int, str]] = {}
    for name in archive.index.tables:
        if not name.lower().endswith(".csv"):
            continue
        for row in archive.table(name).rows:
            image_id = row.raw("filename").rsplit(".", 1)[0].strip().upper()
            size = whole_number(row.get("file_size"))
            if size is not None and image_id in images:
                stored.setdefault(image_id, (size, row.item))
    deviations, findings = [], []
    for image_id, (size, item) in sorted(stored.items()):
        there = archive.source.size(images[image_id])
        deviations.append((images[image_id], there / max(size, 1) - 1))
        if there != size:
            message = f"{there} bytes, {size} when the regions were drawn ({item})"
            findings.append(
                problem_row(
                    archive.name, image_id, "failed", "file_size_differs", message, images[image_id]
                )
            )
    same = len(stored) - len(findings)
    return SelfCheck(
        dataset=archive.name,
        location=archive.source.location,
        checked=f"{len(stored)} images with a file_size, {len(images)} images",
        spreads=spread_of("bytes of the file / file_size", deviations),
        verdicts=(f"{same} of {len(stored)} images are the files that the regions were drawn on",),
        findings=tuple(findings),
    )
