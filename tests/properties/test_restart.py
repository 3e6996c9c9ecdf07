"""The restart backoff: bounded at every count of failures, whatever the draw."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.restart import FIRST_PAUSE_S, LONGEST_PAUSE_S, backoff_s

draws = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**30), draws)
def test_the_pause_is_bounded_at_every_count(failures: int, draw: float) -> None:
    """From a quarter of a second to thirty, even after 10**30 failures."""
    assert FIRST_PAUSE_S / 2 <= backoff_s(failures, draw) <= LONGEST_PAUSE_S


@given(st.integers(-5, 100), draws)
def test_the_pause_never_shrinks_with_failures(failures: int, draw: float) -> None:
    """The same draw gives a longer pause, or the longest; no failure gives none."""
    assert backoff_s(failures, draw) <= backoff_s(failures + 1, draw)
    assert failures > 0 or backoff_s(failures, draw) == 0.0
