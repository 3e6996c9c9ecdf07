"""The Memory API goes away for ten minutes, scaled: the queue keeps what the breaker does not let be taken."""

from collections.abc import Callable

import pytest

from scripts.faults.injected import TIME_SCALE
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Injected, Worker

Start = Callable[..., Worker]
StartInjected = Callable[..., Injected]

CHILDREN = 4
OUTAGE_S = 600.0


def survive(
    start_injected: StartInjected,
    start_worker: Start,
    desk: Desk,
    memory_api: MemoryApiStandIn,
    *,
    queued: int,
    scale: float,
    away: str,
) -> None:
    """Publish so many conversations, take the API away, and look at them when it is back."""
    worker = start_injected(
        FRIENDSHIP_CHILDREN=str(CHILDREN),
        MEMORY_API_TIMEOUT_SECONDS=f"{60 * scale:g}",
        **{TIME_SCALE: str(scale)},
    )
    worker.wait_for("child_ready", times=CHILDREN)
    if away == "refused":
        memory_api.stop()
    else:
        memory_api.set_mode(away, status=503)
    desk.publish_many(queued)
    opened = worker.wait_for("breaker_opened", failed_probes=0, limit_s=60.0 + 60.0 * scale)
    assert opened["failures"] >= max(10, 2 * CHILDREN)
    worker.wait_until(
        lambda: sum(line["next_probe_in_s"] for line in worker.logged("breaker_opened")) > OUTAGE_S * scale,
        "the outage is over",
        limit_s=60.0 + 3 * OUTAGE_S * scale,
    )
    failed = desk.statuses()["FAILED"]
    assert failed == sum(desk.statuses().values()) <= CHILDREN * 10
    assert desk.depth() + CHILDREN >= queued - failed
    memory_api.start_again()
    memory_api.set_mode("instant")
    worker.wait_for("breaker_closed", limit_s=60.0 + 200.0 * scale)
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == queued - failed, "the queue is worked off")
    desk.query("UPDATE conversation_events SET next_attempt_at = now() WHERE status = 'FAILED'")
    pass_on = start_worker("retry")
    assert pass_on.wait() == 0
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == queued, "what had failed is done too")
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
    print(f"{away}: {failed} of {queued} failed, {len(worker.logged('breaker_half_open'))} probes")


def test_an_outage_leaves_messages_in_the_queue(
    start_injected: StartInjected, start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Connections refused, which fails at once: few events fail, one child at a time tries, all is done in the end."""
    survive(start_injected, start_worker, desk, memory_api, queued=150, scale=0.005, away="refused")


@pytest.mark.faults
@pytest.mark.parametrize("away", ["refused", "hang", "error", "reset"])
def test_ten_minutes_of_outage_with_a_thousand_queued(
    start_injected: StartInjected, start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, away: str
) -> None:
    """At most ten events a child fail, however the API is away; the rest stays in the queue until it is back."""
    survive(start_injected, start_worker, desk, memory_api, queued=1000, scale=0.05, away=away)


def test_wrong_credentials_stop_everything_at_once(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """One 401 is enough: hardly anything is burnt on a bad key."""
    memory_api.set_mode("error", status=401)
    worker = start_worker()
    worker.wait_for("child_ready", times=2)
    desk.publish_many(20)
    worker.wait_for("breaker_opened")
    worker.wait_until(lambda: desk.depth() >= 16, "messages stay in the queue")
    assert desk.statuses()["FAILED"] <= 4
    assert worker.stop() == 0
    assert desk.depth() >= 16


def test_without_the_breaker_every_message_is_taken(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """--breaker off: each one fails by the table, as fast as it can."""
    memory_api.set_mode("error", status=401)
    worker = start_worker("run", "--breaker", "off")
    desk.publish_many(20)
    worker.wait_until(lambda: desk.statuses()["FAILED"] == 20, "all have failed")
    assert worker.logged("breaker_opened") == []
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)
