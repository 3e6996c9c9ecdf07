"""What the supervisor knows of its children from outside: what they weigh, and what they say on the board."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from supervisor import budget, sampling
from supervisor.awake import AwakeClock
from supervisor.board import Board
from supervisor.breaker import NO_CALLS, Calls
from supervisor.lifecycle import State
from supervisor.limits import SupervisorSettings
from supervisor.reading import Reading, SlotView
from supervisor.roster import Child
from supervisor.sampling import AT_ONCE, Due
from supervisor.watched import Watched

PAGES_EVERY_S = 1.0
"""How often each child's page is read, whether the board says that it has reported or not."""


class Lookout:
    """Reads who is due, and keeps the last readings by page, all in awake time.

    sizes: resident bytes, when last there were any: a process gives them back before it can be reaped. calls: of all
    children, those that are gone included.
    """

    def __init__(self, board: Board, settings: SupervisorSettings, clock: AwakeClock) -> None:
        self._board = board
        self._settings = settings
        self._clock = clock
        self._pages_at = clock.now
        self._calls: dict[int, Calls] = {}
        self.calls = NO_CALLS
        self.readings: dict[int, Reading] = {}
        self.sizes: dict[int, int] = {}

    def look(self, children: Sequence[Child], watched: Mapping[int, Watched], now: float) -> float:
        """Weigh who is due, and read the page of who has reported; return when somebody will be due next.

        What a child says is asked for last: it is then no older than its weight.
        """
        dues = {child.pid: watched[child.pid].due for child in children if _grows(child)}
        chosen = sampling.chosen(dues, now)
        weights: dict[int, int | None] = {}
        for child in children:
            seen = watched[child.pid]
            if child.pid in chosen and seen.resident is not None:
                weights[child.page] = rss_bytes = seen.resident.read(now)
                if rss_bytes is not None:
                    self.sizes[child.page] = rss_bytes
                pause_s = budget.pause_s(rss_bytes, self._settings)
                dues[child.pid] = seen.due = Due(now + pause_s, pause_s)
        reported = self._reported(now)
        for child in children:
            self._note(child.page, weights, reported, now)
        if reported:
            self._calls.update((page, self._board.record(page).calls) for page in reported)
            self.calls = sum(self._calls.values(), NO_CALLS)
        return min((due.at for due in dues.values()), default=math.inf)

    def all_due(self, watched: Mapping[int, Watched]) -> None:
        """Weigh everyone and read every page the next time, whatever was planned."""
        self._pages_at = -math.inf
        for seen in watched.values():
            seen.due = AT_ONCE

    def at_last(self, page: int) -> Reading:
        """Return what a child that stands still, or is gone, had in hand, and what it weighed."""
        return Reading(self._view(page), self.sizes.get(page))

    def forget(self, page: int) -> None:
        """Keep nothing of a child that is gone."""
        self.readings.pop(page, None)
        self.sizes.pop(page, None)

    def _view(self, page: int) -> SlotView:
        view = self._board.view(page)
        return view.timed(self._clock.at) if self._clock.stood_still_s else view

    def _reported(self, now: float) -> frozenset[int]:
        """Return the pages to read now: those the board names, and all of them once in PAGES_EVERY_S."""
        reported = self._board.reported()
        if now < self._pages_at:
            return reported
        self._pages_at = now + PAGES_EVERY_S
        return frozenset(range(self._board.capacity))

    def _note(
        self, page: int, weights: Mapping[int, int | None], reported: frozenset[int], now: float
    ) -> None:
        """Keep what is new of a child; nothing when it was neither weighed nor has reported."""
        last = self.readings.get(page)
        if last is not None and page not in weights and page not in reported:
            return
        view = self._view(page) if last is None or page in reported else last.view
        if page in weights:
            self.readings[page] = Reading(view, weights[page], now)
        elif last is None:
            self.readings[page] = Reading(view)
        elif view is not last.view:
            self.readings[page] = replace(last, view=view)


def _grows(child: Child) -> bool:
    return child.state is not State.FROZEN and child.state is not State.KILLED
