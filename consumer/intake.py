"""Bodies as they come off the wire: their size first, then each byte into its place, once.

Theory of operation. pika gathers a body's frames and joins them, twice its size, before anyone may look at it. This
assembler stands in the place of pika's own on the channel that consumes:
1. The header frame brings size and message_id. They are told, and `admit` says what becomes of the body.
2. KEEP: one buffer of the body's size, filled as frames come.
3. SPOOL: a temporary file without a name, so that a body of any size costs a frame.
4. LEAVE: frames are dropped. The delivery says so, and goes back to the queue.
5. The end of the consumer, confirmed by the broker, passes here too (`wire.cancel`), and signs of life (`wire.ask`).
A file that cannot be written (no space, no directory) turns SPOOL into LEAVE.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from pika import frame
from pika.channel import ContentFrameAssembler
from pika.exceptions import BodyTooLongError
from pika.spec import Basic

from consumer import properties
from consumer.admission import Admission

PART_BYTES = 1024 * 1024

log = logging.getLogger("friendship.broker")


class Spool:
    """A body in a file, which goes with it: of bytes it has the length and the slices.

    descriptor: of the file, from now on the spool's to close. A file object would warn of itself when the collector
    takes it before its spool.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = 0

    @classmethod
    def open(cls) -> "Spool":
        """Begin an empty one, in a file without a name. Raises OSError."""
        with tempfile.TemporaryFile(prefix="friendship-", buffering=0) as file:
            return cls(os.dup(file.fileno()))

    def __del__(self) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._descriptor, stop - start, start)

    def append(self, data: bytes) -> None:
        """Add to the end. Raises OSError when there is no room for it."""
        left = memoryview(data)
        while left:
            left = left[os.pwrite(self._descriptor, left, self._size + len(data) - len(left)) :]
        self._size += len(data)

    def parts(self) -> Iterator[bytes]:
        """Give the body out, PART_BYTES at a time."""
        for start in range(0, self._size, PART_BYTES):
            yield self[start : start + PART_BYTES]


class Left:
    """A body that was not taken. size: of the message, in bytes. no_file: a file would have taken it."""

    def __init__(self, size: int, *, no_file: bool = False) -> None:
        self.size = size
        self.no_file = no_file


class Intake(ContentFrameAssembler):  # type: ignore[misc]
    """Puts deliveries together on one channel.

    announce: told size and message_id (None without one) when the header has come; says what becomes of the body.
    """

    def __init__(self, announce: Callable[[int, str | None], Admission]) -> None:
        super().__init__()
        self._announce = announce
        self._body: bytearray | Spool | Left | None = None
        self._seen = 0
        self.cancelled = self.starved = False

    @property
    def busy(self) -> bool:
        """Say whether a body has begun to come and is not complete."""
        return self._body is not None

    def process(self, frame_value: Any) -> Any:
        """Take a frame; give (method, header, body) when it completes a delivery."""
        try:
            return self._process(frame_value)
        except MemoryError:
            # pika takes any exception for a lost stream
            self.starved = True
            raise

    def _process(self, frame_value: Any) -> Any:
        if isinstance(frame_value, frame.Method) and isinstance(frame_value.method, Basic.CancelOk):
            self.cancelled = True
            return None
        if isinstance(frame_value, frame.Method) and isinstance(frame_value.method, Basic.QosOk):
            return None
        # A publish that came back is pika's own business
        wanted = (Basic.Deliver, Basic.GetOk)
        if isinstance(frame_value, frame.Header) and isinstance(self._method_frame.method, wanted):
            self._header_frame = frame_value
            self._begin(frame_value)
            return self._complete() if frame_value.body_size == 0 else None
        if isinstance(frame_value, frame.Body) and self._body is not None:
            return self._add(frame_value.fragment)
        return super().process(frame_value)

    def _begin(self, header: Any) -> None:
        size = header.body_size
        self._seen = 0
        match self._announce(size, properties.message_id(header.properties)):
            case Admission.KEEP:
                self._body = bytearray(size)
            case Admission.SPOOL:
                try:
                    self._body = Spool.open()
                except OSError as error:
                    self._body = _not_kept(size, error)
            case Admission.LEAVE:
                self._body = Left(size)

    def _add(self, fragment: bytes) -> Any:
        end = self._seen + len(fragment)
        size = self._header_frame.body_size
        if end > size:
            raise BodyTooLongError(end, size)
        if isinstance(self._body, bytearray):
            self._body[self._seen : end] = fragment
        elif isinstance(self._body, Spool):
            try:
                self._body.append(fragment)
            except OSError as error:
                self._body = _not_kept(size, error)
        self._seen = end
        return self._complete() if end == size else None

    def _complete(self) -> Any:
        content = self._method_frame, self._header_frame, self._body
        self._body = None
        self._reset()
        return content


def _not_kept(size: int, error: OSError) -> Left:
    log.error("body_not_kept", extra={"body_bytes": size, "reason": error.strerror or type(error).__name__})
    return Left(size, no_file=True)
