"""Run a function over many items, here or in worker processes; results come in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 4  # items in flight for each worker: bounds the memory of the parent


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    is tried once more on its own; if that dies too, its result is `died(item)`.
    """
    if workers <= 1:
        prepare(context)
        yield from map(function, items)
        return
    pending = iter(items)
    waiting: deque[T] = deque()
    while True:
        pool = _pool(workers, prepare, context)
        flight: deque[tuple[T, Future[R]]] = deque()
        try:
            while True:
                while len(flight) < workers * _AHEAD:
                    batch = [waiting.popleft()] if waiting else list(islice(pending, 1))
                    if not batch:
                        break
                    flight.append((batch[0], pool.submit(function, batch[0])))
                if not flight:
                    return
                yield flight[0][1].result()
                flight.popleft()
        except BrokenProcessPool:
            suspects = [item for item, _ in flight]
        finally:
            _stop(pool)
        # whose fault it was is not known: the first in the row goes alone, the others again
        yield _alone(function, suspects[0], prepare, context, died)
        waiting.extendleft(reversed(suspects[1:]))


def _alone(
    function: Callable[[T], R],
    item: T,
    prepare: Callable[[Any], None],
    context: Any,
    died: Callable[[T], R],
) -> R:
    pool = _pool(1, prepare, context)
    try:
        return pool.submit(function, item).result()
    except BrokenProcessPool:
        return died(item)
    finally:
        _stop(pool)


def _pool(workers: int, prepare: Callable[[Any], None], context: Any) -> ProcessPoolExecutor:
    # numerical libraries would start threads of their own in every worker
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(prepare, context),
    )


def _start(prepare: Callable[[Any], None], context: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    prepare(context)


def _stop(pool: ProcessPoolExecutor) -> None:
    """Stop the workers at once: what they were doing is not waited for."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join()
