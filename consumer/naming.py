"""Whose conversation a body is, also where it is no JSON that could be parsed.

1. A body that parses is its `user_id`'s alone, as it is for the worker: other keys may name whom they like.
2. One that does not parse, has no such `user_id`, or is too large to be parsed is searched for `"user_id": "..."`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from consumer.decoding import Unreadable, reading
from consumer.message import altered, mend

Bytes = bytes | bytearray | memoryview

# Quotes inside a text are escaped, so no child can say this. 255 characters take up to 12 bytes each as escapes.
_USER = re.compile(rb'"user_id"[ \t\r\n]{0,64}:[ \t\r\n]{0,64}("(?:[^"\\]|\\.){1,3072}")', re.DOTALL)
_LONGEST_BYTES = 4096
_PIECE_BYTES = 1024 * 1024


class _Owned(msgspec.Struct):
    """The value unread: a stranger chose its length."""

    user_id: msgspec.Raw = msgspec.Raw()


_owned = reading(msgspec.json.Decoder(_Owned))
_word = reading(msgspec.json.Decoder(str))


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a body names: the user who was asked for, another, both or nobody."""

    wanted: bool = False
    another: bool = False


def named(parts: Iterable[Bytes], size: int, user_id: str, whole_bytes_max: int) -> Named:
    """Say whether a body names a user, or another. It comes piece by piece and has `size` bytes.

    Memory: a body of up to whole_bytes_max bytes; of a larger one a few pieces.
    """
    if size > whole_bytes_max:
        return _search(parts, user_id)
    body = bytearray()
    for part in parts:
        body += part
    return _owner(body, user_id) or _search(_pieces(body), user_id, mended=True)


def _owner(body: bytearray, user_id: str) -> Named | None:
    """Read whose a body is; None when it does not say so."""
    token, mended = _token(body), False
    if token is None:
        # Half characters are mended in place, as the worker does; one in the id makes it nobody's
        mend(body)
        token = _token(body)
        mended = True
    if token is None or memoryview(token).nbytes > _LONGEST_BYTES:
        # So long is no id of anybody
        return None if token is None else Named(another=True)
    if mended and altered(token):
        return Named()
    word = _read(bytes(token))
    return None if not word else Named(wanted=word == user_id, another=word != user_id)


def _token(body: bytearray) -> msgspec.Raw | None:
    try:
        return _owned(body).user_id
    except Unreadable:
        return None


def _search(parts: Iterable[Bytes], user_id: str, *, mended: bool = False) -> Named:
    wanted = another = False
    rest = b""
    for part in parts:
        text = rest + bytes(part)
        for found in _USER.finditer(text):
            word = None if mended and altered(found[1]) else _read(found[1])
            wanted |= word == user_id
            another |= word is not None and word != user_id
        if wanted and another:
            break
        rest = text[-_LONGEST_BYTES:]
    return Named(wanted, another)


def _pieces(body: bytearray) -> Iterable[Bytes]:
    view = memoryview(body)
    return (view[start : start + _PIECE_BYTES] for start in range(0, len(body), _PIECE_BYTES))


def _read(token: bytes) -> str | None:
    try:
        return _word(token)
    except Unreadable:
        return None
