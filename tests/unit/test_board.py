"""The shared pages: what is written is read, and a child killed while it writes leaves a whole record."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from supervisor.board import CLAIMED_BY_BYTES, MOST_COUNTERS, NOTE_BYTES, PAGE_BYTES, Board, Record
from supervisor.counters import TIME_WIDTH, Layout
from supervisor.lifecycle import Phase
from supervisor.reading import SlotView

LAYOUT = Layout(["processed", "failed"])
TIMES = (0,) * (2 * TIME_WIDTH)
"""Counters of times, behind the two of LAYOUT's outcomes."""

FULL = SlotView(
    generation=7,
    phase=Phase.CALLING,
    phase_since=12.5,
    heartbeat=13.5,
    message_since=10.25,
    waited_s=0.125,
    conversation_id="Đoạn hội thoại 😀",
    claimed_by="host/3/99/1",
    event_id=2**40,
    epoch=2**50,
    body_bytes=3_000_000,
    body_crc32=0xFFFFFFFF,
    note="",
    messages=12,
    resting_rss_bytes=2**31,
    last_conversation_id="c-3 😀",
)


@pytest.fixture
def board() -> Iterator[Board]:
    with closing(Board(3, LAYOUT)) as pages:
        yield pages


def test_what_was_written_is_read(board: Board) -> None:
    """Every field, in its slot and in no other."""
    blank = board.view(0)
    board.write(1, Record(FULL, (5, 6, *TIMES)))
    assert board.record(1) == Record(FULL, (5, 6, *TIMES))
    assert board.view(0) == board.view(2) == blank


def test_nothing_in_hand_is_not_an_empty_name(board: Board) -> None:
    """None stays None, and an empty text stays empty."""
    board.write(
        0, Record(replace(FULL, message_since=None, conversation_id=None, claimed_by=None), (0, 0, *TIMES))
    )
    view = board.view(0)
    assert (view.message_since, view.conversation_id, view.claimed_by) == (None, None, None)
    board.write(0, Record(replace(FULL, conversation_id="", claimed_by=""), (0, 0, *TIMES)))
    assert (board.view(0).conversation_id, board.view(0).claimed_by) == ("", "")


def test_the_longest_conversation_id_fits_and_longer_notes_are_cut_between_characters(board: Board) -> None:
    """255 characters of four bytes; a note of any length; text that is no text."""
    longest = "😀" * 255
    view = replace(FULL, conversation_id=longest, note="é" * 500, claimed_by="x" * 999)
    board.write(0, Record(view, (0, 0, *TIMES)))
    read = board.view(0)
    assert read.conversation_id == longest
    assert read.note == "é" * (NOTE_BYTES // 2)
    assert read.claimed_by == "x" * CLAIMED_BY_BYTES
    board.write(0, Record(replace(FULL, last_conversation_id="é" * 255), (0, 0, *TIMES)))
    assert board.view(0).last_conversation_id == "é" * 126 + "…"
    board.write(0, Record(replace(FULL, note="\ud800"), (0, 0, *TIMES)))
    assert board.view(0).note == "?"


def test_a_new_generation_keeps_the_counters_and_nothing_else(board: Board) -> None:
    """What the last child had in hand is not the next one's."""
    board.write(0, Record(FULL, (5, 6, *TIMES)))
    board.open(0, 8, 100.0)
    assert board.record(0) == Record(SlotView(8, Phase.BOOTING, 100.0, 100.0), (5, 6, *TIMES))
    board.write(1, Record(FULL, (1, 0, *TIMES)))
    assert board.totals().outcomes == {"processed": 6, "failed": 6}


@pytest.mark.parametrize("written", [0, 1, 7, 100, 1500, 1900])
def test_a_write_cut_short_leaves_the_record_before(board: Board, written: int) -> None:
    """Killed after any number of bytes, before it counts: the old record stands, whole."""
    board.write(0, Record(FULL, (1, 1, *TIMES)))
    start = board._offset(0, board._pages[0] + 1)
    board._pages[start : start + written] = b"\xee" * written
    board._read.clear()
    assert board.record(0) == Record(FULL, (1, 1, *TIMES))


def test_a_reader_that_loses_the_race_reads_again_or_keeps_what_it_had(board: Board) -> None:
    """A record that does not match its checksum is half of another one."""
    board.write(0, Record(FULL, (1, 1, *TIMES)))
    before = board.record(0)
    start = board._offset(0, board._pages[0])
    board._pages[start : start + 8] = (99).to_bytes(8, "little")
    assert board.record(0) == before


def test_who_has_lost_every_race_is_asked_to_read_again(board: Board) -> None:
    """A child that falls silent after them says nothing more that would bring its reader back."""
    board.write(1, Record(FULL, (1, 1, *TIMES)))
    before = board.record(1)
    board.reported()
    board.write(1, Record(replace(FULL, phase=Phase.WRITING), (1, 1, *TIMES)))
    assert board.reported() == {1}
    start = board._offset(1, board._pages[1])
    whole = board._pages[start : start + 8]
    board._pages[start : start + 8] = (99).to_bytes(8, "little")
    assert board.record(1) == before
    assert board.reported() == {1}
    assert board.record(1) == before
    board._pages[start : start + 8] = whole
    assert board.reported() == {1}
    assert board.view(1).phase is Phase.WRITING
    assert board.reported() == set()


def test_the_board_says_who_has_reported(board: Board) -> None:
    """Since it was last asked, however often; a count that begins anew is read as well as any."""
    assert board.reported() == {0, 1, 2}, "all are new to it"
    assert board.reported() == set()
    for times in (1, 2, 255, 257):
        for number in range(times):
            board.write(1, Record(replace(FULL, messages=number), (0, 0, *TIMES)))
        assert board.reported() == {1}
        assert board.view(1).messages == times - 1
    assert board.reported() == set()
    board.open(2, 8, 100.0)
    assert board.reported() == {2}


def test_more_slots_than_one_page_counts_for_are_apart() -> None:
    """The tally grows by whole pages."""
    with closing(Board(PAGE_BYTES + 1, Layout([]))) as large:
        large.write(PAGE_BYTES, Record(FULL, TIMES))
        assert large.view(PAGE_BYTES) == FULL
        assert large.view(0).phase is Phase.STOPPING


def of_width(width: int) -> Layout:
    return Layout([str(i) for i in range(width - 2 * TIME_WIDTH)])


def test_a_page_holds_two_records_and_no_more_counters_than_fit() -> None:
    """The second record ends inside its page."""
    with closing(Board(1, of_width(MOST_COUNTERS))) as full:
        full.write(0, Record(FULL, tuple(range(MOST_COUNTERS))))
        full.write(0, Record(FULL, tuple(range(MOST_COUNTERS))))
        assert full.record(0).counters == tuple(range(MOST_COUNTERS))
        assert len(full._pages) == 2 * PAGE_BYTES, "the tally and one page"
    with pytest.raises(ValueError, match="at most"):
        Board(1, of_width(MOST_COUNTERS + 1))
