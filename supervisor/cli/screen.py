"""How a supervisor stands, as lines for a terminal: from the object of /status to what rich prints.

A line for the whole, one for each child with its message under it (beside it, where there is room), and what happened
last. Nothing here knows a clock, a terminal or a server. What comes from outside is escaped, and is never markup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import islice
from typing import Any

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from supervisor.cli.table import plain

Status = Mapping[str, Any]

EVENTS = 10
FEWEST_EVENTS = 3
BAR = 20
SHORTEST_BAR = 5
INDENT = 5
MOST_LINES = 4
"""Of one child's message, or of one event: an id may have 255 characters."""
LATE, VERY_LATE = 0.75, 0.9
"""Parts of the message deadline."""
BREVITIES = ((None, None, None), (None, 1, None), (5, 1, None), (5, 1, 2), (5, 1, 1))
"""Facts of the whole, lines to each, and lines to a child: the first of these for which the terminal is high enough."""
SEVERAL_S = 5.0
"""Seconds from which a difference is worth a word."""

GOOD, ODD, BAD, DIM, HEAD = "green", "yellow", "bold red", "dim", "bold"
STATES = {
    "idle": "",
    "busy": "cyan",
    "booting": ODD,
    "waiting": ODD,
    "draining": ODD,
    "frozen": BAD,
    "killed": BAD,
    "empty": BAD,
}
WAITS = {
    "waiting_database": "the database",
    "waiting_broker": "the broker",
    "waiting_schema": "the schema (run `friendship-supervisor migrate`)",
    "no_room": "its replacement: no room for another message",
}
FIRST = ("slot", "conversation_id", "code", "on", "reason")
"""The fields of an event that tell most."""
UNTOLD = frozenset({"ts", "level", "event"})


@dataclass(frozen=True, slots=True)
class Marks:
    """What bars are drawn with."""

    full: str
    rest: str
    soft: str


MARKS = Marks(full="█", rest="·", soft="┊")
ASCII_MARKS = Marks(full="#", rest=".", soft="|")


def picture(  # noqa: PLR0913 - what a terminal is
    status: Status,
    *,
    width: int,
    height: int | None = None,
    marks: Marks = MARKS,
    zone: tzinfo | None = None,
    silence: str | None = None,
) -> Group:
    """Draw it all, no wider than `width` cells.

    height: lines that there are; events, then children that do nothing, are left out for it. None: as many as it takes.
    zone: of the clock times, the machine's own without. silence: why there is nothing newer than this.
    """
    whole, now = status["supervisor"], status["as_of"]
    header = [*_silence(silence, now, zone, width), *_header(status, width - 2)]
    budgets = whole["rss_budget_mb"], whole["rss_hard_mb"]
    table = _Children(
        now,
        budgets,
        deadline_s=whole.get("message_deadline_s"),
        width=width,
        marks=marks,
        told=whole.get("not_ready") or "",
    )
    children = status["children"]
    heads, *rows = table.draw(children)
    happened = _events(status.get("events", ())[-EVENTS:], now, zone, width)
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


# --- the whole


def _silence(why: str | None, as_of: float, zone: tzinfo | None, width: int) -> Iterator[list[Text]]:
    if why is not None:
        text = Text(f"as of {_clock(as_of, as_of, zone)}, since then: {plain(why)}", BAD)
        yield list(_wrapped(text, width, indent=2))


def _header(status: Status, width: int) -> Iterator[list[Text]]:
    """Give the lines of each fact."""
    whole, totals = status["supervisor"], status["totals"]
    title = Text.assemble(
        ("friendship-supervisor", HEAD),
        f" {plain(whole['version'])} on {plain(whole.get('host', 'this host'))}, pid {whole['pid']}, "
        f"up {span(whole['uptime_s'])}",
    )
    yield list(_wrapped(title, width, indent=2))
    pairs = [
        ("state", _state(status)),
        ("to do", _remedy(status)),
        ("breaker", _breaker(whole["breaker"])),
        ("queue", _queue(status.get("queue"))),
        ("messages", _messages(totals, status.get("rates"))),
        ("failures", _counted(totals.get("failures", {}), ODD)),
        ("replaced", _counted(totals["restarts"], "")),
        ("retry pass", _retry_pass(whole)),
        ("accounts", _accounts(whole.get("waiting_accounts", 0))),
    ]
    for name, value in pairs:
        if value:
            yield list(_wrapped(value, width, indent=12, lead=Text.assemble((f"{name:<12}", DIM))))


def _state(status: Status) -> Text:
    whole, children = status["supervisor"], status["children"]
    if whole.get("ready"):
        busy = sum(child["state"] == "busy" for child in children)
        text = Text.assemble(("READY", f"{GOOD} bold"), f", {len(children)} children, {busy} busy")
    else:
        text = Text.assemble(("NOT READY", BAD), f": {plain(whole.get('not_ready') or whole['state'])}")
    silent_s = whole.get("heartbeat_age_s") or 0.0
    if silent_s > SEVERAL_S:
        text.append(f"; its loop has not turned for {span(silent_s)}", BAD)
    return text


def _remedy(status: Status) -> Text:
    """Say what a person can do about it, if there is anything."""
    phases = {child.get("phase") for child in status["children"]}
    if "waiting_schema" in phases:
        return Text("friendship-supervisor migrate", HEAD)
    if phases & {"waiting_database", "waiting_broker"}:
        return Text.assemble(
            ("friendship-supervisor check", HEAD), " says what is away; meanwhile no message is lost"
        )
    if status["supervisor"]["breaker"]["state"] != "closed":
        return Text("nothing here: the Memory API has to come back; messages stay in the queue")
    if any(child["state"] == "empty" and child.get("refill_in_s") for child in status["children"]):
        return Text("see child_exited in the log: its reason is why the slot waits to be filled")
    return Text()


def _breaker(breaker: Mapping[str, Any]) -> Text:
    if breaker["state"] == "closed":
        failed = breaker.get("failed_in_a_row", 0)
        text = Text("closed")
        return text.append(f", the last {failed} calls failed", ODD) if failed > 1 else text
    text = Text(
        f"{breaker['state'].replace('_', ' ').upper()} for {span(breaker['open_s'])}, no messages are taken",
        BAD,
    )
    text.append(f": {breaker['failed_in_a_row']} calls failed in a row")
    if breaker.get("next_probe_in_s") is not None:
        text.append(f", the next is tried in {span(breaker['next_probe_in_s'])}")
    return text


def _queue(queue: Mapping[str, Any] | None) -> Text:
    if queue is None:
        return Text()
    text = Text(f"{plain(queue['name'])}: " if queue["name"] else "")
    if queue.get("error"):
        return text.append(f"unknown, {plain(queue['error'])}", ODD)
    counts = [
        f"{count:,} {what}"
        for name, what in (("ready", "ready"), ("unacked", "in hand here"), ("consumers", "consumers"))
        if (count := queue.get(name)) is not None
    ]
    text.append(", ".join(counts))
    if queue.get("dead") is not None:
        text.append(", ").append(f"{queue['dead']:,} in .dead", ODD if queue["dead"] else "")
    return text


def _messages(totals: Mapping[str, Any], rates: Mapping[str, Any] | None) -> Text:
    text = Text(f"{totals['processed']:,} processed, ")
    text.append(f"{totals['failed']:,} failed", ODD if totals["failed"] else "")
    for name in ("skipped", "dead_lettered", "duplicate", "early", "fenced"):
        if totals.get(name):
            text.append(f", {totals[name]:,} {name.replace('_', '-')}")
    if rates:
        text.append(
            f"; a minute {rates['processed_per_min']:g} processed, {rates['failed_per_min']:g} failed"
        )
    return text


def _counted(counts: Mapping[str, int], style: str) -> Text:
    largest_first = sorted(((count, plain(name)) for name, count in counts.items() if count), reverse=True)
    return Text(", ".join(f"{name} {count:,}" for count, name in largest_first), style)


def _retry_pass(whole: Mapping[str, Any]) -> Text:
    every_s, last_s = whole.get("retry_every_s"), whole.get("last_retry_pass_s")
    if not every_s:
        return Text()
    if last_s is None:
        return Text(f"none yet, one every {span(every_s)}")
    return Text(f"{span(last_s)} ago, one every {span(every_s)}", ODD if last_s > 3 * every_s else "")


def _accounts(waiting: int) -> Text:
    return Text(f"{waiting} of dead children wait to be written", ODD) if waiting else Text()


# --- the children


class _Children:
    """One line to a child, and what it has in hand: beside it where the terminal is wide, else below."""

    RIGHT = frozenset({"SLOT", "PID", "MESSAGE", "+MB/100", "DONE", "RESTARTS"})
    MEMORY = 4

    def __init__(  # noqa: PLR0913 - what all rows share
        self,
        now: float,
        budgets: tuple[float, float],
        *,
        deadline_s: float | None,
        width: int,
        marks: Marks,
        told: str,
    ) -> None:
        """told: what stands above for all of them."""
        self._now = now
        self._deadline_s = deadline_s
        self._soft_mb, self._hard_mb = budgets
        self._width = width
        self._marks = marks
        self._told = told
        memory = f"MB OF {self._soft_mb:.0f}/{self._hard_mb:.0f}"
        self._heads = ("SLOT", "PID", "STATE", "MESSAGE", memory, "+MB/100", "DONE", "RESTARTS", "LAST END")

    def draw(self, children: Sequence[Mapping[str, Any]]) -> Iterator[list[Text]]:
        """Give the head, then for each child its lines."""
        rows = [self._cells(child) for child in children]
        heads = [Text(head, DIM) for head in self._heads]
        widths = [max(cell.cell_len for cell in column) for column in zip(heads, *rows, strict=True)]
        figures = max((row[self.MEMORY].cell_len for row in rows), default=0)
        widths[self.MEMORY] = figures + 1
        gap = 2 if sum(widths) + BAR + 2 * len(widths) <= self._width else 1
        spare = self._width - sum(widths) - gap * (len(widths) - 1)
        bar = min(BAR, spare)
        bar = bar if bar >= SHORTEST_BAR else 0
        widths[self.MEMORY] = max(
            cell.cell_len for cell in (heads[self.MEMORY], Text(" " * (figures + 1 + bar)))
        )
        head = self._line(heads, widths, gap)
        head.truncate(self._width, overflow="crop")
        yield [head]
        for child, row in zip(children, rows, strict=True):
            cells = [*row]
            cells[self.MEMORY] = self._memory(child.get("rss_mb"), bar, figures)
            line = self._line(cells, widths, gap)
            notes = list(self._notes(child))
            room = self._width - sum(widths) - gap * len(widths)
            if notes and notes[0].cell_len <= room:
                line.pad_right(sum(widths) + gap * len(widths) - line.cell_len)
                line.append_text(notes.pop(0))
            line.truncate(self._width, overflow="ellipsis")
            below = (_wrapped(note, self._width, INDENT, lead=Text(" " * INDENT)) for note in notes)
            yield [line, *(part for lines in below for part in islice(lines, MOST_LINES))]

    def _line(self, cells: Sequence[Text], widths: Sequence[int], gap: int) -> Text:
        line = Text()
        for place, (cell, width, head) in enumerate(zip(cells, widths, self._heads, strict=True)):
            shown = cell.copy()
            spare = width - shown.cell_len
            if head in self.RIGHT:
                shown.pad_left(spare)
            else:
                shown.pad_right(spare)
            line.append(" " * gap if place else "").append_text(shown)
        line.rstrip()
        return line

    def _cells(self, child: Mapping[str, Any]) -> list[Text]:
        state, phase = child["state"], child.get("phase")
        named = "waiting" if phase in WAITS else phase or state if state == "busy" else state
        growth = child.get("growth_mb_per_100_messages")
        restarts = child["restarts"]
        return [
            Text(str(child["slot"])),
            Text(str(child["pid"] or "-")),
            Text(plain(named), STATES.get(named, STATES.get(state, ""))),
            self._age(child),
            Text("-" if child.get("rss_mb") is None else f"{child['rss_mb']:.0f}"),
            Text("-" if growth is None else f"{growth:+.1f}"),
            Text(f"{child['messages']:,}"),
            Text(str(restarts)),
            self._last_end(child.get("last_end")),
        ]

    def _age(self, child: Mapping[str, Any]) -> Text:
        if child.get("conversation_id") is None and not child.get("message_age_s"):
            return Text("-")
        worked_s = child.get("message_worked_s", child["message_age_s"])
        if not self._deadline_s:
            return Text(f"{worked_s:.0f} s")
        part = worked_s / self._deadline_s
        style = BAD if part >= VERY_LATE else ODD if part >= LATE else ""
        return Text(f"{worked_s:.0f}/{self._deadline_s:.0f} s", style)

    def _last_end(self, end: Mapping[str, Any] | None) -> Text:
        if end is None:
            return Text("-")
        return Text(f"{plain(end['reason'])} {span(self._now - end['at'])}")

    def _memory(self, rss_mb: float | None, cells: int, figures: int) -> Text:
        """Draw the part of the hard budget that is used, the soft one marked, and the megabytes."""
        spelled = "-" if rss_mb is None else f"{rss_mb:.0f}"
        text = Text()
        if cells:
            used = 0.0 if rss_mb is None else min(1.0, rss_mb / self._hard_mb)
            full = min(cells, round(used * cells))
            soft = min(cells - 1, int(self._soft_mb / self._hard_mb * cells))
            text.append(self._marks.full * full, self._weight(rss_mb or 0.0))
            for cell in range(full, cells):
                text.append(self._marks.soft if cell == soft else self._marks.rest, DIM)
            text.append(" ")
        return text.append(spelled.rjust(figures))

    def _weight(self, rss_mb: float) -> str:
        if rss_mb <= self._soft_mb:
            return GOOD
        return ODD if rss_mb <= (self._soft_mb + self._hard_mb) / 2 else BAD

    def _notes(self, child: Mapping[str, Any]) -> Iterator[Text]:
        """Say what a child has in hand, why it waits, and what its predecessor died with."""
        held = self._held(child)
        why = self._why(child)
        if held and why:
            yield Text(f"{held}; {why}", ODD)
        elif held or why:
            yield Text(held or why, "" if held else ODD)
        end = child.get("last_end")
        name = end and (end.get("conversation_id") or end.get("after_conversation_id"))
        if end is not None and name:
            weight = "" if end.get("rss_mb") is None else f" at {end['rss_mb']:.0f} MB"
            when = "with" if end.get("conversation_id") else "after"
            yield Text(
                f"its last ended {span(self._now - end['at'])} ago, {plain(end['reason'])}{weight}, "
                f"{when} {plain(name)}",
                DIM,
            )

    def _held(self, child: Mapping[str, Any]) -> str:
        if child.get("conversation_id") is None:
            return ""
        body = f", {child['body_mb']:.1f} MB" if child.get("body_mb") else ""
        waited_s = child["message_age_s"] - child.get("message_worked_s", child["message_age_s"])
        waited = f", has waited {span(waited_s)}" if waited_s > SEVERAL_S else ""
        return f"{plain(child['conversation_id'])}{body}{waited}"

    def _why(self, child: Mapping[str, Any]) -> str:
        if child["state"] == "empty":
            refill_s = child.get("refill_in_s")
            return f"is filled again in {span(refill_s)}" if refill_s else "is filled again at once"
        on = WAITS.get(child.get("phase") or "")
        if on is None:
            return ""
        note = child.get("note") or ""
        return f"waits for {on}{f': {plain(note)}' if note not in self._told else ''}"


# --- what happened


def _events(
    events: Sequence[Mapping[str, Any]], now: float, zone: tzinfo | None, width: int
) -> list[list[Text]]:
    """Give each event's lines, the oldest event first."""
    clocks = [_clock(event["ts"], now, zone) for event in events]
    longest = max(map(len, clocks), default=0)
    return [_event(event, clock.ljust(longest), width) for event, clock in zip(events, clocks, strict=True)]


def _event(event: Mapping[str, Any], clock: str, width: int) -> list[Text]:
    style = {"warning": ODD, "error": BAD}.get(event.get("level", "info"), "")
    names = [name for name in FIRST if name in event]
    names += [name for name in event if name not in UNTOLD and name not in FIRST]
    text = Text.assemble((f"{clock} ", DIM), (("! " if style else "  ") + plain(event["event"]), style))
    for name in names:
        if event[name] is not None:
            text.append(f" {plain(name)}=", DIM).append(plain(str(event[name])))
    return list(islice(_wrapped(text, width, indent=len(clock) + 3), MOST_LINES))


def _clock(ts: float, now: float, zone: tzinfo | None) -> str:
    """Spell a time of day; of another day its date."""
    at, today = datetime.fromtimestamp(ts, zone), datetime.fromtimestamp(now, zone)
    return f"{at:%H:%M:%S}" if at.date() == today.date() else f"{at:%m-%d %H:%M}"


def span(seconds: float) -> str:
    """Spell a time as a person does: 45 s, 12 m, 5 h, 3 d."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _wrapped(text: Text, width: int, indent: int, lead: Text | None = None) -> Iterator[Text]:
    """Break a line between words; what follows is indented. A word longer than a line is broken anywhere.

    lead: what the first line begins with, itself never broken.
    """
    margin = Text(" " * min(indent, width // 2))
    line, rest = lead or Text(), text
    while line.cell_len + rest.cell_len > width:
        start, rest = rest.divide([_fitting(rest.plain, max(1, width - line.cell_len))])
        line.append_text(start).rstrip()
        yield line
        line = margin.copy()
    yield line.append_text(rest)


def _fitting(words: str, room: int) -> int:
    """Return how many characters make the longest beginning of whole words that takes no more cells than there are."""
    taken, after_space = 0, 0
    for place, letter in enumerate(words):
        taken += cell_len(letter)
        if taken > room and letter != " ":
            return after_space or max(1, place)
        if letter == " ":
            after_space = place + 1
    return len(words)
