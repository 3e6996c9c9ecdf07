"""The last failures of each child's page, for whoever looks: written by the child, read by the status process.

A ring of entries to a page, in an anonymous shared mapping made before the first fork. Each entry carries a checksum:
one that a child was killed in the middle of is no entry. There is no lock, and no writer but the page's own child.
"""

import mmap
import struct
import zlib
from dataclasses import dataclass

from supervisor.board import cut
from supervisor.logs import CUT

ENTRIES = 8
"""Kept of each page: eight children keep 64."""

ENTRY_BYTES = 512
FIELDS = struct.Struct(
    "<QdIHBH64s400s"
)  # number, at, ms, slot, lengths of code and conversation, the two texts
CHECKSUM = struct.Struct("<I")
RING_BYTES = ENTRIES * ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Mishap:
    """A delivery that ended with an error code. at: wall clock, seconds; ms: since it came; a long id is cut."""

    at: float
    slot: int
    conversation_id: str
    code: str
    ms: int


class Chronicle:
    """The rings of all pages. Make it in the parent before the first fork."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._rings = mmap.mmap(-1, capacity * RING_BYTES)

    def add(self, page: int, mishap: Mishap) -> None:
        """Write an entry over the page's oldest."""
        numbers = [self._number(page, place) for place in range(ENTRIES)]
        oldest = numbers.index(min(numbers))
        code, conversation = cut(mishap.code, 64), cut(mishap.conversation_id, 400, CUT)
        lengths = len(code), len(conversation)
        ms = min(mishap.ms, 2**32 - 1)
        body = FIELDS.pack(max(numbers) + 1, mishap.at, ms, mishap.slot, *lengths, code, conversation)
        start = _offset(page, oldest)
        self._rings[start : start + len(body) + CHECKSUM.size] = body + CHECKSUM.pack(zlib.crc32(body))

    def read(self) -> list[Mishap]:
        """Return all that is there, the oldest first."""
        found = [
            mishap
            for page in range(self.capacity)
            if self._rings[page * RING_BYTES : page * RING_BYTES + 8] != bytes(8)
            for place in range(ENTRIES)
            if (mishap := self._entry(page, place)) is not None
        ]
        return sorted(found, key=lambda mishap: mishap.at)

    def close(self) -> None:
        """Give the pages back."""
        self._rings.close()

    def _number(self, page: int, place: int) -> int:
        number: int = struct.unpack_from("<Q", self._rings, _offset(page, place))[0]
        return number

    def _entry(self, page: int, place: int) -> Mishap | None:
        start = _offset(page, place)
        raw = self._rings[start : start + FIELDS.size + CHECKSUM.size]
        body = raw[: FIELDS.size]
        number, at, ms, slot, code_size, conversation_size, code, conversation = FIELDS.unpack(body)
        if number == 0 or CHECKSUM.unpack_from(raw, FIELDS.size)[0] != zlib.crc32(body):
            return None
        return Mishap(at, slot, conversation[:conversation_size].decode(), code[:code_size].decode(), ms)


def _offset(page: int, place: int) -> int:
    return page * RING_BYTES + place * ENTRY_BYTES
