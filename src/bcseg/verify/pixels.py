"""The files of one pair, pixel by pixel: against the tables, its lesions and the breast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcseg import pairs, raster
from bcseg.breast import breast_region
from bcseg.convert import lesion_file
from bcseg.errors import RecordError
from bcseg.formats.tables import whole_number
from bcseg.ignoring import ignore_file, ignore_mask, ignored_lesions
from bcseg.pairs import Row
from bcseg.raster import Patch
from bcseg.record import LESION_KINDS
from bcseg.verify import workers
from bcseg.verify.findings import Findings
from bcseg.verify.lesion_archive import Line
from bcseg.verify.pair import Context, Pair, Promise, Seen, promises_of
from bcseg.verify.png_file import Opened, check_same_size, open_file


def check_pair(pair: Pair) -> Seen:
    """Check the files of a pair, pixel by pixel, in a prepared worker."""
    context: Context = workers.context()
    found = Findings(context.dataset, pair.row["record_id"])
    seen = Seen(found.rows)
    opened = {
        one.name: open_file(found, seen, context.folder, one) for one in promises_of(pair.row)
    }
    image, mask = (opened.get(pair.row[name], Opened()) for name in ("image", "mask"))
    check_same_size(found, [image.header, mask.header], pair.row["mask"])
    if image.pixels is not None and image.intact:
        _check_range(found, pair.row, image.pixels)
    if mask.pixels is not None:
        _check_mask(found, pair.row, mask, with_empty=context.with_empty)
    if pair.lines is None:
        return seen
    _check_lines(found, pair)
    patches = _patches(found, pair)
    if patches is None:
        return seen
    if mask.pixels is not None and mask.intact:
        _check_union(found, pair, mask.pixels, patches)
    if image.pixels is not None:
        _check_place(found, pair, image.pixels, patches)
    if context.lesion_masks:
        _check_lesion_masks(found, seen, context, pair, patches)
    ignored = [patches[one] for one in ignored_lesions(pair.lesions) if one in patches]
    if ignored:
        _check_ignored(found, seen, context, pair, (patches, ignored))
    return seen


def _check_range(found: Findings, row: Row, pixels: NDArray[Any]) -> None:
    low, high = int(pixels.min()), int(pixels.max())
    if (row["value_min"], row["value_max"]) != (str(low), str(high)):
        message = f"{low} to {high}, {row['value_min']} to {row['value_max']} in records.csv"
        found.fail("value_range", message, row["image"])


def _check_mask(found: Findings, row: Row, mask: Opened, *, with_empty: bool) -> None:
    assert mask.pixels is not None
    _check_values(found, row["mask"], mask.pixels)
    count = int(np.count_nonzero(mask.pixels))
    if mask.intact and count != (whole_number(row["mask_pixels"]) or 0):
        message = f"{count} pixels, {row['mask_pixels']} in records.csv"
        found.fail("mask_pixels", message, row["mask"])
    if count == 0 and (not with_empty or row["n_lesions"] != "0"):
        why = "its lesions left no pixel" if row["n_lesions"] != "0" else "none was asked for"
        found.fail("empty_mask", f"the mask is empty: {why}", row["mask"])


def _check_values(found: Findings, name: str, pixels: NDArray[Any]) -> None:
    other = (pixels != 0) & (pixels != 255)
    if other.any():
        values = ", ".join(str(value) for value in np.unique(pixels[other])[:5])
        found.fail("mask_values", f"values other than 0 and 255: {values}", name)


def _check_lines(found: Findings, pair: Pair) -> None:
    """Compare a record's lesions in the table with those in the archive of lesions."""
    assert pair.lines is not None
    table = {(row["lesion_id"], row["in_mask"], row["kind"]) for row in pair.lesions}
    archive = {(line.lesion_id, str(int(line.in_mask)), line.kind) for line in pair.lines}
    if table != archive:
        odd = ", ".join(sorted({lesion_id for lesion_id, _, _ in table ^ archive}))
        message = f"lesions.csv and lesions.jsonl.gz differ in lesion {odd}"
        found.fail("lesions_disagree", message, pairs.ARCHIVE)


def _patches(found: Findings, pair: Pair) -> dict[str, Patch] | None:
    """Return the lesions of a record by id; None, with a finding, if a run length is damaged."""
    assert pair.lines is not None
    size = whole_number(pair.row["height"]), whole_number(pair.row["width"])
    boxes = {row["lesion_id"]: row for row in pair.lesions}
    patches = {}
    for line in pair.lines:
        try:
            if line.size != size:
                message = f"lesion {line.lesion_id} lies on a grid of {line.size}, not {size}"
                raise RecordError(message, code="bad_rle")
            patch = raster.patch_from_rle(line.counts, line.size)
        except RecordError as error:
            found.fail("bad_rle", str(error.args[0]), pairs.ARCHIVE)
            return None
        patches[line.lesion_id] = patch
        row = boxes.get(line.lesion_id)
        box = _box(patch)
        if row and box != tuple(row[f"bbox_{side}"] for side in "xywh"):
            message = f"lesion {line.lesion_id}: its box in lesions.csv is not that of its pixels"
            found.fail("box_differs", message, pairs.LESIONS)
    return patches


def _box(patch: Patch) -> tuple[str, ...]:
    """Return x, y, width and height as lesions.csv has them."""
    if not patch.area:
        return "", "", "", ""
    height, width = patch.pixels.shape
    return tuple(map(str, (patch.left, patch.top, width, height)))


def _in_mask(pair: Pair, patches: Mapping[str, Patch]) -> list[tuple[Line, Patch]]:
    return [(line, patches[line.lesion_id]) for line in pair.lines or () if line.in_mask]


def _check_union(
    found: Findings, pair: Pair, mask: NDArray[Any], patches: Mapping[str, Patch]
) -> None:
    size = int(mask.shape[0]), int(mask.shape[1])
    union = raster.paint([patch for _, patch in _in_mask(pair, patches)], size)
    differing = int(np.count_nonzero((union > 0) != (mask > 0)))
    if differing:
        message = f"{differing} pixels differ from the union of its lesions in lesions.jsonl.gz"
        found.fail("mask_not_union", message, pair.row["mask"])


def _check_place(
    found: Findings, pair: Pair, image: NDArray[Any], patches: Mapping[str, Patch]
) -> None:
    """Compare the lesions (not anatomy) of the mask with the breast region of the image."""
    lesions = [
        (line, patch)
        for line, patch in _in_mask(pair, patches)
        if line.kind in LESION_KINDS and patch.area and line.size == image.shape
    ]
    if not lesions:
        return
    region = breast_region(image)
    outside = [line for line, patch in lesions if not _touches(patch, region)]
    if len(outside) == len(lesions):
        message = "the whole mask lies outside the breast"
        found.fail("mask_outside_breast", message, pair.row["mask"])
        return
    for line in outside:
        message = f"{line.kind} {line.lesion_id} lies outside the breast"
        found.add("warning", "lesion_outside_breast", message, pair.row["mask"])


def _touches(patch: Patch, region: NDArray[np.bool_]) -> bool:
    box = region[patch.top : patch.bottom, patch.left : patch.right]
    return bool((box & patch.pixels).any())


def _check_lesion_masks(
    found: Findings, seen: Seen, context: Context, pair: Pair, patches: Mapping[str, Patch]
) -> None:
    rows, columns = whole_number(pair.row["height"]), whole_number(pair.row["width"])
    for line, patch in _in_mask(pair, patches):
        name = lesion_file(pair.row["record_id"], line.lesion_id, line.kind)
        opened = open_file(found, seen, context.folder, Promise(name, rows, columns, 8))
        if opened.pixels is None:
            continue
        _check_values(found, name, opened.pixels)
        if not np.array_equal(opened.pixels > 0, raster.paint([patch], line.size) > 0):
            found.fail("altered", "the pixels are not those of lesions.jsonl.gz", name)


def _check_ignored(
    found: Findings,
    seen: Seen,
    context: Context,
    pair: Pair,
    patches: tuple[Mapping[str, Patch], Sequence[Patch]],
) -> None:
    """Compare ignore/ID.png with the lesions (all by id, ignored ones) that it is made of."""
    rows, columns = whole_number(pair.row["height"]), whole_number(pair.row["width"])
    name = ignore_file(pair.row["record_id"])
    opened = open_file(found, seen, context.folder, Promise(name, rows, columns, 8))
    if opened.pixels is None:
        return
    _check_values(found, name, opened.pixels)
    size = int(opened.pixels.shape[0]), int(opened.pixels.shape[1])
    if size != (rows, columns):
        return  # the finding `wrong_size` says it
    expected = ignore_mask([patch for _, patch in _in_mask(pair, patches[0])], patches[1], size)
    if not np.array_equal(opened.pixels > 0, expected > 0):
        message = "the pixels are not those of the ignored lesions outside the mask"
        found.fail("altered", message, name)
