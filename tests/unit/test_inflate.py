"""A body is gathered whole, inflated if it is gzip, never above its limit."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer import inflate
from consumer.inflate import STEP_BYTES, Flaw, Inflater

MIB = 1024 * 1024
TEXT = b'[{"speaker": "pika", "text": "Xin ch\xc3\xa0o"}]' * 50


def zipped(text: bytes, level: int = 9) -> bytes:
    """Compress a text, to the same bytes each time."""
    return gzip.compress(text, level, mtime=0)


def gathered(body: bytes, max_bytes: int = MIB, size: int = 65_536) -> bytes | Flaw:
    """Give a body in chunks of a size, and say what came of it."""
    inflater = Inflater(max_bytes)
    for start in range(0, len(body), size):
        flaw = inflater.take(body[start : start + size])
        if flaw is not None:
            return flaw
    return inflater.end() or bytes(inflater.text)


def bomb(size: int) -> bytes:
    """Compress zeros, about a thousand to one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join(packed) + packer.flush()


@pytest.mark.parametrize("size", [1, 2, 7, 65_536])
def test_plain_and_gzipped_text_come_out_alike(size: int) -> None:
    """However the chunks fall, also in the middle of gzip's first two bytes."""
    assert gathered(TEXT, size=size) == TEXT
    assert gathered(zipped(TEXT), size=size) == TEXT


@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=5),
    st.integers(1, 200),
    st.integers(1, 300),
    st.integers(0, 5),
)
def test_members_of_gzip_are_read_as_one(members: list[bytes], size: int, step: int, zeros: int) -> None:
    """Any number of members, in chunks and steps of any size, with zeros between and behind them."""
    body = b"".join(zipped(member) + bytes(zeros) for member in members)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflate, "STEP_BYTES", step)
        assert gathered(body, size=size) == (b"".join(members) or Flaw.EMPTY)


def test_a_body_cut_anywhere_is_truncated() -> None:
    """There is no byte of a gzip file that it could do without."""
    packed = zipped(TEXT)
    assert {gathered(packed[:length]) for length in range(1, len(packed))} == {Flaw.TRUNCATED}


def test_a_second_member_cut_short_is_truncated() -> None:
    """The first one alone is not the object."""
    packed = zipped(TEXT)
    assert gathered(packed + packed[:-1]) is Flaw.TRUNCATED
    assert gathered(packed + packed[:1]) is Flaw.TRUNCATED


@pytest.mark.parametrize("where", [1, 2, -1, -5, -8])
def test_a_flipped_byte_is_corruption(where: int) -> None:
    """In the header, the checksum or the length."""
    packed = bytearray(zipped(TEXT))
    packed[where] ^= 0x55
    assert gathered(bytes(packed)) is Flaw.CORRUPT


@given(st.data())
def test_a_damaged_body_never_passes_for_another_text(data: st.DataObject) -> None:
    """Any one byte changed gives a flaw, or the same text where the byte says nothing."""
    packed = bytearray(zipped(TEXT))
    where = data.draw(st.integers(1, len(packed) - 1))
    packed[where] ^= data.draw(st.integers(1, 255))
    came = gathered(bytes(packed))
    assert came == TEXT or isinstance(came, Flaw)


@pytest.mark.parametrize("rest", [b"x", b"\0\0x", b"[]", TEXT])
def test_what_follows_gzip_and_is_none_is_corruption(rest: bytes) -> None:
    """Half of an object is not the object, whichever half it is."""
    assert gathered(zipped(TEXT) + rest) is Flaw.CORRUPT


@pytest.mark.parametrize("body", [TEXT, zipped(TEXT), zipped(TEXT[:99]) + zipped(TEXT[99:])])
def test_the_limit_is_the_last_size_that_passes(body: bytes) -> None:
    """In plain and inflated bytes alike, over all members together."""
    for size in (1, 65_536):
        assert gathered(body, len(TEXT), size) == TEXT
        assert gathered(body, len(TEXT) - 1, size) is Flaw.TOO_LARGE


@pytest.mark.parametrize("body", [b"", zipped(b""), zipped(b"") * 3])
def test_nothing_is_a_flaw(body: bytes) -> None:
    """No log is empty to the last byte: its list has brackets."""
    assert gathered(body) is Flaw.EMPTY


def test_chunks_of_nothing_change_nothing() -> None:
    """A transport may hand on empty ones."""
    inflater = Inflater(100)
    assert [inflater.take(chunk) for chunk in (b"", b"[", b"", b"]", b"")] == [None] * 5
    assert (inflater.end(), bytes(inflater.text)) == (None, b"[]")


def test_a_bomb_never_holds_more_than_the_limit_and_a_few_steps() -> None:
    """What is counted are bytes that were allocated, not time and not RSS."""
    limit = 4 * MIB
    packed = bomb(128 * MIB)
    inflater = Inflater(limit)
    tracemalloc.start()
    try:
        flaw = inflater.take(packed[:65_536])  # which come to 64 MB
        peak = tracemalloc.get_traced_memory()[1]
        inflater.drop()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert flaw is Flaw.TOO_LARGE
    # A bytearray takes an eighth more than it holds; zlib gathers a step in blocks and joins them
    assert peak < limit * 9 / 8 + 4 * STEP_BYTES
    assert held < 64 * 1024


def test_many_empty_members_hold_nothing() -> None:
    """Twenty bytes a piece, each of which takes an inflater of its own."""
    tracemalloc.start()
    try:
        assert gathered(zipped(b"") * 20_000) is Flaw.EMPTY
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB
