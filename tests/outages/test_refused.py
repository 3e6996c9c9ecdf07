"""A broker that is there and refuses what a child asks of it: it waits, with backoff, and says why."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pika
import pytest

from scripts.conversations import make
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker
from tests.outages.readiness import until_ready, why_not_ready

Start = Callable[..., Worker]

USER, PASSWORD = "refused_user", "its-secret"
REFUSED_S = 6.0
FEW_LINES = 60
"""Of log: a start, a wait, and an end have about thirty; a child that does not pause writes hundreds a second."""


@pytest.fixture
def user_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """Give the broker's URL for a user whose rights may be taken."""
    rabbitmq.rabbitmqctl("add_user", USER, PASSWORD)
    rabbitmq.rabbitmqctl("set_permissions", USER, ".*", ".*", ".*")
    yield rabbitmq.url.replace("guest:guest@", f"{USER}:{PASSWORD}@")
    rabbitmq.rabbitmqctl("delete_user", USER)


@contextmanager
def taken_exclusively(url: str, queue: str) -> Iterator[None]:
    """Have the queue to oneself, as its only consumer."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.basic_consume(queue, lambda *_: None, exclusive=True)
    try:
        yield
    finally:
        connection.close()


def test_a_queue_that_another_client_has_to_itself_is_waited_for(
    start_worker: Start, desk: Desk, rabbitmq_url: str
) -> None:
    """Never ready meanwhile, one line of log with the broker's own words, and all is well once it is free."""
    with taken_exclusively(rabbitmq_url, desk.broker.queue):
        began = monotonic()
        worker = start_worker("--listen", "127.0.0.1:0")
        assert "exclusive use" in worker.wait_for("waiting", on="broker")["reason"]
        assert "exclusive use" in why_not_ready(worker)
        worker.wait_until(lambda: monotonic() - began > REFUSED_S, "it was tried again and again")
        assert worker.logged("child_ready") == []
        assert len(worker.logged("waiting")) == 1
        assert len(worker.events) < FEW_LINES
    worker.wait_for("back", on="broker")
    until_ready(worker)
    desk.publish([make("one", "user-1")])
    worker.wait_until(lambda: desk.status("one") == "PROCESSED", "it is processed")
    assert worker.stop() == 0


def test_the_right_to_read_that_is_missing_is_said_in_the_brokers_words(
    start_worker: Start, desk: Desk, rabbitmq: RabbitMQ, user_url: str
) -> None:
    """Given, it is used at once; no child was spent on the wait."""
    desk.publish([])  # declares the queue
    rabbitmq.rabbitmqctl("set_permissions", USER, ".*", ".*", "^$")
    worker = start_worker("--listen", "127.0.0.1:0", RABBITMQ_URL=user_url)
    assert "ACCESS_REFUSED" in worker.wait_for("waiting", on="broker")["reason"]
    assert "ACCESS_REFUSED" in why_not_ready(worker)
    assert worker.logged("child_ready") == []
    rabbitmq.rabbitmqctl("set_permissions", USER, ".*", ".*", ".*")
    worker.wait_for("back", on="broker")
    until_ready(worker)
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
