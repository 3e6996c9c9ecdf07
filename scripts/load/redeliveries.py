"""How many deliveries the broker called second ones, over its restarts."""

from scripts.servers.rabbitmq import RabbitMQ

COUNTER = "messages_redelivered_total"


class Redeliveries:
    """Counts from when it is made."""

    def __init__(self, broker: RabbitMQ) -> None:
        self._broker = broker
        self._before = -self._now()

    def keep(self) -> None:
        """Note what was counted so far: the broker is about to restart, and its counters begin again."""
        self._before += self._now()

    def total(self) -> int:
        return self._before + self._now()

    def _now(self) -> int:
        return self._broker.counters().get(COUNTER, 0)
