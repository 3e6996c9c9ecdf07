"""Memory that ran out in this process is no outage: told from libpq's own words, and from libpq itself."""

import gc
import json
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator

import psycopg
import pytest

from repository.connection import Database
from repository.errors import BadData, DatabaseAway, RepositoryError
from repository.failures import JSON, NOTHING, TEXTS, ends_session, meaning, translate
from repository.statements import Statement

SELECT_ONE = Statement("one", b"SELECT 1 AS one", "")
SERVER = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    "error",
    [
        psycopg.DatabaseError("cannot allocate memory for input buffer"),
        psycopg.DatabaseError("out of memory for query result"),
        psycopg.OperationalError("sending query and params failed: cannot allocate memory for output buffer"),
        psycopg.OperationalError("sending query failed: out of memory\n"),
        psycopg.ProgrammingError("out of memory\n"),
        psycopg.OperationalError(SERVER + "out of memory"),
        psycopg.OperationalError(SERVER + "could not create SSL context: malloc failure"),
        psycopg.OperationalError('could not translate host name "db" to address: Memory allocation failure'),
        psycopg.OperationalError(
            SERVER + "FATAL:  the database system is starting up\n" + SERVER + "out of memory"
        ),
    ],
    ids=str,
)
def test_what_libpq_says_without_memory_is_a_memory_error(error: psycopg.Error) -> None:
    """It has no SQLSTATE, and psycopg makes any class of error of it."""
    translated = translate(error)
    assert type(translated) is MemoryError
    assert str(translated) == " ".join(str(error).split())
    assert ends_session(error)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.OutOfMemory("out of memory"),
        psycopg.OperationalError(SERVER + "FATAL:  out of memory\nDETAIL:  Failed on request of size 8192."),
        psycopg.OperationalError(SERVER + "FATAL:  sorry\nDETAIL:  This server is out of memory."),
        psycopg.OperationalError(SERVER + "SCHWERWIEGEND:  out of memory"),
        psycopg.OperationalError("could not fork new process for connection: Cannot allocate memory"),
        psycopg.OperationalError("the connection is closed"),
        psycopg.OperationalError(SERVER + "Connection refused"),
    ],
    ids=str,
)
def test_a_server_without_memory_is_an_outage(error: psycopg.Error) -> None:
    """Another's memory may come back while we wait."""
    assert type(translate(error)) is DatabaseAway


@pytest.mark.parametrize("blaming", [NOTHING, TEXTS, JSON], ids=["nothing", "texts", "json"])
def test_only_the_codes_that_a_statement_names_blame_a_message(blaming: frozenset[str]) -> None:
    """Of all that PostgreSQL has; a statement that names none blames none."""
    known = [
        each
        for each in vars(psycopg.errors).values()
        if isinstance(each, type) and issubclass(each, psycopg.Error) and each.sqlstate
    ]
    assert {each.sqlstate for each in known if meaning(each(), blaming) is BadData} == blaming
    assert all(meaning(each()) is not BadData and issubclass(meaning(each()), DatabaseAway) for each in known)


def test_a_memory_error_shows_no_secret() -> None:
    """Its words are cleaned as any other's."""
    error = psycopg.OperationalError('connection to "s3cr3t" failed: out of memory')
    assert str(translate(error, frozenset({"s3cr3t"}))) == 'connection to "***" failed: out of memory'


def test_a_server_that_says_it_has_no_memory_is_an_outage(database: Database) -> None:
    """As it really comes, with its code; and the connection goes on."""
    statement = b"DO $$ BEGIN RAISE EXCEPTION 'out of memory' USING ERRCODE = '53200'; END $$"
    with pytest.raises(DatabaseAway, match="out of memory"):
        database.execute(Statement("raise", statement, ""))
    assert database.is_open


def test_pythons_own_memory_error_comes_through_as_it_is(database: Database) -> None:
    """From the work inside a transaction, which is rolled back; the connection may be in the middle of anything."""
    mine = MemoryError()

    def work(connection: psycopg.Connection[dict[str, object]]) -> None:
        connection.execute("CREATE TABLE half ()")
        raise mine

    with pytest.raises(MemoryError) as caught:
        database.run(work)
    assert caught.value is mine
    assert not database.is_open
    assert database.execute(Statement("half", b"SELECT to_regclass('half') AS t", "")) == [{"t": None}]


def test_no_memory_to_connect_is_no_outage(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq could not even read its parameters."""

    def connect(*_: object, **__: object) -> None:
        raise psycopg.ProgrammingError("out of memory\n")

    with monkeypatch.context() as without_memory:
        without_memory.setattr("repository.connection.psycopg.connect", connect)
        with pytest.raises(MemoryError) as caught:
            database.execute(SELECT_ONE)
    assert caught.value.__context__ is None
    assert database.execute(SELECT_ONE) == [{"one": 1}]


def test_a_url_is_not_called_bad_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq could not read it, whatever it says."""

    def parse(_: str) -> None:
        raise psycopg.ProgrammingError("out of memory\n")

    monkeypatch.setattr("repository.connection.conninfo_to_dict", parse)
    with pytest.raises(MemoryError):
        Database("postgresql:///x")


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Whatever goes has to go by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Values(dict[str, object]):
    """The parameters of a statement, which can be seen to go."""


def test_a_failed_statement_lets_go_of_its_values(database: Database, without_collector: None) -> None:
    """As soon as its error is handled: it may be a log of megabytes, and the wait for a database is long."""
    values = Values(body=b"large")
    gone = weakref.ref(values)
    try:
        database.execute(Statement("wrong", b"SELECT length(%(body)b::bytea) / 0", ""), values)
    except RepositoryError:
        del values
    assert gone() is None


@pytest.mark.parametrize(
    "error", [psycopg.DatabaseError("out of memory for query result"), psycopg.OperationalError()], ids=repr
)
def test_an_error_does_not_keep_the_librarys(database: Database, error: psycopg.Error) -> None:
    """Its frames hold what was being written."""

    def work(connection: psycopg.Connection[dict[str, object]]) -> None:
        raise error

    with pytest.raises((MemoryError, DatabaseAway)) as caught:
        database.run(work)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


# What a child does that meets its kernel limit in a database call: {room} bytes are left to it
MEETS_THE_LIMIT = """
import json, re, resource, sys
from pathlib import Path
from repository.connection import Database
from repository.statements import Statement

database = Database(sys.argv[1])
database.execute(Statement("warm", b"SELECT 1", ""))
data = int(re.search(r"VmData:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (data + (16 << 20), resource.RLIM_INFINITY))
try:
    {call}
except BaseException as error:
    seen = [type(error).__name__, error.__context__ is None, database.is_open]
resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
seen.append(database.execute(Statement("after", b"SELECT 1 AS one", ""))[0]["one"])
print(json.dumps(seen))
"""


@pytest.mark.parametrize(
    "call",
    [
        'database.execute(Statement("wide", b"SELECT repeat(\'x\', 100000000)", ""))',
        'database.execute(Statement("long", b"SELECT repeat(\'x\', 1000) FROM generate_series(1, 100000)", ""))',
        'database.execute(Statement("out", b"SELECT %(body)b::bytea", ""), {"body": b"x" * (12 << 20)})',
    ],
    ids=["one value", "many rows", "a parameter"],
)
def test_the_kernels_limit_met_in_libpq_is_a_memory_error(migrated_database_url: str, call: str) -> None:
    """Wherever the memory was wanted; the connection is given up, and with room again there is another."""
    program = textwrap.dedent(MEETS_THE_LIMIT).replace("{call}", call)
    ended = subprocess.run(
        [sys.executable, "-c", program, migrated_database_url],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stderr == ""
    assert json.loads(ended.stdout) == ["MemoryError", True, False, 1]
