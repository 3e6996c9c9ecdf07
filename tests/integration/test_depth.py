"""The queue's gauge, on a real broker."""

from collections.abc import Iterator
from contextlib import closing

import pika
import pytest

from consumer.amqp import Publisher
from consumer.depth import Depth, Gauge
from consumer.errors import BrokerAway
from consumer.settings import BrokerSettings
from tests.fixtures.eventually import eventually
from tests.fixtures.proxy import Relay, host_and_port, through


@pytest.fixture
def gauge(rabbitmq_url: str, queue: str) -> Iterator[Gauge]:
    with closing(Gauge(BrokerSettings(rabbitmq_url, queue))) as opened:
        yield opened


def test_what_is_ready_is_counted_again_and_again(gauge: Gauge, rabbitmq_url: str, queue: str) -> None:
    """No queue yet; then messages in both queues, over the same connection."""
    assert gauge.read() == Depth(None, None, None)
    settings = BrokerSettings(rabbitmq_url, queue)
    with Publisher(settings, "test") as publisher:
        for body in (b"1", b"2"):
            publisher.publish(queue, body)
        publisher.publish(settings.dead_queue, b"3")
    eventually(lambda: gauge.read() == Depth(2, 1, 0), "both are counted")


def test_a_lost_connection_is_told_and_made_anew(rabbitmq_url: str, queue: str) -> None:
    """The reading that meets it fails in our own words, and the next one succeeds."""
    relay = Relay(*host_and_port(rabbitmq_url))
    with relay, closing(Gauge(BrokerSettings(through(relay, rabbitmq_url), queue))) as gauge:
        gauge.read()
        relay.cut()
        with pytest.raises(BrokerAway):
            gauge.read()
        assert gauge.read() == Depth(None, None, None)


def test_a_broker_that_is_away_is_named(queue: str) -> None:
    """Nobody listens there."""
    with (
        closing(Gauge(BrokerSettings("amqp://guest:guest@127.0.0.1:1/%2F", queue))) as gauge,
        pytest.raises(BrokerAway),
    ):
        gauge.read()


def test_a_declaration_is_no_consumer(gauge: Gauge, rabbitmq_url: str, queue: str) -> None:
    """Whoever consumes is counted, whoever looks is not."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    with closing(connection):
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.basic_consume(queue, lambda *_: None)
        eventually(lambda: gauge.read().consumers == 1, "the consumer is counted")
