"""The table of a child's states."""

import pytest

from supervisor.lifecycle import (
    BRIEF,
    LOCKING,
    TRANSITIONS,
    UNCOUNTED,
    WORKING,
    ImpossibleStepError,
    Phase,
    State,
    step,
)


def test_every_state_has_its_row_and_leads_to_killed() -> None:
    """Whatever a child does, it can be ended; from killed there is only the reaping."""
    assert set(TRANSITIONS) == set(State)
    assert all(State.KILLED in row for state, row in TRANSITIONS.items() if state is not State.KILLED)
    assert not TRANSITIONS[State.KILLED]


def test_a_step_not_in_the_table_is_refused() -> None:
    """A killed child is not drained."""
    assert step(State.READY, State.DRAINING) is State.DRAINING
    with pytest.raises(ImpossibleStepError, match="killed -> draining"):
        step(State.KILLED, State.DRAINING)


def test_each_phase_has_one_clock() -> None:
    """Time in a phase is the message's, or the write budget's, or nobody's: never both a wait and a write."""
    assert not UNCOUNTED & BRIEF
    assert LOCKING < BRIEF
    assert set(Phase) - WORKING == {
        Phase.BOOTING,
        Phase.WAITING_DATABASE,
        Phase.WAITING_BROKER,
        Phase.WAITING_SCHEMA,
        Phase.STOPPING,
    }
