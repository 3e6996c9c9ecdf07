"""The schema on an empty database, and over tables as older programs left them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from repository import migrations
from repository.connection import Database
from repository.errors import BadDatabaseUrl, Busy, DatabaseAway, RepositoryError, SchemaMissing, SchemaOld
from repository.events import Events
from repository.invariants import check
from repository.migrations import HISTORY, LATEST, migrate, require, schema_version
from repository.rejects import keep, keep_parts
from repository.retries import due
from tests.contract.conftest import LEASE_S
from tests.contract.events_desk import LIGHT, Desk

NAMES = [step.name for step in HISTORY]

# As the older program's design has it: no agent_tag, no conversation_log_url
OLDER = """
CREATE TABLE conversation_events (
    id serial PRIMARY KEY, conversation_id varchar(255) UNIQUE NOT NULL, user_id varchar(255) NOT NULL,
    bot_type varchar(50), bot_id varchar(255), bot_name varchar(255), start_time timestamptz, end_time timestamptz,
    conversation_log jsonb, status varchar(50) NOT NULL DEFAULT 'PENDING'
        CONSTRAINT valid_status CHECK (status IN ('PENDING', 'PROCESSING', 'PROCESSED', 'FAILED', 'SKIPPED')),
    attempt_count int NOT NULL DEFAULT 0, next_attempt_at timestamptz DEFAULT now() + interval '6 hours',
    processed_at timestamptz, error_code varchar(50), error_details text, friendship_score_change float,
    new_friendship_level varchar(50), score_calculation_details jsonb,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE INDEX idx_status ON conversation_events (status);
CREATE TABLE friendship_status (
    user_id varchar(255) PRIMARY KEY, friendship_score float DEFAULT 0,
    friendship_level varchar(50) DEFAULT 'PHASE1_STRANGER', topic_metrics jsonb DEFAULT '{}',
    last_interaction_date timestamptz, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
"""

# As an ORM makes them, which keeps its defaults to itself: all NOT NULL, short words, a state less, a column more
STRICT = """
CREATE TABLE conversation_events (
    id integer PRIMARY KEY, conversation_id varchar(100) NOT NULL, user_id varchar(100) NOT NULL,
    bot_type varchar(20) NOT NULL, bot_id varchar(20) NOT NULL, bot_name varchar(20) NOT NULL,
    start_time timestamptz NOT NULL, end_time timestamptz NOT NULL, conversation_log jsonb NOT NULL,
    status varchar(12) NOT NULL CHECK (status IN ('PENDING', 'PROCESSING', 'PROCESSED', 'FAILED')),
    attempt_count int NOT NULL CONSTRAINT few_attempts CHECK (attempt_count <= 1000),
    next_attempt_at timestamptz NOT NULL, error_code varchar(12), error_details varchar(100),
    agent_tag varchar(20), conversation_log_url varchar(100),
    friendship_score_change real, new_friendship_level varchar(12),
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, tenant varchar(20) NOT NULL);
CREATE TABLE friendship_status (
    user_id varchar(100) NOT NULL, friendship_score real NOT NULL, friendship_level varchar(15) NOT NULL,
    topic_metrics json NOT NULL, last_interaction_date date NOT NULL, created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL, tenant varchar(20) NOT NULL);
"""

# Nearly nothing is promised about them
LOOSE = """
CREATE TABLE conversation_events (
    id bigserial PRIMARY KEY, conversation_id text NOT NULL, user_id text NOT NULL, status text,
    attempt_count int, conversation_log jsonb, next_attempt_at timestamptz);
CREATE UNIQUE INDEX by_conversation ON conversation_events (conversation_id);
CREATE TABLE friendship_status (id serial PRIMARY KEY, user_id text UNIQUE NOT NULL, friendship_score numeric(10, 2));
"""


@contextmanager
def opened(url: str) -> Iterator[Desk]:
    database = Database(url, "friendship-supervisor test")
    try:
        yield Desk(database, Events(database, LEASE_S))
    finally:
        database.close()


def prepare(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def columns(desk: Desk) -> list[dict[str, Any]]:
    return desk.run(
        "SELECT table_name, column_name, data_type, is_nullable, column_default, character_maximum_length"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )


def assert_it_works(desk: Desk) -> None:
    """Take one conversation of each kind through the whole machine on these tables."""
    desk.insert("my bare")
    bare = desk.row("my bare")
    assert (bare["status"], bare["attempt_count"]) == ("PENDING", 0)
    assert bare["next_attempt_at"] is not None
    before = desk.run("SELECT friendship_score::float8 AS s FROM friendship_status WHERE user_id = 'lan'")
    desk.complete(desk.claim("my bare"), 10.0, LIGHT)
    assert desk.bill("my bare") == LIGHT
    after = desk.run("SELECT friendship_score::float8 AS s FROM friendship_status WHERE user_id = 'lan'")
    assert after[0]["s"] == (before[0]["s"] if before else 0) + 10.0
    desk.complete(desk.claim("my fresh", user_id="a new user", agent_tag="movie"), 0.5)
    desk.events.skip(desk.claim("my skipped"))
    claim = desk.claim("my failed", carries_log=True)
    desk.fail(claim, code="MEMORY_BUDGET_EXCEEDED", delay_s=None, parked=b"parked")
    desk.fail(desk.claim("my later"), code="MEMORY_API_BAD_RESPONSE", delay_s=0.0)
    assert [each.conversation_id for each in due(desk.database) if each.kind == "failed"] == ["my later"]
    desk.events.release(desk.claim("my given back"))
    keep_parts(desk.database, [b"too ", b"large"], "MESSAGE_TOO_LARGE", None)
    assert check(desk.database) == []


def test_an_empty_database_gets_the_schema_once(database_url: str) -> None:
    """Each step is applied in order, and a second run finds nothing to do."""
    with opened(database_url) as desk:
        assert schema_version(desk.database) == 0
        with pytest.raises(SchemaMissing):
            require(desk.database)
        assert migrate(database_url) == NAMES
        assert schema_version(desk.database) == LATEST
        before = columns(desk)
        assert migrate(database_url) == []
        assert columns(desk) == before
        require(desk.database)
        assert_it_works(desk)


def test_a_schema_in_between_is_old_and_a_newer_one_is_fine(migrated_database_url: str) -> None:
    """A program waits for `migrate`, and works with what a newer one left."""
    with opened(migrated_database_url) as desk:
        desk.run("DELETE FROM friendship_migrations WHERE version = %s", LATEST)
        with pytest.raises(SchemaOld) as caught:
            require(desk.database)
        assert (caught.value.found, caught.value.wanted) == (LATEST - 1, LATEST)
        assert migrate(migrated_database_url) == NAMES[-1:]
        desk.run("INSERT INTO friendship_migrations (version, name) VALUES (%s, 'future')", LATEST + 1)
        require(desk.database)


def test_the_older_tables_with_their_rows_go_on(database_url: str) -> None:
    """Scores and states stay; what was in an old worker's hands is left to it for half an hour."""
    prepare(
        database_url,
        OLDER,
        "INSERT INTO friendship_status (user_id, friendship_score) VALUES ('lan', 120.5), ('nobody', NULL)",
        "INSERT INTO conversation_events (conversation_id, user_id, status, attempt_count, next_attempt_at,"
        " error_code, conversation_log, updated_at) VALUES"
        " ('in work', 'lan', 'PROCESSING', 1, NULL, NULL, '[{\"speaker\": \"pika\"}]', now() - interval '3 hours'),"
        " ('no time', 'lan', 'PENDING', 0, NULL, NULL, NULL, NULL),"
        " ('waits', 'lan', 'PENDING', 0, now() + interval '3 hours', NULL, NULL, now()),"
        " ('failed', 'lan', 'FAILED', 5, NULL, 'TIMEOUT', NULL, now()),"
        " ('due', 'lan', 'FAILED', 2, now() - interval '1 minute', NULL, NULL, now()),"
        " ('done', 'lan', 'PROCESSED', 1, NULL, NULL, NULL, now())",
    )
    with opened(database_url) as desk:
        before = {row["conversation_id"]: row for row in desk.run("SELECT * FROM conversation_events")}
        assert migrate(database_url) == NAMES
        assert migrate(database_url) == []
        for name in ("waits", "failed", "due", "done"):
            row = desk.row(name)
            assert {key: row[key] for key in before[name]} == before[name]
        assert 1700 < desk.seconds_until("lease_until", "in work") <= 1800
        assert desk.seconds_until("next_attempt_at", "no time") > 0
        assert desk.user("nobody")["friendship_score"] == 0
        assert not desk.refused("in work", redelivered=False).settled
        assert desk.refused("done").settled
        assert desk.refused("failed").reason.value == "early"
        taken = due(desk.database)
        assert [(each.conversation_id, each.kind) for each in taken] == [("due", "failed")]
        assert check(desk.database) == []
        desk.lease_runs_out("in work")
        assert [each.conversation_id for each in due(desk.database)] == ["in work"]
        rescued = desk.claim("in work")
        assert (rescued.epoch, rescued.attempt, rescued.log_in_row) == (1, 2, True)
        assert desk.complete(rescued, 10.0).score == 130.5
        assert_it_works(desk)


@pytest.mark.parametrize("tables", [STRICT, LOOSE], ids=["strict", "loose"])
def test_tables_of_other_habits_are_brought_to_what_is_needed(database_url: str, tables: str) -> None:
    """Missing defaults, keys, columns and states, and columns that nobody knows."""
    prepare(database_url, tables)
    assert migrate(database_url) == NAMES
    assert migrate(database_url) == []
    with opened(database_url) as desk:
        assert_it_works(desk)


def test_rows_of_tables_without_rules_are_repaired_and_the_odd_one_is_named(database_url: str) -> None:
    """NULL where there must be a value gets it; a state that nobody knows stays, and is a warning."""
    prepare(
        database_url,
        LOOSE,
        "INSERT INTO conversation_events (conversation_id, user_id, status) VALUES"
        " ('no state', 'lan', NULL), ('odd', 'lan', 'CANCELLED'), ('done', 'lan', 'PROCESSED')",
        "INSERT INTO friendship_status (user_id, friendship_score) VALUES ('lan', 3.25)",
    )
    assert migrate(database_url) == NAMES
    with opened(database_url) as desk:
        row = desk.row("no state")
        assert (row["status"], row["attempt_count"]) == ("PENDING", 0)
        assert row["next_attempt_at"] is not None
        assert [(finding.name, finding.sample) for finding in check(desk.database)] == [
            ("unknown_status", f"event {desk.row('odd')['id']} is CANCELLED")
        ]
        refused = desk.refused("odd", carries_log=True)
        assert refused.key is not None
        assert not refused.settled
        desk.events.park(refused.key, b"parked")
        assert desk.row("odd")["parked_log"] == b"parked"
        assert desk.complete(desk.claim("no state"), 1.0).score == 4.25


def test_a_check_that_admits_our_states_stays_and_one_that_does_not_goes(database_url: str) -> None:
    """Whatever its name, and whatever else it says."""
    prepare(
        database_url,
        OLDER,
        "ALTER TABLE conversation_events ADD CONSTRAINT loud CHECK (status = upper(status))",
        "ALTER TABLE conversation_events ADD CONSTRAINT four CHECK (status <> 'SKIPPED')",
        "ALTER TABLE conversation_events ADD CONSTRAINT sane CHECK (attempt_count >= 0)",
    )
    migrate(database_url)
    with opened(database_url) as desk:
        kept = desk.run(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'conversation_events'::regclass"
            " ORDER BY 1"
        )
        names = [row["conname"] for row in kept]
        assert names == ["conversation_events_known_status", "loud", "sane", "valid_status"]


def widths(desk: Desk) -> dict[str, int | None]:
    """Read how many characters each text column takes; None: any number."""
    return {
        f"{column['table_name']}.{column['column_name']}": column["character_maximum_length"]
        for column in columns(desk)
    }


LONG = "x" * 255  # the longest id
NAMED = ("bot_type", "bot_id", "bot_name", "agent_tag", "conversation_log_url")


@pytest.mark.parametrize("tables", [OLDER, STRICT, LOOSE], ids=["older", "strict", "loose"])
def test_narrow_columns_take_every_id_and_every_name(database_url: str, tables: str) -> None:
    """Else a valid message would be one that can never be stored."""
    prepare(database_url, tables)
    migrate(database_url)
    with opened(database_url) as desk:
        claim = desk.claim(LONG, user_id=LONG, **dict.fromkeys(NAMED, LONG * 4))
        desk.events.fail(claim, code="LOG_UNAVAILABLE", details=LONG * 4, delay_s=0.0, parked=None)
        desk.complete(desk.claim(LONG, user_id=LONG))
        assert [desk.row(LONG)[name] for name in NAMED] == [LONG * 4] * len(NAMED)
        wide = widths(desk)
        assert [wide[f"conversation_events.{name}"] for name in (*NAMED, "error_details")] == [None] * 6


def test_a_column_that_something_is_built_on_stays_as_it_is(database_url: str) -> None:
    """A view, a generated column or a trigger holds its type: that is no reason to refuse the whole schema."""
    prepare(
        database_url,
        STRICT,
        "CREATE VIEW report AS SELECT conversation_id, bot_name FROM conversation_events",
        "ALTER TABLE conversation_events ADD COLUMN kind text GENERATED ALWAYS AS (lower(bot_type)) STORED",
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
        "CREATE TRIGGER watch BEFORE UPDATE OF user_id ON friendship_status"
        " FOR EACH ROW EXECUTE FUNCTION nothing()",
    )
    assert migrate(database_url) == NAMES
    with opened(database_url) as desk:
        wide = widths(desk)
        assert wide["conversation_events.conversation_id"] == 100
        assert wide["conversation_events.bot_name"] == 20
        assert wide["conversation_events.bot_type"] == 20
        assert wide["friendship_status.user_id"] == 100
        assert wide["conversation_events.bot_id"] is None
        assert wide["conversation_events.user_id"] == 255
        assert_it_works(desk)


@pytest.mark.parametrize("width", [10, 12])
def test_a_view_on_a_status_that_is_wide_enough_is_no_obstacle(database_url: str, width: int) -> None:
    """Our longest state has ten letters."""
    prepare(
        database_url,
        STRICT.replace("status varchar(12)", f"status varchar({width})"),
        "CREATE VIEW report AS SELECT status FROM conversation_events",
    )
    assert migrate(database_url) == NAMES
    with opened(database_url) as desk:
        assert widths(desk)["conversation_events.status"] == width
        assert_it_works(desk)


def test_a_view_on_a_column_too_narrow_for_our_words_is_named(database_url: str) -> None:
    """No outcome could be written there, so this is the one case in which a person has to help first."""
    prepare(database_url, STRICT, "CREATE VIEW report AS SELECT error_code FROM conversation_events")
    with pytest.raises(
        RepositoryError, match=r"conversation_events\.error_code .* 24 characters.*view.*migrate"
    ):
        migrate(database_url)
    prepare(database_url, "DROP VIEW report")
    assert migrate(database_url) == NAMES[1:]


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ("conversation_events.conversation_id", "(conversation_id, user_id) SELECT 'twice', 'lan'"),
        ("friendship_status.user_id", "(user_id) SELECT 'twice'"),
    ],
)
def test_one_key_in_two_rows_cannot_be_migrated(database_url: str, column: str, row: str) -> None:
    """Which of them counts is for a person to say; nothing is changed, and the error says what to look for."""
    prepare(
        database_url,
        LOOSE.replace("user_id text UNIQUE NOT NULL", "user_id text NOT NULL"),
        "DROP INDEX by_conversation",
        f"INSERT INTO {column.partition('.')[0]} {row} FROM generate_series(1, 3)",
    )
    with pytest.raises(RepositoryError, match=r"'twice' is in 3 rows: .* run migrate again") as caught:
        migrate(database_url)
    assert column in caught.value.reason
    assert not isinstance(caught.value, Busy)
    with opened(database_url) as desk:
        assert schema_version(desk.database) == 1
        assert "claim_epoch" not in {column["column_name"] for column in columns(desk)}


def test_the_longest_key_in_two_rows_leaves_room_for_the_remedy(database_url: str) -> None:
    """An error's text is cut, an id may be long: it is the id that gives way."""
    prepare(
        database_url,
        LOOSE,
        "DROP INDEX by_conversation",
        f"INSERT INTO conversation_events (conversation_id, user_id) VALUES ('{LONG}', 'a'), ('{LONG}', 'b')",
    )
    with pytest.raises(RepositoryError, match=r"'x{80}.*run migrate again"):
        migrate(database_url)


def test_version_five_gets_its_bills_and_keeps_its_rows(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No default, so no row says that it cost nothing; and no table is rewritten, however many there are."""
    with monkeypatch.context() as before:
        before.setattr(migrations, "HISTORY", HISTORY[:5])
        assert migrate(database_url) == NAMES[:5]
    with opened(database_url) as desk:
        desk.run(
            "INSERT INTO conversation_events (conversation_id, user_id, status, next_attempt_at)"
            " SELECT 'talk-' || n, 'lan', 'FAILED', NULL FROM generate_series(1, 1000) AS n"
        )
        keep(desk.database, b"refused", "INVALID_MESSAGE", "talk")
        rows = "SELECT * FROM conversation_events ORDER BY id"
        old, files = desk.run(rows), file_nodes(desk)
        assert schema_version(desk.database) == 5 < LATEST
        monkeypatch.setattr(migrations, "HISTORY", HISTORY[:6])
        assert migrate(database_url) == NAMES[5:6]
        none = {"body_bytes": None, "peak_rss_bytes": None, "processing_ms": None}
        assert desk.run(rows) == [row | none for row in old]
        after = file_nodes(desk)
        assert {name: after[name] for name in files} == files
        assert desk.run("SELECT body, whole FROM rejected_messages") == [{"body": b"refused", "whole": None}]
        added = [
            column
            for column in columns(desk)
            if column["column_name"] in none and column["table_name"] == "conversation_events"
        ]
        assert [
            (column["data_type"], column["is_nullable"], column["column_default"]) for column in added
        ] == [
            ("bigint", "YES", None),
            ("bigint", "YES", None),
            ("integer", "YES", None),
        ]
        monkeypatch.undo()
        assert migrate(database_url) == NAMES[6:]
        assert_it_works(desk)


def file_nodes(desk: Desk) -> dict[str, int]:
    """Give the file of each table and index: another one after a rewrite."""
    found = desk.run(
        "SELECT relname, relfilenode FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace ="
        " 'public'::regnamespace"
    )
    return {row["relname"]: row["relfilenode"] for row in found}


@pytest.mark.parametrize("tables", [OLDER, STRICT], ids=["older", "strict"])
def test_no_table_is_rewritten_for_new_columns(database_url: str, tables: str) -> None:
    """A rewrite, or an index built anew, would hold the strongest lock for as long as the table is large."""
    prepare(database_url, tables)
    with opened(database_url) as desk:
        before = file_nodes(desk)
        migrate(database_url)
        after = file_nodes(desk)
        assert {name: after[name] for name in before} == before


def test_many_at_once_apply_each_step_once(database_url: str) -> None:
    """Every host of a rollout may run it."""
    with ThreadPoolExecutor(6) as pool:
        applied = list(pool.map(migrate, [database_url] * 6))
    assert sorted(name for names in applied for name in names) == NAMES


def test_a_busy_table_is_waited_for_without_blocking_its_readers(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that does not come is given up and asked for again: nobody queues behind us for long."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(migrations, "LOCK_PAUSE_S", 0.05)
    monkeypatch.setattr(migrations, "LOCK_TRIES", 2)
    prepare(database_url, OLDER)
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM conversation_events")
        with pytest.raises(DatabaseAway, match="lock timeout"):
            migrate(database_url)
        with psycopg.connect(database_url) as other:
            other.execute("SELECT count(*) FROM conversation_events")
    assert migrate(database_url) == NAMES[1:]


def test_a_busy_table_beside_ours_is_waited_for_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widening a key needs the tables that refer to it; that one of them is in use says nothing about the key."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(migrations, "LOCK_PAUSE_S", 0.05)
    monkeypatch.setattr(migrations, "LOCK_TRIES", 2)
    prepare(
        database_url,
        STRICT,
        "ALTER TABLE conversation_events ADD UNIQUE (conversation_id)",
        "CREATE TABLE notes (of varchar(100) REFERENCES conversation_events (conversation_id))",
    )
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM notes")
        with pytest.raises(DatabaseAway, match="lock timeout"):
            migrate(database_url)
    assert migrate(database_url) == NAMES[1:]
    with opened(database_url) as desk:
        assert widths(desk)["conversation_events.conversation_id"] == 255


def test_a_step_that_fails_leaves_nothing_of_itself(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a transaction of its own."""
    broken = migrations.Migration(LATEST + 1, "broken", b"CREATE TABLE half (); SELECT 1/0")
    monkeypatch.setattr(migrations, "HISTORY", [*HISTORY, broken])
    with pytest.raises(RepositoryError, match="division"):
        migrate(database_url)
    with opened(database_url) as desk:
        assert schema_version(desk.database) == LATEST
        assert desk.run("SELECT to_regclass('half') AS t") == [{"t": None}]


def test_a_bad_url_is_refused_and_an_absent_server_is_an_outage() -> None:
    """Neither is a reason to show the URL."""
    with pytest.raises(BadDatabaseUrl):
        migrate("postgresql://a:b%ZZ@c/d")
    with pytest.raises(DatabaseAway):
        migrate("postgresql://postgres:secret@127.0.0.1:1/none")
