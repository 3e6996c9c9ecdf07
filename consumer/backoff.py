"""How long to wait before the next try.

1. The wait doubles with every try: base, 2 x base, 4 x base ...
2. It never passes the cap, at any attempt number.
3. Chance is an argument, so that a test can fix it.
"""

from random import Random


def exponential(base: float, attempt: int, cap: float) -> float:
    """Say how long to wait after attempt number `attempt` (from 1), without jitter.

    base, cap: any one unit of time, >= 0. Returns a number in [min(base, cap), cap], in the same unit.
    """
    doublings = max(attempt - 1, 0)
    # 2.0 ** 1024 overflows a float; 64 doublings pass every cap that a person would write
    return min(base * 2.0 ** min(doublings, 64), cap)


def jittered(base: float, attempt: int, cap: float, rng: Random) -> float:
    """Say how long to wait before reconnecting: between half and all of the exponential wait.

    Spreads the children of all hosts when a server comes back. Same units as `exponential`.
    """
    wait = exponential(base, attempt, cap)
    return wait * (0.5 + 0.5 * rng.random())
