"""One run at a time in a folder: who holds the lock, since when, and whether it is alive."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bcseg import lock
from bcseg.errors import UsageError
from bcseg.lock import Lock, is_trace


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


def of_the_parent() -> dict:
    """Return what the lock of another live process of this host holds: of this one's parent."""
    status = Path(f"/proc/{os.getppid()}/stat")
    started = status.read_text().rpartition(")")[2].split()[19] if status.exists() else ""
    return lock.holder({}) | {"pid": os.getppid(), "started": started}


@pytest.mark.parametrize("links", [True, False])
def test_a_live_run_keeps_its_lock(tmp_path, monkeypatch, links):
    if not links:  # as on some network and memory-card file systems

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr("bcseg.lock.os.link", refuse)
    with Lock(tmp_path):
        (tmp_path / ".lock").write_text(json.dumps(of_the_parent()))
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
    looked = lock.refuse_running

    def overtaken(folder: Path) -> str:
        text = looked(folder)
        monkeypatch.setattr(lock, "refuse_running", looked)
        first.__enter__()
        other = {"host": "elsewhere", "pid": 7, "time": 0}
        (folder / ".lock").write_text(json.dumps(other))  # this process would be taken for dead
        return text

    monkeypatch.setattr(lock, "refuse_running", overtaken)
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


def test_traces_of_a_killed_start():
    names = (".lock", ".lock.1.part", "images", ".git", "a.part", ".journal.jsonl")
    assert [name for name in names if is_trace(name)] == [".lock", ".lock.1.part"]


def test_a_lock_that_another_run_has_taken_meanwhile_stays(tmp_path):
    """Somebody deleted the lock of a run that still went on, and began another."""
    with Lock(tmp_path):
        (tmp_path / ".lock").write_text('{"host": "elsewhere", "pid": 7}')
    assert (tmp_path / ".lock").read_text() == '{"host": "elsewhere", "pid": 7}'


def test_a_program_that_ends_gives_its_lock_back(tmp_path):
    """An interrupt may strike between the end of the work and the end of its `with`."""
    program = (
        "import sys; from pathlib import Path; from bcseg.lock import Lock; "
        "Lock(Path(sys.argv[1])).__enter__()"
    )
    place = tmp_path / "pairs"
    subprocess.run([sys.executable, "-c", program, str(place)], check=True)
    assert not place.exists()


# ------------------------------------------------------------------------------ who, and alive?


def said_of(folder: Path, other: dict, *, silent: float = 0.0) -> tuple[str, str]:
    """Return message and remedy for a lock whose last sign of life is some seconds old."""
    path = folder / ".lock"
    path.write_text(json.dumps(other))
    then = time.time() - silent
    os.utime(path, (then, then))
    with pytest.raises(UsageError) as caught, Lock(folder):
        pytest.fail("two runs at once")
    assert path.read_text() == json.dumps(other)
    return str(caught.value), caught.value.hint


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "4711"}, "4711"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3"}, "4711_3"),
        ({"PBS_JOBID": "4711[3].head"}, "4711[3].head"),
        ({"LSB_JOBID": "4711", "LSB_JOBINDEX": "0"}, "4711"),
        ({"JOB_ID": "4711", "SGE_TASK_ID": "undefined"}, "4711"),
        ({"JOB_ID": "4711", "SGE_TASK_ID": "12"}, "4711_12"),
    ],
)
def test_a_lock_holds_the_job_of_the_scheduler(environment, job):
    assert lock.holder(environment).get("job") == job


def test_host_process_job_and_last_sign_of_life_are_said(tmp_path):
    other = {"host": "node7", "pid": 12, "job": "4711_3"}
    message, hint = said_of(tmp_path, other, silent=42)
    assert "process 12 on node7, job 4711_3, last alive 4" in message
    assert " s ago)" in message
    assert "wait for it" in hint
    message, hint = said_of(tmp_path, other, silent=3 * 3600)
    assert "last alive 3.0 h ago" in message
    assert "see whether it still runs on node7" in hint


def test_a_lock_shows_signs_of_life_until_it_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    before = set(threading.enumerate())
    path = tmp_path / ".lock"
    with Lock(tmp_path):
        os.utime(path, (0, 0))
        until = time.monotonic() + 30
        while path.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0
        path.write_text("of another run")
        os.utime(path, (0, 0))
        time.sleep(0.1)
        assert path.stat().st_mtime == 0, "the lock of another run is kept alive"
    assert set(threading.enumerate()) <= before


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_process_that_got_the_number_of_a_dead_run_is_not_that_run(tmp_path):
    (tmp_path / ".lock").write_text(json.dumps(of_the_parent() | {"started": "1"}))
    with Lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert f"process {os.getppid()}" in said_of(tmp_path, of_the_parent())[0]


def test_a_container_of_the_same_name_is_dead_only_when_it_is_silent(tmp_path):
    """Its processes cannot be seen from here, whatever their numbers."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    other = lock.holder({}) | {"pid": process.pid, "machine": "another boot pid:[1]"}
    assert f"process {process.pid}" in said_of(tmp_path, other, silent=20)[0]
    os.utime(tmp_path / ".lock", (0, 0))
    with Lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
