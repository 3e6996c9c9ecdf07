"""The sum at start, whatever the limit: what it names does fit, and one more does not."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.arithmetic import (
    IDLE_CHILD_BYTES,
    LLM_LOAD,
    NO_LOAD,
    ROLE_LOAD,
    S3_LOAD,
    SHARED_BYTES,
    Balance,
    Demand,
    Load,
)
from supervisor.limits import MB

LOAD = st.sampled_from([NO_LOAD, S3_LOAD, S3_LOAD + ROLE_LOAD + LLM_LOAD])
CHILDREN = st.integers(1, 500)
HARD = st.integers(1, 4_000 * MB)
LIMIT = st.integers(0, 500_000 * MB)


@given(LOAD, CHILDREN, HARD, LIMIT)
def test_the_largest_number_of_children_fits_and_one_more_does_not(
    load: Load, children: int, hard: int, limit: int
) -> None:
    """So the remedy that a refusal names is the truth; 0 means that not even one fits."""
    most = Balance(Demand(children, hard, load), limit).most_children
    assert most == 0 or Balance(Demand(most, hard, load), limit).fits
    assert not Balance(Demand(most + 1, hard, load), limit).fits


@given(LOAD, CHILDREN, HARD, LIMIT)
def test_the_largest_hard_budget_fits_and_one_more_byte_a_child_does_not(
    load: Load, children: int, hard: int, limit: int
) -> None:
    """0 means that no budget fits: then not even idle children do."""
    largest = Balance(Demand(children, hard, load), limit).largest_hard_bytes
    if largest:
        assert Balance(Demand(children, largest, load), limit).fits
        assert not Balance(Demand(children, largest + 1, load), limit).fits
    else:
        assert not Balance(Demand(children, SHARED_BYTES + IDLE_CHILD_BYTES, load), limit).fits


@given(LOAD, CHILDREN, HARD, LIMIT)
def test_a_refusal_names_less_and_an_acceptance_no_less(
    load: Load, children: int, hard: int, limit: int
) -> None:
    """Whoever is told that it does not fit is told numbers below their own."""
    balance = Balance(Demand(children, hard, load), limit)
    assert balance.fits == (balance.most_children >= children)
    if hard > SHARED_BYTES + load.shared_bytes + IDLE_CHILD_BYTES + load.own_bytes:
        assert balance.fits == (balance.largest_hard_bytes >= hard)


@given(LOAD, CHILDREN, HARD, LIMIT)
def test_more_children_may_be_added_only_as_far_as_all_fit(
    load: Load, children: int, hard: int, limit: int
) -> None:
    """With the successor's room kept where there was any; never fewer than at the start."""
    balance = Balance(Demand(children, hard, load), limit)
    assert balance.children_max >= children
    if balance.children_max > children:
        grown = Balance(Demand(balance.children_max, hard, load), limit)
        assert grown.fits
        assert grown.room_for_successor == balance.room_for_successor


@given(CHILDREN, HARD, LIMIT, st.integers(0, 50), st.integers(0, 1_000 * MB))
def test_more_of_anything_never_needs_less(
    children: int, hard: int, limit: int, more: int, bytes_more: int
) -> None:
    """And a larger limit never takes away what fitted."""
    balance = Balance(Demand(children, hard), limit)
    assert Demand(children + more, hard + bytes_more).total_bytes >= balance.demand.total_bytes
    assert Balance(balance.demand, limit + bytes_more).fits or not balance.fits
    assert not balance.room_for_successor or balance.fits


@given(LOAD, CHILDREN, HARD)
def test_without_a_limit_everything_fits_and_nothing_bounds_it(load: Load, children: int, hard: int) -> None:
    """0 is no bound for children added later."""
    balance = Balance(Demand(children, hard), None)
    assert balance.fits
    assert balance.room_for_successor
    assert balance.children_max == 0
