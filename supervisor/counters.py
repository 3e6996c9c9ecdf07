"""What children count: deliveries by outcome and by error code, steps by result, and how long all of it took.

A child's record on the board holds one row of whole numbers; this module says which of them is what. Times are counted
in buckets, as Prometheus has them, and summed in milliseconds.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0)
"""Upper bounds; what took longer is counted behind the last."""

TIME_WIDTH = len(BUCKETS_S) + 2
"""Counters of one kind of time: the buckets, the one behind the last, and the sum in milliseconds."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long things took: how many fell into each bucket, the last of which has no bound, and the sum in seconds."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS_S) + 1)
    sum_s: float = 0.0

    def cumulative(self) -> list[tuple[float | None, int]]:
        """Return, by upper bound in seconds (None: without), how many took at most so long."""
        bounds = (*BUCKETS_S, None)
        return [(bound, sum(self.counts[: i + 1])) for i, bound in enumerate(bounds)]


@dataclass(frozen=True, slots=True)
class Step:
    """One step on a message's way: how often it ended with which result, and how long it took."""

    results: Mapping[str, int]
    times: Times


@dataclass(frozen=True, slots=True)
class Totals:
    """All slots' counters together. message: from receipt to settled; call: of the Memory API; steps: by name."""

    outcomes: Mapping[str, int]
    failures: Mapping[str, int]
    message: Times = Times()
    call: Times = Times()
    steps: Mapping[str, Step] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The order of the counters.

    outcomes, codes: how a delivery may end, and with which errors. steps: those that are timed by themselves, each with
    its results.
    """

    outcomes: Sequence[str]
    codes: Sequence[str] = ()
    steps: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def width(self) -> int:
        """How many counters there are."""
        return self._steps_at + sum(len(results) + TIME_WIDTH for results in self.steps.values())

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.outcomes)}

    @cached_property
    def _code_place(self) -> dict[str, int]:
        return {name: len(self.outcomes) + place for place, name in enumerate(self.codes)}

    @cached_property
    def _message_at(self) -> int:
        return len(self.outcomes) + len(self.codes)

    @cached_property
    def _call_at(self) -> int:
        return self._message_at + TIME_WIDTH

    @cached_property
    def _steps_at(self) -> int:
        return self._call_at + TIME_WIDTH

    @cached_property
    def _step_at(self) -> dict[str, int]:
        """Where the counters of each step begin: its results, then its times."""
        starts, at = {}, self._steps_at
        for name, results in self.steps.items():
            starts[name] = at
            at += len(results) + TIME_WIDTH
        return starts

    def settle(self, counters: list[int], outcome: str, seconds: float) -> None:
        """Count a delivery that ended so, after that time. Raises KeyError for an unknown outcome."""
        counters[self._place[outcome]] += 1
        _add(counters, self._message_at, seconds)

    def fail(self, counters: list[int], code: str) -> None:
        """Count an error code. Raises KeyError for an unknown one."""
        counters[self._code_place[code]] += 1

    def call(self, counters: list[int], seconds: float) -> None:
        """Count a call that took so long."""
        _add(counters, self._call_at, seconds)

    def step(self, counters: list[int], name: str, result: str, seconds: float) -> None:
        """Count a step that ended so, after that time. Raises KeyError or ValueError for an unknown one."""
        start, results = self._step_at[name], self.steps[name]
        counters[start + results.index(result)] += 1
        _add(counters, start + len(results), seconds)

    def totals(self, rows: Sequence[Sequence[int]]) -> Totals:
        """Add up rows of counters."""
        sums = [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * self.width
        return Totals(
            outcomes={name: sums[place] for name, place in self._place.items()},
            failures={name: sums[place] for name, place in self._code_place.items()},
            message=_times(sums, self._message_at),
            call=_times(sums, self._call_at),
            steps={
                name: Step(
                    {result: sums[start + place] for place, result in enumerate(self.steps[name])},
                    _times(sums, start + len(self.steps[name])),
                )
                for name, start in self._step_at.items()
            },
        )


def _add(counters: list[int], start: int, seconds: float) -> None:
    counters[start + bisect_left(BUCKETS_S, seconds)] += 1
    counters[start + TIME_WIDTH - 1] += round(seconds * 1000)


def _times(sums: Sequence[int], start: int) -> Times:
    *counts, sum_ms = sums[start : start + TIME_WIDTH]
    return Times(tuple(counts), sum_ms / 1000)
