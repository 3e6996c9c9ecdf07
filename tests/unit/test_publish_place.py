"""How far a file has come, and when that still holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.publishing.entries import Entry
from supervisor.cli.publishing.place import (
    RECORD_BYTES,
    Changed,
    Grown,
    Identity,
    Place,
    decode,
    encode,
    find,
    judge,
)

THEN = Identity(size=1000, mtime=5, inode=7, head_bytes=1000, head_sha256="aa")
PLACE = Place(number=3, start=20, end=30, checksum=9, accepted=2, refused=1)
COUNTS = st.integers(0, 2**63 - 1)


def test_an_untouched_file_goes_on() -> None:
    """Wherever it stood."""
    assert judge(PLACE, THEN, THEN) == PLACE
    assert judge(PLACE.at_end(), THEN, THEN).ended  # type: ignore[union-attr]


def test_a_file_that_grew_goes_on_even_from_its_end() -> None:
    """What is new has not been published; what was there is to be read again."""
    grown = replace(THEN, size=1001, mtime=6)
    assert judge(PLACE, THEN, grown) == judge(PLACE.at_end(), THEN, grown) == Grown(PLACE)


def entries(bodies: list[bytes | None]) -> list[Entry]:
    """Lines of these texts; None: of one that was too large to hold."""
    return [
        Entry(number, 10 * number, 10 * number + 9, 9 if body is None else len(body), body)
        for number, body in enumerate(bodies, 1)
    ]


@given(st.lists(st.binary(max_size=9) | st.none(), min_size=1, max_size=6), st.data())
def test_a_place_knows_all_before_it_again(bodies: list[bytes | None], data: st.DataObject) -> None:
    """Whatever of it was changed; without reading it, by the last alone."""
    place = Place()
    for entry in entries(bodies):
        place = place.after(entry, accepted=True)
    more = entries([*bodies, b"new"])
    assert find(place, iter(more), whole=True) == more[-2]
    assert find(place, iter(more[-2:]), whole=False) == more[-2]
    at = data.draw(st.integers(0, len(bodies) - 1))
    other = data.draw(st.binary(max_size=9).filter(lambda body: body != bodies[at]))
    changed = entries([*bodies[:at], other, *bodies[at + 1 :]])
    assert find(place, iter(changed), whole=True) is None
    assert find(place, iter(changed[:-1]), whole=True) is None


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (replace(THEN, inode=8), "another file"),
        (replace(THEN, size=999, mtime=6), "shorter"),
        (replace(THEN, size=2000, head_sha256="bb"), "beginning"),
        (replace(THEN, mtime=6), "written to"),
        (replace(THEN, size=2000, head_bytes=999), "beginning"),
    ],
)
def test_any_other_change_begins_anew_and_says_why(now: Identity, reason: str) -> None:
    """A line that comes twice does no harm, one left out does."""
    found = judge(PLACE, THEN, now)
    assert isinstance(found, Changed)
    assert reason in found.reason


@given(COUNTS, COUNTS, COUNTS, st.booleans(), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_record_is_read_as_it_was_written(a: int, b: int, c: int, ended: bool, digest: str) -> None:
    """Always of one length, so that each replaces the one before."""
    place = Place(a, b, c, a, b, c, ended)
    identity = Identity(c, b, a, c, digest)
    record = encode(place, identity)
    assert len(record) == RECORD_BYTES
    assert decode(record + b"whatever follows") == (place, identity)


@given(st.integers(0, RECORD_BYTES - 1), st.integers(1, 255))
def test_a_torn_record_is_none(at: int, flip: int) -> None:
    """After a power cut: it is not believed, unless only blanks were torn."""
    record = bytearray(encode(PLACE, THEN))
    blank = record[at : at + 1].isspace()
    record[at] ^= flip
    if not blank:
        found = decode(bytes(record))
        assert found is None or found == (PLACE, THEN)
    assert decode(bytes(record[:at])) is None


def test_a_place_knows_its_entry_again() -> None:
    """By its number, its beginning and its text, or its size where the text was too large to hold."""
    entry = Entry(4, 30, 40, 9, b"something")
    place = PLACE.after(entry, accepted=True)
    assert (place.accepted, place.refused, place.number, place.end) == (3, 1, 4, 40)
    assert place.holds(entry)
    assert not any(
        place.holds(replace(entry, **change))
        for change in ({"number": 5}, {"start": 31}, {"body": b"somebody "})
    )
    large = replace(entry, body=None)
    assert PLACE.after(large, accepted=False).holds(large)
    assert not PLACE.after(large, accepted=False).holds(replace(large, size=10))
