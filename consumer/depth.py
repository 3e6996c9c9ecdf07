"""How many messages stand in the queue and in its dead-letter queue, asked again and again over one connection."""

from dataclasses import dataclass

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from consumer import amqp
from consumer.settings import BrokerSettings

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages that are ready; None where there is no such queue. consumers: of the queue, whoever they are."""

    ready: int | None
    dead: int | None
    consumers: int | None


class Gauge:
    """One connection, opened by the first reading and again after a failure."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None

    def read(self) -> Depth:
        """Ask the broker. Raises BrokerAway; the next reading connects anew."""
        try:
            with amqp.translated():
                main = self._ask(self._settings.queue)
                dead = self._ask(self._settings.dead_queue)
        except BaseException:
            # Whatever it was, what is left of the connection is of no use
            self.close()
            raise
        return Depth(main[0] if main else None, dead[0] if dead else None, main[1] if main else None)

    def close(self) -> None:
        """Hang up."""
        connection, self._connection, self._channel = self._connection, None, None
        amqp.hang_up(connection)

    def _ask(self, queue: str) -> tuple[int, int] | None:
        channel = self._open()
        try:
            found = channel.queue_declare(queue, passive=True).method
        except ChannelClosedByBroker as closed:
            if closed.reply_code != 404:  # NOT_FOUND
                raise
            return None
        return int(found.message_count), int(found.consumer_count)

    def _open(self) -> BlockingChannel:
        if self._connection is None or not self._connection.is_open:
            self._connection = pika.BlockingConnection(amqp.parameters(self._settings, "status", TIMEOUT_S))
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel
