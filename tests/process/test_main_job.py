"""The main job: what is queued is scored, once, by the real program on real servers."""

import signal
from collections.abc import Callable

import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]


def test_every_conversation_is_scored_once_and_each_user_has_the_sum(start_worker: Start, desk: Desk) -> None:
    """500 conversations of 30 KB and 40 of 3 MB, half of these with emoji, and a topic for each."""
    worker = start_worker(FRIENDSHIP_CHILDREN="3")
    worker.wait_for("child_ready", times=3)
    desk.publish_many(500, size_bytes=30_000, users=7)
    desk.publish(make(f"large-{n}", "user-large", size_bytes=3_000_000, emoji=bool(n % 2)) for n in range(40))
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 540, "all are processed", limit_s=120)
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
    topics = desk.query("SELECT user_id, topic_metrics, friendship_score FROM friendship_status")
    for row in topics:
        assert sum(topic["score"] for topic in row["topic_metrics"].values()) == pytest.approx(
            row["friendship_score"]
        )


def test_a_message_that_comes_ten_times_counts_once(start_worker: Start, desk: Desk) -> None:
    """Duplicates are acknowledged and change nothing, also when they race."""
    copies = [make("again", "user-1", size_bytes=2_000)] * 10
    worker = start_worker(FRIENDSHIP_CHILDREN="3")
    worker.wait_for("child_ready", times=3)
    desk.publish(copies)
    worker.wait_until(
        lambda: len(worker.logged("message_processed")) + len(worker.logged("message_left")) == 10,
        "all ten deliveries have ended",
    )
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_row_inserted_by_another_program_is_scored_from_its_own_log(
    start_worker: Start, desk: Desk
) -> None:
    """The intake writes row and log, and publishes ids only."""
    conversation = make("from-row", "user-1")
    desk.published["from-row"] = conversation
    worker = start_worker()
    worker.wait_for("child_ready", times=2)
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, agent_tag, conversation_log) "
        "SELECT 'from-row', 'user-1', %s, %s::jsonb -> 'conversation_log'",
        conversation.agent_tag,
        conversation.body.decode(),
    )
    desk.publish_raw(b'{"conversation_id": "from-row", "user_id": "user-1"}')
    worker.wait_until(lambda: desk.status("from-row") == "PROCESSED", "the row is processed")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_children_are_recycled_over_the_budget_and_the_work_goes_on(start_worker: Start, desk: Desk) -> None:
    """A budget below an idle child makes every message a reason to be replaced, one child at a time."""
    worker = start_worker(
        "--allow-overcommit", FRIENDSHIP_RSS_MB="20", FRIENDSHIP_RSS_HARD_MB="200", MAX_MESSAGE_MB="32"
    )
    worker.wait_for("child_ready", times=2)
    desk.publish(make(f"large-{n}", "user-1", size_bytes=3_000_000, emoji=True) for n in range(12))
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 12, "all are processed")
    worker.wait_for("child_draining", reason="rss_soft")
    worker.wait_for("child_exited", reason="rss_soft")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_stop_in_the_middle_finishes_what_is_in_hand(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """SIGTERM during calls: they are finished and scored, and the rest stays in the queue."""
    memory_api.set_mode("delay", seconds=1.0)
    worker = start_worker()
    worker.wait_for("child_ready", times=2)
    desk.publish_many(5)
    worker.wait_until(lambda: memory_api.calls().in_flight == 2, "two calls run")
    assert worker.stop() == 0
    done = desk.statuses()["PROCESSED"]
    assert done >= 2
    desk.assert_clean_ending(worker, in_queue=5 - done)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
def test_after_a_sudden_end_the_next_supervisor_does_the_rest(
    start_worker: Start, desk: Desk, memory_api: object, number: signal.Signals
) -> None:
    """QUIT and SIGKILL take the children along; their messages go back and are scored once by the next."""
    memory_api.set_mode("delay", seconds=0.5)  # type: ignore[attr-defined]
    worker = start_worker()
    worker.wait_for("child_ready", times=2)
    desk.publish_many(8)
    worker.wait_until(lambda: desk.statuses()["PROCESSING"] == 2, "two are being worked on")
    code = worker.stop(number)
    assert code == (0 if number is signal.SIGQUIT else -signal.SIGKILL)
    worker.wait_until(lambda: not worker.left_behind(), "the children are gone", limit_s=10)
    heir = start_worker()
    heir.wait_until(lambda: desk.statuses()["PROCESSED"] == 8, "all are processed")
    assert heir.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(heir)


def test_supervisors_killed_one_after_the_other_hold_nothing_up(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Nobody is left to say how the holders of a message died; that their processes are gone can be seen."""
    memory_api.set_mode("hang")
    desk.publish([make("unlucky", "user-1")])

    def kill_one(number: int) -> None:
        worker = start_worker(FRIENDSHIP_CHILDREN="1")
        worker.wait_until(lambda: memory_api.calls().of("unlucky") == number, "it is called for")
        worker.stop(signal.SIGKILL)
        worker.wait_until(lambda: not worker.left_behind(), "the child is gone", limit_s=10)

    for number in range(1, 4):
        kill_one(number)
    memory_api.set_mode("instant")
    heir = start_worker()
    heir.wait_until(lambda: desk.statuses()["PROCESSED"] == 1, "it is processed")
    assert heir.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(heir)


def test_it_waits_for_absent_servers_and_says_so(start_worker: Start, desk: Desk, postgres: object) -> None:
    """With the database away at start nothing fails: it waits, and begins when the database is there."""
    desk.close()
    postgres.stop()  # type: ignore[attr-defined]
    worker = start_worker()
    worker.wait_for("waiting", on="database")
    postgres.start_again()  # type: ignore[attr-defined]
    worker.wait_for("child_ready", times=2)
    assert worker.process.poll() is None
    assert worker.logged("boot_failed") == []
    assert worker.stop() == 0
