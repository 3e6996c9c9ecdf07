"""Logs in S3, or in a server that speaks its language: one object in, or out, within one total time.

The one GET (or PUT) is made by `consumer.transport`, as every call of ours; botocore says who asks (`consumer.aws`).
What is asked for and what an answer means is decided in `consumer.buckets`. Whatever goes wrong is LogUnavailable,
with a bucket and a few words: the key may name a child, and stays out of them. It is raised with no exception before it
and from frames that hold nothing large.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import httpcore

from consumer.buckets import Address, Place, Server, doubts_who_asks, is_away, place, refusal
from consumer.deadline import Deadline
from consumer.errors import LogUnavailable
from consumer.inflate import Flaw, Inflater
from consumer.settings import S3Settings
from consumer.transport import exchange, unanswered

ERROR_MAX_BYTES = 4096
SENT_AT_ONCE = 128 * 1024


def prepare() -> None:
    """Import what a first request would, for a parent before it forks. Raises ImportError without the extra `s3`."""
    from consumer import aws  # noqa: PLC0415 (only where S3 is in use)

    aws.prepare()


class Archive:
    """The buckets that logs are kept in.

    ssl_context: for https; None makes one here if it is needed (20 ms).
    pump: called about once a second during a request; it must return quickly and not raise
    (`consumer.deadline.Pulse`).

    No proxy is used, whatever HTTPS_PROXY says, no redirect followed, and nothing sent a second time.
    Raises ValueError when the endpoint's URL is unusable, ImportError without the extra `s3`.
    """

    def __init__(
        self, settings: S3Settings, *, ssl_context: ssl.SSLContext | None, pump: Callable[[], None]
    ) -> None:
        from consumer import aws  # noqa: PLC0415 (only where S3 is in use)

        self._settings = settings
        self._server = Server.at(settings.endpoint) if settings.endpoint else None
        plain = self._server is not None and self._server.scheme == "http"
        self._ssl_context = ssl_context or (None if plain else ssl.create_default_context())
        self._pump = pump
        self._account = aws.account()
        self._no_credentials = aws.CredentialsUnavailable

    def read(self, url: str, max_bytes: int) -> bytearray:
        """Return an object's text, inflated if it is gzip. One attempt.

        max_bytes: the most that it may come to, as it is sent and as it is inflated.
        Raises LogUnavailable. What `pump` raises comes through as it is.
        """
        outcome = self._gather(url, max_bytes)
        if isinstance(outcome, LogUnavailable):
            raise outcome
        return outcome

    def write(self, url: str, body: bytes) -> None:
        """Put an object in the place of the one there, if any: it is kept whole when this returns. One attempt.

        body: sent as application/json, of which the key's ending says whether it is gzipped.
        Raises LogUnavailable. What `pump` raises comes through as it is.
        """
        failure = self._request("PUT", url, body, lambda _: "")
        if failure is not None:
            raise failure

    def _gather(self, url: str, max_bytes: int) -> bytearray | LogUnavailable:
        gathered = Inflater(max_bytes)
        whole = False
        try:
            failure = self._request("GET", url, b"", partial(_receive, gathered, max_bytes))
            whole = failure is None
        finally:
            if not whole:
                gathered.drop()  # httpcore's exceptions and frames may form a cycle that holds it until a collection
        return failure or gathered.text

    def _request(
        self, method: str, url: str, body: bytes, receive: Callable[[httpcore.Response], str]
    ) -> LogUnavailable | None:
        """Ask once, and have a 200 received. Return why it failed: a value, so that no frame stays on a failure."""
        wanted = place(url, self._settings.buckets)
        if isinstance(wanted, str):
            return LogUnavailable(wanted)
        away = True
        try:
            reason, away = self._exchange(method, wanted, body, receive)
        except httpcore.TimeoutException:
            reason = f"over the time limit of {self._settings.timeout_s:g} s"
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            reason = f"no answer: {unanswered(error)}"
        except self._no_credentials as error:
            reason = f"no credentials: {error}"
        return LogUnavailable(f"S3 bucket {wanted.bucket}: {reason}", away=away) if reason else None

    def _exchange(
        self, method: str, wanted: Place, body: bytes, receive: Callable[[httpcore.Response], str]
    ) -> tuple[str, bool]:
        """Return why it failed, or nothing, and whether the server is away."""
        deadline = Deadline.after(self._settings.timeout_s, self._pump)
        server = self._server or Server.of_aws(self._account.region())
        address = server.address(wanted, path_style=self._settings.path_style)
        own = {"Host": address.host_header}
        if method == "PUT":
            own["Content-Type"] = "application/json"
        signed = self._account.sign(method, address.text, own, body)
        headers = signed or [(name.encode(), value.encode()) for name, value in own.items()]
        headers.append((b"Accept-Encoding", b"identity"))
        if method == "PUT":
            headers.append((b"Content-Length", b"%d" % len(body)))
        content = _chunks(body) if method == "PUT" else None
        with exchange(
            method.encode(), _url(address), headers, content, ssl_context=self._ssl_context, deadline=deadline
        ) as response:
            if response.status == 200:
                return receive(response), False
            text = _beginning(response)
            if doubts_who_asks(response.status, text):
                self._account.doubt()
            reason = refusal(response.status, _headers(response), text, signed=signed is not None)
            return reason, is_away(response.status, text)


def _url(address: Address) -> httpcore.URL:
    return httpcore.URL(
        scheme=address.scheme.encode("ascii"),
        host=address.host.encode("ascii"),
        port=address.port,
        target=address.target.encode("ascii"),
    )


def _receive(gathered: Inflater, max_bytes: int, response: httpcore.Response) -> str:
    """Gather the body of a 200; return what is wrong with it, or nothing."""
    headers = _headers(response)
    length = headers.get(b"content-length")
    if length is None and b"transfer-encoding" not in headers:
        # It would end with the connection, and could be cut short without anybody noticing
        return "an answer without a length"
    too_large = f"the object is {Flaw.TOO_LARGE.value}: over {max_bytes} bytes"
    if length is not None and int(length) > max_bytes:
        return too_large
    came = 0
    for chunk in response.iter_stream():
        came += len(chunk)
        flaw = Flaw.TOO_LARGE if came > max_bytes else gathered.take(chunk)
        if flaw is not None:
            break
    else:
        flaw = gathered.end()
    if flaw is Flaw.TOO_LARGE:
        return too_large
    return f"the object is {flaw.value}" if flaw else ""


def _headers(response: httpcore.Response) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in response.headers}


def _beginning(response: httpcore.Response) -> bytes:
    """Read the beginning of an error's text, as far as it comes: the status alone is an answer already."""
    text = bytearray()
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in response.iter_stream():
            text += chunk
            if len(text) >= ERROR_MAX_BYTES:
                break
    return bytes(text[:ERROR_MAX_BYTES])


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), SENT_AT_ONCE):
        yield body[start : start + SENT_AT_ONCE]
