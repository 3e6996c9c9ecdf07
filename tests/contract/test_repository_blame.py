"""Whose fault a refusal is: a message's only where the code, the column and the statement can name a value of it."""

from collections.abc import Iterator

import psycopg
import pytest

from repository import server
from repository.connection import Database
from repository.errors import BadData, ServerTrouble
from repository.events import Events
from repository.migrations import migrate
from scripts.servers.pgbouncer import PgBouncer
from scripts.servers.postgres import Postgres
from tests.contract.conftest import LEASE_S
from tests.contract.events_desk import Desk

CHECK = "ALTER TABLE conversation_events ADD CONSTRAINT theirs CHECK ({})"
USERS = (
    "CREATE TABLE users (id varchar PRIMARY KEY);"
    "ALTER TABLE conversation_events ADD CONSTRAINT theirs FOREIGN KEY (user_id) REFERENCES users"
)
WIDE = (
    "CREATE SEQUENCE wide START 2147483648;"
    "ALTER TABLE conversation_events ALTER COLUMN id SET DEFAULT nextval('wide')"
)
RAISES = (
    "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END $$;"
    "CREATE TRIGGER theirs BEFORE INSERT ON conversation_events FOR EACH ROW EXECUTE FUNCTION theirs()"
)


@pytest.mark.parametrize(
    ("foreign", "fault"),
    [
        (CHECK.format("length(user_id) > 3"), BadData),
        (CHECK.format("bot_type IS NOT NULL"), BadData),
        (USERS, BadData),
        (CHECK.format("attempt_count = 0"), ServerTrouble),
        (CHECK.format("claimed_by IS NULL"), ServerTrouble),
        ("ALTER TABLE conversation_events ADD COLUMN theirs text NOT NULL", ServerTrouble),
        (WIDE, ServerTrouble),
        (RAISES, ServerTrouble),
    ],
    ids=[
        *("a check of a user's id", "a check of a bot's type", "a user nobody knows", "a check of our count"),
        *("a check of our name", "a column of theirs", "a number beyond its column", "a trigger"),
    ],
)
def test_a_refused_claim_is_the_messages_fault_only_for_a_value_of_it(
    desk: Desk, foreign: str, fault: type[Exception]
) -> None:
    """A constraint blames it when it speaks of a column that messages fill; what cannot be told holds the queue."""
    for statement in foreign.split(";") if foreign != RAISES else [foreign]:
        with psycopg.connect(desk.database._url, autocommit=True) as other:
            other.execute(statement.encode())
    with pytest.raises(BadData if fault is BadData else ServerTrouble) as caught:
        desk.claim()
    assert type(caught.value) is fault
    assert desk.database.is_open


@pytest.mark.parametrize(
    "foreign",
    [
        CHECK.format("error_code IS NULL OR error_code = 'THEIRS'"),
        CHECK.format("status <> 'FAILED'"),
        CHECK.format("conversation_id IS NULL OR status = 'PROCESSING'"),
        "ALTER TABLE conversation_events ALTER COLUMN error_code TYPE varchar(3)",
    ],
    ids=["a check of the code", "a check of the status", "a check of both", "a narrow column"],
)
def test_a_refused_failure_is_never_the_messages_fault(desk: Desk, foreign: str) -> None:
    """All that it writes is ours: the claim stays, and the same write passes once that is mended."""
    claim = desk.claim()
    desk.run(foreign)
    with pytest.raises(ServerTrouble):
        desk.fail(claim)
    assert desk.row()["status"] == "PROCESSING"
    desk.run(
        "ALTER TABLE conversation_events DROP CONSTRAINT IF EXISTS theirs, ALTER COLUMN error_code TYPE varchar(50)"
    )
    desk.fail(claim)
    assert desk.row()["status"] == "FAILED"


def test_a_check_of_scores_holds_the_outcome(desk: Desk) -> None:
    """It speaks of what we sum up, not of what the message says."""
    claim = desk.claim()
    desk.run("ALTER TABLE friendship_status ADD CONSTRAINT theirs CHECK (friendship_score < 10)")
    with pytest.raises(ServerTrouble, match="23514"):
        desk.complete(claim, 10.0)
    desk.run("ALTER TABLE friendship_status DROP CONSTRAINT theirs")
    desk.complete(claim, 10.0)
    assert desk.user()["friendship_score"] == 10.0


@pytest.fixture
def foreign(request: pytest.FixtureRequest, postgres: Postgres, way: PgBouncer | None) -> Iterator[Desk]:
    """Give a desk in a database of another encoding."""
    name = f"in_{request.param.lower()}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING '{request.param}' TEMPLATE template0".encode())
    url = postgres.url_of(name)
    migrate(url)
    database = Database(way.through(url) if way else url)
    yield Desk(database, Events(database, LEASE_S))
    database.close()
    postgres.drop_database(name)


@pytest.mark.parametrize("foreign", ["SQL_ASCII"], indirect=True)
def test_a_database_that_knows_no_encoding_keeps_what_it_is_given(foreign: Desk) -> None:
    """Sessions are of UTF-8 whatever the database would have them be."""
    claim = foreign.claim("trò chuyện", user_id="lân", agent_tag="phim ảnh")
    assert (claim.conversation_id, claim.user_id) == ("trò chuyện", "lân")
    foreign.complete(claim)
    assert foreign.refused("trò chuyện", user_id="lân").settled
    assert foreign.user("lân")["friendship_score"] == 10.0


@pytest.mark.parametrize("foreign", ["LATIN1"], indirect=True)
def test_a_database_that_lacks_characters_blames_no_message(foreign: Desk) -> None:
    """Each conversation in Vietnamese would be set aside as invalid; what it can hold goes on."""
    with pytest.raises(ServerTrouble, match="22P05"):
        foreign.claim("trò chuyện", user_id="Việt")
    foreign.complete(foreign.claim("café"))


def test_the_serial_numbers_that_are_used_up_are_known_before_the_end(desk: Desk) -> None:
    """Of the sequence's, or of those that the column holds."""
    assert server.numbers_used(desk.database) is None
    desk.run("SELECT setval('conversation_events_id_seq', 1800000000)")
    assert server.numbers_used(desk.database) == pytest.approx(1_800_000_000 / 2_147_483_647)
    desk.run("ALTER SEQUENCE conversation_events_id_seq AS bigint")
    assert server.numbers_used(desk.database) == pytest.approx(1_800_000_000 / 2_147_483_647)
    desk.run("ALTER TABLE conversation_events ALTER COLUMN id TYPE bigint")
    assert (server.numbers_used(desk.database) or 1) < 1e-6
