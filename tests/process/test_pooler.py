"""The whole program behind PgBouncer in transaction mode, with fewer sessions of the server than children."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from repository.migrations import migrate
from scripts.servers.pgbouncer import PgBouncer
from scripts.servers.postgres import Postgres
from tests.fixtures.commands import Command
from tests.fixtures.desk import Desk
from tests.fixtures.servers import start_or_skip
from tests.fixtures.worker import Worker


@pytest.fixture
def pooled_url(
    server_directory: Path, postgres_of_the_session: Postgres, migrated_database_url: str
) -> Iterator[str]:
    pooler = start_or_skip(lambda: PgBouncer.start(server_directory, postgres_of_the_session, pool_size=2))
    yield pooler.through(migrated_database_url)
    pooler.close()


def test_four_children_share_two_sessions_of_the_server(
    pooled_url: str, start_worker: Callable[..., Worker], desk: Desk, command: Command
) -> None:
    """All is scored once; what commands of longer time limits do stays theirs, and `check` says what is between."""
    assert migrate(pooled_url) == []
    worker = start_worker(FRIENDSHIP_CHILDREN="4", DATABASE_URL=pooled_url)
    worker.wait_for("child_ready", times=4)
    desk.publish_many(20)
    worker.wait_until(lambda: desk.statuses() == {"PROCESSED": 20}, "all are processed")
    there = ("--database-url", pooled_url)
    checked = command("check", "--db", "--invariants", *there)
    assert (checked.code, "a pooler stands between" in checked.out) == (0, True), checked.out
    assert command("retry", *there).code == 0
    assert command("prune", "--older-than=30d", "--yes", *there).code == 0
    assert command("events", "list", *there).code == 0
    assert worker.logged("waiting") == []
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
