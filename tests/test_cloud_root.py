"""Pairs folders on object storage: byte for byte those of a disk, killed, resumed, refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from archives import bcseg, content, finished, once, original, own_dataset
from bcseg import remote
from bcseg.cloud import filesystem, place
from bcseg.errors import UsageError
from bcseg.remote import journal_of, lock_of
from bcseg.store import OutputError
from object_storage import REFUSING, bucket, credentials, reconnect

__all__ = ["bucket", "credentials"]  # fixtures


def made(bucket, dataset="inbreast", *options) -> str:
    """Return the address of a root with the pairs of an archive, made there."""
    root = bucket.address("pairs")
    assert bcseg("refactor", dataset, original(dataset), "-o", root, "-j", 1, *options) == 0
    return root


_FINISHED: list[str] = []


@pytest.fixture
def root(bucket) -> str:
    """Return a root with pairs that no test may change."""
    if not _FINISHED:
        _FINISHED.append(made(bucket))
    return _FINISHED[0]


# ------------------------------------------------------------------------------ refactor


def test_pairs_on_s3_are_those_on_the_disk_byte_for_byte(bucket):
    options = ("--masks", "lesion", "--kind", "lesions")
    made(bucket, "inbreast", *options)
    assert bucket.content("pairs/inbreast") == content(finished("inbreast", *options))
    hidden = {name for name in bucket.names("pairs") if "/." in f"/{name}"}
    assert hidden == {".gitignore", "inbreast/.journal/000003-whole.jsonl"}


def test_workers_read_from_s3_and_write_to_it(bucket):
    """Sources and roots cross to worker processes, which open connections of their own."""
    source = bucket.put(original("csaw"), "original")
    assert bcseg("refactor", "csaw", source, "-o", bucket.address("pairs"), "-j", 2) == 0
    assert bucket.content("pairs/csaw") == content(finished("csaw"))


def test_shards_on_s3_are_merged_there(bucket, run):
    root = bucket.address("pairs")
    for number in (1, 2):
        words = ("refactor", "inbreast", original("inbreast"), "-o", root, "-j", 1)
        assert bcseg(*words, "--shard", f"{number}/2") == 0
        code, _, err = run("merge", root)
        assert code == (2 if number == 1 else 0), err
    assert bucket.content("pairs/inbreast") == content(finished("inbreast"))
    assert not [name for name in bucket.names("pairs") if ".shards" in name]


def test_a_second_run_writes_no_pair_again(bucket, run):
    root = made(bucket)
    before = bucket.everything("pairs/inbreast/images")
    command = ("refactor", "inbreast", original("inbreast"), "-o", root, "-j", 1, "--json")
    assert json.loads(run(*command)[1])["fresh"] == 0
    assert bucket.everything("pairs/inbreast/images") == before
    (name, *_) = bucket.names("pairs/inbreast/masks")
    bucket.s3.rm_file(f"{bucket.name}/pairs/inbreast/masks/{name}")
    assert json.loads(run(*command)[1])["fresh"] == 1
    assert bucket.content("pairs/inbreast") == content(finished("inbreast"))


def test_other_options_are_refused_and_redo_starts_over(bucket, run):
    root = made(bucket)
    before = bucket.everything("pairs")
    command = ("refactor", "inbreast", original("inbreast"), "-o", root, "-j", 1)
    code, _, said = run(*command, "--masks", "lesion")
    assert code == 2
    assert "--masks: union there, lesion now" in said
    assert bucket.everything("pairs") == before
    assert run(*command, "--masks", "lesion", "--redo")[0] == 0
    assert bucket.content("pairs/inbreast") == content(finished("inbreast", "--masks", "lesion"))


def test_a_dry_run_writes_nothing(bucket):
    command = ("refactor", "inbreast", original("inbreast"), "-o", bucket.address("pairs"))
    assert bcseg(*command, "--dry-run") == 0
    assert bucket.names() == []


def test_foreign_objects_are_left_alone(bucket, run):
    bucket.s3.pipe_file(f"{bucket.name}/pairs/inbreast/mine.txt", b"mine")
    code, _, said = run(
        "refactor", "inbreast", original("inbreast"), "-o", bucket.address("pairs"), "-j", 1
    )
    assert code == 2
    assert "not empty and holds no pairs" in said
    assert bucket.names() == ["pairs/inbreast/mine.txt"]


def test_an_output_inside_the_source_is_refused(bucket, run):
    source = bucket.put(original("inbreast"), "original")
    code, _, said = run("refactor", "inbreast", source, "-o", f"{source}/pairs")
    assert code == 2
    assert "inside the source" in said


def test_a_killed_run_is_taken_up_where_its_journal_ends(bucket, tmp_path, run):
    adapter, source = own_dataset(tmp_path, bad=once(tmp_path, "os.kill(os.getpid(), 9)"))
    root = bucket.address("pairs")
    words = ["refactor", str(adapter), str(source), "-o", root, "-j", "1"]
    program = f"from bcseg import cli, remote; remote.EVERY = 0; cli.main({words!r})"
    killed = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
    assert killed.returncode == -9
    assert ".lock" in bucket.names("pairs/mine"), "the lock of the dead process"
    code, printed, _ = run(*words, "--json")
    assert code == 0
    assert json.loads(printed)["fresh"] == 4
    assert bcseg(*words[:4], tmp_path / "local", "-j", 1) == 0
    assert bucket.content("pairs/mine") == content(tmp_path / "local" / "mine")
    assert ".lock" not in bucket.names("pairs/mine")


def test_an_interrupted_run_keeps_what_is_finished(bucket, tmp_path, run):
    adapter, source = own_dataset(tmp_path, bad=once(tmp_path, "raise KeyboardInterrupt"))
    words = ("refactor", adapter, source, "-o", bucket.address("pairs"), "-j", 1)
    assert run(*words)[0] == 130
    assert ".lock" not in bucket.names("pairs/mine")
    assert json.loads(run(*words, "--json")[1])["fresh"] == 4


def test_a_storage_that_goes_away_while_it_is_written_to_ends_the_run(bucket, tmp_path, run):
    bad = (
        "import os; from bcseg.cloud.filesystem import filesystem as f; f.cache_clear();"
        f" os.environ['AWS_ENDPOINT_URL'] = {REFUSING!r}"
    )
    adapter, source = own_dataset(tmp_path, bad=bad)
    code, _, said = run("refactor", adapter, source, "-o", bucket.address("pairs"), "-j", 1)
    assert code == 1, said
    assert "cannot be reached" in said


# ------------------------------------------------------------------------------ lock, journal


def test_two_runs_never_write_to_one_folder(bucket, run):
    other = json.dumps({"host": "elsewhere", "pid": 7, "time": 0}).encode()
    bucket.s3.pipe_file(f"{bucket.name}/pairs/inbreast/.lock", other)
    root = bucket.address("pairs")
    code, _, said = run("refactor", "inbreast", original("inbreast"), "-o", root, "-j", 1)
    assert code == 2
    assert "process 7 on elsewhere" in said
    assert f"delete {root}/inbreast/.lock" in said
    assert bucket.names() == ["pairs/inbreast/.lock"]


def test_a_lock_is_made_on_the_condition_that_there_is_none(bucket):
    """A run that begins between the look and the write: the storage itself decides."""
    folder = place(bucket.address("pairs"))
    lock = lock_of(folder)
    other = json.dumps({"host": "elsewhere", "pid": 7, "time": 0}).encode()
    bucket.s3.pipe_file(f"{bucket.name}/pairs/.lock", other)
    with pytest.raises(FileExistsError):
        (folder / ".lock").create(b"mine")
    with pytest.raises(UsageError, match="process 7 on elsewhere"), lock:
        pass
    assert (folder / ".lock").read_bytes() == other


def test_a_lock_on_s3_that_another_run_has_taken_meanwhile_stays(bucket):
    """Somebody deleted the lock of a run that still went on, and began another."""
    other = json.dumps({"host": "elsewhere", "pid": 7}).encode()
    folder = place(bucket.address("pairs"))
    with lock_of(folder):
        bucket.s3.pipe_file(f"{bucket.name}/pairs/.lock", other)
    assert (folder / ".lock").read_bytes() == other


class Unconditional(MemoryFileSystem):
    """A storage that knows no conditional writes, where another run writes at the same time."""

    protocol = "unconditional"
    rival = b""

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if mode == "create":
            raise NotImplementedError
        super().pipe_file(path, self.rival or value)


def test_without_conditional_writes_the_lock_is_read_again(monkeypatch):
    import fsspec

    fsspec.register_implementation("unconditional", Unconditional, clobber=True)
    filesystem.filesystem.cache_clear()
    folder = place("unconditional://root/pairs")
    with lock_of(folder):
        assert (folder / ".lock").exists()
    assert not (folder / ".lock").exists()
    monkeypatch.setattr(Unconditional, "rival", b'{"host": "elsewhere", "pid": 7}')
    with pytest.raises(UsageError, match="another bcseg run"), lock_of(folder):
        pass


def entry(number: int) -> dict:
    return {"fate": "written", "key": "k", "files": {}, "stamps": {}, "written": {}, "n": number}


def test_a_journal_on_s3_reads_as_one_on_the_disk(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "EVERY", 0.0)
    both = [journal_of(tmp_path), journal_of(place(bucket.address("pairs")))]
    for journal in both:
        journal.start({"dataset": "mine"})
        for number in range(4):
            journal.append(f"r{number % 3}", entry(number))
    assert len(bucket.names("pairs/.journal")) == 5
    again = [journal_of(tmp_path), journal_of(place(bucket.address("pairs")))]
    for journal in again:
        journal.load()
        journal.forget("r1")
    assert list(again[0].entries()) == list(again[1].entries())
    assert again[1].identity == {"dataset": "mine"}
    for journal in again:
        journal.rewrite()
    assert bucket.names("pairs/.journal") == ["000006-whole.jsonl"]
    third = journal_of(place(bucket.address("pairs")))
    third.load()
    assert third.ids() == ["r0", "r2"]
    assert [*third.lines()] == [*again[0].lines()]


def test_a_whole_part_takes_the_place_of_what_a_killed_run_left_before_it(bucket):
    folder = place(bucket.address("pairs"))
    old = journal_of(folder)
    old.start({"dataset": "old"})
    old.append("r1", entry(1))
    old.flush()
    left = bucket.names("pairs/.journal")
    kept = {name: (folder / ".journal" / name).read_bytes() for name in left}
    old.start({"dataset": "new"})
    for name, data in kept.items():  # it was killed before it removed them
        (folder / ".journal" / name).write_bytes(data)
    again = journal_of(folder)
    again.load()
    assert (again.identity, again.ids()) == ({"dataset": "new"}, [])


def test_lines_wait_for_their_part_and_a_refusal_is_named(bucket, monkeypatch):
    folder = place(bucket.address("pairs"))
    journal = journal_of(folder)
    journal.start({"dataset": "mine"})
    journal.append("r1", entry(1))
    assert bucket.names("pairs/.journal") == ["000001-whole.jsonl"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", REFUSING)
    reconnect()
    with pytest.raises(OutputError, match="cannot write the journal"):
        journal.flush()


# ------------------------------------------------------------------------------ the other commands


def test_commands_say_of_s3_what_they_say_of_the_disk(bucket, tmp_path, run):
    local = tmp_path / "local"
    root = made(bucket)
    assert bcseg("refactor", "inbreast", original("inbreast"), "-o", local, "-j", 1) == 0
    for command, *options in (
        ("stats",),
        ("verify", "-j", 1),
        ("verify", "--fast", "-j", 1),
        ("score", "-j", 1),
        ("split",),
    ):
        there = run(command, root, *options, "--json")
        here = run(command, local, *options, "--json")
        assert there[0] == here[0], command
        assert json.loads(there[1].replace(root, str(local))) == json.loads(here[1])
    assert {"inbreast/scores.csv", "splits.csv"} <= {*bucket.names("pairs")}
    assert bucket.content("pairs/inbreast") == content(local / "inbreast")
    assert place(f"{root}/splits.csv").read_bytes() == (local / "splits.csv").read_bytes()


def test_verify_finds_on_s3_what_is_missing_altered_and_not_ours(bucket, run):
    root = made(bucket)
    first, second, *_ = bucket.names("pairs/inbreast/images")
    folder = f"{bucket.name}/pairs/inbreast/images"
    bucket.s3.rm_file(f"{folder}/{first}")
    bucket.s3.pipe_file(f"{folder}/{second}", b"not a picture")
    bucket.s3.pipe_file(f"{folder}/stranger.png", b"1")
    code, printed, _ = run("verify", root, "-j", 1, "--json")
    assert code == 1
    found = {row["code"] for row in json.loads(printed)["findings"]}
    assert {"missing_file", "damaged_file", "orphan_file"} <= found


def test_why_reads_the_journal_on_s3(root, run):
    for word in ("53100127", "53100127_muscle.roi", "53100127.xml"):
        there, here = run("why", word, root), run("why", word, finished("inbreast"))
        assert there[0] == here[0] == 0
        assert there[1].replace(f"{root}/inbreast", str(finished("inbreast"))) == here[1]


def test_the_root_is_found_by_the_environment_too(root, run, monkeypatch):
    monkeypatch.setenv("BCSEG_DATA", root)
    assert run("stats")[0] == 0


def test_a_selection_is_taken_from_s3_to_this_machine(root, bucket, tmp_path, run):
    manifest = tmp_path / "m.csv"
    manifest.write_text("dataset,record_id\ninbreast,53100127\n")
    bucket.put(manifest, "m.csv")
    here, there = tmp_path / "here", tmp_path / "there"
    run("select", finished("inbreast").parent, "-m", manifest, "-o", here)
    code, _, said = run("select", root, "-m", bucket.address("m.csv"), "-o", there)
    assert code == 0, said
    assert content(there) == content(here)
    assert "already: nothing to do" in run("select", root, "-m", manifest, "-o", there)[1]


def test_what_object_storage_cannot_do_is_said_by_name(root, bucket, tmp_path, run):
    before = bucket.everything()
    manifest = tmp_path / "m.csv"
    manifest.write_text("dataset,record_id\ninbreast,53100127\n")
    for words, said in (
        (("select", root, "-m", manifest, "-o", tmp_path / "x", "--link"), "--link cannot be done"),
        (("select", root, "-m", manifest, "-o", bucket.address("x")), "object storage cannot"),
        (("review", root), "review needs the pairs on this machine"),
        (("synth", "csaw", bucket.address("synth")), "this command writes to a disk"),
        (("restore", tmp_path, root, "-o", bucket.address("x")), "this command writes to a disk"),
    ):
        code, _, printed = run(*words)
        assert code == 2
        assert said in printed
    assert bucket.everything() == before
    assert not (tmp_path / "x").exists()


def test_a_report_is_made_of_pairs_on_s3(root, tmp_path):
    pages = []
    for number, folder in enumerate((root, finished("inbreast").parent)):
        page = tmp_path / f"{number}.html"
        assert bcseg("report", folder, "-o", page, "-j", 1) == 0
        pages.append(page.read_text(encoding="utf-8"))
    assert pages[0].replace(root, "ROOT") == pages[1].replace(
        str(finished("inbreast").parent), "ROOT"
    )


def test_what_commands_write_beside_the_pairs_may_lie_there_too(bucket):
    pairs_folder = finished("inbreast")
    page, table = bucket.address("report.html"), bucket.address("findings.csv")
    assert bcseg("report", pairs_folder, "-o", page, "-j", 1) == 0
    assert bcseg("verify", pairs_folder, "--fast", "-o", table) == 0
    assert bcseg("verify", pairs_folder, "--fast", "--baseline", table) == 0
    assert {"findings.csv", "report.html"} <= {*bucket.names()}
    assert place(page).read_text().startswith("<!")


def test_masks_on_the_written_grid_are_restored_from_s3(root, tmp_path):
    masks = finished("inbreast") / "masks"
    for folder, out in ((root, "a"), (finished("inbreast").parent, "b")):
        assert bcseg("restore", masks, folder, "-o", tmp_path / out, "-j", 1) == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_an_earlier_run_on_s3_is_repeated(root, tmp_path, run):
    like = f"{root}/inbreast/dataset.json"
    code, printed, said = run(
        "refactor", "inbreast", original("inbreast"), "-o", tmp_path, "-j", 1, "--like", like
    )
    assert code == 0, said
    assert "identical to the earlier run" in printed


def test_a_root_without_pairs_is_named(bucket, run):
    code, _, said = run("stats", bucket.address("nothing"))
    assert code == 2
    assert "no such folder" in said
    code, _, said = run("verify", Path("s3:") / "bucket")
    assert code == 2
