"""The fault matrix as Markdown, and its place in the documentation: `python -m tests.faults.table` writes it there."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from tests.faults.cells import FAULTS, MATRIX, Cell, Outcome

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- matrix: python -m tests.faults.table -->", "<!-- end of matrix -->"
HEAD = ("Fault", "Tests", "The row", "Attempts", "Accounts of the dead", "API calls", "Strikes")


def lines() -> Iterator[str]:
    """Give the table: neighbouring steps of one fault that end alike share a line."""
    yield line(HEAD)
    yield line(("---",) * len(HEAD))
    for fault, cells in groupby(MATRIX, key=attrgetter("fault")):
        title = f"**{fault}**: {FAULTS[fault]}"
        for outcome, alike in groupby(cells, key=attrgetter("outcome")):
            yield line((title, tests(alike), *words(outcome)))
            title = ""


def tests(cells: Iterable[Cell]) -> str:
    return " ".join(f"`{cell.id}`" for cell in cells)


def words(outcome: Outcome) -> tuple[str, ...]:
    """Say in a few words what is left behind."""
    row = outcome.status or "none"
    if outcome.code:
        row += f" {outcome.code}"
    if outcome.parked:
        row += ", log kept"
    if outcome.dead:
        row += ", a copy in `.dead`"
    accounts = ", ".join(outcome.deaths) or "none"
    return row, str(outcome.attempts), accounts, str(outcome.calls), str(outcome.strikes)


def line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def section() -> str:
    return "\n".join([BEGIN, "", *lines(), "", END])


def shown() -> str:
    """Give the section as the document has it."""
    _, begin, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    inner, end, _ = rest.partition(END)
    return begin + inner + end


if __name__ == "__main__":
    text = DOCUMENT.read_text("utf-8")
    DOCUMENT.write_text(text.replace(shown(), section()), "utf-8")
