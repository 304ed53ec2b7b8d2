"""Mini-MIAS: circles from the bottom, short rows, films without a place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bcseg import synth
from bcseg.record import Circle, Unreadable
from test_adapters import convert, index_of, records_of

HEAD = "REFNUM BG CLASS SEVERITY X Y RADIUS \n"


@pytest.fixture
def films(tmp_path):
    """Return a function that writes films and a table; it returns their folder."""

    def write(table: str, *numbers: int, side: int = 1024):
        root = tmp_path / "raw"
        (root / "all-mias").mkdir(parents=True)
        (root / "Info.txt").write_text(table)
        for number in numbers:
            pixels = np.full((side, side), number, np.uint8)
            (root / f"all-mias/mdb{number:03d}.pgm").write_bytes(
                f"P5\n{side} {side}\n255\n".encode() + pixels.tobytes()
            )
        return root

    return write


def test_y_counts_from_the_lowest_row(films, tmp_path):
    """y = 0 is the last row: the disc of radius 5 round (100, 30) lies near the lower border."""
    root = films(HEAD + "mdb001 G CIRC B 100 30 5\n", 1)
    assert records_of("mias", root)["mdb001"].lesions[0].shape == Circle(100, 993, 5)
    mask = convert("mias", root, tmp_path / "out").mask("mdb001")
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (988, 998, 95, 105)


def test_lines_that_name_no_film_are_no_rows(films):
    table = f"The MIAS list\n\n{HEAD}mdb001  G\tCIRC B 535 425 197\nmdb002 D NORM \n\n* notes\n"
    index = index_of("mias", films(table, 1, 2))
    assert index.tables == {"Info.txt": 2}
    assert index.failed == ()
    normal = {record.record_id: record for record in index.records}["mdb002"]
    assert (normal.pathology, normal.free_of, normal.lesions) == ("normal", ("*",), ())


@pytest.mark.parametrize("end", ["*NOTE 3*", "", "*NOTE 3"])
def test_rows_without_a_place(films, end, tmp_path):
    """Alone they are no lesion, and no proof of health; beside a lesion of their kind they fail."""
    table = (
        f"mdb001 D CALC M {end}\n"
        f"mdb002 D CIRC M 500 500 20\nmdb002 D CALC M {end}\n"
        f"mdb003 D CIRC M 500 500 20\nmdb003 D SPIC M {end}\n"
    )
    root = films(table, 1, 2, 3)
    alone, other, same = records_of("mias", root).values()
    assert alone.lesions == ()
    assert set(alone.suspicious) == {"cluster", "*"}
    assert [one.kind for one in other.lesions] == ["mass"]
    assert set(other.suspicious) == {"cluster"}
    assert [type(one.shape) for one in same.lesions] == [Circle, Unreadable]
    done = convert("mias", root, tmp_path / "out", "--with-empty")
    assert done.failed == {"mdb003": "no_coordinates"}
    assert list(done.records) == ["mdb002"]
    assert done.left_out == {"mdb001": {"unmarked_positive"}}


def test_several_rows_of_a_film(films):
    table = "mdb005 F CIRC B 477 133 30\nmdb005 F CIRC M 500 168 26\n"
    (record,) = index_of("mias", films(table, 5)).records
    assert [one.lesion_id for one in record.lesions] == ["1", "2"]
    assert [one.pathology for one in record.lesions] == ["benign", "malignant"]
    assert record.pathology == "malignant"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("CIRC", "mass"),
        ("SPIC", "mass"),
        ("MISC", "mass"),
        ("CALC", "cluster"),
        ("ARCH", "distortion"),
        ("ASYM", "asymmetry"),
    ],
)
def test_kinds(films, word, kind):
    (record,) = index_of("mias", films(f"mdb001 G {word} B 500 500 9\n", 1)).records
    assert [(one.kind, one.label) for one in record.lesions] == [(kind, word)]


def test_a_resized_film_fails_by_name(films, tmp_path):
    done = convert("mias", films("mdb001 G CIRC B 50 50 9\n", 1, side=512), tmp_path / "out")
    assert (done.code, done.failed) == (1, {"mdb001": "image_size"})


def test_patients_sides_and_words(films):
    table = "mdb001 G NORM\nmdb002 F NORM\nmdb003 D NORM\n"
    one, two, three = index_of("mias", films(table, 1, 2, 3)).records
    assert one.group == two.group == "mias:001-002" != three.group
    assert [record.laterality for record in (one, two, three)] == ["R", "L", "R"]
    assert [record.density for record in (one, two, three)] == [
        "fatty-glandular",
        "fatty",
        "dense-glandular",
    ]
    assert {(r.view, r.film, r.pixel_spacing_mm) for r in (one, two, three)} == {("MLO", True, 0.2)}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("mdb001 G CIRC B 535 42x 30", "unreadable_contour"),
        ("mdb001 G CIRC B 535 425", "unreadable_contour"),
        ("mdb001 G CIRC B 535 425 -3", "unreadable_contour"),
        ("mdb001 G CIRC B nan 425 3", "unreadable_contour"),
        ("mdb001 G WHAT B 535 425 30", "unreadable_row"),
        ("mdb001 G CIRC X 535 425 30", "unreadable_row"),
        ("mdb001", "unreadable_row"),
    ],
)
def test_damaged_rows_fail_their_film(films, row, code, tmp_path):
    done = convert("mias", films(f"{row}\nmdb002 G CIRC B 500 500 9\n", 1, 2), tmp_path / "out")
    assert done.failed == {"mdb001": code}
    assert list(done.records) == ["mdb002"]


def test_the_circle_lies_on_the_lesion_that_was_drawn(tmp_path):
    """The films of the synthetic archive are brighter inside their circles than beside."""
    built = synth.build("mias", tmp_path / "raw", scale=0.2)
    for truth in built.truths:
        (x, y), (radius, _) = truth.points
        film = cv2.imread(str(built.root / f"all-mias/{truth.record}.pgm"), cv2.IMREAD_UNCHANGED)
        down, across = np.mgrid[:1024, :1024]
        distance = np.hypot(across - x, down - (1023 - y))
        inside = film[distance < 0.5 * radius].mean()
        ring = film[(distance > radius) & (distance < 1.4 * radius) & (film > 10)].mean()
        assert inside > ring + 15, truth
