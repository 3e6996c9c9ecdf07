"""The Memory API: one conversation in, the number of new facts out, within one total time.

The shell around the socket is `MemoryApi._exchange`; what an answer means is decided in pure functions. Each
call has a connection of its own (consumer/transport.py).

httpcore is used without httpx around it, which would add to every process 7 MB, to every call a log line with
its URL, and a cookie jar and redirects that nobody wants (docs/decisions/0007-total-deadline.md).

MemoryApiFailure
├── MemoryApiTimeout      over the total time
├── MemoryApiError        no answer, or a status that says nothing about the request
├── MemoryApiRejected     the request itself is refused: it always will be
└── MemoryApiBadResponse  status 200 without a usable answer

A failure holds a status and a few words. It is raised with no exception before it and from frames that hold
nothing large, so that whoever keeps one does not keep a request of 60 MB with it.
"""

import base64
import re
import ssl
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Annotated, Protocol, assert_never
from urllib.parse import quote, unquote, urlsplit

import httpcore
import msgspec

from consumer import tls
from consumer.deadline import Deadline
from consumer.decoding import Unreadable, reading
from consumer.errors import ConsumerError
from consumer.transport import capped, exchange, unanswered

CALL = b"/extract_facts"
ANSWER_MAX_BYTES = 8 * 1024 * 1024
FACTS_MAX = 10_000


class MemoryApiFailure(ConsumerError):
    """The Memory API gave no number of facts."""


class MemoryApiTimeout(MemoryApiFailure):
    """The Memory API took longer than the total time of a call."""


class MemoryApiError(MemoryApiFailure):
    """The Memory API is away or in trouble.

    status: of its answer, None without one. retry_after_s: seconds that it asks us to wait, or None.
    """

    def __init__(self, status: int | None, retry_after_s: float | None, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def opens_breaker(self) -> bool:
        """Say whether every other call must fail likewise: the credentials or the address are wrong."""
        return self.status in {401, 403, 404, 405, 407}


class MemoryApiRejected(MemoryApiFailure):
    """The Memory API refuses the request itself, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The Memory API refuses the request with status {status}.")
        self.status = status


class MemoryApiBadResponse(MemoryApiFailure):
    """The Memory API answered with status 200 but not with a number of facts."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The Memory API's answer is {reason}.")


class Verdict(Enum):
    """What a status says."""

    ANSWERED = auto()
    REJECTED = auto()
    FAILED = auto()


def verdict(status: int) -> Verdict:
    """Say what a status means (CONTRACT section 4). A redirect is a failure: it is not followed."""
    match status:
        case 200:
            return Verdict.ANSWERED
        case 400 | 413 | 415 | 422:
            return Verdict.REJECTED
        case _:
            return Verdict.FAILED


class _Answer(msgspec.Struct):
    """The parts that count, unread: an absent one is empty."""

    status: msgspec.Raw = msgspec.Raw()
    count: msgspec.Raw = msgspec.Raw()
    facts: msgspec.Raw = msgspec.Raw()


_answer = reading(msgspec.json.Decoder(_Answer))
_status = reading(msgspec.json.Decoder(str))
_whole = reading(msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0, le=FACTS_MAX)]))
_facts = reading(msgspec.json.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=FACTS_MAX)]))


def parse_answer(body: bytes) -> int:
    """Return the number of new facts, 0..10000: `count`, or without one the length of `facts`.

    Raises MemoryApiBadResponse for any other bytes; a `status` other than "ok" is one of them.
    """
    count, reason = _count(body)
    if reason:
        # Here and not in `_count`: an exception being handled would stay behind this one, holding the body.
        del body
        raise MemoryApiBadResponse(reason)
    return count


def _count(body: bytes) -> tuple[int, str]:
    """Return the number of facts and "", or 0 and why there is none."""
    wanted = "a JSON object"
    try:
        answer = _answer(body)
        wanted = 'a status "ok"'
        if memoryview(answer.status).nbytes and _status(answer.status) != "ok":
            return 0, f"without {wanted}"
        if memoryview(answer.count).nbytes:
            wanted = f"a count that is an integer in 0..{FACTS_MAX}"
            return _whole(answer.count), ""
        if memoryview(answer.facts).nbytes:
            wanted = f"a list of at most {FACTS_MAX} facts"
            return len(_facts(answer.facts)), ""
    except Unreadable:
        return 0, f"without {wanted}"
    return 0, "without count or facts"


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for; None without one that can be understood.

    value: whole seconds or an HTTP date. now: an aware moment. A date in the past is not understood.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" makes a naive date that is meant in UTC.
        wait_s = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return wait_s if wait_s >= 0 else None


def idempotency_key(conversation_id: str) -> str:
    """Return the id as a header can carry it: percent-encoded UTF-8 for all but printable ASCII.

    Also for "%", so that two ids never share a key, and for spaces at the ends, which a header loses.
    """
    return re.sub(
        r"[^ -~]|%|^ +| +$",
        lambda odd: quote(odd.group(), safe="", errors="surrogatepass"),
        conversation_id,
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a call goes. `authorization` is a secret: the value of that header, or None."""

    url: httpcore.URL
    host_header: bytes
    authorization: bytes | None = field(repr=False)

    @classmethod
    def below(cls, base_url: str) -> "Endpoint":
        """Read a base URL: http or https, perhaps with a path; user:password in it becomes basic auth.

        Raises ValueError, without the URL in its text, when it is not such a URL.
        """
        try:
            parts = urlsplit(base_url)
            host, port = (parts.hostname or "").encode("idna"), parts.port
        except ValueError:
            parts, host, port = urlsplit(""), b"", None
        if parts.scheme not in {"http", "https"} or not host:
            raise ValueError("the URL must be http://host[:port][/path] or https://...") from None
        path = quote(parts.path.rstrip("/") + CALL.decode(), safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        target = f"{path}?{query}" if query else path
        netloc = b"[" + host + b"]" if b":" in host else host
        return cls(
            url=httpcore.URL(
                scheme=parts.scheme.encode(), host=host, port=port, target=target.encode("ascii")
            ),
            host_header=netloc if port is None else b"%b:%d" % (netloc, port),
            authorization=_basic(parts.username, parts.password),
        )

    def beside(self, path: str) -> httpcore.URL:
        """Give the URL of another path below the same base, which begins with a slash."""
        before, _, after = self.url.target.partition(CALL)
        return httpcore.URL(
            scheme=self.url.scheme,
            host=self.url.host,
            port=self.url.port,
            target=before + path.encode() + after,
        )


def _basic(username: str | None, password: str | None) -> bytes | None:
    if username is None and password is None:
        return None
    pair = f"{unquote(username or '')}:{unquote(password or '')}"
    return b"Basic " + base64.b64encode(pair.encode())


class Payload(Protocol):
    """A request body in chunks, given out once. length: bytes in all chunks together."""

    length: int

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came back. body: of a 200 only. flaw: why the body was not read to its end, or empty."""

    status: int
    retry_after: str | None = None
    body: bytes = b""
    flaw: str = ""


def _outcome(reply: _Reply, now: datetime) -> int | MemoryApiFailure:
    """Say what a reply comes to: a value, so that no frame of ours is left on a failure."""
    ruling = verdict(reply.status)
    match ruling:
        case Verdict.ANSWERED:
            count, reason = (0, reply.flaw) if reply.flaw else _count(reply.body)
            return MemoryApiBadResponse(reason) if reason else count
        case Verdict.REJECTED:
            return MemoryApiRejected(reply.status)
        case Verdict.FAILED:
            wait_s = parse_retry_after(reply.retry_after, now)
            return MemoryApiError(reply.status, wait_s, f"The Memory API answered {reply.status}.")
    assert_never(ruling)


def prepare() -> ssl.SSLContext:
    """Return the TLS settings for every call; import what a first call would. For a parent, before it forks.

    It trusts the system's certificate authorities; SSL_CERT_FILE and SSL_CERT_DIR name others. Raises NoTls.
    """
    context = tls.made()
    "localhost".encode("idna")  # getaddrinfo imports this codec at its first use
    return context


class MemoryApi:
    """The Memory API at one address.

    base_url: see `Endpoint.below`. timeout_s: seconds for one whole call, from connect to the last byte.
    ssl_context: from `prepare`; None makes one here if the URL is https (20 ms).
    pump: called about once a second during a call; it must return quickly and not raise (see `Pulse`).

    No proxy is used, whatever HTTP_PROXY says: the address is that of a service in the same network.
    Raises ValueError when the URL is unusable.
    """

    def __init__(
        self, base_url: str, timeout_s: float, *, ssl_context: ssl.SSLContext | None, pump: Callable[[], None]
    ) -> None:
        self._endpoint = Endpoint.below(base_url)
        self._timeout_s = timeout_s
        self._ssl_context = ssl_context or (prepare() if self._endpoint.url.scheme == b"https" else None)
        self._pump = pump

    def extract(self, user_id: str, conversation_id: str, payload: Payload) -> int:  # noqa: ARG002 the payload names the user
        """Send a conversation and return the number of new facts, 0..10000. One attempt, never a second.

        payload: the JSON body, given out once; a chunk is dropped when it is sent.
        Raises MemoryApiFailure. What `pump` or the payload raises comes through as it is.
        """
        outcome: int | MemoryApiFailure
        body = _once(payload)
        length = payload.length
        del payload
        try:
            headers = [
                (b"Content-Type", b"application/json"),
                (b"Content-Length", b"%d" % length),
                (b"Idempotency-Key", idempotency_key(conversation_id).encode("ascii")),
            ]
            outcome = _outcome(self._exchange(b"POST", headers, body), datetime.now(UTC))
        except httpcore.TimeoutException:
            outcome = MemoryApiTimeout()
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            outcome = _unanswered(error)
        finally:
            body.close()  # httpcore's exceptions and frames may form a cycle that holds it until a collection
        if isinstance(outcome, MemoryApiFailure):
            raise outcome
        return outcome

    def probe(self, path: str | None = None) -> int:
        """Return the status with which a GET is answered: any shows that calls get through. Raises MemoryApiFailure.

        path: below the base URL; that of calls when None.
        """
        outcome: int | MemoryApiFailure
        try:
            outcome = self._exchange(b"GET", [], None, path).status
        except httpcore.TimeoutException:
            outcome = MemoryApiTimeout()
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            outcome = _unanswered(error)
        if isinstance(outcome, MemoryApiFailure):
            raise outcome
        return outcome

    def _exchange(
        self,
        method: bytes,
        own_headers: list[tuple[bytes, bytes]],
        body: Iterator[bytes] | None,
        path: str | None = None,
    ) -> _Reply:
        headers = [
            (b"Host", self._endpoint.host_header),
            *own_headers,
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
        ]
        if self._endpoint.authorization is not None:
            headers.append((b"Authorization", self._endpoint.authorization))
        url = self._endpoint.url if path is None else self._endpoint.beside(path)
        deadline = Deadline.after(self._timeout_s, self._pump)
        with exchange(
            method, url, headers, body, ssl_context=self._ssl_context, deadline=deadline
        ) as response:
            return _read(response)


def _unanswered(error: httpcore.NetworkError | httpcore.ProtocolError) -> MemoryApiError:
    return MemoryApiError(None, None, f"The Memory API gave no answer: {unanswered(error)}.")


def _once(payload: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Hand on a payload, and let go of it when closed."""
    yield from payload


def _read(response: httpcore.Response) -> _Reply:
    """Read a reply as far as it is of use: the body of a 200, in no other encoding, up to the cap."""
    headers = {name.lower(): value for name, value in response.headers}
    if verdict(response.status) is not Verdict.ANSWERED:
        wait = headers.get(b"retry-after")
        return _Reply(response.status, retry_after=None if wait is None else wait.decode("latin-1"))
    body = capped(headers, response.iter_stream(), ANSWER_MAX_BYTES)
    return _Reply(response.status, flaw=body) if isinstance(body, str) else _Reply(response.status, body=body)
