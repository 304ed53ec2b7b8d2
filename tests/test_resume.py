"""A second run: what is kept, what is done again, what is refused; runs that were killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from archives import (
    bcseg,
    content,
    copy_of,
    document,
    everything,
    finished,
    original,
    own_dataset,
    rows,
)
from running import Running, all_ended, needs_proc, until

PAIRS = 4  # of the synthetic INbreast
XML, DICOMS = "INbreast Release 1.0/AllXML", "INbreast Release 1.0/AllDICOMs"


@pytest.fixture
def source(tmp_path):
    return copy_of("inbreast", tmp_path / "source")


@pytest.fixture
def out(tmp_path):
    """A finished root: a copy, so that a test may spoil it."""
    shutil.copytree(finished("inbreast").parent, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def again(run, source, tmp_path):
    """Run refactor on the copies; return exit code, fresh pairs and the document."""

    def command(*options: object) -> tuple[int, int, dict]:
        arguments = ("refactor", "inbreast", source, "-o", tmp_path / "out", "-j", 1, "--json")
        code, text, err = run(*arguments, *options)
        assert text, err
        found = json.loads(text)
        return code, found["fresh"], found

    return command


def written(root: Path) -> dict[str, int]:
    """Return when each picture was written."""
    return {
        path.relative_to(root).as_posix(): path.stat().st_mtime_ns
        for path in sorted(root.rglob("*.png"))
    }


def picture_names(root: Path) -> set[str]:
    return {path.stem for path in (root / "inbreast" / "images").iterdir()}


# ------------------------------------------------------------------------------ kept, redone


def test_a_second_run_does_nothing_again(again, out):
    before, tables = written(out), content(out / "inbreast")
    assert again()[:2] == (0, 0)
    assert written(out) == before
    assert content(out / "inbreast") == tables


def test_the_journal_does_not_grow(again, out):
    journal = out / "inbreast" / ".journal.jsonl"
    again()
    size = journal.stat().st_size
    again()
    again("--limit", 2)
    assert journal.stat().st_size == size


def test_one_changed_source_file_redoes_only_its_record(again, source, out):
    contours = sorted((source / XML).iterdir())[0]
    text = contours.read_text()
    contours.write_text(text.replace("</plist>", "<!-- seen -->\n</plist>"))
    before = written(out)
    code, fresh, _ = again()
    changed = {name for name, when in written(out).items() if when != before[name]}
    assert (code, fresh) == (0, 1)
    record_id = contours.stem
    assert changed == {f"inbreast/{part}/{record_id}.png" for part in ("images", "masks")}
    assert content(out / "inbreast") == content_of_fresh_run(source, out)


def content_of_fresh_run(source: Path, out: Path) -> dict[str, bytes]:
    dataset = next(path for path in out.iterdir() if path.is_dir()).name
    fresh = out.with_name("fresh")
    bcseg("refactor", dataset, source, "-o", fresh, "-j", 1)
    return content(fresh / dataset)


def test_a_changed_row_redoes_only_its_record(run, tmp_path):
    source = copy_of("bcdr", tmp_path / "source")
    out = tmp_path / "out"
    shutil.copytree(finished("bcdr").parent, out)
    table = next(source.rglob("bcdr_d01_outlines.csv"))
    (record_id,) = {
        row["record_id"] for row in rows(out / "bcdr", "lesions.csv") if "#1" in row["source"]
    } & {row["record_id"] for row in rows(out / "bcdr", "lesions.csv") if "d01" in row["source"]}
    lines = table.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("Malign", "Benign").replace("RCC", "RCC")
    assert lines[1] != table.read_text().splitlines(keepends=True)[1]
    table.write_text("".join(lines))
    before = written(out)
    code, text, _ = run("refactor", "bcdr", source, "-o", out, "-j", 1, "--json")
    changed = {Path(name).stem for name, when in written(out).items() if when != before[name]}
    assert (code, json.loads(text)["fresh"]) == (0, 1)
    assert changed == {record_id}
    # lesions of other records name the table's new hash, too
    assert content(out / "bcdr") == content_of_fresh_run(source, out)


@pytest.mark.parametrize("damage", ["deleted", "truncated"])
@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_spoilt_picture_is_made_again(again, out, part, damage):
    picture = sorted((out / "inbreast" / part).iterdir())[1]
    data = picture.read_bytes()
    if damage == "deleted":
        picture.unlink()
    else:
        picture.write_bytes(data[: len(data) // 2])
    assert again()[:2] == (0, 1)
    assert picture.read_bytes() == data


def test_a_touched_file_is_converted_again_unless_contents_are_compared(again, source, out):
    image = sorted((source / DICOMS).iterdir())[0]
    os.utime(image, ns=(1, 1))
    before = written(out)
    assert again("--rehash")[:2] == (0, 0)
    assert written(out) == before
    assert again()[:2] == (0, 0), "the comparison was remembered"
    os.utime(image, ns=(2, 2))
    assert again()[:2] == (0, 1)
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_rehash_finds_what_size_and_time_hide(again, source, out):
    image = next(
        path for path in (source / DICOMS).iterdir() if path.stem[:8] in picture_names(out)
    )
    status, data = image.stat(), bytearray(image.read_bytes())
    data[-100] ^= 1
    image.write_bytes(data)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert again()[:2] == (0, 0)
    assert again("--rehash")[:2] == (0, 1)


def test_redo_starts_over(again, out):
    before = written(out)
    assert again("--redo")[:2] == (0, PAIRS)
    assert all(when > before[name] for name, when in written(out).items())
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_failed_record_is_tried_again(again, source, out):
    image = sorted((source / DICOMS).iterdir())[0]
    data = image.read_bytes()
    image.write_bytes(data[:1000])
    code, fresh, found = again()
    assert (code, fresh, found["pairs"]) == (1, 0, PAIRS)
    (failure,) = found["failed"]
    assert failure["record_id"] == image.name[:8]
    assert failure["message"].endswith("the pair made from it before was kept")
    assert image.name[:8] in picture_names(out), "a half-copied source takes no pair along"
    image.write_bytes(data)
    assert again()[:2] == (0, 1)
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_record_that_is_left_out_now_leaves_no_picture(again, source, out):
    contours = sorted((source / XML).iterdir())[0]
    contours.write_text(contours.read_text().replace("<string>Mass</string>", "<string/>"))
    assert again()[:2] == (0, 0)
    assert contours.stem not in picture_names(out)
    assert content(out / "inbreast") == content_of_fresh_run(source, out)


# ------------------------------------------------------------------------------ another identity


def test_other_options_are_refused_by_name(run, source, out):
    before = everything(out)
    arguments = ("refactor", "inbreast", source, "-o", out)
    code, text, err = run(*arguments, "--size", 64, "--kind", "calcification", "--flip")
    assert (code, text) == (2, "")
    assert "--size: none there, 64 now" in err
    assert "--kind: mass there, calcification now" in err
    assert "--flip: no there, yes now" in err
    assert "--redo" in err
    assert "--out" in err
    assert everything(out).keys() == before.keys()
    for name, (_, data) in everything(out).items():
        assert data == before[name][1]


def test_a_dry_run_tells_of_other_options_too(run, source, out):
    code, _, err = run("refactor", "inbreast", source, "-o", out, "-n", "--size", 64)
    assert code == 2
    assert "--size: none there, 64 now" in err


def test_redo_takes_other_options(again, out):
    assert again("--redo", "--size", 64, "--masks", "lesion")[:2] == (0, PAIRS)
    assert document(out / "inbreast")["options"]["size"] == 64
    assert (out / "inbreast" / "lesions").is_dir()
    assert again("--redo")[:2] == (0, PAIRS)
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_jobs_limit_and_verbosity_are_no_other_options(again, out):
    assert again("--jobs", 2, "--limit", 9, "--quiet")[:2] == (0, 0)


@pytest.mark.parametrize("redo", [(), ("--redo",)])
def test_the_folder_of_another_dataset_is_refused(run, out, tmp_path, redo):
    (out / "inbreast").rename(out / "cdd")
    before = content(out / "cdd")
    code, _, err = run("refactor", "cdd", original("cdd"), "-o", out, *redo)
    assert code == 2
    assert "holds pairs of inbreast" in err
    assert content(out / "cdd") == before


def test_a_dataset_folder_is_no_root(run, out):
    code, _, err = run("refactor", "cdd", original("cdd"), "-o", out / "inbreast")
    assert code == 2
    assert f"--out {out}" in err
    assert not (out / "inbreast" / "cdd").exists()


def test_a_folder_with_something_else_is_refused(run, tmp_path):
    folder = tmp_path / "out" / "inbreast"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    for option in ((), ("--redo",)):
        code, _, err = run(
            "refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out", *option
        )
        assert code == 2
        assert "holds no pairs of bcseg (thesis.txt" in err
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


# ------------------------------------------------------------------------------ limit


def test_a_limit_first_and_the_rest_later(again, out):
    shutil.rmtree(out)
    code, fresh, found = again("--limit", 2)
    assert (code, fresh, found["pairs"]) == (0, 2, 2)
    assert found["reasons"]["images"]["left_out"]["limit"] >= 2
    assert again("--limit", 2)[1:] == (0, found | {"fresh": 0})
    assert again()[:2] == (0, PAIRS - 2)
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_workers_leave_nothing_beyond_the_limit(again, out):
    shutil.rmtree(out)
    again("--limit", 2, "-j", 2)
    two = content(out / "inbreast")
    first = sorted(row["record_id"] for row in rows(finished("inbreast"), "records.csv"))[:2]
    assert {name for name in two if name.endswith(".png")} == {
        f"{part}/{record_id}.png" for part in ("images", "masks") for record_id in first
    }
    shutil.rmtree(out)
    again("--limit", 2, "-j", 1)
    assert content(out / "inbreast") == two


def test_a_limit_keeps_what_is_there_and_counts_it(again, out):
    assert again("--limit", 1)[1:] == (0, again()[2])
    first = sorted((out / "inbreast" / "images").iterdir())[0]
    first.unlink()
    assert again("--limit", 1)[:2] == (0, 1)
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_failure_before_the_limit_stays_listed(again, source, out):
    shutil.rmtree(out)
    image = sorted((source / DICOMS).iterdir())[0]
    image.write_bytes(image.read_bytes()[:1000])
    code, _, found = again("--limit", 2)
    assert (code, len(found["failed"])) == (1, 1)
    tables = content(out / "inbreast")
    assert again("--limit", 2)[0] == 1
    assert content(out / "inbreast") == tables


# ------------------------------------------------------------------------------ source gone


@pytest.mark.parametrize("lost", ["image", "contours", "both"])
def test_a_pair_whose_source_is_gone_is_kept_and_reported(again, source, out, lost):
    image = sorted((source / DICOMS).iterdir())[0]
    contours = source / XML / f"{image.name[:8]}.xml"
    if lost in ("image", "both"):
        image.unlink()
    if lost in ("contours", "both"):
        contours.unlink()
    before, pair = written(out), image.name[:8]
    code, fresh, found = again()
    assert (code, fresh, found["pairs"]) == (1, 0, PAIRS)
    assert written(out) == before
    (row,) = [row for row in found["failed"] if row["code"] == "source_gone"]
    assert row["record_id"] == pair
    assert row["source"].endswith((image.name, contours.name))
    assert pair in {row["record_id"] for row in rows(out / "inbreast", "records.csv")}

    code, fresh, found = again("--prune")
    assert (code, fresh, found["pairs"]) == (0, 0, PAIRS - 1)
    assert pair not in picture_names(out)
    assert content(out / "inbreast") == content_of_fresh_run(source, out)


def test_a_source_that_comes_back_is_no_news(again, source, out, tmp_path):
    image = sorted((source / DICOMS).iterdir())[0]
    image.rename(tmp_path / "away")
    assert again()[0] == 1
    (tmp_path / "away").rename(image)
    assert again()[:2] == (0, 0)
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_renamed_folder_is_no_loss(again, source, out):
    (source / XML).rename(source / "contours")
    code, fresh, found = again()
    assert (code, fresh, found["pairs"]) == (0, PAIRS, PAIRS)
    (source / "INbreast Release 1.0").rename(source / "INbreast")
    assert again()[:2] == (0, PAIRS)
    assert content(out / "inbreast") == content_of_fresh_run(source, out)


def test_a_lost_table_of_contours_keeps_the_pairs(run, tmp_path):
    source = copy_of("bcdr", tmp_path / "source")
    out = tmp_path / "out"
    shutil.copytree(finished("bcdr").parent, out)
    before = written(out)
    lost = next(source.rglob("bcdr_f01_outlines.csv"))
    ids = {r["record_id"] for r in rows(out / "bcdr", "lesions.csv") if lost.name in r["source"]}
    lost.unlink()
    code, text, _ = run("refactor", "bcdr", source, "-o", out, "-j", 1, "--json")
    found = json.loads(text)
    assert (code, found["pairs"]) == (1, len(before) // 2)
    assert {row["record_id"] for row in found["failed"]} == ids
    assert written(out) == before


# ------------------------------------------------------------------------------ journal


@pytest.mark.parametrize(
    ("name", "junk"),
    [
        ("torn", b'{"id":"53100101","record_id":"5310'),
        ("garbage", bytes(range(256)) * 20),
        ("no journal line", b'{"id": 3}\n[1]\n'),
        ("other words", b"\n\n\xff\xfe\n"),
    ],
)
def test_junk_at_the_end_of_the_journal_is_ignored(again, out, name, junk):
    with (out / "inbreast" / ".journal.jsonl").open("ab") as journal:
        journal.write(junk)
    assert again()[:2] == (0, 0), name
    assert not (out / "inbreast" / ".journal.jsonl").read_bytes().endswith(junk)


@pytest.mark.parametrize("lines", [0, 1, 2, 3])
def test_what_a_torn_journal_does_not_say_is_done_again(again, out, lines):
    journal = out / "inbreast" / ".journal.jsonl"
    text = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(text[:lines]) + text[lines][:-40])
    code, fresh, _ = again()
    assert (code, fresh > 0) == (0, True)
    assert content(out / "inbreast") == content(finished("inbreast"))


def test_a_folder_without_journal_is_made_again(again, run, source, out):
    (out / "inbreast" / ".journal.jsonl").unlink()
    code, _, err = run("refactor", "inbreast", source, "-o", out, "--size", 64)
    assert code == 2
    assert "--size" in err
    assert again()[:2] == (0, PAIRS)


def test_a_damaged_document_is_no_obstacle(again, out):
    (out / "inbreast" / "dataset.json").write_text("{")
    (out / "inbreast" / ".journal.jsonl").write_bytes(b"\x00\n")
    assert again()[:2] == (0, PAIRS)
    assert content(out / "inbreast") == content(finished("inbreast"))


# ------------------------------------------------------------------------------ lock


def lock_of(host: str, pid: int) -> str:
    return json.dumps({"host": host, "pid": pid, "time": 0})


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("redo", [(), ("--redo",)])
def test_a_folder_at_work_is_refused(run, source, out, redo):
    lock = out / "inbreast" / ".lock"
    for host, pid in ((socket.gethostname(), os.getppid()), ("elsewhere", 1)):
        lock.write_text(lock_of(host, pid))
        before = content(out / "inbreast")
        code, _, err = run("refactor", "inbreast", source, "-o", out, *redo)
        assert code == 2
        assert f"process {pid} on {host}" in err
        assert str(lock) in err
        assert lock.read_text() == lock_of(host, pid)
        assert content(out / "inbreast") == before


@pytest.mark.parametrize("text", ["dead", "", "{"])
def test_the_lock_of_a_dead_run_is_taken_over(again, out, text):
    lock = out / "inbreast" / ".lock"
    lock.write_text(lock_of(socket.gethostname(), dead_process()) if text == "dead" else text)
    assert again()[:2] == (0, 0)
    assert not lock.exists()


# ------------------------------------------------------------------------------ killed


@pytest.fixture
def stuck(tmp_path):
    """A run that stays in the middle until a file appears, and what it gives in the end."""
    go = tmp_path / "go"
    wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    adapter, source = own_dataset(tmp_path, wait)

    def start(*options: str) -> Running:
        return Running("refactor", adapter, source, "-o", tmp_path / "out", *options)

    def finish() -> dict[str, bytes]:
        go.touch()
        assert bcseg("refactor", adapter, source, "-o", tmp_path / "fresh", "-j", 1) == 0
        assert bcseg("refactor", adapter, source, "-o", tmp_path / "out", "-j", 1) == 0
        assert len(rows(tmp_path / "out" / "mine", "records.csv")) == 6
        return content(tmp_path / "fresh" / "mine")

    return start, finish, go.touch, tmp_path / "out" / "mine"


@needs_proc
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_ends_the_run_at_once(stuck, jobs):
    start, finish, _, folder = stuck
    running = start("-j", jobs)
    running.wait_for_pairs(folder, 2)
    workers = running.workers()
    assert len(workers) == (2 if jobs == "2" else 0)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: workers get it, too
    code, err = running.end()
    assert code == 130, err
    assert "Traceback" not in err
    assert all_ended(workers)
    assert {path.name for path in folder.rglob(".*")} == {".journal.jsonl"}
    assert sorted(path.stem for path in (folder / "masks").iterdir())[:2] == ["10", "20"]
    expected = finish()
    assert content(folder) == expected


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_python_swallows_ends_the_run_all_the_same(tmp_path, number):
    """It does where it cleans up an object, of whatever library."""
    kill = f"os.kill(os.getpid(), {int(number)})"
    adapter, source = own_dataset(tmp_path, f"type('X', (), {{'__del__': lambda _: {kill}}})()")
    code, err = Running("refactor", adapter, source, "-o", tmp_path / "out", "-j", "1").end()
    assert "Exception ignored in" in err, "Python did not swallow it"
    assert code == 130, err
    assert len(list((tmp_path / "out/mine/masks").iterdir())) == 3
    assert {path.name for path in (tmp_path / "out").rglob(".*")} == {
        ".gitignore",
        ".journal.jsonl",
    }


@needs_proc
def test_a_batch_system_ends_a_run_as_an_interrupt_does(stuck):
    start, finish, _, folder = stuck
    running = start("-j", "1")
    running.wait_for_pairs(folder, 2)
    running.process.send_signal(signal.SIGTERM)
    code, err = running.end()
    assert code == 130, err
    assert "what is finished stays" in err
    assert {path.name for path in folder.rglob(".*")} == {".journal.jsonl"}
    expected = finish()
    assert content(folder) == expected


@needs_proc
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_that_was_killed_for_sure_is_continued(stuck, jobs):
    start, finish, _, folder = stuck
    running = start("-j", jobs)
    running.wait_for_pairs(folder, 2)
    workers = running.workers()
    running.process.send_signal(signal.SIGKILL)
    assert running.end()[0] == -signal.SIGKILL
    assert all_ended(workers)
    assert (folder / ".lock").exists()
    expected = finish()
    assert content(folder) == expected
    assert {path.name for path in folder.rglob(".*")} == {".journal.jsonl"}


@needs_proc
def test_a_killed_worker_costs_nothing(stuck):
    start, finish, go, folder = stuck
    running = start("-j", "2")
    running.wait_for_pairs(folder, 2)
    for pid in running.workers():
        with contextlib.suppress(ProcessLookupError):  # its pool has ended it by now
            os.kill(pid, signal.SIGKILL)
    until(running.workers, 60)  # the record is tried once more
    go()
    code, err = running.end()
    assert code == 0, err
    expected = finish()
    assert content(folder) == expected


@needs_proc
def test_two_runs_at_once_do_not_mix(stuck):
    start, finish, go, folder = stuck
    running = start("-j", "1")
    running.wait_for_pairs(folder, 1)
    code, err = start("-j", "1").end()
    assert code == 2
    assert f"process {running.pid} on {socket.gethostname()}" in err
    go()
    assert running.end()[0] == 0
    expected = finish()
    assert content(folder) == expected
