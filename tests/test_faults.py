"""Disks that are full, read-only or forbidden, files that change, memory that ends: for real."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from archives import bcseg, codes, content, once, own_dataset, rows
from crashing import traces
from watched import watched

OTHERS = ["10", "20", "40", "50", "60"]
# runs in a mount namespace of its own: a small disk; commands; what is printed is a JSON list
ON_A_DISK = """
import json, os, shutil, subprocess, sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from archives import content, heard
from crashing import traces

disk, told = Path({disk!r}), []


def mount(*words):
    subprocess.run(["mount", *words, str(disk)], check=True)


def run(*words):
    code, _, said = heard(*words)
    assert "Traceback" not in said, said
    told.append([code, said, traces(disk)])


mount("-t", "tmpfs", "-o", "size={size}k", "disk")
{script}
if os.path.isdir(disk / "out" / "mine"):
    shutil.copytree(disk / "out" / "mine", {result!r})
print(json.dumps(told))
"""


def can_mount() -> bool:
    words = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        bool(shutil.which("unshare")) and not subprocess.run(words, capture_output=True).returncode
    )


needs_mount = pytest.mark.skipif(not can_mount(), reason="needs user namespaces with mounts")


@pytest.fixture
def on_a_disk(tmp_path):
    """Run a script on a disk of so many kB; return what its commands said, and the pairs folder."""

    def script(text: str, size: int) -> tuple[list[tuple[int, str, list[str]]], Path]:
        (tmp_path / "disk").mkdir()
        program = ON_A_DISK.format(
            tests=str(Path(__file__).parent),
            disk=str(tmp_path / "disk"),
            size=size,
            script=text,
            result=str(tmp_path / "result"),
        )
        words = ["unshare", "-rm", sys.executable, "-c", program]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), tmp_path / "result"

    return script


def filler(disk: Path, left: int) -> str:
    """Return code that fills a disk but for some kB, as another program might."""
    return (
        f"import shutil; free = shutil.disk_usage({str(disk)!r}).free - {left} * 1024; "
        f"open({str(disk / 'filler')!r}, 'wb').write(bytes(max(0, free)))"
    )


@needs_mount
@pytest.mark.parametrize(("at", "left"), [("10", 0), ("30", 0), ("30", 4), ("60", 8), ("60", 12)])
def test_a_disk_that_is_full(on_a_disk, tmp_path, at, left):
    """At the first record, in the middle, while the journal is written, while the tables are."""
    bad = once(tmp_path, filler(tmp_path / "disk", left))
    adapter, source = own_dataset(tmp_path, bad, at)
    words = ("refactor", str(adapter), str(source), "-o", str(tmp_path / "disk" / "out"), "-j", "1")
    told, result = on_a_disk(f"run(*{words})\n(disk / 'filler').unlink()\nrun(*{words})", 512)
    (code, said, left_behind), (again, _, nothing) = told
    assert code == 1
    assert "No space left on device" in said
    assert "free some space" in said
    assert left_behind == nothing == []
    assert again == 0
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "calm", "-j", 1) == 0
    assert content(result) == content(tmp_path / "calm" / "mine")


@needs_mount
def test_a_disk_that_is_read_only(on_a_disk, tmp_path):
    """Each command that would write there says so, and changes nothing."""
    adapter, source = own_dataset(tmp_path)
    out = tmp_path / "disk" / "out"
    refactor = ("refactor", str(adapter), str(source), "-o", str(out), "-j", "1")
    words = [
        refactor,
        ("select", str(out), "--where", "area_px > 0", "-o", f"{out}-selected"),
        ("export", "yolo", str(out), "-o", f"{out}-exported"),
        ("score", str(out), "-j", "1"),
        ("report", str(out), "-j", "1"),
        ("split", str(out), "--unknown-patient", "one-group"),
        ("verify", str(out), "-j", "1", "-o", str(out / "found.csv")),
    ]
    calls = "\n".join(f"run(*{one})" for one in words)
    told, _ = on_a_disk(f"run(*{refactor})\nmount('-o', 'remount,ro')\n{calls}", 2048)
    assert told[0][0] == 0
    for (code, said, left_behind), command in zip(told[1:], words, strict=True):
        assert code in (1, 2), command
        assert "Read-only file system" in said or "cannot write" in said, command
        assert str(out.parent) in said, command
        assert "  try: " in said, command
        assert left_behind == []


def forbidden(*commands: list[str]) -> list[dict]:
    """Run commands in a process for which permissions hold, of root too."""
    return watched(Path("/nowhere"), list(commands))["done"]


def test_an_output_that_is_forbidden(tmp_path):
    adapter, source = own_dataset(tmp_path)
    place = tmp_path / "locked"
    place.mkdir(mode=0o555)
    words = ["refactor", str(adapter), str(source), "-j", "1", "-o"]
    (one,) = forbidden([*words, str(place / "out")])
    assert one["code"] == 2
    assert "cannot write to the output folder: Permission denied" in one["said"]
    assert str(place) in one["said"]
    assert not list(place.iterdir())


@pytest.mark.parametrize("name", [".journal.jsonl", "records.csv", "images", "logs"])
def test_a_part_of_the_output_that_is_forbidden(tmp_path, name):
    """Files of somebody else in a folder of ours: a message, no traceback, nothing lost."""
    adapter, source = own_dataset(tmp_path)
    words = ["refactor", str(adapter), str(source), "-j", "1", "-o", str(tmp_path / "out")]
    assert bcseg(*words) == 0
    folder = tmp_path / "out" / "mine"
    before = content(folder)
    if name != ".journal.jsonl":
        (folder / "images" / "30.png").unlink()
    (folder / name).chmod(0o000 if (folder / name).is_file() else 0o555)
    (one,) = forbidden(words)
    (folder / name).chmod(0o755)
    assert "Traceback" not in one["said"]
    assert "a bug" not in one["said"]
    assert one["code"] in ((0,) if name == "records.csv" else (1, 2)), one["said"]
    if one["code"]:
        assert "Permission denied" in one["said"]
    assert traces(tmp_path / "out") == []
    assert bcseg(*words) == 0
    assert content(folder) == before


def test_a_source_file_that_is_forbidden(tmp_path):
    adapter, source = own_dataset(tmp_path)
    (source / "30.png").chmod(0o000)
    words = ["refactor", str(adapter), str(source), "-j", "1", "-o", str(tmp_path / "out")]
    (one,) = forbidden(words)
    assert one["code"] == 1
    assert "failed 30: the file cannot be read (Permission denied)" in one["said"]
    folder = tmp_path / "out" / "mine"
    assert codes(folder) == {"unreadable": ["30"]}
    assert [row["record_id"] for row in rows(folder, "records.csv")] == OTHERS


@pytest.mark.parametrize("change", ["vanishes", "is cut", "is another one"])
def test_a_source_file_that_is_not_what_it_was_when_the_run_began(tmp_path, change):
    """Between the plan and its turn: while record 30 is at work, something happens to 40."""
    image = tmp_path / "mine" / "40.png"
    bad = {
        "vanishes": f"os.unlink({str(image)!r})",
        "is cut": f"os.truncate({str(image)!r}, 50)",
        "is another one": f"os.replace({str(tmp_path / 'other.png')!r}, {str(image)!r})",
    }[change]
    adapter, source = own_dataset(tmp_path, once(tmp_path, bad))
    cv2.imwrite(str(tmp_path / "other.png"), cv2.imread(str(image), cv2.IMREAD_UNCHANGED) // 2)
    other = (tmp_path / "other.png").read_bytes()
    words = ("refactor", adapter, source, "-o", tmp_path / "out", "-j", 1)
    code = bcseg(*words)
    folder = tmp_path / "out" / "mine"
    own_dataset(tmp_path)
    if change == "is another one":
        image.write_bytes(other)
        assert code == 0
    else:
        assert code == 1
        assert codes(folder) == {"truncated" if change == "is cut" else "unreadable": ["40"]}
        ids = [row["record_id"] for row in rows(folder, "records.csv")]
        assert ids == ["10", "20", "30", "50", "60"]
    assert bcseg(*words) == 0
    assert bcseg(*words[:4], tmp_path / "calm", "-j", 1) == 0
    assert content(folder) == content(tmp_path / "calm" / "mine")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_worker_that_may_have_no_more_memory(tmp_path, jobs):
    """RLIMIT_AS, lowered to 100 MB above what the process has: the system says no."""
    limit = (
        "import resource; before = resource.getrlimit(resource.RLIMIT_AS)\n"
        "        size = int(Path('/proc/self/statm').read_text().split()[0]) * 4096 + (100 << 20)\n"
        "        resource.setrlimit(resource.RLIMIT_AS, (size, before[1]))\n"
        "        try: bytearray(1 << 30)\n"
        "        finally: resource.setrlimit(resource.RLIMIT_AS, before)"
    )
    adapter, source = own_dataset(tmp_path, limit)
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "out", "-j", jobs) == 1
    folder = tmp_path / "out" / "mine"
    assert codes(folder) == {"out_of_memory": ["30"]}
    assert [row["record_id"] for row in rows(folder, "records.csv")] == OTHERS


def test_a_worker_that_the_system_kills_for_want_of_memory(tmp_path):
    kill = f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
    adapter, source = own_dataset(tmp_path, kill)
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "out", "-j", 2) == 1
    folder = tmp_path / "out" / "mine"
    assert codes(folder) == {"worker_died": ["30"]}
    assert [row["record_id"] for row in rows(folder, "records.csv")] == OTHERS
    assert traces(tmp_path / "out") == []
