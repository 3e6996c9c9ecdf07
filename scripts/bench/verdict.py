"""Who is ahead, row by row; pure.

1. Less is better, but for a row that says that more is.
2. A figure of a message that was not PROCESSED is behind any of one that was.
3. Two figures that are printed alike are equal.
4. What one of the two does not have is unknown, which is not ahead.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from scripts.bench.contenders import CONTENDERS
from scripts.bench.figures import Cell, Row
from scripts.bench.table import number

OURS = "supervised"
RIVALS = ("celery", "dramatiq")


class Standing(Enum):
    """How one figure of ours stands against another's."""

    AHEAD = "ahead"
    EQUAL = "equal"
    BEHIND = "behind"
    UNKNOWN = "nothing to compare"


BAD = (Standing.AHEAD, Standing.EQUAL, Standing.UNKNOWN, Standing.BEHIND)
"""A row stands as the worst of its judgements does: here, the last."""
SAID = (Standing.AHEAD, Standing.BEHIND)
"""How many there are is said also when there is none."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One row of ours against one rival. ours, theirs: as printed; empty: not measured."""

    group: str
    label: str
    rival: str
    standing: Standing
    ours: str
    theirs: str


def judge(rows: Sequence[Row], workers: Sequence[str]) -> list[Judgement]:
    """Compare every row with each rival that took part; nothing when we did not."""
    if OURS not in workers:
        return []
    return [_judge(row, rival) for row in rows for rival in RIVALS if rival in workers]


def sentences(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Say it in one line, and in one more for each row that is not ahead of all."""
    if not judgements:
        return
    rivals = " and ".join(dict.fromkeys(CONTENDERS[one.rival].title for one in judgements))
    by_row: dict[tuple[str, str], list[Judgement]] = {}
    for one in judgements:
        by_row.setdefault((one.group, one.label), []).append(one)
    worst = Counter(max((one.standing for one in row), key=BAD.index) for row in by_row.values())
    if worst[Standing.AHEAD] == len(by_row):
        standing = "ahead on every row"
    else:
        standing = ", ".join(
            f"{kind.value} on {worst[kind] or 'none'}" for kind in BAD if worst[kind] or kind in SAID
        )
        standing += f" of {len(by_row)} rows"
    yield f"{CONTENDERS[OURS].title} against {rivals}: {standing}"
    for (group, label), row in by_row.items():
        if others := [_words(one) for one in row if one.standing is not Standing.AHEAD]:
            yield f"{group}, {label}: {', '.join(others)}"


def lines(judgements: Sequence[Judgement], width: int = 100) -> Iterator[str]:
    """Break what there is to say for a terminal."""
    for place, sentence in enumerate(sentences(judgements)):
        indent = "  " if place else ""
        yield from textwrap.wrap(sentence, width, initial_indent=indent, subsequent_indent=indent + "  ")


def markdown(judgements: Sequence[Judgement]) -> str:
    """Write a paragraph, and a list of the rows that are not ahead."""
    first, *rest = [*sentences(judgements)] or [""]
    items = "".join(f"- {sentence}\n" for sentence in rest)
    return f"**{first}**\n" + (f"\n{items}" if items else "") if first else ""


def _judge(row: Row, rival: str) -> Judgement:
    ours, theirs = row.cells.get(OURS), row.cells.get(rival)
    printed = ["" if cell is None else number(cell.value, row.unit) for cell in (ours, theirs)]
    return Judgement(row.group, row.label, rival, _standing(row, ours, theirs), *printed)


def _standing(row: Row, ours: Cell | None, theirs: Cell | None) -> Standing:
    if ours is None or theirs is None:
        return Standing.UNKNOWN
    if bool(ours.failed) != bool(theirs.failed):
        return Standing.BEHIND if ours.failed else Standing.AHEAD
    if number(ours.value, row.unit) == number(theirs.value, row.unit):
        return Standing.EQUAL
    less = ours.value < theirs.value
    return Standing.AHEAD if less != row.more_is_better else Standing.BEHIND


def _words(one: Judgement) -> str:
    title = CONTENDERS[one.rival].title
    match one.standing:
        case Standing.EQUAL:
            return f"equal to {title} ({one.ours})"
        case Standing.UNKNOWN:
            return f"nothing to compare with {title}"
        case _:
            return f"behind {title} ({one.ours} against {one.theirs})"
