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
    """Return the smallest number of slots that were served at one time: from when all were first, until the stop.

    A slot is served while its oldest child takes messages. A successor takes none before its predecessor is gone.
    """
    living: dict[int, list[int]] = {}  # pids by slot, the oldest first
    idle: set[int] = set()  # those that take no message any more
    fewest, complete = children, False
    for line in lines:
        match line:
            case {"event": "child_ready", "pid": pid, "slot": slot}:
                living.setdefault(slot, []).append(pid)
            case {"event": "child_thawed", "pid": pid}:
                idle.discard(pid)
            case {"event": event, "pid": pid, "slot": slot} if event in LEAVING:
                idle.add(pid)
                if event == "child_exited" and pid in living.get(slot, ()):
                    living[slot].remove(pid)
            case {"event": "no_room", "slot": slot} if living.get(slot):
                idle.add(living[slot][0])
            case {"event": "stopping"}:
                break
            case _:
                continue
        served = sum(1 for pids in living.values() if pids and pids[0] not in idle)
        complete = complete or served >= children
        if complete:
            fewest = min(fewest, served)
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
