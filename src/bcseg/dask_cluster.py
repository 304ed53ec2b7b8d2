"""The same work on a Dask cluster: functions run over items on its workers, results in order.

Dask itself gives the work of a dead worker to another one. Here is what it leaves open: which
workers may take part, how many items are on their way, and how a run ends. What all items of a run
have in common goes to each worker once, as a plugin, so that workers that join later have it, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import pickle
import platform
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bcseg import __version__
from bcseg.errors import EXIT_FINDINGS, BcsegError, UsageError
from bcseg.lock import PART

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R")

_PLUGIN = "bcseg-"  # begins the name of a run's plugin
_AHEAD = 4  # items in flight for each thread of the cluster: bounds the memory of the parent
_NAMED = 5  # workers that a message names
CONNECT = 10.0  # seconds for the scheduler to answer
FIRST = 10.0  # seconds for the first worker to be there
SHARED = 5.0  # seconds until a file written elsewhere must be visible
GONE = 5.0  # seconds until the scheduler knows that a worker is dead
LOOK = 5.0  # seconds between two looks at a cluster that gives no result
_LOST = (OSError, TimeoutError, CancelledError)  # what talking to a lost cluster may raise
LONELY = 600.0  # seconds without any worker until the run gives up


class ClusterLost(BcsegError):
    """The cluster went away: the run stops, what is finished stays."""

    exit_code = EXIT_FINDINGS


class WorkerUnfit(BcsegError):
    """A worker that joined during the run cannot take part: the run stops."""

    exit_code = EXIT_FINDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[T, C, R]):
    """What workers do: `function(item, context)`.

    `check(context)` raises UsageError on a worker that cannot do it. `sign`: a file in the output
    folder that stays as it is while the run lasts, unlike any of other runs: who sees it sees the
    same folder.
    """

    function: Callable[[T, C], R]
    context: C
    check: Callable[[C], None]
    sign: Path

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.sign.parent


# ------------------------------------------------------------------------------ on a worker


class _Site:
    """A run on a worker: what it has in common, or why the worker cannot take part."""

    def __init__(self, task: Task[Any, Any, Any], fault: BcsegError | None) -> None:
        self.task = task
        self.fault = fault
        self.running = 0


_guard = threading.Lock()


@functools.cache
def _sites() -> dict[str, _Site]:
    """Return the runs that this worker takes part in, by their token."""
    return {}


def _enter(token: str, task: Task[Any, Any, Any], sign: str) -> None:
    """Take part in a run, or remember why not: Dask would only log it."""
    fault = None
    try:
        _check(task, sign)
    except BcsegError as error:
        fault = error
    with _guard:
        _sites()[token] = _Site(task, fault)


def _plugin(token: str, task: Task[Any, Any, Any], sign: str) -> Any:
    """Return the plugin that makes a worker part of a run."""
    from distributed import WorkerPlugin

    class Enter(WorkerPlugin):  # here, as its base is not imported before
        def setup(self, worker: object) -> None:
            _enter(token, task, sign)

    return Enter()


def _check(task: Task[Any, Any, Any], sign: str) -> None:
    """Raise UsageError if this worker does not see the output folder, or cannot do the task."""
    if not _soon(task.sign, sign):
        raise UsageError("the output folder is not shared", where=str(task.folder))
    task.check(task.context)


def _answer(task: Task[Any, Any, Any], sign: str) -> str:
    """Check this worker; leave a file for the parent to find, and return its name."""
    _check(task, sign)
    mark = f".{secrets.token_hex(8)}{PART}"
    try:
        (task.folder / mark).write_text(sign, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the output folder cannot be written to ({error.strerror})", where=str(task.folder)
        ) from error
    return mark


def _soon(path: Path, text: str) -> bool:
    """Tell whether a file with this text is there, or will be in a moment."""
    deadline = time.monotonic() + SHARED
    while True:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == text:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def _work(token: str, packed: bytes) -> Any:
    """Do one item; raises why this worker cannot, where it cannot."""
    with _guard:
        site = _sites().get(token)
        if site is None:
            raise WorkerUnfit("the run has ended")  # nobody waits for this any more
        if site.fault:
            raise WorkerUnfit(
                f"a worker on {platform.node()} cannot take part: {site.fault.args[0]}",
                where=site.fault.where,
                hint="end it, and run the same command: what is finished is kept",
            )
        site.running += 1
    try:
        return site.task.function(pickle.loads(packed), site.task.context)
    finally:
        with _guard:
            site.running -= 1


async def _leave(token: str) -> None:
    """Begin no further item of a run, and wait for those that are at work."""
    with _guard:
        site = _sites().pop(token, None)
    while site and site.running:
        await asyncio.sleep(0.02)


# ------------------------------------------------------------------------------ in the parent


def _cluster_lost() -> ClusterLost:
    return ClusterLost(
        "the Dask cluster went away",
        hint="start it anew and run the same command: what is finished is kept",
    )


@contextlib.contextmanager
def _talking(client: Any) -> Generator[None, None, None]:
    """Talk to the scheduler; raises ClusterLost if it does not answer any more."""
    try:
        yield
    except _LOST as error:
        raise _cluster_lost() from error
    except _stumbles() as error:
        if client.status == "running":
            raise
        raise _cluster_lost() from error


def _stumbles() -> tuple[type[Exception], ...]:
    """Return what a client raises that has closed itself, having waited for its scheduler."""
    from distributed import client

    return AttributeError, RuntimeError, getattr(client, "ClosedClientError", RuntimeError)


@contextlib.contextmanager
def connected(
    address: str, task: Task[T, C, R], say: Callable[[str], None] = lambda line: None
) -> Generator[Cluster[T, R], None, None]:
    """Yield the cluster at an address, or of a scheduler file, once its workers are fit.

    Raises UsageError if it cannot be reached, has no workers, or any of them cannot take part,
    ClusterLost if it goes away meanwhile.
    """
    client = _client(address)
    try:
        sign = task.sign.read_text(encoding="utf-8")
        with _talking(client):
            _refuse_without_workers(client, address)
            _refuse_other_versions(client)
            answers = _answers(client, _answer, task, sign)
        _refuse_unfit(answers, task, sign)
        with _taking_part(client, task, sign) as token:
            yield Cluster(client, token, say)
    finally:
        client.close(timeout=1)


@contextlib.contextmanager
def _taking_part(client: Any, task: Task[Any, Any, Any], sign: str) -> Generator[str, None, None]:
    """Make all workers part of a run, those that join later too; at its end, see them out.

    Nobody writes to the folder any more when this ends: other runs may.
    """
    token = secrets.token_hex(8)
    name = f"{_PLUGIN}{token} {client.id}"
    _forget_killed_runs(client)
    _register(client, _plugin(token, task, sign), name)
    try:
        yield token
    finally:
        if client.status == "running":
            # one after the other: a worker that dies meanwhile must not keep the rest
            with contextlib.suppress(ClusterLost), _talking(client):
                client.unregister_worker_plugin(name)
            with contextlib.suppress(ClusterLost), _talking(client):
                client.run(_leave, token, on_error="ignore")


def _forget_killed_runs(client: Any) -> None:
    """Take back the plugins of runs that were killed: every new worker would look for their signs.

    A plugin is called after its client, and the scheduler knows which clients are there.
    """

    def killed(dask_scheduler: Any, start: str = _PLUGIN) -> list[str]:
        plugins, clients = list(dask_scheduler.worker_plugins), dask_scheduler.clients
        ours = [name for name in plugins if name.startswith(start)]
        return [name for name in ours if name.partition(" ")[2] not in clients]

    with contextlib.suppress(ClusterLost), _talking(client):
        for name in client.run_on_scheduler(killed):
            client.unregister_worker_plugin(name)


def _register(client: Any, plugin: Any, name: str) -> None:
    """Give all workers a plugin; once more if one of them dies of all moments in this one."""
    deadline = time.monotonic() + GONE
    while True:
        try:
            with _talking(client):
                client.register_plugin(plugin, name=name)
            return
        except ClusterLost:
            if client.status != "running" or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _client(address: str) -> Any:
    try:
        import distributed
    except ImportError:
        raise UsageError("--dask needs Dask", hint="pip install 'bcseg[dask]'") from None
    connect: Any = distributed.Client
    try:
        if Path(address).is_file():
            place = json.loads(Path(address).read_text(encoding="utf-8"))["address"]
        else:
            place = address
        return connect(place, timeout=CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address}",
            where=str(error).split("\n", 1)[0],
            hint="what `dask scheduler` prints (tcp://HOST:8786), or its scheduler file",
        ) from error


def _refuse_without_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=FIRST)
    except TimeoutError:
        raise UsageError(
            f"the cluster at {address} has no workers",
            hint=f"dask worker {address} --nworkers -1 --nthreads 1; in a script, "
            "client.wait_for_workers(1) before it calls bcseg",
        ) from None


def _refuse_other_versions(client: Any) -> None:
    """Refuse a scheduler or workers with another Python or bcseg than the parent."""

    def version() -> str:  # a local function travels whole: it needs no bcseg to arrive
        import bcseg

        return bcseg.__version__

    for what, mine, asked in (
        ("Python", ".".join(platform.python_version_tuple()[:2]), platform.python_version),
        ("bcseg", __version__, version),
    ):
        said = _answers(client, asked)
        with contextlib.suppress(ImportError):
            said = {"the scheduler": client.run_on_scheduler(asked)} | said
        faults = [
            f"{worker}: {_found(what, answer)}"
            for worker, answer in said.items()
            if not isinstance(answer, str) or not f"{answer}.".startswith(f"{mine}.")
        ]
        if faults:
            raise UsageError(
                f"{what} is not {mine} everywhere:\n" + _listed(faults),
                hint="install the same versions on all machines of the cluster",
            )


def _answers(client: Any, function: Callable[..., str], *arguments: Any) -> dict[str, Any]:
    """Return what each worker answers, or raises; one that dies meanwhile is none of them."""
    said = client.run(function, *arguments, on_error="return")
    silent = {worker for worker, answer in said.items() if isinstance(answer, OSError)}
    deadline = time.monotonic() + GONE
    while silent & client.nthreads().keys() and time.monotonic() < deadline:
        time.sleep(0.1)  # the scheduler learns of it in a moment
    dead = silent - client.nthreads().keys()
    return {worker: answer for worker, answer in said.items() if worker not in dead}


def _found(what: str, answer: object) -> str:
    if isinstance(answer, ImportError):
        return f"{what} is not installed there"
    return f"{what} {answer}" if isinstance(answer, str) else repr(answer)


def _listed(faults: list[str]) -> str:
    more = [f"... and {len(faults) - _NAMED} more"] if len(faults) > _NAMED else []
    return "\n".join(f"    {fault}" for fault in faults[:_NAMED] + more)


def _refuse_unfit(answers: dict[str, Any], task: Task[Any, Any, Any], sign: str) -> None:
    """Refuse workers that see another output folder, or cannot do the task, by what they say."""
    faults = []
    for worker, answer in answers.items():
        if isinstance(answer, str):
            if not _soon(task.folder / answer, sign):
                faults.append(f"{worker}: the output folder is not shared: {task.folder}")
            (task.folder / answer).unlink(missing_ok=True)
        else:
            words = str(answer).splitlines() or [repr(answer)]
            faults.append(f"{worker}: " + "; ".join(word.strip() for word in words[:2]))
    if faults:
        raise UsageError(
            "some workers cannot take part:\n" + _listed(faults),
            hint="source and output must be the same folders at the same paths on all machines",
        )


@dataclass(slots=True)
class _Flight(Generic[T]):
    item: T
    future: Any


class Cluster(Generic[T, R]):
    """A cluster whose workers are ready for the items of a run."""

    def __init__(self, client: Any, token: str, say: Callable[[str], None]) -> None:
        self._client = client
        self._token = token
        self._say = say
        self._numbers = iter(range(1 << 62))
        self._threads = 0
        self._looked = -math.inf
        self._lonely_since = 0.0

    @property
    def threads(self) -> int:
        """How many items the cluster does at once, as of a moment ago."""
        if time.monotonic() - self._looked >= LOOK:
            with _talking(self._client):
                self._threads = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return self._threads

    def run(self, items: Iterable[T], *, died: Callable[[T], R]) -> Generator[R, None, None]:
        """Yield the result of each item, in order; `died(item)` of one that kills its workers.

        Raises what an item raised, ClusterLost if nobody is left to work.
        """
        pending = iter(items)
        flights: deque[_Flight[T]] = deque()
        try:
            while self._launch(flights, pending):
                yield self._landed(flights, died)
                # not left to __del__, in which Python swallows an interrupt
                flights.popleft().future.release()
        finally:
            with contextlib.suppress(ClusterLost), _talking(self._client):
                self._client.cancel([flight.future for flight in flights], force=True)

    def _launch(self, flights: deque[_Flight[T]], pending: Iterator[T]) -> bool:
        """Submit new items until so many are on their way; False if there is none."""
        while len(flights) < max(1, self.threads) * _AHEAD:
            for item in pending:
                flights.append(_Flight(item, self._submit(item)))
                break
            else:
                break
        return bool(flights)

    def _submit(self, item: T) -> Any:
        # packed, so that neither Dask nor its scheduler looks into it
        key = f"bcseg-{self._token}-{next(self._numbers)}"
        with _talking(self._client):
            return self._client.submit(_work, self._token, pickle.dumps(item), key=key, pure=False)

    def _landed(self, flights: deque[_Flight[T]], died: Callable[[T], R]) -> R:
        """Return the result of the first item; once its workers have died, of a try on its own."""
        from distributed import KilledWorker

        first = flights[0]
        try:
            return self._result(first)
        except KilledWorker:
            pass  # Dask blames whatever was on the worker: alone it shows whose fault it is
        for flight in flights:
            self._ask(flight.future.exception)
        first.future = self._submit(first.item)
        try:
            return self._result(first)
        except KilledWorker:
            return died(first.item)

    def _result(self, flight: _Flight[T]) -> R:
        result: R = self._ask(flight.future.result)
        return result

    def _ask(self, question: Callable[..., Any]) -> Any:
        """Return what a future answers; raises ClusterLost if that will never be.

        A result may be lost with its worker after it was there: then Dask makes it again.
        """
        self._lonely_since = 0.0
        while True:
            try:
                return question(timeout=LOOK)
            except TimeoutError:
                self._look()
            except CancelledError as error:
                raise _cluster_lost() from error

    def _look(self) -> None:
        """Raise ClusterLost if the cluster is gone, or has had no worker for long."""
        now = time.monotonic()
        if self._count():
            self._lonely_since = 0.0
        elif not self._lonely_since:
            self._say("no worker is left: waiting for one")
            self._lonely_since = now
        elif now - self._lonely_since > LONELY:
            raise _cluster_lost()

    def _count(self) -> int:
        """Return how many workers there are; raises ClusterLost if the scheduler is gone."""
        if self._client.status != "running":
            raise _cluster_lost()
        with _talking(self._client):
            return len(self._client.nthreads())
