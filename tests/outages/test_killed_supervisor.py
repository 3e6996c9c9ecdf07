"""A supervisor that is killed takes all of its processes along, and another goes on with what they had in hand."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]

CONVERSATIONS = 20


def family(worker: Worker) -> dict[str, psutil.Process]:
    """Give the supervisor's processes by their titles; those of children end in the number of their slot."""
    found = {}
    for each in psutil.Process(worker.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # gone meanwhile, or a zombie
            title = " ".join(each.cmdline())
            found[title.removeprefix("friendship-supervisor: ").strip()] = each
    return found


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_supervisor(worker: Worker) -> None:
    """Kill it, and see every process of it gone."""
    members = family(worker)
    assert members
    os.kill(worker.pid, signal.SIGKILL)
    eventually(
        lambda: not any(lives(each) for each in members.values()), f"gone: {sorted(members)}", limit_s=10
    )


@pytest.mark.faults
def test_the_other_supervisor_goes_on_with_the_work_of_a_killed_one(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Killed with calls under way and one child stopped by SIGSTOP: nothing is lost or counted twice."""
    memory_api.set_mode("delay", seconds=0.5)
    first, second = start_worker(FRIENDSHIP_CHILDREN="3"), start_worker(FRIENDSHIP_CHILDREN="3")
    for each in (first, second):
        each.wait_for("child_ready", times=3)
    desk.publish_many(CONVERSATIONS)
    second.wait_until(lambda: memory_api.calls().in_flight == 6, "all are in calls")
    family(first)["child 0"].suspend()
    kill_supervisor(first)
    second.wait_until(lambda: desk.statuses()["PROCESSED"] == CONVERSATIONS, "all are processed")
    assert second.logged("message_failed") == []
    assert second.stop() == 0
    first.wait()
    desk.assert_all_scored()
    desk.assert_clean_ending(second)


@pytest.mark.faults
def test_errands_die_with_their_supervisor(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, postgres: Postgres
) -> None:
    """A janitor and a retry pass, both waiting for a database that stands still."""
    memory_api.set_mode("hang")
    worker = start_worker(FRIENDSHIP_RETRY_EVERY="1")
    worker.wait_for("child_ready", times=2)
    desk.publish([make("one", "user-1")])
    worker.wait_until(lambda: memory_api.calls().in_flight == 1, "a call is under way")
    desk.close()
    postgres.pause()
    worker.wait_until(lambda: "retry" in family(worker), "a retry pass is out")
    for name, process in family(worker).items():
        if name.startswith("child"):
            process.kill()
    worker.wait_until(lambda: {"retry", "janitor"} <= family(worker).keys(), "both errands are out")
    kill_supervisor(worker)
    worker.wait()
    postgres.resume()
    memory_api.set_mode("instant")
    heir = start_worker()
    heir.wait_until(lambda: desk.status("one") == "PROCESSED", "another goes on")
    assert heir.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(heir)


@pytest.mark.faults
def test_a_rolling_restart_under_load(start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn) -> None:
    """New supervisors start and old ones end, three times over, while conversations are worked on."""
    memory_api.set_mode("delay", seconds=0.3)
    running = [start_worker(), start_worker()]
    for each in running:
        each.wait_for("child_ready", times=2)
    desk.publish_many(3 * CONVERSATIONS)
    ended = []
    for _ in range(3):
        running.append(start_worker())
        running[-1].wait_for("child_ready", times=2)
        ended.append(running.pop(0))
        assert ended[-1].stop() == 0
        assert ended[-1].logged("child_killed") == []
    last = running[-1]
    last.wait_until(lambda: desk.statuses()["PROCESSED"] == 3 * CONVERSATIONS, "all are processed")
    assert [worker.stop() for worker in running] == [0, 0]
    calls = memory_api.calls()
    assert {calls.of(name) for name in desk.published} == {1}
    desk.assert_all_scored()
    for worker in (*ended, *running):
        desk.assert_clean_ending(worker)
