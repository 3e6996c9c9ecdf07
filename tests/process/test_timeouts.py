"""The Memory API's worst hours: silence and drips end at the limit, and the conversation is not lost."""

import subprocess
import sys
from collections.abc import Callable
from time import monotonic

import orjson
import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]
LIMIT_S = 2.0


@pytest.mark.parametrize("mode", ["hang", "body_drip", "header_drip", "silence_after_headers"])
def test_a_call_over_the_limit_fails_is_parked_and_is_retried_with_the_same_score(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, environment: dict[str, str], mode: str
) -> None:
    """FAILED MEMORY_API_TIMEOUT, 6 to 7.2 hours away, acknowledged, log parked; `retry` brings it back."""
    memory_api.set_mode(mode, seconds=0.2)
    worker = start_worker(MEMORY_API_TIMEOUT_SECONDS=str(LIMIT_S))
    worker.wait_for("child_ready", times=2)
    began = monotonic()
    (conversation,) = desk.publish([make("slow", "user-1", size_bytes=30_000)])
    worker.wait_until(lambda: desk.status("slow") == "FAILED", "the event has failed")
    assert monotonic() - began >= LIMIT_S
    (row,) = desk.query(
        "SELECT *, extract(epoch FROM next_attempt_at - now())::float8 / 3600 AS hours FROM conversation_events"
    )
    assert row["error_code"] == "MEMORY_API_TIMEOUT"
    assert 5.9 < row["hours"] <= 7.2
    assert row["parked_log"] is not None
    worker.wait_until(lambda: desk.depth() == 0, "the message is acknowledged")

    memory_api.set_mode("instant")
    desk.query("UPDATE conversation_events SET next_attempt_at = now()")
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "retry"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout) == {
        "failed": 1,
        "pending": 0,
        "rescued": 0,
        "published": 1,
        "left": 0,
    }
    worker.wait_until(lambda: desk.status("slow") == "PROCESSED", "the retry is processed")
    (status,) = desk.query("SELECT * FROM friendship_status")
    assert status["topic_metrics"][conversation.agent_tag]["turns"] == conversation.turns
    (event,) = desk.query("SELECT * FROM conversation_events")
    assert (event["attempt_count"], event["parked_log"]) == (2, None)
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


@pytest.mark.slow
def test_a_call_of_240_s_is_acknowledged_on_the_connection_that_delivered_it(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, rabbitmq_url: str
) -> None:
    """Heartbeats flow during the call: with a heartbeat of 20 s the broker never loses the child."""
    memory_api.set_mode("delay", seconds=240.0)
    worker = start_worker(
        FRIENDSHIP_CHILDREN="1",
        MEMORY_API_TIMEOUT_SECONDS="300",
        RABBITMQ_URL=f"{rabbitmq_url}?heartbeat=20",
    )
    worker.wait_for("child_ready")
    desk.publish([make("long", "user-1")])
    worker.wait_for("message_processed", limit_s=300)
    assert worker.logged("broker_lost") == worker.logged("broker_away") == worker.logged("ack_lost") == []
    assert worker.stop() == 0
    assert memory_api.calls().of("long") == 1
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
