"""A JSON text that is held whole, cut into its entries: the items of a list, lines of objects, or the text itself.

msgspec cuts a list, without looking into its items: whether an item is a message is found out by who parses it.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from consumer.decoding import Json, Unreadable, reading
from consumer.message import read_mended
from supervisor.cli.publishing.entries import BOM, Broken, Entry

MAX_BYTES = 256 * 1024 * 1024

_list = reading(msgspec.json.Decoder(list[msgspec.Raw]))
_value = reading(msgspec.json.Decoder(msgspec.Raw))
_object = reading(msgspec.json.Decoder(dict[str, msgspec.Raw]))

_BLANKS = re.compile(rb"[ \t\r\n]*")
_BETWEEN_ITEMS = re.compile(rb"[ \t\r\n,]*")
_LINE = re.compile(rb"[^\n]+")

T = TypeVar("T")


def entries(text: bytearray, max_bytes: int) -> Iterator[Entry]:
    """Give the entries of a text, in order. max_bytes: of one entry.

    Raises Broken, before the first entry, for what is not JSON as a whole. Where only half characters are what makes it
    so they are mended in place, as a consumer does.
    """
    if text.startswith(BOM):
        text[: len(BOM)] = b" " * len(BOM)
    begin = _end_of(_BLANKS, text, 0)
    if begin == len(text):
        return
    if text.startswith(b"[", begin):
        yield from _items(text, begin, max_bytes)
    elif _begins_lines(text, begin):
        yield from _lines(text, max_bytes)
    else:
        yield _entry(1, begin, memoryview(_read(_value, text)), max_bytes)


def remedy(begun: bytes | bytearray) -> str:
    """Say what makes JSON Lines of a text that begins so."""
    begin = _end_of(_BLANKS, begun, len(BOM) if begun.startswith(BOM) else 0)
    return "jq -c '.[]'" if begun.startswith(b"[", begin) else "jq -c ."


def _items(text: bytearray, begin: int, max_bytes: int) -> Iterator[Entry]:
    at = begin + 1
    for number, raw in enumerate(_read(_list, text), 1):
        entry = _entry(number, _end_of(_BETWEEN_ITEMS, text, at), memoryview(raw), max_bytes)
        yield entry
        at = entry.end


def _begins_lines(text: bytearray, begin: int) -> bool:
    """Say whether the first line is an object, and not the last."""
    end = text.find(b"\n", begin)
    if end < 0 or _end_of(_BLANKS, text, end) == len(text):
        return False
    with contextlib.suppress(Unreadable):
        read_mended(_object, text[begin:end])
        return True
    return False


def _lines(text: bytearray, max_bytes: int) -> Iterator[Entry]:
    number = 0
    for line in _LINE.finditer(text):
        start = _end_of(_BLANKS, text, line.start())
        if start < line.end():
            number += 1
            yield _entry(number, start, memoryview(text[start : line.end()].rstrip()), max_bytes)


def _entry(number: int, start: int, body: memoryview, max_bytes: int) -> Entry:
    size = body.nbytes
    return Entry(number, start, start + size, size, bytes(body) if size <= max_bytes else None)


def _read(read: Callable[[Json], T], text: bytearray) -> T:
    try:
        return read_mended(read, text)
    except Unreadable as unreadable:
        reason = unreadable.reason
    raise Broken(
        f"it is not JSON as a whole ({reason}), so nothing of it is sent: make lines of what can be read, "
        f"{remedy(text)} FILE | friendship-supervisor publish -"
    )


def _end_of(pattern: re.Pattern[bytes], text: bytes | bytearray, at: int) -> int:
    found = pattern.match(text, at)
    assert found is not None, "it matches nothing, too"
    return found.end()
