"""What a message cost stands on its event's row."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repository.errors import Fenced
from repository.rows import Bill, Claimed
from tests.contract.events_desk import DEATH_RSS, HEAVY, LIGHT, Desk, request

OUTCOMES: dict[str, Callable[[Desk, Claimed, Bill | None], object]] = {
    "complete": lambda desk, claim, bill: desk.complete(claim, bill=bill),
    "fail": lambda desk, claim, bill: desk.fail(claim, delay_s=0.0, bill=bill),
    "skip": lambda desk, claim, bill: desk.events.skip(claim, bill=bill),
}

every_outcome = pytest.mark.parametrize("write", OUTCOMES.values(), ids=OUTCOMES)


@every_outcome
def test_an_outcome_brings_its_bill(desk: Desk, write: Callable[..., object]) -> None:
    """In the same statement; before it there is none."""
    claim = desk.claim()
    assert desk.bill() is None
    write(desk, claim, LIGHT)
    assert desk.bill() == LIGHT


@every_outcome
def test_an_outcome_without_a_bill_leaves_what_is_there(desk: Desk, write: Callable[..., object]) -> None:
    """Nothing at first; later the bill of an earlier outcome, whatever died since."""
    write(desk, desk.claim("other"), None)
    assert desk.bill("other") is None
    desk.fail(desk.claim(), delay_s=0.0, bill=LIGHT)
    desk.becomes_due()
    claim = desk.claim()
    desk.account(claim, blamed=True)
    write(desk, claim, None)
    assert desk.bill() == LIGHT


@every_outcome
def test_the_newest_bill_replaces_an_earlier_one(desk: Desk, write: Callable[..., object]) -> None:
    """The row shows what the last outcome cost, also when an earlier one cost more."""
    desk.fail(desk.claim(), delay_s=0.0, bill=HEAVY)
    desk.becomes_due()
    write(desk, desk.claim(), LIGHT)
    assert desk.bill() == LIGHT


@every_outcome
def test_a_fenced_write_leaves_no_bill(desk: Desk, write: Callable[..., object]) -> None:
    """Another holds the event by now, and what it costs is for that one to say."""
    zombie = desk.claim()
    holder = desk.events.take_over(desk.contended(), request(), accounted=False)
    assert holder is not None
    with pytest.raises(Fenced):
        write(desk, zombie, HEAVY)
    assert desk.bill() is None
    desk.complete(holder, bill=LIGHT)
    with pytest.raises(Fenced):
        write(desk, zombie, HEAVY)
    assert desk.bill() == LIGHT


@every_outcome
def test_a_repeat_changes_no_bill(desk: Desk, write: Callable[..., object]) -> None:
    """The first try was committed, and only its reply was lost."""
    claim = desk.claim()
    write(desk, claim, LIGHT)
    write(desk, claim, HEAVY)
    assert desk.bill() == LIGHT


def test_giving_an_event_back_costs_nothing(desk: Desk) -> None:
    """There was no outcome, so the bill stays that of the last one."""
    desk.fail(desk.claim(), delay_s=0.0, bill=LIGHT)
    desk.becomes_due()
    desk.events.restore(desk.claim())
    assert desk.bill() == LIGHT
    desk.events.release(desk.claim())
    assert desk.bill() == LIGHT


@pytest.mark.parametrize("code", ["MEMORY_BUDGET_EXCEEDED", "CHILD_CRASHED", "DEADLINE_EXCEEDED"])
@pytest.mark.parametrize("blamed", [True, False])
@pytest.mark.parametrize(
    ("own", "shown"), [(LIGHT.peak_rss_bytes, DEATH_RSS), (HEAVY.peak_rss_bytes, HEAVY.peak_rss_bytes)]
)
def test_the_heaviest_child_is_shown(desk: Desk, code: str, blamed: bool, own: int, shown: int) -> None:
    """The child that settles a message which killed two others never grew by it."""
    first = desk.claim()
    desk.account(first, blamed=blamed)
    second = desk.events.take_over(desk.contended(), request(), accounted=True)
    assert second is not None
    desk.account(second, blamed=blamed)
    third = desk.events.take_over(desk.contended(), request(), accounted=True)
    assert third is not None
    bill = replace(LIGHT, peak_rss_bytes=own)
    desk.fail(third, code=code, delay_s=None, bill=bill)
    assert desk.bill() == replace(bill, peak_rss_bytes=shown)


def test_deaths_before_the_last_outcome_are_paid_for(desk: Desk) -> None:
    """They stood on the bill of that outcome."""
    first = desk.claim()
    desk.account(first, blamed=True)
    desk.fail(first, delay_s=0.0, bill=LIGHT)
    assert desk.bill() == replace(LIGHT, peak_rss_bytes=DEATH_RSS)
    desk.becomes_due()
    desk.complete(desk.claim(), bill=LIGHT)
    assert desk.bill() == LIGHT


def test_another_events_deaths_are_not_paid_for(desk: Desk) -> None:
    """Not even those of the same user's conversations."""
    desk.account(desk.claim("other"), blamed=True)
    desk.complete(desk.claim(), bill=LIGHT)
    assert desk.bill() == LIGHT


def test_figures_of_any_size_can_be_written(desk: Desk) -> None:
    """A message that waited for its database for weeks still gets its outcome."""
    bill = Bill(body_bytes=1 << 40, peak_rss_bytes=1 << 40, processing_ms=1 << 40)
    desk.complete(desk.claim(), bill=bill)
    assert desk.bill() == replace(bill, processing_ms=2**31 - 1)
    desk.fail(desk.claim("free"), bill=Bill(body_bytes=0, peak_rss_bytes=0, processing_ms=0))
    assert desk.bill("free") == Bill(body_bytes=0, peak_rss_bytes=0, processing_ms=0)


def test_an_event_made_pending_by_hand_gets_the_bill_of_its_second_run(desk: Desk) -> None:
    """Its change is in the score already; the memory was spent again all the same."""
    desk.complete(desk.claim(), bill=LIGHT)
    desk.set("status = 'PENDING', next_attempt_at = now()")
    desk.complete(desk.claim(), bill=HEAVY)
    assert desk.bill() == HEAVY
