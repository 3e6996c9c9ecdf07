"""Every row of the outcome table, on one supervisor that goes on with the next good message."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]

ITEMS = [{"speaker": "pika", "text": "hi"}, {"speaker": "user", "text": "hello"}]


def body(conversation_id: str, user_id: str = "user-1", **fields: object) -> bytes:
    return orjson.dumps({"conversation_id": conversation_id, "user_id": user_id} | fields)


@pytest.fixture
def worker(start_worker: Start) -> Worker:
    started = start_worker(MAX_MESSAGE_MB="4", MEMORY_API_TIMEOUT_SECONDS="2")
    started.wait_for("child_ready", times=2)
    return started


def ended(worker: Worker, desk: Desk, conversation_id: str, status: str) -> None:
    worker.wait_until(lambda: desk.status(conversation_id) == status, f"{conversation_id} is {status}")


def finish(worker: Worker, desk: Desk) -> None:
    """Prove that the same supervisor goes on, and ends cleanly."""
    desk.publish([make("good", "user-good")])
    worker.wait_until(lambda: desk.status("good") == "PROCESSED", "the next good message is processed")
    assert worker.logged("child_exited") == [], "no child died of a bad message"
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


INVALID = {
    "not JSON": b"conversation",
    "not UTF-8": b'{"conversation_id": "bad", "user_id": "\xff"}',
    "not an object": b"[1, 2]",
    "no conversation_id": b'{"user_id": "u"}',
    "no user_id": b'{"conversation_id": "bad"}',
    "conversation_id a number": b'{"conversation_id": 5, "user_id": "u"}',
    "user_id too long": body("bad", "u" * 256, conversation_log=ITEMS),
    "agent_tag too long": body("bad", agent_tag="x" * 256, conversation_log=ITEMS),
    "NUL in the id": body("bad\0", conversation_log=ITEMS),
    "log a string": body("bad", conversation_log="hello"),
    "log a number": body("bad", conversation_log=5),
    "url not s3": body("bad", conversation_log_url="http://example.org/x"),
    "only unusable items": body("bad", conversation_log=[{"speaker": "cat", "text": "miau"}, 5, {"a": 1}]),
    "nested deeply": b'{"conversation_id":"bad","user_id":"u","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
}


def test_what_can_never_be_processed_goes_to_the_dead_queue(worker: Worker, desk: Desk) -> None:
    """Each kind is copied with its reason, acknowledged, and leaves no row that could be mistaken for work."""
    for bad in INVALID.values():
        desk.publish_raw(bad)
    desk.publish_raw(body("encoded", conversation_log=ITEMS), content_encoding="gzip")
    count = len(INVALID) + 1
    worker.wait_for("message_dead_lettered", times=count)
    dead = desk.take_dead()
    assert sorted(copy for _, copy in dead) == sorted(
        [*INVALID.values(), body("encoded", conversation_log=ITEMS)]
    )
    assert {headers["reason"] for headers, _ in dead} == {"INVALID_MESSAGE"}
    finish(worker, desk)


def test_an_invalid_message_fails_only_a_row_that_waits_for_it(worker: Worker, desk: Desk) -> None:
    """PENDING without a log: FAILED, until a valid message comes. PENDING with one: untouched, and processed."""
    desk.query("INSERT INTO conversation_events (conversation_id, user_id) VALUES ('bare', 'user-1')")
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, conversation_log) VALUES ('full', 'user-1', %s)",
        orjson.dumps(ITEMS).decode(),
    )
    before = desk.event("full")
    for conversation_id in ("bare", "full"):
        desk.publish_raw(body(conversation_id, conversation_log="no list"))
        desk.publish_raw(body(conversation_id, conversation_log=[{"speaker": "cat", "text": "miau"}]))
    worker.wait_for("message_dead_lettered", times=4)
    bare, full = desk.event("bare"), desk.event("full")
    assert bare is not None
    assert full is not None
    assert before is not None
    assert (bare["status"], bare["error_code"], bare["next_attempt_at"]) == (
        "FAILED",
        "INVALID_MESSAGE",
        None,
    )
    for column in ("status", "error_code", "attempt_count", "next_attempt_at", "conversation_log"):
        assert full[column] == before[column], column
    desk.publish_raw(body("bare", conversation_log=ITEMS))
    desk.publish_raw(body("full"))
    for conversation_id in ("bare", "full"):
        ended(worker, desk, conversation_id, "PROCESSED")
    finish(worker, desk)


def test_a_body_over_the_limit_is_refused_unparsed(worker: Worker, desk: Desk) -> None:
    """MESSAGE_TOO_LARGE: the row is found through message_id, and a later valid message may have it."""
    desk.query("INSERT INTO conversation_events (conversation_id, user_id) VALUES ('big', 'user-1')")
    big = make("big", "user-1", size_bytes=5 * 2**20).body
    desk.publish_raw(big, message_id="big")
    worker.wait_for("message_dead_lettered", code="MESSAGE_TOO_LARGE")
    row = desk.event("big")
    assert row is not None
    assert (row["status"], row["error_code"]) == ("FAILED", "MESSAGE_TOO_LARGE")
    ((headers, copy),) = desk.take_dead()
    assert headers["reason"] == "MESSAGE_TOO_LARGE"
    assert copy == big
    desk.publish_raw(body("big", conversation_log=ITEMS))
    worker.wait_until(lambda: desk.status("big") == "PROCESSED", "a valid message cures it")
    finish(worker, desk)


def test_another_users_id_on_a_known_conversation_changes_nothing(worker: Worker, desk: Desk) -> None:
    """The row keeps its owner and the other user gets no score."""
    desk.publish([make("mine", "user-1")])
    worker.wait_until(lambda: desk.status("mine") == "PROCESSED", "mine is processed")
    desk.publish_raw(body("mine", "thief", conversation_log=ITEMS))
    worker.wait_for("message_dead_lettered")
    assert desk.scores().keys() == {"user-1"}
    assert len(desk.take_dead()) == 1
    finish(worker, desk)


def test_what_needs_no_call_makes_none(worker: Worker, desk: Desk, memory_api: MemoryApiStandIn) -> None:
    """Skipped bot types and conversations in which nothing was said."""
    desk.publish_raw(body("lesson", bot_type="NEXT_LESSON", conversation_log=ITEMS))
    desk.publish_raw(body("empty", conversation_log=[]))
    desk.publish_raw(body("silent", conversation_log=[{"speaker": "user", "text": ""}]))
    for conversation_id, status in (("lesson", "SKIPPED"), ("empty", "PROCESSED"), ("silent", "PROCESSED")):
        ended(worker, desk, conversation_id, status)
    for conversation_id in ("empty", "silent"):
        row = desk.event(conversation_id)
        assert row is not None
        assert row["friendship_score_change"] == 0
        assert memory_api.calls().of(conversation_id) == 0
    assert memory_api.calls().of("lesson") == 0
    finish(worker, desk)


API_FAULTS: list[tuple[str, dict[str, Any], str, bool]] = [
    ("error", {"status": 500}, "MEMORY_API_ERROR", False),
    ("error", {"status": 503, "retry_after": "90000"}, "MEMORY_API_ERROR", False),
    ("error", {"status": 429, "retry_after": "60"}, "MEMORY_API_ERROR", False),
    ("error", {"status": 408}, "MEMORY_API_ERROR", False),
    ("error", {"status": 401}, "MEMORY_API_ERROR", False),
    ("error", {"status": 404}, "MEMORY_API_ERROR", False),
    ("error", {"status": 418}, "MEMORY_API_ERROR", False),
    ("error", {"status": 204}, "MEMORY_API_ERROR", False),
    ("error", {"status": 400}, "MEMORY_API_REJECTED", True),
    ("error", {"status": 413}, "MEMORY_API_REJECTED", True),
    ("error", {"status": 415}, "MEMORY_API_REJECTED", True),
    ("error", {"status": 422}, "MEMORY_API_REJECTED", True),
    ("redirect", {}, "MEMORY_API_ERROR", False),
    ("reset", {}, "MEMORY_API_ERROR", False),
    ("garbage", {}, "MEMORY_API_BAD_RESPONSE", False),
    ("wrong_json", {"variant": "negative"}, "MEMORY_API_BAD_RESPONSE", False),
    ("wrong_json", {"variant": "string"}, "MEMORY_API_BAD_RESPONSE", False),
    ("wrong_json", {"variant": "billion"}, "MEMORY_API_BAD_RESPONSE", False),
    ("wrong_json", {"variant": "missing"}, "MEMORY_API_BAD_RESPONSE", False),
    ("huge", {"megabytes": 2048}, "MEMORY_API_BAD_RESPONSE", False),
    ("gzip_bomb", {"megabytes": 500}, "MEMORY_API_BAD_RESPONSE", False),
]


def test_each_fault_of_the_memory_api_ends_as_the_table_says(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Code, backoff of 6 to 7.2 hours or none, Retry-After when longer, log parked, message acknowledged.

    Without the breaker, which some of them open at once.
    """
    worker = start_worker(MAX_MESSAGE_MB="4", MEMORY_API_TIMEOUT_SECONDS="2", FRIENDSHIP_BREAKER="off")
    worker.wait_for("child_ready", times=2)
    for number, (mode, fields, _, _) in enumerate(API_FAULTS):
        memory_api.set_mode(mode, conversation_id=f"fault-{number}", **fields)
    desk.publish(make(f"fault-{number}", "user-1") for number in range(len(API_FAULTS)))
    worker.wait_until(lambda: desk.statuses()["FAILED"] == len(API_FAULTS), "all have failed")
    assert desk.depth() == 0
    for number, (mode, fields, code, permanent) in enumerate(API_FAULTS):
        (row,) = desk.query(
            "SELECT error_code, error_details, attempt_count, parked_log IS NOT NULL AS parked, "
            "extract(epoch FROM next_attempt_at - now())::float8 / 3600 AS hours "
            "FROM conversation_events WHERE conversation_id = %s",
            f"fault-{number}",
        )
        assert row["error_code"] == code, (mode, fields)
        assert row["parked"], (mode, fields)
        assert row["attempt_count"] == 1
        if permanent:
            assert row["hours"] is None, (mode, fields)
        elif fields.get("retry_after") == "90000":
            assert 24.9 < row["hours"] <= 25.0
        else:
            assert 5.9 < row["hours"] <= 7.2, (mode, fields)
    assert desk.scores() == {}
    finish(worker, desk)


def test_a_log_that_is_nowhere_is_unavailable(worker: Worker, desk: Desk) -> None:
    """LOG_UNAVAILABLE with backoff; a later message that carries the log may claim the event at once."""
    desk.publish_raw(body("nowhere"))
    worker.wait_until(lambda: desk.status("nowhere") == "FAILED", "it has failed")
    row = desk.event("nowhere")
    assert row is not None
    assert row["error_code"] == "LOG_UNAVAILABLE"
    assert row["next_attempt_at"] is not None
    desk.publish_raw(body("nowhere", conversation_log=ITEMS))
    worker.wait_until(lambda: desk.status("nowhere") == "PROCESSED", "the log has come")
    finish(worker, desk)


def test_endless_values_in_another_programs_row_end_like_any_other(worker: Worker, desk: Desk) -> None:
    """Neither a child nor the queue is held up: the score counts, and what cannot be used is said."""
    log = orjson.dumps(ITEMS).decode()
    insert = (
        "INSERT INTO conversation_events (conversation_id, user_id, agent_tag, bot_type, conversation_log_url,"
        " conversation_log) VALUES (%s, 'user-1', repeat('x', 20000000), repeat('x', 20000000),"
        " 's3://bucket/' || repeat('x', 20000000), %s::jsonb) RETURNING id"
    )
    desk.query(insert, "endless", log)
    desk.query(insert, "large", f'[{{"speaker": "user", "text": "{"x" * 5_000_000}"}}]')
    desk.publish_raw(body("endless"))
    desk.publish_raw(body("large"))
    ended(worker, desk, "endless", "PROCESSED")
    ended(worker, desk, "large", "FAILED")
    scored, failed = desk.event("endless"), desk.event("large")
    assert scored is not None
    assert scored["score_calculation_details"]["topic_left_out"] == "its name has more than 255 characters"
    assert failed is not None
    assert failed["error_code"] == "LOG_UNAVAILABLE"
    assert "the row: the log is too large: over 4194304 bytes" in failed["error_details"]
    finish(worker, desk)
