"""Conversation logs: a JSON array of items -> the Memory API's request body, and its turns.

The cheapest path found from body bytes to request bytes: items are read one at a time from views into the body, and
their texts go into the request as the raw JSON they came in. None is held as a Python string (one emoji makes a whole
str cost 4 bytes a character).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from consumer.errors import MalformedMessage

# Chunks above glibc's mmap threshold (128 KiB, set before the fork) go back to the kernel the moment they are freed.
CHUNK_BYTES = 256 * 1024


# Who said something, as the item of the request begins: compared by identity.
ROBOT = b'{"role":"assistant","content":'
CHILD = b'{"role":"user","content":'
_BY_SPEAKER = {"pika": ROBOT, "user": CHILD}

# First bytes of a text that may be nothing but white space: a blank, an escape, or a character beyond ASCII that begins
# like one of Unicode's blanks.
_PERHAPS_BLANK = frozenset(b" \\\xc2\xe1\xe2\xe3")


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
    ids = b'{"user_id":%b,"conversation_id":%b,"conversation":[' % (
        _encode(user_id),
        _encode(conversation_id),
    )
    transcript = _transcribe(items, ids)
    if items and transcript.unusable == len(items):
        raise MalformedMessage(f"none of the log's {len(items)} items can be used")
    return transcript


def _transcribe(items: list[msgspec.Raw], head: bytes) -> Transcript:
    # One loop without calls of our own: with 13,000 items in 3 MB they would take as long as the work.
    chunks: deque[bytes] = deque([head])
    parts: list[bytes] = []
    size = messages = turns = empty = unusable = 0
    unpaired: bytes | None = None
    read = _item.decode
    for raw in items:
        try:
            item = read(raw)
        except (ValueError, RecursionError):
            unusable += 1
            continue
        if item.speaker is not None:
            speaker, text = _BY_SPEAKER.get(item.speaker), bytes(item.text)
        else:
            speaker, text = _by_character(item.character), bytes(item.content)
        if speaker is None or text[:1] != b'"':
            unusable += 1
            continue
        if len(text) == 2 or (text[1] in _PERHAPS_BLANK and _is_blank(text)):
            empty += 1
            continue
        # A turn is an adjacent pair of different speakers, each message used once, scanned from the start
        if unpaired is None or unpaired is speaker:
            unpaired = speaker
        else:
            turns += 1
            unpaired = None
        part = speaker + text
        parts.append(part)
        messages += 1
        size += len(part)
        if size >= CHUNK_BYTES:
            chunks.append(_chunk(parts, first=len(chunks) == 1))
            parts.clear()
            size = 0
    if parts:
        chunks.append(_chunk(parts, first=len(chunks) == 1))
    chunks.append(b"]}")
    return Transcript(Payload(chunks), messages, turns, empty, unusable)


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


def _chunk(parts: list[bytes], *, first: bool) -> bytes:
    """Join items into a chunk, and prove that it is UTF-8: until here texts were only skipped over."""
    parts[0] = parts[0] if first else b"," + parts[0]
    parts[-1] += b"}"
    chunk = b"},".join(parts)
    try:
        chunk.decode()
    except UnicodeDecodeError:
        raise MalformedMessage("not UTF-8") from None
    return chunk
