"""When children stop taking messages, and who tries first."""

from dataclasses import replace

from supervisor.breaker import (
    OPEN_GATE,
    SHUT_GATE,
    Answer,
    Breaker,
    Calls,
    Resting,
    Rules,
    Scene,
    State,
    gates,
    step,
    told,
)
from supervisor.events import BreakerClosed, BreakerHalfOpen, BreakerOpened

RULES = Rules()
CHILD = Resting(slot=1, pid=70, page=1)


def after(
    breaker: Breaker,
    now: float,
    *,
    answered: int = 0,
    failed: int = 0,
    barred: int = 0,
    children: int = 8,
    pids: tuple[int, ...] = (70,),
    resting: tuple[Resting, ...] = (CHILD,),
) -> Breaker:
    """Give the breaker after so many further calls."""
    scene = Scene(breaker.seen + Calls(answered, failed, barred), children, pids, resting)
    return step(breaker, scene, now, RULES, 0.0)


def opened(now: float = 100.0) -> Breaker:
    return after(after(Breaker(), now - 30.0, failed=15), now, failed=1)


def test_enough_failures_over_half_a_minute_open_it() -> None:
    """Twice as many as children, the last 30 s after the first."""
    breaker = opened()
    assert (breaker.state, breaker.failures, breaker.opened_at) == (State.OPEN, 16, 100.0)
    assert breaker.due_at == 110.0


def test_failures_in_a_row_are_counted_until_a_call_is_answered() -> None:
    """Those that were under way as it opened, and each probe: the number says how long nothing has worked."""
    breaker = after(opened(), 101.0, failed=7)
    assert (breaker.state, breaker.failures, breaker.due_at) == (State.OPEN, 23, 110.0)
    breaker = after(after(breaker, 110.0), 111.0, failed=1)
    assert (breaker.failures, breaker.failed_probes) == (24, 1)
    assert after(breaker, 112.0, answered=1).failures == 0


def test_neither_many_at_once_nor_few_for_long_open_it() -> None:
    """A blip of a second, and a trickle of failures, leave it closed."""
    assert after(Breaker(), 100.0, failed=1000).state is State.CLOSED
    few = after(after(Breaker(), 100.0, failed=9), 200.0, failed=6)
    assert (few.state, few.failures) == (State.CLOSED, 15)


def test_time_alone_does_not_open_it() -> None:
    """A burst, then silence: nobody has failed since, so nobody knows."""
    assert after(after(Breaker(), 100.0, failed=50), 200.0).state is State.CLOSED


def test_an_answer_ends_the_row() -> None:
    """Consecutive failures are meant; failures in the same look as an answer count for nothing."""
    breaker = after(after(Breaker(), 100.0, failed=50), 120.0, answered=1, failed=3)
    assert (breaker.state, breaker.failures) == (State.CLOSED, 0)
    assert after(breaker, 131.0, failed=20).state is State.CLOSED


def test_one_barred_call_opens_it_at_once() -> None:
    """Wrong credentials are wrong for everybody."""
    assert after(Breaker(), 100.0, barred=1).state is State.OPEN


def test_one_resting_child_tries_when_the_pause_is_over() -> None:
    """Not before, and nobody who is at work."""
    breaker = opened()
    assert after(breaker, 109.9).state is State.OPEN
    assert after(breaker, 200.0, resting=()).state is State.OPEN
    tried = after(breaker, 110.0)
    assert (tried.state, tried.prober) == (State.HALF_OPEN, CHILD)
    assert told(breaker, tried, 110.0) == [BreakerHalfOpen(1, 70)]


def test_an_answered_probe_closes_it() -> None:
    """It says for how long nothing was taken."""
    tried = after(opened(), 115.0)
    closed = after(tried, 120.0, answered=1)
    assert closed.state is State.CLOSED
    assert told(tried, closed, 120.0) == [BreakerClosed(20.0)]


def test_each_failed_probe_doubles_the_pause_up_to_the_limit() -> None:
    """10, 20, 40, 80, 150, 150 seconds."""
    breaker, now, pauses = opened(), 100.0, []
    for _ in range(6):
        pauses.append(breaker.due_at - now)
        tried = after(breaker, breaker.due_at)
        now = breaker.due_at
        breaker = after(tried, now, failed=1)
        assert breaker.opened_at == 100.0
    assert pauses == [10.0, 20.0, 40.0, 80.0, 150.0, 150.0]
    assert told(tried, breaker, now) == [BreakerOpened(22, 6, 150.0)]


def test_the_time_of_a_probe_counts_towards_the_next_pause() -> None:
    """Whoever waited a minute for a time-out need not wait another; the shortest pause stays."""
    breaker, now, pauses = opened(), 100.0, []
    for _ in range(6):
        pauses.append(breaker.due_at - now)
        tried = after(breaker, breaker.due_at)
        now = breaker.due_at + 60.0
        breaker = after(tried, now, failed=1)
    assert pauses == [10.0, 10.0, 10.0, 20.0, 90.0, 90.0]


def test_a_prober_that_is_gone_makes_room_for_another() -> None:
    """It proved nothing: the pause is as long as before."""
    tried = after(opened(), 115.0)
    assert after(tried, 500.0, pids=(70,)).state is State.HALF_OPEN
    again = after(tried, 116.0, pids=(71,))
    assert (again.state, again.due_at) == (State.OPEN, 126.0)


def test_a_call_from_before_that_is_answered_closes_an_open_one() -> None:
    """Whoever was at work when it opened may bring the good news."""
    assert after(opened(), 101.0, answered=1).state is State.CLOSED


def test_gates_let_all_pass_or_none_or_one() -> None:
    """A second permit looks different from the first, so that the first is not used twice."""
    breaker = opened()
    assert gates(Breaker(), 3) == bytes([OPEN_GATE] * 3)
    assert gates(breaker, 3) == bytes([SHUT_GATE] * 3)
    first = after(breaker, 115.0)
    second = after(after(first, 116.0, failed=1), 200.0)
    permits = [gates(tried, 3)[1] for tried in (first, second)]
    assert gates(first, 3)[0] == SHUT_GATE
    assert len({*permits, OPEN_GATE, SHUT_GATE}) == 4
    assert gates(replace(first, permits=10**6), 3)[1] not in (OPEN_GATE, SHUT_GATE)


def test_calls_are_counted_by_how_they_ended() -> None:
    """One more of its kind."""
    assert Calls(1, 2, 3).and_one(Answer.FAILED) == Calls(1, 3, 3)
