"""The items of a conversation's log, read no further than they must be: a text stays the raw JSON that it came in."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from consumer.decoding import Json, Unreadable, reading
from consumer.errors import MalformedMessage

# Who said something, as the item of the Memory API's request begins, the one before it closed: compared by identity
ROBOT = b'},{"role":"assistant","content":'
CHILD = b'},{"role":"user","content":'
BY_SPEAKER = {"pika": ROBOT, "user": CHILD}

QUOTE = ord('"')
PERHAPS_BLANK = frozenset(b" \\\xc2\xe1\xe2\xe3")
"""First bytes of a text that may be nothing but white space: a blank, an escape, or a character beyond ASCII that
begins like one of Unicode's blanks."""

PEEK_BYTES = 4096
"""Of a longer text only so much is decoded to see that it is not blank: a str may take four times its bytes."""

CHARACTER_BYTES = 1024
"""A longer `character` names nobody, and is not decoded."""

_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[fnrt]|u[0-9a-fA-F]{0,3}$|$)")


class Item(msgspec.Struct, gc=False):
    """One item, of either form: a missing text is empty."""

    speaker: Literal["pika", "user"] | None = None
    text: msgspec.Raw = msgspec.Raw()
    character: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()


_all = reading(msgspec.json.Decoder(list[Item]))
_each = reading(msgspec.json.Decoder(list[msgspec.Raw]))
_item = reading(msgspec.json.Decoder(Item))
_text = reading(msgspec.json.Decoder(str))


def read(log: Json) -> Sequence[Item | None]:
    """Read all items at once, or, when one of them is odd, each by itself: None stands for an odd one.

    Raises MalformedMessage when the log is no list.
    """
    with contextlib.suppress(Unreadable):
        return _all(log)
    return list(one_by_one(split(log)))


def split(log: Json) -> list[msgspec.Raw]:
    """Cut a log into its items, unread. Raises MalformedMessage when it is no list."""
    with contextlib.suppress(Unreadable):
        return _each(log)
    raise MalformedMessage("conversation_log is not a JSON list")


def one_by_one(raws: Iterable[msgspec.Raw]) -> Iterator[Item | None]:
    """Read items when they are asked for; None stands for an odd one."""
    for raw in raws:
        try:
            item = _item(raw)
        except Unreadable:
            yield None
        else:
            yield item


def by_character(character: msgspec.Raw) -> bytes | None:
    """Say who speaks in an item of the second form: ROBOT, CHILD or nobody known."""
    name = bytes(character)
    return _named(name) if len(name) <= CHARACTER_BYTES else None


@lru_cache(maxsize=64)  # the same few names in all of a log
def _named(character: bytes) -> bytes | None:
    try:
        name = _text(character)
    except Unreadable:  # also of none at all
        return None
    if "BOT" in name or "PIKA" in name:
        return ROBOT
    return CHILD if "USER" in name else None


def decoded(text: msgspec.Raw | bytes | memoryview) -> str:
    """Decode a text. Raises Unreadable."""
    return _text(text)


def is_blank(text: bytes | memoryview) -> bool:
    """Say whether a text is nothing but white space. Raises Unreadable, for some that are not UTF-8."""
    if len(text) > PEEK_BYTES and _says_something(bytes(text[1:PEEK_BYTES])):
        return False
    return not decoded(text).strip()


def _says_something(beginning: bytes) -> bool:
    """Say whether a text surely is not blank, by its beginning, which may end amid a character or its escape."""

    def spelled(escape: re.Match[str]) -> str:
        return chr(int(escape[1], 16)) if escape[1] else ""

    return bool(_ESCAPES.sub(spelled, beginning.decode(errors="ignore")).strip())
