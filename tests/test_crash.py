"""Nothing is lost, half written or done twice, whatever ends a run and whenever.

`make test-crash` does the same at more moments and at every step.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

import pytest

import killing
from archives import bcseg, content
from bcseg import interrupts
from crashing import KINDS, own_scenes
from killing import Killer, some_kills
from running import needs_proc
from stepping import FAULTS, SIGNALS, stepped

SEED, KILLS = 20, 12
LOCAL = killing.TARGETS[:3]


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killer")
    one = Killer(own_scenes(folder), folder / "out")
    yield one
    one.end()


def name_of(kill: killing.Kill) -> str:
    return f"{kill.how} {kill.target}, {kill.scene}, {kill.phase} {kill.moment:.2f}"


@needs_proc
@pytest.mark.parametrize("kill", some_kills(KILLS - 2, SEED, LOCAL), ids=name_of)
def test_a_killed_run_loses_nothing(killer, kill):
    assert killer.kill(kill).faults == []


@needs_proc
@pytest.mark.parametrize("target", killing.TARGETS[3:])
def test_a_killed_run_on_a_cluster_loses_nothing(killer, target):
    pytest.importorskip("distributed")
    assert killer.kill(killing.Kill(target, "changed", "pairs", 0.5)).faults == []


@needs_proc
@pytest.mark.parametrize(
    "kill", some_kills(6, SEED, LOCAL[:2], ("SIGTERM", "SIGINT", "Ctrl-C")), ids=name_of
)
def test_an_interrupted_run_leaves_nothing_behind(killer, kill):
    told = killer.kill(kill)
    assert told.faults == []
    assert told.seconds < 60


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_step_loses_nothing(fault):
    """Some of the steps, with each fault others."""
    told = stepped(fault, *KINDS, first=1 + 3 * FAULTS.index(fault), every=17)
    assert {one["scene"] for one in told} == {*KINDS}
    assert [one for one in told if one["faults"]] == []


@needs_fork
def test_other_commands_end_at_an_interrupt_without_half_a_file():
    told = stepped("interrupt", "commands", first=2, every=6)
    assert {one["scene"] for one in told} >= {"select", "verify", "score", "report", "export"}
    assert [one for one in told if one["faults"]] == []


def test_an_interrupt_while_the_program_is_loaded(monkeypatch):
    class Impatient:
        def find_spec(self, name, *_):
            if name == "bcseg.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "bcseg.cli", raising=False)
    monkeypatch.delitem(sys.modules, "bcseg.__main__", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    before = {number: signal.getsignal(number) for number in SIGNALS.values() if number != 9}
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("bcseg", run_name="__main__")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 130


# ------------------------------------------------------------------------------ what broke


@pytest.fixture
def changed(tmp_path):
    """A finished root whose archive has changed since, and a run of it that is killed at work."""
    scene = own_scenes(tmp_path)["changed"]
    scene.lay(tmp_path / "out")
    return scene, tmp_path / "out"


def test_tables_are_withdrawn_before_the_pairs_that_they_name_change(changed, monkeypatch, run):
    scene, out = changed
    monkeypatch.setattr("bcseg.conversion._work", lambda *_: (_ for _ in ()).throw(SystemExit(9)))
    assert bcseg(*scene.words(out, "-j", 1)) == 9
    monkeypatch.undo()
    assert not {"dataset.json", "records.csv"} & content(scene.folder(out)).keys()
    for place in (out, scene.folder(out)):
        code, _, said = run("stats", place)
        assert code == 2
        assert "the run that makes mine has not ended" in said
        assert "again" in said
    assert bcseg(*scene.words(out, "-j", 1)) == 0
    assert run("stats", out)[0] == 0


def test_tables_of_pairs_that_do_not_change_stay_until_the_end(tmp_path, monkeypatch):
    scene = own_scenes(tmp_path)["grown"]
    out = tmp_path / "out"
    scene.lay(out)
    monkeypatch.setattr("bcseg.conversion._work", lambda *_: (_ for _ in ()).throw(SystemExit(9)))
    assert bcseg(*scene.words(out, "-j", 1)) == 9
    assert content(scene.folder(out)) == scene.old


def test_a_run_with_nothing_to_do_never_withdraws_the_tables(tmp_path, monkeypatch):
    scene = own_scenes(tmp_path)["fresh"]
    out = tmp_path / "out"
    assert bcseg(*scene.words(out, "-j", 1)) == 0
    monkeypatch.setattr("bcseg.pairs.withdraw_tables", lambda _: pytest.fail("withdrawn"))
    assert bcseg(*scene.words(out, "-j", 1)) == 0


def test_an_interrupt_of_a_command_is_forgotten_when_it_has_ended():
    """A program that calls bcseg again after one was interrupted is not stopped by that."""
    with pytest.raises(KeyboardInterrupt), interrupts.ended_by_signals():
        signal.raise_signal(signal.SIGINT)
    interrupts.stop_if_asked()
