"""The paths that are answered, as an ASGI application: only GET and HEAD, only for hosts that are ours.

1. A host that is not ours gets 421, before anything else is looked at.
2. A method other than GET and HEAD gets 405, a path that is not there 404.
3. Nothing that a request says goes into an answer.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import orjson

from supervisor import logs
from supervisor.status import metrics
from supervisor.status.desk import Desk
from supervisor.status.hosts import passes
from supervisor.status.page import Page
from supervisor.status.request import Request, read

FRAME_S = 1.0
"""How often a live page hears, when nothing happens."""

LOOK_S = 0.25
"""How soon when something does."""

COMMENT_S = 15.0

MOST_PAGES = 32
"""Live pages at a time: half of the seats (supervisor/status/guests.py); the rest is for who asks once."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

PLAIN: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)
JSON: Headers = ((b"content-type", b"application/json"),)
GUARDED: Headers = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))

log = logging.getLogger("friendship.status")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    body: bytes
    headers: Headers = PLAIN


PATHS = frozenset({"/", "/status", "/metrics", "/healthz", "/readyz", "/live"})
METHODS = frozenset({"GET", "HEAD"})

LIVE: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
    *GUARDED,
)

NOT_YET = Answer(503, b"starting\n")
FULL = Answer(503, b"as many pages are open as may be: close one\n")


class App:
    """What uvicorn calls for each request. page: what stands at /."""

    def __init__(self, desk: Desk, page: Page, allowed_hosts: AbstractSet[str]) -> None:
        self._desk = desk
        self._page = page
        self._allowed_hosts = allowed_hosts
        self._pages = 0
        self._frame: tuple[float, int, bytes] = (0.0, -1, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = read(scope)
        answer = self._refusal(request)
        if answer is None and request.path == "/live":
            if self._pages < MOST_PAGES:
                await self._open_page(request, receive, send)
                return
            answer = FULL
        # Of the answer to HEAD, the server sends the headers only
        await _send(send, answer or self._answered(request))

    def _refusal(self, request: Request) -> Answer | None:
        """Give the answer to a request that is not for us, or not one that we know."""
        if not passes(request.host, self._allowed_hosts):
            remedy = b"this host name is not served here: FRIENDSHIP_ALLOWED_HOSTS names those that are\n"
            return Answer(421, remedy)
        if request.method not in METHODS:
            return Answer(405, b"only GET and HEAD\n", (*PLAIN, (b"allow", b"GET, HEAD")))
        if request.path not in PATHS:
            return Answer(404, b"not here: / /status /metrics /healthz /readyz\n")
        return None

    def _answered(self, request: Request) -> Answer:
        try:
            return self._shown(request)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the process that answers the others
            _tell(error)
            return Answer(500, b"this is a fault of ours; the log says where\n")

    def _shown(self, request: Request) -> Answer:
        match request.path:
            case "/status":
                return self._show_status()
            case "/metrics":
                return self._show_metrics(metrics.negotiated(request.accept))
            case "/healthz":
                return self._show_health()
            case "/readyz":
                return self._show_readiness()
            case _:
                return Answer(200, self._page.body, self._page.headers)

    def _show_status(self) -> Answer:
        status = self._desk.status()
        return NOT_YET if status is None else Answer(200, orjson.dumps(status), (*JSON, *GUARDED))

    def _show_metrics(self, form: metrics.Format) -> Answer:
        status = self._desk.status()
        if status is None:
            return NOT_YET
        headers = ((b"content-type", form.content_type), (b"vary", b"accept"), *GUARDED)
        return Answer(200, metrics.exposition(status, self._desk.totals(), form), headers)

    def _show_health(self) -> Answer:
        if self._desk.is_alive():
            return Answer(200, b"ok\n")
        return Answer(503, f"{self._desk.illness()}\n".encode())

    def _show_readiness(self) -> Answer:
        reason = self._desk.not_ready()
        return Answer(200, b"ready\n") if reason is None else Answer(503, f"{reason}\n".encode())

    async def _open_page(self, request: Request, receive: Receive, send: Send) -> None:
        if request.method == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": list(LIVE)})
            await send({"type": "http.response.body"})
            return
        self._pages += 1
        try:
            await self._stream(receive, send)
        except Exception as error:
            _tell(error)
            raise
        finally:
            self._pages -= 1

    async def _stream(self, receive: Receive, send: Send) -> None:
        """Send server-sent events until the client goes."""
        await send({"type": "http.response.start", "status": 200, "headers": list(LIVE)})
        history = orjson.dumps(self._desk.history.told())
        await _send_part(send, b"retry: 2000\nevent: history\ndata: " + history + b"\n\n")
        gone = asyncio.ensure_future(_gone(receive))
        seen, sent_at, commented_at = -1, 0.0, time.monotonic()
        try:
            while not gone.done():
                now, issue = time.monotonic(), self._desk.issue()
                if issue != seen or now - sent_at >= FRAME_S:
                    seen, sent_at = issue, now
                    await _send_part(send, self._event(now, issue))
                if now - commented_at >= COMMENT_S:
                    commented_at = now
                    await _send_part(send, b": still here\n\n")
                await asyncio.wait({gone}, timeout=LOOK_S)
        finally:
            gone.cancel()

    def _event(self, now: float, issue: int) -> bytes:
        """Spell the present, once for all pages that ask at about the same time."""
        made_at, of, event = self._frame
        if of != issue or now - made_at >= LOOK_S:
            status = self._desk.status()
            event = b"" if status is None else b"event: status\ndata: " + orjson.dumps(status) + b"\n\n"
            self._frame = now, issue, event
        return event


def _tell(error: Exception) -> None:
    """Log where it went wrong; what went wrong may hold what a client sent."""
    told = {"exception": type(error).__name__, "at": logs.places(error.__traceback__)}
    log.error("status_request_failed", extra=told)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, answer: Answer) -> None:
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
