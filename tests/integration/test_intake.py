"""Bodies of any size from a real RabbitMQ: known by their size first, kept, spooled or left."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import psutil
import pytest

from consumer.admission import Admission
from consumer.amqp import BrokerLink, Publisher
from consumer.errors import BodyNotKept, BrokerAway, NoRoom
from consumer.intake import Spool
from consumer.ports import Delivery
from consumer.settings import BrokerSettings
from tests.fixtures.depth import depth
from tests.fixtures.eventually import eventually

LARGE = 20_000_000


class Desk:
    """A link that says what was announced, and admits as it is told."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.broker = broker
        self.announced: list[tuple[int, str | None]] = []
        self.admission = Admission.KEEP
        self.link = BrokerLink(broker, "test", lambda: False, self.announce)
        self.link.open()
        self.link.consume()

    def announce(self, size: int, message_id: str | None) -> Admission:
        self.announced.append((size, message_id))
        return self.admission

    def publish(self, body: bytes, message_id: str | None = None) -> None:
        with Publisher(self.broker, "test") as publisher:
            publisher.publish(self.broker.queue, body, message_id)

    def receive(self) -> Delivery:
        return eventually(lambda: self.link.receive(0.2), "a delivery")  # type: ignore[return-value]


@pytest.fixture
def desk(rabbitmq_url: str, queue: str) -> Iterator[Desk]:
    desk = Desk(BrokerSettings(rabbitmq_url, queue))
    yield desk
    desk.link.close()


@pytest.mark.parametrize("size", [0, 1, 65_528, 65_529, 3_000_000])
def test_a_kept_body_arrives_as_it_was_sent(desk: Desk, size: int) -> None:
    """Whatever its frames: its size and message_id were known before."""
    body = os.urandom(size)
    desk.publish(body, "conv-1")
    delivery = desk.receive()
    assert delivery.body == body
    assert (delivery.size, delivery.spool) == (size, None)
    assert desk.announced == [(size, "conv-1")]
    assert desk.link.ack(delivery)


def test_a_kept_body_is_held_once(desk: Desk) -> None:
    """Its frames are put into their place as they come."""
    desk.publish(bytes(LARGE))
    tracemalloc.start()
    try:
        delivery = desk.receive()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert delivery.size == LARGE
    assert peak < 1.2 * LARGE


def test_a_spooled_body_goes_to_the_dead_queue_without_being_held(desk: Desk) -> None:
    """From the queue through a file into the other queue, whole, some frames at a time."""
    body = os.urandom(1_000_003) * 20
    desk.publish(body)
    desk.admission = Admission.SPOOL
    tracemalloc.start()
    try:
        delivery = desk.receive()
        desk.link.dead_letter(delivery, "MESSAGE_TOO_LARGE", "much")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (delivery.body, delivery.size) == (b"", len(body))
    assert peak < 0.25 * len(body)
    assert desk.link.ack(delivery)
    dead = Desk(BrokerSettings(desk.broker.url, desk.broker.dead_queue))
    assert dead.receive().body == body
    dead.link.close()


def test_a_body_that_is_left_goes_back_to_the_queue(desk: Desk) -> None:
    """Closing the link gives it to whoever has room."""
    desk.publish(bytes(LARGE))
    desk.admission = Admission.LEAVE
    with pytest.raises(NoRoom) as refused:
        eventually(lambda: desk.link.receive(0.2), "a refusal")
    assert refused.value.size_bytes == LARGE
    desk.link.close()
    desk.admission = Admission.KEEP
    desk.link.open()
    desk.link.consume()
    delivery = desk.receive()
    assert delivery.size == LARGE
    assert delivery.redelivered


def test_a_body_that_no_file_takes_is_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space on the disk, at first or on the way."""
    desk.admission = Admission.SPOOL

    def no_file(**_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "open", no_file)
        desk.publish(bytes(LARGE))
        with pytest.raises(BodyNotKept):
            eventually(lambda: desk.link.receive(0.2), "a refusal")
    desk.link.close()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", lambda _spool, _data: no_file())
        desk.link.open()
        desk.link.consume()
        with pytest.raises(BodyNotKept):
            eventually(lambda: desk.link.receive(0.2), "a refusal")


def test_a_body_for_which_there_is_no_memory_is_no_lost_connection(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pika takes any exception in its frames for a lost stream; a MemoryError comes out as what it is."""

    def no_memory(_size: int, _message_id: str | None) -> Admission:
        raise MemoryError

    monkeypatch.setattr(desk.link._intake, "_announce", no_memory)
    desk.publish(b"one")
    with pytest.raises(MemoryError):
        eventually(lambda: desk.link.receive(0.2), "the end")


def test_a_channel_that_closes_while_it_cancels_holds_nobody_up(desk: Desk) -> None:
    """The confirmation never comes: the link is broken, and says so."""
    assert desk.link._channel is not None
    # An unknown delivery tag: the broker closes the channel for it, and answers nothing that comes after
    desk.link._channel._impl.basic_ack(99)
    desk.link.cancel()
    with pytest.raises(BrokerAway):
        eventually(lambda: desk.link.receive(0.2), "the end")


def test_a_cancelled_link_sends_nothing_back(desk: Desk) -> None:
    """Cancelled before its acknowledgement, a child that goes leaves the next message untouched by it."""
    desk.publish(b"one")
    desk.publish(b"two")
    first = desk.receive()
    desk.link.cancel()
    assert not desk.link.broken
    assert desk.link.ack(first)
    assert desk.link.receive(0.2) is None
    desk.link.close()
    assert depth(desk.broker) == 1
    desk.link.open()
    desk.link.consume()
    second = desk.receive()
    assert (second.body, second.redelivered) == (b"two", False)


def test_what_is_on_its_way_while_a_link_cancels_is_received(desk: Desk) -> None:
    """It has been sent already: it is dealt with, and not sent back to be delivered a second time."""
    for number in range(20):
        desk.publish(b"%d" % number)
        # Sent by the broker, and not read yet: the link has not been asked since
        eventually(lambda: depth(desk.broker) == 0, "it is on its way")
        desk.link.cancel()
        delivery = desk.link.receive(0.0)
        assert delivery is not None
        assert (delivery.body, delivery.redelivered) == (b"%d" % number, False)
        assert desk.link.ack(delivery)
        desk.link.close()
        desk.link.open()
        desk.link.consume()


def test_a_half_received_body_is_told_from_an_idle_link(desk: Desk) -> None:
    """Between two looks at the link a large body may be under way."""
    desk.publish(bytes(LARGE))
    seen = set()

    def received() -> Delivery | None:
        delivery = desk.link.receive(0.0)
        seen.add(desk.link.receiving)
        return delivery

    eventually(received, "the delivery")
    assert True in seen
    assert not desk.link.receiving


def test_a_megabyte_of_text_is_spooled_with_no_open_file_left(desk: Desk) -> None:
    """The file goes with the delivery: nothing is left in the directory, and no warning is given."""
    desk.admission = Admission.SPOOL
    desk.publish(bytes(1_000_000))
    before = psutil.Process().num_fds()
    delivery = desk.receive()
    assert delivery.spool is not None
    assert b"".join(delivery.spool.parts()) == bytes(1_000_000)
    assert desk.link.ack(delivery)
    del delivery
    assert psutil.Process().num_fds() == before


def test_pika_still_has_what_is_taken_from_its_inside() -> None:
    """A version of pika that renamed it would be noticed here and not in the field."""
    script = (
        "from consumer import amqp, wire\n"
        "from pika.adapters.utils import io_services_utils as io\n"
        "from pika.channel import Channel\n"
        "from pika.connection import Connection\n"
        "assert io._AsyncTransportBase._MAX_RECV_BYTES == wire.READ_BYTES\n"
        "assert hasattr(Connection, '_send_message') and hasattr(Connection, '_output_marshaled_frames')\n"
        "assert '_content_assembler' in Channel.__init__.__code__.co_names\n"
        "assert hasattr(Channel, '_send_method')\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
