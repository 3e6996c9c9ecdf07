"""For how long a connection has been silent, which is how a broker is noticed that stands still or cannot be reached.

A process that is stopped, a machine that is frozen and a network that swallows packets close no connection, and the
kernel goes on acknowledging what is sent to a stopped process. Only an answer shows that somebody is there.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from pika.exceptions import AMQPError

LONGEST_STEP_S = 2.0


class Unanswered(AMQPError):  # type: ignore[misc]
    """The other side said nothing for too long; the text says for how long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer for {seconds:g} s")


@dataclass(frozen=True, slots=True)
class Silence:
    """How long nothing has moved, as far as somebody looked.

    moved: whatever is another value once a byte has moved. looked_at: monotonic seconds.
    The time between two looks counts for LONGEST_STEP_S at most: whoever was busy, or stopped itself, for a minute has
    not watched a minute of silence, and the answer may be among what it has not read yet.
    """

    moved: Hashable
    looked_at: float
    lasts_s: float = 0.0

    def look(self, moved: Hashable, now: float) -> "Silence":
        """Look again: silence is over when something has moved."""
        if moved != self.moved:
            return Silence(moved, now)
        step_s = min(max(0.0, now - self.looked_at), LONGEST_STEP_S)
        return Silence(moved, now, self.lasts_s + step_s)
