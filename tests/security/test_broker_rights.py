"""A broker's user with the least rights: nothing to configure, two queues to read, one exchange to write to."""

from collections.abc import Iterator

import pytest

from consumer.admission import Admission
from consumer.amqp import BrokerLink, Publisher
from consumer.errors import BrokerAway
from consumer.settings import BrokerSettings
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.depth import depth
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually


@pytest.fixture
def least(rabbitmq: RabbitMQ, queue: str) -> Iterator[BrokerSettings]:
    """Give a user with the rights that docs/security.md names."""
    rights = f'<<"^$">>, <<"^amq\\\\.default$">>, <<"^{queue}(\\\\.dead)?$">>'
    rabbitmq.rabbitmqctl(  # one run of the tool instead of two
        "eval",
        'rabbit_auth_backend_internal:add_user(<<"least">>, <<"least">>, <<"test">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"least">>, <<"/">>, {rights}, <<"test">>).',
    )
    yield BrokerSettings(f"amqp://least:least@127.0.0.1:{rabbitmq.port}/%2F", queue)
    rabbitmq.rabbitmqctl("delete_user", "least")


def test_a_worker_needs_no_right_to_configure(least: BrokerSettings, desk: Desk) -> None:
    """Where the queues exist, it receives, acknowledges, sets aside and publishes; it declares nothing."""
    refused = Publisher(least, "test")
    with pytest.raises(BrokerAway, match="ACCESS_REFUSED"):
        refused.__enter__()
    assert refused._connection is None, "a connection that is of no use is closed"
    desk.publish([])  # declares the queues, as another user
    with Publisher(least, "test") as publisher:
        publisher.publish(least.queue, b"{}")
    assert depth(least) == 1
    link = BrokerLink(least, "test", lambda: False, lambda _size, _message_id: Admission.KEEP)
    link.open()
    link.consume()
    delivery = eventually(lambda: link.receive(1.0), "it comes")
    assert delivery is not None
    link.dead_letter(delivery, "INVALID_MESSAGE", "a test")
    assert link.ack(delivery)
    link.close()
    assert desk.depth() == 0
    assert [body for _, body in desk.take_dead()] == [b"{}"]
