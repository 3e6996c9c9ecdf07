"""A database that takes no writes is away, though it answers."""

import psycopg
import pytest

from repository.connection import Database
from repository.errors import DatabaseAway
from repository.migrations import require
from tests.contract.conftest import DIRECT


def set_read_only(database_url: str, how: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {how}'.encode())


@DIRECT
def test_a_read_only_database_is_not_good_enough(database: Database, migrated_database_url: str) -> None:
    """Whoever would take a message for it must wait; a session opened later finds what it has become meanwhile."""
    require(database)
    set_read_only(migrated_database_url, "on")
    database.close()
    with pytest.raises(DatabaseAway, match="read-only"):
        require(database)
    assert not database.is_open
    set_read_only(migrated_database_url, "off")
    require(database)
