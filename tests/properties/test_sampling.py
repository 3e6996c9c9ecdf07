"""Readings taken together, whatever the pauses and whenever somebody wakes the loop."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor.sampling import AT_ONCE, Due, chosen

pauses = st.lists(st.floats(0.003, 0.1), min_size=1, max_size=12)


def step(dues: dict[int, Due], pause_of: list[float], now: float) -> frozenset[int]:
    """Turn once: read whom `chosen` names, and set when each is due again."""
    read = chosen(dues, now)
    for key in read:
        dues[key] = Due(now + pause_of[key], pause_of[key])
    return read


@given(pauses, st.lists(st.floats(0, 1), max_size=20))
def test_nobody_waits_longer_than_its_pause_nor_less_than_half_of_it(
    pause_of: list[float], strays: list[float]
) -> None:
    """Over a second in which the loop turns when somebody is due, and when anything else wakes it."""
    dues = dict.fromkeys(range(len(pause_of)), AT_ONCE)
    assert step(dues, pause_of, 0.0) == dues.keys(), "who was never read is read at once"
    read_at = dict.fromkeys(dues, 0.0)
    strays = sorted(strays)
    now = 0.0
    while now < 1.0:
        due = min(due.at for due in dues.values())
        now = strays.pop(0) if strays and strays[0] < due else due
        for key in step(dues, pause_of, now):
            waited = now - read_at[key]
            assert pause_of[key] * 0.499 <= waited <= pause_of[key] * 1.001
            read_at[key] = now
        assert all(now < due.at for due in dues.values())


@given(pauses, st.floats(0, 0.02))
def test_the_loop_turns_no_more_often_than_its_most_pressing_child_needs(
    pause_of: list[float], late_s: float
) -> None:
    """However many there are, and however late each turn comes."""
    dues = dict.fromkeys(range(len(pause_of)), AT_ONCE)
    now, turns = 0.0, 0
    while now < 1.0:
        step(dues, pause_of, now)
        turns += 1
        now = min(due.at for due in dues.values()) + late_s
    assert turns <= 2.0 / min(pause_of) + 1


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=64))
def test_children_with_like_pauses_come_together_whenever_they_were_forked(forked_at: list[float]) -> None:
    """Idle children weigh about the same: after some pauses all are read in one turn, and only then."""
    pause_of = [0.097 + 0.00001 * number for number in range(len(forked_at))]
    dues = {key: Due(at, pause_of[key]) for key, at in enumerate(forked_at)}
    now = 0.0
    for _ in range(200):
        now = min(due.at for due in dues.values())
        read = step(dues, pause_of, now)
    assert read == dues.keys()
    assert min(due.at for due in dues.values()) > now + 0.096
