"""No more messages a second than were asked for, whatever the clock and the broker do."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.publishing.pacing import Pace

RATES = st.floats(0.001, 10_000)
TOOK = st.lists(st.floats(0, 5), max_size=60)


def sent_at(rate: float | None, took: list[float]) -> list[float]:
    """Give the times at which messages go that each take so long to be confirmed: who waits, waits exactly."""
    pace, now, times = Pace.of(rate), 1000.0, []
    for each in took:
        now += pace.wait_s(now)
        pace = pace.sent(now)
        times.append(now)
        now += each
    return times


@given(RATES, TOOK)
def test_two_messages_are_at_least_an_interval_apart(rate: float, took: list[float]) -> None:
    """After a slow one there is no burst to make up for it."""
    times = sent_at(rate, took)
    assert all(later - earlier >= (1 / rate) * (1 - 1e-9) - 1e-9 for earlier, later in pairwise(times))


@given(RATES, TOOK)
def test_nobody_waits_longer_than_he_must(rate: float, took: list[float]) -> None:
    """A message goes when the one before it is confirmed, or an interval after it went."""
    times = sent_at(rate, took)
    for earlier, later, each in zip(times, times[1:], took, strict=False):
        assert later <= max(earlier + 1 / rate, earlier + each) + 1e-6


@given(TOOK)
def test_without_a_rate_nobody_waits(took: list[float]) -> None:
    """As fast as the broker confirms."""
    times = sent_at(None, took)
    assert all(later == earlier + each for earlier, later, each in zip(times, times[1:], took, strict=False))
