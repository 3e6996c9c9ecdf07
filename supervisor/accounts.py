"""The accounts of the dead that are not written yet.

An account is kept until a janitor has written it: first tried at once, because the broker redelivers the message within
milliseconds and its next holder waits about a second for the account; then again with a growing pause.
"""

from dataclasses import dataclass, field

from supervisor.events import Death
from supervisor.restart import backoff_s

BATCH = 100
"""Accounts that one janitor takes: few enough to be written within its time."""


@dataclass(slots=True)
class Accounts:
    """What is still to be written, and what a janitor has in hand."""

    waiting: list[Death] = field(default_factory=list)
    in_hand: tuple[Death, ...] = ()
    failures: int = 0
    due_at: float = 0.0

    def add(self, death: Death, now: float) -> None:
        """Take an account; it is due at once, even while older ones wait out a pause."""
        self.waiting.append(death)
        self.due_at = now

    def due(self, now: float) -> bool:
        """Say whether a janitor should be sent."""
        return bool(self.waiting) and not self.in_hand and now >= self.due_at

    def hand_out(self) -> tuple[Death, ...]:
        """Give a janitor its batch, the newest first: someone may be waiting for those."""
        self.in_hand = tuple(reversed(self.waiting[-BATCH:]))
        return self.in_hand

    def written(self) -> tuple[Death, ...]:
        """Strike out what the janitor had in hand."""
        done, self.in_hand, self.failures = self.in_hand, (), 0
        self.waiting = [death for death in self.waiting if death not in done]
        return done

    def failed(self, now: float, jitter: float) -> float:
        """Keep what the janitor had in hand; return the seconds until the next one."""
        arrived_since = bool(self.waiting) and self.waiting[-1] not in self.in_hand
        self.in_hand = ()
        self.failures += 1
        pause = 0.0 if arrived_since else backoff_s(self.failures, jitter)
        self.due_at = now + pause
        return pause

    def holds(self, pid: int) -> bool:
        """Say whether this process's account is still to be written."""
        return any(death.pid == pid for death in self.waiting)
