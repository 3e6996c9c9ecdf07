"""What of its time a call answers for."""

import time

import pytest

from consumer.deadline import BEAT_S, STILL_S, Deadline


class Late:
    """A poll object that wakes so much later than it was asked to, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.late_s = 0.0

    def poll(self, limit_ms: int) -> list[tuple[int, int]]:
        self.now += limit_ms / 1000 + self.late_s
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
    assert late.now == pytest.approx(100.0 + 3600.0 + 2 * BEAT_S)


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
    late.late_s = STILL_S / 2
    while not deadline.passed():
        wait(deadline, late)
    assert late.now - 100.0 <= 10.0 + late.late_s
