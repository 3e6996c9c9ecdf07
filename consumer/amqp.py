"""RabbitMQ, through pika's blocking connection: one consumer, one delivery in hand.

Theory of operation.
- Inbox: pika keeps a body alive for as long as a callback runs, so the callback only appends, and the work
  happens outside pika's frames. Between steps `pump` lets heartbeats flow.
- Bodies are put together by our own assembler, which knows their size first (consumer/intake.py).
- After a lost stream pika raises ValueError and OSError beside its own errors: any exception of its means that the
  connection is dead. A dead link says `broken` and raises nothing: whoever holds a result still writes it.
- A cancel sent by the broker (queue deleted) raises nothing at all, nor does a channel that it closed: both are
  treated as a lost connection.
- A broker that stands still closes nothing: after ASK_AFTER_S of silence it is asked for a sign of life, and after
  GONE_AFTER_S it counts as lost. While a message is in hand that is only told (`trouble`): the connection is kept, as
  the broker may go on, and then the acknowledgement still counts.
- No answer is waited for without a limit (wire.Connection), least of all at the end (HASTY_PARTING_S).
- Publishing has connections of its own: under a memory alarm the broker stops reading from those that publish,
  acknowledgements included.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic, BasicProperties

from consumer import properties, tls, wire
from consumer.admission import Admission
from consumer.backoff import proven
from consumer.breakage import broken
from consumer.errors import BodyNotKept, BrokerAway, NoRoom
from consumer.intake import Intake, Left, Spool
from consumer.ports import Delivery
from consumer.settings import BrokerSettings
from consumer.silence import Silence, Unanswered

DELIVERY_LIMIT = 50  # above the claim limit: the row decides first
# RabbitMQ 4 has a limit of 20 where none is named, and then drops: every look into the dead queue counts as a delivery
NO_DELIVERY_LIMIT = 2**31 - 1
HEARTBEAT_S = 60
CONNECT_TIMEOUT_S = 10.0
PUBLISH_TIMEOUT_S = 60.0
SHORT_STRING_BYTES = 255

# Together the time in which a broker is noticed that stands still; its pauses for a full disk cache are shorter
ASK_AFTER_S = 3.0
GONE_AFTER_S = 10.0
# How long each of the last words, cancel and close, may go unanswered; and both together when all is to end at once.
# The supervisor kills a child with nothing in hand soon after that (a test holds the two figures together)
PARTING_S = 5.0
LAST_WORDS_S = 1.0
HASTY_PARTING_S = LAST_WORDS_S / 2

# What the copy of a bad message may take: the child must not be held up for long, and there is a table behind it
DEAD_LETTER_TIMEOUT_S = 4.0

log = logging.getLogger("friendship.broker")
properties.forgive()
wire.widen()
wire.stay_in_one_thread()


def parameters(settings: BrokerSettings, name: str, timeout_s: float | None = None) -> pika.URLParameters:
    """Turn the broker's URL into connection parameters.

    timeout_s: for each step of connecting, and for a broker that blocks. A heartbeat named in the URL is kept
    (seconds; the client's value wins over the broker's).
    Raises ValueError for a URL that pika cannot read, and BadTls, which is one and may be shown.
    """
    plain, tls_options = tls.split(settings.url)
    result = pika.URLParameters(plain)
    result.ssl_options = tls_options
    if "heartbeat=" not in settings.url:
        result.heartbeat = HEARTBEAT_S
    if timeout_s is not None:
        result.blocked_connection_timeout = timeout_s
    elif "blocked_connection_timeout=" not in settings.url:
        result.blocked_connection_timeout = PUBLISH_TIMEOUT_S
    if "frame_max=" not in settings.url:
        result.frame_max = wire.FRAME_MAX_BYTES
    result.socket_timeout = result.stack_timeout = timeout_s or CONNECT_TIMEOUT_S
    result.tcp_options = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    result.client_properties = {"connection_name": f"friendship-supervisor {name}"}
    return result


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Make BrokerAway of whatever pika raises, without keeping pika's frames alive."""
    reason = None
    try:
        yield
    except (BrokerAway, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 (see the theory of operation: any of them means a dead connection)
        reason = broken(error)
    if reason is not None:
        raise BrokerAway(reason)


def connect(
    settings: BrokerSettings,
    name: str,
    timeout_s: float | None = None,
    *,
    answer_s: float = CONNECT_TIMEOUT_S,
) -> wire.Connection:
    """Connect. timeout_s: see `parameters`. answer_s: how long any later answer may stay away, if that is longer."""
    return wire.Connection(parameters(settings, name, timeout_s), timeout_s or answer_s)


def hang_up(connection: pika.BlockingConnection | None, patience_s: float = PARTING_S) -> None:
    """Close a connection in order, if there is one: what was said on it is sent first. Never raises.

    patience_s: a broker that says nothing for so long is left without its consent.
    """
    if connection is not None and connection.is_open:
        with contextlib.suppress(BrokerAway), translated(), wire.within(connection, patience_s):
            connection.close()


def declare(channel: BlockingChannel, settings: BrokerSettings) -> BlockingChannel:
    """See to it that the queue exists: as it is when it does, else as a quorum queue with its dead-letter queue.

    A passive declare of a missing queue closes the channel: returns the channel to go on with.
    """
    channel = ensure_queue(channel, settings.dead_queue, dead_arguments())
    return ensure_queue(channel, settings.queue, arguments(settings))


def arguments(settings: BrokerSettings) -> dict[str, int | str]:
    """Give what the queue is declared with where there is none."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": settings.dead_queue,
    }


def dead_arguments() -> dict[str, int | str]:
    """Give what the dead-letter queue is declared with where there is none."""
    return {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT}


def ensure_queue(channel: BlockingChannel, name: str, arguments: Mapping[str, Any]) -> BlockingChannel:
    """Use the queue as it is, or declare it with these arguments when there is none."""
    connection = channel.connection
    if counts(channel, name) is not None:
        return channel
    channel = connection.channel()
    try:
        channel.queue_declare(name, durable=True, arguments=dict(arguments))
    except ChannelClosedByBroker as closed:
        # PRECONDITION_FAILED: another program was quicker and declared it otherwise; its way is used
        channel = connection.channel()
        if closed.reply_code != 406 or counts(channel, name) is None:
            raise
    return channel


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of a queue that are ready, and its consumers, whoever they are."""

    ready: int
    consumers: int


def counts(channel: BlockingChannel, name: str) -> Counts | None:
    """Ask what stands in a queue. None when there is none, which has closed the channel."""
    try:
        declared = channel.queue_declare(name, passive=True)
    except ChannelClosedByBroker as closed:
        if closed.reply_code != 404:  # NOT_FOUND
            raise
        return None
    return Counts(int(declared.method.message_count), int(declared.method.consumer_count))


class BrokerLink:
    """The connection over which one child receives and acknowledges.

    announce: told the size and message_id of each body before it comes; says what becomes of it.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        name: str,
        stop_requested: Callable[[], bool],
        announce: Callable[[int, str | None], Admission],
    ) -> None:
        self._settings = settings
        self._name = name
        self._stop_requested = stop_requested
        self._intake = Intake(announce)
        self._announce = announce
        self._left: Left | None = None
        self._cancelled = False
        self._inbox: deque[Delivery] = deque()
        self._silence: Silence | None = None
        self._asked = False
        self._lost = ""
        self._opened_at: float | None = None
        self._stood_s = 0.0
        self._acked = 0
        self.doubt = ""
        """Why the last connection ended before it had proved to work, if it did: `trouble` until this one has."""
        self._connection: wire.Connection | None = None
        self._channel: BlockingChannel | None = None

    @property
    def proven(self) -> bool:
        """Say whether this connection, or the last one while there is none, has proved to work."""
        stood_s = self._stood_s if self._opened_at is None else time.monotonic() - self._opened_at
        return proven(stood_s, self._acked)

    @property
    def broken(self) -> bool:
        """Say whether there is no connection over which the delivery in hand could be acknowledged."""
        channel = self._channel
        return channel is None or not channel.is_open or not channel.consumer_tags

    @property
    def receiving(self) -> bool:
        """Say whether a delivery is half here."""
        return self._intake.busy

    @property
    def trouble(self) -> str:
        """Say why nothing can be expected of the broker now; empty while it answers, or nobody is connected yet."""
        if self._is_silent():
            return str(Unanswered(GONE_AFTER_S))
        return self._lost or ("" if self.proven else self.doubt)

    def open(self) -> None:
        """Connect, and see to it that the queue is there. Raises BrokerAway."""
        self.close()
        self._stood_s, self._acked = 0.0, 0
        with translated():
            connection = connect(self._settings, self._name)
            self._connection = connection
            channel = declare(connection.channel(), self._settings)
            channel.basic_qos(prefetch_count=1)
            self._intake = Intake(self._announce)
            wire.assemble_with(channel, self._intake)
            self._channel = channel
            self._opened_at = time.monotonic()

    def consume(self) -> None:
        """Have deliveries sent, one at a time. Raises BrokerAway."""
        if self._channel is None:
            raise BrokerAway("not connected")
        with translated():
            self._channel.basic_consume(self._settings.queue, self._received)

    def watch(self) -> None:
        """Raise BrokerAway when the connection is lost, or the broker silent."""
        if self._is_silent():
            reason = self.trouble
            self.abandon()
            log.info("broker_lost", extra={"reason": reason})
            raise BrokerAway(reason)
        if self._channel is None or not self._channel.is_open:
            raise BrokerAway(self._why_broken())

    def receive(self, wait_s: float) -> Delivery | None:
        """Give the next delivery, or None when none came within `wait_s` or a stop was asked for.

        Raises BrokerAway when the link is broken; NoRoom or BodyNotKept when a delivery was not taken, which closing
        gives back; MemoryError when there was none for it.
        """
        if not self._inbox:
            self._process(wait_s)
        if self._left is not None:
            raise BodyNotKept if self._left.no_file else NoRoom(self._left.size)
        if self._inbox:
            return self._inbox.popleft()
        self.watch()
        if self.broken:
            raise BrokerAway(self._why_broken())
        return None

    def ack(self, delivery: Delivery) -> bool:
        """Acknowledge. False when the link broke: the outcome stands in the row, and the copy will be dropped."""
        if self.broken or self._channel is None:
            return False
        try:
            with translated():
                self._channel.basic_ack(delivery.tag)
        except BrokerAway as lost:
            log.info("ack_lost", extra={"reason": lost.reason})
            self._forget(lost.reason)
            return False
        self._acked += 1
        return True

    def cancel(self, patience_s: float = PARTING_S) -> None:
        """Be sent no more. What was on its way is still there to be received: nothing goes back. Never raises.

        patience_s: as in `hang_up`.
        """
        if self._cancelled or self.broken or self._connection is None or self._channel is None:
            return
        self._cancelled = True
        try:
            with translated(), wire.within(self._connection, patience_s):
                for tag in self._channel.consumer_tags:
                    wire.cancel(
                        self._connection,
                        self._channel,
                        tag,
                        partial(self._cancelled_or_closed, self._channel),
                    )
        except BrokerAway as lost:
            log.info("broker_lost", extra={"reason": lost.reason})
            self._forget(lost.reason)

    def _cancelled_or_closed(self, channel: BlockingChannel) -> bool:
        return self._intake.cancelled or not channel.is_open

    def pump(self) -> None:
        """Let heartbeats flow. Returns at once, never raises."""
        self._process(0)

    def rest(self, seconds: float, *, whole: bool = False) -> None:
        """Wait with heartbeats flowing, until a stop is asked for at the latest. whole: or beyond that."""
        if self._connection is None and whole:
            time.sleep(seconds)
        elif self._connection is None:
            nap(seconds, self._stop_requested)
        else:
            self._process(seconds)

    def dead_letter(self, delivery: Delivery, reason: str, details: str) -> None:
        """Copy a body to the dead queue on a connection of its own, confirmed."""
        headers = {"reason": reason, "details": details[:200]}
        with Publisher(self._settings, f"{self._name} dead letters", DEAD_LETTER_TIMEOUT_S) as publisher:
            body = delivery.body if delivery.spool is None else delivery.spool
            publisher.publish(self._settings.dead_queue, body, delivery.message_id, headers)

    def send_again(self, delivery: Delivery) -> None:
        """Put a copy at the end of the queue on a connection of its own, confirmed."""
        with Publisher(self._settings, f"{self._name} put off", DEAD_LETTER_TIMEOUT_S) as publisher:
            body = delivery.body if delivery.spool is None else delivery.spool
            publisher.publish(self._settings.queue, body, delivery.message_id)

    def wake(self) -> None:
        """End the wait of `receive` or `rest` early. Safe in a signal handler of this thread."""
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(BrokerAway), translated():
                connection.add_callback_threadsafe(_nothing)

    def close(self) -> None:
        """Close the connection: an unacknowledged delivery goes back to the queue. Never raises."""
        connection = self._connection
        self._forget()
        hang_up(connection, HASTY_PARTING_S if self._stop_requested() else PARTING_S)

    def abandon(self) -> None:
        """End the connection at once: while it is closed in order, the next delivery may arrive. Never raises."""
        connection = self._connection
        self._forget()
        if connection is not None:
            with contextlib.suppress(BrokerAway), translated():
                wire.abort(connection)

    def _forget(self, reason: str = "") -> None:
        """Be without a connection. reason: why, when it was not left by choice."""
        self._lost = reason
        if self._opened_at is not None:
            self._stood_s, self._opened_at = time.monotonic() - self._opened_at, None
        self._silence = None
        self._asked = False
        self._connection = None
        self._channel = None
        self._inbox.clear()
        self._intake = Intake(self._announce)
        self._left = None
        self._cancelled = False

    def _process(self, wait_s: float) -> None:
        if self._connection is None:
            return
        try:
            with translated():
                self._connection.process_data_events(wait_s)
        except BrokerAway as lost:
            log.info("broker_lost", extra={"reason": lost.reason})
            starved = self._intake.starved
            self._forget(lost.reason)
            if starved:
                raise MemoryError from None
        else:
            self._listen()

    def _listen(self) -> None:
        """Notice whether anything has come, and ask for a sign of life when nothing has for long."""
        if self._connection is None or self._channel is None or not self._channel.is_open:
            return
        heard, now = wire.heard(self._connection), time.monotonic()
        self._silence = Silence(heard, now) if self._silence is None else self._silence.look(heard, now)
        if self._silence.lasts_s == 0.0:
            self._asked = False
        elif self._silence.lasts_s >= ASK_AFTER_S and not self._asked:
            self._asked = True
            wire.ask(self._channel)

    def _is_silent(self) -> bool:
        return self._silence is not None and self._silence.lasts_s >= GONE_AFTER_S

    def _why_broken(self) -> str:
        if self._channel is None:
            return self._lost or "not connected"
        reason = wire.closing_reason(self._channel)
        if reason is not None:
            return broken(reason)
        return "the broker ended the consumer: the queue was deleted, or its node is away"

    def _received(
        self,
        _channel: BlockingChannel,
        method: Basic.Deliver,
        told: BasicProperties,
        body: bytearray | Spool | Left,
    ) -> None:
        if isinstance(body, Left):
            self._left = body
            return
        self._inbox.append(
            Delivery(
                tag=method.delivery_tag,
                redelivered=bool(method.redelivered),
                body=b"" if isinstance(body, Spool) else body,
                spool=body if isinstance(body, Spool) else None,
                message_id=properties.message_id(told),
                content_encoded=bool(told.content_encoding),
            )
        )


class Publisher:
    """A connection for publishing: mandatory and confirmed, so that a publish that returns has arrived."""

    def __init__(self, settings: BrokerSettings, name: str, timeout_s: float | None = None) -> None:
        self._settings = settings
        self._name = name
        self._timeout_s = timeout_s
        self._connection: wire.Connection | None = None
        self._channel: BlockingChannel | None = None

    def __enter__(self) -> Self:
        try:
            with translated():
                self._connection = connect(
                    self._settings, self._name, self._timeout_s, answer_s=PUBLISH_TIMEOUT_S
                )
                wire.send_piecewise(self._connection)
                self._channel = declare(self._connection.channel(), self._settings)
                self._channel.confirm_delivery()
        except BaseException:
            # Whatever it was, ^C included: what was opened is closed, and it goes on its way
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        hang_up(connection)

    def depth(self) -> int:
        """Say how many messages are ready in the queue. Raises BrokerAway."""
        if self._channel is None:
            raise BrokerAway("not connected")
        with translated():
            found = counts(self._channel, self._settings.queue)
        if found is None:
            raise BrokerAway("the queue is gone")
        return found.ready

    def publish(
        self,
        queue: str,
        body: wire.Sliceable,
        message_id: str | None = None,
        headers: dict[str, Any] | None = None,
    ) -> None:
        """Publish one persistent message and wait for the broker's confirm.

        message_id: left out where it is longer than AMQP's 255 bytes, which 255 characters may be.
        Raises BrokerAway when the message is not known to have arrived: it may have.
        """
        if self._channel is None:
            raise BrokerAway("not connected")
        properties = BasicProperties(
            delivery_mode=2,
            content_type="application/json",
            message_id=message_id if message_id and len(message_id.encode()) <= SHORT_STRING_BYTES else None,
            headers=headers,
        )
        with translated():
            self._channel.basic_publish("", queue, wire.Outgoing(body), properties, mandatory=True)


def nap(seconds: float, stop_requested: Callable[[], bool]) -> None:
    """Sleep without a connection, until a stop is asked for at the latest."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop_requested():
        time.sleep(min(left, 0.1))


def _nothing() -> None:
    """Run by pika's loop when it was woken."""
