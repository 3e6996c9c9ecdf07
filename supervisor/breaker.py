"""Whether children may take messages while what all of them call is away: a circuit breaker over their calls.

1. CLOSED: everyone takes messages. Failed calls are counted over all children, since the last one that was answered.
2. It opens when there are `Rules.enough` of them and the last came `over_s` after the first; and at once when a call
   was barred, since any other would be.
3. OPEN: nobody takes a message, and what is in hand is finished. A call that is answered meanwhile closes it.
4. After a pause one child that rests may make one call: HALF_OPEN. Answered, it closes. Failed, it opens again, for
   twice as long, the time of the call included: a time-out has been a pause. With the child gone before its call ended,
   it opens again for as long as before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from supervisor.events import BreakerClosed, BreakerHalfOpen, BreakerOpened, Event


class Answer(Enum):
    """How a call ended, for the next one: barred is refused for who we are, or where we ask."""

    ANSWERED = "answered"
    FAILED = "failed"
    BARRED = "barred"


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that have ended, since the start."""

    answered: int = 0
    failed: int = 0
    barred: int = 0

    @property
    def unanswered(self) -> int:
        """Return how many ended without an answer."""
        return self.failed + self.barred

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(self.answered + other.answered, self.failed + other.failed, self.barred + other.barred)

    def __sub__(self, other: "Calls") -> "Calls":
        return Calls(self.answered - other.answered, self.failed - other.failed, self.barred - other.barred)

    def and_one(self, answer: Answer) -> "Calls":
        """Count one more."""
        return replace(self, **{answer.value: getattr(self, answer.value) + 1})


NO_CALLS = Calls()


@dataclass(frozen=True, slots=True)
class Rules:
    """When to open, and when to try again: seconds; the pause doubles from `pause_s` to `longest_pause_s`."""

    least: int = 10
    each_child: int = 2
    over_s: float = 30.0
    pause_s: float = 10.0
    longest_pause_s: float = 150.0

    def enough(self, children: int) -> int:
        """Return how many failures in a row open it."""
        return max(self.least, self.each_child * children)


class State(Enum):
    """The usual three."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Resting:
    """A child with nothing in hand."""

    slot: int
    pid: int
    page: int


@dataclass(frozen=True, slots=True)
class Scene:
    """What one decision rests on.

    calls: of all children, since the start. children: how many are wanted. pids: of all who live. resting: who could
    make a probe.
    """

    calls: Calls
    children: int
    pids: Collection[int] = ()
    resting: Sequence[Resting] = ()


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker at one moment. Times are awake seconds.

    failures: in a row, since first_failed_at. opened_at: when it was last closed no more. failed_probes: since then.
    due_at: when the next probe may be made; probed_at: when the last one was. prober: who makes it. permits: how many
    were ever given.
    """

    state: State = State.CLOSED
    seen: Calls = NO_CALLS
    failures: int = 0
    first_failed_at: float = 0.0
    opened_at: float = 0.0
    failed_probes: int = 0
    due_at: float = 0.0
    probed_at: float = 0.0
    prober: Resting | None = None
    permits: int = 0


def step(breaker: Breaker, scene: Scene, now: float, rules: Rules, jitter: float) -> Breaker:
    """Return the breaker after what is known now. Rules in the module's docstring.

    jitter: from [0, 1), shortens a pause by up to a tenth.
    """
    new = scene.calls - breaker.seen
    breaker = replace(breaker, seen=scene.calls)
    if new.answered:
        return Breaker(seen=scene.calls, permits=breaker.permits)
    if new.unanswered:
        breaker = _counted(breaker, new, now)
    match breaker.state:
        case State.CLOSED:
            if new.barred or (new.failed and _is_enough(breaker, scene, now, rules)):
                breaker = _opened(replace(breaker, opened_at=now), now, rules, jitter)
        case State.OPEN:
            if now >= breaker.due_at and scene.resting:
                permits = breaker.permits + 1
                prober = scene.resting[0]
                breaker = replace(
                    breaker, state=State.HALF_OPEN, prober=prober, permits=permits, probed_at=now
                )
        case State.HALF_OPEN:
            if new.unanswered:
                failed_probes = breaker.failed_probes + 1
                breaker = replace(breaker, failed_probes=failed_probes)
                breaker = _opened(breaker, now, rules, jitter, took_s=now - breaker.probed_at)
            elif breaker.prober is None or breaker.prober.pid not in scene.pids:
                breaker = _opened(breaker, now, rules, jitter)
        case _:
            assert_never(breaker.state)
    return breaker


def _is_enough(breaker: Breaker, scene: Scene, now: float, rules: Rules) -> bool:
    long_enough = now - breaker.first_failed_at >= rules.over_s
    return long_enough and breaker.failures >= rules.enough(scene.children)


def _counted(breaker: Breaker, new: Calls, now: float) -> Breaker:
    first = breaker.first_failed_at if breaker.failures else now
    return replace(breaker, failures=breaker.failures + new.unanswered, first_failed_at=first)


def _opened(breaker: Breaker, now: float, rules: Rules, jitter: float, took_s: float = 0.0) -> Breaker:
    whole_s = min(rules.longest_pause_s, rules.pause_s * 2.0 ** min(breaker.failed_probes, 32))
    # A call that failed soon was no pause
    pause_s = max(rules.pause_s, whole_s - took_s) if took_s > rules.pause_s else whole_s
    return replace(breaker, state=State.OPEN, prober=None, due_at=now + pause_s * (1.0 - 0.1 * jitter))


def told(before: Breaker, after: Breaker, now: float) -> list[Event]:
    """Say what a step has changed."""
    if before.state is after.state:
        return []
    match after.state:
        case State.CLOSED:
            return [BreakerClosed(round(now - before.opened_at, 3))]
        case State.OPEN:
            return [BreakerOpened(after.failures, after.failed_probes, round(after.due_at - now, 3))]
        case State.HALF_OPEN:
            assert after.prober is not None
            return [BreakerHalfOpen(after.prober.slot, after.prober.pid)]
        case _:
            assert_never(after.state)


OPEN_GATE, SHUT_GATE = 0, 1
PERMITS = 254
"""What a gate's byte can number: a permit is for one call, and the next one has to look different."""


def gates(breaker: Breaker, capacity: int) -> bytes:
    """Return each page's gate: open, shut, or the number of a permit for one call."""
    if breaker.state is State.CLOSED:
        return bytes([OPEN_GATE]) * capacity
    shut = bytearray([SHUT_GATE]) * capacity
    if breaker.prober is not None:
        shut[breaker.prober.page] = 2 + breaker.permits % PERMITS
    return bytes(shut)
