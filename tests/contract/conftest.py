"""What the tests of the repository share: a database with the newest schema, and short ways to look into it.

Each test runs twice: on PostgreSQL itself, and through PgBouncer in transaction mode. DIRECT marks those that are about
a session, which is nobody's own behind a pooler.
"""

from collections.abc import Iterator

import pytest

from repository.connection import Database
from repository.events import Events
from scripts.servers.pgbouncer import PgBouncer
from tests.contract.events_desk import Desk

LEASE_S = 180.0

DIRECT = pytest.mark.parametrize("way", ["direct"], indirect=True)


@pytest.fixture(params=["direct", "pooled"])
def way(request: pytest.FixtureRequest) -> PgBouncer | None:
    """Give the pooler that is on the way to the database, or None."""
    if request.param == "direct":
        return None
    pooler: PgBouncer = request.getfixturevalue("pgbouncer")
    return pooler


@pytest.fixture
def database_url(database_url: str, way: PgBouncer | None) -> str:
    return way.through(database_url) if way else database_url


@pytest.fixture
def migrated_database_url(migrated_database_url: str, way: PgBouncer | None) -> str:
    return way.through(migrated_database_url) if way else migrated_database_url


@pytest.fixture
def database(migrated_database_url: str) -> Iterator[Database]:
    database = Database(migrated_database_url, "friendship-supervisor test")
    yield database
    database.close()


@pytest.fixture
def events(database: Database) -> Events:
    return Events(database, LEASE_S)


@pytest.fixture
def desk(database: Database, events: Events) -> Desk:
    return Desk(database, events)
