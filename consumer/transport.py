"""One HTTP request on a connection of its own, within one deadline.

What is called takes seconds to a minute, a connection 0.2 ms of processor time (with TLS 0.6); one that was kept may be
stale, or in an unknown state after a call that was broken off.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpcore

from consumer.deadline import BoundedBackend, Deadline

REASON_MAX_CHARS = 200


@contextmanager
def exchange(  # noqa: PLR0913 (a request has these parts, and what it runs over)
    method: bytes,
    url: httpcore.URL,
    headers: list[tuple[bytes, bytes]],
    body: Iterator[bytes] | None,
    *,
    ssl_context: ssl.SSLContext | None,
    deadline: Deadline,
) -> Iterator[httpcore.Response]:
    """Send a request and give the response, its body unread: `iter_stream` gives that within the same deadline.

    No proxy is used, whatever HTTP_PROXY says, and no redirect followed. Host is the caller's to name.
    Raises httpcore's TimeoutException, NetworkError and ProtocolError; what the deadline's pump raises comes through.
    """
    connection = httpcore.HTTPConnection(
        url.origin, ssl_context=ssl_context, network_backend=BoundedBackend(deadline)
    )
    always = [(b"User-Agent", b"friendship-supervisor"), (b"Connection", b"close")]
    with connection, connection.stream(method, url, headers=headers + always, content=body) as response:
        yield response


def unanswered(error: httpcore.NetworkError | httpcore.ProtocolError) -> str:
    """Say in a few words why there was no answer."""
    if isinstance(error, httpcore.LocalProtocolError):
        # It shows the header that it would not send, which may be a secret
        return "the request cannot be sent: something in its headers is no text for one"
    # h11 puts what it could not read behind a colon: what the other side sent stays out of our logs
    reason = str(error) if isinstance(error, httpcore.NetworkError) else str(error).partition(":")[0]
    return reason[:REASON_MAX_CHARS]


def capped(headers: Mapping[bytes, bytes], chunks: Iterator[bytes], most_bytes: int) -> bytes | str:
    """Read a body that was asked for as it is, or say what is wrong with it.

    headers: of the response, names in lower case.
    """
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"identity", b""}:
        return "encoded, though identity was asked for"
    too_large = f"larger than {most_bytes} bytes"
    if int(headers.get(b"content-length", b"0")) > most_bytes:
        return too_large
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            return too_large
    return bytes(body)
