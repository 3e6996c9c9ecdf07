"""The dead-letter queue, as an operator looks into it: message by message, each in a file or not at all.

Theory of operation. A message is taken without being acknowledged, and so are all that come after it: closing the
connection gives back, in their order, those that were neither dropped nor requeued. Whoever looks elsewhere at the same
time does not see what is held here; nothing is lost when this process dies. A look counts as one delivery.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel

from consumer import properties, wire
from consumer.admission import Admission
from consumer.amqp import Publisher, connect, counts, hang_up, translated
from consumer.errors import BodyNotKept, BrokerAway
from consumer.intake import Intake, Left, Spool
from consumer.settings import BrokerSettings


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message in hand.

    position: from 1, oldest first. size: bytes of the body. message_id: None also where it is none that can be used.
    body: None when only a look was asked for.
    """

    tag: int
    position: int
    size: int
    message_id: str | None
    headers: dict[str, Any]
    body: Spool | None

    @property
    def reason(self) -> str | None:
        """Why it is here: an error code of ours, or what the broker says."""
        said = self.headers.get("reason") or self.headers.get("x-first-death-reason")
        return None if said is None else str(said)


class DeadQueue:
    """A visit to the dead-letter queue. bodies: fetch them too, each into a file without a name."""

    def __init__(self, settings: BrokerSettings, *, bodies: bool) -> None:
        self._settings = settings
        self._wanted = Admission.SPOOL if bodies else Admission.LEAVE
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._size = 0

    def __enter__(self) -> Self:
        try:
            with translated():
                self._connection = connect(self._settings, "dead letters")
                self._channel = self._connection.channel()
                wire.assemble_with(self._channel, Intake(self._announced))
        except BaseException:
            # Whatever it was, ^C included: what was opened is closed, and it goes on its way
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Closing in order sends out what was acknowledged
        self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        hang_up(connection)

    def letters(self) -> Iterator[DeadLetter]:
        """Take one message after the other, of those that are in the queue now. A queue that is not there has none.

        Raises BrokerAway; BodyNotKept when there is no room for a body in the directory of temporary files.
        """
        for position in range(1, self._depth() + 1):
            with translated():
                method, told, body = self._open().basic_get(self._settings.dead_queue)
            if method is None:
                return
            if isinstance(body, Left) and body.no_file:
                raise BodyNotKept(f"no room for {body.size} bytes among the temporary files")
            yield DeadLetter(
                tag=method.delivery_tag,
                position=position,
                size=self._size,
                message_id=properties.message_id(told),
                headers=dict(told.headers or {}),
                body=body if isinstance(body, Spool) else None,
            )
            # A body goes with the last that knows it, and before the next one comes
            del body

    def drop(self, letter: DeadLetter) -> None:
        """Remove a message for good. Raises BrokerAway."""
        with translated():
            self._open().basic_ack(letter.tag)

    def requeue(self, letter: DeadLetter, publisher: Publisher) -> None:
        """Give a message back to the main queue, confirmed, and only then remove it here.

        A death in between leaves it in both: an event is worked on once, however often its message comes.
        Raises BrokerAway.
        """
        assert letter.body is not None
        publisher.publish(self._settings.queue, letter.body, letter.message_id)
        self.drop(letter)

    def _depth(self) -> int:
        with translated():
            found = counts(self._open(), self._settings.dead_queue)
        return found.ready if found else 0

    def _open(self) -> BlockingChannel:
        if self._channel is None:
            raise BrokerAway("not connected")
        return self._channel

    def _announced(self, size: int, _message_id: str | None) -> Admission:
        self._size = size
        return self._wanted
