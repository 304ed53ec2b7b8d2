"""Hostile input: an error by name, no traceback, within 1 GB; the sound records are written."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hostile
from archives import codes, content, copy_of, finished, rows
from bcseg.cells import is_plain_id, plain_cell, safe_cell
from bcseg.errors import ArchiveError, RecordError
from bcseg.formats.dicom import decode_dicom, read_header
from bcseg.formats.identity import identifiable_tags
from bcseg.formats.images import decode, image_size
from bcseg.formats.osirix import read_regions
from bcseg.formats.tables import read_csv, read_xls, read_xlsx
from bcseg.formats.via import read_shape
from bcseg.limits import CONTOUR_BYTES, Limits
from bcseg.raster import refuse_too_much
from bcseg.record import Polygon
from bcseg.source import FolderSource, ZipSource, open_source, read
from bcseg.synth.documents import old_workbook, workbook
from hostile import GIGABYTE, command

pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs POSIX resource limits")

SQUARE = '{"name":"polygon","all_points_x":[10,60,60,10],"all_points_y":[40,40,90,90]}'


def nothing_else(folder: Path, *known: str) -> bool:
    return {path.name for path in folder.iterdir()} == set(known)


def failures(folder: Path) -> dict[str, str]:
    """Return the code of each failed record or file."""
    table = rows(folder, "problems.csv")
    return {r["record_id"] or r["source"]: r["code"] for r in table if r["severity"] == "failed"}


# ------------------------------------------------------------------------------ whole archives

IMAGES = {
    "png": (hostile.png(60_000, 60_000), "too_large"),
    "png of 8 bytes a pixel": (hostile.png(9_000, 9_000, 16, 6), "too_large"),
    "jpeg": (hostile.claims_jpeg(60_000, 60_000), "too_large"),
    "jpeg with two frames": (hostile.claims_jpeg(60_000, 60_000, at=1), "unreadable"),
    "jpeg of 5,000 scans": (hostile.endless_scans(), "unreadable"),
    "tiff": (hostile.claims_tiff(60_000, 60_000), "too_large"),
    "tiff of many pages": (hostile.many_tiff_pages(200_000), "multi_frame"),
    "bmp": (hostile.claims_bmp(60_000, 60_000), "too_large"),
    "dicom": (hostile.dicom(rows=60_000, columns=60_000), "too_large"),
    "dicom with a long length": (hostile.dicom(length=0xFFFFFFF0), None),
    "dicom without rows": (hostile.dicom(without=(0x10,)), "unreadable"),
    "dicom cut off": (hostile.dicom(bytes(99)), "truncated"),
    "dicom of a million elements": (
        hostile.dicom(more=hostile.element(0x29, 0x1001, b"LO", b"") * 1_000_000),
        "unreadable",
    ),
    "dicom of endless fragments": (
        hostile.dicom(
            hostile.ITEM + bytes(4) + (hostile.ITEM + bytes(4)) * 300_000 + hostile.LAST,
            syntax=b"1.2.840.10008.1.2.5",
            length=0xFFFFFFFF,
        ),
        "unreadable",
    ),
}
SHAPES = {
    "huge": json.dumps({"name": "polygon", "all_points_x": [1] * 150_000, "all_points_y": [1]}),
    "nan": '{"name":"circle","cx":NaN,"cy":1,"r":1}',
    "infinity": '{"name":"circle","cx":Infinity,"cy":1,"r":1}',
    "strings": '{"name":"circle","cx":"10","cy":"10","r":"5"}',
    "digits": '{"name":"circle","cx":1' + "0" * 5000 + ',"cy":1,"r":1}',
    "deep": '{"name":' + "[" * 200_000,
    "scribble": json.dumps(
        {
            "name": "polygon",
            "all_points_x": [n % 100 for n in range(9_000)],
            "all_points_y": [(n % 2) * 100_000 for n in range(9_000)],
        }
    ),
}


@pytest.fixture(scope="module")
def hostile_cdd(tmp_path_factory):
    """An archive of CDD-CESM with a record for each hostile image and shape, and odd names."""
    folder = tmp_path_factory.mktemp("hostile")
    source = copy_of("cdd", folder / "source")
    sound = next(source.rglob("P1_L_DM_MLO.jpg")).read_bytes()
    lines, expected = [], {}

    def add(number: int, data: bytes, shape: str, code: str | None, place: str = "hostile") -> None:
        name = f"P{number}_L_DM_CC.jpg"
        (source / place).mkdir(parents=True, exist_ok=True)
        (source / place / name).write_bytes(data)
        lines.append([name, len(data), "{}", 1, 0, shape, "{}"])
        if code:
            expected[f"P{number}_L_DM_CC"] = code

    for number, (data, code) in enumerate(IMAGES.values(), 200):
        add(number, data, SQUARE, code)
    for number, (name, shape) in enumerate(SHAPES.items(), 300):
        bad = "too_large" if name == "scribble" else "unreadable_contour"
        add(number, sound, shape, bad)
    add(400, sound, SQUARE, None, "=cmd|' C'!A0")
    add(401, sound, SQUARE, None, 'it\'s "quoted" 😀')
    add(402, sound, SQUARE, "unsafe_name")
    lines[-1][4] = '=HYPERLINK("http://x";"y")'
    hostile.sparse(source / "hostile" / "P403_L_DM_CC.jpg", 2 * GIGABYTE, sound)
    lines.append(["P403_L_DM_CC.jpg", 1, "{}", 1, 0, SQUARE, "{}"])
    expected["P403_L_DM_CC"] = "too_large"
    (source / "P404\nL.jpg").write_bytes(sound)
    (source / ("x" * 251 + ".jpg")).write_bytes(sound)
    (source / "out").symlink_to("/etc")
    table = next(source.rglob("Radiology_hand*.csv"))
    with table.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return source, expected


def test_every_hostile_record_fails_alone(hostile_cdd, tmp_path):
    source, expected = hostile_cdd
    ended = command("refactor", "cdd", source, "-o", tmp_path / "out", "-j", 1, folder=tmp_path)
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.peak < GIGABYTE
    folder = tmp_path / "out" / "cdd"
    found = failures(folder)
    assert {name: found.get(name) for name in expected} == expected
    assert "bug" not in found.values()
    assert nothing_else(tmp_path, "out")
    assert nothing_else(tmp_path / "out", "cdd", ".gitignore")
    written = {row["record_id"]: row for row in rows(folder, "records.csv")}
    assert {row["record_id"] for row in rows(finished("cdd"), "records.csv")} <= written.keys()
    assert {"P400_L_DM_CC", "P401_L_DM_CC"} <= written.keys()
    assert written["P400_L_DM_CC"]["source_image"] == "'=cmd|' C'!A0/P400_L_DM_CC.jpg"
    assert codes(folder, "problems.csv")["link_out_of_source"] == ["out"]

    asked = command(
        "why", "=cmd|' C'!A0/P400_L_DM_CC.jpg", tmp_path / "out", "--json", folder=tmp_path
    )
    assert json.loads(asked.out)["answers"][0]["record_id"] == "P400_L_DM_CC"


def test_inspect_reads_no_more_than_heads(hostile_cdd, tmp_path):
    source, _ = hostile_cdd
    ended = command("inspect", source, "--json", "-j", 1, folder=tmp_path)
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.peak < GIGABYTE
    assert json.loads(ended.out)["dataset"] == "cdd"
    assert nothing_else(tmp_path)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--max-members", 3), 2, "more than 3 files"),
        (("--max-pixels", 100), 1, "more than 100"),
        (("--max-points", 3), 1, "the limit is 3"),
    ],
)
def test_limits_are_options(run, tmp_path, options, code, words):
    source = copy_of("cdd", tmp_path / "source")
    arguments = ("refactor", "cdd", source, "-o", tmp_path / "out", "-j", 1, "-v")
    ended, _, err = run(*arguments, *options)
    assert ended == code
    assert words in err
    assert run(*arguments)[0] == 0  # limits are no part of a folder's identity
    assert content(tmp_path / "out" / "cdd") == content(finished("cdd"))


XMLS = {
    "laughs": (hostile.laughs(), "unreadable_contour"),
    "laughs in UTF-16": (hostile.laughs("utf-16"), "unreadable_contour"),
    "external": (hostile.external(), "unreadable_contour"),
    "no such encoding": (hostile.PLIST % (b"x-none", b"<dict/>"), "unreadable_contour"),
    "wrong encoding": (hostile.PLIST % (b"utf-8", b"<string>\xff\xfe</string>"), None),
    "deep": (hostile.PLIST % (b"utf-8", b"<array>" * 300_000), "unreadable_contour"),
    "points": (
        hostile.PLIST % (b"utf-8", hostile.region((n % 99, n % 88) for n in range(120_000))),
        "unreadable_contour",
    ),
}


def test_hostile_contours_fail_their_records(tmp_path):
    source = copy_of("inbreast", tmp_path / "source")
    image = next(source.rglob("*_MG_*.dcm"))
    contours = next(source.rglob("AllXML"))
    expected = {}
    for number, (data, code) in enumerate(XMLS.values(), 99_000_000):
        name = image.name.split("_", 1)[1]
        (image.parent / f"{number}_{name}").write_bytes(image.read_bytes())
        (contours / f"{number}.xml").write_bytes(data)
        expected[str(number)] = code or "unreadable_contour"
    (image.parent / f"99000100_{name}").write_bytes(image.read_bytes())
    hostile.sparse(contours / "99000100.xml", 100 << 20, b"<?xml version='1.0'?><plist><array>")
    expected["99000100"] = "too_large"
    ended = command("refactor", "inbreast", source, "-o", "out", "-j", 1, folder=tmp_path)
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.peak < GIGABYTE
    assert failures(tmp_path / "out" / "inbreast") == expected


def test_hostile_tables_fail_their_set_and_formulas_calculate_nothing(tmp_path):
    source = copy_of("bcdr", tmp_path / "source")
    sound = next(source.rglob("bcdr_d01_outlines.csv"))
    head = sound.read_bytes().splitlines(keepends=True)[0]
    bad = source / "BCDR-D02_dataset"
    bad.mkdir()
    image = bad / "patient_9" / "study_9" / "img_9_9_1_LCC.tif"
    image.parent.mkdir(parents=True)
    image.write_bytes(next(source.rglob("img_3_4_1_LCC.tif")).read_bytes())
    hostile.sparse(bad / "bcdr_d02_outlines.csv", 2 * GIGABYTE, head + b'"')
    facts = next(source.rglob("bcdr_d01_img.csv"))
    text = facts.read_bytes().replace(b"74, 1 ", b"=1+1, -0.5 ", 1)
    assert b"=1+1" in text
    facts.write_bytes(text)
    outlines = sound.read_bytes().replace(b", 74, 1", b", =1+1, -0.5")
    sound.write_bytes(outlines)
    ended = command("refactor", "bcdr", source, "-o", "out", "-j", 1, folder=tmp_path)
    assert "Traceback" not in ended.err
    assert ended.code == 1, ended.err
    assert ended.peak < GIGABYTE
    folder = tmp_path / "out" / "bcdr"
    assert failures(folder) == {"patient_9_study_9_img_9_9_1_LCC": "too_large"}
    written = rows(folder, "records.csv")
    assert ("'=1+1", "-0.5") in {(row["age"], row["density"]) for row in written}
    for name in ("records.csv", "lesions.csv", "problems.csv", "left_out.csv"):
        for row in rows(folder, name):
            assert not any(cell.startswith(("=", "@", "\t", "\r")) for cell in row.values())


def test_a_hostile_tar_writes_nothing_outside_and_unpacks_no_bomb(tmp_path):
    source = copy_of("cdd", tmp_path / "source")
    packed = tmp_path / "a.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=1) as tar:
        tar.add(source, "cdd")
        for name in ("../evil", "/tmp/bcseg-evil", "a/" * 500 + "deep", "y" * 300, "new\nline"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
    ended = command("refactor", "cdd", packed, "-o", "out", "-j", 1, folder=tmp_path)
    assert ended.code == 1, ended.err  # links were not followed
    assert "Traceback" not in ended.err
    assert not list(tmp_path.rglob("*evil*"))
    assert nothing_else(tmp_path, "source", "a.tar.gz", "out")
    reasons = codes(tmp_path / "out" / "cdd", "problems.csv")
    assert sorted(reasons["link_out_of_source"]) == ["hard", "link"]
    assert len(reasons["unsafe_name"]) == 5


# ------------------------------------------------------------------------------ packed sources


def bombs() -> dict[str, bytes]:
    member = tarfile.TarInfo("bomb")
    member.size = 400 << 20
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, 1 << 30
    endless = tarfile.TarInfo("skipped")
    endless.type, endless.size = tarfile.REGTYPE, 1 << 40
    negative = bytearray(tarfile.TarInfo("negative").tobuf(tarfile.GNU_FORMAT))
    negative[124:136] = b"\xff" * 10 + b"\xfe\x00"
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    return {
        "ratio": member.tobuf() + bytes(400 << 20),
        "header": pax.tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20),
        "skipped": endless.tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20),
        "negative": bytes(negative) * 3,
    }


@pytest.mark.parametrize("name", ["ratio", "header", "skipped", "negative"])
def test_a_tar_bomb_is_refused_and_leaves_nothing(tmp_path, name):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(bombs()[name], 1))
    with pytest.raises(ArchiveError) as caught:
        open_source(path, unpack_to=tmp_path / "out")
    assert "bomb" in str(caught.value) or "cannot be unpacked" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tar_of_odd_members(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a", "a/b", "A", "née", "sp ace", "e\udcff", "😀"):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = 1, 1e300
            tar.addfile(entry, io.BytesIO(b"?"))
    source = open_source(path, unpack_to=tmp_path / "out")
    assert source.names() == ("A", "a", "née", "sp ace", "😀")
    assert dict(source.refused) == {"a/b": "conflicting_members", "e\\udcff": "unsafe_name"}


def test_a_tar_of_too_many_members(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(6):
            tar.addfile(tarfile.TarInfo(str(number)), io.BytesIO())
    with pytest.raises(ArchiveError, match="more than 5 files"):
        open_source(path, unpack_to=tmp_path / "out", limits=Limits(members=5))
    assert len(open_source(path, limits=Limits(members=6)).names()) == 6


@pytest.mark.parametrize("lure", [b"", b"PK\x05\x06" + bytes(18)])
def test_a_zip_of_too_many_members_is_not_even_listed(tmp_path, lure):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(40):
            archive.writestr(str(number), b"")
        archive.comment = lure
    with pytest.raises(ArchiveError, match="more than 20 files"):
        ZipSource(path, Limits(members=20)).names()
    if not lure:
        assert len(ZipSource(path, Limits(members=60)).names()) == 40


def test_a_folder_of_too_many_files(tmp_path):
    for number in range(6):
        (tmp_path / str(number)).touch()
    with pytest.raises(ArchiveError, match="more than 5 files"):
        FolderSource(tmp_path, limits=Limits(members=5)).names()
    assert len(FolderSource(tmp_path, limits=Limits(members=6)).names()) == 6


def test_a_folder_far_too_deep_is_refused_by_name(tmp_path):
    (tmp_path / "/".join("d" * 200)).mkdir(parents=True)
    (tmp_path / "a").touch()
    source = FolderSource(tmp_path)
    assert source.names() == ("a",)
    ((_, reason),) = source.refused
    assert reason == "unsafe_name"


def test_a_link_to_an_impossible_name(tmp_path):
    (tmp_path / "a").symlink_to("x" * 300)
    assert FolderSource(tmp_path).refused == (("a", "broken_link"),)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_of_boundless_memory_is_refused_by_name(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad", bytes(1000), method)
        archive.writestr("good", b"1")
    source = ZipSource(path)
    assert source.names() == ("good",)
    assert source.refused == (("bad", "unsupported_packing"),)


def test_names_of_every_sort_in_a_zip(tmp_path):
    names = ["sp ace", "quo'te\"", "😀", "x" * 255, "case", "CASE", "=1+1"]
    path = tmp_path / "a.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for name in (*names, "new\nline", "../up", "a/" * 100 + "deep"):
            archive.writestr(name, name)
    source = ZipSource(path)
    assert source.names() == tuple(sorted(names))
    assert all(read(source, name) == name.encode() for name in names)
    assert {reason for _, reason in source.refused} == {"unsafe_name"}
    assert len(source.refused) == 3


def test_a_name_before_the_data_of_a_member_that_is_not_utf8(tmp_path):
    """The directory of the zip is sound: the member is listed, and cannot be read."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("é.png", b"1")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[30] = 0xFF  # the local header comes first, its name after 30 bytes
    (tmp_path / "a.zip").write_bytes(data)
    source = open_source(tmp_path / "a.zip")
    assert source.names() == ("é.png",)
    with pytest.raises(RecordError) as caught:
        read(source, "é.png")
    assert caught.value.code == "unreadable"


def test_a_name_that_is_not_utf8_in_a_zip(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("caf\u00e9.png", b"1")
    path.write_bytes(path.read_bytes().replace("caf\u00e9".encode(), b"caf\xff\xfe"))
    with pytest.raises(ArchiveError, match="cannot be opened"):
        ZipSource(path).names()


# ------------------------------------------------------------------------------ images


@pytest.mark.parametrize("name", IMAGES)
def test_a_hostile_image_is_refused_by_every_reader(name):
    data, code = IMAGES[name]
    for look in (lambda: decode(data, "x", max_pixels=100_000_000), lambda: image_size(data, "x")):
        try:
            look()
        except RecordError as error:
            assert str(error.args[0])
            assert error.where == "x"
    if code:
        with pytest.raises(RecordError) as caught:
            decode(data, "x", max_pixels=100_000_000)
        assert caught.value.code == code


def test_a_colour_jpeg_counts_by_what_a_decoder_holds():
    colour = np.zeros((48, 48, 3), np.uint8)
    data = hostile.claims_jpeg(9_990, 9_990, of=hostile.jpeg(colour))
    with pytest.raises(RecordError) as caught:
        decode(data, "x", max_pixels=100_000_000)
    assert caught.value.code == "too_large"
    assert decode(hostile.jpeg(colour), "x", max_pixels=48 * 48 * 2).size == (48, 48)


def test_boxes_by_the_thousand_are_counted_before_they_are_drawn():
    box = Polygon(((0, 0), (3000, 0), (3000, 4000), (0, 4000)))
    refuse_too_much([box] * 10, (4000, 3000), Limits())
    with pytest.raises(RecordError, match="pixels covered"):
        refuse_too_much([box] * 100, (4000, 3000), Limits())


SYNTAXES = [uid for uid in pydicom.uid.AllTransferSyntaxes if not uid.is_private]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_every_transfer_syntax_is_read_or_refused_by_name(syntax):
    plain = not syntax.is_compressed
    data = hostile.dicom(
        bytes(64 * 48 * 2) if plain else hostile.framed(b"junk" * 50),
        syntax=syntax.encode(),
        length=None if plain else 0xFFFFFFFF,
    )
    try:
        assert decode_dicom(data, "x").size == (64, 48)
    except RecordError as error:
        known = error.code in ("unreadable", "truncated", "no_pixels", "unsupported_depth")
        named = error.code == "unsupported_transfer_syntax" and syntax.name in str(error)
        assert known or named, str(error)


def test_bombs_inside_images_are_not_unpacked(tmp_path):
    """Run apart, because each would be 400 MB or more."""
    files = {
        "tiff.bin": hostile.tiff_with_strip(hostile.zeros(400 << 20)),
        "rle_runs.bin": hostile.rle_bomb("runs", (1 << 23) - 2),
        "rle_literals.bin": hostile.rle_bomb("literals", 60 << 20),
        "rle_nothing.bin": hostile.rle_bomb("nothing", 60 << 20),
        "deflated.bin": hostile.deflated_bomb(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import io, resource, sys; from pathlib import Path\n"
        "from bcseg.errors import RecordError\n"
        "from bcseg.formats.images import decode, image_size\n"
        "from bcseg.formats.identity import identifiable_tags\n"
        "import tifffile, imagecodecs, openjpeg\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in sys.argv[1:]:\n"
        "    data = Path(name).read_bytes()\n"
        "    for look in (decode, image_size):\n"
        "        try: look(data, name)\n"
        "        except RecordError as error: print(name, error.code)\n"
        "    identifiable_tags(io.BytesIO(data))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    pytest.importorskip("imagecodecs")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, tmp_path.glob("*.bin"))],
        capture_output=True,
        text=True,
        check=True,
    )
    *said, grown = done.stdout.splitlines()
    assert int(grown) < 200 << 10, done.stdout
    assert sum("rle_" in line for line in said) == 3


def test_a_tiff_of_two_widths_has_one_size():
    data = hostile.tiff_of_two_widths(7)
    assert image_size(data, "x") == decode(data, "x").size == (64, 48)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_size_of_a_tiff_is_read_from_its_directory(big, order):
    data = hostile.tiff(bigtiff=big, byteorder=order)
    assert image_size(data, "x") == (64, 48)
    for end in range(4, 40):
        try:
            image_size(data[:end], "x")
        except RecordError as error:
            assert error.code in ("unreadable", "truncated")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flipped_bits_of_a_dicom_never_escape(data):
    whole = bytearray(hostile.dicom())
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, 420))
        whole[place] ^= 1 << data.draw(st.integers(0, 7))
    for look in (read_header, decode_dicom):
        try:
            look(bytes(whole), "x")
        except RecordError as error:
            assert error.where == "x"
    assert isinstance(identifiable_tags(io.BytesIO(bytes(whole))), set)


# ------------------------------------------------------------------------------ tables and cells


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a,b\n" + b"," * (40 << 20), "too many for a table"),
        (b"a,b\n" + b"," * (20 << 20), "cells are too many"),
        (b"," * 5_000 + b"a\n", "columns are too many"),
        (b"a\n" + b"1\n" * 230_000, "cells are too many"),
        (b'a,b\n1,"' + b"x" * (17 << 20) + b'"\n', "field larger"),
    ],
)
def test_a_table_that_would_fill_the_memory(data, words):
    with pytest.raises(RecordError, match=words) as caught:
        read_csv(data, "t.csv")
    assert caught.value.code in ("too_large", "unreadable_table")


def test_nul_and_mixed_line_ends():
    table = read_csv(b"a,b\r\n1,2\n3,4\r5,6\r\n\n\x007,8\n", "t.csv")
    assert [row.raw("b") for row in table.rows] == ["2", "4", "6", "8"]
    assert table.rows[-1].raw("a") == "\x007"


def test_hostile_workbooks():
    book = workbook({"all": [["a"], ["1"]]})
    sheet = "xl/worksheets/sheet1.xml"
    head = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    far = (
        b'<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>'
    )
    for content_, code in (
        (head + far, "too_large"),
        (head + b"<a/>" * (4 << 20), "too_large"),
        (b"<!DOCTYPE x [<!ENTITY y 'z'>]>" + head, "unreadable_table"),
        (
            "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE x>".encode("utf-16"),
            "unreadable_table",
        ),
    ):
        with pytest.raises(RecordError) as caught:
            read_xlsx(hostile.workbook_with(sheet, content_, book), "b.xlsx", "all")
        assert caught.value.code == code


def test_an_old_workbook_cut_off_anywhere():
    """Found by fuzzing: xlrd's CompDocError is no XLRDError."""
    whole = old_workbook({"all": [["File Name"], ["20588334"]]})
    assert read_xls(whole, "b.xls").headers == ("file_name",)
    refused = set()
    for end in range(8, len(whole), 256):
        try:
            read_xls(whole[:end], "b.xls")
        except RecordError as error:
            refused.add((end, error.code))
    assert {code for _, code in refused} == {"unreadable_table"}
    assert len(refused) > 5


TEXTS = st.text(st.sampled_from("=+-@\t\r\n'0159.eE ab\"＝"), max_size=12)


@given(TEXTS)
def test_a_safe_cell_is_no_formula_and_gives_its_text_back(text):
    cell = safe_cell(text)
    assert plain_cell(cell) == text
    if cell[:1] in ("+", "-"):
        float(cell)  # a number is no formula
    assert cell[:1] not in ("=", "@", "\t", "\r", "\n", "＝")
    assert cell == text or cell == f"'{text}"


@pytest.mark.parametrize("text", ["-0.5", "+3", "-1e-9", "-.5", "12", "a=b", "'x", "", "{}"])
def test_numbers_and_plain_text_stay_as_they_are(text):
    assert safe_cell(text) == text


@pytest.mark.parametrize("text", ["=1+1", "+a", "-2+3+cmd|' /C calc'!A0", "@x", "-", "'=x", "＝1"])
def test_formulas_get_an_apostrophe(text):
    assert safe_cell(text) == f"'{text}"
    assert not is_plain_id(text)


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 201, "\x00"])
def test_what_is_no_id(text):
    assert not is_plain_id(text)
    assert is_plain_id("1.2 b-c")
    assert is_plain_id("-1")


# ------------------------------------------------------------------------------ contours


LEAF = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
JSON = LEAF | st.lists(LEAF | st.lists(LEAF, max_size=3), max_size=4)
JSON |= st.dictionaries(st.text(max_size=5), LEAF, max_size=3)
CELLS = st.fixed_dictionaries(
    {"name": st.sampled_from(["polygon", "polyline", "ellipse", "circle", "point", "rect"])},
    optional={
        key: JSON | st.floats() | st.lists(st.floats() | JSON, max_size=5)
        for key in [
            "cx",
            "cy",
            "r",
            "rx",
            "ry",
            "theta",
            "x",
            "y",
            "width",
            "height",
            "all_points_x",
            "all_points_y",
        ]
    },
)


@settings(max_examples=60, deadline=None)
@given(CELLS | JSON)
def test_any_json_is_a_shape_or_an_error_by_name(cell):
    try:
        read_shape(json.dumps(cell), "t.csv#1")
    except RecordError as error:
        assert (error.code, error.where) == ("unreadable_contour", "t.csv#1")


@pytest.mark.parametrize("name", XMLS)
def test_hostile_xml_is_refused(name):
    data, code = XMLS[name]
    try:
        regions = read_regions(data, "x.xml")
    except RecordError as error:
        assert error.code == (code or "unreadable_contour")
    else:
        assert all(region.damage for region in regions)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"utf-8", b"utf-16", b"latin-1", b"x", b"utf-7"]))
def test_any_bytes_are_regions_or_an_error_by_name(data, encoding):
    for document in (data, hostile.PLIST % (encoding, data)):
        try:
            read_regions(document, "x.xml")
        except RecordError as error:
            assert error.where.startswith("x.xml")
    assert len(data) < CONTOUR_BYTES
