"""The database answers, and refuses what is asked for no fault of the message: the queue is held until it is mended."""

from collections.abc import Callable
from typing import NamedTuple

import psycopg
import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]


class Trouble(NamedTuple):
    """What is wrong, how it is mended, and what the server says meanwhile."""

    broken: str
    mended: str
    code: str


def raising(table: str, body: str) -> tuple[str, str]:
    """Make somebody else's trigger on a table, and its end."""
    function = f"CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$"
    trigger = (
        f"CREATE TRIGGER theirs BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION theirs()"
    )
    return f"{function}; {trigger}", "DROP FUNCTION theirs CASCADE"


TROUBLES = {
    "the serial numbers are used up": Trouble(
        "SELECT setval('conversation_events_id_seq', 2147483647)",
        "SELECT setval('conversation_events_id_seq', 1000)",
        "2200H",
    ),
    "a serial number comes twice": Trouble(
        "INSERT INTO conversation_events (id, conversation_id, user_id, status)"
        " SELECT n, 'old-' || n, 'old', 'SKIPPED' FROM generate_series(1, 200) AS n;"
        "SELECT setval('conversation_events_id_seq', 1)",
        "SELECT setval('conversation_events_id_seq', 1000)",
        "23505",
    ),
    "a table is gone": Trouble(
        "ALTER TABLE score_ledger RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO score_ledger",
        "42P01",
    ),
    "a column is gone": Trouble(
        "ALTER TABLE conversation_events RENAME COLUMN lease_until TO elsewhere",
        "ALTER TABLE conversation_events RENAME COLUMN elsewhere TO lease_until",
        "42703",
    ),
    "a trigger raises at the claim": Trouble(
        *raising("conversation_events", "RAISE EXCEPTION 'not today'"), "P0001"
    ),
    "a trigger raises at the outcome": Trouble(
        *raising("friendship_status", "RAISE EXCEPTION 'not today'"), "P0001"
    ),
    "a trigger needs a function that is gone": Trouble(
        *raising("friendship_status", "PERFORM gone(1)"), "42883"
    ),
    "a column of others must not be empty": Trouble(
        "ALTER TABLE conversation_events ADD COLUMN theirs text NOT NULL",
        "ALTER TABLE conversation_events DROP COLUMN theirs",
        "23502",
    ),
    "a generated column divides by zero": Trouble(
        "ALTER TABLE friendship_status ADD COLUMN theirs bigint GENERATED ALWAYS AS (1 / ledger_seq) STORED",
        "ALTER TABLE friendship_status DROP COLUMN theirs",
        "22012",
    ),
    "a check refuses our outcome": Trouble(
        "ALTER TABLE conversation_events ADD CONSTRAINT theirs CHECK (processing_ms IS NULL)",
        "ALTER TABLE conversation_events DROP CONSTRAINT theirs",
        "23514",
    ),
    "a column is too narrow for our status": Trouble(
        "ALTER TABLE conversation_events ALTER status TYPE varchar(9)",
        "ALTER TABLE conversation_events ALTER status TYPE varchar(50)",
        "22001",
    ),
    "a trigger casts our status to a number": Trouble(
        *raising("conversation_events", "PERFORM ('x' || NEW.status)::int"), "22P02"
    ),
    "a column is too narrow for our score": Trouble(
        "ALTER TABLE friendship_status ALTER friendship_score TYPE numeric(1,1)",
        "ALTER TABLE friendship_status ALTER friendship_score TYPE float8",
        "22003",
    ),
}


def alter(desk: Desk, sql: str) -> None:
    with psycopg.connect(desk.database_url, autocommit=True) as connection:
        connection.execute(sql.encode())


def wait_for_trouble(worker: Worker, code: str) -> None:
    worker.wait_until(
        lambda: [line for line in worker.logged("waiting", on="database") if f"[{code}]" in line["reason"]],
        f"the log names {code}",
    )


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_the_servers_trouble_holds_the_queue_and_blames_no_message(
    trouble: Trouble, start_worker: Start, desk: Desk
) -> None:
    """The log says what the server says, nothing is marked, and once it is mended all pass in their first attempt."""
    alter(desk, trouble.broken)
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish_many(3)
    wait_for_trouble(worker, trouble.code)
    ours = "SELECT DISTINCT status FROM conversation_events WHERE user_id <> 'old'"
    assert {row["status"] for row in desk.query(ours)} <= {"PROCESSING"}
    alter(desk, trouble.mended)
    passed = "SELECT attempt_count FROM conversation_events WHERE status = 'PROCESSED'"
    worker.wait_until(lambda: len(desk.query(passed)) == 3, "all are processed")
    assert {row["attempt_count"] for row in desk.query(passed)} == {1}
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    assert worker.logged("message_dead_lettered") == []
    desk.assert_clean_ending(worker)


def test_a_failure_that_a_foreign_check_refuses_is_held_and_then_written(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """Our error code is no value of the message: it is not set aside, and its row does not stay PROCESSING."""
    alter(
        desk,
        "ALTER TABLE conversation_events ADD CONSTRAINT theirs"
        " CHECK (error_code IS NULL OR error_code = 'THEIRS')",
    )
    memory_api.set_mode("error", status=500)
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish([make("one", "lan")])
    wait_for_trouble(worker, "23514")
    assert desk.status("one") == "PROCESSING"
    alter(desk, "ALTER TABLE conversation_events DROP CONSTRAINT theirs")
    worker.wait_until(lambda: desk.status("one") == "FAILED", "its failure is written")
    assert (desk.event("one") or {})["error_code"] == "MEMORY_API_ERROR"
    assert worker.stop() == 0
    assert worker.logged("message_dead_lettered") == []
    desk.assert_clean_ending(worker)


def test_a_stop_during_the_servers_trouble_gives_message_and_attempt_back(
    start_worker: Start, desk: Desk
) -> None:
    """Nobody mends it for now: the drain ends, nothing is lost, and the next worker takes the message."""
    trouble = TROUBLES["the serial numbers are used up"]
    alter(desk, trouble.broken)
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_for("child_ready")
    desk.publish([make("one", "lan")])
    wait_for_trouble(worker, trouble.code)
    assert worker.stop() == 0
    desk.assert_clean_ending(worker, in_queue=1)
    alter(desk, trouble.mended)
    worker = start_worker(FRIENDSHIP_CHILDREN="1")
    worker.wait_until(lambda: desk.status("one") == "PROCESSED", "it is processed")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


@pytest.mark.parametrize(
    "variables",
    [
        {"PGCLIENTENCODING": "SQL_ASCII"},
        {"PGCLIENTENCODING": "LATIN1"},
        {"PGDATESTYLE": "German", "PGTZ": "Asia/Ho_Chi_Minh"},
        {
            "PGOPTIONS": "-c default_transaction_isolation=serializable -c IntervalStyle=iso_8601"
            " -c statement_timeout=1 -c search_path=public,pg_catalog"
        },
        {"PGOPTIONS": "-c bytea_output=escape -c standard_conforming_strings=off -c client_encoding=LATIN1"},
    ],
    ids=" ".join,
)
def test_what_libpq_takes_from_the_environment_changes_nothing(
    variables: dict[str, str], start_worker: Start, desk: Desk
) -> None:
    """A log of all characters is kept and scored, whatever the session would be told without us."""
    worker = start_worker(FRIENDSHIP_CHILDREN="1", **variables)
    worker.wait_for("child_ready")
    desk.publish([make("một-cuộc-trò-chuyện-\N{WAVING HAND SIGN}", "lân")])
    worker.wait_until(lambda: desk.statuses() == {"PROCESSED": 1}, "it is processed")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
