"""One reading against the budgets."""

from dataclasses import replace

import pytest

from supervisor.budget import SHORTEST_PAUSE_S, Level, judge, margin_bytes, pause_s
from supervisor.limits import MB
from tests.unit.limits import SETTINGS


@pytest.mark.parametrize(
    ("rss_mb", "level"),
    [
        (None, Level.UNKNOWN),
        (30, Level.WITHIN),
        (300, Level.WITHIN),
        (301, Level.OVER),
        (337, Level.OVER),
        (338, Level.STOP),
        (365, Level.STOP),
        (366, Level.LAST),
        (9999, Level.LAST),
    ],
)
def test_a_reading_is_placed_between_the_budgets(rss_mb: int | None, level: Level) -> None:
    """With 300 and 375 MB the stop is at 337.5; an unknown size is neither over nor within."""
    assert judge(None if rss_mb is None else rss_mb * MB, SETTINGS) is level


def test_wide_budgets_keep_no_wider_margin() -> None:
    """Memory between far budgets is there to be used."""
    wide = replace(SETTINGS, rss_hard_bytes=3000 * MB)
    assert margin_bytes(wide) == 40 * MB


def test_readings_get_denser_towards_the_stop() -> None:
    """A light child is read at the interval, one at the stop every few milliseconds, an unknown one at the interval."""
    assert pause_s(10 * MB, SETTINGS) == pytest.approx(0.1)
    assert SHORTEST_PAUSE_S < pause_s(300 * MB, SETTINGS) < 0.02
    assert pause_s(337 * MB, SETTINGS) == SHORTEST_PAUSE_S
    assert pause_s(500 * MB, SETTINGS) == SHORTEST_PAUSE_S
    assert pause_s(None, SETTINGS) == SETTINGS.sample_interval_s
