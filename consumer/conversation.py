"""Conversation logs: a JSON array of items -> the Memory API's request body, and its turns.

The cheapest path found from body bytes to request bytes: texts are views into the body, and go into the request as the
raw JSON they came in, a chunk at a time while it is sent. None is held as a Python string (one emoji makes a whole str
cost 4 bytes a character), and of the request never more than a chunk.
"""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import msgspec

from consumer.decoding import Json, Unreadable, is_utf8
from consumer.errors import MalformedMessage, NothingUsable
from consumer.items import (
    BY_SPEAKER,
    PERHAPS_BLANK,
    QUOTE,
    Item,
    by_character,
    is_blank,
    one_by_one,
    read,
    split,
)

# Chunks above glibc's mmap threshold (128 KiB, set before the fork) go back to the kernel the moment they are freed.
CHUNK_BYTES = 256 * 1024

_CLOSING = len(b"},")

LARGE_BYTES = 8 * 1024 * 1024
"""A log over it is read in the way that takes half of the memory and twice the time."""
BATCH = 1024

Parts = list[bytes | msgspec.Raw]
T = TypeVar("T")


class Payload:
    """A request body, given out once, in chunks that are put together as they leave.

    chunks: what each chunk is made of; the texts are views that keep the message's body alive until they have left.
    length: bytes in all chunks together.
    """

    def __init__(self, chunks: Iterator[Parts], length: int) -> None:
        self._chunks = chunks
        self.length = length

    def __iter__(self) -> Iterator[bytes]:
        for parts in self._chunks:
            yield b"".join(parts)

    def drop(self) -> None:
        """Let go of what was not given out."""
        self._chunks = iter(())


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, ready for the Memory API.

    messages: usable items with a text. turns: adjacent pairs of messages by different speakers, each message used once,
    scanned from the start. empty: items without text. unusable: items of
    neither form, or of an unknown speaker.
    """

    payload: Payload
    messages: int
    turns: int
    empty: int
    unusable: int


_encode = msgspec.json.Encoder().encode


def transcribe(log: Json, user_id: str, conversation_id: str) -> Transcript:
    """Read a log into the request of POST /extract_facts.

    log: the UTF-8 JSON of a list. Peak memory above the log: a few chunks, and about 130 bytes an item, of a log over
    LARGE_BYTES 60.
    Raises MalformedMessage when it is no list, not UTF-8, or when not one of its items can be used.
    """
    head = b'{"user_id":%b,"conversation_id":%b,"conversation":[' % (
        _encode(user_id),
        _encode(conversation_id),
    )
    if memoryview(log).nbytes > LARGE_BYTES:
        return _frugally(log, head)
    items = read(log)
    scan = _Scan()
    chunks = deque(scan.take(items))
    length = sum(map(_proved, chunks))
    return _told(scan, len(items), head, _given_out(chunks), length)


def _frugally(log: Json, head: bytes) -> Transcript:
    """Read a log twice, now and while it is sent, some items at a time, and keep nothing but where they are."""
    raws = split(log)
    batches = deque(raws[at : at + BATCH] for at in range(0, len(raws), BATCH))
    scan = _Scan()
    length = sum(_proved(parts) for batch in batches for parts in scan.take(one_by_one(batch)))
    again = _Scan()
    chunks = (parts for batch in _given_out(batches) for parts in again.take(one_by_one(batch)))
    return _told(scan, len(raws), head, chunks, length)


def _told(scan: "_Scan", items: int, head: bytes, chunks: Iterator[Parts], length: int) -> Transcript:
    if items and scan.unusable == items:
        raise NothingUsable(f"none of the log's {items} items can be used")
    tail = b"}]}" if scan.messages else b"]}"
    payload = Payload(chain([[head]], chunks, [[tail]]), len(head) + length + len(tail))
    return Transcript(payload, scan.messages, scan.turns, scan.empty, scan.unusable)


def _given_out(given: deque[T]) -> Iterator[T]:
    while given:
        yield given.popleft()


class _Scan:
    """One way through a log's items: what a request's chunks are made of, and the counts of a Transcript."""

    def __init__(self) -> None:
        self.messages = self.turns = self.empty = self.unusable = 0
        self._unpaired: bytes | None = None

    def take(self, items: Iterable[Item | None]) -> Iterator[Parts]:
        # One loop without calls of our own: with 13,000 items in 3 MB they would take as long as the work.
        parts: Parts = []
        size = messages = turns = 0
        unpaired = self._unpaired
        for item in items:
            speaker: bytes | None
            if item is None:
                self.unusable += 1
                continue
            if item.speaker is not None:
                speaker, text = BY_SPEAKER[item.speaker], item.text
            else:
                speaker, text = by_character(item.character), item.content
            said = bytes(text)
            if speaker is None or not said or said[0] != QUOTE:
                self.unusable += 1
                continue
            if len(said) == 2 or (said[1] in PERHAPS_BLANK and _blank(said)):
                self.empty += 1
                continue
            # A turn is an adjacent pair of different speakers, each message used once, scanned from the start
            if unpaired is None or unpaired is speaker:
                unpaired = speaker
            else:
                turns += 1
                unpaired = None
            messages += 1
            parts.append(speaker)
            parts.append(text)
            size += len(speaker) + len(said)
            if size >= CHUNK_BYTES:
                yield self._opened(parts)
                parts = []
                size = 0
                self.messages += messages
                messages = 0
        if parts:
            yield self._opened(parts)
        self.messages += messages
        self.turns += turns
        self._unpaired = unpaired

    def _opened(self, parts: Parts) -> Parts:
        """Before the first item of all there is none to close."""
        if self.messages == 0:
            parts[0] = bytes(parts[0])[_CLOSING:]
        return parts


def _blank(text: bytes) -> bool:
    with contextlib.suppress(Unreadable):
        return is_blank(text)
    raise MalformedMessage("not UTF-8")


def _proved(parts: Parts) -> int:
    """Return the length of a chunk, proved to be UTF-8: until here texts were only skipped over."""
    chunk = b"".join(parts)
    if chunk.isascii():
        return len(chunk)
    if not is_utf8(chunk):
        raise MalformedMessage("not UTF-8")
    return len(chunk)
