"""The rings of failures: the newest stay, and half an entry is none."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from supervisor.chronicle import ENTRIES, ENTRY_BYTES, Chronicle, Mishap

MISHAP = Mishap(at=5.5, slot=1, conversation_id="Đoạn 😀", code="MEMORY_API_TIMEOUT", ms=60_010)


@pytest.fixture
def chronicle() -> Iterator[Chronicle]:
    with closing(Chronicle(3)) as rings:
        yield rings


def test_what_was_written_is_read_from_all_pages_the_oldest_first(chronicle: Chronicle) -> None:
    """Every field; an empty chronicle is empty."""
    assert chronicle.read() == []
    later = replace(MISHAP, at=7.0, slot=2, conversation_id="", code="CLAIM_LIMIT")
    chronicle.add(2, later)
    chronicle.add(0, MISHAP)
    assert chronicle.read() == [MISHAP, later]


def test_a_ring_keeps_the_newest(chronicle: Chronicle) -> None:
    """Whatever came before is written over."""
    for at in range(3 * ENTRIES + 2):
        chronicle.add(1, replace(MISHAP, at=float(at)))
    assert [mishap.at for mishap in chronicle.read()] == [float(2 * ENTRIES + 2 + i) for i in range(ENTRIES)]


@pytest.mark.parametrize("written", [1, 8, 20, 100, 400])
def test_an_entry_cut_short_is_none(chronicle: Chronicle, written: int) -> None:
    """Its writer was killed in the middle: the others stand."""
    for at in range(ENTRIES):
        chronicle.add(0, replace(MISHAP, at=float(at)))
    before = chronicle._rings[:ENTRY_BYTES]
    chronicle.add(0, replace(MISHAP, at=100.0, conversation_id="another", code="UNEXPECTED_ERROR"))
    whole = chronicle._rings[:ENTRY_BYTES]
    chronicle._rings[:ENTRY_BYTES] = whole[:written] + before[written:]
    assert [mishap.at for mishap in chronicle.read()] == [float(at) for at in range(1, ENTRIES)]


def test_what_is_too_long_is_cut_between_characters(chronicle: Chronicle) -> None:
    """A long id is still an id to look for; a time beyond any counter is the largest."""
    chronicle.add(0, replace(MISHAP, conversation_id="é" * 255, ms=2**40))
    (found,) = chronicle.read()
    assert found.conversation_id == "é" * 198 + "…"
    assert found.ms == 2**32 - 1
