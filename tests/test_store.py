"""Files that are whole or not there, the journal, the lock."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bcseg import store
from bcseg.errors import RecordError, UsageError
from bcseg.store import (
    Journal,
    Lock,
    OutputError,
    is_trace,
    remove_parts,
    write_atomic,
    write_pair,
)

# ------------------------------------------------------------------------------ files


def test_a_file_is_written_with_its_folders(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c.png", b"new")
    write_atomic(tmp_path / "a" / "b" / "c.png", b"newer")
    assert (tmp_path / "a" / "b" / "c.png").read_bytes() == b"newer"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.png"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, step):
    def refuse(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "table.csv"
    write_atomic(path, b"old")
    monkeypatch.setattr(Path, step, refuse)
    with pytest.raises(OutputError, match=r"cannot write table.csv: No space left") as caught:
        write_atomic(path, b"new")
    assert caught.value.exit_code == 1
    with pytest.raises(RecordError) as failed:
        write_pair(path, b"new")
    assert failed.value.code == "write_failed"
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["table.csv"]


def test_an_interrupt_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    write_atomic(path, b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_bytes() == b"old"


def test_two_processes_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    used = []
    replace = Path.replace

    def spy(path: Path, to: Path) -> Path:
        used.append(path.name)
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", spy)
    for pid in (4711, 4712):
        monkeypatch.setattr("bcseg.store.os.getpid", lambda pid=pid: pid)
        write_atomic(tmp_path / "1.png", b"same")
    assert len(set(used)) == 2
    assert all(name.startswith(".") for name in used)


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
    for name in ("images/.1.png.77.part", ".journal.jsonl.part", ".lock.7.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    kept = ["images/1.png", "images/part", "my.part", ".journal.jsonl"]
    for name in kept:
        (tmp_path / name).write_bytes(b"!")
    remove_parts(tmp_path)
    files = (path for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(path.relative_to(tmp_path).as_posix() for path in files) == sorted(kept)


def test_traces_of_a_killed_start():
    names = (".lock", ".lock.1.part", "images", ".git", "a.part", ".journal.jsonl")
    assert [name for name in names if is_trace(name)] == [".lock", ".lock.1.part"]


# ------------------------------------------------------------------------------ journal


def entry(word: str = "", **more: object) -> dict:
    plain = {"fate": "written", "key": word, "files": {}, "stamps": {}, "written": {}}
    return plain | more


def loaded(folder: Path) -> Journal:
    journal = Journal(folder)
    journal.load()
    return journal


@pytest.fixture
def journal(tmp_path):
    started = Journal(tmp_path)
    started.start({"dataset": "mine", "size": 64})
    for number in (2, 1, 3):
        started.append(f"r{number}", entry(f"first {number}"))
    return started


def test_a_journal_remembers(journal, tmp_path):
    journal.append("r2", entry("second ü \ud800"))
    again = loaded(tmp_path)
    assert again.identity == {"dataset": "mine", "size": 64}
    assert again.ids() == ["r1", "r2", "r3"]
    assert again.get("r2") == {"id": "r2"} | entry("second ü \ud800")
    assert again.get("r4") is None
    assert [one["key"] for one in again.entries()] == ["first 1", "second ü \ud800", "first 3"]


def test_a_folder_without_journal(tmp_path):
    empty = loaded(tmp_path)
    assert (empty.identity, empty.ids()) == (None, [])
    assert not list(tmp_path.iterdir())


def test_forgotten_records_go_when_it_is_rewritten(journal, tmp_path):
    journal.append("r1", entry("second"))
    journal.forget("r3")
    size = journal.path.stat().st_size
    journal.rewrite()
    assert journal.path.stat().st_size < size
    assert loaded(tmp_path).ids() == ["r1", "r2"]
    journal.append("r4", entry("after"))
    assert [one["key"] for one in loaded(tmp_path).entries()] == ["second", "first 2", "after"]


def test_every_torn_end_loses_at_most_its_line(journal, tmp_path):
    data = journal.path.read_bytes()
    lines = data.splitlines(keepends=True)
    for length in range(len(data)):
        journal.path.write_bytes(data[:length])
        found = loaded(tmp_path)
        whole = len([1 for end in range(len(lines)) if len(b"".join(lines[: end + 1])) <= length])
        assert len(found.ids()) == max(0, whole - 1)
        assert (found.identity is not None) == (whole > 0)


def test_loading_changes_nothing_and_writing_mends(journal, tmp_path):
    torn = journal.path.read_bytes()[:-10]
    journal.path.write_bytes(torn + b"\x00\xffjunk\n" * 1000)
    before = journal.path.read_bytes()
    found = loaded(tmp_path)
    assert journal.path.read_bytes() == before
    found.append("r9", entry("new"))
    assert loaded(tmp_path).ids() == ["r1", "r2", "r9"]
    assert journal.path.stat().st_size < len(before)


@pytest.mark.parametrize(
    "line", [b"[]", b"3", b"{}", b'{"id": "r9"}', b'{"identity": 3}', b"\xff", b"", b"null"]
)
def test_lines_that_are_none_end_it(journal, tmp_path, line):
    with journal.path.open("ab") as file:
        file.write(line + b"\n")
    assert loaded(tmp_path).ids() == ["r1", "r2", "r3"]


def test_a_disk_that_refuses_the_journal(journal, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=r"cannot write .journal.jsonl: Input/output error"):
        journal.append("r4", entry())


# ------------------------------------------------------------------------------ lock


def test_a_lock_is_there_while_it_is_held(tmp_path):
    with Lock(tmp_path):
        text = json.loads((tmp_path / ".lock").read_text())
        assert (text["host"], text["pid"]) == (socket.gethostname(), os.getpid())
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert not list(tmp_path.iterdir())


def test_folders_made_for_nothing_are_removed(tmp_path):
    with Lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a").exists()
    with Lock(tmp_path / "a" / "b"):
        (tmp_path / "a" / "mine").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_a_folder_that_was_there_stays(tmp_path):
    with Lock(tmp_path):
        pass
    assert tmp_path.is_dir()


@pytest.mark.parametrize("links", [True, False])
def test_a_live_run_keeps_its_lock(tmp_path, monkeypatch, links):
    if not links:  # as on some network and memory-card file systems

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr("bcseg.store.os.link", refuse)
    with Lock(tmp_path):
        text = (tmp_path / ".lock").read_text()
        # another process, as it seems: this one's parent
        (tmp_path / ".lock").write_text(text.replace(str(os.getpid()), str(os.getppid())))
        with pytest.raises(UsageError) as caught, Lock(tmp_path):
            pytest.fail("two runs at once")
        assert f"process {os.getppid()} on {socket.gethostname()}" in str(caught.value)
        assert "delete" in caught.value.hint
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_the_lock_of_another_host_is_never_broken(tmp_path):
    text = json.dumps({"host": "elsewhere", "pid": 2**22 + 1})
    (tmp_path / ".lock").write_text(text)
    with pytest.raises(UsageError, match="on elsewhere"), Lock(tmp_path):
        pytest.fail("broken")
    assert (tmp_path / ".lock").read_text() == text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "dead", "own"])
def test_a_stale_lock_is_taken_over(tmp_path, text):
    if text == "dead":
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        text = json.dumps({"host": socket.gethostname(), "pid": process.pid})
    elif text == "own":  # of a run before the machine, or container, started anew
        text = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
    (tmp_path / ".lock").write_text(text)
    with Lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to the output folder"):
        Lock(tmp_path / "file" / "deep").__enter__()


def test_two_that_find_a_dead_lock_do_not_both_take_it(tmp_path, monkeypatch):
    """The second has read the dead lock, and takes it away when the first has put its own there."""
    (tmp_path / ".lock").write_text("")
    first = Lock(tmp_path)
    looked = store.refuse_running

    def overtaken(folder: Path) -> str:
        text = looked(folder)
        monkeypatch.setattr(store, "refuse_running", looked)
        first.__enter__()
        other = {"host": "elsewhere", "pid": 7, "time": 0}
        (folder / ".lock").write_text(json.dumps(other))  # this process would be taken for dead
        return text

    monkeypatch.setattr(store, "refuse_running", overtaken)
    with pytest.raises(UsageError, match="process 7 on elsewhere"):
        Lock(tmp_path).__enter__()
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == 7
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_lock_that_was_taken_away_is_missed(tmp_path):
    with Lock(tmp_path) as lock:
        lock.check()
        (tmp_path / ".lock").unlink()
        with pytest.raises(UsageError, match="just begun"):
            lock.check()
