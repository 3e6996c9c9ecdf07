"""How many messages stand in the queue and in its dead-letter queue, asked again and again over one connection."""

from dataclasses import dataclass

import pika
from pika.adapters.blocking_connection import BlockingChannel

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
                main = amqp.counts(self._open(), self._settings.queue)
                dead = amqp.counts(self._open(), self._settings.dead_queue)
        except BaseException:
            # Whatever it was, what is left of the connection is of no use
            self.close()
            raise
        return Depth(
            ready=main.ready if main else None,
            dead=dead.ready if dead else None,
            consumers=main.consumers if main else None,
        )

    def close(self) -> None:
        """Hang up."""
        connection, self._connection, self._channel = self._connection, None, None
        amqp.hang_up(connection)

    def _open(self) -> BlockingChannel:
        if self._connection is None or not self._connection.is_open:
            self._connection = amqp.connect(self._settings, "status", TIMEOUT_S)
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel
