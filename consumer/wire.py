"""pika's inner workings, where large messages need them otherwise: everything that leans on its private names.

As it comes, pika reads 4 KiB at a time and copies the frame at hand for each: with larger reads and frames a body of
3 MB takes 0.8 ms of processor time to arrive instead of 4.2. And it marshals a whole message before it sends a byte of
it, so that publishing takes the body's size once more.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Self

import pika
from pika import frame
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils import io_services_utils, selector_ioloop_adapter
from pika.channel import ContentFrameAssembler
from pika.spec import Basic

READ_BYTES = 64 * 1024
FRAME_MAX_BYTES = 64 * 1024
UNSENT_BYTES = 1024 * 1024
"""A message on its way out waits for the socket whenever so much of it is marshalled."""


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
