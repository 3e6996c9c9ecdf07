"""Behind a pooler in transaction mode a session is anybody's: nothing of ours stays, nothing of theirs counts."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from repository import server
from repository.connection import Database, rows
from repository.errors import BadData, DatabaseAway
from repository.events import Events
from repository.statements import Statement
from scripts.servers.pgbouncer import PgBouncer
from scripts.servers.postgres import Postgres
from tests.contract.conftest import DIRECT, LEASE_S
from tests.contract.events_desk import Desk
from tests.fixtures.proxy import Connection, Relay
from tests.fixtures.servers import start_or_skip

pytestmark = DIRECT

SETTINGS = b"""SELECT pg_backend_pid() AS pid, current_setting('statement_timeout') AS statement,
    current_setting('lock_timeout') AS lock, current_setting('idle_in_transaction_session_timeout') AS idle,
    current_setting('default_transaction_isolation') AS usual, current_setting('TimeZone') AS zone,
    current_setting('transaction_isolation') AS isolation"""


class Rounds(Relay):
    """Counts how often a client had to wait for an answer before it went on."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.rounds = 0
        self._answered = True

    def _request(self, connection: Connection, data: bytes) -> None:
        self.rounds += self._answered
        self._answered = False
        super()._request(connection, data)

    def _reply(self, connection: Connection, data: bytes) -> None:
        self._answered = True
        super()._reply(connection, data)


@pytest.fixture(scope="session")
def narrow(server_directory: Path, postgres_of_the_session: Postgres) -> Iterator[PgBouncer]:
    """Give a pooler with one session for all."""
    pooler = start_or_skip(lambda: PgBouncer.start(server_directory, postgres_of_the_session, pool_size=1))
    yield pooler
    pooler.close()


@pytest.fixture
def url(narrow: PgBouncer, migrated_database_url: str) -> str:
    return narrow.through(migrated_database_url)


@pytest.fixture
def ours(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def theirs(url: str) -> Iterator[psycopg.Connection[psycopg.rows.DictRow]]:
    """Give another program's connection, over the same session of the server."""
    with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


def test_another_programs_statement_is_not_cut_by_our_time_limits(
    ours: Database, theirs: psycopg.Connection[psycopg.rows.DictRow]
) -> None:
    """Whatever we did before on the session that serves it next: statements, transactions, failures."""
    before = theirs.execute(SETTINGS).fetchone()
    desk = Desk(ours, Events(ours, LEASE_S))
    desk.complete(desk.claim())
    with pytest.raises(DatabaseAway):
        ours.execute(Statement("wrong", b"SELECT 1 / 0", ""))
    assert theirs.execute(SETTINGS).fetchone() == before
    assert before is not None
    assert before["statement"] == "0"


def test_another_programs_settings_do_not_apply_to_ours(
    ours: Database, theirs: psycopg.Connection[psycopg.rows.DictRow]
) -> None:
    """It left a time limit, an isolation and a time zone behind."""
    for name, value in (
        ("statement_timeout", "1h"),
        ("lock_timeout", "0"),
        ("default_transaction_isolation", "serializable"),
        ("idle_in_transaction_session_timeout", "0"),
    ):
        theirs.execute(f"SET {name} = '{value}'".encode())
    pid = (theirs.execute(SETTINGS).fetchone() or {})["pid"]
    statement = Statement("settings", SETTINGS, "")
    for (seen,) in (
        ours.execute(statement),
        ours.run(lambda connection: rows(connection, statement)),
    ):
        assert seen | {"usual": "", "zone": ""} == {
            "pid": pid,
            "statement": "10s",
            "lock": "3s",
            "idle": "10s",
            "usual": "",
            "zone": "",
            "isolation": "read committed",
        }


@pytest.fixture
def left(
    theirs: psycopg.Connection[psycopg.rows.DictRow], postgres: Postgres
) -> Iterator[psycopg.Connection[psycopg.rows.DictRow]]:
    """Give another program's connection that left what it likes on the session that serves us next."""
    theirs.execute("CREATE ROLE without_rights")
    theirs.execute("CREATE SCHEMA staging CREATE TABLE conversation_events (id int)")
    for setting in (
        "search_path = staging",
        "synchronous_commit = off",
        "default_transaction_read_only = on",
        "ROLE without_rights",
    ):
        theirs.execute(f"SET {setting}".encode())
    yield theirs
    theirs.execute("RESET ROLE")
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("DROP ROLE without_rights")


def test_what_another_program_left_changes_neither_tables_nor_role_nor_durability(
    ours: Database, left: psycopg.Connection[psycopg.rows.DictRow]
) -> None:
    """A claim and an outcome go into our tables as ours; what was left stays there for whoever left it."""
    seen = Statement(
        "seen",
        b"SELECT current_user::text AS who, current_setting('synchronous_commit') AS kept,"
        b" current_setting('transaction_read_only') AS reads, current_schema()::text AS schema",
        "",
    )
    expected = {"who": "postgres", "kept": "on", "reads": "off", "schema": "public"}
    assert ours.execute(seen) == [expected]
    assert ours.run(lambda connection: rows(connection, seen)) == [expected]
    desk = Desk(ours, Events(ours, LEASE_S))
    desk.complete(desk.claim())
    with left.cursor() as cursor:
        after = cursor.execute(seen.sql).fetchone()
    assert after == {"who": "without_rights", "kept": "off", "reads": "on", "schema": None}


def test_what_another_program_left_does_not_change_who_is_blamed(
    ours: Database, theirs: psycopg.Connection[psycopg.rows.DictRow]
) -> None:
    """The look at the constraint, too, brings its own settings."""
    theirs.execute("ALTER TABLE conversation_events ADD CONSTRAINT theirs CHECK (length(user_id) > 3)")
    theirs.execute("SET search_path = staging")
    desk = Desk(ours, Events(ours, LEASE_S))
    with pytest.raises(BadData):
        desk.claim()


def test_a_database_that_its_owner_made_read_only_stays_so(
    ours: Database, migrated_database_url: str
) -> None:
    """Only what a session was told by another client is undone."""
    name = migrated_database_url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(migrated_database_url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
    with pytest.raises(DatabaseAway, match="25006"):
        ours.execute(Statement("write", b"CREATE TABLE half ()", ""))


def test_a_role_that_the_owner_gave_to_sessions_stays_theirs(
    ours: Database, migrated_database_url: str
) -> None:
    """As with users made for a day, who act as the owner of the tables."""
    name = migrated_database_url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(migrated_database_url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET role = pg_read_all_data'.encode())
    assert ours.execute(Statement("who", b"SELECT current_user::text AS who", "")) == [
        {"who": "pg_read_all_data"}
    ]


def test_a_refused_statement_gives_the_session_back_at_once(
    ours: Database, theirs: psycopg.Connection[psycopg.rows.DictRow]
) -> None:
    """A transaction left open would keep it from everybody."""
    with pytest.raises(DatabaseAway):
        ours.execute(Statement("wrong", b"SELECT 1 / 0", ""))
    with pytest.raises(UnicodeEncodeError):
        ours.connection().execute("SELECT %s", ["\ud800"])
    assert theirs.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    assert ours.is_open


def test_a_refusal_is_told_in_the_servers_words_whenever_it_comes(
    ours: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """It may come before all of the transaction is sent, and then the rest is aborted: nobody wants to know of that."""
    for _ in range(100):
        with pytest.raises(DatabaseAway, match="division by zero"):
            ours.execute(Statement("wrong", b"SELECT 1 / 0", ""))
    assert caplog.records == []


def test_a_statement_refused_at_its_commit_is_an_error(ours: Database) -> None:
    """A deferred constraint speaks only then, and nothing was written."""
    ours.execute(Statement("table", b"CREATE TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)", ""))
    insert = Statement("insert", b"INSERT INTO once VALUES (1)", "")
    ours.execute(insert)
    with pytest.raises(DatabaseAway, match="23505"):
        ours.execute(insert)
    assert ours.execute(Statement("count", b"SELECT count(*) AS rows FROM once", "")) == [{"rows": 1}]


@pytest.mark.parametrize(("pooled", "transaction"), [(False, 3), (True, 4)])
def test_a_statement_costs_one_round_trip_with_and_without_a_pooler(
    pooled: bool, transaction: int, narrow: PgBouncer, migrated_database_url: str, postgres: Postgres
) -> None:
    """Its settings and the ends of its transaction travel with it; PostgreSQL itself needs neither."""
    name = migrated_database_url.rpartition("/")[2]
    select = Statement("one", b"SELECT %(n)s::int AS n", "")
    with Rounds(narrow.port if pooled else postgres.port) as way:
        database = Database(
            f"postgresql://postgres@127.0.0.1:{way.port}/{name}?sslmode=disable&gssencmode=disable"
        )
        database.connection()
        assert database.is_pooled is pooled
        assert way.rounds == 2  # the start-up, and one statement
        way.rounds = 0
        for number in range(10):
            assert database.execute(select, {"n": number}) == [{"n": number}]
        assert way.rounds == 10
        way.rounds = 0
        assert database.run(lambda connection: rows(connection, select, {"n": 1})) == [{"n": 1}]
        assert way.rounds == transaction
        database.close()


def test_check_says_that_a_pooler_stands_between(ours: Database, database: Database) -> None:
    """Told apart without a setting: the process at work is not the one that the connect named."""
    assert [server.look(each)[0].pooled for each in (ours, database)] == [True, False]


def test_options_in_the_environment_are_named_when_the_pooler_refuses_them(
    ours: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We send none ourselves; whoever has them finds the word in the log."""
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=8MB")
    with pytest.raises(DatabaseAway, match="unsupported startup parameter"):
        ours.connection()
    monkeypatch.delenv("PGOPTIONS")
    assert ours.execute(Statement("one", b"SELECT 1 AS one", "")) == [{"one": 1}]
