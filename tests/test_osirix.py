"""OsiriX exports: the two layouts, and what damaged files look like."""

from __future__ import annotations

import plistlib
import random
import re

import pytest

from bcseg.errors import RecordError
from bcseg.formats.osirix import OPEN_LINE, PENCIL, POINT, read_regions
from bcseg.limits import CONTOUR_BYTES

HEAD = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
"""


def roi(points=((1.5, 2.25), (9.0, 2.0), (5.0, 7.0)), **entries):
    """Return a region as OsiriX exports it; None takes an entry away."""
    entry = {
        "Area": 0.125,
        "Center": "(0.000000, 0.000000, 0.000000)",
        "Dev": 3.0,
        "IndexInImage": 0,
        "Max": 3911.0,
        "Mean": 1860.5,
        "Min": 12.0,
        "Name": "Mass",
        "NumberOfPoints": len(points),
        "Point_mm": ["(0.000000, 0.000000, 0.000000)"] * len(points),
        "Point_px": [f"({x:f}, {y:f})" for x, y in points],
        "Total": 130859016.0,
        "Type": PENCIL,
    } | entries
    return {key: value for key, value in entry.items() if value is not None}


def export(*rois, **image):
    document = {
        "Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": list(rois)} | image]
    }
    return plistlib.dumps(document, sort_keys=False)


def only(data):
    (region,) = read_regions(data, "20587080.xml")
    return region


def test_a_region_with_all_that_the_file_says():
    region = only(export(roi()))
    assert region.points == ((1.5, 2.25), (9.0, 2.0), (5.0, 7.0))
    assert (region.index, region.name, region.type) == (0, "Mass", PENCIL)
    assert (region.area_cm2, region.mean, region.minimum, region.maximum) == (
        0.125,
        1860.5,
        12.0,
        3911.0,
    )
    assert region.damage == ""


def test_regions_keep_the_order_and_the_number_of_the_file():
    regions = read_regions(export(roi(Name="Mass"), roi(Name=None), roi(Name=" ")), "x.xml")
    assert [(region.index, region.name) for region in regions] == [(0, "Mass"), (1, ""), (2, "")]


def test_regions_of_several_images_are_numbered_through():
    document = plistlib.loads(export(roi(Name="a"))), plistlib.loads(export(roi(Name="b")))
    both = plistlib.dumps({"Images": [image for one in document for image in one["Images"]]})
    assert [(r.index, r.name) for r in read_regions(both, "x.xml")] == [(0, "a"), (1, "b")]


def test_coordinates_are_those_of_the_file():
    """The reader shifts nothing: what counts corners is turned into centres by the adapter."""
    texts = ["(207.938004, 1937.719971)", "( -0.958252 ,2560.185547 )", "{1919.61, 0.991699}"]
    region = only(export(roi(points=[(0, 0)] * 3, Point_px=texts)))
    assert region.points == (
        (207.938004, 1937.719971),
        (-0.958252, 2560.185547),
        (1919.61, 0.991699),
    )


def test_the_export_of_a_single_region_has_braces_and_neither_name_nor_type():
    document = {
        "Comments": "",
        "DataSummary": {"AreaCM2": 2.1},
        "DataValues": [float(n) for n in range(5000)],
        "ROIPoints": ["{1919.61, 0.991699}", "{2560.23, 2e+03}"],
    }
    region = only(plistlib.dumps(document))
    assert region.points == ((1919.61, 0.991699), (2560.23, 2000.0))
    assert (region.name, region.type, region.area_cm2) == ("", None, 0.0)


def test_points_lines_and_ovals_keep_their_tool():
    tools = [POINT, OPEN_LINE, 9, 11, None]
    regions = read_regions(export(*(roi(Type=tool) for tool in tools)), "x.xml")
    assert [region.type for region in regions] == tools


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"Point_px": None}, "no points"),
        ({"Point_px": []}, "announces 3 points and holds 0"),
        ({"Point_px": "(1, 2)"}, "no points"),
        ({"NumberOfPoints": 4}, "announces 4 points and holds 3"),
        ({"Point_px": ["(1, 2)", "(3, 4)", "(5; 6)"]}, "is not a point"),
        ({"Point_px": ["(1, 2)", "(3, 4)", "(5.5.5, 6)"]}, "not a point"),
        ({"Point_px": ["(1, 2)", "(3, 4)", "(nan, 6)"]}, "not a point"),
        ({"Point_px": ["(1, 2)", "(3, 4)", "(1e999, 6)"]}, "not a point"),
        ({"Point_px": ["(1, 2)", "(3, 4)", 7]}, "not a point"),
        ({"Point_px": ["(1, 2)", "(3, 4)", "(1, 2, 3)"]}, "not a point"),
    ],
)
def test_a_damaged_region_says_why_and_spoils_no_other(entries, message):
    whole, broken = read_regions(export(roi(), roi(**entries)), "x.xml")
    assert whole.damage == ""
    assert len(whole.points) == 3
    assert broken.index == 1
    assert broken.points == ()
    assert broken.name == "Mass"
    assert re.search(message, broken.damage)


def test_a_region_that_is_no_dictionary_is_damaged():
    damaged = only(export("nonsense"))
    assert damaged.damage
    assert damaged.points == ()


def test_odd_values_of_optional_entries_do_not_matter():
    region = only(export(roi(Name=7, Type="15", Area="big", Mean=float("nan"), Max=None)))
    assert (region.name, region.type, region.area_cm2, region.mean, region.maximum) == (
        "",
        None,
        0.0,
        None,
        None,
    )
    assert len(region.points) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"\x00\x01\x02", "not a readable OsiriX export"),
        (b"<html></html>", "not a(n| readable) OsiriX export"),
        (HEAD + b"<plist version='1.0'><dict><key>Images</key>", "not a readable"),
        (HEAD + b"<plist version='1.0'><array/></plist>", "not an OsiriX export"),
        (HEAD + b"<plist version='1.0'><dict/></plist>", "neither `Images` nor `ROIPoints`"),
        (plistlib.dumps({"Images": [{"ImageIndex": 0}]}), "no list `ROIs`"),
        (plistlib.dumps({"Images": ["x"]}), "no list `ROIs`"),
        (export(roi(), NumberOfROIs=3), "announces 3 regions and holds 1"),
        (HEAD.replace(b"plist PUBLIC", b"plist [<!ENTITY a 'aaaa'>]") + b"<plist/>", "entity"),
    ],
)
def test_a_file_that_is_no_export_is_refused_by_name(data, message):
    with pytest.raises(RecordError, match=message) as caught:
        read_regions(data, "20587080.xml")
    assert caught.value.code == "unreadable_contour"
    assert caught.value.where.startswith("20587080.xml")


def test_an_absurdly_large_file_is_not_parsed():
    with pytest.raises(RecordError, match="too many") as caught:
        read_regions(b"<" * (CONTOUR_BYTES + 1), "x.xml")
    assert caught.value.code == "too_large"


def test_a_file_cut_off_or_with_wrong_bytes_never_crashes():
    whole = export(*(roi(Name=name) for name in ("Mass", "Calcification", "Cluster")))
    rng = random.Random(7)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
        try:
            regions = read_regions(bytes(data), "x.xml")
        except RecordError:
            refused += 1
        else:
            assert all(region.points or region.damage for region in regions)
    assert refused > 150
