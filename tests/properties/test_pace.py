"""A child whose calls fail at once slows down, so that the queue is not turned into failures."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consumer.pace import LONGEST_S, CallEnd, Pace


@given(st.integers(0, 2**32), st.floats(0.0, 60.0))
def test_no_child_fails_often_in_half_a_minute(seed: int, call_s: float) -> None:
    """At most six calls begin in the half minute that the breaker looks at, however quickly they fail."""
    rng, pace, now, begun = Random(seed), Pace(), 0.0, 0
    while now < 30.0:
        begun += 1
        now += call_s
        pace.called("failed", call_s, rng)
        now += pace.taken()
    assert begun <= 6


@given(st.lists(st.sampled_from(["answered", "failed", "barred"])), st.integers(0, 2**32))
def test_an_answer_ends_the_pauses(before: list[CallEnd], seed: int) -> None:
    """After one, three calls may fail at no cost; a pause is due once, and never longer than the limit."""
    rng, pace = Random(seed), Pace()
    for end in before:
        pace.called(end, 0.0, rng)
        assert 0.0 <= pace.pause_s <= LONGEST_S
    pace.called("answered", 0.0, rng)
    assert pace.taken() == 0.0
    for _ in range(3):
        pace.called("failed", 0.0, rng)
        assert pace.taken() == 0.0
    pace.called("barred", 0.0, rng)
    assert pace.taken() > 0.0
    assert pace.taken() == 0.0
