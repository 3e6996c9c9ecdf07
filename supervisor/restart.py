"""When an empty slot may be filled again.

1. A child that settled a message has shown that its slot works: its successor comes at once, the count is 0 again.
2. A child that was replaced by choice leaves its slot at once.
3. A child that never became ready, or died within EARLY_S of it without a settled message, is a failure: the
   successor waits, longer each time.
4. A stranger's kill says nothing about the slot: the count stays. The successor of a ready child comes at once, that
   of a booting one after STRANGER_PAUSE_S, so that a stranger who kills every child meets no storm of forks.
5. One that we killed because the server that it waited for never answered says nothing about the slot either: the
   count stays. Its successor comes at once; that wait was long enough.
6. Any other death: the successor comes at once, and the count stays.
"""

from dataclasses import dataclass

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
EARLY_S = 5.0
STRANGER_PAUSE_S = 0.25
DOUBLINGS = 16
"""Past this the pause is at its longest anyway, and 2.0 ** n would overflow for a large n."""


def backoff_s(failures: int, jitter: float) -> float:
    """Return the pause before try number failures + 1: seconds in [0.25, 30]; 0 without a failure.

    jitter: a draw from [0, 1); it takes away up to half of the pause, so that slots which failed together do not
    return together.
    """
    if failures <= 0:
        return 0.0
    full = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, DOUBLINGS))
    return full * (1.0 - jitter / 2)


@dataclass(frozen=True, slots=True)
class Life:
    """What counts of a life that ended. ready_s: how long it was ready, None when it never was."""

    ready_s: float | None
    messages: int
    by_choice: bool
    by_stranger: bool
    by_outage: bool = False


def failures_after(life: Life, failures: int) -> int:
    """Return the slot's count of failures in a row after this life; when it rose, the slot has to wait."""
    if life.messages > 0:
        return 0
    if life.by_choice or life.by_stranger or life.by_outage:
        return failures
    if life.ready_s is None or life.ready_s < EARLY_S:
        return failures + 1
    return failures


def pause_after(life: Life, failures: int, jitter: float) -> float:
    """Return the seconds that the slot has to wait after this life, which found it with that many failures."""
    now_failed = failures_after(life, failures)
    if now_failed > failures:
        return backoff_s(now_failed, jitter)
    return STRANGER_PAUSE_S if life.by_stranger and life.ready_s is None else 0.0
