"""How far a file has been published, and whether that still holds for the file as it is now. Values only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from zlib import crc32

import msgspec

from consumer.decoding import Unreadable, reading
from supervisor.cli.publishing.entries import Entry

VERSION = 2
RECORD_BYTES = 1024
HEAD_BYTES = 64 * 1024
"""Of a file's beginning, by which it is known again."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from another. mtime: in ns. head_sha256: of the first head_bytes."""

    size: int
    mtime: int
    inode: int
    head_bytes: int
    head_sha256: str


@dataclass(frozen=True, slots=True)
class Place:
    """The last entry that is dealt with, and what was done so far in all runs over this file.

    start, end: of that entry, in bytes of the inflated file. checksum: of its text. accepted: confirmed by the broker.
    refused: no message. ended: the file was published to its end, by a command that had more to do. chain: the checksum
    of all entries up to this one.
    """

    number: int = 0
    start: int = 0
    end: int = 0
    checksum: int = 0
    accepted: int = 0
    refused: int = 0
    ended: bool = False
    chain: int = 0

    def after(self, entry: Entry, *, accepted: bool) -> "Place":
        return Place(
            entry.number,
            entry.start,
            entry.end,
            _checksum(entry),
            self.accepted + accepted,
            self.refused + (not accepted),
            chain=crc32(entry.body or b"", crc32(b"%d:" % entry.size, self.chain)),
        )

    def at_end(self) -> "Place":
        return replace(self, ended=True)

    def holds(self, entry: Entry) -> bool:
        """Say whether this is the entry that was dealt with last."""
        return (entry.number, entry.start, _checksum(entry)) == (self.number, self.start, self.checksum)


@dataclass(frozen=True, slots=True)
class Changed:
    """The file is not the one that was begun. reason: in a few words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Grown:
    """The file has become longer, and looks the same else: the place holds if all entries before it are the same."""

    place: Place


def judge(place: Place, then: Identity, now: Identity) -> Place | Grown | Changed:
    """Say where to go on. now: with the head of as many bytes as `then`.

    1. The same file, untouched: go on.
    2. The same file, grown, with the same beginning: go on if all entries up to the place are the same, which has to be
       read; what is new comes after what was there.
    3. Anything else begins anew. An event is scored once, however often it is published; a line left out never is.
    """
    if now.inode != then.inode:
        return Changed("another file has taken its place")
    if now.size < then.size:
        return Changed("it has become shorter")
    if (now.head_bytes, now.head_sha256) != (then.head_bytes, then.head_sha256):
        return Changed("its beginning has changed")
    if now.size == then.size and now.mtime != then.mtime:
        return Changed("it has been written to")
    return place if now.size == then.size else Grown(replace(place, ended=False))


def find(place: Place, entries: Iterator[Entry], *, whole: bool) -> Entry | None:
    """Take entries up to the one that was dealt with last, and give that; None where it has changed.

    whole: they are given from the first on, and all are compared; else from that one on.
    """
    again = Place()
    for entry in entries:
        again = again.after(entry, accepted=True)
        if entry.number >= place.number:
            same = place.holds(entry) and (again.chain == place.chain or not whole)
            return entry if same else None
    return None


class _Record(msgspec.Struct):
    version: int
    place: Place
    identity: Identity


_record = reading(msgspec.json.Decoder(_Record))


def encode(place: Place, identity: Identity) -> bytes:
    """Write a record: always RECORD_BYTES long, so that one write replaces the one before."""
    text = msgspec.json.encode(_Record(VERSION, place, identity))
    return (b"%08x %b" % (crc32(text), text)).ljust(RECORD_BYTES - 1) + b"\n"


def decode(record: bytes) -> tuple[Place, Identity] | None:
    """Read a record; None for what is none, is cut, or is of another version."""
    checksum, _, text = record[:RECORD_BYTES].strip().partition(b" ")
    try:
        if len(record) < RECORD_BYTES or int(checksum, 16) != crc32(text):
            return None
        read = _record(text)
    except (ValueError, Unreadable):
        return None
    return (read.place, read.identity) if read.version == VERSION else None


def _checksum(entry: Entry) -> int:
    # Of one over the limit nothing was kept
    return crc32(entry.body) if entry.body is not None else entry.size
