"""Asking how a supervisor stands, where something else may answer: one line, soon, and with little memory."""

import gzip
import json
from collections.abc import Callable

import pytest

from supervisor.cli import inquiry
from supervisor.cli.inquiry import NoAnswer, ask
from tests.fixtures import standings
from tests.fixtures.raw_server import RawServer
from tests.fixtures.status_server import StatusServer

OK = b"HTTP/1.1 200 OK\r\n"
ENOUGH = 250
"""Pieces after which a dripping server ends by itself: a client that waits for them fails the test, in 5 s."""


def told(server: RawServer | StatusServer) -> str:
    """Ask, and give the line that says why there is no answer."""
    with pytest.raises(NoAnswer) as none:
        ask(server.url)
    return str(none.value)


def dripping(start: bytes, drop: bytes) -> Callable[[int], bytes | None]:
    """Begin an answer, and go on with it for as long as anybody listens."""
    return lambda number: None if number > ENOUGH else drop if number else start


@pytest.mark.parametrize(
    ("start", "drop", "why"),
    [
        (OK, b"X-A: 1\r\n", "did not answer within 0.2 s"),
        (OK + b"Content-Length: 100000\r\n\r\n", b" ", "began to answer, and had not ended after 0.2 s"),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n",
            b" \r\n1\r\n",
            "began to answer, and had not ended",
        ),
    ],
)
def test_an_answer_that_drips_has_the_whole_time_of_an_ask_and_no_more(
    monkeypatch: pytest.MonkeyPatch, start: bytes, drop: bytes, why: str
) -> None:
    """In its headers as in its body: each byte comes within the limit of a read."""
    monkeypatch.setattr(inquiry, "TIMEOUT_S", 0.2)
    with RawServer(dripping(start, drop), paced=True) as server:
        assert why in told(server)


@pytest.mark.parametrize(
    ("start", "drop", "why"),
    [
        (OK + b"\r\n", b"x" * 2**15, "answers with more than 0.0625 MB"),
        (OK + b"Content-Length: 99999999999999999999\r\n\r\n", b"x", "answers with more than 0.0625 MB"),
        (OK, b"X-A: 1\r\n" * 2**12, "gave no answer that can be read (RemoteProtocolError)"),
        (b"SSH-2.0-OpenSSH\r\n", b"\x1b[2J", "gave no answer that can be read (RemoteProtocolError)"),
    ],
)
def test_an_answer_without_an_end_is_told_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, start: bytes, drop: bytes, why: str
) -> None:
    """And not as a machine that has too much to do."""
    monkeypatch.setattr(inquiry, "MOST_BYTES", 2**16)
    with RawServer(dripping(start, drop)) as server:
        assert why in told(server)


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "deflate", "x"])
def test_an_encoded_answer_is_refused_unread(encoding: str) -> None:
    """A few kilobytes could be unpacked to gigabytes; identity is asked for."""
    body = gzip.compress(json.dumps(standings.good_day()).encode())
    head = OK + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with RawServer(lambda number: None if number else head + body) as server:
        assert "answers in an encoding that was not asked for" in told(server)
    assert b"accept-encoding: identity\r\n" in server.asked[0].lower()
    assert b"gzip" not in server.asked[0].lower()


@pytest.mark.parametrize(
    "parts",
    [
        {"supervisor": []},
        {"supervisor": None},
        {"supervisor": 5, "children": 5, "totals": 5},
        {"children": {}},
        {"children": [None]},
        {"totals": []},
        {"as_of": "now"},
        {"as_of": True},
        {"more": json.loads("[" * 500 + "]" * 500)},
    ],
)
def test_parts_of_another_shape_are_nobody_of_ours(parts: dict[str, object]) -> None:
    """Whatever is asked for: a table, JSON or an exit code."""
    with StatusServer(standings.good_day() | parts) as server:
        assert "is no friendship-supervisor, or one of another version" in told(server)


def test_a_name_and_password_of_the_url_are_sent_and_never_told() -> None:
    """To a proxy that guards it; the request names the host without them."""
    body = json.dumps(standings.good_day()).encode()
    head = OK + f"Content-Length: {len(body)}\r\n\r\n".encode()
    with RawServer(lambda number: None if number else head + body) as server:
        base = server.url.replace("//", "//me:s%20t@") + "/behind"
        assert ask(base) == standings.good_day()
    assert server.asked[0].startswith(b"GET /behind/status HTTP/1.1\r\n")
    assert b"authorization: basic bwu6cyb0\r\n" in server.asked[0].lower()
    assert b"@" not in server.asked[0]


@pytest.mark.parametrize("base", ["http://127.0.0.1:1", "http://[::1]:1", "http://host.invalid:1"])
def test_nobody_there_is_told_with_the_name(base: str) -> None:
    """Of an address, or of a host that is not known."""
    with pytest.raises(NoAnswer, match=r"nobody answers on .*:1: does the supervisor run"):
        ask(base)
