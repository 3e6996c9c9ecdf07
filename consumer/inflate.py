"""A body on its way in: gathered up to a limit, and inflated where it is gzip.

Whether it is gzip says its first byte, whatever its name or headers say: JSON begins with no control character. A
file may have several gzip members, and zeros between or after them.
"""

import zlib
from enum import Enum

STEP_BYTES = 256 * 1024
"""The most that is inflated at once: a bomb never holds more than the limit and a few of these."""

GZIP_BEGINS = 0x1F
GZIP_ONLY = 16 + zlib.MAX_WBITS


class Flaw(Enum):
    """What is wrong with a body, in words that go behind "is"."""

    TOO_LARGE = "larger than a message may be"
    CORRUPT = "damaged: it begins as gzip and is none"
    TRUNCATED = "cut short: its gzip has no end"
    EMPTY = "empty"


class Inflater:
    """Gathers a body of at most `max_bytes`, counted as they will be in `text`."""

    def __init__(self, max_bytes: int) -> None:
        self.text = bytearray()
        self._max_bytes = max_bytes
        self._is_gzip: bool | None = None
        self._member: zlib._Decompress | None = None

    def take(self, chunk: bytes) -> Flaw | None:
        """Add what has come. After a flaw nothing more can be added, and `text` means nothing."""
        if not chunk:
            return None
        if self._is_gzip is None:
            self._is_gzip = chunk[0] == GZIP_BEGINS
        if self._is_gzip:
            try:
                return self._inflate(chunk)
            except zlib.error:
                return Flaw.CORRUPT
        if len(self.text) + len(chunk) > self._max_bytes:
            return Flaw.TOO_LARGE
        self.text += chunk
        return None

    def end(self) -> Flaw | None:
        """Say what is wrong with all that came."""
        if self._member is not None:
            return Flaw.TRUNCATED
        return None if self.text else Flaw.EMPTY

    def drop(self) -> None:
        """Give the memory back at once, whoever still holds this."""
        self.text.clear()
        self._member = None

    def _inflate(self, data: bytes) -> Flaw | None:
        while True:
            if self._member is None:
                data = data.lstrip(b"\0")
                if not data:
                    return None
                if data[0] != GZIP_BEGINS:
                    return Flaw.CORRUPT  # zlib would wait for more before it says so
                self._member = zlib.decompressobj(GZIP_ONLY)
            # Never 0, which would mean no limit: one byte over is how a text that is too large shows
            room = min(STEP_BYTES, self._max_bytes - len(self.text) + 1)
            piece = self._member.decompress(data, room)
            self.text += piece
            if len(self.text) > self._max_bytes:
                return Flaw.TOO_LARGE
            if self._member.eof:
                data, self._member = self._member.unused_data, None
                continue
            data = self._member.unconsumed_tail
            if not data:
                return None  # what it has taken in and not yet given out comes with the next chunk: more must follow
