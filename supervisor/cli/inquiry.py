"""Asking a supervisor how it stands, over HTTP: the object of /status, or one line why there is none.

Whatever listens there may answer. So an ask has one deadline for all of it (consumer/deadline.py), and an answer is
taken unpacked only, up to a size, and with the parts that a supervisor's has.
"""

import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore
import orjson

from consumer.deadline import BoundedBackend, Deadline
from consumer.memory_api import Endpoint, prepare
from consumer.tls import NoTls
from supervisor.logs import printable

Standing = Mapping[str, Any]

TIMEOUT_S = 5.0
"""Of the whole ask, but for looking up a host name: the resolver's own limit is behind that."""
MOST_BYTES = 8 * 2**20
PARTS: Mapping[str, Callable[[Any], bool]] = {
    "supervisor": lambda part: isinstance(part, dict),
    "children": lambda part: isinstance(part, list) and all(isinstance(child, dict) for child in part),
    "totals": lambda part: isinstance(part, dict),
    "as_of": lambda part: isinstance(part, int | float) and not isinstance(part, bool),
}


class NoAnswer(Exception):
    """Nobody could be asked, or nothing usable came. The text says why and what to do, and holds no password."""


def ask(base: str) -> Standing:
    """Return what base/status gives. No proxy of the environment is used: what is asked is near.

    Raises NoAnswer.
    """
    parts = urlsplit(base)
    name = printable(f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}")
    problem = None
    try:
        return _read(name, _get(name, base))
    except httpcore.ConnectError:
        problem = f"nobody answers on {name}: does the supervisor run? If it listens elsewhere, give --url"
    except httpcore.TimeoutException:
        problem = f"{name} did not answer within {TIMEOUT_S:g} s: the machine has too much to do; try again"
    except NoTls as obstacle:
        problem = str(obstacle)
    except (httpcore.NetworkError, httpcore.ProtocolError, ValueError) as error:
        problem = f"{name} gave no answer that can be read ({type(error).__name__}): give --url"
    raise NoAnswer(problem)


def _get(name: str, base: str) -> bytes:
    """Return the body of a 200. Raises NoAnswer for any other, ValueError for no URL, and what httpcore raises."""
    endpoint = Endpoint.below(base)
    url = endpoint.beside("/status")
    headers = [
        (b"Host", endpoint.host_header),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        (b"User-Agent", b"friendship-supervisor"),
        (b"Connection", b"close"),
    ]
    if endpoint.authorization is not None:
        headers.append((b"Authorization", endpoint.authorization))
    context: ssl.SSLContext | None = prepare() if url.scheme == b"https" else None
    backend = BoundedBackend(Deadline.after(TIMEOUT_S, lambda: None))
    with (
        httpcore.HTTPConnection(url.origin, ssl_context=context, network_backend=backend) as connection,
        connection.stream(b"GET", url, headers=headers) as response,
    ):
        return _body(name, response)


def _body(name: str, response: httpcore.Response) -> bytes:
    match response.status:
        case 200:
            pass
        case 421:
            raise NoAnswer(f"{name} answers to IP addresses and to its FRIENDSHIP_ALLOWED_HOSTS only")
        case 503:
            raise NoAnswer(f"{name} has nothing to tell yet: the supervisor has just begun; try again")
        case code:
            raise NoAnswer(f"{name} answered {code}: that is no supervisor's status page; give --url")
    fields = {field.lower(): value for field, value in response.headers}
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise NoAnswer(
            f"{name} answers in an encoding that was not asked for: that is no supervisor; give --url"
        )
    body, most = bytearray(), f"{MOST_BYTES / 2**20:g} MB"
    too_large = NoAnswer(f"{name} answers with more than {most}: that is no supervisor's status; give --url")
    if int(fields.get(b"content-length", b"0")) > MOST_BYTES:
        raise too_large
    late = False
    try:
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > MOST_BYTES:
                raise too_large
    except httpcore.TimeoutException:
        late = True
    if late:
        raise NoAnswer(f"{name} began to answer, and had not ended after {TIMEOUT_S:g} s: try again")
    return bytes(body)


def _read(name: str, body: bytes) -> Standing:
    try:
        standing = orjson.loads(body)
        orjson.dumps(standing)  # it reads brackets nested deeper than it writes
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        standing = None
    if not isinstance(standing, dict) or not all(
        part in standing and fits(standing[part]) for part, fits in PARTS.items()
    ):
        raise NoAnswer(
            f"{name} answers, but not as a supervisor does: it is no friendship-supervisor, or one of another version; "
            "give --url"
        )
    return standing
