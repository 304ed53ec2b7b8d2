"""Who may ask the review server: pages of this machine that know its token, and nobody else.

In this order: the Host must be this machine's own name (so that no foreign site can point its name
here); every address begins with a random token; what says where it comes from (Origin) must come
from the page itself, and a write must say so and be JSON. The socket listens on 127.0.0.1 only.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

LONGEST_BODY = 16_384  # bytes of what a page may send
_HOSTS = re.compile(rb"(?:127\.0\.0\.1|localhost)(?::\d{1,5})?")
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self';"
        b" connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        b" frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store, private"),
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
            rest = scope["path"][len(self._token) + 1 :]
            if not rest:  # copied without its end, what the page asks for would miss the token
                await _send_on(b"/" + self._token + b"/", send_guarded)
                return
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
        if scope["method"] not in ("GET", "POST"):
            return 405, "GET and POST only"
        writes = scope["method"] == "POST"
        origins = [value.lower() for value in _values(scope, b"origin")]
        if origins != [b"http://" + hosts[0].lower()] and (origins or writes):
            return 403, "this request does not come from the page"
        return _write_refusal(scope) if writes else None


def _write_refusal(scope: Message) -> tuple[int, str] | None:
    if [v.partition(b";")[0] for v in _values(scope, b"content-type")] != [b"application/json"]:
        return 415, "JSON only"
    for length in _values(scope, b"content-length"):
        if not length.isdigit() or len(length) > 9 or int(length) > LONGEST_BODY:
            return 413, "too much"
    return None


def _values(scope: Message, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


async def _send_on(where: bytes, send: Send) -> None:
    headers = [(b"location", where), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(status: int, reason: str, send: Send) -> None:
    body = reason.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
