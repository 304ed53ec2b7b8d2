"""`bcseg select --ignore-rejected`: a rejected lesion is neither lesion nor background."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from archives import archive, bcseg, decode_rle, finished, original, pixels, rows
from archives import document as document_of
from bcseg import pairs
from bcseg.errors import UsageError
from bcseg.pairs import PairsFolder, open_root
from bcseg.scores import Scoring, score
from bcseg.scores.table import read_scores
from bcseg.select import Selecting, select_pairs
from bcseg.verify import Verifying, verify

# every way in which a lesion is drawn: points, splines, polygons, ellipses, rasters; every grid
MADE = [
    ("bcdr", ()),
    ("cbis", ()),
    ("cdd", ("--point-radius", "3")),
    ("csaw", ("--kind", "lesions")),
    ("inbreast", ("--kind", "lesions", "--masks", "lesion")),
    ("inbreast", ("--kind", "lesions", "--kind", "pectoral_muscle", "--preset", "classic")),
    ("cdd", ("--size", "100")),
]


def several(folder: Path) -> dict[str, list[str]]:
    """Return the records with several lesions in their mask, and these lesions."""
    found: dict[str, list[str]] = {}
    for row in rows(folder, pairs.LESIONS):
        if row["in_mask"] == "1":
            found.setdefault(row["record_id"], []).append(row["lesion_id"])
    return {record_id: ids for record_id, ids in found.items() if len(ids) > 1}


def manifest(path: Path, dataset: str, rejected: dict[str, list[str]]) -> Path:
    """Accept records, and reject single lesions of theirs."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "record_id", "lesion_id", "decision"])
        for record_id, ids in rejected.items():
            writer.writerow([dataset, record_id, "", "accept"])
            writer.writerows([dataset, record_id, one, "reject"] for one in ids)
    return path


def findings(root: Path, **how: object) -> list[str]:
    report = verify(open_root(root), Verifying(jobs=1, **how))  # type: ignore[arg-type]
    failed = [row for row in report.findings if row["severity"] == "failed"]
    return [f"{row['code']} {row['record_id']} {row['message']}" for row in failed]


@pytest.mark.parametrize(("dataset", "options"), MADE, ids=lambda value: str(value))
def test_a_rejected_lesion_goes_from_the_mask_to_ignore(
    tmp_path: Path, dataset: str, options: tuple[str, ...]
) -> None:
    folder = finished(dataset, *options)
    rejected = {record_id: ids[1:] for record_id, ids in several(folder).items()}
    assert rejected
    file = manifest(tmp_path / "m.csv", dataset, rejected)
    kept = tmp_path / "kept"
    result = select_pairs(folder, file, kept, Selecting(ignore_rejected=True))
    assert result.pairs == len(rejected)
    assert result.datasets[0].ignored_lesions == sum(map(len, rejected.values()))
    old = {(line["record_id"], line["lesion_id"]): line for line in archive(folder)}
    for row in rows(kept / dataset, pairs.RECORDS):
        record_id = row["record_id"]
        gone = set(rejected[record_id])
        mine = {key[1]: line for key, line in old.items() if key[0] == record_id}
        left = [line for key, line in mine.items() if line["in_mask"] and key not in gone]
        expected = np.any([decode_rle(line["rle"]) for line in left], axis=0)
        ignored = np.any([decode_rle(mine[key]["rle"]) for key in gone], axis=0) & ~expected
        assert np.array_equal(pixels(kept / dataset / row["mask"]) > 0, expected)
        ignore = pixels(kept / dataset / "ignore" / f"{record_id}.png")
        assert np.array_equal(ignore > 0, ignored)
        assert set(np.unique(ignore)) <= {0, 255}
        assert row["n_lesions"] == str(len(left))
        assert row["kinds"] == " ".join(sorted({line["kind"] for line in left}))
        assert row["mask_pixels"] == str(int(expected.sum()))
    assert findings(kept) == []
    assert findings(kept, fast=True) == []
    assert findings(kept, sources={dataset: original(dataset)}) == []


def test_the_rest_of_the_record_follows(tmp_path: Path) -> None:
    folder = finished("cbis")
    record_id, ids = next(iter(several(folder).items()))
    before = next(row for row in rows(folder, pairs.RECORDS) if row["record_id"] == record_id)
    kept = tmp_path / "kept"
    file = manifest(tmp_path / "m.csv", "cbis", {record_id: ids[:1]})
    select_pairs(folder, file, kept, Selecting(ignore_rejected=True))
    (row,) = rows(kept / "cbis", pairs.RECORDS)
    lesions = {one["lesion_id"]: one for one in rows(kept / "cbis", pairs.LESIONS)}
    left = lesions[ids[1]]
    assert (row["pathology"], row["birads"]) == (left["pathology"], left["birads"])
    assert before["pathology"] != row["pathology"]
    assert "pathology mixed" in before["notes"]
    assert "pathology mixed" not in row["notes"]
    assert row["notes"].endswith(f"; rejected, in ignore/: lesion {ids[0]}")
    assert lesions[ids[0]]["in_mask"] == "0"
    assert json.loads(lesions[ids[0]]["attributes"])["ignored"] == "1"
    assert "ignored" not in left["attributes"]
    assert row["annotation_sha256"] != before["annotation_sha256"]
    assert document_of(kept / "cbis")["lesions_in_masks"] == 1
    assert document_of(kept / "cbis")["selection"]["ignored_lesions"] == 1


def test_areas_follow_the_pixels(tmp_path: Path) -> None:
    folder = finished("inbreast", "--kind", "lesions", "--masks", "lesion")
    rejected = {record_id: ids[1:] for record_id, ids in several(folder).items()}
    file = manifest(tmp_path / "m.csv", "inbreast", rejected)
    kept = tmp_path / "kept"
    select_pairs(folder, file, kept, Selecting(ignore_rejected=True))
    for row in rows(kept / "inbreast", pairs.RECORDS):
        area = int(row["mask_pixels"]) * float(row["pixel_spacing_mm"]) ** 2
        assert float(row["mask_area_mm2"]) == pytest.approx(area, rel=1e-4)
        files = sorted((kept / "inbreast/lesions" / row["record_id"]).glob("*.png"))
        assert len(files) == int(row["n_lesions"])


LEFT_OUT = [
    ({"0": "reject", "1": "reject"}, "lesion_rejected"),
    ({"0": "accept", "1": "unsure"}, "lesion_not_accepted"),
    ({"0": "reject", "1": "unsure"}, "lesion_not_accepted"),
    ({"0": "reject", "1": ""}, "lesion_not_accepted"),
    ({"": "reject", "0": "accept"}, "rejected"),
]


@pytest.mark.parametrize(("decisions", "code"), LEFT_OUT, ids=str)
def test_a_record_needs_an_accepted_lesion(
    tmp_path: Path, decisions: dict[str, str], code: str
) -> None:
    folder = finished("cdd")
    two, many = sorted(several(folder).items(), key=lambda item: len(item[1]))[:2]
    assert two[1] == ["0", "1"]
    lines = [f"{two[0]},{lesion_id},{word}" for lesion_id, word in decisions.items()]
    lines += [f"{many[0]},,accept"]
    file = tmp_path / "m.csv"
    file.write_text("record_id,lesion_id,decision\n" + "\n".join(lines) + "\n")
    kept = tmp_path / "kept"
    select_pairs(folder, file, kept, Selecting(ignore_rejected=True))
    assert [row["code"] for row in rows(kept / "cdd", pairs.LEFT_OUT)][0:1] == [code]
    assert not (kept / "cdd/ignore").exists()


def test_without_the_option_the_hint_names_it(tmp_path: Path) -> None:
    folder = finished("cbis")
    record_id, ids = next(iter(several(folder).items()))
    file = manifest(tmp_path / "m.csv", "cbis", {record_id: ids[:1]})
    with pytest.raises(UsageError, match="--ignore-rejected"):
        select_pairs(folder, file, tmp_path / "kept", Selecting())


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scored") / "data"
    shutil.copytree(finished("cdd"), root / "cdd")
    score(open_root(root), Scoring(jobs=1))
    return root


def test_lesions_that_fail_where_go_to_ignore_too(scored: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    how = Selecting(where="area_px > 1 and lesion_id != '1'", ignore_rejected=True)
    result = select_pairs(scored, None, kept, how)
    assert result.datasets[0].ignored_lesions
    lesions = rows(kept / "cdd", pairs.LESIONS)
    for row in lesions:
        fails = row["lesion_id"] == "1" or row["area_px"] == "1"
        assert row["in_mask"] == ("0" if fails else "1")
    assert findings(kept) == []
    # the table is a manifest of the same pairs
    again = tmp_path / "again"
    select_pairs(scored, kept / "selection.csv", again, Selecting(ignore_rejected=True))
    for name in (pairs.RECORDS, pairs.LESIONS, pairs.ARCHIVE):
        assert (again / "cdd" / name).read_bytes() == (kept / "cdd" / name).read_bytes()


def test_with_any_no_lesion_goes_to_ignore(scored: Path, tmp_path: Path) -> None:
    how = Selecting(where="lesion_id != '1'", any=True, ignore_rejected=True)
    result = select_pairs(scored, None, tmp_path / "kept", how)
    assert result.datasets[0].ignored_lesions == 0
    assert not (tmp_path / "kept/cdd/ignore").exists()


def test_every_command_reads_such_a_root(scored: Path, tmp_path: Path, run) -> None:
    kept = tmp_path / "kept"
    select_pairs(scored, None, kept, Selecting(where="lesion_id != '1'", ignore_rejected=True))
    folder = PairsFolder(kept / "cdd")
    inside = {
        (row["record_id"], row["lesion_id"])
        for row in folder.rows(pairs.LESIONS)
        if row["in_mask"] == "1"
    }
    assert {(row["record_id"], row["lesion_id"]) for row in read_scores(folder)} == inside
    record_id = next(iter(several(scored / "cdd")))
    _, out, _ = run("why", record_id, kept)
    assert "1 finding" in out
    assert "rejected, in ignore/" in out
    assert run("stats", kept)[0] == 0
    assert run("report", kept, "-o", tmp_path / "r.html")[0] == 0
    # once more: the ignored lesion stays ignored, another joins it
    again = tmp_path / "again"
    result = select_pairs(
        kept, None, again, Selecting(where="lesion_id != '2'", ignore_rejected=True)
    )
    ignored = {
        (row["record_id"], row["lesion_id"])
        for row in rows(again / "cdd", pairs.LESIONS)
        if row["in_mask"] == "0"
    }
    assert {lesion_id for _, lesion_id in ignored} == {"1", "2"}
    assert findings(again) == []
    assert result.datasets[0].ignored_lesions == len({one for one in ignored if one[1] == "2"})
    plain = tmp_path / "plain"
    select_pairs(again, None, plain, Selecting(where="precision_rank >= 0", link=True))
    assert findings(plain) == []
    assert len(list((plain / "cdd/ignore").iterdir())) == len({one for one, _ in ignored})
    assert bcseg("score", plain) == 0
    assert {(row["record_id"], row["lesion_id"]) for row in read_scores(folder)} == inside


@pytest.mark.parametrize("damage", ["gone", "moved", "orphan", "grey"])
def test_verify_misses_nothing_in_ignore(scored: Path, tmp_path: Path, damage: str) -> None:
    kept = tmp_path / "kept"
    select_pairs(scored, None, kept, Selecting(where="lesion_id != '1'", ignore_rejected=True))
    path = sorted((kept / "cdd/ignore").iterdir())[0]
    found = {"gone": "missing_file", "moved": "altered", "orphan": "orphan_file"}
    if damage == "gone":
        path.unlink()
        assert findings(kept, fast=True)[0].startswith("missing_file")
    elif damage == "orphan":
        shutil.copyfile(path, path.with_name("x.png"))
        assert findings(kept, fast=True)[0].startswith("orphan_file")
    else:
        values = pixels(path)
        assert cv2.imwrite(str(path), np.roll(values, 1) if damage == "moved" else values // 2)
    code = found.get(damage, "mask_values")
    assert [line.split()[0] for line in findings(kept)] == [code]


def test_the_same_again_does_nothing_unless_a_drawn_mask_is_damaged(
    scored: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    how = Selecting(where="lesion_id != '1'", ignore_rejected=True)
    assert select_pairs(scored, None, kept, how).fresh
    assert not select_pairs(scored, None, kept, how).fresh
    path = sorted((kept / "cdd/ignore").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UsageError, match="not complete or changed"):
        select_pairs(scored, None, kept, how)


def test_an_archive_that_does_not_give_the_mask_is_refused(scored: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(scored, root)
    lines = archive(root / "cdd")
    many = next(iter(several(root / "cdd")))
    line = next(one for one in lines if one["record_id"] == many)
    counts = line["rle"]["counts"]
    line["rle"]["counts"] = [counts[0] + 1, *counts[1:-1], counts[-1] - 1]
    (root / "cdd" / pairs.ARCHIVE).write_bytes(pairs.archive_bytes(lines))
    how = Selecting(where="lesion_id != '1'", ignore_rejected=True)
    with pytest.raises(UsageError, match=f"{many}: its lesions in lesions.jsonl.gz do not give"):
        select_pairs(root, None, tmp_path / "kept", how)
    assert not (tmp_path / "kept").exists()


def test_a_mask_is_never_drawn_outside_the_root(scored: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(scored, root)
    table = root / "cdd" / pairs.RECORDS
    table.write_bytes(table.read_bytes().replace(b",masks/", b",../../masks/"))
    how = Selecting(where="lesion_id != '1'", ignore_rejected=True)
    with pytest.raises(UsageError, match="are missing"):
        select_pairs(root, None, tmp_path / "a" / "kept", how)
    assert not (tmp_path / "a").exists()


def test_the_decisions_of_the_manifest_stay_where_no_criterion_decided(tmp_path: Path) -> None:
    folder = finished("cdd")
    two, many = sorted(several(folder).items(), key=lambda item: len(item[1]))[:2]
    file = tmp_path / "m.csv"
    file.write_text(
        f"record_id,lesion_id,decision\n{two[0]},,accept\n{two[0]},0,unsure\n"
        f"{many[0]},,accept\n{many[0]},0,reject\n"
    )
    select_pairs(folder, file, tmp_path / "kept", Selecting(ignore_rejected=True))
    with (tmp_path / "kept/selection.csv").open(newline="") as table:
        found = [(row["record_id"], row["decision"], row["taken"]) for row in csv.DictReader(table)]
    assert found == [
        (two[0], "accept", "0"),
        (two[0], "unsure", "0"),
        (many[0], "accept", "1"),
        (many[0], "reject", "1"),
    ]


@pytest.mark.parametrize("rejected", ["0", "1"])
def test_a_pixel_of_an_accepted_lesion_is_never_ignored(tmp_path: Path, rejected: str) -> None:
    folder = finished("inbreast", "--kind", "lesions", "--masks", "lesion")
    record_id = "53100101"
    patches = {
        line["lesion_id"]: decode_rle(line["rle"]) > 0
        for line in archive(folder)
        if line["record_id"] == record_id and line["in_mask"]
    }
    assert patches.keys() == {"0", "1"}
    assert (patches["0"] & patches["1"]).any()
    file = manifest(tmp_path / "m.csv", "inbreast", {record_id: [rejected]})
    select_pairs(folder, file, tmp_path / "kept", Selecting(ignore_rejected=True))
    mask, ignore = (
        pixels(tmp_path / f"kept/inbreast/{part}/{record_id}.png") > 0
        for part in ("masks", "ignore")
    )
    accepted = patches["1" if rejected == "0" else "0"]
    assert np.array_equal(mask, accepted)
    assert np.array_equal(ignore, patches[rejected] & ~accepted)
