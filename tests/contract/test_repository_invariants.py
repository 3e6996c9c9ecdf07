"""Every promise that `check --invariants` asks for can be seen broken."""

from collections.abc import Iterator

import psycopg
import pytest

from repository.connection import Database
from repository.invariants import SQL, Finding, check
from repository.rejects import keep_parts
from tests.contract.events_desk import Desk, request


def names(desk: Desk) -> list[str]:
    return [finding.name for finding in check(desk.database)]


def test_a_healthy_database_has_no_findings(desk: Desk) -> None:
    """Every state at once, and rows of an older worker in states of its own."""
    desk.complete(desk.claim("a"))
    desk.complete(desk.claim("b"), 0.1)
    desk.fail(desk.claim("c"))
    desk.fail(desk.claim("d"), delay_s=None)
    desk.events.skip(desk.claim("e"))
    desk.events.release(desk.claim("f"))
    desk.claim("g")
    desk.account(desk.claim("h"), blamed=True)
    desk.events.take_over(desk.contended("h"), request("h"), accounted=True)
    desk.insert("old", status="PROCESSED", friendship_score_change=3.0)
    desk.insert("older", status="PROCESSING")
    desk.insert("new")
    desk.run("INSERT INTO friendship_status (user_id, friendship_score) VALUES ('minh', 77)")
    assert check(desk.database) == []


BREAKS = {
    "processed_without_ledger": "DELETE FROM score_ledger",
    "ledger_without_processed": "UPDATE conversation_events SET status = 'SKIPPED' WHERE conversation_id = 'done'",
    "change_differs_from_ledger": "UPDATE conversation_events SET friendship_score_change = 11",
    "ledger_of_another_user": "UPDATE score_ledger SET user_id = 'minh' WHERE seq = 3",
    "number_used_again": "UPDATE score_ledger SET event_id = (SELECT id FROM conversation_events"
    " WHERE conversation_id = 'waits') WHERE seq = 3",
    "ledger_lost": "DELETE FROM score_ledger",
    "ledger_gap": "DELETE FROM score_ledger WHERE seq = 2",
    "ledger_sum": "UPDATE score_ledger SET delta = delta + 1 WHERE seq = 1",
    "score_written_by_another": "UPDATE friendship_status SET friendship_score = 1",
    "score_not_a_number": "UPDATE friendship_status SET friendship_score = 'NaN'",
    "epoch_fell": "UPDATE conversation_events SET claim_epoch = 0 WHERE conversation_id = 'done'",
    "half_a_claim": "UPDATE conversation_events SET lease_until = NULL WHERE conversation_id = 'claimed'",
    "pending_without_time": "UPDATE conversation_events SET status = 'PENDING', claimed_by = NULL,"
    " lease_until = NULL, next_attempt_at = NULL WHERE conversation_id = 'claimed'",
    "pending_without_time_by_another": "UPDATE conversation_events SET next_attempt_at = NULL"
    " WHERE conversation_id = 'waits'",
    "overdue": "UPDATE conversation_events SET lease_until = now() - interval '1 day'"
    " WHERE conversation_id = 'claimed'",
    "overdue_unclaimed": "UPDATE conversation_events SET next_attempt_at = now() - interval '2 days'"
    " WHERE conversation_id = 'waits'",
    "claims_unbounded": "UPDATE conversation_events SET claim_epoch = 27 WHERE conversation_id = 'claimed'",
    "deaths_unbounded": "INSERT INTO child_deaths SELECT id, n, 'claimed', 'x', 'x', true, now(), 'x', 0, 0, 0"
    " FROM conversation_events, generate_series(1, 3) AS n WHERE conversation_id = 'claimed'",
    "attempts_negative": "UPDATE conversation_events SET attempt_count = -1 WHERE conversation_id = 'claimed'",
    "parked_on_settled": "UPDATE conversation_events SET parked_log = 'x' WHERE conversation_id = 'done'",
    "rejected_body_in_pieces": "DELETE FROM rejected_parts WHERE part = 1",
    "forgotten_is_back": "INSERT INTO forgotten_conversations VALUES (sha256('waits'))",
    "unknown_status": "ALTER TABLE conversation_events DROP CONSTRAINT conversation_events_known_status;"
    "UPDATE conversation_events SET status = 'CANCELLED' WHERE conversation_id = 'waits'",
}


@pytest.fixture
def busy(desk: Desk) -> Desk:
    for conversation in ("done", "done-2", "done-3"):
        desk.complete(desk.claim(conversation))
    desk.claim("claimed")
    desk.insert("waits")
    keep_parts(desk.database, [b"to", b"o l", b"arge"], "MESSAGE_TOO_LARGE", None)
    assert names(desk) == []
    return desk


@pytest.mark.parametrize("name", [name for name in SQL if name != "idle_in_transaction"])
def test_each_broken_promise_is_found(busy: Desk, name: str) -> None:
    """One deed of a stranger for each."""
    busy.run(BREAKS[name])
    assert name in names(busy)


def test_a_foreign_write_is_a_warning_that_names_the_user(busy: Desk) -> None:
    """And stays one after the next conversation: the chain starts anew from what was found."""
    busy.run("UPDATE friendship_status SET friendship_score = 500")
    expected = Finding(
        "score_written_by_another", "warning", 1, "user lan", SQL["score_written_by_another"].meaning
    )
    assert check(busy.database) == [expected]
    assert busy.complete(busy.claim("next")).score == 510.0
    assert check(busy.database) == [expected]


def test_a_users_row_that_vanished_or_was_made_anew_is_a_warning(busy: Desk) -> None:
    """The ledger remembers."""
    busy.run("DELETE FROM friendship_status")
    assert names(busy) == ["score_written_by_another"]
    busy.run("INSERT INTO friendship_status (user_id, friendship_score) VALUES ('lan', 30)")
    assert names(busy) == ["score_written_by_another"]


def test_a_finding_counts_all_and_names_a_few(busy: Desk) -> None:
    """Ten thousand offenders fit into one line."""
    busy.run(
        "INSERT INTO conversation_events (conversation_id, user_id, claim_epoch, attempt_count)"
        " SELECT 'n' || n, 'lan', 1, -1 FROM generate_series(1, 100) AS n"
    )
    (finding,) = check(busy.database)
    assert (finding.severity, finding.count, finding.sample.count("event ")) == ("breach", 100, 5)


@pytest.fixture
def idle_session(migrated_database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(migrated_database_url, application_name="friendship-supervisor idler") as connection:
        connection.execute("SELECT 1")
        yield connection


def test_a_session_idle_in_a_transaction_is_found(
    migrated_database_url: str, idle_session: psycopg.Connection[tuple[object, ...]]
) -> None:
    """Its text is asked with a shorter limit here, so that nobody has to wait for two seconds."""
    question = SQL["idle_in_transaction"].sql.replace(b"2 seconds", b"0 seconds")
    with psycopg.connect(migrated_database_url, autocommit=True) as other:
        (offender,) = other.execute(question).fetchall()
    assert "idler" in str(offender[0])


def test_every_question_says_what_it_means() -> None:
    """A finding is read by somebody who has never seen the query."""
    assert {question.severity for question in SQL.values()} == {"breach", "warning"}
    assert all(question.meaning.endswith(".") for question in SQL.values())


def test_the_check_reads_one_snapshot_over_a_plain_connection(database: Database) -> None:
    """An empty database, one statement, no findings."""
    assert check(database) == []
