"""The database during a slow call: no transaction stands open, and no child holds a second connection."""

import threading
from collections.abc import Callable
from typing import Self

import psycopg

from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]

SAMPLE = """
SELECT count(*) FILTER (WHERE state LIKE 'idle in transaction%'
                          AND state_change < clock_timestamp() - interval '500 ms'), count(*)
  FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'friendship-supervisor%'
"""


class Sampler:
    """Looks at the sessions every 20 ms from a thread of its own."""

    def __init__(self, url: str) -> None:
        self.samples: list[tuple[int, int]] = []
        self._over = threading.Event()
        self._url = url
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.wait(0.02):
                row = connection.execute(SAMPLE).fetchone()
                assert row is not None
                self.samples.append((row[0], row[1]))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_nothing_is_idle_in_transaction_and_eight_children_hold_at_most_eight_connections(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, migrated_database_url: str
) -> None:
    """Sampled every 20 ms while calls take 2 s."""
    memory_api.set_mode("delay", seconds=2.0)
    worker = start_worker(FRIENDSHIP_CHILDREN="8")
    worker.wait_for("child_ready", times=8)
    with Sampler(migrated_database_url) as sampler:
        desk.publish_many(24, size_bytes=30_000)
        worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 24, "all are processed")
    assert worker.stop() == 0
    assert len(sampler.samples) > 50
    assert max(waiting for waiting, _ in sampler.samples) == 0
    assert 1 <= max(connections for _, connections in sampler.samples) <= 8
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
