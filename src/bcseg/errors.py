"""Every error a user can act on. Anything else that escapes is a bug in bcseg."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FINDINGS = 1  # done, but some records failed or a check found something
EXIT_USAGE = 2  # wrong usage, missing or unrecognised input: nothing was written
EXIT_BUG = 3
EXIT_INTERRUPTED = 130


class BcsegError(Exception):
    """Base of all expected errors: what happened, where, and what to try."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [str(self.args[0])]
        if self.where:
            lines.append(f"  in: {self.where}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)


class UsageError(BcsegError):
    """The command cannot do what it was asked: nothing was written."""


class ArchiveError(BcsegError):
    """The source is not laid out as its adapter expects: the run does not start."""


class SourceGone(BcsegError):
    """The source itself went away during the run: the run stops, what is finished stays."""

    exit_code = EXIT_FINDINGS


class Interrupted(BcsegError):
    """The user stopped the run: what is finished stays."""

    exit_code = EXIT_INTERRUPTED


class RecordError(BcsegError):
    """One image or annotation cannot be used: that record fails, the run goes on.

    `code` is the stable word of problems.csv (docs/problems.md explains each).
    """

    def __init__(
        self, message: str, *, code: str = "unreadable", where: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.code = code
