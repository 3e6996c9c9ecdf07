"""Pace and breaker together: ten minutes without the Memory API cost at most ten events a child."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.pace import Pace
from supervisor.breaker import Breaker, Calls, Resting, Rules, Scene, State, step

OUTAGE_S = 600.0
LOOK_S = 0.1


def failed_in_an_outage(children: int, call_s: float, seed: int) -> int:
    """Play ten minutes in which every call fails after call_s; return how many did."""
    rng, rules = Random(seed), Rules()
    paces = [Pace() for _ in range(children)]
    begun: list[float | None] = [None] * children
    free_at = [0.0] * children
    breaker, calls, now = Breaker(), Calls(), 0.0
    permit_spent = 0
    while now < OUTAGE_S:
        for child in range(children):
            started = begun[child]
            if started is not None and now >= started + call_s:
                begun[child] = None
                paces[child].called("failed", call_s, rng)
                free_at[child] = now + paces[child].taken()
                calls = Calls(0, calls.failed + 1, 0)
            prober = breaker.prober is not None and breaker.prober.slot == child
            allowed = breaker.state is State.CLOSED or (prober and permit_spent != breaker.permits)
            if begun[child] is None and now >= free_at[child] and allowed:
                begun[child] = now
                permit_spent = breaker.permits if prober else permit_spent
        resting = [Resting(c, c, c) for c in range(children) if begun[c] is None and now >= free_at[c]]
        scene = Scene(calls, children, range(children), resting)
        breaker = step(breaker, scene, now, rules, rng.random())
        now += LOOK_S
    return calls.failed


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 16), st.sampled_from([0.0, 0.5, 3.0, 10.0, 20.0, 60.0]), st.integers(0, 2**32))
def test_ten_minutes_cost_ten_events_a_child_at_the_most(children: int, call_s: float, seed: int) -> None:
    """Refused at once, or only after a minute: what is in the queue stays there."""
    assert failed_in_an_outage(children, call_s, seed) <= 10 * children
