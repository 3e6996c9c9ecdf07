"""How long to wait before the next try.

1. The wait grows with every try: base, growth x base, growth^2 x base ... A failed piece of work waits twice as long
   each time. Reconnecting grows more slowly: a server is missed for the seconds of its restart, and a wait that doubles
   adds up to as much again after it is back.
2. It never passes the cap, at any attempt number.
3. Only what has proved to work makes the next wait the first again: a consumer that is refused, or cut off at once, was
   connected all the same, and whoever gives a delivery back has received one.
4. Chance is an argument, so that a test can fix it.
"""

from random import Random

RECONNECT_GROWTH = 1.3
"""So the next wait is at most about 0.6 of the time waited so far, and 0.3 of it when the jitter is at its mean."""

PROVEN_S = 10.0
PROVEN_MESSAGES = 2
"""With one message in hand at a time, the second comes only once the first's acknowledgement was taken."""


def proven(stood_s: float, acked: int) -> bool:
    """Say whether a connection to the broker has proved to work, so that the wait after its loss is the first again.

    stood_s: from its opening to its loss. acked: messages meanwhile; one that went back proves nothing.
    """
    return stood_s >= PROVEN_S or acked >= PROVEN_MESSAGES


def exponential(base: float, attempt: int, cap: float, growth: float = 2.0) -> float:
    """Say how long to wait after attempt number `attempt` (from 1), without jitter.

    base, cap: any one unit of time, >= 0. Returns a number in [min(base, cap), cap], in the same unit.
    """
    steps = max(attempt - 1, 0)
    # 2.0 ** 1024 overflows a float; 64 steps pass every cap that a person would write
    return min(base * growth ** min(steps, 64), cap)


def jittered(base: float, attempt: int, cap: float, rng: Random) -> float:
    """Say how long to wait before reconnecting: between half and all of a wait that grows by RECONNECT_GROWTH.

    Spreads the children of all hosts when a server comes back. Same units as `exponential`.
    """
    wait = exponential(base, attempt, cap, RECONNECT_GROWTH)
    return wait * (0.5 + 0.5 * rng.random())
