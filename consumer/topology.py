"""What the broker tells a client about itself and a queue, without anything being changed.

Theory of operation. A passive declare tells how many messages and consumers a queue has, and no more. But a declare
that does not fit an existing queue is refused with a text that names one argument and its value, and changes nothing:
so it is repeated, each time with what the refusal taught, until one fits. It begins with our own arguments: a queue of
ours fits at once, and one that is deleted in that very moment comes back as the next start would declare it. Each
refusal closes its channel, and never the connection (RabbitMQ 3.10.8). What a policy adds to a queue is not among its
arguments: only the management API tells it.

Rights are told by which of two refusals comes, as the broker looks at them first: a request with an argument of a wrong
type is refused with 403 for want of a right and with 406 for the argument, before anything is made or sent. So are
asked consuming (the right to read the queue) and declaring a queue that is missing (the right to configure it and, for
its dead letters, to write to the default exchange). Should a broker not mind the argument, the consumer has no credit,
so that nothing is sent to it, and the queue is exclusive to a connection that ends at once. The right to write of a
user who may not configure is not asked for: that takes publishing, which is counted even when it is refused.

Whether another client has the queue to itself is told by consuming only. That is tried where there is one consumer, and
so may be such a one: without credit, and after everybody else by its priority.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ssl import SSLSocket
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.compat import long
from pika.exceptions import ChannelClosedByBroker

from consumer import amqp
from consumer.amqp import connect, hang_up, translated
from consumer.settings import BrokerSettings

Value = int | bool | str

ACCESS_REFUSED, RESOURCE_LOCKED, PRECONDITION_FAILED = 403, 405, 406
PROBES = 24
"""More refusals than a queue can have arguments and properties."""
TIMEOUT_S = 5.0

NO_CONSUMER = {"x-priority": "not a number", "x-credit": {"credit": long(0), "drain": False}}
"""Refused for the first; by the second a consumer that is sent nothing. An int 0 is sent as 32 bits, and overlooked."""
LAST_CONSUMER = {**NO_CONSUMER, "x-priority": -(2**15)}
"""Not refused for itself. A broker that no longer knows credit may send it one message, which goes back at once."""
NO_QUEUE = {"x-expires": "not a number"}
"""Refused in a declare of any type of queue."""

REFUSAL = re.compile(
    r"inequivalent arg '(?P<name>[\w-]+)' for .*"
    r" but current is (?:(?P<none>none)|the value '(?P<value>.*)' of type '(?P<type>\w+)'|'(?P<same>.*)')$",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it is.

    arguments: None where they could not be learnt: for want of a right (hidden), or because they are odd ones.
    """

    name: str
    ready: int
    consumers: int
    durable: bool = True
    auto_delete: bool = False
    arguments: Mapping[str, Value] | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Locked:
    """A queue that another connection has to itself: nobody else may use it, or learn more of it."""

    name: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the user of the URL may not do, in the broker's words; None where it may, or need not.

    read: take messages from the queue. alone: likewise, as another client has the queue to itself.
    declare, declare_dead: make a queue that is missing, as the first start does.
    """

    read: str | None = None
    alone: str | None = None
    declare: str | None = None
    declare_dead: str | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """What answers at the broker's URL. queue, dead: None when there is no such queue.

    tls: the version of the protocol, or None without encryption.
    """

    product: str
    version: str
    tls: str | None
    queue: Queue | Locked | None
    dead: Queue | Locked | None
    refusals: Refusals = Refusals()

    @property
    def release(self) -> tuple[int, int]:
        """The first two numbers of its version; (0, 0) when it has none."""
        found = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass(frozen=True, slots=True)
class Refused:
    """What a refusal taught. value: None where the queue does not have it."""

    name: str
    value: Value | None


@dataclass(frozen=True, slots=True)
class Hidden:
    """The user may not configure the queue, and so is not taught what it is."""


def survey(settings: BrokerSettings) -> Broker:
    """Ask the broker. Raises BrokerAway."""
    connection = None
    with translated():
        try:
            connection = connect(settings, "check", TIMEOUT_S)
            transport = connection._impl._transport  # noqa: SLF001 (nothing else tells whether TLS is spoken)
            socket = getattr(transport, "_sock", None)
            told = connection._impl.server_properties or {}  # noqa: SLF001
            ours, dead_ours = amqp.arguments(settings), amqp.dead_arguments()
            queue = _queue(connection, settings.queue, ours)
            dead = _queue(connection, settings.dead_queue, dead_ours)
            unread = _unread(connection, settings.queue)
            return Broker(
                product=str(told.get("product", "an unknown broker")),
                version=str(told.get("version", "")),
                tls=socket.version() if isinstance(socket, SSLSocket) else None,
                queue=queue,
                dead=dead,
                refusals=Refusals(
                    read=unread,
                    alone=_alone(connection, queue) if unread is None else None,
                    declare=_undeclared(connection, settings.queue, ours) if queue is None else None,
                    declare_dead=_undeclared(connection, settings.dead_queue, dead_ours)
                    if dead is None
                    else None,
                ),
            )
        finally:
            hang_up(connection)


def _unread(connection: pika.BlockingConnection, name: str) -> str | None:
    """Ask for the right to read a queue, which need not be there."""
    return _barred(
        connection,
        lambda channel: channel.basic_consume(name, lambda *_: None, arguments=NO_CONSUMER),
    )


def _alone(connection: pika.BlockingConnection, queue: Queue | Locked | None) -> str | None:
    """Ask whether the only consumer of a queue lets no other be."""
    if not isinstance(queue, Queue) or queue.consumers != 1:
        return None
    return _barred(
        connection,
        lambda channel: channel.basic_consume(queue.name, lambda *_: None, arguments=LAST_CONSUMER),
    )


def _undeclared(connection: pika.BlockingConnection, name: str, arguments: Mapping[str, Value]) -> str | None:
    """Ask for the rights to declare a queue that is not there."""
    return _barred(
        connection,
        lambda channel: channel.queue_declare(
            name, durable=True, exclusive=True, arguments={**arguments, **NO_QUEUE}
        ),
    )


def _barred(connection: pika.BlockingConnection, ask: Callable[[BlockingChannel], object]) -> str | None:
    """Ask for what is refused in any case; the broker's words when it is for want of a right, else None."""
    channel = connection.channel()
    try:
        ask(channel)
    except ChannelClosedByBroker as closed:
        return str(closed.reply_text) if closed.reply_code == ACCESS_REFUSED else None
    channel.close()
    return None


def _queue(
    connection: pika.BlockingConnection, name: str, first: Mapping[str, Value]
) -> Queue | Locked | None:
    try:
        found = amqp.counts(connection.channel(), name)
    except ChannelClosedByBroker as closed:
        if closed.reply_code == RESOURCE_LOCKED:
            return Locked(name)
        raise
    if found is None:
        return None
    return _learnt(connection, Queue(name, found.ready, found.consumers), dict(first))


def _learnt(connection: pika.BlockingConnection, queue: Queue, arguments: dict[str, Value]) -> Queue:
    flags = {"durable": True, "auto_delete": False}
    for _ in range(PROBES):
        lesson = _refused(connection.channel(), queue.name, flags, arguments)
        match lesson:
            case None:
                return Queue(queue.name, queue.ready, queue.consumers, arguments=known(arguments), **flags)
            case Hidden():
                return replace(queue, hidden=True)
            case Refused(name=name, value=bool() as value) if name in flags:
                flags[name] = value
            case Refused(name=name, value=None) if name in arguments:
                del arguments[name]
            case Refused(name=name, value=value) if value is not None and arguments.get(name) != value:
                arguments[name] = value
            case _:
                break  # it teaches nothing new
    return queue


def _refused(
    channel: BlockingChannel, name: str, flags: Mapping[str, bool], arguments: Mapping[str, Value]
) -> Refused | Hidden | str | None:
    """Declare a queue that is there; None when all fits, a text when the refusal names nothing."""
    try:
        channel.queue_declare(name, arguments=dict(arguments), **flags)
    except ChannelClosedByBroker as closed:
        if closed.reply_code == ACCESS_REFUSED:
            return Hidden()
        if closed.reply_code != PRECONDITION_FAILED:
            raise
        return lesson(closed.reply_text, {**flags, **arguments}) or "refused"
    channel.close()
    return None


def known(arguments: Mapping[str, Value]) -> dict[str, Value]:
    """Leave out what a queue of this type does not have: the broker compares only what it has."""
    match arguments.get("x-queue-type", "classic"):
        case "stream":
            return {"x-queue-type": "stream"}
        case "quorum":
            return dict(arguments)
        case _:
            return {name: value for name, value in arguments.items() if name != "x-delivery-limit"}


def lesson(text: str, sent: Mapping[str, Any]) -> Refused | None:
    """Read what a refusal says: the name of the argument, and its value in the queue; None when it says neither.

    sent: what was declared; a value that is quoted alone is of the same type.
    """
    found = REFUSAL.search(text)
    if found is None:
        return None
    if found["none"]:
        return Refused(found["name"], None)
    if found["type"]:
        return Refused(found["name"], _typed(found["value"], found["type"]))
    like = sent.get(found["name"])
    kind = "bool" if isinstance(like, bool) else "signedint" if isinstance(like, int) else "longstr"
    return Refused(found["name"], _typed(found["same"], kind))


def _typed(text: str, kind: str) -> Value:
    if kind == "bool":
        return text == "true"
    return int(text) if kind != "longstr" and re.fullmatch(r"-?\d{1,18}", text) else text
