"""Failpoints happen where, to whom and as often as a conversation's name says."""

from pathlib import Path

import pytest

from scripts.faults.failpoints import Action, Failpoints, Fault, Step, happened


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("action", Action)
def test_a_fault_is_read_back_from_the_name_it_gives(step: Step, action: Action) -> None:
    """Whatever is planned, the process that gets the message finds it in the name."""
    fault = Fault(step, action, 3)
    assert Fault.of(fault.conversation_id("7")) == fault


@pytest.mark.parametrize("name", [None, "", "c-1", "runaway-bytes-1"])
def test_an_ordinary_conversation_is_no_fault(name: str | None) -> None:
    """Nothing happens to those that do not ask for it."""
    assert Fault.of(name) is None


def test_a_fault_happens_so_many_times_over_all_processes(tmp_path: Path) -> None:
    """Each process has failpoints of its own, and they count together."""
    done: list[int] = []
    name = Fault(Step.AFTER_COMMIT, Action.DELAY, 2).conversation_id("1")
    for process in range(4):
        points = Failpoints(tmp_path, {Action.DELAY: lambda process=process: done.append(process)})  # type: ignore[misc]
        points.begin(name)
        for step in Step:
            points.reach(step)
    assert done == [0, 1]
    assert happened(tmp_path, name) == 2


def test_nothing_happens_at_another_step_or_to_the_next_conversation(tmp_path: Path) -> None:
    """What was planned for one conversation is forgotten with it."""
    points = Failpoints(tmp_path, {Action.DELAY: lambda: pytest.fail("it happened")})
    name = Fault(Step.BEFORE_ACK, Action.DELAY).conversation_id("1")
    points.begin(name)
    points.reach(Step.AFTER_ACK)
    points.begin("c-1")
    points.reach(Step.BEFORE_ACK)
    assert happened(tmp_path, name) == 0
