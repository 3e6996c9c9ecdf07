"""The schema's history: numbered SQL files, each applied once, in order, in a transaction of its own."""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from repository.connection import Database, rows
from repository.errors import Busy, DatabaseAway, SchemaMissing, SchemaOld
from repository.statements import load

log = logging.getLogger("friendship.migrations")

SQL = load("schema")

# A lock that is not had soon is given up, so that nobody queues behind us for long; then it is tried again
LOCK_TIMEOUT_S = 2.0
LOCK_TRIES = 30
LOCK_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: `0001_older_tables`."""

    version: int
    name: str
    sql: bytes


def history() -> Sequence[Migration]:
    """Read the migrations as they were installed, oldest first. Raises ValueError for a gap."""
    found = sorted(
        (
            file
            for file in (files("repository") / "sql" / "migrations").iterdir()
            if file.name.endswith(".sql")
        ),
        key=lambda file: file.name,
    )
    steps = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_bytes()) for file in found
    ]
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError("the migrations are not numbered 1, 2, 3 ...")
    return steps


HISTORY = history()
LATEST = HISTORY[-1].version


def migrate(url: str) -> list[str]:
    """Bring a database to the newest schema and return the names of what was applied; nothing when it is there.

    Safe beside running programs and beside other migrations: a lock is waited for no longer than 2 s at a time, 30
    times. Raises DatabaseAway, BadDatabaseUrl, or another RepositoryError from a table that cannot be brought there.
    """
    database = Database(
        url,
        "friendship-supervisor migrate",
        statement_timeout_s=3600.0,
        idle_in_transaction_timeout_s=60.0,
        lock_timeout_s=LOCK_TIMEOUT_S,
    )
    try:
        return [step.name for step in HISTORY if apply_patiently(database, step)]
    finally:
        database.close()


def apply_patiently(database: Database, step: Migration) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            return apply(database, step)
        except Busy as busy:
            log.info("migration_waits", extra={"migration": step.name, "reason": busy.reason})
            time.sleep(random.uniform(0, LOCK_PAUSE_S))  # noqa: S311 (jitter)
    return apply(database, step)


def apply(database: Database, step: Migration) -> bool:
    """Apply one step unless the book says that it was. Says whether it did."""
    with database.transaction() as connection:
        rows(connection, SQL["lock"])
        rows(connection, SQL["create_book"])
        if rows(connection, SQL["applied"], {"version": step.version}):
            return False
        connection.execute(step.sql)
        rows(connection, SQL["note"], {"version": step.version, "name": step.name})
    log.info("migration_applied", extra={"migration": step.name})
    return True


def schema_version(database: Database) -> int:
    """Return the number of the newest migration applied here; 0 when there is none.

    Raises DatabaseAway, also when it takes no writes: whoever asks is about to work with it.
    """
    # Two statements without a transaction around them: every child asks this first, and a book only grows
    (book,) = database.execute(SQL["book_exists"])
    if book["read_only"]:
        # A URL may name several servers: the next session may find the one that takes writes
        database.close()
        raise DatabaseAway("it takes no writes: read-only, as a standby is after a failover")
    return int(database.execute(SQL["version"])[0]["version"]) if book["found"] else 0


def require(database: Database) -> None:
    """See that the schema is the one this program needs, or newer. Raises SchemaMissing, SchemaOld, DatabaseAway."""
    found = schema_version(database)
    if found == 0:
        raise SchemaMissing(LATEST)
    if found < LATEST:
        raise SchemaOld(found, LATEST)
