"""How a supervisor stands, as lines for a terminal: from the object of /status to what rich prints.

A line for the whole, one for each child with its message under it (beside it, where there is room), and what happened
last. Nothing here knows a clock, a terminal or a server. What comes from outside is escaped, and is never markup.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from rich.console import Group
from rich.text import Text

from supervisor.cli.screen import events, whole
from supervisor.cli.screen.children import MARKS, Children, Marks
from supervisor.cli.screen.lines import BAD, DIM, wrapped
from supervisor.cli.screen.shape import Status, legible
from supervisor.logs import printable

NARROWEST = 20
"""Cells: for fewer it is drawn as for these, and the terminal breaks or cuts the lines."""
FEWEST_EVENTS = 3
BREVITIES = ((None, None, None), (None, 1, None), (5, 1, None), (5, 1, 2), (5, 1, 1))
"""Facts of the whole, lines to each, and lines to a child: the first of these for which the terminal is high enough."""


def picture(  # noqa: PLR0913 - what a terminal is
    status: Status,
    *,
    width: int,
    height: int | None = None,
    marks: Marks = MARKS,
    zone: tzinfo | None = None,
    silence: str | None = None,
) -> Group:
    """Draw it all, no wider than `width` cells, if there are enough for a line. Raises Foreign.

    height: lines that there are; events, then children that do nothing, are left out for it. None: as many as it takes.
    zone: of the clock times, the machine's own without. silence: why there is nothing newer than this.
    """
    status, width = legible(status), max(width, NARROWEST)
    about, now = status["supervisor"], status["as_of"]
    header = [*_silence(silence, now, zone, width), *whole.facts(status, width - 2)]
    budgets = about["rss_budget_mb"], about["rss_hard_mb"]
    table = Children(
        now,
        budgets,
        deadline_s=about.get("message_deadline_s"),
        width=width,
        marks=marks,
        told=about.get("not_ready") or "",
    )
    children = status["children"]
    heads, *rows = table.draw(children)
    happened = events.blocks(status.get("events", ()), now, zone, width)
    for facts, header_lines, child_lines in BREVITIES:
        top = [*_cut(header[:facts], header_lines), Text(), *heads]
        below = list(_cut(rows, child_lines))
        if height is None or len(top) + len(below) + 1 + FEWEST_EVENTS <= height:
            break
    else:
        assert height is not None
        below = _busiest(rows, children, height - len(top) - 2 - FEWEST_EVENTS)
    last = _last(happened, None if height is None else height - len(top) - len(below) - 1)
    return Group(*top, *below, *([Text(), *last] if last else []))


def _cut(blocks: Sequence[Sequence[Text]], lines: int | None) -> Iterator[Text]:
    """Give the first lines of each block; what is left out shows as an ellipsis."""
    for block in blocks:
        *shown, last = block[:lines]
        yield from shown
        yield last if len(block) == len(shown) + 1 else Text.assemble(last, " …")


def _busiest(rows: Sequence[Sequence[Text]], children: Sequence[Mapping[str, Any]], room: int) -> list[Text]:
    """Give the first line of as many children as there is room for, the idle ones last, and count the others."""
    places = sorted(range(len(rows)), key=lambda place: (children[place]["state"] == "idle", place))
    chosen = sorted(places[: max(1, room)])
    hidden = len(rows) - len(chosen)
    return [
        *(rows[place][0] for place in chosen),
        Text(f"     and {hidden} more, mostly idle: a higher terminal shows them", DIM),
    ]


def _last(blocks: Sequence[list[Text]], lines: int | None) -> list[Text]:
    """Give the newest events, the newest last; no more lines than there are."""
    chosen: list[list[Text]] = []
    for block in reversed(blocks):
        if lines is not None and sum(map(len, chosen)) + len(block) > lines:
            break
        chosen.append(block)
    return [line for block in reversed(chosen) for line in block]


def _silence(why: str | None, as_of: float, zone: tzinfo | None, width: int) -> Iterator[list[Text]]:
    if why is not None:
        text = Text(f"as of {events.clock_time(as_of, as_of, zone)}, since then: {printable(why)}", BAD)
        yield list(wrapped(text, width, indent=2))
