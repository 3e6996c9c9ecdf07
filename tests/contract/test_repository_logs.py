"""A log that is put into its event's row ahead of its message."""

import json

import pytest

from repository.connection import Database
from repository.errors import BadData
from repository.events import Events
from repository.invariants import check
from repository.logs import Heading, Stored, server, store
from repository.operations import forget
from repository.rows import Claimed, ClaimRequest
from tests.contract.events_desk import Desk

LOG = '[{"text": "Mình đếm nhé 🦕", "speaker": "pika"}]'.encode()
MAX_BYTES = 1024 * 1024
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
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.IN_ROW
    assert store(desk.database, HEADING, b"[]", MAX_BYTES) is Stored.NOT_NEEDED
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
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.IN_ROW
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
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.NOT_NEEDED
    assert desk.run("SELECT * FROM conversation_events") == before


@pytest.mark.parametrize("more", ["", ", conversation_log", ", parked_log"])
def test_a_row_that_names_an_object_stays_and_the_caller_is_told(desk: Desk, more: str) -> None:
    """S3 is asked before the row: a log in there would not be the one that is scored. Done is done all the same."""
    values = {"": "", ", conversation_log": ", '[1]'", ", parked_log": ", 'parked'"}[more]
    insert(desk, "FAILED", f", conversation_log_url{more}", f", 's3://logs/a'{values}")
    before = desk.run("SELECT * FROM conversation_events")
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.ELSEWHERE
    assert desk.run("SELECT * FROM conversation_events") == before
    desk.run("UPDATE conversation_events SET status = 'SKIPPED'")
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.NOT_NEEDED


def test_an_empty_url_names_nothing(desk: Desk) -> None:
    """Another program may write one."""
    insert(desk, "PENDING", ", conversation_log_url", ", ''")
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.IN_ROW


def test_a_log_that_grows_in_its_row_is_not_kept(desk: Desk) -> None:
    """Short numbers of many digits: a worker would be given them all, and a message of that size is refused, too."""
    log = b'[{"speaker":"user","text":"b","x":[%b]}]' % b",".join([b"1e131071"] * 20)
    assert len(log) < 300
    assert store(desk.database, HEADING, log, MAX_BYTES) is Stored.TOO_LARGE
    assert kept(desk) == []
    assert store(desk.database, HEADING, log, 4 * MAX_BYTES) is Stored.IN_ROW


@pytest.mark.slow
def test_a_log_that_no_server_can_write_out_is_refused(desk: Desk) -> None:
    """Over a gigabyte, of 80 KB: it is no fault of the database, and no later try will do."""
    log = b'[{"speaker":"user","text":"b","x":[%b]}]' % b",".join([b"1e131071"] * 9000)
    with pytest.raises(BadData):
        store(desk.database, HEADING, log, MAX_BYTES)
    assert kept(desk) == []


def test_a_limit_is_reached_by_as_many_bytes(desk: Desk) -> None:
    """Of the text that is read again, in UTF-8: neither of the characters, nor of what was given."""
    (row,) = desk.run("SELECT octet_length(%s::jsonb::text) AS size", LOG.decode())
    assert store(desk.database, HEADING, LOG, row["size"] - 1) is Stored.TOO_LARGE
    assert store(desk.database, HEADING, LOG, row["size"]) is Stored.IN_ROW


def test_another_users_row_is_not_touched(desk: Desk) -> None:
    """And the caller is told, whether it has a log or not."""
    insert(desk)
    foreign = Heading(conversation_id="talk", user_id="minh")
    assert store(desk.database, foreign, LOG, MAX_BYTES) is Stored.FOREIGN
    assert kept(desk)[0]["log"] is None


def test_a_forgotten_conversation_does_not_come_back(desk: Desk) -> None:
    """Its message will be acknowledged; its words must not lie in a row meanwhile."""
    store(desk.database, HEADING, LOG, MAX_BYTES)
    forget(desk.database, "lan")
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.NOT_NEEDED
    assert kept(desk) == []


def test_a_conversation_of_the_ledger_makes_no_row(desk: Desk) -> None:
    """Its row was pruned, its score is counted."""
    desk.run(
        "INSERT INTO score_ledger (event_id, conversation_id, user_id, seq, delta, score_before, score_after,"
        " claim_epoch) VALUES (1, 'talk', 'lan', 1, 1, 0, 1, 1)"
    )
    assert store(desk.database, HEADING, LOG, MAX_BYTES) is Stored.NOT_NEEDED
    assert kept(desk) == []


@pytest.mark.parametrize("text", [rb"\u0000", rb"\ud83d"])
def test_a_text_that_no_row_can_hold_is_bad_data(desk: Desk, text: bytes) -> None:
    """A NUL, or half a character; nothing is left behind."""
    with pytest.raises(BadData):
        store(desk.database, HEADING, b'[{"speaker":"user","text":"%b"}]' % text, MAX_BYTES)
    assert kept(desk) == []


def test_what_was_stored_is_committed(desk: Desk, migrated_database_url: str) -> None:
    """Another session sees it before the message is published."""
    store(desk.database, HEADING, LOG, MAX_BYTES)
    other = Database(migrated_database_url, "friendship-supervisor other")
    try:
        assert store(other, HEADING, LOG, MAX_BYTES) is Stored.NOT_NEEDED
    finally:
        other.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:hunter2@db.example:6432/events?sslmode=require", "db.example:6432/events"),
        ("host=a,b port=1,2 dbname=x user=u password=hunter2", "a,b:1,2/x"),
        ("postgresql://u@/events?host=/run/postgresql&port=1", "/run/postgresql:1/events"),
        ("host=name hostaddr=127.0.0.1 dbname=x", "127.0.0.1:7777/x"),
        ("hostaddr=127.0.0.1 dbname=x", "127.0.0.1:7777/x"),
        ("dbname=x", "pghost:7777/x"),
        ("postgresql://", "pghost:7777/here"),
        ("service=main", "pghost:7777/here of main"),
    ],
)
def test_a_database_is_named_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    """By what libpq would take: the URL, or the variables."""
    for variable, value in {"PGHOST": "pghost", "PGPORT": "7777", "PGDATABASE": "here"}.items():
        monkeypatch.setenv(variable, value)
    assert server(url) == name
