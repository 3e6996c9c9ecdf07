"""An entry of a file: a line, or an item of a JSON list, with where it stands."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["line", "item"]

BOM = b"\xef\xbb\xbf"
"""Which some editors put before the first entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, not looked into.

    number: from 1; lines are counted as an editor does, blank ones included. start, end: where it begins, and where the
    next may, in bytes of the file (inflated, if it is gzip). size: of its text, without blanks around it. body: the
    text; None when it is over the limit, and was never held.
    """

    number: int
    start: int
    end: int
    size: int
    body: bytes | None


class Broken(Exception):
    """A file cannot be read to its end. The text says why."""


def spans(numbers: list[int], shown: int) -> str:
    """Write rising numbers short: 3, 5-9. shown: so many spans at most; of the rest it is said how many they are."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    told = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs[:shown])
    left = sum(last - first + 1 for first, last in runs[shown:])
    return f"{told} and {left:,} more (--json names each)" if left else told
