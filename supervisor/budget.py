"""One resident size against the two budgets, and how long that answer can be trusted.

A child is stopped *below* the hard budget, because between a reading and the stop it goes on growing. Two things bound
that growth. The next reading comes when a child that grows at GROWTH_BYTES_PER_S would be at the stop: that is twice
what a child was seen to do (1.6 GB/s, in bytes objects of 16 MB), so each reading finds at least half of the room that
the last one saw, and the one that finds the stop passed comes after the shortest pause. And the margin between stop and
budget covers what is left: that pause, a late turn of the loop, the way of the signal.
"""

from enum import Enum, auto

from supervisor.limits import MB, SupervisorSettings

GROWTH_BYTES_PER_S = 3.2e9
SHORTEST_PAUSE_S = 0.003

WIDEST_MARGIN_BYTES = 40 * MB
"""12.5 ms of growth at GROWTH_BYTES_PER_S, 25 ms at what was measured."""


class Level(Enum):
    """How a resident size stands to the budgets. UNKNOWN is not WITHIN."""

    UNKNOWN = auto()
    WITHIN = auto()
    OVER = auto()
    STOP = auto()
    LAST = auto()


def margin_bytes(settings: SupervisorSettings) -> int:
    """Return the room kept below the hard budget: half the way to the soft one, at most WIDEST_MARGIN_BYTES.

    With 300 and 375 MB the stop is at 337.5. Budgets closer to each other than twice the widest margin leave less
    time, and a child that grows at full speed may then be seen too late.
    """
    return max(0, min(WIDEST_MARGIN_BYTES, (settings.rss_hard_bytes - settings.rss_budget_bytes) // 2))


def stop_bytes(settings: SupervisorSettings) -> int:
    """Return the resident size at which a child is stopped."""
    return settings.rss_hard_bytes - margin_bytes(settings)


def judge(rss_bytes: int | None, settings: SupervisorSettings) -> Level:
    """Place a reading: OVER the soft budget, at the STOP, or at the LAST stop, which no phase excuses."""
    if rss_bytes is None:
        return Level.UNKNOWN
    if rss_bytes < settings.rss_budget_bytes <= settings.rss_hard_bytes:
        return Level.WITHIN  # as below, at a glance: nearly every reading is
    margin = margin_bytes(settings)
    if rss_bytes >= settings.rss_hard_bytes - margin // 4:
        return Level.LAST
    if rss_bytes >= stop_bytes(settings):
        return Level.STOP
    if rss_bytes > settings.rss_budget_bytes:
        return Level.OVER
    return Level.WITHIN


def pause_s(rss_bytes: int | None, settings: SupervisorSettings) -> float:
    """Return how long the child may go unread: seconds, from SHORTEST_PAUSE_S to the sample interval."""
    if rss_bytes is None:
        return settings.sample_interval_s
    room_bytes = stop_bytes(settings) - rss_bytes
    return max(SHORTEST_PAUSE_S, min(settings.sample_interval_s, room_bytes / GROWTH_BYTES_PER_S))
