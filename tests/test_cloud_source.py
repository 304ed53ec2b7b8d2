"""Archives on object storage: the same as on a disk; and every way in which a storage fails."""

from __future__ import annotations

import builtins
import io
import json
import pickle
import shutil
import tarfile
from copy import copy

import pytest

from archives import bcseg, codes, content, finished, original, own_dataset
from bcseg.cloud import CloudPath, StorageError, place
from bcseg.cloud.reading import RangedReader
from bcseg.errors import RecordError, SourceGone
from bcseg.source import CloudSource, FolderSource, open_source, read
from object_storage import REFUSING, bucket, credentials, put_at_once, reconnect

__all__ = ["bucket", "credentials"]  # fixtures


# ------------------------------------------------------------------------------ the source


def test_a_source_on_s3_lists_and_reads_what_the_folder_does(bucket, tmp_path):
    folder = tmp_path / "archive"
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "b" / "deep" / "zwei ü+#.txt").write_bytes(b"two")
    (folder / "a 1.txt").write_bytes(b"one" * 100_000)
    (folder / "empty.txt").write_bytes(b"")
    local = FolderSource(folder)
    source = open_source(place(bucket.put(folder, "original/archive")))
    assert isinstance(source, CloudSource)
    assert source.names() == local.names()
    assert source.refused == ()
    for name in source.names():
        assert source.size(name) == local.size(name)
        assert read(source, name) == read(local, name)
    assert str(source.location) == bucket.address("original/archive")


def test_the_list_is_one_sweep_however_many_objects_there_are(bucket, monkeypatch):
    """S3 gives 1000 names a page: a page more is a request more, and no object is asked about."""
    asked: list[str] = []
    put_at_once(bucket.name, {f"many/{n % 7}/{n:04}.txt": b"x" for n in range(1050)})
    source = open_source(place(bucket.address("many")))
    call = type(bucket.s3)._call_s3

    async def counted(self, method, *args, **kwargs):
        asked.append(method)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(type(bucket.s3), "_call_s3", counted)
    names = source.names()
    assert len(names) == 1050
    assert sum(source.size(name) for name in names) == 1050
    assert all(source.stamp(name) for name in names)
    assert set(asked) <= {"list_objects_v2"}
    assert len(asked) <= 3


def test_keys_that_are_no_file_names_are_refused_by_name(bucket):
    for key in ("good.txt", "a//b.txt", "x\\y.txt", "up/../z.txt"):
        bucket.s3.call_s3("put_object", Bucket=bucket.name, Key=f"src/{key}", Body=b"1")
    bucket.s3.call_s3("put_object", Bucket=bucket.name, Key="src/folder/", Body=b"")
    source = open_source(place(bucket.address("src")))
    assert source.names() == ("good.txt",)
    assert {reason for _, reason in source.refused} == {"unsafe_name"}
    assert len(source.refused) == 3
    with pytest.raises(RecordError):
        read(copy(source), "up/../z.txt")


def test_another_content_is_another_stamp_and_a_copy_asks_anew(bucket):
    bucket.s3.pipe_file(f"{bucket.name}/src/1.txt", b"one")
    source = open_source(place(bucket.address("src")))
    worker = pickle.loads(pickle.dumps(source))
    before = source.stamp("1.txt")
    assert worker.stamp("1.txt") == before
    bucket.s3.pipe_file(f"{bucket.name}/src/1.txt", b"two")
    assert worker.stamp("1.txt") != before
    assert read(worker, "1.txt") == b"two"


def test_heads_are_read_without_the_rest(bucket, monkeypatch):
    bucket.s3.pipe_file(f"{bucket.name}/src/large.bin", bytes(range(256)) * 8192)  # 2 MiB
    source = open_source(place(bucket.address("src")))
    source.names()
    fetched: list[int] = []
    fetch = CloudPath.read_range

    def counted(self, start, end):
        data = fetch(self, start, end)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(CloudPath, "read_range", counted)
    with source.open("large.bin") as file:
        assert file.read(4) == b"\0\1\2\3"
        assert sum(fetched) <= 64 << 10
        file.seek(-2, io.SEEK_END)
        assert file.read() == b"\xfe\xff"
    assert sum(fetched) <= 128 << 10
    fetched.clear()
    assert len(read(source, "large.bin")) == 2 << 20
    assert len(fetched) == 1, "a whole object is one request"


def test_ranges_give_what_a_file_gives():
    data = bytes(i * 7 % 251 for i in range(300_000))
    asked: list[tuple[int, int | None]] = []

    def fetch(start, end):
        asked.append((start, end))
        return data[start:end]

    file = io.BufferedReader(RangedReader(fetch, len(data)))
    whole = io.BytesIO(data)
    for offset, whence, count in (
        (0, 0, 10),
        (70_000, 0, 5),
        (-3, 1, 100_000),
        (-9, 2, 50),
        (0, 0, -1),
    ):
        assert file.seek(offset, whence) == whole.seek(offset, whence)
        assert file.read(count) == whole.read(count)
    asked.clear()
    file.seek(0)
    while file.read(1000):
        pass
    assert len(asked) < 5, "what is read on is asked for in growing pieces"
    assert file.read(1) == b""


# ------------------------------------------------------------------------------ commands


@pytest.mark.parametrize("dataset", ["cbis", "inbreast"])
def test_pairs_from_s3_are_those_from_the_disk_byte_for_byte(dataset, bucket, tmp_path):
    source = bucket.put(original(dataset), "original")
    before = bucket.everything()
    assert bcseg("refactor", dataset, source, "-o", tmp_path, "-j", 1) == 0
    assert content(tmp_path / dataset) == content(finished(dataset))
    assert bucket.everything() == before, "a source is never written to"


def test_a_second_run_keeps_what_has_the_same_etag(bucket, tmp_path, run):
    source = bucket.put(original("inbreast"), "original")
    command = ("refactor", "inbreast", source, "-o", tmp_path, "-j", 1, "--json")
    assert json.loads(run(*command)[1])["fresh"] == 4
    assert json.loads(run(*command)[1])["fresh"] == 0
    name = next(n for n in bucket.names("original") if n.endswith(".dcm") and "53100101" in n)
    data = bucket.s3.cat_file(f"{bucket.name}/original/{name}")
    bucket.s3.pipe_file(f"{bucket.name}/original/{name}", data[:-1] + bytes([data[-1] ^ 1]))
    assert json.loads(run(*command)[1])["fresh"] == 1


def test_inspect_tells_of_s3_what_it_tells_of_the_folder(bucket, run):
    code, there, _ = run("inspect", bucket.put(original("csaw"), "original"), "--json")
    assert (code, there) == run("inspect", original("csaw"), "--json")[:2]


@pytest.mark.parametrize("packed", ["zip", "tar.gz"])
def test_packed_archives_are_read_on_s3_too(packed, bucket, tmp_path):
    kind = {"zip": "zip", "tar.gz": "gztar"}[packed]
    file = shutil.make_archive(str(tmp_path / "packed"), kind, original("csaw"))
    source = bucket.put(tmp_path / file, f"packed.{packed}")
    assert bcseg("inspect", source) == 0
    assert bcseg("refactor", "csaw", source, "-o", tmp_path / "pairs", "-j", 1) == 0
    theirs = content(finished("csaw"))
    ours = content(tmp_path / "pairs" / "csaw")
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours if name.endswith(".png"))


def test_a_tar_on_s3_that_is_cut_off_is_named(bucket, tmp_path, run):
    file = tmp_path / "cut.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        tar.add(original("csaw"), "csaw")
    file.write_bytes(file.read_bytes()[:-5000])
    code, _, said = run("inspect", bucket.put(file, "cut.tar.gz"))
    assert code == 2
    assert "the tar archive cannot be unpacked" in said


def test_pairs_are_verified_against_their_archive_on_s3(bucket, run):
    source = bucket.put(original("inbreast"), "original")
    command = ("verify", finished("inbreast"), "--source", f"inbreast={source}")
    code, _, said = run(*command, "-j", 1)
    assert code == 0, said


# ------------------------------------------------------------------------------ failures


def refused(run, tmp_path, source, *words):
    """Run refactor on a source that cannot be read: exit 2, nothing written, these words said."""
    code, _, said = run("refactor", "inbreast", source, "-o", tmp_path / "out")
    assert code == 2, said
    assert not (tmp_path / "out").exists()
    for word in words:
        assert word in said
    return said


def test_a_bucket_that_is_not_there_is_named(bucket, run, tmp_path):
    refused(run, tmp_path, "s3://no-such-bucket-here/x", "no such bucket", "AWS_ENDPOINT_URL")
    refused(run, tmp_path, "s3://no-such-bucket-here", "no such bucket")


def test_a_prefix_without_objects_is_named(bucket, run, tmp_path):
    refused(run, tmp_path, bucket.address("nothing"), "no such folder or file", "nothing")


def test_an_endpoint_out_of_reach_is_named(credentials, monkeypatch, run, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", REFUSING)
    reconnect()
    refused(run, tmp_path, "s3://bucket/x", "cannot be reached", "AWS_ENDPOINT_URL", REFUSING)
    reconnect()


def test_missing_credentials_and_profiles_are_named(bucket, monkeypatch, run, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    reconnect()
    refused(run, tmp_path, bucket.address("x"), "no credentials", "AWS_PROFILE")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    reconnect()
    refused(run, tmp_path, bucket.address("x"), "no such profile", "nobody")


def test_denied_access_is_named(bucket, run, tmp_path, monkeypatch):
    from moto import settings

    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)  # it knows nobody
    refused(run, tmp_path, bucket.address("x"), "access denied", "other credentials")


def test_a_missing_extra_is_named(monkeypatch, run, tmp_path):
    reconnect()
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "fsspec":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(run, tmp_path, "s3://bucket/x", "pip install 'bcseg[cloud]'")


def test_storages_without_their_library_and_unknown_ones_are_named(run, tmp_path):
    reconnect()
    refused(run, tmp_path, "gs://bucket/x", "library that is not installed", "gcsfs")
    refused(run, tmp_path, "nowhere://bucket/x", "no storage is called nowhere://")


def test_an_object_that_vanishes_fails_its_record_alone(bucket, tmp_path):
    source, adapter = _vanishing(bucket, tmp_path, "40.png")
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "out", "-j", 1) == 1
    assert codes(tmp_path / "out" / "mine") == {"unreadable": ["40"]}
    assert len(list((tmp_path / "out" / "mine" / "images").iterdir())) == 5


def test_a_source_that_vanishes_stops_the_run(bucket, tmp_path):
    source, adapter = _vanishing(bucket, tmp_path, "")
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "out", "-j", 1) == 1
    found = codes(tmp_path / "out" / "mine")
    assert found == {"not_reached": ["30", "40", "50", "60"]}


def _vanishing(bucket, tmp_path, name):
    """Return a source of which something is removed when record 30 is read."""
    key = f"{bucket.name}/mine/{name}".rstrip("/")
    remove = (
        f"from bcseg.cloud.filesystem import filesystem as f; f('s3').rm({key!r}, recursive=True)"
    )
    adapter, folder = own_dataset(tmp_path, bad=remove)
    return bucket.put(folder, "mine"), adapter


def test_a_storage_that_goes_away_is_a_source_gone(bucket, monkeypatch):
    bucket.s3.pipe_file(f"{bucket.name}/src/1.txt", b"one")
    source = copy(open_source(place(bucket.address("src"))))
    monkeypatch.setenv("AWS_ENDPOINT_URL", REFUSING)
    reconnect()
    with pytest.raises(SourceGone, match="cannot be reached"):
        read(source, "1.txt")


# ------------------------------------------------------------------------------ addresses


def test_addresses_answer_as_paths_do():
    address = place("s3://bucket/a b/c.png")
    assert isinstance(address, CloudPath)
    assert str(address) == "s3://bucket/a b/c.png"
    assert (address.name, address.stem, address.suffix) == ("c.png", "c", ".png")
    assert str(address.parent) == "s3://bucket/a b"
    assert str(address.parent / "d" / "e") == "s3://bucket/a b/d/e"
    assert str(address.with_name("x.png")) == "s3://bucket/a b/x.png"
    assert pickle.loads(pickle.dumps(address)) == address
    assert address.relative_to(address.parent.parent).as_posix() == "a b/c.png"
    assert isinstance(address.parent, CloudPath)
    with pytest.raises(TypeError):
        open(address)  # noqa: PTH123, SIM115 - it must never be looked for on this disk


def test_words_without_a_storage_are_paths_of_this_disk(tmp_path):
    assert place(str(tmp_path)) == tmp_path
    assert place(f"file://{tmp_path}") == tmp_path
    assert not isinstance(place("s3:/bucket/x"), CloudPath)


def test_any_storage_of_fsspec_serves():
    root = place("memory://root/of/it")
    (root / "a.txt").write_bytes(b"1")
    assert (root / "a.txt").read_text() == "1"
    assert [one.name for one in root.iterdir()] == ["a.txt"]
    with pytest.raises(FileExistsError):
        (root / "a.txt").create(b"2")
    assert list(root.objects()) == ["a.txt"]
    (root / "b.txt").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (root / "b.txt").read_bytes()


def test_a_storage_error_is_an_oserror_and_says_what_to_do(credentials, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", REFUSING)
    reconnect()
    with pytest.raises(OSError, match="cannot be reached") as caught:
        place("s3://bucket/x").exists()
    assert isinstance(caught.value, StorageError)
    assert "try: check the network" in str(caught.value)
    reconnect()
