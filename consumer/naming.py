"""Whose conversation a body is, also where it is no JSON that could be parsed."""

import re
from collections.abc import Iterable

import orjson

# Quotes inside a text are escaped, so no child can say this. 255 characters take up to 12 bytes each as escapes.
_USER = re.compile(rb'"user_id"[ \t\r\n]{0,64}:[ \t\r\n]{0,64}("(?:[^"\\]|\\.){1,3072}")', re.DOTALL)
_LONGEST_BYTES = 4096


def users_named(parts: Iterable[bytes | bytearray | memoryview]) -> set[str]:
    """Give every value of a key `user_id` in a body that comes piece by piece, wherever it stands in there.

    Memory: a piece, and 4 KB.
    """
    users: set[str] = set()
    rest = b""
    for part in parts:
        text = rest + bytes(part)
        users.update(filter(None, map(_read, _USER.findall(text))))
        rest = text[-_LONGEST_BYTES:]
    return users


def _read(token: bytes) -> str | None:
    try:
        word: str = orjson.loads(token)
    except orjson.JSONDecodeError:
        return None
    return word
