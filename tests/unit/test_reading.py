"""How long a message has been worked on."""

from dataclasses import replace

from supervisor.lifecycle import Phase
from supervisor.reading import Reading, SlotView

CALLING = SlotView(1, Phase.CALLING, phase_since=110.0, heartbeat=110.0, message_since=100.0, waited_s=4.0)


def test_waiting_does_not_count_against_a_message() -> None:
    """Twenty seconds in hand, four of them waited: sixteen are the message's."""
    assert CALLING.age_s(120.0) == 20.0
    assert CALLING.worked_s(120.0) == 16.0


def test_a_wait_that_lasts_still_does_not_count() -> None:
    """Waiting for the database since second 110: the clock stood still there."""
    for phase in (Phase.WAITING_DATABASE, Phase.WAITING_BROKER, Phase.HOLDING):
        assert replace(CALLING, phase=phase).worked_s(500.0) == 6.0


def test_nothing_in_hand_has_no_age() -> None:
    """An idle child is never late."""
    idle = SlotView(1, Phase.IDLE, 0.0, 0.0)
    assert idle.age_s(1e9) == idle.worked_s(1e9) == 0.0
    assert not idle.claims


def test_a_live_size_counts_at_rest_only_when_it_was_read_after_the_rest_began() -> None:
    """Else what the child told of itself: a busy size joined with an idle view is no size at rest."""
    rested = SlotView(1, Phase.IDLE, 10.0, 10.1, resting_rss_bytes=30, rested_at=10.1)
    assert Reading(rested, 80, read_at=10.2).rss_at_rest_bytes == 80
    assert Reading(rested, 80, read_at=10.05).rss_at_rest_bytes == 30
    assert Reading(rested, None, read_at=10.2).rss_at_rest_bytes == 30
    tidying = replace(rested, rested_at=0.0)
    assert Reading(tidying, 80, read_at=10.2).rss_at_rest_bytes == 30
    assert Reading(replace(rested, phase=Phase.CALLING), 80, read_at=10.2).rss_at_rest_bytes == 30
