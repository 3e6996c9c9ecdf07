"""What the broker tells a client about itself and a queue, without anything being changed.

Theory of operation. A passive declare tells how many messages and consumers a queue has, and no more. But a declare
that does not fit an existing queue is refused with a text that names one argument and its value, and changes nothing:
so it is repeated, each time with what the refusal taught, until one fits. It begins with our own arguments: a queue of
ours fits at once, and one that is deleted in that very moment comes back as the next start would declare it. Each
refusal closes its channel, and never the connection (RabbitMQ 3.10.8). What a policy adds to a queue is not among its
arguments: only the management API tells it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ssl import SSLSocket
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from consumer import amqp
from consumer.amqp import hang_up, parameters, translated
from consumer.settings import BrokerSettings

Value = int | bool | str

NOT_FOUND, ACCESS_REFUSED, PRECONDITION_FAILED = 404, 403, 406
PROBES = 24
"""More refusals than a queue can have arguments and properties."""
TIMEOUT_S = 5.0

REFUSAL = re.compile(
    r"inequivalent arg '(?P<name>[\w-]+)' for .*"
    r" but current is (?:(?P<none>none)|the value '(?P<value>.*)' of type '(?P<type>\w+)'|'(?P<same>.*)')$",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it is. arguments: None where they could not be learnt (no right to declare it, or odd ones)."""

    name: str
    ready: int
    consumers: int
    durable: bool = True
    auto_delete: bool = False
    arguments: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """What answers at the broker's URL. queue, dead: None when there is no such queue.

    tls: the version of the protocol, or None without encryption.
    """

    product: str
    version: str
    tls: str | None
    queue: Queue | None
    dead: Queue | None

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


def survey(settings: BrokerSettings) -> Broker:
    """Ask the broker. Raises BrokerAway."""
    connection = None
    with translated():
        try:
            connection = pika.BlockingConnection(parameters(settings, "check", TIMEOUT_S))
            transport = connection._impl._transport  # noqa: SLF001 (nothing else tells whether TLS is spoken)
            socket = getattr(transport, "_sock", None)
            told = connection._impl.server_properties or {}  # noqa: SLF001
            return Broker(
                product=str(told.get("product", "an unknown broker")),
                version=str(told.get("version", "")),
                tls=socket.version() if isinstance(socket, SSLSocket) else None,
                queue=_queue(connection, settings.queue, amqp.arguments(settings)),
                dead=_queue(connection, settings.dead_queue, amqp.dead_arguments()),
            )
        finally:
            hang_up(connection)


def _queue(connection: pika.BlockingConnection, name: str, first: Mapping[str, Value]) -> Queue | None:
    try:
        declared = connection.channel().queue_declare(name, passive=True).method
    except ChannelClosedByBroker as closed:
        if closed.reply_code != NOT_FOUND:
            raise
        return None
    queue = Queue(name, int(declared.message_count), int(declared.consumer_count))
    return _learnt(connection, queue, dict(first))


def _learnt(connection: pika.BlockingConnection, queue: Queue, arguments: dict[str, Value]) -> Queue:
    flags = {"durable": True, "auto_delete": False}
    for _ in range(PROBES):
        lesson = _refused(connection.channel(), queue.name, flags, arguments)
        match lesson:
            case None:
                return Queue(queue.name, queue.ready, queue.consumers, arguments=known(arguments), **flags)
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
) -> Refused | str | None:
    """Declare a queue that is there; None when all fits, a text when the refusal names nothing."""
    try:
        channel.queue_declare(name, arguments=dict(arguments), **flags)
    except ChannelClosedByBroker as closed:
        if closed.reply_code not in {ACCESS_REFUSED, PRECONDITION_FAILED}:
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
