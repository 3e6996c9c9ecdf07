"""PostgreSQL and RabbitMQ go away in the middle of the work and come back."""

import signal
from collections.abc import Callable

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]


def test_the_database_restarts_in_the_middle(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, postgres: Postgres
) -> None:
    """Results of finished calls are kept and applied; nothing fails, no attempt is burnt."""
    memory_api.set_mode("delay", seconds=0.5)
    worker = start_worker(FRIENDSHIP_CHILDREN="3")
    worker.wait_for("child_ready", times=3)
    desk.publish_many(12)
    worker.wait_until(lambda: desk.statuses()["PROCESSING"] == 3, "three are being worked on")
    desk.close()
    postgres.stop("immediate")
    worker.wait_for("waiting", on="database")
    postgres.start_again()
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 12, "all are processed")
    assert {row["attempt_count"] for row in desk.query("SELECT attempt_count FROM conversation_events")} == {
        1
    }
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_the_broker_restarts_in_the_middle(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, rabbitmq: RabbitMQ
) -> None:
    """The calls under way are finished and scored once; their redelivered copies are dropped."""
    memory_api.set_mode("delay", seconds=0.5)
    worker = start_worker(FRIENDSHIP_CHILDREN="3")
    worker.wait_for("child_ready", times=3)
    desk.publish_many(12)
    worker.wait_until(lambda: desk.statuses()["PROCESSING"] == 3, "three are being worked on")
    rabbitmq.stop()
    worker.wait_for("waiting", on="broker")
    rabbitmq.start_again()
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 12, "all are processed")
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_queue_deleted_under_the_consumers_is_declared_again(start_worker: Start, desk: Desk) -> None:
    """The broker cancels them without an error; they come back by themselves."""
    worker = start_worker()
    worker.wait_for("child_ready", times=2)
    desk.delete_queue()
    worker.wait_for("broker_away", times=2)
    desk.publish([make("after", "user-1")])
    worker.wait_until(lambda: desk.status("after") == "PROCESSED", "it is processed")
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)


def test_a_bad_message_blocks_no_child_while_the_dead_queue_cannot_be_written(
    start_worker: Start, desk: Desk, rabbitmq: RabbitMQ
) -> None:
    """Under a memory alarm the broker takes no publishes: the body goes into a table, and the good one behind it on."""
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    assert worker.stop() == 0
    desk.publish_raw(b"no message")
    desk.publish([make("good", "user-1")])
    rabbitmq.rabbitmqctl("set_vm_memory_high_watermark", "0.00000001")
    try:
        heir = start_worker(FRIENDSHIP_CHILDREN="1")
        heir.wait_until(lambda: desk.status("good") == "PROCESSED", "the good one is processed")
        assert heir.logged("child_exited") == []
        (kept,) = desk.query("SELECT body, reason FROM rejected_messages")
        assert (bytes(kept["body"]), kept["reason"]) == (b"no message", "INVALID_MESSAGE: not JSON")
        assert heir.stop() == 0
    finally:
        rabbitmq.rabbitmqctl("set_vm_memory_high_watermark", "0.6")
    desk.assert_clean_ending(heir)


def test_a_result_outlives_a_stop_that_comes_while_the_database_is_away(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, postgres: Postgres
) -> None:
    """The call is not made again: the child writes its answer when the database is back, and then goes."""
    memory_api.set_mode("hang")
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish([make("answered", "user-1")])
    worker.wait_until(lambda: memory_api.calls().in_flight == 1, "the call is under way")
    desk.close()
    postgres.stop("immediate")
    memory_api.release()
    worker.wait_for("waiting", on="database")
    worker.send(signal.SIGTERM)
    worker.wait_for("child_draining")
    postgres.start_again()
    assert worker.wait() == 0
    assert worker.logged("child_killed") == []
    assert memory_api.calls().of("answered") == 1
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
