"""The page's server: this machine only, behind a token, and nothing but the pairs of a root.

What guards it, in this order: the socket listens on 127.0.0.1; the Host must be this machine's own
name (so that no foreign site can point its name here); every address begins with a random token;
a write must be JSON and come from the page itself (Origin). No name that a client sends becomes
part of a path: pairs are looked up by id.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import math
import re
import secrets
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from bcseg.errors import BcsegError, RecordError, UsageError
from bcseg.review.decisions import (
    LONGEST_LOOK,
    LONGEST_NOTE,
    Decisions,
    Entry,
    plain_text,
)
from bcseg.review.images import Pixels, read_pixels
from bcseg.review.session import (
    Reviewing,
    Session,
    page_entry,
    read_pairs,
    review_table,
    reviewer_name,
)
from bcseg.select.manifest import DECISIONS
from bcseg.store import OutputError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

PORT = 8642
LONGEST_BODY = 16_384  # bytes of what a page may send
_CACHED = 256_000_000  # bytes of pixels kept for a second window, or a second look
_TOKEN_BYTES = 32
_HOSTS = re.compile(rb"(?:127\.0\.0\.1|localhost)(?::\d{1,5})?")
_MARK = re.compile(r"[0-9a-zA-Z-]{8,64}")
_FILES = {
    "": ("page.html", "text/html"),
    "app.js": ("app.js", "text/javascript"),
    "style.css": ("style.css", "text/css"),
}
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        b" img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Refuse every request that is not from a page of this server, before anything looks at it.

    What passes goes on without the token in its path.
    """

    def __init__(self, app: AsgiApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            rest = scope["path"][len(self._token) + 1 :] or "/"
            inner = {**scope, "path": rest, "raw_path": rest.encode(), "root_path": ""}
            await self._app(inner, receive, send_guarded)
        else:
            await _refuse(*refusal, send_guarded)

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        """Return status and reason if a request is not to be answered."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not _HOSTS.fullmatch(hosts[0].lower()):
            return 421, "only 127.0.0.1 and localhost are served"
        first = scope["path"].removeprefix("/").partition("/")[0].encode(errors="replace")
        if not hmac.compare_digest(first, self._token):
            return 403, (
                "This address lacks the token, or has that of an earlier start:"
                " open the whole address that `bcseg review` printed."
            )
        if scope["method"] == "GET":
            return None
        if scope["method"] != "POST":
            return 405, "GET and POST only"
        return _write_refusal(scope, hosts[0])


def _write_refusal(scope: Message, host: bytes) -> tuple[int, str] | None:
    if [value.lower() for value in _values(scope, b"origin")] != [b"http://" + host.lower()]:
        return 403, "this request does not come from the page"
    if [v.partition(b";")[0] for v in _values(scope, b"content-type")] != [b"application/json"]:
        return 415, "JSON only"
    for length in _values(scope, b"content-length"):
        if not length.isdigit() or len(length) > 9 or int(length) > LONGEST_BODY:
            return 413, "too much"
    return None


def _values(scope: Message, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


async def _refuse(status: int, reason: str, send: Send) -> None:
    body = reason.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class PixelStore:
    """Decoded images, the most recent ones kept."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: OrderedDict[tuple[str, str], Pixels] = OrderedDict()
        self._guard = Lock()

    def get(self, dataset: str, record_id: str) -> Pixels:
        """Return the pixels of a pair; raises RecordError, KeyError for an unknown pair."""
        pair = self._session.pairs[dataset, record_id]
        with self._guard:
            if pair.id in self._kept:
                self._kept.move_to_end(pair.id)
                return self._kept[pair.id]
        pixels = read_pixels(pair.folder.path, pair.row["image"], mirrored=pair.mirrored)
        if (pixels.rows, pixels.columns) != pair.size:
            raise RecordError(
                f"the image has {pixels.rows} x {pixels.columns} pixels, records.csv says"
                f" {pair.size[0]} x {pair.size[1]}",
                code="size_mismatch",
                where=pair.row["image"],
            )
        with self._guard:
            self._kept[pair.id] = pixels
            while sum(len(one.data) for one in self._kept.values()) > _CACHED:
                self._kept.popitem(last=False)
        return pixels


def make_app(session: Session, token: str) -> AsgiApp:
    """Return the application, guarded by a token; raises UsageError if Starlette is missing."""
    return Guard(_routes(session), token)


def _routes(session: Session) -> Starlette:
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError as error:
        raise _missing() from error
    reading = _Reading(session, PixelStore(session))
    writing = _Writing(session)
    item = "{dataset}/{record_id}"
    return Starlette(
        routes=[
            Route("/", reading.file),
            Route("/{name:str}", reading.file),
            Route("/api/session", reading.session),
            Route("/api/changes", reading.changes),
            Route(f"/api/pixels/{item}", reading.pixels),
            Route(f"/api/contours/{item}", reading.contours),
            Route("/api/decide", writing.decide, methods=["POST"]),
            Route("/api/undo", writing.undo, methods=["POST"]),
        ]
    )


def _missing() -> UsageError:
    return UsageError(
        "`bcseg review` needs starlette and uvicorn", hint="pip install 'bcseg[review]'"
    )


class _Reading:
    """Answers that change nothing; they run in threads."""

    def __init__(self, session: Session, store: PixelStore) -> None:
        self._session = session
        self._store = store

    def file(self, request: Request) -> Response:
        """Return a file of the page."""
        from starlette.responses import PlainTextResponse, Response

        name = request.path_params.get("name", "")
        if name not in _FILES:
            return PlainTextResponse("not found", 404)
        file, kind = _FILES[name]
        data = resources.files("bcseg.review").joinpath(file).read_bytes()
        return Response(data, media_type=f"{kind}; charset=utf-8")

    def session(self, request: Request) -> Response:
        """Return everything the page starts with."""
        return _json(self._session.document())

    def changes(self, request: Request) -> Response:
        """Return the entries after a number, and what troubles the server."""
        after = request.query_params.get("after", "")
        if not re.fullmatch(r"\d{1,9}", after):
            return _error(400, "after which number?")
        return _json(_news(self._session, int(after)))

    def pixels(self, request: Request) -> Response:
        """Return the pixels of a pair as they are."""
        from starlette.responses import Response

        try:
            pixels = self._store.get(
                request.path_params["dataset"], request.path_params["record_id"]
            )
        except KeyError:
            return _error(404, "no such pair")
        except RecordError as error:
            return _error(422, str(error.args[0]))
        facts = ("rows", "columns", "bits", "low", "high")
        headers = {f"x-{name}": str(getattr(pixels, name)) for name in facts}
        return Response(pixels.data, media_type="application/octet-stream", headers=headers)

    def contours(self, request: Request) -> Response:
        """Return the contours of a pair."""
        names = (request.path_params["dataset"], request.path_params["record_id"])
        pair = self._session.pairs.get(names)
        if pair is None:
            return _error(404, "no such pair")
        try:
            return _json({"contours": pair.contours()})
        except RecordError as error:
            return _error(422, str(error.args[0]))


class _Writing:
    """Answers that put something on the disk first."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def decide(self, request: Request) -> Response:
        """Take a decision."""
        return await self._answer(request, self._decide)

    async def undo(self, request: Request) -> Response:
        """Withdraw a decision."""
        return await self._answer(request, self._undo)

    async def _answer(
        self, request: Request, work: Callable[[Mapping[str, Any]], Entry]
    ) -> Response:
        from starlette.concurrency import run_in_threadpool

        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                return _error(413, "too much")
        try:
            values = json.loads(body)
            if not isinstance(values, dict):
                raise ValueError
            after = values.get("after", 0)
            if not isinstance(after, int) or isinstance(after, bool):
                raise ValueError
        except (ValueError, RecursionError):
            return _error(400, "not understood")
        try:
            added = await run_in_threadpool(work, values)
        except OutputError as error:
            return _error(507, str(error.args[0]))
        except BcsegError as error:
            return _error(409, str(error.args[0]))
        return _json(_news(self._session, after) | {"number": added.number})

    def _decide(self, values: Mapping[str, Any]) -> Entry:
        return self._session.decide(decision_of(values))

    def _undo(self, values: Mapping[str, Any]) -> Entry:
        number = values.get("number")
        if not isinstance(number, int) or isinstance(number, bool):
            raise UsageError("which decision?")
        return self._session.undo(number, _mark(values))


def decision_of(values: Mapping[str, Any]) -> Entry:
    """Return the decision in a message of the page; raises UsageError for what is none."""
    texts: dict[str, Any] = {}
    for name in ("dataset", "record_id", "lesion_id", "reason", "note", "annotation_sha256"):
        text = values.get(name, "")
        if not isinstance(text, str) or len(text) > LONGEST_NOTE:
            raise UsageError(f"{name} is not a text of up to {LONGEST_NOTE} characters")
        texts[name] = plain_text(text) if name in ("reason", "note") else text
    decision, seconds = values.get("decision"), values.get("seconds", 0)
    if decision not in DECISIONS:
        raise UsageError("no such decision")
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise UsageError("seconds is not a number")
    return Entry(
        number=0,
        **texts,
        decision=decision,
        seconds=round(min(max(float(seconds), 0.0), LONGEST_LOOK), 2),
        repeat=values.get("repeat") is True,
        mark=_mark(values),
    )


def _mark(values: Mapping[str, Any]) -> str:
    mark = values.get("mark", "")
    if not isinstance(mark, str) or (mark and not _MARK.fullmatch(mark)):
        raise UsageError("mark is not understood")
    return mark


def _news(session: Session, after: int) -> dict[str, Any]:
    entries = [page_entry(entry) for entry in session.decisions.since(after)]
    return {"entries": entries, "warning": session.decisions.warning}


def _json(document: Mapping[str, Any], status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(document, status)


def _error(status: int, message: str) -> Response:
    return _json({"error": message}, status)


# ------------------------------------------------------------------------------------ serving


@contextlib.contextmanager
def open_session(root: Path, how: Reviewing) -> Generator[Session, None, None]:
    """Open a root for review; the table belongs to this process until the end.

    Raises UsageError if there is nothing to review or the table is not to be had.
    """
    import dataclasses

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
    except ImportError as error:
        raise _missing() from error
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    app = make_app(session, token)
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
