"""Time as a process lived it: what passed while it could not run counts for nobody.

A laptop sleeps, a virtual machine is moved, a control group is frozen, a machine is too busy: the process that judges
did not run, and perhaps nobody else did either. Whoever looks at clocks again and again knows when it meant to wake.
Waking later than GRACE_S after that is a gap, and *awake time* is monotonic time less all gaps before:

    monotonic   0 ──── 10 ═══ gap ═══ 30 ──── 35
    awake       0 ──── 10 ─────────── 10 ──── 15

All ages are differences of awake times, so no limit has to know of gaps. What others have written down in monotonic
time is turned into awake time when it is read. Awake time never runs backwards, and each turn moves it on by what the
turn took, up to its planned pause and GRACE_S: a machine that is always late delays a limit and never lifts it.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

GRACE_S = 0.5
"""So late is still in time: what a turn itself takes, and what other processes take of the processor."""

MOST_GAPS = 512
"""Beyond this the two oldest become one, without the time between them: what is older looks younger, never older."""


@dataclass(frozen=True, slots=True)
class AwakeTime:
    """The gaps so far. ends: of each, in order (monotonic seconds). sums: 0, then of each gap and all before it."""

    ends: tuple[float, ...] = ()
    sums: tuple[float, ...] = (0.0,)

    def at(self, moment: float) -> float:
        """Turn monotonic seconds into awake ones; in a gap they stand still."""
        index = bisect_left(self.ends, moment)
        before = self.sums[index]
        if index == len(self.ends):
            return moment - before
        begun = self.ends[index] - (self.sums[index + 1] - before)
        return min(moment, begun) - before

    def woken(self, planned: float, moment: float) -> "AwakeTime":
        """Return what is known now: it is this moment (monotonic), and was to be `planned` (awake) at the latest."""
        gap_s = self.at(moment) - planned - GRACE_S
        if gap_s <= 0.0:
            return self
        ends, sums = (*self.ends, moment), (*self.sums, self.sums[-1] + gap_s)
        if len(ends) > MOST_GAPS:
            ends, sums = ends[1:], sums[:1] + sums[2:]
        return AwakeTime(ends, sums)


class AwakeClock:
    """Awake time that goes on. read: gives monotonic seconds."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._time = AwakeTime()
        self.moment = read()
        """The monotonic time of the last turn."""
        self.now = self.moment
        """The same in awake time."""

    @property
    def stood_still_s(self) -> float:
        """Return how far awake time is behind monotonic time: all gaps so far."""
        return self._time.sums[-1]

    def at(self, moment: float) -> float:
        """Turn monotonic seconds into awake ones."""
        return self._time.at(moment)

    def left_s(self, due: float) -> float:
        """Return how long it is until this awake time, by the clock of this very moment; never negative."""
        return max(0.0, due - self._time.at(self._read()))

    def turn(self, due: float) -> float:
        """Read the clock for the next turn, which was due at this awake time, or at once; return the gap before it."""
        self.moment = self._read()
        before_s = self.stood_still_s
        self._time = self._time.woken(max(due, self.now), self.moment)
        self.now = self._time.at(self.moment)
        return self.stood_still_s - before_s
