"""What the tests of outages share: the scene of children, and a database role that the server's limits hold for."""

from collections.abc import Callable, Iterator

import pytest

from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker
from tests.outages.operator import ROLE, disconnect, operate
from tests.outages.scene import Scene


@pytest.fixture
def role_url(postgres: Postgres, migrated_database_url: str) -> Iterator[str]:
    """Give the URL of the test's database for a role that is no superuser."""
    name = migrated_database_url.rpartition("/")[2]
    operate(
        postgres,
        f"CREATE ROLE {ROLE} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
        database=name,
    )
    yield migrated_database_url.replace("postgres@", f"{ROLE}@")
    disconnect(postgres)
    operate(postgres, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}", database=name)


@pytest.fixture
def set_scene(
    start_worker: Callable[..., Worker], desk: Desk, memory_api: MemoryApiStandIn
) -> Callable[..., Scene]:
    """Start the program and bring its children to their places: set_scene(children, **environment overrides)."""

    def build(children: int = 4, **overrides: str) -> Scene:
        worker = start_worker(FRIENDSHIP_CHILDREN=str(children), **overrides)
        return Scene(worker, desk, memory_api, children)

    return build
