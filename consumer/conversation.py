"""Conversation logs: a JSON array of items -> the Memory API's request body, and its turns.

The cheapest path found from body bytes to request bytes: items are read one at a time from views into the body,
and their texts go into the request as the raw JSON they came in, so that no text is ever held as a Python
string for longer than its check (one emoji makes a whole str cost 4 bytes a character).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import msgspec

from consumer.errors import MalformedMessage

# Chunks above glibc's mmap threshold (128 KiB, set before the fork) go back to the kernel the moment they are freed.
CHUNK_BYTES = 256 * 1024


class Speaker(Enum):
    """Who said something, by the role that the Memory API knows."""

    ROBOT = b'{"role":"assistant","content":'
    CHILD = b'{"role":"user","content":'


class Payload:
    """A request body in chunks, given out once: each chunk is dropped as it leaves.

    length: bytes in all chunks together, fixed when the payload is made.
    """

    def __init__(self, chunks: deque[bytes]) -> None:
        self._chunks = chunks
        self.length = sum(map(len, chunks))

    def __iter__(self) -> Iterator[bytes]:
        while self._chunks:
            yield self._chunks.popleft()

    def drop(self) -> None:
        """Let go of what was not given out."""
        self._chunks.clear()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, ready for the Memory API.

    messages: usable items with a text. turns: see `Turns`. empty: items without text. unusable: items of
    neither form, or of an unknown speaker.
    """

    payload: Payload
    messages: int
    turns: int
    empty: int
    unusable: int


class Turns:
    """Count the turns of a conversation, one message at a time.

    1. A turn is an adjacent pair of messages by different speakers.
    2. Each message is used once, scanned from the start.
    """

    def __init__(self) -> None:
        self.count = 0
        self._open: Speaker | None = None

    def hear(self, speaker: Speaker) -> None:
        """Take the next message."""
        if self._open is None or self._open is speaker:
            self._open = speaker
        else:
            self.count += 1
            self._open = None


class _Item(msgspec.Struct):
    speaker: str | None = None
    text: msgspec.Raw = msgspec.Raw()
    character: str | None = None
    content: msgspec.Raw = msgspec.Raw()


_items = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(_Item)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def transcribe(log: msgspec.Raw | bytes, user_id: str, conversation_id: str) -> Transcript:
    """Read a log into the request of POST /extract_facts.

    log: the UTF-8 JSON of a list. Peak memory: the log, one request body and about 100 bytes an item.
    Raises MalformedMessage when it is no list, not UTF-8, or when not one of its items can be used.
    """
    try:
        items = _items.decode(log)
    except (ValueError, RecursionError):
        items = None
    if items is None:
        raise MalformedMessage("conversation_log is not a JSON list")
    turns = Turns()
    chunks: deque[bytes] = deque()
    out = bytearray(
        b'{"user_id":%b,"conversation_id":%b,"conversation":[' % (_encode(user_id), _encode(conversation_id))
    )
    messages = empty = unusable = 0
    for raw in items:
        said = _read(raw)
        if said is None:
            unusable += 1
            continue
        speaker, text = said
        if not text:
            empty += 1
            continue
        turns.hear(speaker)
        if messages:
            out += b","
        messages += 1
        out += speaker.value
        out += text
        out += b"}"
        if len(out) >= CHUNK_BYTES:
            chunks.append(bytes(out))
            out.clear()
    if items and unusable == len(items):
        raise MalformedMessage(f"none of the log's {unusable} items can be used")
    out += b"]}"
    chunks.append(bytes(out))
    return Transcript(Payload(chunks), messages, turns.count, empty, unusable)


def _read(raw: msgspec.Raw) -> tuple[Speaker, msgspec.Raw | None] | None:
    """Read one item: who spoke, and the JSON string of the text (None when it says nothing). None: unusable."""
    try:
        item = _item.decode(raw)
        speaker = _speaker(item)
        if speaker is None:
            return None
        text = item.text if item.speaker is not None else item.content
        # The raw bytes were only skipped over so far: decoding proves that they are a string in valid UTF-8.
        said = _text.decode(text)
    except UnicodeDecodeError:
        raise MalformedMessage("not UTF-8") from None
    except (ValueError, RecursionError):
        return None
    return speaker, text if said.strip() else None


def _speaker(item: _Item) -> Speaker | None:
    match item.speaker:
        case "pika":
            return Speaker.ROBOT
        case "user":
            return Speaker.CHILD
        case str():
            return None
    character = item.character or ""
    if "BOT" in character or "PIKA" in character:
        return Speaker.ROBOT
    return Speaker.CHILD if "USER" in character else None
