"""The figures as text for a terminal of 100 columns, and as Markdown; pure."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from scripts.bench.contenders import CONTENDERS
from scripts.bench.figures import Cell, Row, Unit

LABEL_WIDTH = 30
CELL_WIDTH = 17
MARK = "*"


def text(rows: Sequence[Row], workers: Sequence[str]) -> str:
    """Lay the rows out in columns: a number, and its share of the bare loop's."""
    titles = [CONTENDERS[worker].title for worker in workers]
    # the longest title is wider than a column: it stands out to the left, over the labels
    lines = [_line("", [title.rjust(CELL_WIDTH) for title in titles])]
    for group, members in groupby(rows, key=lambda row: row.group):
        lines += ["", group]
        for row in members:
            cells = [_cell(row, row.cells.get(worker)) for worker in workers]
            lines.append(_line(f"  {row.label}", cells))
    return "\n".join([*lines, *(f"{MARK} {note}" for note in notes(rows))])


def markdown(rows: Sequence[Row], workers: Sequence[str]) -> str:
    """Write one table for each group."""
    blocks = []
    for group, members in groupby(rows, key=lambda row: row.group):
        titles = " | ".join(CONTENDERS[worker].title for worker in workers)
        lines = [f"| {group} | {titles} |", "|---|" + "---:|" * len(workers)]
        for row in members:
            cells = " | ".join(_words(row, row.cells.get(worker)) for worker in workers)
            lines.append(f"| {row.label} | {cells} |")
        blocks.append("\n".join(lines))
    footnotes = [f"\\{MARK} {note}" for note in notes(rows)]
    return "\n\n".join([*blocks, *footnotes]) + "\n"


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """Say what became of each message that was not PROCESSED, and what else a number does not say."""
    for row in rows:
        for worker, cell in row.cells.items():
            if cell.failed:
                yield f"{CONTENDERS[worker].title}, {row.label}: it ended {cell.failed}"
            if cell.note:
                yield f"{CONTENDERS[worker].title}, {row.label}: {cell.note}"


def number(value: float, unit: Unit) -> str:
    """Write a figure with as many digits as mean something."""
    if math.isinf(value):
        return "never"
    if unit is Unit.COUNT:
        return f"{value:.0f}"
    return f"{value:.1f}" if unit is Unit.MS or value < 100 else f"{value:.0f}"


def _line(label: str, cells: Sequence[str]) -> str:
    columns = "".join(cells)
    width = LABEL_WIDTH + CELL_WIDTH * len(cells)
    return (label.ljust(width - len(columns)) + columns).rstrip()


def _cell(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return "-".rjust(CELL_WIDTH)
    mark = MARK if cell.failed or cell.note else " "
    share = "" if cell.share is None else f"{cell.share:.2f} x"
    return f"{number(cell.value, row.unit)}{mark}{share:>7}".rjust(CELL_WIDTH)


def _words(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return "-"
    mark = rf"\{MARK}" if cell.failed or cell.note else ""
    share = "" if cell.share is None else f" ({cell.share:.2f} x)"
    return f"{number(cell.value, row.unit)}{mark}{share}"
