"""Lines of a terminal: the styles, a time as a person spells it, and breaking between words."""

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

GOOD, ODD, BAD, DIM, HEAD = "green", "yellow", "bold red", "dim", "bold"
MOST_LINES = 4
"""Of one child's message, or of one event: an id may have 255 characters."""
SEVERAL_S = 5.0
"""Seconds from which a difference is worth a word."""


def span(seconds: float) -> str:
    """Spell a time as a person does: 45 s, 12 m, 5 h, 3 d."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def wrapped(text: Text, width: int, indent: int, lead: Text | None = None) -> Iterator[Text]:
    """Break a line between words; what follows is indented. A word longer than a line is broken anywhere.

    lead: what the first line begins with, itself never broken.
    """
    margin = Text(" " * min(indent, max(0, width // 2)))
    line, rest = lead or Text(), text
    while rest.plain and line.cell_len + rest.cell_len > width:
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
