"""`bcseg select --manifest classic`: the hand-picked subsets of an older collection."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import defaultdict
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from archives import copy_of, finished, rows
from bcseg import pairs, png
from bcseg.adapters.cbis import shipped_tables
from bcseg.errors import UsageError
from bcseg.select import Selecting, Selection, select_pairs
from small_root import Root

WORDS = {"BCDR-D01": "bcdr", "BCDR-D02?": "bcdr", "INbreast": "inbreast", "CSAW-S": "csaw"}
WORDS |= {"CBIS-DDSM": "cbis", "CDD-CESM": "cdd"}


def shipped() -> dict[str, list[dict[str, str]]]:
    """Return the rows of the shipped list by dataset."""
    text = resources.files("bcseg.data").joinpath("classic.csv").read_text(encoding="utf-8")
    found = defaultdict(list)
    for row in csv.DictReader(text.splitlines()):
        found[WORDS[row["dataset"]]].append(row)
    return found


def record_id(dataset: str, row: dict[str, str]) -> str:
    """Return the id that the image has by the naming rules of DESIGN."""
    if dataset == "bcdr":
        _, patient, study, *_ = row["source_image_id"].split("_")
        return f"patient_{patient}_study_{study}_{row['source_image_id']}"
    return row["source_image_id"]


def classic(root: Path, to: Path, **how: object) -> Selection:
    return select_pairs(root, "classic", to, Selecting(**how))  # type: ignore[arg-type]


def taken(to: Path, dataset: str) -> set[str]:
    return {row["record_id"] for row in rows(to / dataset, pairs.RECORDS)}


def test_the_shipped_list_is_whole() -> None:
    counts = {dataset: len(found) for dataset, found in shipped().items()}
    assert counts == {"bcdr": 51, "cbis": 153, "cdd": 10, "csaw": 107, "inbreast": 64}
    names = [row["source_image_id"] for found in shipped().values() for row in found]
    assert len({*names}) == len(names)


@pytest.mark.parametrize("dataset", ["bcdr", "cdd", "inbreast"])
def test_every_listed_image_is_found_by_its_name(tmp_path: Path, dataset: str) -> None:
    root = Root(tmp_path, dataset)
    ids = {record_id(dataset, row) for row in shipped()[dataset]}
    for one in ids:
        root.record(one, {})
        root.record(f"{one}0", {})
    root.write(scored=False)
    result = classic(root.root, root.to)
    assert taken(root.to, dataset) == ids
    assert not [warning for warning in result.warnings if "classic" in warning]
    (recovered,) = result.recovered
    assert recovered.found == recovered.listed == len(ids)


def test_every_listed_image_of_cbis_is_in_its_real_tables(tmp_path: Path) -> None:
    root = Root(tmp_path, "cbis")
    lesions: defaultdict[str, list[str]] = defaultdict(list)
    for table in shipped_tables():
        for row in table.rows:
            films, *_ = row.raw("image_file_path").split("/")
            lesions[films].append(row.get("abnormality_id"))
    listed = {row["source_image_id"]: row["mask_file"] for row in shipped()["cbis"]}
    for film, ids in lesions.items():
        root.record(film, *({"lesion_id": one} for one in ids))
    root.write(scored=False, files_of={*listed})
    classic(root.root, root.to)
    assert taken(root.to, "cbis") == {*listed}
    assert len(listed) == 153
    # the collection's masks were whole too: one lesion where they have its number, else several
    for film, mask in listed.items():
        number = re.search(r"_MASK_(\d+)___PRE", mask)
        assert lesions[film] == [number[1]] if number else len(lesions[film]) > 1


def test_every_listed_image_of_cdd_is_in_its_real_table(real_data: Path) -> None:
    path = real_data / "cdd" / "Radiology_hand_drawn_segmentations_v2.csv"
    with path.open(newline="") as file:
        drawn = {row["#filename"].strip().removesuffix(".jpg") for row in csv.DictReader(file)}
    assert {row["source_image_id"] for row in shipped()["cdd"]} <= drawn


# ------------------------------------------------------------------------------ from raw archives


def renamed(folder: Path, names: dict[str, str]) -> None:
    """Give the images of a synthetic archive other ids, in file names and tables."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.suffix in (".csv", ".txt"):
            text = path.read_bytes()
            for old, new in names.items():
                text = text.replace(old.encode(), new.encode())
            path.write_bytes(text)
        elif path.suffix in (".xls", ".xlsx"):
            path.unlink()
        for old, new in names.items():
            if old in path.name and path.is_file():
                path.rename(path.with_name(path.name.replace(old, new)))
                break


RAW = [
    ("inbreast", {"53100101": "20586908", "53100205": "20587758"}),
    ("cdd", {"P1_L_DM_MLO": "P177_L_DM_MLO"}),
    ("bcdr", {}),
]


@pytest.mark.parametrize(("dataset", "names"), RAW, ids=lambda value: str(value)[:8])
def test_the_collection_comes_back_from_a_raw_archive(
    tmp_path: Path, dataset: str, names: dict[str, str], run
) -> None:
    source = copy_of(dataset, tmp_path / "original")
    renamed(source, names)
    data = tmp_path / "data"
    assert run("refactor", dataset, source, "-o", data, "-j", 1)[0] == 0
    code, out, _ = run("select", data, "--manifest", "classic", "-o", tmp_path / "kept")
    assert code == 0
    expected = {*names.values()} or {"patient_3_study_4_img_3_4_1_LCC"}
    assert taken(tmp_path / "kept", dataset) == expected
    assert f"{len(expected)} found here" in out
    assert run("verify", tmp_path / "kept")[0] == 0


@pytest.fixture(scope="module")
def csaw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 338 images, tiny; those numbered 2, 3 (test part) and 101, 103 have a tumour."""
    folder = tmp_path_factory.mktemp("csaw") / "CsawS"
    image = png.encode(np.arange(80, dtype=np.uint8).reshape(8, 10))
    mask = png.encode(np.eye(8, 10, dtype=np.uint8) * 255, mask=True)
    for number in range(1, 339):
        test = number <= 26
        part = folder / ("test_data/anonymized_dataset" if test else "anonymized_dataset")
        readers = [folder / f"test_data/annotator_{n}" for n in "123"] if test else [part]
        name = f"{number:03d}/{number:03d}_0"
        (part / name).parent.mkdir(parents=True)
        (part / f"{name}.png").write_bytes(image)
        for reader in readers:
            (reader / name).parent.mkdir(parents=True, exist_ok=True)
            word = "cancer" if number in (2, 3, 101, 103) else "skin"
            (reader / f"{name}_{word}.png").write_bytes(mask)
    return folder


def test_images_of_csaw_come_back_by_their_number(csaw: Path, tmp_path: Path, run) -> None:
    data = tmp_path / "data"
    assert run("refactor", "csaw", csaw, "-o", data, "-j", 1)[0] == 0
    numbers = {row["source_image_id"].rsplit("-", 1)[1] for row in shipped()["csaw"]}
    assert numbers & {"2", "3", "101", "103"} == {"2", "101"}
    result = classic(data, tmp_path / "kept")
    assert taken(tmp_path / "kept", "csaw") == {"test_002_0", "train_101_0"}
    assert result.recovered[0].found == 2


def test_an_image_is_taken_with_all_its_annotators(csaw: Path, tmp_path: Path, run) -> None:
    data = tmp_path / "data"
    args = ("refactor", "csaw", csaw, "-o", data, "-j", 1, "--annotator", "all")
    assert run(*args)[0] == 0
    classic(data, tmp_path / "kept")
    found = {f"test_002_0_a{reader}" for reader in "123"}
    assert taken(tmp_path / "kept", "csaw") == {*found, "train_101_0_a1"}


def test_an_incomplete_csaw_is_left_out_with_a_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(finished("csaw"), data / "csaw")
    shutil.copytree(finished("bcdr"), data / "bcdr")
    result = classic(data, tmp_path / "kept")
    assert [one.taken for one in result.datasets] == [1, 0]
    sentence = next(note for note in result.notes if "csaw" in note)
    assert "left out, 107 rows" in sentence
    assert "338" in sentence
    with pytest.raises(UsageError, match="csaw is left out"):
        classic(data / "csaw", tmp_path / "none")


# ------------------------------------------------------------------------------ what is told


def test_absent_datasets_rows_and_completeness_are_told(tmp_path: Path, run) -> None:
    data = tmp_path / "data"
    shutil.copytree(finished("bcdr"), data / "bcdr")
    code, out, err = run("select", data, "-m", "classic", "-o", tmp_path / "kept")
    assert code == 0
    assert "51 listed (of the 72 that the collection had), 1 found here" in out
    assert "note: classic: cbis, cdd, csaw, inbreast are not in this root: 334 rows skipped" in err
    assert "warning: classic: 50 rows of bcdr cannot be taken:" in err
    assert "and 45 more" in err
    _, out, _ = run("select", data, "-m", "classic", "-o", tmp_path / "kept", "--json")
    told = json.loads(out)["classic"]
    assert told == [{"dataset": "bcdr", "had": 72, "listed": 51, "found": 1}]
    with (tmp_path / "kept/selection.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 51
    assert sum(row["taken"] == "1" for row in table) == 1


def test_what_refactor_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    root = Root(tmp_path, "inbreast")
    root.record("20586908", {})
    root.write(scored=False)
    row = {"dataset": "inbreast", "record_id": "20586960", "severity": "left_out"}
    row |= {"code": "no_lesion", "message": "no lesion is marked", "source": "x.dcm"}
    path = root.folder / pairs.LEFT_OUT
    path.write_bytes(pairs.table_bytes(pairs.LEFT_OUT, [row]))
    warnings = "\n".join(classic(root.root, root.to).warnings)
    assert "20586960 was left out: no lesion is marked [no_lesion]" in warnings


def test_a_film_set_is_not_taken_for_a_digital_one(tmp_path: Path) -> None:
    """Patients of BCDR's sets F01 and D01 with the same number are different people."""
    root = Root(tmp_path, "bcdr")
    row = shipped()["bcdr"][0]
    _, patient, study, *_ = row["source_image_id"].split("_")
    source = f"BCDR-F01_dataset/patient_{patient}/study_{study}/{row['source_image_id']}.tif"
    root.record(f"F01_{record_id('bcdr', row)}", {}, source_image=source)
    root.record(record_id("bcdr", shipped()["bcdr"][1]), {})
    root.write(scored=False)
    classic(root.root, root.to)
    assert taken(root.to, "bcdr") == {record_id("bcdr", shipped()["bcdr"][1])}


def test_a_dataset_that_the_list_does_not_know(tmp_path: Path) -> None:
    root = Root(tmp_path, "mine")
    root.record("a", {})
    root.write(scored=False)
    with pytest.raises(UsageError, match="the list has nothing of mine"):
        classic(root.root, root.to)


def test_it_goes_together_with_the_criteria(tmp_path: Path) -> None:
    root = Root(tmp_path, "inbreast")
    ids = [row["source_image_id"] for row in shipped()["inbreast"][:4]]
    for number, one in enumerate(ids):
        root.record(one, {"precision_rank": f"0.{number}"}, group="inbreast:p", density="2")
    root.record("1", {"precision_rank": "0.9"}, group="inbreast:q", density="2")
    root.write()
    classic(root.root, root.to, where="precision_rank < 0.25", top=1)
    assert taken(root.to, "inbreast") == {ids[2]}


def test_a_file_of_that_name_is_named_by_a_path(tmp_path: Path, monkeypatch) -> None:
    root = Root(tmp_path, "inbreast")
    root.record("1", {})
    root.record(shipped()["inbreast"][0]["source_image_id"], {})
    root.write(scored=False)
    monkeypatch.chdir(tmp_path)
    Path("classic").write_text("1\n")
    select_pairs(root.root, "./classic", root.to, Selecting())
    assert taken(root.to, "inbreast") == {"1"}
    shutil.rmtree(root.to)
    result = classic(root.root, root.to)
    assert taken(root.to, "inbreast") != {"1"}
    assert any("./classic" in note for note in result.notes)
