"""What an analysis is shown of a conversation: its beginning and its end, within a budget of characters.

Theory of operation. One way through the log's items, which decodes and holds no more than the budget's worth of texts,
whatever the size of the log or of one text:
1. Units are kept or left out whole: a turn, which is what it is for the score, or a message that is in none.
2. Head: the units from the start, until one does not fit into half of the budget.
3. Tail: of the others, the last ones that fit into what the head left of the budget.
4. A text is decoded only where it may be shown. JSON spends at most 12 bytes on a character, so its raw length says how
   long a text is at least.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from consumer.conversation import LARGE_BYTES
from consumer.decoding import Json, Unreadable
from consumer.errors import MalformedMessage
from consumer.items import (
    BY_SPEAKER,
    CHILD,
    PERHAPS_BLANK,
    QUOTE,
    ROBOT,
    Item,
    by_character,
    decoded,
    is_blank,
    one_by_one,
    read,
    split,
)
from consumer.message import mend

Speaker = Literal["robot", "child"]

MESSAGE_CHARS = 13
"""What a message costs besides its text: who said it, and the signs around. Else a thousand times "no" were free."""
_BYTES_A_CHAR = 12

_NAMES: dict[bytes, Speaker] = {ROBOT: "robot", CHILD: "child"}


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The parts of a conversation that are shown.

    said: in order, each text as it was, half characters replaced by U+FFFD. left_out: messages between head and tail
    that are not shown; before_gap: how many of `said` come before them.
    """

    said: tuple[tuple[Speaker, str], ...]
    left_out: int
    before_gap: int = 0


class _Message(NamedTuple):
    speaker: bytes  # by identity, as in conversation.py
    text: msgspec.Raw
    least: int  # characters that it costs at least


_Unit = tuple[_Message, ...]
_Said = list[tuple[Speaker, str]]


def excerpt(log: Json, budget_chars: int) -> Excerpt:
    """Choose what of a log is shown.

    log: the UTF-8 JSON of a list. budget_chars: of all texts together, with MESSAGE_CHARS for each.
    Peak memory above the log: about 130 bytes an item, of a log over LARGE_BYTES 60, and a few times the budget.
    Raises MalformedMessage when the log is no list; nothing else, also for texts that are not UTF-8.
    """
    head: _Said = []
    tail: deque[_Unit] = deque()
    messages = 0
    room, head_is_open = budget_chars // 2, True
    least = 0
    for unit in _units(_messages(_items(log))):
        messages += len(unit)
        if head_is_open:
            if (said := _shown(unit, room)) is not None:
                head += said
                room -= _cost(said)
                continue
            head_is_open = False
            room += budget_chars - budget_chars // 2
        tail.append(unit)
        least += _least(unit)
        while tail and least > room:
            least -= _least(tail.popleft())
    end: deque[tuple[Speaker, str]] = deque()
    while tail and (said := _shown(tail.pop(), room)) is not None:
        end.extendleft(reversed(said))
        room -= _cost(said)
    said = [*head, *end]
    return Excerpt(tuple(said), messages - len(said), len(head))


def _items(log: Json, *, mendable: bool = True) -> Iterable[Item | None]:
    try:
        return one_by_one(split(log)) if memoryview(log).nbytes > LARGE_BYTES else read(log)
    except MalformedMessage:
        if not mendable:
            raise
    # With half a character escaped somewhere, no part of a log can be read
    return _items(mend(log if isinstance(log, bytearray) else bytes(log)), mendable=False)


def _messages(items: Iterable[Item | None]) -> Iterator[_Message]:
    """Give what was said, as `conversation.transcribe` counts it."""
    for item in items:
        if item is None:
            continue
        if item.speaker is not None:
            speaker: bytes | None = BY_SPEAKER[item.speaker]
            text = item.text
        else:
            speaker, text = by_character(item.character), item.content
        raw = memoryview(text)
        size = raw.nbytes
        if speaker is None or size <= 2 or raw[0] != QUOTE:
            continue
        if raw[1] in PERHAPS_BLANK and _blank(raw):
            continue
        yield _Message(speaker, text, MESSAGE_CHARS + (size - 2 + _BYTES_A_CHAR - 1) // _BYTES_A_CHAR)


def _units(messages: Iterable[_Message]) -> Iterator[_Unit]:
    unpaired: _Message | None = None
    for message in messages:
        if unpaired is None:
            unpaired = message
        elif unpaired.speaker is message.speaker:
            yield (unpaired,)
            unpaired = message
        else:
            yield (unpaired, message)
            unpaired = None
    if unpaired is not None:
        yield (unpaired,)


def _least(unit: _Unit) -> int:
    return sum(message.least for message in unit)


def _shown(unit: _Unit, room: int) -> _Said | None:
    """Return a unit's texts if they fit."""
    if _least(unit) > room:
        return None
    said: _Said = [(_NAMES[message.speaker], _decoded(message.text)) for message in unit]
    return said if _cost(said) <= room else None


def _cost(said: _Said) -> int:
    return sum(MESSAGE_CHARS + len(text) for _, text in said)


def _blank(text: memoryview) -> bool:
    try:
        return is_blank(text)
    except Unreadable:
        return not _decoded(text).strip()


def _decoded(text: msgspec.Raw | memoryview) -> str:
    try:
        return decoded(text)
    except Unreadable:
        return decoded(bytes(text).decode(errors="replace").encode())
