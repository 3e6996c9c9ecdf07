"""What is drawn over the scenario's time, as values; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.load.palette import Colour
from scripts.load.results import Kind, Mark, Run
from scripts.load.thinned import Point

WIDTH = 640  # pixels of the time axis
BUCKETS = WIDTH // 2


@dataclass(frozen=True, slots=True)
class Series:
    """One line. note: said under its title where it ends. killed, ended: what happened on it."""

    title: str
    colour: Colour
    points: tuple[Point, ...]
    note: str = ""
    strong: bool = False
    dashed: bool = False
    killed: tuple[Point, ...] = ()
    ended: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """The time that is shown, in minutes, and what the scenario did in it."""

    first: float
    last: float
    marks: tuple[Mark, ...]

    @classmethod
    def of(cls, run: Run) -> "Frame":
        """Take the scenario's time, and what was read after it."""
        read = [worker.readings[-1].minute for worker in run.workers if worker.readings]
        read += [worker.progress[-1].minute for worker in run.workers if worker.progress]
        told = [tuple(mark for mark in worker.marks if mark.kind is Kind.SCENARIO) for worker in run.workers]
        last = max([run.to_minute, run.from_minute + 0.001, *read])
        return cls(run.from_minute, last, max(told, key=len, default=()))

    @property
    def bucket(self) -> float:
        """How many minutes two pixels are."""
        return (self.last - self.first) / BUCKETS

    def grid(self, buckets: int) -> list[float]:
        """Return minutes that many buckets apart, from the first to the last."""
        steps = BUCKETS // buckets
        return [self.first + (self.last - self.first) * step / steps for step in range(steps + 1)]

    def x(self, minute: float) -> float:
        return WIDTH * (minute - self.first) / (self.last - self.first)


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn on one axis, the last line on top. height: of the plot, in pixels. unit: said in tooltips.

    limit: a rule at this height, and its name. told: with the scenario's marks in words, not only as rules.
    """

    title: str
    subtitle: tuple[str, ...]
    series: Sequence[Series]
    height: int = 200
    unit: str = ""
    limit: tuple[float, str] | None = None
    told: bool = False
