"""Ctrl-C and SIGTERM, and the few moments that neither may cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from typing import Any, NoReturn

_ENDING = (signal.SIGINT, signal.SIGTERM)  # batch systems send SIGTERM before they kill
_asked = threading.Event()


def _interrupt(*_: object) -> NoReturn:
    _asked.set()
    raise KeyboardInterrupt


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt if one came where Python swallows it: while it cleans up objects."""
    if _asked.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def ended_by_signals() -> Generator[None, None, None]:
    """Have SIGTERM end the program as Ctrl-C does, and remember that either came."""
    _asked.clear()
    try:
        with _handled(_interrupt):
            yield
    finally:
        _asked.clear()  # whoever calls bcseg from Python goes on


@contextlib.contextmanager
def _handled(handler: Any) -> Generator[None, None, None]:
    """Handle both signals so for a while; only the main thread can, and not what is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    theirs = {n: one for n, one in before.items() if one not in (signal.SIG_IGN, None)}
    try:
        for number in theirs:
            signal.signal(number, handler)
        yield
    finally:
        for number, one in theirs.items():
            signal.signal(number, one)


@contextlib.contextmanager
def uninterrupted() -> Generator[None, None, None]:
    """Let Ctrl-C and SIGTERM wait until the end: of a lock or a temporary file, not of work."""
    waiting: list[int] = []

    def later(number: int, _: object) -> None:
        waiting.append(number)

    try:
        with _handled(later):
            yield
    finally:
        if waiting:
            signal.raise_signal(waiting[0])
