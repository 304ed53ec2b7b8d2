"""The films that CBIS-DDSM stores twice: among Mass and among Calc, each with its lesions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from bcseg import synth
from bcseg.adapters import cbis
from test_adapters import Output, convert, delete, every_kind, records_of

MASS = "Mass-Training_P_90007_LEFT_CC"
CALC = "Calc-Training_P_90007_LEFT_CC"
ALONE = "Mass-Training_P_90001_LEFT_CC"

_built: dict[Path, synth.Built] = {}


@pytest.fixture
def built(tmp_path_factory) -> synth.Built:
    """Return an archive with one film stored twice; no test may change it."""
    top = tmp_path_factory.getbasetemp()
    if top not in _built:
        root = tmp_path_factory.mktemp("twins") / "cbis"
        _built[top] = synth.build("cbis", root, images=6, scale=0.1, quirks=True)
        delete(root, r"P_(?!90007|90001_LEFT_CC)\d{5}_.*dcm$")
    return _built[top]


@pytest.fixture
def root(built, tmp_path) -> Path:
    """Return a copy of the archive that may be changed."""
    return Path(shutil.copytree(built.root, tmp_path / "original"))


def truth(built: synth.Built, record_id: str) -> np.ndarray:
    (mask,) = [one.mask for one in built.truths if one.record == record_id]
    return mask


def film(root: Path, record_id: str) -> Path:
    """Return the file of the whole mammogram of a record."""
    return root / records_of("cbis", root)[record_id].image


def change(path: Path, edit) -> None:
    """Store other pixels in a film."""
    data = pydicom.dcmread(path)
    pixels = edit(data.pixel_array.copy())
    data.PixelData = np.ascontiguousarray(pixels).tobytes()
    data.Rows, data.Columns = pixels.shape
    data.save_as(path)


def one_value(pixels: np.ndarray) -> np.ndarray:
    pixels[7, 3] += 1
    return pixels


def three_rows_less(pixels: np.ndarray) -> np.ndarray:
    return pixels[:-3]


def notes(done: Output, record_id: str) -> list[str]:
    return done.records[record_id]["notes"].split("; ")


# ------------------------------------------------------------------------------ recognised


def test_the_published_tables_list_71_films_twice():
    cases, _ = cbis._cases(cbis.shipped_tables(), False)
    twins = cbis._twins(case.record_id for case in cases)
    assert len(twins) == 2 * 71
    for name, twin in twins.items():
        assert twins[twin] == name
        assert {name[:4], twin[:4]} == {"Mass", "Calc"}
        assert name.split("_", 1)[1] == twin.split("_", 1)[1]
    parts = [{name.split("_")[0].split("-")[1] for name in pair} for pair in twins.items()]
    assert sum(len(one) == 2 for one in parts) == 2 * 29  # of them in Training and in Test


def test_another_side_view_patient_or_part_is_another_film():
    here = "Mass-Training_P_00001_LEFT_CC"
    others = [
        "Calc-Training_P_00001_RIGHT_CC",
        "Calc-Training_P_00001_LEFT_MLO",
        "Calc-Training_P_00002_LEFT_CC",
    ]
    assert cbis._twins([here, *others]) == {}
    twin = "Calc-Test_P_00001_LEFT_CC"
    assert cbis._twins([here, twin, *others]) == {here: twin, twin: here}


def test_each_copy_names_the_other_and_its_file(built):
    records = records_of("cbis", built.root)
    for name, twin in ((MASS, CALC), (CALC, MASS)):
        image = records[twin].image
        assert records[name].attributes == {"twin": twin, "twin_image": image}
        assert (built.root / image).is_file()
    assert (records[ALONE].attributes, records[ALONE].notes) == ({}, ())


def test_a_copy_whose_twin_is_not_in_the_source_is_doubted_and_not_compared(root, tmp_path):
    film(root, CALC).unlink()
    record = records_of("cbis", root)[MASS]
    assert (record.attributes, set(record.suspicious)) == ({}, {"calcification"})
    done = convert("cbis", root, tmp_path / "out")
    assert done.code == 0
    assert notes(done, MASS) == [f"the same film as {CALC}"]


# ------------------------------------------------------------------------------ confirmed by pixels


def test_equal_pixels_are_noted_in_both_copies_and_nowhere_else(built, tmp_path):
    done = convert("cbis", built.root, tmp_path / "out", *every_kind())
    assert (done.code, done.failed) == (0, {})
    assert notes(done, MASS) == [f"the same film as {CALC} (pixels equal)"]
    assert notes(done, CALC) == [f"the same film as {MASS} (pixels equal)"]
    assert "the same film" not in done.records[ALONE]["notes"]
    for name in (MASS, CALC):
        assert np.array_equal(done.mask(name), truth(built, name))
    attributes = json.loads(done.records[MASS]["attributes"])
    assert attributes["twin_image"] == done.records[CALC]["source_image"]


def test_one_other_value_is_told_with_the_number_of_values(root, tmp_path):
    change(film(root, CALC), one_value)
    done = convert("cbis", root, tmp_path / "out", *every_kind())
    assert done.code == 0
    count = done.mask(MASS).size
    for name, twin in ((MASS, CALC), (CALC, MASS)):
        (note,) = notes(done, name)
        assert note == f"the same film as {twin} (pixels differ: 1 of {count} values)"


def test_another_size_is_told_with_both_sizes(built, root, tmp_path):
    change(film(root, CALC), three_rows_less)
    done = convert("cbis", root, tmp_path / "out")
    rows, columns = truth(built, MASS).shape
    sizes = f"{rows} x {columns} here, {rows - 3} x {columns} there"
    assert notes(done, MASS) == [f"the same film as {CALC} (pixels differ: {sizes})"]


def test_a_twin_that_cannot_be_decoded_does_not_fail_the_sound_copy(built, root, tmp_path):
    path = film(root, CALC)
    path.write_bytes(path.read_bytes()[:-500])
    done = convert("cbis", root, tmp_path / "out")
    assert (done.code, done.failed) == (0, {})
    (note,) = notes(done, MASS)
    assert note.startswith(f"the same film as {CALC} (pixels not compared: ")
    assert np.array_equal(done.mask(MASS), truth(built, MASS))


def test_a_twin_that_changes_later_is_compared_again(root, tmp_path):
    convert("cbis", root, tmp_path / "out")
    change(film(root, CALC), one_value)
    done = convert("cbis", root, tmp_path / "out")
    assert "pixels differ: 1 of" in done.records[MASS]["notes"]


# ------------------------------------------------------------------------------ one patient


def test_a_copy_is_never_the_empty_background_of_the_other_kind(built, tmp_path):
    done = convert("cbis", built.root, tmp_path / "out", "--with-empty")
    assert CALC not in done.records
    assert "unmarked_positive" in done.left_out[CALC]


def test_verify_calls_the_two_copies_one_film(built, tmp_path, run):
    words = ("refactor", "cbis", built.root, "-o", tmp_path / "out", "-j", 1, *every_kind())
    assert run(*words)[0] == 0
    code, printed, _ = run("verify", tmp_path / "out", "--json", "--jobs", 1)
    found = [one for one in json.loads(printed)["findings"] if one["code"] == "same_film"]
    assert (code, [one["severity"] for one in found]) == (0, ["note"])
    assert MASS in str(found)
    assert CALC in str(found)


# ------------------------------------------------------------------------------ merged


def merge(root: Path, out: Path, *options: object) -> Output:
    return convert("cbis", root, out, "--merge-twins", *options)


def sources(done: Output, code: str) -> set[tuple[str, str]]:
    """Return record id and file of the left-out rows with a code."""
    rows = done.rows("left_out.csv")
    return {(row["record_id"], row["source"]) for row in rows if row["code"] == code}


def both(built: synth.Built) -> np.ndarray:
    return truth(built, MASS) | truth(built, CALC)


def test_one_pair_has_the_lesions_of_both_copies(built, tmp_path):
    done = merge(built.root, tmp_path / "out", "--masks", "lesion", *every_kind())
    assert (done.code, done.failed) == (0, {})
    assert set(done.records) == {MASS, ALONE}
    assert np.array_equal(done.mask(MASS), both(built))
    row = done.records[MASS]
    assert (row["n_lesions"], row["kinds"], row["pathology"]) == (
        "2",
        "calcification mass",
        "malignant",
    )
    lesions = {lesion: row["kind"] for (name, lesion), row in done.lesions.items() if name == MASS}
    assert lesions == {"1": "mass", "Calc-1": "calcification"}
    files = {path.name for path in (done.folder / "lesions" / MASS).iterdir()}
    assert files == {"1-mass.png", "Calc-1-calcification.png"}
    assert notes(done, MASS)[0] == f"the same film as {CALC} (pixels equal)"
    assert json.loads(row["attributes"])["merged"] == CALC


def test_everything_of_the_other_copy_is_accounted_for(built, tmp_path):
    single = convert("cbis", built.root, tmp_path / "single", *every_kind()).items()
    done = merge(built.root, tmp_path / "out", *every_kind())
    image = records_of("cbis", built.root)[CALC].image
    assert sources(done, "merged_twin") == {(CALC, image)}
    one_less = single["images"] | {
        "written": single["images"]["written"] - 1,
        "left_out": single["images"]["left_out"] + 1,
    }
    assert done.items() == single | {"images": one_less}  # rows, masks and files as ever


def test_by_kind_only_its_own_lesions_are_in_the_mask(built, tmp_path):
    mass = merge(built.root, tmp_path / "mass")
    assert set(mass.records) == {MASS, ALONE}
    assert np.array_equal(mass.mask(MASS), truth(built, MASS))
    assert mass.lesions[MASS, "Calc-1"]["in_mask"] == "0"
    calc = merge(built.root, tmp_path / "calc", "--kind", "calcification")
    assert set(calc.records) == {CALC}  # the copy of the chosen kind
    assert np.array_equal(calc.mask(CALC), truth(built, CALC))
    assert calc.lesions[CALC, "Mass-1"]["in_mask"] == "0"
    image = records_of("cbis", built.root)[MASS].image
    assert sources(calc, "merged_twin") == {(MASS, image)}


def in_tables(root: Path, old: str, new: str, *, table: str) -> None:
    path = root / table
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_ids_that_do_not_collide_stay_the_archives_own(root, tmp_path):
    table = "calc_case_description_train_set.csv"
    in_tables(root, "P_90007,2,LEFT,CC,1,", "P_90007,2,LEFT,CC,5,", table=table)
    record = records_of("cbis", root, merge_twins=True)[MASS]
    assert [lesion.lesion_id for lesion in record.lesions] == ["1", "5"]
    assert len(record.rows) == 2


def to_test_part(root: Path) -> str:
    """Move the copy among Calc to the test part; return its name."""
    train, test = (root / f"calc_case_description_{part}_set.csv" for part in ("train", "test"))
    lines = train.read_text().splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith("P_90007"))
    moved = "".join(lines[start:]).replace("Calc-Training", "Calc-Test")
    assert moved.count("P_90007") == 4  # the rest of the table is this one row
    train.write_text("".join(lines[:start]))
    test.write_text(test.read_text() + moved)
    return CALC.replace("Training", "Test")


def test_copies_of_different_parts_keep_the_part_of_the_kept_one_and_say_so(root, tmp_path):
    twin = to_test_part(root)
    done = merge(root, tmp_path / "out", *every_kind())
    assert done.code == 0
    assert done.records[MASS]["split"] == "train"
    assert f"published in train and, as {twin}, in test" in notes(done, MASS)
    same_part = records_of("cbis", root, merge_twins=True, kinds=frozenset(["calcification"]))
    assert same_part[twin].split == "test"


@pytest.mark.parametrize(
    ("edit", "words"),
    [(one_value, "pixels differ: 1 of"), (three_rows_less, "here, ")],
    ids=["values", "size"],
)
def test_films_that_differ_are_not_merged_but_fail_by_name(edit, words, root, tmp_path):
    change(film(root, CALC), edit)
    done = merge(root, tmp_path / "out", *every_kind())
    assert (done.code, done.failed) == (1, {MASS: "twin_differs"})
    assert set(done.records) == {ALONE}
    (row,) = [row for row in done.rows("problems.csv") if row["severity"] == "failed"]
    assert words in row["message"]
    assert CALC in row["message"]
    assert row["message"].endswith("(run without --merge-twins)")
    assert row["source"] == records_of("cbis", root)[CALC].image
    images = done.items()["images"]
    assert (images["written"], images["left_out"], images["failed"]) == (1, 0, 2)
    assert sources(done, "merged_twin") == set()


def test_a_twin_that_cannot_be_decoded_confirms_nothing(root, tmp_path):
    path = film(root, CALC)
    path.write_bytes(path.read_bytes()[:-500])
    done = merge(root, tmp_path / "out")
    assert (done.code, set(done.records)) == (1, {ALONE})
    assert done.failed == {MASS: "truncated"}


@pytest.mark.parametrize("lost", [MASS, CALC])
def test_a_copy_without_its_twin_stays_single(lost, root):
    film(root, lost).unlink()
    records = records_of("cbis", root, merge_twins=True)
    assert {MASS, CALC} <= set(records)
    assert [len(records[name].lesions) for name in (MASS, CALC)] == [1, 1]
    kept = MASS if lost == CALC else CALC
    assert records[kept].suspicious
    assert (records[lost].left_out, records[kept].left_out) == ("no_image", "")


def test_a_second_file_of_the_other_copy_is_compared_too(root, tmp_path):
    path = film(root, CALC)
    shutil.copyfile(path, path.with_name("9-9.dcm"))
    assert merge(root, tmp_path / "same").code == 0
    change(path.with_name("9-9.dcm"), one_value)
    done = merge(root, tmp_path / "other")
    assert done.failed == {MASS: "conflicting_images"}


def test_merged_films_are_not_doubted_as_background(built):
    records = records_of("cbis", built.root, merge_twins=True)
    assert (records[MASS].suspicious, CALC in records) == ({}, False)


# ------------------------------------------------------------------------------ the option


def test_the_option_is_part_of_the_identity_and_verify_repeats_it(built, tmp_path, run):
    out = tmp_path / "out"
    words = ("refactor", "cbis", built.root, "-o", out, "-j", 1, *every_kind())
    assert run(*words, "--merge-twins")[0] == 0
    document = json.loads((out / "cbis/dataset.json").read_text())
    assert document["options"]["merge_twins"] is True
    code, _, printed = run(*words)
    assert code == 2
    assert "--merge-twins: yes there, no now" in printed
    checked = run("verify", out, "--source", f"cbis={built.root}", "--json", "--jobs", 1)
    assert (checked[0], json.loads(checked[1])["findings"]) == (0, [])


def test_verify_finds_a_twin_that_differs_from_now_on(root, tmp_path, run):
    out = tmp_path / "out"
    words = ("refactor", "cbis", root, "-o", out, "-j", 1, "--merge-twins")
    assert run(*words)[0] == 0
    change(film(root, CALC), one_value)
    code, printed, _ = run("verify", out, "--source", f"cbis={root}", "--json", "--jobs", 1)
    codes = {one["code"] for one in json.loads(printed)["findings"]}
    assert (code, codes) == (1, {"source_fails"})
    assert "twin_differs" in printed


def test_a_dry_run_counts_the_film_once(built, tmp_path, run):
    words = ("refactor", "cbis", built.root, "-o", tmp_path / "out", "-j", 1, *every_kind())
    planned = [run(*words, "--dry-run", "--json", *more) for more in ((), ("--merge-twins",))]
    found = [json.loads(printed) for _, printed, _ in planned]
    assert [one["pairs"] for one in found] == [3, 2]
    assert found[1]["reasons"]["images"]["left_out"] == {"merged_twin": 1}
    assert not (tmp_path / "out").exists()


def test_a_folder_of_single_copies_is_merged_with_redo(built, tmp_path):
    convert("cbis", built.root, tmp_path / "out", *every_kind())
    done = merge(built.root, tmp_path / "out", "--redo", *every_kind())
    assert set(done.records) == {MASS, ALONE}
    assert {path.stem for path in (done.folder / "images").iterdir()} == {MASS, ALONE}


@pytest.mark.parametrize("dataset", ["bcdr", "cdd", "csaw", "inbreast"])
def test_the_option_means_nothing_elsewhere(dataset, tmp_path, run):
    (tmp_path / "original").mkdir()
    code, _, printed = run(
        "refactor", dataset, tmp_path / "original", "-o", tmp_path / "out", "--merge-twins"
    )
    assert code == 2
    assert f"--merge-twins means nothing for {dataset}" in printed
