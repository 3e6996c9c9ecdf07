"""pika's inner workings, where large messages need them otherwise: everything that leans on its private names.

As it comes, pika reads 4 KiB at a time and copies the frame at hand for each: with larger reads and frames a body of
3 MB takes 0.8 ms of processor time to arrive instead of 4.2. And it marshals a whole message before it sends a byte of
it, so that publishing takes the body's size once more.
"""

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, Protocol, Self

import pika
from pika import frame
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils import io_services_utils, selector_ioloop_adapter
from pika.channel import ContentFrameAssembler
from pika.spec import Basic

from consumer.silence import Silence, Unanswered

READ_BYTES = 64 * 1024
FRAME_MAX_BYTES = 64 * 1024
UNSENT_BYTES = 1024 * 1024
"""A message on its way out waits for the socket whenever so much of it is marshalled."""
LOOK_S = 0.25


def widen() -> None:
    """Make pika read as much at once as fits a frame, in this process."""
    io_services_utils._AsyncTransportBase._MAX_RECV_BYTES = READ_BYTES  # noqa: SLF001


class _Resolved:
    """In the place of the timer of a thread that was not started."""

    def cancel(self) -> None:
        """Do nothing: it is done."""


def _resolve_here(resolver: Any) -> Any:
    resolver._state = resolver.ACTIVE  # noqa: SLF001
    resolver._threading_timer = _Resolved()  # noqa: SLF001
    resolver._resolve()  # noqa: SLF001
    return selector_ioloop_adapter._SelectorIOLoopIOHandle(resolver)  # noqa: SLF001


def stay_in_one_thread() -> None:
    """Make pika resolve names in the thread that connects, in this process: a thread costs pages that were shared."""
    selector_ioloop_adapter._AddressResolver.start = _resolve_here  # noqa: SLF001


class Connection(pika.BlockingConnection):  # type: ignore[misc]
    """A connection whose every wait for an answer has a limit; pika's own waits until heartbeats fail.

    answer_s: how long nothing may move meanwhile. A body that comes or goes slowly is no silence.
    """

    def __init__(self, parameters: pika.URLParameters, answer_s: float) -> None:
        self._answer_s = answer_s
        self._listening = False
        super().__init__(parameters)

    def _flush_output(self, *waiters: Callable[[], bool]) -> None:
        if self._listening:
            super()._flush_output(*waiters)
            return
        with within(self, self._answer_s):
            super()._flush_output(*waiters)

    def process_data_events(self, time_limit: float | None = 0) -> None:
        """Take what comes. It waits for no answer, and has a limit of its own."""
        self._listening = True
        try:
            super().process_data_events(time_limit)
        finally:
            self._listening = False


def heard(connection: pika.BlockingConnection) -> int:
    """Return how many bytes have come."""
    received: int = connection._impl.bytes_received  # noqa: SLF001
    return received


def movement(connection: pika.BlockingConnection) -> Hashable:
    """Give what is another value once a byte has come in or gone out."""
    impl = connection._impl  # noqa: SLF001
    return heard(connection), impl._transport is not None and impl._get_write_buffer_size()  # noqa: SLF001


@contextlib.contextmanager
def within(connection: pika.BlockingConnection, seconds: float) -> Iterator[None]:
    """End the connection, with Unanswered, once nothing has moved on it for so long.

    A broker that blocks a connection has said so: there pika's blocked_connection_timeout speaks.
    """
    impl = connection._impl  # noqa: SLF001
    silence = Silence(movement(connection), time.monotonic())
    timer: object = None

    def look() -> None:
        nonlocal silence, timer
        now = time.monotonic()
        if impl._blocked_conn_timer is not None:  # noqa: SLF001
            silence = Silence(movement(connection), now)
        silence = silence.look(movement(connection), now)
        timer = None
        if silence.lasts_s < seconds:
            timer = impl._adapter_call_later(min(LOOK_S, seconds), look)  # noqa: SLF001
        elif impl.is_open or impl.is_closing:
            impl._terminate_stream(Unanswered(seconds))  # noqa: SLF001

    look()
    try:
        yield
    finally:
        if timer is not None:
            impl._adapter_remove_timeout(timer)  # noqa: SLF001


def ask(channel: BlockingChannel) -> None:
    """Ask for a sign of life, without waiting: the answer reaches the channel's assembler.

    Setting the prefetch count again is what costs the broker least: its channel process answers by itself.
    """
    channel._impl._send_method(Basic.Qos(prefetch_count=1))  # noqa: SLF001


def closing_reason(channel: BlockingChannel) -> Exception | None:
    """Say why a channel was closed; None while it is open."""
    reason: Exception | None = channel._closing_reason  # noqa: SLF001
    return reason


def assemble_with(channel: BlockingChannel, assembler: ContentFrameAssembler) -> None:
    """Let `assembler` put together what arrives on a channel."""
    channel._impl._content_assembler = assembler  # noqa: SLF001


def cancel(
    connection: pika.BlockingConnection, channel: BlockingChannel, tag: str, confirmed: Callable[[], bool]
) -> None:
    """End a consumer, and wait until the broker confirms it.

    pika's own way sends back what arrives meanwhile, marked as redelivered; here the consumer gets it. The confirmation
    is nothing that pika waits for then: it reaches the channel's assembler, which has to know it.
    """
    channel._impl._send_method(Basic.Cancel(consumer_tag=tag))  # noqa: SLF001
    connection._flush_output(confirmed)  # noqa: SLF001


def abort(connection: pika.BlockingConnection) -> None:
    """End a connection without a word to the broker, and without reading what has come."""
    transport = connection._impl._transport  # noqa: SLF001
    if transport is not None:
        transport._sock.close()  # noqa: SLF001 - its own `abort` waits for the loop's next turn
    connection._cleanup()  # noqa: SLF001 - the loop's own sockets


class Sliceable(Protocol):
    """All that a body needs that is sent piece by piece."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes | bytearray: ...


class Outgoing:
    """A body on its way out, as pika takes it on a connection that sends piecewise."""

    def __init__(self, body: Sliceable) -> None:
        self._body = body

    def encode(self, _encoding: str) -> Self:
        """Pika encodes whatever is no bytes object: this one is encoded already."""
        return self

    def __len__(self) -> int:
        return len(self._body)

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self._body[part])


def send_piecewise(connection: pika.BlockingConnection) -> None:
    """Make a connection send a message while it marshals it: no more of it than UNSENT_BYTES is ever held twice."""
    connection._impl._send_message = partial(_send_message, connection)  # noqa: SLF001


def _send_message(
    connection: pika.BlockingConnection, channel_number: int, method: Any, content: tuple[Any, Any]
) -> None:
    impl = connection._impl  # noqa: SLF001
    properties, body = content
    impl._output_marshaled_frames(  # noqa: SLF001
        [
            frame.Method(channel_number, method).marshal(),
            frame.Header(channel_number, len(body), properties).marshal(),
        ]
    )
    step, unsent = impl._body_max_length, 0  # noqa: SLF001
    for start in range(0, len(body), step):
        impl._output_marshaled_frames(  # noqa: SLF001
            [frame.Body(channel_number, body[start : start + step]).marshal()]
        )
        unsent += step
        if unsent >= UNSENT_BYTES:
            connection._flush_output()  # noqa: SLF001
            unsent = 0
            if channel_number not in impl._channels:  # noqa: SLF001
                # The broker has closed the channel on us: who waits for its confirm is told so
                return
