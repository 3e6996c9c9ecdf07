"""Conversation logs: a JSON array of items -> the Memory API's request body, and its turns.

The cheapest path found from body bytes to request bytes: texts are views into the body, and go into the request as the
raw JSON they came in, a chunk at a time while it is sent. None is held as a Python string (one emoji makes a whole str
cost 4 bytes a character), and of the request never more than a chunk.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from consumer.errors import MalformedMessage

# Chunks above glibc's mmap threshold (128 KiB, set before the fork) go back to the kernel the moment they are freed.
CHUNK_BYTES = 256 * 1024

# Who said something, as the item of the request begins, the one before it closed: compared by identity.
ROBOT = b'},{"role":"assistant","content":'
CHILD = b'},{"role":"user","content":'
_CLOSING = len(b"},")
_BY_SPEAKER = {"pika": ROBOT, "user": CHILD}

_QUOTE = ord('"')
# First bytes of a text that may be nothing but white space: a blank, an escape, or a character beyond ASCII that begins
# like one of Unicode's blanks.
_PERHAPS_BLANK = frozenset(b" \\\xc2\xe1\xe2\xe3")

Parts = list[bytes | msgspec.Raw]


class Payload:
    """A request body, given out once, in chunks that are put together as they leave.

    parts: what each chunk is made of; the texts are views that keep the message's body alive until they have left.
    length: bytes in all chunks together.
    """

    def __init__(self, parts: deque[Parts], length: int) -> None:
        self._parts = parts
        self.length = length

    def __iter__(self) -> Iterator[bytes]:
        while self._parts:
            yield b"".join(self._parts.popleft())

    def drop(self) -> None:
        """Let go of what was not given out."""
        self._parts.clear()


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


class _Item(msgspec.Struct, gc=False):
    speaker: Literal["pika", "user"] | None = None
    text: msgspec.Raw = msgspec.Raw()
    character: str | None = None
    content: msgspec.Raw = msgspec.Raw()


_all = msgspec.json.Decoder(list[_Item])
_each = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(_Item)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def transcribe(log: msgspec.Raw | bytes, user_id: str, conversation_id: str) -> Transcript:
    """Read a log into the request of POST /extract_facts.

    log: the UTF-8 JSON of a list. Peak memory: the log, a few chunks and about 120 bytes an item.
    Raises MalformedMessage when it is no list, not UTF-8, or when not one of its items can be used.
    """
    items = _read(log)
    ids = b'{"user_id":%b,"conversation_id":%b,"conversation":[' % (
        _encode(user_id),
        _encode(conversation_id),
    )
    transcript = _transcribe(items, ids)
    if items and transcript.unusable == len(items):
        raise MalformedMessage(f"none of the log's {len(items)} items can be used")
    return transcript


def _read(log: msgspec.Raw | bytes) -> list[_Item | None]:
    """Read all items at once, or, when one of them is odd, each by itself: None stands for an odd one."""
    items: list[_Item | None]
    try:
        items = _all.decode(log)  # type: ignore[assignment]
    except (ValueError, RecursionError):
        items = []
    else:
        return items
    try:
        raws = _each.decode(log)
    except (ValueError, RecursionError):
        raws = None
    if raws is None:
        raise MalformedMessage("conversation_log is not a JSON list")
    for raw in raws:
        try:
            items.append(_item.decode(raw))
        except (ValueError, RecursionError):
            items.append(None)
    return items


def _transcribe(items: Iterable[_Item | None], head: bytes) -> Transcript:
    # One loop without calls of our own: with 13,000 items in 3 MB they would take as long as the work.
    chunks: deque[Parts] = deque()
    parts: Parts = [head]
    length = size = messages = turns = empty = unusable = 0
    unpaired: bytes | None = None
    for item in items:
        if item is None:
            unusable += 1
            continue
        speaker: bytes | None
        if item.speaker is not None:
            speaker, text = _BY_SPEAKER[item.speaker], item.text
        else:
            speaker, text = _by_character(item.character), item.content
        said = bytes(text)
        if speaker is None or not said or said[0] != _QUOTE:
            unusable += 1
            continue
        if len(said) == 2 or (said[1] in _PERHAPS_BLANK and _is_blank(said)):
            empty += 1
            continue
        # A turn is an adjacent pair of different speakers, each message used once, scanned from the start
        if unpaired is None or unpaired is speaker:
            unpaired = speaker
        else:
            turns += 1
            unpaired = None
        parts.append(speaker)
        parts.append(text)
        messages += 1
        size += len(speaker) + len(said)
        if size >= CHUNK_BYTES:
            length += _proved(parts)
            chunks.append(parts)
            parts = []
            size = 0
    parts.append(b"}]}" if messages else b"]}")
    length += _proved(parts)
    chunks.append(parts)
    if messages:
        # Before the first item there is none to close
        chunks[0][1] = bytes(chunks[0][1])[_CLOSING:]
        length -= _CLOSING
    return Transcript(Payload(chunks, length), messages, turns, empty, unusable)


def _by_character(character: str | None) -> bytes | None:
    if character is None:
        return None
    if "BOT" in character or "PIKA" in character:
        return ROBOT
    return CHILD if "USER" in character else None


def _is_blank(text: bytes) -> bool:
    try:
        return not _text.decode(text).strip()
    except UnicodeDecodeError:
        raise MalformedMessage("not UTF-8") from None


def _proved(parts: Parts) -> int:
    """Return the length of a chunk, proved to be UTF-8: until here texts were only skipped over."""
    chunk = b"".join(parts)
    try:
        if not chunk.isascii():
            chunk.decode()
    except UnicodeDecodeError:
        raise MalformedMessage("not UTF-8") from None
    return len(chunk)
