"""A server that stands still: the connection stays, no answer comes. It is noticed, and keeps nobody from ending."""

import socket
from collections.abc import Callable, Iterator

import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker
from tests.outages.readiness import until_ready, why_not_ready

Start = Callable[..., Worker]

SOON_S = 45.0
"""Heartbeats notice a silent broker after 65 s at the earliest; by ourselves it takes 11."""
END_S = 30.0
"""To end with nothing in hand takes two seconds, on a busy machine more; the drain time-out is a minute and a half."""


def said(worker: Worker) -> str:
    return str(worker.wait_for("waiting", on="broker", limit_s=SOON_S)["reason"])


@pytest.fixture
def mute_server() -> Iterator[int]:
    """Give the port of a server that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.faults
def test_a_broker_that_stands_still_is_said_to_long_before_heartbeats_fail(
    start_worker: Start, desk: Desk, rabbitmq: RabbitMQ
) -> None:
    """Idle children ask for a sign of life, and say why they wait while they try anew; then all is as before."""
    worker = start_worker("--listen", "127.0.0.1:0")
    until_ready(worker)
    rabbitmq.pause()
    assert "no answer" in said(worker)
    assert "no answer" in why_not_ready(worker)
    rabbitmq.resume()
    worker.wait_for("back", on="broker")
    until_ready(worker)
    assert len(worker.logged("waiting")) == 1
    desk.publish([make("one", "user-1")])
    worker.wait_until(lambda: desk.status("one") == "PROCESSED", "it is processed")
    assert worker.stop() == 0
    assert worker.logged("child_killed") == []


@pytest.mark.faults
def test_a_silent_broker_is_said_by_children_in_a_call_and_costs_them_nothing(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, rabbitmq: RabbitMQ
) -> None:
    """Nobody is idle: it is said all the same, and the call goes on, to be acknowledged on the same connection."""
    memory_api.set_mode("hang")
    worker = start_worker("--listen", "127.0.0.1:0", FRIENDSHIP_CHILDREN="1")
    until_ready(worker)
    desk.publish([make("one", "user-1")])
    worker.wait_until(lambda: memory_api.calls().in_flight == 1, "the call is under way")
    rabbitmq.pause()
    assert "no answer" in said(worker)
    assert "broker" in why_not_ready(worker)
    rabbitmq.resume()
    until_ready(worker)
    memory_api.release()
    worker.wait_until(lambda: desk.status("one") == "PROCESSED", "it is processed")
    assert worker.stop() == 0
    assert memory_api.calls().of("one") == 1
    assert worker.logged("broker_lost") == []
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


@pytest.mark.faults
def test_idle_children_end_at_once_although_the_broker_stands_still(
    start_worker: Start, rabbitmq: RabbitMQ
) -> None:
    """The end of a consumer has a limit of its own, and the connection is left without a word."""
    worker = start_worker()
    worker.wait_for("child_ready", times=2)
    rabbitmq.pause()
    assert worker.stop(limit_s=END_S) == 0
    assert worker.logged("child_killed") == []
    assert worker.left_behind() == []


@pytest.mark.faults
@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:{port}/%2F"),
        ("RABBITMQ_URL", "amqps://guest:guest@127.0.0.1:{port}/%2F"),
        ("DATABASE_URL", "postgresql://someone@127.0.0.1:{port}/any"),
    ],
    ids=["broker", "TLS", "database"],
)
def test_children_end_at_once_in_the_midst_of_a_connect_that_hangs(
    start_worker: Start, mute_server: int, variable: str, url: str
) -> None:
    """Whatever hangs, with nothing in hand there is nothing to wait for."""
    worker = start_worker(**{variable: url.format(port=mute_server)})
    worker.wait_for("waiting")
    assert worker.stop(limit_s=END_S) == 0
    assert worker.left_behind() == []
