"""The children: a line for each, and what it has in hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.text import Text

from supervisor.cli.screen.lines import BAD, DIM, GOOD, MOST_LINES, ODD, SEVERAL_S, span, wrapped

BAR = 20
SHORTEST_BAR = 5
INDENT = 5
LATE, VERY_LATE = 0.75, 0.9
"""Parts of the message deadline."""
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


@dataclass(frozen=True, slots=True)
class Marks:
    """What bars are drawn with."""

    full: str
    rest: str
    soft: str


MARKS = Marks(full="█", rest="·", soft="┊")
ASCII_MARKS = Marks(full="#", rest=".", soft="|")


class Children:
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
            below = (wrapped(note, self._width, INDENT, lead=Text(" " * INDENT)) for note in notes)
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
            Text(named, STATES.get(named, STATES.get(state, ""))),
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
        return Text(f"{end['reason']} {span(self._now - end['at'])}")

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
                f"its last ended {span(self._now - end['at'])} ago, {end['reason']}{weight}, {when} {name}",
                DIM,
            )

    def _held(self, child: Mapping[str, Any]) -> str:
        if child.get("conversation_id") is None:
            return ""
        body = f", {child['body_mb']:.1f} MB" if child.get("body_mb") else ""
        waited_s = child["message_age_s"] - child.get("message_worked_s", child["message_age_s"])
        waited = f", has waited {span(waited_s)}" if waited_s > SEVERAL_S else ""
        return f"{child['conversation_id']}{body}{waited}"

    def _why(self, child: Mapping[str, Any]) -> str:
        if child["state"] == "empty":
            refill_s = child.get("refill_in_s")
            return f"is filled again in {span(refill_s)}" if refill_s else "is filled again at once"
        note = child.get("note") or ""
        if child.get("phase") == "holding" and note:
            return f"holds it: {note}"
        on = WAITS.get(child.get("phase") or "")
        if on is None:
            return ""
        return f"waits for {on}{f': {note}' if note not in self._told else ''}"
