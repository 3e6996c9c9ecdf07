"""Logs in S3: against a server that is one, and against those that misbehave in every way that a socket allows."""

import contextlib
import gc
import gzip
import logging
import random
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumer import aws
from consumer.buckets import log_url
from consumer.errors import LogUnavailable
from consumer.s3 import Archive
from consumer.settings import S3Settings
from scripts.servers.tls import Front, Kind, Wallet
from tests.fixtures.raw_server import RawServer
from tests.fixtures.s3 import BUCKET, S3Server
from tests.integration.test_s3_account import EXAMPLE_KEY, EXAMPLE_SECRET, signature

MIB = 1024 * 1024
LIMIT_S = 1.3  # longer than a beat, so that a beat falls into it
BUSY_MACHINE_S = 8.0
LOG = b'[{"speaker": "pika", "text": "Xin ch\xc3\xa0o Mai"}]'
URL = f"s3://{BUCKET}/conversations/of-Mai.json.gz"
Piece = Callable[[int], bytes | None]

pytestmark = pytest.mark.usefixtures("stranger")


@pytest.fixture(autouse=True)
def known(stranger: pytest.MonkeyPatch) -> None:
    """Be somebody, as nearly every test wants it."""
    stranger.setenv("AWS_ACCESS_KEY_ID", "any")
    stranger.setenv("AWS_SECRET_ACCESS_KEY", "any")


@pytest.fixture
def unknown(known: None, stranger: pytest.MonkeyPatch) -> None:
    """Be nobody after all."""
    stranger.delenv("AWS_ACCESS_KEY_ID")
    stranger.delenv("AWS_SECRET_ACCESS_KEY")


def zipped(text: bytes, level: int = 9) -> bytes:
    """Compress a text, to the same bytes each time."""
    return gzip.compress(text, level, mtime=0)


class Reads:
    """An archive at one server, which counts its beats."""

    def __init__(
        self,
        url: str,
        limit_s: float = 20.0,
        *,
        buckets: frozenset[str] = frozenset({BUCKET}),
        path_style: bool = True,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.beats = 0
        settings = S3Settings(buckets, limit_s, url, path_style)
        self.archive = Archive(settings, ssl_context=context, pump=self._beat)

    def _beat(self) -> None:
        self.beats += 1

    def read(self, url: str = URL, max_bytes: int = MIB) -> bytes:
        return bytes(self.archive.read(url, max_bytes))

    def failure(self, url: str = URL, max_bytes: int = MIB) -> str:
        """Read in vain; give the reason, which names no key."""
        with pytest.raises(LogUnavailable) as caught:
            self.archive.read(url, max_bytes)
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
        assert "Mai" not in caught.value.reason
        return caught.value.reason


def answer(*pieces: bytes) -> Piece:
    """Answer each request with this, and hang up."""
    return lambda number: pieces[number] if number < len(pieces) else None


def with_body(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    return (
        "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body
    )


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


class Resetting(RawServer):
    """A server that sends its pieces, and breaks the connection instead of closing it."""

    def _answer(self, connection: socket.socket) -> None:
        super()._answer(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# A server that is one


@pytest.mark.parametrize(
    "body",
    [LOG, zipped(LOG), zipped(LOG[:9]) + zipped(LOG[9:])],
    ids=["plain", "gzip", "two members"],
)
@pytest.mark.parametrize("key", ["a", "a.json", "a.json.gz"])
def test_an_object_is_read_for_what_it_is(s3: S3Server, key: str, body: bytes) -> None:
    """Plain or gzipped, whatever its name ends in."""
    assert Reads(s3.url).read(s3.put(key, body)) == LOG


@pytest.mark.parametrize("encoding", ["gzip", "utf-8", "identity"])
def test_a_content_encoding_makes_no_difference(s3: S3Server, encoding: str) -> None:
    """What was said of an object when it was put there may be wrong: its bytes are not."""
    reads = Reads(s3.url)
    assert reads.read(s3.put("a", zipped(LOG), Content_Encoding=encoding)) == LOG
    assert reads.read(s3.put("b", LOG, Content_Encoding=encoding)) == LOG


@pytest.mark.parametrize(
    "key",
    [
        *(
            "tr\u00f2 chuy\u1ec7n/a b.json",
            "100%",
            "%41",
            "a%2Fb",
            "a%2F..%2Fb",
            "a?b=c&d",
            "a#b",
            "a+b",
            "\U0001f600",
        ),
        *("a=b;c,d:e@f", "-_.~!*'()", "...", "..a/.b", "e\u0301", "a\\b", '"<&>"', "[x]{y}|^`"),
    ],
)
def test_odd_keys_are_found_and_signed(s3: S3Server, key: str, stranger: pytest.MonkeyPatch) -> None:
    """The object of just this name, by a server that computes each signature again."""
    for other in (key + "2", "a", "A", "a/b", "b"):
        s3.put(other, b"another")
    s3.put(key, LOG)
    for name, value in s3.require_signatures().items():
        stranger.setenv(name, value)
    assert Reads(s3.url).read(f"s3://{BUCKET}/{key}") == LOG


def test_what_is_written_can_be_read(s3: S3Server, stranger: pytest.MonkeyPatch) -> None:
    """Under its own name, whole, in the place of what was there."""
    for name, value in s3.require_signatures().items():
        stranger.setenv(name, value)
    reads = Reads(s3.url)
    body = zipped(random.Random(7).randbytes(3 * MIB))
    url = log_url(BUCKET, "conversations", "lớp 1/Mai?", "0f")
    reads.archive.write(url, b"older")
    reads.archive.write(url, body)
    assert reads.read(url, 4 * MIB) == gzip.decompress(body)


def test_a_written_object_says_what_it_is(s3: S3Server) -> None:
    """One object, of JSON, and no encoding: the ending of its name says that it is gzipped."""
    with RawServer(answer(with_body(b""))) as server:
        Reads(server.url).archive.write(URL, b"\x1f\x8b")
    head = server.asked[0].lower()
    assert head.startswith(b"put /logs/conversations/of-mai.json.gz http/1.1\r\n")
    assert b"content-type: application/json\r\n" in head
    assert b"content-length: 2\r\n" in head
    assert b"content-encoding" not in head


def test_an_object_that_is_not_there(s3: S3Server) -> None:
    """Missing is missing; so is a bucket that was never made."""
    assert Reads(s3.url).failure() == "S3 bucket logs: answered 404 (NoSuchKey)"
    nowhere = Reads(s3.url, buckets=frozenset({"nowhere"}))
    assert nowhere.failure("s3://nowhere/a") == "S3 bucket nowhere: answered 404 (NoSuchBucket)"
    with pytest.raises(LogUnavailable, match="NoSuchBucket"):
        nowhere.archive.write("s3://nowhere/a", b"[]")


def test_a_bucket_that_is_not_ours_is_never_asked(s3: S3Server) -> None:
    """Whatever lies in it, and whatever way there is made up; nor is anything written there."""
    s3.make("other")
    s3.put("a", LOG, "other")
    reads = Reads(s3.url)
    for url in ("s3://other/a", "s3://logs/../other/a", "s3://logs/x/../../other/a", "s3://logs//other/a"):
        assert not s3.keys()
        reads.failure(url)
        with pytest.raises(LogUnavailable):
            reads.archive.write(url, b"[]")
    assert s3.get("a", "other") == LOG
    with RawServer(answer(with_body(LOG))) as server:
        Reads(server.url).failure("s3://logs/../other/a")
    assert server.asked == []


@pytest.mark.usefixtures("unknown")
def test_a_request_without_credentials_is_not_signed(s3: S3Server) -> None:
    """As for an object that is open to all; where it is not, the reason says so."""
    reads = Reads(s3.url)
    assert reads.read(s3.put("a", LOG, x_amz_acl="public-read")) == LOG
    unsigned = "S3 bucket logs: answered 403; the request was not signed, as no credentials were found"
    assert reads.failure(s3.put("b", LOG)) == unsigned


@pytest.mark.usefixtures("unknown")
def test_credentials_that_come_later_are_found(s3: S3Server, stranger: pytest.MonkeyPatch) -> None:
    """A 403 has them looked for again: nobody has to restart a child."""
    stranger.setattr(aws, "LOOK_AGAIN_S", 0.0)
    url = s3.put("a", LOG)
    given = s3.require_signatures()
    reads = Reads(s3.url)
    reads.failure(url)
    for name, value in given.items():
        stranger.setenv(name, value)
    assert reads.read(url) == LOG


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        *(("401 Unauthorized", "Any", True), ("403 Forbidden", "AccessDenied", True)),
        *(("400 Bad Request", code, True) for code in ("ExpiredToken", "InvalidToken", "InvalidAccessKeyId")),
        *(("400 Bad Request", "KeyTooLongError", False), ("404 Not Found", "ExpiredToken", False)),
    ],
)
def test_refused_credentials_are_read_again(
    status: str, code: str, again: bool, stranger: pytest.MonkeyPatch
) -> None:
    """Where who asks may be the reason, rotated credentials are found without a restart."""
    stranger.setattr(aws, "LOOK_AGAIN_S", 0.0)
    refusing = with_body(f"<Error><Code>{code}</Code></Error>".encode(), status)
    with RawServer(answer(refusing)) as server:
        reads = Reads(server.url)
        reads.failure()
        stranger.setenv("AWS_ACCESS_KEY_ID", "NEWKEY")
        reads.failure()
    assert [b"NEWKEY" in request for request in server.asked] == [False, again]


@pytest.mark.parametrize("added", ["\n", " ", "\r\n"])
@pytest.mark.parametrize(
    "name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"]
)
def test_a_credential_with_a_line_break(name: str, added: str, stranger: pytest.MonkeyPatch) -> None:
    """As a mounted secret has it: nobody is asked, and the reason shows none of it, nor a signature."""
    values = {
        "AWS_ACCESS_KEY_ID": "AKIAsecret1",
        "AWS_SECRET_ACCESS_KEY": "secret2",
        "AWS_SESSION_TOKEN": "secret3",
        "AWS_REGION": "secret-4",
    }
    for each, value in values.items():
        stranger.setenv(each, value + added if each == name else value)
    with RawServer(answer(with_body(LOG))) as server:
        reason = Reads(server.url).failure()
        assert server.asked == []
    assert "is no region's name" in reason if name == "AWS_REGION" else "line break or blank" in reason
    assert not any(word in reason for word in [*values.values(), "Signature", "Credential="])


def test_a_region_that_is_none_fails_the_read(stranger: pytest.MonkeyPatch) -> None:
    """Where the host's name is made of it, too."""
    stranger.setenv("AWS_REGION", "eu-zentral-ü")
    aws.prepare()
    archive = Archive(S3Settings(frozenset({BUCKET}), 5.0, None), ssl_context=None, pump=lambda: None)
    with pytest.raises(LogUnavailable, match="AWS_REGION is no region's name"):
        archive.read(URL, MIB)


@pytest.mark.parametrize(
    ("key", "secret", "word"),
    [(None, "wrong", "SignatureDoesNotMatch"), ("AKIASTRANGER", "wrong", "InvalidAccessKeyId")],
)
def test_wrong_credentials_are_told_apart(
    s3: S3Server, key: str | None, secret: str, word: str, stranger: pytest.MonkeyPatch
) -> None:
    """By S3's own word; neither of the two is repeated."""
    url = s3.put("a", LOG)
    given = s3.require_signatures()
    stranger.setenv("AWS_ACCESS_KEY_ID", key or given["AWS_ACCESS_KEY_ID"])
    stranger.setenv("AWS_SECRET_ACCESS_KEY", secret)
    assert Reads(s3.url).failure(url) == f"S3 bucket logs: answered 403 ({word})"


def test_credentials_that_cannot_be_had_fail_the_read(s3: S3Server, stranger: pytest.MonkeyPatch) -> None:
    """Nothing is asked unsigned where somebody meant it to be signed."""
    stranger.setenv("AWS_PROFILE", "nobody")
    assert Reads(s3.url).failure(s3.put("a", LOG)) == "S3 bucket logs: no credentials: ProfileNotFound"


def test_virtual_style(s3: S3Server, stranger: pytest.MonkeyPatch) -> None:
    """The bucket is part of the host's name, in the address, in the Host header and in the signature."""
    s3.put("a b", LOG)
    for name, value in s3.require_signatures().items():
        stranger.setenv(name, value)
    asked: list[object] = []

    def found(host: object, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", s3.port))]

    stranger.setattr(socket, "getaddrinfo", found)
    reads = Reads(f"http://s3.amazonaws.com:{s3.port}", path_style=False)
    assert reads.read(f"s3://{BUCKET}/a b") == LOG
    assert asked == ["logs.s3.amazonaws.com"]


def test_the_region_is_asked_where_no_server_is_named(stranger: pytest.MonkeyPatch) -> None:
    """Amazon's own, by https, with the system's authorities."""
    asked: list[object] = []

    def found(host: object, port: object, **_: object) -> list[object]:
        asked.append((host, port))
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    stranger.setattr(socket, "getaddrinfo", found)
    stranger.setenv("AWS_REGION", "eu-central-1")
    archive = Archive(
        S3Settings(frozenset({BUCKET}), 5.0, None, path_style=False), ssl_context=None, pump=lambda: None
    )
    with pytest.raises(LogUnavailable, match="no answer: host not found"):
        archive.read(URL, MIB)
    assert asked == [("logs.s3.eu-central-1.amazonaws.com", 443)]


def test_the_request_is_what_was_signed(stranger: pytest.MonkeyPatch) -> None:
    """Read off the wire, and computed again without botocore: path, host, date, token; and no encoding is asked for."""
    stranger.setenv("AWS_ACCESS_KEY_ID", EXAMPLE_KEY)
    stranger.setenv("AWS_SECRET_ACCESS_KEY", EXAMPLE_SECRET)
    stranger.setenv("AWS_SESSION_TOKEN", "token")
    with RawServer(answer(with_body(LOG))) as server:
        url = server.url
        assert Reads(f"{url}/base").read(f"s3://{BUCKET}/trò?x=1#y z%41") == LOG
    line, *lines = server.asked[0].decode("ascii").partition("\r\n\r\n")[0].split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    path = "/base/logs/tr%C3%B2%3Fx%3D1%23y%20z%2541"
    assert line == f"GET {path} HTTP/1.1"
    assert headers["host"] == url.removeprefix("http://")
    assert headers["accept-encoding"] == "identity"
    assert headers["connection"] == "close"
    named = re.search("SignedHeaders=(.*?),", headers["authorization"])
    assert named is not None
    assert named[1] == "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
    own = {name: headers[name] for name in named[1].split(";")}
    expected = signature(EXAMPLE_SECRET, "GET", path, own, region="us-east-1")
    assert headers["authorization"].endswith(f"Signature={expected}")


# The total time


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(lambda _: b"", id="silent"),
        pytest.param(lambda number: b"HTTP/1.1 200 OK\r\nX: " if number == 0 else b"x", id="dripping headers"),
        pytest.param(lambda number: with_body(b" " * 9999)[: -9999] if number == 0 else b" ", id="dripping body"),
        pytest.param(lambda number: chunked() if number == 0 else b"1\r\n \r\n", id="dripping chunks"),
        pytest.param(lambda number: b"1\r\n\0\r\n" if number else chunked(zipped(LOG)), id="dripping zeros"),
        pytest.param(lambda _: b"HTTP/1.1 102 Processing\r\n\r\n", id="interim answers"),
    ],
)  # fmt: skip
def test_a_read_ends_at_its_total_time(piece: Piece) -> None:
    """Whatever the server does to keep us, the read ends, and the pulse beat meanwhile."""
    with RawServer(piece, paced=True) as server:
        reads = Reads(server.url, LIMIT_S)
        start = time.monotonic()
        assert reads.failure() == f"S3 bucket logs: over the time limit of {LIMIT_S} s"
        assert LIMIT_S <= time.monotonic() - start < LIMIT_S + BUSY_MACHINE_S
        assert reads.beats >= 1


def test_an_error_is_named_though_its_text_drips() -> None:
    """The status came in time: it is the better reason."""
    head = with_body(b" " * 9999, "403 Forbidden")[:-9999]
    with RawServer(lambda number: head if number == 0 else b" ", paced=True) as server:
        assert "answered 403" in Reads(server.url, LIMIT_S).failure()


def test_a_write_ends_at_its_total_time() -> None:
    """A server that takes the body and says nothing holds nobody."""
    with RawServer(lambda _: b"", paced=True) as server:
        reads = Reads(server.url, LIMIT_S)
        with pytest.raises(LogUnavailable, match="over the time limit"):
            reads.archive.write(URL, bytes(30 * MIB))
        assert reads.beats >= 1


@pytest.mark.parametrize("error", [ValueError("pump"), TimeoutError("pump"), KeyboardInterrupt("pump")])
def test_an_exception_of_the_pump_breaks_the_read_off(error: BaseException) -> None:
    """It comes through as it is."""

    def pump() -> None:
        raise error

    with RawServer(lambda _: b"", paced=True) as server:
        settings = S3Settings(frozenset({BUCKET}), 20.0, server.url)
        archive = Archive(settings, ssl_context=None, pump=pump)
        with pytest.raises(type(error)) as caught:
            archive.read(URL, MIB)
    assert caught.value is error


# Failures


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 405, 409, 410, 412, 416, 429, 500, 503, 599])
def test_any_other_status(status: int) -> None:
    """Only a 200 brings an object, and only a 200 says that one was kept."""
    body = b"" if status in {204, 304} else LOG
    with RawServer(answer(with_body(body, f"{status} Oh"))) as server:
        reads = Reads(server.url)
        assert reads.failure().startswith(f"S3 bucket logs: answered {status}")
        with pytest.raises(LogUnavailable, match=f"answered {status}"):
            reads.archive.write(URL, LOG)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """Nobody asks the server that it names, which would be given our signature."""
    with RawServer(answer(with_body(LOG))) as elsewhere:
        there = f"Location: {elsewhere.url}/logs/a"
        with RawServer(answer(with_body(b"", f"{status} There", there))) as server:
            reason = Reads(server.url).failure()
            assert len(server.asked) == 1
        assert elsewhere.asked == []
    assert reason == f"S3 bucket logs: answered {status}; redirects are not followed"


def test_a_bucket_in_another_region() -> None:
    """What S3 says of it is said on."""
    body = b"<Error><Code>PermanentRedirect</Code><Endpoint>logs.s3.amazonaws.com</Endpoint></Error>"
    moved = with_body(body, "301 Moved Permanently", "x-amz-bucket-region: eu-west-3")
    with RawServer(answer(moved)) as server:
        reason = Reads(server.url).failure()
    words = "the bucket is in region eu-west-3: see AWS_REGION and S3_ENDPOINT_URL"
    assert reason == f"S3 bucket logs: answered 301 (PermanentRedirect); {words}"


HALF = zipped(random.Random(1).randbytes(9000))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "no answer: Server disconnected without sending a response."),
        (b"HTTP/1.1 200 O", "no answer: "),
        (b"Mai says hello\r\n\r\n", "no answer: illegal status line"),
        (b"HTTP/1.1 200 OK\r\nMai\r\n\r\n", "no answer: illegal header line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: Mai\r\n\r\n", "no answer: bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no answer: bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "no answer: "),
        (b"HTTP/1.1 200 OK\r\n\r\n" + LOG, "an answer without a length"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + LOG, "an answer without a length"),
        (with_body(LOG)[:-1], "no answer: peer closed connection"),
        (with_body(zipped(LOG))[:-1], "no answer: peer closed connection"),
        (chunked(LOG), "no answer: peer closed connection"),
        (chunked(LOG, b"")[:-2], "no answer: peer closed connection"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nMai\r\n", "no answer: "),
        (with_body(b""), "the object is empty"),
        (with_body(HALF[:-1]), "the object is cut short: its gzip has no end"),
        (with_body(HALF[: len(HALF) // 2]), "the object is cut short: its gzip has no end"),
        (chunked(HALF[:-1], b""), "the object is cut short: its gzip has no end"),
        (with_body(HALF + b"Mai"), "the object is damaged: it begins as gzip and is none"),
        (with_body(HALF[:99] + b"Mai" + HALF[102:]), "the object is damaged: it begins as gzip and is none"),
        (with_body(b"\x1f\x9d" + LOG), "the object is damaged: it begins as gzip and is none"),
    ],
)
def test_an_answer_that_is_none(sent: bytes, reason: str) -> None:
    """Cut, broken or damaged, each has its words, in which nothing is repeated that was sent."""
    with RawServer(answer(sent) if sent else lambda _: None) as server:
        assert Reads(server.url).failure().startswith(f"S3 bucket logs: {reason}")


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", with_body(LOG)[:-5]])
def test_a_connection_that_is_reset(sent: bytes) -> None:
    """Before, within and after the headers of an answer."""
    with Resetting(answer(sent) if sent else lambda _: None) as server:
        assert Reads(server.url).failure().startswith("S3 bucket logs: no answer: ")


def test_a_write_whose_connection_is_reset() -> None:
    """Nobody can say whether the object was kept: it counts as not."""
    with Resetting(lambda _: None) as server, pytest.raises(LogUnavailable, match="no answer: "):
        Reads(server.url).archive.write(URL, bytes(MIB))


def test_a_server_that_is_not_there() -> None:
    """Refused at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        reason = Reads(f"http://127.0.0.1:{taken.getsockname()[1]}").failure()
    assert reason == "S3 bucket logs: no answer: Connection refused"


def test_tls_is_verified(s3: S3Server, wallet: Wallet, stranger: pytest.MonkeyPatch) -> None:
    """With the right authority an object is read; a certificate of a stranger's ends the read before it is asked."""
    url = s3.put("a", LOG)
    for name, value in s3.require_signatures().items():
        stranger.setenv(name, value)
    trusting = ssl.create_default_context(cafile=str(wallet.authority))
    with Front(s3.port, wallet.of[Kind.GOOD]) as front:
        assert Reads(front.url, context=trusting).read(url) == LOG
        assert "TLS: certificate refused" in Reads(front.url).failure(url)


# Size


def test_the_limit_is_the_last_size_that_passes(s3: S3Server) -> None:
    """As it is sent, and as it is inflated."""
    reads = Reads(s3.url)
    too_large = f"S3 bucket logs: the object is larger than a message may be: over {len(LOG) - 1} bytes"
    for url in (s3.put("a", LOG), s3.put("b", zipped(LOG))):
        # Gzip makes so short a text longer, and what is sent counts as well
        assert reads.read(url, len(zipped(LOG))) == LOG
        assert reads.failure(url, len(LOG) - 1) == too_large


def test_a_length_over_the_limit_is_not_waited_for() -> None:
    """Nothing of the body has to come."""
    head = with_body(bytes(2 * MIB))[: -2 * MIB]
    with RawServer(lambda number: head if number == 0 else b"", paced=True) as server:
        assert "larger than" in Reads(server.url).failure()


def test_chunks_without_an_end_stop_at_the_limit() -> None:
    """Of text, and of what inflates to nothing."""
    for chunk in (b" " * 65_536, zipped(b"") * 3000):
        first, each = chunked(), b"%x\r\n%b\r\n" % (len(chunk), chunk)
        with RawServer(lambda number, first=first, each=each: each if number else first) as server:  # type: ignore[misc]
            assert "larger than" in Reads(server.url).failure()


def bombed(size: int) -> bytes:
    """Begin a gzip of nothing but zeros, without its end: every megabyte but the first is packed to the same bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, each = (packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + each * (size // MIB - 1)


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    """A megabyte that comes to a gigabyte: what is counted are bytes that were allocated, in the whole of a read."""
    limit = 8 * MIB
    sent = with_body(bombed(1024 * MIB))
    with RawServer(answer(sent)) as server:
        reads = Reads(server.url)
        reads.failure()  # what a first read loads is not the bomb's
        tracemalloc.start()
        try:
            reason = reads.failure(max_bytes=limit)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert "larger than a message may be" in reason
    assert peak < limit * 9 / 8 + 3 * MIB


def test_a_kept_failure_keeps_nothing_else() -> None:
    """What came of an object until then is given back at once, without any help of the garbage collector."""
    cut = with_body(random.Random(2).randbytes(30 * MIB))[:-1]
    kept: list[LogUnavailable] = []
    with RawServer(answer(cut)) as server:
        archive = Reads(server.url).archive
        tracemalloc.start()
        gc.disable()
        try:
            try:
                archive.read(URL, 64 * MIB)
            except LogUnavailable as failure:
                kept.append(failure)
            held, peak = tracemalloc.get_traced_memory()
        finally:
            gc.enable()
            tracemalloc.stop()
    assert "peer closed connection" in kept[0].reason
    assert peak > 30 * MIB
    assert held < 2 * MIB


def test_a_kept_exception_of_the_pump_keeps_nothing_else() -> None:
    """It comes through the frames that held the object."""
    body = with_body(bytes(30 * MIB))[:-1]
    stop = RuntimeError("stop")
    come = threading.Event()

    def pump() -> None:
        if come.is_set():
            raise stop

    def piece(number: int) -> bytes | None:
        if number:
            come.set()
        return b"" if number else body

    with RawServer(piece, paced=True) as server:
        archive = Archive(S3Settings(frozenset({BUCKET}), 20.0, server.url), ssl_context=None, pump=pump)
        tracemalloc.start()
        gc.disable()
        try:
            with contextlib.suppress(RuntimeError):
                archive.read(URL, 64 * MIB)
            held, peak = tracemalloc.get_traced_memory()
        finally:
            gc.enable()
            tracemalloc.stop()
    assert stop.__traceback__ is not None
    assert peak > 30 * MIB
    assert held < 2 * MIB


LARGE = """if True:
    import pathlib, sys
    from consumer.s3 import Archive
    from consumer.settings import S3Settings

    def peak_kb():
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    archive = Archive(S3Settings(frozenset({"logs"}), 60.0, sys.argv[1]), ssl_context=None, pump=lambda: None)
    assert len(archive.read("s3://logs/small", 1000)) == 2
    before = peak_kb()
    text = archive.read("s3://logs/" + sys.argv[2], 64 * 2**20)
    print(len(text), peak_kb() - before)
"""


@pytest.mark.parametrize("key", ["plain", "packed"])
def test_a_log_of_60_mb_costs_little_more_than_its_size(s3: S3Server, key: str) -> None:
    """In a process of its own, whose highest resident size the kernel keeps: there is the text, and no body beside."""
    chance = random.Random(3)
    said = b"".join(
        b'{"speaker":"user","text":"%b"},' % chance.randbytes(40).hex().encode() for _ in range(10_000)
    )
    body = b"[" + said * (60 * MIB // len(said)) + b"{}]"
    s3.put("small", b"[]")
    s3.put(key, zipped(body, 1) if key == "packed" else body)
    done = subprocess.run(
        [sys.executable, "-c", LARGE, s3.url, key], check=True, capture_output=True, text=True
    )
    size, grown_kb = map(int, done.stdout.split())
    assert size == len(body)
    assert grown_kb * 1024 < len(body) * 9 / 8 + 8 * MIB


# Words


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.NOTSET):
        yield caplog


def test_nothing_of_secrets_is_logged_or_shown(
    everything: pytest.LogCaptureFixture, stranger: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At no level, in no reason and in no repr: not the key, not its secret, not the token, not whose log it is."""
    secrets = {
        "AWS_ACCESS_KEY_ID": "AKIAsecret1",
        "AWS_SECRET_ACCESS_KEY": "secret2",
        "AWS_SESSION_TOKEN": "secret3",
    }
    for name, value in secrets.items():
        stranger.setenv(name, value)
    with RawServer(answer(with_body(LOG))) as server:
        reads = Reads(server.url)
        assert reads.read() == LOG
    echo = server.asked[0]
    assert b"AKIAsecret1" in echo
    assert b"secret3" in echo
    with RawServer(answer(with_body(b"<Code>AccessDenied</Code>" + echo, "403 No"))) as server:
        reads = Reads(server.url)
        shown = reads.failure() + repr(reads.archive) + repr(vars(reads.archive)) + everything.text
    assert not any(value in shown for value in [*secrets.values(), "Signature=", "Mai"])
