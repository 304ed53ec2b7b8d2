"""What archives say about themselves: the right reading wins, a planted error is listed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import tifffile

from bcseg import pairs, synth
from bcseg.errors import ArchiveError, UsageError
from bcseg.selfcheck import SelfCheck, self_check


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    top = tmp_path_factory.mktemp("selfcheck")
    for name in ("inbreast", "bcdr", "cdd"):
        synth.build(name, top / name, images=8, scale=0.2)
    return top


@pytest.fixture
def copy(archives, tmp_path):
    def one(name: str) -> Path:
        return shutil.copytree(archives / name, tmp_path / name)

    return one


def check(name: str, location: Path, jobs: int = 1) -> SelfCheck:
    return self_check(name, location, jobs=jobs)


def spread(result: SelfCheck, title: str):
    (one,) = (one for one in result.spreads if title in one.title)
    return one


def fit(result: SelfCheck, reading: str):
    (one,) = (one for one in result.fits if one.reading == reading)
    return one


def codes(result: SelfCheck) -> set[str]:
    return {row["code"] for row in result.findings}


# ------------------------------------------------------------------------------ INbreast


def test_the_right_origin_wins_and_areas_agree(archives):
    result = check("inbreast", archives / "inbreast")
    assert result.best == "corner"
    corner, centre = fit(result, "corner"), fit(result, "centre")
    assert corner.regions == centre.regions == corner.exact > 10
    assert corner.difference < 0.01 < centre.difference
    assert centre.exact < corner.exact / 2
    assert (corner.hits, corner.points) == (3, 3)
    assert fit(result, "corner, mirrored image").difference > 10 * centre.difference
    area = spread(result, "Area")
    assert area.count == corner.regions
    assert abs(area.median) < 0.01
    assert -0.05 < area.quartiles[0] <= area.median <= area.quartiles[1] < 0.05
    assert area.outer[0] <= area.quartiles[0]
    assert abs(area.worst[0][1]) >= abs(area.worst[1][1])
    assert abs(spread(result, "Total").median) < 1e-6
    assert result.findings == ()
    assert result.exit_code == 0


def shift_points(location: Path, by: float) -> None:
    """Write the contours as a program would that counts elsewhere."""

    def moved(match: re.Match[str]) -> str:
        return f"({float(match[1]) + by:.6f}, {float(match[2]) + by:.6f})"

    def moved_list(match: re.Match[str]) -> str:
        return re.sub(r"\(([-\d.]+), ([-\d.]+)\)", moved, match[0])

    for path in location.rglob("AllXML/*.xml"):
        text = path.read_text()
        changed = re.sub(r"<key>Point_px</key>.*?</array>", moved_list, text, flags=re.DOTALL)
        assert changed != text
        path.write_text(changed)


def test_an_archive_that_counts_centres_is_told_and_the_option_named(copy):
    location = copy("inbreast")
    shift_points(location, -0.5)
    result = check("inbreast", location)
    assert result.best == "centre"
    assert "--osirix-origin centre" in result.text()
    assert fit(result, "centre").hits == 3
    assert fit(result, "centre").difference < 0.01 < fit(result, "corner").difference


def set_stored(location: Path, record: str, key: str, value: float) -> None:
    """Change a number that the first region of a contour file stores."""
    (path,) = location.rglob(f"AllXML/{record}.xml")
    text, count = re.subn(
        rf"(<key>{key}</key>\s*<real>)[^<]*", rf"\g<1>{value}", path.read_text(), count=1
    )
    assert count == 1
    path.write_text(text)


def test_a_region_whose_area_is_off_is_listed_as_a_warning(copy):
    location = copy("inbreast")
    set_stored(location, "53100101", "Area", 9.0)
    result = check("inbreast", location)
    (row,) = result.findings
    assert (row["severity"], row["code"]) == ("warning", "stored_area_off")
    assert (row["record_id"], row["source"][-15:]) == ("53100101", "/53100101.xml#0")
    assert spread(result, "Area").worst[0][0].endswith("53100101.xml#0")
    assert result.exit_code == 0


def test_a_mirrored_image_is_listed(copy):
    location = copy("inbreast")
    (path,) = location.rglob("53100101_*.dcm")
    data = pydicom.dcmread(path)
    data.PixelData = np.ascontiguousarray(data.pixel_array[:, ::-1]).tobytes()
    data.save_as(path)
    result = check("inbreast", location)
    assert {(row["record_id"], row["code"]) for row in result.findings} == {
        ("53100101", "stored_grey_off")
    }
    assert result.exit_code == 1


def test_an_image_that_cannot_be_read_is_listed_and_the_rest_is_checked(copy):
    location = copy("inbreast")
    (path,) = location.rglob("53100205_*.dcm")
    path.write_bytes(path.read_bytes()[:-4000])
    result = check("inbreast", location)
    (row,) = result.findings
    assert (row["severity"], row["record_id"]) == ("failed", "53100205")
    assert result.best == "corner"


def test_without_stored_grey_values_nothing_is_proved(copy):
    location = copy("inbreast")
    for path in location.rglob("AllXML/*.xml"):
        path.write_text(path.read_text().replace("<key>Mean</key>", "<key>Average</key>"))
    result = check("inbreast", location)
    assert result.best == ""
    assert "no grey values" in result.text()
    assert spread(result, "Area").count > 10


def test_grey_values_of_other_images_prove_nothing(copy):
    location = copy("inbreast")
    for path in location.rglob("AllXML/*.xml"):
        text = re.sub(
            r"(<key>(Mean|Min|Max)</key>\s*<real>)[^<]*", r"\g<1>100000", path.read_text()
        )
        path.write_text(text)
    result = check("inbreast", location)
    assert result.best == ""
    assert codes(result) == {"stored_grey_off"}


def test_the_result_depends_neither_on_the_workers_nor_on_a_zip(archives, tmp_path):
    one = check("inbreast", archives / "inbreast")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", archives / "inbreast")
    two = check("inbreast", Path(packed), jobs=2)
    assert one.document() | {"source": ""} == two.document() | {"source": ""}


# ------------------------------------------------------------------------------ BCDR


def test_bcdr_areas_agree_and_grey_values_tell_where_outlines_count_from(archives):
    result = check("bcdr", archives / "bcdr")
    outline = spread(result, "outline")
    assert outline.count == 8
    assert max(map(abs, outline.outer)) < 0.002  # the table rounds to whole pixels
    assert abs(spread(result, "drawn").median) < 0.01
    assert result.best.startswith("counted from 0")
    assert "areas cannot tell" in result.text()
    assert result.findings == ()


def test_outlines_that_count_from_1_are_told(copy):
    location = copy("bcdr")
    for path in location.rglob("*.tif"):
        pixels = tifffile.imread(path)
        tifffile.imwrite(path, np.roll(pixels, (-1, -1), axis=(0, 1)))
    result = check("bcdr", location)
    assert result.best == "counted from 1"


def test_an_outline_whose_s_area_is_off_is_listed(copy):
    location = copy("bcdr")
    (path,) = location.rglob("bcdr_d01_features.csv")
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index("s_area")
    cells = lines[1].split(", ")
    cells[column] = str(float(cells[column]) * 1.3)
    path.write_text("\n".join([lines[0], ", ".join(cells), *lines[2:]]) + "\n")
    result = check("bcdr", location)
    (row,) = result.findings
    assert (row["code"], row["record_id"]) == (
        "stored_area_off",
        "patient_3_study_4_img_3_4_1_LCC",
    )
    assert "segmentation 10" in row["source"]


def test_bcdr_without_features_says_that_nothing_is_proved(copy):
    location = copy("bcdr")
    for path in location.rglob("*_features.csv"):
        path.unlink()
    result = check("bcdr", location)
    assert (result.spreads, result.best, result.exit_code) == ((), "", 0)
    assert "0 outlines" in result.text()


# ------------------------------------------------------------------------------ CDD-CESM


def test_cdd_files_have_the_size_that_the_table_gives(archives):
    result = check("cdd", archives / "cdd")
    assert spread(result, "file_size").outer == (0.0, 0.0)
    assert spread(result, "file_size").count >= 4
    assert result.exit_code == 0


def test_a_jpeg_that_was_written_anew_is_listed_until_the_baseline_has_it(copy, tmp_path):
    location = copy("cdd")
    (path,) = location.rglob("P1_L_CM_MLO.jpg")
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    result = check("cdd", location)
    (row,) = result.findings
    assert (row["severity"], row["code"]) == ("failed", "file_size_differs")
    assert row["record_id"] == "P1_L_CM_MLO"
    assert result.exit_code == 1
    (tmp_path / "known.csv").write_bytes(result.table())
    again = self_check("cdd", location, baseline=tmp_path / "known.csv")
    assert (again.exit_code, again.findings) == (0, result.findings)


# ------------------------------------------------------------------------------ all


@pytest.mark.parametrize("name", ["inbreast", "bcdr", "cdd"])
def test_the_document_is_json_and_the_list_has_the_columns_of_problems(archives, name):
    result = check(name, archives / name)
    document = result.document()
    assert json.loads(json.dumps(document)) == document
    assert document["dataset"] == name
    assert result.table().decode().splitlines()[0] == ",".join(pairs.PROBLEM_COLUMNS)
    assert "no record is off" in result.text()


def test_a_dataset_that_stores_nothing_of_the_sort_is_refused(tmp_path):
    with pytest.raises(UsageError, match="csaw"):
        check("csaw", tmp_path)


def test_another_archive_is_refused(archives):
    with pytest.raises(ArchiveError):
        check("inbreast", archives / "cdd")
