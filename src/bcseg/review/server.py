"""The review server: open a root, listen on this machine, answer until it is interrupted."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import secrets
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from bcseg.errors import UsageError
from bcseg.review.decisions import Decisions
from bcseg.review.guard import Guard
from bcseg.review.listing import read_pairs
from bcseg.review.session import Session
from bcseg.review.settings import Reviewing, review_table, reviewer_name

PORT = 8642
_TOKEN_BYTES = 32


@contextlib.contextmanager
def open_session(root: Path, how: Reviewing) -> Generator[Session, None, None]:
    """Open a root for review; the table belongs to this process until the end.

    Raises UsageError if there is nothing to review or the table is not to be had.
    """
    how = dataclasses.replace(how, reviewer=reviewer_name(how.reviewer))
    found = read_pairs(root, how)
    with Decisions(review_table(root, how.reviewer, how.table), how.reviewer) as decisions:
        yield Session(root, found, decisions, how)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a review is to be opened."""

    port: int
    token: str

    @property
    def url(self) -> str:
        """The address, which is as good as a password."""
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    @property
    def tunnel(self) -> str:
        """The line that brings a review on a distant machine to the reader's own."""
        return f"ssh -L {self.port}:127.0.0.1:{self.port} {socket.gethostname()}"


def serve(session: Session, port: int | None, say: Callable[[Address], None]) -> None:
    """Serve a session until it is interrupted; `say` is told the address once it is open.

    `port`: None for 8642 or, where that is taken, any; 0 for any. Raises UsageError for a port
    that is taken, and if uvicorn is missing.
    """
    try:
        import uvicorn

        from bcseg.review.answers import routes_of

        routes = routes_of(session)
    except ImportError as error:
        raise UsageError(
            "`bcseg review` needs starlette and uvicorn", hint="pip install 'bcseg[review]'"
        ) from error
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    app = Guard(routes, token)
    with _listening(port) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=2,
        )
        say(Address(listener.getsockname()[1], token))
        with contextlib.suppress(KeyboardInterrupt):  # the usual end of a review
            uvicorn.Server(config).run(sockets=[listener])


def _listening(port: int | None) -> socket.socket:
    try:
        return _listener(PORT if port is None else port)
    except OSError as error:
        if port is None and error.errno == errno.EADDRINUSE:
            return _listener(0)
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}", hint="another --port, or none"
        ) from error


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
