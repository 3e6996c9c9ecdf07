"""What the benchmark says of who is ahead."""

import math
from dataclasses import replace

import pytest

from scripts.bench import table, verdict
from scripts.bench.figures import Aftermath, Cell, Figures, Plan, Row, Unit, rows
from scripts.bench.verdict import Standing

WORKERS = ["supervised", "floor", "celery", "dramatiq"]
LESS = Row("a group", "a row", Unit.MB, {})
MORE = replace(LESS, label="another row", unit=Unit.COUNT, more_is_better=True)
ALL = Aftermath(8, 8, redeliveries=1, called_again=1, scored_twice=0, back_s=0.18, deaths=0)


def row(kind: Row, ours: float | Cell, celery: float | Cell, dramatiq: float | Cell) -> Row:
    """Give a row with these three; the bare loop is no rival, however good it is."""
    values = {
        "supervised": ours,
        "floor": 1e9 if kind.more_is_better else 0.0,
        "celery": celery,
        "dramatiq": dramatiq,
    }
    cells = {name: one if isinstance(one, Cell) else Cell(one) for name, one in values.items()}
    return replace(kind, cells=cells)


def said(*found: Row) -> list[str]:
    return list(verdict.sentences(verdict.judge(found, WORKERS)))


def test_ahead_of_both_on_all_is_one_sentence() -> None:
    """Less is better, but where more is; who is ahead everywhere needs no list."""
    assert said(row(LESS, 10.0, 20.0, 30.0), row(MORE, 8, 7, 0)) == [
        "friendship-supervisor against Celery and Dramatiq: ahead on every row"
    ]


def test_a_row_is_as_good_as_its_worse_half() -> None:
    """Ahead of one and behind the other is behind, and both numbers are named."""
    third = replace(LESS, label="a third row")
    assert said(row(LESS, 10.0, 20.0, 9.0), row(MORE, 8, 8, 7), row(third, 1.0, 2.0, 3.0)) == [
        "friendship-supervisor against Celery and Dramatiq: ahead on 1, equal on 1, behind on 1 of 3 rows",
        "a group, a row: behind Dramatiq (10.0 against 9.0)",
        "a group, another row: equal to Celery (8)",
    ]


def test_being_behind_on_none_is_said() -> None:
    """Rows that are equal are not ahead, and not behind either."""
    assert said(row(LESS, 1.0, 2.0, 3.0), row(MORE, 8, 8, 8)) == [
        "friendship-supervisor against Celery and Dramatiq: ahead on 1, equal on 1, behind on none of 2 rows",
        "a group, another row: equal to Celery (8), equal to Dramatiq (8)",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "standing"),
    [
        (Cell(10.0), Cell(20.0), Standing.AHEAD),
        (Cell(20.0), Cell(10.0), Standing.BEHIND),
        (Cell(10.04), Cell(10.0), Standing.EQUAL),  # both are printed as 10.0
        (Cell(10.0), Cell(math.inf), Standing.AHEAD),
        (Cell(math.inf), Cell(math.inf), Standing.EQUAL),
        (Cell(10.0, failed="FAILED"), Cell(500.0), Standing.BEHIND),
        (Cell(500.0), Cell(10.0, failed="PENDING"), Standing.AHEAD),
        (None, Cell(10.0), Standing.UNKNOWN),
        (Cell(10.0), None, Standing.UNKNOWN),
    ],
)
def test_two_figures_are_compared(ours: Cell | None, theirs: Cell | None, standing: Standing) -> None:
    """A number counts only for a message that was PROCESSED; what is missing is no victory."""
    cells = {name: cell for name, cell in (("supervised", ours), ("celery", theirs)) if cell is not None}
    [judgement] = verdict.judge([replace(LESS, cells=cells)], ["supervised", "celery"])
    assert judgement.standing is standing


def test_who_did_not_take_part_is_not_judged() -> None:
    """Without us nothing is said; without a rival, nothing of it."""
    found = [row(LESS, 10.0, 20.0, 5.0)]
    assert verdict.judge(found, ["floor", "celery"]) == []
    assert verdict.markdown([]) == ""
    assert [one.rival for one in verdict.judge(found, ["supervised", "celery"])] == ["celery"]


def test_the_verdict_fits_a_terminal_and_a_page() -> None:
    """No line is longer than 100; in Markdown each row that is not ahead is an item."""
    judged = verdict.judge([row(replace(LESS, group="a long group " * 9), 10.0, 9.0, 9.0)], WORKERS)
    assert max(map(len, verdict.lines(judged))) <= 100
    head, items = verdict.markdown(judged).split("\n\n")
    assert head.startswith("**friendship-supervisor against")
    assert items.startswith("- ")


def test_a_kill_becomes_rows() -> None:
    """Who never came back is infinitely late, which is written as never, and who had ended has a note."""
    died = replace(ALL, back_s=4.5, deaths=1)
    found = rows(
        Plan(),
        [
            Figures("supervised", kill=ALL),
            Figures("floor", kill=replace(ALL, back_s=None, processed=7)),
            Figures("dramatiq", kill=died),
        ],
    )
    assert not any(one.drawn for one in found)
    text = table.text(found, ["supervised", "floor", "dramatiq"])
    lines = {
        line.rsplit("  ", 1)[0].strip()[:20]: line.split()[-3:] for line in text.splitlines() if "  " in line
    }
    assert lines["redeliveries after o"] == ["1", "1", "1"]
    assert lines["consumers back after"] == ["180.0", "never", "4500.0*"]
    assert text.splitlines()[-1].endswith("the whole worker had ended, and was started again")
    assert "processed" in text
    [processed] = [one for one in found if one.label == "processed"]
    assert processed.more_is_better
    assert [cell.value for cell in processed.cells.values()] == [8, 7, 8]
