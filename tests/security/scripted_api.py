"""A Memory API whose every byte a test decides, by conversation."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Self
from urllib.parse import unquote

LIMIT_S = 30.0
KEY = re.compile(rb"^idempotency-key: *(.*?)\r?$", re.IGNORECASE | re.MULTILINE)
LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)

Answer = bytes | Callable[[bytes], bytes] | None
"""What is sent back, or what makes it of the request's body; None hangs."""

GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{"status": "ok","count":1}'


def answered(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class ScriptedApi:
    """Answers each conversation as `script` says, all others well: one new fact."""

    def __init__(self, script: Mapping[str, Answer]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT_S)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._open.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(LIMIT_S)
        with contextlib.suppress(OSError), client:
            data = b""
            while b"\r\n\r\n" not in data:
                data += client.recv(1 << 16)
            head, _, body = data.partition(b"\r\n\r\n")
            length, key = LENGTH.search(head), KEY.search(head)
            while length is not None and len(body) < int(length[1]):
                body += client.recv(1 << 16)
            answer = self._script.get(unquote(key[1].decode()) if key else "", GOOD)
            if answer is None:
                client.recv(1)
            else:
                client.sendall(answer(body) if callable(answer) else answer)
