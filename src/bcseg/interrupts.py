"""Ctrl-C and SIGTERM, and the few moments that neither may cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from typing import Any, NoReturn

_ENDING = (signal.SIGINT, signal.SIGTERM)  # batch systems send SIGTERM before they kill


def interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does, whatever the signal."""
    raise KeyboardInterrupt


def handled_by(number: int, handler: Any) -> Any:
    """Have a signal handled so; return what did it before. Only the main thread can say so."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> Generator[None, None, None]:
    """Let Ctrl-C and SIGTERM wait until the end: of a lock or a temporary file, not of work."""
    waiting: list[int] = []

    def later(number: int, _: object) -> None:
        waiting.append(number)

    before: dict[int, Any] = {}
    try:
        for number in _ENDING:
            before[number] = signal.getsignal(number)
            if before[number] is not signal.SIG_IGN:
                handled_by(number, later)
        yield
    finally:
        for one, handler in before.items():
            handled_by(one, handler)
        if waiting:
            signal.raise_signal(waiting[0])
