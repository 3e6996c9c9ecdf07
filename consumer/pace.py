"""How soon one child goes on after calls that failed.

1. The first failed calls in a row cost nothing: anyone can have bad luck.
2. After more of them there is a pause before the next message, longer each time up to a limit. The time that the call
   took counts towards it: who waited for a time-out need not wait again.
3. A call that is barred is bad luck no more.
4. A call that is answered ends all that.

So an API that refuses every connection at once does not turn a whole queue into failures before the breaker, which
looks at half a minute, sees that it is away. The same holds for S3, which no breaker looks at.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

CallEnd = Literal["answered", "failed", "barred"]

FREE = 3
STEP_S = 12.0
LONGEST_S = 16.0
JITTER = 0.2


@dataclass(slots=True)
class Pace:
    """The calls of one child so far, as far as they matter. pause_s: what is due before the next message."""

    failures: int = 0
    pause_s: float = 0.0

    def called(self, end: CallEnd, took_s: float, rng: Random) -> None:
        """Take note of a call."""
        if end == "answered":
            self.failures, self.pause_s = 0, 0.0
            return
        self.failures = 1 + (max(FREE, self.failures) if end == "barred" else self.failures)
        whole_s = min(LONGEST_S, STEP_S * max(0, self.failures - FREE)) * (1.0 - JITTER * rng.random())
        self.pause_s = max(0.0, whole_s - took_s)

    def taken(self) -> float:
        """Give the pause, which is no longer due then."""
        pause_s, self.pause_s = self.pause_s, 0.0
        return pause_s
