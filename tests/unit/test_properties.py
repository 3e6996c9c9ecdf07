"""Properties with headers that cannot be read."""

import struct

import pytest
from pika import spec

from consumer.properties import ForgivingProperties, without_headers

MILLISECONDS = b"\x02atT" + struct.pack(">Q", 1_795_000_000_000)
UNKNOWN_TYPE = b"\x01h?"


def nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01hF" + struct.pack(">I", len(table)) + table
    return table


def encoded(table: bytes, **properties: str) -> bytes:
    """Encode properties with this header table in its place."""
    whole = b"".join(spec.BasicProperties(headers={}, **properties).encode())
    empty = struct.pack(">I", 0)
    assert whole.count(empty) == 1
    return whole.replace(empty, struct.pack(">I", len(table)) + table)


@pytest.mark.parametrize("table", [MILLISECONDS, UNKNOWN_TYPE, nested(2000)])
def test_unreadable_headers_are_left_out_and_the_rest_is_read(table: bytes) -> None:
    """The id behind the table, and what stands before it, are as they were sent."""
    raw = encoded(table, content_type="application/json", message_id="c-1")
    found = ForgivingProperties().decode(raw)
    assert (found.headers, found.content_type, found.message_id) == (None, "application/json", "c-1")
    bare = ForgivingProperties().decode(encoded(table, content_encoding="gzip"))
    assert (bare.headers, bare.content_encoding) == (None, "gzip")


def test_readable_headers_are_read() -> None:
    """The dead queue's reasons among them."""
    raw = b"".join(spec.BasicProperties(headers={"reason": "INVALID_MESSAGE"}, message_id="c").encode())
    found = ForgivingProperties().decode(b"xx" + raw, 2)
    assert (found.headers, found.message_id) == ({"reason": "INVALID_MESSAGE"}, "c")
    assert without_headers(b"\x00\x00") == b"\x00\x00"
