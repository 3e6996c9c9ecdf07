"""Puts together what is asked for, from the shared pages and the queue's gauge."""

import time
from collections.abc import Callable
from typing import Any

import orjson

from supervisor.awake import AwakeClock
from supervisor.board import Board
from supervisor.bulletin import Bulletin
from supervisor.chronicle import Chronicle, Mishap
from supervisor.counters import Totals
from supervisor.herald import EVENTS_KEPT
from supervisor.programs import Depth
from supervisor.status.history import EVERY_S, History

ALIVE_S = 10.0
"""A loop that has not turned for so long hangs: it turns twice a second when nothing happens at all."""

DEPTH_KNOWN_S = 30.0
"""An older reading of the queue is none: whoever reads it hangs."""


class Desk:
    """What the status process knows. clock: monotonic seconds; wall: seconds since 1970.

    Ages are in the time that this process was awake, which `sample` is to tell it every EVERY_S: when all has stood
    still, the supervisor is not the one that hangs.
    """

    def __init__(
        self,
        board: Board,
        chronicle: Chronicle,
        bulletin: Bulletin,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._board = board
        self._chronicle = chronicle
        self._bulletin = bulletin
        self._clock = AwakeClock(clock)
        self._wall = wall
        self._depth: tuple[float, Depth] | None = None
        self.history = History()

    def issue(self) -> int:
        """Return the number of the newest bulletin: another one, and there is something new."""
        return self._bulletin.count()

    def measured(self, depth: Depth) -> None:
        """Take a reading of the queue."""
        self._depth = self._turned(), depth

    def sample(self) -> None:
        """Add the present to the history."""
        posted = self._posted()
        if posted is not None:
            self.history.add(posted, self._turned())

    def heartbeat_age_s(self) -> float:
        """Return when the supervisor's loop last turned and was well: seconds ago."""
        return max(0.0, self._turned() - self._clock.at(self._bulletin.heartbeat()))

    def is_alive(self) -> bool:
        """Say whether the loop turns and is well."""
        return self.heartbeat_age_s() < ALIVE_S

    def illness(self) -> str:
        """Say what a heart that does not beat means."""
        return f"for {self.heartbeat_age_s():.0f} s the loop has not turned, or could not weigh every child"

    def still_here(self) -> None:
        """Tell the supervisor that this process turns, too."""
        self._turned()
        self._bulletin.answer(self._clock.moment)

    def status(self) -> dict[str, Any] | None:
        """Return the object of /status; None before the supervisor has said anything."""
        status = self._posted()
        if status is None:
            return None
        now = self._turned()
        status["supervisor"]["heartbeat_age_s"] = round(self.heartbeat_age_s(), 3)
        status["rates"] = self.history.rates(now)
        status["queue"] = self._queue(status, now)
        status["events"] = _merged(status["events"], self._chronicle.read())
        status["as_of"] = round(self._wall(), 3)
        return status

    def totals(self) -> Totals:
        """Return the children's counters."""
        return self._board.totals()

    def not_ready(self) -> str | None:
        """Say why the supervisor is not ready; None when it is."""
        if not self.is_alive():
            return self.illness()
        posted = self._posted()
        if posted is None:
            return "starting"
        reason: str | None = posted["supervisor"]["not_ready"]
        return reason

    def _turned(self) -> float:
        """Move the clock on; return awake seconds. None has to ask for longer than EVERY_S, and then `sample` does."""
        self._clock.turn(self._clock.now + EVERY_S)
        return self._clock.now

    def _posted(self) -> dict[str, Any] | None:
        """Return what the supervisor posted last."""
        text = self._bulletin.read()
        return None if text is None else orjson.loads(text)

    def _queue(self, status: dict[str, Any], now: float) -> dict[str, Any]:
        read_at, depth = self._depth or (now, Depth("", error="not asked yet"))
        if now - read_at > DEPTH_KNOWN_S:
            depth = Depth(depth.queue, error=f"no answer for {now - read_at:.0f} s")
        held = sum(1 for child in status["children"] if child["message_age_s"] or child["conversation_id"])
        return {
            "name": depth.queue,
            "ready": depth.ready,
            "unacked": held,
            "dead": depth.dead,
            "consumers": depth.consumers,
            "error": depth.error,
        }


def _merged(events: list[dict[str, Any]], mishaps: list[Mishap]) -> list[dict[str, Any]]:
    """Put the supervisor's events and the children's failures in one order, the newest last.

    An outage has more failures than all that is kept: they leave half of the room to what the supervisor did.
    """
    failures = [
        {
            "ts": round(mishap.at, 3),
            "level": "warning",
            "event": "message_failed",
            "slot": mishap.slot,
            "conversation_id": mishap.conversation_id or None,
            "code": mishap.code,
            "ms": mishap.ms,
        }
        for mishap in mishaps[-max(EVENTS_KEPT // 2, EVENTS_KEPT - len(events)) :]
    ]
    return sorted([*events[len(failures) - EVENTS_KEPT :], *failures], key=lambda event: event["ts"])
