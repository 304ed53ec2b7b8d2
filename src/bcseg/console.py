"""How the command line speaks: results on stdout, messages on stderr, exit codes at the door."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import time
import traceback
from types import TracebackType
from typing import Any, NoReturn

import typer

from bcseg import __version__
from bcseg.errors import (
    EXIT_BUG,
    EXIT_FINDINGS,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    BcsegError,
    Interrupted,
)
from bcseg.interrupts import ended_by_signals

_FREE, _ALLOW = "free some space", "ask for the right to it, or name another place"
_REFUSALS = {  # what no command can do anything about, and what to do
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EACCES: _ALLOW,
    errno.EPERM: _ALLOW,
    errno.EROFS: "mount it for writing, or name another place",
    errno.EIO: "look after the disk",
    errno.EMFILE: "allow more open files (ulimit -n), or give fewer --jobs",
    errno.ENFILE: "allow more open files, or give fewer --jobs",
    errno.ESTALE: "mount it anew",
}


class Output:
    """How to speak: results on stdout, messages on stderr."""

    json = False
    quiet = False
    colour = True

    def set(self, *, as_json: bool = False, quiet: bool = False, no_color: bool = False) -> None:
        """Choose how to speak; NO_COLOR and a dumb terminal mean no colours, too."""
        self.json, self.quiet = as_json, quiet
        dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.colour = not (no_color or dumb)

    def say(self, line: str) -> None:
        """Print a message."""
        if not self.quiet:
            typer.echo(line, err=True)

    def result(self, text: str) -> None:
        """Print a result, unless --json prints a document instead."""
        if not self.json:
            typer.echo(text)

    def document(self, document: dict[str, Any]) -> None:
        """Print the one JSON document of --json."""
        if self.json:
            typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


out = Output()


class Progress:
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Any = None
        self._task: Any = None
        self._last = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is KeyboardInterrupt:  # typer would end the program without a word of ours
            raise Interrupted(
                "interrupted: what is finished stays", hint="the same command again, to continue"
            ) from None

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` records are done."""
        if out.quiet:
            return
        if sys.stderr.isatty():
            self._draw(done, total)
        else:
            self._line(done, total)

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich import progress as rich_progress
            from rich.console import Console

            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("{task.fields[rate]}"),
                rich_progress.TimeRemainingColumn(),
                console=Console(stderr=True, no_color=not out.colour),
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=total, rate="")
        speed = self._bar.tasks[0].speed
        rate = f"{speed:.1f}/s" if speed else ""
        self._bar.update(self._task, completed=done, rate=rate)

    def _line(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._last = self._last or now
        if now - self._last >= 10:
            out.say(f"{self._title}: {done} of {total} records")
            self._last = now


class Door:
    """Turn what leaves a command into a message and an exit code."""

    def __init__(self) -> None:
        self._signals = ended_by_signals()

    def __enter__(self) -> None:
        self._signals.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signals.__exit__(None, None, None)
        if isinstance(error, BcsegError):
            _say_error(str(error))
            _exit(error.exit_code)
        if isinstance(error, KeyboardInterrupt):
            _exit(EXIT_INTERRUPTED)
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            _exit(EXIT_OK)
        if isinstance(error, ImportError) and "libGL" in str(error):
            _say_error(
                "opencv-python needs the system library libGL, which this machine lacks\n"
                "  try: pip uninstall -y opencv-python && pip install opencv-python-headless"
            )
            _exit(EXIT_USAGE)
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            _say_error(_refusal(error, _REFUSALS[error.errno]))
            _exit(EXIT_FINDINGS)  # something may be written by now
        if isinstance(error, Exception):
            _exit_with_bug(error)


def _refusal(error: OSError, hint: str) -> str:
    where = f"\n  in: {error.filename}" if error.filename else ""
    return f"the system refuses: {error.strerror}{where}\n  try: {hint}, and run again"


def _exit(code: int) -> NoReturn:
    raise SystemExit(code)


def _say_error(text: str) -> None:
    colour = out.colour and sys.stderr.isatty()
    typer.echo(typer.style("error: ", fg="red" if colour else None) + text, err=True, color=colour)


def _exit_with_bug(error: Exception) -> NoReturn:
    with tempfile.NamedTemporaryFile(
        "w", prefix="bcseg-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        log.write(f"bcseg {__version__}\n" + "".join(traceback.format_exception(error)))
    _say_error(f"a bug in bcseg ({type(error).__name__}); please report it with {log.name}")
    _exit(EXIT_BUG)
