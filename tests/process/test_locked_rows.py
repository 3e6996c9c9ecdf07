"""Another session keeps rows, or a whole table, locked: who waits, for how long, and who is named."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.commands import Command
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]


@pytest.fixture
def stranger(migrated_database_url: str) -> Iterator[psycopg.Connection]:
    """Another program's session, which forgets to commit."""
    with psycopg.connect(migrated_database_url, application_name="forgetful") as connection:
        yield connection


def started(start_worker: Start) -> Worker:
    worker = start_worker(FRIENDSHIP_CHILDREN="2")
    worker.wait_for("child_ready", times=2)
    return worker


def test_one_user_s_locked_row_does_not_hold_up_the_others(
    start_worker: Start, desk: Desk, stranger: psycopg.Connection
) -> None:
    """Her messages are put off, log and all, as if they had not been tried; the session is named."""
    desk.query("INSERT INTO friendship_status (user_id) VALUES ('lan')")
    stranger.execute("SELECT FROM friendship_status WHERE user_id = 'lan' FOR UPDATE")
    worker = started(start_worker)
    desk.publish([make(f"lan-{number}", "lan") for number in range(3)])
    desk.publish([make(f"minh-{number}", "minh") for number in range(20)])
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 20, "all others are processed")
    worker.wait_for("message_put_off", times=3)
    reasons = {line["reason"] for line in worker.logged("message_put_off")}
    assert all(
        f"session {stranger.info.backend_pid} (forgetful, idle in transaction" in why for why in reasons
    )
    for row in desk.query(
        "SELECT *, next_attempt_at < now() + interval '3 minutes' AS soon FROM conversation_events"
        " WHERE user_id = 'lan'"
    ):
        assert (row["status"], row["attempt_count"], row["soon"]) == ("PENDING", 0, True)
        assert row["parked_log"] is not None
    stranger.rollback()
    desk.query("UPDATE conversation_events SET next_attempt_at = now() WHERE status = 'PENDING'")
    desk.retry_pass()
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 23, "all are processed")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_backlog_of_the_locked_user_costs_a_call_a_child(
    start_worker: Start, desk: Desk, stranger: psycopg.Connection, memory_api: MemoryApiStandIn
) -> None:
    """Who has met the lock looks for it before the next call."""
    desk.query("INSERT INTO friendship_status (user_id) VALUES ('lan')")
    stranger.execute("SELECT FROM friendship_status WHERE user_id = 'lan' FOR UPDATE")
    worker = started(start_worker)
    desk.publish([make(f"lan-{number}", "lan") for number in range(30)])
    desk.publish([make("minh-1", "minh")])
    worker.wait_until(lambda: desk.status("minh-1") == "PROCESSED", "the other is processed")
    assert sum(memory_api.calls().of(f"lan-{number}") for number in range(30)) == 2
    stranger.rollback()
    assert worker.stop() == 0


def test_a_table_that_is_locked_for_longer_than_the_deadline_costs_no_child(
    start_worker: Start, desk: Desk, stranger: psycopg.Connection
) -> None:
    """CREATE INDEX takes this lock: the time in which nobody can write is no message's."""
    worker = start_worker(
        FRIENDSHIP_CHILDREN="2", MEMORY_API_TIMEOUT_SECONDS="1", FRIENDSHIP_MESSAGE_DEADLINE="16"
    )
    worker.wait_for("child_ready", times=2)
    stranger.execute("LOCK TABLE conversation_events IN SHARE MODE")
    desk.publish_many(3)
    worker.wait_until(lambda: old(desk, stranger, 22), "it lasts longer than the deadline")
    assert worker.logged("child_killed") == []
    stranger.rollback()
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 3, "all are processed")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def old(desk: Desk, stranger: psycopg.Connection, seconds: int) -> bool:
    """Say whether the stranger's transaction has lasted for so long."""
    return bool(
        desk.query(
            "SELECT pid FROM pg_stat_activity WHERE pid = %s"
            " AND xact_start < clock_timestamp() - %s * interval '1 s'",
            stranger.info.backend_pid,
            seconds,
        )
    )


def test_a_locked_event_does_not_hold_up_the_others(
    start_worker: Start, desk: Desk, stranger: psycopg.Connection
) -> None:
    """Its message goes behind the others, as nothing can be written into its row."""
    desk.query("INSERT INTO conversation_events (conversation_id, user_id) VALUES ('lan-1', 'lan')")
    stranger.execute("SELECT FROM conversation_events FOR UPDATE")
    worker = started(start_worker)
    desk.publish([make("lan-1", "lan")])
    desk.publish([make(f"minh-{number}", "minh") for number in range(20)])
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 20, "all others are processed")
    worker.wait_for("message_put_off", times=2)
    stranger.rollback()
    worker.wait_until(lambda: desk.status("lan-1") == "PROCESSED", "it is processed, too")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_locked_table_is_waited_for_and_nothing_is_put_off(
    start_worker: Start, desk: Desk, stranger: psycopg.Connection
) -> None:
    """Nobody could go on, so nobody gives up; and it is not told that the database is away."""
    worker = started(start_worker)
    stranger.execute("LOCK TABLE friendship_status IN SHARE MODE")
    desk.publish([make("lan-1", "lan")])
    worker.wait_for("waiting", on="database")
    reason = worker.logged("waiting", on="database")[0]["reason"]
    assert f"a table is locked by session {stranger.info.backend_pid} (forgetful" in reason
    stranger.rollback()
    worker.wait_until(lambda: desk.status("lan-1") == "PROCESSED", "it is processed")
    assert worker.logged("message_put_off") == []
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


@pytest.mark.parametrize(
    ("lock", "level", "says"),
    [
        ("LOCK TABLE conversation_events", "fail", "a table is locked"),
        ("INSERT INTO friendship_status (user_id) VALUES ('lan')", "warn", "put off"),
    ],
)
def test_check_names_the_session_that_is_in_the_way(  # noqa: PLR0917
    command: Command, desk: Desk, stranger: psycopg.Connection, lock: str, level: str, says: str
) -> None:
    """And how to end it, not to start PostgreSQL."""
    stranger.execute(lock.encode())
    pid = stranger.info.backend_pid
    eventually(lambda: old(desk, stranger, 4), "it has been so for a while")
    said = command("check", "--json")
    (found,) = (each for each in said.objects if each["subject"] == "locks")
    assert found["verdict"] == level
    assert says in found["seen"]
    assert f"session {pid} (forgetful, idle in transaction" in found["seen"]
    assert f"pg_terminate_backend({pid})" in found["remedy"]
    assert "start PostgreSQL" not in said.out
