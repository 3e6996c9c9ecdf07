"""Awake time: monotonic time without the gaps in which the process that asks did not run."""

from itertools import count, pairwise

from supervisor.awake import GRACE_S, MOST_GAPS, AwakeClock, AwakeTime


def test_a_gap_stands_still_and_what_was_before_it_stays() -> None:
    """Meant to wake at 10 and woken at 30: what happened in between happened at the gap's begin."""
    time = AwakeTime().woken(10.0, 30.0)
    begun = 10.0 + GRACE_S
    assert [time.at(moment) for moment in (5.0, begun, 20.0, 30.0, 35.0)] == [
        5.0,
        begun,
        begun,
        begun,
        begun + 5,
    ]


def test_a_turn_that_is_only_a_little_late_is_no_gap() -> None:
    """Every turn takes some time, and so do the other processes of the machine."""
    assert AwakeTime().woken(10.0, 10.0 + GRACE_S) == AwakeTime()


def test_gaps_without_number_take_a_fixed_room_and_lose_no_second() -> None:
    """A machine that is late with every turn for days: the oldest gaps are put together, and order is kept."""
    time = AwakeTime()
    for turn in range(5 * MOST_GAPS):
        time = time.woken(time.at(turn * 10.0), turn * 10.0 + 8.0)
    assert len(time.ends) <= MOST_GAPS
    assert time.sums[-1] == 5 * MOST_GAPS * (8.0 - GRACE_S)
    moments = [step * 4.0 for step in range(12 * MOST_GAPS)]
    assert all(0.0 <= time.at(after) - time.at(before) <= 4.0 for before, after in pairwise(moments))


def test_what_is_older_than_the_gaps_that_are_kept_looks_younger_and_never_older() -> None:
    """By the gaps that were before it, at most: a limit comes later, and comes."""
    kept = AwakeTime()
    slept_s = 0.0
    began: list[tuple[float, float, float]] = []
    for turn in range(3 * MOST_GAPS):
        woken = turn * 10.0 + 8.0
        kept = kept.woken(kept.at(turn * 10.0), woken)
        slept_s += 8.0 - GRACE_S
        began.append((woken + 1.0, woken + 1.0 - slept_s, slept_s))
    for moment, awake, before_s in began:
        assert awake <= kept.at(moment) <= awake + before_s
    assert all(kept.at(moment) == awake for moment, awake, _ in began[-MOST_GAPS + 1 :])


def test_a_clock_that_is_always_late_goes_on() -> None:
    """By the planned pause and the grace in each turn: a limit comes later and comes."""
    moments = count(100.0, 20.0)
    clock = AwakeClock(lambda: next(moments))
    before = clock.now
    gap_s = clock.turn(before + 3.0)
    assert clock.now == before + 3.0 + GRACE_S
    assert gap_s == 20.0 - 3.0 - GRACE_S
