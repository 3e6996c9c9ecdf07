"""The connection that publishes, opened anew after a long silence."""

import time
from typing import Self

from consumer import amqp
from consumer.amqp import Publisher
from consumer.settings import BrokerSettings

SILENCE_S = 20.0
"""Nobody sends heartbeats while a line is waited for, and the broker hangs up after two or three of their intervals."""


class Outbox:
    """Publishes to one queue. Raises BrokerAway."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        heartbeat_s = amqp.parameters(settings, "publish").heartbeat
        # None: the broker's own is taken, of which nothing is known here; 0: there are none
        self._silence_s = min(SILENCE_S, heartbeat_s / 2) if heartbeat_s else SILENCE_S
        self._publisher: Publisher | None = None
        self._used_s = 0.0

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def ready(self) -> None:
        """See to a connection that the broker has not given up meanwhile."""
        if time.monotonic() - self._used_s > self._silence_s:
            self._close()
            self._open()

    def publish(self, body: bytes, message_id: str) -> None:
        """Publish one message and wait for the confirm."""
        assert self._publisher is not None, "only in the `with` block"
        self._publisher.publish(self._settings.queue, body, message_id)
        self._used_s = time.monotonic()

    def _open(self) -> None:
        self._publisher = Publisher(self._settings, "publish").__enter__()
        self._used_s = time.monotonic()

    def _close(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.__exit__(None, None, None)
