"""A status server that says what a test tells it to: the page with its headers, and a stream that the test steers."""

import json
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from supervisor.status import page

REPEAT_S = 1.0


class StandIn:
    """Serves `/` and `/live` on a port of its own, or on the one that is given."""

    def __init__(self, status: Mapping[str, Any], history: Mapping[str, Any], port: int = 0) -> None:
        self._changed = threading.Condition()
        self._status, self._history = status, history
        self._version = 0
        self._stopping = False
        self._refusing = False
        self.silent = False
        self.streams = 0
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def show(self, status: Mapping[str, Any]) -> None:
        """Send this to every stream at once, and again every second."""
        with self._changed:
            self._status = status
            self._version += 1
            self._changed.notify_all()

    def refuse(self, refusing: bool) -> None:
        """Answer streams with 503, as a proxy does while what stands behind it is away; end those that run."""
        with self._changed:
            self._refusing = refusing
            self._changed.notify_all()

    def stop(self) -> None:
        """End every stream and close the port."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.end_streams()
        self._server.server_close()
        self._thread.join(10)

    def stream(self, handler: BaseHTTPRequestHandler) -> None:
        """Write events until the stream, or this server, ends."""
        if self._refusing:
            handler.send_error(503)
            return
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("cache-control", "no-store")
        handler.end_headers()
        self.streams += 1
        try:
            handler.wfile.write(b"retry: 200\n\n")
            _write(handler, "history", self._history)
            while not (self._stopping or self._refusing):
                version = self._version
                if not self.silent:
                    _write(handler, "status", self._status)
                with self._changed:
                    self._changed.wait_for(
                        lambda seen=version: self._version != seen or self._stopping or self._refusing,  # type: ignore[misc]
                        REPEAT_S,
                    )
        except OSError:
            pass  # the browser has gone
        finally:
            self.streams -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end_streams(self) -> None:
        for request in list(self._open):
            self.shutdown_request(request)


def _handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.removeprefix("/behind/a/proxy"):
                case "/":
                    served = page.load()
                    self.send_response(200)
                    for name, value in served.headers:
                        self.send_header(name.decode(), value.decode())
                    self.send_header("content-length", str(len(served.body)))
                    self.end_headers()
                    self.wfile.write(served.body)
                case "/live":
                    standin.stream(self)
                case _:
                    self.send_error(404)

        def log_message(self, *args: Any) -> None:
            """Say nothing: a test's output is its own."""

    return Handler


def _write(handler: BaseHTTPRequestHandler, event: str, data: Mapping[str, Any]) -> None:
    handler.wfile.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())
    handler.wfile.flush()
