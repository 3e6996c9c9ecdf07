"""A child's reports, as its supervisor reads them."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from consumer.runtime import Runtime
from supervisor import memory
from supervisor import seat as seat_module
from supervisor.board import Board
from supervisor.chronicle import Chronicle, Mishap
from supervisor.counters import Layout
from supervisor.lifecycle import Phase
from supervisor.limits import MB
from supervisor.seat import Seat

STOP = 300 * MB
WALL = 1_800_000_000.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return WALL


@pytest.fixture
def board() -> Iterator[Board]:
    with closing(Board(2, Layout(["processed", "failed"], ["MEMORY_API_TIMEOUT"]))) as pages:
        pages.open(1, 4, 100.0)
        yield pages


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(seat_module, "time", clock)
    return clock


def taken(board: Board, fresh: list[int] | None = None, chronicle: Chronicle | None = None) -> Seat:
    found = [] if fresh is None else fresh
    return Seat(
        board,
        chronicle or Chronicle(2),
        1,
        slot=7,
        seated=False,
        stop_bytes=STOP,
        hard_bytes=375 * MB,
        when_fresh=found.append,
    )


def test_a_seat_is_what_a_consumer_asks_for(board: Board) -> None:
    """The consumer's Protocol and the supervisor's seat agree, as the type checker sees them."""
    runtime: Runtime = taken(board)
    assert runtime.slot == 7


def test_a_message_is_told_from_receipt_to_settlement(board: Board, clock: Clock) -> None:
    """Each step with its fields; afterwards nothing is in hand, and it is counted."""
    seat = taken(board)
    seat.ready()
    clock.now = 110.0
    seat.receiving(3000, "conv")
    seat.received(3000, 77)
    view = board.view(1)
    assert (view.phase, view.message_since, view.body_bytes, view.body_crc32) == (
        Phase.RECEIVED,
        110.0,
        3000,
        77,
    )
    seat.claiming("conv", "me/1")
    assert board.view(1).claims
    seat.claimed(5, 9)
    seat.calling()
    seat.writing()
    view = board.view(1)
    assert (view.phase, view.event_id, view.epoch, view.claimed_by) == (Phase.WRITING, 5, 9, "me/1")
    seat.acking()
    seat.settled("failed")
    view = board.view(1)
    assert (view.phase, view.messages, view.generation) == (Phase.IDLE, 1, 4)
    assert (view.message_since, view.conversation_id, view.claims, view.epoch) == (None, None, False, 0)
    assert view.resting_rss_bytes > 2**20
    assert board.totals().outcomes == {"processed": 0, "failed": 1}
    assert view.last_conversation_id == "conv"


def test_a_delivery_that_comes_with_the_consent_to_consume_stays_in_hand(board: Board, clock: Clock) -> None:
    """It was weighed before, and the report of being ready takes nothing back."""
    fresh: list[int] = []
    seat = taken(board, fresh)
    seat.waiting("broker", "refused")
    seat.empty_handed()
    view = board.view(1)
    assert (view.phase, view.note, fresh) == (Phase.WAITING_BROKER, "refused", [view.fresh_rss_bytes])
    seat.receiving(3000, "conv")
    seat.ready()
    view = board.view(1)
    assert (view.phase, view.in_hand, view.conversation_id) == (Phase.RECEIVING, True, "conv")


def test_the_loss_of_the_broker_is_told_beside_the_work_until_it_is_over(board: Board) -> None:
    """Whatever is reported meanwhile: no moment looks as if all were well."""
    seat = taken(board)
    seat.ready()
    seat.receiving(1, "conv")
    seat.calling()
    seat.cut_off("no answer")
    assert (board.view(1).phase, board.view(1).waits_for) == (Phase.CALLING, Phase.WAITING_BROKER)
    seat.writing()
    seat.settled("processed")
    assert board.view(1).waits_for is Phase.WAITING_BROKER
    seat.cut_off("")
    assert board.view(1).waits_for is None
    seat.cut_off("connection lost")
    seat.empty_handed()
    assert board.view(1).note == "connection lost"
    seat.ready("connection lost")
    assert board.view(1).waits_for is Phase.WAITING_BROKER, "connected, and doubted"
    seat.ready()
    assert board.view(1).waits_for is None


def test_whoever_has_nothing_in_hand_says_since_when_it_is_tidy(board: Board, clock: Clock) -> None:
    """Ready, settled or given back; never while the last message may still be on the heap."""
    seat = taken(board)

    def tidy_at(report: Callable[[], None], now: float) -> list[float]:
        """Return what the board says while the child tidies up, and after."""
        told: list[float] = []
        clock.now = now
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "rest", lambda: told.append(board.view(1).rested_at))
            report()
        return [*told, board.view(1).rested_at]

    assert tidy_at(seat.ready, 101.0) == [0.0, 101.0]
    seat.receiving(1, "conv")
    seat.received(1, 1)
    assert board.view(1).rested_at == 0.0
    assert tidy_at(lambda: seat.settled("processed"), 102.0) == [0.0, 102.0]
    seat.receiving(1, "conv")
    seat.received(1, 1)
    assert tidy_at(seat.returned, 103.0) == [0.0, 103.0]


def test_a_second_claim_in_one_delivery_forgets_the_first_token(board: Board) -> None:
    """An epoch of the claim before must not stand beside a new claim."""
    seat = taken(board)
    seat.receiving(1, "conv")
    seat.received(1, 1)
    seat.claiming("conv", "me/1")
    seat.claimed(5, 9)
    seat.claiming("conv", "me/1")
    assert (board.view(1).event_id, board.view(1).epoch) == (0, 0)


def test_waiting_adds_up_and_a_wait_told_twice_keeps_its_beginning(board: Board, clock: Clock) -> None:
    """Two waits and a hold inside one message; the note of the last."""
    seat = taken(board)
    seat.receiving(1, "conv")
    seat.received(1, 1)
    clock.now = 105.0
    seat.waiting("database", "refused")
    clock.now = 107.0
    seat.waiting("database", "still refused")
    view = board.view(1)
    assert (view.phase_since, view.note, view.heartbeat) == (105.0, "still refused", 107.0)
    clock.now = 110.0
    seat.holding("why")
    clock.now = 111.0
    seat.calling()
    view = board.view(1)
    assert (view.waited_s, view.note) == (6.0, "")
    assert view.worked_s(112.0) == 6.0


def test_a_returned_message_is_not_counted(board: Board) -> None:
    """Given back: nothing in hand, nothing settled."""
    seat = taken(board)
    seat.receiving(1, "conv")
    seat.received(1, 1)
    seat.claiming("conv", "me/1")
    seat.returned()
    assert (board.view(1).messages, board.view(1).claims) == (0, False)
    assert sum(board.totals().outcomes.values()) == 0


def test_a_successor_goes_on_counting(board: Board) -> None:
    """Counters are the slot's; messages are the child's."""
    taken(board).settled("processed")
    board.open(1, 5, 200.0)
    second = taken(board)
    second.settled("processed")
    assert board.totals().outcomes["processed"] == 2
    assert board.view(1).messages == 1


def test_being_asked_to_stop_wakes_and_survives_a_wake_that_fails(board: Board) -> None:
    """The flag counts; a connection that closes just now may refuse to be woken."""
    woken: list[bool] = []

    def wake() -> None:
        woken.append(seat.stop_requested())
        raise RuntimeError("closing")

    seat = taken(board)
    seat.wake_with(wake)
    seat.ask_to_stop()
    assert woken == [True]
    seat.wake_with(None)
    seat.ask_to_stop()
    assert woken == [True]


def test_a_child_is_fresh_once(board: Board) -> None:
    """What it weighed when it was first ready stays told, and is told to whoever builds on it."""
    found: list[int] = []
    seat = taken(board, found)
    seat.ready()
    fresh = board.view(1).fresh_rss_bytes
    seat.ready()
    seat.settled("processed")
    assert found == [fresh] == [board.view(1).fresh_rss_bytes]


def weigh(monkeypatch: pytest.MonkeyPatch, *, mb: int) -> None:
    sizes = memory.Sizes(mapped=mb * MB, resident=mb * MB, data=mb * MB)
    monkeypatch.setattr(memory, "own_sizes", lambda: sizes)


def test_room_is_what_is_left_until_the_stop(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now until the stop, and at the most until the hard budget when the child was fresh; never less than none."""
    seat = taken(board)
    weigh(monkeypatch, mb=40)
    seat.ready()
    weigh(monkeypatch, mb=250)
    assert (seat.room_bytes(), seat.fresh_room_bytes()) == (50 * MB, 335 * MB)
    weigh(monkeypatch, mb=310)
    assert seat.room_bytes() == 0


def test_a_child_is_fresh_until_it_has_grown(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it weighs at rest, not by its age."""
    seat = taken(board)
    weigh(monkeypatch, mb=40)
    seat.ready()
    assert seat.fresh()
    for mb, fresh in ((56, True), (57, False), (45, True)):
        weigh(monkeypatch, mb=mb)
        seat.settled("processed")
        assert seat.fresh() is fresh


def test_a_child_is_crowded_when_what_messages_leave_behind_no_longer_fits(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the average of its messages so far; the message in hand goes and makes room."""
    seat = taken(board)
    weigh(monkeypatch, mb=40)
    seat.ready()
    assert not seat.crowded(0), "nothing is known of messages yet"
    weigh(monkeypatch, mb=290)
    seat.settled("processed")
    seat.settled("processed")
    assert seat.crowded(3 * MB), "125 MB a message, room for 13"
    weigh(monkeypatch, mb=160)
    assert not seat.crowded(0)


def test_a_retiring_child_finishes_what_it_has(board: Board) -> None:
    """Only the end of all is in a hurry."""
    seat = taken(board)
    seat.ask_to_retire()
    assert (seat.stop_requested(), seat.hurry_requested()) == (True, False)
    seat.ask_to_stop()
    assert seat.hurry_requested()


def test_an_heir_is_seated_once_its_predecessor_is_gone(board: Board) -> None:
    """It is woken for that; asked to go before, it never was."""
    seat = taken(board)
    woken: list[bool] = []
    seat.wake_with(lambda: woken.append(seat.seated()))
    assert not seat.seated()
    seat.be_seated()
    assert woken == [True]


def test_a_failure_is_kept_with_its_conversation_and_its_times_are_counted(
    board: Board, clock: Clock
) -> None:
    """The code in the counters and, with who and how long, in the chronicle; a call's time is its own."""
    chronicle = Chronicle(2)
    seat = taken(board, chronicle=chronicle)
    clock.now = 110.0
    seat.receiving(1, "conv")
    seat.received(1, 1)
    clock.now = 111.0
    seat.calling()
    clock.now = 171.0
    seat.called("failed")
    clock.now = 171.5
    seat.failing("MEMORY_API_TIMEOUT")
    seat.settled("failed")
    totals = board.totals()
    assert totals.failures == {"MEMORY_API_TIMEOUT": 1}
    assert (totals.call.sum_s, totals.message.sum_s) == (60.0, 61.5)
    assert chronicle.read() == [Mishap(WALL, 7, "conv", "MEMORY_API_TIMEOUT", 61_500)]
