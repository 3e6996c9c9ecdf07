"""Memory is a promise: conversations that take it without end, and children that leak, on the real program."""

import signal
from collections.abc import Callable

import psutil
import pytest

from scripts.conversations import make
from scripts.faults import runaway
from scripts.faults.injected import LEAK
from scripts.faults.observer import Observer
from scripts.faults.runaway import ENDLESS, MB, Kind
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Injected

RSS_MB, HARD_MB = 100, 125


Start = Callable[..., Injected]


@pytest.mark.parametrize("kind", Kind)
def test_a_runaway_ends_at_the_budget_and_stops_nobody(start_injected: Start, desk: Desk, kind: Kind) -> None:
    """However it takes memory, and however it dies: one permanent outcome, at most two children, none too large."""
    worker = start_injected(f"--rss-mb={RSS_MB}", f"--rss-hard-mb={HARD_MB}", "--allow-overcommit")
    worker.wait_for("child_ready", times=2)
    culprit = runaway.conversation_id(kind, "1")
    with Observer(worker.pid) as observer:
        desk.publish([make(culprit, "user-1")])
        worker.wait_until(lambda: desk.status(culprit) == "FAILED", f"{culprit} has failed")
        seen = observer.report()
    event = desk.event(culprit)
    assert event is not None
    assert (event["error_code"], event["next_attempt_at"]) == ("MEMORY_BUDGET_EXCEEDED", None)
    assert seen.above(HARD_MB * MB) == {}
    deaths = desk.query("SELECT cause FROM child_deaths WHERE conversation_id = %s AND blamed", culprit)
    assert 1 <= len(deaths) <= 2
    assert len(worker.logged("child_exited")) <= 2
    desk.publish([make("good", "user-1", size_bytes=30_000)])
    worker.wait_until(lambda: desk.status("good") == "PROCESSED", "the next is processed")
    worker.wait_until(lambda: len(worker.children()) == 2, "both slots are filled again")
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


@pytest.mark.parametrize("kind", [*ENDLESS, Kind.SEGFAULT])
def test_the_wall_holds_while_nobody_watches(
    start_injected: Start, desk: Desk, memory_api: MemoryApiStandIn, kind: Kind
) -> None:
    """With the supervisor stopped no reading is taken: the kernel's limit alone keeps children below the budget."""
    worker = start_injected("--rss-mb=300", "--rss-hard-mb=375", "--allow-overcommit")
    worker.wait_for("child_ready", times=2)
    # Children that have worked: the allocator has reserved what it would need, and begun to use some of it
    memory_api.set_mode("delay", seconds=0.1)
    desk.publish_many(6)
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 6, "all are processed")
    children = worker.children()
    culprit = runaway.conversation_id(kind, "1")
    with Observer(worker.pid) as observer:
        worker.send(signal.SIGSTOP)
        desk.publish([make(culprit, "user-1")])
        worker.wait_until(lambda: all(map(is_zombie, children)), "both have died of it")
        seen = observer.report()
        worker.send(signal.SIGCONT)
    assert seen.above(375 * MB) == {}
    worker.wait_until(lambda: desk.status(culprit) == "FAILED", f"{culprit} has failed")
    event = desk.event(culprit)
    assert event is not None
    assert (event["error_code"], event["next_attempt_at"]) == ("MEMORY_BUDGET_EXCEEDED", None)
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


def is_zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_leak_ends_children_between_messages(
    start_injected: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Children that leak are replaced for their size, again and again, and no message is delivered twice for it."""
    memory_api.set_mode("delay", seconds=0.1)
    options = (f"--rss-mb={RSS_MB}", "--rss-hard-mb=250", "--allow-overcommit")
    worker = start_injected(*options, **{LEAK: "5"})
    worker.wait_for("child_ready", times=2)
    desk.publish_many(100, size_bytes=2_000)
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 100, "all are processed")
    worker.wait_for("child_exited", times=3, reason="rss_soft")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
    assert {line["reason"] for line in worker.logged("child_exited")} == {"rss_soft", "shutdown"}
    assert worker.logged("redelivered") == []
    assert desk.query("SELECT conversation_id FROM conversation_events WHERE claim_epoch > 1") == []
