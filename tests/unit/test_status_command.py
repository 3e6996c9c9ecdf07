"""`status` as it is called: whom it asks, what it says when nobody answers, and its exit code."""

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from supervisor.cli import whereabouts
from supervisor.cli.whereabouts import Found, NoneFound, Process, address, found, url
from tests.fixtures import standings
from tests.fixtures.commands import Command
from tests.fixtures.eventually import eventually
from tests.fixtures.standings import UUID
from tests.fixtures.status_server import StatusServer

PARENT = "friendship-supervisor: 8 children on q"


@pytest.fixture
def environment() -> dict[str, str]:
    """Give the variables of the command: it needs no server but its own."""
    return {"FRIENDSHIP_LISTEN": "127.0.0.1:1", "NO_COLOR": "1"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """See no supervisor that happens to run on this machine."""
    monkeypatch.setattr("supervisor.cli.status.processes", lambda: iter(()))


@pytest.fixture
def server() -> Iterator[StatusServer]:
    """Give a status process of a good day."""
    with StatusServer(standings.good_day()) as running:
        yield running


def test_the_exit_code_says_whether_every_child_is_ready(command: Command, server: StatusServer) -> None:
    """A table either way, wide where it is piped, with no colours in it."""
    said = command("status", "--url", server.url)
    assert (said.code, said.err) == (0, "")
    assert f"{UUID}, 2.9 MB" in next(line for line in said.lines if line.startswith("   0"))
    assert "\x1b" not in said.out
    server.standing = standings.bad_hour()
    said = command("status", f"--url={server.url}/status")
    assert said.code == 1
    assert "NOT READY" in said.out
    assert {path for path, _ in server.asked} == {"/status"}


def test_json_is_the_object_on_a_line(command: Command, server: StatusServer) -> None:
    """For scripts, whatever the state."""
    server.standing = standings.hostile()
    said = command("status", "--json", "--url", server.url)
    assert said.objects == [json.loads(json.dumps(standings.hostile()))]


def test_eighty_columns_are_enough(
    command: Command, server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COLUMNS is respected where there is no terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    said = command("status", "--url", server.url)
    assert max(map(len, said.lines)) <= 80
    assert UUID in said.out


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"hello", 200, "not as a supervisor does"),
        (b'{"supervisor": {}}', 200, "not as a supervisor does"),
        (b'{"supervisor": {}, "children": [], "totals": {}, "as_of": 5}', 200, "--json shows it"),
        (b"", 421, "FRIENDSHIP_ALLOWED_HOSTS"),
        (b"", 503, "has just begun"),
        (b"", 404, "answered 404"),
        (b"x" * (9 * 2**20), 200, "answers with more than 8 MB"),
    ],
)
def test_an_odd_answer_is_one_line(command: Command, body: bytes, code: int, told: str) -> None:
    """With exit 1, and no traceback."""
    with StatusServer(body, code=code) as server:
        said = command("status", "--url", server.url)
    assert (said.code, said.out) == (1, "")
    assert told in said.err
    assert said.err.count("\n") == 1


def test_nobody_there_is_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the configured address, by the one of the command line, or none at all; no password is repeated."""
    said = command("status")
    assert said.code == 1
    assert "nobody answers on 127.0.0.1:1: does the supervisor run?" in said.err
    assert "127.0.0.1:2" in command("status", "--listen", "0.0.0.0:2").err
    assert "secret" not in command("status", "--url", "http://me:secret@127.0.0.1:3/").err
    monkeypatch.setenv("FRIENDSHIP_LISTEN", "")
    assert "no supervisor runs here, and --listen is empty" in command("status").err


@pytest.mark.parametrize("given", ["127.0.0.1:9464", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_what_is_no_url_is_refused(command: Command, given: str) -> None:
    """With exit 2, before anybody is asked."""
    said = command("status", "--url", given)
    assert said.code == 2
    assert "is no http:// or https:// URL" in said.err


def test_an_answer_that_never_ends_is_not_waited_for(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes the connection and is silent: the time limit's line."""
    monkeypatch.setattr("supervisor.cli.inquiry.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = command("status", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert said.code == 1
    assert "did not answer within 0.2 s" in said.err


def test_no_proxy_of_the_environment_is_asked(
    command: Command, server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor is near; a proxy would not find it, and need not know of it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert command("status", "--url", server.url).code == 0


def test_supervisors_are_found_by_their_titles() -> None:
    """With the address of the status process that each has forked; who has just been forked is no supervisor."""
    running = [
        Process(10, 1, PARENT),
        Process(11, 10, "friendship-supervisor: child 0"),
        Process(12, 10, "friendship-supervisor: status on 127.0.0.1:9464"),
        Process(13, 10, PARENT),
        Process(20, 1, PARENT),
        Process(21, 20, "friendship-supervisor: status, no address yet"),
        Process(31, 30, "friendship-supervisor: status on [::]:9465"),
        Process(41, 40, "friendship-supervisor: status on me@elsewhere/:80"),
        Process(50, 1, "friendship-supervisor status --watch"),
    ]
    assert found(running) == [Found(10, "127.0.0.1:9464"), Found(20, None), Found(30, "[::]:9465")]
    assert found([]) == []


def test_the_one_that_answers_is_asked() -> None:
    """Before the configured address; several are named."""
    one, other, mute = Found(10, "0.0.0.0:9464"), Found(20, "[::1]:9465"), Found(30, None)
    assert address([one], "127.0.0.1:1") == "http://127.0.0.1:9464"
    assert address([mute, other], "") == "http://[::1]:9465"
    assert address([], "[::]:7") == "http://[::1]:7"
    with pytest.raises(NoneFound, match=r"2 supervisors run here \(pid 10 on http.*pid 20 on .*--url"):
        address([one, other], "127.0.0.1:9464")
    assert address([one, other], "127.0.0.1:9464", meant=True) == "http://127.0.0.1:9464"
    assert address([one], "127.0.0.1:1", meant=True) == "http://127.0.0.1:9464"
    with pytest.raises(NoneFound, match=r"pid 30\) answers nowhere.*kill -USR1 30"):
        address([mute], "127.0.0.1:1")
    assert url("localhost:80") == "http://localhost:80"


def test_titles_are_read_from_the_machine() -> None:
    """A process that calls itself a status process is seen with its parent."""
    title = f"friendship-supervisor: status on 127.0.0.1:{os.getpid() % 60000 + 1}"
    program = (
        f"import setproctitle, sys; setproctitle.setproctitle({title!r}); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as named:
        assert named.stdout is not None
        named.stdout.readline()
        assert Process(named.pid, os.getpid(), title) in list(whereabouts.processes())
        named.communicate()


class Terminal:
    """A program on a terminal of 100 columns, and what it has shown so far."""

    def __init__(self, *arguments: str) -> None:
        try:
            self._master, slave = pty.openpty()
        except OSError as none:
            pytest.skip(f"no terminals here, as in a chroot without devpts: {none}")
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "supervisor", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
            start_new_session=True,
        )
        os.close(slave)

    def shows(self, text: str) -> bool:
        """Say whether the text has come since the last time that one had."""
        while select.select([self._master], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                self.shown += os.read(self._master, 2**16).decode("utf-8", "replace")
                continue
            break
        if text not in self.shown:
            return False
        self.shown = self.shown.partition(text)[2]
        return True

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_watching_survives_a_restart_and_ends_well() -> None:
    """Before there is a supervisor, while it is away, and after; Ctrl-C gives the terminal back with exit 0."""
    with StatusServer(standings.good_day()) as server:
        port = server.port
    terminal = Terminal("status", "--watch", "--url", f"http://127.0.0.1:{port}")
    try:
        eventually(lambda: terminal.shows("waiting for a supervisor"), "a line while nobody answers")
        with StatusServer(standings.good_day(), port=port):
            eventually(lambda: terminal.shows("READY"), "the table")
        eventually(lambda: terminal.shows("since then"), "the last table, marked as old")
        with StatusServer(standings.bad_hour(), port=port):
            eventually(lambda: terminal.shows("NOT READY"), "the table of the next")
            terminal.process.send_signal(signal.SIGINT)
            eventually(lambda: terminal.process.poll() is not None, "an end")
        assert terminal.process.returncode == 0
        assert terminal.shows("\x1b[?1049l"), "the terminal is given back"
        assert "NOT READY" in terminal.shown
        assert "Traceback" not in terminal.shown
    finally:
        terminal.close()


def test_lines_of_json_come_until_the_reader_has_enough(server: StatusServer) -> None:
    """--watch --json for a script; a reader that goes ends it."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "supervisor",
        "status",
        "--watch",
        "--json",
        "--url",
        server.url,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        line = json.loads(watch.stdout.readline())
        watch.stdout.close()
        assert watch.stderr.read() == ""
        watch.wait()
    assert line["children"][2]["conversation_id"] == "c-4711"
