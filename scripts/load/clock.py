"""The scenario's time on the machine's clock; pure."""

from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Scenario minutes and the machine's seconds.

    began: the monotonic time, in seconds, at which `from_minute` was. scale: seconds on the clock for one of the
    scenario; 0.05 makes an hour three minutes.
    """

    began: float
    from_minute: float
    scale: float

    def minute(self, now: float) -> float:
        """Return the scenario's minute at a monotonic time."""
        return self.from_minute + (now - self.began) / (MINUTE_S * self.scale)

    def at(self, minute: float) -> float:
        """Return the monotonic time of a scenario's minute."""
        return self.began + (minute - self.from_minute) * MINUTE_S * self.scale

    def seconds(self, clock_s: float) -> float:
        """Return how many of the scenario's seconds so many on the clock are."""
        return clock_s / self.scale
