"""The source is read, never changed: not by any command, not in any byte, time or right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archives import DATASETS, copy_of
from bcseg.cli import app
from watched import lock_away, tour, tree, watched

OTHER = {"demo"}  # makes and uses archives of its own


def test_the_tour_takes_every_command():
    from typer.main import get_command

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert known - OTHER == {words[0] for words in tour("bcdr", Path("a"), Path("b"))}


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_command_touches_a_read_only_source(dataset, tmp_path):
    source = copy_of(dataset, tmp_path / "source")
    lock_away(source)
    before = tree(source)
    told = watched(source, tour(dataset, source, tmp_path / "out"))
    assert told["touched"] == []
    assert tree(source) == before
    assert told["read_only"], "the test could write where nobody may"
    bad = [one for one in told["done"] if one["code"] not in (0, 1)]
    assert not bad
    failed = {one["command"][0] for one in told["done"] if one["code"]}
    assert failed <= {"verify"}, told["done"]


def test_the_watch_sees_what_changes_a_source(tmp_path):
    """The test above could not fail otherwise."""
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from watched import Watch
here = Path({str(tmp_path)!r})
watch = Watch(here)
(here / "a").write_text("")
os.utime(here / "a")
(here / "a").rename(here / "b")
(here / "b").chmod(0o600)
(here / "b").read_text()
(here / "b").unlink()
(here / "c").mkdir()
import json
print(json.dumps([one.split()[0] for one in watch.seen]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    assert json.loads(done.stdout) == [
        *("open", "os.utime", "os.rename", "os.rename", "os.chmod", "os.remove", "os.mkdir")
    ]
