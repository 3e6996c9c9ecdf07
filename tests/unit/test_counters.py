"""What children count, and how it adds up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.counters import BUCKETS_S, Layout

LAYOUT = Layout(["processed", "failed"], ["MEMORY_API_TIMEOUT", "CLAIM_LIMIT"])


def blank() -> list[int]:
    return [0] * LAYOUT.width


def test_rows_add_up_by_name() -> None:
    """Two children's counts, each under its own name."""
    first, second = blank(), blank()
    LAYOUT.settle(first, "processed", 0.2)
    LAYOUT.settle(first, "failed", 61.0)
    LAYOUT.fail(first, "MEMORY_API_TIMEOUT")
    LAYOUT.call(first, 60.0)
    LAYOUT.settle(second, "processed", 1000.0)
    totals = LAYOUT.totals([first, second])
    assert totals.outcomes == {"processed": 2, "failed": 1}
    assert totals.failures == {"MEMORY_API_TIMEOUT": 1, "CLAIM_LIMIT": 0}
    assert totals.message.sum_s == pytest.approx(1061.2)
    assert totals.call.sum_s == 60.0
    assert totals.message.cumulative()[-2:] == [(300.0, 2), (None, 3)]
    assert dict(totals.call.cumulative())[45.0] == 0
    assert dict(totals.call.cumulative())[60.0] == 1, "a bound belongs to its bucket"


def test_steps_are_counted_beside_the_rest() -> None:
    """Each step has its results and its times, and none of them lands in another's counters."""
    layout = Layout(["processed"], [], {"fetch": ["read", "failed"], "analysis": ["used"]})
    row = [0] * layout.width
    layout.settle(row, "processed", 1.0)
    layout.step(row, "fetch", "failed", 30.0)
    layout.step(row, "analysis", "used", 0.5)
    layout.step(row, "analysis", "used", 0.25)
    found = layout.totals([row])
    assert found.outcomes == {"processed": 1}
    assert found.message.sum_s == 1.0
    assert found.call.cumulative()[-1] == (None, 0)
    assert found.steps["fetch"].results == {"read": 0, "failed": 1}
    assert found.steps["fetch"].times.sum_s == 30.0
    assert found.steps["analysis"].results == {"used": 2}
    assert found.steps["analysis"].times.sum_s == 0.75


def test_nobody_has_counted_nothing() -> None:
    """No rows, and all names are there."""
    assert Layout(["processed"]).totals([]).outcomes == {"processed": 0}


def test_an_unknown_name_is_refused() -> None:
    """A count under a wrong name would be lost without a word."""
    with pytest.raises(KeyError):
        LAYOUT.settle(blank(), "lost", 1.0)
    with pytest.raises(KeyError):
        LAYOUT.fail(blank(), "NO_SUCH_CODE")
    with pytest.raises(KeyError):
        LAYOUT.step(blank(), "fetch", "read", 1.0)


@given(st.lists(st.floats(0.0, 10_000.0), max_size=50))
def test_a_histogram_never_falls_and_ends_with_all(times: list[float]) -> None:
    """As Prometheus wants it: bounds rise, counts never fall, the last holds every one."""
    row = blank()
    for seconds in times:
        LAYOUT.call(row, seconds)
    found = LAYOUT.totals([row]).call
    counts = [count for _, count in found.cumulative()]
    assert counts == sorted(counts)
    assert counts[-1] == len(times)
    assert found.sum_s == pytest.approx(sum(times), abs=0.001 * len(times) + 1e-6)
    for bound, count in found.cumulative()[:-1]:
        assert bound is not None
        assert count == sum(1 for seconds in times if seconds <= bound)
    assert list(BUCKETS_S) == sorted(BUCKETS_S)
