"""The optional analysis in the real program: what it adds, what a failing LLM costs, and that off is free."""

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from scripts.conversations import Conversation, make
from scripts.servers.llm import LlmStandIn, Mode
from scripts.servers.memory_modes import facts_for
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]

# Modules that are named by a string, as consumer.llm and consumer.s3 are, go unreported: these are what they import
ONLY_WHEN_ON = ("httpx", "consumer.excerpt", "consumer.prompt")
ONLY_WITH_S3 = ("botocore", "botocore.session", "consumer.aws", "consumer.inflate")


def imported(worker: Worker) -> set[str]:
    """Give the modules that any of its processes has loaded (PYTHONPROFILEIMPORTTIME)."""
    lines = [line for line in worker.other_lines if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def breakdown(desk: Desk, conversation_id: str) -> dict[str, Any]:
    """Give how a conversation's change came about."""
    event = desk.event(conversation_id)
    assert event is not None
    details: dict[str, Any] = event["score_calculation_details"]
    return details | {"stored": event["friendship_score_change"]}


def test_without_it_nothing_of_it_is_loaded(start_worker: Start, desk: Desk) -> None:
    """Neither the LLM's client nor S3's, in no process, from the start to the end of a message."""
    worker = start_worker(PYTHONPROFILEIMPORTTIME="1")
    worker.wait_for("child_ready")
    desk.publish([make("plain", "user-1")])
    worker.wait_for("message_processed")
    assert worker.stop() == 0
    loaded = imported(worker)
    assert {"consumer.pipeline", "httpcore"} <= loaded, "the imports were heard of"
    assert loaded.isdisjoint((*ONLY_WHEN_ON, *ONLY_WITH_S3))
    assert breakdown(desk, "plain")["llm"] == "off"


def test_its_judgement_counts(start_worker: Start, desk: Desk, llm: LlmStandIn) -> None:
    """3 points a question and 15 for an interesting session, beside turns and facts; loaded once, before the fork."""
    worker = start_worker(PYTHONPROFILEIMPORTTIME="1", **llm.environment())
    worker.wait_for("child_ready")
    asked = conversation("curious", "Why?", "And how?", "And when? And why?")
    desk.publish([asked])
    worker.wait_for("message_processed")
    assert worker.stop() == 0
    assert set(ONLY_WHEN_ON) - imported(worker) == set()
    told = breakdown(desk, "curious")
    assert (told["llm"], told["user_initiated_questions"], told["session_emotion"]) == (
        "used",
        3,
        "interesting",
    )
    assert told["stored"] == pytest.approx(0.5 * 3 + 5 * facts_for("curious") + 3 * 3 + 15, abs=1e-6)


def test_one_that_hangs_costs_its_deadline_and_no_score(
    start_worker: Start, desk: Desk, llm: LlmStandIn
) -> None:
    """PROCESSED with the defaults, why is in the breakdown, and counted; nothing of S3 is, which is not in use."""
    llm.conduct.mode = Mode.HANG
    worker = start_worker("--listen", "127.0.0.1:0", LLM_TIMEOUT_SECONDS="0.5", **llm.environment())
    url = f"http://{worker.wait_for('status_listening')['address']}"
    worker.wait_for("child_ready")
    desk.publish([make("patient", "user-1")])
    worker.wait_for("message_processed")
    counted = 'friendship_llm_analyses_total{result="timeout"} 1.0'
    text = worker.wait_until(
        lambda: found if counted in (found := httpx.get(f"{url}/metrics", trust_env=False).text) else None,
        "the time-out is counted",
    )
    assert 'friendship_llm_seconds_bucket{le="+Inf"} 1.0' in text
    assert "friendship_log_fetch" not in text
    assert worker.stop() == 0
    desk.assert_all_scored()
    told = breakdown(desk, "patient")
    assert (told["llm"], told["user_initiated_questions"], told["session_emotion"]) == (
        "timeout",
        0,
        "neutral",
    )
    assert told["llm_reason"]
    assert told["llm_ms"] >= 500
    desk.assert_clean_ending(worker)


def conversation(conversation_id: str, *said: str) -> Conversation:
    """Make one in which the robot speaks before each of these."""
    items = [
        {"speaker": speaker, "text": text}
        for word in said
        for speaker, text in (("pika", "Hi!"), ("user", word))
    ]
    body = {"conversation_id": conversation_id, "user_id": "user-1", "agent_tag": "movie"}
    return Conversation(
        conversation_id, "user-1", "movie", len(said), orjson.dumps(body | {"conversation_log": items})
    )
