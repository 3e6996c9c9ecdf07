"""What the supervisor tells of itself: written by its loop, read by the status process.

Two buffers in an anonymous shared mapping, made before the fork, and in front of them a header: how many bulletins
there were, whose lowest bit names the buffer that holds the last, and the time of the loop's last turn that went well.
The writer fills the other buffer first. A reader that was overtaken twice sees that in the count, and reads again.
"""

import mmap
import struct

CHILD_BYTES = 8 * 1024
"""The most that a child's line takes: three names of 255 characters and a note, each spelled out as six bytes."""
OTHERS_BYTES = 256 * 1024
"""Room for all else, events above all."""

COUNT = struct.Struct("<Q")
HEARTBEAT = struct.Struct("<d")
LENGTH = struct.Struct("<I")
HEADER_BYTES = 4096
READ_TRIES = 5


class Bulletin:
    """One text, replaced now and then, and a heartbeat each way. One writer of each, any number of readers, no lock.

    capacity: how many children the text may tell of. What is never written takes no memory.
    """

    def __init__(self, now: float, capacity: int) -> None:
        self.size_bytes = OTHERS_BYTES + capacity * CHILD_BYTES
        self._pages = mmap.mmap(-1, HEADER_BYTES + 2 * self.size_bytes)
        self.beat(now)

    def beat(self, now: float) -> None:
        """Note that the loop turns (monotonic seconds)."""
        HEARTBEAT.pack_into(self._pages, COUNT.size, now)

    def heartbeat(self) -> float:
        """Return when the loop turned last."""
        at: float = HEARTBEAT.unpack_from(self._pages, COUNT.size)[0]
        return at

    def answer(self, now: float) -> None:
        """Note that the status process turns, too."""
        HEARTBEAT.pack_into(self._pages, COUNT.size + HEARTBEAT.size, now)

    def answered(self) -> float:
        """Return when it did last; 0 before the first time."""
        at: float = HEARTBEAT.unpack_from(self._pages, COUNT.size + HEARTBEAT.size)[0]
        return at

    def post(self, text: bytes) -> bool:
        """Replace the text; False when it is too long, and the old one stays."""
        if len(text) > self.size_bytes - LENGTH.size:
            return False
        count = self.count() + 1
        start = self._start(count)
        self._pages[start : start + LENGTH.size + len(text)] = LENGTH.pack(len(text)) + text
        COUNT.pack_into(self._pages, 0, count)
        return True

    def count(self) -> int:
        """Return how many texts were posted."""
        count: int = COUNT.unpack_from(self._pages, 0)[0]
        return count

    def read(self) -> bytes | None:
        """Return the last text; None when there is none yet, or the writer won every race."""
        for _ in range(READ_TRIES):
            count = self.count()
            if count == 0:
                return None
            start = self._start(count)
            (size,) = LENGTH.unpack_from(self._pages, start)
            text = self._pages[start + LENGTH.size : start + LENGTH.size + size]
            # A text is written over this one only after the next has been counted
            if self.count() == count:
                return text
        return None

    def close(self) -> None:
        """Give the pages back."""
        self._pages.close()

    def _start(self, count: int) -> int:
        return HEADER_BYTES + (count & 1) * self.size_bytes
