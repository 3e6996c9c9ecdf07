"""What the supervisor says of itself, and when: by bulletin to the status process, by datagram to a service manager.

1. The heart beats with every turn in which the supervisor is well, and the watchdog is fed as often as it asks for.
2. A bulletin is posted once a second, and at most four times when something happens.
3. READY is said once every child has been ready; until the manager has taken it, it is said again.
4. The manager's line is renewed when it has changed, at most once in MANAGER_PAUSE_S, and at once for the end.
Without a status process there are no bulletins, without a service manager no lines, and then it costs nothing.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import orjson

from supervisor.bulletin import Bulletin
from supervisor.notify import Notifier, spell

EVENTS_KEPT = 50
PAUSE_S = 1.0
HURRY_S = 0.25
MANAGER_PAUSE_S = 5.0


class Herald:
    """One line out. posts: somebody reads the bulletin."""

    def __init__(self, bulletin: Bulletin, notifier: Notifier, *, posts: bool, now: float) -> None:
        self._bulletin = bulletin
        self._notifier = notifier
        self._recent: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self._posted_at = -math.inf
        self._post_at = now if posts else math.inf
        self._watchdog_at = math.inf if notifier.watchdog_every_s is None else now
        self._manager_at = now if notifier.is_heard else math.inf
        self._line = ""
        self._said_ready = self._said_stopping = False

    def note(self, event: dict[str, Any]) -> None:
        """Keep what has happened, a JSON object; the bulletin follows soon."""
        self._recent.append(event)
        if self._post_at < math.inf:
            self._post_at = min(self._post_at, self._posted_at + HURRY_S)
        if self._manager_at < math.inf and (not self._said_ready or event["event"] == "stopping"):
            self._manager_at = -math.inf

    def speak(self, now: float, standing: Callable[[], dict[str, Any]], *, well: bool) -> float:
        """Say what is due; return when the next will be (monotonic seconds). standing: makes /status's object."""
        if well:
            self._bulletin.beat(now)
        if now >= self._watchdog_at:
            every_s = self._notifier.watchdog_every_s or math.inf
            fed = well and self._notifier.watchdog()
            # Not fed, or not taken: again soon, and not at once, or the loop would never rest
            self._watchdog_at = now + (every_s if fed else min(every_s, HURRY_S))
        posts, tells = now >= self._post_at, now >= self._manager_at
        if posts or tells:
            status = standing()
            if tells:
                self._tell_manager(status, now)
            if posts:
                self._post(status)
                self._posted_at, self._post_at = now, now + PAUSE_S
        return min(self._post_at, self._watchdog_at, self._manager_at)

    def _post(self, status: dict[str, Any]) -> None:
        events = list(self._recent)
        # All children fit, whatever they are called; of events with very long reasons, perhaps not all
        while not self._bulletin.post(orjson.dumps({**status, "events": events})) and events:
            events = events[len(events) // 2 + 1 :]

    def _tell_manager(self, status: dict[str, Any], now: float) -> None:
        self._manager_at = now + MANAGER_PAUSE_S
        line = spell(status)
        whole = status["supervisor"]
        if whole["state"] == "stopping" and not self._said_stopping:
            self._said_stopping = self._notifier.stopping(line)
        elif whole["ready"] and not self._said_ready:
            self._said_ready = self._notifier.ready(line)
        elif line == self._line or not self._notifier.status(line):
            return
        self._line = line
