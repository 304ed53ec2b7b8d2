"""DDSM: .ics files, chain codes, lossless JPEG."""

from __future__ import annotations

import numpy as np
import pytest

from bcseg import synth
from bcseg.errors import RecordError
from bcseg.formats.images import decode
from bcseg.formats.overlay import read_case, read_overlay
from bcseg.limits import CONTOUR_BYTES, Limits
from bcseg.record import Polygon, Unreadable
from bcseg.synth.ljpeg import encode
from test_adapters import archive, convert, copy_of, index_of, lesions_of, records_of, replace_in

ICS = """ics_version 1.0
filename B-3027-1
DATE_OF_STUDY 28 4 1995
PATIENT_AGE 65
FILM
FILM_TYPE REGULAR
DENSITY 2
DATE_DIGITIZED 23 7 1997
DIGITIZER LUMISYS LASER
SEQUENCE
LEFT_CC LINES 4720 PIXELS_PER_LINE 3128 BITS_PER_PIXEL 12 RESOLUTION 50 OVERLAY
RIGHT_MLO LINES 4720 PIXELS_PER_LINE 3120 BITS_PER_PIXEL 12 RESOLUTION 43.5 NON_OVERLAY \r
"""
OVERLAY = """TOTAL_ABNORMALITIES 1
ABNORMALITY 1
LESION_TYPE CALCIFICATION TYPE FINE_LINEAR_BRANCHING DISTRIBUTION LINEAR
LESION_TYPE MASS SHAPE ARCHITECTURAL_DISTORTION MARGINS N/A
ASSESSMENT 4
SUBTLETY 5
PATHOLOGY MALIGNANT
TOTAL_OUTLINES 3
BOUNDARY
10 20 2 2 2 4 4 6 6 6 0 #
\tCORE
11 21 2 2 4 6 6 #
"""


# ------------------------------------------------------------------------------ the formats


def test_films_of_a_case():
    case = read_case(ICS.encode(), "B-3027-1.ics")
    left, right = case.films
    assert (left.film, left.size, left.bits) == ("LEFT_CC", (4720, 3128), 12)
    assert (left.spacing_mm, left.overlay) == (0.05, True)
    assert (right.film, right.spacing_mm, right.overlay) == ("RIGHT_MLO", 0.0435, False)
    assert (case.words["PATIENT_AGE"], case.words["DIGITIZER"]) == ("65", "LUMISYS LASER")
    selected = ICS.replace("SEQUENCE", "SELECTED").replace(" RESOLUTION 50", "")
    assert read_case(selected.encode(), "").films[0].spacing_mm is None


def test_a_case_without_films_cannot_be_read():
    with pytest.raises(RecordError, match="no line about a film"):
        read_case(b"ics_version 1.0\n", "A-0001-1.ics")


def test_the_eight_directions():
    """Column and row, then 0 up, with the clock: out in every direction and back again."""
    for step, (dx, dy) in enumerate(
        [(0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1)]
    ):
        text = OVERLAY.replace("10 20 2 2 2 4 4 6 6 6 0 #", f"10 20 {step} {step} #")
        (one,) = read_overlay(text.encode(), "")
        assert one.boundary == ((10, 20), (10 + dx, 20 + dy), (10 + 2 * dx, 20 + 2 * dy))


def test_an_abnormality():
    (one,) = read_overlay(OVERLAY.encode(), "")
    assert one.boundary[0] == (10, 20)
    assert len(one.boundary) == 10
    assert (one.closed, one.cores, one.damage) == (True, 1, "")
    assert [words.split()[0] for words in one.types] == ["CALCIFICATION", "MASS"]
    assert (one.fields["ASSESSMENT"], one.fields["PATHOLOGY"]) == ("4", "MALIGNANT")


def test_a_chain_of_several_lines_and_of_windows():
    text = OVERLAY.replace("10 20 2 2 2 4 4", "10 20 2 2 2\n4 4").replace("\n", "\r\n")
    assert (
        read_overlay(text.encode(), "")[0].boundary
        == read_overlay(OVERLAY.encode(), "")[0].boundary
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("0 #\n\tCORE", "0\n\tCORE", "cut off"),
        ("10 20 2", "10 20 9", "above 7"),
        ("10 20 2", "10 20 -2", "damaged"),
        ("10 20 2 2 2 4 4 6 6 6 0 #", "10 #", "damaged"),
        ("BOUNDARY", "BORDER", "no boundary"),
        ("10 20 2", "10 " + "9" * 5000 + " 2", "damaged"),
    ],
)
def test_damaged_outlines(old, new, why):
    (one,) = read_overlay(OVERLAY.replace(old, new).encode(), "")
    assert why in one.damage
    assert one.boundary == ()


def test_limits():
    (one,) = read_overlay(OVERLAY.encode(), "", Limits(points=10))
    assert "the limit is 10" in one.damage
    for read in (read_overlay, read_case):
        with pytest.raises(RecordError) as error:
            read(b" " * (CONTOUR_BYTES + 1), "")
        assert error.value.code == "too_large"


def test_fewer_abnormalities_than_announced():
    for text in (OVERLAY.replace("IES 1", "IES 2"), "TOTAL_ABNORMALITIES 1\n", ""):
        with pytest.raises(RecordError) as error:
            read_overlay(text.encode(), "x.OVERLAY")
        assert error.value.code == "unreadable_contour"


# ------------------------------------------------------------------------------ the images


@pytest.mark.parametrize(("bits", "shape"), [(12, (61, 47)), (16, (300, 33)), (8, (5, 7))])
def test_lossless_jpeg_comes_back(bits, shape):
    rng = np.random.default_rng(bits)
    top = (1 << bits) - 1
    for pixels in (rng.integers(0, top, shape), np.full(shape, top), np.indices(shape).sum(0)):
        stored = pixels.astype(np.uint16)
        image = decode(encode(stored, bits), "x.LJPEG")
        assert np.array_equal(image.pixels, stored)
        assert (image.bits_stored, image.monochrome1) == (bits, False)


@pytest.mark.parametrize("predictor", [2, 3, 6, 7])
def test_predictors_on_which_decoders_disagree_are_refused(predictor):
    data = encode(np.full((8, 8), 5, np.uint16), 12)
    place = data.index(b"\xff\xda") + 7
    assert data[place] == 1
    with pytest.raises(RecordError) as error:
        decode(data[:place] + bytes([predictor]) + data[place + 1 :], "x.LJPEG")
    assert error.value.code == "unsupported_pixels"


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.98])
def test_a_cut_off_film_is_refused(keep):
    data = encode(np.random.default_rng(0).integers(0, 4095, (90, 70)).astype(np.uint16), 12)
    with pytest.raises(RecordError) as error:
        decode(data[: int(keep * len(data))], "x.LJPEG")
    assert error.value.code == "truncated"


# ------------------------------------------------------------------------------ the archive


@pytest.fixture(scope="module")
def quirky(tmp_path_factory):
    """An archive with every irregularity, and its pairs."""
    top = tmp_path_factory.mktemp("ddsm")
    built = synth.build("ddsm", top / "raw", scale=0.1, quirks=True)
    return built, convert("ddsm", built.root, top / "out")


def test_kinds(tmp_path_factory):
    root = archive(tmp_path_factory, "ddsm").root
    records = records_of("ddsm", root)
    both = lesions_of("ddsm", root, records["B_9002_1_LEFT_MLO"])["1"]
    assert (both.kind, both.label) == ("mass", "CALCIFICATION, MASS")
    assert both.attributes["lesion_type"].count(";") == 1
    two = lesions_of("ddsm", root, records["B_9002_1_LEFT_CC"])
    assert [(one.kind, one.pathology) for one in two.values()] == [
        ("mass", "benign"),
        ("calcification", "benign"),
    ]


def test_words_of_the_case(tmp_path_factory):
    records = records_of("ddsm", archive(tmp_path_factory, "ddsm").root)
    one = records["A_9001_1_LEFT_MLO"]
    assert (one.patient_id, one.group) == ("A_9001", "ddsm:A_9001")
    assert (one.laterality, one.view, one.film) == ("L", "MLO", True)
    assert (one.age, one.density, one.pixel_spacing_mm) == ("61", "3", 0.042)
    assert one.attributes == {"digitizer": "DBA 21"}
    assert records["B_9002_1_RIGHT_MLO"].pixel_spacing_mm == 0.05
    assert records["B_9002_1_RIGHT_MLO"].free_of == ("*",)


def test_cores_are_counted_and_not_drawn(tmp_path_factory, tmp_path):
    root = archive(tmp_path_factory, "ddsm").root
    done = convert("ddsm", root, tmp_path / "out")
    assert [key for key in done.lesions if key[0] == "B_9002_1_LEFT_MLO"] == [
        ("B_9002_1_LEFT_MLO", "1")
    ]
    lesions = lesions_of("ddsm", root, records_of("ddsm", root)["B_9002_1_LEFT_MLO"])
    assert lesions["1"].attributes["cores"] == "2"
    assert "outlines_announced" not in lesions["1"].attributes


def test_wrong_number_of_outlines(quirky):
    built, done = quirky
    record = records_of("ddsm", built.root)["C_9011_1_LEFT_CC"]
    assert lesions_of("ddsm", built.root, record)["1"].attributes["outlines_announced"] == "3"
    assert record.record_id in done.records


def test_exchanged_sides_are_put_right(quirky, tmp_path):
    built, done = quirky
    name = "C_9011_1_RIGHT_CC"
    stored = decode((built.root / records_of("ddsm", built.root)[name].image).read_bytes(), name)
    assert stored.size == (302, 470)
    assert np.array_equal(done.image(name), stored.pixels.reshape(470, 302))
    rows = done.rows("problems.csv")
    assert [row["record_id"] for row in rows if row["code"] == "sides_exchanged"] == [name]


def test_a_resized_film_fails_by_name(quirky):
    _, done = quirky
    assert done.failed["A_9012_1_RIGHT_CC"] == "image_size"
    assert done.failed["C_9011_1_LEFT_MLO"] == "unreadable_contour"


def test_an_outline_beyond_the_image_is_clipped(quirky):
    _, done = quirky
    clipped = [r["record_id"] for r in done.rows("problems.csv") if r["code"] == "lesion_clipped"]
    assert clipped == ["A_9012_1_RIGHT_MLO"]


def test_unknown_age_and_density(quirky):
    built, _ = quirky
    record = records_of("ddsm", built.root)["C_9011_1_LEFT_CC"]
    assert (record.age, record.density) == ("", "")


def test_an_overlay_that_is_announced_and_missing(quirky, tmp_path):
    built, done = quirky
    name = "C_9011_1_RIGHT_MLO"
    assert records_of("ddsm", built.root)[name].suspicious == {
        "*": "the .ics file announces an overlay"
    }
    rows = done.rows("problems.csv")
    assert name in {row["record_id"] for row in rows if row["code"] == "unmarked_positive"}


def test_unpacked_films_and_overviews_are_not_read(quirky):
    built, done = quirky
    left = [row["source"] for row in done.rows("left_out.csv") if row["code"] == "image_variant"]
    assert any(name.endswith(".COMB.16_PGM") for name in left)
    index = index_of("ddsm", built.root)
    others = [name for record in index.records for name, _ in record.others]
    assert len(others) == 4
    assert all(name.endswith(".LJPEG.1") for name in others)


def test_the_same_overlay_twice_counts_once_and_another_one_fails(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "ddsm", tmp_path / "copy")
    (one,) = root.rglob("A_9001_1.LEFT_CC.OVERLAY")
    (root / "again").mkdir()
    copy = root / "again" / one.name
    copy.write_bytes(one.read_bytes())
    (left,) = [one for one in index_of("ddsm", root).left_out if one.code == "duplicate_contour"]
    assert left.record_id == "A_9001_1_LEFT_CC"
    replace_in(copy, "ASSESSMENT 4", "ASSESSMENT 5")
    done = convert("ddsm", root, tmp_path / "out")
    assert done.failed == {"A_9001_1_LEFT_CC": "duplicate_lesion_id"}


def test_without_ics_the_outlines_are_drawn_and_nothing_is_called_free(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "ddsm", tmp_path / "copy")
    for path in root.rglob("*.ics"):
        path.unlink()
    done = convert("ddsm", root, tmp_path / "out", "--with-empty")
    assert len(done.records) == 5  # one without a mask: its overlay lists calcifications only
    assert {row["pixel_spacing_mm"] for row in done.records.values()} == {""}
    assert done.left_out["A_9001_1_RIGHT_CC"] == {"not_called_free"}


def test_a_damaged_ics_file_is_named(tmp_path_factory, tmp_path):
    root = copy_of(tmp_path_factory, "ddsm", tmp_path / "copy")
    (path,) = root.rglob("A-9001-1.ics")
    path.write_bytes(b"\n")
    (failed,) = index_of("ddsm", root).failed
    assert (failed.code, failed.items) == ("unreadable_table", (path.relative_to(root).as_posix(),))
    record = records_of("ddsm", root)["A_9001_1_LEFT_CC"]
    lesion = lesions_of("ddsm", root, record)["1"]
    assert isinstance(lesion.shape, Polygon)
    assert not isinstance(lesion.shape, Unreadable)
