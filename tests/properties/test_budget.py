"""The sampling schedule against a child that grows as fast as it is allowed for."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.budget import GROWTH_BYTES_PER_S, SHORTEST_PAUSE_S, Level, judge, pause_s
from supervisor.limits import MB
from tests.unit.limits import SETTINGS


@given(
    st.integers(1 * MB, 337 * MB),
    st.floats(1e6, GROWTH_BYTES_PER_S),
    st.lists(st.floats(0, 0.008), min_size=1, max_size=1),
)
def test_growth_is_seen_at_the_stop_and_below_the_hard_budget(
    rss: int, rate: float, late: list[float]
) -> None:
    """At any rate up to the one allowed for, the reading that passes the stop is below hard, 8 ms late or not."""
    size = float(rss)
    for _ in range(100_000):
        if judge(int(size), SETTINGS) in {Level.STOP, Level.LAST}:
            break
        pause = pause_s(int(size), SETTINGS)
        # Only the last reading can hurt by being late: it is the one that finds the stop passed.
        last = size + rate * pause >= SETTINGS.rss_hard_bytes - 38 * MB
        size += rate * (pause + (late[0] if last else 0.0))
        assert pause >= SHORTEST_PAUSE_S
        if rate * pause < 100:
            return
    assert size < SETTINGS.rss_hard_bytes
