"""Rows for people: columns side by side, and nothing that a terminal would obey.

What is not printable is escaped as in the log, so that what is found in one can be searched in the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from supervisor.logs import printable

MIB = 1024 * 1024


def lines(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lay out rows below their head, each column as wide as its widest cell."""
    cells = [list(head), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def pairs(values: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Lay out names and values, one a line."""
    known = [(name, shown(value)) for name, value in values]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        yield f"{name:<{width}}  {value}"


def shown(value: Any) -> str:
    """Spell a value. Control characters are escaped: ids and headers are what a stranger wrote."""
    match value:
        case None:
            return "-"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case _:
            return printable(str(value))


def size(count: int) -> str:
    """Spell bytes as a person reads them."""
    return (
        f"{count / MIB:.1f} MB"
        if count >= MIB
        else f"{count / 1024:.1f} KB"
        if count >= 1024
        else f"{count} B"
    )
