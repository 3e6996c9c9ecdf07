"""The doors of a log, on the real program: message, S3, gzipped in S3, row. Each gives the same score, in the end."""

import gzip
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import orjson
import pytest

from scripts.conversations import make
from scripts.servers.llm import LlmStandIn
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.memory_modes import facts_for
from tests.fixtures.desk import Desk
from tests.fixtures.raw_server import RawServer
from tests.fixtures.s3 import S3Server
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]

MB = 2**20
FACTS = 3
TOPIC = "dinosaur"
SAMPLE = make("sample", "nobody", messages=40, emoji=True)
LOG: bytes = orjson.dumps(orjson.loads(SAMPLE.body)["conversation_log"])
CHANGE = 0.5 * SAMPLE.turns + 5 * FACTS


def named(door: str) -> str:
    """Give an id in which the Memory API finds as many facts as in the others."""
    return next(name for n in count() if facts_for(name := f"{door}-{n}") == FACTS)


def message(conversation_id: str, **more: object) -> bytes:
    ids = {"conversation_id": conversation_id, "user_id": f"user of {conversation_id}", "agent_tag": TOPIC}
    return orjson.dumps(ids | more)


def insert(desk: Desk, conversation_id: str, log: bytes) -> None:
    """Do as another program does that keeps the log in the event's row."""
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, agent_tag, conversation_log)"
        " VALUES (%s, %s, %s, %s::jsonb)",
        conversation_id,
        f"user of {conversation_id}",
        TOPIC,
        log.decode(),
    )


def make_due(desk: Desk) -> None:
    desk.query("UPDATE conversation_events SET next_attempt_at = now() WHERE status = 'FAILED'")


def event(desk: Desk, conversation_id: str) -> dict[str, Any]:
    found = desk.event(conversation_id)
    assert found is not None
    return found


def ready(start_worker: Start, environment: Mapping[str, str]) -> Worker:
    """Start the program, and wait until there is a queue."""
    worker = start_worker(**environment)
    worker.wait_for("child_ready")
    return worker


def ends(desk: Desk, worker: Worker, names: Mapping[str, str], status: str) -> None:
    worker.wait_until(
        lambda: all(desk.status(name) == status for name in names.values()), f"all are {status}"
    )


def assert_same_scores(desk: Desk, names: Mapping[str, str]) -> None:
    """Hold every event, and every user's topic, to the one conversation that they all had."""
    topics = {
        row["user_id"]: row["topic_metrics"][TOPIC] for row in desk.query("SELECT * FROM friendship_status")
    }
    for name in names.values():
        assert event(desk, name)["friendship_score_change"] == pytest.approx(CHANGE, abs=1e-6), name
        topic = topics[f"user of {name}"]
        assert topic["score"] == pytest.approx(CHANGE, abs=1e-6), name
        assert topic["turns"] == SAMPLE.turns, name


def test_each_door_fails_waits_and_then_gives_the_same_score(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, s3: S3Server
) -> None:
    """First the Memory API is down; the retry pass publishes ids only, when they are due and not before."""
    names = {door: named(door) for door in ("message", "s3", "gzip", "row")}
    insert(desk, names["row"], LOG)
    bodies = [
        message(names["message"], conversation_log=orjson.Fragment(LOG)),
        message(names["s3"], conversation_log_url=s3.put("day/s3.json", LOG)),
        message(names["gzip"], conversation_log_url=s3.put("day/gzip.json.gz", gzip.compress(LOG))),
        message(names["row"]),
    ]
    memory_api.set_mode("error", status=503)
    worker = ready(start_worker, s3.environment())
    for body in bodies:
        desk.publish_raw(body)
    ends(desk, worker, names, "FAILED")
    for name in names.values():
        assert event(desk, name)["error_code"] == "MEMORY_API_ERROR"
    assert desk.retry_pass().published == 0, "none is due"

    memory_api.reset()
    make_due(desk)
    assert desk.retry_pass().published == len(names)
    ends(desk, worker, names, "PROCESSED")
    assert_same_scores(desk, names)
    sources = {
        door: event(desk, name)["score_calculation_details"]["log_source"] for door, name in names.items()
    }
    # What a message carried was parked in its row when it failed
    assert sources == {"message": "row", "s3": "s3", "gzip": "s3", "row": "row"}
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


def test_a_log_that_is_late_is_found_by_the_retry_pass(start_worker: Start, desk: Desk, s3: S3Server) -> None:
    """Objects that come after their messages, a row that gets its log later, and one whose URL leads nowhere."""
    names = {door: named(f"late-{door}") for door in ("s3", "gzip", "row", "nowhere")}
    worker = ready(start_worker, s3.environment())
    for door, key in (("s3", "late.json"), ("gzip", "late.json.gz"), ("nowhere", "nowhere.json")):
        desk.publish_raw(message(names[door], conversation_log_url=f"s3://logs/{key}"))
    desk.publish_raw(message(names["row"]))
    ends(desk, worker, names, "FAILED")
    for door, name in names.items():
        assert event(desk, name)["error_code"] == "LOG_UNAVAILABLE"
        assert ("NoSuchKey" in event(desk, name)["error_details"]) == (door != "row")

    s3.put("late.json", LOG)
    s3.put("late.json.gz", gzip.compress(LOG))
    for door in ("row", "nowhere"):
        desk.query(
            "UPDATE conversation_events SET conversation_log = %s::jsonb WHERE conversation_id = %s",
            LOG.decode(),
            names[door],
        )
    make_due(desk)
    assert desk.retry_pass().published == len(names)
    ends(desk, worker, names, "PROCESSED")
    assert_same_scores(desk, names)
    told = worker.wait_for("log_taken_from_row")
    assert told["conversation_id"] == names["nowhere"]
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


def test_what_s3_gives_that_is_no_log_fails_with_a_way_back(
    start_worker: Start, desk: Desk, s3: S3Server
) -> None:
    """Each is LOG_UNAVAILABLE and tried again later, acknowledged, and nothing is set aside; the child lives on."""
    zipped = gzip.compress(LOG)
    s3.make("others")
    urls = {
        "missing": "s3://logs/missing.json",
        "forbidden": s3.put("log.json", LOG, bucket="others"),
        "sideways": "s3://logs/../others/log.json",
        "truncated": s3.put("truncated.json.gz", zipped[: len(zipped) // 2]),
        "damaged": s3.put("damaged.json.gz", zipped[:40] + b"\xff" * 40 + zipped[80:]),
        "bomb": s3.put("bomb.json.gz", gzip.compress(b"[" + b" " * 200 * MB + b"]")),
        "large": s3.put("large.json", b"[" + b" " * 9 * MB + b"]"),
    }
    worker = ready(start_worker, s3.environment() | {"FRIENDSHIP_CHILDREN": "1", "MAX_MESSAGE_MB": "8"})
    for name, url in urls.items():
        desk.publish_raw(message(name, conversation_log_url=url))
    ends(desk, worker, {name: name for name in urls}, "FAILED")
    for name in urls:
        row = event(desk, name)
        assert (row["error_code"], row["attempt_count"]) == ("LOG_UNAVAILABLE", 1), name
        assert row["next_attempt_at"] is not None, name
        assert row["peak_rss_bytes"] is None or row["peak_rss_bytes"] < 100 * MB, name
    assert worker.logged("child_exited") == []
    assert desk.take_dead() == []
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


def test_a_server_that_drips_costs_a_fetch_its_deadline(
    start_worker: Start, desk: Desk, s3: S3Server
) -> None:
    """Dripping headers would hold a client for ever that only limits each read."""
    with RawServer(lambda n: b"HTTP/1.1 200 OK\r\nX-Slow: " if n == 0 else b"x", paced=True) as dripping:
        drips = {"S3_ENDPOINT_URL": dripping.url, "LOG_FETCH_TIMEOUT_SECONDS": "0.5"}
        worker = ready(start_worker, s3.environment() | drips)
        desk.publish_raw(message("slow", conversation_log_url="s3://logs/slow.json"))
        worker.wait_until(lambda: desk.status("slow") == "FAILED", "the time is over")
        assert worker.stop() == 0
    row = event(desk, "slow")
    assert row["error_code"] == "LOG_UNAVAILABLE"
    assert "time limit" in row["error_details"]
    assert row["processing_ms"] >= 500
    desk.assert_clean_ending(worker)


def test_a_stop_does_not_wait_for_a_fetch(start_worker: Start, desk: Desk, s3: S3Server) -> None:
    """Nothing is lost by it: the message goes back, the attempt is given back, and the next child fetches again."""
    with RawServer(lambda n: b"HTTP/1.1 200 OK\r\nX-Slow: " if n == 0 else b"x", paced=True) as dripping:
        endless = {"S3_ENDPOINT_URL": dripping.url, "LOG_FETCH_TIMEOUT_SECONDS": "3000"}
        worker = ready(start_worker, s3.environment() | endless)
        desk.publish_raw(message("slow", conversation_log_url="s3://logs/slow.json"))
        worker.wait_until(lambda: dripping.asked, "it is fetched")
        assert worker.stop() == 0
    row = event(desk, "slow")
    assert (row["status"], row["attempt_count"]) == ("PENDING", 0)
    desk.assert_clean_ending(worker, in_queue=1)


def test_an_s3_that_is_away_does_not_empty_the_queue(start_worker: Start, desk: Desk, s3: S3Server) -> None:
    """A refused connection takes a millisecond: a child slows down after some, and the rest waits in the queue."""
    away = {"S3_ENDPOINT_URL": "http://127.0.0.1:1", "FRIENDSHIP_CHILDREN": "1"}
    worker = ready(start_worker, s3.environment() | away)
    for number in range(100):
        desk.publish_raw(message(f"c-{number}", conversation_log_url="s3://logs/any.json"))
    worker.wait_for("message_failed", times=4, code="LOG_UNAVAILABLE")
    worker.wait_until(lambda: desk.depth() > 0, "the child has let go of the queue")
    assert worker.stop() == 0
    assert desk.statuses()["FAILED"] < 20
    desk.assert_clean_ending(worker, in_queue=desk.depth())


def test_sixty_megabytes_in_s3_fit_three_hundred(start_worker: Start, desk: Desk, s3: S3Server) -> None:
    """As in a message, gzipped or not: processed, in a child that is not replaced."""
    large = make("large", "user-1", size_bytes=60 * MB, emoji=True)
    log = large.body[large.body.index(b"[") : -1]
    zipped = gzip.compress(log, 1)
    worker = ready(start_worker, s3.environment() | {"FRIENDSHIP_CHILDREN": "1", "FRIENDSHIP_RSS_MB": "300"})
    desk.publish_raw(message("plain", conversation_log_url=s3.put("plain.json", log)))
    desk.publish_raw(message("zipped", conversation_log_url=s3.put("zipped.json.gz", zipped)))
    ends(desk, worker, {"plain": "plain", "zipped": "zipped"}, "PROCESSED")
    for name in ("plain", "zipped"):
        row = event(desk, name)
        assert row["score_calculation_details"]["turns"] == large.turns
        assert row["body_bytes"] == len(log)
        assert len(log) < row["peak_rss_bytes"] <= 300 * MB
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


@pytest.mark.slow
@pytest.mark.parametrize("door", ["message", "s3"])
def test_sixty_megabytes_of_short_items_fit_with_the_llm_on(
    start_worker: Start, desk: Desk, s3: S3Server, llm: LlmStandIn, door: str
) -> None:
    """Nearly two million of them: their index is as large as the log, and is never there twice."""
    robot, child = b'{"speaker":"pika","text":"aaaa"}', b'{"speaker":"user","text":"bbbb"}'
    pairs = 60 * MB // (len(robot) + len(child) + 2)
    log = b"[" + b",".join([robot, child] * pairs) + b"]"
    small = {"FRIENDSHIP_CHILDREN": "1", "FRIENDSHIP_RSS_MB": "300"}
    worker = ready(start_worker, s3.environment() | llm.environment() | small)
    kept: dict[str, object] = (
        {"conversation_log": orjson.Fragment(log)}
        if door == "message"
        else {"conversation_log_url": s3.put("log.json", log)}
    )
    desk.publish_raw(message("short", **kept))
    worker.wait_until(lambda: desk.status("short") in {"PROCESSED", "FAILED"}, "it has ended", limit_s=120)
    row = event(desk, "short")
    assert row["status"] == "PROCESSED"
    assert row["score_calculation_details"]["llm"] == "used"
    assert row["peak_rss_bytes"] <= 300 * MB
    assert worker.logged("child_killed") == []


def test_without_the_name_of_a_bucket_nothing_is_asked_of_s3(
    start_worker: Start, desk: Desk, s3: S3Server
) -> None:
    """A message may name any URL; what is not allowed is not in use."""
    url = s3.put("log.json", LOG)
    worker = ready(start_worker, {"S3_ENDPOINT_URL": s3.url})
    desk.publish_raw(message("closed", conversation_log_url=url))
    worker.wait_until(lambda: desk.status("closed") == "FAILED", "it failed")
    row = event(desk, "closed")
    assert row["error_code"] == "LOG_UNAVAILABLE"
    assert "S3_ALLOWED_BUCKETS" in row["error_details"]
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)
