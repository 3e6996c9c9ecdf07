"""The Memory API client against servers that misbehave in every way that a socket allows."""

import base64
import contextlib
import gc
import itertools
import json
import logging
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer import deadline as deadline_module
from consumer.deadline import Deadline, pause_ms
from consumer.memory_api import (
    ANSWER_MAX_BYTES,
    Endpoint,
    MemoryApi,
    MemoryApiBadResponse,
    MemoryApiError,
    MemoryApiFailure,
    MemoryApiRejected,
    MemoryApiTimeout,
    Verdict,
    idempotency_key,
    parse_retry_after,
    prepare,
    verdict,
)
from consumer.transport import exchange, unanswered
from scripts.servers.memory_api import Behaviour, MemoryApiStandIn, facts_for
from tests.fixtures.raw_server import RawServer

MIB = 1024 * 1024
NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
LIMIT_S = 1.3  # longer than a beat, so that a beat falls into it
BUSY_MACHINE_S = 8.0
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"count":3}'


class Payload:
    """A request body of chunks, dropped as they are given out."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = deque(chunks)
        self.length = sum(map(len, chunks))

    def __iter__(self) -> Iterator[bytes]:
        while self._chunks:
            yield self._chunks.popleft()


def large(mib: int) -> Payload:
    return Payload(*(bytes(128 * 1024) for _ in range(mib * 8)))


class Peer:
    """A TCP server in threads: every connection is given to `script`, which may do anything to it."""

    def __init__(
        self,
        script: Callable[["Peer", socket.socket], None],
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._script = script
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.closing = threading.Event()
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.sent = 0
        self.saw_end = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        netloc = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{netloc}:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        self._listener.close()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with contextlib.suppress(OSError), connection:
            if self._tls:
                with self._tls.wrap_socket(connection, server_side=True) as secure:
                    self._script(self, secure)
            else:
                self._script(self, connection)

    def receive(self, connection: socket.socket) -> bytes:
        """Return what has come; the end of the stream ends the script."""
        data = connection.recv(1 << 18)
        if not data:
            self.saw_end.set()
            raise ConnectionAbortedError
        return data

    def read_request(self, connection: socket.socket) -> None:
        """Read one request with a Content-Length, and note it."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.receive(connection)
        head, _, first = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        body = bytearray(first)
        while len(body) < length:
            body += self.receive(connection)
        self.heads.append(head)
        self.bodies.append(bytes(body))

    def send(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        self.sent += len(data)

    def drip(self, connection: socket.socket) -> None:
        """Send a byte every 50 ms until the other side is gone."""
        while not self.closing.wait(0.05):
            self.send(connection, b"x")

    def wait_for_end(self, connection: socket.socket) -> None:
        """Read until the other side is gone."""
        with contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                pass
        self.saw_end.set()


def answer(data: bytes) -> Callable[[Peer, socket.socket], None]:
    """Return a script that reads the request, sends this and hangs up."""

    def script(peer: Peer, connection: socket.socket) -> None:
        peer.read_request(connection)
        peer.send(connection, data)

    return script


def with_body(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silent(peer: Peer, connection: socket.socket) -> None:
    peer.read_request(connection)
    peer.wait_for_end(connection)


def body_drip(peer: Peer, connection: socket.socket) -> None:
    peer.read_request(connection)
    peer.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    peer.drip(connection)


def never_reads(peer: Peer, connection: socket.socket) -> None:
    peer.closing.wait()


def endless_interim(peer: Peer, connection: socket.socket) -> None:
    peer.read_request(connection)
    while not peer.closing.is_set():
        peer.send(connection, b"HTTP/1.1 102 Processing\r\n\r\n" * 100)


class Calls:
    """A client of one peer, which counts its beats."""

    def __init__(self, url: str, limit_s: float = 20.0, context: ssl.SSLContext | None = None) -> None:
        self.beats = 0
        self.api = MemoryApi(url, limit_s, ssl_context=context, pump=self._beat)

    def _beat(self) -> None:
        self.beats += 1

    def extract(self, payload: Payload | None = None, conversation_id: str = "c1") -> int:
        return self.api.extract("u1", conversation_id, payload or Payload(b'{"a":', b"1}"))

    def failure(self, payload: Payload | None = None) -> MemoryApiFailure:
        with pytest.raises(MemoryApiFailure) as caught:
            self.extract(payload)
        return caught.value


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost with its key, in one file, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", "-", "-out", "-"),
    ]
    made = subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(made.stdout)
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port on which a connection is never answered: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as fillers:
        port = listener.getsockname()[1]
        while True:
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0.5)
            try:
                filler.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


# One call


def test_the_request_is_what_the_contract_says() -> None:
    """Path below the base, JSON, the idempotency key, the exact length and every byte of the body."""
    with Peer(answer(OK)) as peer:
        payload = Payload(b'{"user_id":"u1",', b"", b'"conversation":[]}')
        assert Calls(peer.url + "/api/v1/").extract(payload, conversation_id="lớp-1") == 3
    line, *lines = peer.heads[0].decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert line == "POST /api/v1/extract_facts HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == "l%E1%BB%9Bp-1"
    assert headers["content-length"] == "34"
    assert headers["accept-encoding"] == "identity"
    assert headers["connection"] == "close"
    assert headers["host"] == f"127.0.0.1:{peer.port}"
    assert "authorization" not in headers
    assert "transfer-encoding" not in headers
    assert peer.bodies == [b'{"user_id":"u1","conversation":[]}']


def test_the_stand_in_finds_no_fault(memory_api: MemoryApiStandIn) -> None:
    """Body and key pass the checks of the Memory API stand-in, which counts the facts."""
    memory_api.record(validate=True)
    body = {"user_id": "u1", "conversation_id": "c7", "conversation": [{"role": "user", "content": "hi"}]}
    assert Calls(memory_api.url).extract(Payload(json.dumps(body).encode()), "c7") == facts_for("c7")
    assert memory_api.calls().of("c7") == 1


def test_each_call_has_a_connection_of_its_own() -> None:
    """A server that hangs up after each answer, though it promised to stay, fails no later call."""
    promise = OK.replace(b"OK\r\n", b"OK\r\nConnection: keep-alive\r\n")
    with Peer(answer(promise)) as peer:
        calls = Calls(peer.url)
        assert [calls.extract() for _ in range(3)] == [3, 3, 3]
    assert peer.connections == 3


def test_a_large_payload_arrives_whole() -> None:
    """A body beyond every socket buffer, in chunks of odd sizes, to a server that reads slowly at first."""

    def script(peer: Peer, connection: socket.socket) -> None:
        peer.closing.wait(0.2)
        peer.read_request(connection)
        peer.send(connection, OK)

    chunks = [bytes([65 + i % 26]) * (1 + i * 7919) for i in range(60)]
    with Peer(script) as peer:
        assert Calls(peer.url).extract(Payload(*chunks)) == 3
    assert peer.bodies == [b"".join(chunks)]


def test_an_answer_may_come_in_chunks_or_end_with_the_connection() -> None:
    """The three ways in which HTTP says where a body ends all give the count."""
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"co\r\n7\r\nunt":7}\r\n0\r\n\r\n'
    until_end = b'HTTP/1.1 200 OK\r\n\r\n{"facts":["a","b"]}'
    with Peer(answer(chunked)) as peer:
        assert Calls(peer.url).extract() == 7
    with Peer(answer(until_end)) as peer:
        assert Calls(peer.url).extract() == 2


def test_ipv6() -> None:
    """A literal IPv6 address works, and keeps its brackets in the Host header."""
    try:
        peer = Peer(answer(OK), host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with peer:
        assert Calls(peer.url).extract() == 3
    assert f"Host: [::1]:{peer.port}".encode() in peer.heads[0]


def test_every_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch, deaf_port: int) -> None:
    """One address refuses, one swallows packets, the third answers."""
    monkeypatch.setattr(deadline_module, "ADDRESS_S", 0.3)
    with Peer(answer(OK)) as peer, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
            for port in (taken.getsockname()[1], deaf_port, peer.port)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert Calls("http://memory.test").extract() == 3


def test_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """A large request and a large answer pass through TLS."""
    facts = with_body(json.dumps({"facts": ["x" * 500] * 10_000}).encode())
    with Peer(answer(facts), tls=server_tls) as peer:
        calls = Calls(f"https://localhost:{peer.port}", context=client_tls)
        assert calls.extract(large(5)) == 10_000
    assert peer.bodies == [bytes(5 * MIB)]


def test_a_first_call_imports_nothing_after_prepare() -> None:
    """What a call needs is loaded by `prepare`, so that children share it with their parent."""
    program = """if True:
        import sys, threading
        from consumer.memory_api import MemoryApi, prepare
        class Payload:
            length = 2
            def __iter__(self):
                yield b"{}"
        context = prepare()
        loaded = set(sys.modules)
        api = MemoryApi(sys.argv[1], 20, ssl_context=context, pump=lambda: None)
        assert api.extract("u", "c", Payload()) == 3
        assert set(sys.modules) == loaded, set(sys.modules) - loaded
        assert threading.active_count() == 1
    """
    with Peer(answer(OK)) as peer:
        subprocess.run([sys.executable, "-W", "error", "-c", program, peer.url], check=True)


def test_prepare_checks_certificates() -> None:
    """The shared TLS settings refuse strangers."""
    context = prepare()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# The total time


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour.HANG, Behaviour.SILENCE_AFTER_HEADERS, Behaviour.BODY_DRIP, Behaviour.HEADER_DRIP],
)
def test_a_call_ends_at_its_total_time(memory_api: MemoryApiStandIn, behaviour: Behaviour) -> None:
    """Whatever the server does to keep us, the call ends, and the pulse beat meanwhile."""
    memory_api.set_mode(behaviour, seconds=0.05)
    calls = Calls(memory_api.url, LIMIT_S)
    start = time.monotonic()
    assert type(calls.failure()) is MemoryApiTimeout
    assert LIMIT_S <= time.monotonic() - start < LIMIT_S + BUSY_MACHINE_S
    assert calls.beats >= 1


@pytest.mark.parametrize("script", [never_reads, endless_interim])
def test_a_call_that_always_has_something_to_do_ends_at_its_total_time(
    script: Callable[[Peer, socket.socket], None],
) -> None:
    """A server that never reads our body, and one that sends without a pause, hold nobody either."""
    with Peer(script) as peer:
        calls = Calls(peer.url, LIMIT_S)
        start = time.monotonic()
        assert type(calls.failure(large(30) if script is never_reads else None)) is MemoryApiTimeout
        assert LIMIT_S <= time.monotonic() - start < LIMIT_S + BUSY_MACHINE_S
        assert calls.beats >= 1


@pytest.mark.parametrize("script", [body_drip, never_reads])
def test_a_call_in_tls_ends_at_its_total_time(
    script: Callable[[Peer, socket.socket], None], server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The same holds inside TLS, for reading and for writing."""
    with Peer(script, tls=server_tls) as peer:
        calls = Calls(f"https://localhost:{peer.port}", LIMIT_S, client_tls)
        start = time.monotonic()
        assert type(calls.failure(large(30))) is MemoryApiTimeout
        assert time.monotonic() - start < LIMIT_S + BUSY_MACHINE_S
        assert calls.beats >= 1


def test_a_tls_handshake_ends_at_the_total_time() -> None:
    """A server that accepts and never shakes hands holds nobody."""
    with Peer(never_reads) as peer:
        calls = Calls(peer.url.replace("http:", "https:"), LIMIT_S)
        assert type(calls.failure()) is MemoryApiTimeout
        assert calls.beats >= 1


def test_connecting_ends_at_the_total_time(deaf_port: int) -> None:
    """An address that never answers holds nobody."""
    calls = Calls(f"http://127.0.0.1:{deaf_port}", LIMIT_S)
    assert type(calls.failure()) is MemoryApiTimeout
    assert calls.beats >= 1


def test_a_slow_payload_counts_into_the_total_time() -> None:
    """Time that the payload takes to produce its chunks is the call's time too."""

    class Slow(Payload):
        def __iter__(self) -> Iterator[bytes]:
            for chunk in super().__iter__():
                while time.monotonic() < end:
                    pass
                yield chunk

    with Peer(silent) as peer:
        end = time.monotonic() + 0.3
        assert type(Calls(peer.url, 0.2).failure(Slow(b"{", b"}"))) is MemoryApiTimeout


def test_the_pulse_beats_about_once_a_second() -> None:
    """A silent wait of 3.2 s has at least two beats, and not hundreds."""
    with Peer(silent) as peer:
        calls = Calls(peer.url, 3.2)
        assert type(calls.failure()) is MemoryApiTimeout
    assert 2 <= calls.beats <= 3


@pytest.mark.parametrize("error", [ValueError("pump"), TimeoutError("pump"), KeyboardInterrupt("pump")])
def test_an_exception_of_the_pump_breaks_the_call_off(error: BaseException) -> None:
    """It comes through as it is, and the connection is closed."""

    def pump() -> None:
        raise error

    with Peer(silent) as peer:
        api = MemoryApi(peer.url, 20, ssl_context=None, pump=pump)
        with pytest.raises(type(error)) as caught:
            api.extract("u", "c", Payload(b"{}"))
        assert caught.value is error
        assert peer.saw_end.wait(10)


def test_an_exception_of_the_payload_breaks_the_call_off() -> None:
    """It comes through as it is, and the connection is closed."""

    class Broken(Payload):
        def __iter__(self) -> Iterator[bytes]:
            yield b"{"
            raise OSError("no more")

    def script(peer: Peer, connection: socket.socket) -> None:
        peer.wait_for_end(connection)

    with Peer(script) as peer:
        with pytest.raises(OSError, match="no more"):
            Calls(peer.url).extract(Broken(b"{", b"}"))
        assert peer.saw_end.wait(10)


@given(st.floats(0, 1e9), st.lists(st.floats(-10, 1e6), min_size=1, max_size=3))
def test_a_pause_never_ends_early_and_never_spins(now: float, ahead: list[float]) -> None:
    """It is whole milliseconds, at least what is left until the earliest moment, less than 1 ms more."""
    moments = [now + s for s in ahead]
    left_ms = (min(moments) - now) * 1000
    assert max(0.0, left_ms) <= pause_ms(now, *moments) <= max(0.0, left_ms) + 1


# Failures


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_request(status: int) -> None:
    """The request itself is at fault."""
    with Peer(answer(with_body(b"no", f"{status} No"))) as peer:
        failure = Calls(peer.url).failure()
    assert isinstance(failure, MemoryApiRejected)
    assert failure.status == status


@pytest.mark.parametrize("status", [201, 204, 304, 401, 403, 404, 405, 407, 408, 425, 429, 500, 503, 599])
def test_any_other_status(status: int) -> None:
    """The API is in trouble, or we talk to the wrong one."""
    body = b"" if status in {204, 304} else b'{"count":3}'
    with Peer(answer(with_body(body, f"{status} Oh", "Retry-After: 120"))) as peer:
        failure = Calls(peer.url).failure()
    assert isinstance(failure, MemoryApiError)
    assert (failure.status, failure.retry_after_s) == (status, 120.0)
    assert failure.opens_breaker == (status in {401, 403, 404, 405, 407})
    assert str(failure) == failure.reason == f"The Memory API answered {status}."


def test_a_redirect_is_not_followed(memory_api: MemoryApiStandIn) -> None:
    """Nobody calls the path that it names."""
    memory_api.set_mode(Behaviour.REDIRECT)
    failure = Calls(memory_api.url).failure()
    assert isinstance(failure, MemoryApiError)
    assert failure.status == 307
    assert memory_api.calls().astray == 0


@pytest.mark.parametrize("location", ["http://[", "\x80"])
def test_a_redirect_is_not_even_looked_at(location: str) -> None:
    """A place that cannot exist makes no difference."""
    with Peer(answer(with_body(b"", "302 There", f"Location: {location}"))) as peer:
        failure = Calls(peer.url).failure()
    assert isinstance(failure, MemoryApiError)
    assert failure.status == 302


def test_an_answer_before_the_request_was_read() -> None:
    """A server that refuses a large body from its headers alone, and hangs up, is heard."""

    def script(peer: Peer, connection: socket.socket) -> None:
        connection.recv(1024)
        peer.send(connection, with_body(b"", "413 Too large"))

    with Peer(script) as peer:
        failure = Calls(peer.url).failure(large(30))
    assert isinstance(failure, MemoryApiRejected)


def test_nobody_listens() -> None:
    """Refused: an error without a status."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure = Calls(f"http://127.0.0.1:{taken.getsockname()[1]}").failure()
    assert isinstance(failure, MemoryApiError)
    assert failure.status is failure.retry_after_s is None
    assert "refused" in failure.reason
    assert not failure.opens_breaker


def test_a_host_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unresolvable: an error without a status."""

    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    failure = Calls("http://memory.test").failure()
    assert isinstance(failure, MemoryApiError)
    assert "host not found: Name or service not known" in failure.reason


def test_a_reset_instead_of_an_answer(memory_api: MemoryApiStandIn) -> None:
    """An error without a status."""
    memory_api.set_mode(Behaviour.RESET)
    failure = Calls(memory_api.url).failure()
    assert isinstance(failure, MemoryApiError)
    assert failure.status is None
    assert "reset" in failure.reason


def test_a_reset_within_an_answer() -> None:
    """An error without a status: half an answer is none."""

    def script(peer: Peer, connection: socket.socket) -> None:
        peer.read_request(connection)
        peer.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{")
        peer.closing.wait(0.1)  # mostly lets the client read that much first; the outcome is the same if not
        reset(connection)

    with Peer(script) as peer:
        failure = Calls(peer.url).failure()
    assert isinstance(failure, MemoryApiError)
    assert failure.status is None
    assert "reset" in failure.reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret-zz\r\n",
        b"SSH-2.0-secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nsecret line\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"secret" * 100_000,
        b"\0\xff" * 1000,
    ],
)
def test_what_is_not_http(data: bytes) -> None:
    """An error without a status, and without what the other side sent."""
    with Peer(answer(data)) as peer:
        failure = Calls(peer.url).failure()
    assert isinstance(failure, MemoryApiError)
    assert failure.status is None
    assert len(str(failure)) < 250
    assert "secret" not in str(failure)


def test_tls_failures(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """A stranger's certificate, another host's, and a server without TLS: errors without a status."""
    with Peer(answer(OK), tls=server_tls) as peer:
        stranger = Calls(f"https://localhost:{peer.port}").failure()
        other_name = Calls(peer.url, context=client_tls).failure()
    with Peer(lambda peer, connection: peer.send(connection, with_body(b"", "400 What"))) as peer:
        without_tls = Calls(f"https://localhost:{peer.port}", context=client_tls).failure()
    assert isinstance(stranger, MemoryApiError)
    assert "self" in stranger.reason
    assert "signed certificate" in stranger.reason
    assert isinstance(other_name, MemoryApiError)
    assert "127.0.0.1" in other_name.reason
    assert isinstance(without_tls, MemoryApiError)
    assert "TLS" in without_tls.reason


@pytest.mark.parametrize("body", [b"", b"[]", b'{"count":-1}', b'{"count":10001}', b"{", b'{"facts":{}}'])
def test_an_answer_that_is_no_count(body: bytes) -> None:
    """Status 200 alone is not enough."""
    with Peer(answer(with_body(body))) as peer:
        assert isinstance(Calls(peer.url).failure(), MemoryApiBadResponse)


def test_an_answer_that_announces_two_gigabytes() -> None:
    """It is not even begun."""

    def script(peer: Peer, connection: socket.socket) -> None:
        peer.read_request(connection)
        peer.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n")
        peer.wait_for_end(connection)

    with Peer(script) as peer:
        failure = Calls(peer.url).failure()
        assert peer.saw_end.wait(10)
    assert isinstance(failure, MemoryApiBadResponse)
    assert str(ANSWER_MAX_BYTES) in failure.reason


@pytest.mark.parametrize("behaviour", [Behaviour.HUGE, Behaviour.GZIP_BOMB])
def test_two_gigabytes_never_come_into_memory(memory_api: MemoryApiStandIn, behaviour: Behaviour) -> None:
    """An answer that grows without end is left at the cap; one that would inflate to it is not inflated."""
    memory_api.set_mode(behaviour, megabytes=2048)
    tracemalloc.start()
    try:
        failure = Calls(memory_api.url).failure()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(failure, MemoryApiBadResponse)
    assert peak < 24 * MIB


@pytest.mark.parametrize("name", ["br", "GZIP, identity"])
def test_an_answer_in_another_encoding(name: str) -> None:
    """Identity was asked for: anything else is a bad answer, whatever its bytes are."""
    with Peer(answer(with_body(b'{"count":3}', "200 OK", f"Content-Encoding: {name}"))) as peer:
        assert isinstance(Calls(peer.url).failure(), MemoryApiBadResponse)


def test_an_answer_that_says_identity() -> None:
    """Naming the encoding that was asked for is no fault."""
    with Peer(answer(with_body(b'{"count":3}', "200 OK", "Content-Encoding: Identity"))) as peer:
        assert Calls(peer.url).extract() == 3


# Memory


@pytest.mark.parametrize(
    "script", [silent, never_reads, answer(with_body(b"", "503 Busy")), answer(with_body(b"[]"))]
)
def test_a_kept_failure_keeps_nothing_else(script: Callable[[Peer, socket.socket], None]) -> None:
    """Neither the payload nor another exception lives on with it, without any help of the garbage collector."""
    kept: list[MemoryApiFailure] = []
    payloads: list[weakref.ref[Payload]] = []

    def payload() -> Payload:
        made = large(30)
        payloads.append(weakref.ref(made))
        return made

    with Peer(script) as peer:
        calls = Calls(peer.url, LIMIT_S)
        tracemalloc.start()
        gc.disable()
        try:
            try:
                calls.api.extract("u1", "c1", payload())  # no frame here holds it
            except MemoryApiFailure as failure:
                kept.append(failure)
            peer.bodies.clear()
            held = tracemalloc.get_traced_memory()[0]
        finally:
            gc.enable()
            tracemalloc.stop()
    assert payloads[0]() is None
    assert held < 2 * MIB
    assert kept[0].__cause__ is None
    assert kept[0].__context__ is None


def test_a_chunk_is_dropped_when_it_is_sent() -> None:
    """A payload made while it is sent never has more than a few chunks in memory."""
    held = []

    class Growing:
        length = 64 * MIB

        def __iter__(self) -> Iterator[bytes]:
            for _ in range(64):
                yield bytes(MIB)
                held.append(tracemalloc.get_traced_memory()[0])

    def script(peer: Peer, connection: socket.socket) -> None:
        left = Growing.length
        while left > 0:
            left -= len(peer.receive(connection))
        peer.send(connection, OK)

    with Peer(script) as peer:
        api = MemoryApi(peer.url, 30, ssl_context=None, pump=lambda: None)
        tracemalloc.start()
        try:
            assert api.extract("u", "c", Growing()) == 3
        finally:
            tracemalloc.stop()
    assert max(held) < 6 * MIB


# Secrets


def test_userinfo_becomes_basic_authentication_and_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The password arrives, and is in no log line at any level, no failure and no repr."""
    caplog.set_level(logging.DEBUG)
    with Peer(answer(with_body(b"", "503 Busy"))) as peer:
        url = peer.url.replace("//", "//robot:p%40ss%2Fword@")
        failure = Calls(url).failure()
    secret = base64.b64encode(b"robot:p@ss/word")
    assert b"Authorization: Basic " + secret in peer.heads[0]
    shown = caplog.text + repr(failure) + str(failure) + repr(Endpoint.below(url))
    assert not any(word in shown for word in ("p@ss", "p%40ss", secret.decode()))


# Pure parts


@pytest.mark.parametrize(
    ("base", "scheme", "host", "port", "target", "host_header"),
    [
        ("http://pika-mem0:6699", b"http", b"pika-mem0", 6699, b"/extract_facts", b"pika-mem0:6699"),
        ("https://a.example/", b"https", b"a.example", None, b"/extract_facts", b"a.example"),
        ("HTTP://A_b/x%2Fy/z//", b"http", b"a_b", None, b"/x%2Fy/z/extract_facts", b"a_b"),
        (
            "http://[::1]:8/ä b?v=1&t=ü",
            b"http",
            b"::1",
            8,
            b"/%C3%A4%20b/extract_facts?v=1&t=%C3%BC",
            b"[::1]:8",
        ),
        (
            "http://bücher.example",
            b"http",
            b"xn--bcher-kva.example",
            None,
            b"/extract_facts",
            b"xn--bcher-kva.example",
        ),
    ],
)
def test_a_base_url(  # noqa: PLR0917 a table
    base: str, scheme: bytes, host: bytes, port: int | None, target: bytes, host_header: bytes
) -> None:
    """Prefix, slashes, IPv6 and letters beyond ASCII end up where a request can carry them."""
    endpoint = Endpoint.below(base)
    url = endpoint.url
    assert (url.scheme, url.host, url.port, url.target) == (scheme, host, port, target)
    assert endpoint.host_header == host_header


@pytest.mark.parametrize(
    "base",
    [
        "",
        "memory:6699",
        "ftp://u:secret@a",
        "http://",
        "http://u:secret@",
        "http://u:secret@[::1",
        "http://u:secret@a:99999",
        "http://u:secret@" + "a" * 80,
    ],
)
def test_an_unusable_base_url_is_refused_without_being_shown(base: str) -> None:
    """The text of the error holds no secret, and no other error hangs on it."""
    with pytest.raises(ValueError, match="must be http") as caught:
        Endpoint.below(base)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.integers(100, 999))
def test_every_status_has_a_verdict(status: int) -> None:
    """Only 200 is an answer, only four statuses refuse the request."""
    assert (verdict(status) is Verdict.ANSWERED) == (status == 200)
    assert (verdict(status) is Verdict.REJECTED) == (status in {400, 413, 415, 422})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 5000, None),
        ("soon", None),
        ("Wed, 01 May 2024 13:00:00 GMT", 3600.0),
        ("Wed, 01 May 2024 15:00:00 +0200", 3600.0),
        ("Wed, 01 May 2024 13:00:00 -0000", 3600.0),
        ("Wed, 01 May 2024 11:59:59 GMT", None),
        ("Wed, 99 May 2024 13:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds or a date to come; anything else asks for nothing."""
    assert parse_retry_after(value, NOW) == seconds


@given(
    st.text()
    | st.from_regex(r"[A-Za-z]{3}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{1,9} [+\-0-9A-Z]{1,6}")
)
def test_any_retry_after_is_a_wait_or_none(value: str) -> None:
    """No exception ever comes out, and no negative wait."""
    wait_s = parse_retry_after(value, NOW)
    assert wait_s is None or 0 <= wait_s <= timedelta.max.total_seconds()


@pytest.mark.parametrize(
    ("conversation_id", "key"),
    [
        ("conv_42/a.b:c", "conv_42/a.b:c"),
        ("a b", "a b"),
        (" a ", "%20a%20"),
        ("100%", "100%25"),
        ("a\r\nX: 1", "a%0D%0AX: 1"),
        ("trò chuyện", "tr%C3%B2 chuy%E1%BB%87n"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_an_idempotency_key(conversation_id: str, key: str) -> None:
    """Plain ids stay as they are; the rest becomes what a header can carry."""
    assert idempotency_key(conversation_id) == key


@given(st.lists(st.text(st.characters(), min_size=1), min_size=2, max_size=2, unique=True))
def test_two_conversations_never_share_a_key(ids: list[str]) -> None:
    """And every key is printable ASCII that survives the trimming of a header."""
    keys = [idempotency_key(i) for i in ids]
    assert keys[0] != keys[1]
    for key in keys:
        assert key.isascii()
        assert key.isprintable()
        assert key == key.strip()
        assert key


def test_failures_say_what_they_are() -> None:
    """Each has a text without being given one."""
    failures = [MemoryApiTimeout(), MemoryApiRejected(422), MemoryApiBadResponse("empty")]
    for failure, other in itertools.combinations(failures, 2):
        assert str(failure)
        assert str(failure) != str(other)


def test_what_cannot_be_sent_is_not_shown() -> None:
    """A header that is refused may hold a secret: its text stays out of the reason."""
    headers = [(b"Host", b"here"), (b"Authorization", b"Bearer secret\n")]

    def ask(url: httpcore.URL) -> None:
        deadline = Deadline.after(5.0, lambda: None)
        with exchange(b"GET", url, headers, None, ssl_context=None, deadline=deadline):
            pass

    with RawServer(lambda _: None) as server, pytest.raises(httpcore.LocalProtocolError) as refused:
        ask(httpcore.URL(server.url))
    assert "secret" in str(refused.value), "the library shows it"
    assert "secret" not in unanswered(refused.value)
