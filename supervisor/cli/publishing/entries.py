"""An entry of a file: a line, or an item of a JSON list, with where it stands."""

from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Spans:
    """Rising numbers, written short: 3, 5-9. shown: so many spans are kept, and how many numbers are behind them."""

    shown: int
    _runs: list[tuple[int, int]] = field(default_factory=list)
    _left: int = 0

    def add(self, number: int) -> None:
        if self._runs and number == self._runs[-1][1] + 1:
            self._runs[-1] = self._runs[-1][0], number
        elif len(self._runs) < self.shown:
            self._runs.append((number, number))
        else:
            self._left += 1

    def __str__(self) -> str:
        told = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in self._runs)
        return f"{told} and {self._left:,} more (--json names each)" if self._left else told
