"""Whose fault a refusal is: a message's only where the code, the column and the statement can name a value of it."""

from collections.abc import Iterator

import psycopg
import pytest

from repository import logs, server
from repository.connection import Database, rows
from repository.errors import BadData, ServerTrouble
from repository.events import Events
from repository.migrations import migrate
from scripts.servers.pgbouncer import PgBouncer
from scripts.servers.postgres import Postgres
from tests.contract.conftest import DIRECT, LEASE_S
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
NARROW = "ALTER TABLE {} ALTER {} TYPE {}"


def trigger(body: str, when: str = "BEFORE INSERT OR UPDATE", table: str = "conversation_events") -> str:
    """Make somebody else's trigger."""
    return (
        "CREATE TABLE audit (what varchar(5) CONSTRAINT theirs CHECK (what <> ''), user_id varchar(5));"
        f"CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;"
        f"CREATE TRIGGER theirs {when} ON {table} FOR EACH ROW EXECUTE FUNCTION theirs()"
    )


AUDIT = trigger("INSERT INTO audit (what) VALUES (NEW.conversation_id || '/' || NEW.status)")
CAST = (
    "CREATE FUNCTION theirs(text) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1::int $$;"
    "CREATE INDEX theirs ON conversation_events (theirs(conversation_id))"
)
CENTS = (
    "ALTER TABLE friendship_status ADD cents smallint"
    " GENERATED ALWAYS AS ((friendship_score * 100000)::smallint) STORED"
)
LONG_TAG = "tag" * 50


def outside(desk: Desk, sql: str) -> None:
    with psycopg.connect(desk.database._url, autocommit=True) as other:
        other.execute(sql.encode())


@pytest.mark.parametrize(
    "foreign",
    [
        CHECK.format("length(user_id) > 3"),
        CHECK.format("bot_type IS NOT NULL"),
        CHECK.format("bot_type IS NOT NULL OR agent_tag = user_id"),
        USERS,
        NARROW.format("conversation_events", "user_id", "varchar(2)"),
        NARROW.format("conversation_events", "agent_tag", "char(100)"),
        "CREATE DOMAIN short AS varchar(100);" + NARROW.format("conversation_events", "agent_tag", "short"),
        trigger("RETURN NEW") + ";" + NARROW.format("conversation_events", "user_id", "varchar(2)"),
    ],
    ids=[
        *("a check of a user's id", "a check of a bot's type", "a check of two", "a user nobody knows"),
        *("a narrow column", "a narrow column of blanks", "a narrow type", "a narrow column with a trigger"),
    ],
)
def test_a_claim_refused_for_a_value_of_the_message_is_the_messages_fault(desk: Desk, foreign: str) -> None:
    """All that refuses it is of columns that messages fill, and no other message waits for it."""
    outside(desk, foreign)
    with pytest.raises(BadData):
        desk.claim(agent_tag=LONG_TAG)
    assert desk.database.is_open


def test_a_key_too_long_for_a_foreign_index_is_the_messages_fault(desk: Desk) -> None:
    """A long URL that does not compress; a short one passes."""
    outside(desk, "CREATE INDEX theirs ON conversation_events (conversation_log_url, user_id)")
    url = "s3://b/" + "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(2000))
    with pytest.raises(BadData, match="54000"):
        desk.claim(conversation_log_url=url)
    desk.claim(conversation_log_url="s3://b/k")


@pytest.mark.parametrize(
    "foreign",
    [
        CHECK.format("attempt_count = 0"),
        CHECK.format("claimed_by IS NULL"),
        CHECK.format("status <> 'PROCESSING' OR bot_type IS NOT NULL"),
        CHECK.format("conversation_events IS NULL"),
        "ALTER TABLE conversation_events ADD COLUMN theirs text NOT NULL",
        WIDE,
        NARROW.format("conversation_events", "status", "varchar(9)"),
        NARROW.format("conversation_events", "claimed_by", "varchar(3)"),
        AUDIT,
        CAST,
        trigger("INSERT INTO audit (what) VALUES ('')"),
        trigger("INSERT INTO audit (user_id) VALUES (NEW.user_id || NEW.status)"),
        trigger("PERFORM ('x' || NEW.status)::int"),
        trigger("PERFORM to_date('99/99', 'DD/MM')"),
        trigger("PERFORM '99'::timestamptz"),
        trigger("PERFORM chr(0)"),
        trigger("PERFORM 99999::smallint"),
        trigger("UPDATE conversation_events SET bot_id = ''", "AFTER INSERT OR UPDATE"),
        trigger("RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'"),
        trigger(
            "RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA,"
            " TABLE = TG_TABLE_NAME, CONSTRAINT = 'conversation_events_conversation_id_key'"
        ),
        trigger("RAISE EXCEPTION 'no' USING ERRCODE = 'program_limit_exceeded'"),
    ],
    ids=[
        *("a check of our count", "a check of our name", "a check of our status", "a check of the row"),
        *("a column of theirs", "a number beyond its column", "a narrow status", "a narrow name", "an audit"),
        *(
            "an index that casts",
            "a check of theirs",
            "a narrow column of theirs",
            "a cast",
            "a date",
            "a time",
        ),
        *("a character", "a number", "an endless trigger", "a trigger that checks"),
        *("a trigger that names ours", "a trigger that says 54000"),
    ],
)
def test_a_claim_refused_for_anything_else_is_the_servers_trouble(desk: Desk, foreign: str) -> None:
    """What cannot be told holds the queue: it would set each message aside."""
    outside(desk, foreign)
    with pytest.raises(ServerTrouble):
        desk.claim()
    assert desk.database.is_open


@DIRECT
def test_a_server_that_logs_parameters_still_blames_a_value(desk: Desk) -> None:
    """It gives each error a context, which otherwise tells of somebody's trigger."""
    outside(desk, CHECK.format("length(user_id) > 3"))
    (name,) = desk.run("SELECT current_database() AS it")
    outside(desk, f"ALTER DATABASE {name['it']} SET log_parameter_max_length_on_error = -1")
    desk.database.close()
    with pytest.raises(BadData):
        desk.claim()


@pytest.mark.parametrize(
    ("foreign", "fault"),
    [
        (NARROW.format("conversation_events", "new_friendship_level", "varchar(10)"), ServerTrouble),
        (NARROW.format("friendship_status", "friendship_score", "numeric(2,1)"), ServerTrouble),
        (CENTS, ServerTrouble),
        (
            CHECK.format("status <> 'PROCESSED' OR agent_tag IS NOT NULL AND processing_ms IS NULL"),
            ServerTrouble,
        ),
        (trigger("PERFORM ('x' || NEW.user_id)::int", table="friendship_status"), ServerTrouble),
        (NARROW.format("friendship_status", "user_id", "varchar(2)"), BadData),
        ("ALTER TABLE friendship_status ADD CONSTRAINT theirs CHECK (length(user_id) > 3)", BadData),
    ],
    ids=[
        *("a narrow level", "a narrow score", "a narrow sum", "a check of our status", "a cast"),
        *("a narrow user's id", "a check of a user's id"),
    ],
)
def test_a_refused_score_is_the_messages_fault_only_for_its_users_id(
    desk: Desk, foreign: str, fault: type[Exception]
) -> None:
    """Scores and levels are ours, and what they cost is paid: the claim stays and the write waits."""
    claim = desk.claim()
    outside(desk, foreign)
    with pytest.raises(BadData if fault is BadData else ServerTrouble):
        desk.complete(claim)
    assert desk.row()["status"] == "PROCESSING"


HEADING = logs.Heading(conversation_id="talk", user_id="lan")


@pytest.mark.parametrize(
    "foreign",
    [AUDIT, CAST, trigger("PERFORM ('x' || NEW.status)::int"), trigger("PERFORM '\"\\u0000\"'::jsonb ->> 0")],
    ids=["an audit", "an index that casts", "a cast", "json of theirs"],
)
def test_a_log_is_not_blamed_for_the_servers_trouble(desk: Desk, foreign: str) -> None:
    """The same log passes once that is mended."""
    outside(desk, foreign)
    with pytest.raises(ServerTrouble):
        logs.store(desk.database, HEADING, b'[{"speaker":"user","text":"a"}]', 1 << 20)


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
    with pytest.raises(ServerTrouble, match="22001"):  # it counts bytes
        foreign.claim("ệ" * 200, user_id="lân")
    assert foreign.refused("trò chuyện", user_id="lân").settled
    assert foreign.user("lân")["friendship_score"] == 10.0


@pytest.mark.parametrize("foreign", ["LATIN1"], indirect=True)
def test_a_database_that_lacks_characters_blames_no_message(foreign: Desk) -> None:
    """Each conversation in Vietnamese would be set aside as invalid; what it can hold goes on."""
    with pytest.raises(ServerTrouble, match="22P05"):
        foreign.claim("trò chuyện", user_id="Việt")
    foreign.complete(foreign.claim("café"))


def used(desk: Desk) -> float:
    found = server.numbers(desk.database)
    assert found is not None
    return found.used


def test_the_serial_numbers_that_are_used_up_are_known_before_the_end(desk: Desk) -> None:
    """Of the sequence's, or of those that the column holds."""
    assert server.numbers(desk.database) is None
    desk.run("SELECT setval('conversation_events_id_seq', 1800000000)")
    assert used(desk) == pytest.approx(1_800_000_000 / 2_147_483_647)
    desk.run("ALTER SEQUENCE conversation_events_id_seq AS bigint")
    assert used(desk) == pytest.approx(1_800_000_000 / 2_147_483_647)
    desk.run("ALTER TABLE conversation_events ALTER COLUMN id TYPE bigint")
    assert used(desk) < 1e-6


def test_the_numbers_are_those_of_the_columns_default_whoever_owns_the_sequence(desk: Desk) -> None:
    """A dump and restore, or a table made by hand, leaves it without an owner; or the owned one is out of use."""
    desk.run("CREATE SEQUENCE theirs MAXVALUE 1000")
    desk.run("ALTER TABLE conversation_events ALTER COLUMN id SET DEFAULT nextval('theirs')")
    desk.run("SELECT setval('theirs', 900), setval('conversation_events_id_seq', 2147483647)")
    assert server.numbers(desk.database) == server.Numbers("theirs", 0.9, by_hand=True)
    desk.run("ALTER SEQUENCE theirs NO MAXVALUE")
    assert server.numbers(desk.database) == server.Numbers("theirs", 900 / 2_147_483_647, by_hand=False)
    desk.run("CREATE ROLE without_numbers; GRANT SELECT ON conversation_events TO without_numbers")
    try:
        with desk.database.transaction() as connection:
            connection.execute("SET LOCAL ROLE without_numbers")
            (seen,) = rows(connection, server.SQL["sequence"])
        assert seen == {"name": "theirs", "granted": False}
    finally:
        desk.run("DROP OWNED BY without_numbers; DROP ROLE without_numbers")


def test_the_numbers_of_an_identity_column_are_known_and_need_no_grant(desk: Desk) -> None:
    """It has no default, and its sequence is its own."""
    desk.run("ALTER TABLE conversation_events ALTER COLUMN id DROP DEFAULT")
    desk.run(
        "ALTER TABLE conversation_events ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (START 1900000000)"
    )
    desk.claim()
    assert used(desk) == pytest.approx(1_900_000_000 / 2_147_483_647)
    assert desk.database.execute(server.SQL["sequence"]) == []
