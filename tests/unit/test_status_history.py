"""What the page shows of the past."""

from collections.abc import Mapping
from typing import Any

from supervisor.status.history import EVERY_S, SAMPLES, History


def status(processed: int, sizes: Mapping[int, float | None], failed: int = 0) -> dict[str, Any]:
    children = [{"slot": slot, "rss_mb": rss} for slot, rss in sizes.items()]
    return {"totals": {"processed": processed, "failed": failed}, "children": children}


def test_slots_that_come_and_go_keep_their_place_in_time() -> None:
    """A gap is a gap, before the first child and after the last."""
    history = History()
    history.add(status(0, {0: 30.0}), 0.0)
    history.add(status(1, {0: 31.0, 1: 29.0}), 2.0)
    history.add(status(2, {1: None}), 4.0)
    assert history.told() == {
        "every_s": EVERY_S,
        "rss_mb": {"0": [30.0, 31.0, None], "1": [None, 29.0, None]},
        "processed": [0, 1, 2],
    }


def test_a_history_has_an_end() -> None:
    """All rows are as long as each other, and no longer than what is kept."""
    history = History()
    for number in range(2 * SAMPLES):
        history.add(status(number, {0: 1.0} | ({1: 2.0} if number > SAMPLES else {})), number * EVERY_S)
    told = history.told()
    assert {len(told["processed"]), len(told["rss_mb"]["0"]), len(told["rss_mb"]["1"])} == {SAMPLES}


def test_rates_are_of_the_last_minute() -> None:
    """None while there is one sample; then what was settled, in a minute."""
    history = History()
    history.add(status(10, {}), 0.0)
    assert history.rates(0.0) == {"processed_per_min": 0.0, "failed_per_min": 0.0}
    history.add(status(13, {}, failed=1), 6.0)
    assert history.rates(6.0) == {"processed_per_min": 30.0, "failed_per_min": 10.0}
    history.add(status(13, {}, failed=1), 600.0)
    history.add(status(13, {}, failed=1), 602.0)
    assert history.rates(602.0) == {"processed_per_min": 0.0, "failed_per_min": 0.0}
