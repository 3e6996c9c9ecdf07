"""A queue is never filled beyond its cap by us, and room is used when there is some."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.allowance import allowance, built_in_cap

COUNT = st.integers(0, 10**9)


@given(depth=COUNT, cap=COUNT)
def test_the_queue_is_filled_to_its_cap_and_no_further(depth: int, cap: int) -> None:
    """Whatever is in it already: also more than the cap, from another program."""
    room = allowance(depth, cap)
    assert 0 <= room <= cap
    assert depth + room == max(depth, cap)


@given(children=st.integers(1, 10_000))
def test_the_built_in_pass_brings_work_for_every_child(children: int) -> None:
    """At least a hundred messages, and twenty a child."""
    assert built_in_cap(children) == max(100, children * 20)
