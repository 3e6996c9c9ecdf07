"""The sampling schedule against a child that grows as fast as is allowed for."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.budget import GROWTH_BYTES_PER_S, SHORTEST_PAUSE_S, Level, judge, pause_s
from supervisor.limits import MB
from tests.unit.limits import SETTINGS


@given(st.integers(1 * MB, 337 * MB), st.floats(1e8, GROWTH_BYTES_PER_S), st.floats(0, 0.008))
def test_growth_is_seen_between_the_stop_and_the_hard_budget(rss: int, rate: float, late_s: float) -> None:
    """At any rate up to the one allowed for, and with every reading up to 8 ms late, the stop comes in time."""
    size = float(rss)
    while judge(int(size), SETTINGS) in {Level.WITHIN, Level.OVER}:
        pause = pause_s(int(size), SETTINGS)
        assert SHORTEST_PAUSE_S <= pause <= SETTINGS.sample_interval_s
        size += rate * (pause + late_s)
    assert size < SETTINGS.rss_hard_bytes
