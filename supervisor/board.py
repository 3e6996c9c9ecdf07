"""The shared pages on which each child says where it stands: written by the child, read by the supervisor.

One page to a slot, in an anonymous shared mapping made before the first fork. A page holds two records; before all
pages stands the tally, one byte to a slot: how many reports there were, modulo 256, so that its lowest bit names one
of the two records. A report fills the other one and then counts itself, one byte. A child killed at any instant thus
leaves one whole record, so no event's id ever stands beside another's epoch. There is no lock for it to take with it.
The tally also says who has reported since it was last looked at, and no page needs to be touched for that. A reader of
a *living* child may lose a race with two quick reports: a checksum in the record shows that, and it reads again.

The page outlives the child: what was in hand is read after the death. Counters live in the record too, are carried
from one generation to the next, and so never disagree with it.

Behind the tally stand the gates, one byte to a slot: the only thing here that the supervisor writes and children read.
"""

import mmap
import struct
import zlib
from dataclasses import dataclass, replace

from supervisor.breaker import NO_CALLS, Calls
from supervisor.counters import Layout, Totals
from supervisor.lifecycle import Phase
from supervisor.logs import CUT
from supervisor.reading import SlotView

PAGE_BYTES = 8192
SPARE_SLOTS = 32
"""Slots beyond the children at start, for those that TTIN adds: the mapping cannot grow after the first fork."""

CONVERSATION_ID_BYTES = 1020
CLAIMED_BY_BYTES = 200
NOTE_BYTES = 200
LAST_BYTES = 256
FIELDS = struct.Struct(
    "<QQ"  # sequence, generation
    "BBHHHH"  # phase, flags, lengths of the four texts
    "dddd"  # phase_since, heartbeat, message_since, waited_s
    "qqQI"  # event_id, epoch, body_bytes, body_crc32
    "QQdQ"  # messages, resting_rss_bytes, rested_at, fresh_rss_bytes
    f"{CONVERSATION_ID_BYTES}s{CLAIMED_BY_BYTES}s{NOTE_BYTES}s{LAST_BYTES}s"
)
CHECKSUM = struct.Struct("<I")
SEQUENCE = struct.Struct("<Q")
IN_HAND, NAMED, CLAIMED = 1, 2, 4

RECORD_BYTES = PAGE_BYTES // 2
CALLS = struct.Struct("<3Q")  # answered, failed, barred
MOST_COUNTERS = (RECORD_BYTES - FIELDS.size - CALLS.size - CHECKSUM.size) // 8
READ_TRIES = 5


@dataclass(frozen=True, slots=True)
class Record:
    """A view with its counters, as the page holds them."""

    view: SlotView
    counters: tuple[int, ...]
    calls: Calls = NO_CALLS


class Board:
    """The pages of all slots. Make it in the parent before the first fork.

    capacity: slots. layout: of the counters, at most MOST_COUNTERS of them; raises ValueError beyond.
    """

    def __init__(self, capacity: int, layout: Layout) -> None:
        if layout.width > MOST_COUNTERS:
            raise ValueError(f"{layout.width} counters, at most {MOST_COUNTERS}")
        self.capacity = capacity
        self.layout = layout
        self._counters = struct.Struct(f"<{layout.width}Q")
        self._tally_bytes = -(-2 * capacity // PAGE_BYTES) * PAGE_BYTES
        self._pages = mmap.mmap(-1, self._tally_bytes + capacity * PAGE_BYTES)
        self._tally = bytes(capacity)
        self._read: dict[int, tuple[int, Record]] = {}
        self._lost: set[int] = set()
        blank = Record(SlotView(0, Phase.STOPPING, 0.0, 0.0), (0,) * layout.width)
        for slot in range(capacity):
            self.write(slot, blank)

    def open(self, slot: int, generation: int, now: float) -> None:
        """Begin a new child's life on the page: its counters stay. Only while the slot has no child."""
        view = SlotView(generation, Phase.BOOTING, now, now)
        self.write(slot, replace(self.record(slot), view=view))

    def write(self, slot: int, record: Record) -> None:
        """Replace the record. Only one process may write to a slot at a time: its child, or the parent without one."""
        count = self._pages[slot]
        sequence = SEQUENCE.unpack_from(self._pages, self._offset(slot, count))[0] + 1
        calls = record.calls
        body = (
            _pack(record.view, sequence)
            + CALLS.pack(calls.answered, calls.failed, calls.barred)
            + self._counters.pack(*record.counters)
        )
        start = self._offset(slot, count + 1)
        self._pages[start : start + len(body) + CHECKSUM.size] = body + CHECKSUM.pack(zlib.crc32(body))
        self._pages[slot] = (count + 1) % 256

    def reported(self) -> frozenset[int]:
        """Return the slots whose record has changed since this was last asked, or whose reader lost every race.

        By the tally: 256 reports between two looks (they take 3 ms) look like none, so ask a page itself now and then.
        """
        before, self._tally = self._tally, self._pages[: self.capacity]
        if before == self._tally and not self._lost:
            return frozenset()
        lost, self._lost = self._lost, set()
        return frozenset(lost).union(
            slot for slot in range(self.capacity) if before[slot] != self._tally[slot]
        )

    def view(self, slot: int) -> SlotView:
        """Return what the child last said."""
        return self.record(slot).view

    def record(self, slot: int) -> Record:
        """Return the record; while a busy writer wins every race, the one before, and the slot counts as reported."""
        size = FIELDS.size + CALLS.size + self._counters.size
        known = self._read.get(slot)
        for _ in range(READ_TRIES):
            start = self._offset(slot, self._pages[slot])
            sequence = SEQUENCE.unpack_from(self._pages, start)[0]
            if known is not None and known[0] == sequence:
                return known[1]
            raw = self._pages[start : start + size + CHECKSUM.size]
            body = raw[:size]
            if CHECKSUM.unpack_from(raw, size)[0] == zlib.crc32(body):
                counters = self._counters.unpack_from(body, FIELDS.size + CALLS.size)
                record = Record(_unpack(body), counters, Calls(*CALLS.unpack_from(body, FIELDS.size)))
                self._read[slot] = SEQUENCE.unpack_from(body)[0], record
                return record
        if known is None:
            raise RuntimeError(f"page {slot} holds no record")
        # The tally was looked at before: a writer that falls silent now would not be named again
        self._lost.add(slot)
        return known[1]

    def totals(self) -> Totals:
        """Return the counts over all slots, since the start."""
        return self.layout.totals([self.record(slot).counters for slot in range(self.capacity)])

    def admit(self, gates: bytes) -> None:
        """Set every slot's gate."""
        self._pages[self.capacity : 2 * self.capacity] = gates

    def gate(self, slot: int) -> int:
        """Return a slot's gate (supervisor.breaker)."""
        return self._pages[self.capacity + slot]

    def close(self) -> None:
        """Give the pages back."""
        self._pages.close()

    def _offset(self, slot: int, count: int) -> int:
        return self._tally_bytes + slot * PAGE_BYTES + (count & 1) * RECORD_BYTES


def _pack(view: SlotView, sequence: int) -> bytes:
    conversation = cut(view.conversation_id or "", CONVERSATION_ID_BYTES)
    claimed_by = cut(view.claimed_by or "", CLAIMED_BY_BYTES)
    note = cut(view.note, NOTE_BYTES)
    last = cut(view.last_conversation_id, LAST_BYTES, CUT)
    flags = (
        (IN_HAND if view.message_since is not None else 0)
        | (NAMED if view.conversation_id is not None else 0)
        | (CLAIMED if view.claimed_by is not None else 0)
    )
    return FIELDS.pack(
        sequence,
        view.generation,
        view.phase,
        flags,
        len(conversation),
        len(claimed_by),
        len(note),
        len(last),
        view.phase_since,
        view.heartbeat,
        view.message_since or 0.0,
        view.waited_s,
        view.event_id,
        view.epoch,
        view.body_bytes,
        view.body_crc32,
        view.messages,
        view.resting_rss_bytes,
        view.rested_at,
        view.fresh_rss_bytes,
        conversation,
        claimed_by,
        note,
        last,
    )


def _unpack(body: bytes) -> SlotView:
    (
        _sequence,
        generation,
        phase,
        flags,
        conversation_size,
        claimed_size,
        note_size,
        last_size,
        phase_since,
        heartbeat,
        message_since,
        waited_s,
        event_id,
        epoch,
        body_bytes,
        body_crc32,
        messages,
        resting,
        rested_at,
        fresh,
        conversation,
        claimed_by,
        note,
        last,
    ) = FIELDS.unpack_from(body)
    return SlotView(
        generation=generation,
        phase=Phase(phase),
        phase_since=phase_since,
        heartbeat=heartbeat,
        message_since=message_since if flags & IN_HAND else None,
        waited_s=waited_s,
        conversation_id=conversation[:conversation_size].decode() if flags & NAMED else None,
        claimed_by=claimed_by[:claimed_size].decode() if flags & CLAIMED else None,
        event_id=event_id,
        epoch=epoch,
        body_bytes=body_bytes,
        body_crc32=body_crc32,
        note=note[:note_size].decode(),
        last_conversation_id=last[:last_size].decode(),
        messages=messages,
        resting_rss_bytes=resting,
        rested_at=rested_at,
        fresh_rss_bytes=fresh,
    )


def cut(text: str, most: int, mark: str = "") -> bytes:
    """Encode a text in at most so many bytes, cut between two characters; what was cut ends with the mark."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return raw
    end = mark.encode()
    return raw[: most - len(end)].decode("utf-8", "ignore").encode() + end
