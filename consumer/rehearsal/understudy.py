"""The runtime of a rehearsed child: it lets everything pass, and asks for the end in time."""

import time
from collections.abc import Callable
from typing import Literal

PLENTY_BYTES = 2**40


class Curtain(BaseException):
    """The end in the midst of it: no Exception, as nothing that a child does to save its work may catch it."""


class Understudy:
    """Stops after so many deliveries, at the first obstacle, or at `end` (monotonic seconds)."""

    slot = 0

    def __init__(self, deliveries: int, end: float) -> None:
        self.settled_as: list[str] = []
        self.obstacle: str | None = None
        self._left = deliveries
        self._end = end

    def stop_requested(self) -> bool:
        """Say whether it is over: work in hand is finished, unless something is wrong."""
        return self._left <= 0 or self.hurry_requested()

    def hurry_requested(self) -> bool:
        """Say whether something is wrong: there is nobody to wait for."""
        return self.obstacle is not None or time.monotonic() >= self._end

    def acking(self) -> None:
        """Count, where a child that is to stop hears of it: the last delivery takes the way of a stop."""
        self._left -= 1

    def settled(self, outcome: str) -> None:
        """Keep how it ended."""
        self.settled_as.append(outcome)

    def waiting(self, on: Literal["database", "broker", "schema"], reason: str) -> None:
        """Take a reason for the end of the rehearsal; without one, nothing is in the way yet.

        Raises Curtain: a child that has a result in hand would wait, whoever asks it to stop.
        """
        if reason:
            self.obstacle = f"{on}: {reason}"
            raise Curtain

    def returned(self) -> None:
        """Take the loss of the broker for the end, too."""
        self.obstacle = self.obstacle or "a delivery came back"

    def no_room(self) -> None:
        """Cannot be: there is room for everything."""

    def seated(self) -> bool:
        """Take messages at once."""
        return True

    def fresh(self) -> bool:
        """Be new for ever."""
        return True

    def crowded(self, in_hand_bytes: int) -> bool:  # noqa: ARG002 - the Protocol's
        """Have room for more."""
        return False

    def room_bytes(self) -> int:
        """Have room for everything."""
        return PLENTY_BYTES

    def fresh_room_bytes(self) -> int:
        """Have had room for everything."""
        return PLENTY_BYTES

    def peak_rss_bytes(self) -> int:
        """Weigh nothing: nobody is billed."""
        return 0

    def wake_with(self, wake: Callable[[], None] | None) -> None:
        """Forget it: nobody wakes a rehearsal."""

    def ready(self, doubt: str = "") -> None:
        """Report to nobody, as in what follows."""

    def empty_handed(self) -> None: ...

    def cut_off(self, reason: str) -> None: ...

    def idle(self) -> None: ...

    def receiving(self, body_bytes: int, message_id: str | None) -> None: ...

    def received(self, body_bytes: int, body_crc32: int) -> None: ...

    def claiming(self, conversation_id: str, claimed_by: str) -> None: ...

    def claimed(self, event_id: int, epoch: int) -> None: ...

    def trim(self) -> None: ...

    def holding(self, reason: str) -> None: ...

    def fetching(self) -> None: ...

    def fetched(self, result: Literal["read", "failed", "away"]) -> None: ...

    def analysing(self) -> None: ...

    def analysed(self, result: str) -> None: ...

    def calling(self) -> None: ...

    def called(self, end: Literal["answered", "failed", "barred"]) -> None: ...

    def writing(self) -> None: ...

    def failing(self, code: str) -> None: ...
