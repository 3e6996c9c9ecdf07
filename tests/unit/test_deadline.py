"""What of its time a call answers for."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.deadline import BEAT_S, GRACE_S, LOOK_S, Deadline
from supervisor import awake


class Late:
    """A poll object that wakes so much later than it was asked to, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.late_s = 0.0
        self.least_s = 0.0

    def poll(self, limit_ms: int) -> list[tuple[int, int]]:
        self.now += max(limit_ms / 1000 + self.late_s, self.least_s)
        return []


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Late:
    poll = Late()
    monkeypatch.setattr(time, "monotonic", lambda: poll.now)
    return poll


def wait(deadline: Deadline, poll: Late) -> None:
    deadline.pulse.sleep(poll, deadline.end)  # type: ignore[arg-type]


def test_a_call_that_stood_still_goes_on_where_it_was(late: Late) -> None:
    """Stopped for an hour in its first wait: the answer that has come since is read, and the limit holds then."""
    deadline = Deadline.after(BEAT_S, lambda: None)
    late.late_s = 3600.0
    wait(deadline, late)
    assert not deadline.passed()
    late.late_s = 0.0
    while not deadline.passed():
        wait(deadline, late)
    assert late.now == pytest.approx(100.0 + 3600.0 + BEAT_S)


def test_a_limit_within_the_call_stands_still_with_it(late: Late) -> None:
    """The first of two addresses gets its seconds, too."""
    deadline = Deadline.after(60.0, lambda: None)
    first = deadline.within(5.0)
    late.late_s = 3600.0
    wait(deadline, late)
    assert not first.passed()


def test_a_busy_machine_lengthens_no_call(late: Late) -> None:
    """Waits that end a little late count in full."""
    deadline = Deadline.after(10.0, lambda: None)
    late.late_s = GRACE_S / 2
    while not deadline.passed():
        wait(deadline, late)
    assert late.now - 100.0 <= 10.0 + late.late_s


@given(st.lists(st.tuples(st.floats(0.0, LOOK_S), st.floats(GRACE_S + LOOK_S, 3.0)), max_size=7))
def test_a_call_is_not_blamed_for_stops_however_short_and_many(stops: list[tuple[float, float]]) -> None:
    """Awake for so long, then stopped for so long: seven times within a limit of two seconds."""
    late = Late()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(time, "monotonic", lambda: late.now)
        deadline = Deadline.after(2.0, lambda: None)
        for awake_s, stopped_s in stops:
            late.least_s = awake_s + stopped_s
            wait(deadline, late)
        assert not deadline.passed()


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=20))
def test_a_machine_that_is_always_late_ends_a_call_late_and_does_end_it(late_s: list[float]) -> None:
    """Each wait counts as long as it was meant to be; a beat cuts at most every second one short."""
    late = Late()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(time, "monotonic", lambda: late.now)
        deadline = Deadline.after(10.0, lambda: None)
        waits = 0
        while not deadline.passed():
            late.late_s = late_s[waits % len(late_s)]
            wait(deadline, late)
            waits += 1
        assert waits <= 2 * 10.0 / LOOK_S + 1


def test_the_supervisor_and_a_call_excuse_the_same_stops() -> None:
    """One does not import the other; a stop that the one excuses and the other blames ends messages."""
    assert GRACE_S == awake.GRACE_S
