"""When an empty slot may be filled again, rule by rule."""

import pytest

from supervisor.restart import EARLY_S, STRANGER_PAUSE_S, Life, failures_after, pause_after

LIFE = Life(ready_s=None, messages=0, by_choice=False, by_stranger=False)


@pytest.mark.parametrize(
    ("life", "before", "after"),
    [
        (LIFE, 2, 3),
        (Life(EARLY_S / 2, 0, by_choice=False, by_stranger=False), 0, 1),
        (Life(EARLY_S, 0, by_choice=False, by_stranger=False), 2, 2),
        (Life(0.1, 1, by_choice=False, by_stranger=False), 7, 0),
        (Life(0.1, 0, by_choice=False, by_stranger=True), 2, 2),
        (Life(None, 0, by_choice=False, by_stranger=True), 2, 2),
        (Life(None, 0, by_choice=True, by_stranger=False), 2, 2),
        (Life(None, 0, by_choice=False, by_stranger=False, by_outage=True), 2, 2),
    ],
)
def test_only_an_early_death_without_a_message_raises_the_backoff(
    life: Life, before: int, after: int
) -> None:
    """Boots and the first seconds count; a settled message clears; choice and strangers' kills do not count."""
    assert failures_after(life, before) == after


def test_a_slot_waits_only_when_its_count_rose_or_a_stranger_kills_boots() -> None:
    """A ready child that a stranger killed is followed at once; a booting one after a fixed moment."""
    assert pause_after(LIFE, 0, 0.0) == 0.5
    assert pause_after(Life(0.1, 1, by_choice=False, by_stranger=False), 7, 0.0) == 0.0
    assert pause_after(Life(0.1, 0, by_choice=False, by_stranger=True), 7, 0.0) == 0.0
    assert pause_after(Life(None, 0, by_choice=False, by_stranger=True), 7, 0.0) == STRANGER_PAUSE_S
    assert pause_after(Life(None, 0, by_choice=False, by_stranger=False, by_outage=True), 7, 0.0) == 0.0
