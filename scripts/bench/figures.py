"""What was measured, as values, and each as a share of the bare loop's; pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from scripts.measure import MB, Member

YARDSTICK = "floor"
PROCESSED = "PROCESSED"


@dataclass(frozen=True, slots=True)
class Height:
    """The largest process while one message passed.

    rss_bytes: resident bytes at its highest. role: the root of the tree is the parent, every other a child.
    outcome: the event's status at the end, with its error code.
    """

    size_mb: float
    rss_bytes: int
    role: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What one kill led to. back_s: from the kill until all consumers were there again, None when they never were.

    redeliveries: deliveries that the broker called second ones. called_again: calls of the API beyond one for each
    message. deaths: how often the worker as a whole ended, and was started again.
    """

    messages: int
    processed: int
    redeliveries: int
    called_again: int
    scored_twice: int
    back_s: float | None
    deaths: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One worker's figures; None or empty: not taken, or `missed` says why it could not be.

    idle, waiting, after: the processes of the tree at that time. busiest_bytes: the tree's highest PSS that was seen.
    cpu_s: per message, in each round.
    """

    worker: str
    idle: tuple[Member, ...] | None = None
    waiting: tuple[Member, ...] | None = None
    busiest_bytes: int | None = None
    after: tuple[Member, ...] | None = None
    heights: tuple[Height, ...] = ()
    cpu_s: tuple[float, ...] = ()
    kill: Aftermath | None = None
    missed: tuple[str, ...] = ()


class Unit(Enum):
    """What a row's numbers count."""

    MB = "MB"
    MS = "ms"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Cell:
    """One number, infinite for what never came. share: of the bare loop's, if known.

    failed: what became of a message that was not PROCESSED. note: what else the number does not say.
    """

    value: float
    share: float | None = None
    failed: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of all workers. drawn: a bar can show it."""

    group: str
    label: str
    unit: Unit
    cells: Mapping[str, Cell]
    more_is_better: bool = False
    drawn: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run. Sizes in MB of 2^20 bytes; cpu_*: of the part that measures processor time.

    back_limit_s: consumers that are not there again so long after a kill are never there again.
    """

    children: int = 8
    messages: int = 200
    message_mb: float = 3
    sizes_mb: tuple[float, ...] = (3, 30, 60)
    pairs: int = 5
    cpu_children: int = 2
    cpu_messages: int = 40
    back_limit_s: float = 15.0


QUICK = Plan(children=2, messages=16, sizes_mb=(3, 30), pairs=1, cpu_messages=10)


def rows(plan: Plan, figures: Sequence[Figures]) -> list[Row]:
    """Lay the figures out, in the order in which they are shown; a row that nobody has is left out."""
    size, children = f"{plan.message_mb:g} MB", _count(plan.children, "child", "children")
    tree = f"PSS of the whole tree in MB, {children}, messages of {size}"
    found = [
        Row(tree, "fresh and idle", Unit.MB, _cells({one.worker: _pss(one.idle) for one in figures})),
        Row(
            tree,
            "all wait for a hung API",
            Unit.MB,
            _cells({one.worker: _pss(one.waiting) for one in figures}),
        ),
        Row(
            tree,
            f"highest while {plan.messages} pass",
            Unit.MB,
            _cells({one.worker: _mb(one.busiest_bytes) for one in figures}),
        ),
        Row(
            tree,
            f"idle again after {plan.messages}",
            Unit.MB,
            _cells({one.worker: _pss(one.after) for one in figures}),
        ),
        *(_height_row(size_mb, figures) for size_mb in plan.sizes_mb),
        Row(
            f"CPU in ms, {_count(plan.cpu_children, 'child', 'children')}",
            f"a message of {size}",
            Unit.MS,
            _cpu_cells(figures),
        ),
        *_kill_rows(f"SIGKILL of one process that waits with a message of {size}, {children}", figures),
    ]
    return [row for row in found if row.cells]


def _height_row(size_mb: float, figures: Sequence[Figures]) -> Row:
    heights = {one.worker: height for one in figures for height in one.heights if height.size_mb == size_mb}
    cells = _cells({worker: _mb(height.rss_bytes) for worker, height in heights.items()})
    outcomes = {worker: height.outcome for worker, height in heights.items() if height.outcome != PROCESSED}
    return Row(
        "Peak RSS of one process in MB, half of the texts with emoji",
        f"a message of {size_mb:g} MB",
        Unit.MB,
        {worker: Cell(cell.value, cell.share, outcomes.get(worker, "")) for worker, cell in cells.items()},
    )


def _kill_rows(group: str, figures: Sequence[Figures]) -> list[Row]:
    found = {one.worker: one.kill for one in figures if one.kill is not None}
    counts = {
        "redeliveries after one kill": {worker: kill.redeliveries for worker, kill in found.items()},
        "scores added twice": {worker: kill.scored_twice for worker, kill in found.items()},
    }
    back = {
        worker: Cell(
            math.inf if kill.back_s is None else kill.back_s * 1000,
            note="the whole worker had ended, and was started again" if kill.deaths else "",
        )
        for worker, kill in found.items()
    }
    processed = {worker: Cell(kill.processed) for worker, kill in found.items()}
    return [
        *(
            Row(
                group,
                label,
                Unit.COUNT,
                {worker: Cell(value) for worker, value in values.items()},
                drawn=False,
            )
            for label, values in counts.items()
        ),
        Row(group, "consumers back after, ms", Unit.MS, back, drawn=False),
        Row(group, "processed", Unit.COUNT, processed, more_is_better=True, drawn=False),
    ]


def _cells(values: Mapping[str, float | None]) -> dict[str, Cell]:
    base = values.get(YARDSTICK)
    return {
        worker: Cell(value, value / base if base else None)
        for worker, value in values.items()
        if value is not None
    }


def _cpu_cells(figures: Sequence[Figures]) -> dict[str, Cell]:
    """The median of the rounds, and the median of the ratios within each round: drift of the machine cancels out."""
    base = next((one.cpu_s for one in figures if one.worker == YARDSTICK), ())
    found = {}
    for one in figures:
        if one.cpu_s:
            # the kernel counts in ticks of 10 ms: a run that is too short for one has no share
            ratios = (
                [own / floor for own, floor in zip(one.cpu_s, base, strict=True) if floor] if base else []
            )
            share = statistics.median(ratios) if ratios else None
            found[one.worker] = Cell(statistics.median(one.cpu_s) * 1000, share)
    return found


def _pss(members: Sequence[Member] | None) -> float | None:
    return None if members is None else _mb(sum(member.pss_bytes for member in members))


def _mb(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / MB


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
