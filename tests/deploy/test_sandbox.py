"""The program under what its unit forbids: it must not need what it may not do."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scripts.servers.process import Port
from supervisor.process import NICER, OOM_SCORE
from tests.deploy.programs import program
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

pytestmark = pytest.mark.full

DUE = """
INSERT INTO conversation_events (conversation_id, user_id, next_attempt_at, conversation_log)
     VALUES ('due', 'user-1', now(), '[{"speaker": "pika", "text": "Hello"}, {"speaker": "user", "text": "Hello"}]')
"""


class Sandboxed(Worker):
    program = ("tests.deploy.sandbox", "friendship-supervisor.service")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Stand where systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def port() -> Iterator[int]:
    """Give a port for the status server."""
    reserved = Port.reserve()
    yield reserved.number
    reserved.release()


@pytest.fixture
def worker(environment: dict[str, str], manager: socket.socket, port: int) -> Iterator[Sandboxed]:
    program("systemd-analyze")
    given = {
        "MAX_MESSAGE_MB": "1",
        "FRIENDSHIP_RETRY_EVERY": "1",
        "FRIENDSHIP_LISTEN": f"127.0.0.1:{port}",
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "1000000",
    }
    worker = Sandboxed(environment | given)
    yield worker
    worker.destroy()


def heard(manager: socket.socket) -> set[str]:
    """Take the lines that have come, the texts of STATUS apart."""
    lines: set[str] = set()
    with contextlib.suppress(BlockingIOError):
        while True:
            lines |= {line.partition("=")[0] for line in manager.recv(4096).decode().splitlines()}
    return lines


def fetched(port: int, path: str) -> bool:
    """Ask the status server; say whether it answered 200."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK


def test_the_unit_forbids_nothing_that_the_program_needs(
    worker: Sandboxed, desk: Desk, manager: socket.socket, port: int
) -> None:
    """Messages through memory and a file, a retry pass, status, a new child, words to systemd: all as without it."""
    worker.wait_for("child_ready", times=2)
    told = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert told["Seccomp"] == "2", "no filter is in force"
    assert int(told["CapBnd"], 16) == int(told["CapEff"], 16) == 0

    told_systemd: set[str] = set()

    def has_told(*words: str) -> bool:
        told_systemd.update(heard(manager))
        return told_systemd >= {*words}

    worker.wait_until(
        lambda: has_told("READY", "STATUS", "WATCHDOG"), "systemd hears that it is ready and alive"
    )
    assert fetched(port, "/healthz")
    assert fetched(port, "/metrics")

    desk.publish_many(50)
    desk.publish_many(5, size_bytes=900_000, prefix="big")
    desk.publish_raw(b"[" + b" " * 2_000_000 + b"]", message_id="too-large")
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == len(desk.published), "all are processed")
    worker.wait_until(lambda: desk.depth(desk.broker.dead_queue) == 1, "the large one is set aside")
    desk.query(DUE)
    worker.wait_until(lambda: desk.status("due") == "PROCESSED", "the retry pass has published what is due")

    (child, *_) = worker.children()
    own = Path("/proc/self/oom_score_adj").read_text()
    assert psutil.Process(child).nice() == psutil.Process().nice() + NICER
    assert int(Path(f"/proc/{child}/oom_score_adj").read_text()) == min(1000, int(own) + OOM_SCORE)

    psutil.Process(child).kill()
    worker.wait_for("child_ready", times=3)
    assert worker.stop() == 0
    assert has_told("STOPPING")
    desk.assert_clean_ending(worker)
