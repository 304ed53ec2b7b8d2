"""scores.csv: its columns, and how other commands read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bcseg import cells, pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, Row

SCORES = "scores.csv"
KEYS = ("dataset", "record_id", "lesion_id", "annotation_sha256")
CHECKS = (
    *("area_px", "area_mm2", "equivalent_diameter_px", "parts", "largest_part_share"),
    *("holes", "hole_share", "frame_contact", "outside_breast", "breast_share", "self_crossing"),
)
SHAPE = (
    *("ellipse_iou", "ellipse_rms", "dp_per_perim", "straight_share", "axis_share"),
    *("curv_entropy", "contour_detail", "polygon_residual", "median_bend"),
    *("solidity", "compactness", "tongue"),
)
IMAGE = (
    *("grad_align", "edge_percentile", "edge_offset_abs", "edge_offset", "edge_offset_px"),
    *("edge_offset_mm", "edge_shift", "edge_shift_px", "edge_shift_mm", "edge_gain", "move"),
    *("weak_share", "contrast", "opt_margin", "edge_peak", "fall_rank"),
    *("gap_share", "tongue_step", "tongue_edge"),
)
ANNOTATION = (
    *("source_shape", "source_points", "points_per_mm", "longest_run", "spacing_variation"),
    *("grid_share", "same_outline", "annotator_dice"),
)
RANKS = ("flags", "shape_rank", "image_rank", "precision_rank")
COLUMNS = (*KEYS, *CHECKS, *SHAPE, *IMAGE, *ANNOTATION, *RANKS)
# which way a score speaks for precision; the others speak for neither
MORE_IS_PRECISE = frozenset(
    {
        *("largest_part_share", "ellipse_rms", "dp_per_perim", "curv_entropy", "contour_detail"),
        *("polygon_residual", "median_bend", "edge_peak", "fall_rank", "tongue_edge"),
        *("grad_align", "edge_percentile", "contrast", "opt_margin"),
        *("source_points", "points_per_mm", "annotator_dice"),
        *("shape_rank", "image_rank", "precision_rank"),
    }
)
LESS_IS_PRECISE = frozenset(
    {
        *("parts", "holes", "hole_share", "frame_contact", "outside_breast", "breast_share"),
        *("self_crossing", "ellipse_iou", "straight_share", "axis_share", "solidity"),
        *("compactness", "tongue", "edge_offset_abs", "edge_gain", "move", "weak_share"),
        *("gap_share", "tongue_step", "longest_run", "same_outline"),
    }
)


def table_bytes(rows: Iterable[Mapping[str, str]]) -> bytes:
    """Return scores.csv as UTF-8 CSV."""
    return cells.table_bytes(COLUMNS, rows)


def read_scores(folder: PairsFolder, *, stale: bool = False) -> list[Row]:
    """Return the rows of a dataset's scores.csv; none if it was never scored.

    Rows about a record that is gone, or whose contours have changed since, are left away unless
    `stale`. Raises UsageError for a table that bcseg did not write.
    """
    path = folder.path / SCORES
    if not path.is_file():
        return []
    damaged = UsageError(
        f"{SCORES} is damaged", where=str(folder.path), hint="run `bcseg score` again"
    )
    try:
        rows = pairs.read_rows(path)
    except pairs.UNREADABLE as error:
        raise damaged from error
    if any(None in row.values() or not {*COLUMNS} <= row.keys() for row in rows):
        raise damaged
    if stale:
        return rows
    now = {row["record_id"]: row["annotation_sha256"] for row in folder.rows(pairs.RECORDS)}
    return [row for row in rows if now.get(row["record_id"]) == row["annotation_sha256"]]
