"""What happened last: an event a line, or a few."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import islice
from typing import Any

from rich.text import Text

from supervisor.cli.screen.lines import BAD, DIM, MOST_LINES, ODD, wrapped
from supervisor.cli.screen.shape import MOST_CHARS

EVENTS = 10
MOST_FIELDS = 30
FIRST = ("slot", "conversation_id", "code", "on", "reason")
"""The fields of an event that tell most."""
UNTOLD = frozenset({"ts", "level", "event"})


def blocks(
    events: Sequence[Mapping[str, Any]], now: float, zone: tzinfo | None, width: int
) -> list[list[Text]]:
    """Give the lines of each of the last events, the oldest first."""
    events = events[-EVENTS:]
    clocks = [clock_time(event["ts"], now, zone) for event in events]
    longest = max(map(len, clocks), default=0)
    return [_event(event, clock.ljust(longest), width) for event, clock in zip(events, clocks, strict=True)]


def _event(event: Mapping[str, Any], clock: str, width: int) -> list[Text]:
    style = {"warning": ODD, "error": BAD}.get(event.get("level", "info"), "")
    names = [name for name in FIRST if name in event]
    names += [name for name in event if name not in UNTOLD and name not in FIRST]
    text = Text.assemble((f"{clock} ", DIM), (("! " if style else "  ") + event["event"], style))
    for name in names[:MOST_FIELDS]:
        if event[name] is not None:
            text.append(f" {name}=", DIM).append(str(event[name])[:MOST_CHARS])
    return list(islice(wrapped(text, width, indent=len(clock) + 3), MOST_LINES))


def clock_time(ts: float, now: float, zone: tzinfo | None) -> str:
    """Spell a time of day; of another day its date."""
    at, today = datetime.fromtimestamp(ts, zone), datetime.fromtimestamp(now, zone)
    return f"{at:%H:%M:%S}" if at.date() == today.date() else f"{at:%m-%d %H:%M}"
