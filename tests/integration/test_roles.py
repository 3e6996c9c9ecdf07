"""The work is done with the least privileges: scripts/role.sql grants what is needed, and nothing that is not."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from repository import server
from repository.connection import Database
from repository.deaths import Mark, Past, record
from repository.errors import BadData
from repository.events import Events
from repository.rejects import keep, keep_parts
from repository.rows import Claimed, Contended
from scripts.servers.postgres import Postgres, binaries
from tests.contract.events_desk import adding, death, request
from tests.fixtures.commands import Command
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

SCRIPT = Path(__file__).parents[2] / "scripts" / "role.sql"
TABLES = (
    "conversation_events",
    "friendship_status",
    "score_ledger",
    "child_deaths",
    "message_deaths",
    "rejected_messages",
    "rejected_parts",
    "forgotten_conversations",
    "friendship_migrations",
)
NUMBERS = count(1)


class Roles:
    """Names of a worker and an operator, and the URLs of users who are nothing else."""

    def __init__(self, url: str) -> None:
        self.owner = url
        self.worker, self.operator = (
            f"{name}_{os.getpid()}_{next(NUMBERS)}" for name in ("worker", "operator")
        )

    def url(self, role: str) -> str:
        return self.owner.replace(f"//{urlsplit(self.owner).username}@", f"//{role}_user@")

    def run_script(self) -> str:
        done = subprocess.run(
            [
                *(binaries() / "psql", self.owner, "-X", "-q", "-At", "-f", SCRIPT),
                *("-v", "ON_ERROR_STOP=1", "-v", f"worker={self.worker}", "-v", f"operator={self.operator}"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr


@pytest.fixture
def roles(migrated_database_url: str, postgres: Postgres) -> Iterator[Roles]:
    roles = Roles(migrated_database_url)
    assert roles.run_script() == ""
    both = (roles.worker, roles.operator)
    with psycopg.connect(roles.owner, autocommit=True) as connection:
        for role in both:
            connection.execute(f"CREATE ROLE {role}_user LOGIN IN ROLE {role}")
    yield roles
    with psycopg.connect(roles.owner, autocommit=True) as connection:
        for role in both:
            connection.execute(f"DROP OWNED BY {role}, {role}_user")
            connection.execute(f"DROP ROLE {role}, {role}_user")


@pytest.fixture
def worker_database(roles: Roles) -> Iterator[Database]:
    database = Database(roles.url(roles.worker))
    yield database
    database.close()


def test_a_worker_works_with_a_workers_privileges(
    roles: Roles, desk: Desk, start_worker: Callable[..., Worker], command: Command
) -> None:
    """Scores, failures, bad messages, deaths, the retry pass, the check."""
    worker = start_worker(DATABASE_URL=roles.url(roles.worker))
    worker.wait_for("child_ready", times=2)
    desk.publish_many(10)
    desk.publish_raw(b'{"conversation_id": "no-log", "user_id": "lan"}')
    desk.publish_raw(b"nonsense")
    worker.wait_until(lambda: desk.statuses() == {"PROCESSED": 10, "FAILED": 1}, "all have ended")
    worker.wait_until(lambda: desk.depth(desk.broker.dead_queue) == 1, "the bad one is set aside")
    desk.query("UPDATE conversation_events SET next_attempt_at = now() WHERE status = 'FAILED'")
    retried = command("retry", "--database-url", roles.url(roles.worker))
    assert (retried.code, retried.objects[0]["published"]) == (0, 1)
    worker.wait_until(lambda: desk.event("no-log")["attempt_count"] == 2, "it is tried again")  # type: ignore[index]
    assert worker.stop() == 0
    assert worker.logged("message_failed", code="UNEXPECTED_ERROR") == []
    checked = command("check", "--db", "--invariants", "--database-url", roles.url(roles.worker))
    assert checked.code == 0, checked.out


def test_a_worker_may_use_the_numbers_of_a_sequence_that_no_column_owns(
    roles: Roles, worker_database: Database
) -> None:
    """And it is told apart whose fault a refusal is, with a worker's privileges."""
    with psycopg.connect(roles.owner, autocommit=True) as owner:
        owner.execute("ALTER SEQUENCE conversation_events_id_seq OWNED BY NONE")
        owner.execute("CREATE SEQUENCE theirs START 7")
        owner.execute("ALTER TABLE conversation_events ALTER COLUMN id SET DEFAULT nextval('theirs')")
        owner.execute("ALTER TABLE friendship_status ALTER user_id TYPE varchar(5)")
    assert roles.run_script() == ""
    events = Events(worker_database, 60.0)
    claims = [events.claim(request(user, user_id=user)) for user in ("lan", "long-one")]
    assert isinstance(claims[0], Claimed)
    assert isinstance(claims[1], Claimed)
    assert claims[0].event_id == 7
    with pytest.raises(BadData):
        events.complete(claims[1], delta=1.0, details={}, advance=adding(1.0))
    with pytest.raises(BadData):
        events.claim(request(user_id="x" * 256))


def test_every_write_of_a_worker_is_allowed(worker_database: Database, desk: Desk) -> None:
    """Those that a calm hour does not need, too: accounts of the dead, takeovers, bodies kept."""
    for _ in range(2):
        keep(worker_database, b"x", "INVALID_MESSAGE", None)
        keep_parts(worker_database, [b"large ", b"one"], "MESSAGE_TOO_LARGE", None)
    assert desk.query("SELECT sum(hits) AS hits FROM rejected_messages")[0]["hits"] == 4
    events = Events(worker_database, lease_s=180.0)
    claim = events.claim(request())
    assert isinstance(claim, Claimed)
    assert record(worker_database, [death(claim, blamed=True)]) == 1
    unclaimed = replace(death(claim, blamed=True), claimed_by="", conversation_id="", event_id=0, epoch=0)
    assert record(worker_database, [unclaimed]) == 1
    contended = events.claim(request(redelivered=True))
    assert isinstance(contended, Contended)
    mine = events.take_over(contended.sighting, request(), accounted=True)
    assert mine is not None
    events.park(mine.key, b"log")
    events.fail(mine, code="X", details="", delay_s=None, parked=b"log")
    assert events.stored_log(mine.key, 2**26) is not None
    past, mark = Past(worker_database), Mark(unclaimed.body_bytes, unclaimed.body_crc32, None)
    assert past.history(mark).deaths == 1
    past.forgive(mark)
    assert past.history(mark).deaths == 0


def assert_forbidden(url: str, *deeds: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for deed in deeds:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(deed.encode())


def test_neither_role_can_do_more_than_its_work(roles: Roles, command: Command) -> None:
    """Whoever takes a worker's connection over can rewrite no history; an operator can delete, and invent no score."""
    said = command("prune", "--older-than=1d", "--database-url", roles.url(roles.worker))
    assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1)
    assert "scripts/role.sql" in said.err
    no_ddl = (
        "CREATE TABLE mine (x int)",
        "ALTER TABLE conversation_events ADD COLUMN x int",
        "DROP TABLE rejected_parts",
        "TRUNCATE score_ledger",
        "UPDATE score_ledger SET delta = 0",
        "INSERT INTO friendship_migrations VALUES (99, 'x')",
    )
    assert_forbidden(
        roles.url(roles.worker),
        *no_ddl,
        "DELETE FROM score_ledger",
        "DELETE FROM conversation_events",
        "DELETE FROM friendship_status",
        "INSERT INTO forgotten_conversations VALUES ('x')",
    )
    assert_forbidden(
        roles.url(roles.operator),
        *no_ddl,
        "INSERT INTO score_ledger SELECT 1, 'c', 'u', 1, 1, 0, 1, 1",
        "UPDATE friendship_status SET friendship_score = 1",
        "INSERT INTO conversation_events (conversation_id, user_id) VALUES ('c', 'u')",
    )


def test_an_operator_can_do_what_an_operator_does(roles: Roles, desk: Desk, command: Command) -> None:
    """All of the operator's commands, and the check."""
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status) VALUES ('c', 'lan', 'FAILED')"
    )
    database = Database(roles.owner)
    keep(database, b"x", "INVALID_MESSAGE", None)
    keep_parts(database, [b"large"], "INVALID_MESSAGE", None)
    database.close()
    for arguments in (
        ("events", "list"),
        ("events", "show", "c"),
        ("events", "requeue", "c"),
        ("dead", "list"),
        ("dead", "show", "--body"),
        ("dead", "requeue", "--all", "--limit=1"),
        ("dead", "drop", "--all", "--yes"),
        ("prune", "--older-than=1s", "--dry-run"),
        ("prune", "--older-than=1s", "--yes"),
        ("forget", "lan", "--yes"),
        ("check", "--db", "--invariants"),
    ):
        said = command(*arguments, "--database-url", roles.url(roles.operator))
        assert said.code == 0, (arguments, said)
    assert desk.query("SELECT * FROM conversation_events") == []


def test_check_looks_for_what_the_script_grants(roles: Roles, command: Command) -> None:
    """Neither more nor less; to an outsider it names what is missing, and of others' sessions only that they are."""
    for role, needs, words in (
        (roles.worker, server.WORKER, "may do all that run and retry need"),
        (roles.operator, server.OPERATOR, "may do what the operator's commands need"),
    ):
        database = Database(roles.url(role))
        assert server.rights(database).granted == needs
        database.close()
        said = command("check", "--db", "--database-url", roles.url(role))
        assert f"ok   rights         {role}_user {words}" in said.out
    with psycopg.connect(roles.owner, application_name="another's"):
        assert (
            "another's: 1 hidden" in command("check", "--db", "--database-url", roles.url(roles.worker)).out
        )
    with psycopg.connect(roles.owner, autocommit=True) as connection:
        connection.execute(f"REVOKE UPDATE ON friendship_status FROM {roles.worker}".encode())
        connection.execute(f"REVOKE SELECT ON friendship_migrations FROM {roles.worker}".encode())
    said = command("check", "--db", "--database-url", roles.url(roles.worker))
    assert said.code == 1
    assert (
        "lacks UPDATE on friendship_status; SELECT on friendship_migrations -> psql -f scripts/role.sql"
        in said.out
    )


def test_every_table_of_ours_is_granted_something(roles: Roles, desk: Desk) -> None:
    """A table of a later migration must not be forgotten here; running the script again changes nothing.

    What it cannot change without harm to others it names: PostgreSQL 14 lets everybody create tables.
    """
    there = desk.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    assert {row["relname"] for row in there} == set(TABLES)
    grants = (
        "SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee IN (%s, %s) ORDER BY 1, 2, 3"
    )
    before = desk.query(grants, roles.worker, roles.operator)
    assert {row["table_name"] for row in before} == set(TABLES)
    assert roles.run_script() == ""
    assert desk.query(grants, roles.worker, roles.operator) == before
    desk.query("GRANT CREATE ON SCHEMA public TO PUBLIC")
    assert roles.run_script().count("REVOKE CREATE ON SCHEMA public FROM PUBLIC") == 2
