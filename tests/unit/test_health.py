"""When the supervisor calls itself well."""

from dataclasses import replace

from supervisor.health import LOOKED_AT_S, is_well
from supervisor.lifecycle import Phase, State
from supervisor.reading import Reading, SlotView
from supervisor.roster import Child

CHILD = Child(slot=0, pid=100, page=0, generation=1, forked_at=0.0, since=0.0, state=State.READY)
VIEW = SlotView(1, Phase.IDLE, 0.0, 0.0)


def test_it_is_well_while_every_child_is_weighed() -> None:
    """No children at all, a young one, one read just now."""
    assert is_well([], {}, 100.0)
    assert is_well([CHILD], {}, LOOKED_AT_S)
    assert is_well([CHILD], {0: Reading(VIEW, 50, 99.0)}, 100.0)


def test_it_is_not_while_one_grows_unseen() -> None:
    """Never read, read too long ago, or read without a size."""
    assert not is_well([CHILD], {}, 100.0)
    assert not is_well([CHILD], {0: Reading(VIEW, 50, 94.0)}, 100.0)
    assert not is_well([CHILD], {0: Reading(VIEW, None, 99.0)}, 100.0)


def test_who_cannot_grow_need_not_be_weighed() -> None:
    """A frozen child, and a killed one that is not reaped yet."""
    for state in (State.FROZEN, State.KILLED):
        assert is_well([replace(CHILD, state=state)], {}, 100.0)
