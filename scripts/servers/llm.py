"""An LLM stand-in: chat completions over HTTP, judging by rules that a test can follow.

`python -m scripts.servers.llm --port N [--mode hang]` serves until ^C; `LlmStandIn` is the same in threads of this
process. It is strict: a request that is not exactly the agreed one gets 422, and stays in `faults`.
"""

import argparse
import contextlib
import json
import select
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

BASE = "/openai/v1"
PATH = f"{BASE}/chat/completions"
MODELS_PATH = f"{BASE}/models"
PACE_S = 0.05
KEYS = {"model", "temperature", "max_tokens", "response_format", "messages"}
# Close with a reset instead of an orderly end.
NO_LINGER = struct.pack("ii", 1, 0)


class Mode(Enum):
    """How it behaves."""

    OK = "ok"
    FENCED = "fenced"  # the same answer, in a code fence with words around
    HANG = "hang"  # not one byte, for as long as the client waits
    HEADER_DRIP = "header_drip"
    BODY_DRIP = "body_drip"
    ERROR = "error"  # 500
    TOO_MANY = "too_many"  # 429 with Retry-After
    UNAUTHORIZED = "unauthorized"  # 401
    REDIRECT = "redirect"  # 307 to where the same request would be answered well
    JUNK = "junk"  # a completion that says something else
    HTML = "html"
    HUGE = "huge"  # a good answer, then 64 MB of blanks
    GZIP = "gzip"  # an encoding that nobody asked for
    CUT = "cut"  # the connection ends within the answer
    RESET = "reset"


_STATUS = {Mode.ERROR: 500, Mode.TOO_MANY: 429, Mode.UNAUTHORIZED: 401, Mode.REDIRECT: 307}
HUGE_BLANKS = 64


@dataclass(frozen=True, slots=True)
class Request:
    """One that had the agreed form. headers: names in lower case. system: the instructions."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]
    system: str
    conversation: Sequence[Mapping[str, Any]]

    @property
    def texts(self) -> list[str]:
        """What was said, of both."""
        return [text for item in self.conversation for text in item.values() if isinstance(text, str)]


def judgement(conversation: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the questions and the emotion that the stand-in finds.

    Questions: the child's messages with a question mark. Emotion: interesting with three of them, boring in a
    conversation without, else neutral.
    """
    questions = sum("?" in item["child"] for item in conversation if "child" in item)
    return questions, "interesting" if questions >= 3 else "neutral" if questions else "boring"


def fault(headers: Mapping[str, str], body: bytes) -> str | Request:
    """Say what is wrong with a request, or return it."""
    if headers.get("content-type") != "application/json" or headers.get("accept-encoding") != "identity":
        return "not JSON, or not asking for identity"
    try:
        asked = json.loads(body)
        if not isinstance(asked, dict) or asked.keys() != KEYS:
            return f"not an object of exactly {', '.join(sorted(KEYS))}"
        said = _messages(asked)
        if said is None:
            return "not one system and one user message with a text, and the agreed parameters"
        system, document = said
        data = json.loads(document)
    except ValueError as error:
        return f"not JSON: {error}"
    match data:
        case {"conversation": list(items), **more} if not more and all(map(_is_item, items)):
            return Request(headers, asked, system, items)
        case _:
            return "the user's message is not a conversation and nothing else"


def _messages(asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the texts of exactly one system and one user message."""
    match asked:
        case {
            "model": str(),
            "temperature": 0,
            "max_tokens": int(),
            "response_format": {"type": "json_object"},
            "messages": [
                {"role": "system", "content": str(system), **system_more},
                {"role": "user", "content": str(document), **user_more},
            ],
        } if not system_more and not user_more and "JSON" in system:
            return system, document
        case _:
            return None


def _is_item(item: object) -> bool:
    match item:
        case {"robot": str(text)} | {"child": str(text)}:
            return len(item) == 1 and text != ""  # type: ignore[arg-type]
        case {"left_out": int(count)}:
            return len(item) == 1 and count > 0  # type: ignore[arg-type]
        case _:
            return False


@dataclass
class Conduct:
    """How it behaves, and what it saw; a test may change the first five at any time.

    content: what a completion says instead of its judgement. key: the one that calls must bear, None for no matter.
    raw: bytes that answer everything, HTTP or not. models: that it says it has.
    heads: path and headers, in lower case, of each call. calls: for a judgement. left: calls whose client went away
    before their answer.
    """

    mode: Mode = Mode.OK
    content: str | None = None
    key: str | None = None
    raw: bytes | None = None
    models: Sequence[str] = ("llama-3.3-70b-versatile",)
    heads: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    calls: int = 0
    left: int = 0


class LlmStandIn:
    """Serves on 127.0.0.1 for the length of a `with` block."""

    def __init__(self, mode: Mode = Mode.OK, *, port: int = 0) -> None:
        self.conduct = Conduct(mode)
        self._server = _Server(("127.0.0.1", port), self.conduct)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL, as in GROQ_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_port}" + BASE

    def environment(self) -> dict[str, str]:
        """Give the variables with which a worker asks here; the server takes any key unless one is named."""
        return {"LLM_ANALYSIS_ENABLED": "true", "GROQ_BASE_URL": self.url, "GROQ_API_KEY": "any"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reset(self) -> None:
        """Forget all calls, and behave well."""
        self.conduct.__init__()  # type: ignore[misc]


class _Gone(Exception):
    """The client has closed its connection."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], conduct: Conduct) -> None:
        super().__init__(address, _Handler)
        self.conduct = conduct

    def shutdown_request(self, request: Any) -> None:
        """Only close: the usual orderly end before it would turn a wanted reset into one."""
        self.close_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing: a line for each call is no news."""

    def do_GET(self) -> None:
        if self._admits(MODELS_PATH, self._lowered()):
            self._behave(self.server.conduct.mode, models(self.server.conduct.models))
        self.close_connection = True

    def do_POST(self) -> None:
        conduct = self.server.conduct
        conduct.calls += 1
        headers = self._lowered()
        body = self.rfile.read(int(headers.get("content-length", "0")))
        if self._admits(PATH, headers):
            read = fault(headers, body)
            if isinstance(read, str):
                conduct.faults.append(read)
                self._reply(
                    HTTPStatus.UNPROCESSABLE_ENTITY, json.dumps({"error": {"message": read}}).encode()
                )
            else:
                conduct.requests.append(read)
                self._behave(conduct.mode, self._judged(read))
        self.close_connection = True

    def _lowered(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _admits(self, path: str, headers: Mapping[str, str]) -> bool:
        """Say whether a call goes on; else it has been answered."""
        conduct = self.server.conduct
        conduct.heads.append((self.path, headers))
        if conduct.raw is not None:
            self.wfile.write(conduct.raw)
        elif self.path.partition("?")[0] != path:
            self._reply(HTTPStatus.NOT_FOUND, b'{"error": {"message": "no such path"}}')
        elif conduct.key is not None and headers.get("authorization") != f"Bearer {conduct.key}":
            self._reply(HTTPStatus.UNAUTHORIZED, b'{"error": {"message": "wrong key"}}')
        else:
            return True
        return False

    def _judged(self, asked: Request) -> bytes:
        """Return a good answer, or another one that is well-formed."""
        conduct = self.server.conduct
        questions, emotion = judgement(asked.conversation)
        content = conduct.content or json.dumps(
            {"user_initiated_questions": questions, "session_emotion": emotion}
        )
        if conduct.mode is Mode.FENCED:
            content = f"Here is my answer:\n```json\n{content}\n```\nIs there anything else?"
        elif conduct.mode is Mode.JUNK:
            content = "The child seems fine."
        return completion(asked.body["model"], content)

    def _behave(self, mode: Mode, good: bytes) -> None:
        try:
            self._misbehave(mode, good)
        except (_Gone, OSError):
            self.server.conduct.left += 1

    def _misbehave(self, mode: Mode, good: bytes) -> None:  # noqa: C901 - one line for each behaviour
        match mode:
            case Mode.OK | Mode.FENCED | Mode.JUNK:
                self._reply(HTTPStatus.OK, good)
            case Mode.HTML:
                self._reply(HTTPStatus.OK, b"<html>We will be back soon</html>", "Content-Type: text/html")
            case Mode.ERROR | Mode.TOO_MANY | Mode.UNAUTHORIZED | Mode.REDIRECT:
                extra = {Mode.TOO_MANY: "Retry-After: 7", Mode.REDIRECT: f"Location: {PATH}"}.get(mode)
                self._reply(_STATUS[mode], b'{"error": {}}', *([extra] if extra else []))
            case Mode.GZIP:
                self._reply(HTTPStatus.OK, b"\x1f\x8b" + bytes(100), "Content-Encoding: gzip")
            case Mode.CUT:
                self._head(HTTPStatus.OK, len(good), body=good[:20])
            case Mode.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            case Mode.HUGE:
                # Without a length: it shows only while it is read
                self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + good)
                for _ in range(HUGE_BLANKS):
                    self.wfile.write(b" " * 2**20)
            case Mode.HANG:
                self._pause(None)
            case Mode.HEADER_DRIP:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                self._drip(b"y" * 60_000)
            case Mode.BODY_DRIP:
                self._head(HTTPStatus.OK, 60_000)
                self._drip(good.ljust(60_000))

    def _drip(self, data: bytes) -> None:
        for byte in data:
            self.wfile.write(bytes((byte,)))
            self._pause(PACE_S)

    def _pause(self, seconds: float | None) -> None:
        """Wait; raises _Gone as soon as the client closes its connection."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        if poll.poll(None if seconds is None else seconds * 1000):
            raise _Gone

    def _head(self, status: int, length: int, *extra: str, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {length}", "Connection: close", *extra]
        if not any(line.startswith("Content-Type") for line in extra):
            lines.append("Content-Type: application/json")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def _reply(self, status: int, body: bytes, *extra: str) -> None:
        self._head(status, len(body), *extra, body=body)


def completion(model: str, content: object) -> bytes:
    """Return the body of an answer that says this."""
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_767_225_600,
            "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        },
        ensure_ascii=False,
    ).encode()


def models(names: Sequence[str]) -> bytes:
    """Return the body of a list of models."""
    listed = [{"id": name, "object": "model"} for name in names]
    return json.dumps({"object": "list", "data": listed}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for an LLM.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", type=Mode, choices=list(Mode), default=Mode.OK)
    options = parser.parse_args()
    with LlmStandIn(options.mode, port=options.port) as llm, contextlib.suppress(KeyboardInterrupt):
        print(f"export GROQ_BASE_URL={llm.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
