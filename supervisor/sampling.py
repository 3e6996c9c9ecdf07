"""Whose memory is read in this turn.

Each child has a time by which it has to be read again (`budget.pause_s`). A turn costs most of what it does however few
are read in it: so once one child is due, all are read who would be due soon after. Soon is at most the shortest pause
of all, when the next turn comes anyway, and nobody is read before half of its own pause is over. Children with like
pauses come together by themselves that way, whenever each was forked, and stay together; and the loop turns as often
as its most pressing child needs, not as often as all of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Due:
    """When a child is to be read at the latest (awake seconds), and how long a pause that leaves."""

    at: float
    pause_s: float


AT_ONCE = Due(-math.inf, math.inf)
"""That of a child which was never read."""


def chosen(dues: Mapping[int, Due], now: float) -> frozenset[int]:
    """Return the keys of those to read now: nobody while nobody is due."""
    if not dues or now < min(due.at for due in dues.values()):
        return frozenset()
    shortest_s = min(due.pause_s for due in dues.values())
    return frozenset(key for key, due in dues.items() if due.at <= now + min(shortest_s, due.pause_s / 2))
