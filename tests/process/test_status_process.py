"""The status process over fake children: asked over real sockets, stopped, killed, starved and robbed of its port."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from supervisor.status import guests
from supervisor.status.app import MOST_PAGES
from tests.fixtures.eventually import eventually
from tests.fixtures.titles import titled
from tests.process.fakes import TROUBLE
from tests.process.runs import Run, Start, gone

TITLE = re.compile(r"friendship-supervisor: status on (127\.0\.0\.1):(\d+)")


def begin(start: Start, scenario: str = "idle", **environment: str) -> Run:
    """Start a supervisor of two children that answers on a port of the system's choice."""
    run = start(scenario, environment=environment, listen=["127.0.0.1", 0])
    run.wait_for("child_ready", times=2)
    return run


def status_process(run: Run) -> psutil.Process | None:
    return next(iter(titled(run.pid, "status")), None)


def address(run: Run) -> tuple[str, int]:
    """Find it as `friendship-supervisor status` does: by the title of its process."""

    def named() -> tuple[str, int] | None:
        with contextlib.suppress(psutil.Error):
            process = status_process(run)
            found = TITLE.search(" ".join(process.cmdline())) if process else None
            return (found[1], int(found[2])) if found else None
        return None

    where = eventually(named, "the status process says where it is")
    assert isinstance(where, tuple)
    return where


@contextlib.contextmanager
def asking(run: Run) -> Iterator[httpx.Client]:
    host, port = address(run)
    with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=10.0) as client:
        yield client


def status(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/status")
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_the_five_paths_answer(start: Start) -> None:
    """Health, readiness, status, metrics and the page; the numbers agree; nothing is left behind at the end."""
    run = begin(start, "failing")
    with asking(run) as client:
        eventually(lambda: client.get("/readyz").status_code == 200, "it is ready")
        assert client.get("/healthz").text == "ok\n"
        eventually(lambda: status(client)["totals"]["failed"] == 2, "both have failed")
        told = status(client)
        assert [child["state"] for child in told["children"]] == ["idle", "idle"]
        assert {child["pid"] for child in told["children"]} <= {
            line["pid"] for line in run.logged("child_forked")
        }
        assert told["supervisor"]["pid"] == run.pid
        assert told["totals"]["failures"] == {TROUBLE: 2}
        failures = [event for event in told["events"] if event["event"] == "message_failed"]
        assert sorted((event["slot"], event["conversation_id"], event["code"]) for event in failures) == [
            (0, "conv-0", TROUBLE),
            (1, "conv-1", TROUBLE),
        ]
        eventually(lambda: status(client)["queue"]["ready"] == 3, "the queue is measured")
        metrics = client.get("/metrics").text
        assert 'friendship_messages_total{outcome="failed"} 2.0' in metrics
        assert 'friendship_memory_api_seconds_bucket{le="+Inf"} 2.0' in metrics
        assert 'friendship_children{state="idle"} 2.0' in metrics
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
    run.ends_well()


def test_who_asks_for_another_host_another_method_or_another_path_is_refused(start: Start) -> None:
    """421, 405 and 404, in this order; a foreign name learns nothing, whatever it asks for."""
    run = begin(start)
    with asking(run) as client:
        eventually(lambda: client.get("/status").status_code == 200, "it has spoken")
        foreign = client.get("/status", headers={"host": "evil.example"})
        assert (foreign.status_code, "children" in foreign.text) == (421, False)
        assert client.post("/nothing", headers={"host": "evil.example"}).status_code == 421
        assert client.get("/status", headers={"host": "localhost:1"}).status_code == 200
        assert client.get("/nothing").status_code == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            for path in ("/status", "/live", "/nothing"):
                refused = client.request(method, path)
                assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    run.ends_well()


def test_a_monitor_that_sends_head_is_told_what_get_would_say(start: Start) -> None:
    """The same status and headers, and no body: the connection is good for a next request."""
    run = begin(start)
    with asking(run) as client:
        eventually(lambda: client.get("/readyz").status_code == 200, "it is ready")
        for path in ("/", "/status", "/metrics", "/healthz", "/readyz", "/live", "/nothing"):
            with client.stream("GET", path) as got:
                expected = got.status_code, set(got.headers)
            answer = client.head(path)
            assert (answer.status_code, set(answer.headers), answer.content) == (*expected, b"")
        assert "transfer-encoding" in client.head("/live").headers
        assert client.get("/healthz").status_code == 200
    run.ends_well()


def said(where: tuple[str, int], request: str) -> bytes:
    """Send a request as it stands, and read all that comes back."""
    with socket.create_connection(where) as link:
        link.sendall(request.encode("latin-1"))
        link.settimeout(30.0)
        return b"".join(iter(lambda: link.recv(65536), b""))


TARGETS: tuple[tuple[str, list[str], int], ...] = (
    ("GET http://127.0.0.1:9464/healthz HTTP/1.1", ["evil.example"], 200),
    ("GET HTTP://LOCALHOST/healthz?x=/y HTTP/1.1", [""], 200),
    ("HEAD http://localhost HTTP/1.1", ["localhost"], 200),
    ("GET http://evil.example/healthz HTTP/1.1", ["localhost"], 421),
    ("GET http://localhost@evil.example/healthz HTTP/1.1", ["localhost"], 421),
    ("GET http://localhost%2Fhealthz HTTP/1.1", ["localhost"], 421),
    ("GET http:///healthz HTTP/1.1", ["localhost"], 421),
    ("GET https://localhost/healthz HTTP/1.1", ["localhost"], 421),
    ("GET /healthz?verbose=1 HTTP/1.1", ["localhost"], 200),
    ("GET /%68ealthz HTTP/1.1", ["localhost"], 200),
    ("GET //healthz HTTP/1.1", ["localhost"], 404),
    ("GET /healthz/ HTTP/1.1", ["localhost"], 404),
    ("GET /healthz%00 HTTP/1.1", ["localhost"], 404),
    ("GET /%ff HTTP/1.1", ["localhost"], 404),
    ("GET * HTTP/1.1", ["localhost"], 404),
    ("OPTIONS * HTTP/1.1", ["localhost"], 405),
    ("CONNECT localhost:80 HTTP/1.1", ["localhost"], 405),
    ("GET /healthz HTTP/1.0", [], 200),
    ("GET /healthz HTTP/1.0", ["evil.example"], 421),
    ("GET /healthz HTTP/1.1", [], 400),
    ("GET /healthz HTTP/1.1", [""], 421),
    ("GET /healthz HTTP/1.1", ["localhost", "localhost"], 400),
    ("GET /healthz HTTP/1.0", ["localhost", "evil.example"], 400),
)


def test_a_target_is_a_target_in_whatever_form(start: Start) -> None:
    """The authority of an absolute one counts, and Host of the others; what is ambiguous is refused."""
    run = begin(start)
    where = address(run)
    for line, hosts, code in TARGETS:
        headers = "".join(f"Host: {host}\r\n" for host in hosts)
        answer = said(where, f"{line}\r\n{headers}Connection: close\r\n\r\n")
        assert (line, hosts, int(answer.split(b" ", 2)[1])) == (line, hosts, code)
    run.ends_well()


def test_a_live_page_hears_of_a_killed_child_and_of_its_successor(start: Start) -> None:
    """First the history; then the standing, again and again, with why the last child ended."""
    run = begin(start)
    with asking(run) as client, client.stream("GET", "/live") as stream:
        events = sent(stream)
        kind, history = next(events)
        assert (kind, history["every_s"]) == ("history", 2.0)
        first = run.logged("child_ready", slot=0)[-1]["pid"]
        os.kill(first, signal.SIGKILL)
        for kind, told in events:
            child = told["children"][0] if kind == "status" else {}
            if child.get("last_end") and child["state"] == "idle":
                break
        assert (child["last_end"]["reason"], child["last_end"]["pid"]) == ("killed", first)
        assert child["pid"] != first
        assert any(event["event"] == "child_exited" and event["pid"] == first for event in told["events"])
    run.ends_well()


def sent(stream: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a server sends: kind and data of each event."""
    kind = ""
    for line in stream.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def test_its_death_is_repaired_and_no_child_notices(start: Start) -> None:
    """Killed: another answers, and the children are the same."""
    run = begin(start)
    address(run)
    children = sorted(line["pid"] for line in run.logged("child_ready"))
    first = status_process(run)
    assert first is not None
    first.kill()
    run.wait_for("status_ended", pid=first.pid)
    eventually(lambda: (now := status_process(run)) is not None and now.pid != first.pid, "there is another")
    with asking(run) as client:
        eventually(lambda: client.get("/readyz").status_code == 200, "it answers")
        assert sorted(child["pid"] for child in status(client)["children"]) == children
    assert len(run.logged("child_forked")) == 2
    run.ends_well()


def test_it_does_not_outlive_a_killed_supervisor(start: Start) -> None:
    """The kernel sees to that, whatever it was doing, and its port is free again."""
    run = begin(start)
    where = address(run)
    run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    eventually(lambda: all(gone(line["pid"]) for line in run.logged("status_listening")), "it is gone")
    with socket.create_server(where):
        pass


def test_a_taken_port_is_taken_as_soon_as_it_is_free(start: Start) -> None:
    """It is said, the children work, and nothing ends."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        run = start("idle", listen=["127.0.0.1", port])
        run.wait_for("child_ready", times=2)
        taken = run.wait_for("status_not_listening")
        assert taken["address"] == f"127.0.0.1:{port}"
    with asking(run) as client:
        assert client.get("/healthz").status_code == 200
    run.ends_well()


def test_the_parent_has_one_thread_and_no_socket(start: Start) -> None:
    """Whatever answers, it is not the process that keeps the children."""
    run = begin(start)
    with asking(run) as client:
        assert client.get("/healthz").status_code == 200
        parent = psutil.Process(run.pid)
        assert parent.num_threads() == 1
        links = [str(fd.readlink()) for fd in Path(f"/proc/{run.pid}/fd").iterdir()]
        assert links
        assert [link for link in links if link.startswith("socket:")] == []
    run.ends_well()


def test_a_supervisor_that_stands_still_is_unhealthy_and_not_ready(start: Start) -> None:
    """Stopped by a stranger: its last word was that all is well, and it is not taken for the truth."""
    run = begin(start, ALIVE_S="1.5")
    with asking(run) as client:
        eventually(lambda: client.get("/readyz").status_code == 200, "it is ready")
        run.send(signal.SIGSTOP)
        try:
            eventually(
                lambda: client.get("/healthz").status_code == 503, "the loop does not turn", limit_s=60.0
            )
            assert client.get("/readyz").status_code == 503
            assert status(client)["supervisor"]["heartbeat_age_s"] > 1.0
        finally:
            run.send(signal.SIGCONT)
        eventually(lambda: client.get("/healthz").status_code == 200, "it turns again")
    run.ends_well()


def test_clients_that_send_nothing_do_not_keep_others_out(start: Start) -> None:
    """Twice as many as there may be, and the next one is answered; the oldest go, long before their time is over."""
    run = begin(start, PATIENCE_S="3600")
    where = address(run)
    idle = [socket.create_connection(where) for _ in range(2 * guests.MOST)]
    try:
        for half_said in idle[::2]:
            half_said.sendall(b"GET /status HTTP/1.1\r\nHost: loc")
        with asking(run) as client:
            assert client.get("/healthz").status_code == 200
        process = status_process(run)
        assert process is not None
        eventually(lambda: process.num_fds() <= guests.MOST + 40, "the oldest have to go")
    finally:
        for link in idle:
            link.close()
    run.ends_well()


def test_open_pages_do_not_keep_anybody_out(start: Start) -> None:
    """As many pages as may be, each alive, and one more that is refused: whoever asks once is answered."""
    run = begin(start, PATIENCE_S="3600")
    where = address(run)
    request = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as open_pages, asking(run) as client:
        for _ in range(MOST_PAGES):
            page = open_pages.enter_context(socket.create_connection(where))
            page.sendall(request)
            assert page.recv(15) == b"HTTP/1.1 200 OK"
        idle = [open_pages.enter_context(socket.create_connection(where)) for _ in range(guests.MOST)]
        assert client.get("/live").status_code == 503
        for _ in range(5):
            assert client.get("/healthz", headers={"connection": "close"}).status_code == 200
        assert len(idle) == guests.MOST
    run.ends_well()


def test_a_page_asked_for_behind_another_request_stays(start: Start) -> None:
    """The patience for the first request is over with its answer."""
    run = begin(start, PATIENCE_S="0.5")
    with socket.create_connection(address(run)) as link:
        link.settimeout(30.0)
        head = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        link.sendall(b"GET /healthz" + head + b"GET /live" + head)
        heard = b""
        while heard.count(b"event: status") < 4:
            more = link.recv(65536)
            assert more, "it was cut"
            heard += more
    run.ends_well()


def test_one_that_hangs_is_replaced(start: Start) -> None:
    """It says every two seconds that it is well; when it does not, another takes its place."""
    run = begin(start, HUNG_S="4")
    address(run)
    first = status_process(run)
    assert first is not None
    first.suspend()
    run.wait_for("status_ended", pid=first.pid)
    eventually(lambda: len(run.logged("status_listening")) == 2, "there is another")
    assert len(run.logged("child_forked")) == 2
    run.ends_well()


def test_a_name_that_is_none_is_told_and_ends_nothing(start: Start) -> None:
    """No host is called so, and no resolver takes it."""
    run = start("idle", listen=["a..b", 9464])
    run.wait_for("child_ready", times=2)
    assert run.wait_for("status_not_listening")["address"] == "a..b:9464"
    assert run.logged("status_ended") == []
    run.ends_well()


def test_a_client_that_reads_nothing_is_let_go(start: Start) -> None:
    """Its answers pile up in front of it only for so long."""
    run = begin(start, PATIENCE_S="1")
    where = address(run)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deaf.connect(where)
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        deaf.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(5000):
                deaf.send(request)
        eventually(lambda: broken(deaf, request), "its connection is cut", limit_s=60.0)
        with asking(run) as client:
            assert client.get("/healthz").status_code == 200
    run.ends_well()


def broken(link: socket.socket, request: bytes) -> bool:
    """Say whether the other side has cut the connection; nothing is read from it."""
    try:
        link.send(request)
    except BlockingIOError:
        return link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    except ConnectionError:
        return True
    return False


def test_a_request_that_never_ends_is_ended(start: Start) -> None:
    """A header line now and then does not buy more time."""
    run = begin(start, PATIENCE_S="1")
    with socket.create_connection(address(run)) as drip:
        drip.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\n")
        eventually(lambda: broken(drip, b"X-Drip: 1\r\n"), "its connection is cut", limit_s=60.0)
    run.ends_well()


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\r\n" * 500]
)
def test_garbage_gets_an_end_and_no_line_in_the_log(start: Start, garbage: bytes) -> None:
    """TLS where there is none, half a request, and nothing at all."""
    run = begin(start)
    with socket.create_connection(address(run)) as link:
        link.sendall(garbage)
        link.shutdown(socket.SHUT_WR)
        link.settimeout(30.0)
        while link.recv(4096):
            pass
    with asking(run) as client:
        assert client.get("/healthz").status_code == 200
    assert run.logged("process_failed") == []
    run.ends_well()


def test_a_manager_that_hears_nothing_costs_nothing(start: Start, tmp_path: Path) -> None:
    """Its socket is gone: the watchdog's word is tried again and again, and the loop rests in between."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "200000"}
    run = start("idle", environment=environment)
    run.wait_for("child_ready", times=2)
    parent = psutil.Process(run.pid)
    rested = parent.num_ctx_switches().voluntary
    eventually(lambda: parent.num_ctx_switches().voluntary >= rested + 20, "it rests, twenty times")
    run.ends_well()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Give a service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(tmp_path / "notify"))
        ours.settimeout(30.0)
        yield ours


def heard(manager: socket.socket, word: str) -> str:
    """Read what the manager is told until this word; return the whole datagram."""
    while True:
        said = manager.recv(4096).decode()
        if word in said.splitlines():
            return said


def test_a_service_manager_hears_ready_the_watchdog_and_the_end(
    start: Start, manager: socket.socket, tmp_path: Path
) -> None:
    """READY only once the children have booted; then the heart; at the end STOPPING, and nothing else."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    run = start("database", environment=environment)
    run.wait_for("waiting", on="database")
    first = heard(manager, "WATCHDOG=1")
    assert "READY=1" not in first
    run.say("database-is-here")
    assert "2 of 2 ready" in heard(manager, "READY=1")
    for _ in range(3):
        heard(manager, "WATCHDOG=1")
    run.send(signal.SIGTERM)
    assert "stopping" in heard(manager, "STOPPING=1")
    assert run.wait() == 0
