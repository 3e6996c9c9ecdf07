"""What a run shows of itself."""

import pytest

from supervisor.cli.publishing.bar import BAR_MAX_CHARS, fit
from supervisor.cli.publishing.entries import Spans

COUNTS = "accepted 1234567, refused 12345"
ETA = "1d 12:34:56"


def shown(columns: int, counts: str = COUNTS) -> str:
    """Write the line as click does."""
    found = fit(columns, counts)
    info = ["100%", *([ETA] if found.with_eta else []), found.counts]
    return found.template % {"label": "publishing", "bar": "#" * found.bar_chars, "info": "  ".join(info)}


@pytest.mark.parametrize("columns", [*range(10, 130), 500])
def test_a_line_fits_every_terminal(columns: int) -> None:
    """One that wraps scrolls with each update; the last column stays free, where some terminals wrap already."""
    assert len(shown(columns).rstrip()) < columns


def test_a_narrow_terminal_keeps_what_counts() -> None:
    """The bar shrinks, then the time that is left goes, then the label, then the bar, and the counts last."""
    assert shown(500).count("#") == BAR_MAX_CHARS
    assert "#" * 10 in shown(80)
    assert ETA in shown(80)
    assert ETA not in shown(60)
    assert "#" in shown(50)
    assert "publishing" not in shown(50)
    assert shown(40) == f"100%  {COUNTS}"
    assert shown(20) == f"100%  {COUNTS}"[:19]


def spans(numbers: list[int], shown: int) -> str:
    told = Spans(shown)
    for number in numbers:
        told.add(number)
    return str(told)


def test_of_many_spans_the_first_are_written() -> None:
    """And how many numbers are behind them: thousands on one line say nothing."""
    assert spans([1, 2, 3, 5, 9], 3) == "1-3, 5, 9"
    assert spans([1, 2, 3, 5, 9], 1) == "1-3 and 2 more (--json names each)"
    assert spans([*range(1, 40, 2), *range(100, 3512)], 20).endswith(
        ", 39 and 3,412 more (--json names each)"
    )
