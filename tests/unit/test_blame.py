"""Whose fault a death was."""

import signal

import pytest

from supervisor.blame import Exit, Verdict, charged, judge
from supervisor.events import Cause
from supervisor.lifecycle import EXIT_MEMORY

OVER = Verdict(Cause.RSS_HARD, blamed=True)
DRAINED = Verdict(Cause.RSS_SOFT, blamed=False)
CRASHED = Verdict(Cause.CRASHED, blamed=True)
KILL = Exit(None, signal.SIGKILL)
HARD = 100


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"])
def test_a_crash_signal_blames_the_message_even_while_draining(number: str) -> None:
    """Whatever we were about to do, the child crashed by itself."""
    end = Exit(None, signal.Signals[number])
    assert judge(end, ours=DRAINED, killed_by_us=False, oom_killed=False, hard_bytes=HARD) == CRASHED


@pytest.mark.parametrize(
    ("end", "ours", "killed_by_us", "oom_killed", "verdict"),
    [
        (KILL, OVER, True, False, OVER),
        (KILL, OVER, True, True, OVER),
        (KILL, None, False, True, Verdict(Cause.OOM_KILLED, blamed=True)),
        (KILL, None, False, False, Verdict(Cause.KILLED, blamed=False)),
        (KILL, DRAINED, False, False, Verdict(Cause.KILLED, blamed=False)),
        (Exit(None, signal.SIGTERM), None, False, False, Verdict(Cause.KILLED, blamed=False)),
        (Exit(None, signal.SIGTERM), DRAINED, False, False, DRAINED),
        (Exit(0, None), DRAINED, False, False, DRAINED),
        (Exit(0, None), None, False, False, Verdict(Cause.KILLED, blamed=False)),
        (Exit(1, None), None, False, False, CRASHED),
        (Exit(EXIT_MEMORY, None), None, False, False, OVER),
        (Exit(None, signal.SIGSEGV, peak_rss_bytes=75), None, False, False, OVER),
        (Exit(None, signal.SIGABRT, peak_rss_bytes=99), DRAINED, False, False, OVER),
        (Exit(None, signal.SIGSEGV, peak_rss_bytes=74), None, False, False, CRASHED),
        (Exit(1, None), DRAINED, False, False, CRASHED),
    ],
)
def test_a_message_is_blamed_only_for_what_it_can_have_caused(
    end: Exit, ours: Verdict | None, killed_by_us: bool, oom_killed: bool, verdict: Verdict
) -> None:
    """Own kills, the OOM killer and unexpected exit codes are told from strangers' signals and clean ends."""
    assert judge(end, ours=ours, killed_by_us=killed_by_us, oom_killed=oom_killed, hard_bytes=HARD) == verdict


@pytest.mark.parametrize(
    ("risen", "victims"), [(-1, set()), (0, set()), (1, {12}), (2, {12, 13}), (9, {11, 12, 13})]
)
def test_no_more_deaths_are_the_kernels_than_its_counter_shows(risen: int, victims: set[int]) -> None:
    """The heaviest first: that is how the kernel chooses."""
    assert charged({11: 30, 12: 300, 13: 200}, risen) == victims
