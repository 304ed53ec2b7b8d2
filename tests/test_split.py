"""`bcseg split`: one patient, one part; shares, strata, published test sets, additions."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archives import finished
from bcseg import pairs
from bcseg.adapters.cbis import shipped_tables
from bcseg.split import Splitting, split_pairs


def record(dataset, number, patient, **cells):
    """Return a row of records.csv; what is not given is empty."""
    row = dict.fromkeys(pairs.RECORD_COLUMNS, "")
    row |= {"dataset": dataset, "record_id": f"r{number:05}", "kinds": "mass"}
    row |= {"group": f"{dataset}:{patient}" if patient else "", "mask_pixels": "100"}
    row |= {"image_sha256": f"{dataset}{number}"}
    return row | {key: str(value) for key, value in cells.items()}


def make_root(place, rows):
    """Write a root of tables alone: all that a split reads."""
    shutil.rmtree(place, ignore_errors=True)
    by_dataset = defaultdict(list)
    for row in rows:
        by_dataset[row["dataset"]].append(row)
    for dataset, own in by_dataset.items():
        folder = place / dataset
        folder.mkdir(parents=True)
        (folder / pairs.RECORDS).write_bytes(pairs.table_bytes(pairs.RECORDS, own))
        (folder / pairs.DATASET).write_text(json.dumps({"dataset": dataset}))
    return place


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def parts_of(root, column="split"):
    """Return the parts of each patient, by splits.csv."""
    found = defaultdict(set)
    for row in table(root / "splits.csv"):
        found[row["group"]].add((row["split"], row["fold"]))
    return found


def patients(count, dataset="mine", pairs_each=2, **cells):
    rows = []
    for n in range(count):
        values = {key: value(n) for key, value in cells.items()}
        each = (n * pairs_each + k for k in range(pairs_each))
        rows += [record(dataset, number, f"P{n:04}", **values) for number in each]
    return rows


def test_parts_get_their_shares_and_nobody_is_in_two(run, tmp_path):
    rows = patients(
        200,
        pathology=lambda n: "malignant" if n % 3 else "benign",
        density=lambda n: n % 4 + 1,
        birads=lambda n: n % 5 + 1,
        mask_pixels=lambda n: 50 + 7 * n % 1000,
    )
    root = make_root(tmp_path / "root", rows)
    code, out, err = run("split", root, "--test", "0.2", "--val", "0.1")
    assert (code, err) == (0, "")
    assert "every kind, pathology, BI-RADS, density and size is within" in out
    assert all(len(one) == 1 for one in parts_of(root).values())
    counts = Counter(row["split"] for row in table(root / "splits.csv"))
    assert counts == {"train": 280, "val": 40, "test": 80}
    for row in table(root / "splits-balance.csv"):
        assert abs(float(row["share"]) - float(row["wanted"])) < 0.03, row


def test_folds_hold_all_that_is_not_test(run, tmp_path):
    root = make_root(tmp_path / "root", patients(60))
    code, out, _ = run("split", root, "--folds", "5", "--test", "0.2", "--json")
    assert code == 0
    places = {one["place"]: one["patients"] for one in json.loads(out)["places"]}
    assert places.pop("test") == 12
    assert sorted(places.values()) == [9, 9, 10, 10, 10]
    assert {row["fold"] for row in table(root / "splits.csv") if row["split"] == "test"} == {""}


def test_folds_alone_leave_no_test(tmp_path):
    root = make_root(tmp_path / "root", patients(20))
    split_pairs(root, Splitting(folds=4))
    assert {row["split"] for row in table(root / "splits.csv")} == {"train"}
    assert {row["fold"] for row in table(root / "splits.csv")} == {"0", "1", "2", "3"}


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_one_patient_one_place_and_the_rows_order_does_not_matter(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("split")
    names = data.draw(st.lists(st.integers(0, 25), min_size=3, max_size=80))
    rows = [
        record(f"d{n % 2}", n, "", group=f"p{name}", pathology=name % 3)
        for n, name in enumerate(names)
    ]
    how = Splitting(folds=data.draw(st.sampled_from([0, 2, 5])), seed=data.draw(st.integers(0, 9)))
    split_pairs(make_root(place / "one", rows), how)
    split_pairs(make_root(place / "other", data.draw(st.permutations(rows))), how)
    assert all(len(one) == 1 for one in parts_of(place / "one").values())
    same = [(place / name / "splits.csv").read_bytes() for name in ("one", "other")]
    assert same[0] == same[1]
    again = split_pairs(place / "one", how)
    assert again.kept == len(set(names))
    assert (place / "one" / "splits.csv").read_bytes() == same[0]


def test_patients_stay_when_others_come(run, tmp_path):
    root = make_root(tmp_path / "root", patients(40))
    run("split", root)
    before = parts_of(root)
    old = (root / "splits.csv").read_bytes()
    more = patients(40) + patients(100, dataset="other", pairs_each=1)
    make_root(root, more)
    (root / "splits.csv").write_bytes(old)
    code, out, _ = run("split", root)
    assert code == 0
    assert "140 patients, 40 of them where they were before" in out
    after = parts_of(root)
    assert {name: after[name] for name in before} == before
    assert len(after) == 140
    code, _, _ = run("split", root, "--seed", "3", "--redo")
    assert {name: parts_of(root)[name] for name in before} != before


def test_an_earlier_split_with_other_places_is_refused(run, tmp_path):
    root = make_root(tmp_path / "root", patients(20))
    run("split", root)
    before = (root / "splits.csv").read_bytes()
    code, _, err = run("split", root, "--folds", "3")
    assert code == 2
    assert "which these options do not make" in err
    assert "--redo" in err
    assert (root / "splits.csv").read_bytes() == before


def test_unknown_patients_are_refused_by_number_and_name(run, tmp_path):
    rows = patients(10) + [record("inbreast", n, "") for n in range(7)]
    root = make_root(tmp_path / "root", rows)
    code, _, err = run("split", root)
    assert code == 2
    assert "the patient of 7 pairs is not known" in err
    assert "inbreast: 7 of 7 pairs (r00000, r00001, r00002, ...)" in err
    assert not (root / "splits.csv").exists()
    code, _, _ = run("split", root, "--unknown-patient", "one-group")
    assert code == 0
    assert len(parts_of(root)["inbreast:unknown"]) == 1


def test_a_table_says_who_belongs_together(run, tmp_path):
    rows = patients(10) + [record("inbreast", n, "") for n in range(4)]
    root = make_root(tmp_path / "root", rows)
    groups = tmp_path / "groups.csv"
    lines = ["dataset,record_id,group", *(f"inbreast,r{n:05},A{n // 2}" for n in range(4))]
    groups.write_text("\n".join(lines) + "\nmine,r00000,joined\nmine,r00002,joined\n")
    code, _, _ = run("split", root, "--groups", groups)
    assert code == 0
    found = parts_of(root)
    assert {"A0", "A1", "joined"} <= found.keys()
    groups.write_text("dataset,record_id,group\ninbreast,r00000,A\ninbreast,r00000,B\n")
    code, _, err = run("split", root, "--groups", groups)
    assert code == 2
    assert "row 3: r00000 is in B here, but in A in an earlier row" in err


def test_one_film_under_two_names_is_one_patient(tmp_path):
    rows = patients(30, dataset="cbis") + patients(30, dataset="ddsm")
    for row in rows:
        row["image_sha256"] = f"{row['dataset']}{row['record_id']}"
    for n in range(0, 60, 2):  # the first film of each patient stands in both archives
        rows[n]["image_sha256"] = rows[60 + n]["image_sha256"] = f"same{n}"
    root = make_root(tmp_path / "root", rows)
    split_pairs(root, Splitting())
    places = defaultdict(set)
    for row in table(root / "splits.csv"):
        places[row["record_id"][:5], int(row["record_id"][1:]) // 2].add(row["split"])
    assert all(len(one) == 1 for one in places.values())


def test_published_test_sets_stay_and_patients_of_both_parts_are_test(run, tmp_path):
    rows = patients(50, dataset="cbis", split=lambda n: "test" if n < 10 else "train")
    rows[1]["split"] = "train"  # one film of a test patient
    rows += patients(50, dataset="inbreast")
    root = make_root(tmp_path / "root", rows)
    code, _, err = run("split", root, "--keep-published", "--test", "0.2", "--val", "0.2")
    assert code == 0
    assert "1 patient of published test sets stands in train as well" in err
    found = parts_of(root)
    for n in range(50):
        parts = {part for part, _ in found[f"cbis:P{n:04}"]}
        assert (parts == {"test"}) == (n < 10)
    rest = Counter(next(iter(found[f"cbis:P{n:04}"]))[0] for n in range(10, 50))
    assert rest == {"train": 30, "val": 10}
    other = Counter(next(iter(found[f"inbreast:P{n:04}"]))[0] for n in range(50))
    assert other == {"train": 30, "val": 10, "test": 10}


def test_what_cannot_be_balanced_is_said(run, tmp_path):
    rows = patients(40, pathology=lambda n: "malignant" if n == 7 else "benign")
    root = make_root(tmp_path / "root", rows)
    code, out, _ = run("split", root)
    assert code == 0
    rows = [row for row in table(root / "splits-balance.csv") if row["value"] == "malignant"]
    assert [row["balanced"] for row in rows] == ["0", "0", "0"]
    (line,) = (line for line in out.splitlines() if "malignant" in line)
    assert line.startswith("  mine pathology malignant, 1 patient: ")
    for row in rows:
        assert f"{row['place']} {float(row['share']):.0%} (wanted " in line
    assert sum(int(row["pairs"]) for row in rows) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--test", "0.6", "--val", "0.5"), "leave nothing for train"),
        (("--test", "-0.1"), "leave nothing for train"),
        (("--folds", "1"), "1 folds"),
        (("--folds", "3", "--val", "0.1"), "exclude each other"),
    ],
)
def test_shares_that_are_none_are_refused(run, tmp_path, options, message):
    root = make_root(tmp_path / "root", patients(10))
    code, _, err = run("split", root, *options)
    assert code == 2
    assert message in err
    assert not (root / "splits.csv").exists()


def test_places_that_hold_nobody_are_named(run, tmp_path):
    root = make_root(tmp_path / "root", patients(2))
    code, _, err = run("split", root)
    assert code == 0
    assert "note: nobody is in " in err
    assert "2 patients cannot be divided into such shares" in err


def test_a_dry_run_writes_nothing_and_a_foreign_table_is_not_overwritten(run, tmp_path):
    root = make_root(tmp_path / "root", patients(10))
    code, out, _ = run("split", root, "--dry-run")
    assert code == 0
    assert "would be split" in out
    assert not (root / "splits.csv").exists()
    (root / "splits.csv").write_text("file,part\na.png,train\n")
    code, _, err = run("split", root)
    assert code == 2
    assert "no split of bcseg" in err
    assert (root / "splits.csv").read_text() == "file,part\na.png,train\n"


def test_verify_knows_the_split(run, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(finished("cbis").parent, root)
    assert run("split", root)[0] == 0
    code, out, _ = run("verify", root)
    assert code == 0
    assert "not_in_split" not in out
    path = root / "splits.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    code, out, _ = run("verify", root)
    assert (code, "not_in_split" in out) == (0, True)


def test_the_31_patients_of_cbis_in_both_parts_are_not_split(run, tmp_path):
    """The four tables of CBIS-DDSM: 3,568 rows, 1,566 patients, 31 of them train and test."""
    rows = {}
    for one in shipped_tables():
        for row in one.rows:
            record_id = row.raw("image_file_path").split("/")[0]
            rows[record_id] = record(
                "cbis",
                0,
                row.raw("patient_id"),
                record_id=record_id,
                image_sha256=record_id,
                split="train" if "Training" in record_id else "test",
                kinds=row.raw("abnormality_type"),
                pathology=row.raw("pathology").split("_")[0].lower(),
                birads=row.raw("assessment"),
                density=row.raw("breast_density"),
            )
    root = make_root(tmp_path / "root", rows.values())
    code, _, err = run("split", root, "--keep-published", "--val", "0.15", "--test", "0.2")
    assert code == 0
    assert "31 patients of published test sets stand in train as well" in err
    assert all(len(one) == 1 for one in parts_of(root).values())
    assert len(parts_of(root)) == 1566
    code, _, _ = run("split", root, "--folds", "5", "--redo")
    assert code == 0
    for row in table(root / "splits-balance.csv"):
        if row["aspect"] in ("pairs", "kind"):
            assert abs(float(row["share"]) - 0.2) < 0.01, row
