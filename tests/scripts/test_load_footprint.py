"""What a message leaves at the servers, small."""

import pytest

from scripts.load.footprint import footprint, waiting
from scripts.servers.stack import Stack


@pytest.mark.slow
def test_every_server_is_asked(stack: Stack) -> None:
    """The broker stores each body, the database's log grows by something, and who waits long holds no session."""
    one = footprint(stack, size_bytes=50_000, messages=20, children=2, api_s=0.0)
    assert one.body_bytes >= 45_000
    assert one.request_bytes > one.body_bytes / 3
    assert one.broker_disk_bytes >= one.body_bytes
    assert one.wal_bytes > 500
    assert one.cpu_ms > 0
    cost = waiting(stack, size_bytes=50_000, children=2, watched_s=4.0)
    assert cost.waiting_mb > cost.idle_mb > 0
    assert cost.cpu_ms_per_s > 0
    assert cost.connections == 0
