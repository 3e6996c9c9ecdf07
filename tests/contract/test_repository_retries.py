"""What the retry pass takes: each due event once, whoever asks."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from repository.connection import Database
from repository.errors import Fenced
from repository.retries import Due, due
from tests.contract.events_desk import Desk


def test_nothing_is_due_before_its_time(desk: Desk) -> None:
    """Waiting, claimed, failed with a backoff, permanent and finished rows stay where they are."""
    desk.insert("waits")
    desk.claim("claimed")
    desk.fail(desk.claim("later"), delay_s=60.0)
    desk.fail(desk.claim("never"), delay_s=None)
    desk.complete(desk.claim("done"))
    before = desk.run("SELECT * FROM conversation_events ORDER BY id")
    assert due(desk.database) == []
    assert desk.run("SELECT * FROM conversation_events ORDER BY id") == before


def test_each_kind_of_due_event_is_taken_once_and_waits_for_its_message(desk: Desk) -> None:
    """All become PENDING with a time ten minutes away, and are not due again before."""
    desk.fail(desk.claim("failed"), delay_s=0.0)
    desk.claim("rescued")
    desk.lease_runs_out("rescued")
    desk.insert("lost")
    desk.becomes_due("lost")
    assert due(desk.database) == [
        Due("rescued", "lan", "rescued"),
        Due("failed", "lan", "failed"),
        Due("lost", "lan", "pending"),
    ]
    assert due(desk.database) == []
    for conversation in ("failed", "rescued", "lost"):
        row = desk.row(conversation)
        assert (row["status"], row["publish_count"], row["claimed_by"], row["error_code"]) == (
            "PENDING",
            1,
            None,
            None,
        )
        assert 540 < desk.seconds_until("next_attempt_at", conversation) <= 600


def test_the_wait_doubles_with_each_publication(desk: Desk) -> None:
    """So a long queue is not multiplied by its own retries."""
    desk.insert()
    for minutes in (10, 20, 40, 80, 160, 320, 640, 640):
        desk.becomes_due()
        assert [each.kind for each in due(desk.database)] == ["pending"]
        assert minutes * 60 - 60 < desk.seconds_until("next_attempt_at") <= minutes * 60


def test_a_row_of_another_program_without_a_time_is_due(desk: Desk) -> None:
    """An explicit NULL would otherwise be forgotten for ever."""
    desk.insert(next_attempt_at=None)
    assert [each.kind for each in due(desk.database)] == ["pending"]
    assert desk.row()["next_attempt_at"] is not None


def test_a_rescue_gives_the_attempt_back_and_fences_the_holder(desk: Desk) -> None:
    """Nobody knows what became of it; should it live, it changes nothing."""
    zombie = desk.claim()
    desk.lease_runs_out()
    due(desk.database)
    row = desk.row()
    assert (row["attempt_count"], row["claim_epoch"]) == (0, 1)
    with pytest.raises(Fenced):
        desk.complete(zombie)
    assert desk.claim().claims_since_outcome == 2


def test_a_rescue_after_a_blamed_death_keeps_the_attempt(desk: Desk) -> None:
    """The account says that the message killed its holder."""
    desk.account(desk.claim(), blamed=True)
    desk.lease_runs_out()
    due(desk.database)
    assert desk.row()["attempt_count"] == 1
    assert desk.claim().blamed_deaths == 1


def test_a_claim_of_an_older_worker_is_rescued_after_half_an_hour(desk: Desk) -> None:
    """It left no lease; its attempts are left as it counted them."""
    desk.insert(status="PROCESSING", attempt_count=2)
    assert due(desk.database) == []
    desk.set("updated_at = clock_timestamp() - interval '31 minutes'")
    assert [each.kind for each in due(desk.database)] == ["rescued"]
    assert desk.row()["attempt_count"] == 2


def test_a_pass_takes_no_more_than_its_limit(desk: Desk) -> None:
    """Across the kinds together."""
    desk.claim("rescued")
    desk.lease_runs_out("rescued")
    for number in range(3):
        desk.fail(desk.claim(f"failed-{number}"), delay_s=0.0)
    assert [each.kind for each in due(desk.database, limit=2)] == ["rescued", "failed"]
    assert len(due(desk.database, limit=10)) == 2


def test_a_row_that_another_works_on_is_passed_over(migrated_database_url: str, desk: Desk) -> None:
    """Nobody waits for it, and it is taken another time."""
    for conversation in ("locked", "free"):
        desk.fail(desk.claim(conversation), delay_s=0.0)
    with psycopg.connect(migrated_database_url) as other:
        other.execute("SELECT FROM conversation_events WHERE conversation_id = 'locked' FOR UPDATE")
        assert [each.conversation_id for each in due(desk.database)] == ["free"]
    assert [each.conversation_id for each in due(desk.database)] == ["locked"]


def test_passes_on_many_hosts_share_the_work(migrated_database_url: str, desk: Desk) -> None:
    """Eight at once: every due event is taken, by exactly one."""
    desk.run(
        "INSERT INTO conversation_events (conversation_id, user_id, status, next_attempt_at)"
        " SELECT 'talk-' || n, 'lan', 'FAILED', now() FROM generate_series(1, 800) AS n"
    )
    databases = [Database(migrated_database_url) for _ in range(8)]

    def take_all(database: Database) -> list[str]:
        taken = []
        while found := due(database, limit=30):
            taken += [each.conversation_id for each in found]
        return taken

    try:
        with ThreadPoolExecutor(8) as pool:
            taken = [each for several in pool.map(take_all, databases) for each in several]
    finally:
        for database in databases:
            database.close()
    # A pass that finds the last rows locked by another ends early, so one more looks after them all
    taken += [each.conversation_id for each in due(desk.database, limit=800)]
    assert sorted(taken) == sorted(f"talk-{number}" for number in range(1, 801))
    assert desk.run("SELECT DISTINCT publish_count FROM conversation_events") == [{"publish_count": 1}]


@pytest.mark.parametrize(
    "question",
    [
        "SELECT id FROM conversation_events WHERE status = 'FAILED' AND next_attempt_at <= (SELECT clock_timestamp())",
        (
            "SELECT id FROM conversation_events WHERE status = 'PENDING'"
            " AND coalesce(next_attempt_at, created_at) <= (SELECT clock_timestamp())"
        ),
    ],
)
def test_due_rows_are_found_through_their_own_index(desk: Desk, question: str) -> None:
    """Finished rows, nearly all of a table, are not looked at."""
    desk.run(
        "INSERT INTO conversation_events (conversation_id, user_id, status)"
        " SELECT 'talk-' || n, 'lan', 'PROCESSED' FROM generate_series(1, 20000) AS n"
    )
    desk.run("ANALYZE conversation_events")
    plan = "\n".join(row["QUERY PLAN"] for row in desk.run(f"EXPLAIN {question}"))
    assert "conversation_events_due" in plan or "conversation_events_waiting" in plan, plan
