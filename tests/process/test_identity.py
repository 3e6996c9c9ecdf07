"""A row goes, or its number comes again, during its call: nothing reaches another child, nothing is lost."""

from collections.abc import Callable

import pytest

from consumer.sources import park
from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]


@pytest.fixture
def calling(start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn) -> Worker:
    """A worker with one child, whose call for the conversation `lan-1` of the user `lan` hangs until it is released."""
    memory_api.set_mode("hang")
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish([make("lan-1", "lan")])
    worker.wait_until(lambda: memory_api.calls().of("lan-1") == 1, "the call runs")
    return worker


def answer(memory_api: MemoryApiStandIn) -> None:
    memory_api.set_mode("instant")
    memory_api.release()


def test_a_conversation_whose_row_was_deleted_during_its_call_is_still_scored(
    calling: Worker, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """The message is claimed anew, and not acknowledged into nothing."""
    desk.query("DELETE FROM conversation_events")
    answer(memory_api)
    calling.wait_until(lambda: desk.status("lan-1") == "PROCESSED", "it is processed after all")
    assert calling.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(calling)


def test_no_words_are_parked_in_the_row_that_got_the_number_of_a_deleted_one(
    calling: Worker, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """A restore brought the number back for another child's conversation, which waits for its own log."""
    (number,) = [row["id"] for row in desk.query("DELETE FROM conversation_events RETURNING id")]
    desk.query(
        "INSERT INTO conversation_events (id, conversation_id, user_id) VALUES (%s, 'minh-1', 'minh')", number
    )
    answer(memory_api)
    calling.wait_until(lambda: desk.status("lan-1") == "PROCESSED", "it is processed in a row of its own")
    minh = desk.event("minh-1")
    assert minh is not None
    assert (minh["parked_log"], minh["status"]) == (None, "PENDING")
    assert calling.stop() == 0
    assert desk.scores() == desk.expected_scores()


def test_a_row_that_gets_another_number_during_its_call_is_still_its_holder_s(
    calling: Worker, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """A delivery keeps the name under which it claims."""
    desk.query("UPDATE conversation_events SET id = id + 1000")
    answer(memory_api)
    calling.wait_until(lambda: desk.status("lan-1") == "PROCESSED", "it is processed")
    assert calling.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(calling)


def test_a_parked_message_of_another_conversation_is_not_sent_to_the_memory_api(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """A row that holds another child's words fails with a way back, and they go nowhere."""
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, parked_log) VALUES ('minh-1', 'minh', %s)",
        park(make("lan-1", "lan").body),
    )
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish_raw(b'{"conversation_id": "minh-1", "user_id": "minh"}')
    worker.wait_until(lambda: desk.status("minh-1") == "FAILED", "it has failed")
    minh = desk.event("minh-1")
    assert minh is not None
    assert (minh["error_code"], minh["next_attempt_at"] is None) == ("LOG_UNAVAILABLE", False)
    assert memory_api.calls().of("minh-1") == 0
    assert desk.scores() == {}
    assert worker.stop() == 0


def test_new_conversations_are_scored_after_both_older_tables_were_truncated_with_their_numbers(
    start_worker: Start, desk: Desk
) -> None:
    """The ledger that stayed counts conversations, not numbers: nobody gets another child's change."""
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish([make("lan-1", "lan"), make("lan-2", "lan")])
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 2, "two are processed")
    desk.query("TRUNCATE conversation_events, friendship_status RESTART IDENTITY")
    desk.published.clear()
    desk.publish([make("minh-1", "minh", size_bytes=5000), make("minh-2", "minh")])
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 2, "two more are processed")
    assert worker.stop() == 0
    desk.assert_all_scored()
    assert "score_written_by_another" in {finding.name for finding in desk.findings()}


def test_a_healthy_conversation_with_a_poison_s_number_is_processed(start_worker: Start, desk: Desk) -> None:
    """Deaths belong to the conversation that killed, not to the number that comes again."""
    for epoch in (1, 2):
        desk.query(
            "INSERT INTO child_deaths (event_id, claim_epoch, conversation_id, claimed_by, cause, blamed, died_at,"
            " host, slot, pid, rss_bytes) VALUES (1, %s, 'poison', %s, 'crashed', true, now(), 'h', 0, 1, 1)",
            epoch,
            f"holder-{epoch}",
        )
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish([make("lan-1", "lan")])
    worker.wait_until(lambda: desk.status("lan-1") == "PROCESSED", "it is processed")
    event = desk.event("lan-1")
    assert event is not None
    assert event["id"] == 1
    assert worker.stop() == 0
    desk.assert_all_scored()


def test_an_id_that_cannot_be_kept_as_it_came_is_set_aside(start_worker: Start, desk: Desk) -> None:
    """Two ids that differ in half a character would become one conversation."""
    desk.query("INSERT INTO conversation_events (conversation_id, user_id) VALUES ('talk-\ufffd', 'minh')")
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    for half in ("d800", "dc01"):
        desk.publish_raw(
            b'{"conversation_id": "talk-\\u%s", "user_id": "lan", "conversation_log": []}' % half.encode()
        )
        desk.publish_raw(
            b'{"conversation_id": "c-%s", "user_id": "l\\u%s", "conversation_log": []}'
            % (half.encode(), half.encode())
        )
    worker.wait_for("message_dead_lettered", times=4)
    assert desk.statuses() == {"PENDING": 1}, "another child's row has failed for it"
    assert {headers["reason"] for headers, _ in desk.take_dead()} == {"INVALID_MESSAGE"}
    assert worker.stop() == 0
