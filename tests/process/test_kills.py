"""Children killed at random while conversations flow: nothing is lost, failed or counted twice."""

import contextlib
import os
import random
import signal
from collections.abc import Callable

import pytest

from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]


def storm(worker: Worker, desk: Desk, *, kills: int, conversations: int, seed: int) -> None:
    """Kill a random child again and again; each kill waits until the last victim was reaped."""
    rng = random.Random(seed)
    for _ in range(kills):
        victim = worker.wait_until(lambda: rng.choice(worker.children() or [None]), "there is a child")
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        worker.wait_for("child_exited", pid=victim)
    worker.wait_until(
        lambda: (
            sum(desk.statuses().values()) == conversations
            and desk.statuses()["PENDING"] + desk.statuses()["PROCESSING"] == 0
        ),
        "every event has ended",
        limit_s=60,
    )
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_thirty_kills_lose_and_double_nothing(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """A sample of the storm below, short enough for every run."""
    memory_api.set_mode("delay", seconds=0.2)
    worker = start_worker(FRIENDSHIP_CHILDREN="4")
    worker.wait_for("child_ready", times=4)
    desk.publish_many(100)
    storm(worker, desk, kills=30, conversations=100, seed=1)


@pytest.mark.slow
def test_two_hundred_kills_lose_and_double_nothing(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """200 SIGKILLs while 500 conversations with a call of 0.2 s flow through 8 children."""
    memory_api.set_mode("delay", seconds=0.2)
    worker = start_worker(FRIENDSHIP_CHILDREN="8")
    worker.wait_for("child_ready", times=8)
    desk.publish_many(500, size_bytes=30_000)
    storm(worker, desk, kills=200, conversations=500, seed=2)
