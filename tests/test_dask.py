"""A real Dask cluster: a scheduler and workers, each a process of its own on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archives import bcseg, codes, content, finished, original, own_dataset, rows
from bcseg import dask_cluster
from bcseg.errors import UsageError
from bcseg.outcome import Job
from bcseg.settings import Settings
from bcseg.source import open_source
from cluster import Processes, client
from object_storage import bucket, credentials
from running import until

__all__ = ["bucket", "credentials"]  # fixtures
distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    cluster = Processes(tmp_path_factory.mktemp("cluster"))
    cluster.schedule()
    yield cluster
    cluster.end()


@pytest.fixture
def cluster(started):
    started.fill_up(2)
    return started


def run_in_process(cluster: Processes, *words: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "bcseg", "refactor", *map(str, words), "--dask", cluster.address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


# ------------------------------------------------------------------------------ the same work


def test_the_result_is_that_of_a_local_run(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers have another current folder
    words = ("refactor", "inbreast", original("inbreast"), "-o", "out", "--dask", cluster.address)
    assert bcseg(*words) == 0
    assert content(tmp_path / "out" / "inbreast") == content(finished("inbreast"))
    assert {path.name for path in (tmp_path / "out" / "inbreast").rglob(".*")} == {".journal.jsonl"}


def test_failures_and_progress_are_those_of_a_local_run(cluster, tmp_path, run, monkeypatch):
    adapter, source = own_dataset(tmp_path, "raise RuntimeError('no')")
    monkeypatch.chdir(tmp_path)
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr("bcseg.console.Progress.update", lambda _, *numbers: shown.append(numbers))
    code, _, err = run("refactor", "./mine.py", source, "-o", "out", "--dask", cluster.address)
    assert code == 1, err
    assert "failed 30: a bug in bcseg: RuntimeError" in err
    assert shown == [(number, 6) for number in range(1, 7)]
    assert bcseg("refactor", adapter, source, "-o", tmp_path / "local", "-j", 1) == 1
    assert content(tmp_path / "out" / "mine") == content(tmp_path / "local" / "mine")


def test_source_and_root_on_object_storage(started, bucket):
    started.end(started.workers)  # those of other tests know no storage: new ones do
    started.fill_up(2)
    source, root = bucket.put(original("csaw"), "original"), bucket.address("pairs")
    assert bcseg("refactor", "csaw", source, "-o", root, "--dask", started.address) == 0
    assert bucket.content("pairs/csaw") == content(finished("csaw"))
    started.end(started.workers)


def test_a_shard_on_a_cluster(cluster, tmp_path):
    words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out")
    assert bcseg(*words, "--shard", "1/2", "--dask", cluster.address) == 0
    assert bcseg(*words, "--shard", "2/2", "-j", 1) == 0
    assert bcseg("merge", tmp_path / "out") == 0
    assert content(tmp_path / "out" / "inbreast") == content(finished("inbreast"))


def test_only_so_many_items_are_ahead(cluster, tmp_path):
    taken = []

    def items():
        for number in range(200):
            taken.append(number)
            yield number

    (tmp_path / "sign").write_text("here")
    with dask_cluster.connected(cluster.address, task(tmp_path / "sign")) as crew:
        results = crew.run(items(), died=lambda item: None)
        assert taken == []
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        assert len(taken) <= 2 * 4 + 2
        results.close()


# ------------------------------------------------------------------------------ deaths


@pytest.fixture
def stuck(tmp_path):
    """A dataset whose record 30 says which process has it, and waits for a file."""
    pids, go = tmp_path / "pids", tmp_path / "go"
    pids.mkdir()
    wait = (
        f"Path({str(pids)!r}, str(os.getpid())).touch()\n"
        f"        while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    )
    adapter, source = own_dataset(tmp_path, wait)

    def at_work() -> list[int]:
        return [int(path.name) for path in pids.iterdir()]

    def local() -> dict[str, bytes]:
        go.touch()
        assert bcseg("refactor", adapter, source, "-o", tmp_path / "local", "-j", 1) == 0
        return content(tmp_path / "local" / "mine")

    return (adapter, source, "-o", tmp_path / "out"), at_work, go.touch, local


def test_a_killed_worker_costs_nothing_and_a_new_one_may_join(cluster, tmp_path, stuck):
    words, at_work, go, local = stuck
    process = run_in_process(cluster, *words)
    until(at_work)
    (victim,) = at_work()
    assert victim in [worker.pid for worker in cluster.workers]
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(at_work()) == 2)  # another one has it
    cluster.fill_up(2)
    go()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert [row["record_id"] for row in rows(tmp_path / "out" / "mine", "records.csv")] == [
        str(number) for number in range(10, 70, 10)
    ]
    assert content(tmp_path / "out" / "mine") == local()


def test_the_next_run_forgets_one_that_was_killed(cluster, tmp_path, stuck):
    """Else every worker that joins later looks for the sign of the dead run, for seconds each."""
    words, at_work, go, _ = stuck
    process = run_in_process(cluster, *words)
    until(at_work)
    process.kill()
    process.communicate()
    go()

    def plugins(dask_scheduler) -> list[str]:
        return [name for name in dask_scheduler.worker_plugins if "bcseg" in name]

    with client(cluster) as one:
        assert len(one.run_on_scheduler(plugins)) == 1
        assert bcseg("refactor", *words, "--dask", cluster.address) == 0
        assert one.run_on_scheduler(plugins) == []


def test_a_record_that_kills_its_workers_is_the_only_loss(cluster, tmp_path):
    cluster.fill_up(3)  # it kills two: one that others are on, too, and one when it is alone
    adapter, source = own_dataset(tmp_path, "os._exit(1)")
    words = ("refactor", adapter, source, "-o", tmp_path / "out", "--dask", cluster.address)
    assert bcseg(*words) == 1
    assert codes(tmp_path / "out" / "mine") == {"worker_died": ["30"]}
    ids = [row["record_id"] for row in rows(tmp_path / "out" / "mine", "records.csv")]
    assert ids == ["10", "20", "40", "50", "60"]


def test_an_interrupt_ends_the_run_and_waits_for_what_is_at_work(cluster, tmp_path, stuck):
    words, at_work, go, local = stuck
    process = run_in_process(cluster, *words)
    until(lambda: at_work() and (tmp_path / "out/mine/masks/20.png").exists())
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)  # the record at work would write into a folder that is free
    go()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "what is finished stays" in err
    assert not list((tmp_path / "out" / "mine").rglob(".lock"))
    expected = local()
    assert bcseg("refactor", *words, "-j", 1) == 0
    assert content(tmp_path / "out" / "mine") == expected


def test_a_cluster_without_workers_left_is_given_up(cluster, tmp_path, monkeypatch, run):
    monkeypatch.setattr(dask_cluster, "LOOK", 0.2)
    monkeypatch.setattr(dask_cluster, "LONELY", 0.5)
    kill = f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
    adapter, source = own_dataset(tmp_path, kill)
    words = ("refactor", adapter, source, "-o", tmp_path / "out", "--dask", cluster.address)
    cluster.end([cluster.workers.pop()])
    until(lambda: cluster.there() == 1)
    code, _, err = run(*words)
    assert code == 1
    assert "no worker is left: waiting for one" in err
    assert "the Dask cluster went away" in err
    assert not list((tmp_path / "out" / "mine").rglob(".lock"))
    assert (tmp_path / "out/mine/masks/10.png").exists(), "what is finished is kept"


# ------------------------------------------------------------------------------ refusals


def refused(run, tmp_path: Path, address: str) -> str:
    words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out")
    code, out, err = run(*words, "--dask", address)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    return err


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "no such place", "x://y"])
def test_a_cluster_that_cannot_be_reached(run, tmp_path, monkeypatch, address):
    monkeypatch.setattr(dask_cluster, "CONNECT", 0.3)
    assert f"no Dask scheduler answers at {address}" in refused(run, tmp_path, address)


def test_a_file_that_is_no_scheduler_file(run, tmp_path):
    (tmp_path / "file").write_text("{}")
    err = refused(run, tmp_path, str(tmp_path / "file"))
    assert "no Dask scheduler answers" in err


def test_a_cluster_without_workers(run, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "FIRST", 0.5)
    empty = Processes(tmp_path)
    empty.schedule()
    try:
        assert "has no workers" in refused(run, tmp_path, empty.address)
    finally:
        empty.end()


def test_a_scheduler_that_dies_during_the_checks(run, tmp_path, monkeypatch):
    dying = Processes(tmp_path)
    dying.schedule()
    wait = distributed.Client.wait_for_workers

    def wait_in_vain(client, *words, **more):
        dying.end()
        return wait(client, *words, **more)

    monkeypatch.setattr(distributed.Client, "wait_for_workers", wait_in_vain)
    monkeypatch.setattr(dask_cluster, "CONNECT", 3)
    words = ("refactor", "inbreast", original("inbreast"), "-o", tmp_path / "out")
    try:
        code, out, err = run(*words, "--dask", dying.address)
    finally:
        dying.end()
    assert (code, out) == (1, ""), err
    assert "the Dask cluster went away" in err


def test_a_client_that_has_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT", 2)
    monkeypatch.setattr(dask_cluster, "LOOK", 0)
    (tmp_path / "sign").write_text("this run")
    dying = Processes(tmp_path)
    dying.schedule()
    dying.work()
    try:
        with dask_cluster.connected(dying.address, task(tmp_path / "sign")) as crew:
            assert crew.threads == 1
            dying.end()
            until(lambda: crew._client.status == "closed")
            with pytest.raises(dask_cluster.ClusterLost):
                crew.threads  # noqa: B018
            monkeypatch.setattr(dask_cluster, "LOOK", 100)
            with pytest.raises(dask_cluster.ClusterLost):
                list(crew.run([1, 2], died=str))
    finally:
        dying.end()


def test_workers_without_bcseg_or_with_another_version(cluster, run, tmp_path):
    strange = []
    for name, text in (("old", "__version__ = '0.0.1'"), ("none", "raise ImportError('no')")):
        package = tmp_path / name / "bcseg"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(text)
        strange.append(cluster.work(path=package.parent))
    until(lambda: cluster.there() == 4)
    err = refused(run, tmp_path, cluster.address)
    assert "bcseg 0.0.1" in err
    assert "bcseg is not installed there" in err
    assert err.count("tcp://127.0.0.1") == 2
    cluster.end(strange)
    until(lambda: cluster.there() == 2)


def identity(item: object, context: object) -> object:
    return item


def fit(context: object) -> None:
    if context == "unfit":
        raise UsageError("the source is not shared", where="somewhere")


def task(sign: Path, context: str = "") -> dask_cluster.Task:
    return dask_cluster.Task(function=identity, context=context, check=fit, sign=sign)


def test_an_output_that_is_not_shared(cluster, tmp_path, monkeypatch):
    """A relative path stands for a mount that leads elsewhere on each machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask_cluster, "SHARED", 0.2)
    (tmp_path / "sign").write_text("here")
    with (
        pytest.raises(UsageError, match="the output folder is not shared") as caught,
        dask_cluster.connected(cluster.address, task(Path("sign"))),
    ):
        pass
    assert str(caught.value).count("tcp://127.0.0.1") == 2
    (cluster.folder / "sign").write_text("here")  # a copy: they write where nobody looks
    with (
        pytest.raises(UsageError, match="the output folder is not shared"),
        dask_cluster.connected(cluster.address, task(Path("sign"))),
    ):
        pass


class Dying:
    """A client of a cluster in which tcp://b dies, as the scheduler knows after some looks."""

    status = "running"

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.registered: list[str] = []

    def nthreads(self) -> dict[str, int]:
        self.looks -= 1
        return {"tcp://a": 1} | ({"tcp://b": 1} if self.looks >= 0 else {})

    def run(self, function, **_):
        return {"tcp://a": function(), "tcp://b": OSError("Stream is closed")}

    def run_on_scheduler(self, function):
        return function()

    def register_plugin(self, plugin, name):
        if "tcp://b" in self.nthreads():
            raise OSError("Stream is closed")
        self.registered.append(name)


def test_a_worker_that_dies_while_it_is_asked_is_no_unfit_one(monkeypatch):
    dask_cluster._refuse_other_versions(Dying(looks=2))
    monkeypatch.setattr(dask_cluster, "GONE", 0.2)
    with pytest.raises(UsageError, match="tcp://b"):
        dask_cluster._refuse_other_versions(Dying(looks=999))


def test_a_worker_that_dies_while_the_others_are_told_of_a_run(monkeypatch):
    client = Dying(looks=2)
    dask_cluster._register(client, None, "mine")
    assert client.registered == ["mine"]
    monkeypatch.setattr(dask_cluster, "GONE", 0.2)
    with pytest.raises(dask_cluster.ClusterLost, match="went away"):
        dask_cluster._register(Dying(looks=999), None, "mine")


def test_workers_that_cannot_do_the_task(cluster, tmp_path):
    (tmp_path / "sign").write_text("here")
    with (
        pytest.raises(UsageError, match="the source is not shared; in: somewhere"),
        dask_cluster.connected(cluster.address, task(tmp_path / "sign", "unfit")),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["sign"]


def test_another_source_is_known_by_its_files(tmp_path):
    from bcseg.convert import check_source
    from bcseg.plan import some_stamps

    source = open_source(original("inbreast"))
    stamps = some_stamps(source)
    assert len(stamps) >= 3
    check_source(Job("inbreast", source, tmp_path, Settings()), stamps)
    (tmp_path / "other").mkdir()
    other = Job("inbreast", open_source(tmp_path / "other"), tmp_path, Settings())
    with pytest.raises(UsageError, match="the source is not shared"):
        check_source(other, stamps)


def test_dask_is_an_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'bcseg[dask]'" in refused(run, tmp_path, "tcp://127.0.0.1:1")
