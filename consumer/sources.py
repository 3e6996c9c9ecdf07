"""Where a conversation's log comes from: the message, then storage (the event's row, or the parked message).

A parked log is the body of an earlier message, compressed: what the one ack rule keeps when a message is
acknowledged without a score (docs/decisions/0004).
"""

import zlib

import msgspec

from consumer.errors import LogUnavailable, MalformedMessage
from consumer.message import parse
from repository.rows import StoredLog

# 12 ms for 3 MB; level 6 takes 70 ms and saves little
_LEVEL = 1


def park(body: bytes | bytearray) -> bytes:
    """Compress a message body for its event's row."""
    return zlib.compress(body, _LEVEL)


def stored(log: StoredLog | None, max_bytes: int) -> msgspec.Raw | bytes:
    """Read a log out of the event's row: a JSON list, or the one in a parked message.

    max_bytes: the largest message that is ever parsed. Raises LogUnavailable when there is none, or none that
    can be read.
    """
    if log is None:
        raise LogUnavailable
    if log.kind == "row":
        return log.data
    try:
        inflater = zlib.decompressobj()
        body = inflater.decompress(log.data, max_bytes)
        message = parse(body) if inflater.eof else None
    except (zlib.error, MalformedMessage):
        message = None
    if message is None or message.log is None:
        raise LogUnavailable("the parked message cannot be read")
    return message.log
