"""Mask-quality scores: formulas on known shapes, odd masks, ranks, and scores.csv."""

from __future__ import annotations

import csv
import math
import shutil

import cv2
import numpy as np
import pytest

from bcseg import pairs, raster, synth
from bcseg.adapters.base import ReadOptions
from bcseg.conversion import Run, refactor
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, open_root
from bcseg.raster import Patch, patch_of
from bcseg.record import Ellipse, Polygon
from bcseg.scores import COLUMNS, SCORES, Scoring, logistic, read_scores, score, table
from bcseg.scores import image as image_module
from bcseg.scores import shape as shape_module
from bcseg.scores.agreement import Annotators, mark_pasted
from bcseg.scores.annotation import annotation_scores, outline_sha256
from bcseg.scores.corruptions import CORRUPTIONS, LEAKS, OTHERS, diameter
from bcseg.scores.flags import flags_of
from bcseg.scores.items import Measured
from bcseg.scores.measure import form_scores, lesion_scores
from bcseg.scores.phantoms import phantom
from bcseg.scores.rank import percentiles, precision_of, rank_lesions
from bcseg.select import Selecting, select_pairs
from bcseg.settings import Settings

SIZE = (300, 420)  # rows, columns


def drawn(shape) -> Patch:
    return raster.draw(shape, SIZE).patch


def disc(x: float = 200.0, y: float = 140.0, r: float = 40.0) -> Patch:
    return drawn(Ellipse(x, y, r, r))


def blob_image(patch: Patch, *, soft: float = 3.0) -> np.ndarray:
    """Return an image in which a lesion is bright, on faint texture."""
    image = np.zeros(SIZE, np.float32)
    image[patch.top : patch.bottom, patch.left : patch.right] = patch.pixels
    image = cv2.GaussianBlur(image, (0, 0), soft)
    noise = np.random.default_rng(3).normal(0, 0.02, SIZE)
    return np.clip((image + noise) * 1000 + 500, 0, 4095).astype(np.uint16)


def scores_of(patch: Patch, image: np.ndarray | None = None) -> dict[str, float | None]:
    return lesion_scores(patch, image, SIZE, None)


# ------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("radius", [14, 40, 90])
def test_a_disc_is_an_oval(radius):
    found = scores_of(disc(r=radius))
    assert found["ellipse_iou"] > 0.97
    assert found["solidity"] > 0.97
    assert found["compactness"] > 0.93
    assert found["tongue"] < 0.001
    assert found["equivalent_diameter_px"] == pytest.approx(2 * radius, rel=0.02)
    assert "oval" in flags_of(found)


def test_a_turned_ellipse_is_an_oval_and_no_disc():
    found = scores_of(drawn(Ellipse(200, 140, 80, 30, 0.6)))
    assert found["ellipse_iou"] > 0.97
    assert found["compactness"] < 0.85


def test_a_box_is_named():
    found = scores_of(drawn(Polygon(((100, 80), (200, 80), (200, 150), (100, 150)))))
    assert found["axis_share"] > 0.8
    assert {"box", "coarse"} <= {*flags_of(found)}
    turned = drawn(Polygon(((150, 40), (230, 110), (180, 170), (100, 100))))
    assert scores_of(turned)["axis_share"] < 0.1


def test_few_vertices_are_coarse():
    angles = np.linspace(0, 2 * math.pi, 7)[:-1]
    corners = tuple((200 + 60 * math.cos(a), 140 + 60 * math.sin(a)) for a in angles)
    found = scores_of(drawn(Polygon(corners)))
    assert found["straight_share"] > 0.9
    assert "coarse" in flags_of(found)
    assert "coarse" not in flags_of(scores_of(disc()))


@pytest.mark.parametrize(("share", "flag"), [(0.2, "loose"), (-0.1, "tight"), (0.0, "")])
def test_a_misplaced_edge_has_a_sign(share, flag):
    truth = disc(r=40)
    image = blob_image(truth)
    found = scores_of(disc(r=40 * (1 + 2 * share)), image)
    raised = {"loose", "tight", "shifted"} & {*flags_of(found)}
    assert raised == ({flag} if flag else set())
    if share:
        assert math.copysign(1, found["edge_shift"]) == -math.copysign(1, share)
        assert math.copysign(1, found["edge_offset"]) == -math.copysign(1, share)
    else:
        assert found["edge_offset_abs"] < 0.02
        assert found["grad_align"] > 0.8


@pytest.mark.parametrize("pixels", [-6, -4, -2, 0, 2, 4, 7])
def test_the_offset_is_how_far_the_edge_lies_outside(pixels):
    """A mask grown by k pixels has its edge k pixels inside: -k."""
    found = scores_of(disc(r=40 + pixels), blob_image(disc(r=40)))
    d = found["equivalent_diameter_px"]
    assert found["edge_offset"] * d == pytest.approx(-pixels, abs=0.8)
    if abs(pixels) > 2:
        assert found["edge_shift"] * d == pytest.approx(-pixels, abs=2.5)
    assert found["edge_offset_abs"] >= abs(found["edge_offset"])


@pytest.mark.parametrize("real", [False, True])
def test_a_tongue_is_a_leak_where_no_edge_goes_round_it(real):
    body = disc(x=180, r=40)
    mask = np.zeros(SIZE, np.uint8)
    mask[body.top : body.bottom, body.left : body.right] = body.pixels
    cv2.line(mask, (210, 140), (262, 120), 1, 16)
    whole = patch_of(mask > 0)
    found = scores_of(whole, blob_image(whole if real else body))
    assert found["tongue"] > 0.025
    assert ("leak" in flags_of(found)) is not real
    assert "leak" in flags_of(scores_of(whole))  # without an image the shape alone speaks


def test_a_dark_lesion_has_no_contrast():
    truth = disc()
    bright = blob_image(truth)
    dark = (4095 - bright.astype(np.int32)).astype(np.uint16)
    assert scores_of(truth, bright)["contrast"] > 2
    assert scores_of(truth, dark)["contrast"] < -2
    assert scores_of(truth, dark)["grad_align"] < -0.8


def test_a_shifted_mask_is_named():
    image = blob_image(disc(x=200))
    assert "shifted" in flags_of(scores_of(disc(x=212), image))


def test_scores_follow_no_axis():
    patch = drawn(Polygon(((100, 80), (190, 60), (230, 120), (160, 170), (150, 120), (90, 130))))
    image = blob_image(patch)
    image[:, 230:] //= 2
    turned = Patch(patch.left, patch.top, np.ascontiguousarray(patch.pixels.T))
    one = lesion_scores(patch, image, SIZE, None)
    other = lesion_scores(turned, np.ascontiguousarray(image.T), SIZE[::-1], None)
    assert one.keys() == other.keys()
    assert [name for name in one if (one[name] is None) != (other[name] is None)] == []
    for name, value in one.items():
        if value is not None:
            assert value == pytest.approx(other[name], rel=0.08, abs=0.08), name


# ------------------------------------------------------------------------------- odd masks

ODD = {
    "empty": Patch(0, 0, np.zeros((0, 0), np.bool_)),
    "one pixel": Patch(17, 23, np.ones((1, 1), np.bool_)),
    "a line": Patch(17, 23, np.ones((1, 90), np.bool_)),
    "whole image": Patch(0, 0, np.ones(SIZE, np.bool_)),
    "a corner": Patch(0, 0, np.ones((40, 60), np.bool_)),
    "two parts": patch_of(np.pad(np.ones((30, 50), np.bool_), ((5, 200), (9, 300)))),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["texture", "flat", "none"])
def test_odd_masks_have_defined_scores(name, kind):
    image = {
        "texture": np.random.default_rng(0).integers(0, 4000, SIZE).astype(np.uint16),
        "flat": np.full(SIZE, 7, np.uint8),
        "none": None,
    }[kind]
    breast = None if image is None else np.ones(SIZE, np.bool_)
    found = lesion_scores(ODD[name], image, SIZE, breast)
    assert all(value is None or math.isfinite(value) for value in found.values())
    if kind != "texture":
        assert all(found[one] is None for one in image_module.NAMES)
    if name in ("empty", "one pixel"):
        assert all(found[one] is None for one in shape_module.NAMES)


def test_odd_masks_have_their_flags():
    assert flags_of(scores_of(ODD["empty"])) == ("empty",)
    assert flags_of(scores_of(ODD["one pixel"])) == ("speck",)
    whole = lesion_scores(ODD["whole image"], None, SIZE, np.ones(SIZE, np.bool_))
    assert {"touches_border", "huge"} <= {*flags_of(whole)}
    assert whole["frame_contact"] == 1
    texture = np.random.default_rng(0).integers(0, 4000, SIZE).astype(np.uint16)
    seen = lesion_scores(ODD["whole image"], texture, SIZE, np.ones(SIZE, np.bool_))
    assert all(seen[one] is None for one in image_module.NAMES)
    assert seen["solidity"] == pytest.approx(1, abs=0.01)


def test_parts_and_holes_are_counted():
    pixels = np.zeros((60, 90), np.bool_)
    pixels[5:45, 5:50] = True
    pixels[15:20, 15:25] = False
    pixels[50:55, 70:80] = True
    found = scores_of(Patch(30, 40, pixels))
    assert (found["parts"], found["holes"]) == (2, 1)
    assert found["hole_share"] == pytest.approx(50 / (50 + pixels.sum()))
    assert found["largest_part_share"] == pytest.approx(1750 / 1800)
    assert {"parts", "holes"} <= {*flags_of(found)}


def test_the_share_outside_the_breast():
    breast = np.zeros(SIZE, np.bool_)
    breast[:, :200] = True
    mask = Patch(50, 180, np.ones((30, 40), np.bool_))
    found = lesion_scores(mask, np.zeros(SIZE, np.uint8), SIZE, breast)
    assert found["outside_breast"] == pytest.approx(0.5)
    assert "outside_breast" in flags_of(found)


# ------------------------------------------------------------------------------- annotations


def test_source_annotation_scores():
    square = {"shape": {"points": [[0, 0], [10, 0], [20, 0], [20, 20], [0, 20.2], [0, 20.2]]}}
    found = annotation_scores(square, 0.1)
    assert found["source_points"] == 6
    assert found["points_per_mm"] == pytest.approx(5 / 8.02, rel=0.01)
    assert found["longest_run"] == pytest.approx(20 / 80.2, rel=0.02)
    assert found["grid_share"] == pytest.approx(4 / 5)
    assert found["spacing_variation"] == pytest.approx(5 / 15 * 0.98, rel=0.05)
    assert annotation_scores({"raster": {}}, 0.1)["source_points"] is None
    two = annotation_scores({"shape": {"points": [[1, 2], [3, 4]]}}, None)
    assert two["source_points"] == 2
    assert two["longest_run"] is None


def test_the_same_outline_elsewhere_is_pasted():
    points = np.random.default_rng(1).uniform(0, 90, (12, 2))

    def line(by):
        return {"shape": {"points": (points + by).tolist()}}

    first, second = outline_sha256(line((0, 0))), outline_sha256(line((33.0, -7.0)))
    assert first == second != ""
    assert outline_sha256({"shape": {"points": points[:5].tolist()}}) == ""
    films = {
        name: {"group": "p:1", "laterality": side, "view": "CC", "source_image": name}
        for name, side in (("a", "L"), ("b", "R"), ("copy", "L"))
    }
    lesions = [Measured(name, "1", {}, outline=first) for name in films]
    mark_pasted(lesions, films)
    assert [one.scores["same_outline"] for one in lesions] == [1, 1, 1]
    mark_pasted(lesions[::2], films)  # two copies of one film
    assert [one.scores["same_outline"] for one in lesions[::2]] == [0, 0]


def test_the_same_raster_elsewhere_is_pasted():
    mask = patch_of(np.random.default_rng(2).uniform(size=(12, 19)) < 0.8)

    def line(top, left):
        moved = Patch(top, left, mask.pixels)
        return {"raster": {"size": list(SIZE), "counts": raster.rle_counts(moved, SIZE)}}

    assert outline_sha256(line(3, 8)) == outline_sha256(line(200, 77)) != ""
    other = {"raster": {"size": list(SIZE), "counts": raster.rle_counts(disc(), SIZE)}}
    assert outline_sha256(other) != outline_sha256(line(3, 8))


def test_annotators_are_compared():
    rows = [
        {"record_id": f"t_{n}", "annotator": str(n), "source_image": "t.png"} for n in (1, 2, 3)
    ]
    peers = Annotators([*rows, {"record_id": "u", "annotator": "1", "source_image": "u.png"}])

    def lines(patch):
        return [{"rle": {"size": list(SIZE), "counts": raster.rle_counts(patch, SIZE)}}]

    box = np.ones((20, 40), np.bool_)
    for name, left in (("t_1", 10), ("t_2", 10), ("t_3", 30), ("u", 10)):
        peers.add(name, lines(Patch(5, left, box)))
    assert peers.dice("t_1") == pytest.approx((1 + 0.5) / 2)
    assert peers.dice("t_3") == pytest.approx(0.5)
    assert peers.dice("u") is None


# ------------------------------------------------------------------------------- ranks


def test_percentiles():
    assert percentiles(np.array([3.0, 1.0, np.nan, 3.0, 9.0])).tolist()[:2] == [0.5, 0.0]
    assert np.isnan(percentiles(np.array([np.nan, 1.0]))[0])
    assert percentiles(np.array([5.0])).tolist() == [1.0]


def test_the_order_of_two_lesions_depends_on_no_third(phantoms):
    lesions = [one for scores in phantoms.values() for one in scores[:5]]
    whole = precision_of(lesions)
    assert precision_of(lesions[3:9]).tolist() == whole[3:9].tolist()
    assert (precision_of(lesions) <= 0).all()


def test_ranks_without_images_and_of_nothing():
    shapes = [scores_of(disc(r=r)) for r in (20, 30, 40)]
    ranks = rank_lesions([*shapes, scores_of(ODD["empty"])])
    assert ranks[-1].precision == 0
    assert ranks[-1].shape is None
    assert all(rank.image is None for rank in ranks)
    assert sorted(rank.precision for rank in ranks)[-1] == 1
    assert rank_lesions([]) == []


# ------------------------------------------------------------------------------- regression

SMALL = ("oval", "dilate 10 %", "erode 10 %", "shift 10 %", "8 vertices", "leak")


@pytest.fixture(scope="module")
def phantoms():
    """Scores of 30 phantoms, clean and corrupted."""
    found = {name: [] for name in ("clean", *SMALL)}
    for number in range(30):
        one = phantom(number)
        size = one.image.shape
        random = np.random.default_rng([number, 7])
        found["clean"].append(form_scores(one.mask, one.image, size))
        for name in SMALL:
            spoilt = CORRUPTIONS[name](one.mask, one.image, random)
            found[name].append(form_scores(spoilt, one.image, size))
    return found


def auroc(clean, spoilt) -> float:
    above = np.sign(np.array(clean)[:, None] - np.array(spoilt)[None, :]) / 2 + 0.5
    return float(above[~np.eye(*above.shape, dtype=bool)].mean())


@pytest.mark.parametrize(
    ("score", "sign", "corruption", "least"),
    [
        ("ellipse_iou", -1, "oval", 0.99),
        ("dp_per_perim", 1, "8 vertices", 0.97),
        ("grad_align", 1, "shift 10 %", 0.9),
        ("opt_margin", 1, "shift 10 %", 0.93),
        ("edge_peak", 1, "shift 10 %", 0.93),
        ("edge_peak", 1, "erode 10 %", 0.97),
        ("fall_rank", 1, "dilate 10 %", 0.95),
        ("polygon_residual", 1, "8 vertices", 0.97),
        ("median_bend", 1, "8 vertices", 0.97),
        ("edge_offset_abs", -1, "erode 10 %", 0.95),
        ("edge_offset_abs", -1, "dilate 10 %", 0.9),
        ("edge_shift", -1, "erode 10 %", 0.97),
        ("edge_shift", 1, "dilate 10 %", 0.97),
        ("tongue", -1, "leak", 0.97),
    ],
)
def test_a_score_tells_its_fault(phantoms, score, sign, corruption, least):
    clean, spoilt = ([sign * s[score] for s in phantoms[name]] for name in ("clean", corruption))
    assert auroc(clean, spoilt) >= least


def test_the_rank_tells_every_fault(phantoms):
    ranks = rank_lesions([one for scores in phantoms.values() for one in scores])
    places = iter([rank.precision for rank in ranks])
    by_name = {name: [next(places) for _ in scores] for name, scores in phantoms.items()}
    least = {"oval": 0.92, "dilate 10 %": 0.95, "erode 10 %": 0.95, "shift 10 %": 0.88}
    least |= {"8 vertices": 0.95, "leak": 0.8}
    for name, bound in least.items():
        assert auroc(by_name["clean"], by_name[name]) >= bound, name


@pytest.mark.parametrize("kind", sorted({*LEAKS} - {"thin"}))
def test_leaks_of_other_kinds_are_found(phantoms, kind):
    spoilt = []
    for number in range(8):
        one = phantom(number)
        leaky = LEAKS[kind](one.mask, one.image, np.random.default_rng(number))
        spoilt.append(-form_scores(leaky, one.image, one.image.shape)["tongue"])
    clean = [-one["tongue"] for one in phantoms["clean"][:8]]
    assert auroc(clean, spoilt) >= 0.9


def test_a_model_of_others_patients_tells_the_faults(phantoms):
    """Fitted to 20 phantoms, asked about 10 others: better than chance by far, and no NaN."""
    train = {name: scores[:20] for name, scores in phantoms.items()}
    precise = np.array([name == "clean" for name, scores in train.items() for _ in scores])
    values = logistic.features([one for scores in train.values() for one in scores])
    scale = logistic.scale_of(values[precise])
    weights = logistic.fit(logistic.standardised(values, scale), precise)
    found = {
        name: logistic.evidence(
            logistic.standardised(logistic.features(scores[20:]), scale), weights
        )
        for name, scores in phantoms.items()
    }
    assert np.isfinite(np.concatenate([*found.values()])).all()
    assert np.mean([auroc(found["clean"], found[name]) for name in SMALL]) >= 0.93


def test_a_model_of_nothing_is_the_plain_rank():
    values = np.zeros((40, len(logistic.NAMES)))
    weights = logistic.fit(values, np.arange(40) < 20)
    assert weights[:3].tolist() == pytest.approx([1, 1, 1])
    assert weights[3:].tolist() == pytest.approx([0] * (len(weights) - 3))


def test_flags_hit_and_spare(phantoms):
    raised = {
        name: [flags_of(one | {"equivalent_diameter_px": 60.0, "area_px": 9.0}) for one in scores]
        for name, scores in phantoms.items()
    }
    for flag, name in (("oval", "oval"), ("leak", "leak"), ("tight", "erode 10 %")):
        assert np.mean([flag in words for words in raised[name]]) >= 0.8
        assert np.mean([flag in words for words in raised["clean"]]) <= 0.15


@pytest.mark.parametrize("name", [*CORRUPTIONS, *OTHERS, *LEAKS])
def test_corruptions_do_what_they_say(name):
    one = phantom(2)
    spoilt = (CORRUPTIONS | OTHERS | LEAKS)[name](one.mask, one.image, np.random.default_rng(5))
    again = (CORRUPTIONS | OTHERS | LEAKS)[name](one.mask, one.image, np.random.default_rng(5))
    assert np.array_equal(spoilt.pixels, again.pixels)
    ratio, d = spoilt.area / one.mask.area, diameter(one.mask)
    if name.startswith(("dilate", "erode")):
        assert (ratio > 1) == name.startswith("dilate")
    elif name == "leak":
        assert ratio == pytest.approx(1.1, abs=0.02)
    elif name == "oval":
        assert ratio == pytest.approx(1, abs=0.02)
    elif name == "shift 10 %":
        moved = math.hypot(spoilt.top - one.mask.top, spoilt.left - one.mask.left)
        assert moved == pytest.approx(0.1 * d, abs=1)


@pytest.mark.parametrize(
    "patch", [ODD["one pixel"], Patch(4, 6, np.ones((3, 4), np.bool_)), ODD["whole image"]]
)
def test_corruptions_take_any_mask(patch):
    image = np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8)
    for corrupt in (CORRUPTIONS | OTHERS | LEAKS).values():
        spoilt = corrupt(patch, image, np.random.default_rng(1))
        if spoilt is not None:
            raster.paint([spoilt], SIZE)  # inside the image


# ------------------------------------------------------------------------------- a root


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    top = tmp_path_factory.mktemp("scores")
    for name, options in (
        ("cdd", ReadOptions()),
        ("csaw", ReadOptions(annotator="all")),
    ):
        synth.build(name, top / name, images=8)
        refactor(name, top / name, top / "data", Settings(read=options), Run(jobs=1))
    return top / "data"


@pytest.fixture
def root(built, tmp_path):
    shutil.copytree(built, tmp_path / "data")
    return tmp_path / "data"


def check_units(row, spacing):
    """Offsets in pixels are those in d times d; those in mm are theirs times the spacing."""
    for name in ("edge_offset", "edge_shift"):
        assert (row[f"{name}_px"] == "") == (row[name] == "")
        if row[name]:
            pixels = float(row[name]) * float(row["equivalent_diameter_px"])
            assert float(row[f"{name}_px"]) == pytest.approx(pixels, abs=1e-3)
        assert (row[f"{name}_mm"] == "") == (row[name] == "" or spacing == "")
        if row[f"{name}_mm"] and "x" not in spacing:
            wanted = float(row[f"{name}_px"]) * float(spacing)
            assert float(row[f"{name}_mm"]) == pytest.approx(wanted, abs=1e-4)


def test_a_root_is_scored(root):
    seen = []
    how = Scoring(jobs=1, progress=lambda done, total: seen.append((done, total)))
    scored = score(open_root(root), how)
    assert scored.exit_code == 0
    assert seen[-1][0] == seen[-1][1] == len(seen)
    for folder in open_root(root):
        rows = read_scores(folder)
        inside = [row for row in folder.rows(pairs.LESIONS) if row["in_mask"] == "1"]
        keys = {(row["record_id"], row["lesion_id"]) for row in inside}
        assert {(row["record_id"], row["lesion_id"]) for row in rows} == keys
        assert [row["record_id"] for row in rows] == sorted(row["record_id"] for row in rows)
        spacings = {r["record_id"]: r["pixel_spacing_mm"] for r in folder.rows(pairs.RECORDS)}
        hashes = {r["record_id"]: r["annotation_sha256"] for r in folder.rows(pairs.RECORDS)}
        for row in rows:
            assert tuple(row) == COLUMNS
            assert row["annotation_sha256"] == hashes[row["record_id"]]
            assert 0 <= float(row["precision_rank"]) <= 1
            assert not {"nan", "inf", "-inf"} & {*row.values()}
            check_units(row, spacings[row["record_id"]])
    cdd, csaw = open_root(root)
    assert any("drawn_oval" in row["flags"].split() for row in read_scores(cdd))
    assert any(row["annotator_dice"] for row in read_scores(csaw))
    document = scored.document()
    assert document["ranked_by"] == "scores"
    assert [one["dataset"] for one in document["datasets"]] == ["cdd", "csaw"]
    assert "cdd:" in scored.text()


def test_workers_change_nothing(root):
    score(open_root(root), Scoring(jobs=1))
    before = [(folder.path / SCORES).read_bytes() for folder in open_root(root)]
    score(open_root(root), Scoring(jobs=2))
    assert before == [(folder.path / SCORES).read_bytes() for folder in open_root(root)]


def test_a_dry_run_writes_nothing(root):
    assert score(open_root(root), Scoring(jobs=1, dry_run=True)).folders
    assert not list(root.rglob(SCORES))


def test_an_image_that_is_gone_leaves_the_shape(root):
    folder = PairsFolder(root / "cdd")
    row = next(row for row in folder.rows(pairs.RECORDS) if row["n_lesions"] == "1")
    (folder.path / row["image"]).unlink()
    scored = score([folder], Scoring(jobs=1))
    assert scored.exit_code == 1
    (failure,) = scored.folders[0].failures
    assert failure[:2] == (row["record_id"], "missing_file")
    found = next(one for one in read_scores(folder) if one["record_id"] == row["record_id"])
    assert found["grad_align"] == ""
    assert found["area_px"] != ""


def test_stale_scores_are_noticed(root):
    folder = PairsFolder(root / "cdd")
    score([folder], Scoring(jobs=1))
    rows = folder.rows(pairs.RECORDS)
    rows[0]["annotation_sha256"] = "0" * 64
    (folder.path / pairs.RECORDS).write_bytes(pairs.table_bytes(pairs.RECORDS, rows))
    ids = {row["record_id"] for row in read_scores(folder)}
    assert rows[0]["record_id"] not in ids
    assert rows[0]["record_id"] in {row["record_id"] for row in read_scores(folder, stale=True)}


def test_damage_is_named(root):
    folder = PairsFolder(root / "cdd")
    (folder.path / SCORES).write_text("dataset,record_id\ncdd,x\n")
    with pytest.raises(UsageError, match=r"scores\.csv is damaged"):
        read_scores(folder)
    (folder.path / SCORES).unlink()
    (folder.path / pairs.ARCHIVE).write_bytes(b"no gzip")
    with pytest.raises(UsageError, match="is damaged"):
        score([folder], Scoring(jobs=1))
    assert not (folder.path / SCORES).exists()


def test_select_takes_the_scores_along(root, tmp_path):
    score(open_root(root), Scoring(jobs=1))
    chosen = PairsFolder(root / "cdd").rows(pairs.RECORDS)[0]["record_id"]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"dataset,record_id\ncdd,{chosen}\n")
    select_pairs(root, manifest, tmp_path / "kept", Selecting())
    kept = read_scores(PairsFolder(tmp_path / "kept" / "cdd"))
    assert {row["record_id"] for row in kept} == {chosen}
    again = tmp_path / "again.csv"
    again.write_text(f"dataset,record_id\ncdd,{chosen}\ncsaw,test_011_1_a1\n")
    select_pairs(root, again, tmp_path / "kept", Selecting(redo=True, allow_missing=True))


def accept(root, path, count: int | None = None):
    rows = [row for one in open_root(root) for row in one.rows(pairs.RECORDS)][:count]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("dataset", "record_id", "decision"))
        writer.writerows((row["dataset"], row["record_id"], "accept") for row in rows)
    return path


def test_a_calibration_ranks(root, tmp_path):
    accepted = accept(root, tmp_path / "accepted.csv", 10)
    scored = score(open_root(root), Scoring(jobs=1, calibrate=accepted))
    document = scored.document()
    assert document["ranked_by"] == "calibration"
    assert document["calibration"]["accepted_lesions"] >= 10
    assert document["calibration"]["corrupted_copies"] > 100
    assert "ranked by a model" in scored.text()
    first = [(folder.path / SCORES).read_bytes() for folder in open_root(root)]
    score(open_root(root), Scoring(jobs=2, calibrate=accepted))
    assert first == [(folder.path / SCORES).read_bytes() for folder in open_root(root)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "too few to learn from"),
        ("dataset,record_id\ncdd,nobody\n", "cannot be used"),
        ("", "is empty"),
    ],
)
def test_a_bad_calibration_writes_nothing(root, tmp_path, text, message):
    manifest = tmp_path / "manifest.csv"
    if text is None:
        accept(root, manifest, 2)
    else:
        manifest.write_text(text)
    with pytest.raises(UsageError, match=message):
        score(open_root(root), Scoring(jobs=1, calibrate=manifest))
    assert not list(root.rglob(SCORES))


def test_columns_name_every_score():
    names = {*shape_module.NAMES, *image_module.NAMES}
    assert names <= {*table.SHAPE, *table.IMAGE}
    assert len(set(COLUMNS)) == len(COLUMNS)
