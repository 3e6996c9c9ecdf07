"""What an outage, a crowded server and a bad URL look like, and that none of them shows a password."""

import traceback
from collections.abc import Callable, Iterator

import psycopg
import pytest

from repository.connection import Database, rows
from repository.errors import BadDatabaseUrl, Busy, DatabaseAway, RepositoryError, ServerTrouble
from repository.events import Events
from repository.failures import translate
from repository.statements import Statement
from scripts.servers.postgres import Postgres
from tests.contract.conftest import DIRECT, LEASE_S
from tests.contract.events_desk import Desk, request
from tests.fixtures.eventually import eventually

SECRET = "s3cr3t"


@pytest.fixture
def impatient(migrated_database_url: str) -> Iterator[Database]:
    database = Database(migrated_database_url, lock_timeout_s=0.05, statement_timeout_s=1.0)
    yield database
    database.close()


def test_nothing_is_opened_before_it_is_needed(postgres: Postgres) -> None:
    """A parent may make one and fork; even a server that is away says nothing then."""
    database = Database("postgresql://postgres@127.0.0.1:1/none")
    assert not database.is_open
    assert database.idle_s() == 0.0
    with pytest.raises(DatabaseAway):
        database.connection()
    database.close()
    database.close()


@DIRECT
def test_a_session_names_itself_and_is_bounded(database: Database) -> None:
    """Operators see whose it is; no statement, lock or idle transaction lasts for ever."""
    connection = database.connection()
    row = connection.execute(
        "SELECT current_setting('application_name') AS name, current_setting('statement_timeout') AS statement,"
        " current_setting('lock_timeout') AS lock, current_setting('TimeZone') AS zone,"
        " current_setting('idle_in_transaction_session_timeout') AS idle"
    ).fetchone()
    assert row == {
        "name": "friendship-supervisor test",
        "statement": "10s",
        "lock": "3s",
        "zone": "UTC",
        "idle": "10s",
    }
    with pytest.raises(ValueError, match="application_name"):
        Database("postgresql:///x", "other")


BOUNDS = b"""SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
    current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('client_encoding') AS encoding,
    current_setting('transaction_isolation') AS isolation, current_setting('application_name') AS name"""


def test_every_statement_and_transaction_is_bounded(database: Database, desk: Desk) -> None:
    """Also where a pooler hands each to another server session, and where role or database say otherwise."""
    name = desk.run("SELECT current_database() AS name")[0]["name"]
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "lock_timeout = 0",
        "client_encoding = 'LATIN1'",
    ):
        desk.run(f'ALTER DATABASE "{name}" SET {setting}')
    database.close()
    bounds = {
        "statement": "10s",
        "lock": "3s",
        "idle": "10s",
        "encoding": "UTF8",
        "isolation": "read committed",
        "name": "friendship-supervisor test",
    }
    assert database.execute(Statement("bounds", BOUNDS, "")) == [bounds]
    assert database.run(lambda connection: rows(connection, Statement("bounds", BOUNDS, ""), None)) == [
        bounds
    ]


@DIRECT
def test_a_lost_connection_is_an_outage_and_the_next_call_reconnects(desk: Desk) -> None:
    """Somebody ended the session."""
    claim = desk.claim()
    (mine,) = desk.run("SELECT pg_backend_pid() AS pid")
    with psycopg.connect(desk.database._url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [mine["pid"]])
    with pytest.raises(DatabaseAway):
        desk.events.sight(claim.key)
    assert not desk.database.is_open
    assert desk.events.sight(claim.key) is not None


def test_a_stopped_server_is_an_outage_until_it_is_back(postgres: Postgres, desk: Desk) -> None:
    """Crash and return: the claim is where it was."""
    claim = desk.claim(claimed_by="me")
    postgres.stop("immediate")
    for _ in range(2):
        with pytest.raises(DatabaseAway):
            desk.complete(claim)
    postgres.start_again()
    eventually(
        lambda: carried_out(lambda: desk.complete(claim)), "the server, and a pooler before it, is back"
    )
    assert desk.row()["status"] == "PROCESSED"


def carried_out(work: Callable[[], object]) -> bool:
    try:
        work()
    except DatabaseAway:
        return False
    return True


@DIRECT
def test_a_server_with_no_room_is_an_outage(postgres: Postgres, migrated_database_url: str) -> None:
    """libpq reports it without an SQLSTATE."""
    name = migrated_database_url.rpartition("/")[2]
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE crowded LOGIN")
        admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0'.encode())
        try:
            with pytest.raises(DatabaseAway, match="too many connections"):
                Database(migrated_database_url.replace("postgres@", "crowded@")).connection()
        finally:
            admin.execute("DROP ROLE crowded")


@DIRECT
def test_a_standby_is_an_outage_and_its_connection_is_dropped(desk: Desk) -> None:
    """After a failover a new connection may reach the new primary."""
    desk.run("SET default_transaction_read_only = on")
    with pytest.raises(DatabaseAway, match="read-only"):
        desk.claim()
    assert not desk.database.is_open
    desk.claim()


def test_a_missing_privilege_or_table_is_no_events_fault(desk: Desk) -> None:
    """An operator mends it; until then every message is held."""
    desk.run("ALTER TABLE conversation_events RENAME TO elsewhere")
    with pytest.raises(DatabaseAway, match="does not exist"):
        desk.claim()
    assert desk.database.is_open


def test_a_row_locked_by_another_is_tried_again_and_then_an_outage(
    impatient: Database, migrated_database_url: str, desk: Desk
) -> None:
    """The wait is bounded; afterwards the same connection goes on."""
    claim = desk.claim()
    with psycopg.connect(migrated_database_url) as other:
        other.execute("SELECT FROM conversation_events FOR UPDATE")
        with pytest.raises(Busy):
            Events(impatient, LEASE_S).skip(claim)
        assert impatient.is_open
    Events(impatient, LEASE_S).skip(claim)


def test_work_that_met_another_session_is_done_again(impatient: Database) -> None:
    """A deadlock or a serialization failure is nobody's fault."""
    tries = []

    def work(connection: psycopg.Connection[dict[str, object]]) -> str:
        tries.append(1)
        if len(tries) < 3:
            connection.execute("DO $$ BEGIN RAISE EXCEPTION 'met another' USING ERRCODE = '40P01'; END $$")
        return "done"

    assert impatient.run(work) == "done"
    assert len(tries) == 3


def test_a_statement_that_takes_too_long_is_an_outage(impatient: Database) -> None:
    """The server is overloaded, or waits for something."""
    with pytest.raises(DatabaseAway, match="statement timeout"):
        impatient.execute(Statement("slow", b"SELECT pg_sleep(60)", ""))


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("53100", DatabaseAway),  # disk full
        ("53300", DatabaseAway),
        ("57P01", DatabaseAway),
        ("25006", DatabaseAway),
        ("58030", DatabaseAway),
        ("40001", Busy),
        ("0A000", DatabaseAway),
        ("22001", ServerTrouble),
        ("22P05", ServerTrouble),
        ("42501", ServerTrouble),
        ("42883", ServerTrouble),
        ("2200H", ServerTrouble),
        ("22012", ServerTrouble),
        ("23502", ServerTrouble),
        ("23505", ServerTrouble),
        ("23514", ServerTrouble),  # a trigger says so, and names no column of a message
        ("P0001", ServerTrouble),
        ("ZZ999", ServerTrouble),  # whatever nobody has heard of
    ],
)
def test_each_answer_of_the_server_has_one_meaning(
    database: Database, code: str, meaning: type[Exception]
) -> None:
    """Told by the SQLSTATE, as the server really sends it."""
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'because' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(RepositoryError, match="because") as caught:
        database.execute(Statement("raise", statement.encode(), ""))
    assert type(caught.value) is meaning


def test_errors_of_no_library_are_not_translated() -> None:
    """A mistake of ours stays what it is."""
    with pytest.raises(TypeError):
        translate(KeyError("ours"))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://lan:{SECRET}%ZZ@db/x",
        f"postgresql://lan:a@{SECRET}@db/x",
        f"postgresql://lan:{SECRET}/a@db/x",
        f"postgresql://lan:12/{SECRET}@db/x",
        f"host=db password={SECRET} nonsense",
        f"host=db passwort={SECRET}",
        f"postgresql://lan@db:{SECRET}/x",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_being_repeated(url: str) -> None:
    """libpq's own words quote parts of it."""
    with pytest.raises(BadDatabaseUrl) as caught:
        Database(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgresql:///robot_context_handling",
        "postgresql://lan@[::1]:5432/x",
        "host=/var/run/postgresql dbname=x",
        "postgresql://lan:p?ss@db/x",
        "postgresql://lan:p%40ss%2F@a,b:5433/x?target_session_attrs=read-write",
    ],
)
def test_every_form_of_libpq_is_taken(url: str) -> None:
    """Sockets, several hosts, IPv6, key words."""
    assert not Database(url).is_open


@pytest.mark.parametrize(
    "options", [f"host={SECRET}.invalid", f"sslmode={SECRET}", f"host=127.0.0.1 port=1 user={SECRET}"]
)
def test_an_outage_never_shows_the_password(options: str) -> None:
    """Even where another parameter has the same text, so that libpq prints it."""
    database = Database(f"{options} password={SECRET}", connect_timeout_s=2.0)
    with pytest.raises(DatabaseAway) as caught:
        database.connection()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_connection_is_not_used_across_a_fork(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one socket mix their answers; closing it in one would end the other's session."""
    desk.claim()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("repository.connection.os.getpid", lambda: 1)
        with pytest.raises(RuntimeError, match="fork"):
            desk.database.connection()
    assert desk.row()["status"] == "PROCESSING"


def test_a_session_that_vanished_in_a_transaction_frees_its_locks(
    migrated_database_url: str, database: Database, desk: Desk
) -> None:
    """A host that is gone holds no row for longer than the idle limit."""
    claim = desk.claim()
    other = Database(migrated_database_url, idle_in_transaction_timeout_s=0.2)

    def vanish() -> None:
        with other.transaction() as connection:
            connection.execute("SELECT FROM conversation_events FOR UPDATE")
            eventually(
                lambda: not desk.run("SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in%%'"),
                "the server ends the idle session",
            )

    with pytest.raises(DatabaseAway):
        vanish()
    other.close()
    desk.events.skip(claim)


def test_the_connection_tells_how_long_it_was_idle(desk: Desk) -> None:
    """So that its owner can give it up during a long wait."""
    desk.events.claim(request())
    eventually(lambda: desk.database.idle_s() > 0, "time passes")
    desk.database.close()
    assert desk.database.idle_s() == 0.0


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        (b"SELECT octet_length(%(log)s::bytea) AS size", {"log": bytes(2_000_000)}),
        (b"SELECT convert_to(repeat('x', 2000000), 'UTF8') AS log", {}),
    ],
)
def test_a_connection_that_carried_a_large_value_is_not_kept(
    database: Database, sql: bytes, parameters: dict[str, bytes]
) -> None:
    """What its buffers have grown to would stay with the child for the connection's life."""
    small = Statement("small", b"SELECT 1 AS one", "")
    database.execute(small)
    assert database.is_open
    (row,) = database.execute(Statement("large", sql, ""), parameters)
    assert row.get("size", 2_000_000) == len(row.get("log", bytes(2_000_000)))
    assert not database.is_open
    assert database.execute(small) == [{"one": 1}]
