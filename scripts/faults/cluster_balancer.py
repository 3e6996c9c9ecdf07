"""A TCP balancer: connections go to the first of several servers that answers, and may be held up on their way."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Sequence
from typing import Self

CHUNK = 65536
CONNECT_S = 2.0


class Balancer:
    """Listens on a free loopback port; a context manager. One thread serves all connections.

    Each connection begins with another server than the last one, and takes the next when that does not answer.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._taken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._waker, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._held_after: int | None = None
        self._passed = 0
        self._held: list[socket.socket] = []
        self.holding = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def hold_after(self, size_bytes: int) -> None:
        """Hold up what servers send once so many more bytes of it have passed; `holding` is set when that happens."""
        with self._lock:
            self._held_after, self._passed = size_bytes, 0
            self.holding.clear()

    def let_go(self) -> None:
        """Pass on what was held up."""
        with self._lock:
            self._held_after = None
        self._waker.send(b"\0")

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._waker.send(b"\0")
        self._thread.join()
        for each in (self._listener, self._waker, self._woken, *self._peers):
            each.close()
        self._selector.close()

    def _serve(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._listener:
                    self._accept()
                elif source is self._woken:
                    source.recv(CHUNK)
                    self._resume()
                elif source in self._peers:
                    self._pass(source)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = self._connect()
        if server is None:
            client.close()
            return
        self._servers.add(server)
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _connect(self) -> socket.socket | None:
        self._taken += 1
        for step in range(len(self._ports)):
            port = self._ports[(self._taken + step) % len(self._ports)]
            with contextlib.suppress(OSError):
                server = socket.create_connection(("127.0.0.1", port), CONNECT_S)
                server.settimeout(None)
                return server
        return None

    def _pass(self, source: socket.socket) -> None:
        from_server = source in self._servers
        with self._lock:
            left = None if self._held_after is None else self._held_after - self._passed
        if from_server and left is not None and left <= 0:
            self._selector.unregister(source)
            self._held.append(source)
            self.holding.set()
            return
        try:
            data = source.recv(CHUNK if left is None or not from_server else min(CHUNK, left))
            if not data:
                raise ConnectionResetError
            self._peers[source].sendall(data)
        except OSError:
            self._drop(source)
            return
        if from_server:
            with self._lock:
                self._passed += len(data)

    def _resume(self) -> None:
        held, self._held = self._held, []
        for source in held:
            if source in self._peers:
                self._selector.register(source, selectors.EVENT_READ)

    def _drop(self, source: socket.socket) -> None:
        for each in (source, self._peers.get(source)):
            if each is not None and each in self._peers:
                del self._peers[each]
                self._servers.discard(each)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                each.close()
