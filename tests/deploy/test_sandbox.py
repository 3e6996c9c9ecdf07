"""The program under what its unit forbids: it must not need what it may not do."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

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
def worker(environment: dict[str, str]) -> Iterator[Sandboxed]:
    program("systemd-analyze")
    worker = Sandboxed(environment | {"MAX_MESSAGE_MB": "1", "FRIENDSHIP_RETRY_EVERY": "1"})
    yield worker
    worker.destroy()


def test_the_unit_forbids_nothing_that_the_program_needs(worker: Sandboxed, desk: Desk) -> None:
    """Messages through memory and through a file, a retry pass, a replaced child, a drain: all as without it."""
    worker.wait_for("child_ready", times=2)
    told = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert told["Seccomp"] == "2", "no filter is in force"
    assert int(told["CapBnd"], 16) == int(told["CapEff"], 16) == 0

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
    desk.assert_clean_ending(worker)
