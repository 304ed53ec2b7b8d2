"""Run a function over many items, here or in worker processes; results come in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from bcseg.errors import UsageError
from bcseg.interrupts import uninterrupted

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4  # items in flight for each worker: bounds the memory of the parent
_PATIENCE = 5.0  # seconds until a worker that does not end is killed


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Task(Generic[T, R]):
    """What workers do: `prepare(context)` once each, then `function` of every item."""

    function: Callable[[T], R]
    prepare: Callable[[Any], None]
    context: Any
    died: Callable[[T], R]


@dataclass(slots=True)
class _Flight(Generic[T, R]):
    """An item on its way; without a future it waits for a pool."""

    item: T
    future: Future[R] | None = None

    @property
    def landed(self) -> bool:
        """Whether the worker lived to return or raise something."""
        future = self.future
        if future is None or not future.done() or future.cancelled():
            return False
        return not isinstance(future.exception(), BrokenProcessPool)


def run(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int,
    prepare: Callable[[Any], None],
    context: Any,
    died: Callable[[T], R],
) -> Generator[R, None, None]:
    """Yield `function(item)` for each item, in order.

    Each worker calls `prepare(context)` once. An item whose worker dies (killed, out of memory)
    is tried once more on its own; if that dies too, its result is `died(item)`. Raises UsageError
    if workers cannot start at all.
    """
    if workers <= 1:
        prepare(context)
        yield from map(function, items)
        return
    task = _Task(function, prepare, context, died)
    pending = iter(items)
    flights: deque[_Flight[T, R]] = deque()
    while True:
        pool = _pool(workers, task)
        try:
            while _launch(pool, function, flights, pending, workers * _AHEAD):
                future = flights[0].future
                assert future is not None
                yield future.result()
                flights.popleft()
            return
        except BrokenProcessPool:
            pass  # whose fault it was is not known: those that may have run go alone
        finally:
            _stop(pool)
        yield from _one_by_one(task, flights, workers)


def _launch(
    pool: ProcessPoolExecutor,
    function: Callable[[T], R],
    flights: deque[_Flight[T, R]],
    pending: Iterator[T],
    most: int,
) -> bool:
    """Submit what waits, and new items until `most` are on their way; False if there is none."""
    for flight in flights:
        if not flight.landed and (flight.future is None or flight.future.done()):
            flight.future = _submit(pool, function, flight.item)
    while len(flights) < most:
        for item in pending:
            flights.append(_Flight(item))  # first: a pool that refuses it must not lose it
            flights[-1].future = _submit(pool, function, item)
            break
        else:
            break
    return bool(flights)


def _one_by_one(
    task: _Task[T, R], flights: deque[_Flight[T, R]], suspects: int
) -> Generator[R, None, None]:
    """Yield the results of the first `suspects` items that did not land, and of those between."""
    pool: ProcessPoolExecutor | None = None
    try:
        while flights and (flights[0].landed or suspects):
            if flights[0].landed:
                future = flights[0].future
                assert future is not None
                yield future.result()
                flights.popleft()
                continue
            suspects -= 1
            pool = pool or _pool(1, task)
            ready = _submit(pool, _ready, None)
            try:
                yield _submit(pool, task.function, flights[0].item).result()
            except BrokenProcessPool:
                _stop(pool)
                pool = None
                if not _Flight(None, ready).landed:
                    raise _cannot_start() from None
                yield task.died(flights[0].item)
            flights.popleft()
    finally:
        if pool is not None:
            _stop(pool)
    for flight in flights:
        if not flight.landed:
            flight.future = None


def _ready(_: None) -> None:
    """Do nothing: a worker that can do this has started."""


def _cannot_start() -> UsageError:
    return UsageError(
        "worker processes cannot start",
        hint='--jobs 1; a script that calls bcseg needs `if __name__ == "__main__":`',
    )


def _pool(workers: int, task: _Task[T, R]) -> ProcessPoolExecutor:
    # numerical libraries would start threads of their own in every worker
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # when it starts it lets held interrupts through
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(task.prepare, task.context),
    )


def _submit(pool: ProcessPoolExecutor, function: Callable[[T], R], item: T) -> Future[R]:
    with _interrupts_held():  # a worker that starts here never sees Ctrl-C
        return pool.submit(function, item)


@contextlib.contextmanager
def _interrupts_held() -> Generator[None, None, None]:
    """Let an interrupt wait for a moment; processes that start meanwhile inherit the mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(prepare: Callable[[Any], None], context: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    prepare(context)


def _end_with(parent: BaseProcess) -> None:
    """End this worker when its parent is killed: nobody would take its results."""
    parent.join()
    os._exit(1)


def _stop(pool: ProcessPoolExecutor) -> None:
    """Stop the workers at once: what they were doing is not waited for."""
    with uninterrupted():  # else some of them go on writing
        _end_workers(pool)


def _end_workers(pool: ProcessPoolExecutor) -> None:
    processes = list((getattr(pool, "_processes", None) or {}).values())
    manager = getattr(pool, "_executor_manager_thread", None)
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
    if manager is not None:  # at the exit of Python it must not meet a pipe that is half closed
        manager.join(_PATIENCE)
