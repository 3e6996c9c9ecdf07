"""Is the supervisor itself well? Then it says so to the watchdog and to /healthz."""

from collections.abc import Iterable, Mapping

from supervisor.lifecycle import State
from supervisor.reading import Reading
from supervisor.roster import Child

LOOKED_AT_S = 5.0
"""A child whose memory could not be read for so long is one that nobody keeps within its budget."""


def is_well(children: Iterable[Child], readings: Mapping[int, Reading], now: float) -> bool:
    """Say whether every child that may grow has been weighed of late. Who is dead is reaped before this is asked.

    readings: by page.
    """
    return all(
        _weighed_of_late(readings.get(child.page), now)
        for child in children
        if now - child.forked_at > LOOKED_AT_S and child.state not in {State.FROZEN, State.KILLED}
    )


def _weighed_of_late(reading: Reading | None, now: float) -> bool:
    return reading is not None and reading.rss_bytes is not None and now - reading.read_at <= LOOKED_AT_S
