"""Taking over: the account first, then once without one, then not."""

from dataclasses import replace

from consumer.takeover import ACCOUNT_WAIT_S, Step, next_step
from tests.fixtures.fakes import SEEN


def test_the_account_is_waited_for_a_moment() -> None:
    """A redelivery beats the account of the dead by milliseconds."""
    assert next_step(SEEN, 0.0, gone=False) is Step.WAIT
    assert next_step(replace(SEEN, accounted=True), 0.0, gone=False) is Step.TAKE_OVER


def test_the_first_unexplained_takeover_is_allowed() -> None:
    """A whole host may be gone, with nobody left to write accounts."""
    assert next_step(SEEN, ACCOUNT_WAIT_S, gone=False) is Step.TAKE_OVER


def test_the_second_in_a_row_is_held_until_an_account_or_the_lease() -> None:
    """Two children behind a proxy that cuts connections do not take over from each other for ever."""
    again = replace(SEEN, unexplained_takeovers=1)
    assert next_step(again, 100.0, gone=False) is Step.HOLD
    assert next_step(replace(again, accounted=True), 100.0, gone=False) is Step.TAKE_OVER
    assert next_step(replace(again, lease_live=False), 100.0, gone=False) is Step.TAKE_OVER


def test_a_holder_that_ended_is_no_longer_contended() -> None:
    """The event is claimed anew when its status has moved."""
    assert next_step(replace(SEEN, status="FAILED"), 0.0, gone=False) is Step.CLAIM_AGAIN


def test_a_holder_that_died_with_its_supervisor_is_not_waited_for() -> None:
    """Nobody is left to write the account; a moment is waited all the same, for one that is on its way."""
    again = replace(SEEN, unexplained_takeovers=1)
    assert next_step(again, 0.0, gone=True) is Step.WAIT
    assert next_step(again, ACCOUNT_WAIT_S, gone=True) is Step.TAKE_OVER
