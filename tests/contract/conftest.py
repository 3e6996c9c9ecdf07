"""What the tests of the repository share: a database with the newest schema, and short ways to look into it."""

from collections.abc import Iterator

import pytest

from repository.connection import Database
from repository.events import Events
from tests.contract.events_desk import Desk

LEASE_S = 180.0


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
