"""What is replayed, as data: how many messages arrive, how the Memory API behaves, what breaks, each from a minute on.

All times are those of what is replayed; the clock compresses them. What a scenario does not say is left at each
worker's own setting. Arrivals are drawn from a seed: the same seed, the same run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

TIMES = ("seconds", "spread_s")
"""Of the Memory API stand-in's behaviours: what is a time."""


class Breakage(Enum):
    """Something that is done to a server once. It takes as long as it takes: no clock compresses it."""

    BROKER_RESTART = "the broker restarts"
    DATABASE_RESTART = "the database restarts"


@dataclass(frozen=True, slots=True)
class Step:
    """From `minute` on: messages a minute, the stand-in's behaviour, what breaks; None: as before. text: for charts."""

    minute: float
    text: str = ""
    per_minute: float | None = None
    api: Mapping[str, Any] | None = None
    breaks: Breakage | None = None

    def behaviour(self, scale: float, seed: int) -> dict[str, Any]:
        """Return the stand-in's behaviour on the compressed clock; empty: as before."""
        if self.api is None:
            return {}
        compressed = {name: value * scale if name in TIMES else value for name, value in self.api.items()}
        if compressed["mode"] == "incident":
            compressed["factor"] = scale
        return compressed | {"seed": seed}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens between two minutes.

    leak_mb: what every message leaves behind in the process that handled it. poison_every: each n-th message kills
    (SIGSEGV) the process that handles it; 0: none does. retry_after_minutes: the first retry of what failed, where a
    worker can be told; None: its own, hours away. size_kb: of a message, in 1024 bytes.
    """

    name: str
    title: str
    from_minute: float
    to_minute: float
    steps: tuple[Step, ...]
    leak_mb: float = 0.0
    poison_every: int = 0
    retry_after_minutes: float | None = None
    size_kb: float = 3072.0

    @property
    def faulty(self) -> bool:
        return bool(self.leak_mb or self.poison_every)

    def arrivals(self, seed: int) -> list[float]:
        """Draw the minutes at which messages arrive, in order: at random, at each time's own rate."""
        rng = Random(f"{self.name}/{seed}")
        found: list[float] = []
        for start, end, per_minute in self._rates():
            minute = start
            while per_minute:
                minute += rng.expovariate(per_minute)
                if minute >= end:
                    break
                found.append(minute)
        return found

    def poisonous(self, number: int) -> bool:
        """Say whether the message of this number, counted from 1, kills."""
        return bool(self.poison_every) and number % self.poison_every == 0

    def _rates(self) -> Iterator[tuple[float, float, float]]:
        rated = [(step.minute, step.per_minute) for step in self.steps if step.per_minute is not None]
        ends = [minute for minute, _ in rated[1:]] + [self.to_minute]
        for (minute, per_minute), end in zip(rated, ends, strict=True):
            yield minute, min(end, self.to_minute), per_minute


def conversation_name(scenario: Scenario, number: int) -> str:
    """Name a message; those that kill are known by it (`poison-`) to the workers under test."""
    return f"{'poison' if scenario.poisonous(number) else 'load'}-{number:05}"


def _fine(seconds: float = 5.0) -> dict[str, Any]:
    return {"mode": "delay", "seconds": seconds, "spread_s": seconds / 3}


_ALL: Sequence[Scenario] = (
    Scenario(
        "incident",
        "The incident of 1 January 2026: a slow Memory API, and nothing but time-outs from minute 42",
        from_minute=30,
        to_minute=57,
        steps=(
            Step(30, "Memory API slow: p50 19 s, p90 over 60 s", per_minute=24, api={"mode": "incident"}),
            Step(42, "nothing but time-outs", api={"mode": "hang"}),
            Step(51, "Memory API well again", api=_fine()),
        ),
    ),
    Scenario(
        "steady",
        "A quiet day: a Memory API that takes 10 to 20 s",
        from_minute=0,
        to_minute=20,
        steps=(Step(0, per_minute=16, api={"mode": "delay", "seconds": 15.0, "spread_s": 5.0}),),
    ),
    Scenario(
        "spike",
        "Ten times the messages for three minutes",
        from_minute=0,
        to_minute=20,
        steps=(
            Step(0, per_minute=12, api=_fine()),
            Step(4, "ten times the messages", per_minute=120),
            Step(7, "as before", per_minute=12),
        ),
    ),
    Scenario(
        "slow-leak",
        "Every message leaves 5 MB behind in the process that handled it",
        from_minute=0,
        to_minute=20,
        steps=(Step(0, per_minute=40, api=_fine()),),
        leak_mb=5.0,
    ),
    Scenario(
        "poison",
        "Every twentieth message kills the process that handles it",
        from_minute=0,
        to_minute=20,
        steps=(Step(0, per_minute=30, api=_fine()),),
        poison_every=20,
    ),
    Scenario(
        "outage",
        "The Memory API answers 503 for five minutes, and returns",
        from_minute=0,
        to_minute=24,
        steps=(
            Step(0, per_minute=16, api=_fine()),
            Step(5, "Memory API: 503", api={"mode": "error", "status": 503}),
            Step(10, "Memory API back", api=_fine()),
        ),
        retry_after_minutes=5,
    ),
    Scenario(
        "broker-restart",
        "The broker restarts twice",
        from_minute=0,
        to_minute=24,
        steps=(
            Step(0, per_minute=16, api=_fine()),
            Step(6, "broker restarts", breaks=Breakage.BROKER_RESTART),
            Step(15, "broker restarts", breaks=Breakage.BROKER_RESTART),
        ),
    ),
    Scenario(
        "database-restart",
        "The database restarts twice, as after a crash",
        from_minute=0,
        to_minute=24,
        steps=(
            Step(0, per_minute=16, api=_fine()),
            Step(6, "database restarts", breaks=Breakage.DATABASE_RESTART),
            Step(15, "database restarts", breaks=Breakage.DATABASE_RESTART),
        ),
    ),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
