"""Looking into the dead-letter queue, on a real broker: nothing is lost, and the order stays."""

import pika
import pytest

from consumer.amqp import Publisher
from consumer.dead_letters import DeadQueue
from consumer.errors import BrokerAway
from consumer.settings import BrokerSettings
from tests.fixtures.eventually import eventually

LARGE = 3_000_000


@pytest.fixture
def broker(rabbitmq_url: str, queue: str) -> BrokerSettings:
    return BrokerSettings(rabbitmq_url, queue)


@pytest.fixture(params=["quorum", "classic"])
def filled(request: pytest.FixtureRequest, broker: BrokerSettings) -> BrokerSettings:
    """Five dead letters in a queue as we declare it, and in one as it may have been before."""
    if request.param == "classic":
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        connection.channel().queue_declare(broker.dead_queue, durable=True)
        connection.close()
    with Publisher(broker, "test") as publisher:
        for number in range(4):
            publisher.publish(
                broker.dead_queue, b"%d" % number, f"id-{number}", {"reason": "INVALID_MESSAGE"}
            )
        publisher.publish(broker.dead_queue, b"x" * LARGE, None, {"reason": "MESSAGE_TOO_LARGE"})
    return broker


def contents(broker: BrokerSettings) -> list[bytes]:
    with DeadQueue(broker, bodies=True) as dead:
        return [letter.body[: letter.size] for letter in dead.letters() if letter.body is not None]


def depth(broker: BrokerSettings, name: str) -> int:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    try:
        return int(connection.channel().queue_declare(name, passive=True).method.message_count)
    finally:
        connection.close()


def settled(broker: BrokerSettings, name: str, expected: int) -> None:
    eventually(lambda: depth(broker, name) == expected, f"{expected} messages in {name}")


def test_a_look_leaves_everything_in_its_place(filled: BrokerSettings) -> None:
    """Twice, so that what the first one gave back is seen in its order; bodies are not fetched for it."""
    for _ in range(2):
        with DeadQueue(filled, bodies=False) as dead:
            letters = list(dead.letters())
        assert [(each.position, each.message_id, each.size, each.reason, each.body) for each in letters] == [
            *((number + 1, f"id-{number}", 1, "INVALID_MESSAGE", None) for number in range(4)),
            (5, None, LARGE, "MESSAGE_TOO_LARGE", None),
        ]
        settled(filled, filled.dead_queue, 5)
    assert contents(filled) == [b"0", b"1", b"2", b"3", b"x" * LARGE]


def test_a_look_that_ends_early_leaves_the_order_too(filled: BrokerSettings) -> None:
    """What was taken goes back to its front."""
    with DeadQueue(filled, bodies=False) as dead:
        assert next(dead.letters()).message_id == "id-0"
    settled(filled, filled.dead_queue, 5)
    assert contents(filled)[:4] == [b"0", b"1", b"2", b"3"]


def test_what_is_dropped_or_requeued_goes_and_the_rest_stays(filled: BrokerSettings) -> None:
    """A requeued message is in the main queue with its body and its id."""
    with Publisher(filled, "test") as publisher, DeadQueue(filled, bodies=True) as dead:
        for letter in dead.letters():
            if letter.message_id == "id-1":
                dead.drop(letter)
            elif letter.message_id in {"id-2", None}:
                dead.requeue(letter, publisher)
    settled(filled, filled.dead_queue, 2)
    assert contents(filled) == [b"0", b"3"]
    connection = pika.BlockingConnection(pika.URLParameters(filled.url))
    channel = connection.channel()
    got = [channel.basic_get(filled.queue, auto_ack=True) for _ in range(2)]
    connection.close()
    assert [(properties.message_id, body) for _, properties, body in got] == [
        ("id-2", b"2"),
        (None, b"x" * LARGE),
    ]


def test_a_message_whose_publication_fails_stays(filled: BrokerSettings) -> None:
    """It is acknowledged after the confirm, never before."""
    with DeadQueue(filled, bodies=True) as dead:
        with Publisher(filled, "test") as publisher:
            letter = next(dead.letters())
        with pytest.raises(BrokerAway):
            dead.requeue(letter, publisher)
    settled(filled, filled.dead_queue, 5)


def test_a_queue_that_is_not_there_is_empty(broker: BrokerSettings) -> None:
    """Nothing was ever set aside."""
    with DeadQueue(broker, bodies=False) as dead:
        assert list(dead.letters()) == []


def test_looks_do_not_use_a_message_up(broker: BrokerSettings) -> None:
    """RabbitMQ 4 drops after 20 deliveries where a queue names no limit of its own: this one does."""
    with Publisher(broker, "test") as publisher:
        publisher.publish(broker.dead_queue, b"x")
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="x-delivery-limit"):
        connection.channel().queue_declare(
            broker.dead_queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 20}
        )
    connection.close()
    for _ in range(25):
        with DeadQueue(broker, bodies=False) as dead:
            list(dead.letters())
        settled(broker, broker.dead_queue, 1)
