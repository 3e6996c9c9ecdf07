"""Cuts a JSON text into its items without reading them, a chunk at a time.

A list is cut into its elements; several values in a row, or a single one, are items themselves. Only strings and
brackets are told apart here, by two regular expressions (about 130 MB/s): whether an item is JSON is found out by who
parses it. An item over the limit is passed over and never held.
"""

import re
from collections.abc import Iterator
from enum import Enum

from supervisor.cli.publishing.entries import BOM, Broken, Entry

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# What leads to the next sign that matters: whole strings, and whatever is no sign. Inside an item commas do not matter.
_WITHIN_ITEM = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+", re.DOTALL)
_BETWEEN_ITEMS = re.compile(rb'(?:[^"\[\]{},]++|' + _STRING + rb")*+", re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)

_QUOTE, _BACKSLASH = b'"\\'
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")

SLACK_BYTES = 64 * 1024
"""Blanks behind an item that are held with it, until it is known that they are blanks."""


class _Form(Enum):
    UNKNOWN = "nothing but blanks so far"
    LIST = "within the list"
    ROW = "values one after another, or what stands behind a list"


class Splitter:
    """One text on its way. max_bytes: of an item, without the blanks around it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._form = _Form.UNKNOWN
        self._depth = 0
        self._in_string = self._escaped = False
        self._offset = 0  # of the chunk in hand
        self._number = 0
        self._start = 0
        self._held = bytearray()
        self._passed_over = 0  # bytes of an item that is too large

    def feed(self, chunk: bytes) -> Iterator[Entry]:
        """Take the next chunk and give the items that end in it."""
        at = self._string_end(chunk, 0) if self._in_string else 0
        begun = 0
        while at < len(chunk):
            between = self._form is _Form.LIST and self._depth == 1
            reached = (_BETWEEN_ITEMS if between else _WITHIN_ITEM).match(chunk, at)
            assert reached is not None, "both match nothing, too"
            at = reached.end() + 1
            if at > len(chunk):
                break
            match sign := chunk[at - 1]:
                case _ if sign == _QUOTE:
                    at = self._string_end(chunk, at)
                case _ if sign in _OPENING and self._opens_list(sign, chunk[begun : at - 1]):
                    self._form, self._depth = _Form.LIST, 1
                    self._forget(self._offset + at)
                    begun = at
                case _ if sign in _OPENING:
                    self._depth += 1
                case _ if sign in _CLOSING and self._depth > 1:
                    self._depth -= 1
                case _:
                    # An item ends: a comma or the list's end behind it, or its own bracket
                    if self._form is _Form.LIST:
                        yield from self._item(chunk[begun : at - 1], self._offset + at)
                    else:
                        yield from self._item(chunk[begun:at], self._offset + at)
                    begun = at
                    if sign in _CLOSING:
                        self._form, self._depth = _Form.ROW, 0
        self._hold(chunk[begun:])
        self._offset += len(chunk)

    def finish(self) -> Iterator[Entry]:
        """Give what stands at the end. Raises Broken when the text ends too early; a cut item is not given."""
        if self._form is _Form.LIST or self._depth or self._in_string:
            if self._depth <= 1 and self._form is _Form.LIST and not self._in_string:
                yield from self._item(b"", self._offset)
            raise Broken(f"the JSON text ends in the middle, after item {self._number}")
        yield from self._item(b"", self._offset)

    def _opens_list(self, sign: int, before: bytes) -> bool:
        if self._form is not _Form.UNKNOWN:
            return False
        first = sign == b"["[0] and not (self._held + before).removeprefix(BOM).strip()
        if not first:
            self._form = _Form.ROW
        return first

    def _string_end(self, chunk: bytes, at: int) -> int:
        """Find the end of a string that is open at `at`, or note that it goes on in the next chunk."""
        at += self._escaped
        reached = _REST_OF_STRING.match(chunk, at)
        assert reached is not None, "it matches nothing, too"
        at = reached.end()
        # Nothing but a quote or the chunk's last byte, a backslash, stops it before the end
        self._escaped = at < len(chunk) and chunk[at] == _BACKSLASH
        self._in_string = at == len(chunk) or self._escaped
        return at + 1

    def _hold(self, part: bytes) -> None:
        if self._passed_over:
            self._passed_over += len(part)
            return
        if not self._held:
            bare = part.lstrip()
            self._start += len(part) - len(bare)
            part = bare
        if len(self._held) + len(part) > self._max_bytes + SLACK_BYTES:
            self._passed_over = len(self._held) + len(part)
            self._held.clear()
        else:
            self._held += part

    def _item(self, last: bytes, end: int) -> Iterator[Entry]:
        """Give the item that ends with `last`; nothing for blanks."""
        self._hold(last)
        body = bytes(self._held).strip()
        if self._number == 0:
            body = body.removeprefix(BOM)
        start, size = self._start, self._passed_over or len(body)
        self._forget(end)
        if size:
            self._number += 1
            yield Entry(self._number, start, end, size, body if size <= self._max_bytes else None)

    def _forget(self, start: int) -> None:
        self._held.clear()
        self._passed_over = 0
        self._start = start
