"""Named flags: a score beyond a threshold, and what it says about the mask.

A flag asks for a look and never says that a mask is wrong: a smooth round mass is an oval by right.
Hit and false-flag rates of each are in docs/scores.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bcseg.scores.shape import Scores

_ROUGHLY = 24.0  # pixels of equivalent diameter from which a shape can be judged
_SPECK = 8.0  # pixels

Facts = Mapping[str, float | None]


def _value(facts: Facts, name: str, otherwise: float = 0.0) -> float:
    value = facts.get(name)
    return otherwise if value is None else value


def _large(facts: Facts, least: float) -> bool:
    return _value(facts, "equivalent_diameter_px") >= least


def _misplaced(facts: Facts) -> bool:
    return _value(facts, "edge_gain") >= 1.5


FLAGS: Mapping[str, tuple[str, Callable[[Facts], bool]]] = {
    "empty": ("no pixel in the mask", lambda s: _value(s, "area_px") == 0),
    "speck": (
        "equivalent diameter below 8 px",
        lambda s: _value(s, "area_px") > 0 and not _large(s, _SPECK),
    ),
    "oval": (
        "ellipse_iou >= 0.97, from 24 px on",
        lambda s: _value(s, "ellipse_iou") >= 0.97 and _large(s, _ROUGHLY),
    ),
    "coarse": (
        "straight_share >= 0.5 and dp_per_perim <= 5, from 24 px on",
        lambda s: (
            _value(s, "straight_share") >= 0.5
            and _value(s, "dp_per_perim", 99.0) <= 5.0
            and _large(s, _ROUGHLY)
        ),
    ),
    "box": (
        "axis_share >= 0.5, from 24 px on",
        lambda s: _value(s, "axis_share") >= 0.5 and _large(s, _ROUGHLY),
    ),
    "ribbon": (
        "solidity <= 0.3, from 24 px on: skin or a vessel rather than a mass",
        lambda s: _value(s, "solidity", 1.0) <= 0.3 and _large(s, _ROUGHLY),
    ),
    "loose": (
        "edge_shift <= -0.08 and edge_gain >= 1.5",
        lambda s: _value(s, "edge_shift") <= -0.08 and _misplaced(s),
    ),
    "tight": (
        "edge_shift >= 0.08 and edge_gain >= 1.5",
        lambda s: _value(s, "edge_shift") >= 0.08 and _misplaced(s),
    ),
    "shifted": (
        "move >= 0.1, edge_gain >= 1.5, edge_shift between -0.08 and 0.08",
        lambda s: (
            _value(s, "move") >= 0.1 and _misplaced(s) and abs(_value(s, "edge_shift")) < 0.08
        ),
    ),
    "leak": (
        "tongue >= 0.025 and tongue_edge < 0.9, from 24 px on",
        lambda s: (
            _value(s, "tongue") >= 0.025 and _value(s, "tongue_edge") < 0.9 and _large(s, _ROUGHLY)
        ),
    ),
    "outside_breast": (
        "outside_breast >= 0.05",
        lambda s: _value(s, "outside_breast") >= 0.05,
    ),
    "touches_border": ("frame_contact > 0", lambda s: _value(s, "frame_contact") > 0),
    "self_crossing": (
        "the source outline crosses itself",
        lambda s: _value(s, "self_crossing") > 0,
    ),
    "parts": ("parts > 1", lambda s: _value(s, "parts") > 1),
    "holes": ("holes > 0", lambda s: _value(s, "holes") > 0),
    "huge": ("breast_share >= 0.5", lambda s: _value(s, "breast_share") >= 0.5),
    "few_points": (
        "3 to 12 source points",
        lambda s: 3 <= _value(s, "source_points") <= 12,
    ),
    "even_points": (
        "spacing_variation <= 0.05 with 12 source points or more",
        lambda s: _value(s, "source_points") >= 12 and _value(s, "spacing_variation", 1.0) <= 0.05,
    ),
    "pasted": (
        "the same outline on another film of the dataset",
        lambda s: _value(s, "same_outline") > 0,
    ),
    "disputed": (
        "annotator_dice < 0.7",
        lambda s: _value(s, "annotator_dice", 1.0) < 0.7,
    ),
}
DRAWN = {
    "ellipse": "drawn_oval",
    "circle": "drawn_oval",
    "box": "drawn_box",
    "points": "drawn_point",
}


def flags_of(scores: Scores, geometry: str = "") -> tuple[str, ...]:
    """Return the flags that a lesion raises; `geometry` as in lesions.csv."""
    raised = tuple(name for name, (_, raises) in FLAGS.items() if raises(scores))
    return (*raised, DRAWN[geometry]) if geometry in DRAWN else raised
