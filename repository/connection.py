"""One connection per process: opened when it is first needed, after the fork, and dropped when it breaks.

psycopg's errors become ours here and nowhere else. A plain connection rather than a pool: a child does one thing at a
time, and a pool starts threads of its own.

Settings: a session that is ours alone gets them once. Behind a pooler a session serves others too, and what was set
would apply to them: there each transaction gets them for itself, in the same round trip as its statement. Startup
options are never used, as PgBouncer refuses them; the encoding and the name are parameters that it keeps for each
client. No time limit bounds a paused server, whose kernel still acknowledges: behind every call stands the
supervisor's deadline.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from repository.errors import (
    BadData,
    BadDatabaseUrl,
    Busy,
    DatabaseAway,
    Locked,
    RepositoryError,
    ServerTrouble,
    TurnedAway,
)
from repository.failures import (
    FROM_MESSAGE,
    JSON,
    NOTHING,
    ends_session,
    is_answer,
    out_of_memory,
    translate,
    wording,
)
from repository.statements import Statement, load

Row = dict[str, Any]
Connection = psycopg.Connection[Row]
T = TypeVar("T")

APPLICATION_NAME = "friendship-supervisor"
BULKY_BYTES = 1024 * 1024  # of one value; a new connection costs 3 ms
BUSY_PAUSES_S = (0.02, 0.1, 0.5)  # at most, between tries of a transaction that met another

SQL = load("session")


class Database:
    """The way to one database. Not for threads; nothing is opened before it is asked for."""

    def __init__(  # noqa: PLR0913 (the limits of a session, each with a name)
        self,
        url: str,
        application_name: str = APPLICATION_NAME,
        *,
        statement_timeout_s: float = 10.0,
        lock_timeout_s: float = 3.0,
        idle_in_transaction_timeout_s: float = 10.0,
        connect_timeout_s: float = 5.0,
    ) -> None:
        """Keep the URL (any of libpq's forms) for later. Raises BadDatabaseUrl, which repeats nothing of it."""
        if not application_name.startswith(APPLICATION_NAME):
            raise ValueError(f"application_name must begin with {APPLICATION_NAME}")
        self._url = url
        self._secrets = secrets(url)
        self._timeouts = {
            "statement_timeout": milliseconds(statement_timeout_s),
            "lock_timeout": milliseconds(lock_timeout_s),
            "idle_in_transaction_timeout": milliseconds(idle_in_transaction_timeout_s),
        }
        self._parameters: dict[str, Any] = {
            "application_name": application_name,
            "client_encoding": "UTF8",  # else PGCLIENTENCODING is believed
            "connect_timeout": max(2, round(connect_timeout_s)),  # libpq counts less than 2 as 2
            # A peer that vanished: about 10 s until a write fails, 39 s until a wait does
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 30,
            "keepalives_interval": 3,
            "keepalives_count": 3,
        }
        self._open: Connection | None = None
        self._is_pooled = False
        self._opened_by = 0
        self._used_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._open is not None and not self._open.closed

    @property
    def is_pooled(self) -> bool:
        """A pooler stands between: whoever answered the connect is not the server process that works for it."""
        return self._is_pooled

    def idle_s(self) -> float:
        """Seconds since the connection was last used; 0 when it is not open."""
        return time.monotonic() - self._used_at if self.is_open else 0.0

    def connection(self) -> Connection:
        """Return the connection, opened if need be. Raises DatabaseAway, or MemoryError as `execute`."""
        if self._open is not None and not self._open.closed:
            if self._opened_by != os.getpid():
                raise RuntimeError("a connection must not be used on the other side of a fork")
            self._used_at = time.monotonic()
            return self._open
        try:
            connection, is_pooled = self._connect()
        except psycopg.Error as error:
            # Whatever the code: nothing that goes wrong here is an event's fault
            kind = MemoryError if out_of_memory(error) else TurnedAway if is_answer(error) else DatabaseAway
            throw(kind(wording(error, self._secrets)))
        self._open, self._opened_by, self._used_at = connection, os.getpid(), time.monotonic()
        self._is_pooled = is_pooled
        return connection

    def _connect(self) -> tuple[Connection, bool]:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,  # a prepared statement stays behind on PgBouncer's server session
            row_factory=dict_row,
            **self._parameters,
        )
        try:
            server = {"server_pid": str(connection.info.backend_pid)}
            found = connection.execute(spelled(SQL["session"], self._timeouts | server)).fetchone() or {}
            is_pooled = bool(found["is_pooled"])
            if is_pooled:
                connection.isolation_level = IsolationLevel.READ_COMMITTED
                connection.read_only = False if found["takes_writes"] else None
        except BaseException:
            # Whatever it was, ^C included: what was opened is closed, and it goes on its way
            connection.close()
            raise
        return connection, is_pooled

    def close(self) -> None:
        """Drop the connection, if there is one. Another is opened when it is needed."""
        connection, self._open = self._open, None
        if connection is not None and self._opened_by == os.getpid():
            with suppress(psycopg.Error, OSError):
                connection.close()

    def execute(
        self,
        statement: Statement,
        parameters: Mapping[str, Any] | None = None,
        *,
        blaming: frozenset[str] = NOTHING,
    ) -> list[Row]:
        """Run one statement, which is its own transaction, and return its rows (binary format).

        blaming: SQLSTATEs that can name a value of the message among these parameters.
        Raises DatabaseAway, BadData, RepositoryError, or MemoryError, also where it was libpq that found no memory.
        After DatabaseAway it may have been carried out or not.
        """

        def once() -> list[Row]:
            with self._translated(blaming, parameters):
                found = self._ask(statement, parameters)
            if any(map(_is_bulky, (parameters or {}, *found))):
                # libpq never gives back what its buffers have grown to
                self.close()
            return found

        return self._patiently(once)

    def _ask(self, statement: Statement, parameters: Mapping[str, Any] | None) -> list[Row]:
        connection = self.connection()
        return (self._bounded if self._is_pooled else rows)(connection, statement, parameters)

    def _bounded(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any] | None
    ) -> list[Row]:
        """Run a statement with its settings in a transaction of their own, in one round trip."""
        errors: list[psycopg.Error] = []
        with connection.cursor(binary=True) as cursor:
            try:
                with connection.pipeline():
                    try:
                        connection.execute(
                            SQL["begin" if connection.read_only is None else "begin_to_write"].sql
                        )
                        connection.execute(SQL["transaction"].sql, self._timeouts)
                        cursor.execute(statement.sql, parameters)
                        connection.execute(SQL["commit"].sql)
                    except psycopg.Error as error:
                        # The server may refuse the statement before all is sent; the end then tells of an abort only
                        errors.append(error.with_traceback(None))
            except psycopg.Error as error:
                errors.append(error.with_traceback(None))
            except BaseException:
                connection.close()
                raise
            if errors:
                # The pooler keeps the server session for us until the transaction ends
                with suppress(psycopg.Error):
                    connection.rollback()
                throw(errors.pop(0))
            return fetched(cursor)

    def run(
        self,
        work: Callable[[Connection], T],
        *,
        blaming: frozenset[str] = NOTHING,
        parameters: Mapping[str, Any] | None = None,
    ) -> T:
        """Run `work` in a transaction, again when another session was in the way. Raises like `execute`.

        blaming: as in `execute`, of a message whose values are among these parameters.
        """

        def once() -> T:
            with self._transaction(blaming, parameters) as connection:
                return work(connection)

        return self._patiently(once)

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a transaction, committed at the end and rolled back by any exception. Raises like `execute`."""
        return self._transaction(NOTHING, None)

    @contextmanager
    def _transaction(
        self, blaming: frozenset[str], parameters: Mapping[str, Any] | None
    ) -> Iterator[Connection]:
        with self._translated(blaming, parameters):
            connection = self.connection()
            with connection.transaction():
                if self._is_pooled:
                    connection.execute(SQL["transaction"].sql, self._timeouts)
                yield connection
            self._used_at = time.monotonic()

    def _patiently(self, once: Callable[[], T]) -> T:
        for longest_s in BUSY_PAUSES_S:
            try:
                return once()
            except Locked:
                # It has waited for the whole lock timeout: whoever asked decides
                raise
            except Busy:
                time.sleep(random.uniform(0, longest_s))  # noqa: S311 (jitter)
        return once()

    @contextmanager
    def _translated(self, blaming: frozenset[str], parameters: Mapping[str, Any] | None) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            self.close()
            raise
        except (psycopg.Error, UnicodeEncodeError) as error:
            if ends_session(error) or not self.is_open:
                self.close()
            # contextlib's frame holds the error, and the error's traceback by now holds that frame
            error.__traceback__ = None
            throw(self._meaning(error, blaming, parameters or {}))

    def _meaning(
        self,
        error: psycopg.Error | UnicodeEncodeError,
        blaming: frozenset[str],
        parameters: Mapping[str, Any],
    ) -> RepositoryError | MemoryError:
        failure = translate(error, self._secrets, blaming)
        if isinstance(failure, BadData) and not self._names_a_value(error, blaming, parameters):
            return ServerTrouble(failure.reason)
        return failure

    def _names_a_value(
        self,
        error: psycopg.Error | UnicodeEncodeError,
        blaming: frozenset[str],
        parameters: Mapping[str, Any],
    ) -> bool:
        """Look closer at an error that may blame the message; what cannot be told blames the server."""
        if isinstance(error, UnicodeEncodeError) or error.sqlstate is None:
            return True  # it was not even sent
        try:
            match error:
                case psycopg.errors.UntranslatableCharacter():
                    # Elsewhere it is the database that cannot hold what people say
                    return self.connection().info.parameter_status("server_encoding") == "UTF8"
                case psycopg.errors.StringDataRightTruncation():
                    return too_long(parameters, self._ask(SQL["lengths"], {"columns": list(FROM_MESSAGE)}))
                case psycopg.Error(diag=told) if told.constraint_name:
                    refuser = {
                        "schema": told.schema_name,
                        "table": told.table_name,
                        "constraint": told.constraint_name,
                    }
                    found = self._ask(SQL["refused_by"], refuser | {"columns": list(FROM_MESSAGE)})
                    return any(row["of_message"] and not (row["bare"] and told.context) for row in found)
        except (psycopg.Error, DatabaseAway):
            return False
        return blaming == JSON


def too_long(parameters: Mapping[str, Any], columns: Sequence[Row]) -> bool:
    """Say whether a text is longer, in characters, than its column. Blanks at the end are cut off silently."""
    return any(
        isinstance(text := parameters.get(column["name"]), str) and len(text.rstrip(" ")) > column["most"]
        for column in columns
    )


def throw(failure: Exception) -> NoReturn:
    """Raise an error without the one it was made from, whose frames hold what was being written.

    `from None` only hides that one. The caller keeps no name for the new one either: its frames would hold themselves.
    """
    try:
        raise failure
    finally:
        failure.__context__ = None
        del failure


def rows(
    connection: Connection, statement: Statement, parameters: Mapping[str, Any] | None = None
) -> list[Row]:
    """Run a statement on an open connection and return its rows; none for a statement that returns none."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(statement.sql, parameters)
        return fetched(cursor)


def fetched(cursor: psycopg.Cursor[Row]) -> list[Row]:
    return [] if cursor.description is None else cursor.fetchall()


def one(
    connection: Connection, statement: Statement, parameters: Mapping[str, Any] | None = None
) -> Row | None:
    """Return a statement's first row, or None."""
    found = rows(connection, statement, parameters)
    return found[0] if found else None


def spelled(statement: Statement, numbers: Mapping[str, str]) -> bytes:
    """Write numbers into a statement: without parameters psycopg runs, and a child touches, much less of its code."""
    sql = statement.sql
    for name, number in numbers.items():
        sql = sql.replace(b"%%(%b)s" % name.encode(), b"'%d'" % int(number))
    return sql


def _is_bulky(values: Mapping[str, Any]) -> bool:
    return any(isinstance(value, bytes) and len(value) > BULKY_BYTES for value in values.values())


def secrets(url: str) -> frozenset[str]:
    """Read what must never be shown out of a URL. Raises BadDatabaseUrl.

    A password with a bare @ or / ends up in the host, the port or the name of the database, and libpq then quotes it in
    its error: such a URL is refused before it gets that far.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        if out_of_memory(error):
            raise MemoryError from None
        parts = None  # its text quotes the URL
    if parts is None:
        raise BadDatabaseUrl("the database URL is not valid")
    texts = {name: str(value) for name, value in parts.items() if value is not None}
    if any("@" in texts.get(name, "") for name in ("host", "hostaddr", "port", "dbname")):
        raise BadDatabaseUrl("the database URL is not valid: percent-encode @ and / in the password")
    if not all(port.isdigit() or not port for port in texts.get("port", "").split(",")):
        raise BadDatabaseUrl("the database URL is not valid: the port is not a number")
    hidden = {texts[name] for name in ("password", "sslpassword", "passfile") if texts.get(name)}
    return frozenset(word for word in hidden | {quote(word, safe="") for word in hidden} | {url} if word)


def milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
