"""The Memory API stand-in's HTTP server: `python -m scripts.servers.memory_server --port N`.

    POST /extract_facts    the API, behaving as the mode says
    PUT /mode              {"mode": "delay", "seconds": 2}; with "conversation_id" for that one only, with
                           "calls": N for the next N calls only (one for a conversation goes before these)
    PUT /release           answer at once, and well, all calls that wait now, however long they had to
    PUT /record            {"validate": true, "digest": true, "keep": true}: what to do with bodies
    GET /calls             what was called so far; GET /last: the last body kept
    DELETE /               everything as at the start

One thread per connection, blocking. A body is read into one buffer and forgotten, so 64 calls with 60 MB
bodies cost 16 MB here and no time that a benchmark beside it would notice.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import re
import select
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scripts.servers.memory_modes import WRONG, Behaviour, Mode, answer, request_fault, wait_s

BUFFER_BYTES = 256 * 1024
MEGABYTE = 1 << 20
CONVERSATION_ID = re.compile(rb'"conversation_id"\s*:\s*("(?:[^"\\]|\\.)*")')
# Close with a reset instead of an orderly end.
NO_LINGER = struct.pack("ii", 1, 0)


@dataclass
class Conversation:
    """What was called about one conversation."""

    calls: int = 0
    answered: int = 0  # calls whose answer, of any kind, was sent to its end
    keys: list[str] = field(default_factory=list)  # different Idempotency-Keys
    body_bytes: int = 0  # of the last call, as the next two
    sha256: str | None = None
    fault: str | None = None  # why the request was not valid, when asked to look


@dataclass(frozen=True)
class Recording:
    """What is done with bodies beyond counting their bytes."""

    validate: bool = False
    digest: bool = False
    keep: bool = False


class Gate:
    """What all waiting calls look at; opening it lets them go, and the next ones wait at a new one."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0)

    def open(self) -> None:
        opened, self.fd = self.fd, os.eventfd(0)
        # Never closed: who waits may not have looked yet, and would find another file under this number
        os.eventfd_write(opened, 1)


class Book:
    """All that the server remembers; every method is atomic."""

    def __init__(self, mode: Mode, recording: Recording) -> None:
        self._lock = threading.Lock()
        self._at_start = mode, recording
        self._in_flight = 0  # calls outlive a reset
        self.gate = Gate()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._mode, self.recording = self._at_start
            self._by_conversation: dict[str, Mode] = {}
            self._next: list[tuple[int, Mode]] = []  # calls left, in order
            self._conversations: dict[str, Conversation] = {}
            self._peak = self._total = self._astray = 0
            self.last_body = b""

    def set_mode(self, mode: Mode, conversation_id: str | None, calls: int | None) -> None:
        with self._lock:
            if conversation_id is not None:
                self._by_conversation[conversation_id] = mode
            elif calls is not None:
                self._next.append((calls, mode))
            else:
                self._mode = mode

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Count a call as in flight."""
        with self._lock:
            self._total += 1
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def read(self, conversation_id: str, key: str | None, seen: "Body") -> tuple[Mode, int]:
        """Enter a request that was read; return how to answer it and its number in its conversation."""
        with self._lock:
            entry = self._conversations.setdefault(conversation_id, Conversation())
            entry.calls += 1
            if key is not None and key not in entry.keys:
                entry.keys.append(key)
            entry.body_bytes, entry.sha256, entry.fault = seen.length, seen.sha256, seen.fault
            return self._choose(conversation_id), entry.calls

    def _choose(self, conversation_id: str) -> Mode:
        if conversation_id in self._by_conversation:
            return self._by_conversation[conversation_id]
        if self._next:
            left, mode = self._next[0]
            self._next[:1] = [(left - 1, mode)] if left > 1 else []
            return mode
        return self._mode

    def answered(self, conversation_id: str) -> None:
        with self._lock:
            self._conversations.setdefault(conversation_id, Conversation()).answered += 1

    def astray(self) -> None:
        with self._lock:
            self._astray += 1

    def report(self) -> dict[str, Any]:
        with self._lock:
            return {
                "total": self._total,
                "in_flight": self._in_flight,
                "peak_in_flight": self._peak,
                "astray": self._astray,
                "conversations": {name: asdict(entry) for name, entry in self._conversations.items()},
            }


@dataclass(frozen=True)
class Body:
    """What is known of a body after it went by."""

    length: int
    start: bytes
    sha256: str | None
    fault: str | None


class Gone(Exception):
    """The client has closed its connection."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, *_: object) -> None:
        """Say nothing: a line for each call is no news."""

    def do_POST(self) -> None:
        if self.path != "/extract_facts":
            self.server.book.astray()
            self.close_connection = True
            self._reply(HTTPStatus.NOT_FOUND, b'{"error": "no such path"}')
            return
        try:
            with self.server.book.call():
                self._extract_facts()
        except (Gone, OSError):
            self.close_connection = True

    def do_PUT(self) -> None:
        try:
            values = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/release":
                self.server.book.gate.open()
            elif self.path == "/record":
                self.server.book.recording = Recording(**values)
            else:
                conversation_id, calls = values.pop("conversation_id", None), values.pop("calls", None)
                self.server.book.set_mode(Mode.parse(values), conversation_id, calls)
        except (ValueError, TypeError) as error:
            self._reply(HTTPStatus.BAD_REQUEST, json.dumps({"error": str(error)}).encode())
        else:
            self._reply(HTTPStatus.OK, b"{}")

    def do_GET(self) -> None:
        if self.path == "/last":
            self._reply(HTTPStatus.OK, self.server.book.last_body)
        elif self.path == "/calls":
            self._reply(HTTPStatus.OK, json.dumps(self.server.book.report()).encode())
        else:
            self._reply(HTTPStatus.NOT_FOUND, b"{}")

    def do_DELETE(self) -> None:
        self.server.book.reset()
        self._reply(HTTPStatus.OK, b"{}")

    def _extract_facts(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            self._reply(HTTPStatus.LENGTH_REQUIRED, b'{"error": "Content-Length is required"}')
            return
        key = self.headers.get("Idempotency-Key")
        body = self._read(int(length), key)
        found = CONVERSATION_ID.search(body.start)
        conversation_id = json.loads(found[1]) if found else key or ""
        gate = (
            self.server.book.gate.fd
        )  # before the mode is chosen: who then changes it and opens reaches this call
        mode, call = self.server.book.read(conversation_id, key, body)
        if self._pause(wait_s(mode, conversation_id, call), gate):
            mode = Mode()
        if body.fault is not None:
            self._reply(HTTPStatus.UNPROCESSABLE_ENTITY, json.dumps({"error": body.fault}).encode())
        else:
            self._behave(mode, conversation_id)
        self.server.book.answered(conversation_id)

    def _read(self, length: int, key: str | None) -> Body:
        recording = self.server.book.recording
        digest = hashlib.sha256() if recording.digest else None
        kept = bytearray() if recording.keep or recording.validate else None
        buffer = memoryview(bytearray(BUFFER_BYTES))
        start, left = b"", length
        while left:
            size = self.rfile.readinto(buffer[: min(left, BUFFER_BYTES)])
            if not size:
                raise Gone
            start = start or bytes(buffer[: min(size, 4096)])
            left -= size
            if digest is not None:
                digest.update(buffer[:size])
            if kept is not None:
                kept += buffer[:size]
        if recording.keep and kept is not None:
            self.server.book.last_body = bytes(kept)
        fault = request_fault(bytes(kept), key) if recording.validate and kept is not None else None
        return Body(length, start, None if digest is None else digest.hexdigest(), fault)

    def _behave(self, mode: Mode, conversation_id: str) -> None:  # noqa: C901, PLR0912 - one line for each behaviour
        match mode.behaviour:
            case Behaviour.INSTANT | Behaviour.DELAY | Behaviour.INCIDENT:
                self._reply(HTTPStatus.OK, answer(conversation_id))
            case Behaviour.FACTS_ONLY:
                self._reply(HTTPStatus.OK, answer(conversation_id, with_count=False))
            case Behaviour.WRONG_JSON:
                self._reply(HTTPStatus.OK, json.dumps(WRONG[mode.variant]).encode())
            case Behaviour.GARBAGE:
                self._reply(HTTPStatus.OK, b"<html>We will be back soon</html>", "Content-Type: text/html")
            case Behaviour.ERROR:
                extra = () if mode.retry_after is None else (f"Retry-After: {mode.retry_after}",)
                self._reply(mode.status, b'{"error": "as asked"}', *extra)
            case Behaviour.REDIRECT:
                self._reply(HTTPStatus.TEMPORARY_REDIRECT, b"", "Location: /elsewhere")
            case Behaviour.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                raise Gone
            case Behaviour.SILENCE_AFTER_HEADERS:
                self._head(HTTPStatus.OK, 1000)
                self._pause(None)
            case Behaviour.BODY_DRIP:
                body = answer(conversation_id)
                self._head(HTTPStatus.OK, len(body))
                self._drip(body, mode.seconds)
            case Behaviour.HEADER_DRIP:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                body = answer(conversation_id)
                self._drip(b"X-Slow: %s\r\n" % (b"y" * 60_000), mode.seconds)
                self._drip(b"Content-Length: %d\r\n\r\n%s" % (len(body), body), mode.seconds)
            case Behaviour.HUGE:
                self._huge(mode.megabytes)
            case Behaviour.GZIP_BOMB:
                head, block, tail = bomb(mode.megabytes)
                length = len(head) + mode.megabytes * len(block) + len(tail)
                self._head(HTTPStatus.OK, length, "Content-Encoding: gzip")
                self.wfile.write(head)
                for _ in range(mode.megabytes):
                    self.wfile.write(block)
                self.wfile.write(tail)
            case Behaviour.HANG:
                raise AssertionError("nobody waits for ever")

    def _huge(self, megabytes: int) -> None:
        head, tail = b'{"status": "ok", "count": 1, "facts": ["', b'"]}'
        self._head(HTTPStatus.OK, len(head) + megabytes * MEGABYTE + len(tail))
        self.wfile.write(head)
        piece = b"x" * MEGABYTE
        for _ in range(megabytes):
            self.wfile.write(piece)
        self.wfile.write(tail)

    def _drip(self, data: bytes, every_s: float) -> None:
        for byte in data:
            self.wfile.write(bytes((byte,)))
            self._pause(every_s)

    def _pause(self, seconds: float | None, gate: int | None = None) -> bool:
        """Wait, and tell whether the gate was opened; raises Gone as soon as the client closes its connection."""
        if seconds == 0:
            return False
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        if gate is not None:
            poll.register(gate, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)]
        if self.connection.fileno() in ready:
            raise Gone
        return bool(ready)

    def _head(self, status: int, length: int, *extra: str, body: bytes = b"") -> None:
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
        lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {length}", *extra]
        if not any(line.startswith("Content-Type") for line in extra):
            lines.append("Content-Type: application/json")
        if self.close_connection:
            lines.append("Connection: close")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def _reply(self, status: int, body: bytes, *extra: str) -> None:
        self._head(status, len(body), *extra, body=body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], book: Book) -> None:
        super().__init__(address, Handler)
        self.book = book

    def shutdown_request(self, request: Any) -> None:
        """Only close: the usual orderly end before it would turn a wanted reset into one."""
        self.close_request(request)


@functools.cache
def bomb(megabytes: int) -> tuple[bytes, bytes, bytes]:
    """Return head, a block to send once for each megabyte, and tail of valid gzip of valid JSON."""
    opening, filling, closing = b'{"status": "ok", "count": 1, "facts": []', b" " * MEGABYTE, b"}"
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # A full flush forgets what went before: the block then means the same at every place.
    head = deflate.compress(opening) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(filling) + deflate.flush(zlib.Z_FULL_FLUSH)
    tail = deflate.compress(closing) + deflate.flush(zlib.Z_FINISH)
    checksum = zlib.crc32(opening)
    for _ in range(megabytes):
        checksum = zlib.crc32(filling, checksum)
    size = len(opening) + megabytes * MEGABYTE + len(closing)
    trailer = struct.pack("<II", zlib.crc32(closing, checksum), size % 2**32)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + head, block, tail + trailer


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for the Memory API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6699)
    parser.add_argument(
        "--mode", type=json.loads, default={}, help='as JSON: {"mode": "delay", "seconds": 2}'
    )
    parser.add_argument(
        "--validate", action="store_true", help="parse each request and answer 422 to a wrong one"
    )
    parser.add_argument("--digest", action="store_true", help="keep the SHA-256 of each body")
    parser.add_argument("--keep", action="store_true", help="keep the last body")
    options = parser.parse_args()
    recording = Recording(options.validate, options.digest, options.keep)
    with Server((options.host, options.port), Book(Mode.parse(options.mode), recording)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
