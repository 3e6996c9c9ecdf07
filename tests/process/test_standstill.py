"""Time in which nobody ran: a laptop that slept, a virtual machine that was moved, a frozen control group."""

import os
import signal
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

import orjson
import psutil

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from supervisor.awake import GRACE_S
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.fixtures.worker import Worker
from tests.process.runs import Start

CALL_S = 1.0
DEADLINE_S = 16.0
"""The shortest that the write budget allows."""


def stop(pids: Sequence[int]) -> None:
    """Stop these processes, the first one first: nobody may see the others stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def wake(pids: Sequence[int]) -> None:
    """Let them go on, the first one first: it sees the others as they were before the stop."""
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def let_pass(seconds: float) -> None:
    """Let the time pass that a stop is to last: it is what the test is about."""
    end = monotonic() + seconds
    eventually(lambda: monotonic() >= end, "the time has passed", limit_s=seconds + 60)


def fetched(address: str, path: str) -> bytes:
    """Fetch a page; anything but 200 is an error."""
    with urllib.request.urlopen(f"http://{address}{path}") as answer:
        found: bytes = answer.read()
    return found


def test_messages_in_hand_outlast_two_sleeps_of_the_whole_machine(
    start_worker: Callable[..., Worker], desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Every process stops for longer than a call and a message may take, twice: all is processed, nobody is killed."""
    worker = start_worker(
        MEMORY_API_TIMEOUT_SECONDS=str(CALL_S),
        FRIENDSHIP_MESSAGE_DEADLINE=str(DEADLINE_S),
        FRIENDSHIP_LISTEN="127.0.0.1:0",
    )
    worker.wait_for("child_ready", times=2)
    worker.wait_for("status_listening")
    tree = [worker.pid, *(child.pid for child in psutil.Process(worker.pid).children(recursive=True))]

    def called(names: Sequence[str]) -> bool:
        return all(memory_api.calls().of(name) for name in names)

    def ended(names: Sequence[str]) -> bool:
        return {desk.status(name) for name in names}.isdisjoint({"PROCESSING", "PENDING", None})

    for sleep in (1, 2):
        memory_api.set_mode("hang")
        names = [f"{sleep}-{number}" for number in range(2)]
        desk.publish([make(name, f"user-{name}") for name in names])
        worker.wait_until(partial(called, names), "both are called")
        stop(tree)
        memory_api.release()
        memory_api.set_mode("instant")
        let_pass(DEADLINE_S + 1)
        wake(tree)
        worker.wait_until(partial(ended, names), "both have an outcome")
    assert desk.statuses() == {"PROCESSED": 4}
    assert (
        worker.logged("child_killed") == worker.logged("child_exited") == worker.logged("status_ended") == []
    )
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_call_outlasts_stops_in_a_row_that_are_short(
    start_worker: Callable[..., Worker], desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Each shorter than the call may take, together longer; awake it had a tenth of its time. Then it is answered."""
    worker = start_worker(
        MEMORY_API_TIMEOUT_SECONDS="4",
        FRIENDSHIP_MESSAGE_DEADLINE="20",
        FRIENDSHIP_LISTEN="127.0.0.1:0",
    )
    worker.wait_for("child_ready", times=2)
    worker.wait_for("status_listening")
    tree = [worker.pid, *(child.pid for child in psutil.Process(worker.pid).children(recursive=True))]
    memory_api.set_mode("hang")
    desk.publish([make("stopped", "user-1")])
    worker.wait_until(lambda: memory_api.calls().of("stopped"), "it is called")
    for _ in range(3):
        stop(tree)
        let_pass(1.8)
        wake(tree)
        let_pass(0.15)
    memory_api.release()
    worker.wait_until(
        lambda: desk.status("stopped") not in {"PROCESSING", "PENDING", None}, "it has an outcome"
    )
    assert desk.statuses() == {"PROCESSED": 1}
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_child_that_hangs_while_its_supervisor_is_stopped_is_ended_afterwards(start: Start) -> None:
    """Not at once: the supervisor alone was stopped, and its time goes on where it was. The child does not escape."""
    deadline_s = 6.0
    run = start("late_once", children=1, message_deadline_s=deadline_s)
    run.wait_for("child_ready")
    began = monotonic()
    stop([run.pid])
    stopped = monotonic()
    let_pass(deadline_s + 1)
    wake([run.pid])
    woken = monotonic()
    run.wait_for("stood_still")
    run.wait_for("child_frozen", reason="deadline")
    # The child hangs since a moment before it was seen to be ready
    assert monotonic() - woken > deadline_s - (stopped - began) - 2 * GRACE_S
    run.wait_for("child_ready", times=2)
    assert [(row["cause"], row["blamed"]) for row in run.accounts()] == [("deadline", True)]
    run.ends_well()


def test_nobody_is_said_to_hang_when_all_have_slept(start: Start) -> None:
    """Asked first thing after it, the status process says that all is well, and neither process is replaced."""
    run = start("idle", listen=["127.0.0.1", 0], environment={"ALIVE_S": "4", "HUNG_S": "4"})
    run.wait_for("child_ready", times=2)
    address = run.wait_for("status_listening")["address"]
    tree = [run.pid, *(child.pid for child in psutil.Process(run.pid).children(recursive=True))]
    status = run.logged("status_listening")[-1]["pid"]
    stop(tree)
    let_pass(5)
    wake([status])
    assert fetched(address, "/healthz") == b"ok\n"
    wake(tree)
    turns = orjson.loads(fetched(address, "/status"))["as_of"]
    run.wait_until(
        lambda: orjson.loads(fetched(address, "/status"))["as_of"] > turns + 1,
        "some turns of all have passed",
    )
    assert run.logged("status_ended") == run.logged("child_exited") == []
    run.ends_well()
