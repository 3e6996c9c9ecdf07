"""The supervisor's text for the status process."""

from collections.abc import Iterator
from contextlib import closing

import orjson
import pytest

from supervisor.bulletin import CHILD_BYTES, HEADER_BYTES, LENGTH, OTHERS_BYTES, Bulletin


@pytest.fixture
def bulletin() -> Iterator[Bulletin]:
    with closing(Bulletin(5.0, 4)) as pages:
        yield pages


def test_the_last_text_is_read(bulletin: Bulletin) -> None:
    """None before the first; a shorter one leaves nothing of a longer one."""
    assert bulletin.read() is None
    for text in (b"a" * 1000, b"bc", b""):
        assert bulletin.post(text)
        assert bulletin.read() == text
    assert bulletin.count() == 3


def test_a_text_half_written_is_not_seen(bulletin: Bulletin) -> None:
    """Before it counts, the one before is the last."""
    bulletin.post(b"whole")
    other = HEADER_BYTES + (0 if bulletin.count() & 1 else bulletin.size_bytes)
    bulletin._pages[other : other + 8] = LENGTH.pack(4) + b"half"
    assert bulletin.read() == b"whole"


def test_too_long_a_text_is_refused_and_the_old_one_stays(bulletin: Bulletin) -> None:
    """The largest that fits does."""
    largest = b"x" * (bulletin.size_bytes - LENGTH.size)
    assert bulletin.post(largest)
    assert not bulletin.post(largest + b"x")
    assert bulletin.read() == largest


def test_the_heart_beats_beside_the_text(bulletin: Bulletin) -> None:
    """From the start, and without a text."""
    assert bulletin.heartbeat() == 5.0
    bulletin.beat(6.25)
    assert bulletin.heartbeat() == 6.25
    assert bulletin.read() is None


def test_the_answer_is_a_heartbeat_of_its_own(bulletin: Bulletin) -> None:
    """Neither heart is taken for the other."""
    assert bulletin.answered() == 0.0
    bulletin.answer(9.5)
    bulletin.beat(6.5)
    assert (bulletin.heartbeat(), bulletin.answered()) == (6.5, 9.5)
    bulletin.post(b"text")
    assert (bulletin.heartbeat(), bulletin.answered(), bulletin.read()) == (6.5, 9.5, b"text")


def test_a_child_with_the_longest_names_has_room() -> None:
    """Three of 255 control characters, which JSON spells out as six bytes each, and a note of as many."""
    name = "\x01" * 255
    child = {
        "conversation_id": name,
        "note": "\x01" * 200,
        "last_end": {"conversation_id": name, "after": name},
    }
    line = orjson.dumps(child | {f"figure_{number}": 1234567.891 for number in range(30)})
    assert len(line) <= CHILD_BYTES
    with closing(Bulletin(0.0, 1000)) as large:
        assert large.post(b",".join([line] * 1000))
        assert large.size_bytes >= OTHERS_BYTES + 1000 * len(line)
