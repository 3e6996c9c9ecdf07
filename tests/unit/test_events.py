"""Which events are worth the page's room."""

from supervisor.events import (
    BreakerClosed,
    BreakerHalfOpen,
    BreakerOpened,
    Cause,
    ChildExited,
    ChildForked,
    is_routine,
)


def test_the_first_opening_of_a_breaker_is_kept_and_its_probes_are_not() -> None:
    """An outage of hours must not push out when it began."""
    assert not is_routine(BreakerOpened(16, 0, 10.0))
    assert is_routine(BreakerHalfOpen(1, 70))
    assert is_routine(BreakerOpened(17, 1, 20.0))
    assert not is_routine(BreakerClosed(90.0))


def test_an_end_is_kept_and_a_beginning_is_not() -> None:
    """Why a child was replaced is what people look for."""
    assert not is_routine(ChildExited(0, 7, Cause.RSS_SOFT, 0, None, 301, 60.0, 12, None, "c-1"))
    assert is_routine(ChildForked(0, 8, 2))
