"""What the review server answers: the page, its pairs by id, and the decisions it takes.

No name that a client sends becomes part of a path: files and pairs are looked up in what is there.
"""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib import resources
from threading import Lock
from typing import TYPE_CHECKING, Any

from bcseg.errors import BcsegError, RecordError, UsageError
from bcseg.review.entries import LONGEST_NOTE, Entry, plain_text
from bcseg.review.guard import LONGEST_BODY
from bcseg.review.images import Pixels, read_pixels
from bcseg.review.session import Session, page_entry
from bcseg.select.manifest import DECISIONS
from bcseg.store import OutputError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LONGEST_LOOK = 86_400.0  # seconds
_CACHED = 256_000_000  # bytes of pixels kept for a second window, or a second look
_MARK = re.compile(r"[0-9a-zA-Z-]{8,64}")
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


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


def routes_of(session: Session) -> Starlette:
    """Return the application, unguarded; needs Starlette."""
    from starlette.applications import Starlette
    from starlette.routing import Route

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


class _Reading:
    """Answers that change nothing; they run in threads."""

    def __init__(self, session: Session, store: PixelStore) -> None:
        self._session = session
        self._store = store
        page = resources.files("bcseg.review").joinpath("page")
        self._files = {one.name: one for one in page.iterdir()}

    def file(self, request: Request) -> Response:
        """Return a file of the page."""
        from starlette.responses import PlainTextResponse, Response

        name = request.path_params.get("name", "") or "page.html"
        kind = _KINDS.get(name.rpartition(".")[2])
        if kind is None or name not in self._files:
            return PlainTextResponse("not found", 404)
        return Response(self._files[name].read_bytes(), media_type=f"{kind}; charset=utf-8")

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
