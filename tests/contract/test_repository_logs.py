"""A log that is put into its event's row ahead of its message."""

import json

import pytest

from repository.connection import Database
from repository.errors import BadData
from repository.events import Events
from repository.invariants import check
from repository.logs import Heading, Stored, store
from repository.operations import forget
from repository.rows import Claimed, ClaimRequest
from tests.contract.events_desk import Desk

LOG = '[{"text": "Mình đếm nhé 🦕", "speaker": "pika"}]'.encode()
HEADING = Heading(conversation_id="talk", user_id="lan", bot_type="TALK", agent_tag="movie")


def kept(desk: Desk) -> list[dict[str, object]]:
    return desk.run(
        "SELECT conversation_id, user_id, status, attempt_count, bot_type, agent_tag, conversation_log AS log,"
        " next_attempt_at > now() + interval '5 hours' AS is_later FROM conversation_events ORDER BY conversation_id"
    )


def insert(desk: Desk, status: str = "PENDING", columns: str = "", values: str = "") -> None:
    desk.run(
        f"INSERT INTO conversation_events (conversation_id, user_id, status{columns})"
        f" VALUES ('talk', 'lan', %s{values})",
        status,
    )


def test_a_log_makes_a_row_that_waits_for_its_message(desk: Desk, events: Events) -> None:
    """Claimed by its id alone, it gives the log; a second time changes nothing."""
    assert store(desk.database, HEADING, LOG) is Stored.IN_ROW
    assert store(desk.database, HEADING, b"[]") is Stored.NOT_NEEDED
    assert kept(desk) == [
        {
            "conversation_id": "talk",
            "user_id": "lan",
            "status": "PENDING",
            "attempt_count": 0,
            "bot_type": "TALK",
            "agent_tag": "movie",
            "log": json.loads(LOG),
            "is_later": True,
        }
    ]
    claimed = events.claim(ClaimRequest(conversation_id="talk", user_id="lan", claimed_by="me"))
    assert isinstance(claimed, Claimed)
    assert (claimed.log_in_row, claimed.agent_tag, claimed.attempt) == (True, "movie", 1)
    assert check(desk.database) == []


@pytest.mark.parametrize("status", ["PENDING", "FAILED", "PROCESSING"])
def test_a_row_without_a_log_gets_it_and_stays_what_it_is(desk: Desk, status: str) -> None:
    """Its state, its claim, its words: only what it lacks is added."""
    insert(desk, status, ", bot_type, conversation_log, error_code", ", 'GAME', '[]', 'X'")
    assert store(desk.database, HEADING, LOG) is Stored.IN_ROW
    (row,) = desk.run(
        "SELECT status, bot_type, agent_tag, conversation_log, error_code FROM conversation_events"
    )
    assert row == {
        "status": status,
        "bot_type": "GAME",
        "agent_tag": "movie",
        "conversation_log": json.loads(LOG),
        "error_code": "X",
    }


@pytest.mark.parametrize(
    ("status", "columns", "values"),
    [
        ("PROCESSED", "", ""),
        ("SKIPPED", "", ""),
        ("PENDING", ", conversation_log", ", '[1]'"),
        ("FAILED", ", parked_log", ", 'parked'"),
    ],
)
def test_a_row_that_is_done_or_has_a_log_stays(desk: Desk, status: str, columns: str, values: str) -> None:
    """To the byte."""
    insert(desk, status, columns, values)
    before = desk.run("SELECT * FROM conversation_events")
    assert store(desk.database, HEADING, LOG) is Stored.NOT_NEEDED
    assert desk.run("SELECT * FROM conversation_events") == before


def test_another_users_row_is_not_touched(desk: Desk) -> None:
    """And the caller is told, whether it has a log or not."""
    insert(desk)
    foreign = Heading(conversation_id="talk", user_id="minh")
    assert store(desk.database, foreign, LOG) is Stored.FOREIGN
    assert kept(desk)[0]["log"] is None


def test_a_forgotten_conversation_does_not_come_back(desk: Desk) -> None:
    """Its message will be acknowledged; its words must not lie in a row meanwhile."""
    store(desk.database, HEADING, LOG)
    forget(desk.database, "lan")
    assert store(desk.database, HEADING, LOG) is Stored.NOT_NEEDED
    assert kept(desk) == []


def test_a_conversation_of_the_ledger_makes_no_row(desk: Desk) -> None:
    """Its row was pruned, its score is counted."""
    desk.run(
        "INSERT INTO score_ledger (event_id, conversation_id, user_id, seq, delta, score_before, score_after,"
        " claim_epoch) VALUES (1, 'talk', 'lan', 1, 1, 0, 1, 1)"
    )
    assert store(desk.database, HEADING, LOG) is Stored.NOT_NEEDED
    assert kept(desk) == []


@pytest.mark.parametrize("text", [rb"\u0000", rb"\ud83d"])
def test_a_text_that_no_row_can_hold_is_bad_data(desk: Desk, text: bytes) -> None:
    """A NUL, or half a character; nothing is left behind."""
    with pytest.raises(BadData):
        store(desk.database, HEADING, b'[{"speaker":"user","text":"%b"}]' % text)
    assert kept(desk) == []


def test_what_was_stored_is_committed(desk: Desk, migrated_database_url: str) -> None:
    """Another session sees it before the message is published."""
    store(desk.database, HEADING, LOG)
    other = Database(migrated_database_url, "friendship-supervisor other")
    try:
        assert store(other, HEADING, LOG) is Stored.NOT_NEEDED
    finally:
        other.close()
