"""How fast messages may go: a function of time, which is given."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Pace:
    """At least `interval_s` seconds between two messages, and no burst after a pause. 0: as fast as it goes.

    last_s: when the last one went, on the clock of `now_s` below; None before the first.
    """

    interval_s: float
    last_s: float | None = None

    @classmethod
    def of(cls, rate: float | None) -> "Pace":
        """Make a pace of messages a second; of none given, no limit."""
        return cls(1 / rate if rate else 0.0)

    def wait_s(self, now_s: float) -> float:
        """Say how long the next message has to wait, in seconds."""
        return 0.0 if self.last_s is None else max(0.0, self.last_s + self.interval_s - now_s)

    def sent(self, now_s: float) -> "Pace":
        """Note that a message goes now."""
        return replace(self, last_s=now_s)
