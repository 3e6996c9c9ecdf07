"""What a real broker tells of itself, of its queues and of a user's rights; and that the asking changes nothing."""

from collections.abc import Iterator
from contextlib import closing

import pika
import pytest

from consumer import amqp
from consumer.settings import BrokerSettings
from consumer.topology import Locked, Queue, Refusals, survey
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.eventually import eventually

USERS = {
    "none": ("^$", "^$", "^$"),
    "worker": ("^$", r"^amq\\.default$", "^test_"),
    "silent": (".*", "^$", ".*"),
}
"""What each may configure, write to and read."""
KINDS = ("quorum", "classic", "stream")


@pytest.fixture(scope="module")
def urls(rabbitmq_of_the_session: RabbitMQ) -> Iterator[dict[str, str]]:
    """Give users with few rights, and guest, who has all of them."""
    calls = [
        f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{user}">>, <<"test">>),'
        f' rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"/">>,'
        f' <<"{configure}">>, <<"{write}">>, <<"{read}">>, <<"test">>)'
        for user, (configure, write, read) in USERS.items()
    ]
    rabbitmq_of_the_session.rabbitmqctl("eval", f"{', '.join(calls)}.")  # one run of the tool instead of six
    url = rabbitmq_of_the_session.url.replace("guest:guest", "{0}:{0}")
    yield {user: url.format(user) for user in ("guest", *USERS)}
    gone = [f'rabbit_auth_backend_internal:delete_user(<<"{user}">>, <<"test">>)' for user in USERS]
    rabbitmq_of_the_session.rabbitmqctl("eval", f"{', '.join(gone)}.")


@pytest.fixture
def users(urls: dict[str, str], queue: str) -> dict[str, BrokerSettings]:
    return {user: BrokerSettings(url, queue) for user, url in urls.items()}


def test_what_a_user_may_not_do_is_told_in_the_brokers_words(
    users: dict[str, BrokerSettings], queue: str
) -> None:
    """Reading the queue, and declaring what is missing; without a right to configure arguments are not told."""
    for user in ("guest", "worker", "silent", "none"):
        found = survey(users[user])
        assert (found.queue, found.dead) == (None, None)
        assert (found.refusals.read is None) == (user != "none")
        assert (found.refusals.declare is None) == (user == "guest")
        assert (found.refusals.declare_dead is None) == (user in {"guest", "silent"})
    # The dead letters of the queue go through the default exchange: who may not write there may not declare it
    assert "exchange 'amq.default'" in (survey(users["silent"]).refusals.declare or "")
    with amqp.Publisher(users["guest"], "test"):
        pass
    for user, settings in users.items():
        found = survey(settings)
        assert isinstance(found.queue, Queue)
        assert isinstance(found.dead, Queue)
        told = user in {"guest", "silent"}
        assert (found.queue.arguments is not None, found.queue.hidden) == (told, not told)
        if user == "none":
            assert f"queue '{queue}' in vhost '/' refused for user 'none'" in (found.refusals.read or "")
        else:
            assert found.refusals == Refusals()


def test_a_queue_of_another_connection_is_known_to_be_locked(users: dict[str, BrokerSettings]) -> None:
    """Nothing else is told of it, and the other queue is asked for nevertheless."""
    settings = users["guest"]
    with closing(pika.BlockingConnection(pika.URLParameters(settings.url))) as other:
        other.channel().queue_declare(settings.queue, exclusive=True)
        found = survey(settings)
        assert (found.queue, found.dead, found.refusals) == (Locked(settings.queue), None, Refusals())
        assert survey(users["none"]).queue == Locked(settings.queue)


def test_a_client_that_has_the_queue_to_itself_is_told_of(users: dict[str, BrokerSettings]) -> None:
    """In the broker's words; a client that shares it is none."""
    settings = users["guest"]
    with closing(pika.BlockingConnection(pika.URLParameters(settings.url))) as other:
        channel = other.channel()
        channel.queue_declare(settings.queue, durable=True)
        tag = channel.basic_consume(settings.queue, lambda *_: None)
        assert survey(settings).refusals == Refusals()
        channel.basic_cancel(tag)
        channel.basic_consume(settings.queue, lambda *_: None, exclusive=True)
        assert "exclusive use" in (survey(settings).refusals.alone or "")


def state(rabbitmq: RabbitMQ) -> tuple[list[str], dict[str, int]]:
    """Give all queues, and how many messages came, went and came again since the broker started."""
    queues = rabbitmq.rabbitmqctl("list_queues", "name", "durable", "arguments", "exclusive")
    counters = {name: count for name, count in rabbitmq.counters().items() if name.startswith("messages")}
    return sorted(queues.splitlines()), counters


def test_asking_changes_nothing_on_the_broker(rabbitmq: RabbitMQ, urls: dict[str, str], queue: str) -> None:
    """No queue comes or goes, no message is sent to us, taken or marked as delivered before, nobody consumes."""
    names = [f"{queue}_{kind}" for kind in KINDS]
    queues = names[:2]  # a stream counts with a delay of seconds, and knows of no redelivery
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url))
    channel = connection.channel()

    def ask() -> None:
        for url in urls.values():
            for name in names:
                survey(BrokerSettings(url, name))

    def counts() -> list[tuple[int, int]]:
        declared = [channel.queue_declare(name, passive=True).method for name in queues]
        return [(int(each.message_count), int(each.consumer_count)) for each in declared]

    with closing(connection):
        ask()
        assert [survey(BrokerSettings(rabbitmq.url, name)).queue for name in names] == [None] * len(names)
        for name, kind in zip(names, KINDS, strict=True):
            channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
            channel.queue_declare(f"{name}.dead", durable=True, arguments={"x-queue-type": kind})
        channel.confirm_delivery()
        for name in names * 2:
            channel.basic_publish("", name, b"{}", mandatory=True)
        eventually(lambda: counts() == [(2, 0), (2, 0)], "all are counted")
        before = state(rabbitmq)
        ask()
        assert state(rabbitmq) == before
        assert counts() == [(2, 0), (2, 0)]
        # A queue with one consumer is asked more; this one has its hands full, so that we would be sent the rest
        with closing(pika.BlockingConnection(pika.URLParameters(rabbitmq.url))) as other:
            busy = other.channel()
            busy.basic_qos(prefetch_count=1)
            for name in queues:
                busy.basic_consume(name, lambda *_: None)
            eventually(lambda: counts() == [(1, 1), (1, 1)], "each has one in hand")
            before = state(rabbitmq)
            ask()
            assert state(rabbitmq) == before
            assert counts() == [(1, 1), (1, 1)]
        eventually(lambda: counts() == [(2, 0), (2, 0)], "all are back")
        for name in queues * 2:
            method, properties, _ = channel.basic_get(name, auto_ack=True)
            assert method is not None
            assert properties is not None
            # Of each queue the first was the other consumer's
            assert (properties.headers or {}).get("x-delivery-count", 0) <= 1
        for name in names:
            channel.queue_delete(name)
            channel.queue_delete(f"{name}.dead")
