"""What operators and accidents do to a PostgreSQL: each a context in which it cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from scripts.servers.postgres import Postgres

ROLE = "outage_worker"


def operate(server: Postgres, *statements: str, database: str = "postgres") -> None:
    """Run statements as the database's operator."""
    with psycopg.connect(server.url_of(database), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def disconnect(server: Postgres) -> None:
    """End all sessions of the program."""
    operate(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE 'friendship-supervisor%'",
    )


@contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    server.stop("fast")
    yield
    server.start_again()


@contextmanager
def crashed(server: Postgres) -> Iterator[None]:
    server.stop("immediate")
    yield
    server.start_again()


@contextmanager
def killed(server: Postgres) -> Iterator[None]:
    server.kill()
    yield
    server.start_again()


@contextmanager
def paused(server: Postgres) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


@contextmanager
def read_only(server: Postgres) -> Iterator[None]:
    """Refuse writes, as a standby does that a failover left behind; reading goes on."""
    setting = "ALTER SYSTEM {} default_transaction_read_only {}"
    operate(server, setting.format("SET", "= on"), "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        again = "SET default_transaction_read_only = off"
        operate(server, again, setting.format("RESET", ""), "SELECT pg_reload_conf()")


@contextmanager
def full(server: Postgres) -> Iterator[None]:
    """Have no connection left for the program's role."""
    operate(server, f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    disconnect(server)
    yield
    operate(server, f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@contextmanager
def barred(server: Postgres) -> Iterator[None]:
    """Refuse the role at the door, as after a change of its rights."""
    operate(server, f"ALTER ROLE {ROLE} NOLOGIN")
    disconnect(server)
    yield
    operate(server, f"ALTER ROLE {ROLE} LOGIN")


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the table of events, as a careless migration does: nobody reads or writes it."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE conversation_events IN ACCESS EXCLUSIVE MODE")
        yield
