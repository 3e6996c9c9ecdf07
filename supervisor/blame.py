"""Whose fault a death was: the message's, our own doing, or nobody's that we know.

A message is blamed only for what it can have caused: our kill for the hard budget or its deadline, a crash signal,
an exit code that no child chooses, a kill by the kernel's OOM killer that its counter shows. A SIGKILL that nothing
explains is a stranger's.

Whoever asks for more than its wall allows ends in one of two ways, which are one cause: a MemoryError, whatever the
size, or a crash near the wall of code that did not look whether it had got what it asked for. Far from the wall such a
crash looks like any other: so no decoder is used that ends so (docs/decisions/0027).
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.events import Cause
from supervisor.lifecycle import EXIT_DONE, EXIT_MEMORY

CRASHES = frozenset(
    int(number) for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
)

NEAR = 0.75
"""Of the hard budget: a crash from there on is one of memory. A large request may fail well below the wall."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: an exit code or a signal, the other is None.

    peak_rss_bytes: its highest resident size, of its last message if it had any; 0 when unknown.
    """

    code: int | None
    signal: int | None
    peak_rss_bytes: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a child ended, and whether the message in its hands is to blame."""

    cause: Cause
    blamed: bool


def judge(
    end: Exit, *, ours: Verdict | None, killed_by_us: bool, oom_killed: bool, hard_bytes: int
) -> Verdict:
    """Name the cause of a death.

    ours: why we were ending this child, if we were. killed_by_us: whether a SIGKILL of ours was on its way.
    oom_killed: whether a rise of the OOM killer's counter is this death's (`charged`). hard_bytes: the hard budget.
    """
    if end.signal is not None:
        if end.signal in CRASHES:
            near = end.peak_rss_bytes >= NEAR * hard_bytes
            return Verdict(Cause.RSS_HARD if near else Cause.CRASHED, blamed=True)
        if end.signal != signal.SIGKILL:
            return Verdict(ours.cause if ours else Cause.KILLED, blamed=False)
        if killed_by_us and ours is not None:
            return ours
        return Verdict(Cause.OOM_KILLED, blamed=True) if oom_killed else Verdict(Cause.KILLED, blamed=False)
    if end.code == EXIT_DONE:
        return Verdict(ours.cause if ours else Cause.KILLED, blamed=False)
    return Verdict(Cause.RSS_HARD if end.code == EXIT_MEMORY else Cause.CRASHED, blamed=True)


def charged(killed: Mapping[int, int], risen: int) -> frozenset[int]:
    """Choose which of the processes that a SIGKILL ended unexplained were the OOM killer's: the heaviest come first.

    killed: the last known resident bytes by pid. risen: how many kills the counter shows; no more are chosen.
    """
    return frozenset(sorted(killed, key=lambda pid: killed[pid], reverse=True)[: max(0, risen)])
