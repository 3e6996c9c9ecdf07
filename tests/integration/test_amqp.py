"""The link to a real RabbitMQ: one delivery at a time, and every kind of loss seen and survived."""

from collections.abc import Iterator

import pika
import pytest

from consumer import amqp
from consumer.admission import Admission
from consumer.amqp import BrokerLink, Publisher
from consumer.errors import BrokerAway
from consumer.ports import Delivery
from consumer.settings import BrokerSettings
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.depth import depth
from tests.fixtures.eventually import eventually


def keep(_size: int, _message_id: str | None) -> Admission:
    return Admission.KEEP


@pytest.fixture
def broker(rabbitmq_url: str, queue: str) -> BrokerSettings:
    return BrokerSettings(rabbitmq_url, queue)


@pytest.fixture
def link(broker: BrokerSettings) -> Iterator[BrokerLink]:
    opened = BrokerLink(broker, "test", lambda: False, keep)
    opened.open()
    opened.consume()
    yield opened
    opened.close()


def publish(broker: BrokerSettings, *bodies: bytes) -> None:
    with Publisher(broker, "test") as publisher:
        for body in bodies:
            publisher.publish(broker.queue, body)


def receive(link: BrokerLink) -> Delivery:
    return eventually(lambda: link.receive(0.2), "a delivery")  # type: ignore[return-value]


def declared(rabbitmq_url: str, queue: str, **arguments: object) -> bool:
    """Say whether the queue has just these arguments: the broker refuses others."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    try:
        connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    finally:
        connection.close()
    return True


def test_a_missing_queue_is_declared_as_the_contract_says(
    link: BrokerLink, rabbitmq_url: str, queue: str
) -> None:
    """Quorum, delivery limit 50, dead-letter to <queue>.dead."""
    assert declared(
        rabbitmq_url,
        queue,
        **{
            "x-queue-type": "quorum",
            "x-delivery-limit": 50,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": f"{queue}.dead",
        },
    )
    assert depth(BrokerSettings(rabbitmq_url, f"{queue}.dead")) == 0


def test_an_existing_queue_is_used_as_it_is(broker: BrokerSettings) -> None:
    """A classic queue of an older deployment stays classic."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    connection.channel().queue_declare(broker.queue, durable=True)
    connection.close()
    link = BrokerLink(broker, "test", lambda: False, keep)
    link.open()
    link.consume()
    publish(broker, b"one")
    assert receive(link).body == b"one"
    link.close()
    assert declared(broker.url, broker.queue)


def test_one_delivery_is_in_hand_at_a_time(link: BrokerLink, broker: BrokerSettings) -> None:
    """Prefetch 1: the second comes after the first was acknowledged."""
    publish(broker, b"one", b"two")
    first = receive(link)
    assert link.receive(0.2) is None
    assert link.ack(first)
    assert receive(link).body == b"two"


def test_what_was_not_acknowledged_comes_back_redelivered(link: BrokerLink, broker: BrokerSettings) -> None:
    """Closing the link gives it back."""
    publish(broker, b"one")
    assert not receive(link).redelivered
    link.close()
    assert link.broken
    link.open()
    link.consume()
    assert receive(link).redelivered


def test_a_deleted_queue_is_a_broken_link_and_not_silence(link: BrokerLink, broker: BrokerSettings) -> None:
    """The broker cancels the consumer without an error; opening again declares the queue anew."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    connection.channel().queue_delete(broker.queue)
    connection.close()

    def broken() -> bool:
        try:
            link.receive(0.2)
        except BrokerAway:
            return True
        return False

    eventually(broken, "the link is broken")
    link.open()
    link.consume()
    publish(broker, b"one")
    assert receive(link).body == b"one"


def lost(link: BrokerLink) -> str:
    """Wait until the link is lost; give the reason."""
    reasons: list[str] = []

    def away() -> bool:
        try:
            link.receive(0.2)
        except BrokerAway as away:
            reasons.append(away.reason)
        return bool(reasons)

    eventually(away, "the link is lost")
    return reasons[0]


def test_why_a_consumer_was_ended_is_said_in_the_brokers_words(
    link: BrokerLink, broker: BrokerSettings
) -> None:
    """An acknowledgement that it refuses closes the channel; a queue that is deleted ends the consumer."""
    assert not link.ack(Delivery(99, False, b"")) or "unknown delivery tag 99" in lost(link)
    link.open()
    link.consume()
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    connection.channel().queue_delete(broker.queue)
    connection.close()
    assert "the queue was deleted" in lost(link)


def test_a_consumer_that_is_refused_says_so(broker: BrokerSettings) -> None:
    """Another client has the queue to itself."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    connection.channel().queue_declare(broker.queue, durable=True)
    connection.channel().basic_consume(broker.queue, lambda *_: None, exclusive=True)
    refused = BrokerLink(broker, "test", lambda: False, keep)
    refused.open()
    with pytest.raises(BrokerAway, match="exclusive use"):
        refused.consume()
    refused.close()
    connection.close()


def test_a_queue_that_may_not_be_added_is_no_queue_that_another_has_declared(
    rabbitmq: RabbitMQ, queue: str
) -> None:
    """Both are refused with 406: a limit of the virtual host's is told as one."""
    rabbitmq.rabbitmqctl("add_vhost", "narrow")
    rabbitmq.rabbitmqctl("set_permissions", "-p", "narrow", "guest", ".*", ".*", ".*")
    rabbitmq.rabbitmqctl("set_vhost_limits", "-p", "narrow", '{"max-queues": 0}')
    narrow = BrokerSettings(rabbitmq.url.replace("%2F", "narrow"), queue)
    refused = BrokerLink(narrow, "test", lambda: False, keep)
    with pytest.raises(BrokerAway, match="queue limit"):
        refused.open()
    refused.close()
    rabbitmq.rabbitmqctl("delete_vhost", "narrow")


def test_signs_of_life_leave_a_link_as_it_is(
    link: BrokerLink, broker: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for at every look, with a delivery in hand and without: one delivery at a time, as before."""
    monkeypatch.setattr(amqp, "ASK_AFTER_S", 0.0)
    publish(broker, b"one", b"two")
    first = receive(link)
    for _ in range(20):
        assert link.receive(0.01) is None
    assert link.ack(first)
    assert link.ack(receive(link))
    assert link.trouble == ""


def test_a_broker_that_says_nothing_is_lost(
    link: BrokerLink, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While something is in hand it is only told of; nothing that is said to it is waited for without a limit."""
    monkeypatch.setattr(amqp, "ASK_AFTER_S", 0.2)
    monkeypatch.setattr(amqp, "GONE_AFTER_S", 0.5)
    link.pump()
    rabbitmq.pause()

    def pumped() -> str:
        link.pump()
        return link.trouble

    assert eventually(pumped, "it is told") == "no answer for 0.5 s"
    assert not link.broken
    assert lost(link) == "no answer for 0.5 s"
    assert link.broken


def test_leaving_a_silent_broker_has_a_limit(link: BrokerLink, rabbitmq: RabbitMQ) -> None:
    """Cancel and close end by themselves; pika's own would wait until heartbeats fail."""
    rabbitmq.pause()
    link.cancel(0.2)
    assert link.broken
    rabbitmq.resume()
    link.open()
    link.consume()
    rabbitmq.pause()
    link.close()
    assert link.broken


def test_a_broker_that_restarts_breaks_the_link_without_an_exception_while_working(
    link: BrokerLink, broker: BrokerSettings, rabbitmq: RabbitMQ
) -> None:
    """pump and rest never raise; the acknowledgement says that it did not go through."""
    publish(broker, b"one")
    delivery = receive(link)
    rabbitmq.stop()

    def pumped() -> bool:
        link.pump()
        return link.broken

    eventually(pumped, "the link is broken")
    link.rest(0.05)
    assert not link.ack(delivery)
    with pytest.raises(BrokerAway):
        link.open()
    rabbitmq.start_again()
    link.open()
    link.consume()
    assert receive(link).body == b"one"


def test_dead_letters_arrive_with_their_reason(link: BrokerLink, broker: BrokerSettings) -> None:
    """Body unchanged, message_id kept."""
    link.dead_letter(Delivery(1, False, b"\xff\x00", message_id="c-1"), "INVALID_MESSAGE", "not JSON")
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    _, properties, body = connection.channel().basic_get(broker.dead_queue, auto_ack=True)
    connection.close()
    assert properties is not None
    assert properties.headers is not None
    assert properties.headers["reason"] == "INVALID_MESSAGE"
    assert properties.headers["details"] == "not JSON"
    assert (body, properties.message_id) == (b"\xff\x00", "c-1")


def test_a_header_that_cannot_be_read_does_not_break_the_link(
    link: BrokerLink, broker: BrokerSettings
) -> None:
    """A timestamp in milliseconds is a publisher's honest mistake; body and id are what counts."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    properties = pika.BasicProperties(message_id="c-1", headers={"at": 1_795_000_000_000})
    encoded = b"".join(properties.encode())
    assert b"\x02atl" in encoded
    properties.encode = lambda: [encoded.replace(b"\x02atl", b"\x02atT")]
    connection.channel().basic_publish("", broker.queue, b"one", properties)
    connection.close()
    delivery = receive(link)
    assert (delivery.body, delivery.message_id) == (b"one", "c-1")
    assert link.ack(delivery)


def test_a_message_id_that_is_not_utf8_is_none(link: BrokerLink, broker: BrokerSettings) -> None:
    """A short string holds any bytes."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    properties = pika.BasicProperties(message_id=b"\xff\xfe", content_encoding=b"\xff")
    connection.channel().basic_publish("", broker.queue, b"one", properties)
    connection.close()
    delivery = receive(link)
    assert delivery.message_id is None
    assert delivery.content_encoded


def test_a_stop_ends_a_wait_early(broker: BrokerSettings) -> None:
    """A wake from a signal handler of the same thread is enough; so is a stop without a connection."""
    link = BrokerLink(broker, "test", lambda: False, keep)
    link.open()
    link.consume()
    link.wake()
    assert link.receive(30) is None
    link.close()
    stopped = BrokerLink(broker, "test", lambda: True, keep)
    stopped.rest(30)


@pytest.mark.parametrize(
    "url", ["amqp://guest:hunter2@127.0.0.1:1/%2F", "amqp://guest:hunter2@no-such-host.invalid/%2F"]
)
def test_reasons_hold_no_password(url: str, queue: str) -> None:
    """They are logged."""
    with pytest.raises(BrokerAway) as away:
        BrokerLink(BrokerSettings(url, queue), "test", lambda: False, keep).open()
    assert "hunter2" not in away.value.reason


def test_wrong_credentials_are_named(broker: BrokerSettings, queue: str) -> None:
    """Without the password."""
    url = broker.url.replace("guest:guest", "guest:hunter2")
    with pytest.raises(BrokerAway) as away:
        BrokerLink(BrokerSettings(url, queue), "test", lambda: False, keep).open()
    assert away.value.reason == "login refused: wrong user or password"
    assert "hunter2" not in away.value.reason
