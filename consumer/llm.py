"""The optional analysis: one conversation shown to an LLM, its questions and emotion back, within one total time.

Whatever fails is a value, `Analysis`, with the defaults and a few words that hold nothing of the conversation, the
answer or the key: an analysis never fails an event. One attempt, never a second.

httpx speaks to the LLM through a transport of ours, since its own time limits are per read (docs/decisions/0007, 0022).
This is the only module that imports it, and only a supervisor with the LLM switched on imports this module.
"""

import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import httpcore

from consumer.analysis import Analysis, Result
from consumer.deadline import Deadline
from consumer.decoding import Json
from consumer.excerpt import Excerpt, excerpt
from consumer.memory_api import prepare
from consumer.prompt import judge, request
from consumer.settings import LlmSettings
from consumer.transport import capped, exchange, unanswered

# httpx imports its command line when it can, and with it rich and pygments: 77 modules, 3.8 of 5.7 MB and 28 of 45 ms
_COMMAND_LINE = "httpx._main"
_hidden = _COMMAND_LINE not in sys.modules
if _hidden:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment]
try:
    import httpx
finally:
    if _hidden:
        del sys.modules[_COMMAND_LINE]

CALL = b"/chat/completions"
MODELS = b"/models"
ANSWER_MAX_BYTES = 1024 * 1024

# Of all headers only these are looked at; without the others httpx keeps no cookies and sees no redirect
_READ = {b"content-length", b"content-encoding"}


class BoundedTransport(httpx.BaseTransport):
    """Carries each request of an httpx client over a connection of its own, within `timeout_s` seconds in all.

    httpcore's exceptions come through as they are: httpx's own would hold the request, and so its body.
    """

    def __init__(
        self, timeout_s: float, *, ssl_context: ssl.SSLContext | None, pump: Callable[[], None]
    ) -> None:
        self._timeout_s = timeout_s
        self._ssl_context = ssl_context
        self._pump = pump

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response's body comes within the same time."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with ExitStack() as stack:
            response = stack.enter_context(
                exchange(
                    request.method.encode("ascii"),
                    url,
                    request.headers.raw,
                    iter(request.stream) if "Content-Length" in request.headers else None,
                    ssl_context=self._ssl_context,
                    deadline=Deadline.after(self._timeout_s, self._pump),
                )
            )
            return httpx.Response(
                response.status,
                headers=[(name, value) for name, value in response.headers if name.lower() in _READ],
                stream=_Body(response, stack.pop_all()),
                extensions=response.extensions,
            )
        raise AssertionError


class _Body(httpx.SyncByteStream):
    """The body of a response, and what is closed with it."""

    def __init__(self, response: httpcore.Response, opened: ExitStack) -> None:
        self._response = response
        self._opened = opened

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._opened.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    failed: None where `body` is that of a 200; else what kind of failure it was, and `reason` it in words.
    status: of the answer, None without one.
    """

    failed: Result | None
    status: int | None = None
    body: bytes = b""
    reason: str = ""


class Analyst:
    """An LLM behind an OpenAI-style chat completions API.

    ssl_context: from `memory_api.prepare`; None makes one here if the URL is https (20 ms).
    pump: called about once a second during a call; it must return quickly and not raise (see `Pulse`).

    No proxy is used, whatever HTTP_PROXY says. user:password in the URL becomes basic auth where there is no key.
    Raises ValueError, without showing them, when URL, key or model are unusable.
    """

    def __init__(
        self, settings: LlmSettings, *, ssl_context: ssl.SSLContext | None, pump: Callable[[], None]
    ) -> None:
        urls = [_below(settings.base_url, path) for path in (CALL, MODELS)]
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if settings.api_key is not None:
            urls = [url.copy_with(userinfo=b"") for url in urls]
            self._headers["Authorization"] = f"Bearer {_sendable(settings.api_key)}"
        self._completions, self._models = urls
        self._model = settings.model
        self._log_chars = settings.log_chars
        request(self._model, Excerpt((), 0))
        https = self._completions.scheme == "https"
        transport = BoundedTransport(
            settings.timeout_s,
            ssl_context=ssl_context or (prepare() if https else None),
            pump=pump,
        )
        self._client = httpx.Client(transport=transport, trust_env=False, follow_redirects=False)

    def excerpt(self, log: Json) -> Excerpt:
        """Choose what of a log is shown: as much as the settings let out of the house."""
        return excerpt(log, self._log_chars)

    def analyse(self, told: Excerpt) -> Analysis:
        """Have judged what is shown of a conversation. What `pump` raises comes through; nothing else is raised."""
        body = _Once(request(self._model, told))
        headers = {"Content-Type": "application/json", "Content-Length": str(body.length)}
        reply = self._exchange(
            httpx.Request("POST", self._completions, headers=self._headers | headers, content=body)
        )
        if reply.failed is not None:
            return Analysis(reply.failed, reason=reply.reason)
        return judge(reply.body, told)

    def models(self) -> Reply:
        """Ask for the list of models, which shows no conversation: a call like an analysis's in all else."""
        return self._exchange(httpx.Request("GET", self._models, headers=self._headers))

    def _exchange(self, asked: httpx.Request) -> Reply:
        try:
            with closing(self._client.send(asked, stream=True)) as response:
                return _read(response)
        except httpcore.TimeoutException as error:
            _detach_frames(error)
            return Reply(Result.TIMEOUT, reason="over the total time of a call")
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            _detach_frames(error)
            return Reply(Result.ERROR, reason=f"no answer: {unanswered(error)}")


class _Once:
    """A request body that is gone when it was given out: httpx's request and response live until a collection.

    length: in bytes.
    """

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._left = [body]

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            yield self._left.pop()


def _detach_frames(error: BaseException | None) -> None:
    """Cut an exception off from the frames that it came through, ours and our callers', which hold the conversation.

    Frames of httpcore and contextlib hold the exception, so that both would live until a collection.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _read(response: httpx.Response) -> Reply:
    """Read a reply as far as it is of use: the body of a 200."""
    status = response.status_code
    if status != httpx.codes.OK:
        return Reply(Result.ERROR, status, reason=f"status {status}")
    headers = {name.lower(): value for name, value in response.headers.raw}
    body = capped(headers, response.iter_raw(), ANSWER_MAX_BYTES)
    if isinstance(body, str):
        return Reply(Result.BAD_ANSWER, status, reason=f"the answer is {body}")
    return Reply(None, status, body)


def _below(base_url: str, path: bytes) -> httpx.URL:
    """Return the URL of a path below a base, which may have a path and a query itself."""
    try:
        base = httpx.URL(base_url)
        if base.scheme in {"http", "https"} and base.host:
            before, mark, query = base.raw_path.partition(b"?")
            return base.copy_with(raw_path=before.rstrip(b"/") + path + mark + query, fragment=None)
    except (httpx.InvalidURL, ValueError):
        pass
    raise ValueError("the LLM's URL must be http://host[:port][/path] or https://...")


def _sendable(key: str) -> str:
    """Return a key that a header can carry. httpcore would show any other in its error."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the LLM's API key must be printable ASCII without spaces")
    return key
