"""What a supervisor's log says about its children over time; pure functions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Line = dict[str, Any]

# A child in one of these takes no message any more, or is about to be told so
LEAVING = frozenset({"child_draining", "child_frozen", "child_killed", "child_exited"})


@dataclass(frozen=True, slots=True)
class Recycle:
    """One replacement by choice. leave_s: from the word to go until the child was gone."""

    pid: int
    leave_s: float


def fewest_ready(lines: Iterable[Line], children: int) -> int:
    """Return the smallest number of children ready at one time: from when all were first, until the stop."""
    ready: dict[int, int] = {}  # slot by pid, the longest ready first
    fewest, complete = children, False
    for line in lines:
        match line:
            case {"event": "child_ready" | "child_thawed", "pid": pid, "slot": slot}:
                ready[pid] = slot
            case {"event": event, "pid": pid} if event in LEAVING:
                ready.pop(pid, None)
            case {"event": "no_room", "slot": slot}:
                # Of a child and its successor it is the child, which takes nothing any more
                ready.pop(next((pid for pid, place in ready.items() if place == slot), 0), None)
            case {"event": "stopping"}:
                break
            case _:
                continue
        complete = complete or len(ready) >= children
        if complete:
            fewest = min(fewest, len(ready))
    return fewest if complete else 0


def recycles(lines: Iterable[Line], reason: str) -> list[Recycle]:
    """List the replacements for one reason that have come to their end."""
    told: dict[int, float] = {}
    done: list[Recycle] = []
    for line in lines:
        match line:
            case {"event": "child_draining", "pid": pid, "reason": why} if why == reason:
                told[pid] = at(line)
            case {"event": "child_exited", "pid": pid} if pid in told:
                done.append(Recycle(pid, round(at(line) - told.pop(pid), 3)))
    return done


def at(line: Line) -> float:
    """Give a line's time, in seconds since 1970."""
    return datetime.fromisoformat(line["ts"]).timestamp()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of them does not exceed; NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
