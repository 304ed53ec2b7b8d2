"""Work in processes: order, deaths, interrupts, orphans."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bcseg import executors, plan
from bcseg.errors import RecordError, SourceGone, UsageError
from bcseg.executors import usable_cpus
from bcseg.run import Run
from running import members, needs_proc, until

_prepared: list[object] = []


def prepare(context: object) -> None:
    if context == "fail":
        raise ValueError("no worker can start")
    _prepared.append(context)


def work(item: object) -> tuple[object, object]:
    """Do what the item says."""
    match item:
        case ("die",):
            os._exit(1)
        case ("die once", mark):
            if not Path(mark).exists():
                Path(mark).touch()
                os._exit(1)
        case ("slow", seconds):
            time.sleep(seconds)
        case ("gone",):
            raise SourceGone("the source went away", where="there", hint="mount it")
        case ("bad",):
            raise RecordError("bad", code="bad_rle", where="here", hint="look")
    return item, _prepared[-1]


def died(item: object) -> tuple[object, object]:
    return item, "died"


def run(items, *, workers: int = 2, context: object = "context"):
    return executors.run(work, items, workers=workers, prepare=prepare, context=context, died=died)


def no_worker_is_left() -> bool:
    deadline = time.monotonic() + 30  # the pool's own thread may be about to take note
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order_and_workers_are_prepared(workers):
    items = [("slow", 0.05), *range(20), ("slow", 0.02), 21]
    assert list(run(iter(items), workers=workers)) == [(item, "context") for item in items]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_to_do(workers):
    assert list(run([], workers=workers)) == []


def test_only_so_many_items_are_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = run(items())
    assert taken == []
    next(results)
    assert len(taken) <= 2 * 4
    results.close()


@pytest.mark.parametrize("place", [0, 1, 5, 11])
def test_an_item_that_kills_its_worker_is_the_only_loss(place):
    items: list[object] = list(range(12))
    items[place] = ("die",)
    expected = [(item, "context") for item in items]
    expected[place] = (("die",), "died")
    assert list(run(items)) == expected


def test_several_killers_one_after_the_other():
    items = [("die",), 1, ("die",), ("die",), 4]
    assert [outcome for _, outcome in run(items)] == [
        "died",
        "context",
        "died",
        "died",
        "context",
    ]


def test_a_death_that_does_not_repeat_costs_nothing(tmp_path):
    items = [0, ("die once", str(tmp_path / "mark")), 2, 3]
    assert list(run(items)) == [(item, "context") for item in items]
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_passes_with_all_it_says(workers):
    results = run([1, ("gone",), 3], workers=workers)
    assert next(results) == (1, "context")
    with pytest.raises(SourceGone) as caught:
        next(results)
    assert (caught.value.where, caught.value.hint) == ("there", "mount it")
    assert str(caught.value) == "the source went away\n  in: there\n  try: mount it"
    with pytest.raises(RecordError) as bad:
        list(run([("bad",)], workers=workers))
    assert (bad.value.code, bad.value.where, bad.value.hint) == ("bad_rle", "here", "look")
    assert no_worker_is_left()


def test_workers_that_cannot_start_are_no_want_of_memory():
    with pytest.raises(UsageError, match="cannot start") as caught:
        list(run([1, 2, 3], context="fail"))
    assert "--jobs 1" in caught.value.hint


def test_a_stopped_run_leaves_no_worker():
    results = run([("slow", 0), ("slow", 600), ("slow", 600), ("slow", 600)])
    next(results)
    assert len(multiprocessing.active_children()) == 2
    results.close()
    assert no_worker_is_left()


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has jobs behind it ignore it
sys.path.insert(0, {folder!r})
from test_executors import run
if __name__ == "__main__" or {guard} is False:
    for result in run([("slow", 0), *(("slow", 600),) * 4]):
        print(*sys.argv, flush=True)
"""


def start(tmp_path: Path, guard: bool = True) -> subprocess.Popen:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent), guard=guard))
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, how):
    process = start(tmp_path)
    process.stdout.readline()
    assert len(members(process.pid)) >= 3
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    _, err = process.communicate(timeout=60)
    until(lambda: not members(process.pid), 30)
    assert err.count("Traceback") == (how == signal.SIGINT), "workers do not complain"


def test_a_script_without_guard_is_told_so(tmp_path):
    process = start(tmp_path, guard=False)
    _, err = process.communicate(timeout=60)
    assert process.returncode
    assert '__name__ == "__main__"' in err.splitlines()[-1]


def test_the_number_of_cpus():
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


def test_a_run_takes_all_cpus_unless_told(monkeypatch):
    monkeypatch.setattr(executors, "usable_cpus", lambda: 3)
    assert plan.workers(Run()) == 3
    assert plan.workers(Run(jobs=2)) == 2
