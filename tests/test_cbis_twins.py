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
