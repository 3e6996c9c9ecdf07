"""What the status page tells of real work: each of the three nights is named by slot, conversation and cause."""

from collections.abc import Callable
from typing import Any

import httpx

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Injected, Worker

StartInjected = Callable[..., Injected]
Told = dict[str, Any]

SLOW = "c-slow"
POISON = "runaway-bytes-1"


def until(worker: Worker, url: str, condition: Callable[[Told], bool], what: str) -> Told:
    """Ask for the status until it says so."""
    last: list[Told] = []

    def asked() -> bool:
        answer = httpx.get(f"{url}/status", trust_env=False)
        last[:] = [answer.json()] if answer.status_code == 200 else []
        return bool(last) and condition(last[0])

    worker.wait_until(asked, what)
    return last[0]


def test_a_slow_call_a_poison_message_and_an_outage_are_named(
    start_injected: StartInjected, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Who holds it and since when; who died of it, twice; and that nothing is taken any more."""
    memory_api.set_mode("hang", conversation_id=SLOW)
    worker = start_injected("--listen", "127.0.0.1:0", MEMORY_API_TIMEOUT_SECONDS="3")
    url = f"http://{worker.wait_for('status_listening')['address']}"
    until(worker, url, lambda told: bool(told["supervisor"]["ready"]), "it is ready")
    desk.publish([make(SLOW, "user-1")])
    told = until(worker, url, lambda told: busy(told, SLOW) is not None, "the slow one is seen")
    slow = busy(told, SLOW)
    assert slow is not None
    assert (slow["phase"], slow["state"]) == ("calling", "busy")
    assert told["queue"]["unacked"] == 1

    desk.publish([make(POISON, "user-1")])
    told = until(worker, url, lambda told: failed(told, POISON) is not None, "the poison is seen")
    end = failed(told, POISON)
    assert end is not None
    assert end["code"] == "MEMORY_BUDGET_EXCEEDED"
    deaths = [event for event in told["events"] if event["event"] == "child_exited"]
    assert [(event["reason"], event["conversation_id"]) for event in deaths] == [("rss_hard", POISON)] * 2
    assert told["totals"]["restarts"]["rss_hard"] == 2
    assert {event["slot"] for event in deaths} == {
        child["slot"] for child in told["children"] if child["last_end"]
    }

    until(worker, url, lambda told: failed(told, SLOW) is not None, "the slow one has had its time")
    memory_api.set_mode("error", status=401)
    desk.publish_many(5)
    told = until(
        worker, url, lambda told: told["supervisor"]["breaker"]["state"] == "open", "the breaker opens"
    )
    assert told["totals"]["failures"]["MEMORY_API_TIMEOUT"] == 1
    until(
        worker, url, lambda told: "MEMORY_API_ERROR" in told["totals"]["failures"], "the refusal is counted"
    )
    until(worker, url, lambda told: (told["queue"]["ready"] or 0) > 0, "the rest waits in the queue")
    metrics = httpx.get(f"{url}/metrics", trust_env=False).text
    assert 'friendship_breaker_state{state="closed"} 0.0' in metrics
    assert 'friendship_failures_total{code="MEMORY_BUDGET_EXCEEDED"} 1.0' in metrics
    assert worker.stop() == 0
    assert worker.left_behind() == []


def busy(told: Told, conversation_id: str) -> Told | None:
    """Give the child that has this conversation in hand."""
    return next((child for child in told["children"] if child["conversation_id"] == conversation_id), None)


def failed(told: Told, conversation_id: str) -> Told | None:
    """Give the event that says how this conversation failed."""
    return next(
        (
            event
            for event in told["events"]
            if event["event"] == "message_failed" and event["conversation_id"] == conversation_id
        ),
        None,
    )
