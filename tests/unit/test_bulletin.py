"""The supervisor's text for the status process."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from supervisor.bulletin import LENGTH, SIZE_BYTES, Bulletin


@pytest.fixture
def bulletin() -> Iterator[Bulletin]:
    with closing(Bulletin(5.0)) as pages:
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
    other = 4096 + (0 if bulletin.count() & 1 else SIZE_BYTES)
    bulletin._pages[other : other + 8] = LENGTH.pack(4) + b"half"
    assert bulletin.read() == b"whole"


def test_too_long_a_text_is_refused_and_the_old_one_stays(bulletin: Bulletin) -> None:
    """The largest that fits does."""
    largest = b"x" * (SIZE_BYTES - LENGTH.size)
    assert bulletin.post(largest)
    assert not bulletin.post(largest + b"x")
    assert bulletin.read() == largest


def test_the_heart_beats_beside_the_text(bulletin: Bulletin) -> None:
    """From the start, and without a text."""
    assert bulletin.heartbeat() == 5.0
    bulletin.beat(6.25)
    assert bulletin.heartbeat() == 6.25
    assert bulletin.read() is None
