"""Message properties whose headers cannot be read.

pika decodes a delivery's whole header table, and dies of what a publisher put there: a timestamp in milliseconds is no
date, a table may be nested a thousand deep. One such message would break the connection of every child that it is
delivered to. Its headers are nobody's business here: they are left out, and the rest is read.
"""

import struct
from typing import Any

from pika import spec

_TABLE_LENGTH = struct.Struct(">I")
_FLAGS = struct.Struct(">H")
_MORE_FLAGS = 1
_BEFORE_HEADERS = (spec.BasicProperties.FLAG_CONTENT_TYPE, spec.BasicProperties.FLAG_CONTENT_ENCODING)


class ForgivingProperties(spec.BasicProperties):  # type: ignore[misc]
    """Basic properties that have no headers when those cannot be read."""

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        """Read the properties from their wire form."""
        try:
            return super().decode(encoded, offset)
        except Exception:  # noqa: BLE001 (the decoder raises whatever the values make it raise)
            readable = without_headers(encoded[offset:])
        return super().decode(readable)


def without_headers(encoded: bytes) -> bytes:
    """Cut the header table out of encoded properties; those without one stay as they are."""
    (flags,) = _FLAGS.unpack_from(encoded)
    if flags & _MORE_FLAGS or not flags & spec.BasicProperties.FLAG_HEADERS:
        return encoded
    start = _FLAGS.size
    for flag in _BEFORE_HEADERS:
        if flags & flag:
            start += 1 + encoded[start]
    (length,) = _TABLE_LENGTH.unpack_from(encoded, start)
    end = start + _TABLE_LENGTH.size + length
    head = _FLAGS.pack(flags & ~spec.BasicProperties.FLAG_HEADERS)
    return head + encoded[_FLAGS.size : start] + encoded[end:]


def forgive() -> None:
    """Make pika read deliveries with ForgivingProperties, in this process."""
    spec.props[spec.BasicProperties.INDEX] = ForgivingProperties


def message_id(told: spec.BasicProperties) -> str | None:
    """Give the message's id, or None without one that can be used: what is not UTF-8 reaches us as bytes, and a NUL can
    be stored nowhere.
    """
    named = told.message_id
    return named if isinstance(named, str) and "\0" not in named else None
