"""The LLM client against a server that misbehaves in every way: a value each time, within the total time."""

import base64
import contextlib
import gc
import json
import logging
import socket
import ssl
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from consumer.analysis import Analysis, Result
from consumer.excerpt import Excerpt
from consumer.llm import ANSWER_MAX_BYTES, Analyst
from consumer.prompt import SYSTEM
from consumer.settings import LlmSettings
from scripts.servers.llm import LlmStandIn, Mode, completion, judgement
from scripts.servers.tls import Front, Kind, Wallet
from supervisor.cli.checks import model
from supervisor.cli.checks.finding import Verdict
from supervisor.cli.given import start_logs
from supervisor.cli.settings import LogSettings
from tests.fixtures.eventually import eventually
from tests.unit.test_llm import DICTATED, ODD_TEXTS

MIB = 1024 * 1024
LIMIT_S = 1.3  # longer than a beat, so that a beat falls into it
BUSY_MACHINE_S = 8.0
KEY = "gsk_canary-key"
GOOD = '{"user_initiated_questions": 2, "session_emotion": "happy"}'
TOLD = Excerpt((("robot", "Chào bé!"), ("child", "Why is the sky blue?")), 0, 2)


class Calls:
    """An analyst of one server, which counts its beats."""

    def __init__(
        self,
        base_url: str,
        limit_s: float = 20.0,
        *,
        key: str | None = None,
        context: ssl.SSLContext | None = None,
        log_chars: int = 12_000,
    ) -> None:
        self.beats = 0
        settings = LlmSettings(base_url, "some-model", key, limit_s, log_chars)
        self.analyst = Analyst(settings, ssl_context=context, pump=self._beat)

    def _beat(self) -> None:
        self.beats += 1

    def __call__(self, told: Excerpt = TOLD) -> Analysis:
        return self.analyst.analyse(told)


def log_of(*texts: str) -> bytes:
    speakers = ("pika", "user")
    return json.dumps([{"speaker": speakers[n % 2], "text": text} for n, text in enumerate(texts)]).encode()


def with_body(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


# One call


def test_an_answer_is_used(llm: LlmStandIn) -> None:
    """What the LLM found in the conversation comes back."""
    assert Calls(llm.url)() == Analysis(Result.USED, 1, "neutral")
    assert llm.conduct.calls == 1


def test_an_answer_in_a_code_fence_is_used(llm: LlmStandIn) -> None:
    """Words around the answer change nothing."""
    llm.conduct.mode = Mode.FENCED
    assert Calls(llm.url)() == Analysis(Result.USED, 1, "neutral")


def test_the_request_says_what_it_must_and_no_more(llm: LlmStandIn) -> None:
    """Path below the base, JSON, no key without one, nothing of our side but a product's name."""
    Calls(llm.url + "/")()
    [asked] = llm.conduct.requests
    assert asked.body["model"] == "some-model"
    assert asked.system == SYSTEM
    assert asked.texts == ["Chào bé!", "Why is the sky blue?"]
    port = urlsplit(llm.url).port
    assert asked.headers == {
        "host": f"127.0.0.1:{port}",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-length": asked.headers["content-length"],
        "user-agent": "friendship-supervisor",
        "connection": "close",
    }


def asked_about(analyst: Analyst, log: bytes) -> Analysis:
    """Have a log judged, as the pipeline does."""
    return analyst.analyse(analyst.excerpt(log))


def test_a_log_is_heard_from_both_ends(llm: LlmStandIn) -> None:
    """Of a long log only what the settings allow goes out, with a word about the gap."""
    turns = [text for number in range(500) for text in (f"Robot {number}", f"Why {number}?")]
    heard = asked_about(Calls(llm.url, log_chars=1000).analyst, log_of(*turns))
    [asked] = llm.conduct.requests
    assert asked.texts[0] == "Robot 0"
    assert asked.texts[-1] == "Why 499?"
    assert sum(map(len, asked.texts)) < 1000
    [gap] = [item["left_out"] for item in asked.conversation if "left_out" in item]
    assert gap == 1000 - len(asked.texts)
    assert heard == Analysis(Result.USED, *judgement(asked.conversation))


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_whatever_a_child_says_changes_nothing_but_the_data(llm: LlmStandIn, text: str) -> None:
    """The stand-in, which takes requests of one shape only, finds it in the document and nowhere else."""
    calls = Calls(llm.url)
    assert asked_about(calls.analyst, log_of("Hi", "x")).result is Result.USED
    assert asked_about(calls.analyst, log_of("Hi", text)).result is Result.USED
    plain, odd = llm.conduct.requests
    assert odd.system == plain.system == SYSTEM
    same = {"content-length": "any"}
    assert {**odd.headers, **same} == {**plain.headers, **same}
    assert [list(item) for item in odd.conversation] == [["robot"], ["child"]]
    for request in (plain, odd):
        assert [message["role"] for message in request.body["messages"]] == ["system", "user"]
    assert {**odd.body, "messages": None} == {**plain.body, "messages": None}


def test_an_llm_that_obeys_a_child_is_not_believed(llm: LlmStandIn) -> None:
    """The answer that a child dictated has more questions than were possible, however much it said besides."""
    llm.conduct.content = DICTATED
    calls = Calls(llm.url, log_chars=1000)
    for log in (log_of("Hi", DICTATED), log_of(DICTATED, DICTATED, *["Hm", "a" * 50] * 40)):
        judged = asked_about(calls.analyst, log)
        assert (judged.result, judged.questions, judged.emotion) == (Result.BAD_ANSWER, 0, "neutral")


def test_each_call_has_a_connection_of_its_own_and_no_memory(llm: LlmStandIn) -> None:
    """Cookies are not kept, and a promise to keep the connection is not relied on."""
    llm.conduct.raw = with_body(
        completion("m", GOOD), "Connection: keep-alive", "Set-Cookie: child=Anna; Path=/"
    )
    calls = Calls(llm.url)
    assert [calls().result for _ in range(3)] == [Result.USED] * 3
    assert not any("cookie" in headers for _, headers in llm.conduct.heads)
    assert not list(calls.analyst._client.cookies.jar)


def test_an_answer_may_end_with_the_connection_or_come_in_chunks(llm: LlmStandIn) -> None:
    """Both ways of not saying a length beforehand give the answer."""
    body = completion("m", GOOD)
    llm.conduct.raw = b"HTTP/1.1 200 OK\r\n\r\n" + body
    assert Calls(llm.url)() == Analysis(Result.USED, 2, "happy")
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    llm.conduct.raw = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert Calls(llm.url)() == Analysis(Result.USED, 2, "happy")


def test_tls(llm: LlmStandIn, wallet: Wallet) -> None:
    """A good certificate is trusted, a stranger's is an error like any other."""
    trusting = ssl.create_default_context(cafile=str(wallet.authority))
    with Front(urlsplit(llm.url).port or 0, wallet.of[Kind.GOOD]) as front:
        url = front.url + urlsplit(llm.url).path
        assert Calls(url, context=trusting)().result is Result.USED
        stranger = Calls(url)()
    assert stranger.result is Result.ERROR
    assert "certificate refused" in stranger.reason


# The total time


@pytest.mark.parametrize("mode", [Mode.HANG, Mode.HEADER_DRIP, Mode.BODY_DRIP])
def test_a_call_ends_at_its_total_time(llm: LlmStandIn, mode: Mode) -> None:
    """Whatever the server does to keep us, the call ends, and the pulse beat meanwhile."""
    llm.conduct.mode = mode
    calls = Calls(llm.url, LIMIT_S)
    start = time.monotonic()
    assert calls() == Analysis(Result.TIMEOUT, reason="over the total time of a call")
    assert LIMIT_S <= time.monotonic() - start < LIMIT_S + BUSY_MACHINE_S
    assert calls.beats >= 1


def test_each_call_has_its_own_time(llm: LlmStandIn) -> None:
    """A call that took all of its time leaves all of it to the next one."""
    calls = Calls(llm.url, LIMIT_S)
    llm.conduct.mode = Mode.HANG
    assert calls().result is Result.TIMEOUT
    llm.conduct.mode = Mode.OK
    eventually(lambda: calls().result is Result.USED, "a call with time enough")


@pytest.mark.parametrize("error", [ValueError("pump"), TimeoutError("pump"), KeyboardInterrupt("pump")])
def test_an_exception_of_the_pump_breaks_the_call_off(llm: LlmStandIn, error: BaseException) -> None:
    """It comes through as it is, and the connection is closed."""

    def pump() -> None:
        raise error

    llm.conduct.mode = Mode.HANG
    analyst = Analyst(LlmSettings(llm.url, "m"), ssl_context=None, pump=pump)
    with pytest.raises(type(error)) as caught:
        analyst.analyse(TOLD)
    assert caught.value is error
    eventually(lambda: llm.conduct.left == 1, "the server sees the end of the connection")


# Failures


@pytest.mark.parametrize(
    ("mode", "result", "reason"),
    [
        (Mode.ERROR, Result.ERROR, "status 500"),
        (Mode.TOO_MANY, Result.ERROR, "status 429"),
        (Mode.UNAUTHORIZED, Result.ERROR, "status 401"),
        (Mode.REDIRECT, Result.ERROR, "status 307"),
        (Mode.RESET, Result.ERROR, "no answer: Connection reset by peer"),
        (Mode.JUNK, Result.BAD_ANSWER, "the answer is without the wanted JSON object"),
        (Mode.HTML, Result.BAD_ANSWER, "the answer is no chat completion with a text"),
        (Mode.HUGE, Result.BAD_ANSWER, f"the answer is larger than {ANSWER_MAX_BYTES} bytes"),
        (Mode.GZIP, Result.BAD_ANSWER, "the answer is encoded, though identity was asked for"),
    ],
)
def test_a_failure_is_a_value(llm: LlmStandIn, mode: Mode, result: Result, reason: str) -> None:
    """One attempt, the defaults, and a few words about what it was."""
    llm.conduct.mode = mode
    assert Calls(llm.url)() == Analysis(result, 0, "neutral", reason)
    assert llm.conduct.calls == 1


def test_half_an_answer_is_none(llm: LlmStandIn) -> None:
    """A connection that ends too early is an error, also after a 200."""
    llm.conduct.mode = Mode.CUT
    judged = Calls(llm.url)()
    assert judged.result is Result.ERROR
    assert "closed connection" in judged.reason


def test_nobody_listens() -> None:
    """Refused: an error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        judged = Calls(f"http://127.0.0.1:{taken.getsockname()[1]}")()
    assert judged.result is Result.ERROR
    assert "refused" in judged.reason


def test_a_host_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unresolvable: an error, without the host's name."""

    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    judged = Calls("http://llm.test/v1")()
    assert judged == Analysis(Result.ERROR, reason="no answer: host not found: Name or service not known")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret-zz\r\n",
        b"SSH-2.0-secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"secret" * 100_000,
        b"\0\xff" * 1000,
    ],
)
def test_what_is_not_http(llm: LlmStandIn, data: bytes) -> None:
    """An error, without what the other side sent."""
    llm.conduct.raw = data
    judged = Calls(llm.url)()
    assert judged.result is Result.ERROR
    assert "secret" not in judged.reason
    assert len(judged.reason) < 250


@pytest.mark.parametrize("location", ["/v1", "http://a:secret", "http://[", "\x80"])
def test_a_redirect_is_not_even_looked_at(llm: LlmStandIn, location: str) -> None:
    """A place that cannot exist makes no difference."""
    llm.conduct.raw = f"HTTP/1.1 302 There\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode(
        "latin-1"
    )
    assert Calls(llm.url)() == Analysis(Result.ERROR, reason="status 302")


def test_an_answer_that_announces_two_gigabytes(llm: LlmStandIn) -> None:
    """It is not even begun."""
    llm.conduct.raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n"
    assert Calls(llm.url)().reason == f"the answer is larger than {ANSWER_MAX_BYTES} bytes"


# Memory


@pytest.fixture
def elsewhere() -> Iterator[Callable[[Mode], str]]:
    """Start a stand-in in a process of its own, whose memory is not ours; give its URL."""
    with contextlib.ExitStack() as stack:

        def start(mode: Mode) -> str:
            command = [sys.executable, "-m", "scripts.servers.llm", "--mode", mode.value]
            server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            return server.stdout.readline().strip().partition("=")[2]

        yield start


@pytest.mark.parametrize("mode", [Mode.OK, Mode.HANG, Mode.ERROR, Mode.RESET, Mode.JUNK, Mode.HUGE, Mode.CUT])
def test_a_call_keeps_nothing(elsewhere: Callable[[Mode], str], mode: Mode) -> None:
    """Neither the request nor an answer lives on, without any help of the garbage collector."""
    calls = Calls(elsewhere(mode), LIMIT_S if mode is Mode.HANG else 20.0)
    calls()  # what is made once is made
    tracemalloc.start()
    gc.disable()
    try:
        judged = calls(Excerpt((("child", "x" * 8 * MIB),), 0, 1))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        gc.enable()
        tracemalloc.stop()
    assert (judged.result is Result.USED) == (mode is Mode.OK)
    assert peak > 8 * MIB  # it was there
    assert held < MIB / 8


# Secrets, and a child's words


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Log all that the program logs at its lowest level; give what it logged."""
    root, file = logging.getLogger(), tmp_path / "log"
    handlers, level = root.handlers[:], root.level
    libraries = {name: logging.getLogger(name).level for name in ("pika", "httpcore", "httpx")}
    with file.open("w") as stream:
        start_logs(LogSettings("text", "debug"), stream)
        yield file.read_text
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in libraries.items():
        logging.getLogger(name).setLevel(before)


@pytest.mark.parametrize("mode", list(Mode))
def test_no_log_line_and_no_reason_tells_what_was_said(
    llm: LlmStandIn, mode: Mode, logged: Callable[[], str]
) -> None:
    """Neither the key, nor the URL, nor the conversation, nor the answer: at no level of the program's log."""
    llm.conduct.mode = mode
    llm.conduct.key = KEY
    judged = Calls(llm.url, 0.3, key=KEY)()
    logging.getLogger("friendship.test").debug("judged")
    assert len(logged().splitlines()) == 1, "our line, and no library's"
    for secret in (KEY, llm.url, "sky", "Chào", "happen", "questions\\"):
        assert secret not in logged() + repr(judged)


def test_a_key_is_sent_as_bearer(llm: LlmStandIn) -> None:
    """With the right one there is an answer, with another one 401; none is shown."""
    llm.conduct.key = KEY
    assert Calls(llm.url, key=KEY)().result is Result.USED
    assert Calls(llm.url, key="gsk_other")() == Analysis(Result.ERROR, reason="status 401")
    assert Calls(llm.url)() == Analysis(Result.ERROR, reason="status 401")
    # A user and password in the URL give way to the key
    assert Calls(llm.url.replace("//", "//u:p@"), key=KEY)().result is Result.USED


def test_user_and_password_without_a_key_become_basic_authentication(llm: LlmStandIn) -> None:
    """For a server of one's own behind a proxy that asks for them."""
    llm.conduct.raw = with_body(completion("m", GOOD))
    url = llm.url.replace("//", "//robot:p%40ss@") + "?version=2"
    assert Calls(url)().result is Result.USED
    [(path, headers)] = llm.conduct.heads
    assert path == "/openai/v1/chat/completions?version=2"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"robot:p@ss").decode()


def test_no_proxy_is_asked(llm: LlmStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child said goes to the LLM and to nobody in between, whatever the environment says."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Calls(llm.url)().result is Result.USED


# What `check` asks


def test_the_models_are_asked_for_as_an_analysis_asks(llm: LlmStandIn) -> None:
    """One GET with the same URL, credentials and headers, and what came as a value."""
    llm.conduct.key, llm.conduct.models = KEY, ("some-model",)
    reply = Calls(llm.url.replace("//", "//u:p@") + "/?api-version=1", key=KEY).analyst.models()
    assert (reply.failed, reply.status, reply.reason) == (None, 200, "")
    assert json.loads(reply.body)["data"] == [{"id": "some-model", "object": "model"}]
    [(path, headers)] = llm.conduct.heads
    assert path == "/openai/v1/models?api-version=1"
    assert headers == {
        "host": f"127.0.0.1:{urlsplit(llm.url).port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": f"Bearer {KEY}",
        "user-agent": "friendship-supervisor",
        "connection": "close",
    }
    assert llm.conduct.calls == 0


@pytest.mark.parametrize(
    ("mode", "failed", "status", "reason"),
    [
        (Mode.HANG, Result.TIMEOUT, None, "over the total time of a call"),
        (Mode.HEADER_DRIP, Result.TIMEOUT, None, "over the total time of a call"),
        (Mode.BODY_DRIP, Result.TIMEOUT, None, "over the total time of a call"),
        (Mode.RESET, Result.ERROR, None, "no answer: Connection reset by peer"),
        (Mode.UNAUTHORIZED, Result.ERROR, 401, "status 401"),
        (Mode.REDIRECT, Result.ERROR, 307, "status 307"),
        (Mode.HUGE, Result.BAD_ANSWER, 200, f"the answer is larger than {ANSWER_MAX_BYTES} bytes"),
        (Mode.GZIP, Result.BAD_ANSWER, 200, "the answer is encoded, though identity was asked for"),
    ],
)
def test_no_list_of_models_is_a_value_too(
    llm: LlmStandIn, mode: Mode, failed: Result, status: int | None, reason: str
) -> None:
    """Within the total time and the cap, whatever the server does."""
    llm.conduct.mode = mode
    reply = Calls(llm.url, 0.3 if failed is Result.TIMEOUT else 20.0).analyst.models()
    assert (reply.failed, reply.status, reply.reason, reply.body) == (failed, status, reason, b"")


@pytest.mark.parametrize(
    ("mode", "verdict", "words"),
    [
        (Mode.OK, Verdict.OK, "GET /models: 200: it has some-model"),
        (Mode.BODY_DRIP, Verdict.WARN, "over the total time of a call"),
        (Mode.GZIP, Verdict.WARN, "GET /models: the answer is encoded, though identity was asked for"),
        (Mode.UNAUTHORIZED, Verdict.WARN, "GET /models: 401: the key is refused"),
        (Mode.RESET, Verdict.WARN, "no answer: Connection reset by peer"),
    ],
)
def test_check_takes_no_longer_than_it_says(
    llm: LlmStandIn, monkeypatch: pytest.MonkeyPatch, mode: Mode, verdict: Verdict, words: str
) -> None:
    """It has a time of its own, in all; its finding says what came."""
    monkeypatch.setattr(model, "TIMEOUT_S", 0.3 if mode is Mode.BODY_DRIP else 20.0)
    llm.conduct.mode, llm.conduct.models = mode, ("some-model",)
    found = model.look(LlmSettings(llm.url, "some-model", KEY, timeout_s=3600.0))
    assert found.verdict is verdict
    assert words in str(found)


@pytest.mark.parametrize("url", ["http://\N{SNOWMAN}.net/secret", "http://xn--zz--/secret"])
def test_check_says_what_the_client_cannot_use(url: str) -> None:
    """A URL that no child could start with: a finding with its remedy, and no exception."""
    found = model.look(LlmSettings(url, "some-model", KEY))
    assert found.verdict is Verdict.FAIL
    assert "GROQ_BASE_URL" in str(found)
    assert "secret" not in str(found)


# What is loaded


@pytest.mark.parametrize("module", ["consumer.llm", "supervisor.cli.checks.model"])
def test_whoever_loads_httpx_does_it_without_its_command_line(module: str) -> None:
    """`check` too."""
    program = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program, module], check=True, capture_output=True, text=True
    )
    assert "httpx" in loaded.stdout.split()
    assert not {"pygments", "httpx._main"} & set(loaded.stdout.split())


def test_httpx_comes_without_its_command_line_and_a_first_call_loads_nothing(llm: LlmStandIn) -> None:
    """The parent loads all that a call needs, and no more; one thread throughout."""
    program = """if True:
        import sys, threading
        import consumer.memory_api, consumer.pipeline
        assert "httpx" not in sys.modules
        consumer.memory_api.prepare()
        from consumer.llm import Analyst
        from consumer.excerpt import Excerpt
        from consumer.settings import LlmSettings
        assert not {"rich", "pygments", "httpx._main"} & set(sys.modules)
        loaded = set(sys.modules)
        analyst = Analyst(LlmSettings(sys.argv[1], "m", "k"), ssl_context=None, pump=lambda: None)
        assert analyst.analyse(Excerpt((("child", "Why?"),), 0, 1)).questions == 1
        assert set(sys.modules) == loaded, set(sys.modules) - loaded
        assert threading.active_count() == 1
    """
    subprocess.run([sys.executable, "-W", "error", "-c", program, llm.url], check=True)
