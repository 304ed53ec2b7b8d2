"""Sources: folders and zip files, and what of them is not read."""

from __future__ import annotations

import io
import os
import pickle
import stat
import tarfile
import warnings
import zipfile
from copy import copy
from pathlib import Path

import pytest

from bcseg.errors import ArchiveError, RecordError, SourceGone
from bcseg.limits import Limits
from bcseg.source import (
    UNREAD,
    FolderSource,
    Source,
    ZipSource,
    open_source,
    read,
    zipped,
)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "archive"
    (place / "b" / "deep").mkdir(parents=True)
    (place / "b" / "deep" / "2.txt").write_bytes(b"two")
    (place / "a 1.txt").write_bytes(b"one")
    (place / "empty").mkdir()
    return place


@pytest.fixture
def packed(folder, tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("b/deep/2.txt", "a 1.txt"):
            file.write(folder / name, name)
        file.mkdir("empty")
    return path


@pytest.fixture(params=["folder", "zip"])
def source(request, folder, packed) -> Source:
    return open_source(folder if request.param == "folder" else packed)


# ------------------------------------------------------------------------------ both


def test_a_source_lists_and_opens_its_files(source):
    assert source.names() == ("a 1.txt", "b/deep/2.txt")
    assert source.refused == ()
    assert source.size("b/deep/2.txt") == 3
    assert read(source, "b/deep/2.txt") == b"two"
    with source.open("a 1.txt") as file:
        assert file.read() == b"one"
    source.check()


def test_a_source_travels_to_workers(source):
    for other in (pickle.loads(pickle.dumps(source)), copy(source)):
        assert read(other, "a 1.txt") == b"one"
        assert other.stamp("a 1.txt") == source.stamp("a 1.txt")
        assert other.names() == source.names()
        assert other.location == source.location


def test_a_name_that_is_not_there(source):
    for reader in (lambda: read(source, "c.txt"), lambda: source.open("c.txt")):
        with pytest.raises(RecordError) as caught:
            reader()
        assert caught.value.code == "unreadable"
        assert caught.value.where == "c.txt"
        assert str(source.location) not in str(caught.value)


def test_a_file_beyond_every_archive_is_not_read(folder, packed):
    limits = Limits(file_bytes=2)
    assert {reason for _, reason in ZipSource(packed, limits).refused} == {"zip_bomb"}
    with pytest.raises(RecordError) as caught:
        read(FolderSource(folder, limits=limits), "a 1.txt")
    assert caught.value.code == "too_large"


# ------------------------------------------------------------------------------ which


def test_what_is_neither_folder_nor_zip(tmp_path):
    (tmp_path / "file").write_bytes(b"?")
    with pytest.raises(ArchiveError, match="neither a folder nor a zip"):
        open_source(tmp_path / "file")
    with pytest.raises(ArchiveError, match="no such folder or file"):
        open_source(tmp_path / "none")
    (tmp_path / "part.ZIP").write_bytes(b"PK\x03\x04 and no end")
    with pytest.raises(ArchiveError, match="damaged or incomplete"):
        open_source(tmp_path / "part.ZIP")


def test_a_zip_is_known_by_its_content(packed, tmp_path):
    packed.rename(tmp_path / "archive.download")
    assert isinstance(open_source(tmp_path / "archive.download"), ZipSource)


# ------------------------------------------------------------------------------ folders


def test_links_are_followed_inside_and_refused_outside(folder, tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to("..")
    (folder / "in.txt").symlink_to("a 1.txt")
    (folder / "again").symlink_to("b")
    (folder / "broken").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    found = FolderSource(folder)
    assert found.names() == ("a 1.txt", "b/deep/2.txt", "in.txt")
    assert dict(found.refused) == {
        "out.txt": "link_out_of_source",
        "up": "link_out_of_source",
        "again": "link_to_folder",
        "broken": "broken_link",
        "loop": "broken_link",
    }
    assert read(found, "in.txt") == b"one"


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    "name", ["../secret.txt", "b/../../secret.txt", "out.txt", "{tmp}/secret.txt"]
)
def test_no_name_leads_out_of_the_folder(folder, tmp_path, name, listed):
    """Not even one that an adapter took from a table."""
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    found = FolderSource(folder)
    if listed:
        found.names()
    name = name.format(tmp=tmp_path)
    for reader in (found.open, found.stamp, found.size):
        with pytest.raises(RecordError) as caught:
            reader(name)
        assert caught.value.code == "unsafe_name"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_file(folder):
    os.mkfifo(folder / "pipe")
    found = FolderSource(folder)
    assert "pipe" not in found.names()
    assert found.refused == (("pipe", "not_a_file"),)
    with pytest.raises(RecordError, match="not a regular file"):
        FolderSource(folder).open("pipe")


@pytest.mark.parametrize("name", ["line\nbreak.png", "back\\slash.png", "bell\a.png"])
def test_names_that_no_table_can_hold_are_refused(folder, name):
    (folder / name).write_bytes(b"?")
    ((shown, reason),) = FolderSource(folder).refused
    assert reason == "unsafe_name"
    assert shown.isprintable()


def test_a_name_that_is_no_text_is_refused(folder):
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"?")
    ((shown, reason),) = FolderSource(folder).refused
    assert (shown, reason) == ("caf\\udce9.png", "unsafe_name")
    assert shown.encode()


def test_a_stamp_tells_size_and_time(folder):
    path = folder / "a 1.txt"
    stamps = set()
    for data, when in ((b"one", 1), (b"one", 2), (b"three", 2)):
        path.write_bytes(data)
        os.utime(path, ns=(when, when))
        stamps.add(FolderSource(folder).stamp("a 1.txt"))
    assert len(stamps) == 3


def test_a_folder_that_went_away(folder):
    found = FolderSource(folder)
    found.names()
    away = folder.rename(folder.with_name("away"))
    for reader in (found.check, lambda: read(found, "a 1.txt"), lambda: found.open("a 1.txt")):
        with pytest.raises(SourceGone, match="went away"):
            reader()
    folder.mkdir()  # the empty mount point
    with pytest.raises(SourceGone):
        found.check()
    folder.rmdir()
    away.rename(folder)
    found.check()


def test_one_lost_file_is_no_lost_source(folder):
    found = FolderSource(folder)
    found.names()
    (folder / "a 1.txt").unlink()
    with pytest.raises(RecordError) as caught:
        read(found, "a 1.txt")
    assert caught.value.code == "unreadable"


# ------------------------------------------------------------------------------ zip files


def zip_of(tmp_path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> ZipSource:
    path = tmp_path / "made.zip"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members:
                file.writestr(name, data)
    return ZipSource(path)


@pytest.mark.parametrize(
    "name",
    [
        "../up.txt",
        "a/../../up.txt",
        "/etc/passwd",
        "C:/autoexec.bat",
        "..\\up.txt",
        "bell\a.txt",
        ".",
    ],
)
def test_unsafe_names_in_a_zip(tmp_path, name):
    found = zip_of(tmp_path, (name, b"?"), ("good.txt", b"good"))
    assert found.names() == ("good.txt",)
    ((shown, reason),) = found.refused
    assert reason == "unsafe_name"
    assert shown.isprintable()


def test_a_member_without_a_name(tmp_path):
    found = zip_of(tmp_path, ("x", b"?"), ("good.txt", b"good"))
    data = bytearray(found.location.read_bytes())
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
    assert data[place + 46] == ord("x")
    data[place + 46] = 0  # the name ends at the zero
    found.location.write_bytes(bytes(data))
    assert ZipSource(found.location).names() == ("good.txt",)


def test_backslashes_are_separators(tmp_path):
    found = zip_of(tmp_path, ("a\\b.txt", b"windows"))
    assert found.names() == ("a/b.txt",)
    assert read(found, "a/b.txt") == b"windows"


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("link.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    found = zip_of(tmp_path, (info, b"/etc/passwd"))
    assert found.names() == ()
    assert found.refused == (("link.txt", "link_out_of_source"),)


def test_a_member_that_is_there_twice_is_read_once(tmp_path):
    found = zip_of(tmp_path, ("a.txt", b"same"), ("b.txt", b"?"), ("a.txt", b"same"))
    assert found.names() == ("a.txt", "b.txt")
    assert found.refused == (("a.txt (member 3)", "duplicate_member"),)
    assert read(found, "a.txt") == b"same"


def test_of_two_different_members_of_one_name_none_is_read(tmp_path):
    found = zip_of(tmp_path, ("a.txt", b"same"), ("b.txt", b"?"), ("a.txt", b"other"))
    assert found.names() == ("b.txt",)
    assert found.refused == (("a.txt", "conflicting_members"),)
    assert "conflicting_members" in UNREAD


def test_a_zip_bomb_is_refused_and_a_blank_mask_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(zipped, "SMALL", 1 << 20)
    found = zip_of(tmp_path, ("bomb", bytes(3 << 20)), ("mask", bytes(1 << 19)), ("ok", b"1"))
    assert found.names() == ("mask", "ok")
    assert found.refused == (("bomb", "zip_bomb"),)
    assert len(read(found, "mask")) == 1 << 19


def test_a_member_larger_than_it_says_is_not_unpacked(tmp_path):
    found = zip_of(tmp_path, ("a.bin", bytes(100_000)))
    data = bytearray(found.location.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(signature) + offset
        data[place : place + 4] = (1000).to_bytes(4, "little")
    found.location.write_bytes(bytes(data))
    with pytest.raises(RecordError) as caught:
        read(ZipSource(found.location), "a.bin")
    assert caught.value.code == "unreadable"


def test_a_zip_is_read_in_place(packed, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    found = ZipSource(packed)
    for name in found.names():
        read(found, name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_stamp_tells_the_content(tmp_path):
    stamps = {zip_of(tmp_path, ("a", data)).stamp("a") for data in (b"one", b"two", b"three")}
    assert len(stamps) == 3


def test_a_zip_that_went_away(packed):
    found = ZipSource(packed)
    found.names()
    worker = pickle.loads(pickle.dumps(found))
    packed.write_bytes(b"something else")
    with pytest.raises(SourceGone):
        worker.names()
    packed.unlink()
    with pytest.raises(SourceGone):
        found.check()
    with pytest.raises(SourceGone):
        pickle.loads(pickle.dumps(found)).open("a 1.txt")


# ------------------------------------------------------------------------------ tar


def packed_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size, info.mtime = len(content), 1_600_000_000
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                tar.addfile(info)
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")]
)
def test_a_tar_is_read_as_a_folder(tmp_path, name, mode):
    packed = packed_tar(tmp_path / name, [("x/b.txt", b"two"), ("a.txt", b"one")], mode)
    source = open_source(packed, unpack_to=tmp_path / "out")
    assert source.names() == ("a.txt", "x/b.txt")
    assert read(source, "x/b.txt") == b"two"
    again = open_source(packed, unpack_to=tmp_path / "out")
    assert again.stamp("a.txt") == source.stamp("a.txt")
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_what_leads_out_of_a_tar_is_refused_by_name(tmp_path):
    members = [
        ("good.txt", b"good"),
        ("../evil.txt", b"evil"),
        ("/tmp/bcseg-evil.txt", b"evil"),
        ("link.txt", (tarfile.SYMTYPE, "/etc/passwd")),
        ("hard.txt", (tarfile.LNKTYPE, "good.txt")),
        ("pipe", (tarfile.FIFOTYPE, "")),
        ("good.txt", b"other"),
    ]
    packed = packed_tar(tmp_path / "a.tar.gz", members)
    source = open_source(packed, unpack_to=tmp_path / "place" / "out")
    assert read(source, "good.txt") == b"good"
    assert source.names() == ("good.txt",)
    assert dict(source.refused) == {
        "../evil.txt": "unsafe_name",
        "/tmp/bcseg-evil.txt": "unsafe_name",
        "link.txt": "link_out_of_source",
        "hard.txt": "link_out_of_source",
        "pipe": "not_a_file",
        "good.txt": "conflicting_members",
    }
    assert list(tmp_path.rglob("*evil*")) == []


def test_half_a_tar_is_refused_and_leaves_nothing(tmp_path):
    packed = packed_tar(tmp_path / "a.tar.gz", [("a.bin", bytes(range(256)) * 4000)])
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        open_source(packed, unpack_to=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tar_gives_the_same_pairs_as_the_folder(tmp_path, run):
    from bcseg import pairs, synth

    folder = synth.build("cdd", tmp_path / "folder", scale=0.1).root
    packed = synth.build("cdd", tmp_path / "packed", scale=0.1, packed="tar.gz").root
    for source, out in ((folder, "one"), (packed, "two"), (packed, "two")):
        code, _, err = run("refactor", "cdd", source, "-o", tmp_path / out)
        assert code == 0, err
    one, two = (
        pairs.PairsFolder(tmp_path / out / "cdd").rows(pairs.RECORDS) for out in ("one", "two")
    )
    assert one == two
    assert len(one) > 0
