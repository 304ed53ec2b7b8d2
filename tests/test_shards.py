"""One run as several: shards, their merge, and everything that can go wrong between them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archives import (
    DATASETS,
    bcseg,
    codes,
    content,
    copy_of,
    document,
    everything,
    finished,
    original,
    own_dataset,
    rows,
)
from bcseg import shards
from bcseg.errors import UsageError
from bcseg.shards import Shard

IDS = st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), unique=True)


def run_shards(dataset: object, source: Path, out: Path, count: int, *options: object) -> list[int]:
    return [
        bcseg("refactor", dataset, source, "-o", out, "-j", 1, "--shard", f"{i}/{count}", *options)
        for i in range(1, count + 1)
    ]


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halves")
    assert run_shards("inbreast", original("inbreast"), folder / "out", 2) == [0, 0]
    return folder / "out"


@pytest.fixture
def divided(halves, tmp_path):
    """An INbreast archive in two finished shards: source and root, copies with their times."""
    source = copy_of("inbreast", tmp_path / "source")
    shutil.copytree(halves, tmp_path / "out")
    return source, tmp_path / "out"


# ------------------------------------------------------------------------------ which records


@given(IDS, st.integers(1, 50))
def test_each_record_is_of_exactly_one_shard(ids, count):
    every = [Shard(number, count) for number in range(1, count + 1)]
    for record_id in ids:
        assert sum(shard.holds(record_id) for shard in every) == 1


def test_a_record_is_of_the_same_shard_on_every_machine():
    """Known values: a change of the hash would tear shards of two versions apart."""
    ids = [f"2058{n}" for n in range(20)]
    assert "".join(str(n) for i in ids for n in range(1, 6) if Shard(n, 5).holds(i)) == (
        "24545231231245421241"
    )


def test_shards_are_about_equal():
    ids = [f"P_{number:05}_LEFT_CC" for number in range(8000)]
    sizes = [sum(map(Shard(n, 8).holds, ids)) for n in range(1, 9)]
    assert min(sizes) > 850
    assert max(sizes) < 1150


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "1/2/3", "-1/2", "1.5/2", "/"])
def test_what_is_no_shard(run, tmp_path, text):
    code, out, err = run("refactor", "cdd", original("cdd"), "-o", tmp_path / "o", "--shard", text)
    assert (code, out) == (2, "")
    assert "--shard" in err
    assert not (tmp_path / "o").exists()


def test_an_index_from_zero_is_told_how_to_count(run, tmp_path):
    arguments = ("refactor", "cdd", original("cdd"), "-o", tmp_path / "out", "--shard", "0/8")
    assert "--shard $((INDEX + 1))/8" in run(*arguments)[2]


# ------------------------------------------------------------------------------ the whole


@settings(max_examples=3, deadline=None)
@given(st.sampled_from(DATASETS), st.integers(1, 7), st.randoms(use_true_random=False))
def test_the_union_of_shards_is_the_whole(dataset, count, random):
    """Byte for byte, journal included, in whatever order the shards ran."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        numbers = list(range(1, count + 1))
        random.shuffle(numbers)
        for number in numbers:
            words = ("refactor", dataset, original(dataset), "-o", out, "-j", 1)
            assert bcseg(*words, "--shard", f"{number}/{count}") == 0
        assert bcseg("merge", out) == 0
        assert content(out / dataset) == content(finished(dataset))
        journal = Path(".journal.jsonl")
        assert (out / dataset / journal).read_bytes() == (finished(dataset) / journal).read_bytes()
        assert {path.name for path in out.rglob(".*")} == {".gitignore", journal.name}


def test_items_of_no_record_are_counted_once(tmp_path):
    """Documents, unknown files, rows without an image: as an unsharded run tells them."""
    source = copy_of("inbreast", tmp_path / "source")
    (source / "stray.bin").write_bytes(b"?")
    next((source / "INbreast Release 1.0" / "AllDICOMs").glob("*.dcm")).unlink()
    (source / "link").symlink_to("/nowhere")
    assert bcseg("refactor", "inbreast", source, "-o", tmp_path / "whole", "-j", 1) == 1
    assert run_shards("inbreast", source, tmp_path / "out", 3) == [0, 0, 0]
    assert bcseg("merge", tmp_path / "out") == 1
    assert content(tmp_path / "out" / "inbreast") == content(tmp_path / "whole" / "inbreast")
    assert codes(tmp_path / "out" / "inbreast", "left_out.csv")["unknown_file"] == ["stray.bin"]


def test_failures_of_shards_are_failures_of_the_whole(tmp_path):
    adapter, source = own_dataset(tmp_path, "raise RuntimeError('no')")
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "whole", "-j", 1) == 1
    assert sorted(run_shards(adapter, source, tmp_path / "out", 3)) == [0, 0, 1]
    assert bcseg("merge", tmp_path / "out") == 1
    assert content(tmp_path / "out" / "mine") == content(tmp_path / "whole" / "mine")
    logs = [path.read_text() for path in (tmp_path / "out" / "mine" / "logs").iterdir()]
    assert sum("RuntimeError: no" in text for text in logs) == 1


def test_a_pair_whose_source_is_gone_is_told_by_the_merge(tmp_path):
    source, whole, out = (tmp_path / name for name in ("source", "whole", "out"))
    copy_of("inbreast", source)
    bcseg("refactor", "inbreast", source, "-o", whole, "-j", 1)
    run_shards("inbreast", source, out, 3)
    lost = rows(whole / "inbreast", "records.csv")[0]
    (source / lost["source_image"]).unlink()
    assert bcseg("refactor", "inbreast", source, "-o", whole, "-j", 1) == 1
    assert sorted(run_shards("inbreast", source, out, 3)) == [0, 0, 1]
    assert bcseg("merge", out) == 1
    assert codes(out / "inbreast")["source_gone"] == [lost["record_id"]]
    assert content(out / "inbreast") == content(whole / "inbreast")


def test_after_the_merge_there_is_nothing_to_do(run, divided):
    source, out = divided
    assert bcseg("merge", out) == 0
    before = everything(out / "inbreast" / "images")
    code, text, _ = run("refactor", "inbreast", source, "-o", out, "-j", 1, "--json")
    assert (code, json.loads(text)["fresh"]) == (0, 0)
    assert everything(out / "inbreast" / "images") == before
    code, text, _ = run("merge", out)
    assert (code, text) == (0, "nothing to merge: there are no shards here\n")


def test_shards_continue_what_is_merged(run, divided):
    """An archive that grew: only what is new is done, by shards of any number."""
    source, out = divided
    bcseg("merge", out)
    image = source / rows(out / "inbreast", "records.csv")[0]["source_image"]
    os.utime(image, ns=(1, 1))
    fresh = 0
    for number in (1, 2, 3):
        words = ("refactor", "inbreast", source, "-o", out, "-j", 1, "--json")
        fresh += json.loads(run(*words, "--shard", f"{number}/3")[1])["fresh"]
    assert fresh == 1
    assert bcseg("merge", out) == 0
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_merge_tells_what_a_run_tells(run, divided):
    code, text, err = run("merge", divided[1])
    assert code == 0
    assert "inbreast: 4 pairs in" in text
    assert "14 bits used look black" in err
    assert document(divided[1] / "inbreast")["content_sha256"] in text


def test_merge_speaks_json(run, divided):
    code, text, err = run("merge", divided[1], "--json", "--quiet")
    found = json.loads(text)
    assert (code, err, found["exit_code"], found["schema_version"]) == (0, "", 0, 1)
    assert [one["dataset"] for one in found["merged"]] == ["inbreast"]


def test_a_dry_run_merges_nothing(run, divided):
    _, out = divided
    before = everything(out)
    code, text, _ = run("merge", out, "--dry-run")
    assert code == 0
    assert "4 pairs would be in" in text
    assert everything(out) == before


def test_a_dry_run_of_a_shard_tells_its_own(run, tmp_path):
    found = []
    for number in (1, 2):
        words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out", "-n")
        code, text, _ = run(*words, "--shard", f"{number}/2", "--json")
        assert code == 0
        found.append(json.loads(text))
    assert [one["shard"] for one in found] == ["1/2", "2/2"]
    assert sum(one["pairs"] for one in found) == 4
    assert sum(one["items"]["images"]["found"] for one in found) == 6
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------ not a whole


def refused(run, out: Path) -> str:
    before = everything(out)
    code, text, err = run("merge", out)
    assert (code, text) == (2, "")
    assert everything(out).keys() == before.keys()
    assert {name: data for name, (_, data) in everything(out).items()} == {
        name: data for name, (_, data) in before.items()
    }
    return err


def test_a_missing_shard_is_named(run, tmp_path):
    for number in (1, 4):
        words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out", "-j", 1)
        assert bcseg(*words, "--shard", f"{number}/4") == 0
    assert "missing: shard 2/4, 3/4" in refused(run, tmp_path / "out")


def test_an_unfinished_shard_is_named(run, divided):
    source, out = divided
    books = out / "inbreast" / ".shards" / "2-of-2"
    (books / "shard.json").unlink()
    assert "not finished: shard 2/2" in refused(run, out)
    assert bcseg("refactor", "inbreast", source, "-o", out, "-j", 1, "--shard", "2/2") == 0
    assert bcseg("merge", out) == 0
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_shard_whose_source_went_away_is_not_finished(run, tmp_path, monkeypatch):
    adapter, source = own_dataset(tmp_path, f"os.rename({str(tmp_path / 'mine')!r}, 'gone')")
    monkeypatch.chdir(tmp_path)
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "out", "--shard", "1/1", "-j1") == 1
    assert "not finished: shard 1/1" in refused(run, tmp_path / "out")


def test_another_number_of_shards_is_refused(run, divided):
    source, out = divided
    before = everything(out)
    code, _, err = run("refactor", "inbreast", source, "-o", out, "--shard", "1/3")
    assert code == 2
    assert "divided into 2 shards, not into 3" in err
    assert everything(out).keys() == before.keys()
    shutil.copytree(out / "inbreast/.shards/1-of-2", out / "inbreast/.shards/1-of-3")
    assert "there are shards of 2 and of 3" in refused(run, out)


def test_other_options_are_refused_at_once_and_by_the_merge(run, divided):
    source, out = divided
    words = ("refactor", "inbreast", source, "-o", out, "-j", 1, "--shard")
    for number in (1, 2):
        code, _, err = run(*words, f"{number}/2", "--flip")
        assert code == 2
        assert "--flip: no there, yes now" in err
    assert bcseg(*words, "1/2", "--flip", "--redo") == 0
    assert "--flip: yes in shard 1/2, no in it" in refused(run, out)
    assert bcseg(*words, "2/2", "--flip", "--redo") == 0
    assert bcseg("merge", out) == 0
    assert content(out / "inbreast") == content(finished("inbreast", "--flip"))


def test_another_version_is_named(run, divided):
    _, out = divided
    path = out / "inbreast" / ".shards" / "2-of-2" / "shard.json"
    said = json.loads(path.read_text())
    said["about"]["bcseg"] = "0.0.1"
    path.write_text(json.dumps(said))
    assert "shard 2/2 was made with bcseg 0.0.1" in refused(run, out)


def test_a_source_that_changed_between_shards_is_found(run, divided):
    source, out = divided
    table = next(source.rglob("*.csv"))
    table.write_text(table.read_text().replace(";2;", ";3;"))
    words = ("refactor", "inbreast", source, "-o", out, "-j", 1, "--shard")
    assert bcseg(*words, "1/2") == 0
    assert "saw another source" in refused(run, out)
    assert bcseg(*words, "2/2") == 0
    assert bcseg("merge", out) == 0
    bcseg("refactor", "inbreast", source, "-o", out.with_name("whole"), "-j", 1)
    assert content(out / "inbreast") == content(out.with_name("whole") / "inbreast")


def test_a_root_is_merged_as_a_whole_or_not_at_all(run, divided):
    _, out = divided
    words = ("refactor", "cdd", original("cdd"), "-o", out, "-j", 1, "--shard")
    assert bcseg(*words, "1/2") == 0
    assert "shards of cdd do not make a whole" in refused(run, out)
    assert bcseg(*words, "2/2") == 0
    assert bcseg("merge", out) == 0
    assert content(out / "cdd") == content(finished("cdd"))


def test_a_ledger_that_does_not_add_up_is_no_whole(run, divided):
    _, out = divided
    journal = out / "inbreast" / ".shards" / "1-of-2" / ".journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-1]))  # a record lost
    code, _, err = run("merge", out)
    assert code == 1
    assert "table rows are unaccounted for" in err
    assert (out / "inbreast" / ".shards").is_dir()
    assert not (out / "inbreast" / "dataset.json").exists()


@pytest.mark.parametrize("command", ["stats", "verify", "why", "report", "select", "score"])
def test_other_commands_send_to_merge(run, divided, tmp_path, command):
    _, out = divided
    (tmp_path / "list.csv").write_text("dataset,record_id\n")
    words = {
        "why": ("why", "1", out),
        "select": ("select", out, "--manifest", tmp_path / "list.csv", "-o", tmp_path / "chosen"),
    }.get(command, (command, out))
    code, _, err = run(*words)
    assert code == 2
    assert f"bcseg merge {out}" in err


def test_nothing_at_all_is_no_root(run, tmp_path):
    assert run("merge", tmp_path / "none")[0] == 2


# ------------------------------------------------------------------------------ beside others


def lock_of(pid: int, host: str = "") -> str:
    return json.dumps({"host": host or socket.gethostname(), "pid": pid, "time": 0})


def test_a_shard_is_not_run_twice_at_once(run, divided):
    source, out = divided
    (out / "inbreast/.shards/1-of-2/.lock").write_text(lock_of(7, "elsewhere"))
    code, _, err = run("refactor", "inbreast", source, "-o", out, "--shard", "1/2")
    assert code == 2
    assert "process 7 on elsewhere" in err
    assert bcseg("refactor", "inbreast", source, "-o", out, "-j", 1, "--shard", "2/2") == 0


def test_nobody_merges_or_starts_over_while_a_shard_runs(run, divided):
    source, out = divided
    (out / "inbreast/.shards/2-of-2/.lock").write_text(lock_of(os.getppid()))
    for words in (("merge", out), ("refactor", "inbreast", source, "-o", out, "--redo")):
        before = everything(out)
        code, _, err = run(*words)
        assert code == 2
        assert f"process {os.getppid()} on" in err
        assert everything(out).keys() == before.keys()


def test_no_shard_begins_while_the_whole_is_at_work(run, divided):
    source, out = divided
    (out / "inbreast/.lock").write_text(lock_of(os.getppid()))
    code, _, err = run("refactor", "inbreast", source, "-o", out, "--shard", "1/2")
    assert code == 2
    assert f"process {os.getppid()} on" in err


def test_a_merge_that_ends_under_a_beginning_shard_is_seen(tmp_path, monkeypatch):
    """The merge takes `.shards` away after the shard took its lock, and is gone when it looks."""
    folder = tmp_path / "inbreast"
    looked = shards.refuse_running

    def merge_ends(place: Path) -> None:
        looked(place)
        shutil.rmtree(folder / ".shards")

    monkeypatch.setattr(shards, "refuse_running", merge_ends)
    with pytest.raises(UsageError, match="just begun"), shards.at_work(folder, Shard(1, 2)):
        pytest.fail("it works without a lock")


def test_a_plain_run_leaves_shards_alone(run, divided):
    source, out = divided
    before = everything(out)
    code, _, err = run("refactor", "inbreast", source, "-o", out, "-j", 1)
    assert code == 2
    assert f"bcseg merge {out}" in err
    assert everything(out).keys() == before.keys()
    assert bcseg("refactor", "inbreast", source, "-o", out, "-j", 1, "--redo") == 0
    assert not (out / "inbreast" / ".shards").exists()
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_shard_takes_no_other_options_over_finished_pairs(run, tmp_path):
    shutil.copytree(finished("inbreast").parent, tmp_path / "out")
    words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out", "--shard", "1/2")
    for redo in ((), ("--redo",)):
        code, _, err = run(*words, "--flip", *redo)
        assert code == 2
        assert "--flip: no there, yes now" in err


def test_a_limit_means_nothing_for_a_shard(run, tmp_path):
    words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out")
    code, _, err = run(*words, "--shard", "1/2", "--limit", 1)
    assert code == 2
    assert "--limit" in err
    assert not (tmp_path / "out").exists()


def test_shards_do_not_unpack_a_tar_each(run, tmp_path):
    shutil.make_archive(str(tmp_path / "all"), "tar", original("cdd"))
    code, _, err = run("refactor", "cdd", tmp_path / "all.tar", "-o", tmp_path / "o", "--shard=1/2")
    assert code == 2
    assert "tar -xf" in err
    assert not (tmp_path / "o").exists()


def test_redo_of_a_shard_touches_its_own_pairs_only(run, divided):
    source, out = divided
    own = {row["record_id"] for row in rows(out / "inbreast/.shards/1-of-2", "records.csv")}
    before = {path.name: path.stat().st_mtime_ns for path in (out / "inbreast/images").iterdir()}
    code, text, _ = run(
        "refactor", "inbreast", source, "-o", out, "-j", 1, "--shard", "1/2", "--redo", "--json"
    )
    assert (code, json.loads(text)["fresh"]) == (0, len(own))
    after = {path.name: path.stat().st_mtime_ns for path in (out / "inbreast/images").iterdir()}
    assert {name[:-4] for name in after if after[name] != before[name]} == own


# ------------------------------------------------------------------------------ killed


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def started(*words: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "bcseg", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(is_so, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_proc
def test_shards_at_once_and_one_of_them_killed(tmp_path):
    """Shard 1 waits in the middle; shard 2 runs beside it; shard 1 dies, and is continued."""
    go, out = tmp_path / "go", tmp_path / "out"
    wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    adapter, source = own_dataset(tmp_path, wait, at="50")
    assert [Shard(1, 2).holds(record_id) for record_id in ("10", "50")] == [True, True]
    words = ("refactor", adapter, source, "-o", out, "-j", 1, "--shard")
    process = started(*words, "1/2")
    until((out / "mine" / "masks" / "40.png").exists, process)
    assert bcseg(*words, "2/2") == 0
    twin = started(*words, "1/2")
    assert twin.wait(timeout=120) == 2, twin.communicate()[1]
    assert f"process {process.pid} on" in twin.communicate()[1]
    assert bcseg("merge", out) == 2
    process.kill()
    process.communicate()
    assert bcseg("merge", out) == 2
    go.touch()
    assert bcseg(*words, "1/2") == 0
    assert bcseg("merge", out) == 0
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "whole", "-j", 1) == 0
    assert content(out / "mine") == content(tmp_path / "whole" / "mine")


@pytest.mark.parametrize("step", ["records.csv", ".journal.jsonl", "dataset.json", ".shards"])
def test_a_merge_that_was_killed_is_done_again(divided, monkeypatch, step):
    """Killed just before it writes, or removes, something."""
    _, out = divided
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if Path(target).parent == out / "inbreast" and step in (Path(target).name, path.name):
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    assert bcseg("merge", out) == 130
    monkeypatch.undo()
    assert bcseg("stats", out) == 2, "it is not merged"
    assert bcseg("merge", out) == 0
    assert content(out / "inbreast") == content(finished("inbreast"))
    assert {path.name for path in out.rglob(".*")} == {".gitignore", ".journal.jsonl"}
