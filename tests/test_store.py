"""Files that are whole or not there, the journal, the lock."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bcseg.errors import RecordError
from bcseg.store import (
    Journal,
    OutputError,
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
