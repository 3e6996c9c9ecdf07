"""Large messages on the real program: taken where there is room, refused unread where there is none."""

import os
from collections.abc import Callable

from scripts.conversations import make
from scripts.faults.injected import LEAK
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Injected, Worker

MB = 2**20


def peaks(worker: Worker) -> list[int]:
    """Give the highest size of each child that has ended, as its supervisor told it last."""
    return [line["rss_mb"] for line in worker.logged("child_exited")]


def test_sixty_megabytes_with_emoji_fit_three_hundred(
    start_worker: Callable[..., Worker], desk: Desk
) -> None:
    """It is processed, not refused; what it cost is on its row."""
    worker = start_worker("--rss-mb=300", FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish([make("large", "user-1", size_bytes=60 * MB, emoji=True)])
    worker.wait_until(lambda: desk.status("large") == "PROCESSED", "it is processed")
    event = desk.event("large")
    assert event is not None
    assert event["body_bytes"] > 59 * MB
    assert event["body_bytes"] < event["peak_rss_bytes"] <= 300 * MB
    assert event["processing_ms"] > 0
    assert worker.logged("child_killed") == []
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_body_that_no_child_could_hold_is_refused_unread(
    start_worker: Callable[..., Worker], desk: Desk
) -> None:
    """100 MB for a child of 100 MB: it goes through a file into the dead queue, and no child grows by it."""
    options = ("--rss-mb=100", "--max-message-mb=20", "--allow-overcommit")
    worker = start_worker(*options, FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    body = b'{"conversation_id":"giant","x":"' + b"x" * 100 * MB + b'"}'
    desk.publish_raw(body, message_id="giant")
    refused = worker.wait_for("message_dead_lettered", code="MESSAGE_TOO_LARGE")
    assert (refused["conversation_id"], refused["body_bytes"]) == ("giant", len(body))
    assert [copy for _, copy in desk.take_dead()] == [body]
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    assert all(peak < 100 for peak in peaks(worker))
    desk.assert_clean_ending(worker)


def test_a_body_within_the_limit_but_not_the_budget_is_one_of_memory(
    start_worker: Callable[..., Worker], desk: Desk
) -> None:
    """Only an overcommitted supervisor can meet it: no child is lost, and the reason is said."""
    options = ("--rss-mb=100", "--max-message-mb=64", "--allow-overcommit")
    worker = start_worker(*options, FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish_raw(make("heavy", "user-1", size_bytes=50 * MB).body, message_id="heavy")
    worker.wait_for("message_dead_lettered", code="MEMORY_BUDGET_EXCEEDED")
    assert worker.logged("child_exited") == []
    assert len(desk.take_dead()) == 1
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


def test_a_grown_child_leaves_a_large_message_to_a_fresh_one(
    start_injected: Callable[..., Injected], desk: Desk
) -> None:
    """One that leaked 60 MB has no room for twice 30 within 125: it is replaced first, and nobody dies."""
    options = ("--rss-mb=120", "--rss-hard-mb=150", "--allow-overcommit")
    worker = start_injected(*options, FRIENDSHIP_CHILDREN="1", **{LEAK: "60"})
    worker.wait_for("child_ready")
    desk.publish([make("leak", "user-1", size_bytes=2_000)])
    worker.wait_until(lambda: desk.status("leak") == "PROCESSED", "it has grown")
    desk.publish([make("large", "user-1", size_bytes=20 * MB)])
    worker.wait_for("no_room")
    worker.wait_for("child_draining", reason="rss_soft")
    worker.wait_until(lambda: desk.status("large") == "PROCESSED", "a fresh one takes it")
    assert worker.logged("child_killed") == []
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_garbage_and_long_values_cost_no_child(start_worker: Callable[..., Worker], desk: Desk) -> None:
    """Before its claim nothing would count a message's victims: it is refused by the first that reads it."""
    options = ("--rss-mb=100", "--max-message-mb=36")
    worker = start_worker(*options, FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish_raw(os.urandom(35 * MB))
    long_name = '{"conversation_id":"c","user_id":"u","bot_name":"' + "\N{GRINNING FACE}" * (8 * MB) + '"}'
    desk.publish_raw(long_name.encode())
    worker.wait_for("message_dead_lettered", times=2)
    assert len(desk.take_dead()) == 2
    half = make("half", "user-1", size_bytes=35 * MB).body.replace(b'"text":"', rb'"text":"\ud83d', 1)
    desk.publish_raw(half)
    worker.wait_until(lambda: desk.status("half") == "PROCESSED", "it is mended in place")
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0


def test_what_a_user_has_grown_to_costs_no_child(start_worker: Callable[..., Worker], desk: Desk) -> None:
    """19 MB of topics stay in the database: the next message of that user is scored by a child of usual size."""
    desk.query(
        "INSERT INTO friendship_status (user_id, topic_metrics) SELECT 'user-1', jsonb_object_agg("
        "repeat('x', 200) || i, jsonb_build_object('score', i, 'turns', i, 'last_date', '2026-01-01T00:00:00Z'))"
        " FROM generate_series(1, 70000) AS i RETURNING user_id"
    )
    worker = start_worker("--rss-mb=100", "--max-message-mb=20", "--allow-overcommit")
    worker.wait_for("child_ready", times=2)
    desk.publish([make("next", "user-1")])
    worker.wait_until(lambda: desk.status("next") in {"PROCESSED", "FAILED"}, "it has an outcome")
    assert (desk.status("next"), worker.logged("child_exited")) == ("PROCESSED", [])
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)
