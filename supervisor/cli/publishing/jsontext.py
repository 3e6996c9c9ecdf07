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

MAX_BYTES = 64 * 1024 * 1024

MAX_COMMAS = MAX_BYTES // 16
"""Of a list: it has no more items than commas, but for one. An item takes 56 bytes, and may be one character long."""

_list = reading(msgspec.json.Decoder(list[msgspec.Raw]))
_value = reading(msgspec.json.Decoder(msgspec.Raw))

_BLANKS = re.compile(rb"[ \t\r\n]*")
_BETWEEN_ITEMS = re.compile(rb"[ \t\r\n,]*")
_LINE = re.compile(rb"[^\n]+")

T = TypeVar("T")


def entries(text: bytearray, max_bytes: int, *, zipped: bool = False) -> Iterator[Entry]:
    """Give the entries of a text, in order. max_bytes: of one entry. zipped: its file is gzip.

    Raises Broken, before the first entry, for what is not JSON as a whole, or may have too many. Where only half
    characters are what makes it no JSON they are mended in place, as a consumer does.
    """
    if text.startswith(BOM):
        text[: len(BOM)] = b" " * len(BOM)
    begin = _end_of(_BLANKS, text, 0)
    if begin == len(text):
        return
    if text.startswith(b"[", begin):
        yield from _items(text, begin, max_bytes, zipped=zipped)
    elif _begins_lines(text, begin):
        yield from _lines(text, max_bytes)
    else:
        yield _entry(1, begin, memoryview(_read(_value, text, zipped=zipped)), max_bytes)


def remedy(begun: bytes | bytearray, *, zipped: bool) -> str:
    """Say what publishes a whole text that begins so, as JSON Lines."""
    begin = _end_of(_BLANKS, begun, len(BOM) if begun.startswith(BOM) else 0)
    jq = "jq -c '.[]'" if begun.startswith(b"[", begin) else "jq -c ."
    return f"{f'zcat FILE | {jq}' if zipped else f'{jq} FILE'} | friendship-supervisor publish -"


def _items(text: bytearray, begin: int, max_bytes: int, *, zipped: bool) -> Iterator[Entry]:
    if text.count(b",") > MAX_COMMAS:
        raise Broken(
            f"it has more than {MAX_COMMAS:,} commas, which is the limit of one list: {remedy(text, zipped=zipped)}"
        )
    at = begin + 1
    for number, raw in enumerate(_read(_list, text, zipped=zipped), 1):
        entry = _entry(number, _end_of(_BETWEEN_ITEMS, text, at), memoryview(raw), max_bytes)
        yield entry
        at = entry.end


def _begins_lines(text: bytearray, begin: int) -> bool:
    """Say whether the first line is an object, and not the last."""
    end = text.find(b"\n", begin)
    if end < 0 or _end_of(_BLANKS, text, end) == len(text):
        return False
    with contextlib.suppress(Unreadable):
        read_mended(_value, text[begin:end])
        return text.startswith(b"{", begin)
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


def _read(read: Callable[[Json], T], text: bytearray, *, zipped: bool) -> T:
    try:
        return read_mended(read, text)
    except Unreadable as unreadable:
        where = unreadable.where or unreadable.reason
    told = f"it is cut off or broken ({where}): nothing of it was sent"
    if "trailing characters" in where:
        told += f"; if it is several JSON texts in a row: {remedy(text, zipped=zipped)}"
    raise Broken(told)


def _end_of(pattern: re.Pattern[bytes], text: bytes | bytearray, at: int) -> int:
    found = pattern.match(text, at)
    assert found is not None, "it matches nothing, too"
    return found.end()
